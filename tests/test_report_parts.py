"""What stands on the page beyond the evaluation: probabilities, subgroups, cards, tables, model card, plain data."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nephroscope.questions.compare.document import Comparison
from nephroscope.questions.compare.results import (
    Calibration,
    CallPair,
    ComparisonDocument,
    Control,
    Pair,
    RankedLearner,
    RankTable,
    Shortcuts,
)
from nephroscope.questions.evaluation.evaluate import LEAKY, RunFacts, build_report
from nephroscope.questions.evaluation.subgroups import attributes_of
from nephroscope.questions.readers.reader_study import ReaderResults, ReaderStudy
from nephroscope.records import Answer, Estimate, Finding, SlicePrediction
from nephroscope.report.page.section import texts_in
from nephroscope.report.page.table import Cell, Column, Letters, build_table
from nephroscope.report.study import case_cards
from nephroscope.report.study.appraisal import RAW, appraise, marked_leaky, source_of
from nephroscope.report.study.case_cards import case_sections, cases_with_cards
from nephroscope.report.study.content import Saliency, SaliencyMap, Scan
from nephroscope.report.study.key_result import key_result
from nephroscope.report.study.page import card_of, fill_page, page_of, plain, report_json
from nephroscope.report.study.read_run import facts_known, scans_of
from nephroscope.report.study.sections.cases import case_table
from nephroscope.report.study.sections.comparison import counted_value
from nephroscope.report.study.sections.control import filled_control
from nephroscope.report.study.sections.probabilities import calibration_table, operating_table
from nephroscope.report.study.sections.readers import filled_readers, first_sentences, with_test_set
from nephroscope.report.study.sections.shortcuts import filled_shortcuts
from nephroscope.statistics.metrics import auc
from one_series import changed
from test_report import html_of, html_of_page, make_content
from test_report_words import two_folds

GROUP = "out-of-fold"


def test_calibration_is_that_of_the_predictions():
    content = two_folds(make_content())
    found = appraise(content).groups[GROUP]
    p = np.array([m.probabilities["PRCC"] for m in content.main.report.predictions])
    y = np.array([m.truth == "PRCC" for m in content.main.report.predictions])
    assert found.calibration[RAW]["brier"].value == pytest.approx(((p - y) ** 2).mean())
    assert found.calibration[RAW]["observed_expected"].value == pytest.approx(y.sum() / p.sum())
    assert set(found.calibration) == {RAW, "temperature", "platt"}
    table = calibration_table(found)
    assert table.header == ("", "As it is", "Temperature", "Platt")
    assert [row[0] for row in table.rows][:2] == ["Intercept (0 is ideal)", "Slope (1 is ideal)"]
    points = operating_table(found).rows
    assert [row[0] for row in points] == ["at least 80.0 %", "at least 90.0 %", "at least 95.0 %"]
    n = len(content.main.report.predictions)
    assert (
        points[0][1].small
        == f"one threshold for each of 2 folds, chosen on the patients of the other folds; {n} cases in all"
    )
    assert "no interval" in operating_table(found).notes[-1]


def test_more_than_two_subtypes_are_calibrated_each():
    found = appraise(make_content(("PRCC", "ChRCC", "ccRCC"))).groups[GROUP]
    assert set(found.calibration) == {"PRCC", "ChRCC", "ccRCC"}
    assert found.decision is None
    assert not found.operating


def test_nothing_is_judged_of_a_run_that_did_not_converge():
    assert appraise(make_content(converged=False)).groups == {}


def test_subgroups_are_of_the_cohort():
    subgroups = {(s.attribute, s.value): s for s in appraise(make_content()).groups[GROUP].subgroups}
    assert subgroups["sex", "women"].n_cases == 4
    assert subgroups["size", "up to 4 cm"].n_cases == 12
    vendors = {f"case-{i}": {"vendor": "GE" if i < 7 else "Siemens"} for i in range(12)}
    found = appraise(make_content(facts=vendors)).groups[GROUP].subgroups
    assert {s.value: s.n_cases for s in found if s.attribute == "vendor"} == {"GE": 7, "Siemens": 5}


def test_leaky_stands_in_every_method():
    e = Estimate(value=0.5, low=None, high=None, n=1, unit="case", method="Wilson")
    assert marked_leaky({"a": (e,)})["a"][0].method == f"{LEAKY}; Wilson"
    group = appraise(make_content(protocol="image")).groups[GROUP]
    assert group.coverage.aurc.method.startswith(LEAKY)
    assert group.curves[RAW].curve.method.startswith(LEAKY)
    assert all(s.figures["auc"].method.startswith(LEAKY) for s in group.subgroups)


def many(content, n):
    """n predictions, all right, beside those there are."""
    slices = (SlicePrediction(slice_index=10, probabilities=(0.9, 0.1)),)
    more = tuple(
        Answer(
            case_id=f"more-{i}",
            patient_id=f"more-{i}",
            probabilities={"PRCC": 0.9, "ChRCC": 0.1},
            slices=slices,
            forced_call="PRCC",
            call="PRCC",
            reason="",
            truth="PRCC",
            group=GROUP,
        )
        for i in range(n)
    )
    report = replace(content.main.report, predictions=(*content.main.report.predictions, *more))
    cases = tuple(replace(content.cohort.cases[0], case_id=p.case_id, patient_id=p.patient_id) for p in more)
    cohort = replace(content.cohort, cases=(*content.cohort.cases, *cases))
    return replace(content, cohort=cohort, runs=(replace(content.main, report=report),))


def test_a_large_cohort_has_a_small_page():
    content = many(make_content(), 300)
    right = case_sections(content)[2]
    assert (right.n, len(right.cards)) == (309, case_cards.MOST["right"])
    assert len(cases_with_cards(content)) == 2 + 1 + case_cards.MOST["right"]
    assert len(case_table(content).rows) == 312
    html = html_of(content)
    assert html.count("<article") == 27
    assert "24 of 309 are shown; all are rows of the table below and of tables/cases.csv." in html
    assert "more-299" in html


def test_saliency_maps_stand_on_their_cards():
    address = "data:image/png;base64,AAAA"
    maps = {"case-0": (SaliencyMap(slice_index=12, address=address),)}
    figures = {
        name: Estimate(value=x, low=x - 0.1, high=x + 0.1, n=9, unit="patient", method="m")
        for name, x in (("random_size", 0.1), ("mirrored", 0.8))
    }
    made = Saliency(maps=maps, text="Grad-CAM.", check="Differs from random weights.", figures=figures)
    content = make_content(saliency=made)
    cards_of = {c.prediction.case_id: c for section in case_sections(content) for c in section.cards}
    assert [p.saliency for p in cards_of["case-0"].pictures if p.slice_index == 12] == [address]
    assert not any(p.saliency for p in cards_of["case-1"].pictures)
    page = page_of(content)
    html = html_of_page(page)
    assert html.count(address) == 1
    assert "Differs from random weights." in html
    assert next(a for a in page.checklists["claim2024"] if a.number == "31").state == "answered"
    alike = replace(made, figures=figures | {"random_size": figures["mirrored"]})
    item = next(
        a for a in page_of(replace(content, saliency=alike)).checklists["claim2024"] if a.number == "31"
    )
    assert (item.state, item.authors) == (
        "in part",
        "the check does not show that the maps explain the model",
    )


def test_plain_data_holds_no_nan():
    found = plain({"a": np.array([1.0, np.nan]), "b": float("inf"), "c": (np.int64(3), {"z", "y"})})
    assert found == {"a": [1.0, None], "b": None, "c": [3, ["y", "z"]]}
    page = page_of(make_content())
    told = json.loads(json.dumps(report_json(page, ["flow"]), allow_nan=False))
    assert told["figures"] == ["flow"]
    assert {
        "methods",
        "limitations",
        "tables",
        "probabilities",
        "checklists",
        "cases",
        "settings",
    } <= told.keys()
    assert told["tables"]["who"]["caption"] == "Who is in the study"
    assert len(told["cases"]) == 12


def test_what_is_missing_names_its_command():
    html = html_of(make_content(title="kidney"))
    assert "<code>nephroscope compare kidney</code>" in html
    assert "<code>nephroscope readers kidney FILE.csv</code>" in html
    assert "No control with shuffled labels was run" in html


def test_the_navigation_finds_every_section():
    html = html_of(make_content())
    nav = html[html.index("<nav>") : html.index("</nav>")]
    anchors = [part.split('"')[0] for part in nav.split('href="#')[1:]]
    assert len(anchors) >= 12
    assert all(f'id="{anchor}"' in html for anchor in anchors)


def test_scans_are_read_from_the_series_table(tmp_path):
    assert scans_of(tmp_path / "series.csv") == {}
    (tmp_path / "series.csv").write_text(
        "case_ids,manufacturer,spacing_mm\na b,SIEMENS,2.5\n,GE,1\nc,,x\n", encoding="utf-8"
    )
    (tmp_path / "other.csv").write_text("case_ids,folder\na,b\n", encoding="utf-8")
    assert scans_of(tmp_path / "other.csv") == {}
    scans = scans_of(tmp_path / "series.csv")
    assert set(scans) == {"a", "b", "c"}
    assert (scans["b"].manufacturer, scans["b"].spacing_mm) == ("Siemens", 2.5)
    assert (scans["c"].manufacturer, scans["c"].spacing_mm) == ("", None)


def test_shortcut_sentences_become_limitations_only_where_a_fact_predicts_the_subtype():
    words = ("In this cohort sex alone gives AUC 0.72 (0.59 to 0.81): whoever ...", "No fact is seen.")
    filled = filled_shortcuts(Shortcuts(facts=(), follows=(), words=words), "run-1")
    assert filled.limitations == words[:1]
    assert texts_in(filled.blocks) == list(words)


def test_the_model_card_says_what_the_page_says():
    content = make_content()
    text = card_of(page_of(content))
    for heading in ("Intended use", "Out of scope", "Figures, by case", "Subgroups", "Limits", "Ethics"):
        assert f"\n## {heading}\n" in text
    e = content.main.report.groups[0].case["auc"]
    assert f"| AUC | {e.value:.3f} ({e.low:.3f} to {e.high:.3f}), n = 12 cases | {e.method} |" in text
    scores = np.array([p.probabilities["PRCC"] for p in content.main.report.predictions])
    truth = np.array([p.truth == "PRCC" for p in content.main.report.predictions])
    assert auc(scores, truth) == pytest.approx(e.value)
    assert "do not use this model" in card_of(page_of(make_content(converged=False)))


def test_the_model_card_begins_with_its_use_and_its_verdict():
    """What for, what not for, SYNTHETIC, the figure with interval, n and method; keys of JSON nowhere."""
    content = make_content(synthetic=True)
    text = card_of(page_of(content))
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings[:3] == ["## Intended use", "## Out of scope", "## Headline"]
    headline = text[text.index("## Headline") : text.index("## Model")]
    assert headline.split("\n\n")[1].startswith("**SYNTHETIC: ")
    assert key_result(content) in headline
    assert f"{len(page_of(content).limitations)} limitations under Limits." in headline
    assert not any(key in text for key in ("observed_expected", "intercept_beside_slope", "e50:"))
    assert "Observed to expected (1 is ideal)" in text


def test_what_the_model_card_has_no_figure_of_is_one_line():
    """12 patients: subgroups below 5 of a subtype are named together, not a row each."""
    text = card_of(page_of(make_content()))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert not any("not available" in row for row in rows)
    assert any(line.startswith("Not available: ") for line in text.splitlines()) or (
        "no subgroup has enough patients" in text
    )


def test_a_value_without_an_interval_is_shown_with_its_reason():
    letters = Letters()
    bare = Estimate(value=0.5, low=None, high=None, n=3, unit="patient", method="3 patients, too few")
    nothing = Estimate(value=None, low=None, high=None, n=0, unit="case", method="undefined: no case")
    assert letters.cell(bare) == Cell("0.500", "no interval · n = 3 patients · a")
    assert letters.cell(nothing) == Cell("not available", "n = 0 cases · b")
    assert letters.notes == ("a: 3 patients, too few", "b: undefined: no case")


CONTROL = Control(
    name="attenuation",
    permutations=20,
    refused=(),
    auc=Estimate(value=0.48, low=0.44, high=0.52, n=84, unit="patient", method="t"),
    auc_by_fold=0.5,
    auc_by_fold_n=20,
    lowest=0.32,
    highest=0.61,
    range_n=20,
    observed=0.95,
    p=0.2,
    p_floor=0.05,
    alarm=False,
    noticed_above=0.53,
    words="With shuffled labels attenuation does not rise above chance.",
)


def test_the_control_says_how_many_each_number_counts():
    """Range, mean of folds and the AUC with the true labels have no interval: their n and unit stand beside."""
    filled = filled_control([CONTROL], 74)
    lead, folded, shown = filled.blocks
    (row,) = shown.table.rows
    assert row[4] == Cell("0.500", "n = 20 permutations")
    assert row[5] == Cell("0.32 to 0.61", "n = 20 permutations")
    assert row[6] == Cell("0.950", "n = 74 cases")
    assert lead.text.startswith("No warning for 1 of 1 candidate. This does not prove")
    assert "a mean AUC of up to 0.53 would not have been noticed" in lead.text
    assert texts_in([folded]) == [CONTROL.words]
    filled = filled_control([replace(CONTROL, alarm=True, words="WARNING: a leak.")], 74)
    assert tuple(texts_in(filled.blocks)) == filled.limitations == ("WARNING: a leak.",)
    assert counted_value(0.02, 5, "division") == Cell("0.020", "n = 5 divisions")
    assert counted_value(None, 0, "division") == "-"


def test_folded_tables_and_sentences_are_on_the_page(tmp_path):
    html = html_of_page(compared_page(tmp_path))
    assert "<summary>1 more sentence</summary>" in html
    summary = "<summary>Pairs, cross-validation <small>2 rows, also in tables/pairs.csv</small></summary>"
    assert summary in html


def test_a_table_is_built_from_records_and_columns():
    e = Estimate(value=0.5, low=0.25, high=0.75, n=4, unit="case", method="Wilson")
    columns = [
        Column("Name", lambda r: r[0]),
        Column("Size", lambda r: r[1], unit="cm"),
        Column("AUC", lambda r: r[2]),
    ]
    table = build_table("All", columns, [("a|b", 3, e), ("c", None, None)], ["A note."])
    assert table.header == ("Name", "Size, cm", "AUC")
    assert table.rows == (("a|b", "3", Cell("0.500 (0.250 to 0.750)", "n = 4 cases · a")), ("c", "", ""))
    assert table.notes == ("a: Wilson", "A note.")
    assert table.markdown()[2] == "| a/b | 3 | 0.500 (0.250 to 0.750) |"
    assert table.as_json()["rows"][0][2] == {"text": "0.500 (0.250 to 0.750)", "small": "n = 4 cases · a"}


def test_facts_of_the_probe_have_the_names_of_the_subgroups():
    content = make_content()
    cases = [changed(c, sex="F") for c in content.cohort.cases]
    scans = {cases[0].case_id: Scan(manufacturer="GE", spacing_mm=1.5)}
    facts = {fact.name: fact for fact in facts_known(cases, scans)}
    assert set(attributes_of(cases[0], {})) - {"age", "size"} <= set(facts)
    assert facts["vendor"].values == {cases[0].case_id: "GE"}
    assert set(facts["sex"].values.values()) == {"women"}
    assert facts["slice spacing"].values == {cases[0].case_id: 1.5}


def estimate(value):
    return Estimate(value=value, low=value - 0.05, high=value + 0.05, n=12, unit="case", method="DeLong")


def candidate(name, kind, rank, value):
    e = estimate(value)
    return RankedLearner(
        name=name,
        kind=kind,
        rank=rank,
        description="as it was",
        remarks=(),
        figures={"auc": e},
        calibration=Calibration(intercept=e, slope=e, inside=None, inside_told=""),
    )


def pair(one, two, value):
    calls = CallPair(difference=estimate(0.1), p=0.5, only_one_right=2, only_two_right=1, test="exact")
    return Pair(
        one=one,
        two=two,
        difference=estimate(value),
        p=0.01,
        p_holm=0.02,
        test="DeLong",
        accuracy=calls,
        supported=True,
    )


COMPARED = ComparisonDocument(
    version="0.1.0",
    subtypes=("PRCC", "ChRCC"),
    positive="PRCC",
    synthetic=False,
    folds=2,
    protocol="patient",
    seed=0,
    split_seed=0,
    criterion="auc",
    made_from={},
    runs_seen=(),
    test_set="out-of-fold",
    groups={
        "out-of-fold": RankTable(
            answer="The answer.",
            n_cases=12,
            n_patients=12,
            candidates=(
                candidate("attenuation", "baseline", 1, 0.9),
                candidate("run-1", "network", 2, 0.6),
                candidate("radiomics", "baseline", 3, 0.5),
            ),
            pairwise=(pair("attenuation", "run-1", 0.3), pair("run-1", "radiomics", 0.1)),
            primary=None,
            words=("The answer.", "A detail."),
        )
    },
    not_compared=(),
    leaky=(),
    repeated=(),
    control=(),
    shortcuts=Shortcuts(facts=(), follows=(), words=()),
)


def compared_page(tmp_path, stale=""):
    """The page of a study with a comparison."""
    found = Comparison(path=tmp_path, document=COMPARED, stale=stale)
    return fill_page(replace(source_of(make_content()), comparison=found))


def test_a_better_baseline_is_named_at_the_top_and_in_the_limitations(tmp_path):
    page = compared_page(tmp_path)
    html = html_of_page(page)
    top = html[: html.index('id="data"')]
    assert "Of the 3 candidates on the same folds, it is number 2 by AUC" in top
    assert "attenuation (baseline) reaches 0.90 (0.85 to 0.95, 12 cases)." in top
    (limit,) = [text for text in page.limitations if "a baseline, is better" in text]
    assert limit.startswith("attenuation, a baseline, is better than this network: difference of AUC 0.300")
    assert [row[0] for row in page.tables["comparison"].rows] == ["attenuation", "run-1", "radiomics"]
    assert page.tables["pairs"].rows[0][:1] == ("attenuation, run-1",)
    assert dict(page.methods)["Candidates"].startswith("attenuation: as it was.")
    metrics = {a.number: a.state for a in page.checklists["metrics2024"]}
    assert (metrics["25"], metrics["12"]) == ("answered", "answered")
    assert "No control with shuffled labels was run" in html


def test_without_radiomics_its_items_do_not_apply():
    metrics = {a.number: a for a in page_of(make_content()).checklists["metrics2024"]}
    assert [metrics[n].state for n in ("12", "13", "14", "15", "16")] == ["not applicable"] * 5
    assert metrics["17"].state == "for the authors"
    assert metrics["25"].authors == "run `nephroscope compare`"


def test_what_is_out_of_date_is_said_and_not_shown(tmp_path):
    page = compared_page(tmp_path, stale="slices changed since")
    assert "The comparison is out of date: slices changed since." in html_of_page(page)
    assert "comparison" not in page.tables
    assert page.sections["comparison"].data is None


READ = {
    "test_set": "",
    "n_cases": 12,
    "n_patients": 12,
    **dict.fromkeys(("readers", "models", "means", "against_models", "mean_against_models"), ()),
    **dict.fromkeys(("aided", "mean_aided"), ()),
    **dict.fromkeys(("agreement", "agreement_aided")),
    "n_tests": 0,
    "sentences": ("out-of-fold: R1 is right.",),
}


def reader_study(finding, groups=()):
    return ReaderStudy(
        **READ,
        subtypes=("PRCC", "ChRCC"),
        positive="PRCC",
        scale="",
        groups={name: ReaderResults(**READ) for name in groups},
        findings=(finding,),
    )


def test_readers_fill_their_section():
    few = Finding(code="few-readers", severity="warning", message="Two readers.", case_id="")
    filled = filled_readers(reader_study(few), "run-1")
    assert texts_in(filled.blocks) == ["out-of-fold: R1 is right."]
    assert filled.limitations == ("Two readers.",)
    assert filled.evidence["readers"].text == "0 readers on 12 cases, compared with the models"
    contradicts = replace(few, code="reader-contradicts", message="R1 contradicts.")
    filled = filled_readers(reader_study(contradicts, ["out-of-fold"]), "run-1")
    assert texts_in(filled.blocks) == ["R1 contradicts.", "Cross-validation: R1 is right."]


def test_many_sentences_of_readers_are_folded_but_for_the_first_of_this_run():
    run = make_content().main.report.run
    words = [f"R{i} against {name}, nothing is shown." for i in range(8) for name in ("other", run)]
    first, more = first_sentences(words, run)
    assert first == words[1:12:2]
    assert len(more) == 10
    assert not set(first) & set(more)


def test_sentences_of_readers_name_the_test_set_in_words():
    groups = ("out-of-fold", "external-test:TCIA")
    assert with_test_set("out-of-fold: R1 is right.", groups) == "Cross-validation: R1 is right."
    assert with_test_set("external-test:TCIA: R1.", groups) == "External test set TCIA: R1."
    assert with_test_set("R1 is right.", groups) == "R1 is right."


@pytest.mark.parametrize(
    "change",
    [
        lambda i, p: replace(p, group="external-test:A") if p.truth == "PRCC" else p,
        lambda i, p: p if i == 0 else None,
        lambda i, p: p if p.truth == "PRCC" else None,
        lambda i, p: replace(p, probabilities={"PRCC": 0.5, "ChRCC": 0.5}),
        lambda i, p: replace(p, truth=None) if i < 3 else p,
    ],
    ids=["test set of one class", "one case", "one class", "equal probabilities", "some without a label"],
)
def test_awkward_test_sets_still_give_a_page(change):
    """Nothing is divided by zero, nothing is NaN; what cannot be had is said."""
    content = make_content()
    old = content.main.report
    kept = [new for i, p in enumerate(old.predictions) if (new := change(i, p)) is not None]
    facts = RunFacts(**{name: getattr(old, name) for name in RunFacts.__dataclass_fields__})
    report = build_report(facts, kept, content.evaluation)
    page = page_of(replace(content, runs=(replace(content.main, report=report),)))
    assert "out-of-fold cases of every subtype" in html_of_page(page)
    json.dumps(report_json(page, []), allow_nan=False)
