"""Parts, volume and diameters: against shapes with known answers, scipy, SimpleITK, and real tumors."""

import json

import numpy as np
import pytest

from nephroscope.records import RoiMask, VolumeGeometry
from nephroscope.regions.measure import axial_diameter_mm, crop, diameter_mm, farthest_mm, find_parts, measure
from phantoms import read_label_map

FULL = np.ones((3, 3, 3))
FACES = np.array(
    [[[0, 0, 0], [0, 1, 0], [0, 0, 0]], [[0, 1, 0], [1, 1, 1], [0, 1, 0]], [[0, 0, 0], [0, 1, 0], [0, 0, 0]]]
)


def roi_of(voxels, spacing_mm=(1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0)):
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *spacing_mm, 1
    affine[:3, 3] = origin_mm
    return RoiMask(voxels=voxels, geometry=VolumeGeometry(shape=voxels.shape, affine=affine), case_id="c")


def ellipsoid(axes_mm, spacing_mm, center=(0.31, 0.17, -0.21)):
    """Half axes in mm along slices, rows, columns; the center is not on the grid."""
    grids = np.ogrid[
        tuple(slice(-int(a / s) - 2, int(a / s) + 3) for a, s in zip(axes_mm, spacing_mm, strict=True))
    ]
    return (
        sum(((x - o) * s / a) ** 2 for x, o, s, a in zip(grids, center, spacing_mm, axes_mm, strict=True))
        <= 1
    )


@pytest.mark.parametrize(
    ("corners", "within_slices"), [(True, False), (False, False), (True, True), (False, True)]
)
def test_parts_are_those_of_scipy(corners, within_slices):
    from scipy import ndimage

    rng = np.random.default_rng(5)
    structure = (FULL if corners else FACES).copy()
    if within_slices:
        structure[[0, 2]] = 0
    for _ in range(60):
        mask = rng.random(tuple(rng.integers(1, 9, 3))) < rng.choice([0.1, 0.3, 0.5, 0.8])
        if not mask.any():
            continue
        labels, n = ndimage.label(mask, structure)
        parts = find_parts(mask, corners=corners, within_slices=within_slices)
        assert sorted(parts.sizes) == sorted(np.bincount(labels.ravel())[1:])
        wanted = np.arange(n) == n // 2
        one = parts.mask(wanted)
        assert one.sum() == parts.sizes[n // 2]
        assert np.array_equal(one, labels == labels[one][0])


def test_a_box_is_measured_by_eye():
    voxels = np.zeros((8, 20, 30), bool)
    voxels[2:5, 4:10, 6:16] = True  # 3 slices of 5 mm, 6 rows and 10 columns of 0.5 mm
    found = measure(roi_of(voxels, (5.0, 0.5, 0.5), (100.0, 200.0, 300.0)))
    assert found.volume_ml == pytest.approx(3 * 6 * 10 * 5 * 0.25 / 1000)
    assert found.largest_axial_diameter_mm == pytest.approx(np.hypot(10 * 0.5, 5 * 0.5))  # from face to face
    assert found.largest_diameter_mm == pytest.approx(np.sqrt(15**2 + (9 * 0.5) ** 2 + (5 * 0.5) ** 2))
    assert (found.n_voxels, found.n_slices, found.n_parts, found.largest_part_share) == (180, 3, 1, 1.0)
    assert found.center_mm == (100 + 10.5 * 0.5, 200 + 6.5 * 0.5, 300 + 3 * 5)
    assert found.side == "unknown"


def test_a_row_is_as_long_as_its_voxels():
    voxels = np.zeros((1, 1, 9), bool)
    voxels[0, 0, 2:7] = True
    found = measure(roi_of(voxels, (3.0, 1.0, 0.7)))
    assert found.largest_axial_diameter_mm == pytest.approx(5 * 0.7)
    assert found.largest_diameter_mm == pytest.approx(np.hypot(4 * 0.7, 3)), (
        "slices are thicker than pixels wide"
    )
    assert measure(
        roi_of(np.ones((1, 1, 1), bool), (3.0, 1.0, 0.7))
    ).largest_axial_diameter_mm == pytest.approx(1)


@pytest.mark.parametrize(
    ("axes_mm", "spacing_mm"),
    [
        ((20, 20, 20), (1, 1, 1)),
        ((30, 20, 12), (1, 0.7, 0.7)),
        ((25, 40, 25), (5, 0.8, 0.8)),
        ((15, 15, 35), (2.5, 0.6, 0.9)),
    ],
)
def test_ellipsoids_have_their_size(axes_mm, spacing_mm):
    found = measure(roi_of(ellipsoid(axes_mm, spacing_mm), spacing_mm))
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * np.prod(axes_mm) / 1000, rel=0.01)
    assert 0 <= found.largest_axial_diameter_mm - 2 * max(axes_mm[1:]) <= max(spacing_mm[1:]) + 0.01
    assert -0.1 <= found.largest_diameter_mm - 2 * max(axes_mm) <= max(spacing_mm)


def test_diameters_are_those_of_all_pairs_of_faces():
    from scipy.ndimage import gaussian_filter
    from scipy.spatial.distance import pdist

    rng = np.random.default_rng(3)

    def all_pairs(mask, affine, axes):
        faces = [np.argwhere(mask) + side * np.eye(3)[axis] for axis in axes for side in (-0.5, 0.5)]
        return np.concatenate(faces) @ affine[:3, :3].T, np.concatenate(faces)[:, 0]

    for _ in range(60):
        mask = gaussian_filter(rng.random(rng.integers(1, 8, 3)), 0.6) > rng.choice([0.5, 0.6])
        if not mask.any():
            continue
        mask, _ = crop(mask)
        affine = np.eye(4)
        affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] @ np.diag(rng.choice([0.5, 1, 5], 3))
        points, _ = all_pairs(mask, affine, (0, 1, 2))
        assert diameter_mm(mask, affine) == pytest.approx(pdist(points).max())
        points, slices = all_pairs(mask, affine, (1, 2))
        largest = max(pdist(points[slices == s]).max() for s in np.unique(slices))
        assert axial_diameter_mm(mask, affine) == pytest.approx(largest)


def test_farthest_points_are_those_of_all_pairs():
    from scipy.spatial.distance import pdist

    rng = np.random.default_rng(2)
    for _ in range(100):
        points = rng.normal(size=(int(rng.integers(2, 300)), 3)) * rng.choice([1, 4], 3)
        assert farthest_mm(points) == pytest.approx(pdist(points).max())


def test_several_parts_are_counted_and_the_largest_is_measured():
    voxels = np.zeros((5, 30, 60), bool)
    voxels[1:4, 2:8, 2:8] = True
    voxels[1:4, 20:24, 50:54] = True
    voxels[4, 8, 8] = True  # by a corner: the same part
    found = measure(roi_of(voxels))
    assert found.n_parts == 2
    assert found.largest_part_share == pytest.approx(109 / 157)
    assert found.largest_axial_diameter_mm == pytest.approx(np.hypot(6, 5))
    assert found.center_mm == pytest.approx((4.53, 4.53, 2.02), abs=0.01)
    assert found.volume_ml == pytest.approx(157 / 1000)


def test_real_tumors_are_as_simpleitk_and_the_table_say(test_data):
    """Feret's diameter goes from center to center: ours is longer by at most one voxel's diagonal."""
    import SimpleITK

    folder = test_data / "kits23" / "dataset"
    if not folder.is_dir():
        pytest.skip("no KiTS23 segmentations")
    table = {
        row["case_id"]: row["radiographic_size"] for row in json.loads((folder / "kits23.json").read_text())
    }
    ratios = []
    for name in ("case_00162", "case_00177", "case_00400"):  # small: Feret's takes time
        path = folder / name / "segmentation.nii.gz"
        labels, geometry = read_label_map(path)
        found = measure(RoiMask(voxels=labels == 2, geometry=geometry, case_id="c"))
        parts = find_parts(labels == 2)
        mask = parts.mask(parts.sizes == parts.sizes.max())
        image = SimpleITK.GetImageFromArray(crop(mask)[0].astype(np.uint8))
        image.SetSpacing(geometry.spacing_mm[::-1])
        shape = SimpleITK.LabelShapeStatisticsImageFilter()
        shape.ComputeFeretDiameterOn()
        shape.Execute(image)
        longer_mm = found.largest_diameter_mm - shape.GetFeretDiameter(1)
        assert 0 < longer_mm <= np.linalg.norm(geometry.spacing_mm), name
        assert found.volume_ml * found.largest_part_share == pytest.approx(shape.GetPhysicalSize(1) / 1000)
        ratios.append(found.largest_axial_diameter_mm / 10 / table[name])
    assert np.median(ratios) == pytest.approx(1, abs=0.1)
