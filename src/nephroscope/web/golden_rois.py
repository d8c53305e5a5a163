"""Kinds of golden cases that differ in the ROI: its shape and place, its grid, its segments, what is wrong."""

from collections.abc import Callable

import numpy as np

from nephroscope.web.golden_draft import KNOWN_SIDES, Draft
from nephroscope.web.golden_files import ROOT


def _no_roi(draft: Draft) -> None:
    draft.roi_kind = ""


def _empty_roi(draft: Draft) -> None:
    draft.masks = {"Tumor": np.zeros_like(draft.scene.tumor)}


def _tiny_roi(draft: Draft) -> None:
    mask = np.zeros_like(draft.scene.tumor)
    where = np.argwhere(draft.scene.tumor)[0]
    mask[where[0], where[1], where[2]] = True
    draft.masks = {"Tumor": mask}


def _one_slice(draft: Draft) -> None:
    mask = draft.scene.tumor.copy()
    middle = int(np.argmax(mask.sum(axis=(1, 2))))
    mask[np.arange(len(mask)) != middle] = False
    draft.masks, draft.roi_kind = {"Tumor": mask}, "seg" if draft.rng.random() < 0.5 else "nifti"


def _gap(draft: Draft) -> None:
    mask = draft.scene.tumor.copy()
    drawn = np.flatnonzero(mask.any(axis=(1, 2)))
    mask[drawn[len(drawn) // 2]] = False
    draft.masks, draft.roi_kind = {"Tumor": mask}, "seg" if draft.rng.random() < 0.5 else "nifti"


def _parts(draft: Draft) -> None:
    mask = draft.scene.tumor.copy()
    middle = int(np.argmax(mask.sum(axis=(1, 2))))
    mask[middle, 2:5, 2:5] = True
    if draft.rng.random() < 0.5:
        mask[middle, -2, -2] = True
    draft.masks = {"Tumor": mask}


def _moved(draft: Draft) -> None:
    """On fat, air, outside the body or at its edge."""
    shift = int(draft.rng.integers(8, 30))
    draft.masks = {
        "Tumor": np.roll(draft.scene.tumor, (0, -shift if draft.rng.random() < 0.5 else shift), (0, 1))
    }


def _to_the_end(draft: Draft) -> None:
    draft.masks = {
        "Tumor": np.roll(draft.scene.tumor, -int(np.argmax(draft.scene.tumor.any(axis=(1, 2)))), 0)
    }


def _huge(draft: Draft) -> None:
    draft.masks = {"Tumor": draft.scene.hu > -200}


def _other_grid(draft: Draft) -> None:
    """Half of the resolution, or shifted by part of a voxel: resampled with a warning."""
    scene = draft.scene
    if draft.rng.random() < 0.5:
        draft.masks = {"Tumor": scene.tumor[:, ::2, ::2]}
        draft.roi_affine = scene.affine @ np.diag([1.0, 2.0, 2.0, 1.0])
    else:
        draft.roi_affine = scene.affine.copy()
        draft.roi_affine[:3, 3] += scene.affine[:3, :3] @ draft.rng.uniform(0.2, 0.8, 3)


def _part_of_grid(draft: Draft) -> None:
    scene = draft.scene
    draft.masks = {"Tumor": scene.tumor[1:, 3:-2, 2:]}
    draft.roi_affine = scene.affine.copy()
    draft.roi_affine[:3, 3] += scene.affine[:3, :3] @ (1.0, 3.0, 2.0)


def _elsewhere(draft: Draft) -> None:
    draft.roi_affine = draft.scene.affine.copy()
    draft.roi_affine[:3, 3] += float(draft.rng.choice([900.0, -1200.0]))


def _wrong_sign(draft: Draft) -> None:
    draft.roi_affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ draft.scene.affine


def _wrong_way(draft: Draft) -> None:
    axis, scene = int(draft.rng.integers(0, 3)), draft.scene
    draft.roi_affine = scene.affine.copy()
    draft.roi_affine[:3, 3] += scene.affine[:3, axis] * (scene.hu.shape[axis] - 1)
    draft.roi_affine[:3, axis] *= -1
    draft.roi_affine[:3, 3] -= 0.0


def _lost_header(draft: Draft) -> None:
    draft.roi_affine = np.eye(4)[[2, 1, 0, 3]]


def _other_series(draft: Draft) -> None:
    draft.roi_kind, draft.seg = "seg", {"series": f"{ROOT}.1.2.3"}


def _other_frame(draft: Draft) -> None:
    draft.roi_kind, draft.seg = "seg", {"frame": f"{ROOT}.1.2.4"}


def _by_machine(draft: Draft) -> None:
    kind = str(draft.rng.choice(["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"]))
    draft.roi_kind, draft.seg = "seg", {"drawn_by": (kind, str(draft.rng.choice(["Net 2", ""])))}


def _named_segments(draft: Draft) -> None:
    kidney = np.roll(draft.scene.tumor, 4, 1) | np.roll(draft.scene.tumor, 3, 2)
    first, second = (("Kidney", "Tumor"), ("Niere links", "Raumforderung"), ("Cyst", "renal mass"))[
        int(draft.rng.integers(0, 3))
    ]
    draft.masks, draft.roi_kind = {first: kidney, second: draft.scene.tumor}, "seg"
    draft.asked = {
        "label": int(draft.rng.choice([1, 2, 3])),
        "tumor_name": str(draft.rng.choice(["", "", second, "nothing"])),
    }


def _nameless_segments(draft: Draft) -> None:
    draft.masks, draft.roi_kind = {"A": draft.scene.tumor, "B": np.roll(draft.scene.tumor, 5, 1)}, "seg"
    draft.asked = {"tumor_name": str(draft.rng.choice(["", "#2", "B"]))}


def _labels(draft: Draft) -> None:
    """KiTS values: kidney, tumor, cyst."""
    tumor = draft.scene.tumor
    draft.label_map = (np.roll(tumor, 2, 1) | np.roll(tumor, -2, 1)).astype(np.uint8)
    draft.label_map[tumor] = 2
    draft.asked = {"label": int(draft.rng.choice([1, 2, 2, 3]))}


def _float_labels(draft: Draft) -> None:
    value = float(draft.rng.choice([1.0, 1.0, 0.5, 1.0004]))
    draft.label_map = draft.scene.tumor.astype(np.float32) * np.float32(value)


def _named_case(draft: Draft) -> None:
    draft.asked = {"case_id": "K-017", "side": str(draft.rng.choice(KNOWN_SIDES))}
    draft.roi_kind = "seg"


KINDS: dict[str, Callable[[Draft], None]] = {
    "ROI on half of the resolution": _other_grid,
    "no ROI": _no_roi,
    "empty ROI": _empty_roi,
    "tiny ROI": _tiny_roi,
    "one slice": _one_slice,
    "gap": _gap,
    "parts": _parts,
    "moved ROI": _moved,
    "ROI at the end": _to_the_end,
    "huge ROI": _huge,
    "part of the grid": _part_of_grid,
    "ROI elsewhere": _elsewhere,
    "wrong sign": _wrong_sign,
    "wrong way": _wrong_way,
    "lost header": _lost_header,
    "SEG of another series": _other_series,
    "other frame": _other_frame,
    "drawn by a program": _by_machine,
    "named segments": _named_segments,
    "nameless segments": _nameless_segments,
    "labels": _labels,
    "float labels": _float_labels,
    "named case": _named_case,
}
