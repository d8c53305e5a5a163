"""Score the test cases of a run, each by a model that never saw its patient. ONNX Runtime; no torch."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import StudyError
from nephroscope.base.progress import track
from nephroscope.clinic.call import youden_threshold
from nephroscope.clinic.facts import FactsModel
from nephroscope.clinic.score import CaseInput, Scorer, case_features, learn_domain
from nephroscope.learning.fuse_run import fold_models
from nephroscope.learning.networks.table import fuses, phases_of
from nephroscope.learning.run_files import CompleteRun, KeptNetwork, load_run, run_config
from nephroscope.records import Answer, Fold, OperatingPoint
from nephroscope.study.phases import OF_FURTHER_PHASES

ALL_FOLDS = -1  # in place of a fold's index, for cases that the mean of all networks answered
FIXED = OperatingPoint(threshold=0.5, criterion="fixed", chosen_on="nothing: fixed before any data")


@dataclass(frozen=True, kw_only=True)
class MeanNetwork:
    """Several networks that answer as one: the mean of their probabilities."""

    networks: tuple[KeptNetwork, ...]

    @property
    def digest(self) -> str:
        """Of all their files."""
        return hashlib.sha256(" ".join(one.digest for one in self.networks).encode()).hexdigest()

    def probabilities(self, hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
        """Mean probabilities (N, n_subtypes) of slices (N, size, size) in HU."""
        mean: npt.NDArray[np.float64] = np.mean([one.probabilities(hu) for one in self.networks], axis=0)
        return mean


def score_run(
    run: CompleteRun, models: Mapping[int, FactsModel] | None = None
) -> tuple[list[Answer], list[OperatingPoint]]:
    """Predictions of all test cases with truth, group and fold; and one operating point per fold.

    A run of `fusion` answers each fold with the regression on image and facts of the other folds' out-of-fold cases,
    and held-out cases with that of all. ``models`` are these regressions, where they are known.

    With several folds, development cases are answered by the fold that tested them, and held-out cases by what would
    be exported: the mean of the folds' networks. Their fold is `ALL_FOLDS`, and their operating point the last.
    """
    answers, points, scorers = _score_images(run)
    if not fuses(run_config(run.folder).model):
        return answers, points
    models, by_id = fusions(run, answers) if models is None else models, run.snapshot.cohort.by_id
    return [
        replace(scorers[one.fold], facts=models[one.fold]).concluded(one, by_id[one.case_id].clinical)
        for one in answers
    ], points


def fusions(run: CompleteRun, answers: Sequence[Answer] = ()) -> dict[int, FactsModel]:
    """The regression of image and facts for each fold, and under `ALL_FOLDS` that for held-out cases.

    Args:
        run: Of `fusion`.
        answers: Of the run; by default it is scored first.
    """
    answers = answers or _score_images(run)[0]
    folds = [*(fold.index for fold in run.snapshot.split.folds), ALL_FOLDS]
    return fold_models(answers, run.snapshot.cohort.subtypes, run.snapshot.cohort.by_id, folds)


def _score_images(run: CompleteRun) -> tuple[list[Answer], list[OperatingPoint], dict[int, Scorer]]:
    """What the networks alone say of the test cases; and by fold what answered."""
    snapshot = run.snapshot
    points: list[OperatingPoint] = []
    answers: dict[str, Answer] = {}
    scorers: dict[int, Scorer] = {}
    folds = snapshot.split.folds

    def keep(answer: Answer, fold: int) -> None:
        case_id = answer.case_id
        truth, group = snapshot.cohort.by_id[case_id].subtype, snapshot.test_set_of(case_id)
        answers[case_id] = replace(answer, truth=truth, group=group, fold=fold)

    for fold in track(folds, "scoring", "fold", len(folds)):
        scorer = scorers[fold.index] = fold_scorer(run, fold)
        points.append(scorer.point)
        for case in _cut_cases(run, fold.test):
            answer = scorer.answer(case)
            before = answers.get(case.case_id)
            if before is not None:  # image protocol: slices of a case are tested in several folds
                answer = scorer.conclude(case, (*before.slices, *answer.slices), before.findings)
            keep(answer, before.fold if before else fold.index)
    if len(folds) > 1 and snapshot.split.holdout:
        scorer = scorers[ALL_FOLDS] = exported_scorer(run, points)
        points.append(scorer.point)
        for case in _cut_cases(run, snapshot.split.holdout):
            keep(scorer.answer(case), ALL_FOLDS)
    return list(answers.values()), points, scorers


def usable_folds(folder: Path) -> tuple[int, ...]:
    """The folds that converged; where none did, all with a finite loss, which may be none.

    No fold is chosen by its validation loss: the folds have different and small validation parts, so that the lowest
    loss is largely luck (`benchmarks/fold_choice.py`).
    """
    usable = [fold for fold in load_run(folder).folds if fold.best]
    return tuple(fold.index for fold in [fold for fold in usable if fold.converged] or usable)


def exported_folds(folder: Path) -> tuple[int, ...]:
    """The folds whose networks are exported: the usable ones.

    Raises:
        StudyError: There is none.
    """
    usable = usable_folds(folder)
    if not usable:
        raise StudyError(
            where=f"run {folder.name}",
            expected="a fold with a finite validation loss",
            found="none: it did not converge",
            remedy="train another network, or with a lower --learning-rate",
        )
    return usable


def exported_scorer(run: CompleteRun, points: Sequence[OperatingPoint] = ()) -> Scorer:
    """The scorer that is exported: the mean of the folds' networks, at the mean of the folds' thresholds.

    No case is left on which a threshold of the mean could be chosen, as each was seen by a network in it. ``points``
    are those of all folds, where they are known.
    """
    exported = exported_folds(run.folder)
    folds = [fold for fold in run.snapshot.split.folds if fold.index in exported]
    if len(folds) == 1:
        return fold_scorer(run, folds[0])
    learned = frozenset[str]().union(*(fold.train for fold in folds))
    network = MeanNetwork(networks=tuple(KeptNetwork(run.folder, index) for index in exported))
    scorer = _scorer(run, network, learned, network.digest)
    if _is_fixed(run):
        return scorer
    own = [points[fold.index] if points else fold_scorer(run, fold).point for fold in folds]
    validated = sum(len(fold.validation) for fold in folds)
    chosen_on = f"{validated} validation cases of {len(folds)} folds, as the mean of the folds' thresholds"
    threshold = float(np.mean([point.threshold for point in own]))
    return replace(scorer, point=OperatingPoint(threshold=threshold, criterion="youden", chosen_on=chosen_on))


def fold_scorer(run: CompleteRun, fold: Fold) -> Scorer:
    """The scorer of one fold: its network, threshold and applicability domain."""
    network = KeptNetwork(run.folder, fold.index)
    scorer = _scorer(run, network, fold.train, network.digest)
    if _is_fixed(run):
        return scorer
    answers = [scorer.answer(case) for case in _cut_cases(run, fold.validation)]
    positive, cohort = scorer.positive, run.snapshot.cohort
    threshold = youden_threshold(
        [answer.probabilities[positive] for answer in answers],
        [cohort.by_id[answer.case_id].subtype == positive for answer in answers],
    )
    chosen_on = f"{len(answers)} validation cases of fold {fold.index}"
    return replace(scorer, point=OperatingPoint(threshold=threshold, criterion="youden", chosen_on=chosen_on))


def _is_fixed(run: CompleteRun) -> bool:
    """True where no threshold is chosen on data."""
    several = len(run.snapshot.cohort.subtypes) > 2
    return (
        several
        or run.snapshot.settings.evaluation.criterion == "fixed"
        or fuses(run_config(run.folder).model)
    )


def _scorer(
    run: CompleteRun, network: KeptNetwork | MeanNetwork, learned: frozenset[str], digest: str
) -> Scorer:
    """A network with the threshold 0.5, and the applicability domain of the cases it learned from."""
    snapshot = run.snapshot
    spec = snapshot.slices.spec
    features = (case_features(case.hu, case.mm_per_px, spec) for case in _cut_cases(run, learned))
    return Scorer(
        network=network,
        subtypes=snapshot.cohort.subtypes,
        positive=snapshot.cohort.positive,
        point=FIXED,
        not_sure_margin=snapshot.settings.evaluation.not_sure_margin,
        domain=learn_domain(features),
        spec=spec,
        model_digest=digest[:16],
        phases=phases_of(run_config(run.folder).model, spec.phases),
    )


def _cut_cases(run: CompleteRun, names: frozenset[str]) -> Iterator[CaseInput]:
    """The named cases, or under the image protocol the named slices of each case."""
    store = run.snapshot.slices
    several = phases_of(run_config(run.folder).model, store.spec.phases)
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
            findings=tuple(
                f for f in store.findings_of.get(case_id, ()) if several or f.code not in OF_FURTHER_PHASES
            ),
        )
