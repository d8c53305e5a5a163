import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.clinic.session import NetworkSession
from nephroscope.learning.engine.runs import train_in
from nephroscope.learning.networks.networks import build_network
from nephroscope.learning.run_files import Compute, run_config, started_run
from nephroscope.learning.training import speed
from nephroscope.learning.training.batches import draw_epoch, labelled_slices
from nephroscope.learning.training.checkpoint import (
    first_state,
    fit_in_folder,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from nephroscope.learning.training.device import compute_dtype, threads
from nephroscope.learning.training.fit import (
    Epoch,
    FoldTask,
    balanced,
    class_weights,
    converged,
    count_hits,
    fit,
    measure_batch_norm,
    new_state,
    prior_shift,
    set_learning_rate,
    settle_batch_norm,
    train_step,
    validate,
)
from nephroscope.learning.training.run import give_more_epochs, open_run_folder
from nephroscope.records import TrainConfig, with_recipe
from nephroscope.study.snapshot import Snapshot
from small_study import SPEC, make_cohort, make_store, split_of

CONFIG = TrainConfig(model="shufflenet_v2_x1_0", epochs=2, batch_size=8, learning_rate=1e-3, precision="fp32")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    cohort = make_cohort(12)
    store = make_store(tmp_path_factory.mktemp("slices"), cohort)
    return Snapshot.of(cohort, store, split_of(cohort, store, folds=2))


def task_of(snapshot, **changed):
    fold = snapshot.split.folds[0]
    config = replace(CONFIG, **changed)
    return FoldTask(
        fold=0,
        train=labelled_slices(snapshot.slices, snapshot.cohort, fold.train),
        validation=labelled_slices(snapshot.slices, snapshot.cohort, fold.validation),
        n_subtypes=2,
        config=config,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def weights_of(folder, fold=0):
    return (folder / f"fold-{fold}" / "weights.safetensors").read_bytes()


def test_run_is_complete_and_learns(tmp_path, snapshot):
    run = train_in(tmp_path / "run", snapshot, replace(CONFIG, epochs=6))
    assert run.converged
    lines = (tmp_path / "run" / "fold-0" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["train_loss"] for line in lines]
    assert losses[-1] < losses[0]
    for name in ("config.json", "split.json", "environment.json", "run.json", "fold-1/model.onnx"):
        assert (tmp_path / "run" / name).is_file()
    assert not list((tmp_path / "run").rglob("checkpoint*"))


def test_same_seed_same_weights_and_other_seed_others(tmp_path, snapshot):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_in(tmp_path / name, snapshot, replace(CONFIG, epochs=1, seed=seed))
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")
    assert weights_of(tmp_path / "a") != weights_of(tmp_path / "c")


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_stopped_after_an_epoch_and_resumed_ends_with_the_same_weights(
    tmp_path, snapshot, precision, monkeypatch
):
    config = replace(CONFIG, epochs=3, precision=precision)
    train_in(tmp_path / "whole", snapshot, config)

    def stop(path, state, save=save_checkpoint):
        save(state, path) if isinstance(path, Path) else save(path, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nephroscope.learning.training.checkpoint.save_checkpoint", stop)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                train_in(tmp_path / "part", snapshot, config)
    assert not (tmp_path / "part" / "run.json").exists()
    train_in(tmp_path / "part", snapshot, config)
    for fold in (0, 1):
        assert weights_of(tmp_path / "part", fold) == weights_of(tmp_path / "whole", fold)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from dataclasses import replace
from small_study import make_cohort, split_of
from nephroscope.study.slices import open_store
from test_training import CONFIG
from nephroscope.learning.engine.runs import train_in
from nephroscope.study.snapshot import Snapshot
cohort, store = make_cohort(12), open_store(Path({store!r}))
split = split_of(cohort, store, folds=2)
train_in(Path({run!r}), Snapshot.of(cohort, store, split), replace(CONFIG, epochs=3))
"""


def test_killed_and_resumed_ends_with_the_same_weights(tmp_path):
    """SIGKILL as soon as the first checkpoint is there, wherever that hits; then resume in a new process."""
    make_store(tmp_path / "slices", make_cohort(12))

    def start(run):
        tests = str(Path(__file__).parent)
        code = KILLED.format(tests=tests, store=str(tmp_path / "slices"), run=str(tmp_path / run))
        return subprocess.Popen([sys.executable, "-c", code])

    whole = start("whole")
    assert whole.wait(120) == 0
    victim = start("part")
    deadline = time.monotonic() + 120
    while not (tmp_path / "part" / "fold-0" / "checkpoint.safetensors").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait(30)
    assert not (tmp_path / "part" / "run.json").exists()
    assert start("part").wait(120) == 0
    for fold in (0, 1):
        assert weights_of(tmp_path / "part", fold) == weights_of(tmp_path / "whole", fold)


def test_run_of_other_inputs_is_not_resumed(tmp_path, snapshot):
    train_in(tmp_path / "run", snapshot, replace(CONFIG, epochs=1))
    with pytest.raises(StudyError, match="expected the same config as when it was started"):
        train_in(tmp_path / "run", snapshot, replace(CONFIG, epochs=2))


def test_damaged_weights_are_refused(tmp_path, snapshot):
    network = build_network("shufflenet_v2_x1_0", 2, SPEC)
    path = tmp_path / "run" / "fold-0" / "weights.safetensors"
    save_weights(network, path)
    with pytest.raises(StudyError, match="expected the weights of this run's network"):
        load_weights(build_network("mobilenet_v2", 2, SPEC), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StudyError, match=r"run/fold-0/weights.safetensors"):
        load_weights(network, path)
    with pytest.raises(StudyError, match="expected the weights of this run's network"):
        load_checkpoint(new_state(network, task_of(snapshot)), path)


def test_epoch_is_every_slice_once_or_so_many_of_a_case(snapshot):
    slices = task_of(snapshot).train
    all_of_them = np.concatenate(draw_epoch(slices, 0, 8, np.random.default_rng(0)))
    assert sorted(all_of_them) == list(range(len(slices)))
    two = np.concatenate(draw_epoch(slices, 2, 8, np.random.default_rng(0)))
    assert (np.bincount(slices.cases[two]) == 2).all()
    assert [len(batch) for batch in draw_epoch(slices, 0, len(slices) - 1, np.random.default_rng(0))] == [
        len(slices) - 1
    ]


def test_image_names_choose_slices(snapshot):
    chosen = labelled_slices(snapshot.slices, snapshot.cohort, frozenset({"c01#2", "c00#4"}))
    assert snapshot.slices.case_ids[chosen.rows].tolist() == ["c00", "c01"]
    assert snapshot.slices.slice_index[chosen.rows].tolist() == [4, 2]
    assert chosen.labels.tolist() == [0, 1]


def test_validation_loss_is_the_mean_over_cases(snapshot):
    """One case with 4 slices and one with 1: both count the same."""
    names = frozenset({"c00#1", "c00#2", "c00#3", "c00#4", "c01#1"})
    task = task_of(snapshot, class_weights=False)
    task = replace(task, validation=labelled_slices(snapshot.slices, snapshot.cohort, names))
    network = build_network("shufflenet_v2_x1_0", 2, SPEC)
    loss, hits = validate(task, network)
    network.eval()
    hu, labels = task.validation.load(np.arange(5), task.device)
    with torch.inference_mode():
        single = torch.nn.functional.cross_entropy(network(hu), labels, reduction="none")
    assert loss == pytest.approx(float((single[:4].mean() + single[4]) / 2), abs=1e-5)
    assert hits[1].tolist() == [4, 1]


def test_class_weights_make_subtypes_equal(snapshot):
    task = task_of(snapshot)
    labels = np.array([0, 0, 0, 1])
    task = replace(task, train=replace(task.train, labels=labels, rows=task.train.rows[:4]))
    weights = class_weights(task)
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])
    paper = replace(task, config=replace(task.config, recipe="zuo2021", class_weights=True))
    assert class_weights(paper).tolist() == pytest.approx([4 / 6, 2.0, 1.0])
    assert class_weights(replace(task, config=with_recipe(task.config, "zuo2021"))) is None


def imbalanced(snapshot, **changed):
    """Four cases of one slice, three of the first subtype."""
    task = task_of(snapshot, **changed)
    labels, cases = np.array([0, 0, 0, 1]), np.arange(4)
    return replace(task, train=replace(task.train, labels=labels, cases=cases, rows=task.train.rows[:4]))


def test_probabilities_are_put_back_to_the_prevalence_of_the_training_cases(snapshot):
    """A network that learned with weights and knows nothing answers 1/2; put back, it answers 3/4 and 1/4."""
    shift = prior_shift(imbalanced(snapshot))
    assert torch.softmax(shift, 0).tolist() == pytest.approx([0.75, 0.25])
    twice = imbalanced(snapshot)
    more = replace(twice.train, cases=np.array([0, 0, 0, 1]))  # three slices of one case: cases count
    assert prior_shift(replace(twice, train=more)).tolist() == pytest.approx([0.0, 0.0])
    paper = replace(twice, config=replace(twice.config, recipe="zuo2021"))
    assert prior_shift(paper)[2] == 0  # the spare output
    assert prior_shift(imbalanced(snapshot, class_weights=False)) is None
    assert (
        prior_shift(replace(twice, keeps_prior=False)) is None
    )  # a run of an older version goes on as it was


def test_what_is_kept_of_a_network_has_the_prevalence_and_its_validation_loss_is_of_that(tmp_path, snapshot):
    task = imbalanced(snapshot, epochs=1)
    state = first_state(task, SPEC)
    for _ in fit_in_folder(tmp_path / "fold-0", task, state):
        pass
    kept = build_network("shufflenet_v2_x1_0", 2, SPEC)
    load_weights(kept, tmp_path / "fold-0" / "weights.safetensors")
    changed = [
        name for name, w in kept.state_dict().items() if not torch.equal(w, state.network.state_dict()[name])
    ]
    assert [name.endswith("output.bias") for name in changed] == [True]
    plain = replace(task, config=replace(task.config, class_weights=False))
    assert validate(plain, kept)[0] == pytest.approx(state.history[0].validation_loss, rel=1e-5)


def test_learning_rate_warms_up_and_falls_to_zero(snapshot):
    task = task_of(snapshot, epochs=10, learning_rate=0.1, warmup=0.2)
    state = new_state(build_network("shufflenet_v2_x1_0", 2, SPEC), task)
    rates = []
    for step in range(100):
        state.step = step
        rates.append(set_learning_rate(task, state, 10))
    assert rates[0] < 0.01
    assert max(rates) == rates[20] == pytest.approx(0.1)
    assert rates[-1] < 0.001
    assert state.optimizer.param_groups[0]["lr"] == rates[-1]
    paper = task_of(snapshot, **{"epochs": 10, "schedule": "constant", "warmup": 0.0, "learning_rate": 0.005})
    assert set_learning_rate(paper, state, 10) == 0.005


def test_recipe_of_the_paper():
    config = with_recipe(TrainConfig(model="resnet34", epochs=7, seed=3), "zuo2021")
    assert (config.learning_rate, config.batch_size, config.schedule) == (0.005, 24, "constant")
    assert (config.model, config.epochs, config.seed, config.pretrained) == ("resnet34", 7, 3, False)
    assert with_recipe(config, "default") == TrainConfig(model="resnet34", epochs=7, seed=3)


def test_batch_norm_forgets_its_start():
    """After k steps the running mean is the plain mean of what was seen, not a mix with zero."""
    layer = torch.nn.BatchNorm2d(1).train()
    for step, value in enumerate([1.0, 2.0, 6.0]):
        settle_batch_norm(layer, step)
        layer(torch.full((2, 1, 4, 4), value))
    assert layer.running_mean.item() == pytest.approx(3.0)
    settle_batch_norm(layer, 10)
    assert layer.momentum == pytest.approx(0.1)


def epoch(number, validation_loss=1.0, train_accuracy=0.9, train_loss=1.0):
    return Epoch(
        epoch=number,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        validation_loss=validation_loss,
        validation_accuracy=0.5,
        learning_rate=0.1,
        seconds=1.0,
    )


def test_stops_when_patience_ends_or_the_loss_is_no_number(snapshot):
    task = task_of(snapshot, epochs=10, patience=2)
    state = new_state(build_network("shufflenet_v2_x1_0", 2, SPEC), task)
    state.history = [epoch(1, 0.5), epoch(2, 0.7)]
    assert not task.is_finished(state)
    state.history.append(epoch(3, 0.6))
    assert task.is_finished(state)
    assert state.best.epoch == 1
    state.history = [epoch(1, train_loss=float("nan"), validation_loss=float("nan"))]
    assert task.is_finished(state)
    assert state.best is None


def test_a_run_whose_validation_loss_exploded_did_not_converge():
    """What guesses two subtypes has a loss of 0.69; 6e8 is no worse guess but another thing."""
    assert not converged([epoch(1, validation_loss=6e8)], 2)
    assert not converged([epoch(1, train_loss=30.0)], 2)
    assert converged([epoch(1, validation_loss=6e8), epoch(2, validation_loss=1.5)], 2)


def test_a_run_that_never_beats_chance_did_not_converge():
    assert not converged([epoch(1, train_accuracy=0.5), epoch(2, train_accuracy=0.54)], 2)
    assert converged([epoch(1, train_accuracy=0.5), epoch(2, train_accuracy=0.6)], 2)
    assert not converged([epoch(1, train_accuracy=0.9, train_loss=float("inf"))], 2)
    assert not converged([], 2)


def test_balanced_accuracy_of_hits():
    hits = count_hits(torch.tensor([[2.0, 1, 9], [0, 1, 9], [1, 0, 9]]), torch.tensor([0, 1, 1]), 2)
    assert hits.tolist() == [[1, 1], [1, 2]]
    assert balanced(hits) == pytest.approx(0.75)
    assert balanced(torch.tensor([[3.0, 0], [4, 0]])) == pytest.approx(0.75)


def test_exploding_run_ends_and_says_so(tmp_path, snapshot):
    run = train_in(tmp_path / "run", snapshot, replace(CONFIG, learning_rate=1.0, warmup=0.0, seed=5))
    assert (tmp_path / "run" / "run.json").exists()
    for fold in run.folds:  # whatever it learnt, evaluation finds a network, and metrics.jsonl is JSON
        path = tmp_path / "run" / f"fold-{fold.index}"
        assert (path / "model.onnx").exists()
        for line in (path / "metrics.jsonl").read_text().splitlines():
            assert "NaN" not in line
            assert "Infinity" not in line


def test_bf16_where_there_is_none_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    with pytest.raises(ConfigError, match="expected a device that computes in bf16"):
        compute_dtype("bf16", torch.device("cpu"))
    assert compute_dtype("auto", torch.device("cpu")) == torch.float32


def test_a_processor_held_to_avx2_is_not_asked_for_bf16(monkeypatch):
    """It would imitate it: an epoch of the demo took seven times as long."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    for capability, expected in (("AVX2", torch.float32), ("AVX512", torch.bfloat16)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda name=capability: name)
        assert compute_dtype("auto", torch.device("cpu")) == expected


def test_a_torch_that_cannot_say_what_the_processor_has_computes_in_fp32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert compute_dtype("auto", torch.device("cpu")) == torch.float32


def test_a_complete_run_is_given_more_epochs(tmp_path, snapshot):
    """It goes on at its checkpoint, interrupted or not, and the first epochs stay as they were."""
    folder = tmp_path / "run"
    train_in(folder, snapshot, CONFIG, keep_checkpoints=True)
    before = (folder / "fold-0" / "metrics.jsonl").read_text().splitlines()
    longer = give_more_epochs(folder, snapshot, 2)
    assert not (folder / "run.json").exists()
    assert longer == run_config(folder) == replace(CONFIG, epochs=4)
    record = train_in(folder, snapshot, longer)
    after = (folder / "fold-0" / "metrics.jsonl").read_text().splitlines()
    assert after[:2] == before
    assert len(after) == 4
    assert len(record.folds) == 2
    with pytest.raises(StudyError, match=r"expected the file checkpoint.safetensors of each fold"):
        give_more_epochs(folder, snapshot, 1)  # they were not kept this time
    assert (folder / "run.json").exists()


def test_a_run_that_ended_early_is_not_given_more_epochs(tmp_path, snapshot, monkeypatch):
    monkeypatch.setattr("nephroscope.learning.training.fit.validate", lambda *_: (1.0, torch.ones(2, 2)))
    train_in(tmp_path / "run", snapshot, replace(CONFIG, epochs=5, patience=1), keep_checkpoints=True)
    with pytest.raises(StudyError, match="expected a fold that used all its 5 epochs"):
        give_more_epochs(tmp_path / "run", snapshot, 1)
    assert (tmp_path / "run" / "run.json").exists()


def test_a_run_keeps_its_threads(tmp_path, snapshot):
    with threads(2):
        train_in(tmp_path / "whole", snapshot, CONFIG)
        open_run_folder(tmp_path / "part", snapshot, CONFIG)
    with threads(1):
        train_in(tmp_path / "part", snapshot, CONFIG)
        train_in(tmp_path / "other", snapshot, CONFIG)
    assert weights_of(tmp_path / "whole") == weights_of(tmp_path / "part")
    held = [started_run(tmp_path / name).compute.threads for name in ("whole", "part", "other")]
    assert held == [2, 2, 1]


def test_a_network_whose_export_differs_is_trained_all_the_same(tmp_path, snapshot, monkeypatch, caplog):
    logits = NetworkSession.logits
    monkeypatch.setattr(NetworkSession, "logits", lambda self, hu: logits(self, hu) + 0.1)
    train_in(tmp_path / "run", snapshot, replace(CONFIG, epochs=1))
    fold = json.loads((tmp_path / "run" / "fold-0" / "fold.json").read_text())
    assert fold["onnx_apart"] > 0.05 > fold["onnx_allowed"]
    assert "fold-0: ONNX Runtime and torch differ by 0.1" in caplog.text


def test_batch_norm_is_measured_under_the_present_weights(snapshot):
    """After one step the running mean belongs to the weights before it; measured again it is that of the new ones."""
    task = task_of(snapshot)
    state = new_state(build_network("mobilenet_v2", 2, SPEC), task)
    hu, labels = task.train.load(np.arange(8), task.device)
    state.network.train()
    train_step(task, state, hu, labels, None)
    measure_batch_norm(task, state.network)
    layer = next(m for m in state.network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    seen = []
    layer.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0].detach()))
    state.network.eval()
    order = np.random.default_rng(0).permutation(len(task.train))
    for start in range(0, len(order), 8):
        state.network(task.train.load(order[start : start + 8], task.device)[0])
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in seen if len(batch) > 1]).mean(dim=0)
    assert torch.allclose(layer.running_mean, means, atol=1e-5)
    assert layer.momentum == pytest.approx(1.0), "as the first step had it"


@pytest.mark.parametrize(
    ("seconds", "layout"),
    [((1.0, 0.97), "channels last"), ((1.0, 0.8), "contiguous"), ((1.0, 1.5), "channels last")],
)
def test_the_usual_layout_is_left_for_what_is_clearly_quicker(seconds, layout):
    ways = (Compute(threads=1), Compute(threads=1, layout="contiguous"))
    assert speed._chosen("resnet34", ways, seconds).layout == layout


def test_layouts_are_compared_where_a_training_is_long(monkeypatch):
    tried = []
    monkeypatch.setattr(speed._Trial, "step", lambda trial: tried.append(trial))
    config = replace(CONFIG, batch_size=2)
    assert speed.choose_compute(config, 2, SPEC, 100).layout == "channels last"
    assert tried == []
    speed.choose_compute(config, 2, SPEC, 10**6)
    assert len(tried) == 2 * (speed.ROUNDS + 1)


def test_contiguous_weights_learn_and_go_on_to_the_same_bits(tmp_path, snapshot):
    task = replace(task_of(snapshot), layout="contiguous")
    done = [first_state(task, SPEC) for _ in range(2)]
    for _ in fit_in_folder(tmp_path / "whole", task, done[0]):
        pass
    for epoch in fit_in_folder(tmp_path / "part", task, done[1]):
        if epoch is not None:
            break
    state = first_state(task, SPEC)
    for _ in fit_in_folder(tmp_path / "part", task, state):
        pass
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "part")]
    assert weights[0] == weights[1]


def test_fit_gives_each_epoch(snapshot):
    task = task_of(snapshot)
    state = new_state(build_network("shufflenet_v2_x1_0", 2, SPEC), task)
    assert [done.epoch for done in fit(task, state)] == [1, 2]
