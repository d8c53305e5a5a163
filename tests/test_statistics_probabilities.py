"""`nephroscope statistics calibration | decision-curve | operating-point | coverage` on tables, good and bad."""

import json

import numpy as np
import pytest

from nephroscope.cli import run
from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics import resampling
from nephroscope.statistics.calibration import calibrate
from nephroscope.statistics.coverage import risk_coverage
from nephroscope.statistics.decision_curve import decision_curve
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.logistic import expit

KINDS = ("calibration", "decision-curve", "operating-point", "coverage")


def write(path, n=150, seed=0, folds=True, per_patient=1, slope=1.0):
    """Outcomes drawn from p; the file holds p with log odds divided by ``slope``, p_ChRCC and p_PRCC."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1.5, n)
    y = rng.random(n) < expit(x)
    lines = [f"case_id,patient_id,truth,{'fold,' if folds else ''}p_ChRCC,p_PRCC"]
    for i, p in enumerate(expit(x / slope)):
        fold = f"{(i // per_patient) % 3}," if folds else ""
        truth = "ChRCC" if y[i] else "PRCC"
        lines.append(f"c{i},p{i // per_patient},{truth},{fold}{p:.9f},{1 - p:.9f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def told(capsys, kind, path, *args):
    code = run(["statistics", kind, str(path), "--positive", "ChRCC", "--resamples", "300", "--json", *args])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_patient", [1, 3])
def test_words_and_json(tmp_path, capsys, kind, per_patient):
    path = write(tmp_path / "t.csv", per_patient=per_patient)
    code, data, _ = told(capsys, kind, path)
    assert code == 0
    assert (data["rows"], data["patients"], data["positive"]) == (150, 150 // per_patient, "ChRCC")
    assert [row["score"] for row in data["scores"]] == ["p_ChRCC"]
    assert data["clustered"] == (per_patient > 1)
    assert run(["statistics", kind, str(path), "--positive", "ChRCC", "--resamples", "200"]) == 0
    out = capsys.readouterr().out
    assert "150 rows of" in out
    assert "nan" not in out
    if per_patient > 1:
        assert "rows of one patient are not independent" in out


def test_calibration_of_known_truth(tmp_path, capsys):
    _, data, _ = told(capsys, "calibration", write(tmp_path / "t.csv", n=800))
    for name, truth in (("intercept", 0), ("slope", 1), ("observed_expected", 1)):
        assert data[name]["low"] < truth < data[name]["high"]
    _, flat, _ = told(capsys, "calibration", write(tmp_path / "u.csv", n=800, slope=2.0))
    assert flat["slope"]["value"] == pytest.approx(2 * data["slope"]["value"], rel=1e-5)
    assert len(data["curve"]["x"]) == len(data["curve"]["high"]) > 20
    assert sum(b["observed"]["n"] for b in data["bins"]) == 800


def test_decision_curve_thresholds_and_prevalence(tmp_path, capsys):
    path = write(tmp_path / "t.csv")
    _, data, _ = told(capsys, "decision-curve", path, "--threshold", "0.2", "0.5", "--prevalence", "0.1")
    assert data["thresholds"] == [0.2, 0.5]
    assert data["prevalence"] == 0.1
    assert data["treat_all"] == pytest.approx([0.1 - 0.9 / 4, 0.1 - 0.9])
    code, refused, _ = told(capsys, "decision-curve", path, "--threshold", "1.5")
    assert code == 2
    assert "decision curve, threshold: expected a number between 0 and 1" in refused["error"]["message"]


def test_operating_point_uses_the_folds_or_draws_them(tmp_path, capsys):
    _, data, _ = told(capsys, "operating-point", write(tmp_path / "t.csv"), "--sensitivity", "0.9")
    assert [point["fold"] for point in data["points"]] == ["0", "1", "2"]
    assert 0.75 < data["sensitivity"]["value"] <= 1
    assert [note.split(",")[0] for note in data["notes"]] == ["rows of 3 folds"]
    _, at = told(
        capsys, "operating-point", tmp_path / "t.csv", "--sensitivity", "0.9", "--prevalence", "0.1"
    )[:2]
    se, sp = at["sensitivity"]["value"], at["specificity"]["value"]
    assert at["ppv"]["value"] == pytest.approx(0.1 * se / (0.1 * se + 0.9 * (1 - sp)))
    assert at["npv"]["low"] < at["npv"]["value"] <= at["npv"]["high"]
    _, drawn, _ = told(capsys, "operating-point", write(tmp_path / "u.csv", folds=False, per_patient=3))
    assert len(drawn["points"]) == 5
    assert any("5 folds of patients drawn with seed 0" in note for note in drawn["notes"])
    code, refused, _ = told(capsys, "operating-point", tmp_path / "t.csv", "--sensitivity", "0")
    assert code == 2
    assert "a sensitivity above 0 and at most 1" in refused["error"]["message"]


def test_coverage_margin_and_threshold(tmp_path, capsys):
    path = write(tmp_path / "t.csv")
    _, data, _ = told(capsys, "coverage", path, "--margin", "0.2")
    assert data["at_margin"]["risk"]["value"] < data["random"]
    assert data["aurc"]["low"] < data["aurc"]["value"] < data["aurc"]["high"]
    for option, value in (("--margin", "0.7"), ("--threshold", "-0.1")):
        code, refused, _ = told(capsys, "coverage", path, option, value)
        assert code == 2
        assert refused["error"]["where"] == option


@pytest.mark.parametrize("kind", ["calibration", "decision-curve", "coverage"])
@pytest.mark.parametrize("per_patient", [1, 3])
def test_many_rows_are_resampled_as_cells_and_say_what_rows_say(monkeypatch, kind, per_patient):
    """Figures are those of the rows; limits differ by what 2,000 random groups instead of all patients do."""
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1.5, 6000)
    p, y = expit(x / 1.2), rng.random(6000) < expit(x)
    who = [f"p{i // per_patient}" for i in range(6000)]
    patients, config = Patients.of(who, y.astype(np.intp)), EvaluationConfig(resamples=600)

    def found():
        if kind == "calibration":
            return {n: e for n, e in calibrate(p, y, patients, config).items() if n != "e50"}
        if kind == "coverage":
            return {"aurc": risk_coverage(np.abs(p - 0.5), (p > 0.5) != y, patients, config).aurc}
        at = decision_curve(p, y, patients, config, np.array([0.3])).standardised
        limits = {"low": float(at.low[0]), "high": float(at.high[0])}
        return {"benefit": Estimate(value=float(at.y[0]), **limits, n=at.n, unit="case", method=at.method)}

    monkeypatch.setattr(resampling, "MOST_ROWS", 6000)
    monkeypatch.setattr(resampling, "GROUPS", 900)
    rows = found()
    assert not any("random groups" in e.method for e in rows.values())
    monkeypatch.setattr(resampling, "MOST_ROWS", 5999)
    thin = found()
    assert any("random groups" in e.method for e in thin.values())
    for name, row in rows.items():
        few, width = thin[name], row.high - row.low
        assert few.value == pytest.approx(row.value, abs=1e-9)
        assert (few.low, few.high) == pytest.approx((row.low, row.high), abs=0.12 * width), name


@pytest.mark.parametrize("per_patient", [1, 4])
def test_cells_hold_few_numbers_however_many_rows(per_patient):
    rng = np.random.default_rng(0)
    p = rng.random(40_000)
    patients = Patients.of([str(i // per_patient) for i in range(p.size)], np.zeros(p.size, np.intp))
    found = resampling.Cells.of(p, p > 0.7, patients)
    assert found.value.size < 2 * 2 * resampling.EDGES
    assert found.patients.n == resampling.GROUPS
    assert found.count.sum() == p.size
    assert np.abs(found.value[found.row] - p).max() < 1 / resampling.EDGES
    owners = np.array([found.patients.row[i : i + per_patient] for i in range(0, p.size, per_patient)])
    assert (owners == owners[:, :1]).all(), "rows of a patient stay together"
    drawn = found.resampled(
        lambda w: w.sum(axis=1)[:, None], np.array([40_000.0]), EvaluationConfig(resamples=100)
    )
    assert drawn == pytest.approx(np.full((100, 1), 40_000))


def test_the_groups_of_a_class_are_of_that_class():
    stratum = np.repeat([0, 1, 2], [9000, 900, 100])
    many = resampling.grouped(Patients(row=np.arange(10_000), stratum=stratum))
    assert (many.stratum[many.row] == stratum).all()
    assert np.bincount(many.stratum).tolist() == [1800, 200, 100]


def test_faultless_probabilities_have_a_bound_and_no_false_certainty(tmp_path, capsys):
    rows = [f"c{i},{i % 2},{i % 2}" for i in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(["case,truth,p", *rows]) + "\n")
    assert run(["statistics", "calibration", str(tmp_path / "t.csv"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    brier, scaled = data["brier"], data["scaled_brier"]
    assert (brier["value"], brier["low"]) == (0, 0)
    assert brier["high"] == pytest.approx(1 - 0.025 ** (1 / 30)), "Clopper and Pearson, 0 of 30"
    assert "bound: Clopper-Pearson" in brier["method"]
    assert (scaled["value"], scaled["high"]) == (1, 1)
    assert scaled["low"] == pytest.approx(1 - brier["high"] / 0.25)
    assert run(["statistics", "coverage", str(tmp_path / "t.csv"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["aurc"]["value"], data["aurc"]["high"]) == (0, None)
    assert set(data["risk"]["high"]) == {None}


@pytest.mark.parametrize("threshold", ["0.9999999999999999", "1e-9"])
def test_a_threshold_beside_0_or_1_is_refused(tmp_path, capsys, threshold):
    code, data, _ = told(capsys, "decision-curve", write(tmp_path / "t.csv"), "--threshold", threshold)
    assert code == 2
    assert (
        f"a number between 0 and 1, at least 0.000001 from either, found {float(threshold)!r}"
        in data["error"]["message"]
    )


@pytest.mark.parametrize("kind", ["calibration", "decision-curve", "coverage"])
def test_no_probability_is_refused_cell_by_cell(tmp_path, capsys, kind):
    path = write(tmp_path / "t.csv", n=20)
    lines = path.read_text().splitlines()
    lines[2] = lines[2].rsplit(",", 2)[0] + ",1.2,0"
    lines[4] = lines[4].rsplit(",", 2)[0] + ",-0.1,0"
    path.write_text("\n".join(lines) + "\n")
    code, data, err = told(capsys, kind, path)
    assert code == 2
    assert data["error"]["where"] == "t.csv"
    assert "row 3, column p_ChRCC: expected a number from 0 to 1, found '1.2'" in err
    assert "row 5, column p_ChRCC: expected a number from 0 to 1, found '-0.1'" in err
    assert "Traceback" not in err


def test_the_probability_of_the_other_class_is_refused(tmp_path, capsys):
    path = write(tmp_path / "t.csv", n=20)
    code, data, _ = told(capsys, "calibration", path, "--score", "p_PRCC")
    assert code == 2
    assert (
        "expected the probability of ChRCC, the positive value, found that of PRCC"
        in data["error"]["message"]
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "truth,p\n",
        "truth,p\n1,0.5\n",
        "truth,p\n1,0.5\n1,0.6\n",
        "truth,q\n1,0.5\n0,0.2\n",
        "truth,p\n1,x\n0,0.1\n",
    ],
)
def test_bad_tables_are_refused_without_a_traceback(tmp_path, capsys, kind, text):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    assert run(["statistics", kind, str(path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nephroscope: refused: bad.csv")
    assert "Traceback" not in err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    [
        "truth,p\n1,0.5\n0,0.5\n",
        "truth,p\n1,0\n0,0\n1,0\n",
        "truth,p\n1,1\n0,0\n",
        "truth,p\n1,0.9\n0,0.2\n0,1\n0,0\n1,1\n",
    ],
)
def test_tiny_tables_give_json_without_nan(tmp_path, capsys, kind, text):
    path = tmp_path / "tiny.csv"
    path.write_text(text)
    code = run(["statistics", kind, str(path), "--json", "--resamples", "100"])
    out, err = capsys.readouterr()
    assert code in (0, 2)
    assert "NaN" not in out
    assert "Traceback" not in err
    json.loads(out)


def three(path):
    rng = np.random.default_rng(0)
    lines = ["case_id,truth,fold,p_a,p_b,p_c"]
    for i in range(240):
        p = rng.dirichlet([1, 1, 1])
        lines.append(f"c{i},{'abc'[rng.choice(3, p=p)]},{i % 3}," + ",".join(f"{v:.6f}" for v in p))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_three_subtypes_stand_one_against_the_rest(tmp_path, capsys, kind):
    path = three(tmp_path / "t.csv")
    code = run(["statistics", kind, str(path), "--positive", "b", "--json", "--resamples", "200"])
    data = json.loads(capsys.readouterr().out)
    assert code == 0
    assert data["score"] == "p_b"
    assert data["notes"][0] == "b against all other values of truth together: a, c"
    if kind == "calibration":
        assert data["slope"]["low"] < 1 < data["slope"]["high"]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((), "expected --positive with one of the 3 values: a, b, c, found none"),
        (("--positive", "d"), "found 'd'"),
        (
            ("--positive", "b", "--score", "p_c"),
            "expected the probability of b, the positive value, found that of c",
        ),
    ],
)
def test_three_subtypes_need_to_know_which(tmp_path, capsys, args, text):
    assert run(["statistics", "calibration", str(three(tmp_path / "t.csv")), *args]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "figure"), [("operating-point", "accuracy"), ("coverage", "aurc")])
def test_rows_of_slices_are_images(tmp_path, capsys, kind, figure):
    lines = [f"p{i // 3},{i % 3},{('PRCC', 'ChRCC')[i // 3 % 2]},{0.1 + i % 9 / 10}" for i in range(60)]
    (tmp_path / "slices.csv").write_text("\n".join(["patient,slice,truth,p_ChRCC", *lines]) + "\n")
    _, data, _ = told(capsys, kind, tmp_path / "slices.csv")
    if kind == "operating-point":
        assert "out-of-fold rows of other folds than 0" in data["points"][0]["chosen_on"]
    assert (data[figure]["unit"], data[figure]["n"]) == ("image", 60)
    _, data, _ = told(capsys, kind, write(tmp_path / "cases.csv"))
    assert data[figure]["unit"] == "case"


def test_a_column_that_is_no_probability_is_refused_at_once(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("id,y,score\na,1,70\nb,0,0.5\nc,0,20\n")
    assert run(["statistics", "decision-curve", str(tmp_path / "t.csv")]) == 2
    assert (
        "column score: expected probabilities from 0 to 1, found 2 of 3 rows outside, from 0.5 to 70; "
        "name the column of probabilities with --score" in capsys.readouterr().err
    )
