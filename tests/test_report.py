import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nephroscope.clinic.call import decide, forced_call, mean_over_slices
from nephroscope.questions.evaluation.evaluate import RunFacts, build_report
from nephroscope.records import (
    Answer,
    Cohort,
    EvaluationConfig,
    Exclusion,
    Finding,
    Fold,
    OperatingPoint,
    SlicePrediction,
    SliceSpec,
    Split,
    SplitConfig,
    TrainConfig,
)
from nephroscope.report.cohort.characteristics import characteristics_by_subtype
from nephroscope.report.page.drawing import save_figures, svg_of
from nephroscope.report.page.render import render
from nephroscope.report.study.case_cards import case_sections, thumbnails
from nephroscope.report.study.content import ReportContent, RunContent
from nephroscope.report.study.key_result import key_result
from nephroscope.report.study.page import page_figures, page_of, report_json, write_report
from nephroscope.report.study.sections.cohort import exclusion_table, finding_table
from nephroscope.report.study.sections.limitations import limitations
from nephroscope.report.study.sections.methods import methods
from nephroscope.report.study.sections.results import figure_table
from nephroscope.report.study.sections.split import split_table
from one_series import changed, one_series

CONFIG = EvaluationConfig(resamples=100)
POINT = OperatingPoint(threshold=0.5, criterion="fixed", chosen_on="before any data")
DOUBT = Finding(code="native-phase", severity="warning", message="no contrast seen", case_id="case-2")


def hu_of(case_id):
    return [(10 + i, np.full((32, 32), 40 * i, dtype=np.int16)) for i in range(5)]


def make_cohort(subtypes, n, synthetic):
    cases = tuple(
        one_series(
            case_id=f"case-{i}",
            patient_id=f"patient-{i}",
            image=Path("images"),
            format="dicom",
            subtype=subtypes[i % len(subtypes)],
            sex="M" if i % 3 else "F",
            age_years=50.0 + i,
            size_cm=3.0,
            synthetic=synthetic,
        )
        for i in range(n)
    )
    exclusions = (Exclusion(case_id="x", reason="subtype outside the study", subtype="oncocytoma"),)
    return Cohort(subtypes=subtypes, positive=subtypes[0], cases=cases, exclusions=exclusions)


def make_predictions(cohort):
    """Case 0 is badly wrong, case 1 a little, case 2 doubted, the rest right."""
    predictions = []
    for i, case in enumerate(cohort.cases):
        at = cohort.subtypes.index(case.subtype)
        p = np.full(len(cohort.subtypes), 0.1 / (len(cohort.subtypes) - 1))
        p[at] = 0.9
        if i < 2:
            p = (
                np.roll(p, 1)
                if i == 0
                else np.full(len(p), 0.3 / (len(p) - 1)) + np.roll(np.eye(len(p))[at], 1) * 0.4
            )
        rows = [tuple(map(float, p / p.sum()))] * 5
        slices = tuple(SlicePrediction(slice_index=10 + k, probabilities=row) for k, row in enumerate(rows))
        mean, doubts = mean_over_slices(slices), (DOUBT,) if i == 2 else ()
        call, reason = decide(mean, cohort.subtypes, cohort.positive, POINT, 0.1, doubts)
        predictions.append(
            Answer(
                case_id=case.case_id,
                patient_id=case.patient_id,
                probabilities=dict(zip(cohort.subtypes, mean, strict=True)),
                slices=slices,
                forced_call=forced_call(mean, cohort.subtypes, cohort.positive, POINT),
                call=call,
                reason=reason,
                truth=case.subtype,
                group="out-of-fold",
                findings=doubts,
            )
        )
    return predictions


def make_content(subtypes=("PRCC", "ChRCC"), protocol="patient", synthetic=False, converged=True, **more):
    cohort = make_cohort(subtypes, 12, synthetic)
    facts = RunFacts(
        run="run-1",
        model="mobilenet_v2",
        subtypes=subtypes,
        positive=subtypes[0],
        protocol=protocol,
        operating_points=(POINT,),
        cohort_digest="c0",
        run_digest="r0",
        synthetic=synthetic,
        converged=converged,
    )
    names = [c.case_id for c in cohort.cases]
    if protocol == "image":
        names = [f"{name}#{i}" for i in range(10, 15) for name in names]
    fold = Fold(
        index=0,
        train=frozenset(names[:-6]),
        validation=frozenset(names[-6:-3]),
        test=frozenset(names[-3:]),
    )
    epochs = [
        {
            "epoch": e,
            "train_loss": 0.7 / e,
            "validation_loss": 0.6,
            "train_accuracy": 0.5,
            "validation_accuracy": 0.6,
        }
        for e in (1, 2, 3)
    ]
    run = RunContent(
        report=build_report(facts, make_predictions(cohort), CONFIG),
        train=TrainConfig(),
        curves={0: epochs},
        converged={0: converged},
    )
    given = {
        "title": "Study of <tumors>",
        "runs": (run,),
        "cohort": cohort,
        "split": Split(
            protocol=protocol,
            folds=(fold,),
            patient_of={c.case_id: c.patient_id for c in cohort.cases},
            config=SplitConfig(protocol=protocol, folds=1),
        ),
        "slice_counts": {c.case_id: 5 for c in cohort.cases},
        "slices_of": hu_of,
        "spec": SliceSpec(),
        "evaluation": CONFIG,
        "findings": (DOUBT, replace(DOUBT, code="roi-small", severity="refusal", message="ROI too small")),
        "version": "0.1.0",
        "date": "2026-01-01",
    }
    return ReportContent(**given | more)


def written(tmp_path, content):
    page = write_report(tmp_path / "report", content)
    return page.read_text(encoding="utf-8")


def html_of(content):
    """The page without its figures, which are what takes time."""
    return html_of_page(page_of(content))


def html_of_page(page, drawn=None):
    return render(page.page, drawn or {})


def test_the_page_needs_no_network(html):
    addresses = re.findall(r"""(?:src|href|action|data)\s*=\s*["']?([^"'\s>]+)""", html)
    assert addresses
    assert all(a.startswith(("#", "data:image/")) for a in addresses)
    assert re.findall(r"url\((?!#)|@import|<script|<link|<iframe", html) == []


GROUP = "out-of-fold"
FIGURES = [
    *(f"calibration-{GROUP}", f"cases-{GROUP}", f"coverage-{GROUP}", f"decision-{GROUP}"),
    *("flow", "learning", f"roc-{GROUP}", f"subgroups-{GROUP}"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    written(folder, make_content())
    return folder / "report"


@pytest.fixture
def html(report):
    return (report / "index.html").read_text(encoding="utf-8")


def test_what_is_written(report, html):
    assert sorted(p.name for p in report.iterdir()) == [
        *("checklists", "figures", "index.html", "model-card.md", "report.json", "tables")
    ]
    drawn = sorted(p.name for p in (report / "figures").iterdir())
    assert drawn == [f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")]
    assert all((report / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG" for name in FIGURES)
    found = json.loads((report / "report.json").read_text())
    assert set(found["case"]["auc"]) == {"value", "low", "high", "n", "unit", "method"}
    assert "Study of &lt;tumors&gt;" in html
    assert "Research use only. Not a medical device" in html
    assert html.count("<article") == 12
    assert html.count("data:image/jpeg;base64,") == 36
    assert "LEAKY" not in html
    assert "SYNTHETIC" not in html


def test_same_content_same_bytes(html, report, tmp_path):
    drawn = {name: (report / "figures" / f"{name}.svg").read_text() for name in FIGURES}
    page = page_of(make_content())
    assert html_of_page(page, drawn) == html
    save_figures(tmp_path, {name: page_figures(page)[name] for name in ("flow", f"roc-{GROUP}")})
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (report / "figures" / path.name).read_bytes(), path.name


def test_marks_stand_in_header_captions_figures_and_files(tmp_path):
    html = written(tmp_path, make_content(protocol="image", synthetic=True))
    report = tmp_path / "report"
    head = html[: html.index("</header>")]
    blocks = re.findall(r"<caption>(.*?)</caption>", html, re.DOTALL)
    assert len(blocks) >= 8
    found = json.loads((report / "report.json").read_text())
    for mark in ("SYNTHETIC", "LEAKY"):
        assert f"[{mark}]" in head
        assert f'<span class="ribbon">{mark}</span>' in head
        assert all(mark in block for block in blocks)
        for svg in (report / "figures").glob("*.svg"):
            assert mark in svg.read_text()
            assert mark == "LEAKY" or svg.read_text().count(mark) == 1
        for path in (report / "tables").iterdir():
            lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
            assert lines[0][-1] == "mark"
            assert all(mark in line[-1] for line in lines[1:])
        for name in ("model-card.md", "checklists/claim2024.md", "checklists/tripod-ai.csv"):
            assert mark in (report / name).read_text()
        assert found[mark.lower()] is True
    assert all(
        "LEAKY" in e["method"]
        for e in found["probabilities"]["groups"][GROUP]["calibration"]["as it is"].values()
    )


def test_leaky_is_explained():
    content = make_content(protocol="image")
    html = html_of(content)
    assert "slices of one patient are used in both training and testing" in html
    assert "The shortcut probe needs folds by patient" in html
    assert limitations(content)[0].startswith("The split is LEAKY")
    assert dict(methods(content))["Split"].startswith("LEAKY: ")
    assert split_table(content).rows[0][1:] == ("train", "6 / 6 / 27", "6 / 6 / 27", "12 / 12 / 54")


def test_three_subtypes():
    content = make_content(("PRCC", "ChRCC", "ccRCC"))
    html, svg = html_of(content), svg_of(page_of(content).page.figures[f"roc-{GROUP}"](), "roc")
    for subtype in ("PRCC", "ChRCC", "ccRCC"):
        assert f"{subtype} against rest" in svg
        assert f"AUC ({subtype} against the rest)" in html
    assert "AUC, mean over subtypes" in html
    assert "AUC, mean over pairs of subtypes (Hand and Till)" in html
    assert "AUC (PRCC against ccRCC)" in html
    low, high = (round(100 * end) for end in limits_of_first_cell(content))
    assert f"<br>{low} to {high}" in html


def limits_of_first_cell(content):
    """Limits of the first cell of the confusion."""
    cell = content.main.report.groups[0].confusion_shares[0][0]
    return cell.low, cell.high


def test_ids_stand_once_on_the_page_and_every_reference_is_there(html):
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids)) > 100
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', html)) <= set(ids)


def test_worst_mistake_comes_first():
    sections = case_sections(make_content())
    assert [(section.heading, section.n, len(section.cards)) for section in sections] == [
        ("Mistakes, worst first", 2, 2),
        ("Not sure", 1, 1),
        ("Classified correctly, the least sure first", 9, 9),
    ]
    assert [c.prediction.case_id for c in sections[0].cards] == ["case-0", "case-1"]
    assert sections[1].cards[0].prediction.reason == "native-phase: no contrast seen"
    assert sections[0].cards[0].facts == "5 slices · woman · 50 y · 3.0 cm"


def test_a_run_that_did_not_converge_shows_no_numbers():
    content = make_content(converged=False)
    html = html_of(content)
    assert "MobileNetV2 did not converge: it never beat chance on its own training set" in html
    assert "DID NOT CONVERGE" in html
    assert "not available" in html
    assert sorted(page_figures(page_of(content))) == ["flow", "learning"]


def test_key_result_is_a_sentence_with_interval_n_unit_and_method():
    text = key_result(make_content())
    assert text.startswith(
        "In the cross-validation of 12 patients, the network separated PRCC and ChRCC, with an AUC of 0."
    )
    assert "to 97.9 %, 12 cases; Clopper-Pearson, as there are few cases)." in text
    assert text.endswith("a call for 11 of 12.")


def test_undefined_auc_is_said():
    content = make_content()
    run = content.main
    group = run.report.groups[0]
    case = dict(group.case) | {
        "auc": replace(group.case["auc"], value=None, low=None, high=None, method="undefined: x")
    }
    report = replace(run.report, groups=(replace(group, case=case),))
    html = html_of(replace(content, runs=(replace(run, report=report),)))
    assert "no AUC could be computed: x." in html


def test_every_figure_of_the_table_carries_n_unit_and_method():
    content = make_content()
    table = figure_table(content.main.report, content.main.report.groups[0])
    assert [row[0] for row in table.rows][:3] == ["AUC", "Accuracy", "Sensitivity (PRCC)"]
    cells = [cell for row in table.rows for cell in row[1:] if cell != ""]
    assert all(re.fullmatch(r"n = \d+ (image|case)s? · [a-z]", cell.small) for cell in cells)
    assert all(re.fullmatch(r"\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)", cell.text) for cell in cells)
    assert "Clopper-Pearson, as there are few cases, 95 %" in " ".join(table.notes)


def test_tables_of_cohort_exclusions_and_split():
    content = make_content()
    rows = {row[0]: row[1:] for row in characteristics_by_subtype(content.cohort).rows}
    assert rows["Patients"] == ("6", "6", "12", "")
    assert rows["Age, years"][2].small == "56 (53 to 58); n = 12"
    assert rows["Sex, patients"][2] == "8 men, 4 women"
    assert exclusion_table(content).rows == (
        ("subtype outside the study", "oncocytoma", "1"),
        ("roi-small: ROI too small", "", "1"),
    )
    assert split_table(content).rows[2] == ("", "test", "1 / 1 / 5", "2 / 2 / 10", "3 / 3 / 15")


def test_many_reasons_are_folded():
    content = make_content(findings=())
    many = tuple(Exclusion(case_id=f"x{i}", reason=f"reason {i // 2}") for i in range(80))
    rows = exclusion_table(replace(content, cohort=replace(content.cohort, exclusions=many))).rows
    assert len(rows) == 31
    assert rows[-1] == ("and 10 more reasons, see exclusions.csv", "", "20")


def test_findings_are_gathered_by_kind():
    notes = [Finding(code="one-reader", severity="note", message=f"m{i}", case_id=f"c{i}") for i in range(10)]
    content = make_content(findings=(*notes, DOUBT))
    assert finding_table(content).rows == (
        ("warning", "native-phase", "no contrast seen", "case-2"),
        ("note", "one-reader", "m0 (and 9 of the same kind)", "c0, c1, c2, c3, c4, c5, c6, c7 and 2 more"),
    )


def test_methods_say_where_the_threshold_comes_from():
    content = make_content()
    assert "threshold 0.50 (chosen before any data)" in dict(methods(content))["From slices to a case"]
    point = OperatingPoint(threshold=0.4, criterion="youden", chosen_on="8 validation cases of fold 0")
    run = replace(content.main, report=replace(content.main.report, operating_points=(point,)))
    text = dict(methods(replace(content, runs=(run,))))["From slices to a case"]
    assert "threshold 0.40 (chosen by youden on 8 validation cases of fold 0)" in text


def test_limitations_come_from_the_data():
    content = make_content()
    text = " ".join(limitations(content))
    assert "Few patients (6 of PRCC, 6 of ChRCC)" in text
    assert "fewer than 20 patients of a subtype (cross-validation: 6 PRCC, 6 ChRCC)" in text
    assert "All cases come from one site." in text
    assert "Subtypes differ" not in text
    cases = tuple(
        changed(c, source="8-bit L40 W400", sex="M" if c.subtype == "PRCC" else "F")
        for c in content.cohort.cases
    )
    other = replace(content, cohort=replace(content.cohort, cases=cases))
    text = " ".join(limitations(other))
    assert "12 of 12 cases come from 8-bit images" in text
    assert "Subtypes differ in sex (men: 100 % of PRCC, 0 % of ChRCC)" in text


def test_several_runs_are_compared():
    content = make_content()
    other = replace(content.main, report=replace(content.main.report, run="run-2", model="resnet34"))
    page = page_of(replace(content, runs=(content.main, other)))
    html = html_of_page(page)
    assert "All runs, by case" in html
    assert "ResNet-34" in html
    assert len(report_json(page, [])["runs"]) == 2


def test_thumbnails_are_evenly_spaced():
    rows = [(i, np.zeros((64, 64), dtype=np.int16)) for i in range(9)]
    assert [index for index, _ in thumbnails(rows, SliceSpec())] == [1, 4, 7]
    assert [index for index, _ in thumbnails(rows[:2], SliceSpec())] == [0, 1]
    assert thumbnails([], SliceSpec()) == []
