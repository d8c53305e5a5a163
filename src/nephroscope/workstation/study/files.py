"""Folders and files of this computer, chosen in the browser: by identifiers, or by a path that a person typed.

Names of folders may be those of patients: they are in answers only, never in an address.
"""

import os
import secrets
import string
from dataclasses import dataclass, replace
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from nephroscope.workstation.answers import NotFoundError, RequestError, body, ok, raw_body
from nephroscope.workstation.place import Place

KIND = "path"
TABLES = (".xlsx", ".csv", ".tsv", ".txt")
IMAGES = (".dcm", ".nii", ".gz", ".nrrd")
MOST_ENTRIES = 2_000
LONGEST_PATH = 1_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A folder or file."""

    id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a folder holds: ``parent`` is None at the top; ``files`` are tables and images only.

    Where the path of a file was typed, ``file`` is that file.
    """

    folder: Entry
    parent: Entry | None
    folders: tuple[Entry, ...]
    files: tuple[Entry, ...]
    places: tuple[Entry, ...]
    left_out: int = 0
    file: Entry | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which folder to list: by its identifier, or as a person typed it; neither lists the home folder."""

    folder: str | None = None
    path: str | None = None


def list_folder(request: Request) -> Response:
    """The folders and files in a folder; see `Listing`."""
    place: Place = request.app.state.place
    wanted = body(request, Wanted)
    path = (
        _typed(wanted.path)
        if wanted.path
        else path_of(place, wanted.folder)
        if wanted.folder
        else Path.home()
    )
    if path.is_file():
        return ok(replace(_listing(place, path.parent), file=_entry(place, path)))
    return ok(_listing(place, path))


def upload(request: Request) -> Response:
    """Keep a table that was sent, and give its identifier; ``{"id": ...}``."""
    place: Place = request.app.state.place
    content = raw_body(request)
    if not content:
        raise RequestError(
            where="upload", expected="a table", found="an empty file", remedy="choose another file"
        )
    folder = place.state / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    kind = "xlsx" if content.startswith(b"PK\x03\x04") else "csv"
    path = folder / f"{secrets.token_hex(8)}.{kind}"
    path.write_bytes(content)
    return ok({"id": place.id_of(KIND, str(path))})


def path_of(place: Place, id_: str) -> Path:
    """The path that an identifier names.

    Raises:
        NotFoundError: It was never given out, or nothing is there any more.
    """
    path = Path(place.key_of(KIND, id_)[0])
    if not path.exists():
        raise NotFoundError(
            where="folder",
            expected="a folder or file",
            found="nothing there any more",
            remedy="choose it again",
        )
    return path


def _typed(text: str) -> Path:
    """The absolute path that a person typed or pasted, also in quotation marks."""
    clean = text.strip().strip("\"'")
    path = Path.home() / clean[2:] if clean.startswith(("~/", "~\\")) else Path(clean)
    if len(text) > LONGEST_PATH or "\0" in text or not path.is_absolute() or not _exists(path):
        raise NotFoundError(
            where="path",
            expected="the whole path of a folder or file",
            found="none there",
            remedy="correct it",
        )
    return path.resolve()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _listing(place: Place, folder: Path) -> Listing:
    folders, files = [], []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.name.startswith((".", "$")):
                    continue
                if _is_folder(entry):
                    folders.append(entry.name)
                elif entry.name.lower().endswith((*TABLES, *IMAGES)):
                    files.append(entry.name)
    except OSError as error:
        raise RequestError(
            where="folder",
            expected="one that can be read",
            found=error.strerror or "another",
            remedy="choose another",
        ) from error
    folders.sort(key=str.casefold)
    files.sort(key=str.casefold)
    listed = [folder / name for name in (*folders[:MOST_ENTRIES], *files[:MOST_ENTRIES])]
    place.ids_of(KIND, [(str(path),) for path in listed])
    starts = [Path.home(), place.root.parent, *(Path(f"{letter}:\\") for letter in _drives())]
    return Listing(
        folder=_entry(place, folder),
        parent=_entry(place, folder.parent) if folder.parent != folder else None,
        folders=tuple(_entry(place, folder / name) for name in folders[:MOST_ENTRIES]),
        files=tuple(_entry(place, folder / name) for name in files[:MOST_ENTRIES]),
        places=tuple(_entry(place, path) for path in dict.fromkeys(starts)),
        left_out=max(0, len(folders) - MOST_ENTRIES) + max(0, len(files) - MOST_ENTRIES),
    )


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _drives() -> str:
    if os.name != "nt":
        return ""
    return "".join(letter for letter in string.ascii_uppercase if Path(f"{letter}:\\").exists())


def _entry(place: Place, path: Path) -> Entry:
    return Entry(id=place.id_of(KIND, str(path)), name=path.name or str(path))
