"""DICOM in: order and direction do not matter, every refusal says why."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from nephroscope.base.errors import SeriesError
from nephroscope.intake.export.cases import read_dicom_series
from phantoms import box_affine, box_hu, box_tumor, dicom_slices, set_stored, write_seg, write_slices


def test_series_becomes_hu_on_its_grid(tmp_path):
    images = dicom_slices()
    volume = read_dicom_series(write_slices(images, tmp_path))
    assert np.array_equal(volume.hu, box_hu())
    assert np.array_equal(volume.geometry.affine, box_affine())
    assert volume.series_uid == images[0].SeriesInstanceUID


def test_file_order_does_not_matter(tmp_path):
    images = dicom_slices()
    volume = read_dicom_series(write_slices([images[i] for i in (3, 0, 5, 2, 4, 1)], tmp_path))
    assert np.array_equal(volume.hu, box_hu())


def flip_rows(image, hu):
    image.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
    x, y, z = image.ImagePositionPatient
    image.ImagePositionPatient = [x, y + 39 * 0.9, z]
    return hu[::-1]


def flip_columns(image, hu):
    image.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
    x, y, z = image.ImagePositionPatient
    image.ImagePositionPatient = [x + 47 * 0.7, y, z]
    return hu[:, ::-1]


def transpose(image, hu):
    image.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
    image.PixelSpacing = [0.7, 0.9]
    image.Rows, image.Columns = 48, 40
    return hu.T


@pytest.mark.parametrize("turn", [flip_rows, flip_columns, transpose])
def test_storage_direction_does_not_matter(tmp_path, turn):
    images = dicom_slices()
    for image, hu in zip(images, box_hu(), strict=True):
        set_stored(image, turn(image, hu).astype(int) + 1024)
    volume = read_dicom_series(write_slices(images, tmp_path))
    assert np.array_equal(volume.hu, box_hu())
    assert np.allclose(volume.geometry.affine, box_affine(), atol=1e-3)


def test_coronal_series_comes_back_axial(tmp_path):
    """Slices from back to front, rows from head to feet: only the axes are renamed."""
    uid, hu, images = generate_uid(), box_hu(), []
    for row in range(40):
        image = dicom_slices(uid=uid)[0]
        image.InstanceNumber = row + 1
        image.Rows, image.Columns = 6, 48
        image.PixelSpacing = [2.5, 0.7]
        image.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        image.ImagePositionPatient = [-20.0, -30.5 + row * 0.9, 112.5]
        set_stored(image, hu[::-1, row].astype(int) + 1024)
        images.append(image)
    volume = read_dicom_series(write_slices(images, tmp_path))
    assert np.array_equal(volume.hu, hu)
    assert np.allclose(volume.geometry.affine, box_affine(), atol=1e-6)


def test_each_slice_has_its_own_rescale(tmp_path):
    images = dicom_slices()
    images[2].RescaleSlope, images[2].RescaleIntercept = 0.5, -1000
    set_stored(images[2], (box_hu()[2].astype(int) + 1000) * 2)
    assert np.array_equal(read_dicom_series(write_slices(images, tmp_path)).hu, box_hu())


def test_padding_and_what_is_below_air_become_air(tmp_path):
    images = dicom_slices()
    for image in images:
        stored = box_hu()[image.InstanceNumber - 1].astype(int) + 1024
        stored[0, :] = 63536
        stored[1, 0] = 63530
        image.add_new("PixelPaddingValue", "US", 63536)
        image.add_new("PixelPaddingRangeLimit", "US", 63000)
        set_stored(image, stored)
    hu = read_dicom_series(write_slices(images, tmp_path)).hu
    assert (hu[:, 0] == -1024).all()
    assert (hu[:, 1, 0] == -1024).all()
    assert (hu[:, 1, 1] == -1000).all()


def test_hu_beyond_int16_are_clipped(tmp_path):
    images = dicom_slices()
    stored = box_hu()[0].astype(int) + 1024
    stored[0, 0] = 65535
    set_stored(images[0], stored)
    assert read_dicom_series(write_slices(images, tmp_path)).hu[0, 0, 0] == 32767


def test_a_single_slice_takes_its_thickness(tmp_path):
    volume = read_dicom_series(write_slices(dicom_slices()[:1], tmp_path))
    assert volume.geometry.spacing_mm == (2.5, 0.9, 0.7)
    assert [f.code for f in volume.findings] == ["single-slice"]


def test_other_files_in_the_folder_are_passed_over(tmp_path):
    images = dicom_slices()
    write_slices(images, tmp_path)
    write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg.dcm")
    (tmp_path / "readme.txt").write_text("not DICOM")
    assert read_dicom_series(tmp_path).hu.shape == (6, 40, 48)


def change(index, **values):
    def apply(images):
        for name, value in values.items():
            setattr(images[index], name, value)

    return apply


def drop(index, name):
    return lambda images: delattr(images[index], name)


def tilt(images):
    for index, image in enumerate(images):
        image.ImagePositionPatient = [-20.0, -30.5 + index * 0.5, 100 + index * 2.5]


def constant(images):
    for image in images:
        set_stored(image, np.full((40, 48), 1064))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images: images.clear(), "expected one CT series, found no CT image among 0 files"),
        (
            change(1, SeriesInstanceUID="1.9"),
            r"found 2 CT series \(.*1\.9\); give the folder of a single series",
        ),
        (
            drop(4, "PixelSpacing"),
            "expected PixelSpacing in every slice, found none in 1 of 6, first in IM 5",
        ),
        (drop(0, "RescaleSlope"), "expected RescaleSlope in every slice"),
        (change(3, Rows=20), "the same Rows in all slices, 40 as in IM 1, found 20 in IM 4"),
        (
            change(3, PixelSpacing=[0.9, 0.8]),
            "the same PixelSpacing in all slices, 0.9, 0.7 .*found 0.9, 0.8 in IM 4",
        ),
        (
            change(3, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
            "the same ImageOrientationPatient .*found 1, 0, 0, 0, 0, -1 in IM 4",
        ),
        (
            lambda images: images.pop(3),
            r"slices 2.5 mm apart, found 5 mm between IM 3 \(SOP ..\d+\) and IM 5 \(SOP ..\d+\): one is missing",
        ),
        (
            change(3, ImagePositionPatient=[-20.0, -30.5, 105.0]),
            "each slice at a different position, found IM [34] and IM [34] at the same position",
        ),
        (tilt, r"straight above each other, found slices shifted by up to 0.5 mm each: a gantry tilt"),
        (constant, "a CT with varying values, found the same value in every voxel, 40 HU"),
        (
            change(2, NumberOfFrames=3),
            "one frame in each CT image.*found 3 frames without positions in IM 3",
        ),
        (
            change(2, PixelData=b"\0" * 100),
            "decodable pixel data in IM 3, found Explicit VR Little Endian that is cut short or damaged",
        ),
        (drop(2, "PixelData"), "decodable pixel data in IM 3"),
        (drop(2, "Rows"), "file IM002: expected a whole DICOM file, found one that is cut short"),
    ],
)
def test_refusals(tmp_path, spoil, message):
    images = dicom_slices()
    spoil(images)
    with pytest.raises(SeriesError, match=message) as caught:
        read_dicom_series(write_slices(images, tmp_path / "ct"))
    assert "Secret" not in str(caught.value)


def test_color_is_refused(tmp_path):
    images = dicom_slices()
    images[0].SamplesPerPixel, images[0].PhotometricInterpretation, images[0].PlanarConfiguration = (
        3,
        "RGB",
        0,
    )
    images[0].PixelData = images[0].PixelData * 3
    with pytest.raises(
        SeriesError,
        match=r"gray pixels \(MONOCHROME1 or MONOCHROME2\) in IM 1, found RGB with 3 values per pixel",
    ):
        read_dicom_series(write_slices(images, tmp_path))


@pytest.mark.parametrize("keep", [0, 200, 900, 3000])
def test_a_truncated_file_is_refused_and_never_crashes(tmp_path, keep):
    write_slices(dicom_slices(), tmp_path)
    path = tmp_path / "IM002"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SeriesError, match=r"cut short|decodable|apart|in every slice"):
        read_dicom_series(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(SeriesError, match=r"^folder CT_3: .*found no such folder"):
        read_dicom_series(tmp_path / "CT_3")


def test_a_folder_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(tmp_path), "iterdir", refuse)
    with pytest.raises(
        SeriesError, match=r"found a folder that cannot be read \(Permission denied\)"
    ) as refused:
        read_dicom_series(tmp_path)
    assert str(tmp_path) not in str(refused.value)


def test_a_folder_that_may_be_named_after_a_patient_is_not_named(tmp_path):
    with pytest.raises(SeriesError, match=r"^the folder of the series: .*found no such folder"):
        read_dicom_series(tmp_path / "Secret^Name")


# ---- real files

LOSSLESS = ("1.2", "1.2.1", "1.2.2", "1.2.1.99", "1.2.4.90", "1.2.4.80", "1.2.4.57", "1.2.4.70", "1.2.5")


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_syntaxes_of_one_slice_are_equal(tmp_path, test_data, syntax):
    folder = test_data / "dicom_transfer_syntaxes"
    (path,) = folder.glob(f"CTImage.dcm_*_1.2.840.10008.{syntax}.dcm")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "IM").write_bytes(path.read_bytes())
    plain = pydicom.dcmread(folder / "CTImage.dcm")
    expected = np.maximum(plain.pixel_array.astype(int) - 1024, -1024)
    assert np.array_equal(read_dicom_series(tmp_path / "one").hu[0], expected)


def test_a_syntax_without_decoder_is_named(tmp_path, test_data):
    (path,) = (test_data / "dicom_transfer_syntaxes").glob("*1.2.4.55.dcm")
    (tmp_path / "IM").write_bytes(path.read_bytes())
    with pytest.raises(SeriesError, match=r"Process 10 and 12\), for which no decoder is installed"):
        read_dicom_series(tmp_path)


def test_a_real_series_of_20_files(test_data):
    volume = read_dicom_series(test_data / "ct_with_kidneys" / "example_ct_dicom")
    assert volume.hu.shape == (20, 512, 512)
    assert volume.geometry.spacing_mm == pytest.approx((2.0, 0.976562, 0.976562))
    assert volume.hu.min() == -1024
    assert -200 < np.median(volume.hu[volume.hu > -500]) < 100
