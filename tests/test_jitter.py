"""ROIs drawn 2 mm otherwise: what they look like, and who gets another call."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from nephroscope.base.errors import RoiError
from nephroscope.cli.clinic import prediction_text
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.predict import OtherPhase, Phases, predict
from nephroscope.facade.otherwise import answers_jittered
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.questions.evaluation.jitter import (
    JitterDocument,
    JitteredCase,
    _group,
    jitter_words,
)
from nephroscope.records import ClinicalFacts, CTVolume, EvaluationConfig, RoiMask, SliceSpec, warning
from nephroscope.regions.jitter import IN, NAMES, OUT, jittered
from nephroscope.report.study.sections.jitter import JITTER, jitter_table
from phantoms import write_nifti
from small_study import geometry
from test_sets import answers, facts
from tiny_bundle import make_bundle


def roi(spacing_mm=(3.0, 1.0, 1.0), shape=(6, 24, 24)):
    voxels = np.zeros(shape, bool)
    voxels[2:4, 8:16, 6:18] = True
    return RoiMask(voxels=voxels, geometry=geometry(shape, spacing_mm), case_id="c")


def box_of(mask, s=2):
    rows, cols = (np.flatnonzero(mask.voxels[s].any(axis=axis)) for axis in (1, 0))
    return rows[0], rows[-1], cols[0], cols[-1]


def test_an_roi_is_drawn_two_millimeters_otherwise():
    found = dict(jittered(roi()))
    assert tuple(found) == NAMES
    assert box_of(found[OUT]) == (6, 17, 4, 19)
    assert box_of(found[IN]) == (10, 13, 8, 15)
    assert box_of(found["2 mm left"]) == (8, 15, 8, 19)
    assert box_of(found["2 mm forward"]) == (6, 13, 6, 17)
    for mask in found.values():
        assert np.array_equal(np.flatnonzero(mask.voxels.any(axis=(1, 2))), [2, 3])


def test_millimeters_count_and_not_pixels():
    found = dict(jittered(roi(spacing_mm=(3.0, 0.5, 2.0))))
    assert box_of(found[OUT]) == (4, 19, 5, 18)
    assert box_of(found["2 mm back"]) == (12, 19, 6, 17)


def test_a_slice_as_thin_as_the_change_is_kept_when_made_smaller():
    thin = roi()
    voxels = thin.voxels.copy()
    voxels[3] = False
    voxels[3, 10:12, 10:12] = True
    found = dict(jittered(replace(thin, voxels=voxels)))[IN]
    assert found.voxels[3].sum() == 4
    assert dict(jittered(roi(spacing_mm=(3.0, 5.0, 5.0)))).keys() == set(NAMES) - {OUT, IN}


def test_shares_of_flips_count_cases():
    report_cases = answers(20)
    cases = [
        JitteredCase(
            case_id=p.case_id,
            group="out-of-fold",
            p=p.probabilities["PRCC"],
            call=p.forced_call,
            p_by={OUT: p.probabilities["PRCC"], IN: 0.5},
            call_by={OUT: p.forced_call, IN: "PRCC" if number < 10 else p.forced_call},
        )
        for number, p in enumerate(report_cases)
    ]
    report = replace_report(report_cases)
    group = _group("out-of-fold", cases, report, EvaluationConfig(resamples=200))
    flipped = sum(p.forced_call != "PRCC" for p in report_cases[:10])
    assert group.flips["any"].value == pytest.approx(flipped / 40)
    assert group.flips[OUT].value == 0
    assert group.flips["2 mm left"].value is None
    assert group.flips["any"].high > group.flips["any"].value
    assert f"call of {flipped} of 40 cases" in jitter_words(group)
    found = JitterDocument(by_mm=2.0, groups=(group,), cases=tuple(cases), findings=())
    assert len(jitter_table(found).rows) == 1 + len(NAMES)
    lost = tuple(warning("jitter-not-answered", "no such file", case_id=name) for name in ("c7", "c8"))
    page = JITTER.fill(SimpleNamespace(content=SimpleNamespace(jitter=replace(found, findings=lost))))
    assert all("c7: no such file; c8" in text for text in (page.blocks[-1].text, *page.limitations))


def replace_report(cases):
    return SimpleNamespace(predictions=cases, **vars(facts()))


def test_predict_gives_the_spread(tmp_path):
    grid = geometry()
    hu = np.full(grid.shape, -60, np.int16)
    hu[1:5, 6:18, 6:18] = 120
    write_nifti(hu, tmp_path / "ct.nii.gz", grid.affine)
    drawn = roi()
    write_nifti(drawn.voxels.astype(np.uint8), tmp_path / "roi.nii.gz", grid.affine)
    files = FilesToPredict(image=tmp_path / "ct.nii.gz", roi=tmp_path / "roi.nii.gz", jitter=True)
    found = predict_files(open_bundle(make_bundle(tmp_path / "bundle")), files)
    assert [one.roi for one in found.jitter] == list(NAMES)
    by = {one.roi: one.probabilities["PRCC"] for one in found.jitter}
    assert by[OUT] != pytest.approx(by[IN], abs=1e-3)
    assert "ROI drawn otherwise: PRCC" in prediction_text(found)
    whole = make_bundle(tmp_path / "whole", spec=SliceSpec(size_px=32, roi_mode="full"))
    with pytest.raises(RoiError, match="--jitter"):
        predict_files(whole, replace(files, picture=tmp_path / "a.png"))
    assert not (tmp_path / "a.png").exists()


def test_every_phase_is_drawn_otherwise_in_the_same_way(tmp_path):
    from phase_bundle import THREE, bundle_of

    bundle = open_bundle(bundle_of(tmp_path / "several", *THREE))
    drawn, grid = roi(), roi().geometry
    hu = np.random.default_rng(0).integers(-100, 200, grid.shape).astype(np.int16)
    first, other = (CTVolume(hu=h, geometry=grid, series_uid=uid) for h, uid in ((hu, "1"), (hu[::-1], "2")))
    there = OtherPhase(phase=THREE[1], volume=other, roi=drawn)
    phases = Phases(drawn=THREE[0], others=(there,))
    found = answers_jittered(bundle, first, drawn, ClinicalFacts(), phases)
    assert [one.roi for one in found] == list(NAMES)
    left = dict(jittered(drawn))["2 mm left"]
    moved = replace(phases, others=(replace(there, roi=left),))
    expected = predict(bundle, first, left, phases=moved)[0].probabilities
    assert {one.roi: one.probabilities for one in found}["2 mm left"] == pytest.approx(expected)
