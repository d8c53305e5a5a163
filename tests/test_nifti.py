"""NIfTI in: the same volume as DICOM, any axes, and every refusal."""

import gzip

import nibabel
import numpy as np
import pytest

from nephroscope.base.errors import CohortError, RoiError, SeriesError
from nephroscope.imaging.nifti import read_nifti
from nephroscope.intake.export.cases import read_dicom_series
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.nifti_folder import import_nifti
from one_series import flat
from phantoms import box_affine, box_hu, box_tumor, dicom_slices, read_label_map, write_nifti, write_slices

SUBTYPES = ("PRCC", "ChRCC")


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_same_case_two_doors(tmp_path, name):
    one = read_dicom_series(write_slices(dicom_slices(), tmp_path / "ct"))
    two = read_nifti(write_nifti(box_hu(), tmp_path / name))
    assert np.array_equal(one.hu, two.hu)
    assert np.array_equal(one.geometry.affine, two.geometry.affine)
    assert two.series_uid.startswith("nifti-")
    assert not two.findings


def test_any_orientation_on_disk_gives_the_same_volume(tmp_path):
    image = nibabel.load(write_nifti(box_hu(), tmp_path / "ct.nii"))
    for codes in ("RAS", "LPS", "SRP", "AIL"):
        target = nibabel.orientations.axcodes2ornt(codes)
        turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), target)
        nibabel.save(image.as_reoriented(turn), tmp_path / "turned.nii")
        volume = read_nifti(tmp_path / "turned.nii")
        assert np.array_equal(volume.hu, box_hu()), codes
        assert np.allclose(volume.geometry.affine, box_affine(), atol=1e-3), codes


def test_a_trailing_axis_of_one_scaling_and_fractions_are_understood(tmp_path):
    image = nibabel.load(write_nifti(box_hu() * 2.0 + 0.4, tmp_path / "ct.nii"))
    four = nibabel.Nifti1Image(np.asarray(image.dataobj)[..., None], image.affine)
    four.set_data_dtype(np.int16)
    nibabel.save(four, tmp_path / "four.nii")
    volume = read_nifti(tmp_path / "four.nii")
    assert np.array_equal(volume.hu, np.maximum(box_hu() * 2, -1024))


def test_padding_below_air_becomes_air(tmp_path):
    hu = box_hu()
    hu[:, 0] = -3024
    assert (read_nifti(write_nifti(hu, tmp_path / "ct.nii")).hu[:, 0] == -1024).all()


def test_an_unsaid_orientation_is_a_finding(tmp_path):
    image = nibabel.load(write_nifti(box_hu(), tmp_path / "ct.nii"))
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "lost.nii")
    (finding,) = read_nifti(tmp_path / "lost.nii").findings
    assert (finding.code, finding.severity) == ("orientation-unknown", "warning")


def with_nan(path):
    hu = box_hu().astype(np.float32)
    hu[0, 0, 0] = np.nan
    write_nifti(hu, path)


def truncated(path):
    write_nifti(np.random.default_rng(0).integers(-1000, 1000, (6, 40, 48)).astype(np.int16), path)
    path.write_bytes(path.read_bytes()[:3000])


def four_axes(path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4)), path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (with_nan, "expected only finite numbers, found voxels that are infinite or not a number"),
        (truncated, "file ct.nii.gz: expected a whole NIfTI file .*found a file that is cut short"),
        (four_axes, "a volume with three axes, found 4 x 4 x 4 x 2 voxels"),
        (
            lambda path: write_nifti(box_hu() * 40.0, path),
            "HU from -32768 to 32767, found values from -40000",
        ),
        (lambda path: write_nifti(box_hu() * 0, path), "found the same value in every voxel, 0 HU"),
        (lambda path: path.write_bytes(gzip.compress(b"text" * 500)), "another kind .not a NIfTI header"),
        (lambda path: path.write_bytes(b"text"), "another kind .not a NIfTI header"),
        (lambda path: write_nifti(box_hu() * 1j, path), "voxels of type complex"),
        (lambda path: None, "found no file"),
    ],
)
def test_refusals(tmp_path, write, message):
    path = tmp_path / "ct.nii.gz"
    write(path)
    with pytest.raises(SeriesError, match=message):
        read_nifti(path)


def test_a_label_map_keeps_its_numbers(tmp_path):
    labels, geometry = read_label_map(write_nifti(box_tumor() * np.float64(2), tmp_path / "m.nii.gz"))
    assert np.array_equal(labels, box_tumor() * 2)
    assert np.array_equal(geometry.affine, box_affine())


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_a_label_map_of_fractions_is_refused(tmp_path, value):
    with pytest.raises(RoiError, match=r"label map of whole numbers, found fractions"):
        read_label_map(write_nifti(np.where(box_tumor(), value, 0.0), tmp_path / "m.nii.gz"))


# ---- folders


def label(case_id, subtype="papillary", **more):
    return LabelRow(row=2, case_id=case_id, subtype=subtype, **more)


def test_pairs_are_found_by_name_and_by_folder(tmp_path):
    (tmp_path / "case_3").mkdir()
    for name in (
        *("one.nii.gz", "one_seg.nii.gz", "two.nii", "two-label.nii.gz", "bare.nii.gz", "lost_mask.nii.gz"),
        *("case_3/imaging.nii.gz", "case_3/segmentation.nii.gz", "._one.nii.gz", "notes.txt"),
    ):
        (tmp_path / name).touch()
    labels = [label(name) for name in ("one", "two", "case_3", "bare", "lost", "gone")]
    result = import_nifti(tmp_path, labels, SUBTYPES, "PRCC", 2)
    assert {c.case_id: c.roi.name for c in map(flat, result.cases)} == {
        "one": "one_seg.nii.gz",
        "two": "two-label.nii.gz",
        "case_3": "segmentation.nii.gz",
    }
    assert {(c.subtype, c.tumor_label, c.format) for c in map(flat, result.cases)} == {("PRCC", 2, "nifti")}
    assert {x.case_id: x.reason for x in result.exclusions} == {
        "bare": "no label map beside bare.nii.gz",
        "lost": "no CT volume beside lost_mask.nii.gz",
        "gone": "labelled, but no CT of it was found",
    }


def test_two_label_maps_are_not_chosen_between(tmp_path):
    for name in ("one.nii.gz", "one_seg.nii.gz", "one_mask.nii.gz"):
        (tmp_path / name).touch()
    (left_out,) = import_nifti(tmp_path, [label("one")], SUBTYPES, "PRCC", 1).exclusions
    assert left_out.reason == "1 volumes and 2 label maps of this name"


def test_a_folder_without_nifti_is_refused(tmp_path):
    with pytest.raises(CohortError, match=r"found none among 0 files"):
        import_nifti(tmp_path, [], SUBTYPES, "PRCC", 1)
    with pytest.raises(CohortError, match=r"found no folder"):
        import_nifti(tmp_path / "gone", [], SUBTYPES, "PRCC", 1)


def test_real_kits_folders_have_label_maps_but_no_ct(test_data):
    result = import_nifti(test_data / "kits23" / "dataset", [label("case_00025")], SUBTYPES, "PRCC", 2)
    assert not result.cases
    assert result.exclusions[0].reason == "no CT volume beside segmentation.nii.gz"


def test_a_real_volume(test_data):
    volume = read_nifti(test_data / "ct_with_kidneys" / "example_ct.nii.gz")
    assert volume.hu.shape == (112, 101, 122)
    assert volume.geometry.spacing_mm == pytest.approx((3, 3, 3))
    assert volume.geometry.affine[2, 0] > 0


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)])
def test_lengths_are_in_the_unit_that_is_declared(tmp_path, unit, mm):
    affine = np.diag([0.7 / mm, 0.9 / mm, 2.5 / mm, 1.0])
    image = nibabel.Nifti1Image(box_hu().transpose(), affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    volume = read_nifti(tmp_path / "a.nii")
    np.testing.assert_allclose(volume.geometry.spacing_mm, (2.5, 0.9, 0.7), rtol=1e-4)
    assert ("units-not-mm" in [finding.code for finding in volume.findings]) == (mm != 1)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_a_unit_that_is_not_declared_is_refused_by_the_size_of_voxels(tmp_path, factor):
    affine = np.diag([0.7 * factor, 0.7 * factor, 2.5 * factor, 1.0])
    nibabel.save(nibabel.Nifti1Image(box_hu().transpose(), affine), tmp_path / "a.nii")
    with pytest.raises(SeriesError, match=r"file a\.nii: expected voxels of 0\.01 to 100 mm, found"):
        read_nifti(tmp_path / "a.nii")


def test_a_ct_clipped_to_bytes_is_a_finding(tmp_path):
    gray = np.clip(box_hu(), 0, 255).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(gray.transpose(), np.diag([0.7, 0.7, 2.5, 1.0])), tmp_path / "a.nii")
    (finding,) = (f for f in read_nifti(tmp_path / "a.nii").findings if f.code == "hu-implausible")
    assert "no air" in finding.message


def test_a_sheared_grid_is_a_tilted_gantry(tmp_path):
    affine = np.diag([0.7, 0.7, 2.5, 1.0])
    affine[1, 2] = 1.0
    nibabel.save(nibabel.Nifti1Image(box_hu().transpose(), affine), tmp_path / "a.nii")
    found = r"expected axes at right angles, found a grid sheared by 21\.8 degrees \(tilted gantry\); export"
    with pytest.raises(SeriesError, match=found):
        read_nifti(tmp_path / "a.nii")
    affine[1, 2] = 0.004
    nibabel.save(nibabel.Nifti1Image(box_hu().transpose(), affine), tmp_path / "a.nii")
    assert read_nifti(tmp_path / "a.nii").geometry.shape == box_hu().shape
