"""A case and what its series says in; the values by which it falls into subgroups, out."""

from collections.abc import Mapping
from pathlib import Path

from nephroscope.cohort.export.series_table import SERIES_FILE
from nephroscope.cohort.tables import read_table
from nephroscope.records import Case

UNKNOWN = "unknown"
OLD_YEARS, T1A_CM = 60.0, 4.0
SPACINGS_MM = (1.5, 3.0)
SEXES = {"F": "women", "M": "men", "O": "other"}
# Words in DICOM Manufacturer (0008,0070), and the name a reader knows.
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


def series_facts(study: Path) -> dict[str, dict[str, str]]:
    """Vendor and slice spacing of the series of each case, by case_id, from series.csv where there is one.

    A case whose series differ in one of them has that one left out.
    """
    path = study / SERIES_FILE
    if not path.exists():
        return {}
    header, rows = read_table(path)
    at = {name: i for i, name in enumerate(header)}
    seen: dict[str, dict[str, set[str]]] = {}
    for _, row in rows:
        for case_id in row[at["case_ids"]].split():
            facts = seen.setdefault(case_id, {"vendor": set(), "slice spacing": set()})
            facts["vendor"].add(vendor_of(row[at["manufacturer"]]))
            facts["slice spacing"].add(spacing_of(row[at["spacing_mm"]]))
    return {
        case_id: {name: values.pop() for name, values in facts.items() if len(values) == 1}
        for case_id, facts in seen.items()
    }


def vendor_of(manufacturer: str) -> str:
    """The maker of the scanner under one name."""
    words = manufacturer.casefold().replace("-", " ").replace("_", " ").split()
    known = next((VENDORS[word] for word in words if word in VENDORS), None)
    return known or manufacturer.strip() or UNKNOWN


def spacing_of(spacing_mm: str) -> str:
    """The class of a distance between slices."""
    try:
        mm = float(spacing_mm)
    except ValueError:
        return UNKNOWN
    thin, thick = SPACINGS_MM
    if mm <= thin:
        return f"up to {thin:g} mm"
    return f"over {thin:g} to {thick:g} mm" if mm <= thick else f"over {thick:g} mm"


def attributes_of(case: Case, facts: Mapping[str, str]) -> dict[str, str]:
    """Every attribute of a case with its value, ``unknown`` where it is not known."""
    age, size = case.age_years, case.size_cm
    return {
        "sex": SEXES.get(case.sex or "", UNKNOWN),
        "age": UNKNOWN if age is None else _side(age >= OLD_YEARS, f"under {OLD_YEARS:g}", "and over"),
        "size": UNKNOWN if size is None else f"{'over' if size > T1A_CM else 'up to'} {T1A_CM:g} cm",
        "phase": case.phase,
        "site": case.site_id,
        **{"vendor": UNKNOWN, "slice spacing": UNKNOWN, **facts},
    }


def _side(is_upper: bool, lower: str, upper: str) -> str:
    return f"{OLD_YEARS:g} {upper}" if is_upper else lower
