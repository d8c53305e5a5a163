"""Damage small valid CTs and ROIs, read them by `read_ct` and `read_roi`, and count what came out wrong in silence.

python benchmarks/damage.py [--each 300] [--seed 0] [--kind dicom-ct seg ...]

Of each kind of file every named change is made once, and ``--each`` random ones of each way. The other file of
the case is whole. Prints JSON: by kind and by way how many came out ``right`` (the same volume, size, HU, place
and side), ``warned`` (other, with a warning), ``refused``, ``crashed`` (anything but a refusal), ``silent``
(other, without a word), and ``unseen``: other, where only values changed that nobody can check, because they
stand once: pixels, coordinates of contours, scl_slope and scl_inter of a NIfTI file, and what `UNSEEN` names.
"""

import argparse
import json
import shutil
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ct_files import enhanced_ct
from damages_by_name import NAMED
from fuzz import _rtstruct
from nephroscope.base.errors import NephroscopeError
from nephroscope.imaging.read import read_ct, read_roi
from nephroscope.records import CTVolume, RoiMask
from phantoms import box_affine, box_hu, box_tumor, dicom_slices, write_nifti, write_seg, write_slices

AIR_HU = -900
SAME_HU, SAME_SHARE, SAME_MM = 3.0, 0.01, 1.0
EXAMPLES = 12
# Every slice of a CT with the same wrong scale, by so little that air and tissue stay plausible.
UNSEEN = {("dicom-ct-all", "slope 1.1"), ("dicom-ct-all", "intercept -1000")}
Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Target:
    """A file to damage: where it lies, its bytes, the spans of values that nobody can check, and its reader."""

    path: Path
    content: bytes
    unseen: Spans
    read: Callable[[], tuple[CTVolume, RoiMask]]
    edit: str  # which named changes fit
    together: tuple[Path, ...] = ()  # these files all get the same named change, and no random ones


@dataclass(frozen=True)
class Facts:
    """What must not change: sizes, HU of the tumor and of each slice, and where the tumor lies in the CT."""

    numbers: dict[str, float]
    slices_hu: tuple[float, ...]
    warned: frozenset[str]

    def differ(self, other: "Facts") -> list[str]:
        """What is not the same."""
        found = []
        for name, value in self.numbers.items():
            mine, limit = other.numbers[name], SAME_SHARE * abs(value)
            limit = {"HU": SAME_HU, "mm": SAME_MM}.get(name.split()[-1], limit)
            if not abs(mine - value) <= limit:
                found.append(f"{name} {value:.4g} -> {mine:.4g}")
        if len(self.slices_hu) != len(other.slices_hu):
            return [*found, "slices"]
        off = max(abs(a - b) for a, b in zip(self.slices_hu, other.slices_hu, strict=True))
        return [*found, f"HU of a slice by {off:.0f}"] if off > SAME_HU else found


def facts(ct: CTVolume, roi: RoiMask) -> Facts:
    """Of a CT and the tumor on it."""
    center = np.argwhere(roi.voxels).mean(axis=0)
    first, last = ct.geometry.affine[:3, 3], (ct.geometry.affine @ [*np.array(ct.hu.shape) - 1, 1])[:3]
    middle = (ct.geometry.affine @ [*center, 1])[:3]
    numbers = {
        "ml": float(roi.voxels.sum() * np.prod(ct.geometry.spacing_mm) / 1000),
        "tumor HU": float(ct.hu[roi.voxels].mean()),
        **{f"size {axis}": float(n) for axis, n in zip("src", ct.hu.shape, strict=True)},
        **{f"spacing {axis}": mm for axis, mm in zip("src", ct.geometry.spacing_mm, strict=True)},
        **{f"from the first {axis} mm": float(mm) for axis, mm in zip("xyz", middle - first, strict=True)},
        **{f"to the last {axis} mm": float(mm) for axis, mm in zip("xyz", last - middle, strict=True)},
    }
    codes = {f.code for f in (*ct.findings, *roi.findings) if f.severity == "warning"}
    slices_hu = np.maximum(ct.hu, AIR_HU).mean(axis=(1, 2))  # air is air
    return Facts(numbers, tuple(slices_hu.tolist()), frozenset(codes))


def targets(folder: Path) -> dict[str, Target]:
    """One target for each kind of file."""
    images = dicom_slices(uid="1.2.3.4")
    series = write_slices(images, folder / "series")
    (folder / "whole").mkdir()
    tumor = {"Kidney": np.roll(box_tumor(), 14, 2), "Tumor": box_tumor()}
    seg = write_seg(images, tumor, folder / "whole" / "seg.dcm")
    mask = write_nifti(box_tumor().astype(np.uint8), folder / "whole" / "mask.nii")
    nrrd, packed = _nrrd(folder / "raw.nrrd", "raw"), _nrrd(folder / "gz.nrrd", "gzip")
    ct = read_ct(series)
    made: dict[str, Target] = {}

    def add(
        kind: str, path: Path, unseen: Spans, read: Callable[[], tuple[CTVolume, RoiMask]], edit: str
    ) -> None:
        made[kind] = Target(path, path.read_bytes(), unseen, read, edit)

    def on_ct(path: Path) -> Callable[[], tuple[CTVolume, RoiMask]]:
        return lambda: (ct, read_roi(path, ct, "P1"))

    def with_roi(path: Path, roi: Path) -> Callable[[], tuple[CTVolume, RoiMask]]:
        def read() -> tuple[CTVolume, RoiMask]:
            volume = read_ct(path)
            return volume, read_roi(roi, volume, "P1")

        return read

    for number, at in (("middle", "IM002"), ("last", "IM005")):
        add(f"dicom-ct-{number}", series / at, _pixels(series / at), with_roi(series, seg), "dicom-ct")
    add("dicom-ct-all", series / "IM000", [], with_roi(series, seg), "dicom-ct-all")
    together = tuple(sorted(series.iterdir()))
    made["dicom-ct-all"] = replace(made["dicom-ct-all"], together=together)
    for kind, write in STORED.items():
        stored = write(dicom_slices(uid="1.2.3.4"), folder / kind)
        last = max(stored.iterdir())
        add(
            f"dicom-ct-{kind}",
            last,
            _pixels(last),
            with_roi(stored, seg),
            "dicom-ct" if kind != "frames" else "",
        )
    for name in ("both", "sform", "qform"):
        path = _nifti(folder / f"{name}.nii", name)
        spans = [(352, path.stat().st_size), (112, 120)]  # voxels; scl_slope and scl_inter stand once
        add(f"nifti-ct-{name}", path, spans, with_roi(path, mask), "nifti")
    path = write_nifti(box_hu(), folder / "ct.nii.gz")
    add("nifti-gz-ct", path, [], with_roi(path, mask), "")
    roi = folder / "seg.dcm"
    shutil.copy(seg, roi)
    add("seg", roi, _pixels(roi), on_ct(roi), "seg")
    roi = _rtstruct(images, folder / "rt.dcm")
    add("rtstruct", roi, _contours(roi), on_ct(roi), "rtstruct")
    roi = write_nifti(box_tumor().astype(np.uint8), folder / "roi.nii")
    add("nifti-roi", roi, [(352, roi.stat().st_size)], on_ct(roi), "nifti")
    roi = write_nifti(box_tumor().astype(np.uint8), folder / "roi.nii.gz")
    add("nifti-gz-roi", roi, [], on_ct(roi), "")
    begin = nrrd.read_bytes().index(b"\n\n") + 2
    add("nrrd", nrrd, [(begin, nrrd.stat().st_size)], on_ct(nrrd), "nrrd")
    add("nrrd-gz", packed, [], on_ct(packed), "nrrd")
    return made


def _implicit(images: list[pydicom.FileDataset], folder: Path) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        image.save_as(folder / f"IM{number:03d}", implicit_vr=True, little_endian=True)
    return folder


def _rle(images: list[pydicom.FileDataset], folder: Path) -> Path:
    for image in images:
        image.compress(RLELossless, generate_instance_uid=False)
    return write_slices(images, folder)


def _frames(images: list[pydicom.FileDataset], folder: Path) -> Path:
    image = enhanced_ct()
    image.SeriesInstanceUID, image.FrameOfReferenceUID = "1.2.3.4", images[0].FrameOfReferenceUID
    return write_slices([image], folder)


STORED = {"implicit": _implicit, "rle": _rle, "frames": _frames}


def _nifti(path: Path, forms: str) -> Path:
    """A CT with the forms named, as dcm2niix and ITK write it (both), nibabel, or older programs."""
    import nibabel

    ras = np.diag([-1.0, -1, 1, 1]) @ box_affine() @ np.eye(4)[[2, 1, 0, 3]]
    image = nibabel.Nifti1Image(box_hu().transpose(2, 1, 0), ras)
    image.set_qform(ras, 1 if forms != "sform" else 0)
    image.set_sform(ras if forms != "qform" else None, 1 if forms != "qform" else 0)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def _nrrd(path: Path, encoding: str) -> Path:
    import nrrd

    affine = box_affine()
    header = {
        "space": "left-posterior-superior",
        "space directions": affine[:3, [2, 1, 0]].T,
        "space origin": affine[:3, 3],
        "encoding": encoding,
    }
    nrrd.write(str(path), box_tumor().astype(np.uint8).transpose(2, 1, 0), header)
    return path


def _pixels(path: Path) -> Spans:
    """Where the pixel data of a DICOM file lie; nobody can check their values."""
    content = path.read_bytes()
    data = pydicom.dcmread(path).PixelData
    start = content.index(data)
    return [(start, start + len(data))]


def _contours(path: Path) -> Spans:
    """Where the coordinates of contours lie, which stand once, as pixels do."""
    content, spans, at = path.read_bytes(), [], 0
    while (at := content.find(b"\x06\x30\x50\x00DS", at)) >= 0:
        (length,) = struct.unpack_from("<H", content, at + 6)
        spans.append((at + 8, at + 8 + length))
        at += 8 + length
    return spans


Change = Callable[[bytearray, np.random.Generator, list[int]], None]


def _bit(data: bytearray, random: np.random.Generator, places: list[int]) -> None:
    data[int(random.choice(places))] ^= 1 << int(random.integers(8))


def _bits(data: bytearray, random: np.random.Generator, places: list[int]) -> None:
    for place in random.choice(places, int(random.integers(2, 9))):
        data[int(place)] ^= 1 << int(random.integers(8))


def _bytes(data: bytearray, random: np.random.Generator, places: list[int]) -> None:
    at = int(random.choice(places))
    for place in range(at, min(at + int(random.integers(1, 9)), len(data))):
        if place in set(places[places.index(at) : places.index(at) + 9]):
            data[place] = int(random.integers(256))


def _swapped(data: bytearray, random: np.random.Generator, places: list[int]) -> None:
    one, two = (int(place) for place in random.choice(places, 2))
    data[one], data[two] = data[two], data[one]


def _number(data: bytearray, random: np.random.Generator, places: list[int]) -> None:
    at = int(random.choice(places))
    value = int(random.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFF, 0x8000, 0x3F800000]))
    for place, byte in zip(range(at, at + 4), value.to_bytes(4, "little"), strict=True):
        if place < len(data) and place in places:
            data[place] = byte


def _truncated(data: bytearray, random: np.random.Generator, places: list[int]) -> None:
    del data[int(random.integers(1, len(data))) :]


def _removed(data: bytearray, random: np.random.Generator, places: list[int]) -> None:
    at = int(random.choice(places))
    del data[at : at + int(random.integers(1, 64))]


def _repeated(data: bytearray, random: np.random.Generator, places: list[int]) -> None:
    at, n = int(random.choice(places)), int(random.integers(1, 64))
    data[at:at] = data[at : at + n]


def _more(data: bytearray, random: np.random.Generator, places: list[int]) -> None:
    data += random.bytes(int(random.integers(1, 5000)))


def _value(data: bytearray, random: np.random.Generator, places: list[int]) -> None:
    """A bit where nobody can see it, to show what `unseen` means."""
    data[int(random.choice(places))] ^= 1 << int(random.integers(8))


WAYS: dict[str, Change] = {
    "a bit": _bit,
    "several bits": _bits,
    "bytes overwritten": _bytes,
    "two bytes swapped": _swapped,
    "a number put in": _number,
    "truncated": _truncated,
    "bytes removed": _removed,
    "bytes repeated": _repeated,
    "bytes added at the end": _more,
}


Damaged = dict[Path, bytes]


def changes(target: Target, each: int, seed: list[int]) -> Iterator[tuple[str, str, Damaged, bool]]:
    """Way, what was done, the damaged files, and whether only values changed that nobody can check."""
    seen = np.ones(len(target.content), bool)
    for start, end in target.unseen:
        seen[start:end] = False
    headers = np.flatnonzero(seen).tolist()
    for name, edit in NAMED.get(target.edit, {}).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            paths = target.together or (target.path,)
            whole = {path: path.read_bytes() if target.together else target.content for path in paths}
            unseen = (target.edit, name) in UNSEEN
            yield "named", name, {path: edit(content) for path, content in whole.items()}, unseen
    if target.together:
        return
    for number, (way, change) in enumerate(WAYS.items()):
        random = np.random.default_rng([*seed, number])
        for index in range(each):
            data = bytearray(target.content)
            change(data, random, headers)
            yield way, f"{way} {index}", {target.path: bytes(data)}, False
    random = np.random.default_rng([*seed, len(WAYS)])
    values = np.flatnonzero(~seen).tolist()
    for index in range(each if values else 0):
        data = bytearray(target.content)
        _value(data, random, values)
        yield "a bit of values", f"value {index}", {target.path: bytes(data)}, True


def outcome_of(target: Target, damaged: Damaged, clean: Facts, unseen: bool) -> tuple[str, str]:
    """What came of the damage, and what differs; the files are whole again afterwards."""
    whole = {path: path.read_bytes() for path in damaged}
    try:
        for path, content in damaged.items():
            path.write_bytes(content)
        found = facts(*target.read())
    except NephroscopeError:
        return "refused", ""
    except Exception:
        return "crashed", traceback.format_exc().strip().splitlines()[-1]
    finally:
        for path, content in whole.items():
            path.write_bytes(content)
    differ = clean.differ(found)
    if not differ:
        return "right", ""
    if found.warned - clean.warned:
        return "warned", ""
    return ("unseen" if unseen else "silent"), ", ".join(differ)


def run(
    each: int, seed: int, kinds: list[str] | None = None, n_examples: int = EXAMPLES
) -> dict[str, object]:
    """Damage every kind; the result as it is printed."""
    folder = Path(tempfile.mkdtemp())
    by_kind: dict[str, Counter[str]] = {}
    by_way: dict[str, Counter[str]] = defaultdict(Counter)
    examples: list[dict[str, str]] = []
    started = time.monotonic()
    try:
        made = targets(folder)
        for number, (kind, target) in enumerate(made.items()):
            if kinds and kind not in kinds:
                continue
            clean = facts(*target.read())
            by_kind[kind] = Counter()
            for way, what, damaged, unseen in changes(target, each, [seed, number]):
                outcome, why = outcome_of(target, damaged, clean, unseen)
                by_kind[kind][outcome] += 1
                by_way[way][outcome] += 1
                if outcome in ("silent", "crashed"):
                    where = _changed(target.content, next(iter(damaged.values())))
                    examples.append(
                        {"kind": kind, "what": what, "outcome": outcome, "differs": why, "at": where}
                    )
    finally:
        shutil.rmtree(folder)
    total = sum(by_kind.values(), Counter())
    return {
        "seed": seed,
        "seconds": round(time.monotonic() - started),
        "tried": total.total(),
        **{name: total[name] for name in ("right", "warned", "refused", "unseen", "silent", "crashed")},
        "by_kind": {kind: dict(counts) for kind, counts in by_kind.items()},
        "by_way": {way: dict(counts) for way, counts in by_way.items()},
        "examples": examples[:n_examples],
    }


def _changed(before: bytes, after: bytes) -> str:
    """The first place that changed, with what stands before it."""
    at = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    return f"{at}: {before[max(at - 12, 0) : at + 4]!r} -> {after[max(at - 12, 0) : at + 4]!r}"


def main() -> None:
    """Damage from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--kind", nargs="*")
    asked = parser.parse_args()
    result = run(asked.each, asked.seed, asked.kind, asked.examples)
    print(json.dumps(result, indent=1, ensure_ascii=False))
    raise SystemExit(1 if result["silent"] or result["crashed"] else 0)


if __name__ == "__main__":
    main()
