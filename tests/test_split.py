import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nephroscope.base.errors import CohortError, ConfigError, StudyError
from nephroscope.records import Cohort, Fold, Split, SplitConfig
from nephroscope.study.split import load_split, make_split, save_split
from small_study import content_of, make_cohort


def slices_of(cohort, n=3):
    return {case.case_id: list(range(n)) for case in cohort.cases}


@st.composite
def cohorts(draw):
    """Patients with one to three tumors, two or three subtypes, some tumors of one patient differing in subtype."""
    subtypes = ("A", "B", "C")[: draw(st.integers(2, 3))]
    template = make_cohort(1).cases[0]
    cases, n_patients = [], draw(st.integers(len(subtypes) * 4, 40))
    for patient in range(n_patients):
        for tumor in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
            first = subtypes[patient % len(subtypes)]
            subtype = first if tumor == 0 else draw(st.sampled_from([first, *subtypes]))
            case_id = f"p{patient}-{tumor}"
            cases.append(replace(template, case_id=case_id, patient_id=f"p{patient}", subtype=subtype))
    return Cohort(subtypes=subtypes, positive="A", cases=tuple(cases))


@settings(max_examples=60, deadline=None)
@given(cohorts(), st.integers(1, 4), st.floats(0, 0.4), st.floats(0.05, 0.5), st.integers(0, 99))
def test_no_patient_stands_on_two_sides(cohort, folds, holdout, validation, seed):
    config = SplitConfig(
        folds=folds, holdout=max(holdout, 0.2) if folds == 1 else holdout, validation=validation, seed=seed
    )
    try:
        split = make_split(cohort, slices_of(cohort), config)
    except CohortError:  # too few patients of a subtype: refused, see test_refusals
        return
    patient = {case.case_id: case.patient_id for case in cohort.cases}
    tested = []
    for fold in split.folds:
        train, validation_, test = (
            {patient[name] for name in part} for part in (fold.train, fold.validation, fold.test)
        )
        assert train
        assert validation_
        assert test
        assert not train & validation_
        assert not train & test
        assert not validation_ & test
        if folds > 1:
            assert not {patient[name] for name in split.holdout} & (train | validation_ | test)
        tested += sorted(fold.test)
        everyone = fold.train | fold.validation | fold.test | split.holdout
        assert everyone == set(patient)
    if folds > 1:
        assert sorted(tested) == sorted(set(patient) - split.holdout)  # each case is tested exactly once


def test_folds_are_stratified():
    cohort = make_cohort(40)
    split = make_split(cohort, slices_of(cohort), SplitConfig(folds=5))
    for fold in split.folds:
        subtypes = [cohort.by_id[name].subtype for name in fold.test]
        assert subtypes.count("PRCC") == subtypes.count("ChRCC") == 4


def test_same_seed_same_split():
    cohort = make_cohort(20)
    one, two, other = (make_split(cohort, slices_of(cohort), SplitConfig(seed=seed)) for seed in (1, 1, 2))
    assert one.folds == two.folds
    assert one.folds != other.folds


def test_marked_test_cases_are_never_trained_on():
    cohort = make_cohort(20)
    marked = tuple(
        replace(case, cohort="external-test:TCIA" if number < 4 else case.cohort)
        for number, case in enumerate(cohort.cases)
    )
    split = make_split(replace(cohort, cases=marked), slices_of(cohort), SplitConfig(folds=2))
    assert split.holdout == {"c00", "c01", "c02", "c03"}
    for fold in split.folds:
        assert not split.holdout & (fold.train | fold.validation | fold.test)


def test_image_protocol_is_leaky_and_says_so(tmp_path):
    cohort = make_cohort(6)
    split = make_split(cohort, slices_of(cohort, 10), SplitConfig(protocol="image", folds=3))
    assert split.leaky
    fold = split.folds[0]
    both = {name.partition("#")[0] for name in fold.train} & {name.partition("#")[0] for name in fold.test}
    assert both
    save_split(split, tmp_path / "splits.json", "d")
    content = content_of(tmp_path / "splits.json")
    assert content["unit"] == "LEAKY: image"
    again, digest = load_split(tmp_path / "splits.json", cohort)
    assert again.folds == split.folds
    assert digest == "d"


def test_split_made_by_hand_is_proven_too(tmp_path):
    cohort = make_cohort(8)
    path = tmp_path / "splits.json"
    save_split(make_split(cohort, slices_of(cohort), SplitConfig(folds=2)), path, "d")
    content = content_of(path)
    fold = content["folds"][0]
    content["folds"][0]["train"] = [*fold["train"], fold["test"][0]]
    path.write_text(json.dumps(content))
    with pytest.raises(CohortError, match="no name in both train and test"):
        load_split(path, cohort)
    path.write_text(json.dumps(content | {"folds": [{"index": 0}]}))
    with pytest.raises(CohortError, match=r"splits.json, folds\[0\].train: expected a value"):
        load_split(path, cohort)
    path.write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(StudyError, match="expected format 1 or older, found format 99"):
        load_split(path, cohort)


def test_two_tumors_of_a_patient_on_two_sides_are_refused():
    parts = {"train": frozenset({"a"}), "validation": frozenset({"v"}), "test": frozenset({"b"})}
    with pytest.raises(CohortError, match="no patient in both train and test, found patient p1 in both"):
        Split(
            protocol="patient",
            folds=(Fold(index=0, **parts),),
            patient_of={"a": "p1", "b": "p1", "v": "p2"},
        )
    with pytest.raises(CohortError, match=r"only cases of cohort.csv, found 'b'"):
        Split(protocol="patient", folds=(Fold(index=0, **parts),), patient_of={"a": "p1", "v": "p2"})


def test_refusals():
    cohort = make_cohort(6)
    with pytest.raises(CohortError, match=r"at least 5 development patients of each subtype, .* found 3"):
        make_split(cohort, slices_of(cohort), SplitConfig(folds=5))
    with pytest.raises(ConfigError, match="a hold-out to test a single fold on"):
        make_split(cohort, slices_of(cohort), SplitConfig(folds=1))
    only = {case.case_id: [0] for case in cohort.cases if case.subtype == "PRCC"}
    with pytest.raises(CohortError, match=r"usable cases of every subtype .* none of ChRCC"):
        make_split(cohort, only, SplitConfig(folds=2))
    two = tuple(
        replace(case, patient_id="p", cohort="internal-test" if case.case_id == "c00" else "development")
        for case in cohort.cases
    )
    with pytest.raises(CohortError, match="all tumors of a patient in one cohort"):
        make_split(replace(cohort, cases=two), slices_of(cohort), SplitConfig(folds=2))
