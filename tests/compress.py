"""Compress the pixels of a DICOM image, in every transfer syntax for which imagecodecs has an encoder."""

import imagecodecs
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)


def jpeg_lossless(frame, predictor=1, bits=None):
    stored = frame.view(f"u{frame.itemsize}")
    bits = bits or 8 * frame.itemsize
    return imagecodecs.jpeg8_encode(stored, lossless=True, predictor=predictor, bitspersample=bits)


def rle(frame):
    """One segment a byte, the highest first; rows are packed together, which the standard lets a reader accept."""
    planes = frame.view(np.uint8).reshape(*frame.shape, frame.itemsize)[..., ::-1]
    segments = [
        b"".join(bytes(imagecodecs.packbits_encode(row.tobytes())) for row in np.ascontiguousarray(plane))
        for plane in np.moveaxis(planes, -1, 0)
    ]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    starts = np.zeros(16, "<u4")
    starts[0] = len(segments)
    starts[1 : len(segments) + 1] = 64 + np.cumsum([0, *map(len, segments[:-1])])
    return starts.tobytes() + b"".join(segments)


ENCODERS = {
    JPEGBaseline8Bit: lambda frame: imagecodecs.jpeg8_encode(frame, level=98),
    JPEGExtended12Bit: lambda frame: imagecodecs.jpeg8_encode(frame, level=98, bitspersample=12),
    JPEGLossless: lambda frame: jpeg_lossless(frame, predictor=6),
    JPEGLosslessSV1: jpeg_lossless,
    JPEGLSLossless: lambda frame: imagecodecs.jpegls_encode(frame.view(f"u{frame.itemsize}")),
    JPEG2000Lossless: lambda frame: imagecodecs.jpeg2k_encode(frame, codecformat="j2k", reversible=True),
    HTJ2KLossless: lambda frame: imagecodecs.htj2k_encode(frame, reversible=True),
    RLELossless: rle,
}
LOSSLESS = [syntax for syntax in ENCODERS if syntax not in (JPEGBaseline8Bit, JPEGExtended12Bit)]


def compress(image, syntax):
    """Compress the pixels in place; what else the header says stays."""
    kind = "i" if image.PixelRepresentation else "u"
    shape = (int(image.get("NumberOfFrames") or 1), image.Rows, image.Columns)
    frames = np.frombuffer(image.PixelData, f"<{kind}{image.BitsAllocated // 8}").reshape(shape)
    replace_frames(image, syntax, [bytes(ENCODERS[syntax](frame)) for frame in frames])


def replace_frames(image, syntax, frames):
    """Let an image hold these compressed frames."""
    image.PixelData = encapsulate(frames)
    image["PixelData"].is_undefined_length = True
    image["PixelData"].VR = "OB"
    image.file_meta.TransferSyntaxUID = UID(syntax)
