"""Leave nothing in pixel data but the picture: bytes behind it, comments and boxes may hold names.

A native picture is cut to its size. In a compressed one, every segment that is no picture is filled with zeros, so
that the stream keeps its length; where something changed, both are decoded and must give the same values.
"""

import re
import struct
import zlib
from functools import partial
from io import BytesIO
from itertools import accumulate
from typing import Any

import numpy as np

from nephroscope.imaging.dicom.codecs import JPEG_2000_START, JPEG_START, RLE, PixelDamageError, decode_frame

JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (*range(50, 67), 70, 80, 81)}
JPEG_LS = {"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}
JPEG_2000 = {f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203)}
DEFLATED = "1.2.840.10008.1.2.8.1"
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
CUT = "bytes that belong to no picture were removed from the pixel data"
_END, _ZEROS = 0xD9, b"\0"
# JPEG segments that a decoder needs: sizes, tables, restarts, scans; SOF55 and LSE of JPEG-LS.
_PICTURE = {*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0xF7, 0xF8}
_NEXT_MARKER = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")
_NEXT_MARKER_LS = re.compile(rb"\xff+[\x80-\xcf\xd8-\xfe]")  # a byte after FF begins with a 0 bit
_HARMLESS_JPEG = re.compile(rb"\xff\xe0\x00\x10JFIF\0.{7}\0\0|\xff\xee\x00\x0eAdobe.{7}", re.DOTALL)
# JPEG 2000: the segments a decoder needs. Others become comments of zeros, with those that only give lengths.
_NEEDED_2000 = {0x50, 0x51, 0x52, 0x53, 0x56, 0x59, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x61}
_SOT, _SOD, _COMMENT = 0x90, 0x93, 0x64
_HARMLESS_2000 = re.compile(  # what encoders write
    rb"\0\x01(Kakadu-vs?[\d.]{1,8}|Created by (GDCM/)?OpenJPEG version [\d.]{1,8}|"
    rb"Kdu-Layer-Info: log_2\{Delta-D\(squared-error\)/Delta-L\(bytes\)\}, L\(bytes\)[\s\d.,+e-]*)\0?"
)


def clean_pixels(dataset: Any) -> tuple[str, bool]:
    """Clean the pixel data of a data set in place.

    Returns:
        Why it cannot be cleaned (empty if it can), and whether bytes were removed.

    Raises:
        ValueError: The stream is damaged; also the other errors of a damaged file (`DICOM_DAMAGE`).
    """
    for name in OFFSETS:
        if name in dataset:
            delattr(dataset, name)
    name = next((name for name in PIXELS if name in dataset), "")
    if not name:
        return "", False
    if "Rows" not in dataset or "Columns" not in dataset:
        return "pixels without the size of their picture", False
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if not dataset.file_meta.TransferSyntaxUID.is_compressed:
        return "", _cut(dataset, name)
    if name != "PixelData" or syntax not in {*JPEG, *JPEG_2000, RLE, DEFLATED}:
        return "compressed in a way in which text cannot be found; export it uncompressed", False
    return _clean_frames(dataset, syntax)


def _cut(dataset: Any, name: str) -> bool:
    """Cut a native picture to its size; the byte that makes the length even becomes 0. True if more was there."""
    content = bytes(dataset[name].value or b"")
    bits = {"PixelData": int(dataset.get("BitsAllocated") or 0), "FloatPixelData": 32}.get(name, 64)
    samples, frames = int(dataset.get("SamplesPerPixel") or 1), int(dataset.get("NumberOfFrames") or 1)
    size = -(-dataset.Rows * dataset.Columns * samples * frames * bits // 8)
    if len(content) <= size:
        return False
    dataset[name].value = content[:size] + bytes(size % 2)
    return bool(len(content) > size + size % 2)


def _clean_frames(dataset: Any, syntax: str) -> tuple[str, bool]:
    from pydicom.encaps import encapsulate, generate_fragments, generate_frames, parse_basic_offsets

    content, n_frames = bytes(dataset.PixelData), int(dataset.get("NumberOfFrames") or 1)
    stream = BytesIO(content)
    offsets = parse_basic_offsets(stream)
    fragments = list(generate_fragments(stream))
    if n_frames == 1:
        frames = [b"".join(fragments)]
    elif len(fragments) == n_frames:
        frames = fragments
    else:
        frames = list(generate_frames(content, number_of_frames=n_frames))
    if len(frames) != n_frames:
        return f"{len(frames)} frames of pixels for {n_frames}", False
    if syntax in (RLE, DEFLATED):
        again = _rle if syntax == RLE else _deflated
        cleaned, changed = [again(frame, dataset) for frame in frames], False
    else:
        clean = _jpeg_2000 if syntax in JPEG_2000 else partial(_jpeg, jpeg_ls=syntax in JPEG_LS)
        cleaned = [clean(frame) for frame in frames]
        pairs = [(a, b) for a, b in zip(frames, cleaned, strict=True) if a.rstrip(_ZEROS) != b.rstrip(_ZEROS)]
        changed = bool(pairs)
        if not all(_same_picture(before, after, dataset, syntax) for before, after in pairs):
            return "its picture is not the same without the bytes that are no picture", False
    if cleaned == frames and _offsets_are_right(offsets, frames, len(fragments)):
        return "", False
    dataset.PixelData = encapsulate(cleaned)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    return "", changed


def _offsets_are_right(offsets: list[int], frames: list[bytes], n_fragments: int) -> bool:
    """Whether the table of offsets is empty or gives where each frame begins, so that it holds nothing else."""
    places = [0, *accumulate(8 + len(frame) for frame in frames[:-1])]
    return not offsets or (offsets == places and (len(frames) == 1 or n_fragments == len(frames)))


def _same_picture(before: bytes, after: bytes, dataset: Any, syntax: str) -> bool:
    start = max(before.find(JPEG_2000_START), 0) if syntax in JPEG_2000 else 0
    size = max(int(dataset.BitsAllocated) // 8, 1)
    dtype = np.dtype(f"<{'i' if dataset.get('PixelRepresentation') else 'u'}{size}")
    shape = (int(dataset.Rows), int(dataset.Columns))
    streams = (before[start : start + len(after)], after)
    one, other = (decode_frame(stream, syntax, shape, dtype) for stream in streams)
    return bool((one == other).all())


def _jpeg(frame: bytes, jpeg_ls: bool) -> bytes:
    """A JPEG or JPEG-LS stream whose other segments are zeros. Source: ITU-T T.81 B.1, T.87 C.1."""
    if frame[:2] != JPEG_START:
        raise PixelDamageError("no JPEG stream")
    marker_after_data = _NEXT_MARKER_LS if jpeg_ls else _NEXT_MARKER
    cleaned, at = bytearray(frame), 2
    while True:
        while frame[at + 1] == 0xFF:
            at += 1
        if frame[at] != 0xFF:
            raise PixelDamageError("bytes between the segments of a JPEG stream")
        kind = frame[at + 1]
        if kind == _END:
            return _ended(cleaned, at + 2)
        end = at + 2 + struct.unpack_from(">H", frame, at + 2)[0]
        if kind not in _PICTURE and not _HARMLESS_JPEG.fullmatch(frame[at:end]):
            cleaned[at + 4 : end] = bytes(len(cleaned[at + 4 : end]))
        at = end
        if kind == 0xDA:
            found = marker_after_data.search(frame, at)
            if found is None:
                raise PixelDamageError("a JPEG stream without an end")
            at = found.end() - 2


def _jpeg_2000(frame: bytes) -> bytes:
    """A JPEG 2000 code stream without boxes, whose other segments are zeros. Source: ITU-T T.800 annex A."""
    frame = frame[max(frame.find(JPEG_2000_START), 0) :]
    if frame[:4] != JPEG_2000_START:
        raise PixelDamageError("no JPEG 2000 stream")
    cleaned, at, part_end = bytearray(frame), 2, 0
    while True:
        mark, kind = frame[at], frame[at + 1]
        if mark != 0xFF:
            raise PixelDamageError("bytes between the segments of a JPEG 2000 stream")
        if kind == _END:
            return _ended(cleaned, at + 2)
        if kind == _SOD:
            at = part_end or frame.index(b"\xff\xd9", at)
            continue
        end = at + 2 + struct.unpack_from(">H", frame, at + 2)[0]
        if kind == _SOT:
            length = struct.unpack_from(">L", frame, at + 6)[0]
            part_end = at + length if length else 0
        elif kind not in _NEEDED_2000 and not (
            kind == _COMMENT and _HARMLESS_2000.fullmatch(frame[at + 4 : end])
        ):
            cleaned[at + 1] = _COMMENT
            cleaned[at + 4 : end] = bytes(len(cleaned[at + 4 : end]))
        at = end


def _ended(cleaned: bytearray, end: int) -> bytes:
    return bytes(cleaned[:end]) + bytes(end % 2)


def _rle(frame: bytes, dataset: Any) -> bytes:
    """The same planes of bytes, coded anew row by row. Source: DICOM PS3.5 annex G."""
    import imagecodecs

    bits, samples = int(dataset.BitsAllocated), int(dataset.get("SamplesPerPixel") or 1)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    n_planes = max(bits // 8, 1) * samples
    size = -(-rows * columns // 8) if bits == 1 else rows * columns
    n_segments, *starts = struct.unpack_from("<16L", frame)
    if n_segments != n_planes:
        raise PixelDamageError(f"{n_segments} segments for {n_planes} bytes a pixel")
    ends = [*starts[1:n_planes], len(frame)]
    coded = []
    for start, end in zip(starts, ends, strict=False):
        plane = _unpacked(frame[start:end], size) if 64 <= start < end else b""
        if len(plane) != size:
            raise PixelDamageError(f"{len(plane)} bytes for {rows} x {columns} pixels")
        row = size if bits == 1 else columns
        again = b"".join(imagecodecs.packbits_encode(plane[k : k + row]) for k in range(0, size, row))
        if bytes(imagecodecs.packbits_decode(again)) != plane:
            raise PixelDamageError("a plane that is not the same when coded again")
        coded.append(again + bytes(len(again) % 2))
    places = [64 + sum(map(len, coded[:number])) for number in range(n_planes)]
    return struct.pack("<16L", n_planes, *places, *[0] * (15 - n_planes)) + b"".join(coded)


def _unpacked(packed: bytes, size: int) -> bytes:
    """The first ``size`` bytes of a run-length segment, whatever follows them."""
    plane, at = bytearray(), 0
    while len(plane) < size and at + 1 < len(packed):
        count = packed[at]
        if count < 128:
            plane += packed[at + 1 : at + 2 + count]
            at += 2 + count
        else:
            plane += packed[at + 1 : at + 2] * (257 - count if count > 128 else 0)
            at += 2 if count > 128 else 1
    return bytes(plane[:size])


def _deflated(frame: bytes, dataset: Any) -> bytes:
    """The deflated picture without what follows it. Source: DICOM PS3.5 A.4.12."""
    bits, samples = int(dataset.BitsAllocated), int(dataset.get("SamplesPerPixel") or 1)
    size = -(-int(dataset.Rows) * int(dataset.Columns) * samples * bits // 8)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    plane = stream.decompress(frame, size + 2)
    if not stream.eof or not size <= len(plane) <= size + 1:
        raise PixelDamageError(f"{len(plane)} bytes for {dataset.Rows} x {dataset.Columns} pixels")
    return _ended(bytearray(frame), len(frame) - len(stream.unused_data))
