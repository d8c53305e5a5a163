"""ROI files that say one thing twice, and differently: refused or told, never settled without a word."""

import warnings
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from nephroscope.base.errors import RoiError
from nephroscope.imaging.dicom.series import read_dicom_series
from nephroscope.imaging.masks.rtstruct import windings
from nephroscope.imaging.read import read_roi
from phantoms import box_tumor, box_volume, dicom_slices, write_seg, write_slices
from test_rtstruct import at, box, codes, rtstruct, save, tumor_contours

ITEM = b"\xfe\xff\x00\xe0"
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


def as_syntax(made, syntax, path):
    """The data set in another transfer syntax, with lengths or delimiters as it has them."""
    plain = Dataset()
    plain.update(made)
    plain.file_meta, plain.preamble = made.file_meta, bytes(128)
    plain.file_meta.TransferSyntaxUID = syntax
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values over 64 KB
        plain.save_as(
            path,
            enforce_file_format=True,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
        )
    return path


# ---- lengths


@pytest.mark.parametrize("bit", [4, 5, 6])
def test_an_item_longer_than_its_sequence_is_refused(tmp_path, bit):
    """One bit: the contours behind the second would be lost."""
    path = as_syntax(rtstruct({"Tumor": tumor_contours()}), ImplicitVRLittleEndian, tmp_path / "rt")
    raw = bytearray(path.read_bytes())
    items = [
        at
        for at in range(len(raw))
        if raw[at : at + 4] == ITEM and raw[at + 8 : at + 12] == b"\x06\x30\x42\x00"
    ]
    assert len(items) == 4
    raw[items[1] + 5] ^= 1 << bit
    path.write_bytes(raw)
    with pytest.raises(RoiError, match="found one that cannot be read: an item longer than its sequence"):
        read_roi(path, box_volume(), "P1")


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("delimited", [False, True])
def test_whole_files_of_every_syntax_are_read(tmp_path, syntax, delimited):
    made = rtstruct({"Tumor": tumor_contours()})
    if delimited:
        made["ROIContourSequence"].is_undefined_length = True
        made.ROIContourSequence[0].is_undefined_length_sequence_item = True
        made.ROIContourSequence[0]["ContourSequence"].is_undefined_length = True
    path = as_syntax(made, syntax, tmp_path / "rt")
    assert np.array_equal(read_roi(path, box_volume(), "P1").voxels, box_tumor())
    path.write_bytes(path.read_bytes() + bytes(20))
    assert np.array_equal(read_roi(path, box_volume(), "P1").voxels, box_tumor())
    path.write_bytes(path.read_bytes() + b"more than zeros")
    with pytest.raises(RoiError, match=r"cannot be read: .*(no attribute|no element|longer than|twice)"):
        read_roi(path, box_volume(), "P1")


def test_every_changed_length_of_an_item_is_refused(tmp_path):
    path = as_syntax(rtstruct({"Tumor": tumor_contours()}), ExplicitVRLittleEndian, tmp_path / "rt")
    whole = path.read_bytes()
    items = [at for at in range(132, len(whole)) if whole[at : at + 4] == ITEM]
    assert len(items) == 10
    for place in items:
        for bit in range(16):
            raw = bytearray(whole)
            raw[place + 4 + bit // 8] ^= 1 << bit % 8
            path.write_bytes(raw)
            with pytest.raises(RoiError):
                read_roi(path, box_volume(), "P1")


def test_an_attribute_that_is_there_twice_is_refused(tmp_path):
    """pydicom takes the last."""
    path = save(rtstruct({"Tumor": tumor_contours()}), tmp_path / "rt")
    whole = path.read_bytes()
    start = whole.index(b"\x06\x30\x39\x00")
    path.write_bytes(whole + whole[start:])
    with pytest.raises(RoiError, match=r"the attribute \(3006,0039\) twice"):
        read_roi(path, box_volume(), "P1")


def test_contours_over_64_kb_are_read(tmp_path):
    """In explicit VR such a value is written as UN (PS3.5 6.2.2)."""
    fine = []
    for s in range(1, 5):
        ends = np.linspace(9.5, 21.5, 2001)[:-1], np.linspace(7.5, 17.5, 2001)[:-1]
        sides = [(row, 7.5) for row in ends[0]], [(21.5, col) for col in ends[1]]
        back = [(31 - row, 17.5) for row in ends[0]], [(9.5, 25 - col) for col in ends[1]]
        fine.append(at(s, [*sides[0], *sides[1], *back[0], *back[1]]))
    path = as_syntax(rtstruct({"Tumor": fine}), ExplicitVRLittleEndian, tmp_path / "rt")
    stored = pydicom.dcmread(path).ROIContourSequence[0].ContourSequence[0]["ContourData"]
    assert stored.VR == "UN"
    roi = read_roi(path, box_volume(), "P1")
    assert np.array_equal(roi.voxels, box_tumor())
    assert roi.findings == ()


# ---- contours


@pytest.mark.parametrize("told", [0, 3, 5, 400])
def test_another_number_of_points_than_told_is_refused(tmp_path, told):
    made = rtstruct({"Tumor": tumor_contours()})
    made.ROIContourSequence[0].ContourSequence[1].NumberOfContourPoints = told
    with pytest.raises(RoiError, match=f"found one of 4 points that says {told}"):
        read_roi(save(made, tmp_path / "rt"), box_volume(), "P1")
    del made.ROIContourSequence[0].ContourSequence[1].NumberOfContourPoints
    assert np.array_equal(read_roi(save(made, tmp_path / "rt"), box_volume(), "P1").voxels, box_tumor())


@pytest.mark.parametrize("spoilt", [b"\r7.7500", b"\xad7.7500", b"-7.7\x1100", b"-7,7500"])
def test_coordinates_that_are_no_decimal_numbers_are_refused(tmp_path, spoilt):
    """A lost sign would be read as a place on the other side."""
    path = save(rtstruct({"Tumor": tumor_contours()}), tmp_path / "rt")
    whole = path.read_bytes()
    assert b"-7.7500" in whole
    path.write_bytes(whole.replace(b"-7.7500", spoilt, 1))
    with pytest.raises(RoiError, match="coordinates that are no decimal numbers"):
        read_roi(path, box_volume(), "P1")


def test_contours_of_an_roi_that_is_not_described_are_refused(tmp_path):
    made = rtstruct({"Tumor": tumor_contours(), "Kidney": [box(2, 25, 30, 25, 30)]})
    made.ROIContourSequence[1].ReferencedROINumber = 7
    with pytest.raises(RoiError, match="contours of ROI 7, which is not described"):
        read_roi(save(made, tmp_path / "rt"), box_volume(), "P1")


def test_a_contour_that_crosses_itself_is_told(tmp_path):
    crossed = at(4, [(9.5, 7.5), (21.5, 17.5), (9.5, 17.5), (21.5, 7.5)])
    keyhole = [(9.5, 7.5), (9.5, 17.5), (21.5, 17.5), (21.5, 7.5), (15.5, 7.5)]
    hole = [(15.5, 10.5), (13.5, 10.5), (13.5, 12.5), (15.5, 12.5), (15.5, 10.5)]
    keyholes = [at(4, [*keyhole, *way, (15.5, 7.5)]) for way in (hole, hole[::-1])]
    plain = [*keyholes, box(4, 10, 22, 8, 18)]
    for contour, told in ((crossed, ["roi-crossing-contours"]), *((one, []) for one in plain)):
        path = save(rtstruct({"Tumor": [*tumor_contours()[:3], contour]}), tmp_path / "rt")
        assert codes(read_roi(path, box_volume(), "P1")) == told


def test_points_in_another_order_are_told(tmp_path):
    """A circle whose points are swapped in pairs."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([20 + 8 * np.sin(angle), 20 + 8 * np.cos(angle)], axis=1)
    for first, second in ((3, 9), (0, 12), (5, 8)):
        swapped = circle.copy()
        swapped[[first, second]] = swapped[[second, first]]
        path = save(rtstruct({"Tumor": [at(2, swapped)]}), tmp_path / "rt")
        assert codes(read_roi(path, box_volume(), "P1")) == ["roi-crossing-contours"]


def test_windings_by_hand():
    """An 8 turns one way above and the other way below; twice around counts twice."""
    around = windings(np.array([(-0.5, -0.5), (-0.5, 1.5), (3.5, -0.5), (3.5, 1.5)], float), (4, 2))
    assert around[0].tolist() == [-1, -1]
    assert around[3].tolist() == [1, 1]
    square = [(-0.5, -0.5), (-0.5, 1.5), (1.5, 1.5), (1.5, -0.5)]
    assert windings(np.array(square * 2, float), (2, 3)).tolist() == [[-2, -2, 0], [-2, -2, 0]]


# ---- frames of reference


@pytest.mark.parametrize("own", [True, False])
def test_an_rtstruct_in_another_frame_of_reference_is_told(tmp_path, own):
    images = dicom_slices(uid="1.2.3")
    volume = read_dicom_series(write_slices(images, tmp_path / "ct"))
    made = rtstruct({"Tumor": tumor_contours()})
    if own:
        made.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.840.99"
    assert codes(read_roi(save(made, tmp_path / "rt"), volume, "P1")) == ["roi-frame-differs"]
    named = made.StructureSetROISequence[0] if own else made.ReferencedFrameOfReferenceSequence[0]
    named[("ReferencedFrameOfReferenceUID" if own else "FrameOfReferenceUID")].value = images[
        0
    ].FrameOfReferenceUID
    assert codes(read_roi(save(made, tmp_path / "rt"), volume, "P1")) == []


def test_a_seg_in_another_frame_of_reference_is_told(tmp_path):
    images = dicom_slices(uid="1.2.3")
    volume = read_dicom_series(write_slices(images, tmp_path / "ct"))
    path = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg")
    assert codes(read_roi(path, volume, "P1")) == []
    seg = pydicom.dcmread(path)
    seg.FrameOfReferenceUID = "1.2.840.99"
    seg.save_as(path)
    assert codes(read_roi(path, volume, "P1")) == ["roi-frame-differs"]


# ---- frames and pixels of a SEG


def changed_seg(tmp_path, change):
    images = dicom_slices(uid="1.2.3")
    path = write_seg(images, {"Kidney": np.roll(box_tumor(), 20, 2), "Tumor": box_tumor()}, tmp_path / "seg")
    seg = pydicom.dcmread(path)
    change(seg)
    seg.save_as(path, implicit_vr=False, little_endian=True, force_encoding=True)
    return path


def _segment_3(seg):
    seg.PerFrameFunctionalGroupsSequence[-1].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 3


def _no_places(seg):
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence


def _spacing(seg):
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.7, 0]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda seg: setattr(seg, "Rows", 39), r"1920 bytes of pixels, not the 1872 of 8 frames of 39 x 48"),
        (lambda seg: setattr(seg, "Rows", 20), r"1920 bytes of pixels, not the 960 of 8 frames"),
        (lambda seg: setattr(seg, "Columns", 47), r"1920 bytes of pixels, not the 1880 of 8 frames"),
        (lambda seg: setattr(seg, "Rows", 41), r"1920 bytes of pixels, not the 1968 of 8 frames"),
        (lambda seg: setattr(seg, "PixelData", seg.PixelData[:-2]), r"1918 bytes of pixels, not the 1920"),
        (
            lambda seg: setattr(seg, "PixelData", seg.PixelData + bytes(2)),
            r"1922 bytes of pixels, not the 1920",
        ),
        (lambda seg: setattr(seg, "NumberOfFrames", 7), r"8 frames described, 7 stored"),
        (lambda seg: seg.PerFrameFunctionalGroupsSequence.pop(), r"7 frames described, 8 stored"),
        (lambda seg: setattr(seg, "BitsAllocated", 8), r"1920 bytes of pixels, not the 15360"),
        (_segment_3, r"frames of segment 3, which is not described"),
        (_no_places, r"frames that do not say where they lie"),
        (_spacing, r"a frame without a usable position, orientation or pixel spacing"),
        (lambda seg: delattr(seg, "SegmentSequence"), r"no SegmentSequence"),
    ],
)
def test_a_seg_that_contradicts_itself_is_refused(tmp_path, change, found):
    with pytest.raises(RoiError, match=f"found one that cannot be read: {found}") as refused:
        read_roi(changed_seg(tmp_path, change), box_volume(), "P1")
    assert "Error" not in refused.value.found


def packed(seg, syntax, pack):
    """Each frame from a whole byte on, packed by itself."""
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    frames = bits[: seg.NumberOfFrames * seg.Rows * seg.Columns].reshape(seg.NumberOfFrames, -1)
    seg.PixelData = encapsulate([pack(np.packbits(frame, bitorder="little").tobytes()) for frame in frames])
    seg["PixelData"].is_undefined_length = True
    seg.file_meta.TransferSyntaxUID = UID(syntax)


def deflate(data):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def run_lengths(data):
    """One segment of RLE, each byte a run of its own."""
    coded = b"".join(bytes([0, byte]) for byte in data)
    return np.array([1, 64] + [0] * 14, "<u4").tobytes() + coded


PACKED = {"deflated": ("1.2.840.10008.1.2.8.1", deflate), "rle": ("1.2.840.10008.1.2.5", run_lengths)}


@pytest.mark.parametrize("form", PACKED)
def test_packed_frames_of_one_bit_are_read(tmp_path, form):
    path = changed_seg(tmp_path, lambda seg: packed(seg, *PACKED[form]))
    assert np.array_equal(read_roi(path, box_volume(), "P1").voxels, box_tumor())


@pytest.mark.parametrize("form", PACKED)
def test_packed_frames_of_another_size_are_refused(tmp_path, form):
    def change(seg):
        packed(seg, *PACKED[form])
        seg.Rows = 41

    with pytest.raises(RoiError, match="240 bytes for a frame of 41 x 48 pixels of 1 bits"):
        read_roi(changed_seg(tmp_path, change), box_volume(), "P1")


def test_a_syntax_without_a_decoder_is_named(tmp_path):
    def change(seg):
        packed(seg, "1.2.840.10008.1.2.4.100", deflate)

    with pytest.raises(
        RoiError, match=r"frames in MPEG2 .*, for which there is no decoder here; export it uncompr"
    ):
        read_roi(changed_seg(tmp_path, change), box_volume(), "P1")


def test_a_label_map_seg_with_other_values_is_refused(tmp_path):
    images = dicom_slices(uid="1.2.3")
    masks = {"Kidney": np.roll(box_tumor(), 20, 2), "Tumor": box_tumor()}
    path = write_seg(images, masks, tmp_path / "seg", kind="LABELMAP")
    assert np.array_equal(read_roi(path, box_volume(), "P1").voxels, box_tumor())
    seg = pydicom.dcmread(path)
    seg.PixelData = b"\x09" + seg.PixelData[1:]
    seg.save_as(path)
    with pytest.raises(RoiError, match="pixels of a segment that is not described"):
        read_roi(path, box_volume(), "P1")


def test_a_seg_of_far_more_pixels_than_its_ct_is_not_unpacked(tmp_path):
    """A deflated gigabyte of nothing, in a small file."""
    import tracemalloc

    def change(seg):
        packed(seg, "1.2.840.10008.1.2.8.1", lambda frame: deflate(bytes(2**20)))
        seg.Rows = seg.Columns = 32768

    path = changed_seg(tmp_path, change)
    tracemalloc.start()
    with pytest.raises(RoiError, match=r"expected at most 33554432 voxels, found 4 frames of 32768 x 32768"):
        read_roi(path, box_volume(), "P1")
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()
