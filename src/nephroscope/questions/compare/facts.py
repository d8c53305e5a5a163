"""Facts of a case other than its tumor, from cohort.csv, seen_series.csv and the grid of the CT.

No image content: who made the picture, where, of whom and on which grid. None of it should predict a subtype.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.errors import NephroscopeError
from nephroscope.base.files import digest_of
from nephroscope.base.progress import track
from nephroscope.imaging.dicom.files import read_header
from nephroscope.intake.export.series_table import SEEN_FILE, seen_rows
from nephroscope.questions.evaluation.subgroups import UNKNOWN, attributes_of, vendor_of
from nephroscope.records import ChosenCase
from nephroscope.study.artifact import Artifact
from nephroscope.study.snapshot import Snapshot

FORMAT = 2
Value = str | float


@dataclass(frozen=True, eq=False, kw_only=True)
class Fact:
    """One fact of many cases: words, or numbers in ``unit``; a case of which it is not known is left out."""

    name: str
    description: str
    values: Mapping[str, Value]
    unit: str = ""

    @property
    def numeric(self) -> bool:
        """True for numbers."""
        return all(isinstance(value, float) for value in self.values.values())


def facts_of(snapshot: Snapshot, kept: Path) -> list[Fact]:
    """Vendor, sex, site, phase, source, and the grid of the CT, each for the cases of which it is known."""
    cases = [
        snapshot.cohort.by_id[name]
        for name in sorted(snapshot.labels)
        if name in snapshot.slices.rows_by_case
    ]
    series = _series(snapshot.folder.root / SEEN_FILE, cases)
    grids = _grids(snapshot, cases, series, kept)

    def words(name: str, description: str) -> Fact:
        """Named, and its values too, as in the figures by subgroup."""
        said = {c.case_id: attributes_of(c, series.get(c.case_id, Series()).words)[name] for c in cases}
        return Fact(
            name=name,
            description=description,
            values={case: word for case, word in said.items() if word != UNKNOWN},
        )

    def numbers(name: str, description: str, key: str, unit: str = "") -> Fact:
        values = {case: float(grid[key]) for case, grid in grids.items() if key in grid}
        return Fact(name=name, description=description, values=values, unit=unit)

    return [
        words("vendor", "manufacturer of the scanner"),
        words("sex", "sex"),
        words("site", "hospital"),
        words("phase", "contrast phase"),
        Fact(name="source", description="where HU come from", values={c.case_id: c.source for c in cases}),
        numbers("slice spacing", "distance between slices", "slice_mm", "mm"),
        numbers("number of slices", "slices of the CT series", "n_slices"),
        numbers("pixel spacing", "distance between pixels", "pixel_mm", "mm"),
    ]


@dataclass(frozen=True, kw_only=True)
class Series:
    """What seen_series.csv says of the series of a case; what it does not say, or says in two ways, is empty."""

    vendor: str = ""
    uid: str = ""
    n_slices: str = ""
    spacing_mm: str = ""

    @property
    def words(self) -> dict[str, str]:
        """Vendor, as the figures by subgroup name it."""
        return {"vendor": self.vendor} if self.vendor else {}


def _series(path: Path, cases: Iterable[ChosenCase] = ()) -> dict[str, Series]:
    """The chosen series of each case, from seen_series.csv where there is one."""
    columns = {
        "manufacturer": "vendor",
        "series_uid": "uid",
        "n_slices": "n_slices",
        "spacing_mm": "spacing_mm",
    }
    seen: dict[str, dict[str, set[str]]] = {}
    for cells in seen_rows(path, cases):
        for case in cells.get("case_ids", "").split():
            for column, name in columns.items():
                value = cells.get(column, "").strip()
                value = vendor_of(value) if name == "vendor" and value else value
                seen.setdefault(case, {}).setdefault(name, set()).add(value)
    return {
        case: Series(**{name: values.pop() for name, values in facts.items() if len(values) == 1})
        for case, facts in seen.items()
    }


@dataclass(frozen=True, kw_only=True)
class Grids:
    """Slice distance (``slice_mm``), pixel distance (``pixel_mm``) and ``n_slices`` of the CT of each case."""

    grids: dict[str, dict[str, float]]


def _grids(
    snapshot: Snapshot, cases: list[ChosenCase], series: Mapping[str, Series], kept: Path
) -> dict[str, dict[str, float]]:
    """Slice distance, pixel distance and number of slices of each CT; what is read is kept, a failure is not."""
    known = {name: [own.uid, own.n_slices, own.spacing_mm] for name, own in sorted(series.items())}
    made_from = digest_of([snapshot.cohort.image_digest, known])
    artifact = Artifact(path=kept / "grids.json", kind=Grids, number=FORMAT, made_from=made_from)
    held = artifact.load()
    grids = dict(held.grids) if held else {}
    todo = [case for case in cases if case.case_id not in grids]
    for case in track(todo, "reading grids", "case", len(todo)):
        found = _grid_of_table(case, series.get(case.case_id, Series())) or _grid(snapshot, case)
        if found:
            grids[case.case_id] = found
    if todo:
        artifact.save(Grids(grids=grids))
    return {case.case_id: grids[case.case_id] for case in cases if case.case_id in grids}


def _grid_of_table(case: ChosenCase, series: Series) -> dict[str, float]:
    """The grid by seen_series.csv and one header, no image read; empty where they do not say all of it."""
    if case.format != "dicom" or not (series.uid and case.image.is_dir()):
        return {}
    try:
        grid = {"n_slices": float(series.n_slices), "slice_mm": round(float(series.spacing_mm), 3)}
        for path in sorted(path for path in case.image.iterdir() if path.is_file()):
            header = read_header(path, ["SeriesInstanceUID", "PixelSpacing"])
            spacing = None if header is None else header.get("PixelSpacing")
            if header is not None and spacing and str(header.get("SeriesInstanceUID")) == series.uid:
                return grid | {"pixel_mm": round(float(spacing[0]), 4)}
    except (ValueError, TypeError, OSError):
        return {}
    return {}


def _grid(snapshot: Snapshot, case: ChosenCase) -> dict[str, float]:
    """The grid of one CT; empty where it cannot be read or its spacing is not known."""
    try:
        volume, _ = snapshot.read_case(case)
    except (NephroscopeError, OSError):
        return {}
    grid = {"n_slices": float(volume.geometry.shape[0])}
    if any(finding.code == "spacing-unknown" for finding in volume.findings):
        return grid
    slice_mm, row_mm, _ = volume.geometry.spacing_mm
    return grid | {"slice_mm": round(float(slice_mm), 3), "pixel_mm": round(float(row_mm), 4)}
