"""A tumor drawn on one CT of a patient, placed on another one that shows it in another phase; or the words "draw it".

A transfer is accepted only where it can be believed. Where the kidney is known on both series, it must lie on itself
after the motion. Where it is not, the images must say so: they resemble each other, two regions of different size
give the same motion, and the halves of the region stay where the whole went.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from nephroscope.imaging.masks.resample import resample_nearest
from nephroscope.records import CTVolume, RoiMask
from nephroscope.regions.measure import crop
from nephroscope.regions.registration import Motion, center_mm, register

Bools = npt.NDArray[np.bool_]
Organs = Mapping[str, Bools]
Reason = Literal[
    "kidney-matches", "images-match", "shift-too-large", "outside", "turned", "no-kidney-there", "kidney-differs",
    "not-better", "images-differ", "not-stable", "not-seen", "stretched",
]  # fmt: skip

MOST_SHIFT_MM, MOST_DEGREES = 40.0, 15.0
LEAST_DICE, DICE_TIE = 0.90, 0.005
# Without a kidney mask. Phantoms and a real CT whose organs were given the HU of other phases, moved by known
# vectors: 1.13 to 1.36, at most 4 degrees, mostly at most 1 mm apart, halves within 5 mm. Other patients, mirrored
# images and noise: 1.00 to 1.27, and at least one of the other three is outside.
LEAST_SIMILARITY, MOST_DEGREES_UNSEEN, MOST_APART_MM, MOST_PART_MM = 1.12, 4.8, 2.0, 5.5
SIMILARITY_TIE = 0.02
LEAST_SIMILARITY_WITH_KIDNEY = 1.03
KIDNEY_RIM_MM, RIM_MM, SMALL_RIM_MM = 15.0, 25.0, 15.0
NEAR_MM = 15.0  # voxels of the other kidney mask further away belong to the other kidney
KIDNEY_GAP_MM = 10.0  # a kidney further from the tumor is the other one


@dataclass(frozen=True, eq=False, kw_only=True)
class Transfer:
    """What came of a transfer.

    Attributes:
        voxels: The tumor on the grid of the other CT; None where it is to be drawn.
        why: In one word; ``reason`` in a sentence.
        shift_mm: How far the tumor's center moves, along L, P and S; None where no motion was found.
        dice_before, dice: Of the kidney, without and with the motion; None where it is not known on both.
        similarity: Normalized mutual information after the motion, 1 to 2.
    """

    voxels: Bools | None
    why: Reason
    reason: str
    shift_mm: tuple[float, float, float] | None = None
    degrees: float = 0.0
    dice_before: float | None = None
    dice: float | None = None
    similarity: float | None = None

    @property
    def accepted(self) -> bool:
        """True where the tumor was placed."""
        return self.voxels is not None


def transfer_roi(
    drawn: CTVolume, roi: RoiMask, other: CTVolume, here: Organs | None = None, there: Organs | None = None
) -> Transfer:
    """Place a tumor on another CT of the same patient.

    Args:
        drawn: The CT on which it was drawn.
        roi: The tumor on its grid.
        other: The other CT.
        here: Masks of ``kidney`` (and ``tumor``, ``cyst``) on the first grid, where they are known.
        there: The same on the other grid.

    Raises:
        ConfigError: SimpleITK is not installed.
    """
    kidney_here, kidney_there = _kidney(here), _kidney(there)
    if kidney_here is not None:
        kidney_here = _own_kidney(kidney_here, roi.voxels, drawn.geometry.spacing_mm)
    if kidney_here is not None and kidney_there is not None:
        return _by_kidney((drawn, roi, kidney_here), (other, kidney_there))
    around = within_mm(roi.voxels, drawn.geometry.spacing_mm, RIM_MM)
    if kidney_here is not None:
        around |= within_mm(kidney_here, drawn.geometry.spacing_mm, KIDNEY_RIM_MM)
    return _by_images((drawn, roi, around), other)


def _by_kidney(here: tuple[CTVolume, RoiMask, Bools], there: tuple[CTVolume, Bools]) -> Transfer:
    drawn, roi, kidney = here
    other, _ = there
    motion = register(drawn, within_mm(kidney | roi.voxels, drawn.geometry.spacing_mm, KIDNEY_RIM_MM), other)
    if motion is None:
        return _refused("not-seen", None, roi, "the other series does not show the kidney")
    before = _dice(here, there, np.eye(4))
    after = _dice(here, there, motion.matrix)
    about = {"dice_before": round(before, 3), "dice": round(after, 3)}
    refusal = _too_far(motion, roi, MOST_DEGREES)
    if refusal:
        return _refused(*refusal, about=about)
    words = f"Dice of the kidney {before:.2f} before, {after:.2f} after"
    if after == 0 and before == 0:
        return _refused("no-kidney-there", motion, roi, "the other series has no kidney there", about)
    if after < LEAST_DICE:
        return _refused("kidney-differs", motion, roi, f"{words}; at least {LEAST_DICE:.2f} is needed", about)
    if after < before - DICE_TIE:
        return _refused("not-better", motion, roi, f"{words}: not better", about)
    if motion.similarity < LEAST_SIMILARITY_WITH_KIDNEY:
        return _refused("images-differ", motion, roi, _alike(motion), about)
    return _placed("kidney-matches", motion, (drawn, roi, other), words, about)


def _by_images(here: tuple[CTVolume, RoiMask, Bools], other: CTVolume) -> Transfer:
    drawn, roi, around = here
    motion = register(drawn, around, other)
    if motion is None:
        return _refused("not-seen", None, roi, "the other series does not show what lies around the tumor")
    refusal = _too_far(motion, roi, MOST_DEGREES_UNSEEN)
    if refusal:
        return _refused(*refusal)
    if motion.similarity < LEAST_SIMILARITY:
        return _refused("images-differ", motion, roi, _alike(motion))
    if motion.similarity < motion.before - SIMILARITY_TIE:
        return _refused(
            "not-better", motion, roi, f"{_alike(motion)}, {motion.before:.2f} before: not better"
        )
    again = register(drawn, within_mm(roi.voxels, drawn.geometry.spacing_mm, SMALL_RIM_MM), other)
    center = center_mm(roi.voxels, roi.geometry)
    apart = 99.0 if again is None else float(np.linalg.norm(again.shift_of(center) - motion.shift_of(center)))
    if apart > MOST_APART_MM or motion.parts_mm[-1] > MOST_PART_MM:
        halves = f"halves of one by {motion.parts_mm[-1]:.1f} mm"
        text = f"two regions of different size differ by {apart:.1f} mm, {halves}"
        return _refused("not-stable", motion, roi, text)
    return _placed("images-match", motion, (drawn, roi, other), _alike(motion), {})


def _alike(motion: Motion) -> str:
    return f"normalized mutual information {motion.similarity:.2f}"


def _too_far(motion: Motion, roi: RoiMask, most_degrees: float) -> tuple[Reason, Motion, RoiMask, str] | None:
    mm = float(np.linalg.norm(motion.shift_of(center_mm(roi.voxels, roi.geometry))))
    if mm >= MOST_SHIFT_MM:
        return "shift-too-large", motion, roi, f"a shift of {mm:.0f} mm; breathing moves a kidney by less"
    if motion.degrees > most_degrees:
        return "turned", motion, roi, f"a turn by {motion.degrees:.0f} degrees"
    if motion.stretched:
        return (
            "stretched",
            motion,
            roi,
            "what lies around the tumor is longer or shorter there by 6 % or more",
        )
    return None


def _shift(motion: Motion | None, roi: RoiMask) -> tuple[float, float, float] | None:
    if motion is None:
        return None
    x, y, z = motion.shift_of(center_mm(roi.voxels, roi.geometry)).round(2).tolist()
    return x, y, z


def _refused(
    why: Reason, motion: Motion | None, roi: RoiMask, text: str, about: Mapping[str, float] | None = None
) -> Transfer:
    return Transfer(
        voxels=None,
        why=why,
        reason=f"draw it: {text}",
        shift_mm=_shift(motion, roi),
        degrees=round(motion.degrees, 1) if motion else 0.0,
        similarity=round(motion.similarity, 3) if motion else None,
        **(about or {}),
    )


def _placed(
    why: Reason,
    motion: Motion,
    ends: tuple[CTVolume, RoiMask, CTVolume],
    text: str,
    about: Mapping[str, float],
) -> Transfer:
    """The tumor on the other grid, unless a part of it lies outside."""
    drawn, roi, other = ends
    small, offset = crop(roi.voxels)
    start = np.eye(4)
    start[:3, 3] = offset
    affine = motion.matrix @ drawn.geometry.affine @ start
    ends_at = affine @ np.vstack([np.argwhere(small).T, np.ones(int(small.sum()))])
    index = (np.linalg.inv(other.geometry.affine) @ ends_at)[:3]
    size = np.array(other.geometry.shape)[:, None]
    voxels = resample_nearest(small, affine, other.geometry)
    if ((index < -0.5) | (index > size - 0.5)).any() or not voxels.any():
        return _refused("outside", motion, roi, "the other series does not show the whole tumor", about)
    return Transfer(
        voxels=voxels,
        why=why,
        reason=text,
        shift_mm=_shift(motion, roi),
        degrees=round(motion.degrees, 1),
        similarity=round(motion.similarity, 3),
        **about,
    )


def _kidney(organs: Organs | None) -> Bools | None:
    """Kidneys with the lesions in them; None where they are not known."""
    if not organs or "kidney" not in organs:
        return None
    masks = [organs[name] for name in ("kidney", "tumor", "cyst") if name in organs]
    whole: Bools = np.logical_or.reduce(masks)
    return whole


def _own_kidney(kidney: Bools, tumor: Bools, spacing_mm: tuple[float, float, float]) -> Bools | None:
    """The part of a mask of kidneys that belongs to the tumor's kidney; None where there is none near it."""
    near = within_mm(tumor, spacing_mm, KIDNEY_GAP_MM)
    if not (kidney & near).any():
        return None
    whole = kidney | tumor
    grown = tumor | (kidney & near)
    small, offset = crop(whole)
    window = tuple(slice(first, first + n) for first, n in zip(offset, small.shape, strict=True))
    seed = grown[window]
    while True:  # what touches it, a voxel further each time
        more = seed.copy()
        for axis in range(3):
            for step in (1, -1):
                moved = np.roll(seed, step, axis)
                moved[tuple(slice(None) if i != axis else (0 if step == 1 else -1) for i in range(3))] = False
                more |= moved
        more &= small
        if (more == seed).all():
            break
        seed = more
    found = np.zeros_like(kidney)
    found[window] = seed & kidney[window]
    return found


def _dice(
    here: tuple[CTVolume, RoiMask, Bools], there: tuple[CTVolume, Bools], matrix: npt.NDArray[np.float64]
) -> float:
    """Dice of the two kidneys after a motion, without the tumor, on the grid of the second CT around the first."""
    drawn, roi, kidney = here
    other, kidney_there = there
    box, offset = crop(within_mm(kidney, drawn.geometry.spacing_mm, NEAR_MM))
    window = tuple(slice(first, first + n) for first, n in zip(offset, box.shape, strict=True))
    start = np.eye(4)
    start[:3, 3] = offset
    affine = matrix @ drawn.geometry.affine @ start
    one = resample_nearest(kidney[window], affine, other.geometry)
    tumor = resample_nearest(roi.voxels[window], affine, other.geometry)
    near = resample_nearest(box, affine, other.geometry)
    one, two = one & ~tumor, kidney_there & near & ~tumor
    total = int(one.sum() + two.sum())
    return 2 * int((one & two).sum()) / total if total else 0.0


def within_mm(mask: Bools, spacing_mm: tuple[float, float, float], mm: float) -> Bools:
    """The mask and all voxels whose centers lie within some mm of one of its voxels (S, R, C)."""
    small, offset = crop(mask)
    reach = [int(mm / step) for step in spacing_mm]
    window = tuple(
        slice(max(first - n, 0), min(first + size + n, whole))
        for first, n, size, whole in zip(offset, reach, small.shape, mask.shape, strict=True)
    )
    squared = np.where(mask[window], np.float32(0), np.float32(1e9))
    for axis, step in enumerate(spacing_mm):  # exact Euclidean distance, one axis after the other
        source, n = squared.copy(), squared.shape[axis]
        for k in range(1, min(reach[axis], n - 1) + 1):
            far = np.float32((k * step) ** 2)
            ahead = tuple(slice(0, n - k) if i == axis else slice(None) for i in range(3))
            behind = tuple(slice(k, n) if i == axis else slice(None) for i in range(3))
            np.minimum(squared[ahead], source[behind] + far, out=squared[ahead])
            np.minimum(squared[behind], source[ahead] + far, out=squared[behind])
    found = np.zeros_like(mask)
    found[window] = squared <= mm**2
    return found
