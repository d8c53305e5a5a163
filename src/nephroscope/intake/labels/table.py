"""The file of a label table in, told by its content; its header, its numbered rows of text and doubts out."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.errors import CohortError
from nephroscope.base.tables import names, read_table
from nephroscope.base.workbook import Sheet, is_workbook, only_sheet, read_workbook
from nephroscope.records import Finding, note, warning

# Compared without case, accents and whatever is neither letter nor digit; where a table has several, the first named
# here is taken.
COLUMN_NAMES = {
    "file": "file filename image imagefile",
    "case_id": "caseid case tumorid tumourid lesionid fallnummer fallid fall casid idcaso 病例号",
    "patient_id": "patientid patient pid patid patientenid patientennummer patientnr patnr patientnumber "
    "idpatient npatient numeropatient numeropatiente ipp idpaciente idpaziente "
    "paciente paziente 患者编号 病人编号 id",
    "subtype": "subtype histology label diagnosis class tumorhistologicsubtype pathology histologicsubtype "
    "histologicalsubtype tumorsubtype tumortype histologie histologischersubtyp tumorentitat tumorart pathologie "
    "histologischediagnose diagnose histologia patologia anatomiepathologique anatomopathologie anapath "
    "diagnostic diagnostico diagnosi subtyp "
    "soustype subtipo sottotipo 病理类型 病理诊断 病理 组织学类型",
    "subtype_reader2": "subtypereader2 pathologyreader2 secondreading secondpathologyreading subtype2 pathology2 "
    "histology2 diagnosis2 zweitbefund zweitbefundung referenzpathologie referencepathology centralpathology "
    "centralreview secondelecture segundalectura secondalettura 第二次病理",
    "sex": "sex gender patientsex geschlecht geschl sexe sexo genero sesso genere 性别",
    "age_years": "ageyears age ageatnephrectomy ageatimaging ageatscan ageatsurgery patientage ageyr ageyrs "
    "ageinyears alter alterjahre alterinjahren patientenalter alterbeiop ageans edad edadanos eta etaanni 年龄",
    "birth_date": "birthdate dateofbirth dob patientbirthdate geburtsdatum gebdatum gebdat datedenaissance "
    "datenaissance fechanacimiento fechadenacimiento datadinascita datanascita 出生日期",
    "scan_date": "scandate dateofscan ctdate dateofct imagingdate studydate dateofimaging ctdatum datumct "
    "untersuchungsdatum datescanner datedescanner fechatc fechatac datatc 检查日期",
    "surgery_date": "surgerydate dateofsurgery operationdate nephrectomydate dateofnephrectomy opdatum "
    "operationsdatum datechirurgie datedechirurgie fechacirugia fechadecirugia dataintervento 手术日期",
    "size_cm": "sizecm size radiographicsizecm radiographicsize tumorsizecm tumorsize tumoursize diametercm "
    "maxdiametercm largestdiametercm tumordurchmessercm grossecm tumorgrossecm taillecm tamanocm "
    "dimensionecm 肿瘤大小cm",
    "size_mm": "sizemm tumorsizemm tumoursizemm diametermm maxdiametermm largestdiametermm tumordurchmessermm "
    "grossemm tumorgrossemm taillemm tamanomm dimensionemm radiographicsizemm",
    "side": "side laterality seite lateralitat cote lateralite lado lateralidad lato lateralita 侧别",
    "phase": "phase contrastphase kmphase kontrastmittelphase fase faseconstraste 期相",
    "site_id": "siteid site center centre institution zentrum",
    "cohort": "cohort",
    "tumor_label": "tumorlabel tumourlabel labelvalue segmentnumber",
    "tumor_name": "tumorname tumourname segment segmentlabel segmentname roiname",
    "roi": "roi roifile roipath maskfile segmentationfile",
    "organs": "organs organfile kidneymask kidneyfile",
    "exclude": "exclude excluded exclusion ausschluss ausgeschlossen exclu excluido escluso",
    "exclusion_reason": "exclusionreason reasonforexclusion excludereason ausschlussgrund raisonexclusion "
    "motivoexclusion motivoesclusione",
    "slice_index": "sliceindex slice",
    "spacing": "spacingxy spacing pixelspacing",
    "row_mm": "rowmm",
    "col_mm": "colmm columnmm",
    "synthetic": "synthetic",
}

# Of a patient, or in the ROI: nobody can tell which, so it is not read but pointed out.
TUMOR_NUMBERS = """
    tumornr tumornummer tumorno tumornumber tumorn tumorindex tumour tumourno tumournumber tumor lesion lesionno
    lesionnr lesionnumber lasion lasionsnr lasionnr herd herdnr ntumeur numerotumeur numerotumor 肿瘤编号
"""


def plain(text: str) -> str:
    """A header as it is compared."""
    flat = unicodedata.normalize("NFKD", text.casefold())
    return re.sub(r"[\W_]", "", "".join(c for c in flat if not unicodedata.combining(c)))


def fits(header: Sequence[str], columns: Mapping[str, str]) -> bool:
    """True when a row has all that a header needs: whose it is, and the subtype."""
    mapped = {header_of.strip().casefold() for header_of in columns.values()}
    if not mapped <= {name.strip().casefold() for name in header}:
        return False
    known = set(columns) | {our for name in header if (our := usual_name(name))}
    return "subtype" in known and bool({"case_id", "patient_id"} & known)


def n_known(header: Sequence[str]) -> int:
    """How many cells are usual names of columns: two in a row, and it is a header."""
    return sum(bool(name and usual_name(name)) for name in header)


def find_columns(table: str, header: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Position of each column the table has.

    Args:
        table: File name, for refusals.
        header: Of the table.
        columns: Our name -> header, from ``[columns]`` of study.toml; these stand before the usual names.

    Raises:
        CohortError: A mapped header is not there or there twice, no column tells whose a row is or the subtype, or
            two columns are for one thing.
    """
    where = {name: _mapped(table, header, name, wanted) for name, wanted in columns.items()}
    taken = set(where.values())
    for name, spellings in COLUMN_NAMES.items():
        order = spellings.split()
        found = [i for i, column in enumerate(header) if plain(column) in order and i not in taken]
        if name in where or not found:
            continue
        where[name] = min(found, key=lambda i: order.index(plain(header[i])))
        if len({plain(header[i]) for i in found}) < len(found):
            raise CohortError(
                where=table,
                expected=f"one column for the {name}",
                found=" and ".join(header[i] for i in found),
                remedy="rename or remove all but one",
            )
    if "subtype" not in where or not {"case_id", "patient_id"} & where.keys():
        raise CohortError(
            where=table,
            expected="columns named case_id (or patient_id) and subtype (or histology, diagnosis)",
            found=_listed(header),
            remedy='rename the columns, or map them in study.toml: [columns] subtype = "Your header"',
        )
    return where


def not_read(table: str, header: Sequence[str], where: Mapping[str, int]) -> tuple[Finding, ...]:
    """A note that lists the columns nobody looks at: one of them may be the age under an unusual name."""
    unread = [name for i, name in enumerate(header) if name and i not in where.values()]
    if not unread:
        return ()
    text = (
        f"columns of {table} that were not read: {names(unread, 30)}; "
        "map them under [columns] in study.toml if needed"
    )
    tumors = [name for name in unread if plain(name) in TUMOR_NUMBERS.split()]
    if tumors:
        text += (
            f"; {names(tumors)} looks like the number of a tumor: map it as tumor_label if that is its value "
            "in the ROI, else give each tumor a case_id such as P7-2"
        )
    return (note("label-columns", text),)


def _mapped(table: str, header: Sequence[str], name: str, wanted: str) -> int:
    found = [i for i, column in enumerate(header) if column.strip().casefold() == wanted.strip().casefold()]
    if len(found) != 1:
        raise CohortError(
            where=f"{table}, columns.{name} of study.toml",
            expected=f"one column with the header {wanted!r}",
            found=f"{len(found)} among {_listed(header)}",
            remedy="correct the line in study.toml, or the header of the table",
        )
    return found[0]


def _listed(header: Sequence[str]) -> str:
    """The header for a message; a line without any known name may be a patient's, and is only counted."""
    filled = [name for name in header if name]
    known = any(map(usual_name, filled))
    return (
        ", ".join(filled) if known else f"{len(filled)} cells of which none is a known name (no header line?)"
    )


def usual_name(column: str) -> str:
    """Our name of a column with a usual header; empty when it is none."""
    word = plain(column)
    return next((name for name, spellings in COLUMN_NAMES.items() if word in spellings.split()), "")


TITLE_ROWS = 30  # above a header in a workbook


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """Header, numbered rows as wide as it, formulas without a result as (row, column), and doubts."""

    header: list[str]
    rows: list[tuple[int, list[str]]]
    unsaved: frozenset[tuple[int, int]] = frozenset()
    findings: tuple[Finding, ...] = ()


def open_table(path: Path, columns: Mapping[str, str]) -> RawTable:
    """Read a label table; of a workbook the one sheet whose header fits, below whatever stands above that header.

    Raises:
        CohortError: It is missing, damaged, too large or of another kind, several sheets fit, or the header takes
            two rows.
    """
    if not is_workbook(path):
        header, rows = read_table(path)
        _refuse_second_header(path, header, rows)
        return RawTable(header=header, rows=rows)
    sheets = read_workbook(path)
    heads = {id(sheet): _header_place(sheet, columns) for sheet in sheets}
    sheet = only_sheet(path, sheets, [sheet for sheet in sheets if heads[id(sheet)] is not None])
    place = heads[id(sheet)] or 0
    header = sheet.rows[place][1]
    width = max((i + 1 for i, name in enumerate(header) if name), default=0)
    rows = [(n, row[:width]) for n, row in sheet.rows[place + 1 :] if any(row[:width])]
    _refuse_second_header(path, header, rows)
    hidden = sorted(n for n, _ in rows if n in sheet.hidden)
    findings = []
    if hidden:
        text = f"{len(hidden)} rows of {path.name} are hidden there, and were read too: {names(map(str, hidden))}"
        findings.append(warning("label-hidden", text))
    if len(sheets) > 1:
        text = f"labels are from sheet {sheet.name!r} of {path.name}, one of {len(sheets)}"
        findings.append(note("label-sheet", text))
    return RawTable(header=header[:width], rows=rows, unsaved=sheet.unsaved, findings=tuple(findings))


def _header_place(sheet: Sheet, columns: Mapping[str, str]) -> int | None:
    """Which of the rows is the header: titles and merged groups may stand above it, and groups may fit themselves."""
    heads = [row for _, row in sheet.rows[:TITLE_ROWS]]
    place = next((place for place, row in enumerate(heads) if fits(row, columns)), None)
    if place is not None and fits((heads[place + 1 :] or [[]])[0], columns):
        return place + 1
    return place


def _refuse_second_header(path: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> None:
    """Two header rows: which name is a column's cannot be told, and what one row alone says would be lost unseen."""
    n, below = rows[0] if rows else (0, [])
    if n_known(below) < 2:
        return
    raise CohortError(
        where=f"{path.name}, row {n}",
        expected="one header row with a name for each column",
        found=f"{n_known(below)} names of columns below a header already",
        remedy="join the two rows to one, or delete the upper one",
    )
