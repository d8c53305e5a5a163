"""The network for several phases: one phase, their order, what is missing, its training and its ONNX file."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nephroscope.base.errors import BundleError, ConfigError, StudyError
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.cut import cut_slices
from nephroscope.clinic.predict import OtherPhase, Phases, predict
from nephroscope.clinic.session import NetworkSession
from nephroscope.facade.phases import by_phase, check_series
from nephroscope.imaging.grid import AIR_HU
from nephroscope.learning.engine.divisions import present_division
from nephroscope.learning.engine.runs import train_in
from nephroscope.learning.networks.networks import build_network
from nephroscope.learning.networks.onnx_file import export_onnx
from nephroscope.learning.networks.phases import network_of
from nephroscope.learning.run_files import CompleteRun
from nephroscope.learning.score_run import fold_scorer
from nephroscope.learning.training import checkpoint
from nephroscope.learning.training.batches import drop_phases, labelled_slices
from nephroscope.questions.compare.measures import first_test_set
from nephroscope.questions.compare.phases import presence_fact, presence_findings
from nephroscope.questions.compare.probe import probe
from nephroscope.records import SliceSpec, TrainConfig, UsedInput
from nephroscope.study.slices import SliceStore
from nephroscope.study.snapshot import Snapshot
from phase_bundle import THREE, WIDTH, bundle_of, made, slices, spec_of
from small_study import SUBTYPES, make_cohort, read_disc, split_of

OF_PHASES = ("vectors", "own", "importance")


def test_untrained_phases_are_averaged_and_trained_ones_have_their_own_layer_and_weight():
    """Logits of each phase alone are put together by hand."""
    torch.manual_seed(1)
    network, hu = network_of("phases", 2, spec_of(*THREE), width=WIDTH).eval(), slices()
    alone = []
    for phase in range(3):
        one = torch.full_like(hu, int(AIR_HU))
        one[:, phase] = hu[:, phase]
        alone.append(one)
    each = torch.stack([network(one) for one in alone])
    assert torch.allclose(network(hu), each.mean(dim=0), atol=1e-5)
    with torch.no_grad():
        network.importance.copy_(torch.tensor([0.0, 0.2, -0.4]))
        network.own[1].fill_(10.0)
    changed = torch.stack([network(one) for one in alone])
    assert torch.allclose(changed[[0, 2]], each[[0, 2]], atol=1e-6)
    assert not torch.allclose(changed[1], each[1], atol=1e-5, rtol=0)
    weights = torch.exp(5 * torch.tensor([0.0, 0.2, -0.4]))
    expected = (changed * weights[:, None, None]).sum(dim=0) / weights.sum()
    assert torch.allclose(network(hu), expected, atol=1e-5)


def test_with_one_phase_it_is_the_network_alone():
    torch.manual_seed(3)
    alone = build_network("mobilenet_v2", 2, SliceSpec(), width=WIDTH)
    torch.manual_seed(3)
    several = network_of("phases", 2, spec_of("nephrographic"), width=WIDTH)
    hu = slices(4, 1)
    for mode in (True, False):
        torch.manual_seed(5)  # dropout
        one = alone.train(mode)(hu)
        torch.manual_seed(5)
        two = several.train(mode)(hu)
        assert torch.allclose(one, two, atol=1e-6, rtol=0)
    assert sum(p.numel() for p in several.parameters()) == sum(p.numel() for p in alone.parameters())


@pytest.mark.parametrize("name", ["phases", "phases-attention"])
def test_the_order_of_phases_does_not_matter(name):
    network, hu = made(name, *THREE), slices()
    hu[1, 2] = AIR_HU
    logits = network(hu)
    order = [2, 0, 1]
    with torch.no_grad():
        for name, values in network.named_parameters():
            if name in OF_PHASES:
                values.copy_(values[order])
    assert torch.allclose(network(hu[:, order]), logits, atol=1e-5)


@pytest.mark.parametrize("name", ["phases", "phases-attention"])
def test_a_missing_phase_takes_no_part(name):
    network, hu = made(name, *THREE), slices()
    hu[:, 2] = AIR_HU
    two = made(name, *THREE[:2])
    state = {key: value[:2] if key in OF_PHASES else value for key, value in network.state_dict().items()}
    two.load_state_dict(state)
    assert torch.allclose(network(hu), two(hu[:, :2]), atol=1e-5)
    network.train()
    alone = network.backbone.features[0][1].running_mean.clone()
    network(hu)
    moved = network.backbone.features[0][1].running_mean - alone
    network.load_state_dict(made(name, *THREE).state_dict())
    network(hu[:, :, :, :])
    assert torch.isfinite(moved).all(), "batch norm sees no air"


@pytest.mark.parametrize("name", ["phases", "phases-attention"])
def test_onnx_computes_the_same_with_phases_missing(name, tmp_path):
    network, hu = made(name, *THREE), slices(5)
    hu[0, 1:], hu[3, 0] = AIR_HU, AIR_HU
    expected = export_onnx(network, 2, hu.numpy(), tmp_path / "model.onnx")
    from nephroscope.clinic.network_file import check_network

    check_network("model.onnx", (tmp_path / "model.onnx").read_bytes())
    session = NetworkSession(tmp_path / "model.onnx")
    assert np.allclose(session.logits(hu.numpy()), expected, atol=1e-4)
    dense = network(hu).detach().numpy()
    assert np.allclose(dense, expected, atol=1e-4)


def test_phases_are_dropped_at_random_and_one_is_always_kept():
    hu = slices(300).float()
    hu[:100, 0] = AIR_HU
    hu[100:200, :2] = AIR_HU
    there = (hu.amax(dim=(2, 3)) > AIR_HU).numpy()
    dropped = drop_phases(hu, np.random.default_rng(0))
    kept = (dropped.amax(dim=(2, 3)) > AIR_HU).numpy()
    assert not (kept & ~there).any()
    assert kept.any(axis=1).all()
    assert 0.3 < kept[200:].mean() < 0.75
    assert kept[200:].sum(axis=1).min() == 1 < kept[200:].sum(axis=1).max()


def test_slices_without_phases_and_other_recipes_are_refused():
    with pytest.raises(ConfigError, match="slices of several phases"):
        network_of("phases", 2, SliceSpec())
    with pytest.raises(ConfigError, match="zuo2021"):
        network_of("phases", 2, spec_of(*THREE), recipe="zuo2021")


# --- training


def phase_store(folder, n_cases=12, n_slices=2, missing=()):
    """Slices of two phases: papillary is dark in both; ``missing`` are pairs (case, phase)."""
    folder.mkdir(parents=True, exist_ok=True)
    cohort = make_cohort(n_cases)
    rng = np.random.default_rng(0)
    spec = spec_of("corticomedullary", "nephrographic")
    n = n_cases * n_slices
    level = np.repeat([60 if case.subtype == "PRCC" else 160 for case in cohort.cases], n_slices)[
        :, None, None
    ]
    phases = {name: (level + rng.normal(0, 25, (n, 32, 32))).astype(np.int16) for name in spec.phases}
    rows = []
    for number, case in enumerate(cohort.cases):
        for index in range(n_slices):
            row = number * n_slices + index
            there = {}
            for name in spec.phases:
                there[f"present_{name}"] = int((case.case_id, name) not in missing)
                if not there[f"present_{name}"]:
                    phases[name][row] = AIR_HU
            rows.append(
                {"case_id": case.case_id, "slice_index": index, "area_mm2": 90, "mm_per_px": 1, **there}
            )
    with (folder / "slices.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    used = {c.case_id: UsedInput(series="ct", phase="corticomedullary", roi="reader-1") for c in cohort.cases}
    store = SliceStore(
        folder=folder,
        hu=phases["corticomedullary"],
        n_cases=n_cases,
        spec=spec,
        source="s",
        digest="d",
        findings=(),
        drawn={},
        used=used,
        phases=phases,
    )
    return cohort, store


def test_a_case_without_any_of_the_phases_is_refused(tmp_path):
    lost = {("c01", "corticomedullary"), ("c01", "nephrographic")}
    cohort, store = phase_store(tmp_path, missing=lost)
    names = frozenset(case.case_id for case in cohort.cases)
    with pytest.raises(StudyError, match=r"case c01: expected a drawn series of one of the phases"):
        labelled_slices(store, cohort, names, store.spec.phases)
    found = labelled_slices(store, cohort, names - {"c01"}, store.spec.phases)
    assert found.load(np.arange(3), torch.device("cpu"))[0].shape == (3, 2, 32, 32)
    assert len(SUBTYPES) == 2


# --- bundle


def test_a_bundle_takes_the_phases_that_there_are(tmp_path):
    bundle = open_bundle(bundle_of(tmp_path / "b", *THREE))
    assert (bundle.format, bundle.scorer.phases) == (5, THREE)
    volume, roi = read_disc(make_cohort(2).by_id["c00"])
    other = replace(volume, hu=volume.hu + np.int16(40))
    both = Phases(
        drawn=THREE[1], others=(OtherPhase(phase=THREE[0], volume=other, roi=replace(roi, case_id="x")),)
    )
    found, _ = predict(bundle, volume, roi, phases=both)
    cut = np.stack([part.hu for part in cut_slices(volume, roi, bundle.spec)])
    brighter = np.stack([part.hu for part in cut_slices(other, roi, bundle.spec)])
    air = np.full_like(cut, AIR_HU)
    by_hand = bundle.scorer.network.probabilities(np.stack([brighter, cut, air], axis=1)).mean(axis=0)
    assert list(found.probabilities.values()) == pytest.approx(by_hand.tolist())
    alone, _ = predict(bundle, volume, roi, phases=Phases(drawn=THREE[1]))
    assert alone.probabilities != found.probabilities
    with pytest.raises(BundleError, match="a CT of one of the phases"):
        predict(bundle, volume, roi)


def test_series_that_would_not_be_used_are_refused():
    both = ("corticomedullary", "nephrographic")
    check_series(["nephrographic"], ["nephrographic"], both)
    check_series([], ["nephrographic"], both, others=["nephrographic"])
    for series, rois, phases in (
        (["nephrographic"], [], ()),
        (["nephrographic", "excretory"], [], both),
        (["nephrographic"], ["corticomedullary"], both),
    ):
        with pytest.raises(ConfigError):
            check_series(series, rois, phases)


def test_series_are_given_by_phase():
    assert by_phase(("arterial=a", "nephrographic=b/c"), "--series") == {
        "corticomedullary": Path("a"),
        "nephrographic": Path("b/c"),
    }
    for wrong in (("arterial",), ("portal=a",), ("arterial=a", "corticomedullary=b")):
        with pytest.raises(ConfigError):
            by_phase(wrong, "--series")


# --- compare


@pytest.mark.parametrize("by_subtype", [True, False])
def test_phases_that_are_missing_by_subtype_are_named_as_a_shortcut(tmp_path, by_subtype):
    cohort = make_cohort(24)
    lacks = (
        [c.case_id for c in cohort.cases if c.subtype == "PRCC"]
        if by_subtype
        else ["c00", "c01", "c06", "c13"]
    )
    cohort, store = phase_store(tmp_path, 24, missing={(name, "nephrographic") for name in lacks})
    snapshot = Snapshot.of(cohort, store, split_of(cohort, store, folds=3))
    division = present_division(snapshot, 0)
    tests = first_test_set(snapshot, division)
    (fact,) = presence_fact(snapshot)
    assert fact.values["c00"] == "corticomedullary"
    found = presence_findings(probe(snapshot, [fact], [], tests, division))
    assert [one.code for one in found] == (["phases-shortcut"] if by_subtype else [])


# --- training


def trained(folder, snapshot, model, epochs=2):
    """Metrics of each epoch of the first fold, and the digest of its weights."""
    config = TrainConfig(model=model, width=WIDTH, epochs=epochs, batch_size=8, seed=4, warmup=0.0)
    record = train_in(folder, snapshot, config)
    lines = (folder / "fold-0" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
    return kept, record.folds[0].files.weights


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    cohort, store = phase_store(
        tmp_path / "slices", missing={("c01", "nephrographic"), ("c02", "corticomedullary")}
    )
    snapshot = Snapshot.of(cohort, store, split_of(cohort, store, folds=2))
    whole = trained(tmp_path / "whole", snapshot, "phases")
    save = checkpoint.save_checkpoint

    def killed(*words):
        save(*words)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", snapshot, "phases")
    monkeypatch.setattr(checkpoint, "save_checkpoint", save)
    assert trained(tmp_path / "killed", snapshot, "phases") == whole
    scored = fold_scorer(CompleteRun(folder=tmp_path / "killed", snapshot=snapshot), snapshot.split.folds[0])
    assert scored.phases == store.spec.phases


def test_one_phase_trains_as_the_network_alone(tmp_path):
    cohort, store = phase_store(tmp_path / "slices", n_cases=8)
    one = ("corticomedullary",)
    store = replace(store, spec=spec_of(*one), phases={one[0]: store.phases[one[0]]})
    snapshot = Snapshot.of(cohort, store, split_of(cohort, store, folds=2))
    alone, _ = trained(tmp_path / "alone", snapshot, "mobilenet_v2", epochs=1)
    several, _ = trained(tmp_path / "several", snapshot, "phases", epochs=1)
    for name, value in alone[0].items():
        assert several[0][name] == pytest.approx(value, abs=1e-6), name
