"""The JavaScript libraries of a page: pinned by hash, packed by the user's own npm, kept in the user's cache."""

import base64
import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.errors import ConfigError

PINNED = Path(__file__).with_name("libraries.csv")
SECONDS_TO_PACK = 300
MOST_FILE_BYTES = 64 << 20
LAST_LINES = 2
LICENSE = "LICENSE"


@dataclass(frozen=True, kw_only=True)
class Library:
    """One package of npm: its name, its version, its licenses and the SHA-512 of its tarball in base 64."""

    name: str
    version: str
    license: str
    sha512: str

    @property
    def spec(self) -> str:
        """As npm names it."""
        return f"{self.name}@{self.version}"

    @property
    def tarball(self) -> str:
        """Name of the file that ``npm pack`` writes."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def pinned_libraries() -> tuple[Library, ...]:
    """The libraries of a page."""
    with PINNED.open(encoding="utf-8", newline="") as file:
        return tuple(Library(**row) for row in csv.DictReader(file))


def find_libraries(folder: Path | None = None) -> dict[str, Path]:
    """The tarball of each library by its name, each with its pinned hash.

    Args:
        folder: With tarballs that were downloaded before; None takes the user's cache, and fills it by npm.

    Raises:
        ConfigError: The folder lacks one, npm is missing or could not get one, or one has another content.
    """
    pins = pinned_libraries()
    if folder is not None:
        wrong = [_why_not(pin, folder) for pin in pins]
        if any(wrong):
            raise ConfigError(
                where="--web-libraries",
                expected=f"the tarballs of {', '.join(pin.spec for pin in pins)}",
                found="; ".join(filter(None, wrong)),
                remedy="run `npm pack` with each of these names where npm reaches a registry, and copy the files",
            )
        return {pin.name: folder / pin.tarball for pin in pins}
    cache = cache_folder()
    for pin in pins:
        if _why_not(pin, cache):
            _pack(pin, cache)
    return {pin.name: cache / pin.tarball for pin in pins}


def cache_folder() -> Path:
    """Where this user's computer keeps what can be fetched again."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "nephroscope" / "web"


def _why_not(pin: Library, folder: Path) -> str:
    """Why the tarball in a folder is not the pinned one; empty when it is."""
    path = folder / pin.tarball
    if not path.is_file():
        return f"no {pin.tarball}"
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    return "" if digest == pin.sha512 else f"{pin.tarball} with another content than the pinned one"


def _pack(pin: Library, cache: Path) -> None:
    """Let npm download one tarball; only the pinned content reaches the cache."""
    npm = shutil.which("npm")
    remedy = "install Node.js with npm, or give a folder with the tarballs as --web-libraries"
    if npm is None:
        raise ConfigError(
            where="export --web", expected=f"npm, to download {pin.spec}", found="none", remedy=remedy
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [
            npm,
            "pack",
            pin.spec,
            "--pack-destination",
            folder,
            "--ignore-scripts",
            "--loglevel=error",
        ]
        try:
            done = subprocess.run(  # noqa: S603 - words of ours and a pinned name
                command,
                check=False,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                cwd=folder,
                timeout=SECONDS_TO_PACK,
            )
            said = " ".join(line.strip() for line in done.stderr.splitlines()[-LAST_LINES:])
            found = said or f"exit code {done.returncode} of npm"
        except subprocess.TimeoutExpired:
            found = f"no answer of npm within {SECONDS_TO_PACK} s"
        path = Path(folder) / pin.tarball
        if path.is_file():
            found = _why_not(pin, Path(folder))
        if found and not (path.is_file() and not found):
            raise ConfigError(
                where="export --web",
                expected=f"npm to download {pin.spec} with its pinned hash",
                found=found,
                remedy="run this where npm reaches a registry, or give a folder with the tarballs as --web-libraries",
            )
        path.replace(cache / pin.tarball)


def read_library(tarball: Path, members: Iterable[str]) -> dict[str, bytes]:
    """These files of a library by name, and its license under `LICENSE`, which is empty where its tarball has none.

    Raises:
        ConfigError: It lacks one of the files.
    """
    wanted, found = set(members), {LICENSE: b""}
    with tarfile.open(tarball, "r:gz") as archive:
        for entry in archive:
            name = entry.name.removeprefix("package/")
            known = LICENSE if name.lower() in (LICENSE.lower(), "license.md") else name
            file = archive.extractfile(entry) if known in wanted or known == LICENSE else None
            if file is not None:
                found[known] = file.read(MOST_FILE_BYTES)
    missing = sorted(wanted - set(found))
    if missing:
        raise ConfigError(
            where=f"library {tarball.name}",
            expected=f"the file {missing[0]}",
            found="none in its tarball",
            remedy="install nephroscope again",
        )
    return found
