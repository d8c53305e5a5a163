"""How often the 95 % intervals that the report prints hold the true value, and how often equals are told apart.

Every interval is computed by the product's own functions on simulated studies of one model or reader; those of
cross-validated answers are in `cross_validated.py`. Run with `python benchmarks/interval_coverage.py [STUDIES] [KIND
...]`; 200 studies of each kind take about four minutes of one core. A share printed as 0.95 of 200 studies is known
to 0.015 (standard error).
"""

import sys

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import multivariate_normal, norm

from nephroscope.questions.evaluation.subgroups import NAMES, _figures, _gaps, _Table
from nephroscope.records import EvaluationConfig
from nephroscope.statistics.auc import compare_aucs
from nephroscope.statistics.calibration import calibrate, calibration_curve
from nephroscope.statistics.coverage import risk_coverage
from nephroscope.statistics.decision_curve import decision_curve
from nephroscope.statistics.estimates import Rows, areas_of, estimate_all, pairwise_areas, shares_of
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.kappa import compare_labels, estimate_fleiss
from nephroscope.statistics.mcnemar import mcnemar
from nephroscope.statistics.metrics import auc
from nephroscope.statistics.mrmc import analyse
from nephroscope.statistics.mrmc_design import Design
from nephroscope.statistics.placements import pair_areas
from nephroscope.statistics.predictive_values import predictive_values
from nephroscope.statistics.resampling import roc_band
from nephroscope.statistics.sample_size import Comparison, binormal_variance, patients_for_readers

CONFIG = EvaluationConfig(resamples=300)
SIZES = (10, 20, 40)  # patients of each class
SHARED, OWN, MOST = 1.0, 0.7, 8  # SD between and within patients; slices of a patient
TWO = ("no", "yes")


class Held:
    """Counts of intervals that hold the truth, and of tests with p below 0.05, by name."""

    def __init__(self):
        self.of = {}

    def interval(self, name, estimate, true):
        """Count whether the interval holds ``true``, where there is one."""
        if estimate.low is not None and estimate.high is not None:
            self.of.setdefault(name, []).append(estimate.low <= true <= estimate.high)

    def test(self, name, p):
        """Count whether p is below 0.05; no p is none."""
        self.of.setdefault(f"{name}, p < 0.05", []).append(p is not None and p < 0.05)

    def told(self, head):
        """Print the shares."""
        shares = ", ".join(f"{name} {np.mean(found):.3f}" for name, found in self.of.items())
        print(f"{head}: {shares}", flush=True)


def alone(y):
    """Each row a patient of its own."""
    return Patients.of([f"{i:06d}" for i in range(y.size)], y.astype(np.intp))


def rows_of(scores, y, patients, unit="case"):
    """Rows called at probability 0.5 of logit scores."""
    p = expit(scores)
    return Rows(
        unit=unit,
        truth=y.astype(np.intp),
        called=(p >= 0.5).astype(np.intp),
        p=np.stack([1 - p, p], 1),
        patients=patients,
    )


def areas(studies):
    """AUC and shares of cases, and tests of two equals; class sizes down to two."""
    for m, n in ((2, 20), (4, 20), *((n, n) for n in SIZES)):
        for true in (0.80, 0.95):
            rng, held = np.random.default_rng(n), Held()
            y = np.arange(m + n) < m
            away = norm.ppf(true) * 2**0.5
            for _ in range(studies):
                shared, own = rng.normal(size=m + n), rng.normal(size=(2, m + n))
                scores = (shared + own) / 2**0.5 + away * (y - 0.5)
                patients = alone(y)
                rows = rows_of(scores[0], y, patients)
                found = estimate_all(rows, shares_of(rows, TWO, 1), areas_of(rows, TWO, 1), CONFIG)
                held.interval("AUC", found["auc"], true)
                for name in ("sensitivity", "accuracy"):
                    held.interval(name, found[name], norm.cdf(away / 2))
                levels = np.digitize(scores[0], np.array([-1.0, -0.2, 0.2, 1.0]) * max(away / 2, 0.5))
                edges = np.r_[-np.inf, np.array([-1.0, -0.2, 0.2, 1.0]) * max(away / 2, 0.5), np.inf]
                a, b = np.diff(norm.cdf(edges - away / 2)), np.diff(norm.cdf(edges + away / 2))
                five = rows_of(levels.astype(float), y, patients)
                of_five = estimate_all(five, {}, areas_of(five, TWO, 1), CONFIG)["auc"]
                held.interval("AUC, five levels", of_five, float(a @ (np.cumsum(b) - b / 2)))
                test = compare_aucs(*scores, y, None, CONFIG, bootstrap=False)
                held.interval("difference of AUC", test.difference, 0.0)
                held.test("equal AUCs", test.p)
                held.test("the same by DeLong", test.p_variance)
            held.told(f"one model, {m} + {n} cases, AUC {true}")


def slices(studies):
    """AUC and shares of slices, 1 to 8 of a patient, who share a part of the score."""
    for n in SIZES:
        for true in (0.80, 0.92):
            rng, held = np.random.default_rng(n), Held()
            away = norm.ppf(true) * np.sqrt(2 * (SHARED**2 + OWN**2))
            for _ in range(studies):
                row = np.arange(2 * n).repeat(rng.integers(1, MOST + 1, 2 * n))
                y = row < n
                noise = rng.normal(0, SHARED, (2, 2 * n))[:, row] + rng.normal(0, OWN, (2, row.size))
                scores = away * (y - 0.5) + noise
                patients = Patients.of([f"{i:06d}" for i in row], y.astype(np.intp))
                rows = rows_of(scores[0], y, patients, "image")
                found = estimate_all(rows, shares_of(rows, TWO, 1), areas_of(rows, TWO, 1), CONFIG)
                held.interval("AUC", found["auc"], true)
                share = norm.cdf(away / 2 / np.sqrt(SHARED**2 + OWN**2))
                for name in ("sensitivity", "accuracy"):
                    held.interval(name, found[name], share)
                right = (scores > 0) == y
                calls = mcnemar(right[0], right[1], patients, CONFIG, "image")
                held.interval("difference of accuracy", calls.difference, 0.0)
                held.test("equal calls", calls.p)
                held.test("equal AUCs", compare_aucs(*scores, y, patients, CONFIG, bootstrap=False).p)
            held.told(f"slices, {n} + {n} patients, AUC {true}")


def three_classes(studies):
    """Mean AUC of three subtypes, each against the rest and over pairs, and the AUC of one pair."""
    for n in SIZES:
        for strength in (1.0, 2.5):
            rng, held = np.random.default_rng(n), Held()

            def drawn(k, strength=strength, rng=rng):
                truth = np.arange(3 * k) % 3
                return rng.normal(strength * np.eye(3)[truth], 1.0), truth

            big, of_big = drawn(20_000)
            true = np.mean([auc(big[:, k], of_big == k) for k in range(3)])
            _, areas = pair_areas(big, of_big, (0, 1))
            pair = np.mean([auc(*area) for area in areas])
            for _ in range(studies):
                p, truth = drawn(n)
                patients = Patients.of([f"{i:04d}" for i in range(truth.size)], truth.astype(np.intp))
                rows = Rows(unit="case", truth=truth, called=p.argmax(1), p=p, patients=patients)
                found = estimate_all(rows, {}, areas_of(rows, ("a", "b", "c"), 0), CONFIG)
                held.interval("mean AUC", found["auc"], true)
                each = pairwise_areas(rows, "abc", CONFIG)
                held.interval("mean over pairs", each["auc_pairs"], pair)
                held.interval("one pair", each["auc_pairs_a_b"], pair)
            held.told(f"three subtypes, {n} of each, mean AUC {true:.2f}")


def gaps(studies):
    """Gap of two subgroups without a difference."""
    for n in (10, 20, 40):
        for true in (0.80, 0.92):
            rng, held = np.random.default_rng(n), Held()
            y, away = np.arange(2 * n) < n, norm.ppf(true) * 2**0.5
            inside = np.arange(2 * n) % 2 == 0
            for _ in range(studies):
                rows = rows_of(rng.normal(away * (y - 0.5), 1.0), y, alone(y))
                table = _Table(rows, TWO, 1, CONFIG)
                found, p = _gaps(table, _figures(table, inside), inside, ~inside)
                for name in NAMES:
                    held.interval(f"gap of {name}", found[name], 0.0)
                held.test("no gap of AUC", p)
            held.told(f"subgroups of {n // 2} + {n // 2} cases, AUC {true}")


def probabilities(studies):
    """Calibration, Brier score, net benefit and risk of well calibrated probabilities."""
    for n in SIZES:
        rng, held = np.random.default_rng(n), Held()
        big = rng.normal(0, 1.5, 200_000)
        q = expit(big)
        brier, benefit = float(np.mean(q * (1 - q))), float(np.mean((q >= 0.3) * (q - (1 - q) * 0.3 / 0.7)))
        gain = benefit - float(np.mean(q - (1 - q) * 0.3 / 0.7))
        risk = float(np.minimum(q, 1 - q)[np.abs(q - 0.5) >= 0.1].mean())
        sure = float(np.mean(np.abs(q - 0.5) >= 0.1))
        for _ in range(studies):
            x = rng.normal(0, 1.5, 2 * n)
            y = rng.random(2 * n) < expit(x)
            if min(y.sum(), (~y).sum()) < 5:
                continue
            patients, p = alone(y), expit(x)
            found = calibrate(p, y, patients, CONFIG)
            for name, true in (("intercept", 0), ("slope", 1), ("observed_expected", 1), ("brier", brier)):
                held.interval(name.replace("_", " "), found[name], true)
            curve = decision_curve(p, y, patients, CONFIG, np.array([0.3]))
            for name, one, true in (
                ("net benefit", curve.net_benefit, benefit),
                ("gain", curve.over_all, gain),
            ):
                held.of.setdefault(f"{name} at 0.3", []).append(one.low[0] <= true <= one.high[0])
            wrong, away = (p >= 0.5) != y, np.abs(p - 0.5)
            at = risk_coverage(away, wrong, patients, CONFIG, margin=0.1).at_margin
            held.interval("risk at margin 0.1", at["risk"], risk)
            held.interval("coverage at margin 0.1", at["coverage"], sure)
            rows = rows_of(x, y, patients)
            both = shares_of(rows, TWO, 1)
            values = predictive_values(rows, (both["sensitivity"], both["specificity"]), 0.1, 0.95)
            se, sp = (
                float((q * (q >= 0.5)).sum() / q.sum()),
                float(((1 - q) * (q < 0.5)).sum() / (1 - q).sum()),
            )
            held.interval("PPV at prevalence 0.1", values["ppv"], 0.1 * se / (0.1 * se + 0.9 * (1 - sp)))
            held.interval("NPV at prevalence 0.1", values["npv"], 0.9 * sp / (0.9 * sp + 0.1 * (1 - se)))
        held.told(f"probabilities, {2 * n} cases")


def agreement(studies):
    """Kappa of two readers, and their agreement; two labels, and three of which one is rare."""
    for n in (10, 20, 40, 80):
        for shares, kappa in (((0.4, 0.3, 0.3), 0.5), ((0.6, 0.3, 0.1), 0.8)):
            rng, held = np.random.default_rng([3, n]), Held()
            chances = kappa * np.diag(shares) + (1 - kappa) * np.outer(shares, shares)
            for _ in range(studies):
                one, two = np.divmod(rng.choice(9, n, p=chances.ravel()), 3)
                readings = [list(map(str, labels)) for labels in (one, two)]
                alone_in = [str(i) for i in range(n)]
                held.interval("kappa", compare_labels(*readings, alone_in, CONFIG, "012").kappa, kappa)
                in_pairs = [str(i // 2) for i in range(n)]
                paired = compare_labels(*readings, in_pairs, CONFIG, "012").kappa
                held.interval("kappa, two cases a patient", paired, kappa)
            held.told(f"two readers, {n} cases, three labels, kappa {kappa}")
        for share, kappa in ((0.5, 0.4), (0.5, 0.8), (0.2, 0.6)):
            rng, held = np.random.default_rng(n), Held()
            both = share**2 + kappa * share * (1 - share)
            chances = (both, share - both, share - both, 1 - 2 * share + both)
            for _ in range(studies):
                pair = rng.choice(4, n, p=chances)
                one, two = np.array([*"aabb"])[pair], np.array([*"abab"])[pair]
                found = compare_labels(one.tolist(), two.tolist(), [str(i) for i in range(n)], CONFIG)
                held.interval("kappa", found.kappa, kappa)
                held.interval("agreement", found.agreement, both + chances[3])
            held.told(f"two readers, {n} cases, share {share}, kappa {kappa}")


def several_labels(studies):
    """Fleiss' kappa of three and of four readers who each are right with the same chance."""
    for m in (3, 4):
        for n in (10, 20, 40, 80):
            for share, right in ((0.5, 0.8), (0.5, 0.95), (0.2, 0.85)):
                rng, held = np.random.default_rng([m, n]), Held()
                called = share * right + (1 - share) * (1 - right)
                chance = called**2 + (1 - called) ** 2
                kappa = (right**2 + (1 - right) ** 2 - chance) / (1 - chance)
                for _ in range(studies):
                    p = np.where(rng.random(n) < share, right, 1 - right)
                    ones = (rng.random((n, m)) < p[:, None]).sum(1)
                    counts = np.stack([ones, m - ones], 1).astype(float)
                    held.interval("kappa", estimate_fleiss(counts, [str(i) for i in range(n)], CONFIG), kappa)
                held.told(f"{m} readers, {n} cases, Fleiss' kappa {kappa:.2f}")


def plans(studies):
    """Power of reader studies with as many patients as `plan --readers` counts for a power of 0.80.

    The AUCs have the correlations that the plan is told: those of the ratings are found from them.
    """
    spread, between, across = 0.02, 0.05, 0.30
    for before, after, n_readers, alike in (
        (0.80, 0.88, 4, 0.5),
        (0.80, 0.86, 8, 0.5),
        (0.85, 0.92, 5, 0.5),
        (0.75, 0.85, 6, 0.4),
        (0.80, 0.90, 3, 0.5),
        (0.85, 0.92, 10, 0.5),
        (0.90, 0.95, 6, 0.4),
    ):
        rng, held = np.random.default_rng([n_readers, int(100 * before)]), Held()
        plan = Comparison(aucs=(after, before), correlation=alike)
        m, n = patients_for_readers(plan, n_readers, 0.8, spread, between)
        y = np.arange(m + n) < m
        same = ratings_correlation(before, after, alike, m, n)
        case = ratings_correlation(before, after, across, m, n)
        arm = np.mean([ratings_correlation(auc, auc, across + between, m, n) for auc in (before, after)])
        away = norm.ppf([before, after]) * 2**0.5
        steep = norm.pdf(away / 2**0.5) / 2**0.5  # AUC per unit of distance
        away *= np.sqrt(1 + (spread / steep) ** 2 / 2)  # the mean AUC of readers who differ
        for _ in range(studies):
            of_case = rng.normal(size=m + n) * case**0.5
            of_arm = rng.normal(size=(2, 1, m + n)) * (arm - case) ** 0.5
            of_reader = rng.normal(size=(1, n_readers, m + n)) * (same - case) ** 0.5
            own = rng.normal(size=(2, n_readers, m + n)) * (1 - same - arm + case) ** 0.5
            shift = away[:, None] + rng.normal(0, spread, (2, n_readers)) / steep[:, None]
            design = Design(
                treatments=("unaided", "aided"),
                readers=tuple(map(str, range(n_readers))),
                ratings=of_case + of_arm + of_reader + own + shift[..., None] * y,
                truth=y,
                patient=np.arange(m + n),
            )
            held.test("power", analyse(design, covariance="delong").test.p)
        told = f"plan of {n_readers} readers, AUC {before} and {after}, correlation {alike}"
        held.told(f"{told}, {m} + {n} patients, power 0.80")


def ratings_correlation(one, two, wanted, m, n):
    """The correlation of normal ratings whose AUCs, ``one`` and ``two``, correlate as ``wanted`` over samples."""
    spread = (binormal_variance(one, m, n) * binormal_variance(two, m, n)) ** 0.5

    def both(r):
        cov = [[1, r], [r, 1]]
        return multivariate_normal.cdf([norm.ppf(one), norm.ppf(two)], cov=cov) - one * two

    return brentq(lambda r: ((m + n - 2) * both(r / 2) + both(r)) / (m * n) / spread - wanted, 0, 0.99)


def bands(studies):
    """Bands of ROC curves at single places."""
    grid = np.array([0.05, 0.1, 0.2, 0.5])
    for n in SIZES:
        for true in (0.80, 0.92):
            rng, held = np.random.default_rng(n), Held()
            y, away = np.arange(2 * n) < n, norm.ppf(true) * 2**0.5
            for _ in range(studies):
                low, high = roc_band(rng.normal(away * y, 1.0), y, alone(y), grid, 0.95)
                for rate, at_least, at_most in zip(grid, low, high, strict=True):
                    tpr = norm.sf(norm.isf(rate) - away)
                    held.of.setdefault(f"ROC at {rate}", []).append(at_least <= tpr <= at_most)
            held.told(f"ROC band, {n} + {n} cases, AUC {true}")


def curves(studies):
    """Calibration curves at single places, their distances, and the proportion of wrong answers."""
    for n in SIZES:
        for steep, shift in ((1.0, 0.0), (1.8, 0.5)):
            rng, held = np.random.default_rng(n), Held()
            big = rng.normal(0, 1.5, 400_000)
            q, said = expit(big), expit(steep * big + shift)
            share, off = q.mean(), np.abs(said - q)
            brier = float(np.mean((said - q) ** 2 + q * (1 - q)))
            true = {"scaled_brier": 1 - brier / (share * (1 - share)), "ici": float(off.mean())}
            true |= {"e50": float(np.median(off)), "e90": float(np.quantile(off, 0.9))}
            benefit = float(np.mean((said >= 0.3) * (q - (1 - q) * 0.3 / 0.7))) / share
            surest = np.abs(said - 0.5) >= np.median(np.abs(said - 0.5))
            wrong = float(np.where(said >= 0.5, 1 - q, q)[surest].mean())
            for _ in range(studies):
                x = rng.normal(0, 1.5, 2 * n)
                y, p = rng.random(2 * n) < expit(x), expit(steep * x + shift)
                if min(y.sum(), (~y).sum()) < 5:
                    continue
                found = calibrate(p, y, alone(y), CONFIG)
                for name, value in true.items():
                    held.interval(name.replace("_", " "), found[name], value)
                curve = calibration_curve(p, y, alone(y), CONFIG).curve
                for at in (0.2, 0.5, 0.8):
                    i = int(np.abs(curve.x - at).argmin())
                    if curve.x[0] <= at <= curve.x[-1]:
                        truth = expit((logit(curve.x[i]) - shift) / steep)
                        held.of.setdefault(f"curve at {at}", []).append(
                            curve.low[i] <= truth <= curve.high[i]
                        )
                decided = decision_curve(p, y, alone(y), CONFIG, np.array([0.3])).standardised
                held.of.setdefault("standardized net benefit at 0.3", []).append(
                    decided.low[0] <= benefit <= decided.high[0]
                )
                risk = risk_coverage(np.abs(p - 0.5), (p >= 0.5) != y, alone(y), CONFIG).risk
                i = int(np.abs(risk.x - 0.5).argmin())
                held.of.setdefault("wrong of the surest half", []).append(
                    risk.low[i] <= wrong <= risk.high[i]
                )
            held.told(f"probabilities of slope {1 / steep:.2f}, {2 * n} cases")


def readers(studies):
    """Four readers, unaided and aided, on five levels: mean, difference, and each reader."""
    for n in SIZES:
        rng, held = np.random.default_rng(n), Held()
        y, edges = np.arange(2 * n) < n, np.array([-0.7, 0.2, 1.0, 1.8])
        away = norm.ppf(0.85) * 2**0.5
        big = rng.normal(size=400_000)
        true = auc(
            np.digitize(np.r_[big + away, rng.normal(size=400_000)], edges).astype(float),
            np.arange(800_000) < 400_000,
        )
        for _ in range(studies):
            case, reader = rng.normal(size=2 * n) * 0.6**0.5, rng.normal(size=(2, 4, 2 * n)) * 0.4**0.5
            ratings = np.digitize(case + reader + away * y, edges).astype(float)
            design = Design(
                treatments=("unaided", "aided"),
                readers=("1", "2", "3", "4"),
                ratings=ratings,
                truth=y,
                patient=np.arange(2 * n),
            )
            found = analyse(design)
            held.interval("one reader", found.figures[0], true)
            held.interval("mean of readers", next(iter(found.means.values())), true)
            held.interval("difference of one reader", found.single_readers[0].difference, 0.0)
            held.interval("difference of means", found.differences[0].difference, 0.0)
            held.test("equal means", found.test.p)
        held.told(f"four readers, {n} + {n} cases, AUC {true:.2f}")


KINDS = {
    "areas": areas,
    "slices": slices,
    "three_classes": three_classes,
    "gaps": gaps,
    "probabilities": probabilities,
    "agreement": agreement,
    "several_labels": several_labels,
    "readers": readers,
    "plans": plans,
    "bands": bands,
    "curves": curves,
}

if __name__ == "__main__":
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for kind in sys.argv[2:] or KINDS:
        KINDS[kind](times)
