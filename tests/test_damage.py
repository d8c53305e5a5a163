"""What `benchmarks/damage.py` counts: every named change, and some random ones, with nothing wrong in silence."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import damage

CT_KINDS = (
    *(
        "dicom-ct-middle",
        "dicom-ct-last",
        "dicom-ct-all",
        "dicom-ct-implicit",
        "dicom-ct-rle",
        "dicom-ct-frames",
    ),
    *("nifti-ct-both", "nifti-ct-sform", "nifti-ct-qform", "nifti-gz-ct"),
)


ROI_KINDS = ("seg", "rtstruct", "nifti-roi", "nifti-gz-roi", "nrrd", "nrrd-gz")


@pytest.mark.parametrize("kind", [*CT_KINDS, *ROI_KINDS])
def test_no_damage_is_silent(kind):
    counts = damage.run(each=2, seed=1, kinds=[kind])
    assert counts["examples"] == []
    assert counts["refused"] > 0
    assert counts["right"] + counts["warned"] + counts["refused"] + counts["unseen"] == counts["tried"]


def test_a_silent_change_would_be_counted(tmp_path):
    """The harness itself can fail."""
    target = damage.targets(tmp_path)["nifti-ct-sform"]
    clean = damage.facts(*target.read())
    other = {target.path: target.content[:112] + np.float32([1, 50]).tobytes() + target.content[120:]}
    assert damage.outcome_of(target, other, clean, unseen=False)[0] == "silent"
    assert damage.outcome_of(target, other, clean, unseen=True)[0] == "unseen"
    assert damage.outcome_of(target, {target.path: b""}, clean, unseen=False)[0] == "refused"
    assert damage.outcome_of(target, {target.path: target.content}, clean, unseen=False)[0] == "right"
