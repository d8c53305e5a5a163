"""Fits: kept as they come, the same wherever they run, out of date ones made again, and no false probabilities."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nephroscope import Study
from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.learning.engine import fits as rooms
from nephroscope.learning.engine.divisions import present_division
from nephroscope.learning.engine.fits import address_of, learner_at, run_fit, run_fits
from nephroscope.learning.engine.predictions import fits_of
from nephroscope.learning.engine.study_data import data_of
from nephroscope.learning.engine.workers import Workers
from nephroscope.learning.learners import all_learners
from nephroscope.records import SplitConfig
from some_learners import BROKEN, GUESSES, KNOWS, NOISY, REFUSES, Learner
from test_study import make_study


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    study = make_study(tmp_path_factory.mktemp("jobs") / "study", 12)
    study.cut_slices()
    study.make_split(SplitConfig(folds=2))
    return study


@pytest.fixture
def study(made, tmp_path):
    shutil.copytree(made.folder.root, tmp_path / "study")
    return Study(tmp_path / "study")


def jobs_for(study, *candidates, choosing=False):
    snapshot = study.snapshot
    division = present_division(snapshot, 0)
    return [job for c in candidates for job in fits_of(snapshot, c, division, choosing)]


def test_a_job_names_who_learns_and_who_is_asked(study):
    jobs = jobs_for(study, KNOWS, choosing=True)
    split = study.split()
    assert [job.key for job in jobs] == [
        "knows/r0-f0",
        "knows/r0-f0-validation",
        "knows/r0-f1",
        "knows/r0-f1-validation",
    ]
    for job, fold in zip(jobs[::2], split.folds, strict=True):
        assert set(job.learn) == fold.train | fold.validation
        assert set(job.predict) == fold.test
    for job, fold in zip(jobs[1::2], split.folds, strict=True):
        assert set(job.learn) == fold.train
        assert set(job.predict) == fold.validation | fold.test  # both, to compare on the same patients


def test_same_result_in_one_process_and_in_three(study, tmp_path):
    jobs = jobs_for(study, KNOWS, NOISY, GUESSES)
    alone = run_fits(jobs, tmp_path / "one", Workers(), "fits")
    spread = run_fits(jobs, tmp_path / "three", Workers(jobs=3), "fits")
    assert {k: r.probabilities for k, r in alone.items()} == {k: r.probabilities for k, r in spread.items()}


def test_interrupted_work_goes_on_and_a_second_call_is_free(study, tmp_path, monkeypatch):
    jobs, done = jobs_for(study, KNOWS, NOISY), []

    def interrupted(job):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(job.key)
        return run_fit(job)

    monkeypatch.setattr(rooms, "run_fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_fits(jobs, tmp_path / "kept", Workers(), "fits")
    assert len(list((tmp_path / "kept").rglob("*.json"))) == 3
    done.clear()
    results = run_fits(jobs, tmp_path / "kept", Workers(), "fits")
    assert done == [jobs[3].key]
    assert run_fits(jobs, tmp_path / "kept", Workers(), "fits") == results
    assert done == [jobs[3].key]


def test_stale_and_damaged_results_are_made_anew(study, tmp_path):
    kept = tmp_path / "kept"
    (first, *_) = jobs = jobs_for(study, KNOWS)
    results = run_fits(jobs, kept, Workers(), "fits")
    path = kept / f"{first.key}.json"
    good = path.read_text()
    for spoilt in ("{", good.replace(first.made_from, "another"), json.dumps({"format": 1})):
        path.write_text(spoilt)
        again = run_fits(jobs, kept, Workers(), "fits")[first.key]
        assert again.probabilities == results[first.key].probabilities
        assert json.loads(path.read_text())["made_from"] == first.made_from
    csv = study.folder.cohort_csv
    csv.write_text(csv.read_text().replace(",50", ",51"))
    later = jobs_for(study, KNOWS)
    assert {job.made_from for job in later}.isdisjoint(job.made_from for job in jobs)


def test_other_code_or_other_libraries_make_results_anew(study, monkeypatch):
    (job, *_) = jobs_for(study, KNOWS)

    def now():
        rooms.code_digest.cache_clear()
        return replace(job).made_from

    before = now()
    assert now() == before
    versions = {"numpy": "1", "scikit-learn": "2"}
    monkeypatch.setattr(rooms, "_version", lambda name: versions.get(name, ""))
    changed = now()
    assert changed != before
    versions["mirp"] = "3"
    assert len({before, changed, now()}) == 3
    monkeypatch.undo()
    content = Path.read_text
    for edited in ("some_learners.py", "measured.py", "radiomics.py"):
        with monkeypatch.context() as patch:
            more = lambda path, name=edited, **kw: content(path, **kw) + "#" * (path.name == name)  # noqa: E731
            patch.setattr(Path, "read_text", more)
            assert now() != before
    assert now() == before


def test_a_candidate_that_refuses_is_a_result_and_is_not_kept(study, tmp_path):
    results = run_fits(jobs_for(study, REFUSES), tmp_path, Workers(), "fits")
    assert {r.refused for r in results.values()} == {"fold: expected more, found less; add cases"}
    assert not list(tmp_path.rglob("refuses/*.json"))


def test_what_is_no_probability_is_refused(study, tmp_path):
    with pytest.raises(
        StudyError, match="candidate broken: expected probabilities of 6 cases and 2 subtypes"
    ):
        run_fits(jobs_for(study, BROKEN), tmp_path, Workers(), "fits")


def test_another_machine_that_does_not_see_the_study(study, tmp_path):
    with pytest.raises(StudyError, match="put the study on storage that every machine sees"):
        data_of(str(tmp_path / "nowhere"), "digest")
    with pytest.raises(StudyError, match="expected the cohort and slices that the comparison started with"):
        data_of(str(study.folder.root), "another")


def test_candidates_never_see_labels(study):
    data = data_of(str(study.folder.root), study.snapshot.digest)
    assert {case.subtype for case in data.cohort.cases} == {None}


def test_every_baseline_is_found_by_its_address():
    for candidate in all_learners().values():
        assert learner_at(address_of(candidate)) is candidate
    assert address_of(KNOWS) == "some_learners:KNOWS"
    with pytest.raises(ConfigError, match="candidate local: expected a global name of a module"):
        address_of(Learner("local"))


def test_number_of_processes_is_checked():
    with pytest.raises(ConfigError, match="--jobs: expected a number from 1 to 1024, found 0"):
        Workers(jobs=0)
