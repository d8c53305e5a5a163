"""What the coarse planes of networks that draw cost: Dice of real tumor masks with themselves, put there and back.

Example: python benchmarks/plane_grid.py VOLUMES, with VOLUMES/*/segmentation.nii.gz of KiTS23 (2 is tumor). No
network that draws on these planes can do better. Prints one JSON object.
"""

import json
import sys
from pathlib import Path

import numpy as np

from nephroscope.imaging.grid import canonical
from nephroscope.imaging.nifti import read_stored
from nephroscope.records.planes import PlaneSpec
from nephroscope.segmenters.bundle import volume_of
from nephroscope.segmenters.planes import draw_labels, planes_of_mask

TUMOR = 2
PIXELS_MM = (1.5, 2.0, 3.0)


class Known:
    """A network that knows the mask: it draws what it is shown, plane by plane."""

    def logits(self, hu):
        """Of planes that hold 1 where the mask is."""
        inside = np.where(hu[:, 1] == 1, 20.0, -20.0).astype(np.float32)
        return np.stack([-inside, inside], axis=1)


def main(volumes: Path) -> None:
    """Print the mean and the lowest Dice for each size of a pixel."""
    found: dict[float, list[float]] = {mm: [] for mm in PIXELS_MM}
    for path in sorted(volumes.glob("*/segmentation.nii.gz")):
        stored = read_stored(path)
        labels, geometry = canonical(stored.values, stored.affine)
        mask = labels == TUMOR
        volume = volume_of(mask.astype(np.int16), geometry.spacing_mm)
        for mm, dice in found.items():
            spec = PlaneSpec(mm_per_px=mm)
            planes = planes_of_mask(mask, volume, spec).astype(np.int16)
            drawn = draw_labels([Known()], volume, spec, planes) == 1
            dice.append(
                2 * np.count_nonzero(drawn & mask) / (np.count_nonzero(drawn) + np.count_nonzero(mask))
            )
    print(
        json.dumps(
            {
                "n": len(found[PIXELS_MM[0]]),
                "step_mm": PlaneSpec().step_mm,
                "mean": {f"{mm:g} mm": round(float(np.mean(dice)), 3) for mm, dice in found.items()},
                "lowest": {f"{mm:g} mm": round(min(dice), 3) for mm, dice in found.items()},
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
