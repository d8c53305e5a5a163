"""What is no plain CT is never taken for one, nor a single image for a volume; what was passed over is named."""

from dataclasses import replace

import numpy as np
import pytest

from ct_files import facts
from nephroscope.base.errors import CohortError, SeriesError
from nephroscope.imaging.dicom.hounsfield import DERIVED, derived_kind, is_sharp
from nephroscope.imaging.dicom.series import read_dicom_series
from nephroscope.intake.export.cases import DicomOptions, import_dicom, look_into
from nephroscope.intake.export.roi_files import find_roi_files
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.nifti_folder import import_nifti
from phantoms import box_hu, box_tumor, dicom_slices, write_nifti, write_seg, write_slices

LABEL = LabelRow(row=2, case_id="P1", patient_id="P1", subtype="PRCC")


def with_all(images, **values):
    for image in images:
        for name, value in values.items():
            setattr(image, name, value)
    return images


def eight_bit(images):
    for index, image in enumerate(images):
        image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
        image.PixelData = (box_tumor()[index] * 255).astype(np.uint8).tobytes()
    return images


def imported(export, rois=None):
    options = DicomOptions(
        subtypes=("PRCC", "ChRCC"),
        positive="PRCC",
        labels=[LABEL],
        rois=find_roi_files(rois),
        study=export.parent / "study",
    )
    return import_dicom(export, options)


def with_roi(tmp_path, write=lambda path: write_nifti(box_tumor().astype(np.uint8), path)):
    (tmp_path / "rois").mkdir()
    write(tmp_path / "rois" / "P1.nii.gz")
    return tmp_path / "rois"


def typed(*words, **more):
    return with_all(dicom_slices(uid="1.2.3.1"), ImageType=["DERIVED", "PRIMARY", "AXIAL", *words], **more)


NO_PLAIN_CT = {
    "monoenergetic": typed("VMI"),
    "material-map": typed("MAT_SPECIFIC"),
    "effective-z": typed("EFF_ATOMIC_NUM", RescaleType="Z_EFF"),
    "electron-density": typed("ELECTRON_DENSITY", RescaleType="EDW"),
    "subtraction": typed("SUBTRACTION"),
    "projection": typed("MAX_IP"),
    "calculated": typed("STD_DEVIATION"),
    "not-hu": typed(RescaleType="MGML"),
    "eight-bit": eight_bit(dicom_slices(uid="1.2.3.1")),
}


@pytest.mark.parametrize("kind", sorted(DERIVED))
def test_what_is_no_plain_ct_is_a_kind_of_its_own_and_the_ct_is_taken(tmp_path, kind):
    """The other series has the lower UID and more of nothing; it used to win."""
    write_slices(NO_PLAIN_CT[kind], tmp_path / "export" / "a")
    write_slices(dicom_slices(uid="1.2.3.9"), tmp_path / "export" / "b")
    found = imported(tmp_path / "export", with_roi(tmp_path))
    assert {row.series_uid: (row.kind, row.accepted, row.chosen) for row in found.series} == {
        "1.2.3.1": (kind, False, False),
        "1.2.3.9": ("ct", True, True),
    }
    (case,) = found.cases
    assert [one.series_uid for one in case.series] == ["1.2.3.9"]
    assert [f.code for f in found.findings if f.severity == "warning"] == ["series-unusable"]


def test_a_patient_with_nothing_else_is_left_out_with_the_reason(tmp_path):
    write_slices(NO_PLAIN_CT["monoenergetic"], tmp_path / "export")
    found = imported(tmp_path / "export", with_roi(tmp_path))
    assert not found.cases
    (left_out,) = found.exclusions
    assert left_out.reason.startswith("no usable CT series: not a CT volume: a virtual monoenergetic image")


def test_an_roi_drawn_on_a_derived_series_says_so(tmp_path):
    images = NO_PLAIN_CT["monoenergetic"]
    write_slices(images, tmp_path / "export" / "ct")
    write_seg(images, {"Tumor": box_tumor()}, tmp_path / "export" / "tumor.dcm")
    found = imported(tmp_path / "export")
    (roi,) = (row for row in found.series if row.kind == "segmentation")
    assert roi.reason.startswith("its CT is not usable: not a CT volume")
    assert "roi-orphan" not in [finding.code for finding in found.findings]


@pytest.mark.parametrize("kind", sorted(DERIVED))
def test_who_reads_it_is_warned(tmp_path, kind):
    volume = read_dicom_series(write_slices(NO_PLAIN_CT[kind], tmp_path))
    codes = {finding.code for finding in volume.findings if finding.severity == "warning"}
    assert codes & {"derived-series", "rescale-type"}


def test_a_series_of_two_kinds_is_refused_by_both(tmp_path):
    images = dicom_slices()
    images[-1].ImageType = ["DERIVED", "PRIMARY", "AXIAL", "VMI"]
    (row,) = look_into(write_slices(images, tmp_path))[1]
    assert "expected slices of one kind in a series" in row.reason
    with pytest.raises(SeriesError, match="slices of one kind"):
        read_dicom_series(tmp_path)


@pytest.mark.parametrize(
    ("description", "kind"),
    [
        ("arterial MonoE 40 keV", "monoenergetic"),
        ("Mono+ 55keV art", "monoenergetic"),
        ("art_VMI", "monoenergetic"),
        ("AX MIP 10mm arterial", "projection"),
        ("Thin MinIP", "projection"),
        ("art Z eff", "effective-z"),
        ("electron density", "electron-density"),
        ("Iodine map", "material-map"),
        ("VNC ven", "material-map"),
        ("virtual non-contrast", "material-map"),
        ("subtraction art-nat", "subtraction"),
        ("Abdomen arteriell 3.0 B30f", ""),
        ("ven 120 kV 5 mm", ""),
        ("Tc addome fase arteriosa", ""),
        ("vue axiale", ""),
        ("shipment", ""),
    ],
)
def test_a_description_alone_says_it_too(description, kind):
    assert derived_kind(facts(0, image_type=("ORIGINAL", "PRIMARY", "AXIAL")), description) == kind


def test_units_that_are_hu():
    for unit, kind in (
        ("", ""),
        ("HU", ""),
        ("hu", ""),
        ("US", ""),
        ("HU_MOD", "not-hu"),
        ("Z_EFF", "not-hu"),
    ):
        assert derived_kind(facts(0, rescale_type=unit)) == kind
    assert derived_kind(replace(facts(0), image_type=("VMI", "PRIMARY"))) == ""


@pytest.mark.parametrize(
    ("kernel", "sharp"),
    [
        *(
            ("B70f", True),
            ("B30f", False),
            ("Br40d\\3", False),
            ("Bl57d", True),
            ("I70f\\3", True),
            ("I26f", False),
        ),
        *(("FC52", True), ("FC08", False), ("FC18-H", False), ("LUNG", True), ("BONEPLUS", True)),
        *(("STANDARD", False), ("YC", True), ("B", False), ("SOFT", False), ("Qr36d", False), ("", False)),
    ],
)
def test_sharp_kernels(kernel, sharp):
    assert is_sharp(kernel) == sharp


def test_a_sharp_kernel_comes_after_a_soft_one_and_alone_it_is_a_warning(tmp_path):
    sharp = with_all(dicom_slices(uid="1.2.3.1"), ConvolutionKernel="B70f")
    write_slices(sharp, tmp_path / "export" / "a")
    write_slices(with_all(dicom_slices(uid="1.2.3.9"), ConvolutionKernel="B30f"), tmp_path / "export" / "b")
    found = imported(tmp_path / "export", with_roi(tmp_path))
    assert [one.series_uid for one in found.cases[0].series] == ["1.2.3.9", "1.2.3.1"]
    assert [f.code for f in read_dicom_series(tmp_path / "export" / "a").findings] == ["sharp-kernel"]
    assert not read_dicom_series(tmp_path / "export" / "b").findings


@pytest.mark.parametrize(
    ("numbers", "taken", "severity"), [((7, 3), "1.2.3.9", "note"), ((2, 2), "1.2.3.1", "warning")]
)
def test_a_choice_that_nothing_but_a_number_or_a_name_decides_is_said(tmp_path, numbers, taken, severity):
    for uid, number, folder in zip(("1.2.3.1", "1.2.3.9"), numbers, "ab", strict=True):
        write_slices(with_all(dicom_slices(uid=uid), SeriesNumber=number), tmp_path / "export" / folder)
    found = imported(tmp_path / "export", with_roi(tmp_path))
    assert found.cases[0].series[0].series_uid == taken
    (finding,) = (f for f in found.findings if f.code == "series-tie")
    assert (finding.severity, finding.case_id) == (severity, "P1")


# ---- one CT under many UIDs


def spread(uids, **values):
    images = dicom_slices()
    for image, uid in zip(images, uids, strict=True):
        image.SeriesInstanceUID = uid
    return with_all(images, **values)


@pytest.mark.parametrize("values", [{}, {"SeriesNumber": None}], ids=["same number", "no number"])
def test_slices_that_each_are_a_series_are_refused_with_the_cause(tmp_path, values):
    images = spread([f"1.2.3.{number}" for number in (4, 1, 6, 2, 5, 3)], **values)
    write_slices(images, tmp_path / "export")
    found = imported(tmp_path / "export", with_roi(tmp_path))
    assert not found.cases
    assert {row.accepted for row in found.series} == {False}
    assert "6 series of one image each, at even distances" in found.exclusions[0].reason
    assert "one UID per series" in found.exclusions[0].reason


def test_a_ct_in_two_parts_of_one_number_is_refused_and_of_two_numbers_is_not(tmp_path):
    images = spread(["1.2.3.1"] * 3 + ["1.2.3.2"] * 3)
    rows = look_into(write_slices(images, tmp_path / "one"))[1]
    assert {row.accepted for row in rows} == {False}
    assert all("2 series of 6 images together" in row.reason for row in rows)
    for image in images[3:]:
        image.SeriesNumber = 3
    assert {row.accepted for row in look_into(write_slices(images, tmp_path / "two"))[1]} == {True}


def test_single_images_are_no_volumes(tmp_path):
    one = dicom_slices(uid="1.2.3.1")[2:3]
    (row,) = look_into(write_slices(one, tmp_path / "one"))[1]
    assert (row.accepted, row.reason) == (False, "a single image, which is no volume")
    some = spread([f"1.2.3.{number}" for number in range(6)])
    del some[3]
    rows = look_into(write_slices(some, tmp_path / "some"))[1]
    assert {row.reason.partition(" with")[0] for row in rows} == {"one of 5 series of one image each"}


def test_two_phases_at_the_same_places_are_two_cts(tmp_path):
    for uid in ("1.2.3.1", "1.2.3.2"):
        write_slices(dicom_slices(uid=uid), tmp_path / uid)
    assert [row.accepted for row in look_into(tmp_path)[1]] == [True, True]


# ---- files that are passed over


def test_masks_of_other_kinds_are_counted_and_named(tmp_path):
    write_slices(dicom_slices(), tmp_path / "export")
    (tmp_path / "export" / "notes.txt").write_text("text")
    rois = with_roi(tmp_path)
    (rois / "P2.mha").write_text("ObjectType = Image")
    (finding,) = (f for f in imported(tmp_path / "export", rois).findings if f.code == "files-not-read")
    assert finding.severity == "warning"
    assert finding.message.startswith("2 files of kinds that are not read: P2.mha;")


def test_other_files_are_a_note(tmp_path):
    write_slices(dicom_slices(), tmp_path / "export")
    for number in range(9):
        (tmp_path / "export" / f"{number}.txt").write_text("text")
    (finding,) = (f for f in imported(tmp_path / "export", with_roi(tmp_path)).findings if "files" in f.code)
    assert (finding.code, finding.severity, finding.message[:7]) == ("files-not-read", "note", "9 files")


def test_a_folder_with_masks_of_other_kinds_only_says_of_which(tmp_path):
    (tmp_path / "P1.mha").touch()
    with pytest.raises(CohortError, match=r"found 1 \.mha"):
        find_roi_files(tmp_path)
    with pytest.raises(
        CohortError, match=r"none among 1 files, of which 1 \.mha are of kinds that are not read"
    ):
        import_nifti(tmp_path, [], ("PRCC", "ChRCC"), "PRCC", 1)


def test_nifti_beside_a_mask_as_a_pair_of_files(tmp_path):
    write_nifti(box_hu(), tmp_path / "P1.nii.gz")
    for ending in ("hdr", "img"):
        (tmp_path / f"P1_seg.{ending}").touch()
    found = import_nifti(tmp_path, [LABEL], ("PRCC", "ChRCC"), "PRCC", 1)
    (finding,) = found.findings
    assert finding.message.startswith("2 files of kinds that are not read: P1_seg.hdr, P1_seg.img;")
