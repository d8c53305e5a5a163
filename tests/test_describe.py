"""What a dry run says of a series against what the reader does with it: the same, whatever is wrong."""

import os
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import RLELossless, generate_uid

from nephroscope.base.errors import SeriesError
from nephroscope.cli.export_listing import n_patients
from nephroscope.imaging.dicom.series import read_dicom_series
from nephroscope.intake.export.cases import DicomOptions, import_dicom, look_into
from phantoms import box_tumor, dicom_slices, set_stored, write_seg, write_slices

SIDEWAYS = [1, 0, 0, 0, 0, -1]


def rows_of(folder):
    return look_into(folder)[1]


def only_row(images, folder):
    (row,) = rows_of(write_slices(images, folder))
    return row


def without(name):
    def change(images, rng):
        images[rng.integers(len(images))].pop(name, None)

    return change


def with_value(name, value):
    def change(images, rng):
        setattr(images[rng.integers(len(images))], name, value)

    return change


def in_all(name, value):
    def change(images, rng):
        for image in images:
            setattr(image, name, value)

    return change


def drop(images, rng):
    images.pop(rng.integers(len(images)))


def again(images, rng):
    images.append(images[rng.integers(len(images))])


def again_compressed(images, rng):
    images.append(deepcopy(images[rng.integers(len(images))]))
    images[-1].compress(RLELossless, generate_instance_uid=False)


def again_with_other_pixels(images, rng):
    images.append(deepcopy(images[rng.integers(len(images))]))
    images[-1].PixelData = images[-1].PixelData[:-2] + b"\x07\x00"


def shorter_pixels(images, rng):
    image = images[rng.integers(len(images))]
    image.PixelData = image.PixelData[: len(image.PixelData) // 2]


def moved(images, rng):
    image = images[rng.integers(len(images))]
    x, y, z = image.ImagePositionPatient
    image.ImagePositionPatient = [x, y, round(float(z) + rng.choice([0.004, 0.05, 0.3, 40]), 3)]


def compressed(images, rng):
    for image in images:
        if not image.file_meta.TransferSyntaxUID.is_compressed:
            image.compress(RLELossless, generate_instance_uid=False)


def two_acquisitions(images, rng):
    more = deepcopy(images)
    for image in images:
        image.AcquisitionNumber = 1
    for image in more:
        image.AcquisitionNumber, image.SOPInstanceUID = 2, generate_uid()
    images += more


CHANGES = {  # in the order in which they are made
    "one UID, two images": again_with_other_pixels,
    "twice, once compressed": again_compressed,
    "compressed": compressed,
    "a slice lost": drop,
    "a file twice": again,
    "pixels short": shorter_pixels,
    "moved": moved,
    "two acquisitions": two_acquisitions,
    "no pixels": without("PixelData"),
    "no position": without("ImagePositionPatient"),
    "no orientation": without("ImageOrientationPatient"),
    "no spacing": without("PixelSpacing"),
    "no slope": without("RescaleSlope"),
    "no bits": without("BitsStored"),
    "no number": without("InstanceNumber"),
    "other rows": with_value("Rows", 39),
    "no columns": with_value("Columns", 0),
    "sideways": with_value("ImageOrientationPatient", SIDEWAYS),
    "inverted": with_value("PhotometricInterpretation", "MONOCHROME1"),
    "other slope": with_value("RescaleSlope", 2),
    "slope of zero": with_value("RescaleSlope", 0),
    "one UID": in_all("SOPInstanceUID", "1.2.3"),
    "no series": in_all("SeriesInstanceUID", ""),
    "one number": in_all("InstanceNumber", 1),
    "upside down": in_all("ImageOrientationPatient", [1, 0, 0, 0, -1, 0]),
    "too many said": in_all("ImagesInAcquisition", 11),
}


@pytest.mark.parametrize("seed", range(60))
def test_a_dry_run_accepts_what_can_be_read_and_nothing_else(tmp_path, seed):
    rng = np.random.default_rng(seed)
    images = dicom_slices()
    for index in sorted(rng.choice(len(CHANGES), rng.integers(1, 4), replace=False)):
        list(CHANGES.values())[index](images, rng)
    for row in rows_of(write_slices(images, tmp_path)):
        assert row.kind == "ct"
        if row.accepted:
            volume = read_dicom_series([tmp_path / file for file in row.files])
            assert volume.hu.shape[0] == row.n_slices
        else:
            with pytest.raises(SeriesError):
                read_dicom_series([tmp_path / file for file in row.files])


def test_pixels_that_are_not_all_there_are_told_before_they_are_read(tmp_path):
    images = dicom_slices()
    images[2].PixelData = images[2].PixelData[:100]
    row = only_row(images, tmp_path)
    assert not row.accepted
    assert "pixel data in IM 3, found Explicit VR Little Endian that is cut short" in row.reason
    assert "(100 bytes for 1 of 40 x 48 pixels)" in row.reason
    with pytest.raises(SeriesError) as read:
        read_dicom_series(tmp_path)
    assert str(read.value).endswith(row.reason)


def test_compressed_pixels_that_break_off_are_told_before_they_are_decoded(tmp_path):
    images = dicom_slices()
    for image in images:
        image.compress(RLELossless, generate_instance_uid=False)
    folder = write_slices(images, tmp_path)
    broken = folder / "IM001"
    broken.write_bytes(broken.read_bytes()[:-40])
    (row,) = rows_of(folder)
    assert "decodable pixel data in IM 2" in row.reason
    assert "bytes of its last fragment" in row.reason
    with pytest.raises(SeriesError, match="of its last fragment"):
        read_dicom_series(folder)


def test_float_pixels_are_no_stored_values(tmp_path):
    images = dicom_slices()
    for image in images:
        image.FloatPixelData = np.zeros((40, 48), np.float32).tobytes()
        image.BitsAllocated = 32
        del image.PixelData
    assert "no integer pixel data" in only_row(images, tmp_path).reason


def test_copies_are_compared_in_a_dry_run(tmp_path):
    images = dicom_slices()
    again_with_other_pixels(images, np.random.default_rng(0))
    row = only_row(images, tmp_path)
    assert (row.accepted, row.n_files, row.n_slices) == (False, 7, 6)
    assert "expected each SOP Instance UID on one image only, found two different images" in row.reason


def test_true_copies_are_counted_and_do_no_harm(tmp_path):
    images = dicom_slices()
    row = only_row([*images, images[1], images[1]], tmp_path)
    assert (row.accepted, row.n_files, row.n_slices) == (True, 8, 6)


@pytest.mark.parametrize("turns", [[SIDEWAYS], [SIDEWAYS, [0, 1, 0, 0, 0, -1]], [SIDEWAYS, SIDEWAYS]])
def test_a_few_images_that_are_not_axial_are_scouts_though_they_do_not_say_so(tmp_path, turns):
    images = dicom_slices()[: len(turns)]
    for image, turn in zip(images, turns, strict=True):
        image.ImageOrientationPatient, image.ImagePositionPatient = turn, [0, 0, 0]
    row = only_row(images, tmp_path)
    assert (row.kind, row.accepted) == ("localizer", False)
    assert row.reason == "not a CT volume: one to three images that are not axial, as scouts are"


def test_a_stack_that_is_not_axial_is_a_reformation(tmp_path):
    images = dicom_slices()
    for index, image in enumerate(images):
        image.ImageOrientationPatient, image.ImagePositionPatient = SIDEWAYS, [0, 2 * index, 0]
    assert only_row(images, tmp_path).kind == "reformat"


def test_the_spacing_told_is_that_of_the_whole_stack(tmp_path):
    """Places rounded to 0.1 mm of slices 0.625 mm apart, whose median step is 0.6."""
    images = dicom_slices()[:5]
    for index, image in enumerate(images):
        image.ImagePositionPatient = [0, 0, round(0.625 * index - 0.01, 1)]
    assert only_row(images, tmp_path).spacing_mm == 0.625


def test_one_series_uid_of_two_patients_is_no_series(tmp_path):
    one, other = dicom_slices("P1", "1.2.3"), dicom_slices("P2", "1.2.3")
    write_seg(one, {"Tumor": box_tumor()}, write_slices([*one, *other], tmp_path) / "seg.dcm")
    rows = [row for row in rows_of(tmp_path) if row.kind == "ct"]
    assert [(row.patient_id, row.n_files, len(row.rois), row.accepted) for row in rows] == [
        ("P1", 6, 1, False),
        ("P2", 6, 0, False),
    ]
    why = "expected one PatientID in a series, found several under one Series Instance UID"
    assert all(why in row.reason for row in rows)
    options = DicomOptions(subtypes=("PRCC", "ChRCC"), positive="PRCC", study=tmp_path / "study")
    left_out = import_dicom(tmp_path, options).exclusions
    assert [one.case_id for one in left_out] == ["P1", "P2"]
    assert all(why in one.reason for one in left_out)


def test_emptied_uids_of_two_patients_or_series_in_one_folder_are_told_apart(tmp_path):
    images = [*dicom_slices("P1"), *dicom_slices("P2"), *dicom_slices("P2")]
    for image in images[12:]:
        image.SeriesNumber = 3
    for image in images:
        image.SeriesInstanceUID = ""
    rows = rows_of(write_slices(images, tmp_path))
    assert [(row.patient_id, row.n_files, row.accepted) for row in rows] == [
        ("P1", 6, True),
        ("P2", 6, True),
        ("P2", 6, True),
    ]


def test_a_phase_that_lacks_a_slice_does_not_spoil_the_other(tmp_path):
    images = dicom_slices()
    two_acquisitions(images, None)
    images.pop(8)
    one, two = rows_of(write_slices(images, tmp_path))
    assert (one.accepted, two.accepted) == (True, False)
    assert "one is missing" in two.reason


def test_an_index_of_the_medium_is_no_series(tmp_path):
    index = dicom_slices()[0]
    index.SOPClassUID = index.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    assert [row.kind for row in rows_of(write_slices([*dicom_slices(), index], tmp_path))] == ["ct"]


def test_slices_at_their_own_place_that_share_a_uid_are_doubted(tmp_path):
    images = dicom_slices()
    images[3].SOPInstanceUID = images[2].SOPInstanceUID
    set_stored(images[3], np.full((40, 48), 1024))
    assert only_row(images, tmp_path).accepted
    codes = [one.code for one in read_dicom_series(tmp_path).findings]
    assert "sop-uid-shared" in codes


def test_a_dicom_file_of_nothing_known_is_damaged(tmp_path):
    write_slices(dicom_slices(), tmp_path)
    (tmp_path / "trash").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50)
    scan, rows = look_into(tmp_path)
    assert [path.name for path in scan.damaged] == ["trash"]
    assert [(row.kind, row.accepted) for row in rows] == [("ct", True)]


def test_a_projection_by_the_word_of_its_maker(tmp_path):
    images = dicom_slices()
    for image in images:
        image.ImageType = ["DERIVED", "PRIMARY", "AXIAL", "CT_SOM5 MIP"]
    assert only_row(images, tmp_path).kind == "projection"


def test_the_axial_image_type_of_the_same_maker_is_a_ct(tmp_path):
    images = dicom_slices()
    for image in images:
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]
    assert only_row(images, tmp_path).accepted


def test_patients_without_a_patient_id_are_counted_by_study(tmp_path):
    for number, patient in enumerate(("P1", "P1", "", "")):
        write_slices(dicom_slices(patient), tmp_path / str(number))
    rows = rows_of(tmp_path)
    assert n_patients(rows) == 3
    assert n_patients([row for row in rows if row.patient_id]) == 1
    assert n_patients([]) == 0


def test_a_roi_on_a_ct_that_cannot_be_used_is_not_called_missing(tmp_path):
    one, two = dicom_slices(), dicom_slices()
    write_seg(one, {"Tumor": box_tumor()}, tmp_path / "seg.dcm")
    write_slices(one[:2] + one[3:], tmp_path / "a")
    write_slices(two, tmp_path / "b")
    reasons = {row.series_uid: row.reason for row in rows_of(tmp_path)}
    assert reasons[two[0].SeriesInstanceUID] == (
        "usable, but the ROI of this patient is drawn on a CT that is not"
    )
    options = DicomOptions(subtypes=("PRCC", "ChRCC"), positive="PRCC", study=tmp_path / "study")
    (left_out,) = import_dicom(tmp_path, options).exclusions
    assert left_out.reason.startswith(
        "the CT its ROI was drawn on cannot be used: expected slices 2.5 mm apart"
    )


def test_what_may_not_be_opened_is_counted_and_stops_nothing(tmp_path, monkeypatch):
    """Root may open everything: so the refusals of the operating system are played."""
    write_slices(dicom_slices(), tmp_path / "a")
    for name in ("shut", "veiled"):
        (tmp_path / name).write_bytes(b"x" * 200)
    (tmp_path / "locked").mkdir()

    def playing(real, *names):
        def refuse(first, *more, **options):
            if Path(str(first)).name in names:
                raise PermissionError(13, "Permission denied", str(first))
            return real(first, *more, **options)

        return refuse

    monkeypatch.setattr(Path, "open", playing(Path.open, "shut", "locked"))
    monkeypatch.setattr(Path, "is_file", playing(Path.is_file, "veiled"))
    monkeypatch.setattr(os, "scandir", playing(os.scandir, "locked"))
    scan, rows = look_into(tmp_path)
    assert [row.accepted for row in rows] == [True]
    assert sorted(path.name for path in scan.damaged) == ["locked", "shut"]
    assert (scan.n_files, scan.n_not_dicom) == (9, 1)
