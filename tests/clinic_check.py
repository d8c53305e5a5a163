"""Run in an environment without extras: no torch or GPL, small enough, every codec, `predict` on NIfTI and DICOM.

python clinic_check.py FOLDER LIMIT_MB      FOLDER as make_clinic_case.py leaves it
"""

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path


def main(folder: Path, limit_mb: float) -> None:
    """Check, and print one JSON object."""
    for name in ("torch", "torchvision", "scipy", "sklearn", "matplotlib"):
        assert importlib.util.find_spec(name) is None, f"{name} is installed: the clinic must not need it"
    assert importlib.util.find_spec("libjpeg") is None, "pylibjpeg-libjpeg is installed, which is under GPL"
    site = Path(sysconfig.get_paths()["purelib"])
    files = [Path(root) / name for root, _, names in os.walk(site) for name in names]
    size_mb = sum(path.lstat().st_size for path in files) / 1e6
    assert size_mb <= limit_mb, f"{size_mb:.0f} MB installed, at most {limit_mb:g} are allowed"
    case = folder / "export" / "SYNTHETIC-0001"
    syntaxes = read_compressed(case / "ct", folder / "compressed")
    answers = {
        "nifti": predict(folder, folder / "ct.nii.gz", folder / "roi.nii.gz"),
        "dicom": predict(folder, case / "ct", case / "roi_reader1.dcm"),
    }
    seconds = {
        "import": timed(sys.executable, "-c", "import nephroscope"),
        "help": timed(sys.executable, "-m", "nephroscope", "--help"),
        "bare_python": timed(sys.executable, "-c", "pass"),
    }
    print(
        json.dumps(
            {
                "installed_mb": round(size_mb, 1),
                "syntaxes": syntaxes,
                "predicted": answers,
                "seconds": seconds,
            }
        )
    )


def read_compressed(plain: Path, folder: Path) -> list[str]:
    """The lossless transfer syntaxes in which a series has the same values as uncompressed."""
    from nephroscope import read_ct

    expected = read_ct(plain).hu
    found = sorted(folder.iterdir())
    for series in found:
        assert (read_ct(series).hu == expected).all(), f"transfer syntax {series.name} has other values"
    return [series.name for series in found]


def predict(folder: Path, image: Path, roi: Path) -> dict:
    """One prediction through the command line."""
    command = [
        sys.executable,
        "-m",
        "nephroscope",
        "predict",
        folder / "bundle",
        image,
        "--roi",
        roi,
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert abs(sum(answer["probabilities"].values()) - 1) < 1e-6, answer
    assert len(answer["slices"]) > 0, answer
    return {"slices": len(answer["slices"]), "call": answer["call"], "seconds": answer["seconds"]}


def timed(*command: str) -> float:
    """Seconds of a process, the best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        best = min(best, time.perf_counter() - started)
    return round(best, 3)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
