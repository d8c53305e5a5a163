"""One archive of the exchange: a zip file of tensors and figures, and a manifest of them that its sender signed.

Nothing in it is run, unpacked to a path, or unpickled: members are stored without compression, their names, number
and sizes are bounded, and each is compared with the manifest before it is parsed.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from nephroscope.base.documents import as_plain, from_plain
from nephroscope.base.errors import ArchiveError, NephroscopeError
from nephroscope.base.files import replacing
from nephroscope.base.limits import parse_json
from nephroscope.federated.keys import is_signed_by, sign

FORMAT = 1
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
FIGURES = "figures.json"  # of a site, in every archive but its first
MOST_MEMBERS, MOST_BYTES = 2000, 16 * 2**30
MOST_MANIFEST, MOST_JSON, MOST_TENSORS = 2**20, 16 * 2**20, 2**31
NAME = re.compile(r"[a-z][A-Za-z0-9_-]{0,99}\.(json|safetensors)")
SIGNED = b"nephroscope archive 1\n"
Reason = Literal["changed", "key", "group", "round", "replayed", "late", "damaged", "sender"]
Document = TypeVar("Document")


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file of an archive: its name, length in bytes and SHA-256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an archive says of itself.

    Attributes:
        group: Identifier of the group.
        step: 0 joining, then the rounds, then what comes after them.
        sender: Name of a site, or ``coordinator``.
        previous: Digest of the coordinator's archive that this one answers; empty in the first ones.
        members: Every other file, by name.
    """

    format: int
    group: str
    step: int
    sender: str
    previous: str
    members: tuple[Member, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Archive:
    """An archive whose signature was proved; members are read and compared when they are asked for.

    Attributes:
        digest: SHA-256 of its manifest.
    """

    path: Path
    manifest: Manifest
    digest: str

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Raises:
            ArchiveError: There is no such member, or it is not as it was signed.
        """
        listed = {member.name: member for member in self.manifest.members}
        if name not in listed:
            raise refused("damaged", self.path, f"the file {name} in it", "none")
        try:
            with zipfile.ZipFile(self.path) as file:
                content = file.read(name)
        except (zipfile.BadZipFile, OSError, KeyError, NotImplementedError, RuntimeError) as error:
            raise refused("changed", self.path, "the archive as it was signed", "a damaged member") from error
        if len(content) != listed[name].bytes or hashlib.sha256(content).hexdigest() != listed[name].sha256:
            raise refused("changed", self.path, f"{name} as it was signed", "other bytes")
        return content

    def document(self, name: str, kind: type[Document]) -> Document:
        """A typed document in it.

        Raises:
            ArchiveError: It is missing, changed, or holds something else.
        """
        content = self.read(name)
        try:
            plain = parse_json(content.decode("utf-8"))
        except (ValueError, UnicodeDecodeError) as error:
            raise refused("damaged", self.path, f"a JSON object in {name}", "another file") from error
        return from_plain(
            plain, kind, f"{self.path.name}, {name}", "ask the sender for it again", ArchiveError
        )

    def check_all(self) -> None:
        """Compare every member with the manifest.

        Raises:
            ArchiveError: One is not as it was signed.
        """
        for member in self.manifest.members:
            self.read(member.name)


def refused(reason: Reason, path: Path, expected: str, found: str, remedy: str = "") -> ArchiveError:
    """The refusal of an archive, for a reason that its code names."""
    error = ArchiveError(
        where=f"archive {path.name}",
        expected=expected,
        found=found,
        remedy=remedy or "it was not used; ask the sender for it again",
    )
    error.code = f"archive-{reason}"
    return error


def as_json(document: object) -> bytes:
    """A typed document as the bytes of a member: canonical JSON."""
    return json.dumps(as_plain(document), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def manifest_of(group: str, step: int, sender: str, previous: str, members: Mapping[str, bytes]) -> Manifest:
    """The manifest of these members."""
    listed = [
        Member(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in sorted(members.items())
    ]
    return Manifest(
        format=FORMAT, group=group, step=step, sender=sender, previous=previous, members=tuple(listed)
    )


def write_archive(path: Path, manifest: Manifest, members: Mapping[str, bytes], key: Path) -> str:
    """Write an archive signed by the key in a folder; gives its digest. The same content gives the same bytes."""
    content = as_json(manifest)
    signature = sign(key, SIGNED + content)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        for name, data in ((MANIFEST, content), (SIGNATURE, signature.encode()), *sorted(members.items())):
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return hashlib.sha256(content).hexdigest()


def open_archive(path: Path, public: str, group: str = "", sender: str = "") -> Archive:
    """Open an archive and prove who signed it, before anything else in it is looked at.

    Args:
        path: The file.
        public: Public key of its sender, in hex.
        group: Identifier of the group that it must be of; empty takes any.
        sender: Who must have sent it; empty takes any.

    Raises:
        ArchiveError: It is damaged, too large, signed by another key, or of another group or sender.
    """
    content, signature, sizes = _raw(path)
    manifest = _manifest(path, content)
    if not is_signed_by(public, signature, SIGNED + content):
        raise refused(
            "key", path, "the signature of its sender's key", "that of another key, or a changed manifest"
        )
    if sizes != {member.name: member.bytes for member in manifest.members}:
        raise refused("changed", path, "the files that its manifest lists", "others")
    if group and manifest.group != group:
        raise refused("group", path, "an archive of this group", "one of another group")
    if sender and manifest.sender != sender:
        raise refused("sender", path, f"an archive of {sender}", f"one of {manifest.sender[:40]!r}")
    return Archive(path=path, manifest=manifest, digest=hashlib.sha256(content).hexdigest())


def claimed(path: Path) -> Manifest:
    """What an archive says of itself, before it is known who signed it.

    Raises:
        ArchiveError: It is damaged or too large.
    """
    return _manifest(path, _raw(path)[0])


def _raw(path: Path) -> tuple[bytes, str, dict[str, int]]:
    """Bytes of the manifest, its signature, and the sizes of the other members, all bounded."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise refused("damaged", path, f"at most {MOST_BYTES // 2**30} GiB", "a larger file")
        with zipfile.ZipFile(path) as file:
            infos = file.infolist()
            sizes = {info.filename: info.file_size for info in infos}
            odd = [info for info in infos if not _is_plain(info)]
            if odd or len(sizes) != len(infos) or len(infos) > MOST_MEMBERS:
                raise refused(
                    "damaged", path, "files of tensors and figures only", "other files, or too many"
                )
            small = sizes.pop(MANIFEST, 0), sizes.pop(SIGNATURE, 0)
            if not 0 < small[0] <= MOST_MANIFEST or not 0 < small[1] <= 1000:
                raise refused("damaged", path, "a signed manifest", "none")
            return file.read(MANIFEST), file.read(SIGNATURE).decode("ascii", "replace"), sizes
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise refused("damaged", path, "a signed archive", "a damaged or different file") from error


def _is_plain(info: zipfile.ZipInfo) -> bool:
    """True for a member that may be there: a name without a path, not compressed, not encrypted, not too long."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
        return False
    if info.filename in (MANIFEST, SIGNATURE):
        return True
    most = MOST_JSON if info.filename.endswith(".json") else MOST_TENSORS
    return NAME.fullmatch(info.filename) is not None and info.file_size <= most


def _manifest(path: Path, content: bytes) -> Manifest:
    try:
        plain = parse_json(content.decode("utf-8"))
        manifest = from_plain(plain, Manifest, path.name, "", ArchiveError)
    except (ValueError, NephroscopeError) as error:
        raise refused("damaged", path, "a manifest", "something else") from error
    if manifest.format != FORMAT or as_json(manifest) != content:
        raise refused("damaged", path, f"a manifest of format {FORMAT}", "another one")
    return manifest


def claimed_document(path: Path, name: str, kind: type[Document]) -> Document:
    """A document of an archive whose signature is not proved yet: to learn which key it claims.

    Raises:
        ArchiveError: It is damaged, or there is none.
    """
    content, _, _ = _raw(path)
    manifest = _manifest(path, content)
    return Archive(path=path, manifest=manifest, digest="").document(name, kind)
