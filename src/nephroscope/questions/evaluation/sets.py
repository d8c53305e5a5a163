"""Sets of possible subtypes: limits from out-of-fold cases, and how often they hold the truth of other cases."""

from collections.abc import Sequence

import numpy as np

from nephroscope.clinic.sets import CONFIDENCE, ConformalSets, calibrate_sets
from nephroscope.records import OUT_OF_FOLD, Answer, EvaluationConfig, RunFacts, SetCoverage, SetFigures
from nephroscope.statistics.estimates import estimate_all, rows_of_cases
from nephroscope.statistics.metrics import Proportion


def set_figures(facts: RunFacts, predictions: Sequence[Answer], config: EvaluationConfig) -> SetFigures:
    """Limits from all out-of-fold cases, and the coverage of limits from the other folds, by fold and subtype.

    Out-of-fold answers are those of single networks, each on cases that it never saw; held-out cases, and those of
    a bundle, are answered by the mean of the networks, to which the limits carry over only about.
    """
    known = [p for p in predictions if p.truth is not None]
    out_of_fold = [p for p in known if p.group == OUT_OF_FOLD]
    if facts.protocol == "image" or not facts.converged:
        return SetFigures(confidence=CONFIDENCE, why_not="the run is LEAKY or did not converge")
    limits = limits_of(out_of_fold, facts.subtypes)
    if isinstance(limits, str):
        return SetFigures(confidence=CONFIDENCE, why_not=limits)
    checked, together, hits = [], list[Answer](), list[tuple[bool, int]]()
    for fold in sorted({p.fold for p in out_of_fold}):
        own = [p for p in out_of_fold if p.fold == fold]
        others = limits_of([p for p in out_of_fold if p.fold != fold], facts.subtypes)
        if isinstance(others, str):
            continue
        found = [_hit(others, p) for p in own]
        checked.append(_coverage(f"fold {fold}", own, found, facts, config))
        together += own
        hits += found
    if together:
        checked.insert(0, _coverage("all", together, hits, facts, config))
    for name in dict.fromkeys(p.group for p in known if p.group != OUT_OF_FOLD):
        own = [p for p in known if p.group == name]
        checked.append(_coverage(name, own, [_hit(limits, p) for p in own], facts, config))
    return SetFigures(
        confidence=CONFIDENCE, least=limits.least, n_patients=limits.n_patients, checked=tuple(checked)
    )


def limits_of(answers: Sequence[Answer], subtypes: Sequence[str]) -> ConformalSets | str:
    """The limits that these answers give, or why there are none."""
    return calibrate_sets(
        [p.probabilities for p in answers],
        [p.truth or "" for p in answers],
        [p.patient_id for p in answers],
        subtypes,
    )


def _hit(limits: ConformalSets, answer: Answer) -> tuple[bool, int]:
    """Whether the truth is in the set, and the size of the set."""
    left = limits.of(answer.probabilities).subtypes
    return answer.truth in left, len(left)


def _coverage(
    name: str,
    answers: Sequence[Answer],
    found: Sequence[tuple[bool, int]],
    facts: RunFacts,
    config: EvaluationConfig,
) -> SetCoverage:
    rows = rows_of_cases(answers, facts.subtypes)
    inside, size = (np.array(column) for column in zip(*found, strict=True))
    everyone = np.ones(len(answers), dtype=bool)
    shares = {"coverage": Proportion(hits=inside, counted=everyone, empty="no case")}
    for place, subtype in enumerate(facts.subtypes):
        shares[f"coverage_{subtype}"] = Proportion(
            hits=inside, counted=rows.truth == place, empty=f"none is {subtype}"
        )
    sizes = {
        word: Proportion(hits=hits, counted=everyone, empty="no case")
        for word, hits in (("one", size == 1), ("several", size > 1), ("none", size == 0))
    }
    return SetCoverage(
        name=name,
        coverage=estimate_all(rows, shares, {}, config),
        sizes=estimate_all(rows, sizes, {}, config),
    )
