"""The exchange test of two AUCs: were both scores as good, a patient's ranks under the one and the other could swap.

The difference of the AUCs is linear in the signs of the swaps, so thousands of exchanges are one product of matrices,
and their variance is known exactly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from nephroscope.statistics.intervals import CELLS, Patients
from nephroscope.statistics.metrics import Area, Floats, placements

EXCHANGES = 20_000  # random ones; p is known to 0.003 at 0.05
FEWEST_EXCHANGES = 1000
NEAR = 1e-9  # differences nearer than this are equal


@dataclass(frozen=True, eq=False, kw_only=True)
class Exchange:
    """What each patient adds to the difference of the AUCs, first minus second, (P,): a swap turns its sign."""

    parts: Floats

    @property
    def difference(self) -> float:
        """Difference of the AUCs."""
        return float(self.parts.sum())

    @property
    def se(self) -> float:
        """Standard deviation of the difference over all exchanges."""
        return math.sqrt(float(self.parts @ self.parts))

    def p(self, seed: int) -> float:
        """Share of random exchanges, the data's own among them, whose difference is at least as large; two-sided.

        Source:
            Bandos, Rockette and Gur 2005, Stat Med 24:2873; (b + 1) / (m + 1): Phipson and Smyth 2010.
        """
        parts = self.parts[np.abs(self.parts) > NEAR]
        if not parts.size:
            return 1.0
        times = max(FEWEST_EXCHANGES, min(EXCHANGES, 20 * CELLS // parts.size))
        rng, chunk = np.random.default_rng([seed, 0xE8]), max(1, CELLS // parts.size)
        observed, as_large = abs(self.difference) - NEAR, 0
        for start in range(0, times, chunk):
            signs = rng.integers(2, size=(min(chunk, times - start), parts.size), dtype=np.int8)
            as_large += int(np.count_nonzero(np.abs((2.0 * signs - 1.0) @ parts) >= observed))
        return (1 + as_large) / (1 + times)


def exchange(one: Sequence[Area], two: Sequence[Area], patients: Patients) -> Exchange:
    """Of two AUCs, or two means of several, whose rows and truths are the same; both classes are in each.

    Scores are ranked over all rows first, as the two need not be on one scale. A swap exchanges all rows of a
    patient. With signs s of +1 or -1 the difference is sum s_i v_i: a pair of rows swapped alike turns the sign of
    what it adds, a pair of which one is swapped compares the ranks of one score with those of the other.
    """
    total = np.zeros(patients.n)
    for (first, y), (second, _) in zip(one, two, strict=True):
        ranks = rankdata(first), rankdata(second)
        rows = np.zeros(y.size)
        for i, j, of_positives, of_negatives in ((0, 0, 1, 1), (1, 1, -1, -1), (0, 1, 1, -1), (1, 0, -1, 1)):
            x, z = placements(np.where(y, ranks[i], ranks[j])[None], y)
            rows[y] += of_positives * x[0] / (2 * x.size)
            rows[~y] += of_negatives * z[0] / (2 * z.size)
        total += patients.per_patient(rows)
    return Exchange(parts=total / len(one))
