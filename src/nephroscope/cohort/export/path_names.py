"""Does a file's path hold its patient's name? The header and the path in, yes or no out; the name is kept nowhere."""

import re
import unicodedata
from pathlib import Path
from typing import Any

MIN_LETTERS = 3
ALONE_LETTERS = 5  # shorter names stand in other words ("name" in "named"), so they must be words of the path


def names_patient(header: Any, path: Path) -> bool:
    """True when a word of PatientName stands in the path, and it is not a word of PatientID, as pseudonyms are."""
    own = set(_words(str(header.get("PatientName") or ""))) - set(_words(str(header.get("PatientID") or "")))
    if not own:
        return False
    told = _fold(path.as_posix())
    words = set(_words(told))
    return any(word in words or (len(word) >= ALONE_LETTERS and word in told) for word in own)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\W\d_]+", _fold(text)) if len(word) >= MIN_LETTERS]


def _fold(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in plain if not unicodedata.combining(c))
