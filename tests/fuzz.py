"""Damage files of every kind that the product reads, and see that it refuses or reads, never crashes or hangs.

python tests/fuzz.py [--seconds 120] [--seed 0] [--kind dicom rtstruct nifti nrrd ...]

Prints JSON: of each kind the number of inputs tried, refused, read the same, read with other values, and what is
wrong: ``crashes`` (anything but a refusal), ``hangs`` (over 10 s), ``silent`` (a mask or volume that breaks its own
rules, or other values in spite of a checksum). Other values are not wrong by themselves: nobody can see that a pixel,
or a digit of a rescale slope, was changed, where the format keeps no checksum.
"""

import argparse
import json
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from compress import compress
from nephroscope.base.errors import NephroscopeError
from nephroscope.imaging.read import read_ct, read_roi
from nephroscope.intake.export.scan import scan_export
from nephroscope.intake.labels.rows import read_labels
from phantoms import box_tumor, box_volume, dicom_slices, write_nifti, write_png, write_seg, write_slices

COMPRESSED = {
    "rle": RLELossless,
    "jpeg-lossless": JPEGLosslessSV1,
    "jpeg-predictor": JPEGLossless,
    "jpeg-ls": JPEGLSLossless,
    "jpeg-2000": JPEG2000Lossless,
    "htj2k": HTJ2KLossless,
}
KINDS = {
    *("dicom", "dicom-scan", "dicom-deflated", "dicom-multi-frame", "rtstruct", "nrrd"),
    *(f"dicom-{name}" for name in COMPRESSED),
    *("seg-binary", "seg-fractional", "seg-labelmap", "nifti", "nifti-gz", "nifti-roi", "png", "csv", "xlsx"),
}
HANG_S = 10
CHECKSUMMED = {"nifti-gz", "nifti-roi", "png", "xlsx"}  # the format has one over everything that counts
MEMORY_BYTES = 6 * 2**30


@dataclass(frozen=True)
class Target:
    """A kind of input: the whole file, and what reads a damaged one into something that can be compared."""

    content: bytes
    read: Callable[[Path], np.ndarray]
    place: Path
    checksummed: bool = False


class Hang(BaseException):
    """Raised by the alarm; not an Exception, so that no reader can catch it by mistake."""


def targets(folder: Path) -> dict[str, Target]:
    """One target for each kind of file that the product reads."""
    images = dicom_slices()
    series = write_slices(images, folder / "series")
    volume = box_volume(str(images[0].SeriesInstanceUID))
    made: dict[str, Target] = {}

    def add(kind: str, path: Path, read: Callable[[Path], np.ndarray]) -> None:
        made[kind] = Target(path.read_bytes(), read, path, kind in CHECKSUMMED)

    def image(path: Path) -> np.ndarray:
        got = read_ct(path, 40, 400, 0.8)
        assert got.hu.shape == got.geometry.shape
        assert min(got.geometry.spacing_mm) > 0
        return np.concatenate([got.hu.ravel().astype(float), got.geometry.affine.ravel()])

    def roi(path: Path) -> np.ndarray:
        got = read_roi(path, volume, "case")
        assert got.voxels.any()
        assert got.geometry.matches(volume.geometry)
        return got.voxels.ravel()

    def labels(path: Path) -> np.ndarray:
        return np.array([f"{row.case_id} {row.subtype}" for row in read_labels(path)])

    def scan(path: Path) -> np.ndarray:
        found = scan_export(path.parent)
        return np.array(sorted(f"{key} {len(series.paths)}" for key, series in found.series.items()))

    add("dicom", series / "IM002", lambda path: image(path.parent))
    add("dicom-scan", series / "IM003", scan)
    for kind in ("BINARY", "FRACTIONAL", "LABELMAP"):
        path = write_seg(images, {"Tumor": box_tumor()}, folder / f"{kind}.dcm", kind=kind)
        add(f"seg-{kind.lower()}", path, roi)
    add("nifti", write_nifti(volume.hu, folder / "ct.nii"), image)
    add("nifti-gz", write_nifti(volume.hu, folder / "ct.nii.gz"), image)
    add("nifti-roi", write_nifti(box_tumor().astype(np.uint8), folder / "roi.nii.gz"), roi)
    add("png", write_png(np.tile(np.arange(64, dtype=np.uint8), (64, 1)), folder / "png" / "a.png"), image)
    add("csv", _csv(folder / "labels.csv"), labels)
    add("xlsx", _xlsx(folder / "labels.xlsx"), labels)
    more_targets(folder, images, volume, add, image, roi)
    return made


def more_targets(folder, images, volume, add, image, roi) -> None:
    """RTSTRUCT, NRRD, and the DICOM transfer syntaxes and multi-frame kinds."""
    import nrrd
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    header = {
        "space": "left-posterior-superior",
        "space directions": volume.geometry.affine[:3, [2, 1, 0]].T,
        "space origin": volume.geometry.affine[:3, 3],
        "encoding": "gzip",
    }
    path = folder / "roi.nrrd"
    nrrd.write(str(path), box_tumor().astype(np.uint8).transpose(2, 1, 0), header)
    add("nrrd", path, roi)
    add("rtstruct", _rtstruct(images, folder / "rt.dcm"), roi)
    for name, syntax in {"deflated": DeflatedExplicitVRLittleEndian, **COMPRESSED}.items():
        copies = write_slices(images, folder / name)
        import pydicom

        one = pydicom.dcmread(copies / "IM002")
        if name in COMPRESSED:
            compress(one, syntax)
        else:
            one.file_meta.TransferSyntaxUID = syntax
        one.save_as(copies / "IM002")
        add(f"dicom-{name}", copies / "IM002", lambda path: image(path.parent))
    import highdicom as hd

    multi = folder / "multi"
    multi.mkdir()
    converted = hd.legacy.LegacyConvertedEnhancedCTImage(
        images,
        series_instance_uid=images[0].SeriesInstanceUID,
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
    )
    converted.save_as(multi / "one.dcm")
    add("dicom-multi-frame", multi / "one.dcm", lambda path: image(path.parent))


def _rtstruct(images, path: Path) -> Path:
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = generate_uid(), ExplicitVRLittleEndian
    plan = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    plan.SOPClassUID, plan.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    plan.Modality, plan.PatientID = "RTSTRUCT", "P1"
    plan.StudyInstanceUID, plan.SeriesInstanceUID = images[0].StudyInstanceUID, generate_uid()
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    study.RTReferencedSeriesSequence = Sequence([series])
    frame.FrameOfReferenceUID = images[0].FrameOfReferenceUID
    frame.RTReferencedStudySequence = Sequence([study])
    plan.ReferencedFrameOfReferenceSequence = Sequence([frame])
    roi, contours = Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = 1, "Tumor", frame.FrameOfReferenceUID
    plan.StructureSetROISequence = Sequence([roi])
    drawn = []
    for image in images[1:5]:
        x, y, z = (float(v) for v in image.ImagePositionPatient)
        one = Dataset()
        one.ContourGeometricType, one.NumberOfContourPoints = "CLOSED_PLANAR", 4
        corners = [(5.2, 8.1), (12.4, 8.1), (12.4, 20.3), (5.2, 20.3)]
        one.ContourData = [round(v, 3) for dx, dy in corners for v in (x + dx, y + dy, z)]
        drawn.append(one)
    contours.ReferencedROINumber, contours.ContourSequence = 1, Sequence(drawn)
    plan.ROIContourSequence = Sequence([contours])
    plan.save_as(path, enforce_file_format=True)
    return path


def _csv(path: Path) -> Path:
    path.write_text("case_id,subtype,sex,age\n" + "".join(f"c{n},papillary,F,{40 + n}\n" for n in range(20)))
    return path


def _xlsx(path: Path) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    for row in [["case_id", "subtype", "age"], *([f"c{n}", "papillary", 50] for n in range(20))]:
        book.active.append(row)
    book.save(path)
    return path


def damages(content: bytes, random: np.random.Generator) -> Iterator[bytes]:
    """Damaged copies without end: truncated, bits and bytes changed, parts removed or repeated, lengths inflated."""
    n = len(content)
    while True:
        way = random.integers(8)
        data = bytearray(content)
        # Half of all damage goes to the first two thousand bytes, where headers are.
        at = int(random.integers(min(n, 2000) if random.random() < 0.5 else n))
        length = int(random.integers(1, 64))
        if way == 0:
            del data[at:]
        elif way == 1:
            for place in random.integers(n, size=int(random.integers(1, 9))):
                data[place] ^= 1 << int(random.integers(8))
        elif way == 2:
            data[at] ^= 1 << int(random.integers(8))
        elif way == 3:
            data[at : at + length] = random.bytes(length)
        elif way == 4:
            del data[at : at + length]
        elif way == 5:
            data[at:at] = data[at : at + length] * int(random.integers(1, 20))
        elif way == 6:
            value = int(random.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFF, 0x8000]))
            data[at : at + 4] = value.to_bytes(4, "little")
        else:
            data[at : at + 2] = int(random.choice([0, 0xFFFF, 0x7FFF, 1])).to_bytes(2, "little")
        yield bytes(data)


def attempt(target: Target, content: bytes, clean: np.ndarray) -> tuple[str, str]:
    """What becomes of one damaged input, and the traceback where it is a crash."""
    target.place.write_bytes(content)
    signal.alarm(HANG_S)
    try:
        got = target.read(target.place)
    except NephroscopeError:
        return "refused", ""
    except Hang:
        return "hangs", "".join(traceback.format_exc().splitlines(keepends=True)[-6:])
    except AssertionError:
        return "silent", traceback.format_exc()
    except KeyboardInterrupt:
        raise
    except BaseException:  # decoders written in Rust panic with one
        return "crashes", traceback.format_exc()
    finally:
        signal.alarm(0)
    same = got.shape == clean.shape and np.array_equal(got, clean)
    if not same and target.checksummed:
        return "silent", "other values in spite of a checksum"
    return ("same" if same else "other values"), ""


def fuzz(
    seconds: float, seed: int, kinds: list[str] | None = None, most: int | None = None
) -> dict[str, object]:
    """Try damaged inputs of each kind for an equal share of the time, or ``most`` of each."""

    def stop(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    results: dict[str, object] = {}
    folder = Path(tempfile.mkdtemp())
    try:
        made = targets(folder)
        chosen = {kind: made[kind] for kind in kinds or made}
        for kind, target in chosen.items():
            clean = target.read(target.place)
            random = np.random.default_rng([seed, sum(kind.encode())])
            counts: Counter[str] = Counter()
            wrong: dict[str, str] = {}
            end = time.monotonic() + seconds / len(chosen)
            for content in damages(target.content, random):
                if time.monotonic() >= end or (most is not None and counts.total() >= most):
                    break
                outcome, trace = attempt(target, content, clean)
                counts[outcome] += 1
                if outcome in ("crashes", "hangs", "silent"):
                    wrong.setdefault(trace.strip().splitlines()[-1] if trace else outcome, trace)
            target.place.write_bytes(target.content)
            results[kind] = {"tried": counts.total(), **counts, "wrong": wrong}
    finally:
        shutil.rmtree(folder)
    return results


def main() -> None:
    """Fuzz from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", nargs="*")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    results = fuzz(asked.seconds, asked.seed, asked.kind)
    tried = sum(result["tried"] for result in results.values())
    wrong = sum(len(result["wrong"]) for result in results.values())
    print(json.dumps({"tried": tried, "kinds_of_wrong": wrong, "by_kind": results}, indent=1))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
