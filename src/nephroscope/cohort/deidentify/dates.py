"""Dates and ages of a DICOM file in, the same moved back or made coarse out."""

import datetime
import re
from typing import Any

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})(\d{0,6}(?:\.\d{1,6})?)([&+-]\d{4})?")
OLDEST_YEARS = 89  # above it an age may identify (HIPAA, 45 CFR 164.514)


def shifted(text: str, days: int) -> str:
    """A date, or date and time, moved back by ``days``; empty when it is no date."""
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
    """Patient's Age, or what birth and examination dates make of it, as DICOM's AS; over 89 it is 090Y."""
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
