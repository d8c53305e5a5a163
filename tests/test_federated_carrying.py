"""Archives through messages, as Flower carries them: what either end asks, answers and refuses. No flwr is needed."""

import asyncio
import sys

import numpy as np
import pytest

from federated_group import new_place, round_members, send, send_joining
from nephroscope.base.documents import read_document
from nephroscope.base.errors import GroupError
from nephroscope.federated import carrying
from nephroscope.federated.aggregate import aggregate
from nephroscope.federated.carrying import HEADER, CoordinatorEnd, Gate, SiteEnd
from nephroscope.federated.certificates import certifier
from nephroscope.federated.coordinator import invite, look
from nephroscope.federated.flower import carry_at_coordinator, carry_at_site
from nephroscope.federated.group import Invitation
from nephroscope.federated.keys import make_key
from nephroscope.federated.place import make_place
from nephroscope.federated.relay import flowered, relayed
from nephroscope.federated.store import Store

SITES = ("east", "north", "west")
ADDRESS = "127.0.0.1:9092"
PLANTED = "DOE^JANE"


@pytest.fixture
def ends(tmp_path, monkeypatch):
    """A group whose three sites joined: the coordinator's end, and those of the sites."""
    monkeypatch.setattr(carrying, "PIECE", 2**18)
    place = new_place(tmp_path / "renal", sites=())
    certify = certifier(place.folder, ADDRESS)
    flowered(place, ADDRESS)
    found = {}
    for site in SITES:
        invitation = read_document(invite(place, site, certify=certify, flower=ADDRESS), Invitation, 1)
        own = make_place(tmp_path / PLANTED / site, invitation, None)
        make_key(own.folder)
        own.exchange.mkdir()
        (own.exchange / "patients.csv").write_text(PLANTED)
        send_joining(own, folder=own.exchange)
        said = []
        found[site] = SiteEnd(
            own, Store(own.invitation.plan, own.exchange, own.folder / "flower"), said.append
        )
        found[site].said = said
    said = []
    coordinator = CoordinatorEnd(
        place, Store(place.plan, place.exchange, place.folder / "flower"), said.append
    )
    coordinator.said = said
    for site in SITES:
        meet(coordinator, found[site])
    assert look(place).missing == ()
    aggregate(place)
    for site in SITES:
        meet(coordinator, found[site])
    return coordinator, found


def meet(coordinator, end, most=1000):
    """One visit, message by message; gives the messages, of which no more than so many arrive."""
    visit, sent = coordinator.visit(end.place.site), []
    try:
        ask = next(visit)
        for _ in range(most):
            told = end.answer(ask)
            sent += [ask, told]
            ask = visit.send(told)
    except StopIteration:
        pass
    return sent


def put(end, step, **how):
    return send(end.place, step, round_members(end.place, **how), folder=end.place.exchange)


def n_bytes(messages):
    return sum(len(message.get("piece", b"")) for message in messages)


def test_a_round_goes_both_ways_and_goes_on_where_it_was_cut_off(ends):
    coordinator, sites = ends
    paths = {site: put(end, 1) for site, end in sites.items()}
    size = paths["east"].stat().st_size
    begun = n_bytes(meet(coordinator, sites["east"], most=5))
    assert 0 < begun < size
    assert n_bytes(meet(coordinator, sites["east"])) == size - begun
    assert sites["east"].done
    for site in ("north", "west"):
        meet(coordinator, sites[site])
    aggregate(coordinator.place)
    messages = [message for site in SITES for message in meet(coordinator, sites[site])]
    assert all(len(end.place.receive()) == 2 for end in sites.values())
    assert n_bytes(meet(coordinator, sites["east"])) == 0  # nothing twice
    everything = repr(messages)
    assert "renal-001-coordinator.zip" in everything
    assert PLANTED not in everything
    assert "patients.csv" not in everything


def test_a_changed_archive_is_refused_and_one_refused_for_its_contents_is_made_again(ends):
    coordinator, sites = ends
    path = put(sites["west"], 1)
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2] + b"x" + good[len(good) // 2 + 1 :])
    meet(coordinator, sites["west"])
    assert "archive-changed" in coordinator.said[-1]
    put(sites["west"], 1, add=np.nan)
    meet(coordinator, sites["west"])
    codes = {("west", "archive-damaged")}
    assert {(r.site, r.code) for r in look(coordinator.place).refused} == codes
    meet(coordinator, sites["west"])  # it is not taken again
    assert "the coordinator refused these bytes" in coordinator.said[-1]
    assert {(r.site, r.code) for r in look(coordinator.place).refused} == codes
    path.write_bytes(good)
    meet(coordinator, sites["west"])
    assert "west" in look(coordinator.place).archives


def test_nothing_else_is_read_or_written_at_a_site(ends):
    end = ends[1]["east"]
    own = "renal-000-east.zip"
    for ask in (
        {},
        {"do": "run", "name": own},
        {"do": "read", "name": "patients.csv"},
        {"do": "read", "name": "../key.pem"},
        {"do": "read", "name": "renal-000-coordinator.zip"},
        {"do": "read", "name": own, "begin": -1},
        {"do": "read", "name": own, "begin": "0"},
        {"do": "write", "name": own, "digest": "0" * 64, "size": 1, "begin": 0, "piece": b"x"},
        {"do": "write", "name": "renal-001-coordinator.zip", "digest": "../..", "size": 1, "piece": b"x"},
    ):
        assert "refused" in end.answer(ask), ask
    forged = {"name": "renal-001-coordinator.zip", "digest": "0" * 64, "size": 1, "begin": 0, "piece": b"x"}
    assert "refused" in end.answer({"do": "write", **forged})
    assert [path.name for path in end.place.exchange.iterdir() if "001" in path.name] == []


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"names": 3},
        {"names": ["renal-001-east.zip"], "digests": ["0"], "sizes": ["1"]},
        {"refused": "no"},
    ],
)
def test_an_odd_answer_ends_a_visit_without_harm(ends, told):
    coordinator, sites = ends
    before = coordinator.store.names()
    sites["east"].answer = lambda ask: told
    messages = meet(coordinator, sites["east"])
    assert len(messages) < 20
    assert {"do": "done"} not in messages
    assert coordinator.store.names() == before


def test_a_visit_is_done_only_when_all_is_there(ends):
    coordinator, sites = ends
    end = sites["east"]
    put(end, 1)
    end.done, whole = False, end.answer
    for lost in ("list", "read", "write"):
        end.answer = lambda ask, lost=lost: {} if ask["do"] == lost else whole(ask)
        meet(coordinator, end)
        assert not end.done
    end.answer = whole
    meet(coordinator, end)
    assert end.done
    assert not end.refused


def test_a_site_is_told_once_why_an_archive_was_not_taken(ends):
    coordinator, sites = ends
    path = put(sites["west"], 1)
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    for _ in range(2):
        meet(coordinator, sites["west"])
    assert sites["west"].refused
    assert sites["west"].done
    (said,) = [words for words in sites["west"].said if "did not take" in words]
    assert path.name in said


def test_the_gate_lets_sites_reach_the_fleet_only():
    reached, answers = [], []

    async def app(scope, receive, send):
        reached.append(scope["path"])

    async def send(message):
        answers.append(message.get("status"))

    for path, given in (
        ("/v1/fleet/pull-messages", ""),
        ("/v1/control/start-run", ""),
        ("/v1/runtime/acquire-task", "no"),
    ):
        scope = {"type": "http", "path": path, "headers": [(HEADER.encode(), given.encode())]}
        asyncio.run(Gate(app, "secret")(scope, None, send))
    assert reached == ["/v1/fleet/pull-messages"]
    assert answers == [403, None, 403, None]


def test_without_flower_it_is_refused_by_the_name_of_the_extra(ends, monkeypatch):
    coordinator, sites = ends
    monkeypatch.setitem(sys.modules, "flwr", None)
    with pytest.raises(GroupError, match="flower"):
        carry_at_site(sites["east"].place, print, once=True)
    with pytest.raises(GroupError, match="flower"):
        carry_at_coordinator(coordinator.place, "127.0.0.1", 0, print, print, None)
    with pytest.raises(GroupError):
        relayed(coordinator.place, ADDRESS)  # a group has one way
