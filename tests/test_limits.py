"""Small files that would become large: refused before a parser sees them, whatever their format."""

import zipfile

import nrrd
import numpy as np
import openpyxl
import pytest

from nephroscope.base import limits
from nephroscope.base.documents import read_object
from nephroscope.base.errors import CohortError, ConfigError, RoiError, StudyError
from nephroscope.base.tables import read_table
from nephroscope.base.workbook import read_workbook
from nephroscope.imaging.masks.label_map import MITK_LABELS, read_label_map
from nephroscope.records.settings import Settings
from nephroscope.study.folder import create_study, open_study


@pytest.fixture
def few(monkeypatch):
    """The same limits, small, so that the files of a test are small too."""
    for name, value in {
        "MOST_TABLE_BYTES": 200_000,
        "MOST_LINE_BYTES": 50_000,
        "MOST_COLUMNS": 100,
        "MOST_CELLS": 2000,
        "MOST_TAGS": 5000,
        "MOST_EQUALS": 9000,
    }.items():
        monkeypatch.setattr(limits, name, value)
    monkeypatch.setattr(limits, "_CHUNK", 1000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (",".join(f"c{i}" for i in range(101)) + "\n", "100 columns"),
        ("a;b\n" + "\n" * 1001, "2,000 cells"),
        ("a,b\n" + "x" * 50_001, "lines of at most 50,000 bytes"),
        ("a,b\n" + "1,2," + "," * 60_000 + "3\n", "lines of at most 50,000 bytes"),
        ("a,b\n" + f"1,{'x' * 990}\n" * 200 + "\n" * 3000, "0 MiB"),
    ],
)
def test_a_csv_is_bounded_before_it_is_parsed(tmp_path, few, monkeypatch, text, expected):
    path = tmp_path / "t.csv"
    path.write_text(text)
    monkeypatch.setattr("nephroscope.base.tables.csv.reader", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(CohortError) as refusal:
        read_table(path)
    assert expected in refusal.value.expected


def test_lines_of_an_old_mac_are_lines(tmp_path, few):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\r" + b"1,2\r" * 900)
    assert len(read_table(path)[1]) == 900
    path.write_bytes(b"a,b\r" + b"1,2\r" * 1100)
    with pytest.raises(CohortError, match="cells"):
        read_table(path)


def test_a_line_that_grows_over_several_pieces_is_one_line(tmp_path, few):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{i},{'x' * 700}\n" for i in range(20)))
    assert len(read_table(path)[1]) == 20


def _book(path, part, old, new):
    made = openpyxl.Workbook()
    for row in (("patient_id", "subtype"), ("P1", "PRCC")):
        made.active.append(row)
    made.save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = parts.get(part, b"<sst></sst>").replace(old, new)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


SHEET, END = "xl/worksheets/sheet1.xml", b"</sheetData>"


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        (SHEET, END, b"<row>" + b"<c/>" * 6000 + b"</row>" + END),
        (SHEET, END, b"<row/>" * 6000 + END),
        (
            SHEET,
            b"</worksheet>",
            b"<mergeCells>" + b'<mergeCell ref="A1"/>' * 6000 + b"</mergeCells></worksheet>",
        ),
        ("xl/styles.xml", b"</cellXfs>", b"<xf/>" * 6000 + b"</cellXfs>"),
        ("xl/sharedStrings.xml", b"</sst>", b"<si/>" * 6000 + b"</sst>"),
        ("xl/workbook.xml", b"</sheets>", b"<x:sheet/>" * 6000 + b"</sheets>"),
    ],
)
def test_the_tags_of_a_workbook_are_bounded_before_they_are_parsed(
    tmp_path, few, monkeypatch, part, old, new
):
    path = _book(tmp_path / "t.xlsx", part, old, new)
    monkeypatch.setattr("nephroscope.base.workbook.iterparse", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(CohortError) as refusal:
        read_workbook(path)
    assert "2,500 filled cells" in refusal.value.expected


def test_empty_cells_beyond_the_last_column_end_the_reading_of_a_row(tmp_path):
    path = _book(tmp_path / "t.xlsx", SHEET, END, b"<row>" + b"<c/>" * 5000 + b"</row>" + END)
    with pytest.raises(CohortError) as refusal:
        read_workbook(path)
    assert refusal.value.found.startswith("3 rows, 1001 columns")


@pytest.mark.parametrize(
    "text", ['{"format": 1, "x": ' + "[" * 90 + "]" * 90 + "}", '{"format": 1' + "0" * 5000 + "}"]
)
def test_deep_json_and_long_numbers_are_refused(tmp_path, text):
    path = tmp_path / "bundle.json"
    path.write_text(text)
    for read in (lambda: read_object(path, 1),):
        with pytest.raises(StudyError) as refusal:
            read()
        assert refusal.value.where == "bundle.json"
        assert "deep" in refusal.value.found or "digits" in refusal.value.found


def test_brackets_within_texts_are_no_depth(tmp_path):
    path = tmp_path / "findings.json"
    path.write_text('{"format": 1, "x": ["' + "[" * 500 + '\\"{"], "y": ' + str([[1]] * 100) + "}")
    assert len(read_object(path, 1)["x"][0]) == 502


@pytest.mark.parametrize(
    "line",
    ["x = " + "[" * 200_000, "x = " + "{a = " * 90 + "1" + "}" * 90, "x = " + "9" * 5000, f"# {'x' * 2**20}"],
)
def test_a_settings_file_is_bounded(tmp_path, line):
    folder = create_study(tmp_path / "s", Settings(subtypes=("A", "B"), positive="A"))
    folder.toml.write_text(line + "\n" + folder.toml.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ConfigError) as refusal:
        open_study(folder.root)
    assert refusal.value.where == "study.toml"


def test_brackets_in_comments_and_texts_of_a_settings_file_are_no_depth(tmp_path):
    folder = create_study(tmp_path / "s", Settings(subtypes=("A", "B"), positive="A"))
    text = folder.toml.read_text(encoding="utf-8").replace("[columns]", f'[columns]\n"sex" = "{"[" * 70}"')
    folder.toml.write_text(f"# {'[' * 90} it's\n{text}", encoding="utf-8")
    assert open_study(folder.root)[1].columns["sex"] == "[" * 70


@pytest.mark.parametrize("text", ["[" * 5000, '[[{"value": ' + "9" * 5000 + "}]]"])
def test_labels_of_mitk_are_bounded(tmp_path, text):
    path = tmp_path / "m.nrrd"
    grid = {"space": "left-posterior-superior", "space directions": np.eye(3), "space origin": [0, 0, 0]}
    nrrd.write(str(path), np.zeros((4, 4, 4), np.uint8), {**grid, MITK_LABELS: text})
    with pytest.raises(RoiError) as refusal:
        read_label_map(path, "case P1")
    assert "deep" in refusal.value.found or "digits" in refusal.value.found
