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


# ---- what a header says twice, or not at all


def saved(path, qform=None, sform=None, hu=None):
    """A CT with these forms, RAS; the codes are 1 and 2."""
    image = nibabel.Nifti1Image((box_hu() if hu is None else hu).transpose(2, 1, 0), None)
    image.set_qform(qform, 1 if qform is not None else 0)
    image.set_sform(sform, 2 if sform is not None else 0)
    given = qform if qform is not None else sform
    image.header.set_zooms(np.linalg.norm(given[:3, :3], axis=0))
    nibabel.save(image, path)
    return path


def ras(spacing=(0.7, 0.9, 2.5), origin=(20.0, 30.5, 100.0)):
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = origin
    return affine


def mirrored():
    affine = ras() @ np.diag([-1.0, 1, 1, 1])
    affine[:3, 3] = (ras() @ [47, 0, 0, 1])[:3]
    return affine


@pytest.mark.parametrize(
    ("other", "apart"),
    [(mirrored(), "48"), (ras((0.7, 0.9, 1.25)), "2.75"), (ras(origin=(20.0, 30.5, 107.5)), "3")],
    ids=["left and right", "spacing", "origin"],
)
def test_two_places_for_one_voxel_are_refused_and_both_are_named(tmp_path, other, apart):
    with pytest.raises(SeriesError) as refused:
        read_nifti(saved(tmp_path / "ct.nii", other, ras()))
    assert refused.value.expected == "one place for each voxel"
    assert f"{apart} voxels apart: sform says 0.7 x 0.9 x 2.5 mm" in refused.value.found
    assert " and qform says " in refused.value.found


def test_a_spacing_in_pixdim_that_is_not_that_of_sform_is_refused(tmp_path):
    path = saved(tmp_path / "ct.nii", sform=ras())
    content = bytearray(path.read_bytes())
    content[88:92] = np.float32(5.0).tobytes()
    path.write_bytes(content)
    with pytest.raises(SeriesError, match=r"sform says 0.7 x 0.9 x 2.5 mm .* pixdim says 0.7 x 0.9 x 5 mm"):
        read_nifti(path)


@pytest.mark.parametrize(("shift_mm", "codes"), [(0.0, []), (0.1, []), (1.0, ["geometry-disagrees"])])
def test_less_than_a_voxel_apart_is_a_finding_and_rounding_is_none(tmp_path, shift_mm, codes):
    volume = read_nifti(saved(tmp_path / "ct.nii", ras(origin=(20.0, 30.5, 100.0 + shift_mm)), ras()))
    assert [finding.code for finding in volume.findings] == codes
    assert np.allclose(volume.geometry.affine, box_affine())


def spoil(path, at, value):
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path.write_bytes(content)
    return path


def test_voxels_begin_behind_the_header_whatever_vox_offset_says(tmp_path):
    path = spoil(write_nifti(box_hu(), tmp_path / "ct.nii"), 108, np.float32(0).tobytes())
    assert np.array_equal(read_nifti(path).hu, box_hu())
    for offset in (356, 1024, 352.5, np.nan):
        with pytest.raises(SeriesError, match="a whole NIfTI file"):
            read_nifti(spoil(path, 108, np.float32(offset).tobytes()))


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
@pytest.mark.parametrize(("at", "n"), [(42, 47), (42, 49), (44, 39), (46, 5), (46, 7)])
def test_another_number_of_voxels_than_there_are_is_refused(tmp_path, name, at, n):
    """One column fewer would shear the volume; one slice fewer would lose it."""
    content = bytearray(write_nifti(box_hu(), tmp_path / "whole.nii").read_bytes())
    content[at] = n
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(SeriesError, match=r"(less|more) than the \d+ bytes that its header announces"):
        read_nifti(tmp_path / name)


@pytest.mark.parametrize("mm", [0.0, np.nan])
def test_a_spacing_of_0_is_refused(tmp_path, mm):
    for path in (saved(tmp_path / "q.nii", qform=ras()), saved(tmp_path / "s.nii", sform=ras())):
        with pytest.raises(SeriesError, match="expected three spacings above 0 in pixdim"):
            read_nifti(spoil(path, 84, np.float32(mm).tobytes()))


def test_a_datatype_of_another_size_than_bitpix_is_refused(tmp_path):
    with pytest.raises(
        SeriesError, match="16 bits per voxel, as datatype int16 says, found 32, as bitpix says"
    ):
        read_nifti(spoil(write_nifti(box_hu(), tmp_path / "ct.nii"), 72, np.int16(32).tobytes()))


def test_a_negative_scale_is_refused(tmp_path):
    path = spoil(write_nifti(box_hu(), tmp_path / "ct.nii"), 112, np.float32([-1, 0]).tobytes())
    with pytest.raises(SeriesError, match="expected a positive scl_slope, found -1"):
        read_nifti(path)


def test_the_header_of_a_pair_says_what_to_do(tmp_path):
    image = nibabel.Nifti1Pair(box_hu(), np.eye(4))
    nibabel.save(image, tmp_path / "ct.hdr")
    with pytest.raises(SeriesError, match=r"a pair \.hdr and \.img, save it as \.nii\.gz"):
        read_nifti(tmp_path / "ct.hdr")


def body(width, depth, shape=(3, 96, 96)):
    """An ellipse of soft tissue in air, in pixels."""
    rows, cols = np.ogrid[: shape[1], : shape[2]]
    inside = ((rows - 48) / depth * 2) ** 2 + ((cols - 48) / width * 2) ** 2 < 1
    return np.broadcast_to(np.where(inside, 40, -1000).astype(np.int16), shape)


@pytest.mark.parametrize(
    ("affine", "codes"),
    [
        (np.eye(4), ["geometry-default", "body-implausible"]),
        (np.diag([-1.0, -1.0, 1.0, 1.0]), ["geometry-default", "body-implausible"]),
        (ras((1.0, 1.0, 1.0)), ["body-implausible"]),
        (ras((9.0, 9.0, 5.0)), ["body-implausible"]),
        (ras((3.0, 3.0, 5.0)), []),
    ],
)
def test_a_header_without_geometry_and_a_body_no_adult_has_are_warnings(tmp_path, affine, codes):
    volume = read_nifti(saved(tmp_path / "ct.nii", sform=affine, hu=body(90, 70)))
    assert [(finding.code, finding.severity) for finding in volume.findings] == [
        (c, "warning") for c in codes
    ]


def test_a_crop_is_not_judged_by_its_size(tmp_path):
    cropped = body(90, 70)[:, :, 10:]
    volume = read_nifti(saved(tmp_path / "ct.nii", sform=ras((1.0, 3.0, 5.0)), hu=cropped))
    assert not volume.findings


def test_air_that_is_not_at_minus_1000_hu_is_a_finding(tmp_path):
    hu = (body(90, 70) * 0.75).astype(np.int16)
    (finding,) = read_nifti(saved(tmp_path / "ct.nii", sform=ras((3.0, 3.0, 5.0)), hu=hu)).findings
    assert (finding.code, finding.severity) == ("hu-implausible", "warning")


def test_no_more_is_read_than_the_header_announces(tmp_path):
    """A sparse tail of 20 GB, behind plain and behind packed voxels."""
    plain = write_nifti(box_hu(), tmp_path / "ct.nii")
    packed = write_nifti(box_hu(), tmp_path / "ct.nii.gz")
    for path in (plain, packed):
        with path.open("r+b") as file:
            file.truncate(20 * 2**30)
        with pytest.raises(SeriesError, match="more than the"):
            read_nifti(path)


def test_a_volume_no_ct_has_is_refused_before_it_is_unpacked(tmp_path):
    path = spoil(write_nifti(box_hu(), tmp_path / "ct.nii"), 40, np.int16([3, 1024, 1024, 1024]).tobytes())
    packed = tmp_path / "ct.nii.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for one in (path, packed):
        with pytest.raises(SeriesError, match=r"of at most 536870912 voxels, found 1024 x 1024 x 1024"):
            read_nifti(one)
