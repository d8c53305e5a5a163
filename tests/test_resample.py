"""Masks on other grids: as SimpleITK resamples them, voxel by voxel; spoilt headers are caught and told apart."""

import numpy as np
import pytest

from nephroscope.base.errors import RoiError
from nephroscope.imaging.grid import canonical
from nephroscope.imaging.masks.resample import fit_to_ct, resample_nearest
from nephroscope.imaging.masks.segments import TumorQuery
from nephroscope.records import VolumeGeometry
from phantoms import ORIGIN_MM, SHAPE, SPACING_MM, box_affine, box_tumor

WANTED = TumorQuery(case_id="P1", where="case P1, ROI m.nii")
CT = VolumeGeometry(shape=SHAPE, affine=box_affine())


def fit(mask, affine):
    return fit_to_ct(mask, affine, CT, WANTED)


def codes(findings):
    return [finding.code for finding in findings]


def rotation(degrees, axis):
    """3x3 about x, y or z (0, 1, 2)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = np.eye(3)
    a, b = [i for i in range(3) if i != axis]
    turned[a, a] = turned[b, b] = c
    turned[a, b], turned[b, a] = -s, s
    return turned


def by_simpleitk(mask, affine, ct):
    """The same by SimpleITK.Resample with nearest neighbour and identity transform."""
    import SimpleITK

    def image(array, at):
        made = SimpleITK.GetImageFromArray(array)
        spacing = np.linalg.norm(at[:3, :3], axis=0)
        made.SetSpacing(spacing[::-1].tolist())
        made.SetOrigin(at[:3, 3].tolist())
        made.SetDirection((at[:3, :3] / spacing)[:, ::-1].ravel().tolist())
        return made

    reference = image(np.zeros(ct.shape, np.uint8), ct.affine)
    resampled = SimpleITK.Resample(
        image(mask.astype(np.uint8), affine), reference, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor
    )
    return SimpleITK.GetArrayFromImage(resampled).astype(bool)


@pytest.mark.parametrize("seed", range(12))
def test_any_turned_grid_is_resampled_as_simpleitk_does(seed):
    random = np.random.default_rng(seed)
    turned = np.eye(3)
    for axis in range(3):
        turned = turned @ rotation(random.uniform(-40, 40), axis)
    spacing = random.uniform(0.5, 4, 3)
    shape = tuple(int(n) for n in random.integers(5, 30, 3))
    affine = np.eye(4)
    affine[:3, :3] = (box_affine()[:3, :3] / SPACING_MM) @ turned * spacing
    middle = (CT.affine @ np.array([*(np.array(SHAPE) / 2 + 0.123), 1]))[:3]
    affine[:3, 3] = middle - affine[:3, :3] @ (np.array(shape) / 2)
    mask = random.random(shape) < 0.5
    expected = by_simpleitk(mask, affine, CT)
    assert 0 < expected.sum() < expected.size
    assert np.array_equal(resample_nearest(mask, affine, CT), expected)


@pytest.mark.parametrize("factor", [(1, 0.5, 0.5), (0.5, 2, 2), (3, 1, 1), (2, 0.25, 1.5)])
@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, -1)])
def test_ties_between_voxels_fall_as_in_simpleitk(factor, flip):
    """Finer and coarser grids with the same first voxel: many centres lie exactly between two voxels."""
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = [*np.array(factor) * flip, 1]
    shape = tuple(int(n / f) + 1 for n, f in zip((6, 40, 48), factor, strict=True))
    affine[:3, 3] = affine[:3, :3] @ [
        0 if sign > 0 else -(n - 1) for n, sign in zip(shape, flip, strict=True)
    ]
    ct_affine = np.eye(4)
    ct_affine[:3, :3] = np.eye(3)[::-1]
    ct = VolumeGeometry(shape=(6, 40, 48), affine=ct_affine)
    mask = np.random.default_rng(1).random(shape) < 0.5
    assert np.array_equal(resample_nearest(mask, affine, ct), by_simpleitk(mask, affine, ct))


def test_the_cts_own_grid_passes_in_any_storage_order():
    voxels, findings = fit(box_tumor(), box_affine())
    assert np.array_equal(voxels, box_tumor())
    assert findings == []
    turned = box_affine()
    turned[:3, 3] += turned[:3, 0] * 5 + turned[:3, 2] * 47
    turned[:3, [0, 2]] *= -1
    voxels, findings = fit(box_tumor()[::-1, :, ::-1].transpose(2, 0, 1), turned[:, [2, 0, 1, 3]])
    assert np.array_equal(voxels, box_tumor())
    assert findings == []
    near = box_affine()
    near[:3, 3] += 0.04
    assert fit(box_tumor(), near)[1] == []


def test_a_cropped_grid_on_the_cts_voxels_is_no_doubt():
    """3D Slicer saves segmentations cropped."""
    affine = box_affine()
    affine[:3, 3] = (affine @ [1, 8, 6, 1])[:3]
    voxels, findings = fit(box_tumor()[1:, 8:30, 6:20], affine)
    assert np.array_equal(voxels, box_tumor())
    assert findings == []


def test_a_grid_larger_than_the_ct_loses_what_is_outside_and_says_so():
    affine = box_affine()
    affine[:3, 3] = (affine @ [-3, 0, 0, 1])[:3]
    mask = np.zeros((9, 40, 48), bool)
    mask[1:6, 10:20, 10:20] = True
    voxels, (finding,) = fit(mask, affine)
    assert voxels.sum() == 300
    assert voxels[:3, 10:20, 10:20].all()
    assert finding.code == "roi-outside"
    assert finding.message.startswith("200 voxels (0.32 ml) of 500 lie outside the CT")
    assert (finding.severity, finding.case_id, finding.where) == ("warning", "P1", WANTED.where)


def test_another_grid_is_resampled_with_both_volumes():
    affine = box_affine()
    affine[:3, 1:3] /= 2
    affine[:3, 3] -= affine[:3, 1] / 2 + affine[:3, 2] / 2
    fine = box_tumor().repeat(2, axis=1).repeat(2, axis=2)
    voxels, (finding,) = fit(fine, affine)
    assert np.array_equal(voxels, box_tumor())
    assert finding.code == "roi-resampled"
    assert finding.message.endswith("resampled to the nearest voxel: 0.76 ml before, 0.76 ml after")
    thin = np.zeros_like(fine)
    thin[2, 20:41, 20:22] = True
    _, findings = fit(thin, affine)
    assert codes(findings) == ["roi-resampled", "roi-volume-changed"] or codes(findings) == ["roi-resampled"]


def test_a_large_change_of_volume_is_told():
    """A thin fine plate that a coarse CT sees as a whole slice."""
    affine = box_affine()
    affine[:3, 0] /= 5
    mask = np.zeros((26, 40, 48), bool)
    mask[10, 10:20, 10:20] = True
    voxels, findings = fit(mask, affine)
    assert np.array_equal(np.flatnonzero(voxels.any(axis=(1, 2))), [2])
    assert codes(findings) == ["roi-resampled", "roi-volume-changed"]
    assert findings[1].message == (
        "resampling changed the volume inside the CT from 0.03 to 0.16 ml, more than 10%"
    )


def test_the_same_size_moved_by_whole_voxels_is_a_doubt():
    affine = box_affine()
    affine[:3, 3] += affine[:3, 0]
    voxels, findings = fit(box_tumor(), affine)
    assert np.array_equal(voxels[1:], box_tumor()[:-1])
    assert codes(findings) == ["roi-resampled"]


def test_voxels_outside_are_counted_on_turned_grids():
    affine = np.eye(4)
    affine[:3, :3] = rotation(30, 2) @ box_affine()[:3, :3]
    affine[:3, 3] = ORIGIN_MM
    mask = np.ones(SHAPE, bool)
    voxels, findings = fit(mask, affine)
    assert codes(findings) == ["roi-resampled", "roi-outside"]
    places = (
        np.linalg.inv(CT.affine) @ affine @ np.vstack([np.indices(SHAPE).reshape(3, -1), np.ones(mask.size)])
    )[:3]
    outside = ((places < -0.5) | (places >= np.array(SHAPE)[:, None] - 0.5)).any(axis=0).sum()
    assert findings[1].message.startswith(f"{outside} voxels ")
    assert voxels.any()


def flipped(axis, sign):
    affine = box_affine()
    affine[:3, 3] += sign * (SHAPE[axis] - 1) * affine[:3, axis]
    return affine


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (flipped(0, 1), "but the slices run the other way: a flipped header"),
        (flipped(0, -1), "but the slices run the other way: a flipped header"),
        (flipped(2, 1), "but the columns run the other way"),
        (np.diag([-1, -1, 1, 1]) @ box_affine(), r"wrong sign in x and y \(RAS taken for LPS\)"),
        (np.diag([1, 1, -1, 1]) @ box_affine(), "wrong sign in z;"),
        (np.diag([-1, 1, 1, 1]) @ box_affine(), "wrong sign in x;"),
        (np.diag([1, -1, 1, 1]) @ box_affine(), "wrong sign in y;"),
        (np.diag([1, -1, -1, 1]) @ box_affine(), "wrong sign in y and z;"),
        (np.diag([-1, -1, -1, 1]) @ box_affine(), "wrong sign in x and y and z;"),
        (
            np.diag([1.0, 1, 1, 1])[[2, 1, 0, 3]],
            "1 mm voxels from 0, 0, 0: its header was lost",
        ),
        (np.diag([-1.0, -1, 1, 1])[:, [2, 1, 0, 3]], "its header was lost"),
    ],
)
def test_spoilt_headers_are_caught(affine, words):
    with pytest.raises(RoiError, match=rf"expected the grid of the CT, 6 x 40 x 48 .*{words}"):
        fit(box_tumor(), affine.astype(float))


def test_what_a_program_forgot_to_write_is_named():
    """Same size, and the origin, the spacing or the directions of a turned CT are what a bare array has."""
    turned = box_affine()
    turned[:3, :3] = rotation(12, 0) @ rotation(7, 2) @ turned[:3, :3]
    ct = VolumeGeometry(shape=SHAPE, affine=turned)
    no_origin, no_spacing = turned.copy(), turned.copy()
    no_origin[:3, 3] = 0
    no_spacing[:3, :3] /= SPACING_MM
    for affine, words in (
        (no_origin, "same size and spacing, but from 0, 0, 0: its origin was lost"),
        (no_spacing, "same size and first voxel, but 1 mm voxels: its spacing was lost"),
        (box_affine(), "straight where the CT is turned: its directions were lost"),
    ):
        with pytest.raises(RoiError, match=words):
            fit_to_ct(box_tumor(), affine, ct, WANTED)
    fewer = box_tumor()[:5]
    assert codes(fit_to_ct(fewer, box_affine(), ct, WANTED)[1])[0] == "roi-resampled"


def test_a_flipped_header_that_turns_direction_and_keeps_the_origin_is_caught():
    affine = box_affine()
    affine[:3, 0] *= -1
    with pytest.raises(RoiError, match=r"the slices run the other way"):
        fit(box_tumor(), affine)


def test_a_grid_elsewhere_belongs_to_another_series():
    affine = box_affine()
    affine[2, 3] += 500
    with pytest.raises(RoiError, match=r"does not touch the CT and seems to belong to another series"):
        fit(box_tumor(), affine)


def test_a_mask_beside_the_ct_on_a_grid_that_meets_it_is_refused():
    affine = box_affine()
    affine[2, 3] -= 3 * SPACING_MM[0]
    mask = np.zeros(SHAPE, bool)
    mask[0:2, 10:20, 10:20] = True
    with pytest.raises(RoiError, match=r"an ROI inside the CT, .*found one completely outside it"):
        fit(mask, affine)


def test_a_mask_between_two_centres_is_refused():
    affine = box_affine()
    affine[:3, 0] /= 5
    mask = np.zeros((26, 40, 48), bool)
    mask[12, 10:20, 10:20] = True
    with pytest.raises(RoiError, match=r"found one too thin to contain the center of any voxel"):
        fit(mask, affine)


@pytest.mark.parametrize(
    ("column", "words"),
    [([0, 0, 0], "a finite affine with three directions"), ([2.5, 0, 0], "two parallel directions")],
)
def test_headers_without_three_directions_are_refused(column, words):
    affine = box_affine()
    affine[:3, 0] = column
    with pytest.raises(RoiError, match=words):
        fit(box_tumor(), affine)


def test_a_unit_grid_at_zero_is_believed_beside_a_ct_at_zero():
    ct_affine = np.eye(4)
    ct_affine[:3, :3] = np.eye(3)[::-1] * [2, 2, 2]
    ct = VolumeGeometry(shape=(5, 6, 7), affine=ct_affine)
    mask_affine = np.eye(4)
    mask_affine[:3, :3] = np.eye(3)[::-1]
    mask = np.ones((10, 12, 14), bool)
    voxels, findings = fit_to_ct(mask, mask_affine, ct, WANTED)
    assert voxels.all()
    assert codes(findings)[0] == "roi-resampled"
    with pytest.raises(RoiError, match="its header was lost"):
        fit_to_ct(np.ones(ct.shape, bool), mask_affine, ct, WANTED)


def test_canonical_is_what_resampling_agrees_with():
    """Resampling a turned copy of the CT's own grid gives the same voxels as turning it back."""
    affine = box_affine()
    affine[:3, 3] += affine[:3, 0] * 5
    affine[:3, 0] *= -1
    mask = np.random.default_rng(3).random(SHAPE) < 0.3
    assert np.array_equal(resample_nearest(mask, affine, CT), canonical(mask, affine)[0])
