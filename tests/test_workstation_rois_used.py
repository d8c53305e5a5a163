"""Whose ROI is used in the browser: the one that slices and check use, by the rule or the decision about a case."""

from dataclasses import replace

import numpy as np
import pytest

from nephroscope import Study
from nephroscope.base.errors import RoiError
from nephroscope.records import RoiRef
from nephroscope.regions.consensus import ExcludedError
from nephroscope.study.cohort_table import load_cohort, save_cohort
from nephroscope.study.snapshot import take_snapshot
from nephroscope.workstation.place import Place
from nephroscope.workstation.reading.make import check_against_study, is_shown
from nephroscope.workstation.reading.refusals import PlanError
from nephroscope.workstation.study.asked import chosen, with_one_roi
from nephroscope.workstation.study.pictures import read
from phantoms import write_nifti
from reading_study import plan
from test_agreement import make_double_study
from test_workstation_whole import predicted, same
from tiny_bundle import make_bundle


@pytest.fixture
def root(tmp_path):
    make_double_study(tmp_path / "study")
    return tmp_path / "study"


def decide(root, **decisions):
    rows = [f"{name},,{decision}" for name, decision in decisions.items()]
    (root / "adjudication.csv").write_text("\n".join(["case_id,dice,decision", *rows, ""]), encoding="utf-8")


def used_by_slices(root, case_id):
    snapshot = take_snapshot(root)
    return snapshot.read_case(next(case for case in snapshot.cases_to_read if case.case_id == case_id))[1]


@pytest.mark.parametrize("decision", ["reader-1", "reader-2", "union"])
def test_the_picture_shows_what_slices_are_cut_from(root, decision):
    decide(root, c03=decision)
    place = Place(root)
    case = place.case("c03")
    drawn = used_by_slices(root, "c03").voxels
    assert np.array_equal(read(chosen(place, case))[1].voxels, drawn)
    alone = [read(chosen(place, case, author))[1].voxels for author in ("reader-1", "reader-2")]
    assert [np.array_equal(one, drawn) for one in alone] == [decision == "reader-1", decision == "reader-2"]


def test_a_decision_counts_as_soon_as_it_is_written_and_as_long_as_it_stands(root):
    place = Place(root)
    for decision, author in (("reader-1", "reader-1"), ("reader-2", "reader-2"), ("", "reader-1")):
        decide(root, c00=decision)
        assert chosen(place, place.case("c00")).authors() == (author,)


def test_the_model_is_asked_about_the_roi_of_the_decision(root, workstation):
    decide(root, c01="reader-2", c02="exclude", c04="union")
    bundle = make_bundle(root.parent / "bundle")
    client = workstation(root).client()
    folder = client.post("/api/folders", {"path": str(bundle)})[1]["folder"]["id"]
    id_ = client.post("/api/bundles", {"folder": folder})[1]["id"]
    cases = {case["case_id"]: case["id"] for case in client.get("/api/cases")[1]["cases"]}
    status, document = client.post(f"/api/cases/{cases['c01']}/predict", {"bundle": id_})
    assert status == 200
    case = Place(root).case("c01")
    theirs = next(roi for roi in case.rois if roi.author == "reader-2")
    assert same(document) == predicted(bundle, case.series[0].image, theirs.path, "c01")
    assert client.get(f"/api/cases/{cases['c01']}/result")[1]["current"] is True
    for case_id, code in (("c02", "excluded"), ("c04", "roi")):
        status, answer = client.post(f"/api/cases/{cases[case_id]}/predict", {"bundle": id_})
        assert (status, answer["error"]["code"]) == (422, code)
    asked = {"bundle": id_, "author": "reader-2"}
    assert client.post(f"/api/cases/{cases['c04']}/predict", asked)[0] == 200


def test_of_two_combined_the_equal_consensus_is_the_file(root):
    Study(root).change("roi", consensus="union")
    place = Place(root)
    with pytest.raises(RoiError, match="choose whose ROI"):
        with_one_roi(chosen(place, place.case("c00")))
    combined, path = used_by_slices(root, "c00"), root / "volumes" / "c00_consensus.nii.gz"
    for voxels, fits in ((combined.voxels, True), (np.roll(combined.voxels, 1, axis=2), False)):
        write_nifti(voxels.astype(np.uint8), path, combined.geometry.affine)
        add_consensus(root, path)
        case = chosen(place, place.case("c00"))
        if fits:
            assert with_one_roi(case).roi.author == "consensus"
            continue
        with pytest.raises(RoiError, match="choose whose ROI"):
            with_one_roi(case)


def add_consensus(root, path):
    study = Study(root)
    cohort = load_cohort(root, study.settings.subtypes, study.settings.positive)
    first = cohort.cases[0]
    kept = tuple(roi for roi in first.rois if roi.author != "consensus")
    drawn = RoiRef(author="consensus", path=path, series=first.series[0].name)
    first = replace(first, rois=(*kept, drawn))
    save_cohort(replace(cohort, cases=(first, *cohort.cases[1:])), root)


def test_an_excluded_case_is_not_asked_about(root):
    decide(root, c00="exclude")
    place = Place(root)
    with pytest.raises(ExcludedError):
        with_one_roi(chosen(place, place.case("c00")))


def test_readers_see_the_roi_of_the_decision(root):
    decide(root, c01="reader-2", c02="exclude", c04="union")
    checked = check_against_study(root, plan(cases=("c00", "c01")))
    assert [case.roi.author for case in checked.chosen] == ["reader-1", "reader-2"]
    assert is_shown(Place(root).used(Place(root).case("c01")), checked.protocol)
    for case_id, expected in (
        ("c02", "a case that the annotators keep"),
        ("c04", "the ROI of one annotator"),
    ):
        with pytest.raises(PlanError) as caught:
            check_against_study(root, plan(cases=("c00", case_id)))
        assert caught.value.expected == expected
    checked = check_against_study(root, plan(cases=("c00", "c04"), outline=False))
    assert [case.case_id for case in checked.protocol.cases] == ["c00", "c04"]
