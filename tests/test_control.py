"""Shuffled labels stay at chance, a leak is found by them, and a planted shortcut is found by the probe."""

import json
import logging
import shutil
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest
import torch

from nephroscope import Study
from nephroscope.base.tables import save_table
from nephroscope.cli import run
from nephroscope.learning.engine.divisions import present_division, shuffle_labels
from nephroscope.learning.engine.predictions import Predictions
from nephroscope.questions.compare import facts as room
from nephroscope.questions.compare.comparison import ComparePlan
from nephroscope.questions.compare.control import alarm_of, mean_over, permutation_p, words_of
from nephroscope.questions.compare.facts import Fact, facts_of
from nephroscope.questions.compare.measures import TestSet
from nephroscope.questions.compare.measures import test_sets as sets_of
from nephroscope.questions.compare.probe import probe, within_class_gap
from nephroscope.records import EvaluationConfig, SplitConfig
from nephroscope.study.cohort_table import save_cohort
from nephroscope.study.snapshot import Snapshot
from one_series import changed
from small_study import make_cohort, make_store, split_of
from some_learners import KNOWS, Learner
from test_study import CONFIG, make_study

ANSWERS = {}  # what the leaking candidate overhears


@dataclass(frozen=True)
class Overhears(Learner):
    """Learns from labels it was not given: those that the test below puts where it listens."""

    def fit(self, data, case_ids, labels, seed):
        class Fitted:
            def probabilities(self, asked):
                return np.array([[0.8, 0.2][:: 1 - 2 * ANSWERS[seed][case]] for case in asked])

        return Fitted()


LEAKS = Overhears("leaks")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    study = make_study(tmp_path_factory.mktemp("control") / "study", 24)
    study.cut_slices()
    study.make_split(SplitConfig(folds=3))
    return study


@pytest.fixture
def study(made, tmp_path):
    shutil.copytree(made.folder.root, tmp_path / "study")
    return Study(tmp_path / "study")


def with_facts(study, **fields):
    """The cohort with other facts, a function of the case's number and subtype each."""
    cohort = study.cohort
    cases = tuple(
        changed(c, **{name: f(int(c.case_id[1:]), c.subtype) for name, f in fields.items()})
        for c in cohort.cases
    )
    save_cohort(replace(cohort, cases=cases), study.folder.root)


def test_permuted_labels_keep_patients_and_counts(study):
    with_facts(study, patient_id=lambda n, s: f"p{n // 2:02}" if n < 8 else f"p{n:02}")
    study.make_split(SplitConfig(folds=2, holdout=0.2))
    snapshot = study.snapshot
    division = shuffle_labels(snapshot, 1, 0)
    assert division.split.holdout == snapshot.split.holdout
    for names in (snapshot.split.holdout, snapshot.labels.keys() - snapshot.split.holdout):
        assert sorted(division.labels[n] for n in names) == sorted(snapshot.labels[n] for n in names)
    assert dict(division.labels) != dict(snapshot.labels)
    for patient in ("p00", "p01", "p02", "p03"):  # both of their tumors differ, as before
        own = [c.subtype for c in division.cohort.cases if c.patient_id == patient]
        assert sorted(own) == ["ChRCC", "PRCC"]
    assert shuffle_labels(snapshot, 1, 0).labels == division.labels
    assert shuffle_labels(snapshot, 2, 0).labels != division.labels


def test_an_honest_candidate_raises_no_alarm(study):
    (row,) = study.compare(ComparePlan(known=(KNOWS,), permutations=12)).content["control"]
    assert row["observed"] == 1.0
    assert row["alarm"] is False
    assert 0.3 < row["auc_by_fold"] < 0.7
    assert row["permutations"] == 12
    assert row["lowest"] < row["auc"]["value"] < row["highest"] < 1
    assert row["p"] == row["p_floor"] == pytest.approx(1 / 13)
    assert row["words"].startswith("knows, 12 permutations of the labels: mean AUC 0.")
    assert f"only a mean above {row['noticed_above']:.2f} would have been noticed" in row["words"]


def test_a_leak_raises_an_alarm(study, monkeypatch):
    from nephroscope.questions.compare import plan

    def overheard(snapshot, number, seed):
        division = shuffle_labels(snapshot, number, seed)
        ANSWERS[division.seed] = division.labels
        return division

    ANSWERS[0] = study.snapshot.labels
    monkeypatch.setattr(plan, "shuffle_labels", overheard)
    (row,) = study.compare(ComparePlan(known=(LEAKS,), permutations=3)).content["control"]
    assert row["lowest"] == row["highest"] == 1.0
    assert row["alarm"] is True
    assert row["words"].startswith("WARNING: leaks, 3 permutations of the labels: mean AUC 1.00 (range 1.00")


@pytest.mark.parametrize("permutations", [3, 5])
def test_a_partial_leak_is_noticed_with_few_permutations(permutations):
    """Shuffled AUCs of about 0.70, spread as 40 against 40 cases are (SD 0.065), 8 candidates."""
    rng = np.random.default_rng(5)
    leaks = rng.normal(0.70, 0.065, (500, permutations)).tolist()
    found = [alarm_of(row, 8) for row in leaks]
    assert np.mean([why != "" for why in found]) > 0.97
    if permutations == 3:  # the t test alone sees about 3 in 10
        assert 0.2 < np.mean([why == "test" for why in found]) < 0.4
    honest = rng.normal(0.49, 0.065, (500, permutations)).tolist()
    assert np.mean([alarm_of(row, 8) != "" for row in honest]) < 0.03
    small = [alarm_of(row, 8) for row in rng.normal(0.49, 0.12, (500, 3)).tolist()]  # 24 cases: luck
    assert 0.03 < np.mean([why != "" for why in small]) < 0.12


def test_what_the_control_says_is_what_it_could_see():
    """0.70, 0.80, 0.90 of 8 candidates fails no t test (t = 5.2, limit 8.1) and is an alarm all the same."""
    assert alarm_of([0.70, 0.80, 0.90], 8) == "limit"
    warned = words_of("x", [0.70, 0.80, 0.90], 8)
    assert warned.startswith("WARNING: x, 3 permutations of the labels: mean AUC 0.80 (range 0.70 to 0.90)")
    assert "at or above the limit of 0.60" in warned
    quiet = words_of("x", [0.45, 0.52, 0.56], 8, n_refused=2)
    assert "mean AUC 0.51 (range 0.45 to 0.56); 2 more refused; only a mean above 0.60" in quiet
    assert "0.5 or slightly below, which can hide a small leak" in quiet
    assert "does not rise" not in warned + quiet
    tight = [0.55, 0.56, 0.57, 0.56, 0.55]
    assert alarm_of(tight, 8) == "test"
    assert "something leaks" in words_of("x", tight, 8)
    assert alarm_of([0.65], 1) == "limit"
    assert alarm_of([], 1) == ""
    assert "no permutation could be made, so this control says nothing" in words_of("x", [], 1)


def test_the_mean_over_permutations_has_the_confidence_of_the_study():
    """0.4, 0.5 and 0.6: standard error 0.0577; t of 2 degrees 4.303 for 95 %, 2.920 for 90 %."""
    wide, narrow = (mean_over([0.4, 0.5, 0.6], 24, confidence) for confidence in (0.95, 0.90))
    assert wide.high - 0.5 == pytest.approx(4.303 * 0.1 / 3**0.5, abs=1e-4)
    assert narrow.high - 0.5 == pytest.approx(2.920 * 0.1 / 3**0.5, abs=1e-4)
    assert narrow.method.endswith("90 %")


def test_permutation_p_is_never_zero():
    assert permutation_p(0.9, [0.5] * 19) == pytest.approx(1 / 20)
    assert permutation_p(0.5, [0.5] * 19) == 1
    assert permutation_p(None, [0.5]) is None
    assert permutation_p(0.5, []) is None


def test_a_planted_shortcut_is_found(study):
    """All scanners of PRCC but two are of maker A, of ChRCC of maker B: AUC by hand 0.5 (10/12 + 1)."""
    with_facts(
        study,
        sex=lambda n, s: "F" if n % 3 else "M",
        site_id=lambda n, s: "site-2" if s == "PRCC" and n >= 4 else "site-1",
    )
    header = ["case_ids", "manufacturer"]
    others = ["SIEMENS", "Siemens Healthineers"]  # one maker, written in two ways
    rows = [[f"c{n:02}", "MAKER A" if n % 2 == 0 and n >= 4 else others[n % 2]] for n in range(24)]
    save_table(study.folder.root / "seen_series.csv", header, rows)
    study.make_split(SplitConfig(folds=3))
    shortcuts = study.compare(ComparePlan(known=(KNOWS,), permutations=0)).content["shortcuts"]
    rows = {row["name"]: row for row in shortcuts["facts"]}
    assert rows["vendor"]["levels"] == ["Siemens (14)", "MAKER A (10)"]
    for name in ("vendor", "site"):
        assert rows[name]["auc"]["value"] == pytest.approx((10 / 12 + 1) / 2)
        assert rows[name]["auc"]["low"] > 0.5
        assert rows[name]["how"].startswith("the fact itself")
    assert 0.5 <= rows["sex"]["auc"]["value"] < 0.6
    assert rows["all together"]["auc"]["value"] > 0.7
    assert rows["phase"]["auc"]["method"] == "undefined: not known of any case"
    assert rows["pixel spacing"]["auc"]["method"] == "undefined: the same for all 24 cases"
    told = " ".join(shortcuts["words"])
    assert "In this cohort vendor alone gives AUC 0.92" in told
    assert "sex alone" not in told


def test_a_fact_that_is_the_subtype_clears_nobody(study):
    """All men have PRCC and all women ChRCC: nothing is left within a subtype to see who follows sex."""
    with_facts(study, sex=lambda n, s: "M" if s == "PRCC" else "F")
    study.make_split(SplitConfig(folds=3))
    shortcuts = study.compare(ComparePlan(known=(KNOWS,), permutations=0)).content["shortcuts"]
    told = next(line for line in shortcuts["words"] if "sex alone gives AUC 1.00" in line)
    assert "Whether a candidate follows it cannot be determined" in told
    assert "No candidate is shown" not in told


def test_facts_are_read_from_the_grid_once(study, tmp_path):
    snapshot = study.snapshot
    facts = {fact.name: fact for fact in facts_of(snapshot, tmp_path)}
    assert set(facts["number of slices"].values.values()) == {6.0}
    assert set(facts["slice spacing"].values.values()) == {3.0}
    shutil.rmtree(study.folder.root / "volumes")
    again = {fact.name: fact for fact in facts_of(snapshot, tmp_path)}
    assert again["slice spacing"].values == facts["slice spacing"].values


def test_a_ct_that_could_not_be_read_is_tried_again(study, tmp_path):
    path = next((study.folder.root / "volumes").glob("c03.nii.gz"))
    path.rename(path.with_name("away"))
    spacing = {f.name: f.values for f in facts_of(study.snapshot, tmp_path)}["slice spacing"]
    assert len(spacing) == 23
    path.with_name("away").rename(path)
    spacing = {f.name: f.values for f in facts_of(study.snapshot, tmp_path)}["slice spacing"]
    assert spacing["c03"] == 3.0


def test_what_series_csv_and_a_header_tell_is_not_read_from_the_ct(study, tmp_path, monkeypatch):
    snapshot = study.snapshot
    (tmp_path / "dicom").mkdir()
    for name in ("a", "b"):
        (tmp_path / "dicom" / name).touch()
    heads = {"a": {"SeriesInstanceUID": "9"}, "b": {"SeriesInstanceUID": "1", "PixelSpacing": [0.7, 0.7]}}
    monkeypatch.setattr(room, "read_header", lambda path, tags: heads[path.name])
    case = changed(snapshot.cohort.chosen[0], format="dicom", image=tmp_path / "dicom")
    save_table(
        tmp_path / "seen_series.csv",
        ["case_ids", "series_uid", "n_slices", "spacing_mm", "manufacturer"],
        [["c00", "1", "40", "2.5", "GE MEDICAL SYSTEMS"], ["c01", "2", "40", "2.5", ""]],
    )
    told = room._series(tmp_path / "seen_series.csv")
    assert told["c00"].vendor == "GE"
    assert told["c01"].words == {}
    assert room._grid_of_table(case, told["c00"]) == {"n_slices": 40.0, "slice_mm": 2.5, "pixel_mm": 0.7}
    assert room._grid_of_table(case, told["c01"]) == {}  # no file of that series: its CT is read


def test_gap_within_a_subtype_by_hand():
    """PRCC: 0.9 against 0.7; ChRCC: 0.4 against 0.2: 0.2 in both, whatever the mix of sides."""
    truth = np.array([0] * 6 + [1] * 6)
    above = np.array([True] * 4 + [False] * 2 + [True] * 2 + [False] * 4)
    p = np.where(truth == 0, np.where(above, 0.9, 0.7), np.where(above, 0.4, 0.2))
    names = tuple(f"c{i}" for i in range(12))
    tests = TestSet(name="t", cases=names, truth=truth, subtypes=("A", "B"), positive=0, patient_ids=names)
    known = np.ones(12, dtype=bool)
    gap = within_class_gap(p, above, known, tests, EvaluationConfig(resamples=200))
    assert gap.value == pytest.approx(0.2)
    assert gap.n == 12
    flat = within_class_gap(
        np.where(truth == 0, 0.8, 0.1), above, known, tests, EvaluationConfig(resamples=200)
    )
    assert flat.value == pytest.approx(0, abs=1e-12)
    nothing = within_class_gap(p, known, known, tests, EvaluationConfig(resamples=200))
    assert nothing.value is None


def test_a_network_is_really_trained_and_trained_again_on_shuffled_labels(tmp_path, capsys, monkeypatch):
    """The lightest ShuffleNet, 32 pixels, 8 patients: by the command, on other divisions and shuffled labels too."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    study = make_study(tmp_path / "study", 8)
    study.cut_slices()
    study.make_split(SplitConfig(folds=2))
    study.change("training", **asdict(replace(CONFIG, epochs=3, width=0.5)))
    words = ["compare", str(study.folder.root), "--candidates", "attenuation", "--train", CONFIG.model]
    assert run([*words, "--control-networks", "--permutations", "2", "--json"]) == 0
    torch.set_num_threads(threads)
    content = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in content["candidates"]} == {CONFIG.model, "attenuation", "stack+networks"}
    assert (content["primary"]["network"], content["primary"]["baseline"]) == (CONFIG.model, "attenuation")
    control = {row["name"]: row for row in content["control"]}
    assert control[CONFIG.model]["permutations"] == control[CONFIG.model]["range_n"] == 2
    trained = study.folder.root / "comparison" / "networks" / CONFIG.model
    runs = sorted(path.parent for path in trained.glob("shuffled-*/run.json"))
    assert len(runs) == 2
    first, other = (json.loads((path / "split.json").read_text())["folds"] for path in runs)
    assert first != other  # each permutation is divided by its own labels
    weights = {path.read_bytes() for path in study.folder.root.rglob("fold-0/weights.safetensors")}
    assert len(weights) == 3  # the run, and one for each permutation
    row = next(row for row in content["candidates"] if row["name"] == CONFIG.model)
    assert row["calibration"]["inside"]["slope"].keys() == row["auc"].keys()


def test_facts_are_judged_on_an_external_set_too(tmp_path):
    cohort = make_cohort(14)
    cases = [replace(c, cohort="external-test:B") if i < 4 else c for i, c in enumerate(cohort.cases)]
    cohort = replace(cohort, cases=tuple(cases))
    store = make_store(tmp_path, cohort)
    snapshot = Snapshot.of(cohort, store, split_of(cohort, store, folds=2), EvaluationConfig(resamples=100))
    division = present_division(snapshot, 0)
    tests = sets_of(snapshot, division)["external-test:B"]
    facts = [Fact(name="site", description="", values={c.case_id: "abc"[i % 3] for i, c in enumerate(cases)})]
    p = dict.fromkeys(tests.cases, (0.6, 0.4))
    answers = Predictions(name="net", kind="network", description="", p=p, fold=dict.fromkeys(p, -1))
    (row,) = probe(snapshot, facts, [answers], tests, division).facts
    assert row.auc.n == 4
    assert row.auc.value is not None
