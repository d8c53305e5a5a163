"""What a notebook sees: names that load when they are used, and a reference page that lists them all."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nephroscope as ns
from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.base.html import html_table
from nephroscope.facade.run import RunFigures
from nephroscope.facade.study import CheckedCases
from nephroscope.questions.compare.document import Comparison
from nephroscope.records import Answer, Cohort, Estimate, Evaluation, Finding, Findings, SlicePrediction
from small_study import make_cohort
from test_study import CONFIG, make_study

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "python.md"
CLASSES = (ns.Study, ns.Run, ns.Bundle, RunFigures, CheckedCases)
CLASSES += (Evaluation, Estimate, Comparison, Answer, Cohort, Findings)
AUC = Estimate(value=0.91, low=0.84, high=0.96, n=83, unit="patient", method="DeLong")


def section(name):
    """The part of the page under a heading."""
    return PAGE.read_text(encoding="utf-8").partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def names_in(text):
    return set(re.findall(r"`(\w+)`", text))


def members(kind):
    """Public names of a class, with the fields of a record, without those of dict and tuple."""
    fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    return {name for name in dir(kind) if not name.startswith("_")} - set(dir(dict)) - set(
        dir(tuple)
    ) | fields


def test_every_public_name_is_in_the_reference():
    text = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    assert set(ns.__all__) - {"__version__"} <= names_in(text)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_member_is_in_the_reference(kind):
    listed = {
        name for row in re.findall(r"^\| (.+?) \|", section(kind.__name__), re.M) for name in names_in(row)
    }
    assert members(kind) - listed - {"create"} == set()
    made_in_init = {"folder", "settings", "record", "content"}
    assert listed - members(kind) - made_in_init == set()


def test_import_is_light_and_names_load_when_used():
    code = (
        "import sys, nephroscope as ns; print('numpy' in sys.modules, ns.Bundle.__name__, 'torch' in sys.modules, "
        "'nephroscope.facade.study' in sys.modules, ns.Study.__name__, ns.read_ct.__name__, dir(ns) == ns.__all__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "Bundle", "False", "False", "Study", "read_ct", "True"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Studio'"):
        ns.Studio  # noqa: B018


def test_an_estimate_prints_as_a_paper_writes_it():
    assert f"{AUC:.2f}" == "0.91 (0.84 to 0.96), 83 patients, DeLong"
    assert str(AUC) == "0.910 (0.840 to 0.960), 83 patients, DeLong"
    assert AUC.interval(".1f") == "0.9 (0.8 to 1.0)"
    bare = dataclasses.replace(AUC, low=None, high=None, n=1, unit="case")
    assert str(bare) == "0.910, 1 case, DeLong"
    none = dataclasses.replace(AUC, value=None, method="one class only")
    assert (str(none), none.interval()) == ("not available (one class only)", "-")


def test_html_is_escaped_and_long_tables_are_cut():
    html = html_table([{"<b>": "<script>", "x": None, "ok": True, "p": 0.12345}], "a & b")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "a &amp; b" in html
    assert "<td>yes</td><td>0.123</td>" in html
    assert "and 40 more rows" in html_table([{"n": n} for n in range(100)])
    assert "none" in html_table([])


def test_cohort_findings_and_answer_show_themselves():
    cohort = make_cohort(4)
    assert cohort.summary() == "4 cases of 4 patients: 2 PRCC, 2 ChRCC"
    assert len(cohort.records()) == 4
    assert "c03" in cohort._repr_html_()
    finding = Finding(code="a-code", severity="note", message="m <i>", case_id="c01")
    assert "m &lt;i&gt;" in Findings([finding])._repr_html_()
    answer = Answer(
        case_id="c01",
        patient_id="p01",
        probabilities={"PRCC": 0.6, "ChRCC": 0.4},
        slices=(SlicePrediction(slice_index=7, probabilities=(0.6, 0.4), area_mm2=120.0),),
        forced_call="PRCC",
        call=None,
        reason="too close to the threshold",
        findings=(finding,),
    )
    assert answer.summary() == "case c01: not sure (too close to the threshold)"
    row = {"case_id": "c01", "slice_index": 7, "area_mm2": 120.0, "p_PRCC": 0.6, "p_ChRCC": 0.4}
    assert answer.records() == [row]
    assert "a-code" in answer._repr_html_()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study = make_study(tmp_path_factory.mktemp("made") / "study")
    study.cut_slices()
    study.make_split(folds=2)
    return study


def test_settings_are_changed_by_keyword(study):
    assert [fold.index for fold in study.split().folds] == [0, 1]
    run = study.train(CONFIG, model="shufflenet_v2_x1_0", epochs=1, seed=3)
    assert isinstance(run, ns.Run)
    assert [row["fold"] for row in run.records()] == [0, 1]
    assert [one.name for one in study.runs()] == [run.name]
    assert run.name in study.summary()
    for wrong, message in (({"epoch": 1}, "training.epoch"), ({"epochs": "many"}, "training.epochs")):
        with pytest.raises(ConfigError, match=message):
            study.train(CONFIG, **wrong)
    with pytest.raises(ConfigError, match=r"split\.folds"):
        study.make_split(folds=0)


def test_figures_of_an_unknown_test_set_are_refused(study):
    run = study.train(CONFIG, name="figures") if not study.runs() else study.run()
    with pytest.raises(StudyError, match="expected one of the test sets out-of-fold"):
        run.figures.probabilities("elsewhere")
