"""How archives get from one place to another: a folder that something else carries, or the relay."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nephroscope.base.files import copy_file, file_digest, make_folder, replacing
from nephroscope.federated.archive import MOST_BYTES, refused


class Way(Protocol):
    """A way for archives. None of its files is trusted: each is proved by its signature after it was fetched."""

    def names(self) -> list[str]:
        """Names of the archives that are there."""
        ...

    def fetch(self, name: str, path: Path) -> None:
        """Copy one to a path, whole or not at all."""
        ...

    def put(self, path: Path, name: str) -> None:
        """Lay an archive there; the same bytes a second time change nothing."""
        ...

    def give_up(self, name: str, digest: str, signature: str) -> None:
        """Make room for another archive of that name, as the coordinator refused the one with that digest."""
        ...


@dataclass(frozen=True)
class FolderWay:
    """A folder: shared, synchronized, or carried on a stick."""

    folder: Path

    def names(self) -> list[str]:
        """Names of the archives in it."""
        return sorted(path.name for path in self.folder.glob("*.zip") if path.is_file())

    def fetch(self, name: str, path: Path) -> None:
        """Copy one.

        Raises:
            ArchiveError: It is too large, or cannot be read, as while another program writes it.
        """
        source = self.folder / name
        try:
            with source.open("rb") as file:
                size = file.seek(0, 2)
        except OSError as error:
            found, remedy = type(error).__name__, "wait until it is there whole, and run the command again"
            raise refused("damaged", source, "a file that can be read", found, remedy) from error
        if size > MOST_BYTES:
            raise refused("damaged", source, f"at most {MOST_BYTES // 2**30} GiB", "a larger file")
        with replacing(path) as temporary:
            shutil.copyfile(source, temporary)

    def put(self, path: Path, name: str) -> None:
        """Copy it there."""
        make_folder(self.folder)
        target = self.folder / name
        if not target.exists() or file_digest(target) != file_digest(path):
            copy_file(path, target)

    def give_up(self, name: str, digest: str, signature: str) -> None:
        """Nothing: the site puts another one in its place."""


def archive_name(group: str, step: int, sender: str) -> str:
    """Name of an archive on its way."""
    return f"{group}-{step:03}-{sender}.zip"
