"""What a program drew against what people drew: misses, sizes, parts, cysts, and what it does to the answers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nephroscope import Study
from nephroscope.cli import run
from nephroscope.cli.imports import imported
from nephroscope.imaging.masks.write import write_nifti
from nephroscope.questions.evaluation.proposals import ComparedPatient, figures_of
from nephroscope.questions.evaluation.proposed_answers import OneAnswer, TwoAnswers, effect_on_answers
from nephroscope.records import CTVolume, EvaluationConfig, RoiMask, RoiRef
from nephroscope.regions.agreement import compare
from nephroscope.regions.detection import detect
from nephroscope.study.cohort_table import save_cohort
from small_study import geometry, make_study, read_disc
from tiny_bundle import make_bundle

AUTHOR = "model:third@1"


def blobs(*places, shape=(20, 60, 60), radius=5):
    at = np.indices(shape)
    return np.any(
        [sum((a - c) ** 2 for a, c in zip(at, place, strict=True)) <= radius**2 for place in places], 0
    )


def test_parts_are_tumors_found_missed_and_false_alarms():
    grid = geometry((20, 60, 60))
    drawn = blobs((10, 12, 12), (10, 40, 12))
    proposed = blobs((10, 13, 12), (10, 12, 45), (10, 45, 45))
    speck = np.zeros_like(drawn)
    speck[2, 30, 30] = True
    hu = np.where(drawn, 80, 20).astype(np.int16)
    volume = CTVolume(hu=hu, geometry=grid, series_uid="1.2")
    cyst = blobs((10, 45, 45), radius=7)
    found = detect(volume, drawn, proposed | speck, {"cyst": cyst})
    assert (found.n_tumors, found.n_found, found.n_false, found.n_on_cysts) == (2, 1, 1, 1)
    assert detect(volume, drawn, proposed, {}).n_false == 2, "nobody knows of the cyst"
    both = np.count_nonzero(drawn & proposed)
    assert found.mean_hu == 80
    assert detect(volume, drawn, proposed, {}).mean_hu_error == pytest.approx(
        -60 * (1 - both / np.count_nonzero(proposed))
    )
    missed = detect(volume, drawn, np.zeros_like(drawn), {})
    assert (missed.dice, missed.surface_dice, missed.n_found, missed.mean_hu_error) == (0, 0, 0, None)


def test_detection_over_all_patients_worked_by_hand():
    """Four tumors, of which two are found; three parts are none, one of them on a cyst."""
    rows = [
        ComparedPatient(
            dice=0.5, surface_dice=0.5, n_tumors=tumors, n_found=found, n_false=false, n_on_cysts=cysts, volume_ml=1,
            proposed_ml=1, diameter_mm=20, mean_hu=80, diameter_error_mm=error, mean_hu_error=error,
            patient_id=name, case_ids=(name,), series="ct", missed=error is None, state="proposed",
        )
        for name, tumors, found, false, cysts, error in (
            ("a", 2, 1, 0, 1, 4.0), ("b", 1, 1, 2, 0, -2.0), ("c", 1, 0, 0, 0, None)
        )
    ]  # fmt: skip
    found = figures_of(rows, EvaluationConfig(resamples=200))
    value = {name: one.value for name, one in found.items()}
    assert (value["sensitivity"], value["precision"]) == (2 / 4, 2 / 5)
    assert value["f1"] == pytest.approx(2 * 2 / (2 * 2 + 3 + 2)), "2 TP / (2 TP + FP + FN)"
    assert (value["false_alarms"], value["on_cysts"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (value["mean_hu_error"], value["mean_hu_error_absolute"]) == (1.0, 3.0)
    assert (found["mean_hu_error"].n, found["dice"].n) == (2, 3)


def test_tiny_masks_and_masks_at_the_edge_are_compared():
    sitk = pytest.importorskip("SimpleITK")
    for shape, spacing in (((6, 9, 9), (5.0, 0.7, 0.8)), ((1, 9, 9), (1.0, 0.7, 0.8))):
        grid = geometry(shape, spacing)
        hu = np.full(shape, 50, np.int16)
        one = np.zeros(shape, bool)
        one[0, 0, 0] = True
        edge = np.zeros(shape, bool)
        edge[0, :3], edge[0, 0, 0] = True, False
        for drawn, proposed in ((one, one), (one, edge), (edge, one), (edge, edge)):
            found = detect(CTVolume(hu=hu, geometry=grid, series_uid="1.2"), drawn, proposed, {})
            overlap = sitk.LabelOverlapMeasuresImageFilter()
            images = [sitk.GetImageFromArray(mask.astype("u1")) for mask in (drawn, proposed)]
            overlap.Execute(*images)
            assert found.dice == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-12)
            assert (found.surface_dice == 1) >= (found.dice == 1)
            assert (found.n_tumors, found.n_found) == (1, int(found.dice == 1))
            if drawn is not proposed:
                measured = sitk.HausdorffDistanceImageFilter()
                for image in images:
                    image.SetSpacing(spacing[::-1])
                measured.Execute(*images)
                roi = [RoiMask(voxels=mask, geometry=grid, case_id="c") for mask in (drawn, proposed)]
                assert compare(*roi).hausdorff_mm == pytest.approx(measured.GetHausdorffDistance(), abs=1e-5)


def test_figures_of_a_mask_are_those_of_simpleitk():
    sitk = pytest.importorskip("SimpleITK")
    grid = geometry((20, 60, 60), (3.0, 0.8, 0.7))
    drawn, proposed = blobs((10, 20, 20), radius=8), blobs((11, 22, 24), radius=7)
    hu = np.random.default_rng(0).integers(-50, 150, drawn.shape).astype(np.int16)
    ours = detect(CTVolume(hu=hu, geometry=grid, series_uid="1.2"), drawn, proposed, {})
    one, two, ct = (
        sitk.GetImageFromArray(array) for array in (drawn.astype("u1"), proposed.astype("u1"), hu)
    )
    for image in (one, two, ct):
        image.SetSpacing((0.7, 0.8, 3.0))
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(one, two)
    assert ours.dice == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-12)
    means, sizes = [], []
    for image in (one, two):
        measured = sitk.LabelIntensityStatisticsImageFilter()
        measured.Execute(image, ct)
        means.append(measured.GetMean(1))
        sizes.append(measured.GetPhysicalSize(1) / 1000)
    assert ours.mean_hu_error == pytest.approx(means[1] - means[0])
    assert (ours.volume_ml, ours.proposed_ml) == pytest.approx(tuple(sizes))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Ten cases whose proposals are right, but for each third: moved aside, or none at all."""
    folder = tmp_path_factory.mktemp("third")
    study = make_study(folder / "s")
    cases = []
    for number, case in enumerate(study.cohort.cases):
        _, roi = read_disc(case)
        path = study.folder.root / "rois" / f"{case.case_id}.nii.gz"
        voxels = roi.voxels if number % 3 else np.roll(roi.voxels, 8, 2)
        write_nifti(RoiMask(voxels=voxels, geometry=roi.geometry, case_id=case.case_id), path)
        drawn = RoiRef(author=AUTHOR, path=path, series=case.series[0].name)
        cases.append(case if number == 9 else replace(case, rois=(*case.rois, drawn)))
    save_cohort(replace(study.cohort, cases=tuple(cases)), study.folder.root)
    make_bundle(folder / "bundle")
    return folder / "s"


def told(capsys, root, code, *words):
    capsys.readouterr()
    assert run(["rois", "compare", str(root), *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_known_third_is_wrong(root, capsys):
    said = told(capsys, root, 0, "--by", "model:third", "--bundle", str(root.parent / "bundle"))
    aside = min(row["dice"] for row in said["patients"] if not row["missed"])
    assert 0 < aside < 0.3
    assert (said["n_patients"], said["n_missed"]) == (10, 1)
    dice = said["figures"]["dice"]
    assert dice["value"] == pytest.approx((6 + 3 * aside) / 10)
    assert 0.3 < dice["low"] < dice["value"] < dice["high"] < 1
    assert said["figures"]["dice_found"]["value"] == pytest.approx((6 + 3 * aside) / 9)
    assert said["by_size"]["up to 4 cm"]["dice"]["n"] == 10
    assert said["by_size"]["above 7 cm"] == {}
    page = (root / "proposals" / "index.html").read_text(encoding="utf-8")
    assert page.count("<img") >= 6
    assert f"{AUTHOR}, proposed" in page
    answers = said["answers"]
    assert (answers["n_cases"], answers["n_without"], answers["margin"]) == (10, 1, 0.05)
    assert answers["shown"]["noninferior"] is False
    assert "is not shown to be at most 0.05 worse" in answers["shown"]["words"]
    assert answers["flips"]["value"] == pytest.approx(sum(map(flips, answers["cases"])) / 10)


def flips(one):
    calls = [(one[whose] or {"call": ""})["call"] for whose in ("drawn", "proposed")]
    return calls[0] != calls[1]


def test_the_same_answers_with_both_are_shown_to_be_as_good():
    def one(number, p):
        answer = OneAnswer(probabilities=(p, 1 - p), call="PRCC", forced="PRCC", seen=False)
        return TwoAnswers(
            case_id=f"c{number}", patient_id=f"p{number}", subtype="PRCC" if number % 2 else "ChRCC",
            drawn=answer, proposed=answer, why="",
        )  # fmt: skip

    bundle = type("B", (), {})()
    bundle.scorer = type("S", (), {"subtypes": ("PRCC", "ChRCC"), "positive": "PRCC"})
    bundle.about = type("A", (), {"model": "m"})
    rng = np.random.default_rng(0)
    found = effect_on_answers(
        [one(n, float(rng.uniform())) for n in range(40)], bundle, 0.05, EvaluationConfig()
    )
    assert found.auc_drawn == found.auc_proposed
    assert found.flips.value == 0
    assert found.flips.high > 0, "no flip among forty is not none"


def test_nobody_of_that_name(root):
    assert run(["rois", "compare", str(root), "--by", "model:other@1"]) == 2
    assert Study(root).cohort.cases[0].rois[-1].state == "proposed"


def test_an_import_says_whose_tumor_only_a_model_drew(root):
    study = Study(root)
    first, *others = study.cohort.cases
    alone = replace(first, rois=tuple(roi for roi in first.rois if roi.author == AUTHOR))
    outcome = imported(study, replace(study.cohort, cases=(alone, *others)))
    assert outcome.data["proposed"] == [first.case_id]
    assert f"rois accept {root} CASE --by {AUTHOR}" in outcome.text
    assert imported(study, study.cohort).data["proposed"] == []
