"""Single slices of a DICOM series, before the whole is read: the same stack, the same decoders, the same HU."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.imaging.dicom.files import quiet
from nephroscope.imaging.dicom.hounsfield import check_size
from nephroscope.imaging.dicom.series import open_stack, read_pixels
from nephroscope.imaging.grid import AIR_HU, turned


class SliceReader:
    """A series of which single slices are read, with the HU that `read_dicom_series` gives for the whole.

    Args:
        source, acquisition: As in `read_dicom_series`.

    Attributes:
        geometry: The canonical grid.
        series_uid: As `CTVolume`.
        axial: False when the images are not axial: then there are no single slices.

    Raises:
        SeriesError: As `read_dicom_series`, as far as headers tell.
    """

    def __init__(self, source: Path | Sequence[Path], acquisition: int | None = None) -> None:
        with quiet():
            self._stack = open_stack(source, None, acquisition)
        self.series_uid = self._stack.uid
        headers = [one.header for one in self._stack.slices]
        check_size(headers, self._stack.where)
        shape = (len(headers), headers[0].rows or 0, headers[0].columns or 0)
        order, self._flips, self.geometry = turned(shape, self._stack.stack.affine)
        self.axial = order == (0, 1, 2)

    def read(self, index: int) -> npt.NDArray[np.int16]:
        """HU (R, C) of a slice, from 0 at the feet."""
        last = len(self._stack.slices) - 1
        one = self._stack.slices[last - index if 0 in self._flips else index]
        with quiet():
            hu = read_pixels([one], self._stack.where)[0]
        seen = np.flip(hu, tuple(axis - 1 for axis in self._flips if axis))
        padded: npt.NDArray[np.int16] = np.maximum(np.ascontiguousarray(seen), np.int16(AIR_HU))
        return padded
