"""Thresholds for a wanted sensitivity, chosen on other patients, and what they achieve."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nephroscope.base.errors import ConfigError
from nephroscope.clinic.call import ROUNDING
from nephroscope.records import (
    OUT_OF_FOLD,
    Answer,
    Estimate,
    EvaluationConfig,
    Finding,
    OperatingPoint,
    Split,
    warning,
)
from nephroscope.statistics.estimates import Rows, estimate_all, shares_of
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.metrics import Bools, Floats, Ints
from nephroscope.statistics.predictive_values import predictive_values


@dataclass(frozen=True, kw_only=True)
class AchievedPoint:
    """What thresholds for a wanted sensitivity achieve on one test set.

    Attributes:
        group: The test set.
        subtype: The one whose probability the thresholds are on.
        points: By fold; a single one, of fold -1, if all cases share it.
        achieved: ``sensitivity``, ``specificity``, ``precision`` and ``accuracy`` on the test set.
    """

    group: str
    wanted_sensitivity: float
    points: dict[int, OperatingPoint]
    achieved: dict[str, Estimate]
    subtype: str = ""


def threshold_for_sensitivity(p: Floats, is_positive: Bools, sensitivity: float) -> float:
    """The highest threshold that calls at least this share of the positives, halfway to the next lower probability.

    Raises:
        ConfigError: There is no positive case, or the sensitivity is not above 0 and at most 1.
    """
    positives = np.sort(p[is_positive])[::-1]
    if not 0 < sensitivity <= 1 or not positives.size:
        raise ConfigError(
            where="operating point at a stated sensitivity",
            expected="a sensitivity above 0 and at most 1, and positive cases to choose the threshold on",
            found=f"{sensitivity:g} and {positives.size} positive",
            remedy="correct the sensitivity, or use fewer folds",
        )
    lowest = positives[int(np.ceil(sensitivity * positives.size - ROUNDING)) - 1]
    below = p[p < lowest]
    return float((lowest + below.max()) / 2) if below.size else float(lowest)


def thresholds_by_fold(
    p: Floats,
    is_positive: Bools,
    patients: Patients,
    folds: Ints,
    sensitivity: float,
    unit: Literal["image", "case"] = "case",
) -> dict[int, OperatingPoint]:
    """For each fold, the threshold for a sensitivity on the cases of the other folds, without its own patients.

    Raises:
        ConfigError: There is one fold only, or no positive case in the others.
    """
    names = np.unique(folds)
    if names.size < 2:
        raise ConfigError(
            where="operating point at a stated sensitivity",
            expected="two folds or more, so that the threshold of each can be chosen on others",
            found="one fold",
            remedy="divide into more folds, or choose the threshold on validation cases",
        )
    others = {fold: ~np.isin(patients.row, patients.row[folds == fold]) for fold in names.tolist()}
    return {
        fold: _point(p[rows], is_positive[rows], sensitivity, f"of other folds than {fold}", unit)
        for fold, rows in others.items()
    }


def achieved_by(  # noqa: PLR0913
    p: Floats,
    is_positive: Bools,
    patients: Patients,
    thresholds: Floats,
    config: EvaluationConfig,
    unit: Literal["image", "case"] = "case",
    prevalence: float | None = None,
) -> dict[str, Estimate]:
    """Sensitivity, specificity, precision and accuracy of rows called by their own thresholds, (n,).

    With a ``prevalence`` also ``ppv`` and ``npv`` at that prevalence.
    """
    called = (p >= thresholds).astype(np.intp)
    truth = is_positive.astype(np.intp)
    rows = Rows(unit=unit, truth=truth, called=called, p=np.column_stack([1 - p, p]), patients=patients)
    shares = shares_of(rows, ("negative", "positive"), 1)
    found = estimate_all(rows, shares, {}, config)
    if prevalence is None:
        return found
    both = shares["sensitivity"], shares["specificity"]
    return found | predictive_values(rows, both, prevalence, config.confidence)


def operating_point_at(
    predictions: Sequence[Answer], positive: str, sensitivity: float, config: EvaluationConfig
) -> tuple[AchievedPoint, ...]:
    """One per test set of a run: out-of-fold cases by thresholds from other folds, the rest by one from all of them.

    Raises:
        ConfigError: The out-of-fold cases have one fold only, or too few positive cases.
    """
    known = [p for p in predictions if p.truth is not None]
    inner = [p for p in known if p.group == OUT_OF_FOLD]
    found = []
    for name in dict.fromkeys(p.group for p in known):
        members = [p for p in known if p.group == name]
        p, yes, patients = _arrays(members, positive)
        if name == OUT_OF_FOLD:
            folds = np.array([m.fold for m in members], dtype=np.intp)
            points = thresholds_by_fold(p, yes, patients, folds, sensitivity)
            thresholds = np.array([points[fold].threshold for fold in folds.tolist()])
        else:
            here = {m.patient_id for m in members}
            chosen_on = [m for m in inner if m.patient_id not in here]
            inner_p, inner_yes, _ = _arrays(chosen_on, positive)
            points = {-1: _point(inner_p, inner_yes, sensitivity, "of all folds")}
            thresholds = np.full(p.size, points[-1].threshold)
        achieved = achieved_by(p, yes, patients, thresholds, config)
        found.append(
            AchievedPoint(
                group=name,
                wanted_sensitivity=sensitivity,
                points=points,
                achieved=achieved,
                subtype=positive,
            )
        )
    return tuple(found)


FEW_CASES = 10  # of a subtype: what is chosen on fewer is largely chance


def few_chosen_on(split: Split, labels: Mapping[str, str | None], subtypes: Sequence[str]) -> str:
    """Of which cases the validation parts consist, where one has fewer than 10 of a subtype; else empty.

    Args:
        split: By patient.
        labels: Subtype by case.
        subtypes: Of the study.
    """
    parts = [Counter(labels[name] for name in fold.validation if name in labels) for fold in split.folds]
    parts = [part for part in parts if part.total()]
    fewest = {subtype: min((part[subtype] for part in parts), default=0) for subtype in subtypes}
    if not parts or min(fewest.values()) >= FEW_CASES:
        return ""
    sizes = [part.total() for part in parts]
    n = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    rare = ", ".join(f"{count} {subtype}" for subtype, count in fewest.items())
    return f"{n} validation cases a fold, with as few as {rare}"


def threshold_doubts(config: EvaluationConfig, words: str) -> tuple[Finding, ...]:
    """A warning where Youden's thresholds rest on few cases; ``words`` are those of `few_chosen_on`."""
    if config.criterion == "fixed" or not words:
        return ()
    text = f"the thresholds (criterion {config.criterion}) were chosen on {words}: they are largely chance"
    return (warning("threshold-few", text),)


def _arrays(members: Sequence[Answer], positive: str) -> tuple[Floats, Bools, Patients]:
    p = np.array([m.probabilities[positive] for m in members], dtype=np.float64)
    yes = np.array([m.truth == positive for m in members], dtype=bool)
    return (
        p,
        yes,
        Patients.of([m.patient_id for m in members], yes.astype(np.intp), [m.fold for m in members]),
    )


def _point(
    p: Floats, is_positive: Bools, sensitivity: float, whose: str, unit: str = "case"
) -> OperatingPoint:
    rows = "cases" if unit == "case" else "rows"
    return OperatingPoint(
        threshold=threshold_for_sensitivity(p, is_positive, sensitivity),
        criterion=f"sensitivity of at least {sensitivity:g}",
        chosen_on=f"{p.size} out-of-fold {rows} {whose}, {int(is_positive.sum())} positive",
    )
