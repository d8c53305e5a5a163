"""ROI in: SEG, label map and PNG give the same mask on the CT's grid, or the reason why not."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest

from damages_by_name import NAMED
from nephroscope.base.errors import RoiError, SeriesError, StudyError
from nephroscope.imaging.grid import canonical
from nephroscope.imaging.masks.segments import Segment, TumorQuery, choose_segment
from nephroscope.imaging.nifti import read_nifti
from nephroscope.imaging.read import UnplacedRoi, read_case, read_ct, read_roi, roi_names
from nephroscope.intake.export.cases import read_dicom_series
from nephroscope.records import CTVolume, VolumeGeometry
from one_series import changed, one_series
from phantoms import (
    box_hu,
    box_tumor,
    box_volume,
    dicom_slices,
    window_gray,
    write_nifti,
    write_png,
    write_seg,
    write_slices,
)


@pytest.fixture
def images():
    return dicom_slices()


@pytest.fixture
def volume(images, tmp_path):
    return read_dicom_series(write_slices(images, tmp_path / "ct"))


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_seg_of_any_kind_lies_on_the_ct(images, volume, tmp_path, kind):
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg", kind=kind)
    roi = read_roi(path, volume, "P1")
    assert np.array_equal(roi.voxels, box_tumor())
    assert roi.geometry is volume.geometry


def test_a_roi_without_its_ct_is_placed_later(images, tmp_path):
    """As in a notebook: paths as text, no name of the case, the ROI before its CT."""
    write_slices(images, tmp_path / "ct")
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "roi.dcm")
    roi, volume = read_roi(str(path)), read_ct(str(tmp_path / "ct"))
    assert roi == UnplacedRoi(path=path)
    placed = roi.on(volume)
    assert np.array_equal(placed.voxels, read_roi(path, volume).voxels)
    assert (placed.case_id, read_roi(path, case_id="P1").on(volume).case_id) == ("", "P1")
    with pytest.raises(RoiError) as refused:
        read_roi(tmp_path / "gone")
    assert (refused.value.where, refused.value.found) == ("ROI a file", "no file")
    with pytest.raises(RoiError, match=r"^ROI roi.dcm: expected one segment called 'X'"):
        read_roi(path, tumor_name="X").on(volume)


def test_seg_follows_images_stored_upside_down_and_in_any_order(tmp_path):
    """The SEG was made on the flipped images: its frames are flipped, the tumor is not."""
    images = dicom_slices()
    for image in images:
        image.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y + 39 * 0.9, z]
        image.PixelData = image.pixel_array[::-1].tobytes()
    order = [4, 2, 0, 1, 5, 3]
    shuffled = [images[i] for i in order]
    volume = read_dicom_series(write_slices(shuffled, tmp_path / "ct"))
    path = write_seg(shuffled, {"Tumor": box_tumor()[order, ::-1]}, tmp_path / "seg")
    assert np.array_equal(read_roi(path, volume, "P1").voxels, box_tumor())


def test_the_segment_that_says_tumor_is_taken(images, volume, tmp_path):
    kidney = np.roll(box_tumor(), 20, axis=2)
    path = write_seg(images, {"Kidney": kidney, "Renal mass": box_tumor(), "Cyst": kidney}, tmp_path / "seg")
    assert np.array_equal(read_roi(path, volume, "P1").voxels, box_tumor())


def test_a_number_chooses_where_no_name_does(images, volume, tmp_path):
    kidney = np.roll(box_tumor(), 20, axis=2)
    path = write_seg(images, {"A": kidney, "B": box_tumor()}, tmp_path / "seg")
    assert np.array_equal(read_roi(path, volume, "P1", 2).voxels, box_tumor())
    with pytest.raises(
        RoiError, match=r"one segment that is the tumor, found none called a tumor among 1 A, 2 B; say"
    ):
        read_roi(path, volume, "P1", 3)
    path = write_seg(images, {"A": kidney, "Tumor 1": kidney, "Tumor 2": box_tumor()}, tmp_path / "seg2")
    with pytest.raises(RoiError, match=r"found 2 called a tumor"):
        read_roi(path, volume, "P1", 1)


def test_label_map_and_seg_agree_across_doors(images, tmp_path):
    volume = read_nifti(write_nifti(box_hu(), tmp_path / "ct.nii.gz"))
    seg = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "no-suffix")
    labels = write_nifti((box_tumor() * 2).astype(np.uint8), tmp_path / "labels.nii")
    assert np.array_equal(read_roi(seg, volume, "P1").voxels, box_tumor())
    assert np.array_equal(read_roi(labels, volume, "P1", 2).voxels, box_tumor())


def test_a_file_named_after_a_patient_is_not_named(volume, tmp_path):
    for name, told in (
        ("Mueller_Hans_SEG.dcm", r"ROI a file of 3 bytes \(.dcm\)"),
        ("Mueller.Hans", "ROI a file of 3 bytes"),
        ("P1_seg_2.dcm", "ROI P1_seg_2.dcm"),
        ("tumor-L.nii.gz", "ROI tumor-L.nii.gz"),
    ):
        (tmp_path / name).write_bytes(b"abc")
        with pytest.raises(RoiError, match=f"^case P1, {told}: expected"):
            read_roi(tmp_path / name, volume, "P1")
    with pytest.raises(RoiError, match=r"^ROI a file of 3 bytes: expected"):
        roi_names(tmp_path / "Mueller.Hans")


def test_a_seg_of_another_series_is_refused(volume, tmp_path):
    path = write_seg(dicom_slices(), {"Tumor": box_tumor()}, tmp_path / "seg")
    with pytest.raises(
        RoiError, match=r"case P1, ROI seg: expected an ROI of series .*found an ROI of series"
    ):
        read_roi(path, volume, "P1")


def other_ct(volume, spoil):
    """The same CT on a grid that ``spoil`` has changed in place."""
    affine = volume.geometry.affine.copy()
    spoil(affine)
    geometry = VolumeGeometry(shape=volume.geometry.shape, affine=affine)
    return CTVolume(hu=volume.hu, geometry=geometry, series_uid=volume.series_uid)


@pytest.mark.parametrize(
    ("spoil", "n_voxels"),
    [
        (lambda affine: affine[:3, 3].__iadd__([0.2, 0, 0]), 480),
        (lambda affine: affine[:3, 2].__imul__(0.5), 4 * 12 * 20),
        (lambda affine: affine[:3, 2].__imul__(1.01), 480),
    ],
)
def test_frames_off_the_grid_are_resampled_and_told(images, volume, tmp_path, spoil, n_voxels):
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg")
    roi = read_roi(path, other_ct(volume, spoil), "P1")
    assert roi.voxels.sum() == n_voxels
    (finding,) = roi.findings
    assert (finding.code, finding.severity, finding.case_id) == ("roi-resampled", "warning", "P1")
    assert finding.message.startswith(
        "drawn on a grid other than that of the CT, 4 x 40 x 48 voxels of 2.5 x 0.9 x 0.7 mm"
    )


def test_a_seg_of_a_slightly_uneven_ct_is_read(images, tmp_path):
    """The CT is kept on an even grid; frames stand where its slices truly stood."""
    for image, mm in zip(images, (0, 0.08, -0.02, 0.07, 0, 0), strict=True):
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y, z + mm]
    volume = read_dicom_series(write_slices(images, tmp_path / "uneven"))
    roi = read_roi(write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg"), volume, "P1")
    assert np.array_equal(roi.voxels, box_tumor())
    assert [finding.code for finding in roi.findings] == ["roi-resampled"]


def test_sparse_frames_off_the_grid_stay_as_thin_as_they_were(images, volume, tmp_path):
    tumor = box_tumor()
    tumor[2:4] = False
    path = write_seg(images, {"Tumor": tumor}, tmp_path / "seg")
    roi = read_roi(path, other_ct(volume, lambda affine: affine[:3, 3].__iadd__([0.2, 0, 0])), "P1")
    assert np.array_equal(roi.voxels, tumor)


def test_frames_that_stand_for_several_slices_each_fill_them(images, volume, tmp_path):
    """Frames 5 mm apart on a CT of 2.5 mm: each is two slices thick where the SEG says so, else drawn sparsely."""
    sparse = box_tumor()
    sparse[[2, 4]] = False
    seg = pydicom.dcmread(write_seg(images, {"Tumor": sparse}, tmp_path / "seg"))
    assert [finding.code for finding in read_roi(tmp_path / "seg", volume, "P1").findings] == ["roi-gap"]
    assert np.array_equal(read_roi(tmp_path / "seg", volume, "P1").voxels, sparse)
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SliceThickness, measures.SpacingBetweenSlices = 2.5, 5.0
    seg.save_as(tmp_path / "thick")
    roi = read_roi(tmp_path / "thick", volume, "P1")
    assert [finding.code for finding in roi.findings] == ["roi-resampled"]
    assert np.flatnonzero(roi.voxels.any(axis=(1, 2))).tolist() == [0, 1, 2, 3]  # half a slice up is up
    del measures.SpacingBetweenSlices
    measures.SliceThickness = 5.0
    seg.save_as(tmp_path / "thickness")
    assert np.array_equal(read_roi(tmp_path / "thickness", volume, "P1").voxels, roi.voxels)
    measures.SliceThickness = 2.5
    seg.save_as(tmp_path / "thin")
    assert np.array_equal(read_roi(tmp_path / "thin", volume, "P1").voxels, sparse)


def test_frames_beside_the_ct_are_refused(images, volume, tmp_path):
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg")
    away = other_ct(volume, lambda affine: affine[:3, 3].__iadd__([0, 0, 100]))
    with pytest.raises(
        RoiError, match=r"frames on the grid of the CT, 6 x 40 x 48 voxels .*found a frame of 40 x 48"
    ):
        read_roi(path, away, "P1")
    away = other_ct(volume, lambda affine: affine[:3, 3].__iadd__([0, 0, 101]))
    with pytest.raises(RoiError, match=r"does not touch the CT and seems to belong to another series"):
        read_roi(path, away, "P1")


def test_frames_beyond_a_ct_cut_short_are_left_out_and_told(images, tmp_path):
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg")
    roi = read_roi(path, read_dicom_series(write_slices(images[:4], tmp_path / "short")), "P1")
    assert np.array_equal(roi.voxels, box_tumor()[:4])
    (finding,) = roi.findings
    assert finding.code == "roi-outside"
    assert finding.message == "120 voxels of 480 lie outside the CT and were left out"


def test_frames_that_are_no_even_stack_are_refused(images, volume, tmp_path):
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg")
    seg = pydicom.dcmread(path)
    place = seg.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    place.ImagePositionPatient = [-20, -30.5, 105.7]
    seg.save_as(path)
    with pytest.raises(RoiError, match=r"or on an even grid that meets it, found a frame of 40 x 48 pixels"):
        read_roi(path, volume, "P1")


def test_frames_may_be_sparse_unordered_and_overlap(images, volume, tmp_path):
    """Slices 1 and 4 only, segments that share voxels, frames in reverse."""
    tumor, kidney = box_tumor(), np.zeros(box_tumor().shape, bool)
    tumor[2:4], kidney[1:5, 12:30, 10:30] = False, True
    path = write_seg(images, {"Kidney": kidney, "Tumor": tumor}, tmp_path / "seg")
    seg = pydicom.dcmread(path)
    pixels, groups = seg.pixel_array[::-1], list(seg.PerFrameFunctionalGroupsSequence)[::-1]
    assert len(groups) == 6
    seg.PerFrameFunctionalGroupsSequence = groups
    seg.PixelData = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    seg.save_as(path)
    assert np.array_equal(read_roi(path, volume, "P1").voxels, tumor)
    assert np.array_equal(read_roi(path, volume, "P1", tumor_name="kidney").voxels, kidney)
    assert roi_names(path) == ["1 Kidney", "2 Tumor"]


def test_a_code_chooses_a_segment(images, volume, tmp_path):
    path = write_seg(images, {"A": np.roll(box_tumor(), 9, axis=2), "B": box_tumor()}, tmp_path / "seg")
    seg = pydicom.dcmread(path)
    code = seg.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0]
    code.CodeValue, code.CodeMeaning = "41607009", "Swelling"
    seg.save_as(path)
    for name in ("41607009", "swelling", "B"):
        assert np.array_equal(read_roi(path, volume, "P1", 1, name).voxels, box_tumor())
    with pytest.raises(
        RoiError, match=r"expected one segment called 'C', found 1 A, 2 B; give the name or the code"
    ):
        read_roi(path, volume, "P1", 1, "C")
    seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = [code]
    seg.save_as(path)
    assert np.array_equal(read_roi(path, volume, "P1", 2, "41607009").voxels, box_tumor())
    with pytest.raises(RoiError, match=r"one segment called '41607009'"):
        read_roi(path, volume, "P1", 3, "41607009")


def test_a_kidney_is_not_taken_for_the_tumor_by_its_number(images, volume, tmp_path):
    path = write_seg(images, {"Kidney": box_tumor(), "Lesion": box_tumor()}, tmp_path / "seg")
    assert np.array_equal(read_roi(path, volume, "P1").voxels, box_tumor())
    for organ in ("Kidney", "Aorta", "Liver", "perirenal fat", "Peritumoral tissue"):
        path = write_seg(images, {organ: box_tumor(), "Segment_2": box_tumor()}, tmp_path / "seg")
        found = f"found none called a tumor among 1 {organ}, 2 Segment_2"
        with pytest.raises(RoiError, match=found):
            read_roi(path, volume, "P1")
        assert np.array_equal(read_roi(path, volume, "P1", 2).voxels, box_tumor())
        assert np.array_equal(read_roi(path, volume, "P1", tumor_name="#1").voxels, box_tumor())


@pytest.mark.parametrize("kidney", ["Kidney", "Segment_1", "A", "Hjerte"])
def test_no_number_is_the_tumor_where_nobody_says_it(images, volume, tmp_path, kidney):
    """Not the first of several, nor the one that is left when the kidney is known."""
    other = np.roll(box_tumor(), 20, axis=2)
    path = write_seg(images, {kidney: other, "Segment_2": box_tumor()}, tmp_path / "seg")
    with pytest.raises(RoiError) as refused:
        read_roi(path, volume, "P1")
    assert refused.value.found == f"none called a tumor among 1 {kidney}, 2 Segment_2"
    assert np.array_equal(read_roi(path, volume, "P1", 2).voxels, box_tumor())
    assert np.array_equal(read_roi(path, volume, "P1", tumor_name="#1").voxels, other)


def test_a_number_that_contradicts_the_names_is_refused(images, volume, tmp_path):
    path = write_seg(images, {"Tumor": box_tumor(), "Lesion 2": np.roll(box_tumor(), 9, 2)}, tmp_path / "seg")
    with pytest.raises(RoiError, match=r"number 2 as the tumor, found only 1 Tumor called a tumor among"):
        read_roi(path, volume, "P1", 2)
    only = write_seg(images, {"roi": box_tumor()}, tmp_path / "only")
    assert np.array_equal(read_roi(only, volume, "P1").voxels, box_tumor())
    with pytest.raises(RoiError, match=r"found none called a tumor among 1 roi"):
        read_roi(only, volume, "P1", 2)


TUMOR_AND_KIDNEY = {
    "Chinese": ("肿瘤", "肾脏"),
    "Chinese, traditional": ("腫瘤", "腎臟"),
    "Japanese": ("腫瘍", "腎臓"),
    "Korean": ("종양", "왼쪽 신장"),
    "Russian": ("Опухоль почки", "почка"),
    "Ukrainian": ("пухлина", "нирка"),
    "Polish": ("guz nerki", "nerka"),
    "Turkish": ("TÜMÖR", "böbrek"),
    "Swedish": ("Njurtumör", "njure"),
    "Danish": ("svulst", "nyre"),
    "Finnish": ("kasvain", "munuainen"),
    "Czech": ("nádor", "ledvina"),
    "Hungarian": ("daganat", "vese"),
    "Romanian": ("tumoare", "rinichi"),
    "Greek": ("ΌΓΚΟΣ", "νεφρός"),
    "Spanish": ("lesión", "riñón"),
    "French": ("masse", "rein gauche"),
    "German": ("Läsion", "Niere"),
    "Italian": ("neoplasia", "rene"),
    "Portuguese": ("lesão", "rim"),
    "Dutch": ("gezwel", "nier"),
}


@pytest.mark.parametrize("language", TUMOR_AND_KIDNEY)
def test_the_tumor_is_known_in_the_languages_of_the_exports(language):
    tumor, kidney = TUMOR_AND_KIDNEY[language]
    segments = [Segment(number=1, name=kidney), Segment(number=2, name=tumor)]
    wanted = TumorQuery(case_id="P1", where="")
    assert choose_segment(segments, wanted).number == 2
    assert segments[0].says_other
    with pytest.raises(RoiError, match="expected a segment that is the tumor, found only"):
        choose_segment(segments[:1], wanted)


@pytest.mark.parametrize(
    "name",
    [
        "肿瘤周围",
        "종양 주변",
        "без опухоли",
        "tümörsüz böbrek",
        "nerka bez guza",
        "njure utan tumör",
        "肾囊肿",
        "киста",
        "torbiel",
    ],
)
def test_what_is_around_the_tumor_or_a_cyst_is_no_tumor(name):
    assert not Segment(number=1, name=name).says_tumor


def test_a_lesion_is_the_tumor_where_nothing_else_is():
    names = ("Kidney", "Lesion", "GTV", "lesion b")
    segments = [Segment(number=number, name=name) for number, name in enumerate(names, 1)]
    wanted = TumorQuery(case_id="P1", where="")
    assert choose_segment(segments[:2], wanted) is segments[1]
    assert choose_segment(segments[:3], wanted) is segments[2]
    two = [segments[0], segments[1], segments[3]]
    with pytest.raises(RoiError, match=r"found 2 called a tumor among 1 Kidney, 2 Lesion, 4 lesion b"):
        choose_segment(two, wanted)
    assert choose_segment(two, replace(wanted, label=4)) is segments[3]


def test_a_code_that_says_tumor_counts_more_than_a_name_that_says_kidney():
    one = Segment(number=1, name="Kidney", codes=frozenset({"108369006"}))
    two = Segment(number=2, name="Tumor")
    assert choose_segment([one, two], TumorQuery(case_id="P1", where="", label=1)) is one


@pytest.mark.parametrize(
    ("name", "says"),
    [
        *(
            (n, "tumor")
            for n in ("Renal_mass_L", "L-GTV2", "GTVn", "ccRCC", "Nierentumor re", "Tumeur rein G")
        ),
        *((n, "tumor") for n in ("tumor left kidney", "Cystic mass", "Kidney - tumor")),
        *(
            (n, "other")
            for n in ("KidneyL", "Kidney_L", "Niere links", "Rein gauche", "PTV", "CTV_60", "body")
        ),
        *(
            (n, "other")
            for n in ("Kidney_L-GTV", "kidney minus tumor", "Niere ohne Tumor", "non-tumor kidney")
        ),
        *(
            (n, "")
            for n in ("Segment_1", "roi", "Lesion", "kidney lesion 2", "Reinhard", "Massive", "Schwellung")
        ),
        *((n, "other") for n in ("Liver", "Leber", "Lung_L", "fat", "peritumoral fat", "Peri-Tumor 5 mm")),
    ],
)
def test_what_a_name_says(name, says):
    segment = Segment(number=1, name=name)
    assert (segment.says_tumor, segment.says_other) == (says == "tumor", says == "other")


def test_a_choice_among_tumors_is_told(images, volume, tmp_path):
    path = write_seg(images, {"Tumor 1": box_tumor(), "Tumor 2": box_tumor()}, tmp_path / "seg")
    (finding,) = read_roi(path, volume, "P1").findings
    assert finding.code == "roi-several-tumors"
    assert finding.message.endswith("called a tumor, 1 Tumor 1, 2 Tumor 2: number 1 was used")
    assert read_roi(path, volume, "P1", 2).findings == ()
    assert read_roi(path, volume, "P1", tumor_name="#2").findings == ()
    assert read_roi(path, volume, "P1", tumor_name="Tumor 2").findings == ()


def test_two_segments_of_one_number_are_refused(images, volume, tmp_path):
    path = write_seg(images, {"Kidney": box_tumor(), "Tumor": box_tumor()}, tmp_path / "seg")
    seg = pydicom.dcmread(path)
    seg.SegmentSequence[1].SegmentNumber = 1
    seg.save_as(path)
    with pytest.raises(RoiError, match=r"a different number for each segment, found 1 Kidney, 1 Tumor"):
        read_roi(path, volume, "P1")


def test_a_seg_that_names_no_series_is_told(images, volume, tmp_path):
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg")
    seg = pydicom.dcmread(path)
    del seg.ReferencedSeriesSequence
    seg.save_as(path)
    assert [f.code for f in read_roi(path, volume, "P1").findings] == ["roi-reference"]


def test_fractions_count_from_one_half(images, volume, tmp_path):
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg", kind="FRACTIONAL")
    seg = pydicom.dcmread(path)
    pixels = seg.pixel_array.copy()
    pixels[pixels > 0] = 128
    pixels[:, 10] = 127 * (pixels[:, 10] > 0)
    seg.PixelData, seg.MaximumFractionalValue = pixels.tobytes(), 255
    seg.save_as(path)
    expected = box_tumor()
    expected[:, 10] = False
    assert np.array_equal(read_roi(path, volume, "P1").voxels, expected)
    del seg.MaximumFractionalValue
    seg.save_as(path)
    with pytest.raises(
        RoiError, match=r"a whole DICOM SEG or RTSTRUCT, found one that cannot be read: no MaximumFr"
    ):
        read_roi(path, volume, "P1")


def test_an_empty_seg_is_refused(images, volume, tmp_path):
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg")
    seg = pydicom.dcmread(path)
    seg.PixelData = bytes(len(seg.PixelData))
    seg.save_as(path)
    with pytest.raises(RoiError, match=r"case P1: expected an ROI with at least one tumor voxel, found none"):
        read_roi(path, volume, "P1")


def test_other_dicom_and_damaged_segs_are_refused(images, volume, tmp_path):
    with pytest.raises(
        RoiError, match=r"expected a DICOM SEG or RTSTRUCT, found DICOM of modality CT; give the seg"
    ):
        read_roi(tmp_path / "ct" / "IM000", volume, "P1")
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg")
    content = path.read_bytes()
    for keep in (len(content) - 500, len(content) // 2, 400):
        path.write_bytes(content[:keep])
        with pytest.raises(
            RoiError, match=r"a whole DICOM SEG or RTSTRUCT, found one|a DICOM SEG or RTSTRUCT, found"
        ):
            read_roi(path, volume, "P1")


def test_label_maps_without_the_tumor_or_damaged_are_refused(volume, tmp_path):
    good = write_nifti(box_tumor().astype(np.uint8), tmp_path / "g.nii.gz")
    with pytest.raises(
        RoiError, match=r"ROI g.nii.gz: expected the tumor label 2, found only the values 0, 1"
    ):
        read_roi(good, volume, "P1", 2)
    good.write_bytes(good.read_bytes()[:50])
    with pytest.raises(RoiError, match=r"case P1, ROI g.nii.gz: expected a whole NIfTI file"):
        read_roi(good, volume, "P1")


def test_other_files_are_refused(volume, tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(RoiError, match=r"or a PNG mask, found a file of another kind"):
        read_roi(tmp_path / "a.txt", volume, "P1")
    with pytest.raises(RoiError, match=r"ROI a file: .*found no file"):
        read_roi(tmp_path / "gone", volume, "P1")
    for path, words in (
        (tmp_path / "a.txt", "found a file of another kind"),
        (tmp_path / "gone", "found no file"),
    ):
        with pytest.raises(RoiError, match=words):
            roi_names(path)
    with pytest.raises(RoiError, match=r"found no readable file"):
        read_roi(tmp_path, volume, "P1")


def test_a_png_slice_and_its_png_mask(tmp_path):
    image = write_png(window_gray(box_hu()[2]), tmp_path / "a.png")
    mask = write_png((box_tumor()[2] * 2).astype(np.uint8), tmp_path / "m.png")
    volume = read_ct(image, 40, 400, 0.7)
    assert volume.geometry.spacing_mm == (1.0, 0.7, 0.7)
    assert np.array_equal(read_roi(mask, volume, "P1", 2).voxels[0], box_tumor()[2])
    assert np.array_equal(read_roi(mask, volume, "P1").voxels[0], box_tumor()[2])
    assert roi_names(mask) == ["2"]
    with pytest.raises(RoiError, match=r"the tumor label 1, found only the values 0, 2"):
        read_roi(mask, volume, "P1", tumor_name="#1")
    inverted = write_png(np.where(box_tumor()[2], 0, 255).astype(np.uint8), tmp_path / "i.png")
    with pytest.raises(RoiError, match=r"the tumor label 1, found only the values 0, 255"):
        read_roi(inverted, volume, "P1")
    several = write_png(
        (box_tumor()[2] * 2 + np.roll(box_tumor()[2], 20, 1)).astype(np.uint8), tmp_path / "s.png"
    )
    with pytest.raises(RoiError, match=r"one gray value that is the tumor, found the values 0, 1, 2"):
        read_roi(several, volume, "P1")
    with pytest.raises(
        RoiError, match=r"a label called 'Tumor', found an image, in which labels have no names"
    ):
        read_roi(mask, volume, "P1", 2, "Tumor")
    other = write_png(np.zeros((5, 6), np.uint8), tmp_path / "o.png")
    with pytest.raises(RoiError, match=r"a mask as large as the image, 1 x 40 x 48 .*found 5 x 6 pixels"):
        read_roi(other, volume, "P1")


def test_an_image_is_told_by_its_content(images, volume, tmp_path):
    write_nifti(box_hu(), tmp_path / "ct.nii.gz").rename(tmp_path / "x")
    assert np.array_equal(read_ct(tmp_path / "x", 40, 400, None).hu, volume.hu)
    assert np.array_equal(read_ct(tmp_path / "ct", 40, 400, None).hu, volume.hu)
    with pytest.raises(SeriesError, match=r"found dicom; .*give the folder and not one file"):
        read_ct(tmp_path / "ct" / "IM000", 40, 400, None)


# ---- cases


@pytest.fixture
def case(images, volume, tmp_path):
    roi = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg")
    return one_series(case_id="P1", patient_id="P1", image=tmp_path / "ct", roi=roi, format="dicom")


def test_a_case_gives_volume_and_roi(case, tmp_path):
    volume, roi = read_case(case)
    assert np.array_equal(volume.hu, box_hu())
    assert np.array_equal(roi.voxels, box_tumor())
    image = write_nifti(box_hu(), tmp_path / "ct.nii.gz")
    mask = write_nifti(box_tumor().astype(np.uint8), tmp_path / "m.nii.gz")
    volume, roi = read_case(changed(case, image=image, roi=mask, format="nifti"))
    assert np.array_equal(volume.hu, box_hu())
    assert np.array_equal(roi.voxels, box_tumor())


def test_a_case_may_name_its_tumor(images, case, tmp_path):
    masks = {"A": np.roll(box_tumor(), 9, axis=2), "B": box_tumor()}
    roi = write_seg(images, masks, tmp_path / "named")
    _, roi = read_case(changed(case, roi=roi, tumor_name="b"))
    assert np.array_equal(roi.voxels, box_tumor())


def test_findings_of_a_volume_get_its_case(tmp_path):
    images = dicom_slices()[1:2]
    write_slices(images, tmp_path / "ct")
    roi = write_seg(images, {"Tumor": box_tumor()[1:2]}, tmp_path / "seg")
    volume, _ = read_case(
        one_series(case_id="P7", patient_id="P7", image=tmp_path / "ct", roi=roi, format="dicom")
    )
    assert [(f.code, f.case_id) for f in volume.findings] == [("single-slice", "P7")]


def test_missing_files_of_a_case_are_named(case):
    with pytest.raises(StudyError, match=r"the image that its row in series.csv points to, found no .*/gone"):
        read_case(changed(case, image=case.image / "gone"))
    with pytest.raises(StudyError, match=r"case P1: expected the roi of reader-1 that its row in rois.csv"):
        read_case(changed(case, roi=case.image / "gone"))
    with pytest.raises(RoiError, match=r"P1: expected an ROI, found none: the tumor is not drawn yet"):
        read_case(changed(case, roi=None))


# ---- real files, compared with highdicom

REAL = [
    ("ct-3slice", "liver.dcm", 1),
    ("ct-3slice", "partial_overlaps.dcm", 1),
    ("ct-3slice", "partial_overlaps.dcm", 2),
    ("23x38x3/image", "23x38x3/seg/label.seg", 1),
    ("highdicom", "highdicom/seg_image_ct_binary_single_frame.dcm", 1),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("series", "name", "number"), REAL)
def test_real_segs_are_read_as_highdicom_reads_them(test_data, series, name, number):
    import highdicom as hd

    folder = test_data / "dicom_seg"
    volume = read_dicom_series(folder / series)
    path = folder / name
    seg = hd.seg.segread(path)
    uids = {}
    for file in (folder / series).iterdir():
        image = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        if image.get("Modality") == "CT":
            uids[float(image.ImagePositionPatient[2])] = image.SOPInstanceUID
    expected = seg.get_pixels_by_source_instance(
        [uids[z] for z in sorted(uids)],
        segment_numbers=[number],
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )[..., 0]
    roi = read_roi(path, volume, "real", tumor_name=f"#{number}")
    assert np.array_equal(roi.voxels, expected.astype(bool))


def test_a_real_seg_of_another_patient_is_refused(test_data):
    (path,) = (test_data / "kidney_seg").glob("ne1*.dcm")
    with pytest.raises(RoiError, match=r"expected an ROI of series 1.2.3, found an ROI of series"):
        read_roi(path, box_volume(), "P1")


def volume_under(seg):
    """An empty CT on the planes of a SEG, whose rows run to the front: the real CT is not here."""
    heights = [
        float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        for group in seg.PerFrameFunctionalGroupsSequence
    ]
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    step, (row_mm, col_mm) = float(measures.SpacingBetweenSlices), measures.PixelSpacing
    first = seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = step, row_mm, col_mm, 1
    affine[:3, 3] = first[0], first[1] - (seg.Rows - 1) * row_mm, min(heights)
    shape = (round((max(heights) - min(heights)) / step) + 1, seg.Rows, seg.Columns)
    return CTVolume(
        hu=np.zeros(shape, np.int16),
        geometry=VolumeGeometry(shape=shape, affine=affine),
        series_uid=str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID),
    )


@pytest.mark.parametrize("name", ["rad1_TCGA-BP-4964", "rad1_TCGA-CJ-4872"])
def test_the_mass_in_real_kidney_segs_is_found(test_data, name):
    (path,) = (test_data / "kidney_seg").glob(f"{name}*.dcm")
    seg = pydicom.dcmread(path)
    groups = seg.PerFrameFunctionalGroupsSequence
    numbers = [g.SegmentIdentificationSequence[0].ReferencedSegmentNumber for g in groups]
    mass = seg.pixel_array[[i for i, number in enumerate(numbers) if number == 2]]
    voxels = read_roi(path, volume_under(seg), "TCGA").voxels
    assert voxels.sum() == mass.sum() > 0
    assert np.array_equal(voxels.sum(axis=(0, 2)), mass.sum(axis=(0, 2))[::-1])


def test_a_seg_of_the_kidney_alone_is_no_tumor(test_data):
    (path,) = (test_data / "kidney_seg").glob("ne1*.dcm")
    with pytest.raises(RoiError, match=r"a segment that is the tumor, found only 'Kidney'"):
        read_roi(path, volume_under(pydicom.dcmread(path)), "TCGA")


SEGS = [
    *[
        f"dicom_seg/highdicom/seg_image_ct_{kind}.dcm"
        for kind in ("binary", "binary_fractional", "binary_overlap")
    ],
    *[f"dicom_seg/highdicom/seg_image_ct_{kind}.dcm" for kind in ("binary_single_frame", "true_fractional")],
    *("dicom_seg/liver.dcm", "dicom_seg/partial_overlaps.dcm", "dicom_seg/sparse-labelmap-ppv5.dcm"),
    *("dicom_seg/23x38x3/seg/label.seg", "kidney_seg/ai_TCGA-BP-4803_19910603_0.seg.dcm"),
    *(f"kidney_seg/{reader}_TCGA-BP-4964_19890320_0.seg.dcm" for reader in ("ne1", "rad1")),
    *("kidney_seg/ai_TCGA-BP-4964_19890320_1.seg.dcm", "kidney_seg/rad1_TCGA-CJ-4872_19931126_0.seg.dcm"),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SEGS)
def test_every_segment_of_every_real_seg_is_highdicoms_volume(test_data, name):
    """On an empty CT of the size of highdicom's volume: most of the real CT are not here."""
    import highdicom as hd

    seg = hd.seg.segread(test_data / name)
    for named in roi_names(test_data / name):
        number, label = named.split(" ", 1)
        theirs = seg.get_volume(
            segment_numbers=[int(number)], combine_segments=False, allow_missing_positions=True
        )
        expected, geometry = canonical(np.squeeze(theirs.array, -1) > 0.5, np.asarray(theirs.affine))
        uid = str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID)
        volume = CTVolume(hu=np.zeros(geometry.shape, np.int16), geometry=geometry, series_uid=uid)
        roi = read_roi(test_data / name, volume, "real", 1, label)
        assert roi.voxels.any()
        assert np.array_equal(roi.voxels, expected)
        sparse = name.endswith(("binary_overlap.dcm", "sparse-labelmap-ppv5.dcm"))
        assert [finding.code for finding in roi.findings] == ["roi-gap"] * sparse


@pytest.mark.parametrize(
    "change", ["two frames at one place", "a frame of segment 0", "a frame of the other segment"]
)
def test_frames_that_contradict_each_other_are_refused(images, volume, tmp_path, change):
    path = write_seg(images, {"Kidney": np.roll(box_tumor(), 14, 2), "Tumor": box_tumor()}, tmp_path / "seg")
    path.write_bytes(NAMED["seg"][change](path.read_bytes()))
    with pytest.raises(RoiError, match="a whole DICOM SEG or RTSTRUCT"):
        read_roi(path, volume, "P1", tumor_name="Tumor")


@pytest.mark.parametrize("shift", [[-0.7, 0, 0], [0, 9, 0]])
def test_a_seg_that_reaches_out_of_the_ct_is_a_finding(images, volume, tmp_path, shift):
    """The CT was moved by whole voxels, or has other rows and columns: the frames still lie on its voxels."""
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg")
    moved = other_ct(volume, lambda affine: affine[:3, 3].__iadd__(shift))
    assert [finding.code for finding in read_roi(path, moved, "P1").findings] == ["roi-resampled"]


def test_a_large_file_of_zeros_behind_a_seg_is_not_read(images, volume, tmp_path):
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg")
    with path.open("r+b") as file:
        file.truncate(20 * 2**30)
    with pytest.raises(RoiError, match="more than 1073741824 bytes"):
        read_roi(path, volume, "P1")
    with path.open("r+b") as file:
        file.truncate(80 * 2**20)
    assert np.array_equal(read_roi(path, volume, "P1").voxels, box_tumor())


def test_the_background_of_a_label_map_is_no_segment(test_data):
    assert roi_names(test_data / "dicom_seg" / "sparse-labelmap-ppv5.dcm") == ["1 Liver"]


def test_a_number_that_is_meant_beats_what_segments_say(tmp_path):
    images = dicom_slices(uid="1.2.3")
    other = np.zeros_like(box_tumor())
    other[2, 20:24, 30:34] = True
    path = write_seg(images, {"Tumor": box_tumor(), "Lesion B": other}, tmp_path / "two.dcm")
    assert np.array_equal(read_roi(path, box_volume(), "c").voxels, box_tumor())
    assert np.array_equal(read_roi(path, box_volume(), "c", tumor_name="#2").voxels, other)
    assert np.array_equal(read_roi(path, box_volume(), "c", tumor_name="#1").voxels, box_tumor())
    with pytest.raises(RoiError, match="expected one segment that is the tumor"):
        read_roi(path, box_volume(), "c", tumor_name="#3")
    path = write_seg(images, {"Kidney": other, "Tumor": box_tumor()}, tmp_path / "kidney.dcm")
    assert np.array_equal(read_roi(path, box_volume(), "c", tumor_name="#1").voxels, other)
