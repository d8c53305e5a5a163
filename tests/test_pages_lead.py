"""What a page shows first, what it folds away, and what it keeps for a paper."""

import pickle
import re
import tomllib
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from nephroscope.questions.compare.document import Comparison, KeptAnswer
from nephroscope.records import CTVolume, Estimate, Exclusion, RoiMask
from nephroscope.records.cohort import Reason
from nephroscope.records.report_config import ReportConfig
from nephroscope.records.settings import Settings
from nephroscope.report.page.drawing import save_paper_figures
from nephroscope.report.page.names import as_written, network_name, subtype_name
from nephroscope.report.page.section import every_block, texts_in
from nephroscope.report.study.appraisal import source_of
from nephroscope.report.study.case_cards import case_sections, worst_cards
from nephroscope.report.study.content import FullSlice, Saliency, SaliencyMap
from nephroscope.report.study.full_slices import SliceTaker, with_full_slices
from nephroscope.report.study.page import SECTIONS, fill_page, page_of
from nephroscope.report.study.sections.cases import NOT_SHOWN
from nephroscope.report.study.sections.comparison import filled_comparison, roc_of_networks
from nephroscope.study.folder import settings_as_toml
from small_study import geometry, read_disc
from test_report import html_of, html_of_page, make_content
from test_report_parts import COMPARED, candidate

ADDRESS = "data:image/jpeg;base64,AAAA"


def words(html):
    text = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]+>", " ", html, flags=re.DOTALL)
    return len(unescape(text).split())


def test_the_page_leads_with_what_matters_and_folds_the_rest(tmp_path):
    compared = Comparison(path=tmp_path / "comparison" / "comparison.json", document=COMPARED)
    content = make_content(byline="A. Radiologist · Somewhere")
    page = fill_page(replace(source_of(content), comparison=compared))
    html = html_of_page(page, {name: f"<i>{name}</i>" for name in page.page.figures})
    first_fold = html.index('<details class="part">')
    places = [
        *(html.index("A. Radiologist"), html.index('class="key"'), html.index("<i>roc-out-of-fold</i>")),
        *(html.index("<i>cases-out-of-fold</i>"), html.index("The answer."), html.index("<i>comparison</i>")),
        *(html.index("<article"), html.index("limitations that matter most"), first_fold),
    ]
    assert places == sorted(places)
    assert html.count('<details class="part">') == len(SECTIONS)
    unfolded = html[:first_fold]
    assert unfolded.count("<article") == 3
    assert words(unfolded) < words(html) / 3
    for section in SECTIONS:
        assert f'id="{section.id}"' in html[first_fold:]


def test_the_most_serious_limitations_come_first():
    page = page_of(make_content(protocol="image", synthetic=True))
    top = html_of_page(page).partition("limitations that matter most")[2].partition("</ul>")[0]
    items = re.findall("<li>(.*?)</li>", top)
    assert len(items) == 3
    assert items[0].startswith("The split is LEAKY")
    assert "SYNTHETIC" in items[1]


def test_the_worst_cases_are_mistakes_first():
    cards = worst_cards(case_sections(make_content()))
    assert [card.verdict for card in cards] == ["wrong", "wrong", "unsure"]


def test_a_card_has_a_whole_slice_that_enlarges():
    full = {"case-0": FullSlice(address=ADDRESS, outline="data:image/png;base64,BBBB", slice_index=7)}
    html = html_of(make_content(full_slices=full))
    assert html.count(ADDRESS) == 1
    assert 'id="zoom-case-0"' in html
    assert 'id="outlines"' in html
    assert "<script" not in html
    assert 'id="outlines"' not in html_of(make_content())


def test_whole_slices_are_taken_from_the_cases_that_can_be_read():
    content = make_content()

    def read(case):
        if case.case_id != "case-0":
            raise OSError
        volume, roi = read_disc(replace(case, case_id="c00"))
        assert isinstance(volume, CTVolume)
        assert isinstance(roi, RoiMask)
        return volume, roi

    found = with_full_slices(content, SliceTaker(read=read))
    assert list(found.full_slices) == ["case-0"]
    assert found.full_slices["case-0"].slice_index == 1
    assert found.full_slices["case-0"].outline.startswith("data:image/png;base64,")
    assert geometry().shape == (6, 24, 24)


@pytest.mark.parametrize(("random", "shown"), [(0.1, True), (0.8, False)])
def test_saliency_that_fails_its_check_is_not_shown(random, shown):
    figures = {
        name: Estimate(value=x, low=x - 0.05, high=x + 0.05, n=9, unit="patient", method="m")
        for name, x in (("random_size", random), ("mirrored", 0.9))
    }
    maps = {"case-0": (SaliencyMap(slice_index=12, address=ADDRESS),)}
    html = html_of(make_content(saliency=Saliency(maps=maps, text="How.", check="What.", figures=figures)))
    assert (ADDRESS in html) == shown
    assert (NOT_SHOWN in html) != shown
    assert "What." in html


@pytest.mark.parametrize(("inches", "widths"), [(3.9, (85, 174)), (5.6, (85, 174)), (8.6, (174,))])
def test_figures_for_a_paper_have_the_widths_of_columns_and_readable_text(tmp_path, inches, widths):
    figure = Figure(figsize=(inches, 3), layout="constrained")
    figure.subplots().set_title("Title", fontsize=10)
    save_paper_figures(tmp_path, {"one": figure})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{mm}mm" for mm in widths)
    for mm in widths:
        folder = tmp_path / f"{mm}mm"
        assert sorted(path.name for path in folder.iterdir()) == ["one.pdf", "one.png", "one.svg"]
        with Image.open(folder / "one.png") as picture:
            assert picture.width == pytest.approx(mm / 25.4 * 600, abs=1)
        text = (folder / "one.svg").read_text()
        assert float(re.search(r'width="([\d.]+)pt"', text)[1]) == pytest.approx(mm / 25.4 * 72, abs=0.1)
        sizes = [float(size) for size in re.findall(r"font(?:-size)?:[^;\"]*?([\d.]+)px", text)]
        assert sizes
        assert all(6 <= size <= 9.01 for size in sizes)
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", (folder / "one.pdf").read_bytes())
        assert float(box[1]) == pytest.approx(mm / 25.4 * 72, abs=0.1)


def test_all_networks_are_in_one_roc():
    rows = (candidate("one", "network", 1, 0.9), candidate("two", "network", 2, 0.8))
    rows += (candidate("best", "baseline", 3, 0.7), candidate("poor", "baseline", 4, 0.6))
    document = replace(
        COMPARED, groups={"out-of-fold": replace(COMPARED.groups["out-of-fold"], candidates=rows)}
    )
    rng = np.random.default_rng(0)
    answers = [
        KeptAnswer(
            name=row.name,
            kind=row.kind,
            case_id=f"c{i}",
            truth=("PRCC", "ChRCC")[i % 2],
            group="out-of-fold",
            call="PRCC",
            p={"PRCC": p, "ChRCC": 1 - p},
        )
        for row in rows
        for i, p in enumerate(rng.uniform(size=8).tolist())
    ]
    (axes,) = roc_of_networks(document, answers).axes
    labels = [line.get_label().split()[0] for line in axes.lines[1:]]
    assert labels == ["one", "two", "best"]


def test_a_damaged_table_of_answers_costs_one_figure(tmp_path):
    folder = tmp_path / "comparison"
    folder.mkdir()
    (folder / "predictions.csv").write_text("name,kind\n1,2\n")
    found = filled_comparison(Comparison(path=folder / "comparison.json", document=COMPARED), "run-1")
    figures = [block.name for block in every_block(found.top) if block.kind == "figure"]
    assert figures == ["comparison"]
    assert any("predictions.csv" in text for text in texts_in(found.top))


def test_names_are_those_that_people_write():
    assert network_name("shufflenet_v2_x1_0") == "ShuffleNetV2"
    assert network_name("my-run") == "my-run"
    assert subtype_name("clear_cell") == "clear cell"
    text = "mobilenet_v2 and resnet34-2, not size_px: clear_cell, my_resnet34"
    assert as_written(text) == "MobileNetV2 and ResNet-34-2, not size_px: clear cell, my_resnet34"
    document = replace(COMPARED, groups={"out-of-fold": renamed(COMPARED.groups["out-of-fold"])})
    page = fill_page(
        replace(source_of(make_content()), comparison=Comparison(path=Path("c/c.json"), document=document))
    )
    html = html_of_page(page)
    assert "MobileNetV2, radiomics" in html
    assert page.tables["pairs"].rows[1][0] == "mobilenet_v2, radiomics"


def renamed(table):
    """With the name of a network in place of that of the run."""
    candidates = tuple(
        replace(row, name="mobilenet_v2") if row.kind == "network" else row for row in table.candidates
    )
    pairs = tuple(replace(p, one="mobilenet_v2") if p.one == "run-1" else p for p in table.pairwise)
    return replace(table, candidates=candidates, pairwise=pairs)


def test_who_made_the_study_is_in_study_toml():
    made = ReportConfig(title="T", authors=("A", "B"), site="S")
    settings = Settings(subtypes=("PRCC", "ChRCC"), positive="PRCC", report=made)
    assert tomllib.loads(settings_as_toml(settings))["report"] == {
        "title": "T",
        "authors": ["A", "B"],
        "site": "S",
    }
    assert made.byline == "A, B · S"
    assert ReportConfig().byline == ""


def test_an_exclusion_keeps_the_kind_of_its_reason():
    reason = pickle.loads(pickle.dumps(Reason("no ROI: none", "no-roi")))  # noqa: S301
    assert Exclusion(case_id="a", reason=reason).kind == "no-roi"
    assert Exclusion(case_id="a", reason="no ROI: none").kind == ""
