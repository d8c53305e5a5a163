"""What is computed for the page of a run beyond its evaluation, a record for each test set.

Calibration (as it is, and rescaled on other patients), decision curve, operating points at stated sensitivities,
risk against coverage, subgroups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nephroscope.base.errors import ConfigError
from nephroscope.questions.compare.document import Comparison, load_comparison
from nephroscope.questions.evaluation.evaluate import LEAKY
from nephroscope.questions.evaluation.operating_points import AchievedPoint, operating_point_at
from nephroscope.questions.evaluation.recalibration import How, Rescaling, recalibrate
from nephroscope.questions.evaluation.subgroups import Subgroup, auc_without, subgroup_table
from nephroscope.records import Answer, Estimate, Evaluation
from nephroscope.report.page.section import Filled
from nephroscope.report.study.content import ReportContent
from nephroscope.statistics.calibration import CalibrationCurve, calibrate, calibrate_each, calibration_curve
from nephroscope.statistics.coverage import CoverageCurve, coverage_of
from nephroscope.statistics.decision_curve import DecisionCurve, decision_curve
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.metrics import Ints

RAW = "as it is"
HOWS: tuple[How, ...] = ("temperature", "platt")
SENSITIVITIES = (0.8, 0.9, 0.95)


@dataclass(frozen=True, kw_only=True)
class GroupAppraisal:
    """One test set.

    Attributes:
        calibration: Figures by name, by ``as it is``, ``temperature`` and ``platt``; with more than two subtypes
            by subtype.
        curves: Calibration curves, ``as it is`` and ``platt``; none with more than two subtypes.
        decision: None with more than two subtypes.
        subgroups: Of this test set.
        undoubted: AUC of the cases whose ROI `check` does not doubt; None where it doubts none of this test set.
    """

    name: str
    calibration: Mapping[str, Mapping[str, Estimate]]
    curves: Mapping[str, CalibrationCurve]
    decision: DecisionCurve | None
    coverage: CoverageCurve
    operating: tuple[AchievedPoint, ...]
    subgroups: tuple[Subgroup, ...]
    undoubted: Estimate | None = None

    @property
    def has_subgroups(self) -> bool:
        """Whether any subgroup is large enough for a figure."""
        return any(e.value is not None for s in self.subgroups for e in s.figures.values())


@dataclass(frozen=True, kw_only=True)
class Appraisal:
    """All test sets by name; empty for a run that did not converge.

    ``why_not_rescaled`` says why nothing could be rescaled, and no threshold chosen for a sensitivity.
    """

    groups: Mapping[str, GroupAppraisal] = field(default_factory=dict)
    rescalings: tuple[Rescaling, ...] = ()
    why_not_rescaled: str = ""


def appraise(content: ReportContent) -> Appraisal:
    """Everything the page needs beyond the evaluation."""
    report = content.main.report
    known = [p for p in report.predictions if p.truth is not None]
    if not report.converged:
        return Appraisal()
    two = len(report.subtypes) == 2
    other = _on_other_folds(content, known) if two else _points_of_each(content, known)
    groups = {}
    for group in report.groups:
        members = [p for p in known if p.group == group.name]
        found = replace(
            _group(content, group.name, members, other.rescaled),
            operating=tuple(point for point in other.achieved if point.group == group.name),
        )
        groups[group.name] = marked_leaky(found) if report.leaky else found
    return Appraisal(groups=groups, rescalings=other.rescalings, why_not_rescaled=other.why)


@dataclass(frozen=True, kw_only=True)
class _OnOtherFolds:
    """What needs out-of-fold predictions of other patients to be fitted or chosen on."""

    rescaled: Mapping[str, Mapping[str, Answer]] = field(default_factory=dict)
    rescalings: tuple[Rescaling, ...] = ()
    achieved: tuple[AchievedPoint, ...] = ()
    why: str = ""


def _on_other_folds(content: ReportContent, known: Sequence[Answer]) -> _OnOtherFolds:
    report = content.main.report
    try:
        fits = {how: recalibrate(known, report.subtypes, report.positive, how) for how in HOWS}
        achieved = [operating_point_at(known, report.positive, s, content.evaluation) for s in SENSITIVITIES]
    except ConfigError as error:
        return _OnOtherFolds(why=f"{error.expected} are needed, found {error.found}")
    return _OnOtherFolds(
        rescaled={how: {p.case_id: p for p in answers} for how, (answers, _) in fits.items()},
        rescalings=tuple(fit for _, of_how in fits.values() for fit in of_how),
        achieved=tuple(point for points in achieved for point in points),
    )


def _points_of_each(content: ReportContent, known: Sequence[Answer]) -> _OnOtherFolds:
    """Thresholds on the probability of each of several subtypes, against the rest."""
    report = content.main.report
    try:
        achieved = [
            operating_point_at(known, subtype, s, content.evaluation)
            for subtype in report.subtypes
            for s in SENSITIVITIES
        ]
    except ConfigError:
        return _OnOtherFolds()  # too few cases of a subtype: its row could not be filled
    return _OnOtherFolds(achieved=tuple(point for points in achieved for point in points))


def _group(
    content: ReportContent, name: str, members: Sequence[Answer], rescaled: Mapping[str, Mapping[str, Answer]]
) -> GroupAppraisal:
    report, config = content.main.report, content.evaluation
    two = len(report.subtypes) == 2
    calibration, curves, decision = _two(content, members, rescaled) if two else ({}, {}, None)
    if not two:
        p = np.array([[m.probabilities[s] for s in report.subtypes] for m in members])
        truth, patients = _truth(content, members)
        calibration = calibrate_each(p, truth, report.subtypes, patients, config)
    doubted = {m.case_id for m in members} & {finding.case_id for finding in content.roi_warnings or ()}
    return GroupAppraisal(
        name=name,
        undoubted=auc_without(members, doubted, report.subtypes, report.positive, config)
        if doubted
        else None,
        calibration=calibration,
        curves=curves,
        decision=decision,
        coverage=coverage_of(members, report.subtypes, report.positive, report.operating_points, config),
        operating=(),
        subgroups=subgroup_table(
            members, content.cohort, content.facts, report.subtypes, report.positive, config
        ),
    )


def _two(
    content: ReportContent, members: Sequence[Answer], rescaled: Mapping[str, Mapping[str, Answer]]
) -> tuple[dict[str, dict[str, Estimate]], dict[str, CalibrationCurve], DecisionCurve]:
    """Calibration of two subtypes, as it is and rescaled, and the decision curve."""
    report, config = content.main.report, content.evaluation
    truth, patients = _truth(content, members)
    is_positive = truth == report.subtypes.index(report.positive)
    sets = {RAW: members} | {how: [by_id[m.case_id] for m in members] for how, by_id in rescaled.items()}
    p = {how: np.array([m.probabilities[report.positive] for m in rows]) for how, rows in sets.items()}
    figures = {how: calibrate(values, is_positive, patients, config) for how, values in p.items()}
    curves = {
        how: calibration_curve(p[how], is_positive, patients, config) for how in p if how in (RAW, "platt")
    }
    return figures, curves, decision_curve(p[RAW], is_positive, patients, config)


def _truth(content: ReportContent, members: Sequence[Answer]) -> tuple[Ints, Patients]:
    subtypes = content.main.report.subtypes
    truth = np.array([subtypes.index(m.truth or "") for m in members], dtype=np.intp)
    return truth, Patients.of([m.patient_id for m in members], truth, [m.fold for m in members])


def marked_leaky(found: Any) -> Any:
    """The same record, tuple or mapping with LEAKY in front of every ``method`` in it."""
    if isinstance(found, Mapping):
        return {name: marked_leaky(value) for name, value in found.items()}
    if isinstance(found, tuple):
        return tuple(marked_leaky(value) for value in found)
    names = getattr(type(found), "__dataclass_fields__", None)
    if names is None:
        return found
    changes = {name: marked_leaky(getattr(found, name)) for name in names}
    if isinstance(changes.get("method"), str):
        changes["method"] = f"{LEAKY}; {changes['method']}"
    return replace(found, **changes)


@dataclass(frozen=True, eq=False, kw_only=True)
class RunSource:
    """What the sections of a run's page are filled from.

    ``comparison`` is the last one of the study; ``above`` is the content of the sections above.
    """

    content: ReportContent
    appraisal: Appraisal
    comparison: Comparison | None = None
    above: tuple[Filled, ...] = ()

    @property
    def report(self) -> Evaluation:
        """The evaluation of the run that the page is about."""
        return self.content.main.report


def source_of(content: ReportContent) -> RunSource:
    """Computes the figures and reads the study's comparison, once for all sections."""
    compared = None if content.study is None else load_comparison(content.study)
    return RunSource(content=content, appraisal=appraise(content), comparison=compared)
