"""Read a NIfTI or NRRD label map, as ITK-SNAP, 3D Slicer and MITK write it, and place its tumor on the CT."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError, SeriesError
from nephroscope.imaging.files import FILE_DAMAGE
from nephroscope.imaging.grid import canonical
from nephroscope.imaging.masks.nrrd import read_nrrd, whole_numbers
from nephroscope.imaging.masks.resample import fit_to_ct
from nephroscope.imaging.masks.segments import LabelMap, TumorQuery, check_choice, choose_segment
from nephroscope.imaging.nifti import read_stored
from nephroscope.records import Finding, VolumeGeometry


def read_label_map(path: Path, where: str) -> LabelMap:
    """The label map in a NIfTI or NRRD file; its content decides which.

    Raises:
        RoiError: The file is damaged or too large, does not have three axes, or holds values that are not labels.
    """
    try:
        with path.open("rb") as file:
            is_nrrd = file.read(4) == b"NRRD"
        return read_nrrd(path) if is_nrrd else _read_nifti(path)
    except SeriesError as error:
        raise error.as_kind(RoiError, where) from error
    except FILE_DAMAGE as error:
        why = str(error).replace(str(path), "the file") or type(error).__name__
        raise RoiError(
            where=where,
            expected="a whole NRRD label map",
            found=f"a file that is cut short or of another kind ({why})",
            remedy="export it again, with header and voxels in one file",
        ) from error


def tumor_on_ct(
    path: Path, ct: VolumeGeometry, query: TumorQuery
) -> tuple[npt.NDArray[np.bool_], list[Finding]]:
    """Tumor voxels (S, R, C) of a label map on the CT's grid, resampled where the grids differ.

    Raises:
        RoiError: The file is not a label map, does not hold the tumor, or lies elsewhere.
    """
    stored = read_label_map(path, query.where)
    layer, number, doubts = 0, query.label, []
    if stored.segments:
        chosen = choose_segment(stored.segments, query)
        layer, number = chosen.layer, chosen.number
        doubts = check_choice(stored.segments, chosen, query)
    elif query.name.strip():
        raise query.refusal(
            expected=f"a label called {query.name!r}",
            found=f"only labels without names: {values_in(stored)}",
            remedy="give the number of the label as --tumor-label, without --tumor-name",
        )
    mask = stored.layers[layer] == number
    if not mask.any():
        raise query.refusal(
            expected=f"the tumor label {number}",
            found=f"only the values {values_in(stored)}",
            remedy="give the label of the tumor as --tumor-label",
        )
    if not stored.placed and not canonical(mask, stored.affine)[1].matches(ct):
        raise query.refusal(
            expected="a header with the position of the voxels",
            found="none",
            remedy="export the ROI again with its orientation (sform or qform)",
        )
    voxels, findings = fit_to_ct(mask, stored.affine, ct, query)
    doubts += [query.finding(doubt.code, doubt.message) for doubt in stored.findings]
    return voxels, doubts + findings


def values_in(stored: LabelMap) -> str:
    """The first values of a label map, for refusals."""
    values = np.unique(np.concatenate([np.unique(layer) for layer in stored.layers]))
    return ", ".join(str(int(value)) for value in values[:12]) + (" ..." if values.size > 12 else "")


def _read_nifti(path: Path) -> LabelMap:
    stored = read_stored(path)
    doubts = stored.findings
    placed = all(doubt.code != "orientation-unknown" for doubt in doubts)
    layer = whole_numbers(stored.values, path.name)
    return LabelMap(layers=(layer,), affine=stored.affine, placed=placed, findings=doubts)
