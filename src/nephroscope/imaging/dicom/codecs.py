"""Decode one compressed DICOM frame with imagecodecs: its bytes in, an array of stored values out.

A JPEG decoder fills what is missing and ignores what is left over. So one more row (JPEG lossless) or row of blocks
is decoded than the picture has: there, libjpeg-turbo shows whether the data ended exactly where the picture ends.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.pixels import get_decoder

Stored = npt.NDArray[Any]
Shape = tuple[int, int]

PLUGIN = "nephroscope"  # the name under which pydicom knows these decoders
RLE = "1.2.840.10008.1.2.5"
JPEG_START, JPEG_2000_START, END = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd9"
SCAN = 0xDA
RESTARTS = 0xDD
LOSSLESS = 0xC3
# JPEG markers that hold the image size: SOF0 to SOF15 without DHT, JPG and DAC; SOF55 of JPEG-LS.
SIZE_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
# SOF0, SOF1 (8 or 12 bits, lossy), SOF3: one scan for each component, Huffman codes.
DECODED_JPEG = {0xC0, 0xC1, LOSSLESS}
MORE_DATA = bytes(171 * number % 255 for number in range(1, 33))  # bits of all kinds, first of all 1
BLOCK = 8  # rows and columns that lossy JPEG codes together
OPENJPEG_THREADS = min(4, os.cpu_count() or 1)


class PixelDamageError(ValueError):
    """Pixel data contradict their header; the message may be shown."""


@dataclass(frozen=True, kw_only=True)
class CodedHeader:
    """What a JPEG, JPEG-LS or JPEG 2000 code stream says about itself.

    ``at`` is the position of the segment that holds the size; ``marker`` is its second byte.
    """

    rows: int
    columns: int
    n_components: int
    bits: int
    signed: bool
    marker: int
    at: int


def decode_frame(frame: bytes, syntax: str, shape: Shape, dtype: np.dtype[Any]) -> Stored:
    """The stored values (R, C) of one frame.

    Args:
        frame: The compressed bytes.
        syntax: UID of the transfer syntax.
        shape: Rows and columns that the header of the file announces.
        dtype: Type of a pixel according to that header, little endian.

    Raises:
        NotImplementedError: There is no decoder for this transfer syntax.
        PixelDamageError: The frame is of another size, or incomplete.
        RuntimeError: imagecodecs found damage; its other errors are ValueError and MemoryError.
    """
    if syntax not in DECODERS:
        raise NotImplementedError(syntax)
    check_frame(frame, "the frame", shape)
    stored = DECODERS[syntax](frame, shape, dtype)
    if stored.shape != shape:
        raise PixelDamageError(f"an array of {' x '.join(map(str, stored.shape))}")
    return stored.astype(dtype) if stored.itemsize < dtype.itemsize else stored


def check_frame(frame: bytes, name: str, shape: Shape) -> None:
    """Refuse a frame whose code stream has no end, or another size than the header of the file announces.

    Raises:
        PixelDamageError: It is not what the header announces; ``name`` is how the message calls the frame.
    """
    # One byte of any value may make the length even; more zeros may follow.
    if frame[:2] in (JPEG_START, JPEG_2000_START[:2]) and END not in frame.rstrip(b"\0")[-3:]:
        raise PixelDamageError(f"{name} has no end")
    coded = coded_header(frame)
    if coded is not None and (coded.rows, coded.columns) != shape:
        raise PixelDamageError(f"{coded.rows} x {coded.columns} pixels for {shape[0]} x {shape[1]}")


def coded_header(frame: bytes) -> CodedHeader | None:
    """Read the size and the number format of a code stream; None if it has none, or is of another kind.

    Source: ITU-T T.81 B.2.2 (JPEG), T.87 C.2.2 (JPEG-LS), T.800 A.5.1 (JPEG 2000).
    """
    if frame[:4] == JPEG_2000_START:
        right, bottom, left, top = struct.unpack_from(">4L", frame, 8)
        n_components, depth = struct.unpack_from(">HB", frame, 40)
        return CodedHeader(
            rows=bottom - top,
            columns=right - left,
            n_components=n_components,
            bits=(depth & 0x7F) + 1,
            signed=bool(depth >> 7),
            marker=0x51,
            at=2,
        )
    at = _segment(frame, SIZE_MARKERS)
    if at is None:
        return None
    bits, rows, columns, n_components = struct.unpack_from(">BHHB", frame, at + 4)
    return CodedHeader(
        rows=rows,
        columns=columns,
        n_components=n_components,
        bits=bits,
        signed=False,
        marker=frame[at + 1],
        at=at,
    )


def _segment(frame: bytes, markers: set[int], at: int = 2) -> int | None:
    """Position of the first segment of a JPEG stream that has one of these markers, from a segment on."""
    if frame[:2] != JPEG_START:
        return None
    while at + 10 <= len(frame):
        if frame[at] != 0xFF:
            return None
        if frame[at + 1] in markers:
            return at
        at += 1 if frame[at + 1] == 0xFF else 2 + struct.unpack_from(">H", frame, at + 2)[0]
    return None


def _jpeg(frame: bytes, shape: Shape, dtype: np.dtype[Any]) -> Stored:
    """JPEG baseline, extended (8 and 12 bits) and lossless, with libjpeg-turbo."""
    coded = coded_header(frame)
    if coded is None or coded.marker not in DECODED_JPEG or coded.n_components != 1:
        raise PixelDamageError("a JPEG stream of another kind")
    if coded.bits > 8 * dtype.itemsize:
        raise PixelDamageError(f"{coded.bits} bits for {8 * dtype.itemsize} in each pixel")
    decoded, n_rows = _jpeg_with_more(frame, coded)
    if _shows_its_end(coded.marker == LOSSLESS) and (found := _data_damage(frame, coded, decoded, n_rows)):
        raise PixelDamageError(found)
    return decoded[: shape[0]].astype(dtype, copy=False)


def _jpeg_with_more(frame: bytes, coded: CodedHeader) -> tuple[Stored, int]:
    """The picture with one more row, or row of blocks, than it has; and how many rows its data stand for."""
    import imagecodecs

    step = 1 if coded.marker == LOSSLESS else BLOCK
    n_rows = -(-coded.rows // step) * step
    height = coded.at + 5
    more = frame[:height] + struct.pack(">H", n_rows + step) + frame[height + 2 :]
    return imagecodecs.jpeg8_decode(more), n_rows


def _data_damage(frame: bytes, coded: CodedHeader, decoded: Stored, n_rows: int) -> str:
    """What the rows below the picture say is wrong with its data; empty if the data ended with the picture.

    Data that ended earlier leave the middle value everywhere, and so do those of some flat pictures. Then some more
    data decide: they must show below the picture, and nowhere in it.
    """
    middle = 1 << (coded.bits - 1)
    if (decoded == middle).all() or _segment(frame, {RESTARTS}) is not None:
        return ""  # after a restart marker nothing is known of the data before it
    if (decoded[n_rows:] == middle).all():
        data = frame[: frame.rindex(END)].rstrip(b"\xff")
        again, _ = _jpeg_with_more(data + MORE_DATA + END, coded)
        early = (again[n_rows:] == middle).all() or (again[:n_rows] != decoded[:n_rows]).any()
        return "its data end before the picture does" if early else ""
    if coded.marker == LOSSLESS:
        after = not _is_filled(frame, coded, decoded[n_rows - 1], decoded[n_rows])
    else:  # bits 0 fill the first block, and there are none for the others
        after = bool((decoded[n_rows:, BLOCK:] != middle).any())
    return "its data go on after the picture ends" if after else ""


def _is_filled(frame: bytes, coded: CodedHeader, above: Stored, below: Stored) -> bool:
    """Whether a row of JPEG lossless was made from the bits 0 that follow the end of the data.

    Then each difference from the predicted value is the same. The bits 1 that fill the last byte change the first
    pixel alone. Source: ITU-T T.81 H.1.2.1 (predictors), F.1.2.3 (filling).
    """
    at = _segment(frame, {SCAN}, coded.at)
    predictor, shift = (frame[at + 7], frame[at + 9] & 0xF) if at is not None else (1, 0)
    bits = 8 * below.itemsize - shift
    if not 1 <= predictor <= 7 or (predictor > 4 and bits < 16):
        return True  # unknown: predictors that halve need all 16 bits of a value
    left, upper, corner, value = (
        part.astype(np.int64) >> shift for part in (below[:-1], above[1:], above[:-1], below[1:])
    )
    predicted = {
        1: left,
        2: upper,
        3: corner,
        4: left + upper - corner,
        5: left + ((upper - corner) >> 1),
        6: upper + ((left - corner) >> 1),
        7: (left + upper) >> 1,
    }
    differences = (value - predicted[predictor]) % (1 << bits)
    return bool((differences[1:] == differences[-1:]).all())


@cache
def _shows_its_end(lossless: bool) -> bool:
    """Whether the installed libjpeg-turbo leaves these traces of where data end; tried on a small picture."""
    import imagecodecs

    picture = (np.arange(24 * 24).reshape(24, 24) * 7 % 200).astype(np.uint8)
    whole = bytes(imagecodecs.jpeg8_encode(picture, lossless=lossless))
    found = []
    for frame in (whole, whole[:-12] + END, whole[:-2] + whole[-80:]):
        coded = coded_header(frame)
        if coded is None:
            return False
        found.append(_data_damage(frame, coded, *_jpeg_with_more(frame, coded)) != "")
    return found == [False, True, True]


def _jpeg_ls(frame: bytes, shape: Shape, dtype: np.dtype[Any]) -> Stored:
    """JPEG-LS, with CharLS."""
    import imagecodecs

    coded = coded_header(frame)
    return _as_declared(imagecodecs.jpegls_decode(frame), coded, dtype)


def _jpeg_2000(frame: bytes, shape: Shape, dtype: np.dtype[Any]) -> Stored:
    """JPEG 2000 and High-Throughput JPEG 2000, with OpenJPEG on several cores."""
    import imagecodecs

    stream = frame[max(frame.find(JPEG_2000_START), 0) :]  # without the boxes of a JP2 file
    check_frame(stream, "the frame", shape)
    coded = coded_header(stream)
    return _as_declared(imagecodecs.jpeg2k_decode(stream, numthreads=OPENJPEG_THREADS), coded, dtype)


def _as_declared(decoded: Stored, coded: CodedHeader | None, dtype: np.dtype[Any]) -> Stored:
    """Decoded values with the sign that the header of the file declares, which a code stream may not know."""
    if coded is None or coded.n_components != 1:
        raise PixelDamageError("a code stream of another kind")
    stored = decoded.view(f"<{dtype.kind}{decoded.itemsize}")
    unused = 8 * stored.itemsize - coded.bits
    if unused and coded.signed != (dtype.kind == "i"):
        stored = (stored << unused) >> unused
    return stored


def _rle(frame: bytes, shape: Shape, dtype: np.dtype[Any]) -> Stored:
    """A frame with one segment for each byte of a pixel, the highest byte first. Source: DICOM PS3.5 annex G."""
    import imagecodecs

    n_bytes, n_pixels = dtype.itemsize, shape[0] * shape[1]
    n_segments, *starts = struct.unpack_from("<16L", frame)
    ends = [*starts[1:n_bytes], len(frame)]
    if n_segments != n_bytes:
        raise PixelDamageError(f"{n_segments} segments for {n_bytes} bytes a pixel")
    planes = np.empty((n_pixels, n_bytes), np.uint8)
    for number, (start, end) in enumerate(zip(starts, ends, strict=False)):
        plane = imagecodecs.packbits_decode(frame[start:end]) if 64 <= start < end <= len(frame) else b""
        if not n_pixels <= len(plane) <= n_pixels + 1:
            raise PixelDamageError(f"{len(plane)} bytes for {n_pixels} pixels")
        planes[:, n_bytes - 1 - number] = np.frombuffer(plane, np.uint8, n_pixels)
    return planes.view(dtype).reshape(shape)


DECODERS: dict[str, Callable[[bytes, Shape, np.dtype[Any]], Stored]] = {
    "1.2.840.10008.1.2.4.50": _jpeg,  # baseline
    "1.2.840.10008.1.2.4.51": _jpeg,  # extended
    "1.2.840.10008.1.2.4.57": _jpeg,  # lossless
    "1.2.840.10008.1.2.4.70": _jpeg,  # lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": _jpeg_ls,
    "1.2.840.10008.1.2.4.81": _jpeg_ls,
    "1.2.840.10008.1.2.4.90": _jpeg_2000,
    "1.2.840.10008.1.2.4.91": _jpeg_2000,
    "1.2.840.10008.1.2.4.201": _jpeg_2000,
    "1.2.840.10008.1.2.4.202": _jpeg_2000,
    "1.2.840.10008.1.2.4.203": _jpeg_2000,
    RLE: _rle,
}
DECODER_DEPENDENCIES = dict.fromkeys(DECODERS, ("imagecodecs",))


def pydicom_plugin(syntax: str) -> str:
    """Name of the decoder that pydicom shall use for a transfer syntax, which it is taught here; empty for native."""
    if syntax not in DECODERS:
        return ""
    decoder = get_decoder(syntax)
    if PLUGIN not in decoder.available_plugins:
        decoder.add_plugin(PLUGIN, (__name__, "decode_for_pydicom"))
    return PLUGIN


def is_available(syntax: str) -> bool:
    """Whether a transfer syntax can be decoded; pydicom asks."""
    return syntax in DECODERS


def decode_for_pydicom(frame: bytes, runner: Any) -> bytearray:
    """`decode_frame` as pydicom calls it."""
    shape = (runner.rows, runner.columns)
    stored = decode_frame(frame, runner.transfer_syntax, shape, runner.pixel_dtype)
    runner.set_option("bits_allocated", 8 * stored.itemsize)
    return bytearray(stored.tobytes())
