"""The stored frames of a DICOM SEG, in every form in which they are written; their number and size are compared."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.encaps import generate_frames
from pydicom.pixels import iter_pixels

from nephroscope.imaging.dicom.codecs import RLE, pydicom_plugin
from nephroscope.imaging.dicom.pixel_data import NATIVE, uid_of
from nephroscope.imaging.dicom.slice_header import syntax_of
from nephroscope.imaging.files import DamageError

DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
Pixels = npt.NDArray[Any]


def seg_frames(seg: Any, indices: Sequence[int]) -> Iterator[Pixels]:
    """The values (R, C) of these frames, one after the other.

    Raises:
        DamageError: There are not as many frames or pixels as the header says, or no decoder for them. What pydicom
            raises for damage is not caught here.
    """
    rows, columns, bits = int(seg.Rows), int(seg.Columns), int(seg.BitsAllocated)
    n_frames, syntax, shape = int(seg.get("NumberOfFrames") or 1), syntax_of(seg), (rows, columns)
    if bits not in (1, 8, 16) or not syntax:
        raise DamageError(f"pixels of {bits} bits" if syntax else "no transfer syntax")
    if syntax in NATIVE:
        expected = (n_frames * rows * columns * bits + 7) // 8
        if not expected <= len(seg.PixelData) <= expected + 1:
            found = f"{len(seg.PixelData)} bytes of pixels"
            raise DamageError(f"{found}, not the {expected} of {n_frames} frames of {rows} x {columns}")
    elif syntax == DEFLATED_FRAMES or (syntax == RLE and bits == 1):
        yield from _packed(seg, indices, shape, bits)
        return
    elif not (plugin := pydicom_plugin(syntax)):
        raise DamageError(
            f"frames in {uid_of(syntax).name}, for which there is no decoder here; export it uncompressed"
        )
    if not indices:
        return
    plugin = pydicom_plugin(syntax)
    for frame in iter_pixels(seg, indices=list(indices), decoding_plugin=plugin):
        if frame.shape != shape:
            raise DamageError(
                f"a frame of {' x '.join(map(str, frame.shape))}, not {rows} x {columns} pixels"
            )
        yield frame


def _packed(seg: Any, indices: Sequence[int], shape: tuple[int, int], bits: int) -> Iterator[Pixels]:
    """Frames that are packed one by one, each from a whole byte on. Source: DICOM PS3.5 8.1.1, A.4.13, annex G."""
    n_frames, n_pixels = int(seg.get("NumberOfFrames") or 1), shape[0] * shape[1]
    n_bytes = (n_pixels * bits + 7) // 8
    coded = list(generate_frames(seg.PixelData, number_of_frames=n_frames))
    if len(coded) != n_frames:
        raise DamageError(f"{len(coded)} frames stored, {n_frames} described")
    unpack = _unpacked_rle if syntax_of(seg) == RLE else _inflated
    for index in indices:
        plain = unpack(coded[index], n_bytes)
        if not n_bytes <= len(plain) <= n_bytes + 1:
            raise DamageError(
                f"{len(plain)} bytes for a frame of {shape[0]} x {shape[1]} pixels of {bits} bits"
            )
        stored = np.frombuffer(plain, "<u2" if bits == 16 else np.uint8, n_bytes // (2 if bits == 16 else 1))
        pixels = np.unpackbits(stored, count=n_pixels, bitorder="little") if bits == 1 else stored
        yield pixels.reshape(shape)


def _inflated(frame: bytes, n_bytes: int) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, n_bytes + 2)


def _unpacked_rle(frame: bytes, n_bytes: int) -> bytes:
    import imagecodecs

    n_segments, start = struct.unpack_from("<2L", frame)
    if n_segments != 1 or not 64 <= start < len(frame):
        raise DamageError(f"{n_segments} segments for pixels of one bit")
    plain: bytes = bytes(imagecodecs.packbits_decode(frame[start:]))
    return plain[: n_bytes + 2]
