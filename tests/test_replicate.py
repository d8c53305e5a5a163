"""The replication: who learns and who is judged, what is LEAKY, resuming to the same bits, refusals, the page."""

import csv
import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nephroscope.base.documents import as_plain, from_plain
from nephroscope.base.errors import CohortError, ConfigError, StudyError
from nephroscope.base.files import save_json
from nephroscope.cli import run
from nephroscope.cli.replicate import REPLICATES
from nephroscope.learning.engine.arms import train_arms
from nephroscope.learning.engine.workers import Workers
from nephroscope.learning.training.arm import ArmEpoch, best_epoch, draw_images, train_arm
from nephroscope.questions.readers.write import digests_of
from nephroscope.questions.replicate import printed, sentences
from nephroscope.questions.replicate.answers import Answers, make_parts
from nephroscope.questions.replicate.cases_and_readers import known_cases, scored_readers
from nephroscope.questions.replicate.experiment import leak_of, replicate, train_all
from nephroscope.questions.replicate.numbers import (
    Reading,
    area_two_ways,
    by_case,
    by_image,
    differences,
    figures,
    three_of_each,
)
from nephroscope.questions.replicate.numbers import one_sided as has_one_answer
from nephroscope.questions.replicate.replication import Replication, ShuffledControl
from nephroscope.questions.replicate.setup import ReplicateOptions, make_setup, shuffle_between_patients
from nephroscope.records import EvaluationConfig
from nephroscope.records.settings import Settings
from nephroscope.report.page.drawing import svg_of
from nephroscope.report.page.render import render
from nephroscope.report.page.table import Cell
from nephroscope.report.replicate.case_tables import area_table, reader_table
from nephroscope.report.replicate.figures import comparison_figure, learning_figure
from nephroscope.report.replicate.network_tables import validation_table
from nephroscope.report.replicate.page import ReplicateSource, page_of
from nephroscope.statistics.intervals import Patients
from nephroscope.study.folder import StudyFolder
from nephroscope.study.snapshot import Snapshot
from small_study import content_of, make_cohort, make_store
from test_missing_parts import without
from test_study import make_study

OPTIONS = ReplicateOptions(
    models=("shufflenet_v2_x1_0",), epochs=2, images_per_epoch=24, twin_folds=1, shuffled_model="none"
)
READING = Reading(subtypes=("PRCC", "ChRCC"), positive=0, config=EvaluationConfig(resamples=200), seed=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    cohort = make_cohort(16)
    return cohort, make_store(tmp_path_factory.mktemp("slices"), cohort)


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
    """A study after the command, with two test cases marked by nobody."""
    study = make_study(tmp_path_factory.mktemp("made") / "study", 14)
    study.cut_slices()
    calls = study.folder.root / "calls.csv"
    cases = make_setup(study.snapshot, OPTIONS).tests
    lines = [f"{name},A,{study.cohort.by_id[name].subtype}" for name in cases]
    calls.write_text("\n".join(["case_id,reader,call", *lines]) + "\n")
    options = replace(OPTIONS, epochs=1, shuffled_model=None)
    return study, as_plain(study.replicate_zuo2021(options, calls)), options, calls


def typed(content):
    """The records of replicate.json from its plain content."""
    return from_plain(content, Replication, "content")


def snapshot_of(cohort, store):
    """A study in memory, without folds."""
    settings = Settings(subtypes=cohort.subtypes, positive=cohort.positive)
    folder = StudyFolder(store.folder.parent)
    return Snapshot(folder=folder, settings=settings, cohort=cohort, own_slices=store)


def answers(p, truth, case_ids, patient_ids=None):
    p = np.asarray(p, dtype=float)
    return Answers(
        rows=np.arange(len(p)),
        truth=np.asarray(truth, dtype=np.intp),
        p=np.stack([p, 1 - p], axis=1),
        case_ids=np.array(case_ids),
        patient_ids=np.array(patient_ids or case_ids),
    )


# who learns, who is judged


def test_the_papers_split_leaks_and_the_twin_does_not(data):
    setup = make_setup(snapshot_of(*data), OPTIONS)
    train, validation = setup.paper_split
    n_images = setup.n_slices * 16
    assert (len(train), len(validation)) == (n_images - round(n_images / 10), round(n_images / 10))
    assert not set(train) & set(validation)
    parts = make_parts(setup, data[1].folder / "nowhere")
    leak = leak_of(setup, parts[0])
    of_used = {
        str(name) for name in data[1].case_ids[parts[0].judged.rows]
    }  # 24 images are not of every patient
    assert leak.patients_on_both_sides == leak.validation_patients == len(of_used)
    assert leak.development_patients == len(setup.development)
    for part in parts:
        of = {
            name: {str(data[1].case_ids[row]) for row in images.rows}
            for name, images in (
                ("train", part.arm.train),
                ("choose", part.arm.choose),
                ("judge", part.judged),
            )
        }
        assert not (of["train"] | of["choose"] | of["judge"]) & set(setup.tests)
        if part.kind == "paper":
            assert of["train"] & of["judge"]
            assert len(part.judged) % 24 == 0  # the last partial batch is dropped
        else:
            assert sum(map(len, of.values())) == len(of["train"] | of["choose"] | of["judge"])
            assert set(part.judged.copies) == set(part.arm.choose.copies) == {0}
            assert set(part.arm.train.copies) == set(range(16))


def test_both_protocols_take_as_many_steps_on_as_many_images(data):
    for asked in (0, 24, 10**6):
        setup = make_setup(snapshot_of(*data), replace(OPTIONS, images_per_epoch=asked))
        parts = make_parts(setup, data[1].folder / "nowhere")
        assert len({part.arm.steps_per_epoch for part in parts}) == 1
        assert {part.arm.images_per_epoch for part in parts} == {
            24 if asked == 24 else len(setup.paper_split[0])
        }
    assert (
        make_setup(snapshot_of(*data), replace(OPTIONS, images_per_epoch=None)).images_per_epoch == 48
    )  # slices


def test_every_patient_is_judged_once_out_of_fold(data):
    setup = make_setup(snapshot_of(*data), replace(OPTIONS, twin_folds=None))
    assert setup.n_folds == 5
    twins = [p for p in make_parts(setup, data[1].folder / "nowhere") if p.kind == "twin"]
    judged = [name for part in twins for name in {str(data[1].case_ids[r]) for r in part.judged.rows}]
    assert sorted(judged) == sorted(setup.development)


def test_test_cases_are_the_marked_ones_or_drawn(data):
    cohort, store = data
    setup = make_setup(snapshot_of(cohort, store), OPTIONS)
    assert setup.tests_drawn
    assert [setup.cohort.by_id[name].subtype for name in setup.tests].count("PRCC") == 2  # a quarter of 8
    marked = tuple(replace(c, cohort="external-test:X") if c.case_id == "c03" else c for c in cohort.cases)
    setup = make_setup(snapshot_of(replace(cohort, cases=marked), store), OPTIONS)
    assert (setup.tests, setup.tests_drawn) == (("c03",), False)


def test_shuffled_labels_say_nothing_about_the_true_ones():
    cohort = make_cohort(40)
    names = [c.case_id for c in cohort.cases if c.case_id != "c00"]
    new = shuffle_between_patients(cohort, names, seed=1)
    assert new.by_id["c00"] == cohort.by_id["c00"]
    for subtype in cohort.subtypes:
        of = [new.by_id[n].subtype for n in names if cohort.by_id[n].subtype == subtype]
        assert abs(of.count("PRCC") - len(of) / 2) <= 1
    assert new != shuffle_between_patients(cohort, names, seed=2)


def test_tumors_of_one_patient_get_one_shuffled_label():
    cohort = make_cohort(12)
    cases = tuple(replace(c, patient_id=f"p{int(c.case_id[1:]) // 2 % 4}") for c in cohort.cases)
    new = shuffle_between_patients(replace(cohort, cases=cases), [c.case_id for c in cases], seed=0)
    assert all(
        len({c.subtype for c in new.cases if c.patient_id == p}) == 1 for p in ("p0", "p1", "p2", "p3")
    )


def test_shuffling_permutes_and_keeps_enough_patients_for_the_folds(tmp_path):
    cohort = make_cohort(12)  # one of six is drawn as a test case: 5 and 5 are left, and 2.5 is rounded
    setup = make_setup(
        snapshot_of(cohort, make_store(tmp_path, cohort)),
        replace(OPTIONS, twin_folds=None, shuffled_model=None),
    )
    counts = [
        [of.by_id[n].subtype for n in setup.development] for of in (setup.cohort, setup.shuffled_cohort)
    ]
    assert [labels.count("PRCC") for labels in counts] == [5, 5]
    assert setup.n_folds == 5
    assert len(make_parts(setup, tmp_path)) == 12  # no fold is refused for want of a subtype


# learning


def test_an_epoch_draws_no_image_twice_before_all_were_drawn():
    drawn = draw_images(25, 10, np.random.default_rng(0))
    assert sorted(np.bincount(drawn, minlength=10).tolist()) == [2] * 5 + [3] * 5


def test_the_best_epoch_is_the_first_best_by_its_own_rule():
    rest = {"train_accuracy": 0.5, "validation_accuracy": 0.5, "learning_rate": 0.005, "seconds": 1.0}
    rows = [
        ArmEpoch(epoch=1, train_loss=1.0, validation_loss=0.5, right=(5, 0), n=(5, 5), **rest),
        ArmEpoch(epoch=2, train_loss=1.0, validation_loss=0.9, right=(9, 0), n=(10, 2), **rest),
        ArmEpoch(epoch=3, train_loss=None, validation_loss=0.1, right=(5, 5), n=(5, 5), **rest),
    ]
    assert (best_epoch(rows, "accuracy"), best_epoch(rows, "loss")) == (2, 1)
    assert best_epoch(rows[2:], "loss") is None


def test_a_killed_training_goes_on_at_its_epoch_to_the_same_bits(data, tmp_path):
    setup = make_setup(snapshot_of(*data), OPTIONS)
    whole, killed = (make_parts(setup, tmp_path / name)[1].arm for name in ("whole", "killed"))
    list(train_arm(whole))
    steps = train_arm(killed)
    for _ in range(killed.steps_per_epoch + 1):
        next(steps)
    steps.close()  # in the second epoch
    assert not (killed.folder / "arm.json").exists()
    assert killed.steps_left == killed.steps_per_epoch
    list(train_arm(killed))
    assert killed.steps_left == 0
    for name in ("weights.safetensors", "model.onnx"):
        assert (killed.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    one, two = (content_of(arm.folder / "arm.json") for arm in (whole, killed))
    assert [e["train_loss"] for e in one["epochs"]] == [e["train_loss"] for e in two["epochs"]]
    assert not (killed.folder / "checkpoint.safetensors").exists()


def test_arms_trained_in_two_processes_end_with_the_same_bits(replicated, tmp_path):
    study, _, options, _ = replicated
    setup = make_setup(study.snapshot, options)
    here, there = (make_parts(setup, tmp_path / name)[:2] for name in ("here", "there"))
    steps = train_arm(there[0].arm)
    for _ in range(there[0].arm.steps_per_epoch):
        next(steps)
    steps.close()  # one of them goes on from its first epoch
    train_arms(setup.snapshot, [part.arm for part in here], Workers(), "here")
    train_arms(setup.snapshot, [part.arm for part in there], Workers(jobs=2), "there")
    for one, two in zip(here, there, strict=True):
        for name in ("weights.safetensors", "model.onnx"):
            assert (one.arm.folder / name).read_bytes() == (two.arm.folder / name).read_bytes()
        assert two.arm.is_finished


def test_the_command_trains_in_as_many_processes_as_it_is_told(replicated, monkeypatch):
    asked = []

    def only_note(snapshot, arms, workers, what):
        asked.append((len(arms), workers.jobs, workers.ray))
        raise KeyboardInterrupt

    monkeypatch.setattr("nephroscope.questions.replicate.experiment.train_arms", only_note)
    root = str(replicated[0].folder.root)
    assert run(["replicate", "zuo2021", root, "--models", "shufflenet_v2_x1_0", "--jobs", "3"]) == 130
    assert run(["replicate", "zuo2021", root, "--models", "shufflenet_v2_x1_0", "--ray", "auto"]) == 130
    assert [rest for _, *rest in asked] == [[3, None], [1, "auto"]]


def test_what_never_had_a_finite_loss_is_a_state(data, tmp_path, monkeypatch):
    def diverge(task, state, hu, labels, weights):
        return torch.tensor(float("nan")), torch.zeros(len(labels), 3)

    monkeypatch.setattr("nephroscope.learning.training.fit.train_step", diverge)
    arm = make_parts(make_setup(snapshot_of(*data), OPTIONS), tmp_path)[0].arm
    list(train_arm(arm))
    record = content_of(arm.folder / "arm.json")
    assert (record["converged"], record["best_epoch"]) == (False, None)
    assert len(record["epochs"]) == 1  # no use in going on
    assert record["epochs"][0]["train_loss"] is None
    epochs = [ArmEpoch(**row) for row in record["epochs"]]
    paper, twin = SimpleNamespace(converged=False, epochs=epochs), SimpleNamespace(epochs=[epochs])
    network = SimpleNamespace(model="shufflenet_v2_x1_0", paper=paper, twin=twin)
    left = learning_figure([network], ["SYNTHETIC"]).axes[0]
    assert left.get_title(loc="left") == "ShuffleNetV2: did not converge"


# numbers


def test_majority_is_two_of_three_and_the_same_three_for_every_network():
    case_ids = [c for c in "abcd" for _ in range(5)]
    truth = [0] * 10 + [1] * 10
    good = answers([0.9] * 10 + [0.1] * 10, truth, case_ids)
    three = three_of_each(good, READING)
    other = three_of_each(answers([0.2] * 20, truth, case_ids), READING)
    assert len(three.p) == 12
    assert np.array_equal(three.rows, other.rows)
    kept = three.rows[three.case_ids == "a"]
    one_wrong, two_wrong = good.p.copy(), good.p.copy()
    one_wrong[kept[:1]] = two_wrong[kept[:2]] = [0.1, 0.9]
    called = [
        by_case(replace(good, p=p), READING, majority=True).rows.called[0] for p in (one_wrong, two_wrong)
    ]
    assert called == [0, 1]


def test_sensitivity_and_precision_go_under_their_own_names():
    """The paper's test images: TP 15, FN 0, FP 2, TN 13; it prints 15 of 17 as sensitivity."""
    p = [0.9] * 15 + [0.9] * 2 + [0.1] * 13
    case_ids = [f"c{i // 3}" for i in range(30)]
    found = figures(by_image(answers(p, [0] * 15 + [1] * 15, case_ids), READING), READING)
    for name, (k, n) in printed.TEST_IMAGES.items():
        assert found[name].value == pytest.approx(k / n)


def test_differences_are_paired_by_patient():
    rng = np.random.default_rng(0)
    ids = [f"p{i}" for i in range(20) for _ in range(4)]
    truth = [i % 2 for i in range(20) for _ in range(4)]
    right = answers(np.where(np.array(truth) == 0, 0.8, 0.2), truth, ids)
    chance = answers(rng.random(80), truth, ids)
    apart = differences(by_image(right, READING), by_image(chance, READING), READING)
    accuracy = figures(by_image(chance, READING), READING)["accuracy"].value
    assert apart["accuracy"].value == pytest.approx(1 - accuracy)
    assert 0 < apart["accuracy"].low < apart["accuracy"].value < apart["accuracy"].high
    assert (apart["auc"].n, apart["auc"].unit) == (20, "patient")
    same = differences(by_image(right, READING), by_image(right, READING), READING)["accuracy"]
    assert (same.value, same.low) == (0, None)
    assert "every resample" in same.method


def test_clustering_widens_the_interval_of_the_auc():
    rng = np.random.default_rng(1)
    ids = [f"p{i}" for i in range(20) for _ in range(6)]
    truth = [i % 2 for i in range(20) for _ in range(6)]
    own = rng.normal(0, 1, 20).repeat(6) + 0.6 * (np.array(truth) == 0)
    judged = by_image(answers(1 / (1 + np.exp(-own)), truth, ids), READING)
    found = area_two_ways(judged, READING)
    naive, clustered = found.naive.estimate, found.clustered.estimate
    assert naive.value == clustered.value
    assert clustered.high - clustered.low > 1.5 * (naive.high - naive.low)
    assert "treats images of one patient as independent" in naive.method


def test_numbers_of_the_leaky_split_say_so(replicated):
    _, content, _, _ = replicated
    network = content["models"][0]
    (fold,) = network["twin"]["folds"]
    assert sum(fold.values()) == content["leak"]["development_patients"]
    assert all("LEAKY" in e["method"] for e in network["paper"]["validation"].values())
    assert all("LEAKY" in e["method"] for e in content["shuffled"]["paper"]["validation"].values())
    for tests in network["tests"].values():
        assert all("LEAKY" in e["method"] for e in tests["by_image"]["paper"].values())
        assert not any("LEAKY" in e["method"] for e in tests["by_image"]["twin"].values())
    assert not any("LEAKY" in e["method"] for e in network["twin"]["by_case"].values())


def test_an_auc_with_one_patient_of_a_subtype_has_no_narrow_interval():
    """Resampling draws that patient each time: it gave 0.50 to 0.56 on nine images."""
    p = [0.6, 0.5, 0.4, 0.55, 0.45, 0.35, 0.5, 0.41, 0.42]
    few = by_image(answers(p, [0] * 6 + [1] * 3, [c for c in "abc" for _ in range(3)]), READING)
    area = figures(few, READING)["auc"]
    assert area.high - area.low > 0.5
    assert "Newcombe 2006 method 5 on 2 and 1 patients" in area.method
    apart = differences(few, few, READING)
    assert apart["auc"].low is None
    assert "1 patient, a bootstrap needs 5" in apart["auc"].method
    cases = area_two_ways(by_case(answers(p, [0] * 6 + [1] * 3, list("abcdefghi")), READING), READING)
    assert "treats" not in cases.naive.estimate.method


# words


def control(paper, twin):
    """Shuffled labels with these AUCs; all else is empty."""

    def figure(value, low, high):
        return {"value": value, "low": low, "high": high, "n": 10, "unit": "case", "method": ""}

    empty = {"mark": "", "converged": True, "best_epoch": 1, "one_sided": False, "steps": 1, "epochs": []}
    areas = {"auc": figure(*paper), "accuracy": figure(0.9, 0.8, 1.0)}
    of_paper = empty | {"validation": areas, "n_train_images": 1}
    folds = {"converged": [], "best_epoch": [], "one_sided": [], "steps": [], "epochs": [], "folds": []}
    of_twin = folds | {"by_image": {}, "by_case": {"auc": figure(*twin)}}
    content = {"model": "resnet34", "paper": of_paper, "twin": of_twin, "difference": {}}
    return from_plain(content, ShuffledControl, "control")


def test_the_sentence_about_shuffled_labels_claims_what_is_seen():
    seen = sentences.shuffled_sentence(control((0.98, 0.95, 0.99), (0.5, 0.3, 0.7)))
    assert "The illusion appears under the paper's protocol alone. The twin was not shown to differ" in seen
    short = sentences.shuffled_sentence(control((0.55, 0.4, 0.7), (0.5, 0.3, 0.7)))
    assert "illusion does not appear" in short
    broken = sentences.shuffled_sentence(control((0.98, 0.95, 0.99), (0.9, 0.8, 0.95)))
    assert "does not include 0.50" in broken
    assert "not shown to differ" not in broken


# the command, its page and its files


def test_it_works_as_it_will_be_run(replicated, capsys):
    study, _, _, calls = replicated
    words_ = [
        "replicate",
        "zuo2021",
        str(study.folder.root),
        "--models",
        "shufflenet_v2_x1_0",
        "--epochs",
        "1",
    ]
    words_ += ["--images-per-epoch", "24", "--twin-folds", "1", "--readers", str(calls), "--json"]
    assert run(words_) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["models"][0]["model"] == "shufflenet_v2_x1_0"
    assert content["summary"].startswith("Under the paper's protocol (LEAKY) the accuracy of ShuffleNetV2")


def test_commas_and_spaces_name_models(monkeypatch):
    from nephroscope.cli.command import parse
    from nephroscope.facade.study import Study

    asked = []
    monkeypatch.setattr(Study, "__init__", lambda self, root: None)
    monkeypatch.setattr(
        Study, "replicate_zuo2021", lambda self, options, *_: asked.append(options) or options
    )
    monkeypatch.setattr("nephroscope.cli.replicate._text", lambda found, page: "")
    for models in (["mobilenet_v2,resnet34"], ["mobilenet_v2", "resnet34"], ["mobilenet_v2,", "resnet34"]):
        parse(REPLICATES["zuo2021"], "replicate zuo2021", ["s", "--models", *models]).run()
    assert {options.models for options in asked} == {("mobilenet_v2", "resnet34")}


def test_what_is_finished_is_not_done_again(replicated, monkeypatch):
    study, content, options, calls = replicated
    monkeypatch.setattr("nephroscope.learning.training.fit.train_step", None)  # would fail if called
    again = as_plain(study.replicate_zuo2021(options, calls))
    assert again["models"] == content["models"]
    assert len(list((study.folder.root / "replicate/zuo2021/arms").iterdir())) == 4


def test_other_labels_are_other_trainings(data, tmp_path):
    cohort, store = data
    names = {p.arm.folder.name for p in make_parts(make_setup(snapshot_of(cohort, store), OPTIONS), tmp_path)}
    first = cohort.cases[0]
    changed = (replace(first, subtype="ChRCC"), *cohort.cases[1:])
    others = make_parts(make_setup(snapshot_of(replace(cohort, cases=changed), store), OPTIONS), tmp_path)
    assert not names & {part.arm.folder.name for part in others}


def test_the_page_holds_every_part_and_needs_no_network(replicated):
    study, content, _, _ = replicated
    folder = study.folder.root / "replicate" / "zuo2021"
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "1280 -&gt; 2<" in page  # a cell of a table is escaped once
    for heading in (
        "Figure 1",
        "Figure 2",
        "Table 1a",
        "Table 1b",
        "Table 2",
        "Table 3",
        "Figure 3",
        "Figure 4",
    ):
        assert heading in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert not re.search(r'(src|href)="http', page)
    assert len(content["deviations"]) == 20
    for name in (
        "comparison",
        "figure1-flow",
        "figure2-copies",
        "figure3-network",
        "figure4-roc",
        "learning",
    ):
        assert (folder / "figures" / f"{name}.svg").stat().st_size > 1000
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    with (folder / "tables" / "parameters.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    assert rows[1][:3] == ["MobileNetV2", "2,261,827", "2,260,546"]
    held = content_of(folder / "replicate.json")
    assert held["format"] == 1
    assert str(study.folder.root) not in json.dumps(held)
    assert held["configuration"]["tests_drawn"]


def test_readers_stand_beside_the_networks(replicated):
    _, content, _, _ = replicated
    (reader,) = content["readers"]
    assert reader["figures"]["accuracy"]["value"] == 1
    assert {test["protocol"] for test in reader["against"]} == {"paper", "twin"}
    for test in reader["against"]:
        assert sum(test["counts"]) == test["n"] == len(content["cases"])
        assert test["counts"][1] == test["counts"][3] == 0  # the reader is never wrong


def test_what_was_shortened_is_told_from_the_configuration(replicated):
    _, content, _, _ = replicated
    told = " ".join(content["shortened"])
    assert "Epochs: 1" in told
    assert "An epoch draws 24 of" in told
    assert "32 x 32 pixels" in told
    assert "ResNet-101" in told
    full = json.loads(json.dumps(content))
    full["configuration"] |= {
        "images_per_epoch": full["leak"]["train_images"],
        "size_px": 256,
        "twin_folds": 5,
    }
    full["configuration"] |= {
        "models": list(printed.MODELS),
        "validation_images_used": full["leak"]["validation_images"],
    }
    (epochs,) = sentences.shortened(typed(full))
    assert epochs == "Epochs: 1; the paper does not say how many it used."


def estimate(value, low, high, n, method=""):
    return {"value": value, "low": low, "high": high, "n": n, "unit": "case", "method": method}


def sentence_of(content, paper, twin, difference):
    """What is said of these accuracies on two test cases, one of each subtype."""
    content = json.loads(json.dumps(content))
    found = content["models"][0]["tests"]["together"]["by_case"]
    for kind, accuracy in (("paper", paper), ("twin", twin), ("difference", difference)):
        found[kind]["accuracy"] = accuracy
    replication = typed(content)
    assert [case.truth for case in replication.cases] in (["PRCC", "ChRCC"], ["ChRCC", "PRCC"])
    return sentences.tests_sentence(replication, replication.models[0])


def test_the_top_says_what_the_test_cases_say_and_when_they_are_too_few(replicated):
    content = replicated[1]
    few = sentence_of(
        content,
        estimate(5 / 6, 0.44, 0.97, 6),
        estimate(0.5, 0.19, 0.81, 6),
        estimate(0.33, None, None, 6),
    )
    assert "classifies 5 of 6 (0.83, 0.44 to 0.97) correctly under the paper's protocol (epoch chosen" in few
    assert "and 3 of 6 (0.50, 0.19 to 0.81) as the leak-free twin" in few
    assert "too small to say much: the difference is 0.33, without an interval; neither is shown" in few
    assert "is not a leak" in few
    many = sentence_of(
        content,
        estimate(0.6, 0.5, 0.7, 100),
        estimate(0.8, 0.7, 0.9, 100),
        estimate(-0.2, -0.3, -0.1, 100),
    )
    assert "The difference is -0.20 (-0.30 to -0.10); the first is not shown to be better than always" in many
    assert "too small" not in many
    assert "is not a leak" not in many


def test_the_top_and_the_table_of_tests_hold_the_same_numbers(replicated):
    study, content, _, _ = replicated
    found = content["models"][0]["tests"]["together"]["by_case"]
    for kind in ("paper", "twin"):
        accuracy = found[kind]["accuracy"]
        assert f"{round(accuracy['value'] * accuracy['n'])} of {accuracy['n']} (" in content["tests_sentence"]
    page = (study.folder.root / "replicate/zuo2021/index.html").read_text(encoding="utf-8")
    assert "On the 2 test cases, not used for training under either protocol" in page


def test_the_four_differences_of_the_twin_are_told_with_numbers(replicated):
    study, content, _, _ = replicated
    (fold,) = content["models"][0]["twin"]["folds"]
    split, learnt, epoch, judged = content["twin_differs"]
    assert "after augmentation" in split
    assert f"uses {fold['train_patients']} patients" in learnt
    assert f"{fold['choose_patients'] + fold['judge_patients']} fewer" in learnt
    assert f"lowest loss on {fold['choose_patients']} patients" in epoch
    assert judged == "Tested on. Paper's protocol: 24 augmented copies. Twin: original slices."
    assert f"training patients ({fold['train_patients']} against" in content["summary"]
    assert "Shuffled labels isolate the leak" in content["isolated"]
    assert sentences.isolated(with_control=False).endswith("They were not run here.")
    page = (study.folder.root / "replicate/zuo2021/index.html").read_text(encoding="utf-8")
    assert page.count("A training of the twin uses") == 1
    for wrong in ("amplif", "LEAKY epoch", "only the leak", "Only the leak", "the split alone"):
        assert wrong not in page


def one_sided_as(paper, *folds):
    return SimpleNamespace(
        model="resnet34", paper=SimpleNamespace(one_sided=paper), twin=SimpleNamespace(one_sided=folds)
    )


def test_a_network_with_one_answer_is_named():
    """Each training of the twin for itself: joined folds hide networks of one answer each, but not the same."""
    said = sentences.one_sided_sentence
    assert "the same subtype by ResNet-34 (paper's protocol)." in said([one_sided_as(True, False)])
    assert "ResNet-34 (twin in 2 of 3 folds)." in said([one_sided_as(False, True, False, True)])
    assert "ResNet-34 (twin)." in said([one_sided_as(False, True)])
    assert not said([one_sided_as(False, False)])


def test_one_answer_is_found_in_the_calls():
    def judged(*called):
        return SimpleNamespace(rows=SimpleNamespace(called=np.array(called)))

    assert has_one_answer(judged(1, 1, 1))
    assert not has_one_answer(judged(1, 0, 1))


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (one_sided_as(False, True, False), ""),
        (one_sided_as(True, False), " That network assigns every image to the same subtype"),
        (
            one_sided_as(False, True, True),
            " Each network of the twin assigns every image to the same subtype",
        ),
        (
            one_sided_as(True, True),
            " That network, like each network of its twin, assigns every image to the same subtype",
        ),
    ],
)
def test_the_top_sentence_does_not_take_shares_for_the_leak(replicated, network, told):
    said = sentences.shares_alone(network)
    assert said.startswith(told)
    assert bool(said) == bool(told)
    content = json.loads(json.dumps(replicated[1]))
    (best,) = content["models"]
    best["paper"]["one_sided"] = network.paper.one_sided
    best["twin"]["one_sided"] = list(network.twin.one_sided)
    assert said in sentences.summary(typed(content))


def test_converged_and_one_answer_stand_apart_in_the_table(replicated):
    content = json.loads(json.dumps(replicated[1]))
    network = content["models"][0]
    network["paper"] |= {"converged": True, "one_sided": True, "best_epoch": 1}
    network["twin"] |= {"converged": [True, False, False], "one_sided": [False, True, False]}
    table = validation_table(typed(content))
    assert table.rows[0][2].small.startswith("calls one subtype · best epoch 1")
    assert table.rows[0][3].small.startswith("3 folds, 2 did not converge, 1 calls one subtype · n =")
    assert "whether the network converged or not" in table.notes[-1]


@pytest.mark.parametrize(("patients", "warned"), [((5, 5), False), ((5, 4), True)])
def test_few_patients_stand_beside_a_p(replicated, patients, warned):
    content = json.loads(json.dumps(replicated[1]))
    for network in content["models"]:
        for key in ("by_image_paper", "by_case_twin"):
            found = dict(zip(("PRCC", "ChRCC"), patients, strict=True))
            network["tests"]["together"]["roc"][key]["patients_by_subtype"] = found
    table = area_table(typed(content))
    assert table.rows[1][1].small == f"patients: {patients[0]} PRCC, {patients[1]} ChRCC"
    assert any("a small p there shows nothing" in note for note in table.notes) == warned


def test_hours_are_the_seconds_of_all_epochs(replicated):
    study, content, _, _ = replicated
    arms = list((study.folder.root / "replicate/zuo2021/arms").glob("*/arm.json"))
    seconds = [row["seconds"] for path in arms for row in content_of(path)["epochs"]]
    assert content["trainings"] == len(arms) == 4
    assert content["hours"] == pytest.approx(sum(seconds) / 3600, abs=1e-4)
    two_hours = replace(typed(content), hours=2.04, trainings=8)
    (network,) = two_hours.models
    on_cpu = replace(network, resources=replace(network.resources, device="cpu", threads=2))
    said = sentences.hours_sentence(replace(two_hours, models=(on_cpu,)))
    assert said == (
        "Training took 2 h 2 min in all (8 trainings, all their epochs with validation) on CPU, 2 threads."
    )
    assert "Training took 36 s in all" in sentences.hours_sentence(replace(two_hours, hours=0.01))


def test_no_p_is_told_with_its_reason(replicated):
    content = json.loads(json.dumps(replicated[1]))
    test = content["readers"][0]["against"][0]
    test |= {"p": None, "method": "patients have several of the cases"}
    assert reader_table(typed(content)).rows[0][-1] == Cell("none", "patients have several of the cases")
    roc = content["models"][0]["tests"]["together"]["roc"]["by_case_twin"]
    roc["clustered"] = {"estimate": estimate(1.0, None, None, 4, "no interval: without variance (X)")}
    roc["clustered"]["p_against_half"] = None
    row = area_table(typed(content)).rows[2]
    assert row[-1] == Cell("none", "no variance to test with")
    assert row[-2].small == "n = 4 cases · no interval: without variance"


def test_both_points_of_each_network_and_of_shuffled_labels_are_drawn(replicated):
    _, content, _, _ = replicated
    left, right = comparison_figure(typed(content).models, typed(content).shuffled, {}, []).axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names == ["ShuffleNetV2,\nlabels shuffled", "ShuffleNetV2"]
    for axes, name in ((left, "accuracy"), (right, "auc")):
        of = (content["models"][0], content["shuffled"])
        wanted = [n["paper"]["validation"][name]["value"] for n in of]
        wanted += [n["twin"]["by_image"][name]["value"] for n in of]
        drawn = [
            line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())
        ]
        assert sorted(drawn) == sorted(v for v in wanted if v is not None)
        chance = [0.5, 0.5] in [list(line.get_xdata()) for line in axes.lines]
        assert chance == (name == "auc")


def test_an_old_readers_result_is_not_taken_for_a_new_one(replicated):
    study, _, _, _ = replicated
    path = study.folder.root / "readers" / "readers.json"
    made = digests_of(study.folder, study.cohort.label_digest, study.settings.evaluation, [], False)
    held = {"format": 1, "readers": [{"name": "A"}], "made_from": made}
    save_json(path, held)
    assert scored_readers(study.snapshot) == "The study has scored readers (A), see readers/readers.json."
    save_json(path, held | {"made_from": made | {"[evaluation]": "old", "splits.json": "old"}})
    assert scored_readers(study.snapshot).endswith(
        "is older than its [evaluation], splits.json: run `nephroscope readers` again."
    )
    path.unlink()
    assert scored_readers(study.snapshot) == ""


def test_the_papers_percentages_are_its_counts():
    for row in printed.MODELS.values():
        if "accuracy" in row.validation:
            k, n = row.validation["accuracy"]
            assert row.validation_accuracy == pytest.approx(k / n, abs=5e-7)
    sensitivity, specificity = (
        printed.MODELS["mobilenet_v2"].validation[n] for n in ("sensitivity", "specificity")
    )
    assert sensitivity[0] / sensitivity[1] == pytest.approx(0.993794, abs=5e-7)
    assert specificity[0] / specificity[1] == pytest.approx(0.940271, abs=5e-7)
    assert sensitivity[1] + specificity[1] == 4560


def arm_of(study, options):
    folder = study.folder.root / "replicate" / "zuo2021"
    return make_parts(make_setup(study.snapshot, options), folder)[0].arm.folder


def test_damaged_answers_are_made_again_and_damaged_networks_refused(replicated):
    study, content, options, calls = replicated
    folder = arm_of(study, options)
    for path in (*folder.glob("*.npy"), folder / "timing.json"):
        path.write_bytes(b"cut")
    assert (
        as_plain(study.replicate_zuo2021(options, calls))["models"][0]["paper"]
        == content["models"][0]["paper"]
    )
    for name, message in (
        ("arm.json", "JSON object with a format number"),
        ("model.onnx", "the trained network"),
    ):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(b"{")
        for path in folder.glob("*.npy"):
            path.unlink()
        with pytest.raises(StudyError, match=f"{message}.*delete the folder {folder.name}"):
            study.replicate_zuo2021(options, calls)
        (folder / name).write_bytes(whole)


def test_readers_calls_of_other_cases_are_left_aside(replicated, tmp_path):
    study, content, options, calls = replicated
    other = next(
        c for c in study.cohort.cases if c.case_id not in {row["case_id"] for row in content["cases"]}
    )
    line = f"{other.case_id},A,{other.subtype}\n"
    (tmp_path / "all.csv").write_text(calls.read_text() + line)
    assert as_plain(study.replicate_zuo2021(options, tmp_path / "all.csv"))["readers"] == content["readers"]
    (tmp_path / "none.csv").write_text(f"case_id,reader,call\n{line}")
    with pytest.raises(CohortError, match="found only calls of development cases"):
        study.replicate_zuo2021(options, tmp_path / "none.csv")


# refusals


def test_an_empty_list_of_models_is_not_all_six(replicated, capsys):
    assert run(["replicate", "zuo2021", str(replicated[0].folder.root), "--models", ","]) == 2
    assert "--models: expected one or more networks, found none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"models": ("mobilenet",)},
            r"--models: expected one of .*found 'mobilenet'; did you mean mobilenet_v2\?",
        ),
        ({"models": ()}, "--models: expected one or more networks, found none"),
        ({"epochs": 0}, "--epochs: expected a whole number, 1 or more, found 0"),
        ({"twin_folds": 0}, "--twin-folds: expected a whole number, 1 or more, found 0"),
        ({"images_per_epoch": 1}, "--images-per-epoch: expected a whole number, 2 or more, found 1"),
        ({"images_per_epoch": -5}, "--images-per-epoch"),
        ({"seed": -1}, "--seed: expected a whole number, 0 or more"),
        ({"shuffled_model": "vgg"}, "--shuffled-model: expected one of"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        ReplicateOptions(**options)


def test_studies_that_cannot_be_used(data):
    cohort, store = data
    three = replace(cohort, subtypes=("PRCC", "ChRCC", "oncocytoma"))
    with pytest.raises(CohortError, match="expected two subtypes, as in the paper, found 3"):
        make_setup(snapshot_of(three, store), OPTIONS)
    few = tuple(c for c in cohort.cases if c.subtype == "PRCC" or c.case_id in ("c01", "c03"))
    with pytest.raises(
        CohortError, match=r"at least 3 development patients of each subtype.*found 1 of ChRCC"
    ):
        make_setup(snapshot_of(replace(cohort, cases=few), store), OPTIONS)
    with pytest.raises(CohortError, match="split into 30 folds: expected at least 30 development patients"):
        make_parts(make_setup(snapshot_of(cohort, store), replace(OPTIONS, twin_folds=30)), store.folder)


def test_slices_that_were_not_cut_are_asked_for(replicated, tmp_path, capsys):
    study, _, _, _ = replicated
    shutil.copytree(
        study.folder.root, tmp_path / "study", ignore=shutil.ignore_patterns("slices", "replicate")
    )
    assert run(["replicate", "zuo2021", str(tmp_path / "study")]) == 2
    assert "run `nephroscope slices`" in capsys.readouterr().err


def test_a_wrong_table_of_readers_is_refused_before_training(replicated, tmp_path, monkeypatch):
    study, _, options, _ = replicated
    (tmp_path / "calls.csv").write_text("case_id,reader,call\nnobody,A,PRCC\n")
    monkeypatch.setattr("nephroscope.questions.replicate.experiment.train_all", None)
    with pytest.raises(CohortError, match=r"calls\.csv"):
        study.replicate_zuo2021(options, tmp_path / "calls.csv")


def test_known_tests_are_test_cases_alone(data):
    setup = make_setup(snapshot_of(*data), OPTIONS)
    assert set(known_cases(setup, setup.tests).truth) == set(setup.tests)
    assert Patients.of(["a"], np.array([0])).n == 1
    assert callable(train_all)


@pytest.fixture(scope="module")
def done(replicated):
    """The finished replication with what its figures are drawn from; nothing is trained again."""
    study, _, options, calls = replicated
    folder = study.folder.root / "replicate" / "zuo2021"
    return replicate(study.snapshot, options, folder, calls)


def without_epochs(found):
    def bare(network):
        nothing = tuple(() for _ in network.twin.epochs)
        return replace(
            network, paper=replace(network.paper, epochs=()), twin=replace(network.twin, epochs=nothing)
        )

    return replace(found, models=tuple(bare(network) for network in found.models))


def of_one_class(judged):
    return replace(judged, rows=replace(judged.rows, truth=np.zeros_like(judged.rows.truth)))


MISSING = {
    "nothing": lambda done: done,
    "interval": lambda done: replace(done, found=without(done.found, "interval")),
    "value": lambda done: replace(done, found=without(done.found, "value")),
    "epochs": lambda done: replace(done, found=without_epochs(done.found)),
    "readers": lambda done: replace(done, found=replace(done.found, readers=())),
    "curves": lambda done: replace(done, curves={model: {} for model in done.curves}),
    "a class": lambda done: replace(
        done,
        curves={
            model: {what: of_one_class(judged) for what, judged in drawn.items()}
            for model, drawn in done.curves.items()
        },
    ),
}


@pytest.mark.parametrize("part", MISSING)
def test_every_figure_is_drawn_without(done, part):
    page = page_of(ReplicateSource(done=MISSING[part](done), findings=()))
    figures = {name: svg_of(draw(), name) for name, draw in page.figures.items()}
    assert "figure2-copies" in figures
    html = render(page, figures)
    assert ">None<" not in html
    assert "None to" not in html
