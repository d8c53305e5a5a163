"""Archives that are proved: where the relay, and either end of Flower, keeps what came in pieces.

An archive is kept once its signature is proved with the public keys that the group published; its name can be taken
again only after the coordinator refused these bytes. Nothing is in memory that a restart would lose.
"""

import hashlib
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path

from nephroscope.base.errors import NephroscopeError
from nephroscope.base.files import file_digest, make_folder, save_text, sync_file, sync_folder
from nephroscope.federated.archive import MOST_BYTES, as_json, claimed, claimed_document, open_archive
from nephroscope.federated.group import COORDINATOR, Group, Joining, Plan
from nephroscope.federated.ways import archive_name

MOST_PARTS = 200
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\.zip")
SHA256 = re.compile(r"[0-9a-f]{64}")
REFUSAL = b"nephroscope refusal 1\n"


class RefusedError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass
class Store:
    """A folder of archives that are proved, and what is still coming.

    Attributes:
        plan: Of the group.
        archives: Folder of those that are proved.
        folder: Holds ``parts/``, which are still coming, and ``refused/``, digests that are not taken again.
    """

    plan: Plan
    archives: Path
    folder: Path
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Make the folders."""
        for path in (self.archives, self.folder / "parts", self.folder / "refused"):
            make_folder(path)

    def names(self) -> list[str]:
        """Names of all archives."""
        return sorted(path.name for path in self.archives.glob("*.zip"))

    def archive(self, name: str) -> Path:
        """The file of an archive.

        Raises:
            RefusedError: There is none.
        """
        path = self.archives / name
        if not NAME.fullmatch(name) or not path.is_file():
            raise RefusedError(404, "no such archive")
        return path

    def begun(self, name: str, digest: str) -> int:
        """How many bytes of an archive are here already.

        Raises:
            RefusedError: The name is none, or other bytes have it.
        """
        if not NAME.fullmatch(name) or not SHA256.fullmatch(digest):
            raise RefusedError(400, "not a name of an archive")
        if (self.folder / "refused" / digest).exists():
            raise RefusedError(410, "the coordinator refused these bytes; it has to be made again")
        kept = self.archives / name
        if kept.exists():
            if file_digest(kept) != digest:
                raise RefusedError(409, "another archive of that name is here; none is replaced")
            return kept.stat().st_size
        part = self._part(name, digest)
        return part.stat().st_size if part.exists() else 0

    def take(self, name: str, digest: str, begin: int, size: int, piece: bytes) -> None:
        """Append a piece; after the last the archive is proved and kept, or thrown away.

        Raises:
            RefusedError: The piece does not fit, or the archive is refused.
        """
        with self.lock:
            there = self.begun(name, digest)
            if (self.archives / name).exists():
                return
            if begin != there or not 0 < begin + len(piece) <= size <= MOST_BYTES:
                raise RefusedError(409, f"the piece does not fit: {there} bytes are here")
            parts = list((self.folder / "parts").iterdir())
            if there == 0 and len(parts) >= MOST_PARTS:
                raise RefusedError(507, "too many archives are still coming")
            part = self._part(name, digest)
            with part.open("ab") as file:
                file.write(piece)
            if part.stat().st_size == size:
                self._keep(part, name, digest)

    def give_up(self, name: str, digest: str) -> None:
        """Remove an archive that the coordinator refused, so that another one can take its name.

        These bytes are not taken again. The caller proves that the coordinator says so.

        Raises:
            RefusedError: The name is none.
        """
        if not NAME.fullmatch(name) or not SHA256.fullmatch(digest):
            raise RefusedError(400, "not a name of an archive")
        with self.lock:
            save_text(self.folder / "refused" / digest, "")
            kept = self.archives / name
            if kept.exists() and file_digest(kept) == digest:
                kept.unlink()
                sync_folder(self.archives)

    def _keep(self, part: Path, name: str, digest: str) -> None:
        try:
            if file_digest(part) != digest:
                raise RefusedError(400, "the bytes are not those that were announced")
            self._prove(part, name)
        except (RefusedError, NephroscopeError) as error:
            part.unlink()
            if isinstance(error, RefusedError):
                raise
            raise RefusedError(
                403, f"{error.code}: expected {error.expected}, found {error.found}"
            ) from error
        sync_file(part)
        part.rename(self.archives / name)
        sync_folder(self.archives)

    def _prove(self, part: Path, name: str) -> None:
        manifest = claimed(part)
        if name != archive_name(self.plan.name, manifest.step, manifest.sender):
            raise RefusedError(
                403, f"archive-replayed: it says of itself step {manifest.step} of {manifest.sender}"
            )
        open_archive(part, self._key(part, manifest.sender, manifest.step), self.plan.id).check_all()

    def _key(self, part: Path, sender: str, step: int) -> str:
        """Public key of a sender: of a request to join the one in it, afterwards those that the group published."""
        if sender == COORDINATOR:
            return self.plan.key
        first = self.archives / archive_name(self.plan.name, 0, COORDINATOR)
        if first.exists():
            return open_archive(first, self.plan.key).document("group.json", Group).key_of(sender)
        if step:
            raise RefusedError(403, "archive-round: the group is not closed yet")
        return claimed_document(part, "joining.json", Joining).key

    def _part(self, name: str, digest: str) -> Path:
        short = hashlib.sha256(f"{name} {digest}".encode()).hexdigest()[:32]
        return self.folder / "parts" / f"{short}.part"


def refusal_of(group: str, name: str, digest: str) -> bytes:
    """What the coordinator signs to have a refused archive removed: it fits these bytes of this group only."""
    return REFUSAL + as_json({"group": group, "name": name, "sha256": digest})
