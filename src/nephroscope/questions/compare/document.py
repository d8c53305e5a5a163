"""comparison.json of a study: written, read back, and checked for being out of date."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nephroscope.base.documents import from_plain, plain_json, read_object
from nephroscope.base.errors import NephroscopeError, StudyError
from nephroscope.base.files import digest_of, save_json
from nephroscope.base.html import Record, ShownAsTable, html_table
from nephroscope.base.tables import read_table, save_table
from nephroscope.clinic.call import label_of
from nephroscope.learning.engine.divisions import fold_names
from nephroscope.learning.engine.predictions import Predictions
from nephroscope.learning.engine.trained_runs import HELD_OUT
from nephroscope.questions.compare.results import ComparisonDocument
from nephroscope.records import DEVELOPMENT, INTERNAL_TEST, OUT_OF_FOLD, Cohort, ComparisonConfig
from nephroscope.study.artifact import Artifact
from nephroscope.study.snapshot import Snapshot, take_snapshot

FORMAT = 2  # 2: calibration of every candidate, chosen inside; the answer first
FOLDER, FILE, ANSWERS = "comparison", "comparison.json", "predictions.csv"
FIGURES = ("auc", "auc_by_fold", "sensitivity", "specificity", "brier")
AGAIN = "run `nephroscope compare` again"


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison(ShownAsTable):
    """The last comparison of a study.

    Attributes:
        path: Its comparison.json.
        document: The content of that file; None where an older nephroscope wrote it.
        stale: What changed since it was made, and what to run; empty when it is up to date.
    """

    path: Path
    document: ComparisonDocument | None
    stale: str = ""

    @property
    def found(self) -> ComparisonDocument:
        """The content of comparison.json.

        Raises:
            StudyError: An older nephroscope wrote it.
        """
        if self.document is None:
            raise StudyError(where=FILE, expected=f"format {FORMAT}", found=self.stale, remedy=AGAIN)
        return self.document

    @cached_property
    def content(self) -> Mapping[str, object]:
        """comparison.json as plain JSON values."""
        return as_json(self.found)

    def records(self) -> list[Record]:
        """A row per test set and candidate: rank, name, kind, and each figure with its limits."""
        rows: list[Record] = []
        for name, table in self.found.groups.items():
            for row in table.candidates:
                own: Record = {"test_set": name, "rank": row.rank, "name": row.name, "kind": row.kind}
                for figure in FIGURES:
                    own |= row.figures[figure].columns(figure)
                rows.append(own)
        return rows

    def summary(self) -> str:
        """The answer in one sentence."""
        mark = "SYNTHETIC: " if self.found.synthetic else ""
        return f"{mark}{self.found.first.answer}{f' Out of date: {self.stale}' if self.stale else ''}"

    def _repr_html_(self) -> str:
        rows: list[Record] = []
        for name, table in self.found.groups.items():
            for row in table.candidates:
                own: Record = {"test set": name, "rank": row.rank, "candidate": row.name}
                rows.append(own | {figure: row.figures[figure].interval() for figure in FIGURES})
        return html_table(rows, self.summary())

    def to_csv(self, path: Path | str) -> Path:
        """Write `records` as a table; returns its path."""
        rows = self.records()
        cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
        save_table(Path(path), list(rows[0]), cells)
        return Path(path)

    def to_json(self, path: Path | str) -> Path:
        """Write the whole comparison, as comparison.json has it; returns the path."""
        save_json(Path(path), self.content)
        return Path(path)


def as_json(document: ComparisonDocument) -> Mapping[str, object]:
    """Plain JSON values; the first test set's table comes first once more, and figures are keys of their row."""
    plain: dict[str, Any] = plain_json(document)
    for table in plain["groups"].values():
        for row in table["candidates"]:
            row |= {"told": row.pop("description"), **row.pop("figures")}
    return {"format": FORMAT, **plain["groups"][document.test_set], **plain}


class ComparisonFile(Artifact[ComparisonDocument]):
    """comparison.json of a study, whose rows hold the figures of a candidate as keys of their own."""

    def save(self, document: ComparisonDocument) -> None:
        """Write the file, whole or not at all."""
        save_json(self.path, as_json(document))

    def read(self, remedy: str = AGAIN) -> ComparisonDocument:
        """The content, whatever it was made from; refused as in `Artifact.read`."""
        return self._typed(read_object(self.path, self.number, remedy), remedy)

    def _typed(self, content: Mapping[str, object], remedy: str) -> ComparisonDocument:
        own = {"rank", "name", "kind", "told", "remarks", "calibration", "learned_from"}
        groups = content.get("groups")
        for table in groups.values() if isinstance(groups, dict) else ():
            for row in table.get("candidates", ()):
                row["figures"] = {name: value for name, value in row.items() if name not in own}
                row["description"] = row.get("told")
        return from_plain(content, ComparisonDocument, f"{FOLDER}/{FILE}", remedy)


def comparison_file(root: Path, inputs: Mapping[str, str] | None = None) -> ComparisonFile:
    """comparison.json of the study at ``root``; ``inputs`` are digests as they are now."""
    return ComparisonFile(
        path=root / FOLDER / FILE, kind=ComparisonDocument, number=FORMAT, made_from=inputs or {}
    )


def load_comparison(root: Path) -> Comparison | None:
    """The last comparison of a study, with what changed since; None where there is none.

    One of an older format is out of date.

    Raises:
        StudyError: The file is damaged, or there is no study.
    """
    file = comparison_file(Path(root))
    if not file.path.is_file():
        return None
    content = read_object(file.path, FORMAT, AGAIN)
    if content["format"] != FORMAT:
        older = (
            f"it is of format {content['format']}, made by nephroscope {content.get('version', 'unknown')}"
        )
        stale = f"{older}, and this one writes format {FORMAT}; {AGAIN}"
        return Comparison(path=file.path, document=None, stale=stale)
    document = file.read(AGAIN)
    try:
        snapshot = take_snapshot(Path(root))
        changed = [*comparison_file(root, made_from(snapshot.as_on_disk())).stale()]
        changed += [f"run {name}" for name in sorted({*complete_runs(snapshot)} ^ {*document.runs_seen})]
    except (NephroscopeError, OSError) as error:
        return Comparison(path=file.path, document=document, stale=str(error))
    stale = f"{', '.join(changed)} changed since it was made; {AGAIN}" if changed else ""
    return Comparison(path=file.path, document=document, stale=stale)


def made_from(snapshot: Snapshot) -> dict[str, str]:
    """Digests of what a comparison depends on, by name; also how held-out cases are answered, where there are any."""
    split, stated = snapshot.split, snapshot.settings.comparison
    main = {"[comparison]": digest_of(asdict(stated))} if stated != ComparisonConfig() else {}
    held_out = HELD_OUT if split.holdout and len(split.folds) > 1 else {}
    return (
        main
        | held_out
        | {
            "cohort.csv": snapshot.cohort.digest,
            "slices": snapshot.slices.digest,
            "splits.json": digest_of([fold_names(split), sorted(split.holdout), split.protocol]),
            "[evaluation]": digest_of(asdict(snapshot.settings.evaluation)),
        }
    )


def complete_runs(snapshot: Snapshot) -> list[str]:
    """Names of the complete runs of a study, oldest first."""
    return [run.name for run in snapshot.folder.runs() if (run / "run.json").exists()]


def save_answers(folder: Path, predictions: Sequence[Predictions], cohort: Cohort) -> None:
    """Write predictions.csv: what every learner says of every test case, one row each."""
    positive = cohort.subtypes.index(cohort.positive)
    rows = [
        [
            one.name,
            one.kind,
            case_id,
            cohort.by_id[case_id].patient_id,
            cohort.by_id[case_id].subtype or "",
            _test_set(one, case_id, cohort),
            str(one.fold[case_id]),
            cohort.subtypes[label_of(p, one.threshold_of(case_id), positive)],
            *(f"{value:.6f}" for value in p),
        ]
        for one in predictions
        for case_id, p in one.p.items()
    ]
    header = ["name", "kind", "case_id", "patient_id", "truth", "group", "fold", "call"]
    save_table(folder / ANSWERS, [*header, *(f"p_{subtype}" for subtype in cohort.subtypes)], rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """A row of predictions.csv: what a candidate said of a test case; ``p`` by subtype; ``fold`` is the fit's."""

    name: str
    kind: str
    case_id: str
    truth: str
    group: str
    call: str
    p: Mapping[str, float]
    fold: str = ""


def read_answers(root: Path, subtypes: Sequence[str]) -> list[KeptAnswer]:
    """The rows of predictions.csv of the last comparison, with ``p`` of some subtypes; none without such a file.

    Raises:
        StudyError: It is not as `save_answers` wrote it.
    """
    path = root / FOLDER / ANSWERS
    if not path.is_file():
        return []
    header, rows = read_table(path)
    names = ("name", "kind", "case_id", "truth", "group", "call", "fold")
    if not {"name", "kind", "case_id", "call", *(f"p_{s}" for s in subtypes)} <= set(header):
        raise _damaged(f"columns {', '.join(header)}")
    found = []
    for number, row in rows:
        cell = dict(zip(header, row, strict=True))
        p = {s: _probability(cell[f"p_{s}"], number) for s in subtypes}
        found.append(KeptAnswer(**{name: cell.get(name, "") for name in names}, p=p))
    return found


def _probability(text: str, number: int) -> float:
    try:
        p = float(text)
    except ValueError:
        p = -1.0
    if not 0 <= p <= 1:
        raise _damaged(f"{text!r} as a probability in row {number}")
    return p


def _damaged(found: str) -> StudyError:
    return StudyError(
        where=f"{FOLDER}/{ANSWERS}",
        expected="the table as `nephroscope compare` wrote it",
        found=found,
        remedy=AGAIN,
    )


def _test_set(one: Predictions, case_id: str, cohort: Cohort) -> str:
    """Test set of a case, under the names that a run's predictions have."""
    if one.fold[case_id] >= 0:
        return OUT_OF_FOLD
    own = cohort.by_id[case_id].cohort
    return INTERNAL_TEST if own == DEVELOPMENT else own
