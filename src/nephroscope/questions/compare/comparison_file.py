"""comparison.json of a study: a study's path in; its last comparison, and what changed since, out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nephroscope.base.errors import NephroscopeError, StudyError
from nephroscope.base.files import digest_of, load_json, save_json
from nephroscope.base.html import Record, ShownAsTable, html_table
from nephroscope.base.tables import save_table
from nephroscope.clinic.call import label_of
from nephroscope.learning.engine.folds import Answers
from nephroscope.records import (
    DEVELOPMENT,
    INTERNAL_TEST,
    OUT_OF_FOLD,
    Cohort,
    Estimate,
    EvaluationConfig,
    Split,
)
from nephroscope.study.cohort_table import load_cohort
from nephroscope.study.folder import open_study
from nephroscope.study.slices import SliceStore, open_store
from nephroscope.study.split import load_split

FORMAT = 2  # 2: calibration of every candidate, chosen inside; the answer first
FIGURES = ("auc", "auc_by_fold", "sensitivity", "specificity", "brier")
FOLDER, FILE, ANSWERS = "comparison", "comparison.json", "predictions.csv"
AGAIN = "run `nephroscope compare` again"


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison(ShownAsTable):
    """The last comparison of a study.

    Attributes:
        path: Its comparison.json.
        content: The content of that file.
        stale: What changed since; empty when it is up to date.
    """

    path: Path
    content: dict[str, Any]
    stale: str = ""

    def records(self) -> list[Record]:
        """A row per test set and candidate: rank, name, kind, and each figure with its limits."""
        return [
            {"test_set": name, "rank": row["rank"], "name": row["name"], "kind": row["kind"]}
            | {
                f"{figure}{end}": row[figure][part]
                for figure in FIGURES
                for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
            }
            for name, group in self.content["groups"].items()
            for row in group["candidates"]
        ]

    def summary(self) -> str:
        """The answer in one sentence."""
        marks = "SYNTHETIC: " if self.content["synthetic"] else ""
        return f"{marks}{self.content['answer']}{f' Out of date: {self.stale}' if self.stale else ''}"

    def _repr_html_(self) -> str:
        rows: list[Record] = [
            {"test set": name, "rank": row["rank"], "candidate": row["name"]}
            | {figure: Estimate(**row[figure]).interval() for figure in FIGURES}
            for name, group in self.content["groups"].items()
            for row in group["candidates"]
        ]
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


def load_comparison(root: Path) -> Comparison | None:
    """The comparison of a study as it was last made, with what changed since; None where there is none.

    One of an older format is out of date: this nephroscope says more, or says it otherwise.

    Raises:
        StudyError: The file is damaged, or there is no study.
    """
    path = Path(root) / FOLDER / FILE
    if not path.is_file():
        return None
    content = load_json(path, FORMAT)
    if not {"made_from", "runs_seen", "groups"} <= content.keys():
        raise StudyError(
            where=f"{FOLDER}/{FILE}",
            expected="a comparison",
            found=f"only {', '.join(content)}",
            remedy=AGAIN,
        )
    if content["format"] < FORMAT:
        older = (
            f"it is of format {content['format']}, made by nephroscope {content.get('version', 'unknown')}"
        )
        stale = f"{older}, and this one writes format {FORMAT}; {AGAIN}"
        return Comparison(path=path, content=content, stale=stale)
    folder, settings = open_study(Path(root))
    try:
        cohort = load_cohort(folder.root, settings.subtypes, settings.positive)
        split, _ = load_split(folder.splits, cohort)
        now = made_from(cohort, open_store(folder.slices), split, settings.evaluation)
    except (NephroscopeError, OSError) as error:
        return Comparison(path=path, content=content, stale=str(error))
    changed = [name for name, digest in now.items() if content["made_from"].get(name) != digest]
    complete = {run.name for run in folder.runs() if (run / "run.json").exists()}
    changed += [f"run {name}" for name in sorted(complete ^ set(content["runs_seen"]))]
    stale = f"{', '.join(changed)} changed since; {AGAIN}" if changed else ""
    return Comparison(path=path, content=content, stale=stale)


def made_from(cohort: Cohort, store: SliceStore, split: Split, config: EvaluationConfig) -> dict[str, str]:
    """Digests of what a comparison depends on."""
    folds = [[sorted(part) for part in (fold.train, fold.validation, fold.test)] for fold in split.folds]
    return {
        "cohort.csv": cohort.digest,
        "slices": store.digest,
        "splits.json": digest_of([folds, sorted(split.holdout), split.protocol]),
        "[evaluation]": digest_of(asdict(config)),
    }


def save_answers(folder: Path, answers: Sequence[Answers], cohort: Cohort) -> None:
    """Write predictions.csv: what every candidate says of every test case, one row each."""
    positive = cohort.subtypes.index(cohort.positive)
    rows = [
        [
            one.name,
            one.kind,
            case_id,
            cohort.by_id[case_id].patient_id,
            cohort.by_id[case_id].subtype or "",
            _group(one, case_id, cohort),
            str(one.fold[case_id]),
            cohort.subtypes[label_of(p, one.threshold_of(case_id), positive)],
            *(f"{value:.6f}" for value in p),
        ]
        for one in answers
        for case_id, p in one.p.items()
    ]
    header = ["name", "kind", "case_id", "patient_id", "truth", "group", "fold", "call"]
    save_table(folder / ANSWERS, [*header, *(f"p_{subtype}" for subtype in cohort.subtypes)], rows)


def _group(one: Answers, case_id: str, cohort: Cohort) -> str:
    """Test set of a case, under the names that a run's predictions have."""
    if one.fold[case_id] >= 0:
        return OUT_OF_FOLD
    own = cohort.by_id[case_id].cohort
    return INTERNAL_TEST if own == DEVELOPMENT else own
