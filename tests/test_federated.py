"""The rules of a group: who is let in, which archives are refused and why, when a round is closed, and the mean."""

import shutil
import zipfile
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from federated_group import closing_members, new_place, round_members, send, send_joining, site_place, wait
from nephroscope.base.errors import ArchiveError, ConfigError, GroupError
from nephroscope.federated.aggregate import aggregate
from nephroscope.federated.archive import as_json, manifest_of, open_archive, write_archive
from nephroscope.federated.coordinator import look
from nephroscope.federated.figure_documents import ModelFigures, SiteFigures
from nephroscope.federated.group import FoldFigures, RoundFigures, Step
from nephroscope.federated.group_place import GroupPlace
from nephroscope.federated.keys import is_signed_by, make_key, sign
from nephroscope.federated.leaving import approve, send_again
from nephroscope.federated.mean import mean_of
from nephroscope.federated.place import SitePlace
from nephroscope.learning.training.rounds import arrays_as_bytes, arrays_from_bytes
from nephroscope.records import Estimate


@pytest.fixture(scope="session")
def begun(tmp_path_factory):
    """A group of three sites whose first round has begun, to be copied."""
    root = tmp_path_factory.mktemp("group")
    place = new_place(root / "renal")
    for site in ("west", "east", "north"):
        send_joining(site_place(root, place, site))
    aggregate(place)
    return root


@pytest.fixture
def group(begun, tmp_path):
    """A copy of it: the coordinator's folder, and the sites' by name."""
    shutil.copytree(begun, tmp_path / "copy")
    place = GroupPlace(tmp_path / "copy" / "renal")
    sites = {site: site_place(tmp_path / "copy", place, site) for site in ("east", "north", "west")}
    return place, sites


def codes(place):
    return {(r.site, r.step, r.code) for r in look(place).refused}


def test_a_key_signs_and_another_does_not(tmp_path):
    key, other = make_key(tmp_path / "a"), make_key(tmp_path / "b")
    signature = sign(tmp_path / "a", b"bytes")
    assert make_key(tmp_path / "a") == key
    assert is_signed_by(key, signature, b"bytes")
    assert not is_signed_by(key, signature, b"other")
    assert not is_signed_by(other, signature, b"bytes")
    assert not is_signed_by("zz", signature, b"bytes")


def test_all_three_are_in_the_group_and_the_round_begins_with_weights(group):
    place, sites = group
    assert [one.name for one in place.group().sites] == ["east", "north", "west"]
    first = sites["east"].receive()[0]
    assert {m.name for m in first.manifest.members} == {
        "fold-0.safetensors",
        "fold-1.safetensors",
        "group.json",
        "step.json",
    }
    assert first.digest == place.made()[0].digest


def test_a_request_without_the_code_of_the_invitation_is_refused(tmp_path):
    place = new_place(tmp_path / "renal")
    for site in ("east", "north", "west"):
        send_joining(site_place(tmp_path, place, site), code="guessed" if site == "west" else None)
    assert codes(place) == {("west", 0, "archive-key")}
    assert look(place).missing == ("west",)


def test_the_mean_is_exact_for_one_site_and_the_same_in_any_order():
    rng = np.random.default_rng(1)
    arrays = {
        site: {"network.a": rng.normal(size=(50, 7)).astype(np.float32), "network.n": np.array(3 + i)}
        for i, site in enumerate("abc")
    }
    weights = {"a": 17, "b": 3, "c": 41}
    alone = mean_of({"b": arrays["b"]}, {"b": 29})
    assert all(np.array_equal(alone[name], arrays["b"][name]) for name in alone)
    one = mean_of(arrays, weights)
    other = mean_of({site: arrays[site] for site in "cab"}, weights)
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    exact = sum(arrays[s]["network.a"].astype(np.float64) * w for s, w in weights.items()) / 61
    assert np.array_equal(one["network.a"], exact.astype(np.float32))
    assert one["network.n"].dtype == arrays["a"]["network.n"].dtype
    with pytest.raises(ArchiveError):
        mean_of({"a": arrays["a"], "b": {"network.a": arrays["b"]["network.a"]}}, weights)


def test_the_variance_of_batch_norm_is_that_of_all_sites_together():
    rng = np.random.default_rng(2)
    values = {"a": rng.normal(0, 1, 30), "b": rng.normal(5, 2, 10)}
    arrays = {
        site: {
            "network.n.running_mean": np.array([v.mean()], np.float32),
            "network.n.running_var": np.array([v.var()], np.float32),
        }
        for site, v in values.items()
    }
    together = mean_of(arrays, {site: len(v) for site, v in values.items()})
    everything = np.concatenate(list(values.values()))
    assert together["network.n.running_mean"][0] == pytest.approx(everything.mean(), rel=1e-6)
    assert together["network.n.running_var"][0] == pytest.approx(everything.var(), rel=1e-6)
    alone = mean_of({"b": arrays["b"]}, {"b": 29})
    assert all(np.array_equal(alone[name], arrays["b"][name]) for name in alone)


def test_second_moments_are_averaged_and_stay_above_0():
    rng = np.random.default_rng(3)
    name = "optimizer.0.exp_avg_sq"
    arrays = {site: {name: np.square(rng.normal(0, 1e-20, 99)).astype(np.float32)} for site in "ab"}
    mean = mean_of(arrays, {"a": 3, "b": 7})[name]
    assert mean.min() >= 0
    exact = (3 * arrays["a"][name].astype(float) + 7 * arrays["b"][name].astype(float)) / 10
    np.testing.assert_array_equal(mean, exact.astype(np.float32))


def test_batch_norm_of_a_mean_is_measured_by_all_sites(group):
    place, sites = group
    for step in (1, 2):
        for own in sites.values():
            send(own, step, round_members(own))
        aggregate(place)
    for add, own in enumerate(sites.values()):
        members = closing_members(own, add)
        if own.site == "west":
            del members["norm-fold-0.safetensors"]
        send(own, 3, members)
    assert codes(place) == {("west", 3, "archive-damaged")}
    send(sites["west"], 3, closing_members(sites["west"], 2))
    archive, _ = aggregate(place)
    found = arrays_from_bytes(archive.read("fold-0.safetensors"), "")
    name = next(name for name in found if name.endswith(".running_var"))
    np.testing.assert_allclose(found[name], 1 + 1, rtol=1e-6)  # first weights, mean of 0, 1 and 2


def test_a_round_is_the_mean_by_patients(group):
    place, sites = group
    for site, (add, patients) in {"east": (1.0, 10), "north": (2.0, 20), "west": (4.0, 10)}.items():
        send(sites[site], 1, round_members(sites[site], add, patients))
    archive, step = aggregate(place)
    assert (step.step, [one.site for one in step.used], step.missing) == (1, ["east", "north", "west"], ())
    before = arrays_from_bytes(place.made()[0].read("fold-0.safetensors"), "")
    after = arrays_from_bytes(archive.read("fold-0.safetensors"), "")
    name = min(name for name in after if name.endswith("weight"))
    np.testing.assert_allclose(after[name], before[name] + 2.25, rtol=1e-6)
    assert step.drift["west"] == pytest.approx((4 - 2.25) / 2.25, rel=1e-4)
    assert sites["east"].receive()[1].digest == archive.digest


def test_nobody_goes_on_with_fewer_sites_in_silence(group):
    place, sites = group
    send(sites["east"], 1, round_members(sites["east"]))
    with pytest.raises(GroupError) as error:
        aggregate(place, ["north", "west"])
    assert "quorum" in error.value.expected
    send(sites["west"], 1, round_members(sites["west"]))
    for without in ((), ("west",), ("north", "west")):
        with pytest.raises(GroupError) as error:
            aggregate(place, without)
        assert "north" in error.value.found
    _, step = aggregate(place, ["north"])
    assert (step.missing, step.told) == (("north",), True)


def test_before_the_deadline_everybody_is_waited_for(tmp_path):
    place = new_place(tmp_path / "renal", days=3.0)
    own = {site: site_place(tmp_path, place, site) for site in ("east", "north", "west")}
    for site in ("east", "north"):
        send_joining(own[site])
    assert datetime.fromisoformat(look(place).until) > datetime.now(UTC)
    with pytest.raises(GroupError) as error:
        aggregate(place, ["west"])
    assert "time until" in error.value.expected
    send_joining(own["west"])
    assert aggregate(place)[1].missing == ()


def test_a_late_site_is_refused_with_the_round_it_missed_and_goes_on_with_the_next(group):
    place, sites = group
    late = round_members(sites["north"])
    for site in ("east", "west"):
        send(sites[site], 1, round_members(sites[site]))
    aggregate(place, ["north"])
    send(sites["north"], 1, late, previous=place.made()[0].digest)
    assert codes(place) == {("north", 1, "archive-late")}
    for site in sites.values():
        send(site, 2, round_members(site))
    step = aggregate(place)[1]
    assert [one.site for one in step.used] == ["east", "north", "west"]
    assert [(r.site, r.step, r.code) for r in step.refused] == [("north", 1, "archive-late")]


def test_changed_replayed_foreign_and_misdirected_archives_are_refused_by_name(group, tmp_path):
    place, sites = group
    east, north, west = sites["east"], sites["north"], sites["west"]
    path = send(east, 1, round_members(east))
    flipped = bytearray(path.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(flipped)
    make_key(tmp_path / "thief")
    send(north, 1, round_members(north), key=tmp_path / "thief")
    send(west, 1, round_members(west), previous="0" * 64)
    assert codes(place) == {
        ("east", 1, "archive-changed"),
        ("north", 1, "archive-key"),
        ("west", 1, "archive-round"),
    }
    assert (place.refused(1, "north")).exists()
    send(east, 1, round_members(east), group="another")
    send(north, 1, round_members(west))
    shutil.copy(send(west, 1, round_members(west)), north.way.folder / "renal-001-north.zip")
    assert codes(place) == {("east", 1, "archive-group"), ("north", 1, "archive-key")}


def test_an_old_round_sent_again_is_a_replay(group):
    place, sites = group
    for site in sites.values():
        send(site, 1, round_members(site))
    aggregate(place)
    folder = place.exchange
    shutil.copy(folder / "renal-001-west.zip", folder / "renal-002-west.zip")
    assert codes(place) == {("west", 2, "archive-replayed")}
    shutil.copy(folder / "renal-000-coordinator.zip", folder / "renal-002-coordinator.zip")
    with pytest.raises(ArchiveError) as error:
        sites["west"].receive()
    assert error.value.code == "archive-replayed"


def test_a_site_refuses_a_coordinator_with_another_key_or_another_plan(group, tmp_path):
    _, sites = group
    other = new_place(tmp_path / "renal")
    own = site_place(tmp_path, other, "east")
    for site in ("east", "north", "west"):
        send_joining(site_place(tmp_path, other, site))
    aggregate(other)
    shutil.copy(other.exchange / "renal-000-coordinator.zip", sites["west"].way.folder)
    (sites["west"].folder / "received" / "000.zip").unlink(missing_ok=True)
    with pytest.raises(ArchiveError) as error:
        SitePlace(sites["west"].folder).receive()
    assert error.value.code == "archive-key"
    changed = replace(own.invitation, plan=replace(own.invitation.plan, proximal=1.0))
    own.__dict__["invitation"] = changed
    with pytest.raises(GroupError):
        own.receive()


@pytest.mark.parametrize(
    ("name", "compress"), [("../../evil.json", False), ("run.py", False), ("a.pkl", False), ("a.json", True)]
)
def test_members_that_are_no_tensors_or_figures_are_refused(tmp_path, name, compress):
    key = make_key(tmp_path / "k")
    members = {"a.json": b"{}"}
    path = tmp_path / "a.zip"
    write_archive(path, manifest_of("g", 1, "s", "", members), members, tmp_path / "k")
    assert open_archive(path, key, "g", "s").read("a.json") == b"{}"
    with zipfile.ZipFile(path) as file:
        held = {info.filename: file.read(info) for info in file.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as file:
        for one, content in (held | {name: b"0" * 1000}).items():
            file.writestr(one, content)
    with pytest.raises(ArchiveError) as error:
        open_archive(path, key)
    assert error.value.code == "archive-damaged"


def test_an_archive_of_the_same_content_has_the_same_bytes(tmp_path):
    make_key(tmp_path / "k")
    members = {"b.json": b"1", "a.json": b"2"}
    manifest = manifest_of("g", 1, "s", "", members)
    for name in ("one", "two"):
        write_archive(tmp_path / name, manifest, dict(reversed(members.items())), tmp_path / "k")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_was_sent_is_sent_again_or_put_aside_and_made_again(group):
    place, sites = group
    own = sites["east"]
    with pytest.raises(GroupError):
        send_again(own)
    other = {"fold-1.safetensors": arrays_as_bytes({"network.other": np.zeros(3, np.float32)})}
    wait(own, 1, round_members(own) | other)
    sent = approve(own, "me")[1]
    arrived = place.exchange / sent.name
    bad = arrived.read_bytes()
    arrived.write_bytes(bad[:1000])  # by what carries the folder
    assert send_again(own)[1] == sent
    assert arrived.read_bytes() == bad
    assert codes(place) == {("east", 1, "archive-damaged")}
    (own.folder / "rounds" / "001").mkdir(parents=True)
    own.set_aside()
    own.set_aside()  # killed after it, and run again
    assert not sent.exists()
    assert not (own.folder / "rounds" / "001").exists()
    assert {path.suffix for path in (own.sent / "refused").rglob("*.*")} == {".zip", ".json", ".html"}
    wait(own, 1, round_members(own))
    approve(own, "me")
    assert "east" in look(place).archives


def test_tensors_that_are_not_finite_or_of_another_network_are_refused(group):
    place, sites = group
    east = round_members(sites["east"])
    east["fold-1.safetensors"] = arrays_as_bytes({"network.other": np.zeros(3, np.float32)})
    send(sites["east"], 1, east)
    send(sites["north"], 1, round_members(sites["north"]) | {"fold-0.safetensors": b"no tensors"})
    send(sites["west"], 1, round_members(sites["west"], add=np.nan))
    assert codes(place) == {(site, 1, "archive-damaged") for site in sites}
    name = "fold-0.safetensors"
    whole = round_members(sites["west"])
    arrays = arrays_from_bytes(whole[name], "")
    odd = (
        {key: value for key, value in arrays.items() if key != "optimizer.0.exp_avg"},
        arrays | {"optimizer.0.exp_avg": np.zeros(3, np.float32)},
        arrays | {"optimizer.9999.exp_avg": np.zeros(3, np.float32)},
    )
    for site, one in zip(sites, odd, strict=True):  # moments that would end the mean of all sites
        send(sites[site], 1, whole | {name: arrays_as_bytes(one)})
    assert codes(place) == {(site, 1, "archive-damaged") for site in sites}
    for site, cases in zip(sites, ((1, 2, 3), (-1, 2), ()), strict=True):
        told = FoldFigures(index=0, patients=5, cases=cases, received_loss=None)
        both = RoundFigures(folds=(told, replace(told, index=1)), versions={})
        send(sites[site], 1, whole | {"figures.json": as_json(both)})
    assert codes(place) == {(site, 1, "archive-damaged") for site in sites}


def test_figures_that_cannot_be_are_the_refusal_of_their_site(group):
    place, sites = group
    for step, members in ((1, round_members), (2, round_members), (3, closing_members)):
        for own in sites.values():
            send(own, step, members(own))
        aggregate(place)
    auc = Estimate(value=0.9, low=0.8, high=0.95, n=20, unit="case", method="m")
    good = ModelFigures(
        model="together",
        estimates={"auc": auc},
        auc_variance=0.01,
        expected=9.0,
        histogram=((5, 5), (1, 9)),
        scores=None,
    )
    told = SiteFigures(patients=20, positive=10, negative=10, folds=2, epsilon=0.0, models=(good,))
    odd = (
        {"estimates": {"auc": replace(auc, value=1.5)}},
        {"auc_variance": -1.0},
        {"expected": -3.0},
        {"histogram": ((), ())},
        {"histogram": ((5, 5), (1,))},
        {"scores": ((0.5,), (2.0,))},
        {"scores": ((0.5,),)},
    )
    east = sites["east"]
    for one in odd:
        send(east, 4, {"figures.json": as_json(replace(told, models=(replace(good, **one),)))})
        assert codes(place) == {("east", 4, "archive-damaged")}, one
    for one in ({"positive": -1}, {"folds": 0}):
        send(east, 4, {"figures.json": as_json(replace(told, **one))})
        assert codes(place) == {("east", 4, "archive-damaged")}, one
    for own in sites.values():
        send(own, 4, {"figures.json": as_json(told)})
    assert aggregate(place)[1].missing == ()


def test_a_file_that_cannot_be_read_is_the_refusal_of_its_site(group, monkeypatch):
    place, sites = group
    send(sites["east"], 1, round_members(sites["east"]))
    there = type(place.way).names
    monkeypatch.setattr(type(place.way), "names", lambda way: [*there(way), "renal-001-west.zip"])
    arrived = look(place)  # the file of west went away in between, as in a folder that is being synchronized
    assert [(r.site, r.code) for r in arrived.refused] == [("west", "archive-damaged")]
    assert (list(arrived.archives), arrived.missing) == (["east"], ("north", "west"))


def test_a_killed_coordinator_lays_out_what_it_had_closed(group):
    place, sites = group
    for site in sites.values():
        send(site, 1, round_members(site))
    archive, _ = aggregate(place)
    name = archive.path.name
    (place.exchange / name).unlink()  # killed before it was laid out
    with pytest.raises(GroupError):
        aggregate(place)
    assert (place.exchange / name).read_bytes() == archive.path.read_bytes()
    archive.path.unlink()  # killed before it was closed: the same archives give the same tensors
    again = aggregate(place)[0]
    assert [m for m in again.manifest.members if m.name != "step.json"] == [
        m for m in archive.manifest.members if m.name != "step.json"
    ]


def test_a_plan_needs_rounds_that_divide_the_epochs_and_a_name_for_files(tmp_path):
    with pytest.raises(ConfigError):
        new_place(tmp_path / "renal", rounds=3)
    with pytest.raises(ConfigError):
        new_place(tmp_path / "re nal")
    with pytest.raises(ConfigError):
        new_place(tmp_path / "ok", sites=("../x",))
    assert as_json(Step(step=0, used=(), missing=(), told=False, refused=(), until="")).startswith(b"{")
