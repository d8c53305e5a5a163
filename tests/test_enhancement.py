"""Enhancement: phantoms of one kidney and an aorta in each phase, thresholds, disagreement with the text."""

import numpy as np
import pytest

from nephroscope.base.errors import RoiError
from nephroscope.records import CTVolume, VolumeGeometry
from nephroscope.regions.enhancement import check_phase, depth_mm, measure_enhancement, phase_of_image

SHAPE = (20, 44, 64)
SPACING_MM = (3.0, 1.5, 1.0)
# Typical HU: aorta, cortex, medulla.
LOOKS = {
    "unenhanced": (42, 32, 30),
    "corticomedullary": (310, 205, 90),
    "nephrographic": (140, 165, 158),
    "excretory": (110, 120, 118),
}


def draw(aorta_hu, cortex_hu, medulla_hu, *, urine=False):
    """A box-shaped kidney with a cortex of 6 mm, an aorta, fat around; urine fills a box in the middle."""
    hu = np.full(SHAPE, -100, dtype=np.int16)
    kidney = np.zeros(SHAPE, dtype=np.bool_)
    kidney[2:18, 4:40, 4:44] = True  # 48 x 54 x 40 mm
    aorta = np.zeros(SHAPE, dtype=np.bool_)
    aorta[:, 10:22, 48:62] = True
    hu[kidney] = cortex_hu
    hu[4:16, 8:36, 10:38] = medulla_hu
    hu[aorta] = aorta_hu
    if urine:
        hu[9:11, 20:26, 20:32] = 900  # 2 x 6 x 12 voxels of 4.5 mm3 = 648 mm3
    geometry = VolumeGeometry(shape=SHAPE, affine=np.diag([*SPACING_MM, 1.0]))
    return CTVolume(hu=hu, geometry=geometry, series_uid="1.2.3"), {"kidney": kidney, "aorta": aorta}


@pytest.mark.parametrize("phase", list(LOOKS))
def test_each_phase_is_seen(phase):
    found = measure_enhancement(*draw(*LOOKS[phase], urine=phase == "excretory"))
    assert (found.aorta_hu, found.cortex_hu, found.medulla_hu) == LOOKS[phase]
    assert found.phase == phase
    assert found.bright_mm3 == (648 if phase == "excretory" else 0)


def test_lesions_are_no_kidney():
    volume, organs = draw(*LOOKS["nephrographic"])
    lesion = np.zeros(SHAPE, dtype=np.bool_)
    lesion[2:18, 4:40, 4:36] = True
    volume.hu[lesion] = 10
    assert (
        measure_enhancement(volume, organs).phase == "unknown"
    )  # cortex and medulla are mixed with the cyst
    healthy = measure_enhancement(volume, organs | {"cyst": lesion})
    assert healthy.cortex_hu == LOOKS["nephrographic"][1]
    assert measure_enhancement(volume, organs | {"tumor": lesion}).cortex_hu == healthy.cortex_hu


def test_left_and_right_are_the_same_as_both():
    volume, organs = draw(*LOOKS["nephrographic"])
    left = organs["kidney"].copy()
    left[:, :20] = False
    sides = {"kidney_left": left, "kidney_right": organs["kidney"] & ~left, "aorta": organs["aorta"]}
    assert measure_enhancement(volume, sides) == measure_enhancement(volume, organs)


def test_aorta_is_read_beside_the_kidneys():
    volume, organs = draw(*LOOKS["nephrographic"])
    organs["kidney"][:8] = False
    organs["kidney"][12:] = False
    aorta = organs["aorta"].copy()
    aorta[8:12] = False
    volume.hu[aorta] = 400
    assert measure_enhancement(volume, organs).aorta_hu == 140


def test_wall_of_the_aorta_is_left_out():
    """Six rows of 1.5 mm and eight columns of 1 mm: the wall of 2 mm is one row and two columns on each side."""
    volume, organs = draw(*LOOKS["nephrographic"])
    organs["aorta"][:] = False
    organs["aorta"][:, 12:18, 50:58] = True
    volume.hu[organs["aorta"]] = 800
    volume.hu[:, 13:17, 52:56] = 150
    assert measure_enhancement(volume, organs).aorta_hu == 150


def test_cortex_is_the_outer_5_mm():
    """HU falls by 10 for each mm of depth."""
    volume, organs = draw(*LOOKS["nephrographic"])
    depth = depth_mm(organs["kidney"], SPACING_MM, limit_mm=25.0)
    volume.hu[organs["kidney"]] = (400 - 10 * depth[organs["kidney"]]).astype(np.int16)
    found = measure_enhancement(volume, organs)
    assert 350 < found.cortex_hu < 390
    assert found.medulla_hu < 320


def test_fat_and_stones_are_no_parenchyma():
    volume, organs = draw(*LOOKS["nephrographic"])
    volume.hu[4:16, 8:36, 10:26] = -80
    volume.hu[4:16, 8:36, 26:28] = 1200
    found = measure_enhancement(volume, organs)
    assert (found.cortex_hu, found.medulla_hu) == LOOKS["nephrographic"][1:]


def test_few_organs_say_little():
    volume, organs = draw(*LOOKS["corticomedullary"])
    nothing = measure_enhancement(volume, {})
    assert (nothing.aorta_hu, nothing.cortex_hu, nothing.liver_hu, nothing.phase) == (
        None,
        None,
        None,
        "unknown",
    )
    assert measure_enhancement(volume, {"kidney": organs["kidney"]}).phase == "unknown"
    assert measure_enhancement(volume, {"aorta": organs["aorta"]}).phase == "unknown"
    empty = {"aorta": np.zeros(SHAPE, dtype=np.bool_)}
    assert measure_enhancement(volume, empty).aorta_hu is None
    few = {"aorta": np.zeros(SHAPE, dtype=np.bool_)}
    few["aorta"][0, 10, 48:60] = True
    assert measure_enhancement(volume, few).aorta_hu is None
    assert measure_enhancement(volume, {"liver": organs["kidney"]}).liver_hu == 205


@pytest.mark.parametrize(
    ("hu", "phase"),
    [
        ((42, 32, 30, 0), "unenhanced"),
        ((None, 32, 30, 0), "unenhanced"),
        ((42, 32, 30, 2000), "unenhanced"),  # stones
        ((300, 40, 38, 0), "unknown"),  # kidneys without blood
        ((60, None, None, 0), "unknown"),
        ((160, 190, 130, 0), "unknown"),  # portal venous at 70 s: cortex still bright
        ((199, 200, 100, 0), "unknown"),
        ((200, 200, 100, 0), "corticomedullary"),
        ((300, 150, 101, 0), "unknown"),
        ((120, 100, 100, 499), "nephrographic"),
        ((120, 100, 100, 500), "excretory"),
        ((181, 170, 170, 0), "unknown"),
        ((120, 130, 99, 0), "unknown"),
        ((80, 80, 80, 0), "unknown"),
    ],
)
def test_thresholds(hu, phase):
    assert phase_of_image(*hu) == phase


def test_text_and_image_disagree():
    seen = measure_enhancement(*draw(*LOOKS["unenhanced"]))
    (finding,) = check_phase("corticomedullary", seen, "P1")
    assert (finding.code, finding.severity, finding.case_id) == ("phase-disagrees", "warning", "P1")
    assert finding.message == (
        "the table or the header says corticomedullary, the image looks unenhanced "
        "(aorta 42 HU, cortex 32 HU, medulla 30 HU, 0.0 ml of bright urine)"
    )
    (note,) = check_phase("unknown", seen, "P1")
    assert (note.code, note.severity) == ("phase-from-image", "note")
    assert check_phase("unenhanced", seen, "P1") == ()
    unclear = measure_enhancement(*draw(160, 190, 130))
    assert check_phase("excretory", unclear, "P1") == ()


def test_mask_of_another_grid_is_refused():
    volume, organs = draw(*LOOKS["unenhanced"])
    with pytest.raises(RoiError, match=r"series 1\.2\.3, organ aorta: expected a mask on the grid of the CT"):
        measure_enhancement(volume, organs | {"aorta": organs["aorta"][1:]})


def test_depth_by_eye():
    """A rod of five voxels 2 mm apart, others 1 mm: half a millimetre from the surface at the sides."""
    mask = np.zeros((7, 3, 3), dtype=np.bool_)
    mask[1:6, :, :] = True
    depth = depth_mm(mask, (2.0, 1.0, 1.0), limit_mm=9.0)
    assert depth[3, 1, 1] == pytest.approx(1.5)
    assert depth[3, 0, 1] == pytest.approx(0.5)
    assert depth[0].max() == 0
    assert depth_mm(mask, (2.0, 1.0, 1.0), limit_mm=1.0).max() == 1.0


def test_depth_is_euclidean_distance():
    from scipy.ndimage import distance_transform_edt

    mask = np.random.default_rng(0).random((12, 16, 14)) > 0.03
    exact = distance_transform_edt(np.pad(mask, 1), sampling=(3.0, 0.8, 0.9))[1:-1, 1:-1, 1:-1]
    expected = np.where(mask, np.clip(exact - 0.4, 0, 8), 0)
    assert np.allclose(depth_mm(mask, (3.0, 0.8, 0.9), limit_mm=8.0), expected, atol=1e-5)


def test_real_native_ct_is_seen_as_unenhanced(test_data):
    """TotalSegmentator's example: masks of the last 30 slices, whatever their header says."""
    from nephroscope.imaging.nifti import read_nifti
    from phantoms import read_label_map

    folder = test_data / "ct_with_kidneys"
    volume = read_nifti(folder / "example_ct.nii.gz")
    organs = {}
    for name in ("aorta", "kidney_left", "kidney_right", "liver"):
        labels, _ = read_label_map(folder / "example_seg_fast" / f"{name}.nii.gz")
        organs[name] = np.zeros(volume.hu.shape, dtype=np.bool_)
        organs[name][-30:] = labels > 0
    found = measure_enhancement(volume, organs)
    assert found.phase == "unenhanced"
    assert 35 < found.aorta_hu < 50
    assert 0 < found.cortex_hu < 40
