"""Small pictures of slices: HU in, a JPEG as a ``data:`` address out, behind the window the network saw."""

import base64
import io
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

from nephroscope.clinic.cut import apply_window
from nephroscope.records import SliceSpec

SIDE_PX = 176  # shown at half to two thirds of that: sharp on a dense screen and in print


def shown_rows(n: int, most: int = 3) -> list[int]:
    """Places of up to ``most`` evenly spaced slices among ``n``: middles of equal parts."""
    if n <= most:
        return list(range(n))
    return [int((i + 0.5) / most * n) for i in range(most)]


def thumbnails(
    slices: Iterable[tuple[int, npt.NDArray[np.int16]]], spec: SliceSpec, most: int = 3
) -> list[tuple[int, str]]:
    """(slice_index, data address) of up to ``most`` slices, evenly spaced from the first quarter to the last.

    Args:
        slices: (slice_index, HU (H, W)) in volume order.
        spec: Gives the window.
        most: Largest number of pictures.
    """
    rows = list(slices)
    return [(index, jpeg_address(hu, spec)) for index, hu in (rows[i] for i in shown_rows(len(rows), most))]


def jpeg_address(hu: npt.NDArray[np.int16], spec: SliceSpec) -> str:
    """A slice, (H, W) in HU, as ``data:image/jpeg;base64,...``."""
    gray = (apply_window(hu, spec) * 255).round().astype(np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(gray)
    picture.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    picture.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
