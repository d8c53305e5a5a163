"""Certificates of a group: when they end, and that they are made anew without anything else changing."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from federated_group import new_place
from nephroscope.base.documents import read_document
from nephroscope.base.errors import GroupError
from nephroscope.federated import certificates
from nephroscope.federated.certificates import certifier, check_dates
from nephroscope.federated.coordinator import invite
from nephroscope.federated.group import Invitation
from nephroscope.federated.keys import make_key
from nephroscope.federated.place import SitePlace, make_place, renewed
from nephroscope.federated.relay import relayed
from nephroscope.federated.relay_client import tls_context
from nephroscope.federated.renewal import renew

RELAY = "127.0.0.1:8443"


@pytest.fixture
def group(tmp_path):
    """A group with a relay, and a site of it."""
    place = new_place(tmp_path / "renal", sites=())
    certify = certifier(place.folder, RELAY)
    relayed(place, RELAY)
    path = invite(place, "east", RELAY, certify)
    own = make_place(tmp_path / "east", read_document(path, Invitation, 1), None)
    make_key(own.folder)
    return place, own, path


def ends(pem):
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc


@pytest.mark.parametrize(("years", "said"), [(3, 0), (20 / 365, 1), (-1, None)])
def test_a_certificate_that_ends_is_said_and_an_ended_one_refused(
    group, tmp_path, monkeypatch, caplog, years, said
):
    path = group[0].folder / "tls" / "coordinator.pem"
    until = ends(path.read_bytes())
    day = until - timedelta(days=365 * years)

    class Then(datetime):
        @classmethod
        def now(cls, zone=None):
            return day

    monkeypatch.setattr(certificates, "datetime", Then)
    with caplog.at_level(logging.WARNING):
        if said is None:
            with pytest.raises(GroupError) as error:
                tls_context(group[0].folder / "tls", "coordinator", "coordinator.key")
            assert until.strftime("%Y-%m-%d") in error.value.found
        else:
            check_dates(path)
    assert len(caplog.records) == (said or 0)


def test_renewed_certificates_change_nothing_else(group):
    place, own, path = group
    before, key = own.invitation, make_key(own.folder)
    old = own.write_tls()
    old_certificate = (old / "certificate.pem").read_bytes()
    assert not renewed(own.folder, before)  # the same one again
    (place.folder / "tls" / "relay.pem").unlink()  # a renewal that was killed
    assert renew(place) == [path]
    after = read_document(path, Invitation, 1)
    assert (after.plan, after.code, after.site, after.relay) == (
        before.plan,
        before.code,
        before.site,
        before.relay,
    )
    assert renewed(own.folder, after)
    own = SitePlace(own.folder)
    assert make_key(own.folder) == key
    assert (own.write_tls() / "certificate.pem").read_bytes() != old_certificate
    assert ends(after.certificate.encode()) > datetime.now(UTC) + timedelta(days=1000)
    relay = place.folder / "relay"
    assert {name: (relay / name).read_bytes() for name in certificates.RELAYS} == {
        name: (place.folder / "tls" / name).read_bytes() for name in certificates.RELAYS
    }
    with pytest.raises(GroupError):
        make_place(own.folder, before, None)  # the former one is no invitation any more


def test_there_is_nothing_to_renew_without_a_relay(tmp_path):
    with pytest.raises(GroupError):
        renew(new_place(tmp_path / "renal"))
