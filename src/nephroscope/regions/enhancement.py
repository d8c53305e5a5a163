"""Measure how aorta, renal cortex and medulla enhance, and name the contrast phase that the image shows.

Only a clear image decides: between the thresholds the phase is ``unknown``, and there is no finding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError
from nephroscope.imaging.grid import median
from nephroscope.records import CTVolume, Finding, note, warning

Mask = npt.NDArray[np.bool_]

CORTEX_DEPTH_MM = (0.75, 5.0)  # without the outermost rim, which is half fat
MEDULLA_DEPTH_MM = 8.0
AORTA_WALL_MM = 2.0
FEWEST_VOXELS = 50
TISSUE_HU = (-20, 500)  # sinus fat and stones are not parenchyma

# Thresholds in HU. Sources: unenhanced kidney 30-50 and blood about 40 (textbooks); 5-30 s after the trigger
# cortex 195-217 and 110-140 above medulla, from 45 s on less than 30 above it (128 patients, PMID 17367973); aorta
# 290-360 in the late arterial phase (Radiopaedia, "Late arterial phase"), so that 200 is a cautious limit;
# opacified urine is far brighter than blood and parenchyma. A portal venous series at 70 s may still show a bright
# cortex, so cortex against medulla alone does not name a phase.
UNENHANCED_AORTA_HU = 70.0
UNENHANCED_KIDNEY_HU = 55.0
ARTERIAL_AORTA_HU = 200.0
ARTERIAL_DIFFERENCE_HU = 50.0
VENOUS_AORTA_HU = (90.0, 180.0)
NEPHROGRAPHIC_CORTEX_HU = 90.0
NEPHROGRAPHIC_DIFFERENCE_HU = 30.0
URINE_HU = 300
URINE_ABOVE_CORTEX_HU = 100
URINE_MM3 = 500.0  # more than a stone of 9 mm


@dataclass(frozen=True, slots=True, kw_only=True)
class Enhancement:
    """Median HU of aorta, renal cortex, renal medulla and liver; None without a mask, or with too few voxels.

    Attributes:
        bright_mm3: Volume inside the kidneys as bright as opacified urine.
        phase: Phase that this suggests; ``unknown`` where it is not clear.
    """

    aorta_hu: float | None
    cortex_hu: float | None
    medulla_hu: float | None
    liver_hu: float | None
    bright_mm3: float
    phase: str

    def __str__(self) -> str:
        parts = (("aorta", self.aorta_hu), ("cortex", self.cortex_hu), ("medulla", self.medulla_hu))
        known = [f"{name} {hu:.0f} HU" for name, hu in parts if hu is not None]
        return ", ".join([*known, f"{self.bright_mm3 / 1000:.1f} ml of bright urine"])


def measure_enhancement(volume: CTVolume, organs: Mapping[str, Mask]) -> Enhancement:
    """Measure the enhancement, and name the phase that it suggests.

    Args:
        volume: CT in HU, (S, R, C).
        organs: Masks on its grid by name: aorta, kidney (both) or kidney_left and kidney_right, liver, tumor, cyst.
            Any may be missing; tumor and cyst are removed from the kidneys.

    Raises:
        RoiError: A mask lies on another grid.
    """
    for name, mask in organs.items():
        if mask.shape != volume.hu.shape:
            raise RoiError(
                where=f"series {volume.series_uid}, organ {name}",
                expected=f"a mask on the grid of the CT, {volume.hu.shape}",
                found=f"{mask.shape}",
                remedy="give the organ masks of this series",
            )
    kidney = _union(volume, organs, ("kidney", "kidney_left", "kidney_right"))
    lesions = _union(volume, organs, ("tumor", "cyst", "kidney_cyst_left", "kidney_cyst_right"))
    cortex_hu, medulla_hu, bright_mm3 = _kidney(volume, kidney & ~lesions)
    aorta_hu = _aorta(volume, organs["aorta"], kidney) if "aorta" in organs else None
    liver_hu = _median(volume.hu[organs["liver"]]) if "liver" in organs else None
    return Enhancement(
        aorta_hu=aorta_hu,
        cortex_hu=cortex_hu,
        medulla_hu=medulla_hu,
        liver_hu=liver_hu,
        bright_mm3=bright_mm3,
        phase=phase_of_image(aorta_hu, cortex_hu, medulla_hu, bright_mm3),
    )


def phase_of_image(
    aorta_hu: float | None, cortex_hu: float | None, medulla_hu: float | None, bright_mm3: float = 0.0
) -> str:
    """The phase that HU suggest; ``unknown`` where they are not clear; without an aorta at most ``unenhanced``."""
    dull_kidney = cortex_hu is not None and cortex_hu <= UNENHANCED_KIDNEY_HU
    if dull_kidney and (aorta_hu is None or aorta_hu <= UNENHANCED_AORTA_HU):
        return "unenhanced"
    if aorta_hu is None or cortex_hu is None or medulla_hu is None:
        return "unknown"
    difference_hu = cortex_hu - medulla_hu
    if aorta_hu >= ARTERIAL_AORTA_HU and difference_hu >= ARTERIAL_DIFFERENCE_HU:
        return "corticomedullary"
    low_hu, high_hu = VENOUS_AORTA_HU
    if bright_mm3 >= URINE_MM3 and UNENHANCED_AORTA_HU < aorta_hu <= high_hu:
        return "excretory"
    even = abs(difference_hu) <= NEPHROGRAPHIC_DIFFERENCE_HU
    if even and low_hu <= aorta_hu <= high_hu and cortex_hu >= NEPHROGRAPHIC_CORTEX_HU:
        return "nephrographic"
    return "unknown"


def check_phase(named_phase: str, enhancement: Enhancement, case_id: str) -> tuple[Finding, ...]:
    """A warning where text and image disagree, a note where only the image shows the phase; otherwise nothing."""
    if enhancement.phase in ("unknown", named_phase):
        return ()
    if named_phase == "unknown":
        message = f"DICOM does not name the phase; the image looks {enhancement.phase} ({enhancement})"
        return (note("phase-from-image", message, case_id=case_id),)
    message = (
        f"the table or the header says {named_phase}, the image looks {enhancement.phase} ({enhancement})"
    )
    return (warning("phase-disagrees", message, case_id=case_id),)


def depth_mm(mask: Mask, spacing_mm: tuple[float, float, float], limit_mm: float) -> npt.NDArray[np.float32]:
    """Depth of each voxel's center below the surface of a mask, in mm, up to ``limit_mm``; 0 outside.

    The surface lies half a voxel outside the outermost centers. Exact Euclidean distance, one axis after the other.
    """
    half_mm = min(spacing_mm) / 2
    reach_mm = limit_mm + half_mm
    padded = np.pad(mask, 1)
    squared = np.where(padded, np.float32(reach_mm**2), np.float32(0))
    for axis, step_mm in enumerate(spacing_mm):
        source, n = squared.copy(), squared.shape[axis]
        for k in range(1, min(int(reach_mm / step_mm), n - 1) + 1):
            far = np.float32((k * step_mm) ** 2)
            ahead, behind = _slab(axis, 0, n - k), _slab(axis, k, n)
            np.minimum(squared[ahead], source[behind] + far, out=squared[ahead])
            np.minimum(squared[behind], source[ahead] + far, out=squared[behind])
    inner: npt.NDArray[np.float32] = np.sqrt(squared[1:-1, 1:-1, 1:-1])
    return np.where(mask, np.maximum(inner - np.float32(half_mm), 0), np.float32(0))


def _slab(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if i == axis else slice(None) for i in range(3))


def _union(volume: CTVolume, organs: Mapping[str, Mask], names: tuple[str, ...]) -> Mask:
    union: Mask = np.zeros(volume.hu.shape, dtype=np.bool_)
    for name in names:
        if name in organs:
            union |= organs[name]
    return union


def _kidney(volume: CTVolume, kidney: Mask) -> tuple[float | None, float | None, float]:
    """Median HU of cortex and medulla, and the volume as bright as urine, in mm3."""
    if not kidney.any():
        return None, None, 0.0
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(kidney))
    hu, inside = volume.hu[box], kidney[box]
    depth = depth_mm(inside, volume.geometry.spacing_mm, MEDULLA_DEPTH_MM)
    tissue = inside & (hu >= TISSUE_HU[0]) & (hu <= TISSUE_HU[1])
    shell = (depth >= CORTEX_DEPTH_MM[0]) & (depth <= CORTEX_DEPTH_MM[1])
    cortex_hu = _median(hu[tissue & shell])
    medulla_hu = _median(hu[tissue & (depth >= MEDULLA_DEPTH_MM)])
    bright_hu = max(URINE_HU, (cortex_hu or 0) + URINE_ABOVE_CORTEX_HU)
    voxel_mm3 = float(np.prod(volume.geometry.spacing_mm))
    return cortex_hu, medulla_hu, float((inside & (hu > bright_hu)).sum()) * voxel_mm3


def _aorta(volume: CTVolume, aorta: Mask, kidney: Mask) -> float | None:
    """Median HU of the aorta without its wall, at the height of the kidneys if it reaches there."""
    slices = np.flatnonzero(kidney.any(axis=(1, 2)))
    at_kidneys: Mask = np.zeros_like(aorta)
    at_kidneys[slices] = aorta[slices]
    chosen = at_kidneys if at_kidneys.sum() >= FEWEST_VOXELS else aorta
    if not chosen.any():
        return None
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(chosen))
    hu, inside = volume.hu[box], chosen[box]
    lumen = depth_mm(inside, volume.geometry.spacing_mm, AORTA_WALL_MM) >= AORTA_WALL_MM
    return _median(hu[lumen] if lumen.sum() >= FEWEST_VOXELS else hu[inside])


def _median(hu: npt.NDArray[np.int16]) -> float | None:
    return median(hu) if hu.size >= FEWEST_VOXELS else None
