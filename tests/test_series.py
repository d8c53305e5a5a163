"""One series in HU, however it is stored; compared with pydicom alone and with SimpleITK to the value."""

import struct
import time
import warnings
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.misc import is_dicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from compress import compress
from ct_files import enhanced_ct
from nephroscope.base.errors import SeriesError
from nephroscope.imaging.dicom.series import read_dicom_series
from phantoms import box_affine, box_hu, dicom_slices, set_stored, write_slices


def same_as_the_box(volume):
    return np.array_equal(volume.hu, box_hu()) and np.allclose(
        volume.geometry.affine, box_affine(), atol=1e-6
    )


def codes(volume):
    return [finding.code for finding in volume.findings]


# ---- what does not matter


def test_files_from_several_folders_in_any_order_with_any_name(tmp_path):
    images = dicom_slices()
    paths = []
    for number, image in enumerate(images):
        path = tmp_path / f"folder{number % 2}" / f"{(number * 5) % 7} näme"
        path.parent.mkdir(exist_ok=True)
        image.save_as(path, enforce_file_format=True)
        paths.append(path)
    for order in (paths, paths[::-1], tuple(paths[i] for i in (3, 0, 5, 2, 4, 1))):
        assert same_as_the_box(read_dicom_series(order))


def test_a_series_is_chosen_by_its_uid_in_a_mixed_folder(tmp_path):
    one, other = dicom_slices(uid="1.2.3.4"), dicom_slices(uid="1.2.3.5")
    for image in other:
        set_stored(image, image.pixel_array.astype(int) + 7)
    write_slices(one + other, tmp_path)
    assert same_as_the_box(read_dicom_series(tmp_path, "1.2.3.4"))
    volume = read_dicom_series(sorted(tmp_path.iterdir()), series_uid="1.2.3.5")
    assert np.array_equal(volume.hu, box_hu() + 7)
    assert volume.series_uid == "1.2.3.5"
    with pytest.raises(SeriesError, match=r"expected one CT series, found 2 CT series \(1.2.3.4, 1.2.3.5\)"):
        read_dicom_series(tmp_path)
    with pytest.raises(SeriesError, match=r"expected CT series 1.9, found 2 CT series \(1.2.3.4, 1.2.3.5\)"):
        read_dicom_series(tmp_path, "1.9")


def native(syntax):
    def write(image, path):
        image.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
        pydicom.dcmwrite(path, image, enforce_file_format=True)

    return write


def compressed(syntax):
    def write(image, path):
        if syntax in (JPEGLSLossless, RLELossless):
            image.compress(syntax, generate_instance_uid=False)  # by other encoders than our decoders
        else:
            compress(image, syntax)
        image.save_as(path)

    return write


def without_preamble(image, path):
    image.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes()[132:])


def dataset_alone(implicit, little=True):
    def write(image, path):
        del image.file_meta
        image.preamble = None
        image.save_as(path, implicit_vr=implicit, little_endian=little)

    return write


STORED_AS = {
    "implicit": native(ImplicitVRLittleEndian),
    "big endian": native(ExplicitVRBigEndian),
    "deflated": native(DeflatedExplicitVRLittleEndian),
    "JPEG lossless": compressed(JPEGLosslessSV1),
    "JPEG 2000": compressed(JPEG2000Lossless),
    "HTJ2K": compressed(HTJ2KLossless),
    "JPEG-LS": compressed(JPEGLSLossless),
    "RLE": compressed(RLELossless),
    "without preamble": without_preamble,
    "implicit dataset alone": dataset_alone(implicit=True),
    "explicit dataset alone": dataset_alone(implicit=False),
}


@pytest.mark.parametrize("name", STORED_AS)
def test_the_form_of_storage_does_not_matter(tmp_path, name):
    for number, image in enumerate(dicom_slices()):
        STORED_AS[name](image, tmp_path / f"{number}")
    assert same_as_the_box(read_dicom_series(tmp_path))


@pytest.mark.parametrize("name", ["JPEG lossless", "JPEG 2000", "HTJ2K", "JPEG-LS", "RLE"])
@pytest.mark.parametrize(("bits", "signed"), [(16, True), (12, False), (12, True)])
def test_compressed_signed_and_12_bit(tmp_path, name, bits, signed):
    """Stored values from -1000 to 300, or from 24 to 1324."""
    for number, image in enumerate(dicom_slices()):
        stored = box_hu()[number].astype(int) + (0 if signed else 1024)
        image.BitsStored, image.HighBit, image.PixelRepresentation = bits, bits - 1, int(signed)
        image.RescaleIntercept = 0 if signed else -1024
        image.PixelData = stored.astype("<i2").tobytes()
        STORED_AS[name](image, tmp_path / f"{number}")
    assert same_as_the_box(read_dicom_series(tmp_path))


# ---- stored values to HU


def store(image, stored, bits=16, signed=False, intercept=-1024):
    image.BitsStored, image.HighBit, image.PixelRepresentation = bits, bits - 1, int(signed)
    image.RescaleIntercept = intercept
    image.PixelData = np.asarray(stored).astype("<i8").astype("<u2").tobytes()


@pytest.mark.parametrize(
    ("bits", "signed", "intercept", "above"),
    [
        (16, False, -1024, 0),
        (16, True, 0, 0),
        (12, False, -1024, 0),
        (12, True, 0, 0),
        (12, False, -1024, 0x5000),  # overlay planes in the unused bits
        (12, True, 0, 0xF000),
        (16, False, -40000, 0),  # intercepts beyond int16
    ],
)
def test_stored_bits(tmp_path, bits, signed, intercept, above):
    images = dicom_slices()
    for image, hu in zip(images, box_hu(), strict=True):
        stored = (hu.astype(int) - intercept) & (0xFFFF if bits == 16 else 0xFFF)
        store(image, stored ^ above, bits, signed, intercept)
    assert same_as_the_box(read_dicom_series(write_slices(images, tmp_path)))


def test_a_high_bit_above_the_bits_stored(tmp_path):
    images = dicom_slices()
    for image, hu in zip(images, box_hu(), strict=True):
        store(image, (hu.astype(int) + 1024) << 4 | 5, bits=12)
        image.HighBit = 15
    assert same_as_the_box(read_dicom_series(write_slices(images, tmp_path)))


def test_the_lowest_stored_value_does_not_wrap_around(tmp_path):
    images = dicom_slices()
    for image, hu in zip(images, box_hu(), strict=True):
        stored = hu.astype(int) + 1024
        stored[0] = -32768
        store(image, stored, signed=True)
    hu = read_dicom_series(write_slices(images, tmp_path)).hu
    assert (hu[:, 0] == -1024).all()
    assert np.array_equal(hu[:, 1:], box_hu()[:, 1:])


def test_8_bits(tmp_path):
    images = dicom_slices()
    for image, hu in zip(images, box_hu(), strict=True):
        image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
        image.RescaleSlope, image.RescaleIntercept = 10, -1024
        image.PixelData = np.round((hu + 1024.0) / 10).astype(np.uint8).tobytes()
    volume = read_dicom_series(write_slices(images, tmp_path))
    assert np.array_equal(volume.hu, np.round((box_hu() + 1024.0) / 10) * 10 - 1024)


def test_fractions_are_rounded(tmp_path):
    images = dicom_slices()
    for image in images:
        image.RescaleSlope, image.RescaleIntercept = "0.5", "-1024.25"
    stored = np.stack([image.pixel_array for image in images])
    expected = np.maximum(np.rint(stored * 0.5 - 1024.25), -1024)
    assert np.array_equal(read_dicom_series(write_slices(images, tmp_path)).hu, expected)


@pytest.mark.parametrize(
    ("bits", "signed", "value", "vr", "said"),
    [
        (16, True, -2000, "SS", -2000),
        (16, True, -2000, "US", 63536),  # the wrong VR for a signed value
        (12, True, -2000, "SS", -2000),
        (12, False, 63536, "US", 63536),  # more than 12 bits hold: seen before the bits above are masked
        (16, True, 1500, "SS", 1500),
        (16, True, -900, "US", 64636),
    ],
)
def test_padding_becomes_air(tmp_path, bits, signed, value, vr, said):
    images = dicom_slices()
    intercept = 0 if signed else -1024
    for image, hu in zip(images, box_hu(), strict=True):
        stored = hu.astype(int) - intercept
        stored[:3] = value
        store(image, stored, bits, signed, intercept)
        image.add_new("PixelPaddingValue", vr, said)
    expected = box_hu()
    expected[:, :3] = -1024
    assert np.array_equal(read_dicom_series(write_slices(images, tmp_path)).hu, expected)


def test_padding_with_the_value_of_water_is_air_around_and_water_within(tmp_path):
    images = dicom_slices()
    for image, hu in zip(images, box_hu(), strict=True):
        stored = hu.astype(int)
        stored[:, :3] = stored[:, 46:] = stored[20, 20] = 0
        store(image, stored, signed=True, intercept=0)
        image.add_new("PixelPaddingValue", "SS", 0)
    hu = read_dicom_series(write_slices(images, tmp_path)).hu
    assert (hu[:, 20, 20] == 0).all()
    assert (hu[:, :, :3] == -1024).all()
    assert (hu[:, :, 46:] == -1024).all()


def all_stored(change):
    def apply(images):
        for image, hu in zip(images, box_hu(), strict=True):
            change(image, hu.astype(int))

    return apply


def rescale_type(images):
    images[2].RescaleType = "OD"


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (rescale_type, "rescale-type", "Rescale Type is OD, not HU"),
        (
            all_stored(lambda image, hu: store(image, hu + 1024, intercept=0)),
            "hu-implausible",
            "no air (from 24 to 1324 HU), as if the intercept of -1024 had been lost",
        ),
        (all_stored(lambda image, hu: store(image, hu + 5000)), "hu-implausible", "hardly anything between"),
        (all_stored(lambda image, hu: store(image, hu // 40 + 40)), "hu-implausible", "nothing above -97"),
        (
            all_stored(lambda image, hu: store(image, np.maximum(hu, 0) + 1024)),
            "hu-implausible",
            "no air (from 0 to 300",
        ),
    ],
)
def test_doubtful_units_are_a_warning(tmp_path, spoil, code, words):
    images = dicom_slices()
    assert codes(read_dicom_series(write_slices(images, tmp_path / "good"))) == []
    spoil(images)
    (finding,) = read_dicom_series(write_slices(images, tmp_path / "bad")).findings
    assert (finding.code, finding.severity) == (code, "warning")
    assert words in finding.message


# ---- multi-frame


@pytest.mark.parametrize("order", [range(6), (3, 0, 5, 2, 4, 1)])
def test_enhanced_ct_with_frames_in_any_order(tmp_path, order):
    write_slices([enhanced_ct(order)], tmp_path)
    assert same_as_the_box(read_dicom_series(tmp_path))


@pytest.mark.parametrize("name", ["JPEG lossless", "JPEG 2000", "RLE", "big endian", "deflated", "implicit"])
def test_enhanced_ct_in_other_syntaxes(tmp_path, name):
    STORED_AS[name](enhanced_ct((3, 0, 5, 2, 4, 1)), tmp_path / "IM1")
    assert same_as_the_box(read_dicom_series(tmp_path))


def test_a_concatenation_is_one_series(tmp_path):
    parts = [enhanced_ct((0, 2, 4)), enhanced_ct((5, 3, 1))]
    for number, part in enumerate(parts):
        part.SeriesInstanceUID, part.InConcatenationNumber = "1.2.9", number + 1
    write_slices(parts, tmp_path)
    assert same_as_the_box(read_dicom_series(tmp_path))


@pytest.mark.parametrize("stacks", [False, True])
def test_several_volumes_in_one_file(tmp_path, stacks):
    write_slices([enhanced_ct(times=(1, 2), shift_hu=2, stacks=stacks)], tmp_path)
    with pytest.raises(
        SeriesError, match=r"one acquisition, found 2 acquisitions in one series.*import dicom"
    ):
        read_dicom_series(tmp_path)
    assert same_as_the_box(read_dicom_series(tmp_path, acquisition=1))
    assert np.array_equal(read_dicom_series(tmp_path, acquisition=2).hu, box_hu() + 2)
    with pytest.raises(SeriesError, match="expected acquisition 3, found 2 acquisitions"):
        read_dicom_series(tmp_path, acquisition=3)


def test_acquisitions_in_single_frames(tmp_path):
    one, two = dicom_slices(uid="1.2.3"), dicom_slices(uid="1.2.3")
    for image in two:
        image.AcquisitionNumber = 2
        set_stored(image, image.pixel_array.astype(int) + 2)
    for image in one:
        image.AcquisitionNumber = 1
    write_slices(one + two, tmp_path)
    with pytest.raises(SeriesError, match="found 2 acquisitions in one series"):
        read_dicom_series(tmp_path)
    assert np.array_equal(read_dicom_series(sorted(tmp_path.iterdir())[6:]).hu, box_hu() + 2)
    assert np.array_equal(read_dicom_series(tmp_path, acquisition=2).hu, box_hu() + 2)


def test_legacy_converted_ct(tmp_path):
    """highdicom writes it, with InstanceNumber and SOP Instance UIDs of the sources inside."""
    import highdicom as hd

    images = dicom_slices()
    for image in images:
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.PatientOrientation = image.StudyDescription = ""
        image.Manufacturer = image.ReferringPhysicianName = image.BodyPartExamined = ""
        image.PositionReferenceIndicator = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = hd.legacy.LegacyConvertedEnhancedCTImage(
            images,
            series_instance_uid=generate_uid(),
            series_number=3,
            sop_instance_uid=generate_uid(),
            instance_number=1,
        )
        whole.save_as(tmp_path / "IM1")
    assert same_as_the_box(read_dicom_series(tmp_path))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda image: delattr(image, "PerFrameFunctionalGroupsSequence"),
            "functional group for each frame, found 0 for 6",
        ),
        (lambda image: setattr(image, "NumberOfFrames", 5), "found 6 for 5 frames"),
        (
            lambda image: delattr(image, "SharedFunctionalGroupsSequence"),
            "ImageOrientationPatient in every slice",
        ),
        (
            lambda image: image.PerFrameFunctionalGroupsSequence[2].pop("PlanePositionSequence"),
            "ImagePositionPatient in every slice, found none in 1 of 6, first in IM 1 frame 3",
        ),
        (
            lambda image: setattr(image, "PixelData", image.PixelData[:-2]),
            "is cut short or damaged .23038 bytes for 6 of 40",
        ),
        (
            lambda image: setattr(
                image.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0],
                "ImagePositionPatient",
                [-20, -30.5, 100],
            ),
            r"each slice at a different position, found IM 1 frame 1 and IM 1 frame 3",
        ),
    ],
)
def test_spoilt_multi_frame(tmp_path, spoil, words):
    image = enhanced_ct()
    spoil(image)
    with pytest.raises(SeriesError, match=words):
        read_dicom_series(write_slices([image], tmp_path))


# ---- copies


def test_copies_are_dropped_and_declared(tmp_path):
    images = dicom_slices()
    write_slices([*images, images[2], images[4]], tmp_path)
    volume = read_dicom_series(tmp_path)
    assert same_as_the_box(volume)
    (note,) = volume.findings
    assert (note.code, note.severity) == ("duplicate-files", "note")
    assert note.message == "left out 2 slices: copies of others of the series"


def test_a_compressed_copy_is_a_copy(tmp_path):
    images = dicom_slices()
    write_slices(images, tmp_path)
    compressed(RLELossless)(images[2], tmp_path / "again")
    volume = read_dicom_series(tmp_path)
    assert same_as_the_box(volume)
    assert codes(volume) == ["duplicate-files"]


def test_a_multi_frame_file_twice(tmp_path):
    write_slices([enhanced_ct()] * 2, tmp_path)
    volume = read_dicom_series(tmp_path)
    assert same_as_the_box(volume)
    assert volume.findings[0].message.startswith("left out 6 slices: copies")


def test_two_images_with_one_uid_are_refused(tmp_path):
    images = dicom_slices()
    write_slices(images, tmp_path)
    set_stored(images[2], images[2].pixel_array + 1)
    images[2].save_as(tmp_path / "again", enforce_file_format=True)
    with pytest.raises(
        SeriesError,
        match=r"each SOP Instance UID on one image only, found two different images for IM 3 \(SOP",
    ):
        read_dicom_series(tmp_path)


# ---- damage


def refused(folder, **how):
    started = time.perf_counter()
    with pytest.raises(SeriesError) as caught:
        read_dicom_series(folder, **how)
    assert time.perf_counter() - started < 5
    assert "Secret" not in str(caught.value)
    return str(caught.value)


def test_absurd_dimensions_are_refused_before_memory_is_asked_for(tmp_path):
    images = dicom_slices()
    for image in images:
        image.Rows = image.Columns = 65535
    text = refused(write_slices(images, tmp_path))
    assert "at most 536870912 voxels, found 25769017350 in 6 slices of 65535 x 65535" in text


def test_rows_that_do_not_fit_the_pixels(tmp_path):
    images = dicom_slices()
    for image in images:
        image.Rows = 41
    assert "damaged (3840 bytes for 1 of 41 x 48 pixels)" in refused(
        write_slices(images, tmp_path / "native")
    )
    for name in ("JPEG 2000", "JPEG-LS"):
        for number, image in enumerate(dicom_slices()):
            (tmp_path / name).mkdir(exist_ok=True)
            compress(image, {"JPEG 2000": JPEG2000Lossless, "JPEG-LS": JPEGLSLossless}[name])
            image.Columns = 49
            image.save_as(tmp_path / name / f"{number}")
        assert "damaged (40 x 48 pixels for 40 x 49)" in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["JPEG lossless", "JPEG 2000", "HTJ2K", "JPEG-LS", "RLE", "deflated"])
def test_truncated_compressed_files(tmp_path, name):
    for number, image in enumerate(dicom_slices()):
        STORED_AS[name](image, tmp_path / f"{number}")
    path = tmp_path / "3"
    whole = path.read_bytes()
    for share in (0.7, 0.9, 0.98):
        path.write_bytes(whole[: int(len(whole) * share)])
        refused(tmp_path)


@pytest.mark.parametrize("name", ["JPEG lossless", "JPEG 2000", "HTJ2K", "JPEG-LS", "RLE"])
def test_a_code_stream_that_ends_early_in_a_whole_file(tmp_path, name):
    for number, image in enumerate(dicom_slices()):
        STORED_AS[name](image, tmp_path / f"{number}")
    image = pydicom.dcmread(tmp_path / "3")
    frame = next(generate_frames(image.PixelData, number_of_frames=1))
    for cut in (1, 2, 20):
        image.PixelData = encapsulate([frame.rstrip(b"\0")[: -2 * cut]])
        image.save_as(tmp_path / "3")
        assert "is cut short or damaged" in refused(tmp_path)


def test_an_rle_frame_that_is_too_long(tmp_path):
    for number, image in enumerate(dicom_slices()):
        image.compress(RLELossless, generate_instance_uid=False)
        image.Columns = 47
        image.save_as(tmp_path / f"{number}")
    assert "damaged (1920 bytes for 1880 pixels)" in refused(tmp_path)


def test_bits_that_contradict_each_other(tmp_path):
    images = dicom_slices()
    images[1].BitsStored = 17
    text = refused(write_slices(images, tmp_path))
    assert "decodable pixel data in IM 2" in text
    assert "bits allocated 16, stored 17, high bit 15" in text


def test_a_deflate_bomb(tmp_path):
    write_slices(dicom_slices(), tmp_path)
    image = dicom_slices()[0]
    native(DeflatedExplicitVRLittleEndian)(image, tmp_path / "bomb")
    content = (tmp_path / "bomb").read_bytes()
    end = 144 + struct.unpack_from("<L", content, 140)[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(2**20)
    bomb = b"".join(packer.compress(zeros) for _ in range(300)) + packer.flush()
    (tmp_path / "bomb").write_bytes(content[:end] + bomb)
    words = "a whole DICOM file, found one that is cut short or damaged (it unpacks to far too much)"
    assert words in refused(tmp_path)


def test_sequences_a_thousand_deep(tmp_path):
    images = dicom_slices()
    write_slices(images, tmp_path)
    # Undefined lengths, written by hand: the writer would recurse too deep itself.
    start, stop = (
        b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff",
        b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
    )
    content = (tmp_path / "IM003").read_bytes()
    at = content.index(b"\x08\x00\x60\x00CS")
    for depth in (3000, 50_000):
        for nested in (start * depth + stop * depth, start * depth):
            (tmp_path / "IM003").write_bytes(content[:at] + nested + content[at:])
            assert "found one that is cut short or damaged" in refused(tmp_path)


def test_a_damaged_file_beside_the_series_is_a_doubt(tmp_path):
    write_slices(dicom_slices(uid="1.2.3"), tmp_path)
    content = (tmp_path / "IM000").read_bytes()
    (tmp_path / "JOHN_DOE_1950.dcm").write_bytes(content[: content.index(b"1.2.3\0") - 12])
    volume = read_dicom_series(tmp_path, "1.2.3")
    assert same_as_the_box(volume)
    assert codes(volume) == ["damaged-files"]
    text = refused(tmp_path)
    assert text.startswith("a file of ")
    assert "DOE" not in text


def test_a_damaged_file_of_the_series_is_a_refusal(tmp_path):
    write_slices(dicom_slices(uid="1.2.3"), tmp_path)
    content = (tmp_path / "IM000").read_bytes()
    (tmp_path / "IM000").write_bytes(content[: content.index(b"\x28\x00\x10\x00US")])
    assert "file IM000: expected a whole DICOM file" in refused(tmp_path, series_uid="1.2.3")


def test_nothing_of_a_header_reaches_the_log(tmp_path, caplog):
    """pydicom quotes values that it finds wrong, and they may be anyone's."""
    images = dicom_slices()
    write_slices(images, tmp_path)
    path = tmp_path / "IM003"
    path.write_bytes(
        path.read_bytes().replace(
            b"UI\x1a\x001.2.840.10008.5.1.4.1.1.2\0", b"UI\x1a\x00Secret^Name 10008.5.1.4.1\0"
        )
    )
    with pytest.raises(SeriesError, match="apart"):
        read_dicom_series(tmp_path)
    assert caplog.records == []


def test_files_that_only_look_like_dicom_are_passed_over(tmp_path):
    write_slices(dicom_slices(), tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "noise").write_bytes(rng.bytes(5000))
    (tmp_path / "zeros").write_bytes(bytes(5000))
    (tmp_path / "begins").write_bytes(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + rng.bytes(5000))
    (tmp_path / "short").write_bytes(b"\x08\x00\x05\x00")
    assert same_as_the_box(read_dicom_series(tmp_path))


@pytest.mark.parametrize(
    "name", ["plain", "enhanced", "JPEG 2000", "JPEG-LS", "RLE", "deflated", "big endian"]
)
def test_flipped_bits_never_crash(tmp_path, name, capfd):
    """Each header byte in turn is inverted in one of the files: an answer or a refusal, nothing else."""
    if name == "enhanced":
        write_slices([enhanced_ct()], tmp_path)
    else:
        for number, image in enumerate(dicom_slices()):
            write = STORED_AS.get(name, native("1.2.840.10008.1.2.1"))
            write(image, tmp_path / f"IM{number:03d}")
    path = sorted(tmp_path.iterdir())[-1]
    whole = path.read_bytes()
    said = []
    end = 3000 if name != "plain" else len(whole) - 3840
    places = range(0, min(end, len(whole)), 7)
    for place in places:
        spoilt = bytearray(whole)
        spoilt[place] ^= 0xFF
        path.write_bytes(spoilt)
        try:
            read_dicom_series(tmp_path)
        except SeriesError as error:
            said.append(str(error))
    assert len(said) > len(places) / 20
    assert not any("Secret" in text for text in said)
    assert capfd.readouterr() == ("", "")


# ---- real files beside SimpleITK and pydicom

REAL = (
    "ct_with_kidneys/example_ct_dicom",
    "dicom_seg/ct-3slice",
    "dicom_seg/23x38x3/image",
    "rtstruct/oriented_data",
    "rtstruct/one_slice_data",
)


@pytest.mark.parametrize("name", REAL)
def test_voxels_are_those_of_simpleitk_and_pydicom(test_data, name):
    sitk = pytest.importorskip("SimpleITK")
    folder = test_data / name
    volume = read_dicom_series(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    theirs = np.maximum(np.rint(sitk.GetArrayFromImage(image)), -1024)
    index_to_mm = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    for s, r, c in [(0, 0, 0), (len(volume.hu) - 1, 5, 9), (len(volume.hu) // 2, volume.hu.shape[1] - 1, 3)]:
        mm = volume.geometry.affine[:3] @ (s, r, c, 1)
        x, y, z = np.rint(np.linalg.solve(index_to_mm, mm - image.GetOrigin())).astype(int)
        assert theirs[z, y, x] == volume.hu[s, r, c]
        assert np.allclose(image.TransformIndexToPhysicalPoint([int(x), int(y), int(z)]), mm, atol=0.02)
    assert sorted(theirs.shape) == sorted(volume.hu.shape)
    assert np.array_equal(np.sort(theirs.ravel()), np.sort(volume.hu.ravel()))
    if theirs.shape == volume.hu.shape:
        assert np.array_equal(theirs, volume.hu) or name == "rtstruct/oriented_data"
    files = [pydicom.dcmread(p) for p in folder.iterdir() if is_dicom(p)]
    one = next(f for f in files if "PixelData" in f)
    hu = np.maximum(np.rint(one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)), -1024)
    ours = volume.hu.reshape(len(volume.hu), -1)
    assert (
        any(np.array_equal(np.sort(plane), np.sort(hu.ravel())) for plane in ours)
        or name == "rtstruct/oriented_data"
    )


def test_real_files_that_are_no_ct_are_passed_over(tmp_path, test_data):
    write_slices(dicom_slices(), tmp_path)
    for name in ("no-pixel-spacing", "no-pixel-data"):  # ultrasound, a text report
        (tmp_path / name).write_bytes((test_data / "dicom_transfer_syntaxes" / f"{name}.dcm").read_bytes())
    assert same_as_the_box(read_dicom_series(tmp_path))


def test_lossy_syntaxes_are_read_too(tmp_path, test_data):
    folder = test_data / "dicom_transfer_syntaxes"
    plain = pydicom.dcmread(folder / "CTImage.dcm")
    expected = np.maximum(plain.pixel_array.astype(int) - 1024, -1024)
    for tail in ("4.81", "4.91"):
        (path,) = folder.glob(f"*_1.2.840.10008.1.2.{tail}.dcm")
        hu = read_dicom_series([path]).hu[0]
        assert np.abs(hu - expected).max() <= 12


@pytest.mark.parametrize("tail", ["4.50", "4.51", "4.57", "4.70", "4.80", "4.91"])
def test_a_jpeg_without_its_end_is_refused(tmp_path, test_data, tail):
    """Decoders fill what is missing, and say nothing."""
    (path,) = (test_data / "dicom_transfer_syntaxes").glob(f"*_1.2.840.10008.1.2.{tail}.dcm")
    image = pydicom.dcmread(path)
    frame = next(generate_frames(image.PixelData, number_of_frames=1)).rstrip(b"\0")
    image.PixelData = encapsulate([frame[:-4000]])
    image.save_as(tmp_path / "IM1")
    text = refused(tmp_path)
    assert "is cut short or damaged (frame 1 has no end)" in text


@pytest.mark.parametrize("tail", ["4.53", "4.55"])
def test_retired_syntaxes_are_named(test_data, tail):
    (path,) = (test_data / "dicom_transfer_syntaxes").glob(f"*_1.2.840.10008.1.2.{tail}.dcm")
    with pytest.raises(
        SeriesError,
        match=r"JPEG .*Non-Hierarchical .*, for which no decoder is installed; export the series uncomp",
    ):
        read_dicom_series([path])


def test_an_empty_functional_group_lacks_its_value(tmp_path):
    """Found by fuzzing: an empty data set is false, and must not stand in for the numbers that it lacks."""
    image = enhanced_ct()
    image.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0].clear()
    image.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    with pytest.raises(SeriesError, match="ImagePositionPatient in every slice"):
        read_dicom_series(tmp_path)


# ---- what slices say, compared with what they show and with each other


def with_values(index, **values):
    images = dicom_slices()
    for name, value in values.items():
        setattr(images[index], name, value)
    return images


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"RescaleSlope": "1e308"}, "HU of 16 bits in IM 4"),
        ({"RescaleSlope": -1}, "rescale slope above 0 in IM 4"),
    ],
)
def test_a_scale_that_gives_no_hu_is_refused(tmp_path, values, expected):
    assert expected in refused(write_slices(with_values(3, **values), tmp_path))


@pytest.mark.parametrize(
    "values",
    [
        {"RescaleIntercept": 0},
        {"RescaleIntercept": -1124},
        {"RescaleIntercept": -1016},
        {"RescaleSlope": "1.1"},
        {"RescaleSlope": "1e-9"},
        {"BitsStored": 8, "HighBit": 7},
        {"BitsStored": 12, "HighBit": 15},
    ],
    ids=str,
)
def test_a_slice_of_another_scale_that_does_not_fit_its_neighbours_is_a_finding(tmp_path, values):
    volume = read_dicom_series(write_slices(with_values(3, **values), tmp_path))
    (finding,) = (f for f in volume.findings if f.code == "slice-scale")
    assert (finding.severity, finding.message[:5]) == ("warning", "IM 4:")


def test_slices_of_different_scales_that_fit_each_other_are_no_finding(tmp_path):
    images = dicom_slices()
    for index, image in enumerate(images):
        image.RescaleIntercept = -1024 - 10 * index
        set_stored(image, box_hu()[index].astype(int) + 1024 + 10 * index)
    images[2].BitsStored, images[2].HighBit = 12, 11
    volume = read_dicom_series(write_slices(images, tmp_path))
    assert same_as_the_box(volume)
    assert not codes(volume)


@pytest.mark.parametrize("which", [slice(None), slice(3, 4)])
def test_monochrome1_is_a_way_to_show_the_same_values(tmp_path, which):
    images = dicom_slices()
    for image in images[which]:
        image.PhotometricInterpretation = "MONOCHROME1"
    volume = read_dicom_series(write_slices(images, tmp_path))
    assert same_as_the_box(volume)
    assert not codes(volume)


def test_one_inverted_slice_is_a_finding(tmp_path):
    images = with_values(3, PhotometricInterpretation="MONOCHROME1")
    set_stored(images[3], 2400 - (box_hu()[3].astype(int) + 1024))
    assert "slice-scale" in codes(read_dicom_series(write_slices(images, tmp_path)))


@pytest.mark.parametrize("spacing", [[900, 700], ["0.0009", "0.0007"]])
def test_a_pixel_spacing_no_ct_has_is_refused(tmp_path, spacing):
    images = dicom_slices()
    for image in images:
        image.PixelSpacing = spacing
    assert "voxels of 0.01 to 100 mm" in refused(write_slices(images, tmp_path))


def test_spacing_between_slices_is_compared_with_the_positions(tmp_path):
    for step_mm, found in (("2.5", []), ("-2.5", []), ("5", ["spacing-disagrees"])):
        images = dicom_slices()
        for image in images:
            image.SpacingBetweenSlices = step_mm
        volume = read_dicom_series(write_slices(images, tmp_path / step_mm))
        assert codes(volume) == found
        assert volume.geometry.spacing_mm[0] == 2.5


@pytest.mark.parametrize(("thickness", "severity"), [(2.5, "note"), (0, "warning"), (None, "warning")])
def test_one_slice_of_unknown_thickness_is_a_warning(tmp_path, thickness, severity):
    image = dicom_slices()[2]
    image.SliceThickness = thickness
    (finding,) = read_dicom_series(write_slices([image], tmp_path)).findings
    assert (finding.code, finding.severity) == ("single-slice", severity)


def test_the_last_slice_that_is_no_dicom_any_more_is_a_finding(tmp_path):
    """Without it the others are an even stack, and shorter."""
    write_slices(dicom_slices(), tmp_path)
    (tmp_path / "notes.txt").write_text("no slice")
    assert not codes(read_dicom_series(tmp_path))
    last = tmp_path / "IM005"
    whole = last.read_bytes()
    for damaged in (
        whole[:128] + b"DYCM" + whole[132:],
        whole.replace(b"1.2.840.10008.5.1.4.1.1.2", b"1.2.840.10008.5.1.4.1.9.2"),
        whole[:100],
        b"",
    ):
        last.write_bytes(damaged)
        volume = read_dicom_series(tmp_path)
        assert (volume.hu.shape[0], codes(volume)) == (5, ["damaged-files"])


# ---- no more is read than a header announces

SPARSE = 20 * 2**30


def with_tail(path):
    with path.open("r+b") as file:
        file.truncate(SPARSE)


def test_a_sparse_tail_behind_the_pixels_is_not_read(tmp_path):
    write_slices(dicom_slices(), tmp_path)
    with_tail(tmp_path / "IM002")
    assert same_as_the_box(read_dicom_series(tmp_path))


def test_a_copy_with_a_sparse_tail_is_a_copy(tmp_path):
    write_slices(dicom_slices(), tmp_path)
    (tmp_path / "copy").write_bytes((tmp_path / "IM002").read_bytes())
    with_tail(tmp_path / "copy")
    volume = read_dicom_series(tmp_path)
    assert same_as_the_box(volume)
    assert codes(volume) == ["duplicate-files"]


def test_compressed_pixels_with_a_sparse_tail_are_read_to_their_end(tmp_path):
    images = dicom_slices()
    for image in images:
        image.compress(RLELossless, generate_instance_uid=False)
    write_slices(images, tmp_path)
    with_tail(tmp_path / "IM002")
    assert same_as_the_box(read_dicom_series(tmp_path))


def test_a_header_that_was_not_copied_whole_and_ends_in_zeros_is_refused(tmp_path):
    write_slices(dicom_slices(), tmp_path)
    path = tmp_path / "IM002"
    whole = path.read_bytes()
    for kept in (whole.index(b"\x28\x00\x10\x00US"), whole.index(b"\xe0\x7f\x10\x00OW")):
        path.write_bytes(whole[:kept])
        with_tail(path)
        refused(tmp_path)


def test_a_value_of_gigabytes_in_a_sparse_file_is_refused(tmp_path):
    write_slices(dicom_slices(), tmp_path)
    path = tmp_path / "IM002"
    whole = bytearray(path.read_bytes())
    at = whole.index(b"\x08\x00\x16\x00UI")
    whole[at:at] = b"\x08\x00\x05\x00UT\x00\x00" + struct.pack("<L", 2**32 - 16)
    path.write_bytes(whole)
    with_tail(path)
    assert "a value longer than any header has" in refused(tmp_path)


def test_a_class_that_only_the_file_meta_information_lost_is_read(tmp_path):
    write_slices(dicom_slices(), tmp_path)
    last = tmp_path / "IM005"
    last.write_bytes(last.read_bytes().replace(b"1.2.840.10008.5.1.4.1.1.2", b"1.2.840.10008.5.1.4.1.9.2", 1))
    assert same_as_the_box(read_dicom_series(tmp_path))


def test_a_scout_that_looks_like_a_slice_is_a_warning(tmp_path):
    images = dicom_slices()
    images[-1].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    (finding,) = read_dicom_series(write_slices(images, tmp_path)).findings
    assert (finding.code, finding.severity) == ("scout-in-series", "warning")


@pytest.mark.parametrize("n_bytes", [2, 30, 94])
def test_bytes_put_in_before_the_pixels_are_noticed_by_those_left_over(tmp_path, n_bytes):
    write_slices(dicom_slices(), tmp_path)
    path = tmp_path / "IM002"
    whole = path.read_bytes()
    at = whole.index(b"\xe0\x7f\x10\x00OW") + 12
    path.write_bytes(whole[:at] + b"\x07" * n_bytes + whole[at:])
    assert "bytes behind its pixel data" in refused(tmp_path)


def test_attributes_and_padding_behind_the_pixels_are_allowed(tmp_path):
    images = dicom_slices()
    images[1].add_new(0xFFFCFFFC, "OB", bytes(100))
    images[2].private_block(0x7FE1, "X", create=True).add_new(1, "LO", "of a scanner")
    write_slices(images, tmp_path)
    path = tmp_path / "IM003"
    path.write_bytes(path.read_bytes() + bytes(512))
    assert same_as_the_box(read_dicom_series(tmp_path))


def test_a_folder_of_images_with_a_series_each_says_what_happened(tmp_path):
    images = dicom_slices()
    for number, image in enumerate(images):
        image.SeriesInstanceUID = f"1.2.3.{number}"
    text = refused(write_slices(images, tmp_path))
    assert "found 6 CT series" in text
    assert text.endswith("anonymize them again with one UID per series")


def swapped(images):
    one, two = images[2].ImagePositionPatient, images[3].ImagePositionPatient
    images[2].ImagePositionPatient, images[3].ImagePositionPatient = two, one


def located(images, wrong=None):
    for index, image in enumerate(images):
        image.SliceLocation = 400 - 2.5 * index
    if wrong is not None:
        images[wrong].SliceLocation = 397


def shuffled(images):
    for image, number in zip(images, (4, 1, 6, 2, 5, 3), strict=True):
        image.InstanceNumber = number


def restarted(images):
    for image, number in zip(images, (4, 5, 6, 1, 2, 3), strict=True):
        image.InstanceNumber = number


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (swapped, ["slice-place"]),
        (lambda images: located(images, wrong=4), ["slice-place"]),
        (lambda images: located(images), []),
        (lambda images: [setattr(image, "InstanceNumber", 6 - i) for i, image in enumerate(images)], []),
        (shuffled, []),
        (restarted, []),
    ],
)
def test_number_and_location_of_a_slice_are_compared_with_its_position(tmp_path, change, found):
    images = dicom_slices()
    change(images)
    assert codes(read_dicom_series(write_slices(images, tmp_path))) == found
