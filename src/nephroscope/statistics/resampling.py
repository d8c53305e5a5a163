"""Rows to resample by patient, in a large table as cells of similar rows; and curves with a resampled band.

A table of thousands of rows is resampled as cells: rows of similar value and the same outcome count together, and
many patients are drawn in random groups. Figures are computed from the rows, only their spread from the cells; a
smooth curve comes from the cells alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nephroscope.records import EvaluationConfig, counted_noun
from nephroscope.statistics.cross_validation import fold_words, variance_factor
from nephroscope.statistics.intervals import Patients, percent, resampled_weights, share_limits
from nephroscope.statistics.metrics import Bools, Floats, Ints

MOST_ROWS = 5000  # up to here every row is its own cell
EDGES = 500  # bins of equal width, and of equal number of distinct values, each
GROUPS = 2000  # of patients; their spread is known within 2 %
FEWEST_GROUPS = 200  # of the patients of one class


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cells:
    """Rows counted together where they are many.

    Attributes:
        value: Mean value of the rows of each cell, (m,).
        flag: Outcome of the rows of each cell, (m,).
        count: Rows of each cell, (m,).
        patients: The patient, or group of patients, of each row.
        row: Cell of each row, (n,).
    """

    value: Floats
    flag: Bools
    count: Floats
    patients: Patients
    row: Ints

    @classmethod
    def of(cls, value: Floats, flag: Bools, patients: Patients, bins: Floats | None = None) -> "Cells":
        """Cells of rows, (n,) each: of similar ``bins`` (by default ``value``) and the same ``flag``."""
        n = value.size
        if n <= MOST_ROWS:
            return cls(value=value, flag=flag, count=np.ones(n), patients=patients, row=np.arange(n))
        _, row = np.unique(2 * _bins(value if bins is None else bins) + flag, return_inverse=True)
        row = row.reshape(-1)
        count = np.bincount(row).astype(np.float64)
        mean = np.bincount(row, weights=value) / count
        has_flag = np.bincount(row, weights=flag) > 0
        return cls(value=mean, flag=has_flag, count=count, patients=grouped(patients), row=row)

    @property
    def thinned(self) -> bool:
        """True where cells hold more than one row."""
        return self.value.size < self.row.size

    def resampled(
        self, values: Callable[[Floats], Floats], exact: Floats, config: EvaluationConfig
    ) -> Floats:
        """Values (resamples, g) of a function of cell weights (b, m), over redrawn patients with all their rows.

        For thinned rows they are shifted by the difference of ``exact`` (g,), the values of the rows, from the cells.
        """
        chunks = resampled_weights(self.patients, config.resamples, config.seed)
        if not self.thinned:
            return np.concatenate([values(weights[:, self.patients.row]) for weights in chunks])
        shape = (self.patients.n, self.value.size)
        at = np.ravel_multi_index((self.patients.row, self.row), shape)
        held = np.bincount(at, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
        shift = exact - values(self.count[None])[0]
        with threadpool_limits(1, user_api="blas"):
            drawn = np.concatenate([values(weights @ held) for weights in chunks])
        return drawn + np.where(np.isfinite(shift), shift, 0.0)


def is_grouped(patients: Patients) -> bool:
    """True where there are so many patients that they are drawn in random groups."""
    return patients.row.size > MOST_ROWS and patients.n > 2 * GROUPS


def patients_words(patients: Patients) -> str:
    """How many patients are redrawn, and whether in groups."""
    return f"{counted_noun(patients.n, 'patient')}{' in random groups' if is_grouped(patients) else ''}"


def grouped(patients: Patients) -> Patients:
    """The same rows with patients in random groups within their class, where there are more than some thousands.

    Groups of patients, drawn as one, vary as the patients do: their sums are independent and similar.

    Source:
        Wolter 2007, Introduction to Variance Estimation, 2nd ed., chapter 2 (random groups).
    """
    if not is_grouped(patients):
        return patients
    rng, start = np.random.default_rng(0), 0
    group_of = np.empty(patients.n, dtype=np.intp)
    strata = []
    for stratum in np.unique(patients.stratum):
        who = rng.permutation(np.flatnonzero(patients.stratum == stratum))
        n = min(who.size, max(FEWEST_GROUPS, GROUPS * who.size // patients.n))
        group_of[who] = start + np.arange(who.size) % n
        strata.append(np.full(n, stratum))
        start += n
    return replace(patients, row=group_of[patients.row], stratum=np.concatenate(strata))


def _bins(values: Floats) -> Ints:
    """Number of the bin of each value (n,): its own where few differ, else of equal width and of equal number."""
    levels = np.unique(values)
    if levels.size <= 2 * EDGES:
        return np.searchsorted(levels, values)
    places = np.linspace(0, levels.size - 1, EDGES).astype(np.intp)
    edges = np.unique(np.concatenate([np.linspace(levels[0], levels[-1], EDGES), levels[places]]))
    return np.searchsorted(edges, values, side="right")


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


def widened_band(
    y: Floats, band: tuple[Floats, Floats], patients: Patients, ends: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[Floats, Floats]:
    """A band (g,) around ``y`` (g,) with the larger variance of cross-validated answers, cut to what may be."""
    times = variance_factor(patients.n_folds) ** 0.5
    low, high = (np.clip(y + times * (limit - y), *ends) for limit in band)
    return (low, high) if times > 1 else band


def roc_band(
    scores: Floats, is_positive: Bools, patients: Patients, grid: Floats, confidence: float
) -> tuple[Floats, Floats]:
    """Pointwise band of the true positive rate at the false positive rates of ``grid`` (g,).

    The limits of the rate itself, and those of the false positive rate as the curve carries them to it, squared and
    added; both count patients. NaN if a class has one patient. Up to two negative patients the curve has no lower
    limit.

    Source:
        Zou and Donner 2008, Stat Med 27:1693 (squared and added). The bootstrap holds 0.83 to 0.92 at a false
        positive rate of 0.05 with 10 to 40 of a class: `benchmarks/interval_coverage.py`.
    """
    m, n = patients_of_each(patients, is_positive)
    if min(m, n) < 2:
        return np.full(grid.size, np.nan), np.full(grid.size, np.nan)
    order = np.argsort(-scores, kind="stable")
    last, positive = np.append(np.diff(scores[order]) != 0, True), is_positive[order]
    t, f = (np.append(0, np.cumsum(side)[last] / np.count_nonzero(side)) for side in (positive, ~positive))
    factor = variance_factor(patients.n_folds)
    own = np.array([share_limits(v * m, m, confidence, factor)[0] for v in np.interp(grid, f, t)])
    other = np.array([share_limits(v * n, n, confidence, factor)[0] for v in grid])
    before = np.searchsorted(f, np.where(grid * n <= 2, 0, other[:, 0]), "left") - 1
    after = np.minimum(np.searchsorted(f, other[:, 1], "right"), t.size - 1)
    y = np.interp(grid, f, t)
    below, above = np.where(before < 0, 0.0, t[before]), t[after]
    low = y - np.hypot(y - own[:, 0], np.maximum(y - below, 0))
    high = y + np.hypot(own[:, 1] - y, np.maximum(above - y, 0))
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


# What 95 % bands hold with 20 cases where no better interval is known, in docs/reference/intervals.md; they say so
# beside the band below 40 patients.
HELD_BY_FEW = {"risk": "0.91 to 0.93", "standardized net benefit": "0.92 to 0.93"}
FEW_HELD = 40


def bootstrap_words(patients: Patients, config: EvaluationConfig, figure: str = "") -> str:
    """How a band was drawn, in words; of a ``figure`` of `HELD_BY_FEW` also how often it holds with few patients."""
    whose = patients_words(patients)
    words = f"patient bootstrap, {config.resamples} resamples of {whose}, {percent(config.confidence)}"
    words += fold_words(patients.n_folds)
    if figure and patients.n < FEW_HELD:
        words += f"; too narrow with so few (held {HELD_BY_FEW[figure]} in simulations of 20)"
    return words


def is_alone(patients: Patients, is_positive: Bools) -> bool:
    """True if a class has one patient: resampling does not show how the patients of that class differ."""
    return min(patients_of_each(patients, is_positive)) == 1


def patients_of_each(patients: Patients, is_positive: Bools) -> tuple[int, int]:
    """Number of patients with a positive row, and with a negative one."""
    return patients.count(is_positive), patients.count(~is_positive)
