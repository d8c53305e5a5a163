"""Open a label table, CSV or workbook, and find its header and columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.columns import places_of, plain_title, usual_places
from nephroscope.base.errors import CohortError
from nephroscope.base.tables import names, read_table
from nephroscope.base.workbook import Sheet, is_workbook, only_sheet, read_workbook
from nephroscope.records import Finding, note, warning

# Titles as `plain_title` makes them. Where a table has several titles for one column, the first one listed here is
# used.
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

# Such a number may count the tumors of a patient or be the label in the ROI, so it is reported but not used.
TUMOR_NUMBERS = """
    tumornr tumornummer tumorno tumornumber tumorn tumorindex tumour tumourno tumournumber tumor lesion lesionno
    lesionnr lesionnumber lasion lasionsnr lasionnr herd herdnr ntumeur numerotumeur numerotumor 肿瘤编号
"""


def fits(header: Sequence[str], columns: Mapping[str, str]) -> bool:
    """True when a row has what a header needs: whose row it is, and the subtype."""
    mapped = {header_of.strip().casefold() for header_of in columns.values()}
    if not mapped <= {name.strip().casefold() for name in header}:
        return False
    known = set(columns) | {our for name in header if (our := usual_name(name))}
    return "subtype" in known and bool({"case_id", "patient_id"} & known)


def n_known(header: Sequence[str]) -> int:
    """Number of cells that are usual titles of columns; with two or more, a row is a header."""
    return sum(bool(name and usual_name(name)) for name in header)


def find_columns(table: str, header: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Position of each known column of a table.

    Args:
        table: File name, in refusals.
        header: Header of the table.
        columns: Our name -> title, from ``[columns]`` of study.toml; these come before the usual titles.

    Raises:
        CohortError: A mapped title is missing or there twice, no column names the case or the subtype, or two columns
            have the same meaning.
    """
    where = {name: _mapped(table, header, name, wanted) for name, wanted in columns.items()}
    taken = set(where.values())
    for name, spellings in COLUMN_NAMES.items():
        found = usual_places(header, spellings.split(), taken)
        if name in where or not found:
            continue
        where[name] = found[0]
        if len({plain_title(header[i]) for i in found}) < len(found):
            raise CohortError(
                where=table,
                expected=f"one column for the {name}",
                found=" and ".join(header[i] for i in sorted(found)),
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
    """A note that lists the columns that are not used: one of them may be the age under an unusual title."""
    unread = [name for i, name in enumerate(header) if name and i not in where.values()]
    if not unread:
        return ()
    text = (
        f"columns of {table} that were not used: {names(unread, 30)}; "
        "map them under [columns] in study.toml if needed"
    )
    tumors = [name for name in unread if plain_title(name) in TUMOR_NUMBERS.split()]
    if tumors:
        text += (
            f"; {names(tumors)} may be the number of a tumor: map it as tumor_label if it is the label "
            "in the ROI, otherwise give each tumor a case_id such as P7-2"
        )
    return (note("label-columns", text),)


def _mapped(table: str, header: Sequence[str], name: str, wanted: str) -> int:
    found = places_of(header, wanted)
    if len(found) != 1:
        raise CohortError(
            where=f"{table}, columns.{name} of study.toml",
            expected=f"one column with the header {wanted!r}",
            found=f"{len(found)} among {_listed(header)}",
            remedy="correct the line in study.toml, or the header of the table",
        )
    return found[0]


def _listed(header: Sequence[str]) -> str:
    """The header for a message. A line without any known title may hold a patient's data and is only counted."""
    filled = [name for name in header if name]
    known = any(map(usual_name, filled))
    return ", ".join(filled) if known else f"{len(filled)} cells without a known title (no header line?)"


def usual_name(column: str) -> str:
    """Our name of a column with a usual title; empty for other titles."""
    word = plain_title(column)
    return next((name for name, spellings in COLUMN_NAMES.items() if word in spellings.split()), "")


TITLE_ROWS = 30  # above a header in a workbook


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """Header, numbered rows of the same width, formulas without a saved result as (row, column), and findings."""

    header: list[str]
    rows: list[tuple[int, list[str]]]
    unsaved: frozenset[tuple[int, int]] = frozenset()
    findings: tuple[Finding, ...] = ()


def open_table(path: Path, columns: Mapping[str, str]) -> RawTable:
    """Read a label table; in a workbook, the one sheet with a fitting header, below any title lines.

    Raises:
        CohortError: It is missing, damaged, too large or of another kind, several sheets fit, or it has two headers.
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
        text = f"{len(hidden)} hidden rows of {path.name} were used too: {names(map(str, hidden))}"
        findings.append(warning("label-hidden", text))
    if len(sheets) > 1:
        text = f"the labels are from sheet {sheet.name!r} of {path.name}, one of {len(sheets)} sheets"
        findings.append(note("label-sheet", text))
    return RawTable(header=header[:width], rows=rows, unsaved=sheet.unsaved, findings=tuple(findings))


def _header_place(sheet: Sheet, columns: Mapping[str, str]) -> int | None:
    """Which row is the header: titles and merged group names may be above it, and a group row may also fit."""
    heads = [row for _, row in sheet.rows[:TITLE_ROWS]]
    place = next((place for place, row in enumerate(heads) if fits(row, columns)), None)
    if place is not None and fits((heads[place + 1 :] or [[]])[0], columns):
        return place + 1
    return place


def _refuse_second_header(path: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> None:
    """Refuse two header rows: the title of a column would be ambiguous, and part of the header would be lost."""
    n, below = rows[0] if rows else (0, [])
    if n_known(below) < 2:
        return
    raise CohortError(
        where=f"{path.name}, row {n}",
        expected="one header row with a title for each column",
        found=f"{n_known(below)} more column titles below the header",
        remedy="join the two rows into one, or delete the upper one",
    )
