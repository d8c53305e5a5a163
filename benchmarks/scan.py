"""Scan the headers of an export: files per second and memory at several sizes, one core beside all. Prints JSON.

python benchmarks/scan.py [--files 10000 30000 100000]

The export is made for it: series of 250 slices with headers as scanners write them and few pixels. Memory is the
peak of the process that keeps the result, from /proc (VmHWM), each size in a process of its own.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERIES = 250
CHILD = """
import json, sys, time
from pathlib import Path
from nephroscope.intake.export import scan
from nephroscope.intake.export.describe import describe_export
from nephroscope.records import PHASES
scan.IN_ONE_PROCESS = 0 if sys.argv[2] == "all" else 10**9
started = time.perf_counter()
found = scan.scan_export(Path(sys.argv[1]))
read_s = time.perf_counter() - started
rows = describe_export(found, PHASES)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps({"files": found.n_files, "series": len(rows), "accepted": sum(r.accepted for r in rows),
    "headers_s": round(read_s, 2), "whole_s": round(time.perf_counter() - started, 2),
    "peak_mb": round(int(peak.split()[1]) / 1024, 1)}))
"""


def template() -> bytes:
    """One CT header with fields of fixed width that `write_export` fills in."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = "1.2.826.1.777777777.888888888"
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, "1.2.826.1.777777777.888888888"
    image.StudyInstanceUID = "1.2.826.2.777777777"
    image.SeriesInstanceUID = "1.2.826.3.777777777"
    image.StudyDate, image.AcquisitionTime = "20260101", "101112.000000"
    image.Modality, image.Manufacturer, image.SeriesDescription = "CT", "SIEMENS", "Abdomen venous 1.0 B30f"
    image.PatientID, image.PatientName, image.PatientSex, image.PatientAge = "P777777777", "A^B", "F", "061Y"
    image.InstanceNumber, image.AcquisitionNumber, image.SeriesNumber = "888888888", 3, 4
    image.ImagePositionPatient = ["-200.5", "-180.25", "8888888.8"]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = [0.78125, 0.78125], 1
    image.Rows = image.Columns = 16
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, -1024, "HU"
    image.private_block(0x0029, "SOMEONE", create=True).add_new(0x10, "OB", bytes(8192))
    image.PixelData = bytes(512)
    held = io.BytesIO()
    image.save_as(held, enforce_file_format=True)
    return held.getvalue()


def write_export(folder: Path, n_files: int) -> None:
    """``n_files`` headers in folders of one series each."""
    content = template()
    for n in range(n_files):
        series, number = divmod(n, SERIES)
        place = folder / f"{series:05d}"
        if number == 0:
            place.mkdir(parents=True)
        filled = content.replace(b"777777777", f"{100000000 + series}".encode())
        filled = filled.replace(b"8888888.8", f"{1000000 + number}.0".encode())
        (place / f"{number}").write_bytes(filled.replace(b"888888888", f"{100000001 + number}".encode()))


def main() -> None:
    """Measure each size and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    sizes = parser.parse_args().files
    results = []
    for n_files in sizes:
        with tempfile.TemporaryDirectory() as name:
            write_export(Path(name), n_files)
            started = time.perf_counter()
            for cores in ("all", "one") if n_files == sizes[0] else ("all",):
                command = [sys.executable, "-c", CHILD, name, cores]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                results.append({"cores": cores, **json.loads(done.stdout)})
                results[-1]["files_per_s"] = round(n_files / results[-1]["headers_s"])
            print(f"{n_files}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    every = [r for r in results if r["cores"] == "all"]
    ratios = {
        "seconds_per_file_last_to_first": round(
            every[-1]["whole_s"] / every[-1]["files"] / (every[0]["whole_s"] / every[0]["files"]), 3
        ),
        "speed_all_to_one": round(results[0]["files_per_s"] / results[1]["files_per_s"], 2),
        "kilobytes_per_file": round(
            1024
            * (every[-1]["peak_mb"] - every[0]["peak_mb"])
            / max(1, every[-1]["files"] - every[0]["files"]),
            3,
        ),
    }
    print(json.dumps({"ratios": ratios, "runs": results}, indent=1))


if __name__ == "__main__":
    main()
