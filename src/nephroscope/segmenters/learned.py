"""Program: a CT as NIfTI -> what a bundle of `nephroscope train STUDY --task segment` draws; ONNX Runtime alone.

Run as ``python -m nephroscope.segmenters.learned IMAGE OUTPUT BUNDLE``.
"""

import json
import sys
import time
from pathlib import Path

from nephroscope.base.errors import NephroscopeError
from nephroscope.imaging.masks.write import write_labels
from nephroscope.imaging.nifti import read_nifti
from nephroscope.segmenters.bundle import open_drawing_bundle


def main(image: Path, output: Path, folder: Path) -> None:
    """Draw, and write the label map with its JSON."""
    begun = time.monotonic()
    bundle, volume = open_drawing_bundle(folder), read_nifti(image)
    labels, seen = bundle.draw(volume)
    write_labels(labels, volume.geometry, output)
    about = bundle.about
    says = {
        "tool": about.name,
        "version": about.version,
        "weights": about.digest,
        "labels": {name: value for value, name in enumerate(about.labels, start=1)},
        "seen": seen,
        "seconds": round(time.monotonic() - begun, 1),
    }
    output.with_name(output.name.removesuffix(".gz").removesuffix(".nii") + ".json").write_text(
        json.dumps(says), encoding="utf-8"
    )


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:4]))
    except NephroscopeError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
