"""The whole way on a few phantoms: DICOM export to report, bundle and prediction, in about half a minute."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nephroscope import Study
from nephroscope.base.documents import as_plain, from_plain
from nephroscope.cli.demo import DEMO_TRAINING, DemoPlan, run_demo, shuffle_labels
from nephroscope.clinic.bundle_file import BundleFile
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.imaging.read import read_case
from nephroscope.workstation import looked
from nephroscope.workstation.answers import NotFoundError
from nephroscope.workstation.place import Place
from one_series import changed

PLAN = DemoPlan(
    n_cases=12,
    seed=3,
    holdout=0.4,
    validation=0.25,
    training=replace(DEMO_TRAINING, epochs=1, slices_per_case=2),
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("demo") / "study", PLAN)


def test_demo_gives_everything(demo):
    printed = as_plain(demo)
    assert json.loads(json.dumps(printed)) == printed
    for path in (demo.study, demo.report, demo.bundle):
        assert Path(path).exists()
    assert printed["case"]["auc"].keys() == {"value", "low", "high", "n", "unit", "method"}
    assert demo.case["auc"].unit == "case"


def test_clinic_says_what_evaluation_said(demo):
    """The DICOM files through the bundle, the slices through the run: the same probability."""
    one = demo.prediction
    assert one.probabilities == pytest.approx(one.evaluated, abs=1e-3)


def test_map_of_where_the_network_looked_is_of_the_bundles_networks(demo):
    """In the browser: only with the weights of the bundle, and only for the probability that was answered."""
    place, bundle = Place(Path(demo.study)), Path(demo.bundle)
    assert looked.why_not(place, bundle) == ""
    case = Study(demo.study).cohort.chosen[0]
    files = FilesToPredict(image=case.image, roi=case.roi.path, case_id=case.case_id)
    document = as_plain(predict_files(bundle, files))
    maps = looked._explain(place, case, bundle, document)
    indices = [part["slice_index"] for part in document["slices"]]
    assert [*maps.signed] == [*maps.gray] == indices
    assert looked._drawn(maps, indices[0]).startswith(b"\x89PNG")
    other = document | {"probabilities": {"PRCC": 0.99, "ChRCC": 0.01}}
    with pytest.raises(NotFoundError):
        looked._explain(place, case, bundle, other)
    content = json.loads((bundle / "bundle.json").read_text())
    content["training"]["networks"][0]["weights_sha256"] = "0" * 64
    assert "trained again" in looked_with(content, place)


def looked_with(content, place):
    about = from_plain(content, BundleFile, "bundle.json")
    with pytest.raises(NotFoundError) as caught:
        looked._weights(place, about)
    return caught.value.found


def test_synthetic_stands_everywhere(demo):
    root = Path(demo.study)
    assert "SYNTHETIC" in Path(demo.report).read_text(encoding="utf-8")
    assert "SYNTHETIC" in (Path(demo.bundle) / "README.md").read_text(encoding="utf-8")
    assert all(case.synthetic for case in Study(root).cohort.cases)
    assert json.loads((root / "runs" / demo.run / "evaluation.json").read_text())["synthetic"]


def test_phantoms_come_in_with_two_readers_and_a_phase(demo):
    cohort = Study(demo.study).cohort
    assert len(cohort.cases) == 12
    assert all(case.both_readers and case.clinical.sex and case.clinical.age_years for case in cohort.chosen)
    volume, roi = read_case(cohort.chosen[0])
    _, other = read_case(changed(cohort.chosen[0], roi=cohort.chosen[0].roi_by("reader-2").path))
    overlap = 2 * (roi.voxels & other.voxels).sum() / (roi.voxels.sum() + other.voxels.sum())
    assert 0.7 < overlap < 1
    assert volume.hu[roi.voxels].mean() > -50


def test_shuffled_labels_keep_the_counts_and_say_so(demo, tmp_path):
    study = Study(demo.study)
    before = [case.subtype for case in study.cohort.cases]
    shuffle_labels(study, 1)
    after = [case.subtype for case in study.cohort.cases]
    assert before != after
    assert Counter(before) == Counter(after)
    assert study.import_findings[-1].code == "labels-shuffled"


def test_same_seed_same_slices(demo, tmp_path):
    study = Study.create(tmp_path / "again", ["PRCC", "ChRCC"])
    study.import_phantom(PLAN.n_cases, PLAN.seed)
    study.change("slices", size_px=PLAN.slices.size_px)
    again, first = study.cut_slices(), Study(demo.study).folder.slices
    assert np.array_equal(again.hu, np.load(first / "slices.npy"))
