"""Ed25519 keys of a coordinator and of sites: a key signs bytes, a public key proves who signed them."""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from nephroscope.base.errors import GroupError
from nephroscope.base.files import replacing

KEY = "key.pem"


def make_key(folder: Path) -> str:
    """Make a private key where there is none, readable by its owner only; gives the public one, in hex."""
    path = folder / KEY
    if not path.exists():
        private = Ed25519PrivateKey.generate()
        write_private(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return _load(path).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    with replacing(path) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)


def sign(folder: Path, content: bytes) -> str:
    """The signature of bytes by the key in a folder, in hex.

    Raises:
        GroupError: There is no key, or it is damaged.
    """
    return _load(folder / KEY).sign(content).hex()


def is_signed_by(public: str, signature: str, content: bytes) -> bool:
    """True when the owner of a public key signed these bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), content)
    except (InvalidSignature, ValueError):
        return False
    return True


def fingerprint(public: str) -> str:
    """Twenty digits of a public key to be compared on the telephone."""
    digits = hashlib.sha256(bytes.fromhex(public)).hexdigest()[:20]
    return " ".join(digits[i : i + 4] for i in range(0, 20, 4))


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise _no_key(path, "none, or a damaged file") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "a key of another kind")
    return key


def _no_key(path: Path, found: str) -> GroupError:
    return GroupError(
        where=f"{path.parent.name}/{path.name}",
        expected="the private key that was made here",
        found=found,
        remedy="put it back from a backup, or join the group again under another name",
    )
