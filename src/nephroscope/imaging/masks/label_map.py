"""Read a NIfTI or NRRD label map, as ITK-SNAP, 3D Slicer and MITK write it, and place its tumor on the CT.

An NRRD header, parsed by pynrrd, may have its voxels in the same file or in one file next to it. The voxels are
unpacked here, so that no more is unpacked than the header announces, and nothing when that is too much.
"""

import bz2
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError, SeriesError
from nephroscope.base.limits import parse_json
from nephroscope.imaging.files import FILE_DAMAGE, GZIP, DamageError, damage_words, file_kind
from nephroscope.imaging.grid import canonical_grid
from nephroscope.imaging.masks.resample import fit_to_ct
from nephroscope.imaging.masks.segments import (
    MOST_ROI_VOXELS,
    Affine,
    LabelMap,
    Labels,
    Segment,
    TumorQuery,
    check_choice,
    choose_segment,
    most_voxels,
    segments_in,
    values_in,
)
from nephroscope.imaging.nifti import read_announced, read_grid, read_stored
from nephroscope.records import Finding, VolumeGeometry, note

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
# TotalSegmentator stores the names of label values in the NIfTI header, as Connectome Workbench does.
NAMED_VALUE = re.compile(rb'<Label\b[^>]*\bKey="(\d{1,5})"[^>]*>(?:<!\[CDATA\[)?\s*([^<\]]{1,80})')
HEADER_END = 200_000  # bytes searched for names of values
MITK_LABELS = "org.mitk.multilabel.segmentation.labelgroups"
MOST_HEADER_BYTES = 4 * 1024 * 1024
MOST_TEXT_PER_VOXEL = 32
MOST_LAYERED = 4  # times as many voxels may lie in all layers together
NEARLY_WHOLE = (
    1e-3  # farthest that a label may be from a whole number, after scaling and rounding by other programs
)


def read_label_map(path: Path, where: str, most: int = MOST_ROI_VOXELS) -> LabelMap:
    """The label map in a NIfTI or NRRD file; its content decides which.

    Args:
        path: The file.
        where: Names it in refusals.
        most: Voxels that it may have; nothing is unpacked when its header announces more.

    Raises:
        RoiError: The file is damaged or too large, does not have three axes, or holds values that are not labels.
    """
    is_nrrd = file_kind(path) == "nrrd"
    try:
        return _read_nrrd(path, most) if is_nrrd else _read_nifti(path, most)
    except SeriesError as error:
        raise error.as_kind(RoiError, where) from error
    except FILE_DAMAGE as error:
        raise RoiError(
            where=where,
            expected=f"a whole {'NRRD' if is_nrrd else 'NIfTI'} label map",
            found=f"a file that is cut short or of another kind ({damage_words(error)})",
            remedy="export it again" + (", with header and voxels in one file" if is_nrrd else ""),
        ) from error


def grid_of(path: Path) -> VolumeGeometry | None:
    """The canonical grid of a label map, from its header alone; None where that does not tell it."""
    try:
        if file_kind(path) == "nrrd":
            header, _ = _nrrd_header(path)
            affine, spatial = _nrrd_affine(header, path.name)
            shape = tuple(int(header["sizes"][axis]) for axis in spatial)
        else:
            shape, affine = read_grid(path)
        return canonical_grid(shape, affine)
    except (SeriesError, *FILE_DAMAGE):
        return None


def tumor_on_ct(
    path: Path, ct: VolumeGeometry, query: TumorQuery
) -> tuple[npt.NDArray[np.bool_], list[Finding]]:
    """Tumor voxels (S, R, C) of a label map on the CT's grid, resampled where the grids differ.

    Raises:
        RoiError: The file is not a label map, does not hold the tumor or not say which it is, or lies elsewhere.
    """
    stored = read_label_map(path, query.where, most_voxels(ct))
    if query.name.strip() and not stored.segments:
        raise query.refusal(
            expected=f"a label called {query.name!r}",
            found=f"only labels without names: {values_in(stored)}",
            remedy="give the number of the label as --tumor-label, without --tumor-name",
        )
    segments = segments_in(stored, query)
    known = {segment.number for segment in segments}
    if not known or (query.has_number and not stored.segments and query.label not in known):
        raise _no_tumor(stored, query.label, query)
    chosen = choose_segment(segments, query)
    mask = stored.layers[chosen.layer] == (chosen.number if chosen.value is None else chosen.value)
    if not mask.any():
        raise _no_tumor(stored, chosen.number, query)
    if not stored.placed and not canonical_grid(mask.shape, stored.affine).matches(ct):
        raise query.refusal(
            expected="a header with the position of the voxels",
            found="none",
            remedy="export the ROI again with its orientation (sform or qform)",
        )
    doubts = check_choice(segments, chosen, query)
    doubts += [replace(doubt, where=query.where, case_id=query.case_id) for doubt in stored.findings]
    voxels, findings = fit_to_ct(mask, stored.affine, ct, query)
    return voxels, doubts + findings


def _no_tumor(stored: LabelMap, number: int, query: TumorQuery) -> RoiError:
    layers = f" in {len(stored.layers)} layers" if len(stored.layers) > 1 else ""
    return query.refusal(
        expected=f"the tumor label {number}",
        found=f"only the values {values_in(stored)}{layers}",
        remedy="give the label of the tumor as --tumor-label",
    )


def _read_nifti(path: Path, most: int) -> LabelMap:
    stored = read_stored(path, most)
    placed = all(doubt.code != "orientation-unknown" for doubt in stored.findings)
    layer, doubts = _whole_numbers(stored.values, path.name)
    return LabelMap(
        layers=(layer,),
        affine=stored.affine,
        segments=tuple(named_values(path)),
        placed=placed,
        findings=(*stored.findings, *doubts),
    )


def named_values(path: Path) -> Iterator[Segment]:
    """Names of label values in the header of a NIfTI label map."""
    with path.open("rb") as file:
        start = file.read(HEADER_END)
    if start.startswith(GZIP):
        start = zlib.decompressobj(31).decompress(start, HEADER_END)
    for number, name in NAMED_VALUE.findall(start):
        yield Segment(number=int(number), name=name.decode("utf-8", "replace").strip())


def _read_nrrd(path: Path, most: int) -> LabelMap:
    """The label map in an NRRD file, or in the file next to it that its header names."""
    header, size = _nrrd_header(path)
    detached = header.get("data file", header.get("datafile"))
    sizes = [int(size) for size in header["sizes"]]
    affine, spatial = _nrrd_affine(header, path.name)
    layered = len(sizes) == 4 and spatial == [1, 2, 3]
    if not (layered or (len(sizes) == 3 and spatial == [0, 1, 2])) or min(sizes) < 1:
        raise _not_three_axes(path.name, sizes, most)
    if np.prod(sizes[-3:], dtype=float) > most or np.prod(sizes, dtype=float) > MOST_LAYERED * most:
        raise _not_three_axes(path.name, sizes, most)
    content = _data_file(path, detached).read_bytes() if detached else path.read_bytes()[size:]
    voxels, doubts = _whole_numbers(_nrrd_voxels(header, content, sizes), path.name)
    layers = tuple(voxels[index] for index in range(sizes[0])) if layered else (voxels,)
    segments = tuple(_slicer_segments(header, layered) or _mitk_segments(header))
    if any(not 0 <= segment.layer < len(layers) for segment in segments):
        raise DamageError("a segment in a layer that does not exist")
    return LabelMap(layers=layers, affine=affine, segments=segments, findings=doubts)


def _nrrd_header(path: Path) -> tuple[dict[str, Any], int]:
    """The fields of an NRRD header, and its size in bytes."""
    import nrrd
    from nrrd.errors import NRRDError

    with path.open("rb") as file:
        lines, size = _header_lines(file.read(MOST_HEADER_BYTES))
    try:
        return nrrd.read_header(lines), size
    except NRRDError as error:
        raise DamageError(str(error)) from error


def _header_lines(start: bytes) -> tuple[list[str], int]:
    """The lines of an NRRD header, which 3D Slicer writes in UTF-8, and its size with the blank line after it."""
    end = min((at + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if (at := start.find(mark)) >= 0), default=0)
    text = start[: end or len(start)]
    try:
        return text.decode("utf-8").splitlines(), len(text)
    except UnicodeDecodeError:  # of older programs on Windows
        return text.decode("latin-1").splitlines(), len(text)


def _data_file(path: Path, name: object) -> Path:
    """The data file of a detached header; it must be in the folder of the header or below."""
    if not isinstance(name, str) or name.strip().upper().startswith("LIST") or "%" in name:
        raise DamageError("voxels in several files")
    found = (path.parent / name).resolve()
    if not found.is_relative_to(path.parent.resolve()):
        raise DamageError("a data file outside the header's folder")
    if not found.is_file():
        raise DamageError("its data file is not next to it")
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
        raise DamageError(f"{len(spatial)} space directions")
    affine = np.eye(4)
    affine[:3, :3] = np.array([rows[index] for index in spatial]).T
    affine[:3, 3] = np.asarray(origin, float)
    return np.diag([*SPACES[space], 1.0]) @ affine, spatial


def _missing(directions: object, origin: object) -> str:
    lacking = [
        word for word, value in (("space directions", directions), ("space origin", origin)) if value is None
    ]
    return f"no {' and no '.join(lacking)}" if lacking else ""


def _not_three_axes(name: str, sizes: list[int], most: int) -> SeriesError:
    return SeriesError(
        where=f"file {name}",
        expected=f"a label map with three axes, or several layers of them, of at most {most} voxels each",
        found=f"{' x '.join(map(str, sizes))} voxels",
        remedy="export only the segmentation",
    )


def _nrrd_voxels(header: dict[str, Any], content: bytes, sizes: list[int]) -> Labels:
    """Values in the axis order of the file (fastest first); no more is unpacked than the header announces."""
    dtype = _nrrd_type(header)
    count = int(np.prod(sizes))
    n_bytes = count * dtype.itemsize
    encoding = str(header["encoding"]).lower()
    if _is_at_the_end(header, encoding):
        content = content[max(0, len(content) - n_bytes) :]
    if encoding in TEXT:
        if len(content) > MOST_TEXT_PER_VOXEL * count:
            raise DamageError("more text than voxels")
        values = np.array(content.split(), dtype=float)
        if values.size != count:
            raise DamageError(f"{values.size} of {count} values")
        return values.reshape(sizes, order="F")
    if encoding in ("gzip", "gz"):
        with gzip.GzipFile(fileobj=BytesIO(content)) as file:
            content = read_announced(file, n_bytes)
    elif encoding in ("bzip2", "bz2"):
        with bz2.BZ2File(BytesIO(content)) as file:
            content = read_announced(file, n_bytes)
    elif encoding != "raw":
        raise DamageError(f"encoding {encoding}")
    if len(content) != n_bytes:
        raise DamageError(f"{len(content)} of {n_bytes} bytes")
    return np.frombuffer(content, dtype, count).reshape(sizes, order="F")


def _is_at_the_end(header: dict[str, Any], encoding: str) -> bool:
    """True for ``byte skip: -1``: the voxels are the last bytes of the file.

    Raises:
        DamageError: The voxels begin after any other skip.
    """
    skip = int(header.get("byte skip", header.get("byteskip", 0)))
    if int(header.get("line skip", header.get("lineskip", 0))) or not (
        skip == 0 or (skip == -1 and encoding == "raw")
    ):
        raise DamageError("voxels after a skip")
    return skip == -1


def _nrrd_type(header: dict[str, Any]) -> np.dtype[Any]:
    words = " ".join(str(header["type"]).lower().split())
    code = next((code for code, names in TYPES.items() if words in names.split(", ")), "")
    if not code:
        raise DamageError(f"voxels of type {words}")
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


def _mitk_segments(header: dict[str, Any]) -> list[Segment]:
    """Labels as MITK describes them in JSON: groups, one per layer."""
    if MITK_LABELS not in header:
        return []
    text = re.sub(r"\\([\\n])", lambda m: " " if m[1] == "n" else m[1], str(header[MITK_LABELS]))
    groups: Any = parse_json(text)
    return [
        Segment(number=int(label["value"]), name=str(label.get("name", "")), layer=layer)
        for layer, group in enumerate(groups)
        for label in (group["labels"] if isinstance(group, dict) else group)
    ]


def _whole_numbers(values: Labels, name: str) -> tuple[Labels, tuple[Finding, ...]]:
    """The values as whole numbers, and a note where scaling or rounding by another program had moved them.

    Raises:
        SeriesError: They are not whole numbers.
    """
    if values.dtype.kind in "iu":
        return values, ()
    whole = np.round(values) if values.dtype.kind == "f" else values
    if (
        values.dtype.kind != "f"
        or not np.isfinite(values).all()
        or (np.abs(values - whole) > NEARLY_WHOLE).any()
    ):
        raise SeriesError(
            where=f"file {name}",
            expected="a label map of whole numbers",
            found="fractions or values that are not a number",
            remedy="export labels, not probabilities or a CT, and resample them with nearest neighbor",
        )
    if np.array_equal(values, whole):
        return values, ()
    text = f"labels lie up to {float(np.abs(values - whole).max()):.1g} off whole numbers; they were rounded"
    return whole, (note("roi-labels-rounded", text, name),)
