"""The evaluation of a run from its predictions: figures by image, by case and by the paper's majority of three.

It is written as evaluation.json and two CSV tables.
"""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nephroscope.base.documents import save_document
from nephroscope.base.errors import CohortError
from nephroscope.base.tables import save_table
from nephroscope.clinic.call import label_of, majority_of_three
from nephroscope.learning.run_files import CompleteRun, load_run
from nephroscope.learning.score_run import score_run
from nephroscope.questions.evaluation.operating_points import few_chosen_on, threshold_doubts
from nephroscope.questions.evaluation.sets import set_figures
from nephroscope.records import (
    OUT_OF_FOLD,
    Answer,
    Estimate,
    Evaluation,
    EvaluationConfig,
    EvaluationGroup,
    Finding,
    OperatingPoint,
    Protocol,
    RunFacts,
    SetFigures,
)
from nephroscope.statistics import intervals, metrics
from nephroscope.statistics.estimates import (
    Rows,
    areas_of,
    confusion_shares,
    estimate_all,
    pairwise_areas,
    rows_of_cases,
    shares_of,
)
from nephroscope.statistics.metrics import Ints, Proportion

LEAKY = "LEAKY split by image"


def evaluate_run(run: CompleteRun) -> Evaluation:
    """Score the test cases of a run; writes predictions.csv, slices.csv and evaluation.json into its folder."""
    cohort, record = run.snapshot.cohort, load_run(run.folder)
    predictions, points = score_run(run)
    facts = RunFacts(
        run=run.folder.name,
        model=record.model,
        subtypes=cohort.subtypes,
        positive=cohort.positive,
        protocol=run.snapshot.split.protocol,
        operating_points=tuple(points),
        cohort_digest=cohort.digest,
        run_digest=record.digest,
        synthetic=cohort.synthetic,
        converged=record.converged,
        findings=_doubts(run),
    )
    report = build_report(facts, predictions, run.snapshot.settings.evaluation)
    for save, name in ((predictions_to_csv, "predictions.csv"), (slices_to_csv, "slices.csv")):
        save(predictions, run.folder / name, report.subtypes, report.protocol)
    save_document(run.folder / "evaluation.json", document_of(report), FORMAT)
    return report


def _doubts(run: CompleteRun) -> tuple[Finding, ...]:
    """Doubts about choices made on few cases."""
    snapshot = run.snapshot
    if len(snapshot.cohort.subtypes) > 2:
        return ()
    labels = {case.case_id: case.subtype for case in snapshot.cohort.cases}
    words = few_chosen_on(snapshot.split, labels, snapshot.cohort.subtypes)
    return threshold_doubts(snapshot.settings.evaluation, words)


def build_report(facts: RunFacts, predictions: Sequence[Answer], config: EvaluationConfig) -> Evaluation:
    """The evaluation of a run, one group of figures per test set: out-of-fold first, then as the sets first occur.

    A run that did not converge gets no numbers; under the image protocol every method says LEAKY.

    Raises:
        CohortError: No prediction has a known subtype, or a case occurs twice in a test set.
    """
    known = [p for p in predictions if p.truth is not None]
    if not known:
        raise CohortError(
            where=f"run {facts.run}",
            expected="test cases with a known subtype",
            found=f"{len(predictions)} predictions, none of them with a known subtype",
            remedy="add the pathology labels to cohort.csv",
        )
    groups = []
    for name in sorted(dict.fromkeys(p.group for p in known), key=lambda name: name != OUT_OF_FOLD):
        members = [p for p in known if p.group == name]
        group = evaluate_predictions(
            members, name, facts.subtypes, facts.positive, facts.operating_points, config
        )
        groups.append(_marked(group, facts))
    sets = set_figures(facts, predictions, config)
    return Evaluation(**vars(facts), groups=tuple(groups), predictions=tuple(predictions), sets=sets)


def evaluate_predictions(
    predictions: Sequence[Answer],
    name: str,
    subtypes: Sequence[str],
    positive: str,
    points: Sequence[OperatingPoint],
    config: EvaluationConfig,
) -> EvaluationGroup:
    """Figures of one test set, every one with interval, n, unit and method.

    Args:
        predictions: Cases with a known subtype, each once.
        name: Of the test set, such as ``out-of-fold`` or ``external-test:NAME``.
        subtypes: In output order.
        positive: The subtype that sensitivity is about.
        points: One per fold, or a single one for all; image calls use that of their case's fold.
        config: Resamples, seed and confidence.

    Raises:
        CohortError: A case occurs twice.
    """
    _refuse_twins(predictions, name)
    thresholds = [points[p.fold if len(points) > 1 else 0].threshold for p in predictions]
    at, cases = list(subtypes).index(positive), rows_of_cases(predictions, subtypes)
    truth = cases.truth
    images = _image_rows(predictions, truth, thresholds, at)
    three = replace(
        cases,
        called=np.array(
            [
                majority_of_three(p.slices, _rng_of(p, config), threshold, at)
                for p, threshold in zip(predictions, thresholds, strict=True)
            ],
            dtype=np.intp,
        ),
    )
    sure = np.array([p.call is not None for p in predictions])
    right = cases.called == truth
    doubt = {
        "coverage": Proportion(hits=sure, counted=np.ones_like(sure), empty="nothing to count"),
        "accuracy_when_sure": Proportion(hits=right, counted=sure, empty="no case has a call"),
    }
    return EvaluationGroup(
        name=name,
        image=estimate_all(images, shares_of(images, subtypes, at), areas_of(images, subtypes, at), config),
        case=estimate_all(
            cases, shares_of(cases, subtypes, at) | doubt, areas_of(cases, subtypes, at), config
        )
        | pairwise_areas(cases, subtypes, config),
        majority=estimate_all(three, shares_of(three, subtypes, at), {}, config),
        confusion_image=metrics.confusion(images.truth, images.called, len(subtypes)),
        confusion_case=metrics.confusion(truth, cases.called, len(subtypes)),
        confusion_shares=confusion_shares(cases, len(subtypes), config.confidence),
        n_patients=cases.patients.n,
    )


FORMAT = 1  # of evaluation.json


@dataclass(frozen=True, kw_only=True)
class GroupDocument:
    """One test set in evaluation.json; ``confusion`` has ``image`` and ``case``, and by case their shares."""

    image: dict[str, Estimate]
    case: dict[str, Estimate]
    majority: dict[str, Estimate]
    confusion: dict[str, tuple[tuple[int, ...], ...]]
    n_patients: int
    confusion_shares: tuple[tuple[Estimate, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class EvaluationDocument(GroupDocument, RunFacts):
    """evaluation.json; the fields of `GroupDocument` are those of the first test set."""

    leaky: bool
    warning: str | None
    groups: dict[str, GroupDocument]
    sets: SetFigures | None = None
    format: int = FORMAT


def document_of(report: Evaluation) -> EvaluationDocument:
    """The report as it is written to evaluation.json and for ``--json``."""
    groups = {
        group.name: GroupDocument(
            image=group.image,
            case=group.case,
            majority=group.majority,
            confusion={"image": group.confusion_image, "case": group.confusion_case},
            n_patients=group.n_patients,
            confusion_shares=group.confusion_shares,
        )
        for group in report.groups
    }
    return EvaluationDocument(
        **vars(groups[report.groups[0].name]),
        **{name: getattr(report, name) for name in RunFacts.__dataclass_fields__},
        leaky=report.leaky,
        warning=f"{LEAKY}: slices of one patient are used in both training and testing"
        if report.leaky
        else None,
        groups=groups,
        sets=report.sets,
    )


def predictions_to_csv(
    predictions: Sequence[Answer], path: Path, subtypes: Sequence[str], protocol: Protocol = "patient"
) -> None:
    """Write one row per case: truth, call (empty: not sure), reason, probabilities; ``protocol`` says LEAKY."""
    names = ["case_id", "patient_id", "group", "fold", "truth", "call", "forced_call", "reason"]
    rows = [
        [p.case_id, p.patient_id, p.group, p.fold, p.truth or "", p.call or "", p.forced_call, p.reason]
        + [f"{p.probabilities[s]:.6f}" for s in subtypes]
        + [len(p.slices), _protocol_text(protocol)]
        for p in predictions
    ]
    save_table(path, [*names, *(f"p_{s}" for s in subtypes), "n_slices", "protocol"], rows)


def slices_to_csv(
    predictions: Sequence[Answer], path: Path, subtypes: Sequence[str], protocol: Protocol = "patient"
) -> None:
    """Write one row per slice: case, slice index, area in mm2, probabilities; ``protocol`` says LEAKY."""
    mark = _protocol_text(protocol)
    rows = [
        [p.case_id, s.slice_index, f"{s.area_mm2:.1f}", *map("{:.6f}".format, s.probabilities), mark]
        for p in predictions
        for s in p.slices
    ]
    save_table(path, ["case_id", "slice_index", "area_mm2", *(f"p_{s}" for s in subtypes), "protocol"], rows)


def _image_rows(
    predictions: Sequence[Answer], truth: Ints, thresholds: Sequence[float], positive: int
) -> Rows:
    """Every slice of every case, called by the threshold of its case's fold."""
    counts = [len(p.slices) for p in predictions]
    owner: list[int] = np.repeat(np.arange(len(predictions)), counts).tolist()
    p = np.array([s.probabilities for case in predictions for s in case.slices])
    called = [label_of(row.tolist(), thresholds[i], positive) for row, i in zip(p, owner, strict=True)]
    return Rows(
        unit="image",
        truth=truth[owner],
        called=np.array(called, dtype=np.intp),
        p=p,
        patients=intervals.Patients.of(
            [predictions[i].patient_id for i in owner], truth[owner], [p.fold for p in predictions]
        ),
    )


def _rng_of(prediction: Answer, config: EvaluationConfig) -> np.random.Generator:
    """Random numbers of this case only: its three slices do not depend on which other cases are evaluated."""
    return np.random.default_rng([config.seed, zlib.crc32(prediction.case_id.encode())])


def _marked(group: EvaluationGroup, facts: RunFacts) -> EvaluationGroup:
    """The group without numbers if the run did not converge; with LEAKY in every method if it is."""

    def mark(estimate: Estimate) -> Estimate:
        if not facts.converged:
            estimate = replace(estimate, value=None, low=None, high=None, method="did not converge")
        if facts.protocol == "image":
            estimate = replace(estimate, method=f"{LEAKY}; {estimate.method}")
        return estimate

    figures: dict[str, Any] = {
        part: {name: mark(e) for name, e in getattr(group, part).items()}
        for part in ("image", "case", "majority")
    }
    names = ("confusion_image", "confusion_case", "confusion_shares")
    hidden: dict[str, Any] = {} if facts.converged else dict.fromkeys(names, ())
    marked = tuple(tuple(mark(e) for e in row) for row in group.confusion_shares)
    return replace(group, **figures, **({"confusion_shares": marked} | hidden))


def _refuse_twins(predictions: Sequence[Answer], name: str) -> None:
    case_id, times = Counter(p.case_id for p in predictions).most_common(1)[0]
    if times > 1:
        raise CohortError(
            where=f"test set {name}, case {case_id}",
            expected="one prediction per case",
            found=f"{times}",
            remedy="combine the slices of all its folds in one prediction, or evaluate the folds separately",
        )


def _protocol_text(protocol: Protocol) -> str:
    return LEAKY if protocol == "image" else protocol
