"""Prediction speed: slices per second against the bare ONNX Runtime session, cold start, peak memory.

    python benchmarks/predict.py [--model mobilenet_v2] [--repeats 3] [--python clinic/bin/python]

Prints JSON. A 100-slice series of 512 x 512 with a tumor on 40 slices is written as DICOM with a NIfTI ROI and with a
DICOM SEG; the bundle holds untrained weights, which compute as fast as trained ones. Cold means a new process,
of the Python of another environment where one is named (a clinic has fewer packages).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TUMOR_SLICES = range(30, 70)


def make_bundle(folder: Path, model: str) -> Path:
    """A bundle around an untrained network."""
    from nephroscope.clinic.bundle import save_bundle_file
    from nephroscope.clinic.score import FEATURES, ApplicabilityDomain, Scorer
    from nephroscope.clinic.session import NetworkSession
    from nephroscope.learning.networks.networks import build_network
    from nephroscope.learning.networks.onnx_file import export_onnx
    from nephroscope.records import OperatingPoint, SliceSpec

    folder.mkdir()
    spec = SliceSpec()
    reference = np.random.default_rng(0).integers(-200, 300, (2, 256, 256)).astype(np.int16)
    logits = export_onnx(build_network(model, 2, spec), 2, reference, folder / "model.onnx")
    np.savez_compressed(folder / "reference.npz", hu=reference, logits=logits)
    (folder / "README.md").write_text("A benchmark's bundle.\n")
    scorer = Scorer(
        network=NetworkSession(folder / "model.onnx"),
        subtypes=("PRCC", "ChRCC"),
        positive="PRCC",
        point=OperatingPoint(threshold=0.5, criterion="fixed", chosen_on="nothing"),
        not_sure_margin=0.1,
        domain=ApplicabilityDomain(limits=dict.fromkeys(FEATURES, (-1e6, 1e6))),
        spec=spec,
        model_digest="",
    )
    training = {"synthetic": True, "leaky": False, "slices_digests": []}
    save_bundle_file(scorer, {"training": training}, folder)
    return folder


def make_patient(folder: Path) -> None:
    """A DICOM series of 100 slices in ct/, its ROI as roi.nii.gz and as roi.dcm."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import highdicom
    import pydicom

    from phantoms import dicom_slices, write_nifti

    template = dicom_slices("BENCH")[0]
    rng = np.random.default_rng(0)
    series = folder / "ct"
    series.mkdir()
    for number in range(100):
        image = template.copy()
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = (
            f"1.2.826.0.1.3680043.8.498.{number + 1}"
        )
        image.Rows = image.Columns = 512
        image.PixelSpacing = [0.75, 0.75]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.ImagePositionPatient = [-192.0, -192.0, 2.5 * number]
        image.InstanceNumber = number + 1
        hu = rng.normal(40, 15, (512, 512)).astype(np.int16)
        image.RescaleIntercept, image.RescaleSlope = -1024, 1
        image.PixelData = (hu + 1024).astype(np.uint16).tobytes()
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.save_as(series / f"IM{number:03}", enforce_file_format=True)
    mask = np.zeros((100, 512, 512), np.uint8)
    mask[TUMOR_SLICES, 200:280, 150:240] = 1
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = 2.5, 0.75, 0.75
    affine[:, 3] = [-192, -192, 0, 1]
    write_nifti(mask, folder / "roi.nii.gz", affine)
    images = [pydicom.dcmread(path) for path in sorted(series.iterdir())]
    segment = highdicom.seg.SegmentDescription(
        1,
        "tumor",
        pydicom.sr.codedict.codes.SCT.MorphologicallyAbnormalStructure,
        pydicom.sr.codedict.codes.SCT.Neoplasm,
        highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    seg = highdicom.seg.Segmentation(
        images, mask, "BINARY", [segment], "1.2.826.0.1.3680043.8.498.900", 1,
        "1.2.826.0.1.3680043.8.498.901", 1, "nephroscope", "benchmark", "0", "0",
    )  # fmt: skip
    seg.save_as(folder / "roi.dcm")


def cold(python: str, bundle: Path, image: Path, roi: Path) -> tuple[float, float, dict]:
    """Seconds and peak MB of `nephroscope predict` in a new process, and what it answered."""
    command = [python, "-m", "nephroscope", "predict", bundle, image, "--roi", roi, "--json"]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        assert status == 0, f"predict left with status {status}"  # noqa: S101
        out.seek(0)
        return seconds, usage.ru_maxrss / 1024, json.loads(out.read())


def warm(bundle: Path, image: Path, roi: Path, repeats: int) -> tuple[list[float], list[float]]:
    """Slices per second of predict on a volume in memory, and of the bare session on the slices it cut; in turns."""
    import onnxruntime

    from nephroscope.clinic.bundle import open_bundle
    from nephroscope.clinic.cut import cut_slices
    from nephroscope.clinic.predict import predict
    from nephroscope.imaging.read import read_ct, read_roi

    volume = read_ct(image, 40, 400, None)
    mask = read_roi(roi, volume, "bench", 1)
    opened = open_bundle(bundle)
    hu = np.stack([part.hu for part in cut_slices(volume, mask, opened.spec)])[:, None]
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    whole, bare = [], []
    predict(opened, volume, mask)
    for _ in range(repeats):
        started = time.perf_counter()
        predict(opened, volume, mask)
        whole.append(len(hu) / (time.perf_counter() - started))
        started = time.perf_counter()
        for row in range(0, len(hu), 4):
            session.run(None, {"hu": hu[row : row + 4]})
        bare.append(len(hu) / (time.perf_counter() - started))
    return whole, bare


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        make_bundle(args.make / "bundle", args.model)
        make_patient(args.make)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: a child's peak memory counts what its parent held when it was forked.
        subprocess.run([sys.executable, __file__, "--make", name, "--model", args.model], check=True)
        bundle, image, nifti, seg = (folder / part for part in ("bundle", "ct", "roi.nii.gz", "roi.dcm"))
        starts = {"nifti_roi": [], "seg_roi": []}
        peaks_mb, answers = [], {}
        for _ in range(args.repeats):
            for kind, roi in (("nifti_roi", nifti), ("seg_roi", seg)):
                seconds, peak_mb, answers[kind] = cold(args.python, bundle, image, roi)
                peaks_mb.append(peak_mb)
                starts[kind].append(round(seconds, 2))
        whole, bare = warm(bundle, image, nifti, args.repeats)
    same = answers["nifti_roi"]["probabilities"] == answers["seg_roi"]["probabilities"]
    result = {
        "model": args.model,
        "tumor_slices": len(TUMOR_SLICES),
        "predict_slices_per_s": round(statistics.median(whole), 1),
        "bare_session_slices_per_s": round(statistics.median(bare), 1),
        "predict_to_bare": round(statistics.median(w / b for w, b in zip(whole, bare, strict=True)), 3),
        "cold_start_s": {kind: statistics.median(values) for kind, values in starts.items()},
        "cold_start_timings_s": answers["seg_roi"]["timings"],
        "peak_mb": round(max(peaks_mb), 1),
        "same_answer_from_both_rois": same,
        "all_cold_s": starts,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
