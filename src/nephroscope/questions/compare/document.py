"""comparison.json of a study: written, read back, and checked for being out of date."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nephroscope.base.documents import from_plain, plain_json, read_object
from nephroscope.base.errors import NephroscopeError, StudyError
from nephroscope.base.files import digest_of, save_json
from nephroscope.base.html import Record, ShownAsTable, html_table
from nephroscope.base.tables import save_table
from nephroscope.clinic.call import label_of
from nephroscope.learning.engine.divisions import fold_names
from nephroscope.learning.engine.predictions import Predictions
from nephroscope.questions.compare.results import ComparisonDocument
from nephroscope.records import DEVELOPMENT, INTERNAL_TEST, OUT_OF_FOLD, Cohort
from nephroscope.study.artifact import changed_inputs
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
    def content(self) -> dict[str, Any]:
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


def as_json(document: ComparisonDocument) -> dict[str, Any]:
    """Plain JSON values; the first test set's table comes first once more, and figures are keys of their row."""
    plain = plain_json(document)
    for table in plain["groups"].values():
        table["candidates"] = [
            {
                **{key: row[key] for key in ("rank", "name", "kind")},
                "told": row["description"],
                "remarks": row["remarks"],
                **row["figures"],
                "calibration": row["calibration"],
            }
            for row in table["candidates"]
        ]
    return {"format": FORMAT, **plain["groups"][document.test_set], **plain}


def _from_json(content: dict[str, Any]) -> ComparisonDocument:
    own = {"rank", "name", "kind", "told", "remarks", "calibration"}
    for table in content.get("groups", {}).values():
        for row in table.get("candidates", ()):
            row["description"] = row.get("told")
            row["figures"] = {name: value for name, value in row.items() if name not in {*own, "description"}}
    return from_plain(content, ComparisonDocument, f"{FOLDER}/{FILE}", AGAIN)


def save_comparison(folder: Path, document: ComparisonDocument) -> Comparison:
    """Write comparison.json, whole or not at all."""
    save_json(folder / FILE, as_json(document))
    return Comparison(path=folder / FILE, document=document)


def load_comparison(root: Path) -> Comparison | None:
    """The last comparison of a study, with what changed since; None where there is none.

    One of an older format is out of date.

    Raises:
        StudyError: The file is damaged, or there is no study.
    """
    path = Path(root) / FOLDER / FILE
    if not path.is_file():
        return None
    content = read_object(path, FORMAT, AGAIN)
    if content["format"] < FORMAT:
        older = (
            f"it is of format {content['format']}, made by nephroscope {content.get('version', 'unknown')}"
        )
        stale = f"{older}, and this one writes format {FORMAT}; {AGAIN}"
        return Comparison(path=path, document=None, stale=stale)
    document = _from_json(content)
    try:
        snapshot = take_snapshot(Path(root))
        changed = _changed(document, snapshot)
    except (NephroscopeError, OSError) as error:
        return Comparison(path=path, document=document, stale=str(error))
    stale = f"{', '.join(changed)} changed since it was made; {AGAIN}" if changed else ""
    return Comparison(path=path, document=document, stale=stale)


def made_from(snapshot: Snapshot) -> dict[str, str]:
    """Digests of what a comparison depends on, by name."""
    split = snapshot.split
    return {
        "cohort.csv": snapshot.cohort.digest,
        "slices": snapshot.slices.digest,
        "splits.json": digest_of([fold_names(split), sorted(split.holdout), split.protocol]),
        "[evaluation]": digest_of(asdict(snapshot.settings.evaluation)),
    }


def complete_runs(snapshot: Snapshot) -> list[str]:
    """Names of the complete runs of a study, oldest first."""
    return [run.name for run in snapshot.folder.runs() if (run / "run.json").exists()]


def _changed(document: ComparisonDocument, snapshot: Snapshot) -> list[str]:
    """Names of the inputs that changed since a comparison was made."""
    changed = changed_inputs(document.made_from, made_from(snapshot.as_on_disk()))
    runs = set(complete_runs(snapshot)) ^ set(document.runs_seen)
    return [*changed, *(f"run {name}" for name in sorted(runs))]


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


def _test_set(one: Predictions, case_id: str, cohort: Cohort) -> str:
    """Test set of a case, under the names that a run's predictions have."""
    if one.fold[case_id] >= 0:
        return OUT_OF_FOLD
    own = cohort.by_id[case_id].cohort
    return INTERNAL_TEST if own == DEVELOPMENT else own
