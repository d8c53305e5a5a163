"""The picture of a slice, and the page on which every case is one."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from nephroscope.cli import run
from nephroscope.facade.study import Study
from nephroscope.imaging.picture import OUTLINE, draw_slice, largest_slice
from nephroscope.records import CTVolume, RoiMask, VolumeGeometry, note

SIZE = (6, 40, 60)


def volume_and_roi(affine_columns, findings=()):
    """A bright corner at the first row and column, a tumor at the last ones of slice 4, 1 x 2 x 1 mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(affine_columns, float).T
    hu = np.full(SIZE, -200, np.int16)
    hu[:, :8, :8] = 240
    voxels = np.zeros(SIZE, bool)
    voxels[3, 30:34, 50:54] = True
    voxels[4, 28:36, 46:56] = True
    geometry = VolumeGeometry(shape=SIZE, affine=affine)
    volume = CTVolume(hu=hu, geometry=geometry, series_uid="1.2", findings=tuple(findings))
    return volume, RoiMask(voxels=voxels, geometry=geometry, case_id="C1")


def corner_of(image):
    """Which corner is bright: (top, left)."""
    gray = np.asarray(image.convert("L")).astype(float)
    h, w = gray.shape
    quarters = {
        (top, left): gray[slice(h // 6) if top else slice(-h // 6, None)][
            :, slice(w // 10) if left else slice(-w // 10, None)
        ].mean()
        for top in (True, False)
        for left in (True, False)
    }
    return max(quarters, key=quarters.get)


@pytest.mark.parametrize(
    ("columns", "corner", "letters"),
    [
        ([(0, 0, 1), (0, 2, 0), (1, 0, 0)], (True, True), "RL"),
        ([(0, 0, 1), (0, 2, 0), (-1, 0, 0)], (True, False), "RL"),
        ([(0, 0, 1), (0, -2, 0), (1, 0, 0)], (False, True), "RL"),
        ([(0, 1, 0), (0, 0, -2), (1, 0, 0)], (True, True), "RL"),  # coronal, head first
        ([(0, 1, 0), (0, 0, 2), (1, 0, 0)], (False, True), "RL"),
        ([(1, 0, 0), (0, 0, -2), (0, 1, 0)], (True, True), "AP"),  # sagittal
    ],
)
def test_a_slice_is_drawn_as_radiologists_look_at_it(columns, corner, letters):
    volume, roi = volume_and_roi(columns)
    drawn = draw_slice(volume, roi, size_px=240)
    assert (drawn.slice_index, drawn.letters) == (4, letters)
    assert drawn.image.size == (180, 240)  # 60 columns of 1 mm, 40 rows of 2 mm
    assert corner_of(drawn.image) == corner
    orange = (np.asarray(drawn.image) == OUTLINE).all(axis=2)
    rows, cols = np.nonzero(orange)
    assert orange.any()
    top, left = corner
    assert bool(rows.mean() > 120) is top
    assert bool(cols.mean() > 90) is left
    assert cols.max() - cols.min() == pytest.approx(30, abs=3)  # 10 columns of 3 px, and the line
    assert rows.max() - rows.min() == pytest.approx(48, abs=3)


def test_without_outline_or_orientation():
    volume, roi = volume_and_roi(
        [(0, 0, 1), (0, 2, 0), (-1, 0, 0)], [note("orientation-unknown", "x", case_id="C1")]
    )
    drawn = draw_slice(volume, roi, 2, outline=False)
    assert (drawn.letters, drawn.slice_index, largest_slice(roi)) == ("", 2, 4)
    assert corner_of(drawn.image) == (True, True)  # as stored
    assert not (np.asarray(drawn.image) == OUTLINE).all(axis=2).any()


def test_check_draws_every_case_doubtful_ones_first(tmp_path):
    study = tmp_path / "<b>study"
    assert run(["new", str(study)]) == 0
    assert run(["import", "phantom", str(study), "--cases", "4"]) == 0
    checked = Study(study).check()
    page = checked.page.read_text(encoding="utf-8")
    assert checked.page == study / "check" / "index.html"
    assert "<b>study" not in page
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)" alt="case (\S+),', page)
    readable = {name for name, case in checked.items() if case.measures is not None}
    assert {name for _, name in pictures} == readable
    assert max(Image.open(io.BytesIO(base64.b64decode(pictures[0][0]))).size) == 512
    order = re.findall(r'<h2 id="(\w+)"', page)
    assert order == [s for s in ("refusal", "warning", "note") if s in order]
