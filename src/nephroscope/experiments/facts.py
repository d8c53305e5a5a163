"""What is known of a case beside its tumor: cohort.csv, series.csv and the CT's grid in; facts by case out.

No image content: who made the picture, where, of whom and on which grid. None of it should tell a subtype.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nephroscope.cohort.export.series_table import SERIES_FILE
from nephroscope.cohort.tables import read_table
from nephroscope.errors import NephroscopeError, StudyError
from nephroscope.experiments.study_data import Material
from nephroscope.files import load_json, save_json
from nephroscope.progress import track
from nephroscope.records import Case
from nephroscope.records.digest import digest_of

FORMAT = 1
Value = str | float


@dataclass(frozen=True, eq=False, kw_only=True)
class Fact:
    """One fact of many cases: words, or numbers in ``unit``; a case of which it is not known is left out."""

    name: str
    told: str
    values: Mapping[str, Value]
    unit: str = ""

    @property
    def numeric(self) -> bool:
        """True for numbers."""
        return all(isinstance(value, float) for value in self.values.values())


def facts_of(material: Material, kept: Path) -> list[Fact]:
    """Vendor, sex, site, phase, source, and the grid of the CT, each for the cases of which it is known."""
    cases = [
        material.cohort.by_id[name] for name in sorted(material.labels) if name in material.store.rows_by_case
    ]
    vendors = _vendors(material.folder.root / SERIES_FILE)
    grids = _grids(material, cases, kept)

    def words(value: Mapping[str, str | None]) -> dict[str, Value]:
        return {name: word for name, word in value.items() if word}

    def numbers(name: str) -> dict[str, Value]:
        return {case: float(grid[name]) for case, grid in grids.items() if name in grid}

    return [
        Fact(
            name="vendor",
            told="manufacturer of the scanner",
            values=words({c.case_id: vendors.get(c.case_id) for c in cases}),
        ),
        Fact(name="sex", told="sex", values=words({c.case_id: c.sex for c in cases})),
        Fact(name="site", told="hospital", values=words({c.case_id: c.site_id for c in cases})),
        Fact(
            name="phase",
            told="contrast phase",
            values=words({c.case_id: c.phase if c.phase != "unknown" else None for c in cases}),
        ),
        Fact(name="source", told="where HU come from", values=words({c.case_id: c.source for c in cases})),
        Fact(name="slice thickness", told="distance between slices", values=numbers("slice_mm"), unit="mm"),
        Fact(name="number of slices", told="slices of the CT series", values=numbers("n_slices")),
        Fact(name="pixel spacing", told="distance between pixels", values=numbers("pixel_mm"), unit="mm"),
    ]


def _vendors(path: Path) -> dict[str, str]:
    """Manufacturer by case, from the series that each case got."""
    if not path.exists():
        return {}
    header, rows = read_table(path)
    if "case_ids" not in header or "manufacturer" not in header:
        return {}
    cases, maker = header.index("case_ids"), header.index("manufacturer")
    return {name: row[maker].strip() for _, row in rows for name in row[cases].split() if row[maker].strip()}


def _grids(material: Material, cases: list[Case], kept: Path) -> dict[str, dict[str, float]]:
    """Slice distance, pixel distance and number of slices of each CT, read once and kept."""
    made_from = digest_of([material.cohort.image_digest, [case.case_id for case in cases]])
    path = kept / "grids.json"
    if path.is_file():
        try:
            held = load_json(path, FORMAT)
        except StudyError:
            held = {}
        if held.get("made_from") == made_from:
            return dict(held["grids"])
    grids = {
        case.case_id: _grid(material, case) for case in track(cases, "reading grids", "case", len(cases))
    }
    save_json(path, {"format": FORMAT, "made_from": made_from, "grids": grids})
    return grids


def _grid(material: Material, case: Case) -> dict[str, float]:
    """The grid of one CT; empty where it cannot be read or its spacing is not known."""
    try:
        volume, _ = material.data.read(case)
    except (NephroscopeError, OSError):
        return {}
    grid = {"n_slices": float(volume.geometry.shape[0])}
    if any(finding.code == "spacing-unknown" for finding in volume.findings):
        return grid
    slice_mm, row_mm, _ = volume.geometry.spacing_mm
    return grid | {"slice_mm": round(float(slice_mm), 3), "pixel_mm": round(float(row_mm), 4)}
