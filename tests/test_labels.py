"""Label tables: columns by their usual names, subtypes by their synonyms, never by half a word."""

import re

import pytest

from nephroscope.cohort.join import settle_labels
from nephroscope.cohort.labels import LabelRow, match_subtype, parse_age, read_labels
from nephroscope.errors import CohortError

SUBTYPES = ("papillary", "chromophobe", "clear_cell")


def table(folder, text):
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_usual_names_are_found(tmp_path):
    (row,) = read_labels(
        table(
            tmp_path,
            "Case ID;PID;Image;Tumor-Histologic_Subtype;Gender;Age at nephrectomy;radiographic_size;Slice;"
            "Pixel Spacing;site;phase;cohort;synthetic;extra\n"
            "t1;p1;a.png;pRCC;female;>89;3,3;7;0.7\\0.8;north;venous;internal-test;yes;x\n",
        )
    )
    assert row == LabelRow(
        row=2,
        case_id="t1",
        patient_id="p1",
        file="a.png",
        subtype="pRCC",
        sex="F",
        age_years=90.0,
        size_cm=3.3,
        slice_index=7,
        row_mm=0.7,
        col_mm=0.8,
        site_id="north",
        phase="venous",
        cohort="internal-test",
        synthetic=True,
    )


def test_little_is_needed_and_the_rest_is_unknown(tmp_path):
    (row,) = read_labels(table(tmp_path, "patient,diagnosis,sex,age\np1,ChRCC,unknown,0\n"))
    assert row == LabelRow(row=2, case_id="p1", patient_id="p1", subtype="ChRCC")


def test_row_and_column_spacing_stand_before_one_for_both(tmp_path):
    (row,) = read_labels(table(tmp_path, "case,label,spacing_xy,row_mm\na,x,0.7,0.9\n"))
    assert (row.row_mm, row.col_mm) == (0.9, 0.7)
    (row,) = read_labels(table(tmp_path, 'case,label,spacing\na,x,"[0.7, 0.8]"\n'))
    assert (row.row_mm, row.col_mm) == (0.7, 0.8)


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("", None),
        ("0", None),
        ("63", 63),
        ("63.5", 63.5),
        (">89", 90),
        ("90+", 90),
        ("063Y", 63),
        ("006M", 0.5),
    ],
)
def test_ages(text, age):
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["sixty", "-3", "130", ">50"])
def test_no_ages(text):
    with pytest.raises(ValueError, match=re.escape(text)):
        parse_age(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,label,age\na,x,old\n", "labels.csv, row 2, column age: expected years up to 120, found 'old'"),
        ("case,label,gender\na,x,z\n", "column gender: expected male, female, other or nothing, found 'z'"),
        ("case,label,slice\na,x,1.5\n", "column slice: expected a whole number, found '1.5'"),
        ("case,label,spacing\na,x,1 2 3\n", "column spacing: expected one or two numbers of millimetres"),
        ("case,label,spacing\na,x,-1\n", "column spacing: "),
        ("case,label\na,\n", "column label: expected a subtype, found nothing"),
        ("case,label\n,x\n", "row 2, column case_id: expected a name, found nothing"),
        ("case,label,cohort\na,x,test\n", "column cohort: expected development, internal-test or external"),
        ("case,label,synthetic\na,x,hm\n", "column synthetic: expected yes or no, found 'hm'"),
        ("case,label,age\na,x,old\nb,,7\n", "found 2: row 2, column age: .* row 3, column label: "),
        (
            "name,label\na,x\n",
            r"expected columns named case_id \(or patient_id\) and subtype .*found name, label",
        ),
        ("case,age\na,1\n", "expected columns named case_id .*found case, age"),
        ("case,Case,label\na,b,x\n", "expected one column for the case_id, found case and Case"),
        ("case,label\n", "expected at least one row below the header, found none"),
    ],
)
def test_mistakes(tmp_path, text, message):
    with pytest.raises(CohortError, match=message):
        read_labels(table(tmp_path, text))


def test_a_missing_table_is_refused_without_its_folder(tmp_path):
    with pytest.raises(CohortError, match=r"gone.csv: .*found no readable file") as caught:
        read_labels(tmp_path / "gone.csv")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("text", ["papillary_rcc", "Papillary RCC", "PRCC", "pRCC", "papillary"])
@pytest.mark.parametrize("name", ["papillary", "PRCC", "papillary_rcc"])
def test_synonyms(text, name):
    assert match_subtype(text, ("ChRCC", name)) == name


@pytest.mark.parametrize(
    "text", ["clear_cell_papillary", "clear cell papillary RCC", "ccpRCC", "oncocytoma", "rcc"]
)
def test_other_subtypes_match_nothing(text):
    assert match_subtype(text, SUBTYPES) is None


def test_an_exact_name_stands_before_a_synonym():
    assert match_subtype("pRCC", ("papillary", "PRCC")) == "PRCC"
    assert match_subtype("Grade-4", ("grade 4", "low")) == "grade 4"


def row(case_id, subtype="pRCC", **more):
    return LabelRow(row=2, case_id=case_id, subtype=subtype, **more)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([row("a"), row("a", "ccRCC")], "two subtypes: clear_cell and papillary"),
        ([row("a", sex="M"), row("a", sex="F")], "its rows contradict each other: sex F and M"),
        (
            [row("a", age_years=50.0), row("a", age_years=51.0)],
            "contradict each other: age_years 50.0 and 51.0",
        ),
        (
            [row("a", patient_id="p", sex="M"), row("b", patient_id="p", sex="F")],
            "its patient has two sexes: F and M",
        ),
        ([row("a", "clear_cell_papillary")], "subtype clear_cell_papillary is not in the study"),
    ],
)
def test_contradictions_are_left_out_with_the_reason(rows, reason):
    settled, excluded = settle_labels(rows, SUBTYPES)
    assert not settled
    assert reason in excluded["a"].reason


def test_rows_of_a_case_complete_each_other():
    settled, _ = settle_labels([row("a", sex="M"), row("a", "papillary", age_years=50.0)], SUBTYPES)
    assert (settled["a"].subtype, settled["a"].sex, settled["a"].age_years) == ("papillary", "M", 50.0)


def test_the_real_table(test_data):
    rows = read_labels(test_data / "kits19_slices" / "labels.csv")
    assert len(rows) == 61
    assert rows[0].file == "case_00025_0060.png"
    assert (rows[0].slice_index, rows[0].row_mm, rows[0].sex, rows[0].size_cm) == (60, 0.7363, "F", 10.4)
    settled, excluded = settle_labels(rows, SUBTYPES)
    assert (len(settled), len(excluded)) == (19, 4)
