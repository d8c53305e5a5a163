"""What the page says against its own result, and that nothing of an earlier page stays beside it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nephroscope.base.files import save_json
from nephroscope.records import Estimate, warning
from nephroscope.report.study.appraisal import appraise
from nephroscope.report.study.content import Saliency, SaliencyMap
from nephroscope.report.study.page import remove_leftovers, write_report
from nephroscope.report.study.saliency import check_sentences, saliency_limitations
from nephroscope.report.study.sections.limitations import limitations
from nephroscope.report.study.sections.probabilities import coverage_table
from nephroscope.statistics.metrics import auc
from nephroscope.study.roi_warnings import roi_warnings
from small_study import content_of
from test_report import make_content
from test_study import make_study

CHOSEN = "This run was, or may have been, chosen from "


def chosen(content):
    return [text for text in limitations(content) if text.startswith(CHOSEN)]


def add_run(folder, content, name, cohort=None, leaky=False):
    digests = {"cohort": cohort or content.cohort.label_digest, "slices": "s0"}
    fold = {"index": 0, "converged": True, "best": None, "seconds": 1.0}
    made = {"format": 1, "model": "resnet34", "converged": True, "digests": digests, "leaky": leaky}
    save_json(folder / name / "run.json", made | {"folds": [fold]})


def test_a_run_that_may_have_been_chosen_says_so(tmp_path):
    """Other runs, candidates of a comparison and trainings of capacity on the same cases count; no others do."""
    content = replace(make_content(), study=tmp_path)
    own = content.main.report.run
    assert chosen(content) == []
    add_run(tmp_path / "runs", content, own)
    add_run(tmp_path / "runs", content, "of-other-cases", cohort="other")
    add_run(tmp_path / "runs", content, "by-image", leaky=True)
    (tmp_path / "runs" / "interrupted").mkdir()
    assert chosen(content) == []

    add_run(tmp_path / "runs", content, "second")
    (text,) = chosen(content)
    assert text.startswith(f"{CHOSEN}2 models that were tested on the same cases. ")

    rows = [{"name": name} for name in (own, "second", "clinical", "stack")]
    made_from = {"cohort.csv": content.cohort.digest}
    save_json(
        tmp_path / "comparison" / "comparison.json", {"format": 1, "made_from": made_from, "candidates": rows}
    )
    add_run(tmp_path / "capacity" / "runs", content, "mobilenet_v2-0.5-seed0-abc")
    (text,) = chosen(content)
    assert text.startswith(
        f"{CHOSEN}5 models that were tested on the same cases (2 runs, 2 other candidates of `nephroscope compare`, "
        "1 training of `nephroscope capacity`). "
    )


def test_a_comparison_of_other_cases_does_not_count(tmp_path):
    content = replace(make_content(), study=tmp_path)
    save_json(
        tmp_path / "comparison" / "comparison.json",
        {"format": 1, "made_from": {"cohort.csv": "other"}, "candidates": [{"name": "clinical"}]},
    )
    assert chosen(content) == []


@pytest.mark.parametrize(("confidence", "told"), [(0.95, False), (0.9, True)])
def test_a_gap_of_a_subgroup_is_told_at_the_level_of_the_study(confidence, told):
    """Holm's p of 0.07: below 0.10, not below 0.05."""
    content = make_content()
    content = replace(content, evaluation=replace(content.evaluation, confidence=confidence))
    found = appraise(content)
    (group,) = found.groups.values()
    gap = Estimate(value=-0.3, low=None, high=None, n=12, unit="case", method="made for a test")
    first = replace(group.subgroups[0], gaps={"auc": gap}, p=0.07, p_holm=0.07)
    found = replace(found, groups={group.name: replace(group, subgroups=(first,))})
    assert any("differs from all other cases" in text for text in limitations(content, found)) == told


def test_few_patients_name_the_confidence_of_the_study():
    content = make_content()
    content = replace(content, evaluation=replace(content.evaluation, confidence=0.9))
    few = [text for text in limitations(content) if "patient bootstrap is itself too narrow" in text]
    assert few
    assert all("a 90 % interval" in text and "95 %" not in text for text in few)


def test_coverage_at_the_margin_is_not_that_of_the_tile():
    (group,) = appraise(make_content()).groups.values()
    assert any(
        note.startswith("These two rows count only cases within the margin")
        for note in coverage_table(group).notes
    )


def test_maps_without_figures_are_not_called_checked():
    maps = {"case-0": (SaliencyMap(slice_index=10, address="data:,"),)}
    content = replace(make_content(), saliency=Saliency(maps=maps, text="", check=""))
    (text,) = saliency_limitations(content)
    assert "Whether they depend on the weights could not be checked." in text
    assert check_sentences({}) == "Whether the maps depend on the weights was not checked."


def test_an_earlier_report_leaves_nothing_but_the_users_files(tmp_path):
    page = write_report(tmp_path, make_content())
    made = content_of(tmp_path / "report.json")
    made["figures"] += ["old-curve", "../index"]
    made["tables"]["old-table"] = {}
    (tmp_path / "report.json").write_text(json.dumps(made), encoding="utf-8")
    for name in ("figures/old-curve.svg", "figures/old-curve.png", "tables/old-table.csv", "index.svg"):
        (tmp_path / name).write_text("old", encoding="utf-8")
    own = [tmp_path / "figures" / "mine.png", tmp_path / "tables" / "mine.csv", tmp_path / "notes.md"]
    for path in own:
        path.write_text("mine", encoding="utf-8")

    gone = remove_leftovers(
        tmp_path, {"figures": set(made["figures"]) - {"old-curve", "../index"}, "tables": made["tables"]}
    )
    assert [path.name for path in gone] == ["old-curve.svg", "old-curve.png"]
    assert page.is_file()
    assert (tmp_path / "index.svg").is_file()
    write_report(tmp_path, make_content())
    assert not (tmp_path / "tables" / "old-table.csv").exists()
    assert (tmp_path / "tables" / "figures.csv").is_file()
    assert all(path.read_text(encoding="utf-8") == "mine" for path in own)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"format": 99}', '{"format": 1, "figures": 3, "tables": [4]}']
)
def test_a_report_json_that_is_not_ours_deletes_nothing(tmp_path, content):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "roc.svg").write_text("x", encoding="utf-8")
    (tmp_path / "report.json").write_text(content, encoding="utf-8")
    assert remove_leftovers(tmp_path, {"figures": (), "tables": ()}) == []
    assert (tmp_path / "figures" / "roc.svg").is_file()


def test_regions_that_check_doubts_are_counted_and_the_auc_without_them_is_given():
    content = make_content()
    predictions = content.main.report.predictions
    doubted = [predictions[0].case_id, predictions[1].case_id]
    findings = (
        warning("roi-gap", "slices are missing", case_id=doubted[0]),
        warning("roi-parts", "two parts", case_id=doubted[0]),
        warning("roi-gap", "slices are missing", case_id=doubted[1]),
    )
    content = replace(content, roi_warnings=findings)
    found = appraise(content)
    (group,) = found.groups.values()
    rest = [p for p in predictions if p.case_id not in doubted]
    p = np.array([one.probabilities["PRCC"] for one in rest])
    assert group.undoubted.value == auc(p, np.array([one.truth == "PRCC" for one in rest]))
    assert group.undoubted.n == len(rest)
    (text,) = [t for t in limitations(content, found) if t.startswith("`check` doubts")]
    assert f"2 of {len(predictions)} cases" in text
    assert "roi-gap 2, roi-parts 1" in text
    nothing = replace(content, roi_warnings=())
    assert [g.undoubted for g in appraise(nothing).groups.values()] == [None]
    assert not any("check` " in t for t in limitations(nothing))


def test_what_check_doubted_is_kept_until_an_roi_changes(tmp_path):
    study = make_study(tmp_path / "study")
    study.check()
    kept = roi_warnings(study.snapshot).load()
    assert kept is not None
    assert {f.code[:4] for f in kept.findings} <= {"roi-"}
    study.change("slices", size_px=64)
    assert roi_warnings(study.snapshot).load() is not None
    table = study.folder.root / "rois.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("c00_seg", "c01_seg"), encoding="utf-8")
    assert roi_warnings(type(study)(study.folder.root).snapshot).load() is None
