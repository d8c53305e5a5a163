"""Age, sex and size beside what a network says: refused where impossible, and what each of them moved. No NumPy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nephroscope.base.errors import ConfigError
from nephroscope.records import ClinicalFacts, Finding, UsedFact, note, warning
from nephroscope.records.cases import LARGEST_CM, OLDEST_YEARS

AGE, SEX, SIZE = FACTS = ("age_years", "sex", "size_cm")
UNITS = {AGE: "years", SEX: "", SIZE: "mm"}
WORDS = {AGE: "age", SEX: "sex", SIZE: "size"}
SUREST = 1e-3  # a network is taken to be no surer than this: so few cases cannot prove more
FARTHEST_SD = 3.0  # a fact further from the training cases' mean than this many SD is doubted


def given_facts(
    age_years: float | None = None, sex: str | None = None, size_mm: float | None = None
) -> ClinicalFacts:
    """What is known of a patient and a tumor, checked.

    Args:
        age_years: At imaging.
        sex: M or F; case does not matter.
        size_mm: Largest diameter.

    Raises:
        ConfigError: A fact is impossible; it is named.
    """
    if age_years is not None and not 0 <= age_years <= OLDEST_YEARS:
        raise _impossible("age", f"years from 0 to {OLDEST_YEARS}", f"{age_years:g}")
    word = sex.strip().upper() if sex is not None else None
    if word is not None and word not in ("M", "F"):
        raise _impossible("sex", "M or F", repr(sex))
    if size_mm is not None and not 0 < size_mm <= LARGEST_CM * 10:
        raise _impossible("size", f"mm above 0, to {LARGEST_CM * 10}", f"{size_mm:g}")
    return ClinicalFacts(
        age_years=age_years,
        sex="M" if word == "M" else "F" if word == "F" else None,
        size_cm=None if size_mm is None else size_mm / 10,
    )


def _impossible(name: str, expected: str, found: str) -> ConfigError:
    remedy = "correct it, or leave it out where it is not known"
    return ConfigError(where=f"clinical facts, {name}", expected=expected, found=found, remedy=remedy)


def fact_number(facts: ClinicalFacts, name: str) -> float | None:
    """A fact as the regression sees it: years, 1 for men and 0 for women, natural log of cm; None where not known."""
    if name == SEX:
        return {"M": 1.0, "F": 0.0}.get(facts.sex or "")
    value = facts.age_years if name == AGE else facts.size_cm
    if value is None or not math.isfinite(value) or (name == SIZE and value <= 0):
        return None
    return math.log(value) if name == SIZE else float(value)


@dataclass(frozen=True, kw_only=True)
class FactTerm:
    """One fact in the regression, standardized by mean and SD of the training cases in which it is known.

    Attributes:
        name: One of `FACTS`.
        weights: For each subtype, of the standardized number.
        unknown: For each subtype, what is added where it is not known; zeros where every training case had it.
    """

    name: str
    mean: float
    sd: float
    weights: tuple[float, ...]
    unknown: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class FactsModel:
    """Image and clinical facts in one logistic regression.

    Attributes:
        image_weight: Of the network's logits.
        offsets: For each subtype.
        n_patients: On whose out-of-fold answers it was fitted.
        shrinkage: How strongly it was held to the network's own answer; None where it is that answer.
    """

    image_weight: float
    offsets: tuple[float, ...]
    terms: tuple[FactTerm, ...]
    n_patients: int
    shrinkage: float | None = None

    def probabilities(self, image: Sequence[float], facts: ClinicalFacts) -> tuple[float, ...]:
        """Of each subtype, from the network's and the facts; the network's own where no fact is known."""
        if all(fact_number(facts, term.name) is None for term in self.terms):
            return tuple(image)
        logs = [math.log(max(p, SUREST)) for p in image]
        middle = sum(logs) / len(logs)
        scores = [
            self.image_weight * (log - middle) + offset
            for log, offset in zip(logs, self.offsets, strict=True)
        ]
        for term in self.terms:
            number = fact_number(facts, term.name)
            for place in range(len(scores)):
                scores[place] += (
                    term.unknown[place]
                    if number is None
                    else term.weights[place] * (number - term.mean) / term.sd
                )
        top = max(scores)
        powers = [math.exp(score - top) for score in scores]
        return tuple(power / sum(powers) for power in powers)

    def moved(self, image: Sequence[float], facts: ClinicalFacts, positive: int) -> tuple[UsedFact, ...]:
        """What each known fact moved: against the answer that would be given if it alone were not known."""
        whole, found = self.probabilities(image, facts)[positive], []
        for term in self.terms:
            if fact_number(facts, term.name) is None:
                continue
            rest = replace(facts, **{term.name: None})
            without = self.probabilities(image, rest)[positive]
            value: str | float = facts.sex or "" if term.name == SEX else _shown(facts, term.name)
            found.append(
                UsedFact(
                    name=WORDS[term.name],
                    value=value,
                    unit=UNITS[term.name],
                    log_odds=_log_odds(whole) - _log_odds(without),
                    probability_without=without,
                )
            )
        return tuple(found)

    def doubts(self, facts: ClinicalFacts, case_id: str) -> list[Finding]:
        """A warning for each fact far from those of the training cases; a note where none is known."""
        found, known = [], False
        for term in self.terms:
            number = fact_number(facts, term.name)
            known = known or number is not None
            if number is None or term.name == SEX or abs(number - term.mean) <= FARTHEST_SD * term.sd:
                continue
            low, high = (
                (math.exp(end) * 10 if term.name == SIZE else end)
                for end in (term.mean - FARTHEST_SD * term.sd, term.mean + FARTHEST_SD * term.sd)
            )
            unit = UNITS[term.name]
            text = (
                f"{WORDS[term.name]} is {_shown(facts, term.name):g} {unit}; the training cases allow "
                f"{max(low, 0):.3g} to {high:.3g} {unit}"
            )
            found.append(warning("fact-outside-training-range", text, case_id=case_id))
        if not known:
            names = ", ".join(WORDS[term.name] for term in self.terms)
            text = f"no clinical fact is known ({names}): the answer is that of the image alone"
            found.append(note("no-clinical-facts", text, case_id=case_id))
        return found


def unused_facts(facts: ClinicalFacts, case_id: str) -> list[Finding]:
    """A note where facts were given to a bundle that has no use for them."""
    given = [WORDS[name] for name in FACTS if fact_number(facts, name) is not None]
    if not given:
        return []
    text = f"{', '.join(given)} changed nothing: this bundle answers from the image alone"
    return [note("facts-not-used", text, case_id=case_id)]


def _shown(facts: ClinicalFacts, name: str) -> float:
    if name == SIZE:
        return round((facts.size_cm or 0.0) * 10, 3)
    return float(facts.age_years or 0.0)


def _log_odds(p: float) -> float:
    inside = min(max(p, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))
