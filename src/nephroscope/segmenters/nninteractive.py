"""Program: a CT as NIfTI and a box -> what nnInteractive's server makes of it; needs ``nninteractive-client``.

Run as ``python -m nephroscope.segmenters.nninteractive IMAGE OUTPUT ADDRESS BOX``, with the key of the server, where
it asks for one, in NNINTERACTIVE_API_KEY.

Source: MIC-DKFZ/nnInteractive, SERVER_CLIENT.md: a session takes the image (1, X, Y, Z) and a buffer that it writes
the mask to; a box is drawn on one slice, [first, after the last] along each axis.
"""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

from nephroscope.imaging.masks.write import write_labels
from nephroscope.imaging.nifti import read_nifti


def main(image: Path, output: Path, address: str, box: str) -> None:
    """Ask for the middle slice of the box, and write the mask."""
    from nnInteractive.inference.remote import (  # type: ignore[import-not-found]
        nnInteractiveRemoteInferenceSession,
    )

    volume = read_nifti(image)
    first, last, *sides = map(int, box.split(","))
    middle = (first + last) // 2
    spans = [[middle, middle + 1], [sides[0], sides[1] + 1], [sides[2], sides[3] + 1]]
    key = os.environ.get("NNINTERACTIVE_API_KEY")
    mask = np.zeros(volume.hu.shape, np.uint8)
    with nnInteractiveRemoteInferenceSession(server_url=address, api_key=key) as session:
        session.set_image(volume.hu[None].astype(np.float32))
        session.set_target_buffer(mask)
        session.add_bbox_interaction(spans, include_interaction=True)
    write_labels((mask > 0).astype(np.uint8), volume.geometry, output)
    says = {"tool": "nninteractive", "version": version("nninteractive-client"), "labels": {"tumor": 1}}
    output.with_name(output.name.removesuffix(".gz").removesuffix(".nii") + ".json").write_text(
        json.dumps(says), encoding="utf-8"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5])
