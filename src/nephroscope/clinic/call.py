"""Turn probabilities into a call or "not sure", and choose the threshold. NumPy only."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import ConfigError, RoiError
from nephroscope.records import Estimate, Finding, OperatingPoint, SlicePrediction


def mean_over_slices(slices: Sequence[SlicePrediction]) -> tuple[float, ...]:
    """Mean probability of each subtype over all slices of a case, in the order of the subtypes.

    Raises:
        RoiError: There is no slice.
    """
    if not slices:
        raise RoiError(
            where="case without slices",
            expected="at least one slice to average",
            found="none",
            remedy="lower slices.min_area_mm2, or leave the case out",
        )
    p = np.array([s.probabilities for s in slices], dtype=np.float64)
    return tuple(p.mean(axis=0).tolist())


def majority_of_three(
    slices: Sequence[SlicePrediction],
    rng: np.random.Generator,
    threshold: float = 0.5,
    positive: int = 0,
) -> int:
    """The subtype that at least two of three randomly drawn slices have, as in the paper.

    A case with fewer than three slices uses all of them. Where no subtype has most votes (three slices and
    three subtypes; two slices and two subtypes), the mean probability of the drawn slices decides.

    Args:
        slices: All slices of the case.
        rng: Draws three slices without replacement.
        threshold: On the probability of the positive subtype; used only for two subtypes.
        positive: Index of the positive subtype.

    Returns:
        Index of the subtype.

    Source:
        Zuo et al. 2021; why two of three and not all three: decisions.md, "Test figures".
    """
    drawn = rng.choice(len(slices), size=min(3, len(slices)), replace=False)
    p = np.array([slices[i].probabilities for i in drawn], dtype=np.float64)
    votes = np.bincount([label_of(row, threshold, positive) for row in p], minlength=p.shape[1])
    if np.count_nonzero(votes == votes.max()) == 1:
        return int(votes.argmax())
    return label_of(np.mean(p, axis=0).tolist(), threshold, positive)


def label_of(
    probabilities: Sequence[float] | npt.NDArray[np.float64], threshold: float, positive: int
) -> int:
    """Index of the subtype called: by the threshold for two subtypes, otherwise by the largest probability."""
    if len(probabilities) == 2:
        return positive if probabilities[positive] >= threshold else 1 - positive
    return int(np.argmax(probabilities))


CHANCE = 0.5  # AUC of guessing
ROUNDING = 1e-9  # 0.6 - 0.5 is slightly below 0.1; a margin of 0.1 must ignore that


def forced_call(
    probabilities: Sequence[float], subtypes: Sequence[str], positive: str, point: OperatingPoint
) -> str:
    """The subtype called when "not sure" is not allowed."""
    return subtypes[label_of(probabilities, point.threshold, subtypes.index(positive))]


def decide(
    probabilities: Sequence[float],
    subtypes: Sequence[str],
    positive: str,
    point: OperatingPoint,
    not_sure_margin: float,
    doubts: Sequence[Finding] = (),
) -> tuple[str | None, str]:
    """The call, or None for "not sure", and the reason in words.

    Args:
        probabilities: In the order of ``subtypes``.
        subtypes: Two or more.
        positive: The subtype to which the threshold applies.
        point: Threshold on the probability of the positive subtype.
        not_sure_margin: No call when the probability is closer than this to the threshold (two subtypes), or
            the two largest probabilities are closer than this to each other (more subtypes).
        doubts: Findings of the case; with any warning among them there is no call.
    """
    distance, sentence = _distance(probabilities, subtypes, positive, point.threshold)
    reasons = [f"{f.code}: {f.message}" for f in doubts if f.severity == "warning"]
    close = distance < not_sure_margin - ROUNDING
    if close:
        reasons.insert(0, sentence.format(f"is within {not_sure_margin:.2f} of"))
    if reasons:
        return None, "; ".join(reasons)
    return forced_call(probabilities, subtypes, positive, point), sentence.format(f"is {distance:.2f} from")


def _distance(
    p: Sequence[float], subtypes: Sequence[str], positive: str, threshold: float
) -> tuple[float, str]:
    """Distance from the boundary, and a sentence with a gap for its meaning."""
    if len(subtypes) == 2:
        p_positive = p[subtypes.index(positive)]
        sentence = f"probability of {positive} {p_positive:.2f} {{}} the threshold {threshold:.2f}"
        return abs(p_positive - threshold), sentence
    second, first = np.argsort(p, kind="stable")[-2:]
    sentence = (
        f"probability of {subtypes[first]} {p[first]:.2f} {{}} the next, {subtypes[second]} {p[second]:.2f}"
    )
    return p[first] - p[second], sentence


def only_guesses(evaluation: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Why the calls of a model are no better than guesses, as far as was measured; empty where they are.

    They are better where one AUC by case lies above 0.5 with its whole interval. Bundles of old formats hold no
    evaluation; of them nothing is said.

    Args:
        evaluation: Figures by case and their names, by group of cases, as bundle.json has them.
    """
    measured = {group: figures["auc"] for group, figures in evaluation.items() if "auc" in figures}
    if not measured or any((auc.low or 0.0) > CHANCE for auc in measured.values()):
        return ""
    told = [
        f"{auc.value:.2f} ({auc.low:.2f} to {auc.high:.2f}; {auc.n} {auc.unit}s, {group})"
        for group, auc in measured.items()
        if auc.value is not None and auc.low is not None and auc.high is not None
    ]
    words = f"AUC {', '.join(told)}" if told else "its AUC could not be computed"
    return f"the model was not shown to be better than guessing: {words}"


def youden_threshold(p_positive: npt.ArrayLike, is_positive: npt.ArrayLike) -> float:
    """The threshold with the largest sensitivity + specificity - 1; of several, the one closest to 0.5.

    Candidates lie halfway between neighbouring probabilities. Choose it on validation cases, never on cases for which
    results are reported.

    Args:
        p_positive: Probability of the positive subtype, (n,).
        is_positive: True for cases of the positive subtype, (n,).

    Raises:
        ConfigError: All cases, or none, are positive.

    Source:
        Youden 1950, Cancer 3:32.
    """
    p, y = np.asarray(p_positive, dtype=np.float64), np.asarray(is_positive, dtype=bool)
    if y.all() or not y.any():
        raise ConfigError(
            where="evaluation.criterion = youden",
            expected="validation cases of the positive and of another subtype",
            found=f"{int(y.sum())} positive of {y.size}",
            remedy="use criterion `fixed`, or a larger validation set",
        )
    levels = np.unique(p)
    if levels.size == 1:
        return 0.5
    candidates = (levels[1:] + levels[:-1]) / 2
    called = p[None, :] >= candidates[:, None]
    youden = called[:, y].mean(axis=1) - called[:, ~y].mean(axis=1)
    best = candidates[youden >= youden.max() - ROUNDING]
    return float(best[np.abs(best - 0.5).argmin()])
