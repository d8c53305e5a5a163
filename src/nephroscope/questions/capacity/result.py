"""AUC and accuracy of trained networks against the number of weights, with the trend, tests and words.

Patients are redrawn once for all networks together, so a difference or a trend has the interval it has for the same
patients, and its p is of the same redraws. Accuracy depends on how many of each class there are, so its redraws draw
that too. Training chance is in neither: with repeats, its SD is given separately. A network that did not converge has
no figures and no part in trend and tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from nephroscope.base.errors import StudyError
from nephroscope.questions.capacity.runs import Trained
from nephroscope.records import Answer, Cohort, Estimate, EvaluationConfig
from nephroscope.statistics import intervals, metrics
from nephroscope.statistics.cross_validation import corrected_p
from nephroscope.statistics.intervals import no_estimate, percentile_interval
from nephroscope.statistics.mcnemar import holm
from nephroscope.statistics.metrics import Floats, Ints
from nephroscope.statistics.resampling import REDRAWN, patients_words, whole_draws

TINY = 1e-9
NOT_CONVERGED = "did not converge: it never beat chance on its own training slices"


@dataclass(frozen=True, kw_only=True)
class CapacityPoint:
    """One network at one width.

    Attributes:
        name: As in tables, such as ``mobilenet_v2 x0.5``.
        trainable, total: Numbers of weights.
        converged: How many of its ``repeats`` trainings converged.
        auc, accuracy: By case, mean over the trainings that converged.
        auc_sd_of_seeds: SD of the AUC over these trainings; None for a single one.
        seconds: Of all trainings.
    """

    name: str
    model: str
    width: float
    trainable: int
    total: int
    converged: int
    repeats: int
    auc: Estimate
    auc_sd_of_seeds: float | None
    auc_sd_of_seeds_n: int
    accuracy: Estimate
    seconds: float
    auc_sd_of_seeds_unit: str = "training"


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Change of AUC with ten times the weights (least squares), its p, and Spearman's rank correlation."""

    auc_per_tenfold: Estimate
    p: float | None
    supported: bool
    spearman: Estimate


@dataclass(frozen=True, kw_only=True)
class CapacityPair:
    """AUC of the heavier network minus that of the lighter; ``p_holm`` is corrected for the number of pairs."""

    heavier: str
    lighter: str
    difference: Estimate
    p: float | None
    p_holm: float | None
    supported: bool


@dataclass(frozen=True, kw_only=True)
class CapacityFindings:
    """AUC and accuracy against the number of weights, on one test set."""

    group: str
    n_cases: int
    n_patients: int
    points: tuple[CapacityPoint, ...]
    trend: Trend
    pairs: tuple[CapacityPair, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Drawn:
    """A statistic of one network: its value, and its values over the redrawn patients (B,)."""

    value: float
    values: Floats


class CapacityFigures:
    """Figures of all networks on the same test cases.

    Args:
        trained: Each with the same cases in the same order.
        cohort: Subtypes and the positive one.
        config: Resamples, seed and confidence.

    Raises:
        StudyError: No case is tested.
    """

    def __init__(self, trained: Sequence[Trained], cohort: Cohort, config: EvaluationConfig) -> None:
        self.trained, self.cohort, self.config = list(trained), cohort, config
        cases = self.trained[0].predictions[0]
        if not cases:
            raise StudyError(
                where="capacity",
                expected="test cases with a known subtype",
                found="none with the current splits.json",
                remedy="divide the patients into folds, or keep a hold-out, with `nephroscope split`",
            )
        self.truth: Ints = np.array([cohort.subtypes.index(p.truth or "") for p in cases], dtype=np.intp)
        self.patients = intervals.Patients.of(
            [p.patient_id for p in cases], self.truth, [p.fold for p in cases]
        )
        self.group = cases[0].group
        self.sound = [t for t in self.trained if any(t.converged)]
        statistics: dict[str, dict[str, intervals.Statistic]] = {"auc": {}, "accuracy": {}}
        self.values: dict[str, float | None] = {}
        for one in self.sound:
            for what, (value, statistic) in self._measures(one).items():
                self.values[f"{what} {one.point.name}"] = value
                if value is not None:
                    statistics[what][f"{what} {one.point.name}"] = statistic
        redrawn = {"auc": self.patients, "accuracy": whole_draws(self.patients)}
        self.drawn: dict[str, Floats] = {}
        for what, own in statistics.items():
            self.drawn |= intervals.clustered_bootstrap(own, redrawn[what], config.resamples, config.seed)

    def result(self) -> CapacityFindings:
        """Points, trend, pairs and words."""
        points = [self._point(one) for one in sorted(self.trained, key=lambda t: t.trainable)]
        trend, pairs = self._trend(), self._pairs()
        return CapacityFindings(
            group=self.group,
            n_cases=int(self.truth.size),
            n_patients=self.patients.n,
            points=tuple(points),
            trend=trend,
            pairs=tuple(pairs),
            words=tuple(words_of(points, trend, pairs)),
        )

    def _measures(self, one: Trained) -> dict[str, tuple[float | None, intervals.Statistic]]:
        """AUC (mean over subtypes where there are over two) and accuracy, means over the repeats that converged."""
        subtypes, positive = self.cohort.subtypes, self.cohort.subtypes.index(self.cohort.positive)
        aucs, shares, auc_values, share_values = [], [], [], []
        everyone = np.ones(self.truth.size, dtype=bool)
        for cases in _converged(one):
            p = np.array([[c.probabilities[s] for s in subtypes] for c in cases])
            called = np.array([subtypes.index(c.forced_call) for c in cases], dtype=np.intp)
            for k in [positive] if len(subtypes) == 2 else range(len(subtypes)):
                auc_values.append(metrics.auc(p[:, k], self.truth == k))
                if auc_values[-1] is not None:
                    aucs.append(intervals.auc_statistic(p[:, k], self.truth == k, self.patients))
            shares.append(intervals.ratio_statistic(called == self.truth, everyone, self.patients))
            share_values.append(float((called == self.truth).mean()))
        known = [value for value in auc_values if value is not None]
        whole = float(np.mean(known)) if known and len(known) == len(auc_values) else None
        return {
            "auc": (whole, intervals.mean_statistic(aucs)),
            "accuracy": (float(np.mean(share_values)), intervals.mean_statistic(shares)),
        }

    def _estimate(self, what: str, one: Trained) -> Estimate:
        if one not in self.sound:
            return self._none(NOT_CONVERGED)
        value = self.values[f"{what} {one.point.name}"]
        if value is None:
            return self._none("undefined: a class has no case")
        found = self._interval(_Drawn(value=value, values=self.drawn[f"{what} {one.point.name}"]))
        classes_redrawn = what == "accuracy" and found.low is not None
        return replace(found, method=f"{found.method}; {REDRAWN}") if classes_redrawn else found

    def _interval(self, found: _Drawn) -> Estimate:
        interval = percentile_interval(found.values, patients_words(self.patients), self.config.confidence)
        return interval.widened(found.value, self.patients.n_folds).around(
            found.value, self.patients.n, "patient"
        )

    def _p_of(self, found: _Drawn) -> float | None:
        """Its p, with the larger variance of cross-validated answers."""
        p = _p_of(found)
        return None if p is None else corrected_p(p, self.patients.n_folds)

    def _none(self, why: str) -> Estimate:
        return no_estimate(why, self.patients.n, "patient")

    def _point(self, one: Trained) -> CapacityPoint:
        auc = self._estimate("auc", one)
        seeds = self._auc_of_seeds(one) if auc.value is not None else []
        return CapacityPoint(
            name=one.point.name,
            model=one.point.model,
            width=one.point.width,
            trainable=one.trainable,
            total=one.total,
            converged=sum(one.converged),
            repeats=len(one.converged),
            auc=auc,
            auc_sd_of_seeds=float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None,
            auc_sd_of_seeds_n=len(seeds),
            accuracy=self._estimate("accuracy", one),
            seconds=round(one.seconds, 1),
        )

    def _auc_of_seeds(self, one: Trained) -> list[float]:
        """AUC of each training that converged."""
        each = [replace(one, predictions=(cases,), converged=(True,)) for cases in _converged(one)]
        return [value for alone in each if (value := self._measures(alone)["auc"][0]) is not None]

    def _ranked(self) -> list[Trained]:
        """Networks with an AUC, lightest first."""
        known = [one for one in self.sound if self.values[f"auc {one.point.name}"] is not None]
        return sorted(known, key=lambda one: one.trainable)

    def _trend(self) -> Trend:
        """Change of AUC with ten times the weights (least squares), and Spearman's rank correlation."""
        ranked = self._ranked()
        tenfold = np.log10([one.trainable for one in ranked]) if ranked else np.zeros(0)
        if np.unique(tenfold).size < 3:
            why = self._none(f"no trend: {len(ranked)} networks with an AUC, three or more sizes are needed")
            return Trend(auc_per_tenfold=why, p=None, supported=False, spearman=why)
        values = np.array([self.values[f"auc {one.point.name}"] for one in ranked], dtype=np.float64)
        drawn = np.stack([self.drawn[f"auc {one.point.name}"] for one in ranked], axis=1)  # (B, networks)
        drawn = drawn[~np.isnan(drawn).any(axis=1)]
        x = tenfold - tenfold.mean()
        slope = _Drawn(value=float(values @ x / (x @ x)), values=drawn @ x / (x @ x))
        rho = _Drawn(value=float(_spearman(values[None], x)[0]), values=_spearman(drawn, x))
        same, p = self._none("undefined: all networks have the same AUC"), self._p_of(slope)
        return Trend(
            auc_per_tenfold=self._interval(slope),
            p=p,
            supported=p is not None and p < 1 - self.config.confidence,
            spearman=same if np.isnan(rho.value) else self._interval(rho),
        )

    def _pairs(self) -> list[CapacityPair]:
        """The heaviest against the lightest, over all and within each family of widths; p corrected by Holm."""
        ranked = self._ranked()
        families = [ranked] + [
            [one for one in ranked if one.point.model == model]
            for model in dict.fromkeys(one.point.model for one in ranked)
        ]
        named: dict[tuple[str, str], _Drawn] = {}
        for members in families:
            if len(members) > 1 and members[0].trainable < members[-1].trainable:
                light, heavy = members[0].point.name, members[-1].point.name
                gap = (self.values[f"auc {heavy}"] or 0.0) - (self.values[f"auc {light}"] or 0.0)
                named[heavy, light] = _Drawn(
                    value=gap, values=self.drawn[f"auc {heavy}"] - self.drawn[f"auc {light}"]
                )
        p_values = [self._p_of(found) for found in named.values()]
        alpha = 1 - self.config.confidence
        return [
            CapacityPair(
                heavier=heavy,
                lighter=light,
                difference=self._interval(found),
                p=p,
                p_holm=p_holm,
                supported=p_holm is not None and p_holm < alpha,
            )
            for ((heavy, light), found), p, p_holm in zip(
                named.items(), p_values, holm(p_values), strict=True
            )
        ]


def words_of(points: Sequence[CapacityPoint], trend: Trend, pairs: Sequence[CapacityPair]) -> list[str]:
    """What the data say of weights and accuracy; never that light networks are as good."""
    lines = [f"{p.name} {NOT_CONVERGED}." for p in points if not p.converged]
    lines.append(_trend_words(trend))
    for pair in pairs:
        d = pair.difference
        between = "" if d.low is None else f", {d.low:+.3f} to {d.high:+.3f}"
        p = "no test" if pair.p_holm is None else f"p {pair.p_holm:.3f} corrected for {len(pairs)}"
        verb = "differ" if pair.supported else "are not shown to differ"
        lines.append(
            f"As trained, {pair.heavier} and {pair.lighter} {verb} (AUC {d.value:+.3f}{between}; {p})."
        )
    lines += _seed_words(points)
    lines.append("A difference that is not shown may still exist; the intervals show how large it could be.")
    return lines


def _trend_words(trend: Trend) -> str:
    slope = trend.auc_per_tenfold
    if slope.value is None:
        return f"No trend can be computed: {slope.method.removeprefix('no trend: ')}."
    between = "" if slope.low is None else f" ({slope.low:+.3f} to {slope.high:+.3f}, {slope.n} patients)"
    found = "No trend is shown among these trained networks"
    if trend.supported:
        found = (
            f"Of these trained networks, the heavier have a {'higher' if slope.value > 0 else 'lower'} AUC"
        )
    return f"{found}: with ten times the weights AUC changes by {slope.value:+.3f}{between}."


def _seed_words(points: Sequence[CapacityPoint]) -> list[str]:
    """What chance in training does to the AUC, or that it is not known: no interval here includes it."""
    sound = [p for p in points if p.auc.value is not None]
    spread = [
        f"{p.auc_sd_of_seeds:.3f} {p.name} ({p.auc_sd_of_seeds_n} trainings)"
        for p in sound
        if p.auc_sd_of_seeds is not None
    ]
    once = [p.name for p in sound if p.auc_sd_of_seeds is None]
    lines = []
    if spread:
        lines.append(
            f"SD of the AUC over trainings from other seeds: {', '.join(spread)}. Intervals and p refer "
            "to the mean over these trainings: they account for chance in which patients were tested, "
            "not for chance in training."
        )
    if once:
        who = "Each network" if not spread else ", ".join(once)
        lines.append(
            f"{who} was trained once (one seed): the effect of size cannot be separated from chance in "
            "training. Intervals and p account only for chance in which patients were tested; "
            "`--repeats` trains each network from other seeds."
        )
    return lines


def _converged(one: Trained) -> list[tuple[Answer, ...]]:
    return [cases for cases, good in zip(one.predictions, one.converged, strict=True) if good]


def _p_of(found: _Drawn) -> float | None:
    """Two-sided p of 0 among the redraws that also give the interval; None where they all agree.

    Source:
        Davison and Hinkley 1997, Bootstrap Methods and their Application, section 4.4 (one added to both counts).
    """
    values = found.values[~np.isnan(found.values)]
    if values.size < 2 or np.ptp(values) < TINY:
        return None
    tail = min(np.count_nonzero(values <= 0), np.count_nonzero(values >= 0))
    return min(1.0, 2 * (int(tail) + 1) / (values.size + 1))


def _spearman(values: Floats, x: Floats) -> Floats:
    """Rank correlation of each row of values (B, m) with x (m,); NaN where a row is constant."""
    a, b = rankdata(values, axis=1), rankdata(x)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean()
    scale = np.sqrt((a * a).sum(axis=1) * (b @ b))
    rho: Floats = np.divide(a @ b, scale, out=np.full(len(a), np.nan), where=scale > 0)
    return rho
