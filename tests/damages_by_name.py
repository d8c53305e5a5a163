"""Changes of one value each that a damaged, badly exported or badly edited file has; by the kind of file."""

import io
import struct
from collections.abc import Callable
from typing import Any

import pydicom

Edit = Callable[[bytes], bytes]


def in_dicom(change: Callable[[Any], None]) -> Edit:
    """A file read by pydicom, changed and written again."""

    def edit(content: bytes) -> bytes:
        data = pydicom.dcmread(io.BytesIO(content))
        change(data)
        out = io.BytesIO()
        data.save_as(out, enforce_file_format=False)
        return out.getvalue()

    return edit


def put(keyword: str, value: object) -> Edit:
    """One attribute with another value."""
    return in_dicom(lambda data: setattr(data, keyword, value))


def without(keyword: str) -> Edit:
    """One attribute left out."""
    return in_dicom(lambda data: data.pop(keyword, None))


def at_place(place: int, form: str, *values: float) -> Edit:
    """Numbers written over a NIfTI header."""

    def edit(content: bytes) -> bytes:
        packed = struct.pack(f"<{form}", *values)
        return content[:place] + packed + content[place + len(packed) :]

    return edit


def replaced(old: bytes, new: bytes) -> Edit:
    """A text in a header replaced."""
    return lambda content: content.replace(old, new, 1)


def pixels(change: Callable[[bytes], bytes]) -> Edit:
    """Other pixel data."""
    return in_dicom(lambda data: setattr(data, "PixelData", change(data.PixelData)))


CT: dict[str, Edit] = {
    **{f"Rows {n}": put("Rows", n) for n in (0, 20, 39, 41, 80)},
    **{f"Columns {n}": put("Columns", n) for n in (0, 24, 47, 49, 96)},
    "Rows and Columns swapped": in_dicom(lambda d: d.update({"Rows": 48, "Columns": 40})),
    **{f"BitsAllocated {n}": put("BitsAllocated", n) for n in (8, 12, 32)},
    **{f"BitsStored {n}": put("BitsStored", n) for n in (8, 9, 10, 12, 17)},
    **{f"HighBit {n}": put("HighBit", n) for n in (7, 14, 16)},
    "PixelRepresentation 1": put("PixelRepresentation", 1),
    **{f"NumberOfFrames {n}": put("NumberOfFrames", n) for n in (0, 1, 2, 6)},
    **{f"slope {s}": put("RescaleSlope", s) for s in ("0", "-1", "2", "10", "0.5", "1.1", "1e-9", "1e308")},
    **{
        f"intercept {s}": put("RescaleIntercept", s) for s in ("0", "-1000", "-1124", "1024", "-10240", "1e9")
    },
    **{
        f"PixelSpacing {s}": put("PixelSpacing", s)
        for s in (["0.7", "0.9"], [9, 7], [0, 0], [900, 900], [-0.9, 0.7])
    },
    **{
        f"position z {z}": put("ImagePositionPatient", [-20, -30.5, z])
        for z in (100, 104.7, 105.3, 107.5, 112, 1050, -105, 10500)
    },
    **{f"position x {x}": put("ImagePositionPatient", [x, -30.5, 105]) for x in (20, -2, -200, -21)},
    **{
        f"orientation {o}": put("ImageOrientationPatient", o)
        for o in ([-1, 0, 0, 0, 1, 0], [1, 0, 0, 0, -1, 0], [0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1], [0] * 6)
    },
    **{f"InstanceNumber {n}": put("InstanceNumber", n) for n in (0, 2, 99)},
    "SamplesPerPixel 3": put("SamplesPerPixel", 3),
    **{
        f"photometric {p}": put("PhotometricInterpretation", p)
        for p in ("MONOCHROME1", "RGB", "PALETTE COLOR")
    },
    **{f"RescaleType {t}": put("RescaleType", t) for t in ("US", "OD", "Z_EFF")},
    "ImageType LOCALIZER": put("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    "ImageType VMI": put("ImageType", ["DERIVED", "PRIMARY", "AXIAL", "VMI"]),
    **{f"padding {p}": in_dicom(lambda d, p=p: d.add_new(0x00280120, "US", p)) for p in (24, 1064, 1114)},
    **{
        f"without {k}": without(k)
        for k in ("Rows", "PixelSpacing", "RescaleSlope", "RescaleIntercept", "PixelData")
    },
    **{
        f"without {k}": without(k)
        for k in ("ImagePositionPatient", "BitsStored", "InstanceNumber", "Modality")
    },
    "another series": put("SeriesInstanceUID", "1.2.3.5"),
    "another frame of reference": put("FrameOfReferenceUID", "1.2.3.6"),
    "no CT by its class": put("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"),
    "pixels cut short": pixels(lambda p: p[:-2]),
    "a row too many": pixels(lambda p: p + p[:96]),
    "pixels twice": pixels(lambda p: p + p),
}


def _moved(axis: int, mm: float) -> Edit:
    def move(data: Any) -> None:
        position = [float(value) for value in data.ImagePositionPatient]
        position[axis] += mm
        data.ImagePositionPatient = position

    return in_dicom(move)


def _upright(factor: float) -> Edit:
    """Every position along the body multiplied."""
    return in_dicom(
        lambda d: setattr(d, "ImagePositionPatient", [-20, -30.5, factor * float(d.ImagePositionPatient[2])])
    )


CT_ALL: dict[str, Edit] = {
    **{name: edit for name, edit in CT.items() if "position" not in name},
    **{
        f"all moved {mm} mm along {'xyz'[axis]}": _moved(axis, mm)
        for axis in (0, 1, 2)
        for mm in (0.7, 9, -50, 2000)
    },
    **{f"positions times {factor}": _upright(factor) for factor in (-1, 2, 0.5, 0)},
}
NIFTI: dict[str, Edit] = {
    **{
        f"dim {axis} {n}": at_place(40 + 2 * axis, "h", n)
        for axis in (1, 2, 3)
        for n in (0, 1, 5, 7, 39, 41, 47, 49, -6)
    },
    **{f"dim 0 {n}": at_place(40, "h", n) for n in (0, 1, 2, 4, 7, 8)},
    "dim of time 2": at_place(40, "8h", 4, 48, 40, 6, 2, 1, 1, 1),
    "slices as times": at_place(40, "8h", 4, 48, 40, 3, 2, 1, 1, 1),
    "rows and columns swapped": at_place(42, "2h", 40, 48),
    **{f"datatype {code}": at_place(70, "h", code) for code in (2, 4, 8, 16, 64, 256, 512, 768, 128)},
    **{f"bitpix {n}": at_place(72, "h", n) for n in (0, 8, 16, 32)},
    **{
        f"pixdim {axis} {mm}": at_place(76 + 4 * axis, "f", mm)
        for axis in (1, 2, 3)
        for mm in (0, 1, 2, 5, -1, 70, 900)
    },
    **{f"qfac {sign}": at_place(76, "f", sign) for sign in (0, 1, -1)},
    **{f"vox_offset {n}": at_place(108, "f", n) for n in (0, 348, 354, 368, 1e6)},
    **{f"magic {m!r}": at_place(344, "4s", m) for m in (b"ni1\0", b"\0\0\0\0", b"n+2\0")},
    **{f"units {n}": at_place(123, "b", n) for n in (0, 1, 3)},
    **{f"qform code {n}": at_place(252, "h", n) for n in (0, 1, 4)},
    **{f"sform code {n}": at_place(254, "h", n) for n in (0, 1, 4)},
    **{
        f"quaternion {q}": at_place(256, "3f", *q)
        for q in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1))
    },
    **{f"offset {axis}": at_place(268 + 4 * axis, "f", 0.0) for axis in (0, 1, 2)},
    **{
        f"sform x {row}": at_place(280, "4f", *row)
        for row in ((0.7, 0, 0, 20), (-1.4, 0, 0, 20), (0, 0, 0, 0), (-0.7, 0, 0, 0))
    },
    **{
        f"sform z {row}": at_place(312, "4f", *row)
        for row in ((0, 0, -2.5, 100), (0, 0, 5, 100), (0, 0.5, 2.5, 100))
    },
    "a slope of 2": at_place(112, "2f", 2, 0),
    "a slope of -1": at_place(112, "2f", -1, 0),
    "an intercept of -1024": at_place(112, "2f", 1, -1024),
    "big endian by its size": at_place(0, "4B", 0, 0, 1, 92),
}


def groups(change: Callable[[Any, list[Any]], None]) -> Edit:
    """The functional groups of frames, changed."""
    return in_dicom(lambda d: change(d, list(d.PerFrameFunctionalGroupsSequence)))


def _set_groups(data: Any, items: list[Any]) -> None:
    data.PerFrameFunctionalGroupsSequence = items


def _measures(data: Any) -> Any:
    return data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]


def _position(item: Any) -> Any:
    return item.PlanePositionSequence[0]


def _number(item: Any, number: int) -> None:
    item.SegmentIdentificationSequence[0].ReferencedSegmentNumber = number


SEG: dict[str, Edit] = {
    **{f"Rows {n}": put("Rows", n) for n in (0, 20, 39, 41, 80)},
    **{f"Columns {n}": put("Columns", n) for n in (0, 24, 47, 49, 96)},
    **{f"NumberOfFrames {n}": put("NumberOfFrames", n) for n in (0, 1, 4, 7, 9, 16)},
    "a group fewer": groups(lambda d, g: _set_groups(d, g[:-1])),
    "a group more": groups(lambda d, g: _set_groups(d, [*g, g[-1]])),
    "a group and a frame fewer, pixels as before": groups(
        lambda d, g: (_set_groups(d, g[:-1]), setattr(d, "NumberOfFrames", len(g) - 1))[0]
    ),
    "two frames at one place": groups(
        lambda d, g: setattr(_position(g[-1]), "ImagePositionPatient", _position(g[-2]).ImagePositionPatient)
    ),
    "a frame of a segment that is not described": groups(lambda d, g: _number(g[-1], 3)),
    "a frame of segment 0": groups(lambda d, g: _number(g[-1], 0)),
    "a frame of the other segment": groups(lambda d, g: _number(g[-1], 1)),
    "a segment that is described twice": in_dicom(
        lambda d: setattr(d.SegmentSequence[0], "SegmentNumber", 2)
    ),
    "a segment less": in_dicom(lambda d: d.SegmentSequence.pop(0)),
    **{
        f"spacing {mm}": in_dicom(lambda d, mm=mm: setattr(_measures(d), "PixelSpacing", mm))
        for mm in ([0.7, 0.9], [1.8, 1.4], [0, 0], [90, 70])
    },
    **{
        f"a frame {mm} mm off": groups(
            lambda d, g, mm=mm: setattr(
                _position(g[-1]),
                "ImagePositionPatient",
                [-20, -30.5, float(_position(g[-1]).ImagePositionPatient[2]) + mm],
            )
        )
        for mm in (0.3, 1.25, 2.5, -2.5, 25, 1000)
    },
    "turned": in_dicom(
        lambda d: setattr(
            d.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0],
            "ImageOrientationPatient",
            [-1, 0, 0, 0, 1, 0],
        )
    ),
    "another series": in_dicom(
        lambda d: setattr(d.ReferencedSeriesSequence[0], "SeriesInstanceUID", "1.2.9")
    ),
    "another frame of reference": put("FrameOfReferenceUID", "1.2.9"),
    "FRACTIONAL": put("SegmentationType", "FRACTIONAL"),
    "8 bits": in_dicom(lambda d: d.update({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7})),
    "pixels cut short": pixels(lambda p: p[:-2]),
    "pixels more": pixels(lambda p: p + p[:240]),
    "no pixels": without("PixelData"),
    "no segments": without("SegmentSequence"),
}


def contours(change: Callable[[list[Any]], object]) -> Edit:
    """The contours of an RTSTRUCT, changed."""
    return in_dicom(lambda d: change(d.ROIContourSequence[0].ContourSequence))


RTSTRUCT: dict[str, Edit] = {
    **{
        f"{n} points told": contours(lambda c, n=n: setattr(c[1], "NumberOfContourPoints", n))
        for n in (0, 1, 3, 5, 40)
    },
    "a point fewer": contours(lambda c: setattr(c[1], "ContourData", c[1].ContourData[:-3])),
    "a number fewer": contours(lambda c: setattr(c[1], "ContourData", c[1].ContourData[:-1])),
    "no numbers": contours(lambda c: setattr(c[1], "ContourData", None)),
    "crossing itself": contours(
        lambda c: setattr(
            c[1],
            "ContourData",
            [*c[1].ContourData[:3], *c[1].ContourData[6:9], *c[1].ContourData[3:6], *c[1].ContourData[9:]],
        )
    ),
    "open": contours(lambda c: setattr(c[1], "ContourGeometricType", "OPEN_PLANAR")),
    "a point": contours(lambda c: setattr(c[1], "ContourGeometricType", "POINT")),
    "another type": contours(lambda c: setattr(c[1], "ContourGeometricType", "CLOSED_SOLID")),
    "a contour in the gap between two slices": contours(
        lambda c: setattr(
            c[1], "ContourData", [v + 1.25 * (i % 3 == 2) for i, v in enumerate(map(float, c[1].ContourData))]
        )
    ),
    "a contour beyond the CT": contours(
        lambda c: setattr(
            c[1], "ContourData", [v + 125 * (i % 3 == 2) for i, v in enumerate(map(float, c[1].ContourData))]
        )
    ),
    "not in one plane": contours(
        lambda c: setattr(
            c[1], "ContourData", [v + 2.5 * (i == 2) for i, v in enumerate(map(float, c[1].ContourData))]
        )
    ),
    "contours of an ROI that is not described": in_dicom(
        lambda d: setattr(d.ROIContourSequence[0], "ReferencedROINumber", 2)
    ),
    "another frame of reference": in_dicom(
        lambda d: setattr(d.ReferencedFrameOfReferenceSequence[0], "FrameOfReferenceUID", "1.2.9")
    ),
    "ROI of another frame of reference": in_dicom(
        lambda d: setattr(d.StructureSetROISequence[0], "ReferencedFrameOfReferenceUID", "1.2.9")
    ),
    "no contours": without("ROIContourSequence"),
    "no names": without("StructureSetROISequence"),
}


def _item_bits(bit: int, nth: int) -> Edit:
    """One bit in the length of the nth item of all sequences."""

    def edit(content: bytes) -> bytes:
        data, at = bytearray(content), -1
        for _ in range(nth + 1):
            at = data.find(b"\xfe\xff\x00\xe0", at + 1)
        if at >= 0:
            data[at + 4 + bit // 8] ^= 1 << (bit % 8)
        return bytes(data)

    return edit


RTSTRUCT |= {
    f"bit {bit} of the length of item {n}": _item_bits(bit, n) for n in range(10) for bit in range(0, 16, 3)
}
SEG |= {
    f"bit {bit} of the length of item {n}": _item_bits(bit, n)
    for n in range(0, 30, 3)
    for bit in range(0, 16, 5)
}
NRRD: dict[str, Edit] = {
    **{
        f"sizes {s}": replaced(b"sizes: 48 40 6", f"sizes: {s}".encode())
        for s in ("40 48 6", "47 40 6", "49 40 6", "48 40 5", "48 40 7", "48 240 1", "0 40 6")
    },
    **{
        f"type {t}": replaced(b"type: uint8", f"type: {t}".encode())
        for t in ("int8", "uint16", "float", "double")
    },
    **{
        f"space {s}": replaced(b"left-posterior-superior", s)
        for s in (b"right-anterior-superior", b"left-anterior-superior")
    },
    "directions of other signs": replaced(b"space directions: (0.7", b"space directions: (-0.7"),
    "directions twice as long": replaced(b"space directions: (0.7", b"space directions: (1.4"),
    "origin of other signs": replaced(b"space origin: (-20", b"space origin: (20"),
    "another encoding": replaced(b"encoding: raw", b"encoding: gzip"),
    "skipped": replaced(b"encoding:", b"byte skip: 48\nencoding:"),
    "no origin": lambda content: b"\n".join(
        line for line in content.split(b"\n", 12) if b"origin" not in line
    ),
}
NAMED: dict[str, dict[str, Edit]] = {
    "dicom-ct": CT,
    "dicom-ct-all": CT_ALL,
    "nifti": NIFTI,
    "seg": SEG,
    "rtstruct": RTSTRUCT,
    "nrrd": NRRD,
}
