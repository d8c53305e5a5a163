"""Certificates of the relay and of those who call it, made by the coordinator: mutual TLS without anybody else.

They say who may reach the relay. Who made an archive is said by its signature alone.
"""

import ipaddress
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nephroscope.base.errors import ConfigError, GroupError
from nephroscope.federated.keys import write_private

YEARS, SOON = 3, 30  # days
RELAYS = ("authority.pem", "relay.pem", "relay.key.pem")  # what the computer of the relay needs
logger = logging.getLogger(__name__)
AUTHORITY, SERVER, COORDINATOR = "authority", "relay", "coordinator"


def certifier(folder: Path, relay: str) -> Callable[[str], tuple[str, str, str]]:
    """Make the authority, the relay's certificate and the coordinator's where there are none.

    Args:
        folder: Of the group; they lie in ``tls/`` there.
        relay: ``host:port`` of the relay.

    Returns:
        What gives the authority's certificate, and certificate and key for a site, as PEM texts.

    Raises:
        ConfigError: The address is none.
        GroupError: The relay's certificate is for another host.
    """
    return certifier_in(folder / "tls", folder.name, host_of(relay)[0])


def certifier_in(tls: Path, group: str, host: str) -> Callable[[str], tuple[str, str, str]]:
    """The same, in a folder and for a host."""
    if not (tls / f"{AUTHORITY}.pem").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"nephroscope group {group}")
        builder = _builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        _write(tls, AUTHORITY, key, builder.sign(key, hashes.SHA256()))
    for owner, usage in (
        (SERVER, ExtendedKeyUsageOID.SERVER_AUTH),
        (COORDINATOR, ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        if not (tls / f"{owner}.pem").exists():
            _issue(tls, owner, host if owner == SERVER else "", usage)
    _check_host(tls / f"{SERVER}.pem", host)

    def certify(site: str) -> tuple[str, str, str]:
        own = f"site-{site}"
        if not (tls / f"{own}.pem").exists():
            _issue(tls, own, "", ExtendedKeyUsageOID.CLIENT_AUTH)
        paths = (tls / f"{AUTHORITY}.pem", tls / f"{own}.pem", tls / f"{own}.key.pem")
        texts = [path.read_text(encoding="ascii") for path in paths]
        paths[1].unlink()  # killed here: both are made again, as there is no certificate
        paths[2].unlink()  # only the site keeps it
        return texts[0], texts[1], texts[2]

    return certify


def check_dates(path: Path) -> None:
    """Refuse a certificate that ended, and say so of one that soon will.

    Raises:
        GroupError: It ended, or is damaged.
    """
    remedy = "the coordinator runs `nephroscope federate renew GROUP`, and hands out the invitations again"
    try:
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise GroupError(
            where=f"tls/{path.name}", expected="a certificate", found="none, or a damaged file", remedy=remedy
        ) from error
    left = ends - datetime.now(UTC)
    if left < timedelta(0):
        raise GroupError(
            where=f"tls/{path.name}",
            expected="a certificate that is valid today",
            found=f"one that ended on {ends:%Y-%m-%d}",
            remedy=remedy,
        )
    if left < timedelta(days=SOON):
        logger.warning("the certificate %s ends on %s: %s", path.name, f"{ends:%Y-%m-%d}", remedy)


def host_of(relay: str) -> tuple[str, int]:
    """Host and port of an address such as ``relay.example.org:8443``.

    Raises:
        ConfigError: It is none.
    """
    host, _, port = relay.rpartition(":")
    if not host or "/" in relay or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(
            where="--relay",
            expected="a host and a port, such as relay.example.org:8443",
            found=repr(relay),
            remedy="correct it",
        )
    return host, int(port)


def _issue(tls: Path, owner: str, host: str, usage: x509.ObjectIdentifier) -> None:
    """A key, and a certificate for it by the authority."""
    authority = x509.load_pem_x509_certificate((tls / f"{AUTHORITY}.pem").read_bytes())
    signer = load_pem_private_key((tls / f"{AUTHORITY}.key.pem").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(owner), authority.subject, key)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(identifier, False)
    if host:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(host)]), False)
    _write(tls, owner, key, builder.sign(signer, hashes.SHA256()))


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _write(tls: Path, owner: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(tls / f"{owner}.key.pem", private)
    write_private(tls / f"{owner}.pem", certificate.public_bytes(Encoding.PEM))


def _check_host(path: Path, host: str) -> None:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if _alternative(host) not in list(names):
        raise GroupError(
            where="--relay",
            expected="the host that the relay's certificate is for",
            found=host,
            remedy="use the same address for every site",
        )
