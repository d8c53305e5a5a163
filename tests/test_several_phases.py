"""Several phases of one patient: phantoms."""

import csv
from collections import Counter

import numpy as np
import pytest

from nephroscope import Study
from nephroscope.base.errors import CohortError
from nephroscope.intake.phantom import make_phantom
from nephroscope.intake.phantom.patient import SERIES_WORDS, FurtherPhase, draw_phases

N_CASES = 3


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """A study of three phantoms with up to three phases each."""
    root = tmp_path_factory.mktemp("phases") / "study"
    study = Study.create(root, ["PRCC", "ChRCC"])
    study.import_phantom(N_CASES, seed=5, n_phases=3)
    return root


# --- phantoms


def test_one_phase_is_drawn_and_the_others_are_there_by_chance(phantoms):
    study = Study(phantoms)
    with (phantoms / "phantom" / "phases.csv").open(newline="", encoding="utf-8") as file:
        further = [(row["case_id"], row["phase"]) for row in csv.DictReader(file)]
    assert 0 < len(further) < 2 * N_CASES, "some phases are missing"
    for case in study.cohort.chosen:
        assert {roi.series for roi in case.rois} == {case.ct.name}
        others = {one.phase for one in case.series} - {case.phase}
        assert others == {phase for name, phase in further if name == case.case_id}
    assert study.settings.slices.phases == tuple(SERIES_WORDS)


def test_missing_phases_do_not_depend_on_the_subtype():
    n = Counter(len(draw_phases(seed=9, index=i, drawn="excretory", n_phases=3)) for i in range(400))
    assert n[2] / 400 == pytest.approx(0.75**2, abs=0.07)


def test_organs_of_another_phase_move_and_the_spine_does_not():
    again = FurtherPhase(phase="excretory", words="DELAY", shift_mm=(0.0, 0.0, 10.0))
    one, two = make_phantom(5, 1, 3), make_phantom(5, 1, 3, again=again)
    spacing = one.geometry.spacing_mm[0]
    middles = [np.flatnonzero(p.reader1.any(axis=(1, 2))).mean() * spacing for p in (one, two)]
    assert middles[1] - middles[0] == pytest.approx(10, abs=spacing)
    still = (two.hu.astype(float) - one.hu).std(axis=0) < 3 * one.acquisition.noise_hu
    assert still.mean() > 0.6, "body, spine and bowel"
    kidney = one.hu.shape[1] // 2
    assert not still[kidney].all()


def test_more_phases_than_there_are_is_refused(tmp_path):
    study = Study.create(tmp_path / "s", ["PRCC", "ChRCC"])
    with pytest.raises(CohortError, match="1 to 3 phases"):
        study.import_phantom(2, n_phases=4)
