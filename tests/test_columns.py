"""The one finder of columns: titles, doubled and missing columns, and wrong cells said all at once."""

import openpyxl
import pytest

from nephroscope.base.columns import CheckedTable, Column, Sought, find_columns
from nephroscope.base.errors import CohortError
from nephroscope.base.sheet import RawTable

CASE = Column(name="case_id", titles="caseid case id fall", parse=str, required=True)
AGE = Column(name="age", titles="age alter edad", parse=int, expected="a whole number of years")
SITE = Column(name="site", titles="site center", parse=str, required=True)


def places(header, *columns, **more):
    sought = Sought(columns=columns, **more)
    return find_columns(RawTable(file="t.csv", header=list(header), rows=[]), sought)


def refusal(header, *columns, **more):
    with pytest.raises(CohortError) as found:
        places(header, *columns, **more)
    return found.value


def test_titles_are_found_without_case_accents_and_punctuation():
    found = places(["Case ID", "Álter (J.)", "SITE"], CASE, AGE, SITE)
    assert found == {"case_id": 0, "age": 1, "site": 2}


def test_the_preferred_title_and_the_users_own_come_first():
    header = ["id", "case", "age", "Einrichtung", "site"]
    assert places(header, CASE, SITE)["case_id"] == 1
    assert places(header, CASE, AGE, SITE, named={"site": "einrichtung"}) == {
        "case_id": 1,
        "age": 2,
        "site": 3,
    }
    assert places(["case", "id", "site"], CASE, AGE, SITE, named={"age": "case"}) == {
        "age": 0,
        "case_id": 1,
        "site": 2,
    }


def test_a_title_that_differs_in_punctuation_alone_can_be_named():
    assert places(["a-b", "a+b", "site"], CASE, SITE, named={"case_id": "A+B"})["case_id"] == 1


def test_every_mistake_of_a_header_is_said_at_once():
    error = refusal(["age", "Age", ""], CASE, AGE, SITE, named={"case_id": "Fall"}, setting="--columns")
    assert error.expected == "a column 'Fall', one column 'age', a column site"
    assert error.found == "age, Age, (no name); recognized: age (age)"
    assert (error.where, "--columns 'site=title of your column'" in error.remedy) == ("t.csv", True)


def test_a_line_without_a_known_title_is_not_shown():
    assert "Smith" not in str(refusal(["Smith", "12.03.1958"], CASE, SITE))


def test_a_title_like_a_usual_one_is_proposed():
    error = refusal(["case", "Sites."], CASE, SITE, setting="study.toml")
    assert error.remedy.endswith('[columns]\nsite = "Sites."')


def test_a_group_needs_one_of_its_columns():
    either = {"one_of": (("age", "site"),)}
    here = Column(name="site", titles="site", parse=str)
    assert places(["case", "site"], CASE, AGE, here, **either) == {"case_id": 0, "site": 1}
    assert refusal(["case"], CASE, AGE, here, **either).expected == "a column age or site"


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_headers_lie_below_titles_in_either_kind_of_file(tmp_path, kind):
    rows = [["Our list, 2024"], [], ["Fall", "Alter", "Center"], ["a", "60", "x"]]
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        path.write_text("\n".join(";".join(row) for row in rows), encoding="utf-8")
    else:
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.active.row_dimensions[4].hidden = True
        book.create_sheet("Notes").append(["nothing"])
        book.save(path)
    table = CheckedTable.read(path, Sought(columns=(CASE, AGE, SITE)))
    (row,) = table.rows
    assert (row.number, row.text(CASE), row.value(AGE), row.text(SITE)) == (4, "a", 60, "x")
    assert (table.raw.header_row, table.raw.hidden) == (3, (4,) if kind == "xlsx" else ())
    assert table.raw.sheet == ("Sheet" if kind == "xlsx" else "")


def test_two_header_rows_are_refused_and_a_row_of_words_that_are_titles_is_not(tmp_path):
    path, sought = tmp_path / "t.csv", Sought(columns=(CASE, AGE, SITE))
    path.write_text("case,site,x,y\nid,,,alter\n", encoding="utf-8")
    with pytest.raises(CohortError, match="one header row"):
        CheckedTable.read(path, sought)
    path.write_text("age,site,case,x,y\nalter,center,7,8,9\n", encoding="utf-8")
    assert len(CheckedTable.read(path, sought).rows) == 1


def test_wrong_cells_are_named_by_row_and_column(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("case,Alter,site,remark\na,60,x,\nb,old,y,\n\nc,,z,\n", encoding="utf-8")
    table = CheckedTable.read(path, Sought(columns=(CASE, AGE, SITE)))
    assert [row.value(AGE) for row in table.rows] == [60, None, None]
    assert table.unread() == ["remark"]
    with pytest.raises(CohortError) as refused:
        table.refuse()
    assert "row 3, column Alter: expected a whole number of years, found 'old'" in refused.value.found
    assert "row 5, column Alter: expected a whole number of years, found nothing" in refused.value.found


def test_a_column_that_the_table_lacks_is_empty_text():
    raw = RawTable(file="t.csv", header=["case"], rows=[(2, ["a"])])
    table = CheckedTable(raw, find_columns(raw, Sought(columns=(CASE,))))
    assert not table.has(AGE)
    assert table.rows[0].text(AGE) == ""
    assert (table.title(CASE), table.title(AGE)) == ("case", "age")
