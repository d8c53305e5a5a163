"""A table of cases: each gets one answer or a named refusal, whatever ends the program, its workers or the files."""

import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nephroscope.base.errors import BundleError, CohortError, ConfigError, StudyError
from nephroscope.base.lock import writing
from nephroscope.cli import run
from nephroscope.facade.bundle import Bundle
from nephroscope.facade.many import worker
from nephroscope.facade.many.case_table import CaseToPredict, read_cases
from nephroscope.facade.many.ledger import LEDGER, Ledger
from nephroscope.facade.many.run import ManyCases, plan_table, predict_table
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.intake.phantom import write_phantoms
from nephroscope.records import ClinicalFacts
from nephroscope.segmenters.tool import tool_of
from phantoms import box_hu, box_tumor, write_nifti
from tiny_bundle import SPEC, make_bundle


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A bundle, and a box phantom as two NIfTI files."""
    folder = tmp_path_factory.mktemp("many")
    make_bundle(folder / "bundle")
    write_nifti(box_hu(), folder / "ct.nii.gz")
    write_nifti(box_tumor().astype("uint8"), folder / "roi.nii.gz")
    (folder / "damaged.nii.gz").write_bytes((folder / "ct.nii.gz").read_bytes()[:300])
    return folder


def write_table(place, rows, name="cases.csv", header="case_id,image,roi"):
    path = place / name
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def plain(n, first=1):
    return [f"P{i:03d},ct.nii.gz,roi.nii.gz" for i in range(first, first + n)]


def read_results(out):
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def states(out):
    return {row["case_id"]: row["state"] for row in read_results(out)}


def digits(out):
    """What was answered about each case, without time and date."""
    kept = ("probabilities", "call", "reason", "slices", "findings", "model_digest")
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (out / "answers").glob("*")}
    return {name: {key: answer.get(key) for key in kept} for name, answer in found.items()}


def tries(out):
    return {row.case.case_id: row.tries for row in Ledger(out).rows()}


MIXED = (
    *plain(2),
    "gone,nowhere/,roi.nii.gz",
    "damaged,damaged.nii.gz,roi.nii.gz",
    "no-roi,ct.nii.gz,",
    "Müller/2,ct.nii.gz,roi.nii.gz",
)


@pytest.fixture(scope="module")
def mixed(place, tmp_path_factory):
    """The results of a table with cases of every kind, by the command."""
    out = tmp_path_factory.mktemp("mixed") / "results"
    table = write_table(place, MIXED, "mixed.csv")
    code = run(["predict", str(place / "bundle"), "--table", str(table), "--out", str(out), "--jobs", "1"])
    return code, out, table


def test_what_cannot_be_read_is_refused_and_the_rest_goes_on(mixed, place):
    code, out, _ = mixed
    assert code == 3
    rows = {row["case_id"]: row for row in read_results(out)}
    assert list(rows) == ["P001", "P002", "gone", "damaged", "no-roi", "Müller/2"]
    assert {name: row["code"] for name, row in rows.items() if row["code"]} == {
        "gone": "series",
        "damaged": "series",
        "no-roi": "not-drawn",
    }
    assert [row["state"] for row in rows.values()] == [
        *("answered", "answered", "refused", "refused", "not-drawn", "answered")
    ]
    for name, row in rows.items():
        content = json.loads((out / row["answer"]).read_text(encoding="utf-8"))
        assert content["case_id"] == name
        assert ("error" in content) == (row["state"] != "answered")


def test_an_answer_is_the_one_of_predict(mixed, place):
    _, out, _ = mixed
    files = FilesToPredict(image=place / "ct.nii.gz", roi=place / "roi.nii.gz", case_id="P001")
    alone = predict_files(place / "bundle", files)
    content = json.loads((out / "answers" / "P001.json").read_text(encoding="utf-8"))
    assert content["probabilities"] == dict(alone.probabilities)
    row = read_results(out)[0]
    assert {name: float(row[f"p_{name}"]) for name in alone.probabilities} == dict(alone.probabilities)
    assert row["call"] == (alone.call or "not sure")
    assert row["doubts"].split() == [f.code for f in alone.findings if f.severity == "warning"]


def test_run_again_there_is_nothing_to_do(mixed, place):
    _, out, table = mixed
    before = {path: path.stat().st_mtime_ns for path in (out / "answers").iterdir()}
    made = predict_table(place / "bundle", ManyCases(table=table, out=out, jobs=1))
    assert (made.computed, made.answered, made.refused, made.not_drawn) == (0, 3, 2, 1)
    assert {path: path.stat().st_mtime_ns for path in (out / "answers").iterdir()} == before
    plan = plan_table(place / "bundle", ManyCases(table=table, out=out))
    assert (plan.to_predict, plan.answered, plan.refused, plan.without_roi) == (0, 3, 2, ("no-roi",))


def test_a_table_that_grew_or_was_corrected_goes_on(place, tmp_path):
    out = tmp_path / "results"
    table = write_table(place, [*plain(1), "P9,nowhere,roi.nii.gz", "P8,ct.nii.gz,"], "grows.csv")
    asked = ManyCases(table=table, out=out, jobs=1)
    predict_table(place / "bundle", asked)
    write_table(place, ["P9,ct.nii.gz,roi.nii.gz", *plain(2), "P8,ct.nii.gz,roi.nii.gz"], "grows.csv")
    made = predict_table(place / "bundle", asked)
    assert (made.computed, made.answered, made.cases) == (3, 4, 4)
    assert list(states(out)) == ["P9", "P001", "P002", "P8"]
    assert tries(out) == {"P9": 2, "P001": 1, "P002": 1, "P8": 1}
    (out / "answers" / "P001.json").unlink()  # gone files are noticed
    write_table(place, plain(1), "grows.csv")
    assert predict_table(place / "bundle", asked).computed == 1
    assert (out / "answers" / "P001.json").exists()
    assert len(states(out)) == 4  # what was answered before stays


def test_answers_of_other_rows_are_never_taken_for_these(place, tmp_path):
    table = write_table(place, plain(1), "other.csv")
    asked = ManyCases(table=table, out=tmp_path / "results", jobs=1)
    made = Bundle(place / "bundle").predict_table(table, asked.out, jobs=1)
    assert [row["state"] for row in made.records()] == ["answered"]
    write_table(place, ["P001,ct.nii.gz,damaged.nii.gz"], "other.csv")
    with pytest.raises(StudyError, match="others: P001"):
        predict_table(place / "bundle", asked)
    write_table(place, ["p001,ct.nii.gz,roi.nii.gz"], "other.csv")  # one file on Windows
    with pytest.raises(StudyError, match="others: p001"):
        predict_table(place / "bundle", asked)


def test_a_folder_keeps_its_bundle_its_objects_and_its_owner(mixed, place, tmp_path):
    _, out, table = mixed
    asked = ManyCases(table=table, out=out)
    other = make_bundle(tmp_path / "other", model="another")
    for look in (predict_table, plan_table):
        with pytest.raises(BundleError) as refused:
            look(other, asked)
        assert refused.value.where == "--out"
        with pytest.raises(ConfigError, match="--objects"):
            look(place / "bundle", replace(asked, objects=("sr",)))
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / "thesis.txt").write_text("")
        with pytest.raises(StudyError, match="holds something else"):
            look(place / "bundle", replace(asked, out=tmp_path / "mine"))


def test_two_runs_do_not_share_a_folder(mixed, place):
    """The lock is another process's, as far as its thread can tell."""
    _, out, table = mixed
    code = (
        "import sys; from pathlib import Path; from nephroscope.base.lock import writing\n"
        "with writing(Path(sys.argv[1]), 'predict --table'):\n print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline().strip() == b"held"
        with pytest.raises(StudyError, match="one command at a time"):
            predict_table(place / "bundle", ManyCases(table=table, out=out))
        assert len(read_results(out)) == len(MIXED)  # it can be read meanwhile
        holder.stdin.close()
    with writing(out, "predict --table"):
        pass


def test_killed_at_any_moment_every_case_is_done_once(mixed, place, tmp_path):
    n, jobs, kills, out = 24, 2, (0, 3), tmp_path / "killed"
    table = write_table(place, plain(n), "killed.csv")
    words = ["predict", place / "bundle", "--table", table, "--out", out, "--jobs", jobs]
    command = [sys.executable, "-m", "nephroscope", *map(str, words)]
    for least in kills:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None:
                if (out / LEDGER).exists() and Ledger(out).count().get("answered", 0) >= least:
                    break
                time.sleep(0.005)
            process.kill()
    made = predict_table(place / "bundle", ManyCases(table=table, out=out, jobs=1))
    assert made.answered == n
    assert [row["case_id"] for row in read_results(out)] == [f"P{i:03d}" for i in range(1, n + 1)]
    assert n <= sum(tries(out).values()) <= n + jobs * len(kills)
    undisturbed, found = digits(mixed[1])["P001"], digits(out)
    assert len(found) == n
    for name, answer in found.items():
        assert json.dumps(answer) == json.dumps(undisturbed).replace("P001", name)
    assert not list(out.rglob("*.tmp"))


def test_a_case_that_takes_too_long_is_refused_alone(place, tmp_path):
    """No case is that fast."""
    table = write_table(place, plain(1), "slow.csv")
    asked = ManyCases(table=table, out=tmp_path / "results", jobs=1, time_limit_s=1e-4)
    made = predict_table(place / "bundle", asked)
    assert (made.refused, made.computed) == (1, 1)
    assert {row["code"] for row in read_results(asked.out)} == {"time-limit"}
    again = replace(asked, time_limit_s=600.0)
    assert predict_table(place / "bundle", again).computed == 0
    assert predict_table(place / "bundle", replace(again, retry=True)).answered == 1


DRAWS = """
import sys, nibabel
image = nibabel.load(sys.argv[1])
hu = image.get_fdata()
if hu.max() < 1000:
    nibabel.save(nibabel.Nifti1Image(((hu > 80) & (hu < 200)).astype("uint8"), image.affine), sys.argv[2])
"""


def test_a_case_without_roi_is_drawn_where_a_program_is_given(place, tmp_path):
    (tmp_path / "draws.py").write_text(DRAWS)
    tool = tool_of(f'"{sys.executable}" "{tmp_path / "draws.py"}" {{image}} {{output}}')
    assert (
        tool.command[0] == sys.executable
    )  # a link in a virtual environment, which finds its packages by it
    write_nifti(box_hu() + 2000, place / "other.nii.gz")
    table = write_table(place, ["A,ct.nii.gz,", "B,other.nii.gz,"], "drawn.csv")
    asked = ManyCases(table=table, out=tmp_path / "results", jobs=1)
    assert predict_table(place / "bundle", asked).not_drawn == 2
    drawing = replace(asked, segmenter=tool)
    assert plan_table(place / "bundle", drawing).to_predict == 2
    made = predict_table(place / "bundle", drawing)
    assert (made.answered, made.not_sure, made.refused) == (1, 1, 1)
    drawn, refused = made.records()
    assert drawn["drawn_by"].startswith("model:")
    assert "roi-proposed" in drawn["doubts"].split()
    assert (drawn["roi_author"], drawn["roi_state"]) == (drawn["drawn_by"], "proposed")
    assert refused["code"] == "segmenter-no-output"
    other = replace(drawing, segmenter=replace(tool, version="of another day"))
    for again in (plan_table, predict_table):
        with pytest.raises(ConfigError, match="--draw-with"):
            again(place / "bundle", other)
    assert predict_table(place / "bundle", drawing).computed == 0
    proposed = json.loads((asked.out / "answers" / "A.json").read_text(encoding="utf-8"))
    path = asked.out / drawn["drawn"]
    write_table(place, [f"A,ct.nii.gz,{path}"], "drawn.csv")  # a person looked at it
    made = predict_table(place / "bundle", asked)
    assert made.computed == 1
    assert (made.records()[0]["roi_author"], made.records()[0]["roi_state"]) == (
        drawn["drawn_by"],
        "accepted",
    )
    accepted = json.loads((asked.out / "answers" / "A.json").read_text(encoding="utf-8"))
    assert accepted["probabilities"] == proposed["probabilities"]
    assert "roi-proposed" not in {finding["code"] for finding in accepted["findings"]}


def test_a_fault_and_a_file_that_the_system_does_not_give_are_refusals(place, tmp_path, monkeypatch):
    def raises(error):
        def predict(*_):
            raise error

        return predict

    opening = worker.Opening(
        bundle=place / "bundle",
        bundle_digest=worker.digest_of_bundle(place / "bundle"),
        table_folder=place,
        out=tmp_path,
        objects=(),
        threads=1,
    )
    worker.work(opening)
    case = CaseToPredict(case_id="P1", image=Path("ct.nii.gz"), roi=Path("roi.nii.gz"))
    for error, code in ((KeyError("Meier^Hans"), "fault"), (PermissionError(13, "denied"), "unreadable")):
        monkeypatch.setattr(worker, "predict_files", raises(error))
        refusal = worker.work(case).refusal
        assert refusal.code == code
        assert "Meier" not in str(refusal)
    monkeypatch.setattr(worker, "predict_files", raises(OSError(28, "no space left")))
    with pytest.raises(OSError, match="no space"):  # of the results: the run ends
        worker.work(case)
    with pytest.raises(StudyError, match="replaced"):
        worker.work(replace(opening, bundle_digest="another"))


def test_objects_of_each_case_are_written(tmp_path):
    write_phantoms(tmp_path / "export", 1, 7)
    make_bundle(tmp_path / "bundle", SPEC)
    row = "A-1,export/SYNTHETIC-0001/ct,export/SYNTHETIC-0001/roi_reader1.dcm,left,61"
    table = write_table(tmp_path, [row], header="case_id,image,roi,side,age")
    asked = ManyCases(table=table, out=tmp_path / "results", jobs=1, objects=("seg", "sr"))
    assert predict_table(tmp_path / "bundle", asked).answered == 1
    from nephroscope.exchange.read_sr import read_answer

    found = read_answer(tmp_path / "results" / "sr" / "A-1.dcm")
    assert (found.case_id, found.side.stated) == ("A-1", "left")
    assert (tmp_path / "results" / "seg" / "A-1.dcm").exists()


def test_columns_are_found_by_usual_titles_and_mistakes_named_by_cell(tmp_path):
    header = "Fall;CT;Maske;Seite;Alter;Geschlecht;Größe mm;Station"
    rows = ["1;a\\b;c.nii;links;63;w;41;7", "2;/x/y;;;;;;"]
    table = write_table(tmp_path, rows, header=header)
    found = read_cases(table)
    assert found.unread == ("Station",)
    assert found.cases[0] == CaseToPredict(
        case_id="1",
        image=Path("a/b"),
        roi=Path("c.nii"),
        side="left",
        facts=ClinicalFacts(age_years=63.0, sex="F", size_cm=4.1),
    )
    wrong = ["1;a;c;lft;;;;", "1;;c;;;;;", "2;a;c;;300;;;", "n/a;a;c;;;x;;"]
    write_table(tmp_path, wrong, header=header)
    with pytest.raises(CohortError) as refused:
        read_cases(table)
    for cell in ("row 2, column Seite", "row 3, column CT", "row 4, column Alter", "row 5, column Fall"):
        assert cell in refused.value.found
    write_table(tmp_path, ["A1,a,b", "a1,a,b"])
    with pytest.raises(CohortError, match="that of row 2"):
        read_cases(table)
    with pytest.raises(CohortError, match="column image"):
        read_cases(write_table(tmp_path, ["1,2"], header="case_id,roi"))


@pytest.mark.parametrize(
    ("name", "plain_name"), [("P-1.b", True), ("../x", False), ("nul", False), ("a.", False), ("é", False)]
)
def test_files_are_named_so_that_every_system_takes_them(name, plain_name):
    case = CaseToPredict(case_id=name, image=Path("ct"))
    assert (case.file_name == name) == plain_name
    assert set(case.file_name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert "/" not in case.file_name


@pytest.mark.parametrize(
    "words",
    [
        ["--table", "t.csv"],
        ["ct", "--out", "r"],
        ["ct", "--retry"],
        ["ct", "--table", "t.csv", "--out", "r"],
        ["--table", "t.csv", "--out", "r", "--side", "left"],
        ["--table", "t.csv", "--out", "r", "--jobs", "0"],
        ["--table", "t.csv", "--out", "r", "--time-limit-s", "nan"],
        [],
    ],
)
def test_options_of_one_case_and_of_many_are_not_mixed(words, capsys):
    assert run(["predict", "bundle", *words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "config"


def test_a_dry_run_writes_nothing(place, tmp_path, capsys):
    out, table = tmp_path / "results", write_table(place, MIXED, "dry.csv")
    words = [
        "predict",
        str(place / "bundle"),
        "--table",
        str(table),
        "--out",
        str(out),
        "--dry-run",
        "--json",
    ]
    assert run(words) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["to_predict"], plan["no_image"], plan["without_roi"]) == (5, ["gone"], ["no-roi"])
    assert not out.exists()
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_two_sizes_of_a_tumor_are_refused(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text("case_id,image,size_cm,size_mm\nA,a,4.2,42\nB,b,9,42\n", encoding="utf-8")
    with pytest.raises(
        CohortError, match="row 3, column size_mm: expected the size of the other column, 90 mm"
    ):
        read_cases(path)
