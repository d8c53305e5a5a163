"""Every page and every figure where a part is missing: an interval, a value, a curve, a whole class."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from nephroscope.questions.capacity.result import CapacityFindings, CapacityPoint, Trend
from nephroscope.questions.compare.document import Comparison
from nephroscope.questions.evaluation.evaluate import RunFacts, build_report
from nephroscope.questions.readers.reader_study import ReaderStudy
from nephroscope.records import Estimate
from nephroscope.report.annotators.figures import bland_altman_figure, dice_figure
from nephroscope.report.capacity_figures import capacity_figure
from nephroscope.report.page.drawing import svg_of
from nephroscope.report.page.render import render
from nephroscope.report.study.appraisal import RunSource, source_of
from nephroscope.report.study.page import card_of, fill_page, page_figures, page_of, report_json
from nephroscope.report.study.sections.readers import filled_readers
from nephroscope.statistics.resampling import Curve
from test_model_readers import one_study, reader
from test_report import CONFIG, make_content
from test_report_parts import COMPARED
from test_report_words import two_folds

EXTERNAL = "external-test:B"
TWO = ("PRCC", "ChRCC")


def without(found, part):
    """The same record, tuple or mapping with ``part`` (interval, value or curve) missing from all that is in it."""
    if isinstance(found, Estimate):
        gone = {"low": None, "high": None} | ({"value": None} if part == "value" else {})
        return replace(found, **gone, method="undefined: for this test") if part != "curve" else found
    if isinstance(found, Curve):
        if part == "value" or part == "curve":
            nothing = np.zeros(0)
            return replace(found, x=nothing, y=nothing, low=nothing, high=nothing)
        return replace(found, low=found.low * np.nan, high=found.high * np.nan)
    if isinstance(found, Mapping):
        return {name: without(value, part) for name, value in found.items()}
    if isinstance(found, tuple):
        return tuple(without(value, part) for value in found)
    if is_dataclass(found):
        return replace(
            found, **{f.name: without(getattr(found, f.name), part) for f in fields(found) if f.init}
        )
    return found


def drawn(page):
    """Everything that `report` writes of a page; a figure that cannot be drawn fails."""
    figures = {name: svg_of(figure, name) for name, figure in page_figures(page).items()}
    html = render(page.page, figures)
    json.dumps(report_json(page, figures), allow_nan=False)
    assert card_of(page)
    return figures, html


def with_external_set(n_positive, n_negative, p=0.8):
    """A run with a second test set of so few cases, all answered with the same probability of their subtype."""
    content = two_folds(make_content())
    report, by_id = content.main.report, content.cohort.by_id
    asked = [
        one
        for subtype, n in (("PRCC", n_positive), ("ChRCC", n_negative))
        for one in [a for a in report.predictions if a.truth == subtype][:n]
    ]
    answers, cases = [], []
    for number, one in enumerate(asked):
        name = f"external-{number}"
        share = p if one.truth == "PRCC" else 1 - p
        both = {"PRCC": share, "ChRCC": 1 - share}
        answers.append(replace(one, case_id=name, patient_id=name, group=EXTERNAL, probabilities=both))
        cases.append(replace(by_id[one.case_id], case_id=name, patient_id=name, cohort=EXTERNAL))
    facts = RunFacts(**{name: getattr(report, name) for name in RunFacts.__dataclass_fields__})
    whole = build_report(facts, (*report.predictions, *answers), CONFIG)
    cohort = replace(content.cohort, cases=(*content.cohort.cases, *cases))
    return replace(content, cohort=cohort, runs=(replace(content.main, report=whole),))


@pytest.mark.parametrize("counts", [(3, 1), (3, 0)])
def test_a_page_is_written_with_an_external_set_of_a_few_cases(counts):
    figures, html = drawn(page_of(with_external_set(*counts)))
    assert (f"roc-{EXTERNAL.replace(':', '-')}" in figures) == (min(counts) > 0)
    assert "External test set B" in html


@pytest.mark.parametrize("p", [1e-320, 1.0, 0.5])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_probabilities_at_the_end_of_the_scale_are_judged(p):
    page = page_of(with_external_set(3, 0, p))
    for figures in page.source.appraisal.groups[EXTERNAL].calibration.values():
        assert all(e.value is None or np.isfinite(e.value) for e in figures.values())


@pytest.mark.parametrize(
    ("part", "subtypes"),
    [
        *(("interval", TWO), ("value", TWO), ("curve", TWO)),
        *(("interval", (*TWO, "ccRCC")), ("value", (*TWO, "ccRCC"))),
    ],
)
def test_every_figure_of_a_run_is_drawn_without(part, subtypes, tmp_path):
    content = make_content(subtypes)
    source = source_of(content)
    run = replace(content.main, report=without(content.main.report, part))
    compared = Comparison(path=tmp_path, document=without(COMPARED, part))
    page = fill_page(
        RunSource(
            content=replace(content, runs=(run,), roi_agreement=None),
            appraisal=without(source.appraisal, part),
            comparison=compared,
        )
    )
    figures, html = drawn(page)
    assert {"flow", "learning"} <= set(figures)
    assert ("comparison" in figures) == (part != "value")
    assert ">None<" not in html
    assert "None to" not in html


@pytest.mark.parametrize("curves", [{}, {0: []}])
def test_a_page_is_written_without_learning_curves(curves):
    content = make_content()
    figures, _ = drawn(page_of(replace(content, runs=(replace(content.main, curves=curves),))))
    assert "learning" not in figures


@pytest.mark.parametrize("part", ["interval", "value"])
def test_the_figure_of_the_readers_is_drawn_without(part):
    people = [reader("r0", "PPPPPCCCCC", [5, 4, 5, 4, 3, 1, 1, 2, 1, 2]), reader("r1", "PPPPPCCCCP")]
    study: ReaderStudy = one_study(*people, models=[reader("net", "PPPPCCCCCP", model=True)])
    filled = filled_readers(without(study, part), "net")
    drawings = [svg_of(block.draw(), "readers") for block in filled.blocks if block.kind == "figure"]
    assert len(drawings) == (part == "interval")


def estimate(value, low=None, high=None):
    return Estimate(value=value, low=low, high=high, n=9, unit="patient", method="m")


@pytest.mark.parametrize("part", ["interval", "value"])
def test_the_figure_of_capacity_is_drawn_without(part):
    point = CapacityPoint(
        name="resnet34",
        model="resnet34",
        width=1.0,
        trainable=1000,
        total=1010,
        converged=1,
        repeats=1,
        auc=estimate(0.7, 0.6, 0.8),
        auc_sd_of_seeds=None,
        auc_sd_of_seeds_n=0,
        accuracy=estimate(0.7, 0.6, 0.8),
        seconds=1.0,
    )
    trend = Trend(auc_per_tenfold=estimate(0.1), p=None, supported=False, spearman=estimate(0.1))
    found = CapacityFindings(
        group="out-of-fold", n_cases=9, n_patients=9, points=(point,), trend=trend, pairs=(), words=()
    )
    assert svg_of(capacity_figure(without(found, part), synthetic=True), "capacity")


class Report:
    """What the figures of two annotators take of their report; every pooled figure is the same."""

    tolerance_mm, adjudicate_below = 1.0, 0.8

    def __init__(self, n, pooled):
        names = ("dice", "surface_dice", "volume_ml_1", "volume_ml_2", "diameter_mm_1", "diameter_mm_2")
        self.cases = [SimpleNamespace(**dict.fromkeys(names, 0.5 + 0.1 * i)) for i in range(n)]
        self.pooled = defaultdict(lambda: pooled)


@pytest.mark.parametrize("part", ["interval", "value"])
@pytest.mark.parametrize("n", [1, 4])
def test_the_figures_of_annotators_are_drawn_without(part, n):
    report = Report(n, without(estimate(0.7, 0.6, 0.8), part))
    for what, unit in (("volume", "ml"), ("diameter", "mm")):
        assert svg_of(bland_altman_figure(report, what, unit, ()), what)
    assert svg_of(dice_figure(report, ()), "dice")


def test_a_page_may_load_and_run_nothing():
    html = render(page_of(make_content()).page, {})
    (policy,) = [line for line in html.splitlines() if "Content-Security-Policy" in line]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
