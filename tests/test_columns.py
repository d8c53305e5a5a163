"""The one finder of columns: titles, doubled and missing columns, and wrong cells said all at once."""

import pytest

from nephroscope.base.columns import CheckedTable, Column, find_columns
from nephroscope.base.errors import CohortError

CASE = Column(name="case_id", titles="caseid case id", parse=str, required=True)
AGE = Column(name="age", titles="age alter edad", parse=int, expected="a whole number of years")
SITE = Column(name="site", titles="site center", parse=str, required=True)


def test_titles_are_found_without_case_accents_and_punctuation():
    assert find_columns("t.csv", ["Case ID", "Álter", "SITE"], (CASE, AGE, SITE)) == {
        "case_id": 0,
        "age": 1,
        "site": 2,
    }


def test_the_preferred_title_and_the_users_own_come_first():
    header = ["id", "case", "age", "Einrichtung", "site"]
    assert find_columns("t.csv", header, (CASE, SITE))["case_id"] == 1
    found = find_columns("t.csv", header, (CASE, AGE, SITE), {"site": "einrichtung"})
    assert found == {"case_id": 1, "age": 2, "site": 3}


def test_a_title_that_differs_in_punctuation_alone_can_be_named():
    assert find_columns("t.csv", ["a-b", "a+b", "site"], (CASE, SITE), {"case_id": "A+B"})["case_id"] == 1


def test_every_mistake_of_a_header_is_said_at_once():
    with pytest.raises(CohortError) as refusal:
        find_columns("t.csv", ["age", "Age", ""], (CASE, AGE, SITE), {"case_id": "Fall"})
    assert refusal.value.expected == "a column 'Fall', one column 'age', a column site"
    assert refusal.value.found == "age, Age, (no name)"
    assert refusal.value.where == "t.csv"


def test_wrong_cells_are_named_by_row_and_column(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("case,Alter,site,remark\na,60,x,\nb,old,y,\n\nc,,z,\n", encoding="utf-8")
    table = CheckedTable.read(path, (CASE, AGE, SITE))
    assert [row.value(AGE) for row in table.rows] == [60, None, None]
    assert table.unread() == ["remark"]
    with pytest.raises(CohortError) as refusal:
        table.refuse()
    assert "row 3, column Alter: expected a whole number of years, found 'old'" in refusal.value.found
    assert "row 5, column Alter: expected a whole number of years, found nothing" in refusal.value.found


def test_a_column_that_the_table_lacks_is_empty_text():
    table = CheckedTable("t.csv", ["case"], [(2, ["a"])], find_columns("t.csv", ["case"], (CASE,)))
    assert not table.has(AGE)
    assert table.rows[0].text(AGE) == ""
    assert (table.title(CASE), table.title(AGE)) == ("case", "age")
