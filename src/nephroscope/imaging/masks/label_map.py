"""Read a NIfTI or NRRD label map, as ITK-SNAP, 3D Slicer and MITK write it, and place its tumor on the CT.

An NRRD header, parsed by pynrrd, may have its voxels in the same file or in one file next to it. The voxels are
unpacked here, so that no more is unpacked than the header announces.
"""

import bz2
import gzip
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError, SeriesError
from nephroscope.base.limits import parse_json
from nephroscope.base.text import first_few
from nephroscope.imaging.files import FILE_DAMAGE, file_kind
from nephroscope.imaging.grid import MOST_VOXELS, canonical
from nephroscope.imaging.masks.resample import fit_to_ct
from nephroscope.imaging.masks.segments import (
    Affine,
    LabelMap,
    Labels,
    Segment,
    TumorQuery,
    check_choice,
    choose_segment,
)
from nephroscope.imaging.nifti import read_announced, read_stored
from nephroscope.records import Finding, VolumeGeometry

# Signs to LPS by "space", long and short names. Source: NRRD format.
SPACES = {
    "left-posterior-superior": (1.0, 1.0, 1.0),
    "lps": (1.0, 1.0, 1.0),
    "right-anterior-superior": (-1.0, -1.0, 1.0),
    "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0),
    "las": (1.0, -1.0, 1.0),
}
# Names of "type". Source: NRRD format.
TYPES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
TEXT = ("ascii", "text", "txt")
MITK_LABELS = "org.mitk.multilabel.segmentation.labelgroups"
MOST_HEADER_BYTES = 4 * 1024 * 1024
MOST_TEXT_PER_VOXEL = 32


def read_label_map(path: Path, where: str) -> LabelMap:
    """The label map in a NIfTI or NRRD file; its content decides which.

    Raises:
        RoiError: The file is damaged or too large, does not have three axes, or holds values that are not labels.
    """
    try:
        return _read_nrrd(path) if file_kind(path) == "nrrd" else _read_nifti(path)
    except SeriesError as error:
        raise error.as_kind(RoiError, where) from error
    except FILE_DAMAGE as error:
        why = str(error).replace(str(path), "the file") or type(error).__name__
        raise RoiError(
            where=where,
            expected="a whole NRRD label map",
            found=f"a file that is cut short or of another kind ({why})",
            remedy="export it again, with header and voxels in one file",
        ) from error


def tumor_on_ct(
    path: Path, ct: VolumeGeometry, query: TumorQuery
) -> tuple[npt.NDArray[np.bool_], list[Finding]]:
    """Tumor voxels (S, R, C) of a label map on the CT's grid, resampled where the grids differ.

    Raises:
        RoiError: The file is not a label map, does not hold the tumor, or lies elsewhere.
    """
    stored = read_label_map(path, query.where)
    layer, number, doubts = 0, query.label, []
    if stored.segments:
        chosen = choose_segment(stored.segments, query)
        layer, number = chosen.layer, chosen.number
        doubts = check_choice(stored.segments, chosen, query)
    elif query.name.strip():
        raise query.refusal(
            expected=f"a label called {query.name!r}",
            found=f"only labels without names: {values_in(stored)}",
            remedy="give the number of the label as --tumor-label, without --tumor-name",
        )
    mask = stored.layers[layer] == number
    if not mask.any():
        raise query.refusal(
            expected=f"the tumor label {number}",
            found=f"only the values {values_in(stored)}",
            remedy="give the label of the tumor as --tumor-label",
        )
    if not stored.placed and not canonical(mask, stored.affine)[1].matches(ct):
        raise query.refusal(
            expected="a header with the position of the voxels",
            found="none",
            remedy="export the ROI again with its orientation (sform or qform)",
        )
    voxels, findings = fit_to_ct(mask, stored.affine, ct, query)
    doubts += [query.finding(doubt.code, doubt.message) for doubt in stored.findings]
    return voxels, doubts + findings


def values_in(stored: LabelMap) -> str:
    """The first values of a label map, for refusals."""
    return first_few(sorted({int(value) for layer in stored.layers for value in np.unique(layer)}), 12)


def _read_nifti(path: Path) -> LabelMap:
    stored = read_stored(path)
    doubts = stored.findings
    placed = all(doubt.code != "orientation-unknown" for doubt in doubts)
    layer = _whole_numbers(stored.values, path.name)
    return LabelMap(layers=(layer,), affine=stored.affine, placed=placed, findings=doubts)


def _read_nrrd(path: Path) -> LabelMap:
    """The label map in an NRRD file, or in the file next to it that its header names."""
    import nrrd
    from nrrd.errors import NRRDError

    try:
        with path.open("rb") as file:
            start = file.read(MOST_HEADER_BYTES)
        lines = BytesIO(start)
        header = nrrd.read_header(lines)
    except NRRDError as error:
        raise ValueError(str(error)) from error
    detached = header.get("data file", header.get("datafile"))
    content = _data_file(path, detached).read_bytes() if detached else path.read_bytes()[lines.tell() :]
    sizes = [int(size) for size in header["sizes"]]
    affine, spatial = _nrrd_affine(header, path.name)
    layered = len(sizes) == 4 and spatial == [1, 2, 3]
    if not (layered or (len(sizes) == 3 and spatial == [0, 1, 2])):
        raise _not_three_axes(path.name, sizes)
    if min(sizes) < 1 or np.prod(sizes, dtype=float) > MOST_VOXELS:
        raise _not_three_axes(path.name, sizes)
    voxels = _whole_numbers(_nrrd_voxels(header, content, sizes), path.name)
    layers = tuple(voxels[index] for index in range(sizes[0])) if layered else (voxels,)
    segments = tuple(_slicer_segments(header, layered) or _mitk_segments(header, path.name))
    if any(not 0 <= segment.layer < len(layers) for segment in segments):
        raise ValueError("a segment in a layer that does not exist")
    return LabelMap(layers=layers, affine=affine, segments=segments)


def _data_file(path: Path, name: object) -> Path:
    """The data file of a detached header; it must be in the folder of the header or below."""
    if not isinstance(name, str) or name.strip().upper().startswith("LIST") or "%" in name:
        raise ValueError("voxels in several files")
    found = (path.parent / name).resolve()
    if not found.is_relative_to(path.parent.resolve()):
        raise ValueError("a data file outside the header's folder")
    if not found.is_file():
        raise ValueError("its data file is not next to it")
    return found


def _nrrd_affine(header: dict[str, Any], name: str) -> tuple[Affine, list[int]]:
    """Affine from index to LPS mm, and which axes of the file are the spatial ones."""
    space = str(header.get("space", "")).lower()
    directions = header.get("space directions")
    origin = header.get("space origin")
    units = {str(unit).strip('"') for unit in header.get("space units", ())}
    if space not in SPACES or directions is None or origin is None or not units <= {"mm", ""}:
        raise SeriesError(
            where=f"file {name}",
            expected="space (such as left-posterior-superior), space directions and space origin in mm",
            found=f"space {space or 'not given'}"
            + (f", {name_missing}" if (name_missing := _missing(directions, origin)) else "")
            + (f", units {', '.join(sorted(units))}" if units else ""),
            remedy="save the segmentation again in the program in which it was drawn",
        )
    rows = [np.full(3, np.nan) if row is None else np.asarray(row, float) for row in directions]
    spatial = [index for index, row in enumerate(rows) if np.isfinite(row).all()]
    if len(spatial) != 3:
        raise ValueError(f"{len(spatial)} space directions")
    affine = np.eye(4)
    affine[:3, :3] = np.array([rows[index] for index in spatial]).T
    affine[:3, 3] = np.asarray(origin, float)
    return np.diag([*SPACES[space], 1.0]) @ affine, spatial


def _missing(directions: object, origin: object) -> str:
    lacking = [
        word for word, value in (("space directions", directions), ("space origin", origin)) if value is None
    ]
    return f"no {' and no '.join(lacking)}" if lacking else ""


def _not_three_axes(name: str, sizes: list[int]) -> SeriesError:
    return SeriesError(
        where=f"file {name}",
        expected=f"a label map with three axes, or several layers of them, of at most {MOST_VOXELS} voxels",
        found=f"{' x '.join(map(str, sizes))} voxels",
        remedy="export only the segmentation",
    )


def _nrrd_voxels(header: dict[str, Any], content: bytes, sizes: list[int]) -> Labels:
    """Values in the axis order of the file (fastest first); no more is unpacked than the header announces."""
    dtype = _nrrd_type(header)
    if int(header.get("line skip", header.get("lineskip", 0))) or int(
        header.get("byte skip", header.get("byteskip", 0))
    ):
        raise ValueError("voxels after a skip")
    count = int(np.prod(sizes))
    n_bytes = count * dtype.itemsize
    encoding = str(header["encoding"]).lower()
    if encoding in TEXT:
        if len(content) > MOST_TEXT_PER_VOXEL * count:
            raise ValueError("more text than voxels")
        values = np.array(content.split(), dtype=float)
        if values.size != count:
            raise ValueError(f"{values.size} of {count} values")
        return values.reshape(sizes, order="F")
    if encoding in ("gzip", "gz"):
        with gzip.GzipFile(fileobj=BytesIO(content)) as file:
            content = read_announced(file, n_bytes)
    elif encoding in ("bzip2", "bz2"):
        with bz2.BZ2File(BytesIO(content)) as file:
            content = read_announced(file, n_bytes)
    elif encoding != "raw":
        raise ValueError(f"encoding {encoding}")
    if len(content) != n_bytes:
        raise ValueError(f"{len(content)} of {n_bytes} bytes")
    return np.frombuffer(content, dtype, count).reshape(sizes, order="F")


def _nrrd_type(header: dict[str, Any]) -> np.dtype[Any]:
    words = " ".join(str(header["type"]).lower().split())
    code = next((code for code, names in TYPES.items() if words in names.split(", ")), "")
    if not code:
        raise ValueError(f"voxels of type {words}")
    dtype = np.dtype(code)
    if dtype.itemsize > 1 and str(header["encoding"]).lower() not in TEXT:
        dtype = dtype.newbyteorder({"little": "<", "big": ">"}[str(header["endian"]).lower()])  # type: ignore[arg-type]
    return dtype


def _slicer_segments(header: dict[str, Any], layered: bool) -> list[Segment]:
    """Segments as 3D Slicer describes them; its older files have one layer per segment and no numbers."""
    found = []
    numbers = sorted({int(m[1]) for key in header if (m := re.fullmatch(r"Segment(\d+)_ID", key))})
    for number in numbers:
        tags = str(header.get(f"Segment{number}_Tags", ""))
        entry = re.search(r"TerminologyEntry:([^|]*)", tags)
        kinds = entry[1].split("~")[1:4] if entry else []  # category, type, type modifier
        codes = [kind.split("^") for kind in kinds[1:2] if kind.count("^") == 2]
        found.append(
            Segment(
                number=int(header.get(f"Segment{number}_LabelValue", 1 if layered else number + 1)),
                name=str(header.get(f"Segment{number}_Name", "")),
                meanings=tuple(code[2] for code in codes if code[2]),
                codes=frozenset(code[1] for code in codes if code[1]),
                layer=int(header.get(f"Segment{number}_Layer", number if layered else 0)),
            )
        )
    return found


def _mitk_segments(header: dict[str, Any], name: str) -> list[Segment]:
    """Labels as MITK describes them in JSON: groups, one per layer."""
    if MITK_LABELS not in header:
        return []
    text = re.sub(r"\\([\\n])", lambda m: " " if m[1] == "n" else m[1], str(header[MITK_LABELS]))
    groups: Any = parse_json(text, f"file {name}", SeriesError, "save the segmentation again in MITK")
    return [
        Segment(number=int(label["value"]), name=str(label.get("name", "")), layer=layer)
        for layer, group in enumerate(groups)
        for label in (group["labels"] if isinstance(group, dict) else group)
    ]


def _whole_numbers(values: Labels, name: str) -> Labels:
    """The values if they are whole numbers.

    Raises:
        SeriesError: They are not whole numbers.
    """
    if values.dtype.kind in "iu":
        return values
    if (
        values.dtype.kind != "f"
        or not np.isfinite(values).all()
        or not np.array_equal(values, np.round(values))
    ):
        raise SeriesError(
            where=f"file {name}",
            expected="a label map of whole numbers",
            found="fractions or values that are not a number",
            remedy="export labels, not probabilities or a CT, and resample them with nearest neighbor",
        )
    return values
