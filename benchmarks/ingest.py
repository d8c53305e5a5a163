"""Reading a CT series with all checks, beside SimpleITK's bare GDCM read of the same files.

    python benchmarks/ingest.py [--slices 200] [--repeats 7] [--syntaxes native "JPEG 2000" ...] [--copies FILE ...]

Prints JSON. Series of 512 x 512 phantom slices with noise are written to a temporary folder, in each transfer
syntax; both readers read them in turn in one process, and the ratio is the median of ours over the median of theirs.
SimpleITK lists the files of the folder (``GetGDCMSeriesFileNames``) and reads them; the ratio to its reading alone is
given too.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

SIZE_PX = 512
COMPRESSED = {
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG lossless, another predictor": JPEGLossless,
    "JPEG 2000": JPEG2000Lossless,
    "JPEG-LS": JPEGLSLossless,
    "RLE": RLELossless,
}
PLAIN = {"native": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian}


def write_series(folder: Path, n_slices: int, syntax: str) -> None:
    """A body with a spine and noise in air, one file per slice, with as many attributes as scanners write."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from compress import compress
    from phantoms import dicom_slices

    rng = np.random.default_rng(0)
    rows, cols = np.ogrid[:SIZE_PX, :SIZE_PX]
    body = ((rows - 256) / 150) ** 2 + ((cols - 256) / 200) ** 2 < 1
    spine = (rows - 340) ** 2 + (cols - 256) ** 2 < 900
    clean = np.where(spine, 400, np.where(body, 40, -1000))
    image = dicom_slices()[0]
    image.Rows = image.Columns = SIZE_PX
    image.PixelRepresentation, image.BitsStored, image.HighBit = 0, 12, 11
    private = image.private_block(0x0019, "NEPHROSCOPE BENCHMARK", create=True)
    for number in range(80):
        private.add_new(number, "LO", f"attribute {number} of a scanner")
    for index in range(n_slices):
        hu = clean + np.where(body, rng.normal(0, 12, clean.shape), rng.normal(0, 5, clean.shape)).astype(int)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.InstanceNumber = index + 1
        image.ImagePositionPatient = [-180.0, -180.0, 2.5 * index]
        image.file_meta.TransferSyntaxUID = PLAIN.get(syntax, ExplicitVRLittleEndian)
        image.PixelData = np.clip(hu + 1024, 0, 4095).astype("<u2").tobytes()
        image["PixelData"].is_undefined_length = False
        if syntax in COMPRESSED:
            compress(image, COMPRESSED[syntax])
        image.save_as(folder / f"IM{index:04d}.dcm", enforce_file_format=True)


def write_copies(folder: Path, file: Path, n_slices: int) -> None:
    """A series of copies of one CT image as it is stored, 2 mm apart."""
    image = pydicom.dcmread(file)
    for index in range(n_slices):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.InstanceNumber = index + 1
        image.ImagePositionPatient = [*image.ImagePositionPatient[:2], 2.0 * index]
        image.save_as(folder / f"IM{index:04d}.dcm")


def measure(folder: Path, repeats: int) -> dict[str, float | bool]:
    """Medians in seconds of both readers in turn, and whether they give the same voxels."""
    import SimpleITK as sitk  # noqa: N813

    from nephroscope.imaging.dicom.series import read_dicom_series

    ours_s, listing_s, reading_s = [], [], []
    same = True
    for repeat in range(repeats + 1):
        started = time.perf_counter()
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        listed = time.perf_counter()
        image = reader.Execute()
        read = time.perf_counter()
        volume = read_dicom_series(folder)
        ended = time.perf_counter()
        if repeat == 0:  # both warm up
            theirs = np.maximum(sitk.GetArrayFromImage(image), -1024)
            same = bool(np.array_equal(theirs, volume.hu))
            continue
        del volume, image
        ours_s.append(ended - read)
        listing_s.append(listed - started)
        reading_s.append(read - listed)
    theirs_s = [a + b for a, b in zip(listing_s, reading_s, strict=True)]
    median = statistics.median
    return {
        "seconds": round(median(ours_s), 4),
        "simpleitk_seconds": round(median(theirs_s), 4),
        "ratio": round(median(ours_s) / median(theirs_s), 3),
        "ratio_to_reading_alone": round(median(ours_s) / median(reading_s), 3),
        "same_voxels": same,
    }


def main() -> None:
    """Write, measure and print each transfer syntax."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--syntaxes", nargs="+", default=[*PLAIN, *COMPRESSED])
    parser.add_argument(
        "--copies", nargs="+", type=Path, default=[], help="series of copies of these files instead"
    )
    args = parser.parse_args()
    results = {}
    for file in args.copies:
        with tempfile.TemporaryDirectory() as name:
            write_copies(Path(name), file, args.slices)
            results[pydicom.dcmread(file, stop_before_pixels=True).file_meta.TransferSyntaxUID.name] = (
                measure(Path(name), args.repeats)
            )
    if args.copies:
        print(json.dumps({"slices": args.slices, "copies": results}))
        return
    for syntax in args.syntaxes:
        with tempfile.TemporaryDirectory() as name:
            write_series(Path(name), args.slices, syntax)
            results[syntax] = measure(Path(name), args.repeats)
    print(json.dumps({"slices": args.slices, "series": results}))


if __name__ == "__main__":
    main()
