"""Patient characteristics: each figure worked by hand, or taken from the textbook named beside it."""

from dataclasses import replace
from math import comb, sqrt
from pathlib import Path

import pytest

from nephroscope.records import Cohort, Fold, Split, p_is, p_words
from nephroscope.report.cohort.characteristics import (
    characteristics_by_part,
    characteristics_by_subtype,
    compare_categories,
    compare_numbers,
    counts_of,
    difference_of_categories,
    difference_of_numbers,
)
from nephroscope.report.page.table import Cell
from one_series import one_series


def test_mann_whitney_by_counting():
    """1 2 3 against 4 5 6: U is 0; of comb(6, 3) = 20 orders two are as extreme."""
    test = compare_numbers([[1, 2, 3], [4, 5, 6]])
    assert test.name == "Mann-Whitney U"
    assert test.p == pytest.approx(2 / 20)


def test_kruskal_wallis_by_hand():
    """Ranks 1 2 | 3 4 | 5 6: H = 12 / (6 * 7) * (9 + 49 + 121) / 2 - 3 * 7 = 32 / 7; with 2 degrees exp(-H / 2)."""
    test = compare_numbers([[1, 2], [3, 4], [5, 6]])
    assert test.name == "Kruskal-Wallis"
    assert test.p == pytest.approx(2.718281828459045 ** (-32 / 7 / 2))


def test_fisher_tastes_tea():
    """Fisher's lady, three of four right: (16 + 1) / 70 on one side, twice that on two."""
    groups = [["milk"] * 3 + ["tea"], ["milk"] + ["tea"] * 3]
    test = compare_categories(groups)
    assert test.name == "Fisher's exact"
    assert test.p == pytest.approx(2 * (comb(4, 3) * comb(4, 1) + 1) / comb(8, 4))


def test_chi_squared_by_hand_and_its_doubt():
    """10 10 | 10 10 | 5 15: expected 25/3 and 35/3; squares sum to 50/3 in each column: chi2 = 2 + 10/7 = 24/7."""
    groups = [["a"] * 10 + ["b"] * 10, ["a"] * 10 + ["b"] * 10, ["a"] * 5 + ["b"] * 15]
    test = compare_categories(groups)
    assert (test.name, test.doubt) == ("chi-squared", "")
    assert test.p == pytest.approx(2.718281828459045 ** (-24 / 7 / 2))
    small = compare_categories([["a", "b", "c"], ["a", "a", "b"]])
    assert small.doubt == "6 of 6 expected counts are below 5"


@pytest.mark.parametrize(
    ("test", "why"),
    [
        (compare_numbers([[1.0], [2.0, 3.0]]), "fewer than 2 known in a group"),
        (compare_numbers([[2.0, 2.0], [2.0, 2.0]]), "all values are equal"),
        (compare_categories([["a"], ["a"]]), "all are equal"),
        (compare_categories([[], ["a"]]), "none known in a group"),
        (compare_categories([[], []]), "none known in a group"),
    ],
)
def test_where_there_is_no_test(test, why):
    assert (test.p, test.name) == (None, why)


def test_counts():
    assert counts_of([["b", "a", "b"], ["c"]]).tolist() == [[1, 2, 0], [0, 0, 1]]


def test_difference_of_means_by_hand():
    """Means 2 and 5, variances 1 and 4: 3 / sqrt(2.5)."""
    assert difference_of_numbers([1, 2, 3], [3, 5, 7]).value == pytest.approx(3 / sqrt(2.5))
    assert difference_of_numbers([3, 5, 7], [1, 2, 3]).value == pytest.approx(3 / sqrt(2.5))
    assert difference_of_numbers([1], [2, 3]) is None
    assert difference_of_numbers([1, 1], [2, 2]) is None


def test_difference_of_shares_by_hand():
    """Shares 0.5 and 0.8: 0.3 / sqrt((0.25 + 0.16) / 2)."""
    one, other = ["m"] * 5 + ["f"] * 5, ["m"] * 8 + ["f"] * 2
    assert difference_of_categories(one, other).value == pytest.approx(0.3 / sqrt(0.205))
    assert difference_of_categories(one, one).value == 0
    assert difference_of_categories(["m"], ["m"]) is None  # without variance there is no interval
    assert difference_of_categories(["m"], ["f"]) is None
    assert difference_of_categories([], ["f"]) is None


def test_difference_over_three_categories_by_hand():
    """(1/2 1/4 1/4) and (1/4 1/2 1/4): the gap is (1/4, 0) in b and c.

    Covariances of b and c: [[3, -1], [-1, 3]] / 16 and [[4, -2], [-2, 3]] / 16. Their mean is
    [[7, -3], [-3, 6]] / 32, its inverse has 32 * 6 / 33 in the corner: 1/16 * 192/33 = 4/11.
    """
    one, other = ["a", "a", "b", "c"], ["a", "b", "b", "c"]
    assert difference_of_categories(one, other).value == pytest.approx(sqrt(4 / 11))


def test_a_standardised_difference_has_its_interval_by_hand():
    """d = 3 / sqrt(2.5) with 3 and 3: error sqrt(6/9 + 3.6/12) = sqrt(0.9667); 90 %: 1.6449 times that."""
    found = difference_of_numbers([1, 2, 3], [3, 5, 7], 0.9)
    half = 1.6448536 * sqrt(6 / 9 + 3.6 / 12)
    assert found.low == pytest.approx(3 / sqrt(2.5) - half)
    assert found.high == pytest.approx(3 / sqrt(2.5) + half)
    one, other = ["m"] * 5 + ["f"] * 5, ["m"] * 8 + ["f"] * 2
    found = difference_of_categories(one, other)
    half = 1.959964 * sqrt(20 / 100 + (0.09 / 0.205) / 40)
    assert (found.low, found.high) == (0.0, pytest.approx(0.3 / sqrt(0.205) + half))


def test_p_in_words():
    assert [p_words(p) for p in (0.0004, 0.0344, 0.21, 1.0)] == ["< 0.001", "0.034", "0.21", "1.00"]
    assert [p_words(p) for p in (0.0, 0.001, 0.0994, 0.0996)] == ["< 0.001", "0.001", "0.099", "0.10"]
    assert [p_words(p) for p in (0.0496, 0.05, 0.0504)] == ["0.0496", "0.050", "0.0504"]
    assert [p_words(p, 4) for p in (0.00009, 0.0272, 1.0)] == ["< 0.0001", "0.0272", "1.0000"]
    assert [p_is(p) for p in (0.0004, 0.5)] == ["p < 0.001", "p = 0.50"]


def case(i, subtype="PRCC", patient=None, **more):
    known = {"sex": "M", "age_years": 60.0, "size_cm": 3.0} | more
    return one_series(
        case_id=f"c{i}",
        patient_id=patient or f"p{i}",
        image=Path("ct"),
        format="dicom",
        subtype=subtype,
        **known,
    )


def cohort(*cases):
    return Cohort(subtypes=("PRCC", "ChRCC"), positive="PRCC", cases=cases)


EIGHT = (
    case(1, age_years=50.0, size_cm=2.0, phase="arterial"),
    case(2, age_years=60.0, size_cm=4.0, sex="F", phase="venous"),
    case(3, age_years=70.0, size_cm=None),
    case(4, age_years=None, size_cm=3.0, sex=None),
    case(5, "ChRCC", age_years=80.0, sex="F"),
    case(6, "ChRCC", age_years=85.0, sex="F"),
    case(7, "ChRCC", age_years=90.0, sex="F"),
    case(8, "ChRCC", patient="p7", age_years=90.0, sex="F", size_cm=9.0),
)


def rows_of(table):
    return {row[0]: row[1:] for row in table.rows}


def test_by_subtype():
    table = characteristics_by_subtype(cohort(*EIGHT), {f"c{i}": 10 * i for i in range(1, 8)})
    rows = rows_of(table)
    assert table.header == ("", "PRCC", "ChRCC", "all", "p")
    assert rows["Patients"] == ("4", "3", "7", "")
    assert rows["Tumors"] == ("4", "4", "8", "")
    assert rows["Sex, patients"][:2] == (Cell("1 woman, 2 men", "1 unknown"), "3 women")
    assert rows["Sex, patients"][3] == Cell("0.40", "Fisher's exact")  # (3 * 2 over 4 of 6 choose 3: 8 / 20)
    assert rows["Age, years"][0] == Cell("60.0 ± 10.0", "60 (55 to 65); n = 3; 1 unknown")
    assert rows["Age, years"][1] == Cell("85.0 ± 5.0", "85 (82 to 88); n = 3")
    assert rows["Age, years"][3] == Cell("0.10", "Mann-Whitney U")  # patients: three against three
    assert rows["Largest diameter, cm"][1] == Cell("4.50 ± 3.00", "3.0 (3.0 to 4.5); n = 4")  # tumors: four
    assert rows["Contrast phase"][:2] == (Cell("1 arterial, 1 venous", "2 unknown"), "not known")
    assert rows["Slices per tumor"][1].small.endswith("1 unknown")
    assert rows["Image format"][3] == ""
    assert table.notes[-1] == "Tests that count tumors treat the tumors of one patient as independent."


def test_a_patient_with_both_subtypes_is_in_no_test_of_patients():
    both = cohort(*EIGHT, case(9, patient="p7", sex="F", age_years=90.0))
    table = characteristics_by_subtype(both)
    assert rows_of(table)["Patients"] == ("5", "3", "7", "")
    assert rows_of(table)["Sex, patients"][3].small == "Fisher's exact"
    assert rows_of(table)["Sex, patients"][1] == "3 women"
    assert rows_of(table)["Age, years"][3].text == p_words(compare_numbers([[50, 60, 70], [80, 85]]).p)
    assert table.notes[2].startswith(
        "1 patient has tumors of several subtypes: counted in each, but in no test"
    )


def test_cases_without_a_label_have_a_column_and_no_test():
    table = characteristics_by_subtype(cohort(*EIGHT, case(10, None, age_years=20.0)))
    assert table.header[3] == "no label"
    assert rows_of(table)["Age, years"][2] == Cell("20.0", "n = 1")
    assert rows_of(table)["Age, years"][4] == Cell("0.10", "Mann-Whitney U")


def test_by_part_with_differences():
    held = [replace(c, cohort="external-test:North") if c.subtype == "ChRCC" else c for c in EIGHT]
    table = characteristics_by_part(cohort(*held))
    assert table.header == ("", "development", "external test set North", "difference", "p")
    rows = rows_of(table)
    assert rows["Patients"] == ("4", "3", "", "")
    assert rows["Subtype"] == ("4 PRCC", "4 ChRCC", "-", Cell("0.029", "Fisher's exact"))
    assert rows["Age, years"][2].text == "3.16 (0.76 to 5.56)"
    assert rows["Age, years"][2].small == "n = 3 and 3"
    assert "Image format" not in rows


def test_parts_follow_the_split():
    assert characteristics_by_part(cohort(*EIGHT)) is None
    fold = Fold(index=0, train=frozenset(["c1"]), validation=frozenset(["c2"]), test=frozenset(["c3"]))
    split = Split(
        protocol="patient",
        folds=(fold,),
        patient_of={c.case_id: c.patient_id for c in EIGHT},
        holdout=frozenset(["c3"]),
    )
    table = characteristics_by_part(cohort(*EIGHT), split)
    assert table.header == ("", "development", "internal test set", "difference", "p")
    assert rows_of(table)["Tumors"] == ("7", "1", "", "")


def test_an_empty_cohort_has_a_table():
    rows = rows_of(characteristics_by_subtype(cohort()))
    assert rows["Age, years"] == ("none", "none", "none", Cell("-", "none known in a group"))
