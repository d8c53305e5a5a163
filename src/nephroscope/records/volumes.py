"""What and where: CT volumes, ROI masks and slices, on grids in LPS millimetres."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError, SeriesError
from nephroscope.records.cohort import Finding
from nephroscope.records.origin import RoiOrigin

GRID_TOLERANCE_MM = 0.05


@dataclass(frozen=True, eq=False, kw_only=True)
class VolumeGeometry:
    """Where a volume lies: ``shape`` (S, R, C) and ``affine`` 4x4 from index to LPS mm.

    Raises:
        SeriesError: The affine is singular, not finite, or the shape is not three positive numbers.
    """

    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        usable = self.affine.shape == (4, 4) and bool(np.isfinite(self.affine).all())
        if len(self.shape) != 3 or min(self.shape) < 1 or not usable or min(self.spacing_mm) <= 0:
            raise SeriesError(
                where="volume geometry",
                expected="three positive dimensions and a finite affine with three directions",
                found=f"shape {self.shape}, affine {self.affine.tolist()}",
                remedy="export the image again",
            )

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbours in mm: between slices, between rows, between columns."""
        s, r, c = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(s), float(r), float(c)

    def matches(self, other: "VolumeGeometry") -> bool:
        """True when both are the same grid: no corner is further than 0.05 mm from its twin."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], [1])).reshape(4, -1)
        apart = (self.affine - other.affine)[:3] @ corners
        return bool(np.abs(apart).max() <= GRID_TOLERANCE_MM)


@dataclass(frozen=True, eq=False, kw_only=True)
class CTVolume:
    """A CT volume: ``hu`` is int16 (S, R, C) in Hounsfield units.

    Attributes:
        series_uid: Series Instance UID, or a digest of the file where there is none.
        frame_uid: Frame of Reference UID (0020,0052); empty where there is none.
        image_uids: SOP Instance UIDs (0008,0018) of its images; empty where there are none.
    """

    hu: npt.NDArray[np.int16]
    geometry: VolumeGeometry
    series_uid: str
    findings: tuple[Finding, ...] = ()
    frame_uid: str = ""
    image_uids: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.hu.shape != self.geometry.shape or self.hu.dtype != np.int16:
            raise SeriesError(
                where=f"series {self.series_uid}",
                expected=f"int16 HU of shape {self.geometry.shape}",
                found=f"{self.hu.dtype} {self.hu.shape}",
                remedy="read the volume with nephroscope.read_ct",
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class RoiMask:
    """One tumor region on a CT grid: ``voxels`` is bool (S, R, C), True inside the tumor; never empty.

    ``origin`` says who drew it, where its file was read.
    """

    voxels: npt.NDArray[np.bool_]
    geometry: VolumeGeometry
    case_id: str
    findings: tuple[Finding, ...] = ()
    origin: RoiOrigin | None = None

    def __post_init__(self) -> None:
        if self.voxels.shape != self.geometry.shape or self.voxels.dtype != np.bool_:
            raise RoiError(
                where=f"case {self.case_id}",
                expected=f"a bool mask of shape {self.geometry.shape}",
                found=f"{self.voxels.dtype} {self.voxels.shape}",
                remedy="read the ROI with nephroscope.read_roi",
            )
        if not self.voxels.any():
            raise RoiError(
                where=f"case {self.case_id}",
                expected="an ROI with at least one tumor voxel",
                found="none",
                remedy="redraw it, choose another label, or leave the case out",
            )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TumorSlice:
    """One cross-section of a tumor as cut: ``hu`` int16 (size_px, size_px)."""

    hu: npt.NDArray[np.int16]
    case_id: str
    slice_index: int
    area_mm2: float
    mm_per_px: float
