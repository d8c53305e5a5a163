"""Checklists are complete, answered from evidence alone, and never more than the data show."""

import csv
from dataclasses import replace

import pytest

from nephroscope.report.checklists.claim import CLAIM
from nephroscope.report.checklists.evidence import Evidence
from nephroscope.report.checklists.items import Checklist, Item, answer, counts
from nephroscope.report.checklists.metrics import METRICS, WEIGHTS
from nephroscope.report.checklists.tripod import TRIPOD
from nephroscope.report.checklists.write import answer_all, save_checklists
from nephroscope.report.page_parts import page_parts
from test_report import make_content

PLACES = {
    *("#data", "#split", "#learning", "#results", "#calibration", "#subgroups", "#shortcuts", "#comparison"),
    *("#readers", "#cases", "#methods", "#limits"),
}


def numbers(checklist):
    return [item.number for items in checklist.sections.values() for item in items]


def answers_of(content, key="claim2024"):
    return {a.number: a for a in page_parts(content).checklists[key]}


def test_the_lists_are_complete():
    """CLAIM 2024 has 44 items, TRIPOD+AI 27 with 52 parts, METRICS 30 whose weights sum to 1."""
    assert numbers(CLAIM) == [str(n) for n in range(1, 45)]
    tripod = numbers(TRIPOD)
    assert len(tripod) == len(set(tripod)) == 52
    assert list(dict.fromkeys(n.rstrip("abcdefg") for n in tripod)) == [str(n) for n in range(1, 28)]
    assert numbers(METRICS) == [str(n) for n in range(1, 31)]
    assert len(METRICS.sections) == 9
    assert sum(WEIGHTS) == pytest.approx(1.0, abs=5e-4)


def test_without_evidence_everything_is_for_the_authors():
    for key, answers in answer_all({}).items():
        found = counts(answers)
        assert found["answered"] == found["in part"] == 0, key


def test_states():
    items = (
        Item("1", "a", "x"),
        Item("2", "b", "x+y", "y"),
        Item("3", "c", "z", "run it"),
        Item("4", "d", "-"),
    )
    checklist = Checklist(key="k", name="K", source="s", sections={"S": (*items, Item("5", "e", "z?"))})
    found = answer(checklist, {"x": Evidence(text="seen", where="#data; #data")})
    assert [a.state for a in found] == [
        "answered",
        "in part",
        "for the authors",
        "not applicable",
        "not applicable",
    ]
    assert [a.authors for a in found] == ["", "y", "run it", "", ""]
    assert found[0].where == "#data"
    rest = answer(checklist, {"x": Evidence(text="seen", where="#data", rest="say who")})
    assert (rest[0].state, rest[0].authors) == ("in part", "say who")


def test_an_external_test_set_answers_its_item_and_nothing_else_does():
    content = make_content()
    item = answers_of(content)["33"]
    assert (item.state, item.evidence) == ("for the authors", "")
    assert item.authors == "there is no external test set: say why"
    report = content.main.report
    group = replace(report.groups[0], name="external-test:TCIA")
    moved = tuple(replace(p, group=group.name) for p in report.predictions)
    report = replace(report, groups=(group,), predictions=moved)
    other = replace(content, runs=(replace(content.main, report=report),))
    item = answers_of(other)["33"]
    assert item.state == "answered"
    assert item.evidence.startswith("external test set TCIA, 12 patients: AUC 0.")


def test_a_leaky_split_is_never_simply_answered():
    item = answers_of(make_content(protocol="image"))["20"]
    assert item.evidence == "LEAKY: by image, patients stand in several parts"
    assert (item.state, item.authors) == ("in part", "justify a division below the patient")
    assert answers_of(make_content())["20"].state == "answered"


def test_a_run_that_did_not_converge_has_no_performance():
    found = answers_of(make_content(converged=False))
    assert [found[n].state for n in ("37", "38", "39")] == ["for the authors"] * 3


def test_every_pointer_points(tmp_path):
    """Anchors are on the page, files are written."""
    page = page_parts(make_content())
    for answers in page.checklists.values():
        for a in answers:
            for place in filter(None, a.where.split("; ")):
                known = (
                    place in PLACES
                    or place.split("/")[0] in ("tables", "figures", "..")
                    or place.endswith((".json", ".md"))
                )
                assert known, place
                if place.startswith("tables/") and "*" not in place:
                    name = place.removeprefix("tables/").removesuffix(".csv")
                    assert name in page.tables or name == "figures", place


def test_files(tmp_path):
    content = make_content(synthetic=True)
    save_checklists(tmp_path, page_parts(content).checklists, content.marks)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *(
            "claim2024.csv",
            "claim2024.md",
            "metrics2024.csv",
            "metrics2024.md",
            "tripod-ai.csv",
            "tripod-ai.md",
        )
    ]
    rows = list(csv.DictReader((tmp_path / "claim2024.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 44
    assert rows[19]["topic"] == "level at which parts are disjoint"
    assert rows[19]["evidence"] == "by patient"
    assert {row["mark"] for row in rows} == {"SYNTHETIC"}
    text = (tmp_path / "claim2024.md").read_text(encoding="utf-8")
    assert text.startswith("# CLAIM 2024 · SYNTHETIC\n")
    assert "doi 10.1148/ryai.240300" in text
