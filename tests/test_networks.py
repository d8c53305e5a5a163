import builtins

import numpy as np
import pytest
import torch

from nephroscope.base.errors import BundleError, ConfigError
from nephroscope.clinic.cut import apply_window
from nephroscope.clinic.network_file import check_network
from nephroscope.clinic.session import NetworkSession
from nephroscope.learning.networks import networks
from nephroscope.learning.networks.layers import describe_layers
from nephroscope.learning.networks.networks import (
    build_network,
    count_parameters,
    describe_networks,
    weights_of,
)
from nephroscope.learning.networks.onnx_file import export_onnx, write_onnx
from nephroscope.learning.networks.table import NETWORKS
from nephroscope.learning.training.speed import memory_of_fit
from nephroscope.records import SliceSpec, TrainConfig


def test_table_1_of_the_paper():
    """Ten of twelve printed numbers, and the two that no such model can have are off by 1,281 and 7."""
    apart = {}
    for entry in describe_networks(2, "zuo2021"):
        for kind in ("trainable", "total"):
            if entry[kind] != entry[f"paper_{kind}"]:
                apart[entry["name"], kind] = entry[f"paper_{kind}"] - entry[kind]
                assert entry["note"]
    assert apart == {("mobilenet_v2", "total"): 1281, ("efficientnet_b0", "total"): 7}


def test_heads_of_both_recipes():
    heads = {entry["name"]: entry["head"] for entry in describe_networks(2, "zuo2021")}
    assert heads["mobilenet_v2"] == "1280 -> 2"
    assert heads["efficientnet_b0"] == "1280 -> 3"
    assert heads["resnet34"] == "512 -> 1024 -> 2"
    assert heads["resnet101"] == "2048 -> 1024 -> 3"
    plain = {entry["name"]: entry["head"] for entry in describe_networks(5, "default")}
    assert plain["resnet101"] == "2048 -> 5"
    assert plain["shufflenet_v2_x1_0"] == "1024 -> 5"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_hu_of_any_number_type(name):
    network = build_network(name, 3, SliceSpec()).eval()
    hu = torch.randint(-1024, 400, (2, 1, 64, 64), dtype=torch.int16)
    with torch.inference_mode():
        assert torch.equal(network(hu), network(hu.float()))
        assert network(hu).shape == (2, 3)


def test_window_is_the_networks_first_step():
    """The same window as `apply_window`: beyond it, HU make no difference."""
    spec = SliceSpec(window_level_hu=50, window_width_hu=300)
    network = build_network("shufflenet_v2_x1_0", 2, spec).eval()
    seen = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    hu = np.random.default_rng(0).integers(-300, 500, (2, 1, 32, 32)).astype(np.int16)
    with torch.inference_mode():
        network(torch.from_numpy(hu))
    gray = seen[0] * network.sd + network.mean
    assert gray.shape == (2, 3, 32, 32)
    for channel in range(3):
        assert np.abs(gray[:, channel].numpy() - apply_window(hu, spec)[:, 0]).max() < 1e-6


def test_counts_are_of_weights_and_batch_norm_statistics():
    layers = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    count = count_parameters(layers)
    assert count.trainable == 2 * 9 + 2 + 4
    assert count.total == count.trainable + 4


def test_unknown_network_and_missing_weights_are_refused(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"expected one of mobilenet_v2.* found 'vgg'"):
        build_network("vgg", 2, SliceSpec())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def no_network(*_args, **_kwargs):
        from urllib.error import URLError

        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    with pytest.raises(ConfigError, match="ImageNet weights, downloaded or in torch's cache"):
        build_network("mobilenet_v2", 2, SliceSpec(), pretrained=True)


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ("default", "mobilenet_v2"),
        ("zuo2021", "resnet34"),
        ("default", "efficientnet_b0"),
        ("zuo2021", "shufflenet_v2_x1_0"),
    ],
)
def test_onnx_computes_what_torch_computes(tmp_path, recipe, name):
    network = build_network(name, 2, SliceSpec(), recipe)
    hu = np.random.default_rng(0).integers(-200, 300, (5, 64, 64)).astype(np.int16)
    logits = export_onnx(network, 2, hu, tmp_path / "model.onnx")
    check_network("model.onnx", (tmp_path / "model.onnx").read_bytes())  # as a bundle is opened
    session = NetworkSession(tmp_path / "model.onnx")
    assert np.abs(session.logits(hu) - logits).max() < 1e-4 * max(1, np.abs(logits).max())
    assert session.logits(hu[:1]).shape == (1, 2)
    p = session.probabilities(hu)
    assert np.allclose(p.sum(axis=1), 1)
    assert np.allclose(p, torch.softmax(torch.from_numpy(logits), 1).numpy(), atol=1e-5)


def test_onnx_that_differs_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(NetworkSession, "logits", lambda self, hu: np.ones((len(hu), 2), np.float32))
    hu = np.zeros((2, 64, 64), np.int16)
    with pytest.raises(BundleError, match=r"ONNX and torch logits within 0.0001 on 2 reference slices"):
        export_onnx(build_network("shufflenet_v2_x1_0", 2, SliceSpec()), 2, hu, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


class Cancels(torch.nn.Module):
    """Adds a large number and takes it away again: fp32 keeps few digits of what is left."""

    def __init__(self):
        super().__init__()
        self.large = torch.nn.Parameter(torch.tensor(1e5))

    def forward(self, hu):
        mean = hu.to(self.large.dtype).mean(dim=(1, 2, 3)) / 300
        left = mean * self.large + mean - mean * self.large
        return torch.stack([left, -left], dim=1)


@pytest.mark.parametrize(("times", "same"), [(5, True), (20, False)])
def test_onnx_may_differ_by_ten_times_what_fp32_itself_loses(tmp_path, monkeypatch, times, same):
    hu = np.random.default_rng(0).integers(-200, 300, (4, 8, 8)).astype(np.int16)
    batch = torch.from_numpy(hu[:, None])
    with torch.no_grad():
        single, double = Cancels()(batch).numpy(), Cancels().double()(batch).numpy()
    own = np.abs(single - double).max()
    assert own > 1e-4
    monkeypatch.setattr(NetworkSession, "logits", lambda self, hu: single + times * own)
    exported = write_onnx(Cancels(), 2, hu, tmp_path / "model.onnx")
    assert exported.is_same is same
    assert exported.allowed == pytest.approx(10 * own, rel=1e-3)


def test_damaged_onnx_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a network")
    with pytest.raises(BundleError, match="a file that ONNX Runtime cannot load"):
        NetworkSession(tmp_path / "model.onnx")


def test_mean_and_sd_are_torchvisions():
    from torchvision.models import MobileNet_V2_Weights

    transforms = MobileNet_V2_Weights.DEFAULT.transforms()
    assert tuple(transforms.mean) == networks.IMAGENET_MEAN
    assert tuple(transforms.std) == networks.IMAGENET_SD


@pytest.mark.parametrize(
    "asked",
    [
        lambda: describe_networks(2, "default"),
        lambda: weights_of("mobilenet_v2", 2, "default", 1.0),
        lambda: describe_layers(2),
        lambda: memory_of_fit(TrainConfig(), 2, SliceSpec()),
    ],
    ids=["describe_networks", "weights_of", "describe_layers", "memory_of_fit"],
)
def test_torchvision_is_loaded_where_numbers_can_be_computed(monkeypatch, asked):
    """torch 2.6 computes some while torchvision is loaded, which it cannot where only shapes are."""
    load, seen = builtins.__import__, []

    def watched(name, *args, **kwargs):
        if name.partition(".")[0] == "torchvision":
            seen.append(torch.get_default_device().type)
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", watched)
    asked()
    assert seen[0] == "cpu"
