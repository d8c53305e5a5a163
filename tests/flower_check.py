"""Three sites and a coordinator through Flower on loopback, with TLS and keys; `python dev.py flower` runs it.

One site is killed in the middle of a transfer and goes on, one sends a changed archive and then a good one, one is
late, a stranger and an uninvited key are turned away, and all that was sent is searched for planted names. Archives
are those of tests/federated_group.py, which nobody trained; the sites are processes of their own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import flwr
import httpx

import licenses_of
from federated_group import TRAINING, new_place, round_members, send, send_joining
from nephroscope.base.documents import read_document
from nephroscope.base.errors import GroupError
from nephroscope.federated import flower
from nephroscope.federated.aggregate import aggregate
from nephroscope.federated.certificates import certifier
from nephroscope.federated.coordinator import invite, look
from nephroscope.federated.group import Invitation
from nephroscope.federated.keys import make_key
from nephroscope.federated.place import SitePlace, make_place
from nephroscope.federated.relay import flowered
from nephroscope.federated.relay_client import tls_context

SITES = ("east", "north", "west")
PLANTED = "DOE^JANE"
STUDY = 'format = 2\nsubtypes = ["PRCC", "ChRCC"]\npositive = "PRCC"\n'
PORT = int(os.environ.get("FLOWER_PORT", "9877"))
seen: list[tuple[str, bytes]] = []  # addresses that were called, and what was sent there
pieces = threading.Semaphore(0)
BEGAN = time.monotonic()


class Listening(flower.Gate):
    """The gate, which keeps all that came."""

    async def __call__(self, scope, receive, send_on):
        async def taken():
            event = await receive()
            seen.append((scope.get("path", ""), event.get("body", b"")))
            if len(event.get("body", b"")) > 10**4 and scope["path"] == "/v1/fleet/push-object":
                pieces.release()
            return event

        await super().__call__(scope, taken if scope["type"] == "http" else receive, send_on)


class Coordinator:
    """Flower's server and the coordinator's end, in a thread."""

    def __init__(self, place):
        self.stop, self.said, ready, failed = threading.Event(), [], threading.Event(), []

        def serve():
            try:
                flower.carry_at_coordinator(
                    place, "127.0.0.1", PORT, lambda _: ready.set(), self.said.append, self.stop
                )
            except Exception as error:  # said below
                traceback.print_exc()
                failed.append(error)
                ready.set()

        self.thread = threading.Thread(target=serve, daemon=True)
        self.thread.start()
        assert ready.wait(60)
        assert not failed, repr(failed[0])

    def end(self):
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


def site(root, name):
    """A study that joined, as far as the command looks."""
    return SitePlace(root / PLANTED / name / "federated" / "renal")


def carry(root, name, wait=True, code=0):
    """The command at a site, in a process of its own; it ends with 2 where an archive was not taken."""
    study = root / PLANTED / name
    words = [sys.executable, "-m", "nephroscope", "federate", "flower", str(study), "--once"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not wait:
        return process
    said, _ = process.communicate(timeout=200)
    print(f"{time.monotonic() - BEGAN:4.0f} s  {name}: {said.strip()}")
    assert process.returncode == code, process.returncode
    return None


def join_all(root):
    address = f"127.0.0.1:{PORT}"
    place = new_place(root / "renal", sites=())
    certify = certifier(place.folder, address)
    flowered(place, address)
    for name in SITES:
        invitation = read_document(invite(place, name, certify=certify, flower=address), Invitation, 1)
        own = make_place(site(root, name).folder, invitation, None)
        (root / PLANTED / name / "study.toml").write_text(STUDY)
        make_key(own.folder)
        own.exchange.mkdir()
        (own.exchange / "patients.csv").write_text(PLANTED)  # lies there by mistake
        send_joining(own, folder=own.exchange)
    return place


def main():
    licenses_of.check("flower")
    root = Path(tempfile.mkdtemp())
    try:
        place = join_all(root)
        flower.Gate = Listening
        coordinator = Coordinator(place)
        strangers(root, place)
        for name in SITES:
            carry(root, name)
        assert look(place).missing == ()
        aggregate(place)
        first_round(root, place, coordinator)
        coordinator.end()
        searched(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(
        f"flwr {flwr.__version__}: {len(seen)} calls, {sum(len(b) for _, b in seen) / 1e6:.1f} MB, {TRAINING.model}"
    )


def strangers(root, place):
    """Another authority's certificate, one of the group with another key, and a site that asks for more."""
    other = new_place(root / "other", sites=())
    certifier(other.folder, f"127.0.0.1:{PORT}")
    foreign = root / "foreign"
    shutil.copytree(site(root, "east").folder, foreign / "federated" / "renal")
    (foreign / "study.toml").write_text(STUDY)
    tls = foreign / "federated" / "renal" / "tls"
    tls.mkdir()
    for ours, theirs in (("certificate", "coordinator.pem"), ("private", "coordinator.key.pem")):
        shutil.copy(other.folder / "tls" / theirs, tls / f"{ours}.pem")
    shutil.copy(place.folder / "tls" / "authority.pem", tls)
    for certificate in ("of another group", "of this group, whose key is not that of a site"):
        try:
            flower.carry_at_site(SitePlace(foreign / "federated" / "renal"), print, once=True)
        except GroupError as error:
            print(f"a certificate {certificate}: {error.found}")
        else:
            raise AssertionError(certificate)
        for ours, theirs in (("certificate", "coordinator.pem"), ("private", "coordinator.key.pem")):
            shutil.copy(place.folder / "tls" / theirs, tls / f"{ours}.pem")
    context = tls_context(site(root, "east").write_tls(), "certificate", "private")
    for address in ("/v1/control/start-run", "/v1/control/list-runs", "/v1/runtime/acquire-task", "/docs"):
        with httpx.Client(verify=context) as client:
            assert client.post(f"https://127.0.0.1:{PORT}{address}").status_code == 403, address


def first_round(root, place, coordinator):
    own = {name: site(root, name) for name in SITES}
    for name in SITES:
        carry(root, name)  # takes the archive that begins the round
        assert len(own[name].receive()) == 1, name
    late = own["north"]
    paths = {name: send(own[name], 1, round_members(own[name]), folder=own[name].exchange) for name in SITES}
    good = paths["west"].read_bytes()
    changed = bytearray(good)
    changed[len(good) // 2] ^= 1
    paths["west"].write_bytes(changed)
    before = len(seen)
    killed = carry(root, "east", wait=False)
    while pieces.acquire(blocking=False):
        pass
    assert pieces.acquire(timeout=60)
    killed.kill()
    killed.communicate()
    print(f"killed after {sum(len(body) for _, body in seen[before:]) / 1e6:.1f} of {len(good) / 1e6:.1f} MB")
    assert not (place.exchange / paths["east"].name).exists()
    carry(root, "east")
    sent = sum(len(body) for address, body in seen[before:] if address == "/v1/fleet/push-object")
    assert (place.exchange / paths["east"].name).read_bytes() == paths["east"].read_bytes()
    assert sent < 2 * len(good), "it began again"
    carry(root, "west", code=2)
    assert any("archive-changed" in one for one in coordinator.said), coordinator.said
    paths["west"].write_bytes(good)
    carry(root, "west")
    assert look(place).missing == ("north",)
    aggregate(place, ["north"])
    carry(root, "north")  # too late
    refused = [(r.site, r.step, r.code) for r in look(place).refused]
    assert refused == [("north", 1, "archive-late")], refused
    assert len(late.receive()) == 2
    assert place.steps()[1].missing == ("north",)


def searched(root):
    """Nothing but archives went: no program was asked for, and no name is in any message."""
    addresses = {address for address, _ in seen}
    assert "/v1/fleet/push-object" in addresses
    assert "/v1/fleet/get-fab" not in addresses
    everything = b"".join(body for _, body in seen)
    for planted in (PLANTED, "patients.csv", str(root)):
        assert planted.encode() not in everything, planted


if __name__ == "__main__":
    main()
    print(f"all as it should be, {time.monotonic() - BEGAN:.0f} s")
