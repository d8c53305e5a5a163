"""`nephroscope statistics auc|compare|mcnemar` on tables as people write them, and what it refuses."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import reference_asah as asah
from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.cli import run
from nephroscope.cli.statistics import STATISTICS
from nephroscope.statistics.mcnemar import holm
from nephroscope.statistics.tables.columns import read_csv
from nephroscope.statistics.tables.rows import ReadOptions
from nephroscope.statistics.tables.scores import read_scored


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """Commands set up logging once per process; tests must not."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


@pytest.fixture
def table(tmp_path):
    """Writes a CSV and gives its path."""

    def write(text, name="table.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def asah_csv(table):
    rows = zip(asah.POOR, asah.MALE, asah.WFNS, asah.S100B.split(), asah.NDKA.split(), strict=True)
    lines = [f"{('Good', 'Poor')[int(y)]},{('Female', 'Male')[int(g)]},{w},{s},{n}" for y, g, w, s, n in rows]
    return table("\n".join(["outcome,gender,wfns,s100b,ndka", *lines]))


def told(capsys, *args):
    """JSON of a command that succeeds."""
    assert run(["statistics", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *args):
    """Message of a command that is refused, the same in words and in JSON."""
    assert run(["statistics", *args, "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["message"] in err
    return json.loads(out)["error"]["message"]


SLICES = "case_id,slice_index,p_PRCC,p_ChRCC\n" + "\n".join(
    f"c{i},{k},{1 - p:.2f},{p:.2f}"
    for i in range(8)
    for k in range(3)
    for p in [0.1 + 0.08 * i + 0.11 * ((i + k) % 3)]
)
CASES = "case_id,patient_id,truth\n" + "\n".join(
    f"c{i},P{i // 2},{'PRCC' if i < 4 else 'ChRCC'}" for i in range(8)
)


def test_auc_of_asah(asah_csv, capsys):
    """The figures of pROC, by command."""
    found = told(capsys, "auc", asah_csv, "--positive", "Poor", "--score", "s100b", "ndka", "wfns")
    assert [row["score"] for row in found["scores"]] == ["s100b", "ndka", "wfns"]
    printed = [(0.7314, 0.6301, 0.8326), (0.6120, 0.5012, 0.7227), (0.8237, 0.7485, 0.8988)]
    for row, numbers in zip(found["scores"], printed, strict=True):
        plain = row["intervals"]["delong"]
        assert (plain["value"], plain["low"], plain["high"]) == pytest.approx(numbers, abs=5e-5)
        assert row["auc"] == row["intervals"][row["headline"]]
        assert row["headline"] == ("widened" if row["score"] == "wfns" else "delong_logit")
        assert row["roc"]["fpr"][0] == row["roc"]["tpr"][0] == 0
        fpr, tpr = np.array(row["roc"]["fpr"]), np.array(row["roc"]["tpr"])
        assert np.diff(fpr) @ (tpr[1:] + tpr[:-1]) / 2 == pytest.approx(row["auc"]["value"])
    assert (found["rows"], found["patients"], found["positive_rows"], found["clustered"]) == (
        113,
        113,
        41,
        False,
    )
    assert found["auc"] == found["scores"][0]["auc"]


def test_text_shows_both_intervals_and_the_headline(asah_csv, capsys):
    assert run(["statistics", "auc", asah_csv, "--positive", "Poor", "--score", "s100b"]) == 0
    out = capsys.readouterr().out
    assert "113 rows of 113 patients; outcome is Poor (positive) in 41 rows" in out
    assert "0.7314  0.6301 to 0.8326" in out
    assert "headline  DeLong on the logit scale" in out


def test_direction_is_never_guessed(asah_csv, capsys):
    low = told(capsys, "auc", asah_csv, "--positive", "Good", "--score", "s100b")
    assert low["auc"]["value"] == pytest.approx(1 - 0.73137, abs=5e-6)
    assert low["notes"][-1].startswith("s100b: AUC below 0.5")
    flipped = told(capsys, "auc", asah_csv, "--positive", "Good", "--score", "s100b", "--lower-is-positive")
    assert flipped["auc"]["value"] == pytest.approx(0.73137, abs=5e-6)
    assert not any("below 0.5" in note for note in flipped["notes"])


def test_compare_of_asah(asah_csv, capsys):
    found = told(capsys, "compare", asah_csv, "--positive", "Poor", "--score", "s100b", "wfns")
    assert found["z"] == pytest.approx(-2.209, abs=5e-4)
    assert found["p"] == pytest.approx(0.02718, abs=5e-6)
    assert found["overall"] is None
    assert "p_holm" not in found["pairs"][0]
    three = told(capsys, "compare", asah_csv, "--positive", "Poor", "--score", "s100b", "wfns", "ndka")
    assert len(three["pairs"]) == 3
    assert three["overall"]["df"] == 2
    assert three["pairs"][0]["p_holm"] == pytest.approx(2 * three["pairs"][0]["p"])
    assert (
        run(["statistics", "compare", asah_csv, "--positive", "Poor", "--score", "s100b", "wfns", "ndka"])
        == 0
    )
    assert "all 3 at once: chi-squared 12.51 on 2, p 0.0019" in capsys.readouterr().out


def test_compare_between_groups(asah_csv, capsys):
    args = ("compare", asah_csv, "--positive", "Poor", "--score", "s100b", "--group", "gender")
    found = told(capsys, *args)
    assert (found["one"], found["two"], found["paired"]) == ("Female", "Male", False)
    assert (found["z"], found["df"], found["p"]) == pytest.approx((-0.50188, 106.46, 0.6168), abs=5e-3)
    assert run(["statistics", *args]) == 0
    assert "DeLong 1988, unpaired" in capsys.readouterr().out


def test_holm_by_hand():
    assert holm([0.01, None, 0.04, 0.03, 0.9]) == [0.04, None, 0.09, 0.09, 0.9]


def test_slices_take_truth_and_patient_from_the_cases(table, capsys):
    slices, cases = table(SLICES, "slices.csv"), table(CASES, "predictions.csv")
    message = refused(capsys, "auc", slices, "--positive", "ChRCC")
    assert message.startswith("slices.csv: expected a column named truth")
    assert "with --labels a table with the truth and the patient" in message
    found = told(capsys, "auc", slices, "--labels", cases, "--positive", "ChRCC")
    assert (found["rows"], found["patients"], found["patient_column"]) == (24, 4, "patient_id")
    assert [row["score"] for row in found["scores"]] == ["p_ChRCC"]
    assert set(found["intervals"]) == {"obuchowski", "obuchowski_logit", "patient_bootstrap", "newcombe"}
    assert found["headline"] == "newcombe"  # four patients
    assert found["auc"]["unit"] == "image"
    assert "rows of one patient are not independent" in found["notes"][0]
    asked = ("--positive", "ChRCC", "--score", "p_ChRCC", "slice_index")
    compared = told(capsys, "compare", slices, "--labels", cases, *asked)
    assert compared["difference"]["method"].startswith("Obuchowski 1997, rows clustered by patient")
    assert compared["method"] == "ranks exchanged within patients at random"
    assert compared["difference"]["n"] == 4


def test_labels_that_lack_a_case_or_tell_it_twice(table, capsys):
    slices, short = table(SLICES, "slices.csv"), table(CASES.rpartition("\n")[0], "short.csv")
    assert "expected a case of short.csv, found 'c7'" in refused(
        capsys, "auc", slices, "--labels", short, "--positive", "ChRCC"
    )
    twice = table(CASES + "\nc7,P3,PRCC", "twice.csv")
    message = refused(capsys, "auc", slices, "--labels", twice, "--positive", "ChRCC")
    assert message == "twice.csv, row 10: expected one row of c7, found a second one; remove one of them"


def test_two_tumors_of_a_patient_are_cases_that_share_a_patient(table, capsys):
    text = CASES.replace("truth", "truth,score", 1)
    lines = text.splitlines()
    path = table("\n".join([lines[0]] + [f"{line},{0.1 * i:.1f}" for i, line in enumerate(lines[1:])]))
    found = told(capsys, "auc", path, "--positive", "ChRCC")
    assert (found["clustered"], found["auc"]["unit"], found["headline"]) == (True, "case", "newcombe")


def test_only_keeps_rows_and_pooled_groups_are_told(table, capsys):
    rows = [f"c{i},{'internal' if i % 2 else 'oof'},{int(i > 5)},{i % 7}" for i in range(12)]
    path = table("\n".join(["case,group,truth,score", *rows]))
    pooled = told(capsys, "auc", path)
    assert pooled["notes"] == [
        "column group has 2 values (internal, oof), pooled here; --only group=VALUE selects one"
    ]
    one = told(capsys, "auc", path, "--only", "group=oof")
    assert (one["rows"], one["notes"]) == (6, [])
    assert "expected COLUMN=VALUE, found 'oof'" in refused(capsys, "auc", path, "--only", "oof")
    assert "expected a row with 'x', found internal, oof" in refused(capsys, "auc", path, "--only", "group=x")


def test_a_column_of_names_is_told_only_where_it_names_candidates(table, capsys):
    """Elsewhere it may hold patients' names, which are printed nowhere."""
    people = table(
        "\n".join(["case,name,truth,score", *(f"c{i},Smith^{i % 3},{i % 2},{i}" for i in range(12))])
    )
    assert "Smith" not in str(told(capsys, "auc", people)["notes"])
    rows = [f"c{i},{n},baseline,0,{i % 2},{i}" for n in ("one", "two") for i in range(12)]
    pooled = told(capsys, "auc", table("\n".join(["case_id,name,kind,fold,truth,score", *rows])))
    assert (
        "column name has 2 values (one, two), pooled here; --only name=VALUE selects one" in pooled["notes"]
    )


def test_a_leaky_run_says_so(table, capsys):
    path = table("case,truth,score,protocol\na,1,0.9,LEAKY split by image\nb,0,0.2,LEAKY split by image\n")
    assert told(capsys, "auc", path)["notes"][-1].startswith("LEAKY split by image")


def test_semicolons_commas_and_a_byte_order_mark(tmp_path, capsys):
    path = tmp_path / "excel.csv"
    path.write_text("case;truth;score\na;1;0,9\nb;0;0,2\nc;1;0,4\nd;0;0,5\n", encoding="utf-8-sig")
    assert told(capsys, "auc", str(path))["auc"]["value"] == 0.75


def test_the_papers_table_by_command(table, capsys):
    truth = ["PRCC"] * 5 + ["ChRCC"] * 5
    nine, eight = [*truth], [*truth]
    nine[7] = eight[7] = "PRCC"
    eight[2] = "ChRCC"
    rows = [f"c{i},{t},{a},{b},{t}" for i, (t, a, b) in enumerate(zip(truth, nine, eight, strict=True))]
    path = table("\n".join(["case,subtype,reader_1,reader_2,model", *rows]))
    first = told(capsys, "mcnemar", path, "--call", "reader_1", "model")
    second = told(capsys, "mcnemar", path, "--truth", "subtype", "--call", "reader_2", "model")
    assert (first["p"], second["p"]) == (1.0, 0.5)
    assert (first["share_one"]["value"], second["share_one"]["value"]) == (0.9, 0.8)
    assert first["difference"]["value"] == pytest.approx(-0.1)
    assert list(second["tests"]) == ["all", "ChRCC", "PRCC"]
    assert second["tests"]["PRCC"]["only_two"] == 1
    assert run(["statistics", "mcnemar", path, "--call", "reader_2", "model"]) == 0
    assert "exact McNemar, two-sided, 2 discordant" in capsys.readouterr().out


def test_mcnemar_finds_the_two_columns_that_hold_the_words_of_the_truth(table, capsys):
    path = table("id,sex,truth,A,B\n1,F,benign,benign,malignant\n2,M,malignant,malignant,malignant\n")
    found = told(capsys, "mcnemar", path)
    assert (found["one"], found["two"]) == ("A", "B")
    assert found["tests"]["all"]["only_one"] == 1
    digits = table("id,sex,truth,A\n1,0,0,1\n2,1,1,1\n")
    assert "--call: expected two columns of calls other than the truth" in refused(capsys, "mcnemar", digits)


def test_mcnemar_of_two_tumors_a_patient_goes_by_patient(table, capsys):
    rows = [f"c{i},P{i // 2},{i % 2},{(i + 1) // 3 % 2},{i % 2 if i % 5 else 1}" for i in range(12)]
    path = table("\n".join(["case,patient,truth,a,b", *rows]))
    found = told(capsys, "mcnemar", path, "--call", "a", "b")
    assert found["clustered"]
    assert 0 < found["p"] < 1
    assert found["method"].startswith("McNemar by patient (Obuchowski 1998)")
    assert found["tests"]["0"]["method"].startswith("exact McNemar")  # one negative tumor a patient
    assert found["share_one"]["unit"] == "case"


@pytest.mark.parametrize(
    ("text", "args", "message"),
    [
        ("", (), "table.csv: expected a CSV table in text form with a header, found an empty file"),
        ("truth,score\n", (), "expected a header with every column once, and rows below it, found no row"),
        ("truth,score,Score\n1,1,1\n", (), "found column 'score' twice"),
        ("a,b\n1,2\n", (), "expected a column named truth, outcome, label"),
        (
            "truth,b\n1,2\n",
            (),
            "expected a column of scores, such as score, probability or p_SUBTYPE, found truth, b",
        ),
        (
            "truth,score\n1,2\n0,1\n",
            ("--score", "x"),
            "expected a column 'x', found truth, score; correct --score",
        ),
        (
            "truth,score\n1,2\n0,1\n",
            ("--truth", "x"),
            "expected a column 'x', found truth, score; correct --truth",
        ),
        (
            "truth,score\n1,2\n1,1\n",
            (),
            "column truth: expected two values, one of them positive, found 1: 1",
        ),
        ("truth,score\na,2\nb,1\nc,1\n", (), "expected two values, one of them positive, found 3: a, b, c"),
        ("truth,score\na,2\nb,1\n", (), "expected --positive a or --positive b, found neither"),
        ("truth,score\na,2\nb,1\n", ("--positive", "A"), "expected --positive a or --positive b, found 'A'"),
        ("truth,score\n1,high\n0,1\n", (), "table.csv, row 2, column score: expected a number, found 'high'"),
        ("truth,score\n1,nan\n0,inf\n", (), "row 2, column score: expected a number, found 'nan'; row 3"),
        ("truth,score\n1,\n0,1\n", (), "row 2, column score: expected a number, found nothing"),
        ("truth,score\n1,1e400\n0,1\n", (), "expected a number of at most 1e+100, found '1e400'"),
        ("truth,score\n1,1_0\n0,1\n", (), "row 2, column score: expected a number, found '1_0'"),
        (
            'truth,score\n1,"1,234"\n0,12.5\n',
            (),
            "row 2, column score: expected a number with a point, as in other rows, found '1,234'",
        ),
        ("truth,score\nPRCC,1\nprcc,2\nChRCC,2\n", (), "row 3, column truth: expected 'PRCC', as in another"),
        (
            "truth,score\n1,1\nunknown,2\n",
            (),
            "column truth: expected a class, or no such row, found 'unknown'",
        ),
        ("truth,score\n1,1\nn/a,2\n", (), "column truth: expected a value, found 'n/a'"),
        ("truth,score\n1,2\n0,1\n", ("--seed", "-1"), "evaluation.seed: expected a number from 0 to"),
        ("truth,score\n,2\n0,1\n", (), "row 2, column truth: expected a value, found nothing"),
        (
            "case,truth,score\na,1,2\na,1,2\nb,0,1\n",
            (),
            "row 3: expected every row once, found the same as row 2",
        ),
        (
            "case,truth,score\na,1,2\na,0,3\nb,0,1\n",
            (),
            "row 3, case a: expected one truth of a case, found another",
        ),
        (
            "case,patient,truth,score\na,P,1,2\na,Q,1,3\nb,R,0,1\n",
            (),
            "case a: expected one patient of a case",
        ),
        ("case,truth,score\n,1,2\nb,0,1\n", (), "row 2, column case: expected a value, found nothing"),
        (
            "truth,score\n1,2\n0,1\n",
            ("--score", "score", "Score"),
            "--score: expected every column once, and not the truth",
        ),
        (
            "truth,score\n1,2\n0,1\n",
            ("--score", "truth"),
            "expected every column once, and not the truth, truth",
        ),
        ("truth,score\n1,2\n0,1\n", ("--confidence", "1.5"), "evaluation.confidence"),
        ("truth,score\n1,2\n0,1\n", ("--patient", "who"), "expected a column 'who'"),
    ],
)
def test_refusals_of_a_table(table, capsys, text, args, message):
    assert message in refused(capsys, "auc", table(text), *args)


def test_refusals_of_files(tmp_path, capsys):
    assert "found no readable file" in refused(capsys, "auc", str(tmp_path / "none.csv"))
    (tmp_path / "book.csv").write_bytes(b"PK\3\4 a workbook")
    assert "found a spreadsheet workbook" in refused(capsys, "auc", str(tmp_path / "book.csv"))
    (tmp_path / "a folder").mkdir()
    assert "found no readable file" in refused(capsys, "auc", str(tmp_path / "a folder"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("compare", "--score", "score"), "--score: expected two or more columns to compare, found score"),
        (
            ("compare", "--group", "site"),
            "column site: expected two values that split the patients, found 3: x, y, z",
        ),
        (
            ("compare", "--group", "half"),
            "column half: expected every patient in one of the two sets, found 1 in both",
        ),
        (
            ("mcnemar", "--call", "a"),
            "--call: expected two columns of calls other than the truth (truth), found a",
        ),
        (
            ("mcnemar", "--call", "a", "a"),
            "--call: expected two columns of calls other than the truth (truth), found a, a",
        ),
        (
            ("mcnemar", "--call", "a", "b"),
            "row 4, column b: expected a value of the truth (0, 1), found 'no'",
        ),
        (("mcnemar", "--call", "a", "c"), "row 2, column c: expected a value, found nothing"),
    ],
)
def test_refusals_of_comparisons(table, capsys, args, message):
    path = table(
        "patient,truth,score,site,half,a,b,c\n"
        "P,1,0.5,x,1,1,1,\nQ,0,0.4,y,1,0,0,0\nQ,0,0.3,z,2,0,no,1\nR,1,0.1,x,2,1,1,1\n"
    )
    kind, *options = args
    assert message in refused(capsys, kind, path, *options)


def test_one_patient_or_one_case_of_a_class_is_an_answer_without_a_variance(table, capsys):
    few = told(capsys, "auc", table("case,truth,score\na,1,0.9\nb,0,0.2\nc,0,0.95\n"))
    assert (few["auc"]["value"], few["headline"]) == (0.5, "newcombe")
    assert few["intervals"]["delong"]["low"] is None
    one = told(capsys, "auc", table("patient,truth,score\nP,1,0.9\nP,0,0.2\nP,0,0.95\n"))
    assert (one["patients"], one["auc"]["value"], one["auc"]["low"]) == (1, 0.5, None)
    assert one["auc"]["method"] == "no interval: a class has one patient, of 1 patient"
    assert "1 patient" in one["auc"]["method"]
    two = told(capsys, "compare", table("case,truth,p_a,p_b\na,1,0.9,0.2\nb,0,0.2,0.3\nc,0,0.95,0.1\n"))
    assert (two["p"], two["method"]) == (None, "no variance: a class has one patient")


def test_scores_are_guessed_with_care(table):
    path = Path(table("case,truth,p_PRCC,p_ChRCC,age\na,PRCC,0.9,0.1,50\nb,ChRCC,0.3,0.7,60\n"))
    assert list(read_scored(path, ReadOptions(positive="ChRCC")).scores) == ["p_ChRCC"]
    assert list(read_scored(path, ReadOptions(positive="PRCC")).scores) == ["p_PRCC"]
    assert read_scored(path, ReadOptions(score=("p_chrcc",))).positive == "ChRCC"
    with pytest.raises(ConfigError, match="--positive ChRCC or --positive PRCC"):
        read_scored(path, ReadOptions())
    with pytest.raises(CohortError, match="correct --case"):
        read_scored(path, ReadOptions(positive="PRCC", case="tumor"))


def test_names_of_other_programs_are_found(table, capsys):
    """Columns as scikit-learn, pandas and R name them; a column of calls is no score where another is."""
    rows = "\n".join(f"{i},{i % 2},{(i * 7 % 10) / 10},{i * 3 % 10 / 10},{i // 5}" for i in range(10))
    told_by = told(capsys, "compare", table(f"patientid,label,model_a,model_b,pred\n{rows}\n"))
    assert (told_by["one"], told_by["two"], told_by["patient_column"]) == ("model_a", "model_b", "patientid")
    found = told(capsys, "auc", table(f"id,y_true,y_score,age,pred\n{rows}\n"))
    assert [row["score"] for row in found["scores"]] == ["y_score"]
    only = told(capsys, "auc", table("truth,pred,,\n1,1,,\n0,0,,\n1,0,,\n0,0,,\n"))
    assert (only["score"], only["auc"]["value"]) == ("pred", 0.75)


def test_what_could_be_several_columns_is_asked(table, capsys):
    two = "id,outcome,status,p\na,1,0,0.4\nb,0,1,0.3\n"
    assert (
        "expected one column for --truth, found 2 that differ: outcome, status; name the right one"
        in refused(capsys, "auc", table(two))
    )
    assert told(capsys, "auc", table(two), "--truth", "status")["auc"]["value"] == 0
    assert told(capsys, "auc", table(two.replace("outcome", "truth")))["truth"] == "truth"
    assert told(capsys, "auc", table("y,label,p\n1,1,0.4\n0,0,0.3\n"))["auc"]["value"] == 1
    owners = "patient,subject,truth,p\na,s,1,0.4\nb,s,0,0.3\n"
    assert "one column for --patient, found 2 that differ" in refused(capsys, "auc", table(owners))


def test_a_truth_named_case_is_not_taken_for_the_case(table, capsys):
    """As in R's infert, whose outcome is called case; write.csv numbers the rows under an empty header."""
    rows = "\n".join(f'"{i}",{i % 2},{i * 7 % 10 / 10}' for i in range(10))
    found = told(capsys, "auc", table(f'"","case","pred"\n{rows}\n'), "--truth", "case")
    assert (found["patients"], found["patient_column"], found["headline"]) == (10, None, "delong_logit")
    owned = "\n".join(f'"{i}",{i % 2},{i * 7 % 10 / 10},{i % 5}' for i in range(10))
    tumors = told(capsys, "auc", table(f'"","y","p","patient"\n{owned}\n'), "--case", "")
    assert (tumors["patients"], tumors["auc"]["unit"]) == (5, "case")


@pytest.mark.parametrize(
    ("values", "positive"), [("01", "1"), (("0.0", "1.0"), "1.0"), (("neg", "pos"), "pos")]
)
def test_the_positive_value_is_known_only_beside_its_opposite(table, capsys, values, positive):
    assert told(capsys, "auc", table(f"y,p\n{values[0]},0.2\n{values[1]},0.7\n"))["positive"] == positive
    strange = refused(capsys, "auc", table(f"y,p\n2,0.2\n{values[1]},0.7\n"))
    assert "found neither; name the positive value" in strange


@pytest.mark.parametrize(("cell", "kind"), [("NA", "auc"), ("", "calibration"), ("<NA>", "auc")])
def test_rows_without_a_value_are_refused_or_left_out_when_asked(table, capsys, cell, kind):
    """NA in a column that is not used does not matter."""
    text = f"id,y,p,stage\na,1,0.9,NA\nb,0,0.2,NA\nc,{cell},0.3,1\nd,1,{cell},1\ne,1,0.6,1\n{cell},0,0.7,1\n"
    assert "leave out rows without a value with --drop-missing" in refused(capsys, kind, table(text))
    found = told(capsys, kind, table(text), "--drop-missing")
    assert (found["rows"], found["positive_rows"]) == (3, 2)
    assert "3 of 6 rows left out: no value of y or p or id" in found["notes"]


def test_calls_are_guessed_where_there_are_two(table, capsys):
    text = "id,truth,call_a,call_b,p_a\na,1,1,0,0.9\nb,0,0,0,0.2\nc,1,1,1,0.3\n"
    found = told(capsys, "mcnemar", table(text))
    assert (found["one"], found["two"], found["only_one"]) == ("call_a", "call_b", 1)
    three = "truth,call_a,call_b,model\n1,1,0,0\n0,0,0,unsure\n"
    assert "found call_a, call_b, model; name two" in refused(capsys, "mcnemar", table(three))
    assert "found none among truth, score; name two" in refused(
        capsys, "mcnemar", table("truth,score\n1,0.2\n0,0.4\n")
    )
    gap = text.replace("c,1,1,1", "c,1,1,NA")
    assert "row 4, column call_b: expected a value, found 'NA'" in refused(capsys, "mcnemar", table(gap))
    assert told(capsys, "mcnemar", table(gap), "--drop-missing")["n"] == 2


def test_columns_look_up_and_refuse(table):
    found = read_csv(Path(table("Truth;P\n a ;1,5\nb;2\n")))
    assert found.find(None, ("truth",), "--truth") == "Truth"
    assert found.find(None, ("x",), "--truth") is None
    assert found.texts("Truth") == ["a", "b"]
    assert found.numbers("P").tolist() == [1.5, 2]
    with pytest.raises(CohortError, match=r"row 3, column P: expected a number from 0 to 1\.5, found '2'"):
        found.numbers("P", 0, 1.5)
    with pytest.raises(
        CohortError, match="expected a column named x, y, found Truth, P; name the column with --z"
    ):
        found.need(None, ("x", "y"), "--z")
    many = read_csv(Path(table("p\n" + "x\n" * 30)))
    with pytest.raises(CohortError, match=r"found 30: row 2, column p.*and 10 more"):
        many.numbers("p")


def test_every_kind_has_an_example_and_json(capsys):
    for kind, command in STATISTICS.items():
        assert f"Example: nephroscope statistics {kind} " in command.__doc__, kind
    assert {"auc", "compare", "mcnemar"} <= STATISTICS.keys()
    assert run(["statistics", "auc", "--help"]) == 0
    assert "nephroscope statistics auc predictions.csv" in capsys.readouterr().out


def test_the_commands_import_nothing_heavy():
    code = (
        "import sys, nephroscope.cli.statistics; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'sklearn', 'scipy', 'matplotlib', 'pandas', 'ray')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "text",
    [
        "patient,truth,score\nA,1,0,9\nB,0,0,2\n",  # decimal commas without quotes: every score would be 0
        '"truth","score"\n"1",1,0.9\n"2",0,0.2\n',  # R's write.table: row names without a title
    ],
)
def test_a_row_wider_than_the_header_is_refused_and_not_cut(table, capsys, text):
    width = text.split("\n")[0].count(",") + 1
    told = refused(capsys, "auc", table(text))
    assert f"row 2: expected {width} cells, as in the header, found {width + 1}" in told
    assert "give each column a title" in told


def _folds(weights=False):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    score, other = rng.normal(y, 1.0), rng.normal(y, 1.0)
    head = "case_id,truth,fold,score_a,score_b" + (",weight" if weights else "")
    rows = [f"c{i},{y[i]},{i % 5},{score[i]:.6f},{other[i]:.6f}" + ",2" * weights for i in range(60)]
    return "\n".join([head, *rows]) + "\n"


def test_folds_are_cross_validated_and_weights_are_named(table, capsys):
    several = told(capsys, "auc", table(_folds(weights=True), "folds.csv"))
    one = told(capsys, "auc", table(_folds().replace(",fold,", ",batch,"), "one.csv"))
    assert (several["headline"], one["headline"]) == ("cross_validated", "delong_logit")
    for end in ("low", "high"):
        assert several["intervals"]["delong_logit"][end] == pytest.approx(one["auc"][end])
    assert several["auc"]["low"] < one["auc"]["low"] < one["auc"]["high"] < several["auc"]["high"]
    assert any("5 folds" in note for note in several["notes"])
    assert any("weight is not used" in note for note in several["notes"])
    assert not any("folds" in note or "weight" in note for note in one["notes"])
    tests = [
        told(capsys, "compare", table(text, "t.csv")) for text in (_folds(), _folds().replace("fold", "lot"))
    ]
    assert tests[0]["se"] == pytest.approx(1.5 * tests[1]["se"])
    assert tests[0]["p"] > tests[1]["p"]
    single = told(capsys, "auc", table(_folds(), "folds.csv"), "--only", "fold=1")
    assert single["headline"] in ("delong_logit", "newcombe")


def test_a_margin_is_tested_by_the_interval(table, capsys):
    path = table(_folds(), "folds.csv")
    wide, narrow = (told(capsys, "compare", path, "--margin", m)["margin"] for m in ("0.5", "0.01"))
    d = told(capsys, "compare", path)["difference"]
    assert wide["noninferior"] == (d["low"] > -0.5)
    assert narrow["noninferior"] == (d["low"] > -0.01)
    assert not narrow["equivalent"]
    assert wide["p_noninferior"] < narrow["p_noninferior"]
    assert wide["p_equivalent"] >= wide["p_noninferior"]
    assert refused(capsys, "compare", path, "--margin", "0").startswith("--margin")


def test_three_classes_give_each_against_the_rest_and_the_mean(table, capsys):
    rng = np.random.default_rng(1)
    rows = []
    for i in range(45):
        p = rng.dirichlet(1 + 2 * np.eye(3)[i % 3])
        rows.append(f"c{i},{('ccRCC', 'PRCC', 'ChRCC')[i % 3]}," + ",".join(f"{v:.6f}" for v in p))
    path = table("\n".join(["case,truth,p_ccRCC,p_PRCC,p_ChRCC", *rows]))
    found = told(capsys, "auc", path)
    names = [row["score"] for row in found["scores"]]
    pairs = ["ChRCC, PRCC", "ChRCC, ccRCC", "PRCC, ccRCC"]
    assert names == ["macro", "ChRCC", "PRCC", "ccRCC", "pairs", *pairs]
    values = [row["auc"]["value"] for row in found["scores"]]
    assert values[0] == pytest.approx(np.mean(values[1:4]))
    assert values[4] == pytest.approx(np.mean(values[5:]))
    assert all(row["auc"]["low"] < row["auc"]["value"] < row["auc"]["high"] for row in found["scores"])
    assert "mean of 3 areas" in found["auc"]["method"]
