"""What a bundle of several phases answers, and what is said of the phases it saw: files, Python, a reader study."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nephroscope import Bundle, Study
from nephroscope.base.errors import BundleError, ConfigError, RoiError
from nephroscope.cli import run
from nephroscope.clinic.bundle import open_bundle
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.imaging.read import read_ct, read_roi
from nephroscope.records import Case, RoiRef, SeriesRef
from nephroscope.study.phases import further_series
from nephroscope.workstation.reading.model import _by_bundle
from phantoms import write_nifti
from phase_bundle import THREE, bundle_of
from test_several_phases import body

ARTERIAL, VENOUS, LATE = THREE
SHIFT = (2.0, -3.0, -14.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return bundle_of(tmp_path_factory.mktemp("bundle") / "b", *THREE)


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """CTs in two phases, moved by breathing, a third of somebody else; ROIs on the first two."""
    folder = tmp_path_factory.mktemp("patient")
    for name, seed, phase, shift in (
        (ARTERIAL, 3, ARTERIAL, (0, 0, 0)),
        (VENOUS, 3, VENOUS, SHIFT),
        (LATE, 8, VENOUS, (0, 0, 0)),
    ):
        volume, _, roi = body(seed, phase, shift)
        write_nifti(volume.hu, folder / f"{name}.nii.gz", volume.geometry.affine)
        write_nifti(roi.voxels.astype(np.uint8), folder / f"roi-{name}.nii.gz", volume.geometry.affine)
    return folder


def used(phases):
    return {one.phase: one.used for one in phases}


def codes(answer):
    return [finding.code for finding in answer.findings if finding.code.startswith("phase")]


def test_predict_says_which_phases_it_used_and_which_it_did_not(bundle, patient, capsys):
    words = [
        f"--series={name}={patient / ct}.nii.gz" for name, ct in (("arterial", ARTERIAL), ("venous", VENOUS))
    ]
    roi = f"--roi={patient / f'roi-{ARTERIAL}.nii.gz'}"
    assert run(["predict", str(bundle), *words, roi, "--age", "61", "--sex", "F", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = {row["phase"]: row for row in told["phases"]}
    assert {phase: row["used"] for phase, row in rows.items()} == {ARTERIAL: True, VENOUS: True, LATE: False}
    assert rows[VENOUS]["shift_mm"] == pytest.approx(SHIFT, abs=0.6)
    assert {"phases-missing", "facts-not-used"} <= {finding["code"] for finding in told["findings"]}
    assert (
        run(["predict", str(bundle), *words, f"--series=excretory={patient / LATE}.nii.gz", roi, "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    (late,) = [row for row in told["phases"] if row["phase"] == LATE]
    assert (late["used"], late["reason"][:7]) == (False, "draw it")
    assert {"phase-left-out", "phases-missing"} <= {finding["code"] for finding in told["findings"]}


def test_the_drawn_phase_alone_is_said(bundle, patient):
    image, roi = patient / f"{ARTERIAL}.nii.gz", patient / f"roi-{ARTERIAL}.nii.gz"
    with pytest.raises(BundleError, match="name the phase of each series"):
        predict_files(bundle, FilesToPredict(image=image, roi=roi))
    alone = predict_files(bundle, FilesToPredict(image=image, roi=roi, phase=ARTERIAL))
    assert used(alone.phases) == {ARTERIAL: True, VENOUS: False, LATE: False}
    assert codes(alone) == ["phases-missing"]
    assert Bundle(bundle).predict(read_ct(image), roi, phase=ARTERIAL).phases == (ARTERIAL,)


def test_python_takes_further_phases(bundle, patient):
    first, second = (patient / f"{name}.nii.gz" for name in (ARTERIAL, VENOUS))
    roi = patient / f"roi-{ARTERIAL}.nii.gz"
    both = Bundle(bundle).predict(read_ct(first), roi, phase=ARTERIAL, others={"venous": second})
    by_files = predict_files(
        bundle, FilesToPredict(image=first, roi=roi, series={ARTERIAL: first, VENOUS: second})
    )
    assert both.phases == (ARTERIAL, VENOUS)
    assert "roi-series-assumed" in {finding.code for finding in by_files.findings}, "both have one grid"
    assert both.probabilities == by_files.probabilities
    with pytest.raises(ConfigError, match="unenhanced"):
        Bundle(bundle).predict(read_ct(first), roi, phase=ARTERIAL, others={"native": second})


def test_a_fault_of_the_roi_is_not_laid_on_the_series(bundle, patient, tmp_path):
    series = {name: patient / f"{name}.nii.gz" for name in (ARTERIAL, VENOUS)}
    files = FilesToPredict(image=series[ARTERIAL], roi=patient / f"roi-{ARTERIAL}.nii.gz", series=series)
    with pytest.raises(RoiError) as wrong_label:
        predict_files(bundle, replace(files, tumor_label=9))
    short = tmp_path / "roi.nii.gz"
    short.write_bytes(files.roi.read_bytes()[:-30])
    with pytest.raises(RoiError) as damaged:
        predict_files(bundle, replace(files, roi=short))
    for refused in (wrong_label, damaged):
        assert ARTERIAL not in refused.value.found


def test_a_phase_that_the_network_does_not_take_or_cannot_see_is_not_said_to_be_used(tmp_path, patient):
    late = bundle_of(tmp_path / "late", VENOUS, LATE)
    first = patient / f"{ARTERIAL}.nii.gz"
    files = FilesToPredict(image=first, roi=patient / f"roi-{ARTERIAL}.nii.gz", phase=ARTERIAL)

    class Gone:
        def read(self):
            raise OSError(5, "disk failed")

    other = {VENOUS: read_ct(patient / f"{VENOUS}.nii.gz")}
    rois = {VENOUS: patient / f"roi-{VENOUS}.nii.gz"}
    found = predict_files(late, replace(files, further={**other, LATE: Gone()}, series_rois=rois))
    assert used(found.phases) == {ARTERIAL: False, VENOUS: True, LATE: False}
    assert found.phases[-1].reason == "disk failed"
    assert codes(found) == ["phase-left-out", "phases-missing"]


def test_a_reader_study_asks_with_the_phases_of_the_case(tmp_path, bundle, patient):
    study = Study.create(tmp_path / "s", ["PRCC", "ChRCC"])
    study.change("slices", size_px=32, margin_mm=4.0)
    series = [
        SeriesRef(name=name, image=patient / f"{name}.nii.gz", format="nifti", phase=name)
        for name in (ARTERIAL, VENOUS)
    ]
    rois = [
        RoiRef(author="reader-1", path=patient / f"roi-{ARTERIAL}.nii.gz", series=ARTERIAL),
        RoiRef(author="transferred:reader-1", path=patient / f"roi-{VENOUS}.nii.gz", series=VENOUS),
    ]
    case = Case(case_id="c1", patient_id="c1", subtype="PRCC", series=tuple(series), rois=tuple(rois))
    study.add([case], (), ())
    (chosen,) = study.cohort.chosen
    answer = _by_bundle(study.snapshot, open_bundle(bundle), chosen)
    assert answer.phases == (ARTERIAL, VENOUS)
    further, there = further_series(chosen)
    files = FilesToPredict(image=chosen.image, roi=chosen.roi.path, phase=ARTERIAL, further=further)
    found = predict_files(bundle, replace(files, series_rois=there))
    assert found.probabilities == pytest.approx(answer.probabilities)
    assert [row.reason for row in found.phases if row.used] == ["drawn", "transferred"]
    by_hand = replace(files, series_rois={VENOUS: rois[1].path})
    assert predict_files(bundle, by_hand).probabilities == found.probabilities
    assert read_roi(rois[1].path, read_ct(series[1].image), "c1").voxels.any()
