"""cases.csv -> the cases to predict: a name, a CT, an ROI, and what is known of the patient; mistakes by cell."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nephroscope.base.columns import CheckedRow, CheckedTable, Column, Sought
from nephroscope.base.files import digest_of
from nephroscope.base.identifiers import existing
from nephroscope.base.tables import UNKNOWN
from nephroscope.intake.labels.columns import opening_findings
from nephroscope.intake.labels.titles import COLUMN_NAMES
from nephroscope.intake.labels.values import (
    one_size,
    parse_age,
    parse_name,
    parse_sex,
    parse_side,
    parse_size_cm,
    parse_size_mm,
    parse_tumor_label,
)
from nephroscope.records import ClinicalFacts
from nephroscope.records.cases import LARGEST_CM, OLDEST_YEARS
from nephroscope.records.prediction import Side

LONGEST_ID = 64  # characters, as a DICOM identifier (LO)
_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)  # no file names on Windows


@dataclass(frozen=True, kw_only=True)
class CaseToPredict:
    """One row of the table.

    Attributes:
        image: As in `read_patient`.
        roi: None where it is not drawn.
        tumor_label: None where the table does not say it.
    """

    case_id: str
    image: Path
    roi: Path | None = None
    tumor_label: int | None = None
    tumor_name: str = ""
    side: Side = "unknown"
    facts: ClinicalFacts = field(default_factory=ClinicalFacts)

    @property
    def file_name(self) -> str:
        """Of its files, without suffix: the name of the case where any system takes it, else ending in a digest."""
        if _PLAIN.fullmatch(self.case_id) and not _DEVICES.fullmatch(self.case_id):
            return self.case_id
        plain = re.sub(r"[^A-Za-z0-9]+", "-", self.case_id).strip("-")[:40]
        return f"{plain or 'case'}-{digest_of(self.case_id)[:10]}"


def _name(text: str) -> str:
    name = parse_name(text)
    if not name or len(name) > LONGEST_ID or not name.isprintable():
        raise ValueError(text)
    return name


def _path(text: str) -> Path | None:
    return Path(text.replace("\\", "/")) if text else None


def _image(text: str) -> Path:
    path = _path(text)
    if path is None:
        raise ValueError(text)
    return path


def _side(text: str) -> Side:
    side = parse_side(text)
    if side is None and text.strip().casefold() not in UNKNOWN:
        raise ValueError(text)
    return side or "unknown"


CASE_ID = Column(
    name="case_id",
    titles=f"{COLUMN_NAMES['case_id']} id",
    parse=_name,
    expected=f"a name of at most {LONGEST_ID} characters",
    required=True,
)
IMAGE = Column(
    name="image",
    titles="image series ct imagepath seriespath ctpath ctfolder folder bild bilder serie ctordner ordner bildpfad "
    "images dossier dossierct chemin imagen imagenes carpeta rutact 影像 图像 影像路径 路径 文件夹",
    parse=_image,
    expected="a folder or file",
    required=True,
)
ROI = Column(
    name="roi",
    titles=f"{COLUMN_NAMES['roi']} mask segmentation seg maske masque mascara maschera",
    parse=_path,
)
LABEL = Column(
    name="tumor_label",
    titles=COLUMN_NAMES["tumor_label"],
    parse=parse_tumor_label,
    expected="a whole number from 1 to 65535",
)
NAME: Column[str] = Column(name="tumor_name", titles=COLUMN_NAMES["tumor_name"], parse=str)
SIDE = Column(name="side", titles=COLUMN_NAMES["side"], parse=_side, expected="left, right or nothing")
AGE = Column(
    name="age_years",
    titles=COLUMN_NAMES["age_years"],
    parse=parse_age,
    expected=f"years up to {OLDEST_YEARS}, or nothing",
)
SEX = Column(name="sex", titles=COLUMN_NAMES["sex"], parse=parse_sex, expected="M, F or nothing")
SIZE_CM = Column(
    name="size_cm",
    titles=COLUMN_NAMES["size_cm"],
    parse=parse_size_cm,
    expected=f"a size in cm up to {LARGEST_CM}, or nothing",
)
SIZE_MM = Column(
    name="size_mm",
    titles=COLUMN_NAMES["size_mm"],
    parse=parse_size_mm,
    expected=f"a size in mm up to {10 * LARGEST_CM}, or nothing",
)
CASES = Sought(columns=(CASE_ID, IMAGE, ROI, LABEL, NAME, SIDE, AGE, SEX, SIZE_CM, SIZE_MM))


@dataclass(frozen=True, kw_only=True)
class CaseTable:
    """The cases of a table, the titles of the columns that nobody looks at, and doubts about how it was opened."""

    cases: tuple[CaseToPredict, ...]
    unread: tuple[str, ...]
    doubts: tuple[str, ...] = ()


def read_cases(path: Path) -> CaseTable:
    """The cases of a CSV or workbook, in its order. Paths are as typed, with forward slashes: relative to its folder.

    Raises:
        CohortError: It is no table, a column is missing, a cell is wrong, or two cases have one name; all wrong cells
            are named at once.
    """
    table = CheckedTable.read(path, CASES)
    seen: dict[str, int] = {}
    cases = []
    for row in table.rows:
        case = _case(row)
        if case is None:
            continue
        first = seen.setdefault(case.case_id.casefold(), row.number)  # names of files on Windows have no case
        if first != row.number:
            row.wrong(CASE_ID, "a name of its own for each case", f"that of row {first}")
        cases.append(case)
    if not cases and not table.mistakes.found:
        table.mistakes.add(2, table.title(CASE_ID), "at least one case", "none")
    table.refuse()
    return CaseTable(
        cases=tuple(cases),
        unread=tuple(table.unread()),
        doubts=tuple(found.message for found in opening_findings(table.raw)),
    )


def _case(row: CheckedRow) -> CaseToPredict | None:
    """The case of a row; None after noting what is wrong in it."""
    n_before = len(row.table.mistakes.found)
    name, image = row.value(CASE_ID), row.value(IMAGE)
    age, sex, size_cm = row.value(AGE), row.value(SEX), one_size(row, SIZE_CM, SIZE_MM)
    label, side = row.value(LABEL), row.value(SIDE)
    if name is None or image is None or len(row.table.mistakes.found) > n_before:
        return None
    return CaseToPredict(
        case_id=name,
        image=image,
        roi=row.value(ROI),
        tumor_label=label,
        tumor_name=row.text(NAME),
        side=side or "unknown",
        facts=ClinicalFacts(age_years=age, sex=sex, size_cm=size_cm),
    )


def found_in(folder: Path) -> Callable[[Path], Path]:
    """How a path of a table in this folder is found: below the folder, or absolute as typed."""

    def find(path: Path) -> Path:
        whole = folder / path
        return existing(whole) or whole

    return find
