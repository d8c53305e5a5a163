"""Patient characteristics by subtype and by part of the study: a cohort in, tables with tests out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, quantiles, stdev
from typing import Literal

from nephroscope.records import DEVELOPMENT, INTERNAL_TEST, Case, Cohort, Split, p_words
from nephroscope.report.compare import (
    Test,
    compare_categories,
    compare_numbers,
    difference_of_categories,
    difference_of_numbers,
)
from nephroscope.report.tables import SEXES, Cell, Table, group_name

NOT_DEFINED = "-"
Value = float | str | None
Groups = Sequence[Sequence[Case]]
NOTES = (
    "Sex, age and site: patients, the first tumor of each; else tumors. Numbers: mean ± standard deviation; median "
    "(quartiles); they describe these cases, so they have no interval. Unknown values are counted and left out of "
    "tests.",
    "p values are two-sided and not corrected for their number: they say where groups differ, not why.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Characteristic:
    """A row of the table.

    Attributes:
        value: Of a case; None where it is not known.
        unit: What is counted; patients count once in each group.
        digits: Decimals of a number.
        tested: False for what is told only.
    """

    name: str
    value: Callable[[Case], Value]
    unit: Literal["patient", "tumor"] = "tumor"
    digits: int = 0
    tested: bool = True


def characteristics_by_subtype(cohort: Cohort, slice_counts: Mapping[str, int] | None = None) -> Table:
    """What the cases are, by subtype and together, with a test between subtypes.

    Args:
        cohort: Who is in.
        slice_counts: Slices of each case, where they are cut.
    """
    groups = [[c for c in cohort.cases if c.subtype == subtype] for subtype in cohort.subtypes]
    unknown = [c for c in cohort.cases if c.subtype is None]
    shown = [*groups, *([unknown] if unknown else []), list(cohort.cases)]
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
    """Development beside each test set, with tests and standardised mean differences; None without a test set.

    Args:
        cohort: Who is in.
        split: Whose hold-out is an internal test set.
        slice_counts: Slices of each case, where they are cut.
        confidence: Of the intervals of the differences.
    """
    parts: dict[str, list[Case]] = {}
    for case in cohort.cases:
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
        "Difference: standardised mean difference from development, in standard deviations (for categories by Yang "
        f"and Dalton), with its {100 * confidence:g} % interval by Hedges and Olkin, which ends at 0 and is rough in "
        "small sets; above 0.1 it is often called an imbalance."
    )
    header = ("", "development", *tests, "p")
    return Table(caption="Development and test sets", header=header, rows=tuple(rows), notes=(*NOTES, note))


def _items(slice_counts: Mapping[str, int] | None) -> list[Characteristic]:
    counts = slice_counts or {}
    items = [
        Characteristic(name="Sex, patients", value=lambda c: SEXES.get(c.sex or ""), unit="patient"),
        Characteristic(name="Age, years", value=lambda c: c.age_years, unit="patient"),
        Characteristic(name="Largest diameter, cm", value=lambda c: c.size_cm, digits=1),
        Characteristic(name="Contrast phase", value=lambda c: c.phase if c.phase != "unknown" else None),
        Characteristic(name="Site, patients", value=lambda c: c.site_id, unit="patient"),
        Characteristic(name="Part of the study", value=lambda c: group_name(c.cohort), tested=False),
        Characteristic(name="Image format", value=lambda c: c.format, tested=False),
        Characteristic(name="Source of intensities", value=lambda c: c.source, tested=False),
    ]
    if counts:
        slices = Characteristic(name="Slices of a tumor", value=lambda c: _number(counts.get(c.case_id)))
        items.insert(5, slices)
    return items


def _number(value: int | None) -> float | None:
    return None if value is None else float(value)


def _values(item: Characteristic, group: Sequence[Case]) -> list[Value]:
    """One value of each tumor, or of each patient: the first tumor's that is known."""
    if item.unit == "tumor":
        return [item.value(case) for case in group]
    of_patient: dict[str, Value] = {}
    for case in group:
        known = of_patient.get(case.patient_id)
        of_patient[case.patient_id] = item.value(case) if known is None else known
    return list(of_patient.values())


def _cells(item: Characteristic, groups: Groups) -> list[str | Cell]:
    """A cell of each group; categories stand in one order in all of them: of all groups, the most frequent first."""
    everyone = {case.case_id: case for group in groups for case in group}
    counts = Counter(value for value in _values(item, [*everyone.values()]) if isinstance(value, str))
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return [_cell(item, group, words) for group in groups]


def _cell(item: Characteristic, group: Sequence[Case], words: Sequence[str]) -> str | Cell:
    values = _values(item, group)
    known = [value for value in values if value is not None]
    missing = f"{len(values) - len(known)} unknown" if len(known) < len(values) else ""
    numbers = [value for value in known if isinstance(value, float | int)]
    if not known:
        return "none" if not values else "not known"
    if not numbers:
        counts = Counter(known)
        parts = [f"{counts[word]} {word}" for word in words if counts[word]]
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
    """The test between groups; who stands in several groups is in no test."""
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
    item: Characteristic, one: Sequence[Case], other: Sequence[Case], confidence: float
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
    told = f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
    return Cell(told, f"n = {len(pair[0])} and {len(pair[1])}")


def _in_several(groups: Groups) -> set[str]:
    counts = Counter(patient for group in groups for patient in {case.patient_id for case in group})
    return {patient for patient, n in counts.items() if n > 1}


def _shared(groups: Groups) -> tuple[str, ...]:
    n = len(_in_several(groups))
    told = "patient has" if n == 1 else "patients have"
    notes = []
    if n:
        notes.append(
            f"{n} {told} tumors of several subtypes: counted in each, but in no test that counts patients."
        )
    cases = [case for group in groups for case in group]
    if len({case.patient_id for case in cases}) < len(cases):
        notes.append("Tests that count tumors take the tumors of one patient as independent.")
    return tuple(notes)


def _part(case: Case, split: Split | None) -> str:
    """A case's part: held out by the split, or marked in the cohort."""
    if split is not None and case.case_id in split.holdout and case.cohort == DEVELOPMENT:
        return INTERNAL_TEST
    return case.cohort


def _counts(name: str, groups: Groups) -> tuple[str | Cell, ...]:
    if name == "Patients":
        return (name, *(str(len({case.patient_id for case in group})) for group in groups))
    return (name, *(str(len(group)) for group in groups))
