"""A network that learns to draw from the study's own ROIs: planes, patches, Dice, the whole way, what is refused."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from nephroscope import Study
from nephroscope.base.errors import BundleError, ConfigError, StudyError
from nephroscope.cli import run
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.bundle_file import content_digest
from nephroscope.imaging.masks.write import write_volume
from nephroscope.imaging.nifti import read_nifti
from nephroscope.learning import planes
from nephroscope.learning.engine.drawing_runs import chosen_network, train_drawing
from nephroscope.learning.networks.networks import count_parameters
from nephroscope.learning.networks.unet import UNet
from nephroscope.learning.planes import DrawnCT, PlaneStore, prepare_planes
from nephroscope.learning.training.checkpoint import save_checkpoint
from nephroscope.learning.training.drawing import DrawingTask
from nephroscope.learning.training.fit import Epoch, FitState
from nephroscope.learning.training.patches import DrawnPlanes, Patches
from nephroscope.records import SliceSpec, TrainConfig
from nephroscope.records.planes import PlaneSpec
from nephroscope.segmenters.bundle import open_drawing_bundle, read_drawing_bundle, volume_of
from nephroscope.segmenters.planes import draw_labels, make_planes, planes_digest, planes_of_mask
from nephroscope.segmenters.tool import tool_of
from nephroscope.study.snapshot import take_snapshot
from phantoms import write_nifti
from small_study import geometry, make_study
from tiny_bundle import make_bundle

CONFIG = TrainConfig(
    model="unet-tumor", width=0.2, epochs=8, batch_size=8, learning_rate=0.02, precision="fp32", patience=0
)
OPTIONS = (
    *("--task", "segment", "--model", "unet-tumor", "--width", "0.2", "--epochs", "8", "--batch-size", "8"),
    *("--learning-rate", "0.02", "--precision", "fp32", "--patience", "0"),
)


def disc(shape=(12, 40, 40), spacing_mm=(1.5, 1.0, 1.0)):
    """A bright tumor of 16 mm on half of the slices of a dark CT."""
    rows, cols = np.ogrid[: shape[1], : shape[2]]
    mask = np.zeros(shape, bool)
    mask[3:9] = (rows - 18) ** 2 + (cols - 22) ** 2 <= 64
    hu = np.where(mask, 150, 0).astype(np.int16)
    return volume_of(hu, spacing_mm), mask


class Bright:
    """A network that draws what is brighter than 75 HU."""

    def logits(self, hu):
        brightness = hu[:, 1].astype(np.float32) - 75
        return np.stack([-brightness, brightness], axis=1)


def test_planes_have_the_size_asked_for_and_what_is_drawn_comes_back_on_the_ct():
    volume, mask = disc()
    spec = PlaneSpec()
    planes = make_planes(volume, spec)
    assert planes.shape == (6, 20, 20), "slices of 1.5 mm: every second; 40 mm at 2 mm a pixel"
    assert planes_of_mask(mask, volume, spec).sum() * 8 == pytest.approx(mask.sum(), rel=0.1)
    drawn = draw_labels([Bright()], volume, spec) == 1
    dice = 2 * (drawn & mask).sum() / (drawn.sum() + mask.sum())
    assert dice > 0.85, "of a tumor of only 16 mm"


def test_small_parts_far_from_the_largest_are_left_out():
    volume, mask = disc()
    hu = volume.hu.copy()
    hu[4:8, 32:36, 4:8] = 150
    drawn = draw_labels([Bright()], replace(volume, hu=hu), PlaneSpec())
    assert not drawn[:, 30:, :10].any()
    assert (drawn == 1)[mask].mean() > 0.75


def test_a_ct_is_known_by_its_planes_also_as_nifti(tmp_path):
    volume, _ = disc(spacing_mm=(1.5, 0.7421875, 0.7421875))
    write_volume(volume, tmp_path / "ct.nii.gz")
    spec = PlaneSpec()
    assert planes_digest(make_planes(read_nifti(tmp_path / "ct.nii.gz"), spec)) == planes_digest(
        make_planes(volume, spec)
    )


def patches(n=2, size=32):
    volume, mask = disc()
    labels = np.where(planes_of_mask(mask, volume, PlaneSpec()), 1, 0).astype(np.uint8)
    planes = make_planes(volume, PlaneSpec())
    cts = tuple(DrawnPlanes(hu=planes, labels=labels, patient=number) for number in range(n))
    return Patches(cts=cts, n_labels=2, size_px=size)


def test_half_of_the_patches_lie_on_what_is_learned_and_the_same_chance_gives_the_same():
    found = patches()
    places = found.draw(0, np.random.default_rng(3))
    assert np.array_equal(places, found.draw(0, np.random.default_rng(3)))
    shown = [found.cts[ct].labels[plane].any() for ct, plane, *_ in places.tolist()]
    assert sum(shown) * 2 == len(shown) == 2 * 2 * 3
    assert len(found.draw(2, np.random.default_rng(3))) == 4
    hu, labels = found.load(places, torch.device("cpu"))
    assert hu.shape == (12, 3, 32, 32)
    assert labels.shape == (12, 32, 32)
    assert bool((hu[:, 1][labels == 1] > 0).all()), "labels lie on their pixels"


def test_a_small_tumor_is_seen_as_often_as_a_large_one():
    volume, mask = disc((12, 40, 40), (3.0, 2.0, 2.0))
    whole = planes_of_mask(mask, volume, PlaneSpec()).astype(np.uint8)
    small = whole.copy()
    small[4:] = 0
    hu = make_planes(volume, PlaneSpec())
    cts = [DrawnPlanes(hu=hu, labels=labels, patient=i) for i, labels in enumerate((whole, small))]
    found = Patches(cts=tuple(cts), n_labels=2, size_px=32)
    for per_ct, n in ((0, 4), (8, 4), (20, 10), (3, 2)):
        places = found.draw(per_ct, np.random.default_rng(1)).tolist()
        on = [ct for ct, plane, *_ in places if found.cts[ct].labels[plane].any()]
        assert (on.count(0), on.count(1)) == (n, n)
        assert len(places) - len(on) == 2 * (per_ct - n if per_ct else n) or per_ct == 20


def task(**changed):
    parts = {
        "fold": 0,
        "train": patches(),
        "validation": patches(2),
        "n_subtypes": 2,
        "config": CONFIG,
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "keeps_prior": False,
        "made_of": "x",
    }
    return DrawingTask(**parts | changed)


def test_a_patient_of_whom_nothing_is_found_counts_as_zero():
    validation = patches(2)
    missed = replace(validation.cts[1], hu=np.zeros_like(validation.cts[1].hu))

    class Network(torch.nn.Module):
        def forward(self, hu):
            bright = hu[:, 1] - 75
            return torch.stack([-bright, bright], dim=1)

    whole = task().validate(Network())
    assert whole[0] == pytest.approx(0, abs=0.1)
    loss, hits = task(validation=replace(validation, cts=(validation.cts[0], missed))).validate(Network())
    assert 1 - loss == pytest.approx((1 - whole[0]) / 2)
    assert hits[1].tolist() == [0, 2]
    twice = replace(validation.cts[1], patient=0)  # two CTs of one patient are one patient
    assert (
        task(validation=replace(validation, cts=(validation.cts[0], twice))).validate(Network())[1][1, 1] == 1
    )


def test_the_loss_is_cross_entropy_and_one_minus_dice():
    labels = torch.tensor([[[1, 0], [0, 0]]])
    sure = torch.where(torch.stack([labels == 0, labels == 1], dim=1), 20.0, -20.0)
    assert float(task().loss(sure, labels, None)) == pytest.approx(0, abs=1e-4)
    even = torch.zeros(1, 2, 2, 2)  # a half everywhere: ln 2, and Dice (2 * 0.5 + 20) / (4 * 0.5 + 1 + 20)
    assert float(task().loss(even, labels, None)) == pytest.approx(np.log(2) + 1 - 21 / 23)


def test_each_patch_counts_alike_in_the_loss_however_large_its_tumor():
    labels = torch.zeros(2, 16, 16, dtype=torch.long)
    labels[0, :12], labels[1, :2, :2] = 1, 1
    found = torch.zeros_like(labels)
    found[0] = labels[0]  # the small one is missed
    logits = torch.where(torch.stack([found == 0, found == 1], dim=1), 20.0, -20.0)
    cross = torch.nn.functional.cross_entropy(logits, labels)
    assert float(task().loss(logits, labels, None) - cross) == pytest.approx((1 - 20 / 24) / 2, abs=1e-4)


def test_labels_are_turned_with_their_patches():
    found = patches()
    hu, labels = found.load(found.draw(0, np.random.default_rng(0)), torch.device("cpu"))
    turned, drawn = task().vary(hu, labels, np.random.default_rng(1))
    assert not torch.equal(drawn, labels)
    bright = turned[:, 1] > 75
    assert 2 * int((bright & (drawn == 1)).sum()) / int(bright.sum() + (drawn == 1).sum()) > 0.9


def test_patience_does_not_end_what_has_found_nothing_yet():
    state = FitState(network=UNet(2, SliceSpec(), 0.2), optimizer=None)
    one = {
        "train_loss": 1.0,
        "train_accuracy": 0.0,
        "validation_accuracy": 0.0,
        "learning_rate": 0.1,
        "seconds": 1,
    }
    state.history = [Epoch(epoch=number, validation_loss=1.0, **one) for number in (1, 2, 3)]
    waiting = task(config=replace(CONFIG, patience=2))
    assert not waiting.is_finished(state)
    assert waiting.is_finished(
        replace(state, history=[*state.history, Epoch(epoch=8, validation_loss=1.0, **one)])
    )
    found = [
        replace(epoch, validation_loss=loss)
        for epoch, loss in zip(state.history, (0.5, 0.6, 0.6), strict=True)
    ]
    assert waiting.is_finished(replace(state, history=found))


def test_it_is_light_and_takes_planes_of_any_size():
    network = UNet(3, SliceSpec())
    assert count_parameters(network).trainable < 1_000_000
    assert network.eval()(torch.zeros(1, 3, 48, 64)).shape == (1, 3, 48, 64)


def test_what_is_learned_follows_from_what_was_drawn(tmp_path):
    def store(n_patients, n_kidneys):
        cts = [
            DrawnCT(
                name=str(n), patient_id=str(n), case_ids=(str(n),), shape=(1, 1, 1), kidneys=n < n_kidneys,
                digest="", content="",
            )
            for n in range(n_patients)
        ]  # fmt: skip
        return PlaneStore(folder=tmp_path, spec=PlaneSpec(), cts=tuple(cts), refused=(), digest="")

    assert chosen_network(store(25, 25)) == "unet"
    assert chosen_network(store(10, 10)) == "unet-kidney"
    assert chosen_network(store(25, 24)) == "unet-tumor"
    with pytest.raises(StudyError, match="20 patients"):
        chosen_network(store(10, 0))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A study with a run that draws, and its bundle; the first two cases have kidneys."""
    root = tmp_path_factory.mktemp("drawing") / "study"
    study = make_study(root, 10)
    study.cut_slices()
    study.make_split(folds=2)
    assert run(["train", str(root), *OPTIONS, "--json"]) == 0
    assert run(["export", str(root), "--run", "unet-tumor", "--out", str(root.parent / "bundle")]) == 0
    return root, root.parent / "bundle"


def answer(capsys, *words):
    code = run([*map(str, words), "--json"])
    out = capsys.readouterr()
    return code, json.loads(out.out) if out.out.strip().startswith("{") else out.err


def test_every_patient_is_drawn_by_a_network_that_never_saw_it(trained, capsys):
    root, _ = trained
    code, found = answer(capsys, "evaluate", root, "--run", "unet-tumor")
    assert code == 0
    assert len(found["patients"]["tumor"]) == found["n_patients"] == 10
    dice = found["figures"]["tumor"]["dice"]
    assert dice["unit"] == "patient"
    assert dice["value"] == pytest.approx(np.mean([one["dice"] for one in found["patients"]["tumor"]]))
    assert dice["value"] > 0.3
    assert dice["low"] < dice["value"] < dice["high"]
    assert found["by_size"]["up to 4 cm"]["dice"]["n"] == 10
    assert "125" in found["beside"]["tumor"]
    assert [one["code"] for one in found["findings"]] == ["segment-few-cases"]


def test_the_bundle_draws_through_the_door_of_other_programs(trained, capsys):
    """Each CT was learned from by one of the two networks, so the other draws it: the Dice is that of evaluate."""
    root, bundle = trained
    expected = Study(root).segmenter("unet-tumor").evaluate().patients["tumor"]
    dice = {one.case_ids[0]: one.dice for one in expected}
    best = max(dice, key=dice.get)
    code, found = answer(capsys, "segment", root, "--with", bundle, "--cases", best)
    assert code == 0
    (case,) = found["cases"]
    version = read_drawing_bundle(bundle).version
    assert (case["state"], case["author"]) == ("proposed", f"model:unet-tumor@{version}")
    assert "segmenter-out-of-fold" in [one["code"] for one in case["findings"]]
    report = Study(root).compare_proposals(case["author"], cases=(best,))
    assert report.figures["dice"].value == pytest.approx(dice[best], abs=1e-9)
    record = json.loads(
        (root / case["path"]).with_name(case["path"].split("/")[-1][:-7] + ".json").read_text()
    )
    assert record["weights"] == read_drawing_bundle(bundle).digest
    assert record["labels"] == {"1": "tumor"}


def test_a_network_that_saw_a_ct_says_so_where_no_other_is_there(trained):
    root, bundle = trained
    opened = open_drawing_bundle(bundle)
    volume = read_nifti(root / "volumes" / "c00.nii.gz")
    assert opened.draw(volume)[1] == "out-of-fold"
    knows = [
        n
        for n, one in enumerate(opened.about.networks)
        if planes_digest(make_planes(volume, opened.about.planes)) in one.known
    ]
    alone = replace(opened.about, networks=tuple(opened.about.networks[n] for n in knows))
    assert (
        replace(opened, about=alone, sessions=tuple(opened.sessions[n] for n in knows)).draw(volume)[1]
        == "trained-on"
    )
    other = replace(volume, hu=volume.hu + np.int16(7))
    assert opened.draw(other)[1] == ""


def test_no_command_takes_it_for_a_network_that_tells_subtypes_apart(trained, capsys, tmp_path):
    root, bundle = trained
    for words, said in (
        (("report", root), "draws"),
        (("report", root, "--run", "unet-tumor"), "draws"),
        (("export", root, "--out", tmp_path / "b"), "draws"),
        (("evaluate", root, "--run", "unet-tumor", "--jitter"), "--jitter"),
        (("export", root, "--run", "unet-tumor", "--out", tmp_path / "b", "--facts"), "--facts"),
        (("train", root, "--model", "unet"), "--task segment"),
        (("predict", bundle, root / "volumes" / "c00.nii.gz"), "nephroscope segment"),
        (("train", root, "--task", "segment"), "20 patients"),
        (("train", root, "--task", "segment", "--model", "unet"), "kidneys"),
        (("train", root, *OPTIONS, "--name", "unet-tumor"), "a complete one in segmenters"),
        (("train", root, "--name", "unet-tumor"), "a complete one in segmenters"),
        (("train", root, *OPTIONS, "--pretrained"), "pretrained"),
    ):
        code, error = answer(capsys, *words)
        assert code == 2, words
        assert said in str(error), words
    code, found = answer(capsys, "status", root)
    assert code == 0
    assert ("segmenter unet-tumor", "up to date") in [(one["name"], one["state"]) for one in found["parts"]]
    assert "train" in found["next"]
    assert not (tmp_path / "b").exists()
    own = make_bundle(tmp_path / "own")
    with pytest.raises(BundleError, match="nephroscope predict"):
        tool_of(str(own))
    with pytest.raises(BundleError, match="nephroscope segment"):
        open_bundle(bundle)
    with pytest.raises(ConfigError, match="--model"):
        tool_of(str(bundle), model="other")


@pytest.mark.parametrize(
    ("place", "value"),
    [(("planes", "mm_per_px"), 3.0), (("labels",), ["kidney", "tumor"]), (("networks",), [])],
)
def test_a_bundle_that_was_edited_is_refused(trained, tmp_path, place, value):
    _, bundle = trained
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    content = json.loads((copy / "bundle.json").read_text())
    at = content
    for name in place[:-1]:
        at = at[name]
    at[place[-1]] = value
    (copy / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match="digest"):
        open_drawing_bundle(copy)
    if place[0] == "planes":  # and where its digests were written anew, the stored CT gives other planes
        content["planes_digest"] = PlaneSpec(**content["planes"]).digest
    (copy / "bundle.json").write_text(json.dumps(content | {"digest": content_digest(content)}))
    with pytest.raises(BundleError):
        open_drawing_bundle(copy)


def test_a_changed_network_or_what_was_drawn_again_is_refused(trained, tmp_path):
    root, bundle = trained
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    (copy / "network-1.onnx").write_bytes((copy / "network-0.onnx").read_bytes())
    with pytest.raises(BundleError, match=r"network-1\.onnx"):
        open_drawing_bundle(copy)
    moved = tmp_path / "study"
    shutil.copytree(root, moved)
    store = prepare_planes(take_snapshot(moved))
    path = moved / "planes" / f"{store.cts[0].name}.npy"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(StudyError, match="planes"):
        store.read(store.cts[0])
    other = moved / "planes" / f"{store.cts[1].name}.npy"
    content = bytearray(other.read_bytes())
    content[-9] ^= 1
    other.write_bytes(content)
    with pytest.raises(StudyError, match="changed or damaged"):
        store.read(store.cts[1])


def test_a_tumor_that_the_planes_do_not_show_is_told(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", 3)
    study.cut_slices()
    read = type(study.snapshot).read_case

    def tiny(snapshot, case):
        volume, roi = read(snapshot, case)
        if case.case_id == "c01":
            at = tuple(np.argwhere(roi.voxels)[0])
            voxels = np.zeros_like(roi.voxels)
            voxels[at] = True
            roi = replace(roi, voxels=voxels)
        return volume, roi

    monkeypatch.setattr(planes, "spec_of", lambda snapshot: PlaneSpec(mm_per_px=8.0))
    monkeypatch.setattr(type(study.snapshot), "read_case", tiny)
    store = prepare_planes(study.snapshot)
    assert [(one.code, one.case_id) for one in store.findings] == [("segment-too-small", "c01")]
    monkeypatch.setattr(type(study.snapshot), "read_case", None)
    assert prepare_planes(study.snapshot).findings == store.findings, "nothing is read again"


def with_kidneys(study):
    """Give every case a mask of a kidney next to its tumor, in the column organs of series.csv."""
    root = study.folder.root
    mask = np.zeros((6, 24, 24), np.uint8)
    mask[:5, 6:18, 2:9] = 1
    (root / "organs").mkdir()
    write_nifti(mask, root / "organs" / "kidney_left.nii.gz", geometry().affine)
    with (root / "series.csv").open(newline="") as file:
        rows = [row | {"organs": "organs"} for row in csv.DictReader(file)]
    with (root / "series.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    return Study(root)


def test_a_ct_or_its_kidneys_that_could_not_be_read_are_told_and_tried_again(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", 4)
    study.cut_slices()
    study = with_kidneys(study)
    real, read = planes.organs_of, type(study.snapshot).read_case

    def no_organs(case, volume):
        if case.case_id == "c00":
            raise OSError(5, "Input/output error")
        return real(case, volume)

    def no_ct(snapshot, case):
        if case.case_id == "c01":
            raise OSError(5, "Input/output error")
        return read(snapshot, case)

    with monkeypatch.context() as away:
        away.setattr(planes, "organs_of", no_organs)
        away.setattr(type(study.snapshot), "read_case", no_ct)
        store = prepare_planes(study.snapshot)
    assert {(one.code, one.case_id) for one in store.findings} == {
        ("organs-unreadable", "c00"),
        ("unreadable", "c01"),
    }
    assert (len(store.cts), sum(ct.kidneys for ct in store.cts)) == (3, 2)
    again = prepare_planes(study.snapshot)
    assert (again.findings, len(again.cts), sum(ct.kidneys for ct in again.cts)) == ((), 4, 4)


def test_a_full_disk_is_no_ct_that_cannot_be_read(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", 2)
    study.cut_slices()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(planes.np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        prepare_planes(study.snapshot)
    assert not (study.folder.root / "planes" / "planes.json").exists()


def test_stopped_after_an_epoch_and_resumed_ends_with_the_same_weights(tmp_path, monkeypatch):
    """Of a network that draws kidneys and tumors; each patient counts, also of a fold that found nothing."""
    study = with_kidneys(make_study(tmp_path / "study", 6))
    study.cut_slices()
    study.make_split(folds=2)
    config = replace(CONFIG, model="unet", epochs=2)
    whole = train_drawing(take_snapshot(study.folder.root), config, "whole")

    def stop(state, path):
        save_checkpoint(state, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nephroscope.learning.training.checkpoint.save_checkpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            study.train_segmenter(config, "parts")
    parts = {part.name: part for part in study.status().parts}
    assert parts["segmenter parts"].state == "interrupted"
    assert "--task segment --resume --name parts" in parts["segmenter parts"].detail
    resumed = study.train_segmenter(resume=True)
    for fold in (0, 1):
        places = [study.folder.root / "segmenters" / name / f"fold-{fold}" for name in ("whole", "parts")]
        one, two = [(place / "weights.safetensors").read_bytes() for place in places]
        assert one == two
    assert whole.digests.planes == resumed.record.digests.planes
    found = resumed.evaluate()
    assert found.n_patients == 6
    assert [len(found.patients[label]) for label in ("kidney", "tumor")] == [6, 6]
    store = prepare_planes(study.snapshot)
    assert {int(label) for ct in store.cts for label in np.unique(store.read(ct)[1])} == {0, 1, 2}
    kidney = np.zeros((6, 24, 24), np.uint8)
    kidney[0] = 1
    write_nifti(kidney, study.folder.root / "organs" / "kidney_left.nii.gz", geometry().affine)
    with pytest.raises(StudyError, match="planes"):
        resumed.evaluate()
