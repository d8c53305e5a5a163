"""The relay on loopback over TLS: who is let in, what is kept, what goes on after an interruption."""

import contextlib
import hashlib
import json
import socket
import ssl
import subprocess
import sys
from http.client import HTTPSConnection

import numpy as np
import pytest

from federated_group import PLANTED, new_place, round_members, send, send_joining, wait
from nephroscope.base.documents import read_document
from nephroscope.base.errors import GroupError
from nephroscope.federated.aggregate import aggregate
from nephroscope.federated.certificates import certifier
from nephroscope.federated.coordinator import invite, look
from nephroscope.federated.group import Invitation
from nephroscope.federated.group_place import GroupPlace
from nephroscope.federated.keys import make_key
from nephroscope.federated.place import SitePlace, make_place
from nephroscope.federated.relay import relayed
from nephroscope.federated.relay_client import CHUNK, relay_way

SITES = ("east", "north", "west")


STUDY = 'format = 2\nsubtypes = ["PRCC", "ChRCC"]\npositive = "PRCC"\n'
DYING = """
import os, sys
from nephroscope.cli import run
from nephroscope.federated.relay_client import RelayWay
call, puts = RelayWay._call, []
def dying(self, method, *more):
    puts.extend([method] if method == "PUT" else [])
    return call(self, method, *more) if len(puts) < 2 else os._exit(9)
RelayWay._call = dying
sys.exit(run(sys.argv[1:]))
"""  # a site that is killed at its second piece


@contextlib.contextmanager
def serving(folder, port):
    """The relay in a process of its own, which is killed at the end."""
    words = [sys.executable, "-m", "nephroscope", "federate", "relay", str(folder), "--port", str(port)]
    with subprocess.Popen(
        [*words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert json.loads(process.stdout.readline())["port"] == port
            yield
        finally:
            process.kill()
            assert process.stdout.read() == ""  # it logs nothing of who called, and for what


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def joined(root, place, site, relay):
    certify = certifier(place.folder, relay)
    relayed(place, relay)
    path = invite(place, site, relay, certify)
    return make_place(root / PLANTED / site / "federated" / "renal", read_document(path, Invitation, 1), None)


def deliver(own: SitePlace, outbox, step):
    """Sign an archive into a folder, and send it through the relay."""
    outbox.mkdir(exist_ok=True)
    path = send(own, step, round_members(own), folder=outbox) if step else send_joining(own, folder=outbox)
    own.way.put(path, path.name)
    return path


def approved(root, site, *python):
    """`federate approve` in a process of its own; gives its exit code."""
    words = python or ("-m", "nephroscope")
    done = subprocess.run(
        [sys.executable, *words, "federate", "approve", str(root / PLANTED / site), "--by", "tester"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.fixture
def over_tls(tmp_path):
    """Three hospitals that joined, and where their relay is."""
    port = free_port()
    place = new_place(tmp_path / "renal", sites=())
    own = {site: joined(tmp_path, place, site, f"127.0.0.1:{port}") for site in SITES}
    for site in SITES:
        (tmp_path / PLANTED / site / "study.toml").write_text(STUDY)
    return place, own, port


def test_rounds_with_a_site_killed_one_late_one_changed_and_the_relay_killed(over_tls, tmp_path):
    place, own, port = over_tls
    relay = place.folder / "relay"
    assert {path.name for path in relay.iterdir()} == {
        "authority.pem",
        "relay.pem",
        "relay.key.pem",
        "relay.json",
    }
    assert not list((place.folder / "tls").glob("site-*"))
    with serving(relay, port):
        for site in SITES:
            deliver(own[site], tmp_path / "out", 0)
        aggregate(place)
        waiting = {site: wait(own[site], 1, round_members(own[site])) for site in SITES}
        assert approved(tmp_path, "east", "-c", DYING)[0] == 9
        assert [part.stat().st_size for part in (relay / "parts").iterdir()] == [CHUNK]
    assert approved(tmp_path, "east")[0] == 2  # the relay is away, killed
    good = waiting["west"].archive.read_bytes()
    waiting["west"].archive.write_bytes(good[:-1] + b"x")
    with serving(relay, port):  # a restart loses nothing
        assert approved(tmp_path, "east")[0] == 0
        assert not list((relay / "parts").iterdir())
        assert approved(tmp_path, "west")[0] == 2  # it is not what was listed
        waiting["west"].archive.write_bytes(good)
        assert approved(tmp_path, "west")[0] == 0
        own["west"].way.put(own["west"].sent / waiting["west"].archive.name, waiting["west"].archive.name)
        assert look(place).missing == ("north",)
        aggregate(place, ["north"])
        assert approved(tmp_path, "north")[0] == 0
        assert [(r.site, r.code) for r in look(place).refused] == [("north", "archive-late")]
        assert len(own["west"].receive()) == 2
        _refusals(place, own, tmp_path, port)
        _made_again(place, own["west"], tmp_path / "out")
        _goes_on(place, own["east"], tmp_path)
    with pytest.raises(GroupError):
        own["east"].way.names()
    for path in relay.rglob("*"):
        assert path.is_dir() or PLANTED.encode() not in path.read_bytes()


def _made_again(place, own, out):
    """Refused for its contents: the relay gives the name free, and takes other bytes only."""
    name = own.name_of(2)
    bad = send(own, 2, round_members(own, add=np.nan), folder=out)
    own.way.put(bad, name)
    with pytest.raises(GroupError, match="403"):
        own.way.give_up(name, hashlib.sha256(bad.read_bytes()).hexdigest(), "00" * 64)
    for _ in range(2):  # it stays refused, though it is no longer at the relay
        assert ("west", 2, "archive-damaged") in {(r.site, r.step, r.code) for r in look(place).refused}
        assert name not in own.way.names()
    with pytest.raises(GroupError, match="410"):
        own.way.put(bad, name)
    own.way.put(send(own, 2, round_members(own), folder=out), name)
    assert "west" in look(place).archives


def _refusals(place, own, tmp_path, port):
    """Replays, other bytes under a name, the wrong key, other certificates and none."""
    east, west = own["east"].way, own["west"].way
    with pytest.raises(GroupError, match="archive-replayed"):
        east.put(own["east"].sent / "renal-001-east.zip", "renal-002-east.zip")
    thief, out = tmp_path / "thief", tmp_path / "out"
    make_key(thief)
    other = send(own["west"], 1, {"figures.json": b"{}"}, previous="", name="x.zip", folder=out)
    with pytest.raises(GroupError, match="409"):
        west.put(other, "renal-001-west.zip")
    path = send(own["west"], 2, {}, key=thief, name="y.zip", folder=out)
    with pytest.raises(GroupError, match="archive-key"):
        west.put(path, "renal-002-west.zip")
    assert "renal-002-west.zip" not in west.names()
    assert not list((place.folder / "relay" / "parts").iterdir())
    stranger = new_place(tmp_path / "stranger", sites=())
    certifier(stranger.folder, f"127.0.0.1:{port}")
    for name in ("authority.pem", "coordinator.pem", "coordinator.key.pem"):
        (tmp_path / name).write_bytes((stranger.folder / "tls" / name).read_bytes())
    with pytest.raises(GroupError, match="certificate"):  # it does not know this relay
        relay_way(f"127.0.0.1:{port}", tmp_path, "coordinator", "coordinator.key").names()
    (tmp_path / "authority.pem").write_bytes((place.folder / "tls" / "authority.pem").read_bytes())
    with pytest.raises(GroupError):  # the relay does not know it
        relay_way(f"127.0.0.1:{port}", tmp_path, "coordinator", "coordinator.key").names()
    context = ssl.create_default_context(cafile=tmp_path / "authority.pem")
    bare = HTTPSConnection("127.0.0.1", port, context=context)
    with pytest.raises(OSError, match=r"certificate|closed|reset|abort"):  # without any
        bare_names(bare)
    bare.close()


def bare_names(connection):
    connection.request("GET", "/archives")
    connection.getresponse()


def _goes_on(place, own, tmp_path):
    """An upload and a download that were cut off go on where they stopped."""
    path = send(own, 2, round_members(own), folder=tmp_path / "out")
    content, way = path.read_bytes(), own.way
    assert len(content) > 2 * CHUNK
    digest = hashlib.sha256(content).hexdigest()
    address = f"/uploads/{path.name}/{digest}"
    headers = {"Content-Length": str(CHUNK), "X-Begin": "0", "X-Size": str(len(content))}
    with way._call("PUT", address, headers, content[:CHUNK]) as answer:
        answer.read()
    sent = []
    call = type(way)._call

    def counting(self, method, where, headers=None, body=None):
        sent.append(len(body or b""))
        return call(self, method, where, headers, body)

    type(way)._call = counting
    try:
        way.put(path, path.name)
        assert sum(sent) == len(content) - CHUNK
        part = tmp_path / ".new.zip.part"
        part.write_bytes(content[:1000])
        way.fetch(path.name, tmp_path / "new.zip")
        assert (tmp_path / "new.zip").read_bytes() == content
        (tmp_path / ".other.zip.part").write_bytes(b"other bytes")
        with pytest.raises(GroupError):
            way.fetch(path.name, tmp_path / "other.zip")
        way.fetch(path.name, tmp_path / "other.zip")
    finally:
        type(way)._call = call
    assert GroupPlace(place.folder).relay
