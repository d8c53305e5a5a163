"""What becomes of masks that a program turned over under a right header; prints one JSON object.

Usage: python benchmarks/turned.py STUDY [--cases 40]

Each tumor of a study, of which no organs are known, is mirrored left to right, front to back and head to foot, and
its rows and columns are exchanged (where the matrix is square); then it is checked as `nephroscope segment` does.
Counted are those refused, doubted by a warning, and taken without one; of these, those whose Dice with the right
mask is below 0.5.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from nephroscope.records import RoiMask
from nephroscope.regions.check import check_position
from nephroscope.regions.found_kidneys import check_found_kidneys
from nephroscope.segmenters.draw import refuse_misplaced
from nephroscope.segmenters.refusal import MisplacedError
from nephroscope.study.snapshot import take_snapshot

TURNS = {
    "right": lambda mask: mask,
    "left to right": lambda mask: mask[:, :, ::-1],
    "front to back": lambda mask: mask[:, ::-1],
    "head to foot": lambda mask: mask[::-1],
    "rows and columns": lambda mask: mask.transpose(0, 2, 1),
}


def checked(volume, mask):
    """Refused, doubted or taken."""
    roi = RoiMask(voxels=np.ascontiguousarray(mask), geometry=volume.geometry, case_id="")
    found, _ = check_position(volume, roi, {})
    try:
        refuse_misplaced(found, volume, roi, "")
    except MisplacedError:
        return "refused"
    found += check_found_kidneys(volume, roi, "unknown")
    return "doubted" if any(one.severity == "warning" for one in found) else "taken"


def main(study, most):
    """Check them all."""
    snapshot = take_snapshot(study)
    counts = {turn: dict.fromkeys(("refused", "doubted", "taken", "taken far off"), 0) for turn in TURNS}
    for case in snapshot.cohort.chosen[:most]:
        volume, roi = snapshot.read_case(case)
        for turn, turned in TURNS.items():
            mask = turned(roi.voxels)
            if mask.shape != roi.voxels.shape:
                continue
            state = checked(volume, mask)
            dice = 2 * np.count_nonzero(mask & roi.voxels) / (2 * np.count_nonzero(roi.voxels))
            counts[turn][state] += 1
            counts[turn]["taken far off"] += int(state == "taken" and dice < 0.5)
    print(json.dumps(counts, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("--cases", type=int, default=40)
    asked = parser.parse_args()
    main(asked.study, asked.cases)
