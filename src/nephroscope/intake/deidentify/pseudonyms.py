"""The key: pseudonyms, UIDs and shifted dates that depend on it, and the table that links patients to them."""

import datetime
import hashlib
import hmac
import os
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.files import save_text
from nephroscope.base.tables import read_table, save_table

_HEADER = "nephroscope de-identification key, keep secret"
LINKAGE = ("patient_id", "pseudonym", "issuer")
KEY_BYTES = 32
LARGEST_SHIFT_DAYS = 365
_ALPHABET = "0123456789BCDFGHJKLMNPQRSTVWXZ"  # without vowels, so that no name can arise by chance
PSEUDONYM = f"[PR]-[{_ALPHABET}]{{10}}"


@dataclass(frozen=True, slots=True)
class Secrets:
    """Keyed hashes (HMAC-SHA256, FIPS 198-1) of identifying values.

    Attributes:
        key: 32 random bytes.
    """

    key: bytes = field(repr=False)

    def pseudonym(self, patient: str) -> str:
        """Pseudonym of a patient: ``P-`` and ten characters (49 bits)."""
        return f"P-{self.letters('patient', patient, 10)}"

    def annotator(self, name: str) -> str:
        """Pseudonym of an annotator: ``R-`` and ten characters, so that annotators stay distinguishable."""
        return f"R-{self.letters('reader', name.casefold(), 10)}"

    def uid(self, original: str) -> str:
        """A UID under 2.25 (a UUID as a decimal number). Source: DICOM PS3.5 B.2."""
        return f"2.25.{uuid.UUID(bytes=self._hash('uid', original)[:16], version=4).int}"

    def days_back(self, patient: str) -> int:
        """Number of days, 1 to 365, by which all dates of a patient are moved back."""
        return 1 + int.from_bytes(self._hash("days", patient)[:8]) % LARGEST_SHIFT_DAYS

    def letters(self, kind: str, text: str, length: int) -> str:
        """``length`` digits and consonants computed from a text."""
        number, found = int.from_bytes(self._hash(kind, text)), ""
        for _ in range(length):
            number, place = divmod(number, len(_ALPHABET))
            found += _ALPHABET[place]
        return found

    @property
    def fingerprint(self) -> str:
        """Distinguishes keys without showing the key."""
        return self.letters("key", "fingerprint", 8)

    def _hash(self, kind: str, text: str) -> bytes:
        return hmac.new(self.key, f"{kind}\0{text}".encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def open_key(path: Path) -> tuple[Secrets, bool]:
    """The key in a file, and whether it was created now (readable only by its owner).

    Raises:
        ConfigError: The file is not such a key.
    """
    if path.exists():
        return Secrets(_read_key(path)), False
    if not path.parent.is_dir():
        raise ConfigError(
            where="--key",
            expected="a file in an existing folder",
            found="no such folder",
            remedy="create the folder, outside the destination and readable only by you",
        )
    key = secrets.token_bytes(KEY_BYTES)
    before = os.umask(0o077)
    try:
        save_text(path, f"{_HEADER}\n{key.hex()}\n")
    finally:
        os.umask(before)
    return Secrets(key), True


def linkage_path(key_path: Path) -> Path:
    """Path of the table of patients and pseudonyms, next to the key."""
    return key_path.with_name(f"{key_path.name}.linkage.csv")


def known_issuers(key_path: Path, secrets: Secrets) -> list[tuple[str, str]]:
    """Number and issuer of each patient in the table next to the key whose pseudonym is that of the number alone.

    Raises:
        CohortError: The table is damaged.
        ConfigError: It was written with another key, or one of the two is damaged.
    """
    linked = _linked(linkage_path(key_path))
    for n, ((number, issuer), pseudonym) in enumerate(linked.items(), start=2):
        if pseudonym not in (secrets.pseudonym(number), secrets.pseudonym(f"{number}\0{issuer}")):
            raise ConfigError(
                where=f"{linkage_path(key_path).name}, row {n}",
                expected="the pseudonym that this key gives to the patient",
                found="another one: the table belongs to another key, or one of the two was changed",
                remedy="put back the key and the table that belong together; nothing was written",
            )
    return [key for key, pseudonym in linked.items() if pseudonym == secrets.pseudonym(key[0])]


def save_linkage(key_path: Path, links: Mapping[tuple[str, str], str]) -> Path:
    """Add patients (number and issuer) to the table next to the key, readable only by its owner; returns its path."""
    path = linkage_path(key_path)
    known = _linked(path) | dict(links)
    named = {number for number, issuer in known if issuer}
    rows = [
        (number, pseudonym, issuer)
        for (number, issuer), pseudonym in sorted(known.items())
        if issuer or number not in named
    ]
    titles = LINKAGE[: 3 if named else 2]
    before = os.umask(0o077)
    try:
        save_table(path, titles, [row[: len(titles)] for row in rows])
    finally:
        os.umask(before)
    return path


def _linked(path: Path) -> dict[tuple[str, str], str]:
    if not path.is_file():
        return {}
    header, rows = read_table(path)
    if header not in (list(LINKAGE), list(LINKAGE[:2])):
        raise CohortError(
            where=path.name,
            expected=f"a table with the columns {', '.join(LINKAGE)}",
            found="a table with others",
            remedy="put back the table that belongs to this key, or move it away: then a new one is begun",
        )
    return {(row[0], row[2] if len(row) > 2 else ""): row[1] for _, row in rows}


def _read_key(path: Path) -> bytes:
    try:
        header, digits = path.read_text(encoding="ascii").splitlines()
        key = bytes.fromhex(digits)
    except (OSError, ValueError):
        header, key = "", b""
    if header != _HEADER or len(key) != KEY_BYTES:
        raise ConfigError(
            where="--key",
            expected="a key file made by nephroscope deidentify",
            found="a file of another kind",
            remedy="give the key of the earlier run, or a file name that does not exist yet to create a new key",
        )
    return key


_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})(\d{0,6}(?:\.\d{1,6})?)([&+-]\d{4})?")
OLDEST_YEARS = 89  # a higher age may identify a person (HIPAA, 45 CFR 164.514)


def shifted(text: str, days: int) -> str:
    """A date, or date and time, moved back by ``days``; empty if it is not a date."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return ""
    year, month, day, time, _ = found.groups()
    try:
        then = datetime.date(int(year), int(month), int(day))
        then -= datetime.timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{then:%Y%m%d}".rjust(8, "0") + time


def age_of(dataset: Any) -> str:
    """Patient's Age, or the age from birth and examination dates, as DICOM AS; over 89 it is 090Y."""
    text = str(dataset.get("PatientAge") or "").strip()
    if not re.fullmatch(r"\d{3}[DWMY]", text):
        born = _day(dataset.get("PatientBirthDate"))
        days = (_day(dataset.get(f"{name}Date")) for name in ("Study", "Acquisition", "Series"))
        examined = next((day for day in days if day is not None), None)
        if born is None or examined is None or examined < born:
            return ""
        years = examined.year - born.year - ((examined.month, examined.day) < (born.month, born.day))
        text = f"{min(years, 999):03d}Y"
    return "090Y" if text.endswith("Y") and int(text[:3]) > OLDEST_YEARS else text


def _day(value: Any) -> datetime.date | None:
    try:
        return datetime.datetime.strptime(str(value or "").replace(".", ""), "%Y%m%d").date()
    except ValueError:
        return None
