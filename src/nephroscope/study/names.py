"""What must not leave a study: names of cases, patients, sites and readers, and paths; and texts without them.

Names that say nothing are left alone: ``site-1``, ``reader-2``, ``case-004``, and short numbers and years, which
would be found in any text.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.tables import read_table
from nephroscope.records import EXTERNAL_TEST, Cohort
from nephroscope.study.folder import StudyFolder

COLUMNS = {
    "case_id": "case",
    "case_ids": "case",
    "patient_id": "case",
    "site_id": "site",
    "reader": "reader",
    "series_uid": "series",
    "image": "path",
    "roi": "path",
    "organs": "path",
    "folder": "path",
    "file": "path",
    "mask": "path",
}
TABLES = ("cohort", "series", "rois", "exclusions", "adjudication", "seen_series", "images")
SAYS_NOTHING = re.compile(
    r"(case|patient|site|reader|annotator|radiologist|center|centre|hospital|test|external|internal|validation)?"
    r"[-_ ]?(\d{0,4}|[a-z])",
    re.IGNORECASE,
)
FEWEST = 3  # characters


@dataclass(frozen=True, kw_only=True)
class StudyNames:
    """Names of a study, each with what it names: case, site, reader, series or path."""

    kinds: Mapping[str, str]

    def found_in(self, text: str) -> list[str]:
        """What is named in a text: the kinds of the names that it holds as whole words."""
        return sorted(
            {self.kinds.get(found.group().lower(), "case") for found in self._pattern(text).finditer(text)}
        )

    def removed_from(self, text: str) -> str:
        """A text with ``[case]`` where a case was named, and so on; lists of cases become ``[cases]``."""
        text = self._pattern(text).sub(
            lambda found: f"[{self.kinds.get(found.group().lower(), 'case')}]", text
        )
        return re.sub(r"\[(\w+)\](?:(?:, | and |; )\[\1\])+", r"[\1s]", text)

    def _pattern(self, text: str) -> re.Pattern[str]:
        """Of the names that occur in a text; a pattern of all names would be slow in a large study."""
        plain = text.lower()
        longest_first = sorted((name for name in self.kinds if name in plain), key=len, reverse=True)
        any_name = "|".join(map(re.escape, longest_first)) or r"(?!)"
        return re.compile(rf"(?<![\w.])(?:{any_name})(?!\w)", re.IGNORECASE)


def names_of(folder: StudyFolder, cohort: Cohort) -> StudyNames:
    """The names of a study, from its cohort and from the tables in its folder."""
    kinds: dict[str, str] = {}
    for name, kind in [*_of_cohort(cohort), *_of_tables(folder), *_of_readers(folder)]:
        if len(name) >= FEWEST and not SAYS_NOTHING.fullmatch(name):
            kinds.setdefault(name.lower(), kind)
    for place in (folder.root, folder.root.resolve()):
        if len(place.parts) > 1:
            kinds.setdefault(str(place).lower(), "path")
            kinds.setdefault(place.as_posix().lower(), "path")
    return StudyNames(kinds=kinds)


def _of_cohort(cohort: Cohort) -> Iterator[tuple[str, str]]:
    for case in cohort.cases:
        yield from ((case.case_id, "case"), (case.patient_id, "case"), (case.site_id, "site"))
        if case.cohort.startswith(EXTERNAL_TEST):
            yield case.cohort.removeprefix(EXTERNAL_TEST), "site"
        for series in case.series:
            yield series.series_uid, "series"
            yield from _of_path(str(series.image))
        for roi in case.rois:
            yield from _of_path(str(roi.path))


def _of_tables(folder: StudyFolder) -> Iterator[tuple[str, str]]:
    for path in (folder.root / f"{name}.csv" for name in TABLES):
        for column, value in _cells(path):
            kind = COLUMNS.get(column, "")
            if kind == "path":
                yield from _of_path(value)
            elif kind:
                yield from ((part.strip(), kind) for part in re.split(r"[;|]", value))


def _of_readers(folder: StudyFolder) -> Iterator[tuple[str, str]]:
    """Readers of a reader study; rows with a model are those of networks."""
    path = folder.root / "readers" / "readers.csv"
    if path.is_file():
        header, rows = read_table(path)
        for _, row in rows:
            cells = dict(zip(header, row, strict=True))
            if cells.get("model", "").casefold() in ("", "no", "false"):
                yield cells.get("name", ""), "reader"


def _cells(path: Path) -> Iterator[tuple[str, str]]:
    if path.is_file():
        header, rows = read_table(path)
        for _, row in rows:
            yield from zip(header, row, strict=True)


def _of_path(path: str) -> Iterable[tuple[str, str]]:
    """A path, and those of its folders and files whose names could be a person's or a number."""
    parts = [part for part in re.split(r"[/\\]", path) if part]
    named = {part for part in parts if re.search(r"\d{4}|[^\W\d]+[ _^,-]+[^\W\d]+", part)}
    return [(path, "path")] * (len(parts) > 1) + [(part, "path") for part in sorted(named)]
