"""Radiologists and the models of a study: a table of calls compared with runs and baselines."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nephroscope.base.errors import NephroscopeError, StudyError
from nephroscope.intake.labels.pathology import load_pathology, name_of_subtype
from nephroscope.learning.run_files import load_run, open_run
from nephroscope.learning.score_run import score_run
from nephroscope.questions.compare.document import load_comparison, read_answers
from nephroscope.questions.readers.answers import CaseLabels, Reader, ReaderAnswer
from nephroscope.questions.readers.call_table import CallOptions, read_calls
from nephroscope.questions.readers.reader_study import ReaderStudy, study_readers
from nephroscope.questions.readers.write import COMPARED, digests_of, save_reader_study
from nephroscope.records import DEVELOPMENT, INTERNAL_TEST, OUT_OF_FOLD, Answer, Finding, warning
from nephroscope.study.snapshot import Snapshot
from nephroscope.study.split import load_split

LEAKY = " (LEAKY)"
BASELINE = "baseline of the comparison"


def readers_against_models(
    snapshot: Snapshot, path: Path, runs: Sequence[str] = (), options: CallOptions | None = None
) -> ReaderStudy:
    """Compare a table of calls with runs and baselines, and write readers/ into the study.

    Args:
        snapshot: Gives truth, patients and runs.
        path: Table of calls.
        runs: Names of complete runs; without any, the baselines of the last comparison and all runs but those that
            are damaged or older than the cohort or its slices; a finding names these.
        options: How the table is read.

    Raises:
        CohortError: The table is refused; see `read_calls`.
        StudyError: A named run is not complete, damaged, or older than the cohort or its slices.
    """
    labels, meaning_of = labels_of(snapshot)
    options = options or CallOptions()
    if options.margin is None:
        options = replace(options, margin=snapshot.settings.comparison.margin)
    table = read_calls(path, labels, meaning_of, options)
    models, findings = run_models(snapshot, runs)
    baselines, doubts = ([], []) if runs else compared_models(snapshot, labels)
    findings += doubts
    config = snapshot.settings.evaluation
    labels = replace(labels, group_of=test_sets(snapshot, models))
    found = study_readers(table, [*models, *baselines], labels, config, snapshot.cohort.synthetic, findings)
    used = [model.name.removesuffix(LEAKY) for model in models]
    digests = digests_of(snapshot.folder, snapshot.cohort.label_digest, config, used, compared=not runs)
    save_reader_study(snapshot.folder.root, found, digests)
    return found


def labels_of(snapshot: Snapshot) -> tuple[CaseLabels, Callable[[str], str | None]]:
    """Truth of the cases of a study, and the study's name of a subtype as typed."""
    cohort, pathology = snapshot.cohort, load_pathology(snapshot.folder.root)
    labels = CaseLabels(
        subtypes=cohort.subtypes,
        positive=cohort.positive,
        truth={case.case_id: case.subtype for case in cohort.cases if case.subtype},
        patient_of={case.case_id: case.patient_id for case in cohort.cases},
    )
    return labels, lambda text: name_of_subtype(text, cohort.subtypes, pathology)


def test_sets(snapshot: Snapshot, models: Sequence[Reader]) -> dict[str, str]:
    """Test set of each labeled case by splits.json; where that cannot be read, by the runs' own splits."""
    cases = {case.case_id: case.cohort for case in snapshot.cohort.cases if case.subtype}
    marked = {case_id: marked for case_id, marked in cases.items() if marked != DEVELOPMENT}
    try:
        split, _ = load_split(snapshot.folder.splits, snapshot.cohort)
    except (NephroscopeError, OSError):
        by_runs = {c: r.group for model in models for c, r in model.answers.items() if r.group}
        return dict.fromkeys(cases, OUT_OF_FOLD) | by_runs | marked
    return dict.fromkeys(cases, OUT_OF_FOLD) | dict.fromkeys(split.holdout, INTERNAL_TEST) | marked


def run_models(snapshot: Snapshot, runs: Sequence[str]) -> tuple[list[Reader], list[Finding]]:
    """Answers of each run about the cases that it was tested on, scored again; findings name the runs left out."""
    models: list[Reader] = []
    findings: list[Finding] = []
    complete = [path.name for path in snapshot.folder.runs() if (path / "run.json").exists()]
    for name in runs or complete:
        try:
            scored = open_run(snapshot, name)
            converged = load_run(scored.folder).converged
            predictions = score_run(scored)[0] if converged else []
        except StudyError as error:
            if runs:
                raise
            findings.append(_left_out(f"run {name}", str(error).removeprefix(f"run {name}: ")))
            continue
        if not converged:
            findings.append(_left_out(f"run {name}", "did not converge"))
            continue
        leaky = scored.snapshot.split.protocol == "image"
        if leaky:
            why = "LEAKY split by image, slices of one patient are used in both training and testing"
            what = "its figures are shown and marked, and it is left out of all tests"
            findings.append(warning("leaky-split", f"run {name}: {why}; {what}"))
        model = model_of(name, predictions, snapshot.settings.positive)
        models.append(replace(model, name=name + LEAKY, leaky=True) if leaky else model)
    return models, findings


def model_of(name: str, predictions: Sequence[Answer], positive: str) -> Reader:
    """A run's answers: the call when "not sure" is not allowed, and the probability of the positive subtype."""
    answers = {
        p.case_id: ReaderAnswer(
            call=p.forced_call, confidence=p.probabilities[positive], group=p.group, fold=str(p.fold)
        )
        for p in predictions
    }
    source = f"run, {', '.join(dict.fromkeys(p.group for p in predictions))}"
    return Reader(name=name, aided=False, answers=answers, model=True, source=source, of_study=True)


def compared_models(snapshot: Snapshot, labels: CaseLabels) -> tuple[list[Reader], list[Finding]]:
    """Baselines of `nephroscope compare`, if it kept their predictions; left out if they are out of date."""
    path = snapshot.folder.root / COMPARED
    compared = load_comparison(snapshot.folder.root) if path.is_file() else None
    if compared is None:
        return [], []
    if compared.stale:
        return [], [_left_out("baselines of the comparison", compared.stale)]
    found: dict[str, dict[str, ReaderAnswer]] = {}
    for row in read_answers(snapshot.folder.root, [labels.positive]):
        if row.case_id in labels.truth and row.kind != "network":  # networks are the runs themselves
            answer = ReaderAnswer(call=row.call, confidence=row.p[labels.positive], fold=row.fold)
            found.setdefault(row.name, {})[row.case_id] = answer
    if len({frozenset(answers) for answers in found.values()}) > 1:
        raise StudyError(
            where=COMPARED,
            expected="the same cases of every baseline",
            found="other cases of one baseline than of another",
            remedy="run `nephroscope compare` again",
        )
    kind = Reader(name="", aided=False, answers={}, model=True, source=BASELINE, of_study=True, baseline=True)
    return [replace(kind, name=name, answers=answers) for name, answers in found.items()], []


def _left_out(what: str, why: str) -> Finding:
    return warning("model-left-out", f"{what}: {why}; left out")
