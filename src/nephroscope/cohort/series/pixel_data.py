"""A DICOM file in, the stored values of its frames out, in every transfer syntax that has a decoder."""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder

from nephroscope.cohort.series.dicom_files import opened
from nephroscope.cohort.series.pixel_layout import NATIVE, PixelDamageError, PixelForm, begin_pixels, uid_of
from nephroscope.cohort.series.slice_facts import SliceFacts
from nephroscope.errors import SeriesError

Stored = npt.NDArray[Any]

RLE = "1.2.840.10008.1.2.5"
# Decoders several times as fast as the one pydicom would take: JPEG-LS; JPEG 2000 on several cores.
FASTEST = {
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pillow",
    "1.2.840.10008.1.2.4.91": "pillow",
}
# Markers of JPEG frames that hold the size: SOF0 to SOF15 without DHT, JPG and DAC; SOF55 of JPEG-LS.
SIZE_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelFile:
    """One file with pixel data: ``pixels_at`` is where the attribute begins; ``header`` has FACT and PIXEL tags."""

    path: Path
    header: Any
    pixels_at: int


def check_decodable(facts: Sequence[SliceFacts], where: str) -> None:
    """Refuse pixels that are not all there, and a transfer syntax without a decoder.

    Raises:
        SeriesError: The pixels of a slice cannot be decoded here.
    """
    for syntax in dict.fromkeys(one.transfer_syntax for one in facts):
        if syntax in NATIVE:
            continue
        uid = uid_of(syntax)
        try:
            available = uid.is_valid and get_decoder(uid).is_available
        except NotImplementedError:
            available = False
        if not available:
            first = next(one for one in facts if one.transfer_syntax == syntax)
            name = uid.name if uid.is_valid else "no transfer syntax"
            raise SeriesError(
                where=where,
                expected=f"decodable pixel data in {first.name}",
                found=f"{name} that has no decoder here",
                remedy="export the series uncompressed",
            )
    broken = next((one for one in facts if one.damage), None)
    if broken is not None:
        raise SeriesError(
            where=where,
            expected=f"decodable pixel data in {broken.name}",
            found=broken.damage,
            remedy="send the series again",
        )


def stored_frames(file: PixelFile, form: PixelForm, wanted: Sequence[SliceFacts]) -> Iterator[Stored]:
    """The stored values (R, C) of the frames wanted, one after the other.

    Raises:
        DICOM_DAMAGE: The pixel data are missing, of another size, damaged, or without a decoder.
    """
    with opened(file.path) as stream:
        start, big = begin_pixels(stream, file.header, file.pixels_at, form)
        if wanted[0].transfer_syntax not in NATIVE:
            yield from _decoded(file.header, stream.read(), form, wanted)
            return
        n_pixels = form.rows * form.columns
        dtype = form.dtype.newbyteorder(">" if big else "<")
        for one in wanted:
            stream.seek(start + (one.frame or 0) * n_pixels * dtype.itemsize)
            data = stream.read(n_pixels * dtype.itemsize)
            yield np.frombuffer(data, dtype).reshape(form.rows, form.columns)


def same_pixels(one: PixelFile, other: PixelFile) -> bool:
    """True when two files end in the same bytes from their pixel data on."""
    tails = []
    for file in (one, other):
        with opened(file.path) as stream:
            stream.seek(file.pixels_at)
            tails.append(stream.read())
    return tails[0] == tails[1]


def _decoded(header: Any, data: bytes, form: PixelForm, wanted: Sequence[SliceFacts]) -> Iterator[Stored]:
    """Frames of encapsulated pixel data, whose own size is compared before they are decoded."""
    n_frames = int(header.get("NumberOfFrames") or 1)
    coded = list(generate_frames(data, number_of_frames=n_frames))
    if len(coded) != n_frames:
        raise PixelDamageError(f"{len(coded)} frames for {n_frames}")
    if wanted[0].transfer_syntax == RLE:
        yield from (_rle(coded[one.frame or 0], form) for one in wanted)
        return
    for n_coded, frame in enumerate(coded, start=1):
        if frame[:2] in (b"\xff\xd8", b"\xff\x4f") and not frame.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise PixelDamageError(f"frame {n_coded} has no end")
        size = _coded_size(frame)
        if size is not None and size != (form.rows, form.columns):
            raise PixelDamageError(f"{size[0]} x {size[1]} pixels for {form.rows} x {form.columns}")
    decoder = get_decoder(uid_of(wanted[0].transfer_syntax))
    header.PixelData = data
    header["PixelData"].is_undefined_length = True
    plugin = FASTEST.get(wanted[0].transfer_syntax, "")
    plugin = plugin if plugin in decoder.available_plugins else ""
    try:
        with _openjpeg_threads():
            indices = [one.frame or 0 for one in wanted]
            for array, _ in decoder.iter_array(header, indices=indices, raw=True, decoding_plugin=plugin):
                if array.shape != (form.rows, form.columns):
                    raise PixelDamageError(f"an array of {' x '.join(map(str, array.shape))}")
                yield array
    finally:
        del header.PixelData


def _rle(frame: bytes, form: PixelForm) -> Stored:
    """A frame of one segment for each byte of a pixel, the highest first. Source: DICOM PS3.5 annex G.

    The package's decoder of whole frames panics on damaged ones, beyond what Python can catch.
    """
    from rle.rle import decode_segment

    n_bytes, n_pixels = form.dtype.itemsize, form.rows * form.columns
    n_segments, *starts = struct.unpack_from("<16L", frame)
    ends = [*starts[1:n_bytes], len(frame)]
    if n_segments != n_bytes:
        raise PixelDamageError(f"{n_segments} segments for {n_bytes} bytes a pixel")
    planes = np.empty((n_pixels, n_bytes), np.uint8)
    for number, (start, end) in enumerate(zip(starts, ends, strict=False)):
        segment = frame[start:end]
        plane = decode_segment(segment) if 64 <= start < end <= len(frame) else b""
        if not n_pixels <= len(plane) <= n_pixels + 1:
            raise PixelDamageError(f"{len(plane)} bytes for {n_pixels} pixels")
        planes[:, n_bytes - 1 - number] = np.frombuffer(plane, np.uint8, n_pixels)
    stored: Stored = planes.view(form.dtype).reshape(form.rows, form.columns)
    return stored


@contextmanager
def _openjpeg_threads() -> Iterator[None]:
    """Let OpenJPEG decode on two cores, as GDCM does; the variable is its only switch, and is put back."""
    if "OPJ_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OPJ_NUM_THREADS"] = str(min(4, os.cpu_count() or 1))
    try:
        yield
    finally:
        os.environ.pop("OPJ_NUM_THREADS", None)


def _coded_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 code stream says of itself; None for others."""
    if frame[:4] == b"\xff\x4f\xff\x51":
        right, bottom, left, top = struct.unpack_from(">4L", frame, 8)
        return bottom - top, right - left
    if frame[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(frame):
        if frame[at] != 0xFF:
            return None
        marker = frame[at + 1]
        if marker in SIZE_MARKERS:
            rows, columns = struct.unpack_from(">HH", frame, at + 5)
            return rows, columns
        at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", frame, at + 2)[0]
    return None
