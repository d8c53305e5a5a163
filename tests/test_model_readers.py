"""Radiologists' calls beside models: the paper's table, constructed studies, and every refusal."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from nephroscope import Study
from nephroscope.base.documents import as_plain
from nephroscope.base.errors import StudyError
from nephroscope.cli import run
from nephroscope.cli.readers import _text
from nephroscope.learning.engine.trained_runs import HELD_OUT
from nephroscope.questions.readers import with_models
from nephroscope.questions.readers.answers import CallTable, CaseLabels, Reader, ReaderAnswer
from nephroscope.questions.readers.call_table import CallOptions, read_calls
from nephroscope.questions.readers.reader_study import study_readers
from nephroscope.questions.readers.write import changed_since, digests_of, reader_file, save_reader_study
from nephroscope.records import Answer, EvaluationConfig
from nephroscope.report.page.section import figures_in, tables_in, texts_in
from nephroscope.report.study.sections import readers as readers_page
from nephroscope.report.study.sections.readers import readers_of
from nephroscope.statistics.mcnemar import holm
from nephroscope.study.folder import StudyFolder
from small_study import content_of
from test_study import make_study

ROOT = Path(__file__).parents[1]
RUN_JSON = {
    "format": 1,
    "model": "net",
    "leaky": False,
    "digests": {"cohort": "", "slices": ""},
    "folds": [{"index": 0, "converged": True, "best": None, "seconds": 1.0}],
}
CONFIG = EvaluationConfig(resamples=200)
TRUTH = dict(zip("abcdefghij", ["PRCC"] * 5 + ["ChRCC"] * 5, strict=True))


def known(truth=None, patient_of=None, subtypes=("PRCC", "ChRCC")):
    truth = truth or TRUTH
    return CaseLabels(
        subtypes=subtypes,
        positive="PRCC",
        truth=truth,
        patient_of=patient_of or {case: f"p-{case}" for case in truth},
    )


def read(tmp_path, text, of=None, **options):
    from nephroscope.intake.labels.pathology import name_of_subtype

    of = of or known()
    path = tmp_path / "calls.csv"
    path.write_text(text, encoding="utf-8")
    return read_calls(path, of, lambda typed: name_of_subtype(typed, of.subtypes), CallOptions(**options))


def rows(header, **readers):
    """A table with a row per reader and letter of the cases a .. j."""
    lines = [header] + [
        f"{case},{name},{cell}"
        for name, cells in readers.items()
        for case, cell in zip("abcdefghij", cells, strict=False)
    ]
    return "\n".join(lines) + "\n"


def reader(name, calls, confidence=None, aided=False, model=False):
    given = confidence or [None] * len(calls)
    short = {"P": "PRCC", "C": "ChRCC", "?": None}
    readings = {
        case: ReaderAnswer(call=short[call], confidence=score)
        for case, call, score in zip("abcdefghij", calls, given, strict=False)
    }
    return Reader(name=name, aided=aided, answers=readings, model=model)


def paper_table():
    """The table that docs/how-to/readers.md gives to be pasted."""
    page = (ROOT / "docs" / "how-to" / "readers.md").read_text(encoding="utf-8")
    return page.split("```csv\n", 1)[1].split("```", 1)[0]


def test_the_papers_own_table(tmp_path, capsys):
    path = tmp_path / "zuo2021.csv"
    path.write_text(paper_table())
    words = ["statistics", "readers", str(path), "--positive", "PRCC", "--models", "MobileNetV2"]
    assert run([*words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    model, one, two = data["models"][0]["figures"], *(r["figures"] for r in data["readers"])
    assert model["accuracy"]["low"] == pytest.approx(0.6915, abs=5e-5)
    assert model["accuracy"]["high"] == 1.0
    assert model["accuracy"]["method"] == "exact (Clopper-Pearson), 95 %"
    assert (one["accuracy"]["value"], two["accuracy"]["value"]) == (0.9, 0.8)
    assert [f["sensitivity"]["value"] for f in (one, two)] == [1.0, 1.0]
    assert [f["specificity"]["value"] for f in (one, two)] == [0.8, 0.6]
    assert [pair["calls"]["p"] for pair in data["against_models"]] == [1.0, 0.5]
    assert [pair["calls_p_holm"] for pair in data["against_models"]] == [1.0, 1.0]
    assert data["groups"] == {}
    assert run(words) == 0
    shown = capsys.readouterr().out
    page = (ROOT / "docs" / "how-to" / "readers.md").read_text(encoding="utf-8")
    assert shown.strip() in page, "the page shows what the command prints"
    assert "No difference between reader 1 and MobileNetV2 is shown" in shown
    assert "equal" not in shown


def test_confidences_make_calls_and_the_middle_is_not_sure(tmp_path):
    table = read(tmp_path, rows("case,radiologist,rating", r1="5445312113"))
    (one,) = table.readers
    assert table.scale == "1 (certainly not PRCC) to 5 (certainly PRCC), 3: not sure"
    assert [one.answers[c].call for c in "adefj"] == ["PRCC", "PRCC", None, "ChRCC", None]
    assert "not sure in 2 of 10 cases; " in table.findings[0].message
    found = study_readers(table, (), known(), CONFIG).readers[0]
    assert found.counts["coverage"] == (8, 10)
    assert found.counts["accuracy"] == (8, 8)
    assert found.figures["auc"].n == 10
    assert found.figures["auc"].value == pytest.approx(1 - 0.5 / 25)


@pytest.mark.parametrize(
    ("cells", "scale"),
    [("1 5 2", "1"), ("-2 2 0", "-2"), ("0.2 0.9 0.5", "0"), ("10 90 55.5", "0")],
)
def test_scales(tmp_path, cells, scale):
    table = read(tmp_path, rows("case,reader,confidence", r=cells.split()))
    assert table.scale.startswith(f"{scale} (certainly not")


@pytest.mark.parametrize(
    "cells",
    ["1 7 4", "0 4 2", "1 10 3", "0 1 2", "1 1 1", "1 2 3"],
    ids=lambda cells: cells.replace(" ", "-"),
)
def test_a_scale_that_cannot_be_told_is_asked_for(tmp_path, cells):
    text = rows("case,reader,confidence", r=cells.split())
    assert "expected all readers on one scale: 1-5, -2-2, 0-1, 0-100" in message(tmp_path, text)
    assert "such as --scale 1-7" in message(tmp_path, text)


def test_a_scale_can_be_said(tmp_path):
    text = rows("case,reader,confidence", r=["1", "7", "4"])
    table = read(tmp_path, text, scale="1-7")
    assert table.scale == "1 (certainly not PRCC) to 7 (certainly PRCC), 4: not sure"
    assert [r.call for r in table.readers[0].answers.values()] == ["ChRCC", "PRCC", None]
    assert "expected all readers on one scale: 1-6, found 7" in message(tmp_path, text, scale="1-6")


def test_a_table_can_name_its_scale(tmp_path):
    text = rows("case,reader,confidence,scale", r=["1,1-5", "3,1-5", "2,1-5"])
    table = read(tmp_path, text)
    assert table.scale == "1 (certainly not PRCC) to 5 (certainly PRCC), 3: not sure"
    assert read(tmp_path, text, scale="1-7").scale.startswith("1 (certainly not PRCC) to 7"), "the user wins"
    mixed = rows("case,reader,confidence,scale", r=["1,1-5", "3,1-7"])
    assert "column scale: expected one scale for all readers, found 1-5, 1-7" in message(tmp_path, mixed)


def test_calls_as_0_and_1_are_sure(tmp_path):
    table = read(tmp_path, rows("case,reader,confidence", r=["1", "0", "1"]))
    assert [r.call for r in table.readers[0].answers.values()] == ["PRCC", "ChRCC", "PRCC"]


def test_a_reader_has_one_spelling_and_one_kind(tmp_path):
    told = message(tmp_path, "case,reader,call\na,Dr. A,PRCC\nb,dr a,PRCC\n")
    assert "row 3: expected a reader written in one way (Dr. A, a person, in row 2), found dr a" in told
    told = message(tmp_path, "case,reader,call,kind\na,M,PRCC,model\nb,M,PRCC,\nc,r,PRCC,\n")
    assert "(M, a program, in row 2), found M, a person" in told


def test_percent_signs_stand_everywhere_or_nowhere(tmp_path):
    told = message(tmp_path, "case,reader,confidence\na,r,80%\nb,r,0.3\nc,r,\n")
    assert "row 3, column confidence: expected a number with %, as in other rows, found '0.3'" in told


def test_spellings_of_headers_subtypes_and_times(tmp_path):
    text = (
        "Fall-ID;Befunder;Befund;Sekunden;AI assisted\nA;r1;papilläres Nierenzellkarzinom;1:30;ja\n"
        "b;r1;chromophob;45,5;nein\nc;r1;Onkozytom;;\nd;r1;unsure;;\n"
    )
    table = read(tmp_path, text)
    aided = {r.aided: r for r in table.readers}
    assert aided[True].answers["a"].call == "PRCC"
    assert aided[True].answers["a"].seconds == 90
    assert aided[False].answers["b"].call == "ChRCC"
    assert aided[False].answers["b"].seconds == 45.5
    assert aided[False].answers["c"].call not in ("PRCC", "ChRCC", None), "another tumor is a wrong call"
    assert aided[False].answers["d"].call is None


def message(tmp_path, text, of=None, **options):
    from nephroscope.base.errors import NephroscopeError

    with pytest.raises(NephroscopeError) as refusal:
        read(tmp_path, text, of, **options)
    return str(refusal.value)


def test_refusals_name_the_cell(tmp_path):
    told = message(tmp_path, "case,reader,call\na,r,PRCC\nz,r,PRCC\nb,r,carrot\nc,,PRCC\n")
    assert "row 3, column case: expected a case that is known, found 'z'" in told
    assert "row 4, column call: expected PRCC, ChRCC, another tumor, or not sure, found 'carrot'" in told
    assert "row 5, column reader: expected a reader, found nothing" in told
    unlabelled = CaseLabels(
        subtypes=("PRCC", "ChRCC"), positive="PRCC", truth={"b": "PRCC"}, patient_of={"a": "p", "b": "q"}
    )
    assert "expected a case whose subtype is known, found 'a', which has none" in message(
        tmp_path, "case,reader,call\na,r,PRCC\n", unlabelled
    )
    assert "row 3: expected one answer of reader r about case a, found another one in row 2" in message(
        tmp_path, "case,reader,call\na,r,PRCC\na,r,PRCC\n"
    )
    assert "reader r aided about case a" in message(
        tmp_path, "case,reader,call,aided\na,r,PRCC,yes\na,r,PRCC,yes\n"
    )
    assert "expected PRCC, the truth of case a elsewhere, found 'ChRCC'" in message(
        tmp_path, "case,reader,call,truth\na,r,PRCC,ChRCC\n"
    )
    assert "column seconds: expected seconds above 0" in message(
        tmp_path, "case,reader,call,seconds\na,r,PRCC,-3\n"
    )
    assert "column confidence: expected a number, found 'high'" in message(
        tmp_path, "case,reader,confidence\na,r,high\n"
    )
    assert "column aided: expected yes or no, found 'perhaps'" in message(
        tmp_path, "case,reader,call,aided\na,r,PRCC,perhaps\n"
    )


def test_refusals_of_the_table(tmp_path):
    assert "a column call or confidence, found case, reader" in message(tmp_path, "case,reader\na,r\n")
    assert "expected a column reader" in message(tmp_path, "case,call\na,PRCC\n")
    assert "expected a column 'Befund'" in message(
        tmp_path, "case,reader,call\na,r,PRCC\n", columns={"call": "Befund"}
    )
    assert "one column 'call'" in message(tmp_path, "case,reader,call,call\na,r,PRCC,PRCC\n")
    assert "expected all readers on one scale: 1-5, -2-2, 0-1, 0-100, found 101" in message(
        tmp_path, "case,reader,confidence\na,r,101\nb,r,3\n"
    )
    assert "expected all readers on one scale: 1-5, found 0" in message(
        tmp_path, "case,reader,confidence\na,r,0\n", scale="1-5"
    )
    assert "--scale: expected one of auto, 1-5" in message(
        tmp_path, "case,reader,confidence\na,r,1\n", scale="7-1"
    )
    assert "--models: expected readers of calls.csv: r, found m" in message(
        tmp_path, "case,reader,call\na,r,PRCC\n", models=("m",)
    )
    assert "expected readers' answers, found 1 row, all from models" in message(
        tmp_path, "case,reader,call\na,r,PRCC\n", models=("r",)
    )
    three = known(subtypes=("PRCC", "ChRCC", "ccRCC"))
    assert "found 3 subtypes and no such column" in message(
        tmp_path, "case,reader,confidence\na,r,4\n", three
    )


def test_doubts_are_told(tmp_path):
    text = "case,reader,call,confidence\na,r,PRCC,5\nb,r,PRCC,4\nf,r,ChRCC,5\na,s,PRCC,1\n"
    codes = {f.code: f.message for f in read(tmp_path, text).findings}
    assert codes["reader-cases-missing"] == "reader s: 2 of 3 cases not answered: b, f"
    assert "call and confidence contradict each other in 1 case: a" in codes["reader-contradicts"]
    text = "case,reader,confidence\na,r,80\nf,r,3\na,s,5\nf,s,1\n"
    (doubt,) = read(tmp_path, text).findings
    assert doubt.code == "reader-scale"
    assert "reader s" in doubt.message


def test_confidences_that_run_against_the_calls_make_no_auc(tmp_path):
    """5 for "sure of my call", whatever it is: as confidence in PRCC its AUC of 0.5 would mean nothing."""
    truth = {case: ("PRCC", "ChRCC")[i % 2] for i, case in enumerate("abcdefghijkl")}
    own = "".join(f"{c},r,{t},5\n" for c, t in truth.items())
    right = "".join(f"{c},s,{t},{5 if t == 'PRCC' else 1}\n" for c, t in truth.items())
    slip = right.replace(",s,", ",t,").replace("b,t,ChRCC,1", "b,t,ChRCC,4")
    table = read(tmp_path, "case,reader,call,confidence\n" + own + right + slip, known(truth))
    found = study_readers(table, (), known(truth), CONFIG)
    r, s, t = found.readers
    assert r.figures["auc"].value is None
    assert r.figures["auc"].method == "undefined: call and confidence contradict each other in 6 of 12 cases"
    assert r.figures["accuracy"].value == 1.0
    assert (s.figures["auc"].value, t.figures["auc"].value) == (1.0, 1.0)
    told = [f.message for f in table.findings if f.code == "reader-contradicts"]
    assert "no AUC is computed" in told[0]
    assert "no AUC" not in told[1]
    assert next(m for m in found.means if m.figure == "auc").mean.value is None


def one_study(*readers, models=(), of=None):
    people = tuple(sorted(readers, key=lambda r: r.aided))
    return study_readers(
        CallTable(readers=people, models=(), scale="", findings=()), models, of or known(), CONFIG
    )


def test_a_margin_asks_whether_the_model_is_not_inferior_to_each_reader_and_to_their_mean():
    rng = np.random.default_rng(0)
    of = known({f"{i:02d}": "PRCC" if i < 30 else "ChRCC" for i in range(60)})

    def rated(name, sd, model=False):
        scores = rng.normal(np.arange(60) < 30, sd)
        said = {
            case: ReaderAnswer(call=call, confidence=float(score))
            for (case, call), score in zip(of.truth.items(), scores, strict=True)
        }
        return Reader(name=name, aided=False, answers=said, model=model)

    people, models = [rated("a", 0.8), rated("b", 0.8)], [rated("m", 0.3, model=True)]
    table = CallTable(readers=tuple(people), models=(), scale="", findings=(), margin=0.1)
    found = study_readers(table, models, of, CONFIG)
    for pair in found.against_models:
        assert pair.against_margin.noninferior == (-pair.areas.difference.high > -0.1)
        assert "Margin 0.1: m is shown to be at most 0.1 worse than" in pair.sentences[-1]
    (mean,) = [one for one in found.mean_against_models if one.figure == "auc"]
    assert mean.against_margin.noninferior == (mean.found.difference.high < 0.1)
    assert mean.against_margin.p_noninferior is None
    plain = study_readers(replace(table, margin=0.0), models, of, CONFIG)
    assert all(pair.against_margin is None for pair in plain.against_models)


def test_reader_and_model_are_compared_on_the_cases_both_called():
    found = one_study(reader("r", "PPPP?CCCCC"), models=[reader("m", "CPPPPCCCC", model=True)])
    (pair,) = found.against_models
    assert pair.n_called == 8
    assert (pair.calls.both, pair.calls.only_one) == (7, 1)
    assert pair.sentences == (
        "No difference between r and m is shown (8 and 7 of 8 correct; exact McNemar p = 1.00, 8 cases).",
    )
    assert found.agreement is None
    assert {f.code for f in found.findings} == {"readers-few"}


def test_a_real_difference_is_told_with_its_direction():
    truth = {f"c{i}": "PRCC" if i < 20 else "ChRCC" for i in range(40)}
    of = known(truth)
    rng = np.random.default_rng(3)
    score = {case: (t == "PRCC") + rng.normal(0, 0.2) for case, t in truth.items()}
    good = Reader(
        name="m",
        aided=False,
        model=True,
        answers={c: ReaderAnswer(call=truth[c], confidence=score[c]) for c in truth},
    )
    poor = [
        Reader(
            name=f"r{k}",
            aided=False,
            answers={
                c: ReaderAnswer(call=rng.choice(["PRCC", "ChRCC"]), confidence=rng.normal()) for c in truth
            },
        )
        for k in range(5)
    ]
    found = one_study(*poor, models=[good], of=of)
    assert found.against_models[0].sentences[0].startswith("m classified more cases correctly than r0")
    assert found.against_models[0].sentences[1].startswith("The AUC of m is higher than that of r0 (ranks")
    words = {m.figure: m.sentence for m in found.mean_against_models}
    assert (
        found.against_models[0].sentences[0].startswith("m classified more cases correctly than r0 (40 and ")
    )
    assert words["auc"].startswith(
        "The AUC of the mean of 5 readers is lower than that of m (multi-reader analysis"
    )
    assert words["accuracy"].startswith("The accuracy of the mean of 5 readers is lower than that of m (")
    (auc,) = [m for m in found.means if m.figure == "auc"]
    assert auc.mean.low < 0.5 < auc.mean.high
    assert found.agreement.fleiss.value == pytest.approx(0, abs=0.2)
    assert found.n_tests == 5 * 2 + 4
    json.dumps(as_plain(found), allow_nan=False)


def test_three_subtypes_and_a_call_of_none_of_them(tmp_path):
    of = known(
        dict(zip("abcdef", ["PRCC", "PRCC", "ChRCC", "ChRCC", "ccRCC", "ccRCC"], strict=True)),
        None,
        ("PRCC", "ChRCC", "ccRCC"),
    )
    text = "case,reader,call\na,r,PRCC\nb,r,oncocytoma\nc,r,ChRCC\nd,r,oncocytoma\ne,r,PRCC\nf,r,ccRCC\n"
    (one,) = study_readers(read(tmp_path, text, of), (), of, CONFIG).readers
    assert one.counts == {
        "coverage": (6, 6),
        "accuracy": (3, 6),
        "sensitivity": (1, 2),
        "specificity": (3, 4),
        "precision": (1, 2),
    }


def test_aided_beside_unaided():
    unaided = [reader(f"r{k}", calls) for k, calls in enumerate(("PPCCCCCCPP", "CPPCCCPPCC", "PCPPCPCCCP"))]
    aided = [reader(f"r{k}", "PPPPPCCCC" + "CPC"[k], aided=True) for k in range(3)]
    found = one_study(*unaided, *aided)
    assert [pair.first for pair in found.aided] == ["r0", "r1", "r2"]
    assert found.aided[0].second == "r0, aided"
    accuracy = next(m for m in found.mean_aided if m.figure == "accuracy")
    assert accuracy.found.first == "unaided"
    assert accuracy.found.difference.value < 0
    assert "too few readers to generalize" in accuracy.sentence
    assert found.agreement_aided.fleiss.value > found.agreement.fleiss.value
    assert [(m.aided, m.n_readers) for m in found.means if m.figure == "accuracy"] == [(False, 3), (True, 3)]


def test_one_patient_with_two_tumors_is_told_and_resampled():
    of = known(patient_of={case: f"p{'aabbcddeef'[i]}" for i, case in enumerate("abcdefghij")})
    found = one_study(reader("r", "PPPCPCPCCC"), models=[reader("m", "PPPPPCCCCC", model=True)], of=of)
    assert "Korn and Graubard" in found.readers[0].figures["accuracy"].method
    assert "(8 and 10 of 10 correct; McNemar by patient" in found.against_models[0].sentences[0]
    assert "readers-clustered" in {f.code for f in found.findings}


def test_many_tumors_of_one_patient_show_no_superiority():
    """A model wrong on all six tumors of one patient of twelve: as cases p = 0.031, as patients one."""
    cases = [f"c{i}" for i in range(72)]
    truth = {case: "PRCC" if i < 36 else "ChRCC" for i, case in enumerate(cases)}
    of = known(truth, {case: f"p{i // 6}" for i, case in enumerate(cases)})
    right = {case: ReaderAnswer(call=truth[case], confidence=None) for case in cases}
    wrong = right | {case: ReaderAnswer(call="ChRCC", confidence=None) for case in cases[:6]}
    one = Reader(name="R1", aided=False, answers=right)
    net = Reader(name="net", aided=False, answers=wrong, model=True)
    found = one_study(one, models=[net], of=of)
    (pair,) = found.against_models
    # Obuchowski 1998: one patient of twelve differs, by six of its six tumors
    assert pair.calls.p == pytest.approx(chi2.sf(6**2 / (12 / 11 * 6**2), 1))
    assert pair.calls.mid_p is None
    assert pair.calls.difference.value == pytest.approx(6 / 72)
    assert pair.calls.difference.low < 0 < pair.calls.difference.high
    assert found.n_tests == 1
    (sentence,) = found.sentences
    assert (
        "No difference between R1 and net is shown (72 and 66 of 72 correct; McNemar by patient" in sentence
    )
    assert "more often" not in sentence


def test_holm_against_the_worked_example():
    """Holm 1979: the smallest p times n, the next times n - 1, never falling; None does not count."""
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_a_p_that_correction_lifts_shows_nothing():
    """Six cases that only the model has right give p = 0.031; three readers make it a family of three and more."""
    truth = {f"c{i}": "PRCC" if i < 10 else "ChRCC" for i in range(20)}
    of = known(truth)
    right = {case: ReaderAnswer(call=t, confidence=None) for case, t in truth.items()}
    off = right | {f"c{i}": ReaderAnswer(call="ChRCC", confidence=None) for i in range(6)}
    net = Reader(name="net", aided=False, answers=right, model=True)
    alone = one_study(Reader(name="r0", aided=False, answers=off), models=[net], of=of)
    assert alone.n_tests == 1
    assert alone.sentences == (
        "net classified more cases correctly than r0 (20 and 14 of 20; exact McNemar p = 0.031, 20 cases).",
    )
    people = [Reader(name="r0", aided=False, answers=off)]
    people += [Reader(name=f"r{k}", aided=False, answers=right) for k in (1, 2)]
    found = one_study(*people, models=[net], of=of)
    first = found.against_models[0]
    assert first.calls.p == pytest.approx(0.03125)
    assert first.calls_p_holm == pytest.approx(0.03125 * found.n_tests)
    assert first.sentences[0].startswith("No difference between r0 and net is shown")
    assert f"p = 0.031, corrected for {found.n_tests} tests p = 0." in first.sentences[0]
    others = [replace(net, name=f"baseline {k}", baseline=True) for k in range(9)]
    asked = one_study(people[0], models=[net, *others], of=of)
    assert asked.n_tests == 10
    assert [pair.calls_p_holm for pair in asked.against_models][:2] == pytest.approx([0.03125, 9 * 0.03125])
    assert asked.sentences[0].startswith("net classified more cases correctly than r0")
    assert "corrected for 9 tests" in asked.sentences[1]
    strict = study_readers(
        CallTable(readers=(people[0],), models=(), scale="", findings=()),
        [net],
        of,
        EvaluationConfig(resamples=200, confidence=0.99),
    )
    assert strict.sentences[0].startswith("No difference between r0 and net is shown"), "alpha is 0.01 here"


def test_a_leaky_run_is_shown_and_takes_part_in_nothing():
    leaky = replace(reader("net (LEAKY)", "PPPPPCCCCC", model=True), leaky=True, of_study=True)
    sound = reader("sound", "PPPPPCCCCC", model=True)
    people = [reader("r0", "CCCCCPPPPP"), reader("r1", "PPCCCPPPPC")]
    found = one_study(*people, models=[leaky, sound])
    assert [(m.name, m.leaky) for m in found.models] == [("net (LEAKY)", True), ("sound", False)]
    assert {pair.second for pair in found.against_models} == {"sound"}
    assert {m.found.second for m in found.mean_against_models} == {"sound"}
    assert "LEAKY" not in " ".join(found.sentences)
    assert one_study(*people, models=[leaky]).n_tests == 0


def test_held_out_cases_add_no_fold_to_the_pooled_ones():
    """Three folds and the mean of their networks are three fits: variance x 1 + 3/2."""
    model = reader("net", "PPPPPCCCCP", model=True)
    folds = dict(zip("abcdefghij", ["0", "1", "2", "0", "1", "2", "0", "1", "-1", "-1"], strict=True))
    own = {case: replace(r, fold=folds[case]) for case, r in model.answers.items()}
    model = replace(model, answers=own, of_study=True)
    assert model.folds(list("aij")) == ["0", "0", "0"]
    assert model.folds(list("ij")) == ["-1", "-1"]
    found = one_study(reader("r0", "PPPPPCCCCC"), reader("r1", "PPPPCCCCCC"), models=[model])
    assert "3 folds, variance x 2.5" in found.models[0].figures["accuracy"].method
    assert all("3 folds" in one.found.difference.method for one in found.mean_against_models)


def test_test_sets_stay_apart_and_the_pooled_figure_is_named():
    groups = dict.fromkeys("abcfgh", "out-of-fold") | dict.fromkeys("di", "internal-test")
    of = replace(known(), group_of=groups | dict.fromkeys("ej", "external-test:A"))
    model = reader("net", "PPPPCCCCCP", model=True)
    own = {case: replace(r, group=of.group_of[case]) for case, r in model.answers.items()}
    own["a"] = replace(own["a"], group="internal-test")  # by the run's own split
    people = [reader("r0", "PPPPPCCCCC"), reader("r1", "PPPP")]
    found = one_study(*people, models=[replace(model, answers=own)], of=of)
    assert list(found.groups) == ["out-of-fold", "external-test:A", "internal-test"]
    right = {name: part.models[0].counts["accuracy"] for name, part in found.groups.items()}
    assert right == {"out-of-fold": (5, 5), "external-test:A": (0, 2), "internal-test": (2, 2)}
    assert found.models[0].counts["accuracy"] == (8, 10)
    assert found.test_set == "all test sets pooled (different networks)"
    assert [r.name for r in found.groups["external-test:A"].readers] == ["r0"], "r1 read none of them"
    assert found.groups["out-of-fold"].against_models[0].n_called == 5
    data = as_plain(found)
    assert set(data["groups"]) == set(groups.values()) | {"external-test:A"}
    assert data["sentences"][0].startswith("out-of-fold: No difference between r0 and net")
    assert data["sentences"][-1].startswith("all test sets pooled (different networks): ")
    assert "net: 1 of 10 cases are in a different test set in its own split" in " ".join(
        f.message for f in found.findings
    )
    json.dumps(data, allow_nan=False)


def test_readers_json_is_read_back_as_it_was_written(tmp_path):
    people = [reader("r0", "PPPPPCCCCC", [5, 4, 5, 4, 3, 1, 1, 2, 1, 2]), reader("r1", "PPPP?CCCCC")]
    found = one_study(*people, models=[reader("net", "PPPPCCCCCP", model=True)])
    save_reader_study(tmp_path, found, {"cohort": "d"})
    path = reader_file(tmp_path).path
    read_back = reader_file(tmp_path).read()
    assert as_plain(read_back) == as_plain(found)
    assert reader_file(tmp_path, {"cohort": "d"}).stale() == ()
    assert reader_file(tmp_path, {"cohort": "e"}).stale() == ("cohort",)
    assert read_back.readers[0].figures["auc"] == found.readers[0].figures["auc"]
    assert read_back.agreement.pairs[0].kappa == found.agreement.pairs[0].kappa
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"n_cases": 10', '"n_cases": "ten"', 1), encoding="utf-8")
    with pytest.raises(StudyError, match="n_cases: expected int, found str"):
        reader_file(tmp_path).read()


def test_tables_page_and_words_keep_test_sets_apart(tmp_path):
    of = replace(
        known(), group_of=dict.fromkeys("abcfgh", "out-of-fold") | dict.fromkeys("deij", "internal-test")
    )
    people = [reader("r0", "PPPPPCCCCC"), reader("r1", "PPPPCCCCCC")]
    found = one_study(*people, models=[reader("net", "PPPPCCCCCP", model=True)], of=of)
    save_reader_study(tmp_path, found, digests_of(StudyFolder(tmp_path), "d", CONFIG, (), False))
    with (tmp_path / "readers" / "pairs.csv").open() as file:
        table = list(csv.DictReader(file))
    sets = ["out-of-fold", "internal-test", found.test_set]
    assert [row["test_set"] for row in table] == [name for name in sets for _ in range(2)]
    text = _text(found)
    assert "\nout-of-fold: 6 cases of 6 patients\n" in text
    assert "\nall test sets pooled (different networks): 10 cases of 10 patients\n" in text
    settings = type("Settings", (), {"evaluation": CONFIG})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers_page, "open_study", lambda root: (StudyFolder(root), settings))
        section = readers_of(tmp_path, "d", "net")
    pairs = tables_in(section.blocks)["readers-pairs"]
    assert pairs.header[:3] == ("", "Test set", "Cases")
    told = ["cross-validation", "internal test set", found.test_set]
    assert [row[1] for row in pairs.rows[::2]] == told
    assert texts_in(section.blocks)[0].startswith("Cross-validation: ")
    assert pairs.rows[0][2] == "6"
    assert len(figures_in(section.blocks)["readers"]().axes) == 2


def test_a_model_of_the_study_has_the_interval_that_evaluate_gives():
    person, program = reader("r", "PPPPPCCCCC"), reader("m", "PPPPPCCCCC", model=True)
    run_of_study = replace(program, name="net", of_study=True)
    found = one_study(person, models=[program, run_of_study])
    methods = {m.name: m.figures["accuracy"] for m in (*found.readers, *found.models)}
    assert methods["r"].method == methods["m"].method == "exact (Clopper-Pearson), 95 %"
    assert methods["net"].method == "Clopper-Pearson, as there are few cases, 95 %"
    assert methods["net"].low == methods["m"].low == pytest.approx(0.6915, abs=5e-5)
    assert "readers and models: exact (Clopper-Pearson); models: Clopper-Pearson" in _text(found)


def test_a_model_that_answers_other_cases_is_told():
    other = Reader(
        name="m", aided=False, answers={"zz": ReaderAnswer(call="PRCC", confidence=0.5)}, model=True
    )
    found = one_study(reader("r", "PP"), models=[other])
    assert found.models == ()
    assert "m: no answer about a case that a reader saw" in [f.message for f in found.findings]


@pytest.fixture(scope="module")
def study_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "study"
    make_study(root)
    return root


def prediction(case, p):
    return Answer(
        case_id=case,
        patient_id=case,
        probabilities={"PRCC": p, "ChRCC": 1 - p},
        slices=(),
        forced_call="PRCC" if p >= 0.5 else "ChRCC",
        call=None,
        reason="",
        group="out-of-fold",
    )


def fake_runs(monkeypatch, study, converged=True, protocol="patient", groups=None):
    """Runs whose answers are given: what training them would add is tested elsewhere."""
    truth = {case.case_id: case.subtype for case in study.cohort.cases}
    answers = [
        replace(
            prediction(case, 0.8 if subtype == "PRCC" else 0.3),
            group=(groups or {}).get(case, "out-of-fold"),
        )
        for case, subtype in truth.items()
    ]

    class Scored:
        folder = study.folder.root / "runs" / "net"
        snapshot = type("Snapshot", (), {"split": type("Split", (), {"protocol": protocol})})

    Scored.folder.mkdir(parents=True, exist_ok=True)
    (Scored.folder / "config.json").write_text("{}")
    (Scored.folder / "run.json").write_text(json.dumps(RUN_JSON | {"converged": converged}))
    monkeypatch.setattr(with_models, "open_run", lambda snapshot, name: Scored)
    monkeypatch.setattr(with_models, "score_run", lambda scored: (answers, []))
    return truth


def test_command_readers_sets_readers_beside_runs(study_root, monkeypatch, tmp_path, capsys):
    study = Study(study_root)
    truth = fake_runs(monkeypatch, study)
    path = tmp_path / "calls.csv"
    lines = ["case_id,reader,call,confidence,seconds"]
    for i, (case, subtype) in enumerate(truth.items()):
        wrong = "ChRCC" if subtype == "PRCC" else "PRCC"
        lines.append(f"{case},one,{subtype},{5 if subtype == 'PRCC' else 1},{30 + i}")
        lines.append(f"{case},two,{wrong if i < 2 else subtype},{3},{40 + i}")
    path.write_text("\n".join(lines) + "\n")
    assert run(["readers", str(study_root), str(path), "--run", "net", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [m["name"] for m in data["models"]] == ["net"]
    assert data["models"][0]["told"] == "run, out-of-fold"
    assert [p["calls"]["p"] for p in data["against_models"]] == [1.0, 0.5]
    assert data["readers"][0]["time"] == {
        "n": 10,
        "median_s": 34.5,
        "lower_quartile_s": 32.25,
        "upper_quartile_s": 36.75,
    }
    folder = study_root / "readers"
    kept = content_of(folder / "readers.json")
    made = kept.pop("made_from")
    assert set(made) == {"cohort", "[evaluation]", "run net", "splits.json"}
    assert made["cohort"] == study.cohort.label_digest
    assert list(data["groups"]) == ["out-of-fold"]
    assert data["models"][0]["figures"]["accuracy"]["method"].startswith("Clopper-Pearson")
    assert kept == data
    with (folder / "readers.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 3 * 6
    assert [r["right"] for r in table if r["name"] == "two" and r["figure"] == "accuracy"] == ["8"]
    for name in ("pairs.csv", "means.csv", "agreement.csv"):
        assert len((folder / name).read_text().splitlines()) > 1
    assert run(["readers", str(study_root), str(path)]) == 0
    shown = capsys.readouterr().out
    assert "net (model)" in shown
    assert "34.5 (32.25 to 36.75)" in shown
    assert "a difference is judged by the p corrected for all tests of its question (Holm)" in shown
    check_section(study)


def check_section(study):
    """The report's part says what readers.json says, and nothing once the labels changed."""
    section = readers_of(study.folder.root, study.cohort.label_digest, "net")
    assert "No difference between two and net is shown" in " ".join(texts_in(section.blocks))
    tables = tables_in(section.blocks)
    row = tables["readers-pairs"].rows[1]
    assert row[:3] == ("two, net", "10", "8 and 10")
    assert (row[4].text, row[4].small) == ("0.50", "corrected 1.00")
    assert tables["readers"].rows[2][0] == "net"
    assert list(figures_in(section.blocks)) == ["readers"]
    assert "2 readers called 10 cases of 10 patients" in section.methods[0][1]
    assert any("2 readers are too few" in text for text in section.limitations)
    later = readers_of(study.folder.root, "another digest", "net")
    (text,) = texts_in(later.blocks)
    assert text.startswith("Labels changed since")
    assert "run `nephroscope readers` again" in text
    assert tables_in(later.blocks) == {}
    for path, name in (
        ("runs/net/run.json", "Run net"),
        ("splits.json", "Splits.json"),
        ("comparison/predictions.csv", "Comparison/predictions.csv"),
        ("study.toml", "[evaluation]"),
    ):
        check_stale(study, study.folder.root / path, name)


def check_stale(study, path, name):
    """A change of this file makes the readers' part stale, and its undoing makes it good again."""
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    changed = (before or "").replace("resamples = 200", "resamples = 300") + "\n"
    path.write_text(changed)
    later = readers_of(study.folder.root, study.cohort.label_digest, "net")
    changed = f"{name} changed since the readers' calls were scored: run `nephroscope readers` again."
    assert texts_in(later.blocks) == [changed]
    if before is None:
        path.unlink()
    else:
        path.write_text(before)
    assert readers_of(study.folder.root, study.cohort.label_digest, "net").data is not None


def test_readers_beside_the_held_out_answers_of_older_networks_are_out_of_date(tmp_path):
    """Only where a run has held-out cases and several folds: those are answered otherwise than before."""
    folder, config = StudyFolder(tmp_path), EvaluationConfig()
    people = [reader("r0", "PPPPPCCCCC"), reader("net", "PPPPCCCCCP", model=True)]

    def changed(holdout, n_folds, runs=("net",)):
        folder.run("net").mkdir(parents=True, exist_ok=True)
        split = {"format": 1, "holdout": holdout, "folds": [{"index": i} for i in range(n_folds)]}
        (folder.run("net") / "split.json").write_text(json.dumps(split))
        now = digests_of(folder, "d", config, runs, False)
        older = {name: digest for name, digest in now.items() if name not in HELD_OUT}
        save_reader_study(tmp_path, one_study(*people), older)
        told = changed_since(folder, "d", config)
        save_reader_study(tmp_path, one_study(*people), now)
        assert changed_since(folder, "d", config) == []
        return told

    assert changed(["c1"], 2) == ["answers of held-out cases"]
    assert changed(["c1"], 1) == changed([], 2) == changed(["c1"], 2, runs=()) == []


def test_a_study_without_calls_has_no_section(tmp_path):
    assert readers_of(tmp_path, "digest", "net") is None


def test_baselines_of_a_comparison_stand_beside_unless_stale(study_root, monkeypatch, tmp_path):
    study = Study(study_root)
    fake_runs(monkeypatch, study)
    folder = study_root / "comparison"
    folder.mkdir(exist_ok=True)
    (folder / "predictions.csv").write_text(
        "name,kind,case_id,call,p_PRCC\nclinical,baseline,c00,PRCC,0.7\nnet,network,c00,PRCC,0.7\n"
    )
    path = tmp_path / "calls.csv"
    path.write_text("case_id,reader,call\nc00,one,PRCC\nc01,one,ChRCC\n")
    fresh = type("Comparison", (), {"stale": ""})
    monkeypatch.setattr(with_models, "load_comparison", lambda root: fresh)
    assert [m.name for m in study.readers(path).models] == ["net", "clinical"]
    assert [m.name for m in study.readers(path, ["net"]).models] == ["net"]
    table, head = folder / "predictions.csv", "name,kind,case_id,call,p_PRCC\n"
    for text, told in (
        (head + "clinical,baseline,c00,PRCC,nan\n", "found 'nan' as a probability in row 2"),
        (head + "clinical,baseline,c00,PRCC,\n", "found '' as a probability in row 2"),
        (head + "a,b,c00,PRCC,0.7\na,b,c01,PRCC,0.7\nd,b,c00,PRCC,0.7\n", "other cases of one baseline"),
        ("name,kind\n", "found columns name, kind; run `nephroscope compare` again"),
    ):
        table.write_text(text)
        with pytest.raises(StudyError, match=told):
            study.readers(path)
    fresh.stale = "cohort.csv changed since"
    found = study.readers(path)
    assert [m.name for m in found.models] == ["net"]
    assert "baselines of the comparison: cohort.csv changed since; left out" in [
        f.message for f in found.findings
    ]


def test_a_run_that_did_not_converge_is_left_out(study_root, monkeypatch, tmp_path):
    study = Study(study_root)
    fake_runs(monkeypatch, study, converged=False)
    path = tmp_path / "calls.csv"
    path.write_text("case_id,reader,call\nc00,one,PRCC\nc01,one,ChRCC\n")
    found = study.readers(path)
    assert found.models == ()
    assert "run net: did not converge; left out" in [f.message for f in found.findings]


def test_a_leaky_run_of_the_study_is_marked_and_untested(study_root, monkeypatch, tmp_path):
    study = Study(study_root)
    truth = fake_runs(monkeypatch, study, protocol="image")
    path = tmp_path / "calls.csv"
    calls = [f"{case},one,{'ChRCC' if t == 'PRCC' else 'PRCC'}\n" for case, t in truth.items()]
    path.write_text("case_id,reader,call\n" + "".join(calls))
    found = study.readers(path, ["net"])
    assert [m.name for m in found.models] == ["net (LEAKY)"]
    assert (found.against_models, found.mean_against_models, found.sentences) == ((), (), ())
    (leak,) = [f for f in found.findings if f.code == "leaky-split"]
    assert leak.message.endswith("its figures are shown and marked, and it is left out of all tests")
    section = readers_of(study_root, study.cohort.label_digest, "net")
    assert section.data is not None, "the run's digest was found"


def test_cases_of_a_study_go_to_the_test_set_of_its_split(study_root, monkeypatch, tmp_path):
    study = Study(study_root)
    truth = fake_runs(monkeypatch, study, groups=dict.fromkeys(("c00", "c01"), "internal-test"))
    path = tmp_path / "calls.csv"
    path.write_text("case_id,reader,call\n" + "".join(f"{case},one,{t}\n" for case, t in truth.items()))
    found = study.readers(path, ["net"])
    assert {name: part.models[0].n_cases for name, part in found.groups.items()} == {
        "out-of-fold": 8,
        "internal-test": 2,
    }
    split = type("Split", (), {"holdout": frozenset({"c00"})})
    monkeypatch.setattr(with_models, "load_split", lambda path, cohort: (split, ""))
    found = study.readers(path, ["net"])
    assert {n: (p.n_cases, p.models[0].n_cases) for n, p in found.groups.items()} == {
        "out-of-fold": (9, 8),
        "internal-test": (1, 1),
    }
    assert "net: 1 of 10 cases are in a different test set in its own split" in " ".join(
        f.message for f in found.findings
    )


def test_command_readers_refuses(study_root, tmp_path, capsys):
    path = tmp_path / "calls.csv"
    path.write_text("case_id,reader,call\nnobody,one,PRCC\n")
    assert run(["readers", str(study_root), str(path), "--json"]) == 2
    assert "a case that is known, found 'nobody'" in json.loads(capsys.readouterr().out)["error"]["message"]
    path.write_text("case_id,reader,call\nc00,one,PRCC\n")
    assert run(["readers", str(study_root), str(path), "--run", "nope"]) == 2
    assert "expected a complete run" in capsys.readouterr().err
    assert run(["readers", str(study_root), str(path), "--columns", "call:Befund"]) == 2
    assert "--columns: expected OURS=YOURS" in capsys.readouterr().err


def test_statistics_readers_refuses(tmp_path, capsys):
    path = tmp_path / "t.csv"

    def told(text, *words):
        path.write_text(text)
        assert run(["statistics", "readers", str(path), *words]) == 2
        return capsys.readouterr().err

    assert "expected a column truth" in told("case,reader,call\na,r,PRCC\n", "--positive", "PRCC")
    two = "case,reader,call,truth\na,r,PRCC,PRCC\nb,r,PRCC,ChRCC\n"
    assert "--positive: expected one of ChRCC, PRCC, found nothing" in told(two)
    assert "cases of two subtypes or more, found PRCC" in told("case,reader,call,truth\na,r,PRCC,PRCC\n")
    assert "expected PRCC, as in another row of case a, found 'ChRCC'" in told(two + "a,s,PRCC,ChRCC\n")
    assert "column truth: expected a value, found nothing" in told(two + "c,s,PRCC,\n")
    assert "column truth: expected a value, found 'NA'" in told(two + "c,s,PRCC,NA\n")
