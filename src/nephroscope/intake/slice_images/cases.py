"""Import slice images, the format of the paper: group them into cases with labels and masks."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nephroscope.base.errors import CohortError, RoiError
from nephroscope.base.files import relative_to
from nephroscope.base.tables import names, save_table
from nephroscope.base.text import first_few
from nephroscope.imaging.slice_images import (
    IMAGES_FILE,
    ImageRow,
    read_label_image,
    source_words,
)
from nephroscope.intake.labels.join import case_fields, settle_labels
from nephroscope.intake.labels.pathology import PathologyTable, default_table
from nephroscope.intake.labels.rows import LabelRow, map_subtypes, read_label_table
from nephroscope.intake.slice_images.names import (
    DEFAULT_PATTERN,
    find_image_files,
    find_mask_files,
    mask_of,
    rows_of_labels,
    rows_of_names,
)
from nephroscope.records import Case, Cohort, Exclusion, Finding, RoiRef, SeriesRef, note, warning
from nephroscope.records.cases import series_name
from nephroscope.records.cohort import Reason
from nephroscope.records.settings import READERS

LEVEL_HU, WIDTH_HU = 40.0, 400.0  # the usual window of the abdomen
MASKS_CHECKED = 10
HEADER = "case_id,slice_index,file,mask,row_mm,col_mm"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesOptions:
    """How to read a folder of slice images.

    Attributes:
        labels: Table with a row per image; without it, labels are parsed from file names with ``pattern``.
        columns: Our name -> title in that table, from study.toml.
        pathology: The study's pathology.csv; None uses the default table.
        masks: Folder of label images with the names of the slices (or these names with .png).
        pattern: Regular expression with the named groups case and subtype, and if there patient, sex, age and slice;
            it is searched in the path below the source folder, with ``/`` between folders.
        tumor_label: Value of the tumor in the masks.
        window_level_hu, window_width_hu: Window of the export: gray 0 and 255 are its ends. None assumes level 40 and
            width 400, with a finding.
        row_mm, col_mm: Pixel spacing where the label row has none.
    """

    labels: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    pathology: PathologyTable | None = None
    masks: Path | None = None
    pattern: str = DEFAULT_PATTERN
    tumor_label: int = 1
    window_level_hu: float | None = None
    window_width_hu: float | None = None
    row_mm: float | None = None
    col_mm: float | None = None

    @property
    def window_hu(self) -> tuple[float, float]:
        """Level and width, as given or assumed."""
        level, width = self.window_level_hu, self.window_width_hu
        return LEVEL_HU if level is None else level, WIDTH_HU if width is None else width


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageImport:
    """The result of an import: cases, exclusions, findings, and the slice images in order.

    ``image`` of the cases is relative to the study in which ``rows`` are saved.
    """

    cases: tuple[Case, ...]
    exclusions: tuple[Exclusion, ...]
    findings: tuple[Finding, ...]
    rows: tuple[ImageRow, ...]


def import_images(
    source: Path, options: ImagesOptions, subtypes: tuple[str, ...], positive: str
) -> ImageImport:
    """Group the images below ``source`` into cases. Only names, and the pixels of a few masks, are read.

    Damaged images are refused later, when slices are cut.

    Raises:
        CohortError: There are no images, none has a label, or the label table has mistakes.
        ConfigError: The pattern is not a regular expression, or lacks the groups case and subtype.
    """
    source = source.resolve()
    files = find_image_files(source, options.masks)
    if options.labels:
        table = read_label_table(options.labels, options.columns)
        rows, findings = rows_of_labels(table.rows, files, source)
        findings += table.findings
    else:
        rows, findings = rows_of_names(files, options.pattern)
    mapped = map_subtypes(rows, options.pathology or default_table(), subtypes)
    rows, findings = mapped.rows, [*findings, *mapped.findings]
    settled, excluded = settle_labels(rows, subtypes)
    by_case: dict[str, list[LabelRow]] = defaultdict(list)
    for row in rows:
        if row.case_id in settled:
            by_case[row.case_id].append(row)
    owners: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        owners[row.file or ""].add(row.case_id)
    masks = find_mask_files(options.masks) if options.masks else None
    images: list[ImageRow] = []
    cases: list[Case] = []
    for name, group in by_case.items():
        slices, reason = _slices(group, files, masks, options)
        shared = [row.file for row in group if row.file and len(owners[row.file]) > 1]
        if shared:
            text = f"image {shared[0]} is labelled for {' and '.join(sorted(owners[shared[0]]))}"
            reason = Reason(text, "contradicting")
        if reason:
            excluded[name] = Exclusion(case_id=name, reason=reason, subtype=settled[name].subtype)
            continue
        images += slices
        cases.append(_image_case(settled[name], options))
        bare = [s.file.name for s in slices if masks is not None and s.mask is None]
        if bare:
            findings.append(
                warning(
                    "mask-missing", f"no mask for {names(bare)}; taken as slices without tumor", case_id=name
                )
            )
    findings += [*_window_assumed(options), *_mask_values(images, options.tumor_label)]
    exclusions = tuple(excluded.values())
    cohort = Cohort(subtypes=subtypes, positive=positive, cases=tuple(cases), exclusions=exclusions)
    return ImageImport(
        cases=cohort.cases, exclusions=cohort.exclusions, findings=tuple(findings), rows=tuple(images)
    )


def _slices(
    rows: list[LabelRow], files: dict[str, Path], masks: dict[str, list[Path]] | None, options: ImagesOptions
) -> tuple[list[ImageRow], str]:
    """The slice images of one case in order, or the reason for leaving it out."""
    there = {replace(row, row=0) for row in rows if row.file}
    if not there:
        return [], Reason("none of its labelled images exists", "no-ct")
    twice = [file for file, n in Counter(row.file or "" for row in there).items() if n > 1]
    if twice:
        return [], Reason(f"its label rows contradict each other about {names(twice)}", "contradicting")
    ordered = sorted(there, key=lambda row: (row.slice_index or 0, _natural(row.file or "")))
    indices = [row.slice_index for row in ordered]
    if all(index is None for index in indices):
        indices = list(range(len(ordered)))
    elif len(set(indices)) < len(indices) or None in indices:
        double = names(Path(r.file or "").name for r in ordered if indices.count(r.slice_index) > 1)
        text = f"slice numbers missing or used twice: {double or 'some are missing'}"
        return [], Reason(text, "slice-order")
    made = [
        ImageRow(
            case_id=row.case_id,
            file=files[row.file or ""],
            mask=mask_of(row.file or "", masks),
            slice_index=index or 0,
            row_mm=row.row_mm or options.row_mm,
            col_mm=row.col_mm or options.col_mm,
        )
        for row, index in zip(ordered, indices, strict=True)
    ]
    if masks is not None and all(row.mask is None for row in made):
        return [], Reason(f"no mask named as {names(row.file.name for row in made)}", "no-roi")
    return made, ""


def _image_case(label: LabelRow, options: ImagesOptions) -> Case:
    name, masks = series_name(label.phase), options.masks
    source = source_words(*options.window_hu)
    series = SeriesRef(name=name, phase=label.phase, image=Path(IMAGES_FILE), format="images", source=source)
    tumor_label = label.tumor_label or options.tumor_label
    drawn = RoiRef(author=READERS[0], path=masks.resolve(), series=name, label=tumor_label) if masks else None
    return Case(**case_fields(label), series=(series,), rois=(drawn,) if drawn else ())


def _window_assumed(options: ImagesOptions) -> list[Finding]:
    if options.window_level_hu is not None and options.window_width_hu is not None:
        return []
    level, width = options.window_hu
    text = (
        f"a window with level {level:g} and width {width:g} HU is assumed; if the images were exported "
        "with another window, give --window-level and --window-width"
    )
    return [note("window-assumed", text)]


def _mask_values(images: list[ImageRow], tumor_label: int) -> list[Finding]:
    """A warning if the first masks hold several values and 1 is used, a note if another value is used.

    Damaged masks are refused later, when slices are cut.
    """
    masks = [row for row in images if row.mask is not None][:MASKS_CHECKED]
    values: set[int] = set()
    for row in masks:
        with suppress(RoiError):
            mask = row.mask or row.file
            values |= set(np.unique(read_label_image(mask, f"case {row.case_id}, mask {mask.name}")).tolist())
    listed = sorted(values - {0})
    if len(listed) < 2:
        return []
    text = (
        f"masks hold the values {first_few(listed, 10)} (in the first {len(masks)} of them); {tumor_label} is used "
        "for the tumor; if the tumor has another value, import again with --tumor-label (in KiTS, 1 is the kidney "
        "and 2 the tumor)"
    )
    return [warning("mask-values", text) if tumor_label == 1 else note("mask-values", text)]


def save_image_rows(rows: Iterable[ImageRow], folder: Path) -> Path:
    """Write images.csv into the study ``folder``, with the rows of a case together, and return its path.

    Raises:
        CohortError: The study has slice images already.
    """
    path = folder / IMAGES_FILE
    if path.exists():
        raise CohortError(
            where=IMAGES_FILE,
            expected="a study without slice images",
            found="images of an earlier import",
            remedy="put all images into one folder and import it into a new study",
        )
    ordered = sorted(rows, key=lambda row: (row.case_id, row.slice_index))
    save_table(path, HEADER.split(","), (_cells(row, folder) for row in ordered))
    return path


def _cells(row: ImageRow, folder: Path) -> list[str]:
    spacing = ["" if mm is None else repr(mm) for mm in (row.row_mm, row.col_mm)]
    files = [relative_to(folder, row.file), relative_to(folder, row.mask)]
    return [row.case_id, str(row.slice_index), *files, *spacing]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts slice 9 before slice 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
