"""Accuracy against the number of weights: widths, resumable runs, figures and trends whose truth is known."""

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from nephroscope.base.documents import plain_json
from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.cli import run
from nephroscope.cli.capacity import Capacity
from nephroscope.learning.networks.networks import build_network, weights_of
from nephroscope.questions.capacity.result import CapacityFigures
from nephroscope.questions.capacity.runs import (
    CapacityOptions,
    CapacityTrainings,
    Point,
    Trained,
    points_of,
    train_point,
)
from nephroscope.questions.capacity.study import capacity_file
from nephroscope.records import Answer, EvaluationConfig, SliceSpec, SplitConfig, TrainConfig
from nephroscope.report.capacity_figures import capacity_figure
from nephroscope.report.page.drawing import svg_of
from nephroscope.study.folder import StudyFolder
from small_study import content_of, make_cohort
from test_study import CONFIG, make_study

CONFIG_SMALL = EvaluationConfig(resamples=400)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


def test_widths_change_the_weights_as_published():
    """In millions, with 1,000 classes. Sources: the authors' tables of released models, MobileNetV2 (Sandler 2018)
    and ShuffleNetV2 (Ma 2018).
    """
    with_head = {
        ("mobilenet_v2", 1.0): 3.4,
        ("mobilenet_v2", 0.5): 1.95,
        ("shufflenet_v2_x1_0", 1.0): 2.3,
        ("shufflenet_v2_x1_0", 0.5): 1.4,
        ("shufflenet_v2_x1_0", 1.5): 3.5,
    }
    for (model, width), millions in with_head.items():
        assert weights_of(model, 1000, "default", width).trainable / 1e6 == pytest.approx(millions, abs=0.11)


def test_a_width_that_a_network_lacks_is_refused():
    with pytest.raises(
        ConfigError, match=r"training.width, resnet34: expected one of its widths: 1 alone, found 0.5"
    ):
        build_network("resnet34", 2, SliceSpec(), width=0.5)
    with pytest.raises(
        ConfigError, match=r"shufflenet_v2_x1_0: expected one of its widths: 0.5, 1, 1.5, 2, found 0.7"
    ):
        build_network("shufflenet_v2_x1_0", 2, SliceSpec(), width=0.7)
    with pytest.raises(ConfigError, match=r"0.1 to 2, found 3"):
        build_network("mobilenet_v2", 2, SliceSpec(), width=3)
    with pytest.raises(ConfigError, match=r"a width that torchvision has weights for: 1, found 0.5"):
        build_network("mobilenet_v2", 2, SliceSpec(), pretrained=True, width=0.5)
    with pytest.raises(ConfigError, match=r"training.width: expected a number from 0.05 to 10, found 0.0"):
        TrainConfig(width=0.0)


def test_width_one_is_the_configuration_of_before():
    """Runs that were started before there was a width open and go on: same record, same digest."""
    held = asdict(TrainConfig())
    del held["width"]
    assert TrainConfig(**held) == TrainConfig()
    assert TrainConfig().digest == "12311dfabf66b972"  # of the version before
    assert TrainConfig(width=0.5).digest != TrainConfig().digest


def test_options_are_refused():
    with pytest.raises(
        ConfigError, match=r"--widths: expected widths that the networks have .resnet34 1 alone., found 0.5"
    ):
        CapacityOptions(models=("resnet34",), widths=(0.5,))
    with pytest.raises(ConfigError, match=r"--models: expected one or more of mobilenet_v2, .*found 'vgg'"):
        CapacityOptions(models=("vgg",))
    with pytest.raises(ConfigError, match=r"--repeats: expected a number from 1 to 100, found 0"):
        CapacityOptions(repeats=0)
    with pytest.raises(ConfigError, match=r"--models: expected at least one network, found none"):
        CapacityOptions(models=())
    with pytest.raises(ConfigError, match=r"--epochs: expected a number of 1 or more, found 0"):
        CapacityOptions(epochs=0)
    with pytest.raises(ConfigError, match=r"--models: expected at least one network, found none"):
        Capacity(study=Path("study"), models=(",",)).run()


def test_networks_take_part_at_the_widths_they_have():
    points, absent = points_of(CapacityOptions(models=("resnet34", "mobilenet_v2"), widths=(1.0, 0.25, 0.5)))
    assert [p.name for p in points] == ["resnet34", "mobilenet_v2 x0.25", "mobilenet_v2 x0.5", "mobilenet_v2"]
    assert absent == ["resnet34 has no width 0.25, 0.5"]
    points, absent = points_of(CapacityOptions())
    assert len(points) == 9
    assert sum(p.width != 1 for p in points) == 3
    assert absent == []


def predictions(p, truth, tumors_per_patient=1):
    names = ("PRCC", "ChRCC")
    return tuple(
        Answer(
            case_id=f"c{i:03}",
            patient_id=f"p{i // tumors_per_patient:03}",
            probabilities={"PRCC": float(value), "ChRCC": 1 - float(value)},
            slices=(),
            forced_call=names[int(value < 0.5)],
            call=None,
            reason="",
            truth=names[int(label)],
            group="out-of-fold",
        )
        for i, (value, label) in enumerate(zip(p, truth, strict=True))
    )


def trained(width, weights, skill, n=80, converged=(True,), seed=0, tumors=1):
    """A network that separates the subtypes by ``skill`` SD on cases of common difficulty."""
    truth = np.arange(n) % 2
    hard = np.random.default_rng(99).normal(size=n)
    found = []
    for repeat in range(len(converged)):
        noise = np.random.default_rng([seed, repeat, int(1000 * width)]).normal(size=n)
        score = skill * (truth == 0) - skill / 2 + 0.6 * hard + 0.8 * noise
        found.append(predictions(1 / (1 + np.exp(-score)), truth, tumors))
    return Trained(
        point=Point(model="mobilenet_v2", width=width),
        trainable=weights,
        total=weights,
        predictions=tuple(found),
        converged=converged,
        seconds=1.0,
    )


def findings_of(networks, **config):
    return CapacityFigures(networks, make_cohort(4), replace(CONFIG_SMALL, **config)).result()


def result_of(networks, **config):
    return plain_json(findings_of(networks, **config))


def test_a_trend_that_is_there_is_found():
    """AUC 0.58 at 0.1 M weights to 0.96 at 10 M: the slope, its interval, and the corrected pair say so."""
    networks = [trained(w, n, s) for w, n, s in ((0.25, 10**5, 0.3), (0.5, 10**6, 1.2), (1.0, 10**7, 2.6))]
    result = result_of(networks)
    aucs = [point["auc"]["value"] for point in result["points"]]
    assert aucs == sorted(aucs)
    slope = result["trend"]["auc_per_tenfold"]
    assert slope["value"] == pytest.approx((aucs[2] - aucs[0]) / 2, abs=0.02)  # two tenfolds apart
    assert slope["low"] > 0
    assert result["trend"]["p"] < 0.01
    assert result["trend"]["supported"]
    assert result["trend"]["spearman"]["value"] == 1
    assert (slope["n"], slope["unit"]) == (80, "patient")
    (pair,) = result["pairs"]
    assert (pair["heavier"], pair["lighter"], pair["supported"]) == (
        "mobilenet_v2",
        "mobilenet_v2 x0.25",
        True,
    )
    assert any(
        line.startswith("Of these trained networks, the heavier have a higher") for line in result["words"]
    )
    assert "trained once (one seed): the effect of size cannot be separated from chance in training." in (
        " ".join(result["words"])
    )


def test_interval_p_and_words_are_of_one_criterion():
    """Over gaps around what 80 patients can show: 0 outside the interval exactly where p is below 0.05."""
    shown = set()
    for skill in np.linspace(0.5, 2.0, 16):
        networks = [trained(0.25, 10**5, 1.0), trained(0.5, 10**6, 1.0), trained(1.0, 10**7, float(skill))]
        result = result_of(networks)
        trend, (pair,) = result["trend"], result["pairs"]
        slope, gap = trend["auc_per_tenfold"], pair["difference"]
        for e, p, supported in ((slope, trend["p"], trend["supported"]), (gap, pair["p"], pair["supported"])):
            outside = e["low"] > 0 or e["high"] < 0
            shown.add(supported)
            assert supported == (p < 1 - CONFIG_SMALL.confidence)
            assert supported == outside or p == pytest.approx(0.05, abs=0.01)
        assert trend["supported"] == any("the heavier have" in line for line in result["words"])
    assert shown == {True, False}


def test_chance_in_training_stands_beside():
    """With repeats the SD over seeds is told; a network that converged once alone is named."""
    twice = [trained(w, n, 1.2, converged=(True, True)) for w, n in ((0.25, 10**5), (0.5, 10**6))]
    result = result_of([*twice, trained(1.0, 10**7, 1.2, converged=(True, False))])
    sd = result["points"][0]["auc_sd_of_seeds"]
    text = " ".join(result["words"])
    assert f"from other seeds: {sd:.3f} mobilenet_v2 x0.25 (2 trainings), " in text
    assert result["points"][0]["auc_sd_of_seeds_n"] == 2
    assert result["points"][0]["auc_sd_of_seeds_unit"] == "training"
    assert result["points"][-1]["auc_sd_of_seeds_n"] == 1
    assert "mobilenet_v2 was trained once (one seed)" in text
    assert "Each network was trained once" not in text


def test_a_trend_that_is_not_there_is_not_told():
    networks = [trained(w, n, 1.2) for w, n in ((0.25, 10**5), (0.5, 10**6), (1.0, 10**7))]
    result = result_of(networks)
    slope = result["trend"]["auc_per_tenfold"]
    assert slope["low"] < 0 < slope["high"]
    assert not any(pair["supported"] for pair in result["pairs"])
    text = " ".join(result["words"])
    assert "No trend is shown" in text
    assert "are not shown to differ" in text
    assert "A difference that is not shown may still exist" in text


def test_the_interval_of_a_difference_is_that_of_the_same_patients():
    """Twice the same network: the difference is 0 with certainty, whatever each AUC's interval."""
    one = trained(1.0, 10**6, 1.0)
    twin = replace(one, point=Point(model="mobilenet_v2", width=0.5), trainable=10**5)
    (pair,) = result_of([one, twin])["pairs"]
    assert pair["difference"]["value"] == 0
    assert pair["difference"]["low"] is None
    assert pair["p"] is None
    assert not pair["supported"]


def test_auc_agrees_with_the_evaluation_and_repeats_are_averaged():
    from nephroscope.statistics.intervals import delong

    one = trained(1.0, 10**6, 1.0, converged=(True, True))
    each = []
    for cases in one.predictions:
        p = np.array([c.probabilities["PRCC"] for c in cases])
        each.append(delong(p, np.array([c.truth == "PRCC" for c in cases]))[0])
    (point,) = result_of([one])["points"]
    assert point["auc"]["value"] == pytest.approx(np.mean(each))
    assert point["auc_sd_of_seeds"] == pytest.approx(np.std(each, ddof=1))
    assert point["repeats"] == 2
    assert result_of([trained(1.0, 10**6, 1.0)])["points"][0]["auc_sd_of_seeds"] is None


def test_accuracy_of_one_answer_for_all_has_the_interval_of_a_share():
    """40 of 80 right by calling one subtype always: Wilson's 0.39 to 0.61, though no class has any spread."""
    one = trained(1.0, 10**6, 1.0)
    always = tuple(replace(case, forced_call="PRCC") for case in one.predictions[0])
    (point,) = result_of([replace(one, predictions=(always,))])["points"]
    assert point["accuracy"]["value"] == 0.5
    assert (point["accuracy"]["low"], point["accuracy"]["high"]) == pytest.approx((0.39, 0.61), abs=0.02)
    assert point["accuracy"]["method"].endswith("redrawn too")


def test_tumors_of_one_patient_widen_the_interval():
    """Each patient four times over: n counts patients, and the interval is theirs."""
    result = result_of([trained(1.0, 10**6, 1.0, n=80, tumors=4)])
    assert (result["n_cases"], result["n_patients"]) == (80, 20)
    assert result["points"][0]["auc"]["n"] == 20


def test_a_network_that_did_not_converge_has_no_figures():
    networks = [trained(0.5, 10**5, 1.0, converged=(False,)), trained(1.0, 10**6, 1.0)]
    result = result_of(networks)
    lost = result["points"][0]
    assert lost["auc"]["value"] is None
    assert lost["auc"]["method"].startswith("did not converge")
    assert lost["converged"] == 0
    assert result["pairs"] == []
    assert result["trend"]["auc_per_tenfold"]["value"] is None
    assert "mobilenet_v2 x0.5 did not converge" in result["words"][0]
    assert "three or more sizes are needed" in " ".join(result["words"])
    json.dumps(result, allow_nan=False)


def test_without_test_cases_it_is_refused():
    none = replace(trained(1.0, 10**6, 1.0), predictions=((),))
    with pytest.raises(StudyError, match=r"capacity: expected test cases with a known subtype, found none"):
        CapacityFigures([none], make_cohort(4), CONFIG_SMALL)


def test_the_figure_shows_every_network_with_figures():
    networks = [trained(w, n, 1.0) for w, n in ((0.25, 10**5), (0.5, 10**6), (1.0, 10**7))]
    text = svg_of(capacity_figure(findings_of(networks), synthetic=True), "capacity")
    for told in (
        "SYNTHETIC",
        "80 patients",
        "\u00d70.25",
        "\u00d70.5",
        "chance",
        "MobileNetV2",
        "Trainable weights",
    ):
        assert told in text
    none = findings_of([trained(1.0, 10**6, 1.0, converged=(False,))])
    assert "no network converged" in svg_of(capacity_figure(none, synthetic=False), "capacity")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study = make_study(tmp_path_factory.mktemp("made") / "study")
    study.cut_slices()
    study.make_split(SplitConfig(folds=2))
    study.change("training", **asdict(replace(CONFIG, slices_per_case=2)))
    return study


def test_by_command_it_trains_once_and_goes_on(study, capsys, monkeypatch):
    """The lightest ShuffleNet, one epoch, 32 pixels: real training; then nothing is trained a second time."""
    import nephroscope.learning.training.run as training

    root = str(study.folder.root)
    words = [
        "capacity",
        root,
        "--models",
        "shufflenet_v2_x1_0",
        "--widths",
        "0.5",
        "--epochs",
        "1",
        "--json",
    ]
    assert run([*words, "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["networks"] == ["shufflenet_v2_x1_0 x0.5"]
    assert (plan["folds_left"], plan["absent"]) == (2, [])
    assert 0 < plan["seconds_about"] < 60
    assert not (study.folder.root / "capacity").exists()
    real, trained_folds = training._train_fold, []

    def until_the_second(path, *rest):
        if len(trained_folds) == 1:
            raise KeyboardInterrupt
        real(path, *rest)
        trained_folds.append(path)

    monkeypatch.setattr(training, "_train_fold", until_the_second)
    assert run(words) == 130
    capsys.readouterr()
    monkeypatch.setattr(
        training, "_train_fold", lambda path, *rest: (trained_folds.append(path), real(path, *rest))
    )
    assert run(words) == 0
    content = json.loads(capsys.readouterr().out)
    assert len(trained_folds) == len(set(trained_folds)) == 2
    assert [p["trainable"] for p in content["points"]] == [343_842]
    assert content["n_patients"] == 10
    (weights, _) = (study.folder.root / "capacity").glob("runs/*/fold-*/weights.safetensors")
    assert weights.stat().st_size == pytest.approx(
        4 * 351_794, rel=0.05
    )  # what was trained, not only counted
    for ending in ("json", "csv", "svg", "png"):
        assert (study.folder.root / "capacity" / f"capacity.{ending}").stat().st_size > 100
    held = content_of(study.folder.root / "capacity" / "capacity.json")
    made_from = held.pop("made_from")
    assert {"cohort.csv", "slices", "splits.json", "[training]", "[evaluation]"} == set(made_from)
    assert held == content
    file = capacity_file(study.snapshot)
    assert (file.read().n_patients, file.stale()) == (10, ())
    changed = study.snapshot.with_evaluation(replace(study.settings.evaluation, seed=99))
    assert capacity_file(changed).stale() == ("[evaluation]",)
    assert run(words) == 0
    assert len(trained_folds) == 2
    capsys.readouterr()
    assert run([word for word in words if word != "--json"]) == 0
    assert "343,842" in capsys.readouterr().out
    assert study.folder.runs() == []  # `report` and `compare` do not take them for the study's own runs


@pytest.mark.parametrize(
    ("content", "told", "lost"),
    [
        ('{"format": 1}', ", run.json: expected the model, digests and folds", "/run.json"),
        (None, ": expected the file fold-0/model.onnx, found none", ""),
    ],
)
def test_a_damaged_training_is_named_with_a_remedy_of_its_own(study, tmp_path, content, told, lost):
    snapshot = replace(study.snapshot.with_split(study.split()), folder=StudyFolder(tmp_path))
    inputs = CapacityTrainings(snapshot=snapshot, options=CapacityOptions(models=("shufflenet_v2_x1_0",)))
    point = Point(model="shufflenet_v2_x1_0", width=0.5)
    folder = inputs.run_folder(point, 0)
    folder.mkdir(parents=True)
    fold = {"index": 0, "converged": True, "best": {"epoch": 1, "validation_loss": 0.5}, "seconds": 1.0}
    whole = {"format": 1, "model": point.model, "converged": True, "leaky": False, "folds": [fold]}
    whole["digests"] = {"cohort": "a", "slices": "b"}
    (folder / "run.json").write_text(json.dumps(whole) if content is None else content)
    with pytest.raises(StudyError) as refused:
        train_point(inputs, point)
    assert str(refused.value).startswith(f"capacity/runs/{folder.name}{told}")
    assert f"remove capacity/runs/{folder.name}{lost} and start `nephroscope capacity` again" in str(
        refused.value
    )


def test_a_run_of_another_width_can_be_exported(study, tmp_path):
    import shutil

    from nephroscope import Study

    shutil.copytree(study.folder.root, tmp_path / "copy")
    copy = Study(tmp_path / "copy")
    copy.train(replace(CONFIG, width=0.5, slices_per_case=2, epochs=3), name="light")
    bundle = copy.run("light").export(tmp_path / "bundle").folder
    folds = len(copy.split().folds)  # the bundle holds the network of each
    assert (bundle / "model.onnx").stat().st_size == pytest.approx(folds * 4 * 351_794, rel=0.2)


def test_folds_by_image_are_refused(study, capsys, tmp_path):
    import shutil

    from nephroscope import Study

    shutil.copytree(study.folder.root, tmp_path / "leaky")
    leaky = Study(tmp_path / "leaky")
    leaky.make_split(SplitConfig(protocol="image", folds=2))
    assert run(["capacity", str(tmp_path / "leaky"), "--models", "shufflenet_v2_x1_0", "--dry-run"]) == 2
    assert "expected folds by patient, found splits.json by image, LEAKY" in capsys.readouterr().err
