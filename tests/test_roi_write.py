"""Writing back: what was written is read as it was, whatever the storage direction, and carries its codes."""

from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest

from nephroscope.base.errors import RoiError
from nephroscope.facade.prediction import in_memory
from nephroscope.imaging.masks.write import write_nifti, write_roi, write_seg
from nephroscope.imaging.nifti import read_nifti
from nephroscope.imaging.read import read_ct, read_roi, roi_names
from nephroscope.intake.export.cases import read_dicom_series
from nephroscope.records import CTVolume, RoiMask, RoiOrigin
from phantoms import box_hu, box_tumor, dicom_slices, write_slices
from phantoms import write_nifti as write_ct_nifti


def odd_tumor():
    """A region with no symmetry: a flip anywhere would show."""
    voxels = box_tumor()
    voxels[1, 10:15] = False
    voxels[4, :, 8:12] = False
    voxels[2, 21, 17] = False
    return voxels


def roi_on(volume):
    return RoiMask(voxels=odd_tumor(), geometry=volume.geometry, case_id="P1")


def upside_down(images):
    for image in images:
        image.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y + 39 * 0.9, z]
        image.PixelData = image.pixel_array[::-1].tobytes()
    return [images[i] for i in (4, 2, 0, 1, 5, 3)]


def columns_first(images):
    """Stored transposed: rows of the file run along y."""
    for image in images:
        pixels = image.pixel_array
        image.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
        image.PixelSpacing = list(reversed(image.PixelSpacing))
        image.Rows, image.Columns = image.Columns, image.Rows
        image.PixelData = np.ascontiguousarray(pixels.T).tobytes()
    return images


@pytest.mark.parametrize("turn", [lambda images: images, upside_down, columns_first])
def test_a_seg_is_read_as_it_was_written(tmp_path, turn):
    folder = write_slices(turn(dicom_slices()), tmp_path / "ct")
    volume = read_dicom_series(folder)
    assert np.array_equal(volume.hu, box_hu())
    write_seg(roi_on(volume), folder, tmp_path / "out" / "roi.dcm")
    read = read_roi(tmp_path / "out" / "roi.dcm", volume, "P1")
    assert np.array_equal(read.voxels, odd_tumor())
    assert read.findings == ()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["roi.dcm"]


def test_a_seg_says_what_it_is(tmp_path):
    folder = write_slices(dicom_slices(), tmp_path / "ct")
    write_seg(roi_on(read_dicom_series(folder)), folder, tmp_path / "a.dcm", RoiOrigin(), "left")
    seg = pydicom.dcmread(tmp_path / "a.dcm")
    (segment,) = seg.SegmentSequence
    region = segment.AnatomicRegionSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "108369006"
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert (region.CodeValue, region.AnatomicRegionModifierSequence[0].CodeValue) == ("64033007", "7771000")
    assert (segment.SegmentAlgorithmType, seg.NumberOfFrames) == ("SEMIAUTOMATIC", 4)
    assert (
        seg.ReferencedSeriesSequence[0].SeriesInstanceUID
        == pydicom.dcmread(folder / "IM000").SeriesInstanceUID
    )
    assert roi_names(tmp_path / "a.dcm") == ["1 Tumor"]
    write_seg(roi_on(read_dicom_series(folder)), sorted(folder.iterdir()), tmp_path / "a.dcm")
    (segment,) = pydicom.dcmread(tmp_path / "a.dcm").SegmentSequence
    assert segment.SegmentAlgorithmType == "MANUAL"
    assert "AnatomicRegionModifierSequence" not in segment.AnatomicRegionSequence[0]


MODEL = "model:Net-2@1.4"


@pytest.mark.parametrize(
    ("origin", "kind"),
    [
        (RoiOrigin(state="drawn"), "MANUAL"),
        (RoiOrigin(), "SEMIAUTOMATIC"),
        (RoiOrigin(author=MODEL, state="proposed"), "AUTOMATIC"),
        (RoiOrigin(author=MODEL, state="accepted", by="reader-2"), "SEMIAUTOMATIC"),
        (RoiOrigin(author=MODEL, state="corrected"), "SEMIAUTOMATIC"),
    ],
)
def test_who_drew_an_roi_is_read_back(tmp_path, origin, kind):
    folder = write_slices(dicom_slices(), tmp_path / "ct")
    ct = read_dicom_series(folder)
    write_seg(roi_on(ct), folder, tmp_path / "a.dcm", origin)
    assert pydicom.dcmread(tmp_path / "a.dcm").SegmentSequence[0].SegmentAlgorithmType == kind
    assert replace(read_roi(tmp_path / "a.dcm", ct).origin, evidence="") == origin
    case = in_memory(ct, "c", "unknown")
    write_roi(roi_on(ct), tmp_path / "b.nii.gz", case, origin)
    beside = tmp_path / "b.json"
    assert beside.exists() == bool(origin.author), "a label map itself says nothing"
    found = read_roi(tmp_path / "b.nii.gz", ct).origin
    assert replace(found, evidence="") == (origin if origin.author else RoiOrigin())
    if origin.author:
        changed = read_roi(tmp_path / "b.nii.gz", ct).voxels.copy()
        changed[:, 0, 0] = True
        write_nifti(RoiMask(voxels=changed, geometry=ct.geometry, case_id="c"), tmp_path / "b.nii.gz")
        assert read_roi(tmp_path / "b.nii.gz", ct).origin.state == "assisted", "somebody changed it since"


def test_highdicom_reads_the_seg_alike(tmp_path):
    import highdicom as hd

    images = dicom_slices()
    folder = write_slices(images, tmp_path / "ct")
    write_seg(roi_on(read_dicom_series(folder)), folder, tmp_path / "a.dcm")
    pixels = hd.seg.segread(tmp_path / "a.dcm").get_pixels_by_source_instance(
        [image.SOPInstanceUID for image in images], assert_missing_frames_are_empty=True
    )
    assert np.array_equal(pixels[..., 0], odd_tumor())


@pytest.mark.parametrize("name", ["roi.nii", "roi.nii.gz"])
def test_a_label_map_is_read_as_it_was_written(tmp_path, name):
    volume = read_nifti(write_ct_nifti(box_hu(), tmp_path / "ct.nii.gz"))
    write_nifti(roi_on(volume), tmp_path / name)
    read = read_roi(tmp_path / name, volume, "P1")
    assert np.array_equal(read.voxels, odd_tumor())
    assert read.findings == ()
    import SimpleITK

    image = SimpleITK.ReadImage(str(tmp_path / name))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), odd_tumor())
    assert image.GetOrigin() == pytest.approx((-20, -30.5, 100))
    content = (tmp_path / name).read_bytes()
    write_nifti(roi_on(volume), tmp_path / name)
    assert (tmp_path / name).read_bytes() == content


def test_a_seg_needs_the_ct_under_the_mask(tmp_path):
    images = dicom_slices()
    folder = write_slices(images, tmp_path / "ct")
    roi = roi_on(read_dicom_series(folder))
    target = tmp_path / "a.dcm"
    with pytest.raises(
        RoiError, match=r"case P1, SEG a.dcm: expected the files of one CT series, found 0 series"
    ):
        write_seg(roi, write_slices([], tmp_path / "empty"), target)
    with pytest.raises(RoiError, match=r"found 2 series in 2 CT files"):
        write_seg(roi, [folder / "IM000", write_slices(dicom_slices(), tmp_path / "b") / "IM001"], target)
    with pytest.raises(
        RoiError, match=r"expected CT slices for all 381 voxels of the mask, found slices for only"
    ):
        write_seg(roi, [folder / "IM000", folder / "IM001"], target)
    images[0].PixelSpacing = [0.9, 0.69]
    with pytest.raises(
        RoiError, match=r"CT images on the grid of the mask, 6 x 40 x 48 .* found an image from \(-20.0"
    ):
        write_seg(roi, write_slices(images, tmp_path / "c"), target)
    del images[0].ImagePositionPatient
    with pytest.raises(RoiError, match=r"CT images with their positions, found one without \(no "):
        write_seg(roi, write_slices(images, tmp_path / "c"), target)
    assert not target.exists()


def test_a_ct_without_a_study_gives_no_half_written_seg(tmp_path):
    images = dicom_slices()
    roi = roi_on(read_dicom_series(write_slices(images, tmp_path / "ct")))
    for image in images:
        del image.StudyInstanceUID
    with pytest.raises(
        RoiError,
        match=r"expected CT images with the data that a SEG copies .*found images without them \(no ",
    ):
        write_seg(roi, write_slices(images, tmp_path / "d"), tmp_path / "out" / "a.dcm")
    assert not (tmp_path / "out").exists()


def test_a_seg_of_an_enhanced_ct_is_read_as_it_was_written(tmp_path):
    import highdicom as hd

    images = dicom_slices()
    for image in images:
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.PatientPosition = "HFS"
        image.AcquisitionNumber, image.KVP = 1, 120
        image.PositionReferenceIndicator = ""
        image.Manufacturer = "Test"
    single = read_dicom_series(write_slices(images, tmp_path / "single"))
    enhanced = hd.legacy.LegacyConvertedEnhancedCTImage(images, "1.2.3.4", 5, "1.2.3.5", 1)
    enhanced.save_as(write_slices([], tmp_path / "ct") / "one")
    write_seg(roi_on(single), tmp_path / "ct", tmp_path / "a.dcm")
    volume = CTVolume(hu=single.hu, geometry=single.geometry, series_uid="1.2.3.4")
    assert np.array_equal(read_roi(tmp_path / "a.dcm", volume, "P1").voxels, odd_tumor())


def test_a_seg_of_a_series_that_lacks_what_a_seg_copies(tmp_path):
    """As public and de-identified series are: empty UIDs in the data set, no thickness, no frame of reference."""
    images = dicom_slices()
    for image in images:
        image.SOPClassUID = image.SpecificCharacterSet = ""
        for keyword in (
            "AccessionNumber",
            "StudyID",
            "PatientBirthDate",
            "FrameOfReferenceUID",
            "SliceThickness",
        ):
            delattr(image, keyword)
    folder = write_slices(images, tmp_path / "ct")
    ct = read_ct(folder)
    roi = RoiMask(voxels=box_tumor(), geometry=ct.geometry, case_id="c1")
    write_seg(roi, folder, tmp_path / "roi.dcm")
    assert np.array_equal(read_roi(tmp_path / "roi.dcm", ct).voxels, box_tumor())
    assert highdicom.seg.segread(tmp_path / "roi.dcm").pixel_array.sum() == box_tumor().sum()
