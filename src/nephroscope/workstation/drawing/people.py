"""Who draws in a browser, and whose ROI that person may see: two annotators draw apart until both have signed."""

import hashlib
import re
import sqlite3
from collections.abc import Collection

from nephroscope.base.errors import ConfigError
from nephroscope.workstation.answers import ForbiddenError

READER = re.compile(r"reader-[1-9]\d?")
LONGEST_NAME = 80


class ApartError(ForbiddenError):
    """The ROI of another annotator, before both have signed."""

    code = "apart"


class NobodyError(ConfigError):
    """Nobody said who draws."""

    code = "nobody"


def is_reader(author: str) -> bool:
    """True for reader-1, reader-2 ... reader-99."""
    return READER.fullmatch(author) is not None


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()


def reader_of(db: sqlite3.Connection, session: str) -> str:
    """Who draws in a session, such as ``reader-1``; empty when nobody said so."""
    row = db.execute("SELECT author FROM roi_readers WHERE session = ?", (_digest(session),)).fetchone()
    return row["author"] if row else ""


def name_of(db: sqlite3.Connection, author: str) -> str:
    """The name that a reader gave; empty where none."""
    row = db.execute("SELECT name FROM roi_names WHERE author = ?", (author,)).fetchone()
    return row["name"] if row else ""


def choose_reader(db: sqlite3.Connection, session: str, author: str, name: str) -> None:
    """Keep who draws in a session, and the name; an empty author is nobody, an empty name leaves it as it was.

    Raises:
        ConfigError: The author is no reader, or the name is too long.
    """
    if (author and not is_reader(author)) or len(name) > LONGEST_NAME or not name.isprintable():
        raise ConfigError(
            where="who draws",
            expected=f"reader-1 to reader-99, or nobody, and a name of at most {LONGEST_NAME} characters",
            found=repr(author[:20]) if len(name) <= LONGEST_NAME else "a longer name",
            remedy="choose another one",
        )
    key = _digest(session)
    db.execute("DELETE FROM roi_readers WHERE session = ?", (key,))
    if author:
        db.execute("INSERT INTO roi_readers VALUES (?, ?)", (key, author))
        if name:
            db.execute("INSERT OR REPLACE INTO roi_names VALUES (?, ?)", (author, name))


def may_see(me: str, author: str, state: str, finished: Collection[str], drawing: Collection[str]) -> bool:
    """Whether a person may see an author's ROI on a series.

    One's own always. A draft of another never. A signed one when the person has signed as well; a person who does not
    draw sees it when nobody is drawing there.

    Args:
        me: Who asks; empty for nobody.
        author: Of the ROI.
        state: ``draft``, ``signed`` or ``imported``.
        finished: Readers with a signed or imported ROI on this series and no draft.
        drawing: Readers with a draft there.
    """
    if me == author or author.startswith("model:"):
        return True
    if state == "draft":
        return False
    return me in finished if me else not set(drawing) - {author}


def check_may_see(seen: bool, author: str) -> None:
    """Refuse what a person may not see.

    Raises:
        ApartError: ``seen`` is False.
    """
    if not seen:
        raise ApartError(
            where=f"ROI of {author}",
            expected="that both annotators have signed theirs",
            found="that at least one has not",
            remedy="draw and sign your own first",
        )


def check_reader(me: str) -> str:
    """The reader who draws.

    Raises:
        NobodyError: Nobody said so.
    """
    if not me:
        raise NobodyError(
            where="who draws",
            expected="reader-1, reader-2 ...",
            found="nobody",
            remedy="choose who draws, at the top of the page of the patient",
        )
    return me
