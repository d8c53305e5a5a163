"""Checklists are complete, answered from evidence alone, and never more than the data show."""

import csv
from dataclasses import replace

from nephroscope.report.checklists.checklist import Checklist, Item, answer, counts, save_answers
from nephroscope.report.checklists.claim2024 import CLAIM
from nephroscope.report.checklists.metrics2024 import METRICS
from nephroscope.report.checklists.tripod_ai import TRIPOD
from nephroscope.report.page.section import Evidence
from nephroscope.report.study.page import page_of, write_report
from nephroscope.report.study.sections.checklists import LISTS
from one_series import changed
from test_report import make_content

PLACES = {
    *("#data", "#split", "#learning", "#results", "#calibration", "#subgroups", "#shortcuts", "#comparison"),
    *("#readers", "#cases", "#methods", "#limits"),
}


def numbers(checklist):
    return [item.number for items in checklist.sections.values() for item in items]


def answers_of(content, key="claim2024"):
    return {a.number: a for a in page_of(content).checklists[key]}


def test_the_lists_are_complete():
    """CLAIM 2024 has 44 items, TRIPOD+AI 27 with 52 parts, METRICS 30 in 9 categories."""
    assert numbers(CLAIM) == [str(n) for n in range(1, 45)]
    tripod = numbers(TRIPOD)
    assert len(tripod) == len(set(tripod)) == 52
    assert list(dict.fromkeys(n.rstrip("abcdefg") for n in tripod)) == [str(n) for n in range(1, 28)]
    assert numbers(METRICS) == [str(n) for n in range(1, 31)]
    assert len(METRICS.sections) == 9


def test_without_evidence_everything_is_for_the_authors():
    for checklist in LISTS:
        found = counts(answer(checklist, {}))
        assert found["answered"] == found["in part"] == 0, checklist.key


def test_states():
    items = (
        Item("1", "a", "x"),
        Item("2", "b", "x+y", "y"),
        Item("3", "c", "z", "run it"),
        Item("4", "d", "?z", "whether"),
    )
    checklist = Checklist(key="k", name="K", source="s", sections={"S": (*items, Item("5", "e", "z?"))})
    found = answer(checklist, {"x": Evidence("seen", "#data; #data")})
    assert [a.state for a in found] == [
        "answered",
        "in part",
        "for the authors",
        "not applicable",
        "not applicable",
    ]
    assert [a.authors for a in found] == ["", "y", "run it", "", ""]
    assert found[0].where == "#data"
    left = Checklist(key="k", name="K", source="s", sections={"S": (Item("1", "a", "x", left="why"),)})
    one = answer(left, {"x": Evidence("seen", "#data")})[0]
    assert (one.state, one.authors) == ("in part", "why")
    assert answer(checklist, {"z": Evidence("z", "#data")})[3].state == "for the authors"
    rest = answer(checklist, {"x": Evidence("seen", "#data", "say who")})
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
    assert (item.state, item.authors) == (
        "in part",
        "in what way it is external: its sites also gave cases to development",
    )
    assert any("does not test the model at a new hospital" in text for text in page_of(other).limitations)
    away = tuple(replace(c, site_id="elsewhere", cohort=group.name) for c in other.cohort.cases)
    other = replace(other, cohort=replace(other.cohort, cases=away))
    item = answers_of(other)["33"]
    assert item.state == "answered"
    assert item.evidence.startswith("external test set TCIA, 12 patients: AUC 0.")
    assert not any("does not test the model at a new hospital" in text for text in page_of(other).limitations)


def test_cross_validation_alone_is_no_internal_test_and_no_updating():
    """METRICS 26 and TRIPOD+AI 12f and 24 need patients who were held out of all folds."""
    content = make_content()
    assert {p.group for p in content.main.report.predictions} == {"out-of-fold"}
    assert answers_of(content, "metrics2024")["26"].state == "for the authors"
    tripod = answers_of(content, "tripod-ai")
    assert {tripod[n].state for n in ("12f", "24")} == {"for the authors"}
    report = content.main.report
    moved = tuple(replace(p, group="internal-test") for p in report.predictions)
    groups = (replace(report.groups[0], name="internal-test"),)
    report = replace(report, groups=groups, predictions=moved)
    found = answers_of(replace(content, runs=(replace(content.main, report=report),)), "metrics2024")["26"]
    assert found.state == "answered"
    assert found.evidence.startswith("internal test set, 12 patients")


def test_a_leaky_split_is_never_simply_answered():
    item = answers_of(make_content(protocol="image"))["20"]
    assert item.evidence == "LEAKY: by image, patients are in several parts"
    assert (item.state, item.authors) == ("in part", "justify a division below the patient")
    assert answers_of(make_content())["20"].state == "answered"
    found = answers_of(make_content(protocol="image"))
    for number in ("26", "32", "37", "38"):
        assert found[number].state == "in part", number
        assert "train" in found[number].authors


def test_what_no_page_can_show_is_left_to_the_authors():
    """Nobody's qualification, sharing or reasons stand in a study folder; a near answer is no answer."""
    claim = answers_of(make_content())
    assert {claim[n].state for n in ("16", "17", "43")} == {"for the authors"}
    assert claim["22"].state == "in part"
    metrics = answers_of(make_content(), "metrics2024")
    assert {metrics[n].state for n in ("2", "3", "9", "17", "24", "25", "30")} == {"for the authors"}
    tripod = answers_of(make_content(), "tripod-ai")
    assert {tripod[n].state for n in ("12d", "18f", "20c", "22", "23b")} == {"for the authors"}
    assert {tripod[n].state for n in ("7", "9a", "12c", "15")} == {"in part"}


def test_an_empty_list_of_exclusions_is_no_answer():
    content = make_content()
    content = replace(content, cohort=replace(content.cohort, exclusions=()))
    found = answers_of(content)
    assert (found["8"].state, found["35"].state) == ("for the authors", "in part")
    assert found["35"].authors == "who was excluded before the tables of the study were made"


def test_development_and_evaluation_items_are_marked():
    """The column D, E, D;E of the published table: Collins et al., BMJ 2024;385:e078378, table 2."""
    topics = {i.number: i.topic for items in TRIPOD.sections.values() for i in items}
    assert [n for n, topic in topics.items() if topic.endswith("(E)")] == ["12f", "12g", "20c", "24"]
    marked = [n for n, topic in topics.items() if topic.endswith("(D)")]
    assert marked == ["9a", "12a", "12b", "12c", "15", "22", "27a", "27b"]


def test_unknown_phases_and_makers_answer_nothing_about_acquisition():
    content = make_content()
    told = tuple(changed(c, phase="excretory") for c in content.cohort.cases)
    found = answers_of(replace(content, cohort=replace(content.cohort, cases=told)))
    assert found["13"].state == "in part"
    unknown = tuple(changed(c, phase="unknown") for c in content.cohort.cases)
    found = answers_of(replace(content, cohort=replace(content.cohort, cases=unknown), scans={}))
    assert found["13"].state == "for the authors"


def test_mistakes_and_not_sure_are_told_apart():
    content = make_content()
    known = content.main.report.predictions
    wrong = sum(p.call not in (None, p.truth) for p in known)
    unsure = sum(p.call is None for p in known)
    noun = "mistake" if wrong == 1 else "mistakes"
    assert answers_of(content)["39"].evidence == f"{wrong} {noun} and {unsure} “not sure”, each with slices"


def test_a_run_that_did_not_converge_has_no_performance():
    found = answers_of(make_content(converged=False))
    assert [found[n].state for n in ("37", "38", "39")] == ["for the authors"] * 3


def test_every_pointer_points(tmp_path):
    """Anchors are on the page, files are written."""
    page = page_of(make_content())
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


def test_every_pointer_is_there_when_the_page_is_written(tmp_path):
    folder = tmp_path / "report"
    html = write_report(folder, make_content()).read_text(encoding="utf-8")
    for path in (folder / "checklists").glob("*.csv"):
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            for place in filter(None, row["where"].split("; ")):
                there = f'id="{place[1:]}"' in html if place.startswith("#") else any(folder.glob(place))
                assert there, f"{path.name} {row['number']}: {place}"


def test_files(tmp_path):
    content = make_content(synthetic=True)
    page = page_of(content)
    for checklist in LISTS:
        save_answers(tmp_path, checklist, page.checklists[checklist.key], content.marks)
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
