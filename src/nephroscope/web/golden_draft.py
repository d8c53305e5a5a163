"""A golden case while it is made: a synthetic patient, how it is stored, and what is asked; then its files."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nephroscope.records.prediction import Side
from nephroscope.web.golden_files import Array, Scene, dicom_series, nifti_file, seg_file

KNOWN_SIDES: tuple[Side, ...] = ("left", "right")


@dataclass(kw_only=True)
class GoldenCase:
    """The files of a case and what is asked.

    Attributes:
        files: Of the CT by name; one NIfTI file, or those of a folder.
        roi: Name and content of the ROI file; None without.
        folder: Whether ``files`` lie in a folder.
    """

    name: str
    files: dict[str, bytes]
    roi: tuple[str, bytes] | None
    folder: bool = True
    side: Side = "unknown"
    label: int = 1
    tumor_name: str = ""
    case_id: str | None = None


@dataclass(kw_only=True)
class Draft:
    """A case that a kind may still change before its files are written."""

    scene: Scene
    rng: np.random.Generator
    nifti_ct: bool = False
    roi_kind: str = "nifti"
    masks: dict[str, Array] = field(default_factory=dict)
    seg: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    ct_header: dict[str, Any] = field(default_factory=dict)
    roi_affine: Any = None
    files: Callable[[dict[str, bytes]], dict[str, bytes]] = lambda files: files
    asked: dict[str, Any] = field(default_factory=dict)
    label_map: Array | None = None
    dtype: str = "int16"


def written(name: str, draft: Draft) -> GoldenCase:
    """The case with its files."""
    scene = draft.scene
    if draft.nifti_ct:
        values = scene.hu.astype(draft.dtype)
        files = {"ct.nii.gz": nifti_file(values, scene.affine, **draft.ct_header)}
    else:
        files = dicom_series(scene)
    masks = draft.masks or {"Tumor": scene.tumor}
    roi: tuple[str, bytes] | None = None
    if draft.roi_kind == "seg":
        roi = ("roi.dcm", seg_file(scene, masks, **draft.seg))
    elif draft.roi_kind == "nifti":
        affine = scene.affine if draft.roi_affine is None else draft.roi_affine
        drawn = next(iter(masks.values())).astype(np.uint8)
        labels: Array = drawn if draft.label_map is None else draft.label_map
        roi = ("roi.nii.gz", nifti_file(labels, affine, **draft.header))
    return GoldenCase(name=name, files=draft.files(files), roi=roi, folder=not draft.nifti_ct, **draft.asked)
