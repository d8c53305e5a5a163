"""AUC and accuracy of subgroups, such as women or one vendor, and their gaps to all other cases."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nephroscope.intake.export.series_table import SEEN_FILE, seen_rows
from nephroscope.records import Answer, ChosenCase, Cohort, Estimate, EvaluationConfig
from nephroscope.statistics.estimates import Rows, areas_of, estimate_all, rows_of_cases, shares_of
from nephroscope.statistics.intervals import (
    CHUNK,
    Patients,
    Statistic,
    auc_statistic,
    clustered_bootstrap,
    mean_statistic,
    no_estimate,
)
from nephroscope.statistics.mcnemar import holm, square_and_add
from nephroscope.statistics.metrics import Bools, Floats, Ints

UNKNOWN = "unknown"
OLD_YEARS, T1A_CM = 60.0, 4.0
SPACINGS_MM = (1.5, 3.0)
SEXES = {"F": "women", "M": "men", "O": "other"}
# Words in DICOM Manufacturer (0008,0070), and the usual name.
VENDORS = {
    "siemens": "Siemens",
    "ge": "GE",
    "philips": "Philips",
    "toshiba": "Canon or Toshiba",
    "canon": "Canon or Toshiba",
    "hitachi": "Hitachi or Fujifilm",
    "fujifilm": "Hitachi or Fujifilm",
    "uih": "United Imaging",
    "united": "United Imaging",
    "neusoft": "Neusoft",
}


def series_facts(study: Path, cases: Iterable[ChosenCase] = ()) -> dict[str, dict[str, str]]:
    """Vendor and slice spacing of the series of each case, by case_id, from seen_series.csv if there is one.

    If the series of a case differ in one of them, that one is left out.
    """
    seen: dict[str, dict[str, set[str]]] = {}
    for row in seen_rows(study / SEEN_FILE, cases):
        for case_id in row["case_ids"].split():
            facts = seen.setdefault(case_id, {"vendor": set(), "slice spacing": set()})
            facts["vendor"].add(vendor_of(row["manufacturer"]))
            facts["slice spacing"].add(spacing_of(row["spacing_mm"]))
    return {
        case_id: {name: values.pop() for name, values in facts.items() if len(values) == 1}
        for case_id, facts in seen.items()
    }


def vendor_of(manufacturer: str) -> str:
    """The maker of the scanner, by its usual name."""
    words = manufacturer.casefold().replace("-", " ").replace("_", " ").split()
    known = next((VENDORS[word] for word in words if word in VENDORS), None)
    return known or manufacturer.strip() or UNKNOWN


def spacing_of(spacing_mm: str) -> str:
    """The class of a slice spacing."""
    try:
        mm = float(spacing_mm)
    except ValueError:
        return UNKNOWN
    thin, thick = SPACINGS_MM
    if mm <= thin:
        return f"up to {thin:g} mm"
    return f"over {thin:g} to {thick:g} mm" if mm <= thick else f"over {thick:g} mm"


def attributes_of(case: ChosenCase, facts: Mapping[str, str]) -> dict[str, str]:
    """Every attribute of a case with its value, ``unknown`` where it is not known."""
    age, size = case.clinical.age_years, case.clinical.size_cm
    ages = f"under {OLD_YEARS:g}", f"{OLD_YEARS:g} and over"
    return {
        "sex": SEXES.get(case.clinical.sex or "", UNKNOWN),
        "age": UNKNOWN if age is None else ages[age >= OLD_YEARS],
        "size": UNKNOWN if size is None else f"{'over' if size > T1A_CM else 'up to'} {T1A_CM:g} cm",
        "phase": case.phase,
        "site": case.site_id,
        **{"vendor": UNKNOWN, "slice spacing": UNKNOWN, **facts},
    }


FEWEST = 5  # patients of each subtype that a figure needs
NAMES = ("auc", "accuracy")


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """One value of one attribute, such as women.

    Attributes:
        n_by_subtype: Patients of each subtype.
        figures: ``auc`` (macro over three subtypes or more) and ``accuracy``; None with the reason where too few.
        gaps: The same, minus that of all other cases with a known value.
        p: Of no gap in the AUC; None where not tested. The method of the gap names the test.
        p_holm: Corrected by Holm for all tests of the table.
    """

    attribute: str
    value: str
    n_cases: int
    n_patients: int
    n_by_subtype: dict[str, int]
    figures: dict[str, Estimate]
    gaps: dict[str, Estimate]
    p: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True, eq=False)
class _Table:
    """The cases of one test set as arrays, and the settings."""

    rows: Rows
    subtypes: tuple[str, ...]
    positive: int
    config: EvaluationConfig


def subgroup_table(
    predictions: Sequence[Answer],
    cohort: Cohort,
    facts: Mapping[str, Mapping[str, str]],
    subtypes: Sequence[str],
    positive: str,
    config: EvaluationConfig,
) -> tuple[Subgroup, ...]:
    """Every subgroup of one test set, attribute by attribute; an attribute that no case has is left out.

    Gaps are explored, not confirmed: a small group can hide a large gap, and of twenty tests one is below 0.05 by
    chance, which ``p_holm`` takes into account.

    Args:
        predictions: Cases with a known subtype, each once.
        cohort: With sex, age, size, phase and site of each case.
        facts: Further attributes by case_id, from `series_facts`; may be empty.
        subtypes: In output order.
        positive: The subtype that the AUC refers to if there are two.
        config: Resamples (also of the permutations), seed and confidence.
    """
    known = [p for p in predictions if p.truth is not None]
    rows = rows_of_cases(known, subtypes)
    table = _Table(rows, tuple(subtypes), list(subtypes).index(positive), config)
    each = [attributes_of(cohort.by_id[p.case_id], facts.get(p.case_id, {})) for p in known]
    found: list[Subgroup] = []
    for attribute in dict.fromkeys(name for values in each for name in values):
        values = np.array([v.get(attribute, UNKNOWN) for v in each])
        if not (values == UNKNOWN).all():
            found += _of_attribute(table, attribute, values)
    return tuple(_adjusted(found))


def auc_without(
    predictions: Sequence[Answer],
    left_out: Collection[str],
    subtypes: Sequence[str],
    positive: str,
    config: EvaluationConfig,
) -> Estimate:
    """AUC by case of the cases whose case_id is not ``left_out``; arguments as in `subgroup_table`."""
    known = [p for p in predictions if p.truth is not None]
    rows = rows_of_cases(known, subtypes)
    table = _Table(rows, tuple(subtypes), list(subtypes).index(positive), config)
    kept = np.array([p.case_id not in left_out for p in known], np.bool_)
    if few := _too_few(table, kept):
        return no_estimate(f"undefined: {few}", int(np.count_nonzero(kept)))
    return _figures(table, kept)["auc"]


def _of_attribute(
    table: _Table, attribute: str, values: np.ndarray[tuple[int], np.dtype[np.str_]]
) -> list[Subgroup]:
    """Its subgroups, in alphabetical order, the unknown last and without figures."""
    is_known: Bools = values != UNKNOWN
    levels = sorted({str(v) for v in values[is_known]})
    groups = [_subgroup(table, attribute, level, values == level, is_known) for level in levels]
    if len(groups) == 2 and groups[0].p is not None:  # one test, not two
        groups[1] = replace(groups[1], p=groups[0].p)
    if not is_known.all():
        groups.append(_counted(table, attribute, UNKNOWN, ~is_known, "the value is not known"))
    return groups


def _subgroup(table: _Table, attribute: str, value: str, inside: Bools, is_known: Bools) -> Subgroup:
    few = _too_few(table, inside)
    if few:
        return _counted(table, attribute, value, inside, few)
    figures = _figures(table, inside)
    rest = is_known & ~inside
    few = _too_few(table, rest)
    if few:
        why = f"the other cases: {few}" if rest.any() else "no other case"
        return replace(_counted(table, attribute, value, inside, why), figures=figures)
    gaps, p = _gaps(table, figures, inside, rest)
    return replace(_counted(table, attribute, value, inside, ""), figures=figures, gaps=gaps, p=p)


def _figures(table: _Table, part: Bools) -> dict[str, Estimate]:
    rows = _taken(table.rows, part)
    areas = {"auc": areas_of(rows, table.subtypes, table.positive)["auc"]}
    shares = {"accuracy": shares_of(rows, table.subtypes, table.positive)["accuracy"]}
    return estimate_all(rows, shares, areas, table.config)


def _gaps(
    table: _Table, mine: Mapping[str, Estimate], inside: Bools, rest: Bools
) -> tuple[dict[str, Estimate], float]:
    """Difference of each figure between two parts of the rows, from their own limits, and the p of the AUC's.

    Source:
        Newcombe 1998, Stat Med 17:873, method 10; Zou and Donner 2008 (limits squared and added); why not the
        bootstrap: `benchmarks/interval_coverage.py`.
    """
    patients, config, theirs = table.rows.patients, table.config, _figures(table, rest)
    gaps = {
        name: square_and_add(
            (mine[name], theirs[name]), 0.0, "limits of both squared and added", config.confidence
        )
        for name in NAMES
    }
    owners = patients.row[inside]
    if np.isin(patients.row[rest], owners).any():
        gap = _difference(_area(table, inside), _area(table, rest))
        drawn = clustered_bootstrap({"auc": gap}, patients, config.resamples, config.seed)
        p, test = _bootstrap_p(drawn["auc"]), "p by bootstrap, as patients are on both sides"
    else:
        p = _permutation_p(table, inside | rest, owners, gaps["auc"].value or 0.0)
        test = "p by permuting patients in their class"
    return gaps | {"auc": replace(gaps["auc"], method=f"{gaps['auc'].method}; {test}")}, p


def _permutation_p(table: _Table, known: Bools, owners: Ints, observed: float) -> float:
    """Two-sided p of the difference of the AUCs if the patients of the group are drawn again within their class."""
    patients, config = table.rows.patients, table.config
    taking_part = np.zeros(patients.n)
    taking_part[patients.row[known]] = 1.0
    member = np.zeros(patients.n)
    member[owners] = 1.0
    statistic = _area(table, known)
    rng = np.random.default_rng(config.seed)
    strata = [
        np.flatnonzero((patients.stratum == s) & (taking_part > 0)) for s in np.unique(patients.stratum)
    ]
    as_far = 0
    for start in range(0, config.resamples, CHUNK):
        size = min(CHUNK, config.resamples - start)
        drawn = np.zeros((size, patients.n))
        for who in strata:
            drawn[:, who] = rng.permuted(np.tile(member[who], (size, 1)), axis=1)
        gap = statistic(drawn) - statistic(taking_part - drawn)
        as_far += int(np.count_nonzero(np.abs(gap) >= abs(observed) - 1e-12))
    return (as_far + 1) / (config.resamples + 1)


def _bootstrap_p(drawn: Floats) -> float:
    """Two-sided p of 0 in the resampled differences."""
    known = drawn[~np.isnan(drawn)]
    tail = min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
    return min(1.0, 2 * (tail + 1) / (known.size + 1))


def _area(table: _Table, part: Bools) -> Statistic:
    """AUC of some rows, macro over three subtypes or more, as a function of patient weights."""
    taken = _taken(table.rows, part, renumber=False)
    areas = areas_of(taken, table.subtypes, table.positive)["auc"]
    return mean_statistic([auc_statistic(scores, yes, taken.patients) for scores, yes in areas])


def _difference(mine: Statistic, theirs: Statistic) -> Callable[[Floats], Floats]:
    return lambda weights: mine(weights) - theirs(weights)


def _taken(rows: Rows, part: Bools, renumber: bool = True) -> Rows:
    """Some of the rows; patients numbered again, or as in the whole table."""
    owner = rows.patients.row[part]
    patients = replace(rows.patients, row=owner)
    if renumber:
        whole = Patients.of([str(i) for i in owner.tolist()], rows.truth[part])
        patients = replace(whole, n_folds=rows.patients.n_folds)
    return replace(rows, truth=rows.truth[part], called=rows.called[part], p=rows.p[part], patients=patients)


def _by_subtype(table: _Table, part: Bools) -> dict[str, int]:
    rows = table.rows
    return {s: rows.patients.count(part & (rows.truth == i)) for i, s in enumerate(table.subtypes)}


def _too_few(table: _Table, part: Bools) -> str:
    """Why a part of the rows has no figure; empty if it has one."""
    short = [f"{n} {s}" for s, n in _by_subtype(table, part).items() if n < FEWEST]
    return f"fewer than {FEWEST} patients of a subtype ({', '.join(short)})" if short else ""


def _counted(table: _Table, attribute: str, value: str, part: Bools, why: str) -> Subgroup:
    """The counts of a subgroup, and why it has neither figures nor gaps."""
    n = int(np.count_nonzero(part))
    none = {name: no_estimate(f"undefined: {why}", n) for name in NAMES}
    return Subgroup(
        attribute=attribute,
        value=value,
        n_cases=n,
        n_patients=table.rows.patients.count(part),
        n_by_subtype=_by_subtype(table, part),
        figures=none,
        gaps=dict(none),
    )


def _adjusted(groups: Sequence[Subgroup]) -> list[Subgroup]:
    """Corrected by Holm; the two groups of an attribute with two values are one test."""
    sides = Counter(g.attribute for g in groups if g.value != UNKNOWN)

    def test_of(g: Subgroup) -> tuple[str, str]:
        return g.attribute, "" if sides[g.attribute] == 2 else g.value

    tests: dict[tuple[str, str], float] = {}
    for g in groups:
        if g.p is not None:
            tests.setdefault(test_of(g), g.p)
    adjusted = dict(zip(tests, holm([*tests.values()]), strict=True))
    return [g if g.p is None else replace(g, p_holm=adjusted[test_of(g)]) for g in groups]
