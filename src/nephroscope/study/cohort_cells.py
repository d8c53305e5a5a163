"""The columns of cohort.csv, series.csv and rois.csv, and how each cell is read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from nephroscope.base.identifiers import clean_name, is_no_name
from nephroscope.base.tables import parse_number
from nephroscope.imaging.slice_images import window_of
from nephroscope.intake.labels.values import parse_sex
from nephroscope.records import DEVELOPMENT, EXTERNAL_TEST, INTERNAL_TEST
from nephroscope.records.cases import LARGEST_CM, OLDEST_YEARS, RoiState, parse_cohort_word
from nephroscope.records.settings import AUTHOR

WIDEST_WINDOW_HU = 10_000

COHORT_FILE, SERIES_FILE, ROIS_FILE, EXCLUSIONS_FILE = (
    "cohort.csv",
    "series.csv",
    "rois.csv",
    "exclusions.csv",
)
OF_PROPOSALS = ("accepted_by", "made_from")  # which a table without them does not need
COLUMNS = {
    COHORT_FILE: (
        *("case_id", "patient_id", "site_id", "subtype", "subtype_reader2", "sex", "age_years", "size_cm"),
        *("side", "cohort", "synthetic"),
    ),
    SERIES_FILE: ("case_id", "series", "phase", "format", "image", "source", "organs", "series_uid"),
    ROIS_FILE: ("case_id", "author", "series", "roi", "tumor_label", "tumor_name", "state", *OF_PROPOSALS),
}
STATES = get_args(RoiState)


@dataclass(frozen=True)
class Cell:
    """How a column is read (ValueError: it cannot be), and what it must hold, in words."""

    parse: Callable[[str], Any]
    expected: str


def cells_of(folder: Path, subtypes: tuple[str, ...], phases: tuple[str, ...]) -> dict[str, dict[str, Cell]]:
    """How each column of the three tables is read."""
    path = Cell(lambda text: folder / text if text else None, "a path")
    filled_path = Cell(lambda text: folder / _filled(text), "a path")
    case_id = Cell(_named, "a name")
    subtype = f"a subtype of the study ({', '.join(subtypes)}) or nothing"
    return {
        COHORT_FILE: {
            "case_id": case_id,
            "patient_id": Cell(lambda text: "" if is_no_name(text) else clean_name(text), "a name"),
            "site_id": Cell(lambda text: text or "site-1", "a name"),
            "subtype": Cell(_one_of(*subtypes, ""), subtype),
            "subtype_reader2": Cell(lambda text: text or None, "a subtype or nothing"),
            "sex": Cell(parse_sex, "M, F, O or nothing"),
            "age_years": _number(OLDEST_YEARS),
            "size_cm": _number(LARGEST_CM),
            "side": Cell(lambda text: _one_of("left", "right", "")(text.lower()), "left, right or nothing"),
            "cohort": Cell(parse_cohort_word, f"{DEVELOPMENT}, {INTERNAL_TEST} or {EXTERNAL_TEST}NAME"),
            "synthetic": Cell(lambda text: _one_of("yes", "no", "")(text.lower()) == "yes", "yes or no"),
        },
        SERIES_FILE: {
            "case_id": case_id,
            "series": Cell(str, "a name"),
            "phase": Cell(
                _phase(phases), f"{', '.join(phases)}, or a phase of phase_preference in study.toml"
            ),
            "format": Cell(_one_of("dicom", "nifti", "images"), "dicom, nifti or images"),
            "image": filled_path,
            "source": Cell(_source, "HU, or a window such as 8-bit L40 W400"),
            "organs": path,
            "series_uid": Cell(str, "a UID or nothing"),
        },
        ROIS_FILE: {
            "case_id": case_id,
            "author": Cell(_author, "reader-1, reader-2, consensus or model:NAME@VERSION"),
            "series": Cell(str, "a name"),
            "roi": filled_path,
            "tumor_label": Cell(_label, "a whole number from 1 to 65535"),
            "tumor_name": Cell(str, "a segment's label or code, or nothing"),
            # What people write there otherwise is theirs, and stays.
            "accepted_by": Cell(lambda text: _author_or_empty(text, model=False), "an annotator"),
            "made_from": Cell(lambda text: _author_or_empty(text, model=True), "a model"),
            "state": Cell(
                lambda text: _one_of(*STATES, "")(text.strip().lower()), f"{', '.join(STATES)} or nothing"
            ),
        },
    }


def _phase(phases: tuple[str, ...]) -> Callable[[str], str]:
    known = {name.casefold(): name for name in phases}

    def parse(text: str) -> str:
        if (text or "unknown").casefold() not in known:
            raise ValueError(text)
        return known[(text or "unknown").casefold()]

    return parse


def _source(text: str) -> str:
    window = None if text in ("", "HU") else window_of(text)
    if text not in ("", "HU") and (window is None or not 1 <= window[1] <= WIDEST_WINDOW_HU):
        raise ValueError(text)
    return text or "HU"


def _number(high: float) -> Cell:
    return Cell(lambda text: parse_number(text, 0, high), f"a number above 0 and up to {high}")


def _named(text: str) -> str:
    if is_no_name(text):
        raise ValueError(text)
    return clean_name(text)


def _filled(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _author(text: str) -> str:
    if not AUTHOR.fullmatch(text):
        raise ValueError(text)
    return text


def _author_or_empty(text: str, model: bool) -> str:
    return text if AUTHOR.fullmatch(text) and (":" in text) == model else ""


def _label(text: str) -> int:
    number = float(text or 1)
    if not number.is_integer() or not 1 <= number <= 65535:
        raise ValueError(text)
    return int(number)


def _one_of(*words: str) -> Callable[[str], str | None]:
    def parse(text: str) -> str | None:
        if text not in words:
            raise ValueError(text)
        return text or None

    return parse
