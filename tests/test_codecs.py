"""Compressed frames: every value as it was, and nothing read where data are missing or left over."""

import struct

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from compress import ENCODERS, LOSSLESS, jpeg_lossless
from nephroscope.imaging.dicom.codecs import (
    DECODERS,
    END,
    PixelDamageError,
    _shows_its_end,
    check_frame,
    coded_header,
    decode_frame,
    pydicom_plugin,
)

U1, U2, I2 = np.dtype("<u1"), np.dtype("<u2"), np.dtype("<i2")


def noise(shape=(41, 53), low=0, high=4096, dtype=U2):
    return np.random.default_rng(0).integers(low, high, shape).astype(dtype)


def ct(shape=(64, 80)):
    """A round body with noise in flat air: the last rows are all alike, as in most CT."""
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    body = (rows - shape[0] / 2) ** 2 + (cols - shape[1] / 2) ** 2 < (min(shape) / 2.5) ** 2
    return np.where(body, 1064 + noise(shape, -20, 20, I2), 24).astype(U2)


@pytest.mark.parametrize("dtype", ["<u1", "<i1", "<u2", "<i2"])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_frames_are_equal(syntax, dtype):
    low, high = (-100, 100) if dtype == "<i1" else (-2000, 2000) if dtype == "<i2" else (0, 200)
    stored = noise(low=low, high=high, dtype=dtype)
    decoded = decode_frame(bytes(ENCODERS[syntax](stored)), syntax, stored.shape, np.dtype(dtype))
    assert decoded.dtype == np.dtype(dtype)
    assert np.array_equal(decoded, stored)


@pytest.mark.parametrize("bits", [2, 8, 10, 12, 13, 16])
@pytest.mark.parametrize("predictor", range(1, 8))
def test_jpeg_lossless_of_every_predictor_and_depth(predictor, bits):
    """Flat pictures and pictures of the middle value look like missing data, and are none."""
    dtype = U1 if bits <= 8 else U2
    middle = 1 << (bits - 1)
    pictures = [noise(high=1 << bits), *(np.full((24, 31), value) for value in (0, middle, 2 * middle - 1))]
    for value, part in ((middle, np.s_[-1]), (middle, np.s_[-1, 0]), (middle, np.s_[-9:])):
        pictures.append(noise(high=1 << bits))
        pictures[-1][part] = value
    for picture in pictures:
        frame = jpeg_lossless(picture.astype(dtype), predictor, bits)
        assert np.array_equal(
            decode_frame(frame, JPEGLosslessSV1, picture.shape, dtype), picture.astype(dtype)
        )


def lossless_by_hand(picture, predictor, *, restart_rows=0, shift=0, fill="1", categories=range(17)):
    """JPEG lossless of 12 bits as other encoders write it: restart markers, point transform, bits 0 at the end."""
    values, middle = (picture >> shift).astype(int), 1 << (11 - shift)
    rows, cols = values.shape
    markers = struct.pack(">2sHBHHB3s", b"\xff\xc3", 11, 12, rows, cols, 1, b"\1\x11\0")
    markers += struct.pack(">2sHB16s17s", b"\xff\xc4", 36, 0, b"\0\0\0\0\x11" + bytes(11), bytes(categories))
    if restart_rows:
        markers += struct.pack(">2sHH", b"\xff\xdd", 4, restart_rows * cols)
    markers += struct.pack(">2sH6s", b"\xff\xda", 8, bytes([1, 1, 0, predictor, 0, shift]))
    bits = [""]
    for r, c in np.ndindex(rows, cols):
        first = r == 0 or (restart_rows and r % restart_rows == 0)
        if first and r and c == 0:
            bits.append("")
        left, upper, corner = values[r, c - 1], values[r - 1, c], values[r - 1, c - 1]
        predicted = {
            1: left,
            2: upper,
            3: corner,
            4: left + upper - corner,
            5: left + ((upper - corner) >> 1),
            6: upper + ((left - corner) >> 1),
            7: (left + upper) >> 1,
        }[predictor]
        predicted = (left if c else middle) if first else predicted if c else upper
        difference = int(values[r, c] - predicted)
        category = abs(difference).bit_length()
        bits[-1] += f"{list(categories).index(category):05b}"
        if category:
            bits[-1] += f"{difference if difference > 0 else difference + (1 << category) - 1:0{category}b}"
    parts = [part + fill * (-len(part) % 8) for part in bits]
    coded = [bytes(int(part[at : at + 8], 2) for at in range(0, len(part), 8)) for part in parts]
    stuffed = [part.replace(b"\xff", b"\xff\0") for part in coded]
    scan = b"".join(part + b"\xff" + bytes([0xD0 + number % 8]) for number, part in enumerate(stuffed[:-1]))
    return b"\xff\xd8" + markers + scan + stuffed[-1] + END


@pytest.mark.parametrize("categories", [range(17), [3, 0, 1, 2, *range(4, 17)], range(16, -1, -1)])
@pytest.mark.parametrize(
    ("restart_rows", "shift", "fill"), [(0, 0, "1"), (0, 0, "0"), (0, 2, "1"), (1, 0, "1"), (5, 0, "1")]
)
@pytest.mark.parametrize("predictor", range(1, 8))
def test_jpeg_lossless_by_another_encoder(predictor, restart_rows, shift, fill, categories):
    ending_in_middle = noise((20, 13))
    ending_in_middle[-2:] = 2048
    for picture in (noise((20, 13)), ending_in_middle, np.full((20, 13), 2048, U2), np.full((20, 13), 8, U2)):
        picture = (picture >> shift) << shift
        frame = lossless_by_hand(
            picture, predictor, restart_rows=restart_rows, shift=shift, fill=fill, categories=categories
        )
        assert np.array_equal(decode_frame(frame, JPEGLossless, picture.shape, U2), picture)


def test_fewer_bits_in_the_stream_than_in_a_pixel():
    stored = noise(high=256, dtype=U1)
    for syntax in (JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless):
        decoded = decode_frame(bytes(ENCODERS[syntax](stored)), syntax, stored.shape, U2)
        assert decoded.dtype == U2
        assert np.array_equal(decoded, stored)
    with pytest.raises(PixelDamageError, match="16 bits for 8 in each pixel"):
        decode_frame(jpeg_lossless(noise()), JPEGLosslessSV1, (41, 53), U1)


@pytest.mark.parametrize(("signed", "dtype"), [(True, U2), (False, I2)])
def test_the_header_decides_on_the_sign_of_jpeg_2000(signed, dtype):
    """Source: real Toshiba files; a decoder that trusts the stream is off by half of the range."""
    stored = noise(low=-1500, high=1500, dtype=I2)
    frame = bytes(ENCODERS[JPEG2000Lossless](stored if signed else stored.view(U2)))
    decoded = decode_frame(frame, JPEG2000Lossless, stored.shape, dtype)
    assert np.array_equal(decoded, stored.view(dtype))


@pytest.mark.parametrize(("syntax", "most"), [(JPEGBaseline8Bit, 6), (JPEGExtended12Bit, 12)])
def test_lossy_jpeg_of_any_size(syntax, most):
    for shape in ((16, 16), (41, 53), (9, 8)):
        stored = noise(shape, high=200, dtype=U1 if syntax == JPEGBaseline8Bit else U2)
        decoded = decode_frame(bytes(ENCODERS[syntax](stored)), syntax, shape, stored.dtype)
        assert np.abs(decoded.astype(int) - stored).max() <= most


def test_libjpeg_turbo_shows_where_the_data_end():
    assert _shows_its_end(lossless=True)
    assert _shows_its_end(lossless=False)


@pytest.mark.parametrize("make", [noise, ct])
@pytest.mark.parametrize("cut", [1, 2, 8, 60, 300])
@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLossless, JPEGExtended12Bit])
def test_missing_data_of_jpeg_are_seen(syntax, cut, make):
    """All decoders fill what is missing, up to the whole picture, and say nothing."""
    stored = make()
    frame = bytes(ENCODERS[syntax](stored))
    assert frame.endswith(END)
    with pytest.raises(PixelDamageError, match="its data end before the picture does"):
        decode_frame(frame[: -2 - cut] + END, syntax, stored.shape, U2)


@pytest.mark.parametrize("more", [20, 400])
@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLossless, JPEGExtended12Bit])
def test_data_left_over_in_jpeg_are_seen(syntax, more):
    stored = noise((64, 80))
    frame = bytes(ENCODERS[syntax](stored))
    at = len(frame) // 2
    at += frame[at] == 0xFF or frame[at - 1] == 0xFF
    lengthened = (
        frame[:at] + b"\x35\x5a\x93" * (more * 4 // 3 if syntax == JPEGExtended12Bit else more) + frame[at:]
    )
    with pytest.raises(PixelDamageError, match="its data go on after the picture ends"):
        decode_frame(lengthened, syntax, stored.shape, U2)


@pytest.mark.parametrize("tail", [b"", b"\0", b"\xff", b"\x20", b"\x20\0\0"])
def test_a_byte_that_makes_the_length_even_is_no_damage(tail):
    """Source: files of GE and others; the standard asks for zero, and some write another byte."""
    frame = jpeg_lossless(noise())
    check_frame(frame + tail, "frame 1", (41, 53))
    assert np.array_equal(decode_frame(frame + tail, JPEGLosslessSV1, (41, 53), U2), noise())


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (jpeg_lossless(noise())[:-2], "frame 1 has no end"),
        (jpeg_lossless(noise((40, 53))), "40 x 53 pixels for 41 x 53"),
        (bytes(ENCODERS[JPEG2000Lossless](noise((41, 54)))), "41 x 54 pixels for 41 x 53"),
    ],
)
def test_a_frame_that_is_not_what_the_header_says(frame, text):
    with pytest.raises(PixelDamageError, match=text):
        check_frame(frame, "frame 1", (41, 53))


def test_streams_of_another_kind_are_refused(test_data):
    """A progressive stream in a file that says baseline; three components; no stream at all."""
    import imagecodecs

    (path,) = (test_data / "dicom_transfer_syntaxes").glob("*4.55.dcm")
    (progressive,) = generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1)
    color = bytes(imagecodecs.jpeg8_encode(np.zeros((512, 512, 3), np.uint8)))
    for frame in (progressive, color, b"\xff\xd8\xff\xd9", b""):
        with pytest.raises(PixelDamageError):
            decode_frame(frame, JPEGBaseline8Bit, (512, 512), U2)
    with pytest.raises(NotImplementedError):
        decode_frame(progressive, "1.2.840.10008.1.2.4.55", (512, 512), U2)


def test_what_a_stream_says_about_itself():
    coded = coded_header(jpeg_lossless(noise(), bits=12))
    assert (coded.rows, coded.columns, coded.n_components, coded.bits, coded.signed) == (41, 53, 1, 12, False)
    coded = coded_header(bytes(ENCODERS[JPEG2000Lossless](noise(dtype=I2))))
    assert (coded.rows, coded.columns, coded.n_components, coded.bits, coded.signed) == (41, 53, 1, 16, True)
    assert coded_header(b"\0" * 80) is None


def test_pydicom_uses_these_decoders():
    for syntax in DECODERS:
        assert pydicom_plugin(syntax) in get_decoder(syntax).available_plugins
        assert pydicom_plugin(syntax) == pydicom_plugin(syntax)
    assert pydicom_plugin("1.2.840.10008.1.2.1") == ""


def test_real_frames_are_as_simpleitk_decodes_them(test_data):
    """Lossy ones too: other decoders differ by one."""
    import SimpleITK as sitk  # noqa: N813

    for path in sorted((test_data / "dicom_transfer_syntaxes").glob("CTImage.dcm_*4.*.dcm")):
        image = pydicom.dcmread(path)
        if image.file_meta.TransferSyntaxUID not in DECODERS:
            continue
        (frame,) = generate_frames(image.PixelData, number_of_frames=1)
        dtype = np.dtype(f"<{'ui'[image.PixelRepresentation]}{image.BitsAllocated // 8}")
        decoded = decode_frame(frame, image.file_meta.TransferSyntaxUID, (512, 512), dtype)
        theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]
        assert np.array_equal(decoded * float(image.RescaleSlope) + float(image.RescaleIntercept), theirs), (
            path
        )
