"""Sets of subtypes that an answer leaves possible: one limit a subtype, from its own cases alone. No NumPy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nephroscope.records import Answer, PredictionSet

CONFIDENCE = 0.9
FEWEST = 9  # patients of a subtype: with fewer, no case could be left out at 90 %
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class ConformalSets:
    """From which probability on a subtype stays possible.

    Attributes:
        confidence: Share of the cases of each subtype that keep it, among cases like those of the calibration.
        least: By subtype, the least probability with which it stays in the set.
        n_patients: By subtype, on how many calibration patients that rests.
    """

    confidence: float
    least: dict[str, float]
    n_patients: dict[str, int]

    def of(self, probabilities: Mapping[str, float]) -> PredictionSet:
        """The set of a case."""
        left = tuple(name for name, least in self.least.items() if probabilities[name] >= least - ROUNDING)
        return PredictionSet(
            subtypes=left,
            confidence=self.confidence,
            n_patients=dict(self.n_patients),
            words=self._words(left),
        )

    def _words(self, left: tuple[str, ...]) -> str:
        percent = f"{100 * self.confidence:g} %"
        rests = ", ".join(f"{n} {name}" for name, n in self.n_patients.items())
        if not left:
            what = "neither subtype" if len(self.least) == 2 else "none of the subtypes"
            what += f": {100 * (1 - self.confidence):.0f} % of the cases of each look as unlike it, or more"
        elif len(left) == len(self.least) == 2:
            what = f"both {' and '.join(left)}"
        else:
            what = " or ".join(left)
        return f"possible at {percent}: {what} (from calibration patients: {rests}; no promise for another hospital)"


def calibrate_sets(
    probabilities: Sequence[Mapping[str, float]],
    truth: Sequence[str],
    patient_ids: Sequence[str],
    subtypes: Sequence[str],
) -> ConformalSets | str:
    """Limits from cases that the network did not learn from, or why there are none.

    Of a patient with several tumors of a subtype the one counts whose probability of it is the lowest.

    Source:
        Vovk 2012, ACML (label-conditional conformal predictors); Sadinle, Lei and Wasserman 2019, J Am Stat Assoc
        114:223.
    """
    own: dict[str, dict[str, float]] = {name: {} for name in subtypes}
    for p, name, patient in zip(probabilities, truth, patient_ids, strict=True):
        own[name][patient] = min(p[name], own[name].get(patient, math.inf))
    few = {name: len(found) for name, found in own.items() if len(found) < FEWEST}
    if few:
        told = ", ".join(f"{n} of {name}" for name, n in few.items())
        return f"at least {FEWEST} calibration patients of each subtype are needed for sets at 90 %, found {told}"
    least = {}
    for name, found in own.items():
        place = math.floor((len(found) + 1) * (1 - CONFIDENCE) + ROUNDING)
        least[name] = sorted(found.values())[place - 1]
    return ConformalSets(
        confidence=CONFIDENCE, least=least, n_patients={name: len(found) for name, found in own.items()}
    )


def limits_of(answers: Sequence[Answer], subtypes: Sequence[str]) -> ConformalSets | str:
    """The limits that these answers with a known subtype give, or why there are none."""
    return calibrate_sets(
        [p.probabilities for p in answers],
        [p.truth or "" for p in answers],
        [p.patient_id for p in answers],
        subtypes,
    )
