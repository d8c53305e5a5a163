"""Real rounds: one site is one training to the bit, what leaves is what was listed, and no name is in it."""

import json
import os
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from federated_group import PLANTED, many_sites
from nephroscope.base.documents import read_document
from nephroscope.base.errors import GroupError
from nephroscope.facade.study import Study
from nephroscope.federated import played_site
from nephroscope.federated.aggregate import aggregate
from nephroscope.federated.archive import MANIFEST, SIGNATURE, as_json, manifest_of, write_archive
from nephroscope.federated.coordinator import invite, new_group
from nephroscope.federated.figure_documents import SiteFigures
from nephroscope.federated.figures import figures_of
from nephroscope.federated.group import Group, Invitation, SiteKey, plan_of, site_snapshot
from nephroscope.federated.group_page import write_group_page
from nephroscope.federated.group_place import GroupPlace
from nephroscope.federated.inspector import inspect
from nephroscope.federated.keys import is_signed_by, make_key
from nephroscope.federated.leaves import Leaves
from nephroscope.federated.leaving import Approval, approve, keep_waiting
from nephroscope.federated.place import SitePlace
from nephroscope.federated.played_site import SiteJob, attempt, of_site, play_sites
from nephroscope.federated.readiness import _told
from nephroscope.federated.simulate import Options, simulate
from nephroscope.federated.site import join, told, train_next
from nephroscope.learning.run_files import WEIGHTS, load_run
from nephroscope.learning.training.checkpoint import first_state, fit_in_folder
from nephroscope.learning.training.fit import prior_shift
from nephroscope.learning.training.rounds import arrays_of, final_weights, first_arrays, round_task, run_round
from nephroscope.learning.training.run import fold_task, open_run_folder
from nephroscope.records import Fold
from nephroscope.study.snapshot import take_snapshot

MADE = "2026-01-01T00:00:00+00:00"
MODELS = {"together", "alone-h0", "alone-h1", "mean", "others"}
PLAIN = {"proximal": 0.0, "local_norm": False}


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A study of two hospitals."""
    root = tmp_path_factory.mktemp("two") / "study"
    many_sites(root, 32, 2)
    return root


@pytest.fixture(scope="session")
def two(study):
    """Two hospitals that went all the way: the study, the folder and the result."""
    root = study
    return root, root / "simulation", simulate(root, root / "simulation", Options(rounds=2, central=False))


def plan_for(snapshot):
    """Two rounds, one site is enough."""
    known = {"name": "g", "id": "i", "key": "k", "made": "2026-01-01T00:00:00+00:00"}
    return plan_of(snapshot.settings, **known, rounds=2, quorum=1, days=0.0, **PLAIN)


def test_one_site_is_one_training_to_the_bit(study, tmp_path):
    """Rounds of one site alone: weights, moments, learning rate, chance and batch norm are those of `train`."""
    snapshot = of_site(take_snapshot(study), "h0")
    plan = plan_for(snapshot)
    site = site_snapshot(snapshot, plan)
    group = Group(plan=plan, sites=(SiteKey(name="h0", key="k"),))
    assert group.training == plan.training
    compute = open_run_folder(tmp_path / "run", site, plan.training)
    task, spec = fold_task(site, group.training, site.split.folds[0], compute), site.slices.spec
    state = first_state(task, spec)
    for _ in fit_in_folder(tmp_path / "train", task, state):
        pass
    arrays, history = first_arrays(plan.training, 0, 2, spec), []
    for step in (1, 2):
        this = round_task(task, step * group.epochs)
        arrays, history = run_round(tmp_path / str(step), this, compute, spec, arrays, history)
    central = arrays_of(state)
    assert {name: value.tobytes() for name, value in arrays.items()} == {
        name: value.tobytes() for name, value in central.items()
    }
    assert [e.train_loss for e in history] == [e.train_loss for e in state.history]
    counts = np.bincount(study_labels(site, site.split.folds[0].train), minlength=2)
    shift = prior_shift(task)
    bias = next(name for name in central if name.endswith("output.bias"))
    shifted = final_weights(central, counts)[bias.removeprefix("network.")]
    np.testing.assert_array_equal(shifted, central[bias] + shift.numpy())
    pulled, began = round_task(task, 2, proximal=5.0), first_arrays(plan.training, 0, 2, spec)
    near, _ = run_round(tmp_path / "near", pulled, compute, spec, began, [])
    assert far(near, began) < far(central, began)


def test_a_group_of_one_hospital_is_that_hospitals_own_training_to_the_byte(tmp_path):
    """Also with the epoch that `train` keeps, which need not be the last of a round."""
    many_sites(tmp_path / "study", 16, 1)
    Study(tmp_path / "study").change("training", epochs=4, learning_rate=0.02, patience=0)
    out = tmp_path / "simulation"
    simulate(tmp_path / "study", out, Options(rounds=2))
    (site,) = (out / "sites").iterdir()
    own, central = (load_run(folder) for folder in (site / "run", out / "central"))
    best = [fold.best.epoch for fold in central.folds]
    assert [fold.best.epoch for fold in own.folds] == best
    assert set(best) - {2, 4}
    for number in range(len(best)):
        kept = [folder / f"fold-{number}" / WEIGHTS for folder in (site / "run", out / "central")]
        assert kept[0].read_bytes() == kept[1].read_bytes()


def study_labels(study, names):
    return [study.labels[name] for name in sorted(names)]


def far(arrays, began):
    return sum(
        float(np.square(arrays[name] - value).sum()) for name, value in began.items() if value.ndim > 1
    )


def test_two_sites_go_all_the_way(two):
    _, out, result = two
    plan = GroupPlace(out / "hospitals").plan
    assert [step.step for step in result.steps] == list(range(plan.figures + 1))
    assert result.sites == {"h0": 16, "h1": 16}
    assert {one.model for one in result.models} == MODELS
    for one in result.models:
        assert one.auc.n == 32
        assert one.apart <= 0.02
        assert result.pooled.of(one.model).scores.value == pytest.approx(one.on_staying.value, abs=1e-3)
    assert result.best_single in ("alone-h0", "alone-h1")
    for site in ("h0", "h1"):
        assert (out / "sites" / site / "run" / "run.json").exists()


def test_the_list_names_every_byte_that_leaves_and_the_approval_is_signed(two):
    _, out, _ = two
    place = SitePlace(out / "sites" / "h0")
    archives = sorted(place.sent.glob("*.zip"))
    assert len(archives) == 5
    for path in archives:
        listed = read_document(path.with_name(f"{path.stem}-leaves.json"), Leaves, 1)
        with zipfile.ZipFile(path) as file:
            inside = {i.filename: file.read(i) for i in file.infolist()}
        content = {n: b for n, b in inside.items() if n not in (MANIFEST, SIGNATURE)}
        assert {m.name: m.bytes for m in listed.members} == {n: len(b) for n, b in content.items()}
        for member in listed.members:
            if member.name.endswith(".json"):
                assert member.figures == json.loads(content[member.name])
            else:
                own = [t.bytes for t in listed.tensors if t.member == member.name]
                header = int.from_bytes(content[member.name][:8], "little") + 8
                assert sum(own) == len(content[member.name]) - header
        approval = read_document(path.with_name(f"{path.stem}-approval.json"), Approval, 1)
        assert approval.sha256 == listed.sha256
        assert (out / "hospitals" / "accepted" / path.name).read_bytes() == path.read_bytes()
        bare = Approval(
            **{n: getattr(approval, n) for n in Approval.__dataclass_fields__ if n != "signature"}
        )
        assert is_signed_by(make_key(place.folder), approval.signature, as_json(bare))


def test_no_name_of_a_case_or_patient_or_path_is_in_what_leaves(two):
    """In every file that the coordinator has of the sites, and in every list, page and approval of a site."""
    root, out, _ = two
    cases = take_snapshot(root).cohort.cases
    assert all(c.case_id.startswith(PLANTED) and c.patient_id.startswith(PLANTED) for c in cases)
    write_group_page(GroupPlace(out / "hospitals"))
    paths = [path for path in (out / "hospitals").rglob("*") if path.is_file()]
    left = [path for site in ("h0", "h1") for path in (out / "sites" / site / "sent").iterdir()]
    kinds = {path.name.partition("-h0-")[2] or path.suffix for path in (*paths, *left)}
    assert {".zip", ".html", ".json", "leaves.json", "leaves.html", "approval.json"} <= kinds
    figures = GroupPlace(out / "hospitals").accepted(4, "h0").read_bytes()
    assert b'"scores"' in figures  # the figures of the evaluation are among them
    for path in (*paths, *left):
        content = path.read_bytes()  # archives are not compressed
        assert PLANTED.encode() not in content, path
        assert b".nii.gz" not in content, path
        if "invitations" not in path.parts:
            assert str(root).encode() not in content or path.name.endswith(("leaves.json", "leaves.html")), (
                path
            )


def test_counts_that_give_away_a_count_below_five_are_left_out():
    counts = {
        ("subtype", "PRCC"): 16,
        ("subtype", "ChRCC"): 3,
        ("phase", "portal"): 19,
        ("phase", "other"): 0,
    }
    counts |= {("finding", "a"): 17, ("finding", "b"): 10, ("finding", "c"): 2, ("finding", "d"): 19}
    counts |= {
        ("spacing, mm", "below 0.5"): 4,
        ("spacing, mm", "0.5 to 0.7"): 3,
        ("spacing, mm", "0.7 to 0.9"): 12,
    }
    told = _told(counts, 19)
    assert {value for (of, value), n in told.items() if of == "subtype" and n is not None} == set()
    assert told["phase", "portal"] == 19
    assert [told["finding", name] for name in "abcd"] == [None, 10, None, 19]
    assert [n for (of, _), n in told.items() if of == "spacing, mm"] == [None, None, None]
    values = zip("abcd", (1, 1, 5, 25), strict=True)  # 2 in two values of at least 1 are 1 and 1
    assert [*_told({("phase", name): n for name, n in values}, 32).values()] == [None, None, None, 25]


def test_a_changed_list_or_archive_is_not_sent(two, tmp_path):
    place = SitePlace(two[1] / "sites" / "h0")
    copy = SitePlace(tmp_path / "copy")
    shutil.copytree(place.folder, copy.folder, ignore=shutil.ignore_patterns("run", "rounds", "alone"))
    with pytest.raises(GroupError):
        approve(copy, "me")
    members = {"figures.json": b"{}"}
    path = copy.waiting / copy.name_of(1)
    digest = write_archive(
        path, manifest_of(copy.invitation.plan.id, 1, "h0", "", members), members, copy.folder
    )
    keep_waiting(copy, 1, digest, members, {}, False)
    other = {"figures.json": b"{ }"}
    write_archive(path, manifest_of(copy.invitation.plan.id, 1, "h0", "", other), other, copy.folder)
    with pytest.raises(GroupError, match=path.name):
        approve(copy, "me")
    assert path.exists()


def test_of_a_round_no_mean_over_fewer_than_five_patients_leaves(two):
    """Each fold of a site has two patients to validate on, so that not even their mean loss is told."""
    root, out, result = two
    place = GroupPlace(out / "hospitals")
    for step in (1, 2, 3):
        for site in ("h0", "h1"):
            with zipfile.ZipFile(place.accepted(step, site)) as file:
                told_folds = json.loads(file.read("figures.json"))["folds"]
            for one in told_folds:
                assert one.keys() == {"index", "patients", "cases", "received_loss"}
                assert (one["patients"], one["received_loss"]) == (6, None)
    assert [step.losses for step in result.steps] == [(), (None, None), (None, None), (None, None), ()]
    study = site_snapshot(of_site(take_snapshot(root), "h0"), place.plan)
    names = sorted(study.labels)
    for n, leaves in ((4, False), (5, True)):
        rest = frozenset(names[n:])
        fold = Fold(index=0, train=rest, validation=frozenset(names[:n]), test=frozenset())
        assert told(study, fold) == leaves


def test_few_patients_and_noise_are_told_less(two):
    snapshot = of_site(take_snapshot(two[0]), "h0")
    plan = plan_for(snapshot)
    study = site_snapshot(snapshot, plan)
    names = sorted(study.labels)
    p = np.random.default_rng(0).dirichlet([1, 1], len(names))
    told, error = figures_of(study, plan, {"together": (names, p)}, "histogram", 0.0)
    assert error is None
    assert (told.patients, told.positive, told.negative) == (16, 8, 8)
    assert np.sum(told.models[0].histogram) == 16
    assert told.models[0].scores is None
    told, _ = figures_of(study, plan, {"together": (names, p)}, "figures", 0.0)
    assert (told.models[0].histogram, told.models[0].scores) == (None, None)
    right = int(np.sum(p.argmax(axis=1) == [study.labels[name] for name in names]))
    assert min(right, 16 - right) >= 5
    shares = {
        n: e for n, e in told.models[0].estimates.items() if n in ("accuracy", "sensitivity", "specificity")
    }
    assert shares.keys() == {"accuracy"}  # eight of a subtype: four or fewer are right, or wrong
    noisy, error = figures_of(study, plan, {"together": (names, p)}, "histogram", 1.0)
    assert (noisy.patients, noisy.models[0].estimates, noisy.models[0].expected) == (None, {}, None)
    assert len(noisy.models[0].histogram[0]) == 20
    assert error > 0.02
    several = dict.fromkeys(("alone-a", "alone-b", "together"), (names, p))
    assert (
        figures_of(study, plan, several, "histogram", 6.0)[1]
        > figures_of(study, plan, {"together": (names, p)}, "histogram", 6.0)[1]
    )  # three models share one epsilon
    few = names[:8]  # four of each subtype
    told, _ = figures_of(study, plan, {"together": (few, p[:8])}, "scores", 0.0)
    assert told == SiteFigures(
        patients=None, positive=None, negative=None, folds=2, epsilon=0.0, models=(), reason=told.reason
    )
    assert told.reason


def test_the_page_of_the_group_and_what_the_inspector_finds(two, tmp_path):
    root, out, result = two
    page, pooled = write_group_page(GroupPlace(out / "hospitals"))
    assert pooled == result.pooled
    assert page.read_text(encoding="utf-8").count("h1") > 3
    place = SitePlace(tmp_path / "copy")
    shutil.copytree(
        out / "sites" / "h0", place.folder, ignore=shutil.ignore_patterns("run", "rounds", "alone")
    )
    for path in place.sent.glob("hospitals-003-h0*"):
        shutil.move(path, place.waiting / path.name)
    found = inspect(place, of_site(take_snapshot(root), "h0"))
    assert (found.training, found.held_out) == (12, 16)
    listed = read_document(place.waiting / "hospitals-003-h0-leaves.json", Leaves, 1)
    assert listed.risk == {"membership_auc": found.auc.value}
    assert approve(place, "me")[1].read_bytes() == (out / "sites/h0/sent/hospitals-003-h0.zip").read_bytes()


def test_a_site_that_keeps_its_batch_norm_may_miss_the_first_round_and_inspect_what_waits(study, tmp_path):
    study = take_snapshot(study)
    new_group(tmp_path / "g", study.settings, rounds=2, quorum=1, days=0.0, proximal=0.0, local_norm=True)
    place = GroupPlace(tmp_path / "g")
    parts = {site: of_site(study, site) for site in ("h0", "h1")}
    own = {site: SitePlace(tmp_path / site) for site in parts}
    for site, part in parts.items():
        invitation = read_document(invite(place, site), Invitation, 1)
        join(own[site].folder, part, invitation, place.exchange)
        approve(SitePlace(own[site].folder), "tester")
    aggregate(place)
    train_next(own["h0"], parts["h0"])
    assert inspect(own["h0"], parts["h0"]).auc.value is not None
    approve(own["h0"], "tester")
    aggregate(place, ["h1"])
    waiting = train_next(own["h1"], parts["h1"])
    assert waiting.leaves.step == 2
    assert not any(tensor.name.endswith(".running_mean") for tensor in waiting.leaves.tensors)


def test_a_site_that_fails_is_named_and_the_group_waits_or_goes_on_by_quorum(tmp_path):
    """The third hospital has too few patients to join."""
    root, out = tmp_path / "study", tmp_path / "played"
    many_sites(root, 48, 3)
    table = root / "cohort.csv"
    head = table.read_text(encoding="utf-8").rsplit("h2", 4)[0]
    table.write_text(
        head.replace("h2", "h0") + table.read_text(encoding="utf-8")[len(head) :], encoding="utf-8"
    )
    with pytest.raises(GroupError, match=r"h2 \[(cohort|group)\]"):
        simulate(root, out, Options(rounds=1, central=False))
    assert not GroupPlace(out / "hospitals").made()
    with pytest.raises(GroupError, match="these settings"):
        simulate(root, out, Options(rounds=1, central=False, quorum=2))
    shutil.rmtree(out)
    result = simulate(root, out, Options(rounds=1, central=True, quorum=2))
    assert [(one.site, one.step) for one in result.failed] == [("h2", 0)]
    assert (set(result.sites), result.steps[0].missing) == ({"h0", "h1"}, ("h2",))
    assert {one.model for one in result.models} == {*MODELS, "central"}


def ends(job):
    """A step during which one site's process ends."""
    if job is not None and job.site_id == "b":
        os._exit(9)
    return attempt(job)


def test_a_process_that_ends_or_has_a_mistake_stops_no_other_site(two, tmp_path, monkeypatch):
    root, out, _ = two
    invitation = SitePlace(out / "sites" / "h0").invitation
    jobs = [
        SiteJob(
            study=str(root),
            place=str(tmp_path / site),
            site_id=site,
            invitation=replace(invitation, site=site),
            exchange=str(tmp_path),
            step=0,
        )
        for site in ("a", "b", "h0", "h1")
    ]
    (tmp_path / "h1").write_text("a file where its folder should be")
    monkeypatch.setattr(played_site, "attempt", ends)
    found = play_sites(jobs, 2)
    assert [(one.site, one.code) for one in found] == [("a", "cohort"), ("b", "failed"), ("h1", "failed")]
    assert (tmp_path / "hospitals-000-h0.zip").exists()
