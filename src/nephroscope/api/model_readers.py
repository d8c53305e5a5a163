"""Radiologists beside the models of a study: the study, a table of calls and run names in; a reader study out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nephroscope.cohort.labels.pathology import load_pathology, name_of_subtype
from nephroscope.cohort.tables import read_table
from nephroscope.errors import StudyError
from nephroscope.evaluation.readers.calls import Known, Reader, Reading
from nephroscope.evaluation.readers.read_calls import CallOptions, read_calls
from nephroscope.evaluation.readers.reader_study import ReaderStudy, study_readers
from nephroscope.evaluation.readers.write import FOLDER, save_reader_study
from nephroscope.evaluation.score_run import score_run
from nephroscope.experiments.comparison_file import load_comparison
from nephroscope.files import load_json
from nephroscope.records import CasePrediction, Finding

if TYPE_CHECKING:
    from nephroscope.api.study import Study

FORMAT = 1
COMPARED = ("comparison", "predictions.csv")


def read_beside_models(
    study: "Study", path: Path, runs: Sequence[str] = (), options: CallOptions | None = None
) -> ReaderStudy:
    """Score a table of calls beside runs and baselines, and write readers/ into the study.

    Args:
        study: Gives truth, patients and runs.
        path: Table of calls.
        runs: Names of complete runs; without any, all of them and the baselines of the last comparison.
        options: How the table is read.

    Raises:
        CohortError: The table is refused; see `read_calls`.
        StudyError: A run is not complete, or older than the cohort or its slices.
    """
    known, means = known_of(study)
    table = read_calls(path, known, means, options)
    models, findings = run_models(study, runs)
    baselines, doubts = ([], []) if runs else compared_models(study, known)
    findings += doubts
    found = study_readers(
        table, [*models, *baselines], known, study.settings.evaluation, study.cohort.synthetic, findings
    )
    save_reader_study(study.folder.root / FOLDER, found, {"cohort": study.cohort.label_digest})
    return found


def known_of(study: "Study") -> tuple[Known, Callable[[str], str | None]]:
    """What a study knows of its cases, and what it calls a typed subtype."""
    cohort, pathology = study.cohort, load_pathology(study.folder.root)
    known = Known(
        subtypes=cohort.subtypes,
        positive=cohort.positive,
        truth={case.case_id: case.subtype for case in cohort.cases if case.subtype},
        patient_of={case.case_id: case.patient_id for case in cohort.cases},
    )
    return known, lambda text: name_of_subtype(text, cohort.subtypes, pathology)


def run_models(study: "Study", runs: Sequence[str]) -> tuple[list[Reader], list[Finding]]:
    """Answers of each run about the cases that it was tested on, scored anew; runs left out are told."""
    models: list[Reader] = []
    findings: list[Finding] = []
    for name in runs or _complete(study):
        scored = study._to_score(name)
        content = load_json(scored.folder / "run.json", FORMAT)
        if not content["converged"]:
            findings.append(_left_out(f"run {name}", "did not converge"))
            continue
        leaky = scored.split.protocol == "image"
        if leaky:
            message = f"run {name}: LEAKY split by image, slices of a patient train and test"
            findings.append(Finding(code="leaky-split", severity="warning", message=message, case_id=""))
        predictions, _ = score_run(scored)
        title = f"{name} (LEAKY)" if leaky else name
        models.append(model_of(title, predictions, study.settings.positive))
    return models, findings


def model_of(name: str, predictions: Sequence[CasePrediction], positive: str) -> Reader:
    """A run's answers: the call when "not sure" is not allowed, and the probability of the positive subtype."""
    readings = {
        p.case_id: Reading(call=p.forced_call, confidence=p.probabilities[positive]) for p in predictions
    }
    groups = dict.fromkeys(p.group for p in predictions)
    return Reader(name=name, aided=False, readings=readings, model=True, told=f"run, {', '.join(groups)}")


def compared_models(study: "Study", known: Known) -> tuple[list[Reader], list[Finding]]:
    """Baselines of `nephroscope compare`, where it kept their predictions; left out where they are stale."""
    path = study.folder.root.joinpath(*COMPARED)
    compared = load_comparison(study.folder.root) if path.is_file() else None
    if compared is None:
        return [], []
    if compared.stale:
        return [], [_left_out("baselines of the comparison", compared.stale)]
    header, rows = read_table(path)
    column = f"p_{known.positive}"
    if not {"name", "kind", "case_id", "call", column} <= set(header):
        raise _damaged(f"columns {', '.join(header)}")
    found: dict[str, dict[str, Reading]] = {}
    for number, row in rows:
        cell = dict(zip(header, row, strict=True))
        if cell["case_id"] in known.truth and cell["kind"] != "network":  # networks are the runs themselves
            p = _probability(cell[column], number)
            found.setdefault(cell["name"], {})[cell["case_id"]] = Reading(call=cell["call"], confidence=p)
    if len({frozenset(readings) for readings in found.values()}) > 1:
        raise _damaged("other cases of one baseline than of another")
    models = [
        Reader(name=name, aided=False, readings=readings, model=True, told="baseline of the comparison")
        for name, readings in found.items()
    ]
    return models, []


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
        where="/".join(COMPARED),
        expected="the table as `nephroscope compare` wrote it",
        found=found,
        remedy="run `nephroscope compare` again",
    )


def _complete(study: "Study") -> list[str]:
    return [path.name for path in study.folder.runs() if (path / "run.json").exists()]


def _left_out(what: str, why: str) -> Finding:
    return Finding(code="model-left-out", severity="warning", message=f"{what}: {why}; left out", case_id="")
