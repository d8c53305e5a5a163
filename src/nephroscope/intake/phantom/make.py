"""Make one phantom in memory: HU, the masks of two annotators, and clinical values from a seed and an index."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nephroscope.intake.phantom.anatomy import paint_abdomen, plan_anatomy
from nephroscope.intake.phantom.canvas import Canvas, scan
from nephroscope.intake.phantom.patient import (
    DESIGNS,
    N_PIXELS,
    N_SLICES,
    SERIES_WORDS,
    Acquisition,
    Clinical,
    Design,
    FurtherPhase,
    draw_patient,
    draw_roster,
)
from nephroscope.intake.phantom.tumor import LOBES, draw_outline, paint_tumor, place_tumor
from nephroscope.records import VolumeGeometry


@dataclass(frozen=True, eq=False, kw_only=True)
class Phantom:
    """A synthetic patient.

    Attributes:
        hu: int16 (S, R, C), slices from feet to head, rows to the back, columns to the left.
        reader1, reader2: Tumor masks of two annotators, bool (S, R, C).
        geometry: The grid in LPS mm.
        clinical: Row of the clinical table.
        acquisition: Scanner, kernel, dose and phase words.
        further: True of a scan in another phase than the one on which the tumor is drawn.
    """

    hu: npt.NDArray[np.int16]
    reader1: npt.NDArray[np.bool_]
    reader2: npt.NDArray[np.bool_]
    geometry: VolumeGeometry
    clinical: Clinical
    acquisition: Acquisition
    further: bool = False


def make_phantom(
    seed: int,
    index: int,
    n_cases: int = 83,
    design: Design = DESIGNS["kits23"],
    again: FurtherPhase | None = None,
) -> Phantom:
    """Case ``index`` (from 0) of the cohort that ``write_phantoms`` writes for this seed and number of cases.

    All but the subtype depends only on ``seed`` and ``index``; subtypes are distributed over the cohort.

    Args:
        seed: Of the cohort.
        index: Of the case.
        n_cases: In the cohort.
        design: The imitated cohort.
        again: The same patient scanned again in another phase; None is the scan on which the tumor is drawn.
    """
    subtype, look = draw_roster(seed, n_cases, design)[index]
    rng = np.random.default_rng([seed, index])
    clinical, acquisition = draw_patient(rng, index, subtype, look)
    drawn_mm, pixel_mm = acquisition.spacing_mm
    slice_mm = design.slice_mm or drawn_mm
    acquisition = replace(acquisition, spacing_mm=(slice_mm, pixel_mm))
    n_slices = round(N_SLICES * drawn_mm / slice_mm)
    if design.n_phases > 1:  # room for breathing
        n_slices = round(1.5 * n_slices)
    canvas = Canvas((n_slices, N_PIXELS, N_PIXELS), (slice_mm, pixel_mm, pixel_mm))
    plan = plan_anatomy(rng, acquisition.half_width_mm)
    moving = canvas
    if again is not None:
        moving = canvas.moved(again.shift_mm)
        clinical = replace(clinical, phase=again.phase)
        acquisition = replace(acquisition, series_words=again.words)
    tumor = place_tumor(moving, plan, clinical.size_cm, LOBES[look], rng)
    paint_abdomen(canvas, plan, tumor.solid, clinical.phase, rng, moving)
    paint_tumor(moving, tumor, look, subtype, clinical.phase, rng)
    if again is not None:  # other noise
        rng = np.random.default_rng([seed, index, list(SERIES_WORDS).index(again.phase)])
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = slice_mm, pixel_mm, pixel_mm, 1
    affine[:3, 3] = acquisition.origin_mm
    return Phantom(
        hu=scan(canvas.hu, pixel_mm, acquisition.cutoff_per_mm, acquisition.noise_hu, rng),
        reader1=draw_outline(moving, tumor, rng),
        reader2=draw_outline(moving, tumor, rng),
        geometry=VolumeGeometry(shape=canvas.hu.shape, affine=affine),
        clinical=clinical,
        acquisition=acquisition,
        further=again is not None,
    )
