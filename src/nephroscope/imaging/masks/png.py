"""Read a PNG mask as tumor pixels of its slice."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.imaging.grid import describe
from nephroscope.imaging.masks.segments import MOST_LISTED, TumorQuery
from nephroscope.imaging.slice_images import label_missing, read_label_image
from nephroscope.records import CTVolume


def png_tumor(path: Path, ct: CTVolume, query: TumorQuery) -> npt.NDArray[np.bool_]:
    """Tumor pixels (1, R, C) of a PNG mask.

    Raises:
        RoiError: It has another size than the image, or does not say which of its gray values is the tumor.
    """
    labels = read_label_image(path, query.where)[None]
    if query.name.strip():
        raise query.refusal(
            expected=f"a label called {query.name!r}",
            found="an image, in which labels have no names",
            remedy="give the number of the label as --tumor-label, without --tumor-name",
        )
    if labels.shape != ct.geometry.shape:
        raise query.refusal(
            expected=f"a mask as large as the image, {describe(ct.geometry)}",
            found=f"{labels.shape[1]} x {labels.shape[2]} pixels",
            remedy="export image and mask again without cropping or scaling",
        )
    values = set(np.unique(labels).tolist())
    label = query.label
    if not query.has_number and len(values - {0}) > 1:
        raise query.refusal(
            expected="one gray value that is the tumor",
            found=f"the values {', '.join(map(str, sorted(values)[:MOST_LISTED]))}",
            remedy="give the value of the tumor as --tumor-label",
        )
    if not query.has_number and values - {0} and 2 * np.count_nonzero(labels) < labels.size:
        label = max(values)
    voxels: npt.NDArray[np.bool_] = labels == label
    if not voxels.any():
        raise label_missing(query.where, label, values)
    return voxels
