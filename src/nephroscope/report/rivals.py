"""A study folder in; how many models answered the same cases as a run, of which it may be the luckiest, out."""

from collections.abc import Iterator
from pathlib import Path

from nephroscope.base.files import load_json
from nephroscope.questions.compare.comparison_file import FILE, FOLDER
from nephroscope.questions.compare.comparison_file import FORMAT as COMPARISON
from nephroscope.records import Cohort, counted_noun
from nephroscope.report.content import ReportContent

FORMAT = 1


def rivals_sentence(content: ReportContent) -> str:
    """That the run may have been chosen among others on the cases it is judged by; empty where it is alone."""
    if content.study is None:
        return ""
    cohort, leaky = content.cohort, content.split.leaky
    runs = {content.main.report.run, *_runs(content.study / "runs", cohort, leaky)}
    capacity = set(_runs(content.study / "capacity" / "runs", cohort, leaky))
    compared = _compared(content.study / FOLDER / FILE, cohort) - runs
    if len(runs) + len(capacity) + len(compared) < 2:
        return ""
    told = [counted_noun(len(runs), "run")]
    if compared:
        told.append(f"{counted_noun(len(compared), 'other candidate')} of `nephroscope compare`")
    if capacity:
        told.append(f"{counted_noun(len(capacity), 'training')} of `nephroscope capacity`")
    n = len(runs) + len(capacity) + len(compared)
    among = "" if len(told) == 1 else f" ({', '.join(told)})"
    return (
        f"This run was chosen, or may have been, among {n} on the same cases{among}: the best of several is in part "
        "the luckiest, so its AUC is optimistic by an unknown amount, which no interval here holds. Only cases that "
        "played no part in any choice tell how much."
    )


def _runs(folder: Path, cohort: Cohort, leaky: bool) -> Iterator[str]:
    """Names of the complete runs on the same cases, under a split of the same kind."""
    for path in sorted(folder.glob("*/run.json")):
        made = load_json(path, FORMAT)
        same = made.get("digests", {}).get("cohort") == cohort.label_digest
        if same and bool(made.get("leaky")) == leaky:
            yield path.parent.name


def _compared(path: Path, cohort: Cohort) -> set[str]:
    """Names of the candidates of the last comparison, when it was of the same cases."""
    made = load_json(path, COMPARISON) if path.is_file() else {}
    if made.get("made_from", {}).get("cohort.csv") != cohort.digest:
        return set()
    return {str(row["name"]) for row in made.get("candidates", ())}
