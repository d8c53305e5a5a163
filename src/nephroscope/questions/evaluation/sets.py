"""Sets of possible subtypes: limits from out-of-fold cases, and how often they hold the truth of other cases."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nephroscope.clinic.sets import CONFIDENCE, ConformalSets, limits_of
from nephroscope.records import OUT_OF_FOLD, Answer, EvaluationConfig, RunFacts, SetCoverage, SetFigures
from nephroscope.statistics.estimates import estimate_all, rows_of_cases
from nephroscope.statistics.metrics import Proportion

_Limits = dict[bool, ConformalSets | str]  # of answers without and with clinical facts
_Checked = tuple[Answer, tuple[bool, int]]


def set_figures(facts: RunFacts, predictions: Sequence[Answer], config: EvaluationConfig) -> SetFigures:
    """Limits from all out-of-fold cases, and the coverage of limits from the other folds, by fold and subtype.

    Out-of-fold answers are those of single networks, each on cases that it never saw; held-out cases, and those of
    a bundle, are answered by the mean of the networks, to which the limits carry over only about.
    """
    known = [p for p in predictions if p.truth is not None]
    out_of_fold = [p for p in known if p.group == OUT_OF_FOLD]
    if facts.protocol == "image" or not facts.converged:
        return SetFigures(confidence=CONFIDENCE, why_not="the run is LEAKY or did not converge")
    limits = _limits(out_of_fold, facts.subtypes)
    image, with_facts = limits[False], limits[True]
    if isinstance(image, str):
        return SetFigures(confidence=CONFIDENCE, why_not=image)
    checked, everyone = [], list[_Checked]()
    for fold in sorted({p.fold for p in out_of_fold}):
        others = _limits([p for p in out_of_fold if p.fold != fold], facts.subtypes)
        own = _checked([p for p in out_of_fold if p.fold == fold], others)
        checked += [_coverage(f"fold {fold}", own, facts, config)] if own else []
        everyone += own
    if everyone:
        checked.insert(0, _coverage("all", everyone, facts, config))
    for name in dict.fromkeys(p.group for p in known if p.group != OUT_OF_FOLD):
        own = _checked([p for p in known if p.group == name], limits)
        checked += [_coverage(name, own, facts, config)] if own else []
    found = SetFigures(
        confidence=CONFIDENCE, least=image.least, n_patients=image.n_patients, checked=tuple(checked)
    )
    if isinstance(with_facts, str):
        return found
    return replace(found, least_with_facts=with_facts.least, n_with_facts=with_facts.n_patients)


def _checked(answers: Sequence[Answer], limits: _Limits) -> list[_Checked]:
    hits = [(one, _hit(limits, one)) for one in answers]
    return [(one, hit) for one, hit in hits if hit is not None]


def _limits(answers: Sequence[Answer], subtypes: Sequence[str]) -> _Limits:
    """From the image's answers of all cases, and from the answers of those whose facts are known."""
    image = [replace(p, probabilities=p.of_image) for p in answers]
    return {
        False: limits_of(image, subtypes),
        True: limits_of([p for p in answers if p.image_probabilities], subtypes),
    }


def _hit(limits: _Limits, answer: Answer) -> tuple[bool, int] | None:
    """Whether the truth is in the set, and the size of the set; None where there is no limit for such answers."""
    own = limits[bool(answer.image_probabilities)]
    if isinstance(own, str):
        return None
    left = own.of(answer.probabilities).subtypes
    return answer.truth in left, len(left)


def _coverage(name: str, found: Sequence[_Checked], facts: RunFacts, config: EvaluationConfig) -> SetCoverage:
    rows = rows_of_cases([answer for answer, _ in found], facts.subtypes)
    inside, size = (np.array(column) for column in zip(*(hit for _, hit in found), strict=True))
    everyone = np.ones(len(found), dtype=bool)
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
