"""`Place`: the folder that a workstation serves, its own files, and the identifiers that stand in addresses.

An identifier says nothing: it is a keyed digest of what it names. What it names is looked up, never read from it.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nephroscope.base.errors import CohortError, StudyError
from nephroscope.base.lock import writing
from nephroscope.study.folder import WORKSTATION, is_empty
from nephroscope.workstation.answers import NotFoundError
from nephroscope.workstation.database import changing, connected, prepare

if TYPE_CHECKING:
    from nephroscope.records import Case, ChosenCase, Cohort

Mode = Literal["study", "bundle", "empty"]
ID_BYTES = 16
SESSION_S = 7 * 24 * 3600.0
TABLES = ("study.toml", "cohort.csv", "series.csv", "rois.csv", "exclusions.csv")


class Place:
    """What a request may know.

    Args:
        root: The study, or an empty folder in which a study may be made.
        bundle: The bundle that was opened; the study is then one of its own, which holds the patients that a clinic
            opens.

    Attributes:
        root: As given, absolute.
        bundle: As given; None for a study.
        state: Folder of the workstation's own files, in the study.
        database_path: The SQLite file.
        token: What the first address must carry; new for each start.
    """

    def __init__(self, root: Path, bundle: Path | None = None) -> None:
        self.root, self.bundle = root.resolve(), bundle
        self.state = self.root / WORKSTATION
        self.database_path = self.state / "workstation.sqlite"
        self.token = secrets.token_urlsafe(32)
        self._known: dict[tuple[str, str], str] = {}
        self._sessions: dict[str, int] = {}
        self._readers: dict[str, tuple[str, str] | None] = {}
        self._cohort: tuple[object, Cohort] | None = None
        self._decisions: tuple[object, dict[str, str]] | None = None
        self._lock = threading.Lock()
        self._of_sessions = threading.Lock()  # what is remembered of a session is what the database says
        prepare(self.database_path)
        with changing(self.database_path) as db:
            row = db.execute("SELECT value FROM secret").fetchone()
            self._secret: bytes = row["value"] if row else secrets.token_bytes(32)
            if row is None:
                db.execute("INSERT INTO secret (value) VALUES (?)", (self._secret,))

    @property
    def mode(self) -> Mode:
        """Whether a study or a bundle is open, or nothing yet."""
        made = (self.root / "study.toml").is_file()
        return "bundle" if self.bundle is not None else "study" if made else "empty"

    @property
    def name(self) -> str:
        """Name of the folder that was opened."""
        return (self.bundle or self.root).name

    def database(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection to read with, or for one change; see `connected`."""
        return connected(self.database_path)

    def changing(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection for several changes that belong together; see `changing`."""
        return changing(self.database_path)

    def writing(self, command: str) -> AbstractContextManager[None]:
        """The lock of the study: one command at a time writes into it.

        Raises:
            StudyError: Another one writes; it is named.
        """
        return writing(self.root, command)

    # identifiers

    def id_of(self, kind: str, *key: str) -> str:
        """The identifier of something in addresses, 22 characters of A-Z, a-z, 0-9, - and _; it stays the same.

        Args:
            kind: Such as ``case`` or ``series``.
            key: Such as the case_id, and the name of the series.
        """
        (made,) = self.ids_of(kind, [key])
        return made

    def ids_of(self, kind: str, keys: Iterable[tuple[str, ...]]) -> list[str]:
        """Those of many keys, new ones kept by one write."""
        texts = [json.dumps(key, ensure_ascii=False) for key in keys]
        new = {text: self._made(kind, text) for text in texts if (kind, text) not in self._known}
        if new:
            rows = [(made, kind, text) for text, made in new.items()]
            with self.changing() as db:
                db.executemany("INSERT OR IGNORE INTO ids (id, kind, key) VALUES (?, ?, ?)", rows)
            self._known |= {(kind, text): made for text, made in new.items()}
        return [self._known[kind, text] for text in texts]

    def _made(self, kind: str, text: str) -> str:
        digest = hmac.digest(self._secret, f"{kind}\n{text}".encode(), "sha256")[:ID_BYTES]
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def key_of(self, kind: str, id_: str) -> tuple[str, ...]:
        """What an identifier names, as it was given to `id_of`.

        Raises:
            NotFoundError: It was never given out for this kind.
        """
        with self.database() as db:
            row = db.execute("SELECT key FROM ids WHERE id = ? AND kind = ?", (id_, kind)).fetchone()
        if row is None:
            raise NotFoundError(
                where="address",
                expected=f"the identifier of a {kind}",
                found="another one",
                remedy="go back to the list",
            )
        return tuple(json.loads(row["key"]))

    # sessions

    def open_session(self, port: int) -> str:
        """A new secret for the cookie of a browser at this port."""
        secret = secrets.token_urlsafe(32)
        with self.changing() as db:
            db.execute("DELETE FROM sessions WHERE made < ?", (time.time() - SESSION_S,))
            db.execute("INSERT INTO sessions VALUES (?, ?, ?)", (_digest(secret), port, time.time()))
        return secret

    def knows_session(self, secret: str, port: int) -> bool:
        """True for a secret that was given out for this port, also by an earlier start."""
        digest = _digest(secret)
        with self._of_sessions:
            if digest not in self._sessions:
                with self.database() as db:
                    wanted = "SELECT port FROM sessions WHERE digest = ? AND made > ?"
                    row = db.execute(wanted, (digest, time.time() - SESSION_S)).fetchone()
                if row is None:
                    return False
                self._sessions[digest] = row["port"]
            return self._sessions[digest] == port

    def reader_of(self, session: str) -> tuple[str, str] | None:
        """Reader study and reader of a session that opens nothing else; None for any other session."""
        digest = _digest(session)
        with self._of_sessions:
            if digest not in self._readers:
                with self.database() as db:
                    wanted = "SELECT study, reader FROM reading_sessions WHERE session = ?"
                    row = db.execute(wanted, (digest,)).fetchone()
                self._readers[digest] = (row["study"], row["reader"]) if row else None
            return self._readers[digest]

    def make_reader(self, session: str, study: str, reader: str) -> None:
        """From now on a session is a reader's, and opens nothing but this reader study."""
        digest = _digest(session)
        with self._of_sessions:
            with self.database() as db:
                db.execute("INSERT INTO reading_sessions VALUES (?, ?, ?)", (digest, study, reader))
            self._readers[digest] = (study, reader)

    def close_session(self, session: str) -> None:
        """Let a browser in no longer; that it was a reader's stays, for a request that was let in just before."""
        digest = _digest(session)
        with self._of_sessions:
            with self.database() as db:
                db.execute("DELETE FROM sessions WHERE digest = ?", (digest,))
            self._sessions.pop(digest, None)

    def write_token(self, session: str) -> str:
        """What the header X-Nephroscope-Token of every write must say for this session."""
        return hmac.new(self._secret, f"write {session}".encode(), "sha256").hexdigest()

    # the study

    def cohort(self) -> "Cohort":
        """The cases of the study as its tables are now.

        Raises:
            NephroscopeError: There is no cohort yet, or a table has a mistake.
        """
        from nephroscope.facade.study import Study

        seen = tuple(_stamp(self.root / name) for name in TABLES)
        with self._lock:
            if self._cohort is None or self._cohort[0] != seen:
                self._cohort = (seen, Study(self.root).cohort)
            return self._cohort[1]

    def used(self, case: "Case") -> "ChosenCase":
        """A case as slices and check use it: on the study's series, under its rule or the decision about the case.

        Raises:
            CohortError: adjudication.csv has a mistake.
        """
        rule = self.cohort().rule
        return case.chosen(rule).under(self._decided().get(case.case_id, rule.roi))

    def _decided(self) -> dict[str, str]:
        """The decisions of adjudication.csv as it is now."""
        from nephroscope.regions.consensus import FILE, load_decisions

        cohort = self.cohort()
        seen = (_stamp(self.root / FILE), self._cohort)
        with self._lock:
            if self._decisions is None or self._decisions[0] != seen:
                self._decisions = (seen, load_decisions(self.root / FILE, cohort.by_id))
            return self._decisions[1]

    def cases(self) -> "tuple[Case, ...]":
        """The cases in their order; none before the first import."""
        if self.mode == "empty" or not (self.root / "cohort.csv").exists():
            return ()
        return self.cohort().cases

    def case(self, case_id: str) -> "Case":
        """One case.

        Raises:
            CohortError: It is not there any more.
        """
        for case in self.cases():
            if case.case_id == case_id:
                return case
        raise CohortError(
            where=f"case {case_id}",
            expected="a case of the study",
            found="none with that name",
            remedy="go back to the list of patients",
        )


def mode_of(root: Path) -> Mode:
    """What a folder is.

    Raises:
        StudyError: It holds other files than a study or a bundle.
    """
    if (root / "study.toml").is_file():
        return "study"
    if (root / "bundle.json").is_file():
        return "bundle"
    if not is_empty(root):
        raise StudyError(
            where=f"folder {root.name}",
            expected="a study, a bundle, or an empty folder in which to make a study",
            found="other files",
            remedy="give the folder of a study or a bundle, or a new folder",
        )
    return "empty"


def open_place(folder: Path, data: Path | None = None) -> Place:
    """The place of a folder that was given on the command line.

    Args:
        folder: Study, bundle, or a new or empty folder.
        data: For a bundle, the folder of its patients; by default in the user's own application data.

    Raises:
        StudyError: It is none of these.
        BundleError: The bundle is damaged.
    """
    folder = folder.resolve()
    if mode_of(folder) != "bundle":
        return Place(folder)
    from nephroscope.clinic.bundle_file import read_bundle_file

    about, _ = read_bundle_file(folder)
    root = data or _application_data() / f"{folder.name}-{_digest(str(folder))[:8]}"
    if not (root / "study.toml").is_file():
        from nephroscope.facade.study import Study

        Study.create(root, about.subtypes, about.positive)
    return Place(root, folder)


def _application_data() -> Path:
    """Where programs of this system keep what belongs to their user."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "nephroscope"


@contextlib.contextmanager
def one_server(state: Path) -> Iterator[Path]:
    """Let one workstation at a time serve a folder; gives the file in which it says where it is.

    Raises:
        StudyError: Another one serves it; its address is named.
    """
    address = state / "address.json"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(writing(state, "workstation", lock="server.lock"))
        except StudyError as error:
            raise StudyError(
                where=error.where,
                expected="one workstation at a time",
                found=f"one that runs already: {_read_address(address)}",
                remedy="open that address, or stop that workstation first",
            ) from error
        try:
            yield address
        finally:
            address.unlink(missing_ok=True)


def _read_address(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(path.read_text(encoding="utf-8"))["url"])
    return "it is just starting"


def _stamp(path: Path) -> tuple[int, int]:
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size
    return 0, 0


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
