"""A curve over a grid with its band, and what its bootstrap needs to know about the patients."""

from dataclasses import dataclass, replace

import numpy as np

from nephroscope.records import EvaluationConfig
from nephroscope.statistics.cells import patients_words
from nephroscope.statistics.intervals import Patients, percent
from nephroscope.statistics.metrics import Bools, Floats


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Curve:
    """Values ``y`` (g,) over ``x`` (g,) with a pointwise band ``low`` to ``high``; empty arrays where there is none.

    Attributes:
        n: Rows that it is computed from, of ``n_patients`` patients.
        method: How it was computed, or why there is none.
    """

    x: Floats
    y: Floats
    low: Floats
    high: Floats
    n: int
    n_patients: int
    method: str

    @property
    def is_empty(self) -> bool:
        """True if there is no curve; ``method`` says why."""
        return self.x.size == 0

    def as_dict(self) -> dict[str, object]:
        """The curve for JSON; where there is no band, it is None."""
        columns = {name: plain(getattr(self, name)) for name in ("x", "y", "low", "high")}
        return {**columns, "n": self.n, "n_patients": self.n_patients, "method": self.method}


def no_curve(patients: Patients, why: str) -> Curve:
    """An empty curve, and why."""
    none = np.empty(0)
    n = patients.row.size
    return Curve(x=none, y=none, low=none, high=none, n=n, n_patients=patients.n, method=f"undefined: {why}")


def plain(values: Floats) -> list[float | None]:
    """Numbers for JSON: None where there is none."""
    return [float(v) if np.isfinite(v) else None for v in values]


REDRAWN = "the number of each class is redrawn too"


def whole_draws(patients: Patients) -> Patients:
    """The same patients as one stratum, so that resampling redraws the number of positives too.

    Calibration and net benefit depend on how many are positive; holding that number fixed would make their intervals
    too narrow.
    """
    return replace(patients, stratum=np.zeros_like(patients.stratum))


def bootstrap_words(patients: Patients, config: EvaluationConfig) -> str:
    """How a band was drawn, in words."""
    whose = patients_words(patients)
    return f"patient bootstrap, {config.resamples} resamples of {whose}, {percent(config.confidence)}"


def is_alone(patients: Patients, is_positive: Bools) -> bool:
    """True if a class has one patient: resampling does not show how the patients of that class differ."""
    return min(patients_of_each(patients, is_positive)) == 1


def patients_of_each(patients: Patients, is_positive: Bools) -> tuple[int, int]:
    """Number of patients with a positive row, and with a negative one."""
    return patients.count(is_positive), patients.count(~is_positive)
