"""Patient characteristics by subtype and by part of the study, as tables with tests."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, median, quantiles, stdev, variance
from typing import Literal

import numpy as np

from nephroscope.questions.evaluation.subgroups import SEXES
from nephroscope.records import DEVELOPMENT, INTERNAL_TEST, ChosenCase, Cohort, Split, p_words
from nephroscope.report.page.names import ONE_OF, group_name
from nephroscope.report.page.table import Cell, Table

SMALL_EXPECTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """A p value, or None and why there is none in ``name``; ``doubt`` says when the test is weak here."""

    p: float | None
    name: str
    doubt: str = ""


def compare_numbers(groups: Sequence[Sequence[float]]) -> Test:
    """Mann-Whitney U for two groups, Kruskal-Wallis for more; two-sided, corrected for ties.

    Source: Mann and Whitney 1947; Kruskal and Wallis 1952; as scipy.stats computes them.
    """
    from scipy import stats

    if min(map(len, groups), default=0) < 2:
        return Test(p=None, name="fewer than 2 known in a group")
    if len({value for group in groups for value in group}) < 2:
        return Test(p=None, name="all values are equal")
    if len(groups) == 2:
        return Test(
            p=float(stats.mannwhitneyu(*groups, alternative="two-sided").pvalue), name="Mann-Whitney U"
        )
    return Test(p=float(stats.kruskal(*groups).pvalue), name="Kruskal-Wallis")


def compare_categories(groups: Sequence[Sequence[str]]) -> Test:
    """Fisher's exact test for 2 x 2, else Pearson's chi-squared without continuity correction.

    Source: Fisher 1922; Pearson 1900; the rule of expected counts below 5 is Cochran's, 1954.
    """
    from scipy import stats

    table = counts_of(groups)
    if min(map(len, groups), default=0) < 1:
        return Test(p=None, name="none known in a group")
    if table.shape[1] < 2:
        return Test(p=None, name="all are equal")
    if table.shape == (2, 2):
        return Test(p=float(stats.fisher_exact(table).pvalue), name="Fisher's exact")
    result = stats.chi2_contingency(table, correction=False)
    low = int((result.expected_freq < SMALL_EXPECTED).sum())
    doubt = f"{low} of {table.size} expected counts are below {SMALL_EXPECTED}" if low else ""
    return Test(p=float(result.pvalue), name="chi-squared", doubt=doubt)


def counts_of(groups: Sequence[Sequence[str]]) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    """How often each category occurs in each group: (groups, categories), categories in alphabetical order."""
    words = sorted({word for group in groups for word in group})
    return np.array([[Counter(group)[word] for word in words] for group in groups], np.int64).reshape(
        len(groups), len(words)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A standardized difference, at least 0, with its interval."""

    value: float
    low: float
    high: float


def difference_of_numbers(
    one: Sequence[float], other: Sequence[float], confidence: float = 0.95
) -> Difference | None:
    """Standardized mean difference: difference of means by the root of the mean variance; None where undefined.

    Source: Cohen 1988; with the unpooled mean of both variances, as Austin, Stat Med 2009.
    """
    if len(one) < 2 or len(other) < 2:
        return None
    spread = ((variance(one) + variance(other)) / 2) ** 0.5
    if spread <= 0:
        return None
    return _with_interval(abs(fmean(one) - fmean(other)) / spread, len(one), len(other), confidence)


def difference_of_categories(
    one: Sequence[str], other: Sequence[str], confidence: float = 0.95
) -> Difference | None:
    """Standardized difference of two distributions over categories; None where undefined.

    The Mahalanobis distance between both vectors of shares, all but one category, with the mean of both covariances.

    Source: Yang and Dalton, SAS Global Forum 2012, paper 335.
    """
    if not one or not other:
        return None
    shares = counts_of([one, other])
    p, q = shares[:, 1:] / shares.sum(axis=1, keepdims=True)
    if p.size == 0:
        return None
    covariance = sum(np.diag(v) - np.outer(v, v) for v in (p, q)) / 2
    gap = p - q
    if np.linalg.matrix_rank(covariance) < p.size:
        return None
    size = float(np.sqrt(max(gap @ np.linalg.solve(covariance, gap), 0.0)))
    return _with_interval(size, len(one), len(other), confidence)


def _with_interval(size: float, n_one: int, n_other: int, confidence: float) -> Difference:
    """Normal interval of a standardized difference; below 0 lies the other direction, so it ends at 0.

    Source: Hedges and Olkin 1985, Statistical Methods for Meta-Analysis, p. 86: the variance is
        (n + m) / nm + d^2 / 2(n + m); taken for categories too by Yang and Dalton 2012.
    """
    n = n_one + n_other
    half = NormalDist().inv_cdf((1 + confidence) / 2) * (n / (n_one * n_other) + size**2 / (2 * n)) ** 0.5
    return Difference(value=size, low=max(size - half, 0.0), high=size + half)


NOT_DEFINED = "-"
Value = float | str | None
Groups = Sequence[Sequence[ChosenCase]]
NOTES = (
    "Sex, age and site count patients (the first tumor of each), all other rows count tumors. Numbers are mean ± "
    "standard deviation, and median (quartiles); they describe these cases, so they have no interval. Unknown values "
    "are counted and left out of tests.",
    "p values are two-sided and not corrected for the number of tests: they show where groups differ, not why.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Characteristic:
    """A row of the table.

    Attributes:
        value: Of a case; None where it is not known.
        unit: What is counted; patients count once in each group.
        digits: Decimals of a number.
        tested: False for what is described only.
    """

    name: str
    value: Callable[[ChosenCase], Value]
    unit: Literal["patient", "tumor"] = "tumor"
    digits: int = 0
    tested: bool = True


def characteristics_by_subtype(cohort: Cohort, slice_counts: Mapping[str, int] | None = None) -> Table:
    """What the cases are, by subtype and together, with a test between subtypes.

    Args:
        cohort: Who is in.
        slice_counts: Slices of each case, where they are cut.
    """
    groups = [[c for c in cohort.chosen if c.subtype == subtype] for subtype in cohort.subtypes]
    unknown = [c for c in cohort.chosen if c.subtype is None]
    shown = [*groups, *([unknown] if unknown else []), list(cohort.chosen)]
    header = ("", *cohort.subtypes, *(["no label"] if unknown else []), "all", "p")
    rows = [(*_counts("Patients", shown), ""), (*_counts("Tumors", shown), "")]
    for item in _items(slice_counts):
        cells = _cells(item, shown)
        rows.append((item.name, *cells, _test_cell(item, groups)))
    notes = (*NOTES, *_shared(groups))
    return Table(caption="Who is in the study", header=header, rows=tuple(rows), notes=notes)


def characteristics_by_part(
    cohort: Cohort,
    split: Split | None = None,
    slice_counts: Mapping[str, int] | None = None,
    confidence: float = 0.95,
) -> Table | None:
    """Development and each test set, with tests and standardized mean differences; None without a test set.

    Args:
        cohort: Who is in.
        split: Whose hold-out is an internal test set.
        slice_counts: Slices of each case, where they are cut.
        confidence: Of the intervals of the differences.
    """
    parts: dict[str, list[ChosenCase]] = {}
    for case in cohort.chosen:
        parts.setdefault(_part(case, split), []).append(case)
    names = sorted(
        parts, key=lambda name: ((DEVELOPMENT, INTERNAL_TEST).index(name) if ":" not in name else 2, name)
    )
    if len(names) < 2 or names[0] != DEVELOPMENT:
        return None
    groups = [parts[name] for name in names]
    rows: list[tuple[str | Cell, ...]] = []
    for name, first, *rest in (_counts("Patients", groups), _counts("Tumors", groups)):
        rows.append((name, first, *(cell for count in rest for cell in (count, "")), ""))
    subtype = Characteristic(name="Subtype", value=lambda case: case.subtype)
    for item in (subtype, *(item for item in _items(slice_counts) if item.tested)):
        first, *others = _cells(item, groups)
        cells: list[str | Cell] = [first]
        for cell, group in zip(others, groups[1:], strict=True):
            cells += [cell, _difference(item, groups[0], group, confidence)]
        rows.append((item.name, *cells, _test_cell(item, groups)))
    tests = [column for name in names[1:] for column in (group_name(name), "difference")]
    note = (
        "Difference: standardized mean difference from development, in standard deviations (for categories by Yang "
        f"and Dalton), with its {100 * confidence:g} % interval by Hedges and Olkin, which stops at 0 and is rough "
        "in small sets. A difference above 0.1 is often called an imbalance."
    )
    header = ("", "development", *tests, "p")
    return Table(caption="Development and test sets", header=header, rows=tuple(rows), notes=(*NOTES, note))


def _items(slice_counts: Mapping[str, int] | None) -> list[Characteristic]:
    counts = slice_counts or {}
    items = [
        Characteristic(name="Sex, patients", value=lambda c: SEXES.get(c.clinical.sex or ""), unit="patient"),
        Characteristic(name="Age, years", value=lambda c: c.clinical.age_years, unit="patient"),
        Characteristic(name="Largest diameter, cm", value=lambda c: c.clinical.size_cm, digits=1),
        Characteristic(name="Contrast phase", value=lambda c: c.phase if c.phase != "unknown" else None),
        Characteristic(name="Site, patients", value=lambda c: c.site_id, unit="patient"),
        Characteristic(name="Part of the study", value=lambda c: group_name(c.cohort), tested=False),
        Characteristic(name="ROI drawn by", value=lambda c: c.used.roi or None, tested=False),
        Characteristic(name="Image format", value=lambda c: c.format, tested=False),
        Characteristic(name="Source of intensities", value=lambda c: c.source, tested=False),
    ]
    if counts:
        slices = Characteristic(name="Slices per tumor", value=lambda c: _number(counts.get(c.case_id)))
        items.insert(5, slices)
    return items


def _number(value: int | None) -> float | None:
    return None if value is None else float(value)


def _values(item: Characteristic, group: Sequence[ChosenCase]) -> list[Value]:
    """One value of each tumor, or of each patient: the first tumor's that is known."""
    if item.unit == "tumor":
        return [item.value(case) for case in group]
    of_patient: dict[str, Value] = {}
    for case in group:
        known = of_patient.get(case.patient_id)
        of_patient[case.patient_id] = item.value(case) if known is None else known
    return list(of_patient.values())


def _cells(item: Characteristic, groups: Groups) -> list[str | Cell]:
    """A cell for each group; categories have one order in all of them: the most frequent of all groups first."""
    everyone = {case.case_id: case for group in groups for case in group}
    counts = Counter(value for value in _values(item, [*everyone.values()]) if isinstance(value, str))
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return [_cell(item, group, words) for group in groups]


def _cell(item: Characteristic, group: Sequence[ChosenCase], words: Sequence[str]) -> str | Cell:
    values = _values(item, group)
    known = [value for value in values if value is not None]
    missing = f"{len(values) - len(known)} unknown" if len(known) < len(values) else ""
    numbers = [value for value in known if isinstance(value, float | int)]
    if not known:
        return "none" if not values else "not known"
    if not numbers:
        counts = Counter(known)
        named = {word: ONE_OF.get(word, word) if counts[word] == 1 else word for word in words}
        parts = [f"{counts[word]} {named[word]}" for word in words if counts[word]]
        return Cell(", ".join(parts), missing) if missing else ", ".join(parts)
    form = f".{item.digits}f"
    mean = f"{fmean(numbers):.{item.digits + 1}f}"
    if len(numbers) > 1:
        low, _, high = quantiles(numbers, n=4, method="inclusive")
        spread = f"{median(numbers):{form}} ({low:{form}} to {high:{form}})"
        return Cell(
            f"{mean} ± {stdev(numbers):.{item.digits + 1}f}",
            "; ".join(filter(None, (spread, f"n = {len(numbers)}", missing))),
        )
    return Cell(mean, "; ".join(filter(None, ("n = 1", missing))))


def _test_cell(item: Characteristic, groups: Groups) -> str | Cell:
    """The test between groups; a patient who is in several groups is in no test."""
    if not item.tested or len(groups) < 2:
        return ""
    test = _test(item, groups)
    small = test.name + (f"; {test.doubt}" if test.doubt else "")
    return Cell(NOT_DEFINED if test.p is None else p_words(test.p), small)


def _test(item: Characteristic, groups: Groups) -> Test:
    several = _in_several(groups) if item.unit == "patient" else set()
    known = [
        [
            value
            for value in _values(item, [c for c in group if c.patient_id not in several])
            if value is not None
        ]
        for group in groups
    ]
    if all(isinstance(value, str) for values in known for value in values):
        return compare_categories([[str(value) for value in values] for values in known])
    return compare_numbers([[float(value) for value in values] for values in known])


def _difference(
    item: Characteristic, one: Sequence[ChosenCase], other: Sequence[ChosenCase], confidence: float
) -> str | Cell:
    pair = [[value for value in _values(item, group) if value is not None] for group in (one, other)]
    if all(isinstance(value, str) for values in pair for value in values):
        words = [[str(value) for value in values] for values in pair]
        found = difference_of_categories(words[0], words[1], confidence)
    else:
        numbers = [[float(value) for value in values] for values in pair]
        found = difference_of_numbers(numbers[0], numbers[1], confidence)
    if found is None:
        return NOT_DEFINED
    return Cell(
        f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})", f"n = {len(pair[0])} and {len(pair[1])}"
    )


def _in_several(groups: Groups) -> set[str]:
    counts = Counter(patient for group in groups for patient in {case.patient_id for case in group})
    return {patient for patient, n in counts.items() if n > 1}


def _shared(groups: Groups) -> tuple[str, ...]:
    n = len(_in_several(groups))
    have = "patient has" if n == 1 else "patients have"
    notes = []
    if n:
        notes.append(
            f"{n} {have} tumors of several subtypes: counted in each, but in no test that counts patients."
        )
    cases = [case for group in groups for case in group]
    if len({case.patient_id for case in cases}) < len(cases):
        notes.append("Tests that count tumors treat the tumors of one patient as independent.")
    return tuple(notes)


def _part(case: ChosenCase, split: Split | None) -> str:
    """A case's part: held out by the split, or marked in the cohort."""
    if split is not None and case.case_id in split.holdout and case.cohort == DEVELOPMENT:
        return INTERNAL_TEST
    return case.cohort


def _counts(name: str, groups: Groups) -> tuple[str | Cell, ...]:
    if name == "Patients":
        return (name, *(str(len({case.patient_id for case in group})) for group in groups))
    return (name, *(str(len(group)) for group in groups))
