"""The relay on loopback over TLS: who is let in, what is kept, what goes on after an interruption."""

import contextlib
import hashlib
import socket
import ssl
import threading
from http.client import HTTPSConnection

import pytest

from federated_group import new_place, round_members, send, send_joining
from nephroscope.base.documents import read_document
from nephroscope.base.errors import GroupError
from nephroscope.federated.aggregate import aggregate
from nephroscope.federated.certificates import certifier
from nephroscope.federated.coordinator import invite, look
from nephroscope.federated.group import Invitation
from nephroscope.federated.group_place import GroupPlace
from nephroscope.federated.keys import make_key
from nephroscope.federated.place import SitePlace, make_place
from nephroscope.federated.relay import relay_server, relayed
from nephroscope.federated.relay_client import CHUNK, relay_way

SITES = ("east", "west")


@contextlib.contextmanager
def serving(folder, port):
    ready, taken = threading.Event(), []
    server = relay_server(folder, "127.0.0.1", port, lambda found: (taken.append(found), ready.set()))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield taken[0]
    finally:
        server.should_exit = True
        thread.join(20)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def joined(root, place, site, relay):
    certify = certifier(place.folder, relay)
    relayed(place, relay)
    path = invite(place, site, relay, certify)
    return make_place(root / site, read_document(path, Invitation, 1), None)


def deliver(own: SitePlace, outbox, step):
    """Sign an archive into a folder, and send it through the relay."""
    outbox.mkdir(exist_ok=True)
    path = send(own, step, round_members(own), folder=outbox) if step else send_joining(own, folder=outbox)
    own.way.put(path, path.name)
    return path


def test_a_round_through_the_relay(tmp_path):
    port = free_port()
    relay = f"127.0.0.1:{port}"
    place = new_place(tmp_path / "renal", sites=())
    own = {site: joined(tmp_path, place, site, relay) for site in SITES}
    held = {path.name for path in (place.folder / "relay").iterdir()}
    assert held == {"authority.pem", "relay.pem", "relay.key.pem", "relay.json"}
    assert not list((place.folder / "tls").glob("site-*"))
    with serving(place.folder / "relay", port):
        for site in SITES:
            deliver(own[site], tmp_path / "out", 0)
        aggregate(place)
    with serving(place.folder / "relay", port):  # a restart loses nothing
        paths = {site: deliver(own[site], tmp_path / "out", 1) for site in SITES}
        own["east"].way.put(paths["east"], paths["east"].name)  # again: nothing changes
        assert look(place).missing == ()
        aggregate(place)
        assert len(own["west"].receive()) == 2
        _refusals(place, own, tmp_path, port, paths)
        _goes_on(place, own["east"], tmp_path)
    with pytest.raises(GroupError):
        own["east"].way.names()


def _refusals(place, own, tmp_path, port, paths):
    """Replays, other bytes under a name, the wrong key, other certificates and none."""
    east, west = own["east"].way, own["west"].way
    with pytest.raises(GroupError, match="archive-replayed"):
        east.put(paths["east"], "renal-002-east.zip")
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
