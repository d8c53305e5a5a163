"""Maps of known truth, the six networks, the check against random weights, and every way to have no map."""

import base64
import io
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nephroscope.base.errors import RoiError
from nephroscope.base.files import save_json
from nephroscope.learning.networks.networks import SubtypeNetwork, build_network
from nephroscope.learning.networks.saliency import grad_cam, with_random_weights
from nephroscope.learning.run_files import CompleteRun
from nephroscope.learning.score_run import ALL_FOLDS
from nephroscope.learning.training.checkpoint import load_weights, save_weights
from nephroscope.questions.saliency import maps as saliency_run
from nephroscope.questions.saliency.checks import (
    SaliencyOfRun,
    mean_over_patients,
    rank_agreement,
    share_inside,
    shown_map,
    weights_verdict,
)
from nephroscope.questions.saliency.maps import saliency_of_run
from nephroscope.records import (
    Answer,
    Estimate,
    EvaluationConfig,
    SlicePrediction,
    SliceSpec,
    TrainConfig,
)
from nephroscope.report.study import saliency
from nephroscope.report.study.page import page_of, report_json
from nephroscope.report.study.saliency import check_sentences
from nephroscope.study.snapshot import Snapshot
from small_study import SUBTYPES, make_cohort, make_store, read_disc, split_of
from test_report import html_of, html_of_page, make_content

SPEC = SliceSpec(size_px=64, margin_mm=4.0, min_area_mm2=1.0)
MODEL = "shufflenet_v2_x1_0"


class BrightSpot(nn.Module):
    """Built to react to what is bright: the mean of each 8 x 8 block, for the first subtype."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 1, 8, stride=8, bias=False)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1, 2)
        with torch.no_grad():
            self.features.weight.fill_(1 / 192)
            self.fc.weight.copy_(torch.tensor([[1.0], [-1.0]]))

    def forward(self, x):
        return self.fc(torch.flatten(self.avgpool(self.features(x)), 1))


def disc(row, column):
    rows, columns = np.ogrid[:64, :64]
    hu = np.full((1, 64, 64), -150, np.int16)
    hu[0, (rows - row) ** 2 + (columns - column) ** 2 <= 36] = 230
    return hu


@pytest.mark.parametrize(("row", "column"), [(12, 12), (12, 52), (52, 12), (52, 52)])
def test_map_peaks_where_the_network_is_built_to_look(row, column):
    signed, p = grad_cam(SubtypeNetwork(BrightSpot(), SPEC), disc(row, column), np.array([0]), 2)
    shown = shown_map(signed[0], 64)
    at = np.unravel_index(shown.argmax(), shown.shape)
    assert np.abs(np.subtract(at, (row, column))).max() <= 8
    assert shown.max() == 1
    assert shown.min() == 0
    against, _ = grad_cam(SubtypeNetwork(BrightSpot(), SPEC), disc(row, column), np.array([1]), 2)
    np.testing.assert_allclose(against, -signed, rtol=1e-6)  # what speaks for one speaks against the other
    assert p.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", ["mobilenet_v2", MODEL, "efficientnet_b0", "resnet34", "resnet50"])
def test_map_of_each_network_adds_up_to_the_log_odds(name):
    """With a mean over the map and a linear head, the places add up to the log odds less the bias."""
    torch.manual_seed(0)
    network = build_network(name, 2, SPEC)
    hu = np.random.default_rng(1).integers(-160, 240, (2, 64, 64)).astype(np.int16)
    network = with_random_weights(lambda: build_network(name, 2, SPEC), hu, seed=3)
    signed, p = grad_cam(network, hu, np.array([0, 1]), 2)
    assert signed.shape == (2, 2, 2)
    assert np.isfinite(signed).all()
    head = next(m for m in network.modules() if isinstance(m, nn.Sequential) and hasattr(m, "output"))
    bias = head.output.bias.detach().numpy()
    log_odds = np.log(p / (1 - p))[[0, 1], [0, 1]] - (bias - bias[::-1])
    np.testing.assert_allclose(signed.sum(axis=(1, 2)), log_odds, rtol=1e-3, atol=1e-4)


def test_spare_outputs_do_not_count():
    hu = disc(20, 20)
    network = with_random_weights(lambda: build_network(MODEL, 2, SPEC, "zuo2021"), hu, seed=1)
    signed, p = grad_cam(network, hu, np.array([0]), 2)
    assert p.shape == (1, 2)
    with torch.no_grad():
        network.backbone.fc[-1].bias[2] += 50
    again, same = grad_cam(network, hu, np.array([0]), 2)
    np.testing.assert_array_equal(signed, again)
    np.testing.assert_array_equal(p, same)


def test_maps_are_the_same_each_time_and_in_any_batch():
    hu = np.random.default_rng(0).integers(-160, 240, (19, 64, 64)).astype(np.int16)
    hu.flags.writeable = False  # as the store gives them
    network = with_random_weights(lambda: build_network(MODEL, 2, SPEC), hu[:4], seed=0)
    asked = np.arange(19) % 2
    together, _ = grad_cam(network, hu, asked, 2)
    np.testing.assert_array_equal(together, grad_cam(network, hu, asked, 2)[0])
    alone, _ = grad_cam(network, hu[17:18], asked[17:18], 2)
    np.testing.assert_allclose(alone[0], together[17], rtol=1e-3, atol=1e-5)


def test_random_weights_are_others_by_seed_and_leave_the_generator_alone():
    hu = disc(20, 40)

    def build():
        return build_network(MODEL, 2, SPEC)

    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    one, two = (with_random_weights(build, hu, seed).state_dict() for seed in (0, 0))
    other = with_random_weights(build, hu, 1).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["backbone.conv1.0.weight"], other["backbone.conv1.0.weight"])


def test_rank_agreement_by_hand():
    up = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    assert rank_agreement(up, up**2) == [1]
    assert rank_agreement(up, -up) == [-1]
    assert np.isnan(rank_agreement(up, np.zeros_like(up)))


def test_share_inside_by_hand():
    shown = np.array([[[1, 0.5], [0.5, 0]], [[0, 0], [0, 0]]], np.float32)
    roi = np.array([[[True, True], [False, False]]] * 2)
    inside = share_inside(shown, roi)
    assert inside[0] == pytest.approx(0.75)
    assert np.isnan(inside[1])


def test_nothing_for_the_subtype_shows_nothing():
    assert not shown_map(np.full((2, 2), -1, np.float32), 8).any()


def test_mean_over_patients_counts_and_refuses_to_guess():
    config = EvaluationConfig(resamples=200)
    mean = mean_over_patients([0.1, 0.3, float("nan"), 0.2], "rho", config)
    assert (mean.value, mean.n, mean.unit) == (pytest.approx(0.2), 3, "patient")
    assert 0.1 <= mean.low < mean.value < mean.high <= 0.3
    assert "1 without a value left out" in mean.method
    one = mean_over_patients([0.4], "rho", config)
    assert (one.value, one.low, one.n) == (0.4, None, 1)
    none = mean_over_patients([float("nan")], "rho", config)
    assert (none.value, none.n, none.method) == (None, 0, "undefined: no slice has a value")


def figures(random, mirrored):
    low, value, high = random
    size = Estimate(value=value, low=low, high=high, n=9, unit="patient", method="m")
    steady = Estimate(value=mirrored, low=mirrored, high=mirrored, n=9, unit="patient", method="m")
    return {"random": size, "random_size": size, "mirrored": steady}


@pytest.mark.parametrize(
    ("random", "mirrored", "verdict", "words"),
    [
        ((0.1, 0.12, 0.2), 0.6, "depends", "The maps depend on the weights: mean Spearman"),
        ((0.1, 0.12, 0.2), 0.15, "unclear", "Warning: it is unclear whether the maps depend on the weights"),
        ((0.3, 0.45, 0.6), 0.9, "unclear", "Warning: it is unclear"),
        (
            (0.6, 0.7, 0.8),
            0.9,
            "alike",
            "look the same under random weights, so they do not explain the model",
        ),
        ((None, None, None), None, "unknown", "could not be checked"),
    ],
)
def test_check_says_what_was_found(random, mirrored, verdict, words):
    found = figures(random, mirrored)
    assert weights_verdict(found) == verdict
    assert words in check_sentences(found)


@pytest.fixture
def answered(tmp_path):
    """A run of two folds with random weights, and what they answer."""
    cohort = make_cohort(8)
    store = make_store(tmp_path / "slices", cohort, SPEC)
    split = split_of(cohort, store, folds=2)
    folder = tmp_path / "runs" / "tiny"
    config = asdict(TrainConfig(model=MODEL))
    save_json(folder / "config.json", {"format": 1, "training": config, "digests": {}})
    folds = [{"index": fold.index, "converged": True, "best": None, "seconds": 1.0} for fold in split.folds]
    record = {"format": 1, "model": MODEL, "converged": True, "leaky": False, "folds": folds}
    save_json(folder / "run.json", record | {"digests": {"cohort": "", "slices": ""}})
    predictions = []
    for fold in split.folds:
        network = with_random_weights(
            lambda: build_network(MODEL, 2, SPEC), np.asarray(store.hu[:8]), fold.index
        )
        save_weights(network, folder / f"fold-{fold.index}" / "weights.safetensors")
        for case_id in sorted(fold.test):
            rows = store.rows_by_case[case_id]
            _, p = grad_cam(network, np.asarray(store.hu[rows]), np.zeros(len(rows), int), 2)
            slices = tuple(
                SlicePrediction(slice_index=int(store.slice_index[r]), probabilities=tuple(map(float, q)))
                for r, q in zip(rows, p, strict=True)
            )
            mean = p.mean(axis=0)
            predictions.append(
                Answer(
                    case_id=case_id,
                    patient_id=cohort.by_id[case_id].patient_id,
                    probabilities=dict(zip(SUBTYPES, map(float, mean), strict=True)),
                    slices=slices,
                    forced_call=SUBTYPES[int(mean.argmax())],
                    call=None,
                    reason="",
                    fold=fold.index,
                )
            )
    config = EvaluationConfig(resamples=100)
    run = CompleteRun(folder=folder, snapshot=Snapshot.of(cohort, store, split, config))
    return run, predictions


def unreadable(case):
    raise RoiError(where=case.case_id, expected="an ROI", found="none", remedy="draw it")


def test_maps_of_a_run_are_kept_and_a_second_report_computes_nothing(answered, monkeypatch):
    run, predictions = answered
    first = saliency_of_run(run, predictions, {"c00": [1, 2]}, ["c00"], unreadable)
    assert not first.missing
    assert {("c00", 1), ("c00", 2)} <= set(first.signed)
    assert (first.figures["random"].n, first.figures["random"].unit) == (8, "patient")
    assert not first.rois
    assert "inside" not in first.figures
    monkeypatch.setattr(saliency_run, "fold_maps", lambda *_: pytest.fail("computed again"))
    second = saliency_of_run(run, predictions, {"c00": [1, 2]}, ["c00"], read_disc)  # now the CT can be read
    assert all(np.array_equal(second.signed[place], first.signed[place]) for place in first.signed)
    assert second.figures["random"] == first.figures["random"]
    disc_area = second.rois["c00", 2].mean()  # radius 5 in a square of 11 + 2 x 4 mm
    assert disc_area == pytest.approx(81 / 19**2, abs=0.02)
    assert second.figures["inside"].n == 8
    third = saliency_of_run(run, predictions, {"c00": [1, 2]}, ["c00"], unreadable)  # kept as well
    assert third.figures == second.figures


def test_where_the_mean_of_the_networks_answered_the_map_is_the_mean_of_theirs(answered, monkeypatch):
    run, predictions = answered
    monkeypatch.setattr(saliency_run, "exported_folds", lambda _: (0, 1))
    store, known = run.snapshot.slices, predictions[0]
    rows = store.rows_by_case[known.case_id]
    subtype = SUBTYPES.index(known.forced_call)
    maps, chances = [], []
    for index in (0, 1):
        network = build_network(MODEL, 2, SPEC)
        load_weights(network, run.folder / f"fold-{index}" / "weights.safetensors")
        found, p = grad_cam(network, np.asarray(store.hu[rows]), np.full(len(rows), subtype), 2)
        maps.append(found / np.abs(found).max(axis=(1, 2), keepdims=True))
        chances.append(p)
    mean = np.mean(chances, axis=0)
    slices = tuple(
        replace(part, probabilities=tuple(map(float, row)))
        for part, row in zip(known.slices, mean, strict=True)
    )
    held_out = replace(known, fold=ALL_FOLDS, slices=slices)
    wanted = {known.case_id: [part.slice_index for part in slices]}
    found = saliency_of_run(run, [held_out], wanted, [], unreadable)
    assert not found.missing
    for i, part in enumerate(slices):
        assert found.signed[known.case_id, part.slice_index] == pytest.approx(
            np.mean(maps, axis=0)[i], abs=1e-5
        )
    wrong = saliency_of_run(run, [replace(held_out, slices=known.slices)], wanted, [], unreadable)
    assert "within 0.02" in wrong.missing


def test_damaged_file_is_made_again(answered):
    run, predictions = answered
    first = saliency_of_run(run, predictions, {"c00": [1]}, [], unreadable)
    path = run.folder / "saliency" / "maps.npz"
    path.write_bytes(path.read_bytes()[:200])
    again = saliency_of_run(run, predictions, {"c00": [1]}, [], unreadable)
    assert all(np.array_equal(again.signed[place], first.signed[place]) for place in first.signed)


def test_other_weights_than_those_that_answered_are_not_shown(answered):
    run, predictions = answered
    other = with_random_weights(
        lambda: build_network(MODEL, 2, SPEC), np.asarray(run.snapshot.slices.hu[:8]), 99
    )
    with torch.no_grad():
        other.backbone.fc[-1].bias[0] += 5
    save_weights(other, run.folder / "fold-1" / "weights.safetensors")
    found = saliency_of_run(run, predictions, {"c00": [1]}, [], unreadable)
    assert not found.signed
    assert "expected the probabilities of model.onnx on the slices shown, within 0.02" in found.missing


def test_absence_is_told(answered, monkeypatch):
    run, predictions = answered
    path = run.folder / "fold-0" / "weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert (
        "expected the weights of this run's network"
        in saliency_of_run(run, predictions, {"c00": [1]}, [], unreadable).missing
    )
    path.unlink()
    found = saliency_of_run(run, predictions, {"c00": [1]}, [], unreadable)
    assert found.missing == "fold-0/weights.safetensors is not in the run folder"
    monkeypatch.setattr(saliency_run, "find_spec", lambda _: None)
    assert "torch is not installed" in saliency_of_run(run, predictions, {"c00": [1]}, [], unreadable).missing
    assert not (run.folder / "saliency").exists()


def test_page_shows_map_and_outline_or_why_not(monkeypatch):
    content = make_content()

    def found(run, predictions, wanted, outlined, read):
        assert next(iter(wanted)) == predictions[0].case_id  # the worst mistake first
        places = [(case_id, i) for case_id, indices in wanted.items() for i in indices]
        corner, roi = np.array([[1, -1], [-1, -1]], np.float32), np.zeros((32, 32), bool)
        roi[20:28, 20:28] = True
        return SaliencyOfRun(
            signed=dict.fromkeys(places, corner),
            rois={places[0]: roi},
            figures=figures((0.1, 0.12, 0.2), 0.6),
        )

    monkeypatch.setattr(saliency, "saliency_of_run", found)
    told = saliency.with_saliency(content, None, None)
    page = page_of(told)
    html = html_of_page(page)
    assert "The maps depend on the weights" in html
    assert "A research aid, not evidence." in html
    assert any("Saliency maps" in text for text in page.limitations)
    first = next(iter(told.saliency.maps.values()))[0].address
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(first.partition(",")[2]))), int)
    red, _, blue = pixels[1, 1]
    assert red > blue + 60  # orange where the map is
    red, _, blue = pixels[20, 24]
    assert blue > red + 60  # blue on the border of the ROI
    assert np.ptp(pixels[4, 30]) < 25  # gray where neither is
    assert report_json(page, [])["saliency"]["figures"]["random"]["n"] == 9
    monkeypatch.setattr(
        saliency, "saliency_of_run", lambda *_: SaliencyOfRun(missing="torch is not installed")
    )
    without = saliency.with_saliency(content, None, None)
    html = html_of(without)
    assert "No saliency maps: torch is not installed." in html
    assert "where the network looked" not in html
    unlearnt = saliency.with_saliency(make_content(converged=False), None, None)
    assert unlearnt.saliency.text == "No saliency maps: the run did not converge."
