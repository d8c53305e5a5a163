"""Score the test cases of a run, each by a model that never saw its patient. ONNX Runtime; no torch."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nephroscope.base.errors import StudyError
from nephroscope.base.progress import track
from nephroscope.clinic.call import youden_threshold
from nephroscope.clinic.score import CaseInput, Scorer, case_features, learn_domain
from nephroscope.learning.run_files import CompleteRun, KeptNetwork, load_run
from nephroscope.records import (
    Answer,
    Fold,
    OperatingPoint,
)


def score_run(run: CompleteRun) -> tuple[list[Answer], list[OperatingPoint]]:
    """Predictions of all test cases with truth, group and fold; and one operating point per fold.

    With several folds, development cases are answered by the fold that tested them, and held-out cases by the
    fold that would be exported.
    """
    snapshot = run.snapshot
    points: list[OperatingPoint] = []
    answers: dict[str, Answer] = {}
    several = len(snapshot.split.folds) > 1
    chosen = exported_fold(run.folder) if several and snapshot.split.holdout else None
    for fold in track(snapshot.split.folds, "scoring", "fold", len(snapshot.split.folds)):
        scorer = fold_scorer(run, fold)
        points.append(scorer.point)
        names = fold.test
        if fold.index == chosen:
            names = names | snapshot.split.holdout
        for case in _cut_cases(run, names):
            answer = scorer.answer(case)
            before = answers.get(case.case_id)
            if before is not None:  # image protocol: slices of a case are tested in several folds
                answer = scorer.conclude(case, (*before.slices, *answer.slices), before.findings)
            answers[case.case_id] = replace(
                answer,
                truth=snapshot.cohort.by_id[case.case_id].subtype,
                group=snapshot.test_set_of(case.case_id),
                fold=before.fold if before else fold.index,
            )
    return list(answers.values()), points


def exported_fold(folder: Path) -> int:
    """The fold that is exported: lowest validation loss of those that converged."""
    usable = [(fold, fold.best.validation_loss) for fold in load_run(folder).folds if fold.best]
    if not usable:
        raise StudyError(
            where=f"run {folder.name}",
            expected="a fold with a finite validation loss",
            found="none: it did not converge",
            remedy="train another network, or with a lower --learning-rate",
        )
    best, _ = min(usable, key=lambda item: (not item[0].converged, item[1]))
    return best.index


def fold_scorer(run: CompleteRun, fold: Fold) -> Scorer:
    """The scorer of one fold: its network, threshold and applicability domain."""
    network, snapshot = KeptNetwork(run.folder, fold.index), run.snapshot
    config = snapshot.settings.evaluation
    spec = snapshot.slices.spec
    features = (case_features(case.hu, case.mm_per_px, spec) for case in _cut_cases(run, fold.train))
    scorer = Scorer(
        network=network,
        subtypes=snapshot.cohort.subtypes,
        positive=snapshot.cohort.positive,
        point=OperatingPoint(threshold=0.5, criterion="fixed", chosen_on="nothing: fixed before any data"),
        not_sure_margin=config.not_sure_margin,
        domain=learn_domain(features),
        spec=spec,
        model_digest=network.digest[:16],
    )
    if config.criterion == "fixed" or len(snapshot.cohort.subtypes) > 2:
        return scorer
    answers = [scorer.answer(case) for case in _cut_cases(run, fold.validation)]
    positive = snapshot.cohort.positive
    threshold = youden_threshold(
        [answer.probabilities[positive] for answer in answers],
        [snapshot.cohort.by_id[answer.case_id].subtype == positive for answer in answers],
    )
    chosen_on = f"{len(answers)} validation cases of fold {fold.index}"
    return replace(scorer, point=OperatingPoint(threshold=threshold, criterion="youden", chosen_on=chosen_on))


def _cut_cases(run: CompleteRun, names: frozenset[str]) -> Iterator[CaseInput]:
    """The named cases, or under the image protocol the named slices of each case."""
    store = run.snapshot.slices
    wanted: dict[str, set[int]] = {}
    for name in sorted(names):
        if name in store.rows_by_case:
            wanted[name] = set(store.slice_index[store.rows_by_case[name]].tolist())
        else:
            case_id, _, slice_index = name.rpartition("#")
            wanted.setdefault(case_id, set()).add(int(slice_index))
    for case_id, kept in wanted.items():
        rows = [row for row in store.rows_by_case[case_id] if int(store.slice_index[row]) in kept]
        case = run.snapshot.cohort.by_id[case_id]
        slices, presence = store.by_phase(case_id, rows)
        yield CaseInput(
            case_id=case_id,
            patient_id=case.patient_id,
            slices=slices,
            presence=presence,
            chosen=store.phase_of(case_id),
            clinical=case.clinical,
            slice_index=store.slice_index[rows].tolist(),
            area_mm2=store.area_mm2[rows].tolist(),
            mm_per_px=float(store.mm_per_px[rows[0]]),
            findings=tuple(f for f in store.findings if f.case_id == case_id),
        )
