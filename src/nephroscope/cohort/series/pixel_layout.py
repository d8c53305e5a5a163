"""A DICOM file's header and its length in, how its pixels are stored out, or why they cannot all be there.

No pixel is read: an export's headers are told by this which files break off.
"""

import os
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from pydicom import config
from pydicom.uid import UID

from nephroscope.cohort.series.dicom_files import DICOM_DAMAGE
from nephroscope.cohort.series.slice_facts import short_of, syntax_of

PIXEL_TAGS = (
    "PlanarConfiguration",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
NATIVE = {IMPLICIT, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", BIG_ENDIAN}
PIXEL_DATA = (0x7FE0, 0x0010)
UNDEFINED = 0xFFFFFFFF


class PixelDamageError(ValueError):
    """Pixel data contradict their header; the text may be shown."""


@dataclass(frozen=True, kw_only=True)
class PixelForm:
    """How the pixels of a file are stored; ``padding`` is the range of stored values outside the scan circle.

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
        """Of a pixel, little endian."""
        return np.dtype(f"<{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest value that the bits stored can hold."""
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
    """A transfer syntax with its name, also where the text is damaged."""
    return UID(syntax, validation_mode=config.IGNORE)


def begin_pixels(stream: BinaryIO, header: Any, pixels_at: int, form: PixelForm) -> tuple[int, bool]:
    """Where in the file the pixel data begin, and whether they are big endian; the stream is left there.

    Raises:
        ValueError: There are no integer pixels, or fewer than the header says.
        NotImplementedError: No decoder knows this way of storing.
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
        _check_fragments(stream, size)
        stream.seek(start)
        return start, big
    if big and form.bits_allocated == 8:
        raise NotImplementedError("bytes swapped in pairs")
    n_frames = int(header.get("NumberOfFrames") or 1)
    expected = n_frames * form.rows * form.columns * form.dtype.itemsize
    present = min(length, size - start)
    if length == UNDEFINED or not expected <= present <= expected + 1:
        raise PixelDamageError(f"{present} bytes for {n_frames} of {form.rows} x {form.columns} pixels")
    return start, big


def _check_fragments(stream: BinaryIO, size: int) -> None:
    """Refuse compressed pixel data whose last fragment breaks off. Source: DICOM PS3.5 A.4."""
    while len(head := stream.read(8)) == 8:
        group, element, length = struct.unpack("<HHL", head)
        if (group, element) != (0xFFFE, 0xE000):
            return
        if stream.tell() + length > size:
            raise PixelDamageError(f"{size - stream.tell()} of {length} bytes of its last fragment")
        stream.seek(length, os.SEEK_CUR)


def damage_of(stream: BinaryIO, header: Any, pixels_at: int) -> str:
    """Why the pixels of a file cannot all be read, in the reader's words; empty when nothing speaks against it.

    Compressed ones may still prove damaged when they are decoded.

    Args:
        stream: The file, inflated.
        header: Read with `slice_facts.FACT_TAGS` and `PIXEL_TAGS`, or more.
        pixels_at: Where the header ended.
    """
    try:
        begin_pixels(stream, header, pixels_at, form_of(header))
    except DICOM_DAMAGE as error:
        return damage_text(header, error)
    return ""


def damage_text(header: Any, error: BaseException) -> str:
    """What was found instead of decodable pixel data."""
    if isinstance(error, NotImplementedError):
        return f"{uid_of(syntax_of(header)).name} that has no decoder here"
    told = f" ({error})" if isinstance(error, PixelDamageError) else ""
    return f"{uid_of(syntax_of(header)).name} that breaks off or is damaged{told}"


def _wrap(value: int, bits: int, signed: bool) -> int:
    """A padding value as a pixel has it: headers give -2000 as 63536 too."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value
