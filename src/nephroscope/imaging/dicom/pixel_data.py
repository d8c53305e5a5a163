"""Read the stored pixel values of DICOM frames, in every transfer syntax for which there is a decoder."""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import config
from pydicom.encaps import generate_frames
from pydicom.uid import UID

from nephroscope.base.errors import SeriesError
from nephroscope.imaging.dicom.codecs import DECODERS, PixelDamageError, Stored, check_frame, decode_frame
from nephroscope.imaging.dicom.files import DICOM_DAMAGE, PIXEL_DATA, UNDEFINED, opened
from nephroscope.imaging.dicom.slice_header import SliceHeader, short_of, syntax_of

PIXEL_TAGS = (
    *("PlanarConfiguration", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)
IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
NATIVE = {IMPLICIT, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", BIG_ENDIAN}
MOST_CODED = 2  # times the bytes of the pixels, and as many more, that compressed frames may take
MOST_CODED_MORE = 2**20
# Groups that may follow the pixel data, little and big endian: private ones of scanners, signatures, padding.
_AFTER_PIXELS = {
    struct.pack(order, group) for order in ("<H", ">H") for group in (0x7FE0, 0x7FE1, 0x7FE3, 0xFFFA, 0xFFFC)
}
AT_ONCE = 2**20  # bytes that are compared at once


@dataclass(frozen=True, kw_only=True)
class PixelForm:
    """How the pixels of a file are stored; ``padding`` is the range of stored values used outside the scan circle.

    Source: DICOM PS3.5 8.1.1, PS3.3 C.7.5.1.1.2.
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: tuple[int, int] | None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel, little endian."""
        return np.dtype(f"<{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest value that the stored bits can hold."""
        if self.signed:
            return -(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1
        return 0, (1 << self.bits_stored) - 1


def form_of(header: Any) -> PixelForm:
    """How the pixels of a file are stored.

    Raises:
        ValueError: The attributes contradict each other.
    """
    values = [short_of(header, name) for name in ("Rows", "Columns", "BitsAllocated", "BitsStored")]
    rows, columns, allocated, stored = (value or 0 for value in values)
    high = short_of(header, "HighBit")
    high = stored - 1 if high is None else high
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise PixelDamageError(f"bits allocated {allocated}, stored {stored}, high bit {high}")
    signed = short_of(header, "PixelRepresentation") == 1
    ends = [short_of(header, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    wrapped = [_wrap(value, allocated, signed) for value in ends if value is not None]
    padded = ends[0] is not None
    return PixelForm(
        rows=rows,
        columns=columns,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high,
        signed=signed,
        padding=(min(wrapped), max(wrapped)) if padded else None,
    )


def uid_of(syntax: str) -> UID:
    """A transfer syntax with its name, even if the text is damaged."""
    return UID(syntax, validation_mode=config.IGNORE)


def begin_pixels(stream: BinaryIO, header: Any, pixels_at: int, form: PixelForm) -> tuple[int, bool]:
    """Position of the pixel data in the file, and whether they are big endian; the stream is left there.

    Raises:
        ValueError: There are no integer pixels, or not as many as the header says.
        NotImplementedError: There is no decoder for this way of storing pixels.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(pixels_at)
    syntax = syntax_of(header)
    big = syntax == BIG_ENDIAN
    head = stream.read(8 if syntax == IMPLICIT else 12)
    if len(head) < 8:
        raise PixelDamageError("no pixel data")
    order = ">" if big else "<"
    tag, length = struct.unpack(f"{order}HH", head[:4]), struct.unpack(f"{order}L", head[-4:])[0]
    if tag != PIXEL_DATA:
        raise PixelDamageError("no integer pixel data")
    start = stream.tell()
    if syntax not in NATIVE:
        _check_rest(stream, _end_of_fragments(stream, size), size, form)
        stream.seek(start)
        return start, big
    if big and form.bits_allocated == 8:
        raise NotImplementedError("bytes swapped in pairs")
    n_frames = int(header.get("NumberOfFrames") or 1)
    expected = n_frames * form.rows * form.columns * form.dtype.itemsize
    present = min(length, size - start)
    if length == UNDEFINED or not expected <= present <= expected + 1:
        raise PixelDamageError(f"{present} bytes for {n_frames} of {form.rows} x {form.columns} pixels")
    _check_rest(stream, start + length, size, form)
    stream.seek(start)
    return start, big


def _check_rest(stream: BinaryIO, end: int, size: int, form: PixelForm) -> None:
    """Refuse bytes behind the pixel data that are no attribute: some were put in before them, and all are shifted.

    Padding with zeros is usual; less than a row of it is not.

    Raises:
        PixelDamageError: There are such bytes.
    """
    stream.seek(end)
    rest = stream.read(min(max(size - end, 0), form.columns * form.dtype.itemsize))
    padding = not any(rest) and len(rest) == form.columns * form.dtype.itemsize
    group, vr = rest[:2], rest[4:6]
    attribute = group in _AFTER_PIXELS and (vr.isalpha() or len(rest) >= 8)
    if rest and not padding and not attribute:
        raise PixelDamageError(f"{size - end} bytes behind its pixel data")


def _end_of_fragments(stream: BinaryIO, size: int) -> int:
    """Where compressed pixel data end, their delimiter included; the stream stands at their begin.

    Raises:
        PixelDamageError: The last fragment is not complete. Source: DICOM PS3.5 A.4.
    """
    while len(head := stream.read(8)) == 8:
        group, element, length = struct.unpack("<HHL", head)
        if (group, element) != (0xFFFE, 0xE000):
            break
        if stream.tell() + length > size:
            raise PixelDamageError(f"{size - stream.tell()} of {length} bytes of its last fragment")
        stream.seek(length, os.SEEK_CUR)
    return stream.tell()


def _coded(stream: BinaryIO, header: Any, form: PixelForm) -> bytes:
    """The fragments of compressed pixel data, and nothing behind them.

    Raises:
        PixelDamageError: They take far more bytes than their pixels.
    """
    start, size = stream.tell(), stream.seek(0, os.SEEK_END)
    stream.seek(start)
    n_bytes = _end_of_fragments(stream, size) - start
    n_pixels = int(header.get("NumberOfFrames") or 1) * form.rows * form.columns
    if n_bytes > MOST_CODED * n_pixels * form.dtype.itemsize + MOST_CODED_MORE:
        raise PixelDamageError(f"{n_bytes} compressed bytes for {n_pixels} pixels")
    stream.seek(start)
    parts = []
    while n_bytes:
        part = stream.read(min(n_bytes, AT_ONCE))
        if not part:
            raise PixelDamageError("its pixel data end early")
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)


def damage_of(stream: BinaryIO, header: Any, pixels_at: int) -> str:
    """Why not all pixels of a file can be read, in the words of the refusal; empty when no reason is known.

    Compressed pixels may still turn out to be damaged when they are decoded.

    Args:
        stream: The file, unpacked.
        header: Read with `SLICE_TAGS` and `PIXEL_TAGS`, or more.
        pixels_at: Position at which the header ended.
    """
    try:
        begin_pixels(stream, header, pixels_at, form_of(header))
    except DICOM_DAMAGE as error:
        return damage_text(header, error)
    return ""


def damage_text(header: Any, error: BaseException) -> str:
    """What was found instead of decodable pixel data."""
    if isinstance(error, NotImplementedError):
        return f"{uid_of(syntax_of(header)).name}, for which there is no decoder here"
    detail = f" ({error})" if isinstance(error, PixelDamageError) else ""
    return f"{uid_of(syntax_of(header)).name} that is cut short or damaged{detail}"


def _wrap(value: int, bits: int, signed: bool) -> int:
    """A padding value as a pixel stores it: headers also write -2000 as 63536."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelFile:
    """One file with pixel data, its header (`SLICE_TAGS`, `PIXEL_TAGS`) and the position of the pixel data in it."""

    path: Path
    header: Any
    pixels_at: int


def check_decodable(headers: Sequence[SliceHeader], where: str) -> None:
    """Refuse incomplete pixels, and a transfer syntax without a decoder.

    Raises:
        SeriesError: The pixels of a slice cannot be decoded here.
    """
    for syntax in dict.fromkeys(one.transfer_syntax for one in headers):
        if syntax in NATIVE:
            continue
        if syntax not in DECODERS:
            uid = uid_of(syntax)
            first = next(one for one in headers if one.transfer_syntax == syntax)
            name = uid.name if uid.is_valid else "no transfer syntax"
            raise SeriesError(
                where=where,
                expected=f"decodable pixel data in {first.name}",
                found=f"{name}, for which no decoder is installed",
                remedy="export the series uncompressed",
            )
    broken = next((one for one in headers if one.damage), None)
    if broken is not None:
        raise SeriesError(
            where=where,
            expected=f"decodable pixel data in {broken.name}",
            found=broken.damage,
            remedy="send the series again",
        )


def stored_frames(file: PixelFile, form: PixelForm, frames: Sequence[SliceHeader]) -> Iterator[Stored]:
    """The stored values (R, C) of these frames, one after the other.

    Raises:
        DICOM_DAMAGE: The pixel data are missing, of another size, damaged, or without a decoder.
    """
    with opened(file.path) as stream:
        start, big = begin_pixels(stream, file.header, file.pixels_at, form)
        if frames[0].transfer_syntax not in NATIVE:
            yield from _decoded(file.header, _coded(stream, file.header, form), form, frames)
            return
        n_pixels = form.rows * form.columns
        dtype = form.dtype.newbyteorder(">" if big else "<")
        for one in frames:
            stream.seek(start + (one.frame or 0) * n_pixels * dtype.itemsize)
            data = stream.read(n_pixels * dtype.itemsize)
            yield np.frombuffer(data, dtype).reshape(form.rows, form.columns)


def same_pixels(one: PixelFile, other: PixelFile) -> bool:
    """True when the pixel data of two files have the same bytes; what follows them is not looked at.

    Raises:
        DICOM_DAMAGE: The pixel data are missing or of another size.
    """
    with opened(one.path) as stream, opened(other.path) as beside:
        (start, end), (start_2, end_2) = (
            _span(file, each) for file, each in ((one, stream), (other, beside))
        )
        if end - start != end_2 - start_2:
            return False
        stream.seek(start)
        beside.seek(start_2)
        left = end - start
        while left > 0:
            n_bytes = min(left, AT_ONCE)
            if stream.read(n_bytes) != beside.read(n_bytes):
                return False
            left -= n_bytes
    return True


def _span(file: PixelFile, stream: BinaryIO) -> tuple[int, int]:
    """Where the pixel data of a file begin and end."""
    form = form_of(file.header)
    start, _ = begin_pixels(stream, file.header, file.pixels_at, form)
    if syntax_of(file.header) not in NATIVE:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(start)
        return start, _end_of_fragments(stream, size)
    n_frames = int(file.header.get("NumberOfFrames") or 1)
    return start, start + n_frames * form.rows * form.columns * form.dtype.itemsize


def _decoded(header: Any, data: bytes, form: PixelForm, frames: Sequence[SliceHeader]) -> Iterator[Stored]:
    """Frames of encapsulated pixel data; the size in each code stream is checked before decoding."""
    n_frames = int(header.get("NumberOfFrames") or 1)
    coded = list(generate_frames(data, number_of_frames=n_frames))
    if len(coded) != n_frames:
        raise PixelDamageError(f"{len(coded)} frames for {n_frames}")
    shape = (form.rows, form.columns)
    for number, frame in enumerate(coded, start=1):
        check_frame(frame, f"frame {number}", shape)
    for one in frames:
        yield decode_frame(coded[one.frame or 0], one.transfer_syntax, shape, form.dtype)
