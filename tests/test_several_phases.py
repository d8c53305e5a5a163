"""Several phases of one patient: phantoms, ROIs placed on other phases."""

import csv
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nephroscope import Study
from nephroscope.base.errors import CohortError
from nephroscope.cli import run
from nephroscope.intake.phantom import make_phantom
from nephroscope.intake.phantom.patient import SERIES_WORDS, FurtherPhase, draw_phases
from nephroscope.records import Case, CTVolume, RoiMask, RoiRef, SeriesRef, VolumeGeometry
from nephroscope.regions.transfer import transfer_roi
from phantoms import write_nifti
from small_study import geometry

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


# --- an ROI on another phase


def body(seed, phase, shift_mm=(0, 0, 0), kidney_at=(0, 0, 0), shape=(44, 70, 80)):
    """HU, kidney and tumor of a body at 3 x 2 x 2 mm: organs of irregular shape, moved by ``shift_mm`` (L, P, S)."""
    bright = {"corticomedullary": (170, 90), "nephrographic": (150, 110)}[phase]
    rng = np.random.default_rng(seed)
    z, y, x = (np.arange(n, dtype=float) * step for n, step in zip(shape, (3, 2, 2), strict=True))
    z, y, x = np.meshgrid(z, y, x, indexing="ij")
    hu = np.where(((x - 80) / 74) ** 2 + ((y - 70) / 62) ** 2 < 1, -100.0, -1000.0)
    hu[(np.abs(x - 80) < 18) & (np.abs(y - 100) < 14)] = 300
    x, y, z = (at - by for at, by in zip((x, y, z), shift_mm, strict=True))
    for _ in range(14):  # what lies around the kidney and moves with it
        at, size = rng.uniform((20, 20, 0), (130, 100, 130)), rng.uniform(6, 16)
        hu[(x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 < size**2] = rng.uniform(20, 70)
    x, y, z = (at - by for at, by in zip((x, y, z), kidney_at, strict=True))
    a, b, c, pole = (20, 23, 40, 80) if seed == 3 else (26, 16, 48, 40)  # another patient has another kidney
    kidney = ((x - 112) / a) ** 2 + ((y - 70) / b) ** 2 + ((z - 62) / c) ** 2 < 1
    sinus = ((x - 104) / 9) ** 2 + ((y - 66) / 8) ** 2 + ((z - 62) / 18) ** 2 < 1
    tumor = (x - 122) ** 2 + (y - 78) ** 2 + (z - pole) ** 2 < 14**2
    hu[kidney], hu[sinus], hu[tumor] = bright[0], -80, bright[1]
    hu += np.random.default_rng(seed + 99).normal(0, 12, shape)
    grid = geometry(shape, (3.0, 2.0, 2.0))
    volume = CTVolume(hu=hu.round().astype(np.int16), geometry=grid, series_uid=phase)
    return volume, kidney & ~tumor, RoiMask(voxels=tumor, geometry=grid, case_id="c1")


@pytest.fixture(scope="module")
def drawn():
    return body(3, "corticomedullary")


@pytest.mark.parametrize("known", [True, False], ids=["kidneys", "images"])
def test_the_shift_of_breathing_is_found(drawn, known):
    volume, kidney, roi = drawn
    shift = (2.3, -3.1, -14.2)
    other, kidney_there, truth = body(3, "nephrographic", shift)
    organs = ({"kidney": kidney}, {"kidney": kidney_there}) if known else ()
    found = transfer_roi(volume, roi, other, *organs)
    assert (found.accepted, found.why) == (True, "kidney-matches" if known else "images-match")
    assert found.shift_mm == pytest.approx(shift, abs=0.6)
    overlap = 2 * (found.voxels & truth.voxels).sum() / (found.voxels.sum() + truth.voxels.sum())
    assert overlap > 0.9
    if known:
        assert found.dice_before < 0.8 < 0.95 < found.dice


def refused(drawn, other, *organs):
    found = transfer_roi(drawn[0], drawn[2], other, *organs)
    assert not found.accepted
    assert found.reason.startswith("draw it")
    return found.why


def test_what_cannot_be_believed_is_to_be_drawn(drawn):
    stranger, kidney_there, _ = body(8, "nephrographic", (6, -4, 9), kidney_at=(-7, 9, 0))
    assert refused(drawn, stranger) in {
        "images-differ",
        "not-stable",
        "turned",
        "not-better",
        "shift-too-large",
        "stretched",
    }
    noise = np.random.default_rng(0).normal(30, 70, stranger.hu.shape).astype(np.int16)
    assert refused(drawn, replace(stranger, hu=noise)) in {
        "images-differ",
        "not-stable",
        "turned",
        "shift-too-large",
        "stretched",
    }
    far, kidney_far, _ = body(3, "nephrographic", (0, 0, 0))
    affine = far.geometry.affine.copy()
    affine[2, 3] += 43
    moved = replace(far, geometry=VolumeGeometry(shape=far.geometry.shape, affine=affine))
    assert refused(drawn, moved) == "shift-too-large"
    assert refused(drawn, moved, {"kidney": drawn[1]}, {"kidney": kidney_far}) == "shift-too-large"
    nobody = {"kidney": np.roll(kidney_there, -35, axis=2)}
    assert refused(drawn, stranger, {"kidney": drawn[1]}, nobody) in {
        "no-kidney-there",
        "kidney-differs",
        "turned",
        "stretched",
    }
    low = VolumeGeometry(shape=(24, *far.hu.shape[1:]), affine=far.geometry.affine)
    part = replace(far, hu=far.hu[:24].copy(), geometry=low)
    refused(drawn, part)  # whatever the reason


@pytest.mark.parametrize(("share", "known"), [(0.9, True), (1.1, True), (0.9, False)])
def test_a_stretched_ct_is_to_be_drawn(drawn, known, share):
    """All of it is a tenth longer or shorter from feet to head: no breathing does that."""
    other, kidney_there, _ = body(3, "nephrographic", (2.3, -3.1, -6.0))
    affine = other.geometry.affine.copy()
    affine[2, 0] *= share
    stretched = replace(other, geometry=VolumeGeometry(shape=other.geometry.shape, affine=affine))
    organs = ({"kidney": drawn[1]}, {"kidney": kidney_there}) if known else ()
    assert refused(drawn, stretched, *organs) == "stretched"


@pytest.fixture(scope="module")
def two_phases(tmp_path_factory):
    """Two patients in two phases: one moved by breathing, of the other the second phase is somebody else's."""
    root = tmp_path_factory.mktemp("transfer") / "study"
    study = Study.create(root, ["PRCC", "ChRCC"])
    study.change("slices", size_px=32, margin_mm=4.0)
    cases = []
    for name, subtype, seed in (("c1", "PRCC", 3), ("c2", "ChRCC", 8)):
        (root / name).mkdir()
        series, rois = [], []
        for phase, shift in (("corticomedullary", (0, 0, 0)), ("nephrographic", (2.0, -3.0, -14.0))):
            volume, _, roi = body(3 if phase == "corticomedullary" else seed, phase, shift)
            image = write_nifti(volume.hu, root / name / f"{phase}.nii.gz", volume.geometry.affine)
            series.append(SeriesRef(name=phase, image=image, format="nifti", phase=phase))
            if phase == "corticomedullary":
                path = write_nifti(
                    roi.voxels.astype(np.uint8), root / name / "roi.nii.gz", volume.geometry.affine
                )
                rois.append(RoiRef(author="reader-1", path=path, series=phase))
        case = Case(case_id=name, patient_id=name, subtype=subtype, series=tuple(series), rois=tuple(rois))
        cases.append(replace(case, synthetic=True))
    study.add(cases, (), ())
    return root


def test_rois_of_a_study_are_transferred_and_slices_follow(two_phases, capsys):
    assert run(["rois", "transfer", str(two_phases), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = {row["case"]: row for row in told["transfers"]}
    assert {"case", "phase", "accepted", "shift_mm", "reason"} <= rows["c1"].keys()
    assert (rows["c1"]["accepted"], rows["c2"]["accepted"]) == (True, False)
    assert rows["c1"]["shift_mm"] == pytest.approx(14.5, abs=0.6)
    assert (two_phases / "rois" / "transfers.html").is_file() == bool(told["page"])
    study = Study(two_phases)
    authors = {(case.case_id, roi.author) for case in study.cohort.cases for roi in case.rois}
    assert authors == {("c1", "reader-1"), ("c1", "transferred:reader-1"), ("c2", "reader-1")}
    assert {case.phase for case in study.cohort.chosen} == {"corticomedullary"}
    assert study.settings.slices.phases == ("corticomedullary", "nephrographic")
    store = study.cut_slices()
    rows_of = store.rows_by_case
    assert store.presence["nephrographic"][rows_of["c1"]].all()
    assert not store.presence["nephrographic"][rows_of["c2"]].any()
    assert [f.case_id for f in store.findings if f.code == "phase-left-out"] == ["c2"]
    there = store.phases["nephrographic"][rows_of["c1"]][:, 14:18, 14:18]
    assert there.mean() == pytest.approx(110, abs=6), "the tumor, not what lies 14 mm from it"
    assert run(["check", str(two_phases), "--json"]) in (0, 3)
    cases = {case["case_id"]: case["phases"] for case in json.loads(capsys.readouterr().out)["cases"]}
    assert cases["c1"] == {"corticomedullary": "drawn", "nephrographic": "transferred"}
    assert cases["c2"] == {"corticomedullary": "drawn", "nephrographic": "to be drawn"}
    again = study.transfer_rois()
    assert [row.accepted for row in again] == [True, False]
    assert study.snapshot.slices.digest == store.digest


def test_a_bundle_of_several_phases_knows_a_case_by_each(monkeypatch):
    from types import SimpleNamespace

    from nephroscope.clinic.bundle import slices_digest
    from nephroscope.learning import export

    hu = np.arange(2 * 3 * 4 * 4, dtype=np.int16).reshape(3, 2, 4, 4)
    everywhere, nowhere = np.ones(2, bool), np.zeros(2, bool)
    store = SimpleNamespace(
        hu=hu[0],
        rows_by_case={"a": [0, 1]},
        spec=SimpleNamespace(phases=("corticomedullary", "nephrographic", "excretory")),
        by_phase=lambda case, rows: (
            dict(zip("cne", hu, strict=True)),
            {"c": everywhere, "n": everywhere, "e": nowhere},
        ),
    )
    run = SimpleNamespace(folder=None, snapshot=SimpleNamespace(slices=store))
    for model, expected in (("phases", hu[:2]), ("mobilenet_v2", hu[:1])):
        monkeypatch.setattr(export, "run_config", lambda _, name=model: SimpleNamespace(model=name))
        assert export._seen(run, {"a"}) == {slices_digest(one) for one in expected}
