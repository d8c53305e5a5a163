"""Read the 8-bit slice images of a case as a CT volume in HU with its tumor, and keep the list images.csv."""

import csv
import hashlib
import re
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from nephroscope.base.errors import CohortError, RoiError, SeriesError
from nephroscope.base.tables import unguarded
from nephroscope.base.text import first_few
from nephroscope.imaging.files import damage_words
from nephroscope.imaging.grid import AIR_HU
from nephroscope.records import ChosenCase, CTVolume, Finding, RoiMask, VolumeGeometry, note, warning

IMAGES_FILE = "images.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """One slice image of a case; ``mask`` and spacing are None where they are not known."""

    case_id: str
    file: Path
    mask: Path | None
    slice_index: int
    row_mm: float | None
    col_mm: float | None


def load_image_rows(case: ChosenCase) -> list[ImageRow]:
    """The rows of one case in slice order. Only these rows are read, so that large tables need little memory.

    Raises:
        CohortError: images.csv is missing, does not hold the case, or was edited and can no longer be read.
    """
    path = case.image
    try:
        start = _starts(path, path.stat().st_mtime_ns)[case.case_id]
        with path.open(encoding="utf-8", newline="") as file:
            file.seek(start)
            rows = []
            for cells in ([unguarded(cell) for cell in row] for row in csv.reader(file)):
                if cells[0] != case.case_id:
                    break
                rows.append(_row(cells, path.parent))
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise CohortError(
            where=f"case {case.case_id}",
            expected=f"its slices in {path.name} as the import wrote them",
            found=f"an error while reading it ({damage_words(error)})",
            remedy="run `nephroscope import images` again",
        ) from error
    return rows


@lru_cache(maxsize=2)
def _starts(path: Path, _mtime_ns: int) -> dict[str, int]:
    """Position in images.csv, in bytes, at which the rows of each case begin."""
    starts: dict[str, int] = {}
    before = ""
    with path.open("rb") as file:
        at = len(file.readline())
        for line in file:
            name = unguarded(next(csv.reader([line.decode("utf-8")]))[0])
            if name != before and name in starts:
                raise ValueError(f"rows of {name} in two places")
            starts.setdefault(name, at)
            before = name
            at += len(line)
    return starts


def _row(cells: list[str], folder: Path) -> ImageRow:
    name, index, file, mask, row_mm, col_mm = cells
    return ImageRow(
        case_id=name,
        file=folder / file,
        mask=folder / mask if mask else None,
        slice_index=int(index),
        row_mm=float(row_mm) if row_mm else None,
        col_mm=float(col_mm) if col_mm else None,
    )


NOMINAL_MM = 1.0
OPAQUE = 255
WHITE, MOST_WHITE = 250, 0.5  # gray, and share of the edge of an image: air is white in a negative
MOST_INVERTED = 0.9  # share of the edge of a mask that is tumor
JPEG_GRAY_TOLERANCE = 3  # JPEG rounding makes the color channels of a gray picture differ this much


def source_words(level_hu: float, width_hu: float) -> str:
    """The text in `SeriesRef.source` for HU seen only through a window: ``8-bit L40 W400``."""
    return f"8-bit L{level_hu:g} W{width_hu:g}"


def window_of(source: str) -> tuple[float, float] | None:
    """Level and width in HU from such a text; None for true HU."""
    match = re.fullmatch(r"8-bit L(-?[\d.]+) W([\d.]+)", source)
    return (float(match[1]), float(match[2])) if match else None


def read_image_case(case: ChosenCase) -> tuple[CTVolume, RoiMask]:
    """The slice images of one case, stacked in slice order, as HU with the tumor.

    A slice without tumor in its mask is a slice the tumor does not cross. Without masks the whole image is the ROI.

    Raises:
        SeriesError: An image is damaged, in color, 16-bit, or differs from the others in size or spacing.
        RoiError: A mask differs from its image in size, or no mask of the case holds the tumor.
        CohortError: images.csv or the column source was changed since the import.
    """
    rows = load_image_rows(case)
    level, width = _window(case)
    gray = [_read_gray(row.file, f"case {case.case_id}") for row in rows]
    sizes = {(pixels.shape, row.row_mm, row.col_mm) for pixels, row in zip(gray, rows, strict=True)}
    if len(sizes) > 1:
        odd = next(i for i, row in enumerate(rows) if _size(gray[i], row) != _size(gray[0], rows[0]))
        raise SeriesError(
            where=f"case {case.case_id}",
            expected=f"all slices like {rows[0].file.name}, {_size(gray[0], rows[0])}",
            found=f"{_size(gray[odd], rows[odd])} in {rows[odd].file.name}",
            remedy="keep one series per case",
        )
    findings = _findings(case.case_id, rows, gray, case.source)
    volume = _stack(
        gray, (level, width), (rows[0].row_mm, rows[0].col_mm), f"images-{case.case_id}", findings
    )
    return volume, _tumor(case, rows, volume.geometry)


def read_slice_image(
    path: Path, window_level_hu: float, window_width_hu: float, spacing_mm: float | None
) -> CTVolume:
    """One slice image as a CT volume of one slice.

    Args:
        path: 8-bit gray PNG or JPEG.
        window_level_hu: Level of the window it was exported with.
        window_width_hu: Width of that window.
        spacing_mm: Pixel spacing; None assumes 1 mm and says so in a finding.

    Raises:
        SeriesError: The image is missing, damaged, in color or 16-bit.
    """
    gray = _read_gray(path, "slice image")
    row = ImageRow(
        case_id=path.stem, file=path, mask=None, slice_index=0, row_mm=spacing_mm, col_mm=spacing_mm
    )
    uid = f"image-{hashlib.sha256(gray.tobytes()).hexdigest()[:16]}"
    findings = _findings(path.stem, [row], [gray], source_words(window_level_hu, window_width_hu))
    return _stack([gray], (window_level_hu, window_width_hu), (spacing_mm, spacing_mm), uid, findings)


def read_label_image(path: Path, where: str) -> npt.NDArray[Any]:
    """The label values (R, C) of a mask image; of a palette image the indices, not the colors.

    Raises:
        RoiError: The file is missing, damaged or in color, or its palette shows index 0 brighter than others;
            ``where`` names it.
    """
    try:
        image = _open(path)
        labels = np.asarray(image)
    except _UNREADABLE as error:
        raise RoiError(
            where=where, expected="a readable PNG", found=_why(error), remedy="export the mask again"
        ) from error
    if image.mode == "P" and _is_turned_palette(image):
        raise RoiError(
            where=where,
            expected="a palette whose index 0 is black, the background",
            found="one that shows index 0 brighter than others: what looks like the tumor has the index of the rest",
            remedy="save the mask as 8-bit gray PNG with the label values",
        )
    if labels.ndim == 3 and _is_gray(labels, 0):
        labels = labels[..., 0]
    if labels.ndim != 2:
        raise RoiError(
            where=where,
            expected="one label value per pixel",
            found=f"{labels.shape[-1]} color channels",
            remedy="save the mask as 8-bit gray PNG with the label values",
        )
    return labels


def _is_turned_palette(image: Image.Image) -> bool:
    """True when the background's index 0 is shown brighter than another index that the image has."""
    palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3).sum(axis=1)
    used = [index for index in np.unique(np.asarray(image)).tolist() if index < len(palette)]
    return bool(used) and int(palette[0]) > min(int(palette[index]) for index in used)


def _tumor(case: ChosenCase, rows: Sequence[ImageRow], geometry: VolumeGeometry) -> RoiMask:
    if all(row.mask is None for row in rows):
        text = "no mask: every image counts as tumor from edge to edge"
        finding = note("no-mask", text, case_id=case.case_id)
        voxels = np.ones(geometry.shape, dtype=np.bool_)
        return RoiMask(voxels=voxels, geometry=geometry, case_id=case.case_id, findings=(finding,))
    tumor_label = case.roi.label if case.roi else 1
    voxels = np.zeros(geometry.shape, dtype=np.bool_)
    seen: set[int] = set()
    for index, row in enumerate(rows):
        if row.mask is None:
            continue
        where = f"case {case.case_id}, mask {row.mask.name}"
        labels = read_label_image(row.mask, where)
        if labels.shape != geometry.shape[1:]:
            raise RoiError(
                where=where,
                expected=f"the size of its image, {' x '.join(map(str, geometry.shape[1:]))} pixels",
                found=" x ".join(map(str, labels.shape)),
                remedy="export image and mask again without cropping or scaling",
            )
        seen |= set(np.unique(labels).tolist())
        voxels[index] = labels == tumor_label
    if not voxels.any():
        raise label_missing(f"case {case.case_id}, its masks", tumor_label, seen)
    drawn = voxels[voxels.any(axis=(1, 2))]
    if not drawn.all() and float(_edges(drawn).mean()) > MOST_INVERTED:
        raise RoiError(
            where=f"case {case.case_id}, its masks",
            expected="a tumor within the image",
            found=f"label {tumor_label} all around the image, with a hole in it: the masks are inverted",
            remedy="choose the label of the tumor with --tumor-label, or export the masks again",
        )
    return RoiMask(voxels=voxels, geometry=geometry, case_id=case.case_id)


def label_missing(where: str, tumor_label: int, values: set[int]) -> RoiError:
    """The refusal of a mask that does not hold the tumor's label, with the values that it does hold."""
    return RoiError(
        where=where,
        expected=f"the tumor label {tumor_label}",
        found=f"only the values {first_few(sorted(values), 10)}",
        remedy="give the right --tumor-label, or leave the case out",
    )


def _edges(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The outermost pixels of images (n, R, C), as one row."""
    sides = (images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1])
    return np.concatenate([side.ravel() for side in sides])


def _findings(
    case_id: str, rows: Sequence[ImageRow], gray: Sequence[npt.NDArray[np.uint8]], source: str
) -> tuple[Finding, ...]:
    text = f"gray images ({source}): HU are known only inside the window, and only in steps"
    findings = [note("eight-bit", text, case_id=case_id)]
    if rows[0].row_mm is None or rows[0].col_mm is None:
        text = f"pixel spacing is not known; {NOMINAL_MM:g} mm is assumed, so sizes in mm mean nothing"
        findings.append(note("spacing-unknown", text, case_id=case_id))
    white = float((_edges(np.stack(gray)) >= WHITE).mean())
    if white > MOST_WHITE:
        text = f"{white:.0%} of the edges of its images is white: a negative, in which air is white, or a white frame"
        findings.append(warning("image-negative", text, case_id=case_id))
    for row, pixels in zip(rows, gray, strict=True):
        if pixels.min() == pixels.max():
            text = f"all pixels of {row.file.name} have the same gray value, {pixels.flat[0]}"
            findings.append(warning("constant-image", text, row.file.name, case_id))
    return tuple(findings)


def _stack(
    gray: Sequence[npt.NDArray[np.uint8]],
    window: tuple[float, float],
    spacing_mm: tuple[float | None, float | None],
    series_uid: str,
    findings: tuple[Finding, ...],
) -> CTVolume:
    """HU from gray values by inverting the window; the distance between slices is nominal, as it is not known."""
    level, width = window
    table = np.round(level - width / 2 + np.arange(256) / 255 * width).clip(AIR_HU, 32767).astype(np.int16)
    hu = table[np.stack(gray)]
    affine = np.zeros((4, 4))
    affine[2, 0], affine[3, 3] = NOMINAL_MM, 1
    affine[1, 1], affine[0, 2] = spacing_mm[0] or NOMINAL_MM, spacing_mm[1] or NOMINAL_MM
    return CTVolume(
        hu=hu,
        geometry=VolumeGeometry(shape=hu.shape, affine=affine),
        series_uid=series_uid,
        findings=findings,
    )


_UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error),
    *(Image.DecompressionBombWarning, Image.DecompressionBombError),
)


PNG = b"\x89PNG\r\n\x1a\n"
PNG_COLOR_TYPES_ROUNDED = (
    2,
    4,
    6,
)  # of 16 bits, which Pillow gives as 8: color, gray and color with transparency


def _open(path: Path) -> Image.Image:
    """The image, fully decoded and turned as its EXIF says, as a viewer shows it; raises one of `_UNREADABLE`."""
    with path.open("rb") as file:
        start = file.read(26)
    if start.startswith(PNG) and start[24] == 16 and start[25] in PNG_COLOR_TYPES_ROUNDED:
        raise ValueError("16 bits per color, of which 8 would be lost")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            image.verify()  # checks the checksums of a PNG, which load() does not
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            image.load()
            if getattr(image, "n_frames", 1) > 1:
                raise ValueError("several pictures in one file")
            return ImageOps.exif_transpose(image)


def _read_gray(path: Path, where: str) -> npt.NDArray[np.uint8]:
    """Pixels (R, C) of an 8-bit gray image, also if it is stored as color with equal channels."""
    where = f"{where}, image {path.name}"
    try:
        image = _open(path)
    except _UNREADABLE as error:
        raise SeriesError(
            where=where,
            expected="an undamaged PNG or JPEG of plausible size",
            found=_why(error),
            remedy="export or copy the image again",
        ) from error
    if image.mode not in ("L", "LA", "P", "PA", "RGB", "RGBA"):
        raise SeriesError(
            where=where,
            expected="an 8-bit gray image",
            found=f"mode {image.mode}",
            remedy="for 16 bits or HU use `nephroscope import dicom` or `import nifti`",
        )
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] != OPAQUE:
        raise SeriesError(
            where=where,
            expected="a picture without transparency",
            found="pixels through which a viewer shows something else",
            remedy="export it without transparency",
        )
    pixels = np.asarray(image.convert("RGB"))
    if not _is_gray(pixels, JPEG_GRAY_TOLERANCE):
        raise SeriesError(
            where=where,
            expected="a gray image (equal red, green and blue)",
            found="color",
            remedy="export it without overlays or color maps",
        )
    return np.ascontiguousarray(pixels[..., 0])


def _is_gray(pixels: npt.NDArray[Any], tolerance: int) -> bool:
    channels = pixels[..., :3].astype(np.int16)
    return bool((channels.max(axis=-1) - channels.min(axis=-1)).max() <= tolerance)


def _why(error: BaseException) -> str:
    """The reason that Pillow or the system gives, without the path."""
    if isinstance(error, FileNotFoundError):
        return "no file"
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return "far too many pixels"
    return re.sub(r"'[^']*[/\\][^']*'", "the file", str(error)) or type(error).__name__


def _size(pixels: npt.NDArray[Any], row: ImageRow) -> str:
    spacing = "unknown spacing" if row.row_mm is None else f"{row.row_mm:g} x {row.col_mm or 0:g} mm"
    return f"{' x '.join(map(str, pixels.shape))} pixels, {spacing}"


def _window(case: ChosenCase) -> tuple[float, float]:
    window = window_of(case.source)
    if window is None:
        raise CohortError(
            where=f"case {case.case_id}, column source",
            expected="the window of the images, such as 8-bit L40 W400",
            found=repr(case.source),
            remedy="correct it in series.csv",
        )
    return window
