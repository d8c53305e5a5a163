"""One slice as a picture for people: the whole slice, the tumor's outline, R and L, and a scale."""

import base64
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from nephroscope.records import CTVolume, RoiMask, VolumeGeometry

LEVEL_HU, WIDTH_HU = 40.0, 400.0  # soft tissue
OUTLINE, WRITING = (230, 159, 0), (235, 240, 245)
SCALE_MM = 50.0
_ENDS = ("RL", "AP", "IS")  # names of both ends of the LPS axes, the lower first; I is toward the feet
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SlicePicture:
    """A slice as RGB picture.

    Attributes:
        image: Row spacing equals column spacing; the patient's right is on the left, as radiologists look at it.
        slice_index: Which slice, counted from 0 in the order of the volume.
        letters: What lies at the left and the right edge (``R``, ``L`` ...); empty where it is not known.
        edge: The tumor's outline as a mask of the same size, 0 or 255.
    """

    image: Image.Image
    slice_index: int
    letters: str
    edge: Image.Image

    @property
    def address(self) -> str:
        """The picture as ``data:image/jpeg;base64,...``."""
        return data_address(self.image)

    @property
    def edge_address(self) -> str:
        """The tumor's outline alone on nothing, to be laid over the picture, as ``data:image/png;base64,...``."""
        layer = Image.new("RGBA", self.edge.size, (*OUTLINE, 255))
        layer.putalpha(self.edge)
        return data_address(layer, "PNG", optimize=True)


def data_address(image: Image.Image, kind: Literal["JPEG", "PNG"] = "JPEG", **how: int | bool) -> str:
    """A picture as ``data:image/jpeg;base64,...`` or ``data:image/png;...``, to be put into a page."""
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 85} | how if kind == "JPEG" else how))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def largest_slice(roi: RoiMask) -> int:
    """Index of the slice on which the tumor is largest; the first of several."""
    return int(roi.voxels.sum(axis=(1, 2)).argmax())


def draw_slice(
    volume: CTVolume,
    roi: RoiMask,
    slice_index: int | None = None,
    *,
    size_px: int = 512,
    outline: bool = True,
) -> SlicePicture:
    """Draw a whole slice at soft-tissue window (level 40, width 400 HU) with the tumor's outline.

    Args:
        volume: CT in HU.
        roi: Tumor on its grid.
        slice_index: Which slice; by default the one on which the tumor is largest.
        size_px: Length of the longer side.
        outline: Draw the outline.
    """
    index = largest_slice(roi) if slice_index is None else slice_index
    known = not {"orientation-unknown", "spacing-unknown"} & {finding.code for finding in volume.findings}
    flips, letters = _as_radiologists_look(volume.geometry) if known else ((), "")
    hu = np.flip(volume.hu[index].astype(np.float32), flips)
    gray = ((hu - (LEVEL_HU - WIDTH_HU / 2)) / WIDTH_HU * 255).clip(0, 255).astype(np.uint8)
    _, row_mm, column_mm = volume.geometry.spacing_mm
    height_mm, width_mm = gray.shape[0] * row_mm, gray.shape[1] * column_mm
    px_per_mm = size_px / max(height_mm, width_mm)
    size = (max(round(width_mm * px_per_mm), 1), max(round(height_mm * px_per_mm), 1))
    image = Image.fromarray(gray).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    edge = _edge(np.flip(roi.voxels[index], flips), size)
    if outline:
        image.paste(OUTLINE, mask=edge)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(max(size_px // 18, 10))
    for letter, x, anchor in zip(letters, (6, size[0] - 6), ("lm", "rm"), strict=False):
        pen.text((x, size[1] / 2), letter, WRITING, font, anchor, stroke_width=2, stroke_fill=(0, 0, 0))
    if known:
        length = SCALE_MM * px_per_mm
        right, bottom = size[0] - 10, size[1] - 10
        pen.line((right - length, bottom, right, bottom), WRITING, 2)
        pen.text(
            (right, bottom - 4),
            f"{SCALE_MM / 10:.0f} cm",
            WRITING,
            font,
            "rb",
            stroke_width=2,
            stroke_fill=(0, 0, 0),
        )
    return SlicePicture(image=image, slice_index=index, letters=letters, edge=edge)


def _as_radiologists_look(geometry: VolumeGeometry) -> tuple[tuple[int, ...], str]:
    """Axes of a slice to flip, and the letters of its left and right edge then.

    Right is left; the front, and in coronal and sagittal planes the head, is up.
    """
    columns, rows = geometry.affine[:3, 2], geometry.affine[:3, 1]
    across, down = int(np.abs(columns).argmax()), int(np.abs(rows).argmax())
    wanted_down = -1 if down == 2 else 1  # LPS: back is positive, head is positive
    flips = ((0,) if rows[down] * wanted_down < 0 else ()) + ((1,) if columns[across] < 0 else ())
    return flips, _ENDS[across]


def _edge(mask: Bools, size: tuple[int, int]) -> Image.Image:
    """The outline of a mask at the size of the picture, two pixels thick."""
    large = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    return ImageChops.subtract(large.filter(ImageFilter.MaxFilter(3)), large.filter(ImageFilter.MinFilter(3)))
