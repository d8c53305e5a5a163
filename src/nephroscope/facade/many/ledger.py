"""What became of each case, in one SQLite file: written before a case is begun and after it is done.

A kill, or a lost power supply, costs the cases that were at work; each of them is begun again. An answer is written
before the ledger says that it is there.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nephroscope.base.database import Database
from nephroscope.base.documents import as_plain, from_plain
from nephroscope.base.errors import StudyError
from nephroscope.base.text import first_few
from nephroscope.facade.many.case_table import CaseToPredict

FORMAT = 1
LEDGER = "ledger.sqlite"
State = Literal["waiting", "answered", "refused", "not-drawn"]
_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS cases (
        case_id TEXT PRIMARY KEY, place INTEGER NOT NULL, series TEXT NOT NULL, roi TEXT NOT NULL,
        bundle_digest TEXT NOT NULL, given TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('waiting', 'answered', 'refused', 'not-drawn')),
        tries INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '', result TEXT NOT NULL DEFAULT '',
        changed REAL NOT NULL)
    """,
    "CREATE TABLE IF NOT EXISTS run (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
ABSENT = 10**9  # place of a case that the table has no longer
_SHOWN = f"WHERE place < {ABSENT} OR state != 'waiting'"
REMEDY = "use another folder, and run it again"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a case has no answer; the parts of a `NephroscopeError`."""

    code: str
    where: str
    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, found {self.found}; {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """What the table of results says of a case; its JSON file says everything.

    Attributes:
        call: None: not sure.
        doubts, notes: Codes of its findings: warnings, and the others.
        side: On which the tumor was drawn.
        objects: Kinds of DICOM objects that were written.
        drawn_by: Program that drew the ROI; empty where the table named one.
        roi_author, roi_state, roi_by: Who drew the ROI, its state, and who accepted or corrected it: `RoiOrigin`.
    """

    case_id: str
    state: State
    probabilities: dict[str, float]
    call: str | None = None
    forced_call: str = ""
    reason: str = ""
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    phase: str = ""
    side: str = ""
    n_slices: int | None = None
    series_uid: str = ""
    seconds: float | None = None
    objects: tuple[str, ...] = ()
    drawn_by: str = ""
    roi_author: str = ""
    roi_state: str = ""
    roi_by: str = ""
    refusal: Refusal | None = None


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """A case in the ledger; ``result`` is None until it is done."""

    case: CaseToPredict
    state: State
    tries: int
    result: CaseResult | None


@dataclass(frozen=True, kw_only=True)
class BegunWith:
    """What every answer in a folder was made with.

    Attributes:
        bundle_digest: First 16 hex digits of the SHA-256 of bundle.json, which holds those of the other files.
        bundle: Which bundle that is, in words.
        objects: Kinds of DICOM objects that are written.
    """

    bundle_digest: str
    bundle: str
    objects: tuple[str, ...]


class Ledger:
    """The ledger in a folder, which is there.

    Raises:
        StudyError: It is damaged, or of a newer version.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEDGER
        self._database = Database(path=self.path, where="the ledger", refusal=StudyError, remedy=REMEDY)
        self._database.prepare(FORMAT, *_TABLES)

    def begun_with(self, asked: BegunWith) -> BegunWith:
        """What the folder was begun with: what is asked, where it is new."""
        with self._database.transaction() as database:
            database.execute(
                "INSERT INTO run (name, value) SELECT 'begun_with', ? WHERE NOT EXISTS (SELECT 1 FROM run)",
                (json.dumps(as_plain(asked)),),
            )
            (text,) = database.execute("SELECT value FROM run WHERE name = 'begun_with'").fetchone()
        return from_plain(json.loads(text), BegunWith, LEDGER, REMEDY)

    def drawn_with(self, asked: str, keep: bool) -> str:
        """Which program drew ROIs of answers here: what is asked, where none was drawn yet; ``keep`` notes it."""
        with self._database.transaction() as database:
            drawn = database.execute(
                "SELECT 1 FROM cases WHERE state = 'answered' AND json_extract(result, '$.drawn_by') != '' LIMIT 1"
            ).fetchone()
            held = database.execute("SELECT value FROM run WHERE name = 'drawn_with'").fetchone()
            if held is not None and drawn is not None:
                return str(held[0])
            if keep:
                database.execute(
                    "INSERT OR REPLACE INTO run (name, value) VALUES ('drawn_with', ?)", (asked,)
                )
        return asked

    def put(self, cases: Sequence[CaseToPredict], bundle_digest: str) -> None:
        """Note the cases of a table: new ones, and those without an ROI or an answer whose row is another one, wait.

        Raises:
            StudyError: Rows of cases that were answered are others now; they are named, and nothing is noted.
        """
        with self._database.transaction() as database:
            known = dict(
                database.execute("SELECT case_id, given FROM cases WHERE state = 'answered' AND roi != ''")
            )
            rows = [(case, _given(case)) for case in cases]
            others = [case.case_id for case, given in rows if known.get(case.case_id, given) != given]
            spelled = {name.casefold(): name for (name,) in database.execute("SELECT case_id FROM cases")}
            others += [
                case.case_id
                for case in cases
                if spelled.get(case.case_id.casefold(), case.case_id) != case.case_id
            ]
            if others:
                raise StudyError(
                    where="the table of cases",
                    expected="the rows that these cases were answered from",
                    found=f"others: {first_few(others)}",
                    remedy="give corrected rows a new case_id, or use another folder for --out",
                )
            database.execute("UPDATE cases SET place = ?", (ABSENT,))
            database.executemany(
                "INSERT INTO cases (case_id, place, series, roi, bundle_digest, given, state, changed)"
                " VALUES (?, ?, ?, ?, ?, ?, 'waiting', ?)"
                " ON CONFLICT (case_id) DO UPDATE SET place = excluded.place,"
                " state = CASE WHEN given = excluded.given THEN state ELSE 'waiting' END,"
                " series = excluded.series, roi = excluded.roi, given = excluded.given",
                (
                    (
                        case.case_id,
                        place,
                        case.image.as_posix(),
                        "" if case.roi is None else case.roi.as_posix(),
                        bundle_digest,
                        given,
                        time.time(),
                    )
                    for place, (case, given) in enumerate(rows)
                ),
            )

    def names(self, state: State) -> list[str]:
        """Cases of the table in a state; those that were begun before come last, as one may end the computer."""
        with self._database.transaction() as database:
            found = database.execute(
                "SELECT case_id FROM cases WHERE state = ? AND place < ? ORDER BY tries, place",
                (state, ABSENT),
            )
            return [name for (name,) in found]

    def undrawn(self) -> list[tuple[str, CaseToPredict]]:
        """Cases of the table that wait, without an ROI."""
        with self._database.transaction() as database:
            found = database.execute(
                "SELECT case_id, given FROM cases WHERE state = 'waiting' AND roi = '' AND place < ?"
                " ORDER BY place",
                (ABSENT,),
            ).fetchall()
        return [(name, _case(given)) for name, given in found]

    def states(self, cases: Sequence[CaseToPredict]) -> dict[str, State]:
        """What `put` would make of these cases, as far as they are known."""
        with self._database.transaction() as database:
            known = {
                name: (given, state)
                for name, given, state in database.execute("SELECT case_id, given, state FROM cases")
            }
        return {
            case.case_id: state if given == _given(case) else "waiting"
            for case in cases
            if case.case_id in known
            for given, state in [known[case.case_id]]
        }

    def wait_again(self, names: Sequence[str]) -> None:
        """These cases are to be tried again."""
        with self._database.transaction() as database:
            database.executemany(
                "UPDATE cases SET state = 'waiting' WHERE case_id = ?", [(name,) for name in names]
            )

    def begin(self, name: str) -> CaseToPredict:
        """Note that a case is begun, and give it."""
        with self._database.transaction() as database:
            database.execute(
                "UPDATE cases SET tries = tries + 1, changed = ? WHERE case_id = ?", (time.time(), name)
            )
            (given,) = database.execute("SELECT given FROM cases WHERE case_id = ?", (name,)).fetchone()
        return _case(given)

    def end(self, result: CaseResult) -> None:
        """Note what became of a case."""
        error = "" if result.refusal is None else f"{result.refusal.code}: {result.refusal}"
        text = json.dumps(as_plain(result))
        with self._database.transaction() as database:
            database.execute(
                "UPDATE cases SET state = ?, error = ?, result = ?, changed = ? WHERE case_id = ?",
                (result.state, error, text, time.time(), result.case_id),
            )

    def count(self) -> dict[State, int]:
        """Number of cases in each state."""
        with self._database.transaction() as database:
            return dict(database.execute(f"SELECT state, COUNT(*) FROM cases {_SHOWN} GROUP BY state"))  # noqa: S608

    def rows(self) -> Iterator[LedgerRow]:
        """The cases in the order of the table, then those that a former table had and that ended.

        One at a time, so that many take no memory.
        """
        with self._database.transaction() as database:
            for given, state, tries, text in database.execute(
                f"SELECT given, state, tries, result FROM cases {_SHOWN} ORDER BY place, rowid"  # noqa: S608
            ):
                result = from_plain(json.loads(text), CaseResult, LEDGER, REMEDY) if text else None
                ended = result if result is not None and result.state == state else None
                yield LedgerRow(case=_case(given), state=state, tries=tries, result=ended)


def _given(case: CaseToPredict) -> str:
    return json.dumps(as_plain(case), sort_keys=True)


def _case(given: str) -> CaseToPredict:
    return from_plain(json.loads(given), CaseToPredict, LEDGER, REMEDY)
