"""The page as a reader meets it: the answer at the top, names kept, small test sets folded, nothing contradictory."""

from dataclasses import replace

import numpy as np
import pytest

from nephroscope.questions.compare.results import FactGap, FactRow, Shortcuts
from nephroscope.records import Estimate, counted_noun
from nephroscope.report.page.names import group_title
from nephroscope.report.study.appraisal import appraise
from nephroscope.report.study.content import Environment
from nephroscope.report.study.evidence import _of_training
from nephroscope.report.study.key_result import key_result, other_sets
from nephroscope.report.study.model_card import _about
from nephroscope.report.study.page import page_of
from nephroscope.report.study.sections.methods import methods, software_text
from nephroscope.report.study.sections.probabilities import rescaling_table
from nephroscope.report.study.sections.shortcuts import filled_shortcuts, shortcut_sentences, shortcut_table
from one_series import changed
from test_report import html_of, html_of_page, make_content
from test_report_words import two_folds

EXTERNAL = "external-test:TCIA"


def with_test_set(content, name=EXTERNAL, n=4):
    """The same run with its first ``n`` cases as a second test set of its own."""
    report = content.main.report
    group = report.groups[0]
    moved = tuple(replace(p, group=name) if i < n else p for i, p in enumerate(report.predictions))
    groups = (group, replace(group, name=name, n_patients=n))
    report = replace(report, groups=groups, predictions=moved)
    return replace(content, runs=(replace(content.main, report=report),))


def test_a_name_given_by_its_owner_keeps_its_letters():
    assert group_title("external-test:TCIA") == "External test set TCIA"
    assert group_title("out-of-fold") == "Cross-validation"
    assert "External test set TCIA, 4 patients" in html_of(with_test_set(make_content()))


def test_counted_noun():
    assert [counted_noun(n, "fold") for n in (0, 1, 5)] == ["0 folds", "1 fold", "5 folds"]


def test_every_test_set_stands_at_the_top():
    content = make_content()
    assert other_sets(content) == ""
    told = other_sets(with_test_set(content))
    assert told.startswith("External test set TCIA: 4 patients, AUC 0.")
    assert told.endswith("cases classified correctly.")
    html = html_of(with_test_set(content))
    assert html.index("External test set TCIA: 4 patients") < html.index('<div class="tiles">')
    assert '<a href="#limits">' in html[: html.index('<div class="tiles">')]
    assert other_sets(with_test_set(make_content(converged=False))) == ""


def test_a_test_set_too_small_for_a_curve_is_folded():
    page = page_of(with_test_set(make_content()))
    html = html_of_page(page)
    assert html.count("No calibration curve: a curve needs 5 patients of each class, found 2 and 2.") == 1
    assert "<summary>Figures of 4 patients</summary>" in html
    assert "No calibration curve: undefined" not in html


def test_subgroups_without_a_figure_are_a_sentence():
    page = page_of(with_test_set(make_content()))
    assert not page.source.appraisal.groups[EXTERNAL].has_subgroups
    html = html_of_page(page)
    assert (
        "External test set TCIA: 4 patients; no subgroup has enough patients of each subtype for a figure"
        in html
    )
    assert "subgroups-external-test-TCIA" in page.tables
    assert "In the external test set TCIA no subgroup has enough patients of each subtype for a figure." in (
        page.limitations
    )


def test_rescalings_stand_in_order_and_in_words():
    table = rescaling_table(appraise(two_folds(make_content())))
    assert [row[0] for row in table.rows] == ["cross-validation, fold 0", "cross-validation, fold 1"] * 2
    assert [row[1] for row in table.rows] == ["platt", "platt", "temperature", "temperature"]
    assert "no interval" in table.notes[-1]


@pytest.mark.parametrize(
    ("exported", "by"),
    [
        ((0, 1), "the mean probability of the networks of 2 folds"),
        ((1,), "the network of one of 2 folds"),
    ],
)
def test_who_classified_held_out_cases_is_named(exported, by):
    """The folds that are exported, in the methods, the checklists and the model card."""
    content = make_content()
    name = "From slices to a case"
    assert "eld-out" not in dict(methods(content))[name]
    held_out = {content.main.report.predictions[0].case_id}
    parts = content.split.folds[0]
    fold = replace(parts, **{n: getattr(parts, n) - held_out for n in ("train", "validation", "test")})
    split = replace(content.split, folds=(fold, replace(fold, index=1)), holdout=frozenset(held_out))
    held = replace(content, split=split, runs=(replace(content.main, exported=exported),))
    assert f"Held-out cases were classified by {by}, as in the exported bundle." in dict(methods(held))[name]
    assert _of_training(held)["ensemble"].text.endswith(f"those of a bundle by {by}")
    of_each = "Out-of-fold figures are those of 2 networks, each on cases it never saw"
    assert f"{of_each}; held-out cases and those of a bundle are classified by {by}" in _about(held)


def test_net_benefit_is_told_where_it_is_drawn():
    content = make_content()
    names = dict(methods(content, appraise(content)))
    assert "Net benefit" in names
    assert "Operating points" not in names
    assert "Net benefit" not in dict(
        methods(make_content(("a", "b", "c")), appraise(make_content(("a", "b", "c"))))
    )


def test_one_thread_is_one_thread():
    content = make_content(environment=Environment(device="cpu", threads=1, precision="float32"))
    assert "trained on cpu, 1 thread, float32." in software_text(content)


def test_a_band_is_drawn_where_classes_do_not_overlap():
    """Every resample has the same curve there; the band comes from the limits of shares and still has a width."""
    content = make_content()
    report = content.main.report
    parted = []
    for p in report.predictions:
        high = 0.9 if p.truth == "PRCC" else 0.1
        parted.append(replace(p, probabilities={"PRCC": high, "ChRCC": 1 - high}))
    clear = replace(content, runs=(replace(content.main, report=replace(report, predictions=tuple(parted))),))
    for one in (content, clear):
        axes = page_of(one).page.figures["roc-out-of-fold"]().axes[0]
        (band,) = [part for part in axes.collections if "band" in str(part.get_label())]
        x, y = band.get_paths()[0].vertices.T
        assert np.ptp(y[np.isclose(x, 0.2)]) > 0.1


@pytest.mark.parametrize(
    ("names", "said"), [(("run",), "This network is not shown"), (("run", "x"), "No candidate is shown")]
)
def test_shortcuts_name_who_was_asked(names, said):
    e = Estimate(value=0.4, low=0.3, high=0.5, n=9, unit="case", method="m")
    fact = FactRow(name="sex", told="sex", known=9, levels=("M (5)",), auc=e, how="")
    found = Shortcuts(
        facts=(fact,),
        follows=tuple(FactGap(name=n, fact="sex", gap=e, one="M", other="F") for n in names),
        words=("In this cohort sex alone gives AUC 0.62: x. No candidate is shown to follow it.",),
    )
    assert said in filled_shortcuts(found, names[0]).limitations[0]
    assert said in shortcut_sentences(found)[0]
    notes = shortcut_table(found, "run").notes
    assert any(note.startswith("An AUC below 0.5") for note in notes)
    above = replace(found, facts=(replace(fact, auc=replace(e, value=0.6)),))
    assert not any(note.startswith("An AUC below") for note in shortcut_table(above, "run").notes)


@pytest.mark.parametrize("more", [{"subtypes": ("a", "b", "c")}, {"protocol": "image"}, {"converged": False}])
def test_other_kinds_of_run_have_a_whole_page(more):
    html = html_of(make_content(**more))
    assert "None" not in html
    assert "{{" not in html
    assert np.isfinite(len(html))


def test_an_interval_that_holds_one_half_is_not_told_as_a_success():
    content = make_content()
    report = content.main.report
    group = report.groups[0]
    assert "the network separated PRCC and ChRCC, with an AUC of" in key_result(content)
    chance = replace(group.case["auc"], value=0.6, low=0.4, high=0.8)
    case = group.case | {"auc": chance}
    report = replace(report, groups=(replace(group, case=case), *report.groups[1:]))
    said = key_result(replace(content, runs=(replace(content.main, report=report),)))
    assert "was not shown to separate PRCC and ChRCC, with an AUC of 0.60" in said
    three = key_result(make_content(("a", "b", "c")))
    assert " a, b and c, with a mean one-against-rest AUC of" in three


def test_gray_images_are_told_in_the_methods():
    content = make_content()
    name = "Slices and intensities"
    assert "8-bit" not in dict(methods(content))[name]
    gray = tuple(changed(c, source="8-bit L40 W400") for c in content.cohort.cases)
    told = dict(methods(replace(content, cohort=replace(content.cohort, cases=gray))))[name]
    assert "12 of 12 cases came as 8-bit images" in told
    assert "Intensities are Hounsfield units behind" not in told


def test_three_narrow_panels_keep_their_curves_free_of_text():
    figure = page_of(make_content(("a", "b", "c"))).page.figures["roc-out-of-fold"]()
    assert [len(axes.texts) for axes in figure.axes] == [0, 0, 0]
    assert all(axes.get_legend() is None for axes in figure.axes)
    assert all("AUC by case" in axes.get_xlabel() for axes in figure.axes)
    assert len(figure.legends) == 1
