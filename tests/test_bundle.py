import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from nephroscope.base.documents import CHECKSUM
from nephroscope.base.errors import BundleError, RoiError, StudyError
from nephroscope.base.files import file_digest
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.bundle_file import FILES, Needs, content_digest
from nephroscope.clinic.predict import predict
from nephroscope.clinic.session import NetworkSession
from nephroscope.facade.bundle import Bundle
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.imaging.read import read_ct, read_roi
from nephroscope.learning.engine.runs import train_in
from nephroscope.learning.export import ExportChoice, export_bundle
from nephroscope.learning.run_files import KEPT, CompleteRun, KeptNetwork
from nephroscope.learning.score_run import ALL_FOLDS, exported_folds, fold_scorer, score_run
from nephroscope.questions.evaluation.evaluate import RunFacts, build_report
from nephroscope.records import CTVolume, Estimate, EvaluationConfig, RoiMask, TrainConfig
from nephroscope.study.snapshot import Snapshot
from phantoms import write_nifti
from small_study import geometry, make_cohort, make_store, read_disc, split_of

CONFIG = TrainConfig(model="shufflenet_v2_x1_0", epochs=4, batch_size=8, precision="fp32")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A run of two folds, ready to be scored."""
    folder = tmp_path_factory.mktemp("study")
    cohort = make_cohort(16)
    store = make_store(folder / "slices", cohort)
    split = split_of(cohort, store, folds=2, holdout=0.25)
    snapshot = Snapshot.of(cohort, store, split, EvaluationConfig(resamples=200))
    train_in(folder / "run", snapshot, CONFIG)
    return CompleteRun(folder=folder / "run", snapshot=snapshot)


def report_of(run):
    predictions, points = score_run(run)
    facts = RunFacts(
        run="run",
        model=CONFIG.model,
        subtypes=run.snapshot.cohort.subtypes,
        positive=run.snapshot.cohort.positive,
        protocol=run.snapshot.split.protocol,
        operating_points=tuple(points),
        cohort_digest=run.snapshot.cohort.digest,
        run_digest="r",
        synthetic=False,
        converged=True,
    )
    return build_report(facts, predictions, run.snapshot.settings.evaluation)


@pytest.fixture(scope="module")
def made(scored, tmp_path_factory):
    return export_bundle(scored, report_of(scored), tmp_path_factory.mktemp("out") / "bundle")


@pytest.fixture
def bundle(made, tmp_path):
    return shutil.copytree(made, tmp_path / "bundle")


def lookups(monkeypatch):
    """How many times ONNX Runtime was asked from here on."""
    asked, run = [], NetworkSession.logits
    monkeypatch.setattr(NetworkSession, "logits", lambda self, hu: asked.append(len(hu)) or run(self, hu))
    return asked


def test_slices_are_computed_once_and_looked_up_after(scored, tmp_path, monkeypatch):
    run = replace(scored, folder=shutil.copytree(scored.folder, tmp_path / "run"))
    shutil.rmtree(run.folder / KEPT, ignore_errors=True)
    asked = lookups(monkeypatch)
    first = score_run(run)
    assert len(asked) == 12 + 2 * 4  # both networks answer the held-out cases
    assert score_run(run) == first
    assert len(asked) == 20
    kept = sorted((run.folder / KEPT).iterdir())
    kept[0].write_bytes(kept[0].read_bytes()[:-9])
    kept[1].write_bytes(b"")
    np.save(kept[2], np.full((4, 2), 0.6))
    assert score_run(run) == first
    assert len(asked) == 23


def test_another_network_or_other_slices_are_not_looked_up(scored, tmp_path, monkeypatch):
    run = replace(scored, folder=shutil.copytree(scored.folder, tmp_path / "run"))
    score_run(run)
    asked = lookups(monkeypatch)
    hu = np.asarray(run.snapshot.slices.hu[:4]).copy()
    network = KeptNetwork(run.folder, 0)
    before = network.probabilities(hu)
    hu[0, 0, 0] += 1
    network.probabilities(hu)
    assert asked[-1] == 4
    hu[0, 0, 0] -= 1
    other = KeptNetwork(run.folder, 1).probabilities(hu)
    assert not np.allclose(before, other)
    assert np.array_equal(before, KeptNetwork(run.folder, 0).probabilities(hu))
    shutil.copy(run.folder / "fold-1" / "model.onnx", run.folder / "fold-0" / "model.onnx")
    with pytest.raises(StudyError, match=r"fold-0/model.onnx: expected the file as the training wrote it"):
        KeptNetwork(run.folder, 0)


def test_answers_need_no_room_on_the_disk(scored, tmp_path):
    run = replace(scored, folder=shutil.copytree(scored.folder, tmp_path / "run"))
    shutil.rmtree(run.folder / KEPT, ignore_errors=True)
    (run.folder / KEPT).write_text("a file where the folder should be")
    assert score_run(run) == score_run(scored)


def test_every_case_is_scored_once_by_a_fold_that_never_saw_it(scored):
    predictions, _ = score_run(scored)
    assert sorted(p.case_id for p in predictions) == sorted(
        case.case_id for case in scored.snapshot.cohort.cases
    )
    for p in predictions:
        held_out = p.case_id in scored.snapshot.split.holdout
        assert (p.fold == ALL_FOLDS) == held_out
        asked = scored.snapshot.split.folds if held_out else [scored.snapshot.split.folds[p.fold]]
        assert all(p.case_id not in fold.train | fold.validation for fold in asked)
        assert p.group == ("internal-test" if p.case_id in scored.snapshot.split.holdout else "out-of-fold")


def test_threshold_is_chosen_on_validation_cases(scored):
    config = EvaluationConfig(criterion="youden", resamples=200)
    run = replace(scored, snapshot=scored.snapshot.with_evaluation(config))
    _, points = score_run(run)
    *of_folds, of_mean = points  # there are held-out cases
    for fold, point in zip(run.snapshot.split.folds, of_folds, strict=True):
        assert point.chosen_on == f"{len(fold.validation)} validation cases of fold {fold.index}"
    assert of_mean.threshold == pytest.approx(np.mean([point.threshold for point in of_folds]))
    validated = sum(len(fold.validation) for fold in run.snapshot.split.folds)
    assert of_mean.chosen_on.startswith(f"{validated} validation cases of {len(of_folds)} folds")


def test_held_out_cases_get_the_mean_probability_of_the_folds_networks(scored):
    predictions, _ = score_run(scored)
    folds = exported_folds(scored.folder)
    assert len(folds) == 2
    rows = scored.snapshot.slices.rows_by_case
    for known in (p for p in predictions if p.fold == ALL_FOLDS):
        hu = np.asarray(scored.snapshot.slices.hu[rows[known.case_id]])
        each = np.mean([KeptNetwork(scored.folder, index).probabilities(hu) for index in folds], axis=0)
        assert list(known.probabilities.values()) == pytest.approx(each.mean(axis=0).tolist(), abs=1e-12)
        assert len({p.tobytes() for p in each}) == len(each)


def test_folds_that_did_not_converge_are_left_out_of_the_mean(scored, tmp_path):
    folder = shutil.copytree(scored.folder, tmp_path / "run")
    run = json.loads((folder / "run.json").read_text())
    run.pop(CHECKSUM)
    for converged, wanted in (
        ((True, False), (0,)),
        ((False, True), (1,)),
        ((True, True), (0, 1)),
        ((False, False), (0, 1)),
    ):
        run["folds"] = [{**one, "converged": good} for one, good in zip(run["folds"], converged, strict=True)]
        (folder / "run.json").write_text(json.dumps(run))
        assert exported_folds(folder) == wanted


def test_image_protocol_scores_each_slice_once(scored, tmp_path):
    split = split_of(scored.snapshot.cohort, scored.snapshot.slices, folds=2, protocol="image")
    snapshot = scored.snapshot.with_split(split)
    train_in(tmp_path / "leaky", snapshot, replace(CONFIG, epochs=1))
    predictions, _ = score_run(CompleteRun(folder=tmp_path / "leaky", snapshot=snapshot))
    assert {p.case_id for p in predictions} == set(scored.snapshot.slices.rows_by_case)
    assert sum(len(p.slices) for p in predictions) == len(scored.snapshot.slices.hu)


def test_prediction_equals_evaluation(scored, made):
    """Same volume, two doors: the clinic's probability is evaluation's within 1e-3."""
    predictions, _ = score_run(scored)
    opened = open_bundle(made)
    opened = replace(
        opened, about=replace(opened.about, evaluation={})
    )  # of so few cases no AUC is above chance
    compared = 0
    for known in predictions:
        if known.fold != ALL_FOLDS:
            continue
        answer, seconds = predict(opened, *read_disc(scored.snapshot.cohort.by_id[known.case_id]))
        assert answer.probabilities == pytest.approx(known.probabilities, abs=1e-3)
        assert (answer.call, answer.forced_call) == (known.call, known.forced_call)
        assert [part.slice_index for part in answer.slices] == [part.slice_index for part in known.slices]
        assert set(seconds) == {"cut", "network"}
        compared += 1
    assert compared > 0


def figures(value, low, high):
    auc = Estimate(value=value, low=low, high=high, n=19, unit="case", method="m")
    return {"auc": auc, "accuracy": replace(auc, value=0.9, low=0.8, high=1.0)}


@pytest.mark.parametrize(
    ("evaluation", "guesses"),
    [
        ({}, False),
        ({"out-of-fold": figures(0.75, 0.51, 0.9)}, False),
        ({"out-of-fold": figures(0.75, 0.5, 0.9)}, True),
        ({"out-of-fold": figures(0.2, 0.1, 0.4)}, True),
        ({"out-of-fold": figures(None, None, None)}, True),
        ({"out-of-fold": figures(0.6, 0.4, 0.8), "internal-test": figures(0.9, 0.7, 0.97)}, False),
    ],
)
def test_a_model_that_was_not_shown_to_beat_guessing_gives_no_call(scored, made, evaluation, guesses):
    opened = open_bundle(made)
    opened = replace(opened, about=replace(opened.about, evaluation=evaluation))
    case = scored.snapshot.cohort.by_id[min(scored.snapshot.split.holdout)]
    answer, _ = predict(opened, *read_disc(case))
    (code,) = [f.severity for f in answer.findings if f.code == "not-better-than-chance"] or [None]
    assert code == ("warning" if guesses else None)
    assert not (guesses and answer.call)


def test_prediction_on_a_training_case_says_so(scored, made):
    fold, opened = scored.snapshot.split.folds[0], open_bundle(made)
    codes = {}
    for name in (min(fold.train), min(fold.test), min(scored.snapshot.split.holdout)):
        answer, _ = predict(opened, *read_disc(scored.snapshot.cohort.by_id[name]))
        codes[name] = {finding.code for finding in answer.findings}
    assert [("seen-in-training" in found) for found in codes.values()] == [True, True, False]


def test_case_outside_the_training_range_gets_no_call(scored, made):
    volume, roi = read_disc(scored.snapshot.cohort.cases[0])
    bright = CTVolume(hu=np.full_like(volume.hu, 1000), geometry=volume.geometry, series_uid="1")
    answer, _ = predict(open_bundle(made), bright, roi)
    assert answer.call is None
    assert answer.forced_call in scored.snapshot.cohort.subtypes
    assert "outside-training-range" in answer.reason


def test_predict_from_files_without_a_study(made, tmp_path, scored):
    volume, roi = read_disc(scored.snapshot.cohort.cases[0])
    image = write_nifti(volume.hu, tmp_path / "ct.nii.gz", volume.geometry.affine)
    mask = write_nifti(roi.voxels.astype(np.uint8) * 2, tmp_path / "roi.nii.gz", volume.geometry.affine)
    what = FilesToPredict(image=image, roi=mask, case_id="x", tumor_label=2)
    answer = predict_files(made, what)
    memory, _ = predict(open_bundle(made), volume, roi)
    assert answer.probabilities == pytest.approx(memory.probabilities, abs=1e-6)
    assert set(answer.timings) == {"open_bundle", "read", "check", "cut", "network", "total"}
    later = Bundle(made).predict(read_ct(image), read_roi(mask, case_id="x", tumor_label=2))
    assert (later.probabilities, later.case_id) == (answer.probabilities, "x")
    assert Bundle(made).predict(image, read_roi(mask, tumor_label=2)).probabilities == answer.probabilities
    with pytest.raises(RoiError, match="case x"):
        predict_files(made, replace(what, tumor_label=7))


def test_bundle_holds_no_identifier_of_a_patient(made, scored):
    text = (made / "bundle.json").read_text() + (made / "README.md").read_text()
    for case in scored.snapshot.cohort.cases:
        assert case.case_id not in text.split('"')
        assert case.patient_id not in text.split('"')
    about = json.loads((made / "bundle.json").read_text())
    assert about["sha256"] == {name: file_digest(made / name) for name in FILES}
    assert about["reference"] == "phantoms"
    assert about["operating_point"]["chosen_on"] == "nothing: fixed before any data"
    assert about["training"]["cohort_digest"] == scored.snapshot.cohort.digest


def test_a_bundle_gives_away_no_slice_of_a_patient_unless_asked(scored, made, tmp_path):
    of_patients = {one.tobytes() for one in np.asarray(scored.snapshot.slices.hu)}

    def shown(folder):
        with np.load(folder / "reference.npz") as stored:
            return [one.tobytes() in of_patients for one in stored["hu"]]

    assert shown(made) == [False] * 8
    assert "SYNTHETIC phantoms" in (made / "README.md").read_text()
    card = "# Card\n\nDr c03: cases c01, c02 of p02 <img src=x onerror=alert(1)> [x](javascript:1)"
    own = export_bundle(scored, report_of(scored), tmp_path / "own", card, ExportChoice(patient_slices=True))
    assert all(shown(own))
    for name in ("README.md", "MODEL_CARD.md"):
        assert "CT slices of patients" in (own / name).read_text()
    written = (own / "MODEL_CARD.md").read_text()
    assert "Dr [case]: cases [cases] of [case] &lt;img" in written
    assert "](" not in written
    opened = open_bundle(own)
    assert opened.about.reference == "training cases"
    assert set(opened.about.sha256) == {*FILES, "MODEL_CARD.md"}
    (own / "MODEL_CARD.md").write_text(written + "more")
    with pytest.raises(BundleError, match=r"MODEL_CARD.md with digest"):
        open_bundle(own)


def edit(bundle, **changes):
    """bundle.json with other fields, and its own digest made right."""
    path = bundle / "bundle.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(content | {"digest": content_digest(content)}))


def test_onnx_changed_by_one_byte_is_refused(bundle):
    path = bundle / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        BundleError, match=r"expected model.onnx with digest .* the file was changed or damaged"
    ):
        open_bundle(bundle)


def test_an_edited_specification_is_refused(bundle):
    about = json.loads((bundle / "bundle.json").read_text())
    for slices in (about["slices"] | {"margin_mm": 11.0}, about["slices"] | {"zoom": 2}):
        edit(bundle, slices=slices)
        with pytest.raises(BundleError, match="the slice specification"):
            open_bundle(bundle)


def test_machine_that_computes_something_else_is_refused(bundle):
    with np.load(bundle / "reference.npz") as reference:
        hu, logits = reference["hu"], reference["logits"]
    np.savez_compressed(bundle / "reference.npz", hu=hu, logits=logits + 1)
    about = json.loads((bundle / "bundle.json").read_text())
    edit(bundle, sha256=about["sha256"] | {"reference.npz": file_digest(bundle / "reference.npz")})
    with pytest.raises(BundleError, match="the reference slices to give their stored logits"):
        open_bundle(bundle)


def test_one_fold_alone_is_exported_when_asked_for(scored, made, tmp_path):
    alone = export_bundle(scored, report_of(scored), tmp_path / "alone", choice=ExportChoice(fold=1))
    about = json.loads((alone / "bundle.json").read_text())
    assert [one["fold"] for one in about["training"]["networks"]] == [1]
    assert (alone / "model.onnx").stat().st_size < 0.6 * (made / "model.onnx").stat().st_size
    own, kept = fold_scorer(scored, scored.snapshot.split.folds[1]), open_bundle(alone).scorer
    assert kept.point == own.point
    hu = np.load(alone / "reference.npz")["hu"]
    assert kept.network.probabilities(hu) == pytest.approx(own.network.probabilities(hu), abs=1e-5)
    with pytest.raises(BundleError, match="--fold: expected a fold whose network can be used: 0, 1, found 7"):
        export_bundle(scored, report_of(scored), tmp_path / "none", choice=ExportChoice(fold=7))
    assert not (tmp_path / "none").exists()


def test_existing_folder_is_not_overwritten(scored, bundle):
    with pytest.raises(BundleError, match="a folder that does not exist yet"):
        export_bundle(scored, report_of(scored), bundle)


def test_run_without_a_finite_loss_is_not_exported(scored, tmp_path):
    folder = shutil.copytree(scored.folder, tmp_path / "run")
    run = json.loads((folder / "run.json").read_text())
    run["folds"] = [fold | {"best": None} for fold in run["folds"]]
    run.pop(CHECKSUM)
    (folder / "run.json").write_text(json.dumps(run))
    with pytest.raises(StudyError, match="a fold with a finite validation loss, found none"):
        exported_folds(folder)


def test_roi_of_another_grid_is_refused(made):
    volume, _ = read_disc(make_cohort(1).cases[0])
    other = geometry(spacing_mm=(3.0, 1.0, 1.2))
    roi = RoiMask(voxels=np.ones(other.shape, bool), geometry=other, case_id="c")
    with pytest.raises(RoiError, match="expected the ROI on the grid of its CT"):
        predict(open_bundle(made), volume, roi)


def test_a_bundle_of_format_1_answers_as_before(scored, bundle, tmp_path):
    """Format 1 said neither what a network needs nor the phases of its training cases."""
    case_id = scored.snapshot.cohort.cases[0].case_id
    volume, roi = read_disc(scored.snapshot.cohort.by_id[case_id])
    opened = open_bundle(bundle)
    assert (opened.needs, opened.format) == (Needs(), 4)
    training = opened.about.training
    assert sum(opened.phases.values()) == training.n_train + training.n_validation
    assert [one.fold for one in training.networks] == list(exported_folds(scored.folder))
    for one, fold in zip(training.networks, scored.snapshot.split.folds, strict=True):
        assert (one.n_train, one.n_validation) == (len(fold.train), len(fold.validation))
        assert len(one.weights_sha256) == 64
    old = shutil.copytree(bundle, tmp_path / "old")
    about = json.loads((old / "bundle.json").read_text())
    del about["needs"], about["training"]["phases"], about["digest"], about["reference"]
    (old / "bundle.json").write_text(json.dumps({**about, "format": 1}))
    of_format_1 = open_bundle(old)
    assert (of_format_1.needs, of_format_1.phases) == (Needs(), {})
    assert predict(of_format_1, volume, roi)[0] == predict(opened, volume, roi)[0]


def test_a_bundle_that_needs_more_refuses_a_case_without_it(scored, bundle):
    edit(bundle, needs={"phases": ["nephrographic"], "clinical": ["age_years"]})
    opened = open_bundle(bundle)
    volume, roi = read_disc(scored.snapshot.cohort.chosen[0])
    with pytest.raises(
        BundleError, match=r"needs: nephrographic, age_years, found no nephrographic, age_years"
    ):
        predict(opened, volume, roi)
