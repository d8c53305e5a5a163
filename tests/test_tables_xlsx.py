"""Label tables as Excel workbooks: what people put above, beside and behind a table, and what no table may do."""

import zipfile
from datetime import date, datetime

import openpyxl
import pytest

from nephroscope.base import limits
from nephroscope.base.errors import CohortError
from nephroscope.intake.labels.rows import read_label_table, read_labels

HEADER = ["Case ID", "Histology", "Age", "Sex"]


def book(path, *rows, name="labels.xlsx", change=None):
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    if change:
        change(made)
    made.save(path / name)
    return path / name


def refused(path):
    with pytest.raises(CohortError) as caught:
        read_labels(path)
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


def test_numbers_texts_and_empty_rows(tmp_path):
    path = book(
        tmp_path, HEADER, ["a", "pRCC", 63, "m"], [], ["b", " ChRCC ", "58,5", "w"], [7, "x", None, None]
    )
    rows = read_labels(path)
    assert [(r.row, r.case_id, r.subtype, r.age_years, r.sex) for r in rows] == [
        (2, "a", "pRCC", 63, "M"),
        (4, "b", "ChRCC", 58.5, "F"),
        (5, "7", "x", None, None),
    ]


def test_a_rounded_identifier_is_refused(tmp_path):
    path = book(tmp_path, HEADER, [12345678901234567, "pRCC"], [0.1 + 0.2, "pRCC"])
    assert (
        "row 2, column Case ID: expected a name (long numbers as text, because spreadsheets round"
        in refused(path)
    )
    path = book(tmp_path, HEADER, ["12345678901234567", "pRCC"], [123456789012345, "pRCC"], ["007", "pRCC"])
    assert [row.case_id for row in read_labels(path)] == ["12345678901234567", "123456789012345", "007"]


def test_a_workbook_is_told_by_its_content(tmp_path):
    path = book(tmp_path, HEADER, ["a", "pRCC"]).rename(tmp_path / "labels.csv")
    assert read_labels(path)[0].case_id == "a"


def test_titles_and_merged_groups_above_the_header(tmp_path):
    def merge(made):
        made.active.merge_cells("A1:D1")
        made.active.merge_cells("A3:B3")

    path = book(
        tmp_path, ["Our cohort"], [], ["Patient", "", "Tumor"], HEADER, ["a", "pRCC", 63], change=merge
    )
    (row,) = read_labels(path)
    assert (row.row, row.case_id, row.age_years) == (5, "a", 63)


def test_cells_merged_downwards_stand_in_every_row(tmp_path):
    path = book(
        tmp_path,
        ["patient", "case", "histology", "sex"],
        ["p", "p-1", "pRCC", "f"],
        [None, "p-2", "pRCC", None],
        ["q", "q-1", "pRCC", "m"],
        change=lambda made: (made.active.merge_cells("A2:A3"), made.active.merge_cells("D2:D3")),
    )
    assert [(r.patient_id, r.case_id, r.sex) for r in read_labels(path)] == [
        ("p", "p-1", "F"),
        ("p", "p-2", "F"),
        ("q", "q-1", "M"),
    ]


def test_cells_merged_sideways_stand_once(tmp_path):
    path = book(
        tmp_path,
        ["case", "histology", "pathology reader 2"],
        ["a", "pRCC", None],
        ["b", "ChRCC", None],
        change=lambda made: made.active.merge_cells("B2:C2"),
    )
    assert [(row.subtype, row.subtype_reader2) for row in read_labels(path)] == [
        ("pRCC", None),
        ("ChRCC", None),
    ]


def test_dates_as_cells_give_ages_and_are_forgotten(tmp_path):
    path = book(
        tmp_path,
        ["patient", "histology", "Geburtsdatum", "CT date", "OP-Datum"],
        ["a", "pRCC", date(1958, 3, 12), datetime(2021, 3, 11, 9, 30), None],
        ["b", "pRCC", "12.03.1958", date(2021, 3, 12), None],
        ["c", "pRCC", 21256, None, "2021-03-12"],
        ["d", "pRCC", date(1920, 1, 1), date(2021, 1, 1), None],
    )
    table = read_label_table(path)
    assert [row.age_years for row in table.rows] == [62, 63, 63, 90]
    assert [f.message for f in table.findings] == [
        "3 ages are completed years at the scan",
        "1 ages are completed years at surgery, as there is no scan date",
    ]
    assert "19" not in repr(table.rows)


def test_hidden_rows_are_read_and_said(tmp_path):
    def hide(made):
        made.active.row_dimensions[3].hidden = True

    table = read_label_table(book(tmp_path, HEADER, ["a", "pRCC"], ["b", "pRCC"], change=hide))
    assert len(table.rows) == 2
    assert table.findings[0].message == "1 hidden row of labels.xlsx was used too: 3"


def test_formulas_without_a_result_are_refused(tmp_path):
    path = book(tmp_path, HEADER, ["a", "pRCC", "=60+3", "f"])
    assert (
        "row 2, column Age: expected years up to 120, found a formula without a saved result; open the"
        in refused(path)
    )


def test_a_broken_reference_is_no_name(tmp_path):
    path = book(tmp_path, HEADER, ["a", "#REF!"])
    assert "column Histology: expected a subtype, found '#REF!'" in refused(path)


def two_sheets(made):
    made.active.title = "Befunde"
    other = made.create_sheet("Liste")
    other.append(HEADER)
    other.append(["z", "pRCC"])


def test_the_sheet_whose_header_fits_is_taken(tmp_path):
    table = read_label_table(book(tmp_path, ["a legend"], ["nothing"], change=two_sheets))
    assert table.rows[0].case_id == "z"
    assert table.findings[0].message == "the rows are from sheet 'Liste' of labels.xlsx, one of 2 sheets"


def test_two_sheets_that_fit_are_refused(tmp_path):
    path = book(tmp_path, HEADER, ["a", "pRCC"], change=two_sheets)
    assert "labels.xlsx: expected one sheet with these columns, found 2: Befunde, Liste" in refused(path)


def test_a_hidden_sheet_does_not_count(tmp_path):
    def hide(made):
        two_sheets(made)
        made["Liste"].sheet_state = "hidden"

    assert read_labels(book(tmp_path, HEADER, ["a", "pRCC"], change=hide))[0].case_id == "a"


def test_no_sheet_fits(tmp_path):
    assert "expected columns named case_id (or patient_id) and subtype" in refused(
        book(tmp_path, ["name", "x"])
    )
    assert "found only empty or hidden sheets; fill the table" in refused(book(tmp_path))


def test_other_files_are_refused_with_words(tmp_path):
    (tmp_path / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    assert "found an old workbook (.xls), or one with a password; save it as .xlsx" in refused(
        tmp_path / "old.xls"
    )
    with zipfile.ZipFile(tmp_path / "a.ods", "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    assert "found an OpenDocument file" in refused(tmp_path / "a.ods")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    assert "found a zip archive of another kind" in refused(tmp_path / "a.zip")
    (tmp_path / "web.xls").write_bytes(b"\xef\xbb\xbf\n<html><table><tr><td>case</td></tr></table></html>")
    assert "expected a workbook (.xlsx) or a CSV table, found HTML or XML; open" in refused(
        tmp_path / "web.xls"
    )
    whole = book(tmp_path, HEADER, ["a", "pRCC"]).read_bytes()
    (tmp_path / "half.xlsx").write_bytes(whole[: len(whole) // 2])
    assert "found one that is damaged or of another kind (BadZipFile)" in refused(tmp_path / "half.xlsx")


def rewritten(path, part, text):
    """The workbook with one of its parts replaced."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    other = path.with_name("changed.xlsx")
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (parts | {part: text}).items():
            archive.writestr(name, content)
    return other


SHEET = "xl/worksheets/sheet1.xml"
START = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
END = "</sheetData></worksheet>"


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = book(tmp_path, HEADER, ["a", "pRCC"])
    bomb = rewritten(path, SHEET, " " * (limits.MOST_BOOK_BYTES + 1))
    assert bomb.stat().st_size < 200_000
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    assert "expected a workbook of at most 64 MiB unpacked and 2000 parts, found 64 MiB in" in refused(bomb)


def test_too_many_parts_are_refused(tmp_path):
    path = book(tmp_path, HEADER, ["a", "pRCC"])
    with zipfile.ZipFile(path, "a") as archive:
        for i in range(2000):
            archive.writestr(f"xl/{i}", "")
    assert "found 0 MiB in 20" in refused(path)


def test_giant_dimensions_are_refused(tmp_path):
    path = book(tmp_path, HEADER, ["a", "pRCC"])
    far = f'{START}<row r="1048576"><c r="A1048576" t="inlineStr"><is><t>x</t></is></c></row>{END}'
    assert "sheet Sheet: expected at most 100000 rows and 1000 columns, found 1048576 rows" in refused(
        rewritten(path, SHEET, far)
    )
    wide = f'{START}<row r="1"><c r="XFD1"><v>1</v></c></row>{END}'
    assert "found 1 rows, 16384 columns or more" in refused(rewritten(path, SHEET, wide))
    many = START + "<row/>" * 100_001 + END
    assert "found 100001 rows" in refused(rewritten(path, SHEET, many))


def test_a_declared_size_is_not_believed(tmp_path):
    """Excel writes the size of what was once formatted."""
    path = book(tmp_path, HEADER, ["a", "pRCC"])
    with zipfile.ZipFile(path) as archive:
        text = archive.read(SHEET).decode()
    assert "A1:D2" in text
    changed = rewritten(path, SHEET, text.replace("A1:D2", "A1:XFD1048576"))
    assert [row.case_id for row in read_labels(changed)] == ["a"]


def test_entities_that_grow_are_refused(tmp_path):
    lol = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    text = (
        f'<?xml version="1.0"?><!DOCTYPE z [<!ENTITY l0 "lol">{lol}]>'
        + START
        + "<row><c><v>&l9;</v></c></row>"
        + END
    )
    path = rewritten(book(tmp_path, HEADER, ["a", "pRCC"]), SHEET, text)
    assert "found one that is damaged or of another kind (ParseError)" in refused(path)


def test_nothing_damaged_ends_in_a_traceback(tmp_path):
    """Every part broken off or replaced, and bytes turned over: a refusal or a table, nothing else."""
    path = book(tmp_path, HEADER, ["a", "pRCC", 63, "m"])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    outcomes = set()
    for part, content in parts.items():
        for changed in (
            b"",
            b"<a/>",
            content[: len(content) // 2],
            content.replace(b"s", b"t"),
            content[::-1],
        ):
            try:
                outcomes.add(len(read_labels(rewritten(path, part, changed))))
            except CohortError:
                outcomes.add("refused")
    raw = path.read_bytes()
    for at in range(0, len(raw), 97):
        other = tmp_path / "flipped.xlsx"
        other.write_bytes(raw[:at] + bytes([raw[at] ^ 255]) + raw[at + 1 :])
        try:
            outcomes.add(len(read_labels(other)))
        except CohortError:
            outcomes.add("refused")
    assert outcomes == {"refused", 1}


def test_a_group_row_that_looks_like_a_header_is_passed_over(tmp_path):
    path = book(
        tmp_path, ["Patient", None, "Pathology"], ["ID", "Sex", "Histology", "Age"], ["a", "f", "pRCC", 63]
    )
    (row,) = read_labels(path)
    assert (row.case_id, row.sex, row.subtype, row.age_years) == ("a", "F", "pRCC", 63)


def test_a_cell_far_beyond_the_last_column_is_damage(tmp_path):
    path = book(tmp_path, HEADER, ["a", "pRCC"])
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(path, "w") as new:
        for name, part in parts.items():
            new.writestr(name, part.replace(b'r="A2"', b'r="ZZZZ2"') if name == sheet else part)
    assert "one that is damaged or of another kind (CellCoordinatesException)" in refused(path)


@pytest.mark.parametrize(
    ("value", "shape", "shown"),
    [
        (7, "000", "007"),
        (12001, "0000000", "0012001"),
        (7, '"P"000', "P007"),
        (7, r"\P000", "P007"),
        (7, '"KH-"0000" a"', "KH-0007 a"),
        (7.0, "00000;@", "00007"),
        (1234, "000", "1234"),
        (7, "0", "7"),
        (7, "General", "7"),
        (7, "#,##0", "7"),
        ("7", "000", "7"),
    ],
)
def test_an_identifier_is_what_excel_shows(tmp_path, value, shape, shown):
    def format_cell(made):
        made.active["A2"].number_format = shape

    path = book(tmp_path, HEADER, [value, "pRCC"], change=format_cell)
    assert [row.case_id for row in read_labels(path)] == [shown]
