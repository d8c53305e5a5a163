"""IBSI features against the published phantom and by construction; the cache; the choice inside the fold."""

import json
import logging
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from nephroscope.base.errors import CohortError, ConfigError, RoiError
from nephroscope.base.version import install_line
from nephroscope.learning.baselines.radiomics import cases, elastic_net, extract
from nephroscope.learning.baselines.radiomics.cases import features_of_cases
from nephroscope.learning.baselines.radiomics.elastic_net import Choice, ElasticNet, Selection, choose
from nephroscope.learning.baselines.radiomics.extract import SLICES, VOLUME
from nephroscope.learning.baselines.radiomics.ibsi import compare_with_ibsi, phantom
from nephroscope.learning.learner import StudyData
from nephroscope.learning.learners.radiomics import LEARNER
from nephroscope.records import CTVolume, RoiMask
from one_series import changed
from small_study import geometry, make_cohort, make_store, read_disc

SMALL = replace(VOLUME, families=("statistics", "ngtdm"))


def ball(shape=(12, 40, 40), centre=(6, 20, 20), radius_mm=11.0, spacing_mm=(3.0, 1.0, 1.0), hu=60, seed=0):
    grid = geometry(shape, spacing_mm)
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    place = [(a - c) * s for a, c, s in zip(axes, centre, spacing_mm, strict=True)]
    voxels = sum(p * p for p in place) <= radius_mm**2
    noise = np.random.default_rng(seed).normal(0, 12, (40, 80, 80))
    shift = [40 // 2 - centre[0], 80 // 2 - centre[1], 80 // 2 - centre[2]]
    cut = noise[tuple(slice(s, s + n) for s, n in zip(shift, shape, strict=True))]
    volume = CTVolume(hu=(hu + cut).astype(np.int16), geometry=grid, series_uid="1.2")
    return volume, RoiMask(voxels=voxels, geometry=grid, case_id="c01")


@pytest.fixture
def data(tmp_path):
    cohort = make_cohort(8)
    labelled = {case.case_id: case for case in cohort.cases}
    calls = []

    def read(case):
        calls.append(case.case_id)
        return read_disc(labelled[case.case_id])

    study = StudyData.of(cohort, make_store(tmp_path / "slices", cohort), read, tmp_path / "cache")
    study.__dict__["calls"] = calls
    return study


@pytest.fixture
def few_features(monkeypatch):
    """Two families and one penalty, so that a case and a fit take a tenth of the time."""
    monkeypatch.setattr(elastic_net, "STRENGTHS", (0.3,))
    monkeypatch.setattr(elastic_net, "MIXES", (0.5,))
    monkeypatch.setattr(cases, "VOLUME", SMALL)
    monkeypatch.setattr(cases, "map_in_processes", map)


@pytest.fixture(scope="module")
def beside_ibsi():
    return compare_with_ibsi()


def test_every_published_value_of_the_ibsi_phantom_is_reproduced(beside_ibsi):
    """Source: IBSI 1 digital phantom, reference values with 'strong' to 'moderate' consensus; see `ibsi`."""
    rows = beside_ibsi
    assert len(rows) == 256
    assert [f"{row.feature}: {row.published} published, {row.ours}" for row in rows if not row.agrees] == []
    assert phantom()[1].sum() == 74


def test_a_wrong_value_would_be_seen(beside_ibsi):
    row = beside_ibsi[0]
    assert row.feature == "morph_volume"
    assert not replace(row, ours=556.6).agrees
    assert not replace(row, ours=None).agrees
    assert replace(row, published="1.20e3", ours=1195.4).agrees
    assert not replace(row, published="1.20e3", ours=1194.0).agrees


def test_features_have_their_units_and_do_not_depend_on_the_place():
    one = extract.extract(*ball(), replace(VOLUME, families=("morphology", "statistics")))
    other = extract.extract(
        *ball(shape=(16, 60, 50), centre=(8, 34, 27)), replace(VOLUME, families=("morphology", "statistics"))
    )
    assert one == pytest.approx(other, rel=1e-5)
    assert one["morph_volume"] == pytest.approx(4 / 3 * np.pi * 11**3, rel=0.08)
    assert one["morph_diam"] == pytest.approx(22, abs=4)
    volume, roi = ball()
    assert one["stat_mean"] == pytest.approx(volume.hu[roi.voxels].mean(), abs=1)


def test_bins_are_25_hu_wide_from_the_lower_end_of_the_range():
    """A tumor of 60 HU: level floor((60 + 1000) / 25) + 1 = 43; by slice floor((60 + 500) / 25) + 1 = 23."""
    volume, roi = ball()
    flat = replace(volume, hu=np.full_like(volume.hu, 60))
    for settings, level in ((VOLUME, 43), (SLICES, 23)):
        found = extract.extract(flat, roi, replace(settings, families=("statistics", "intensity_histogram")))
        assert found["ih_mean"] == level


@pytest.mark.filterwarnings("error")
def test_nothing_of_mirp_escapes(capfd):
    volume, roi = ball()
    tiny = np.zeros_like(roi.voxels)
    tiny[6, 20, 20] = True
    root = logging.getLogger()
    before = list(root.handlers), root.level, logging.root.manager.disable
    with warnings.catch_warnings(record=True) as seen:
        found = extract.extract(
            volume, replace(roi, voxels=tiny), replace(VOLUME, families=("statistics", "glcm"))
        )
    assert found["stat_mean"] is not None
    assert any(value is None for value in found.values())  # not defined for one voxel: None, not NaN
    assert seen == []
    assert (list(root.handlers), root.level, logging.root.manager.disable) == before
    assert capfd.readouterr().out == ""


def test_a_roi_outside_the_range_is_refused():
    volume, roi = ball(hu=1500)
    with pytest.raises(
        RoiError, match="radiomics: expected an ROI with voxels of -1000 to 400 HU, found none among"
    ):
        extract.extract(volume, roi, SMALL)


def test_slice_images_are_taken_by_slice_without_shape():
    assert cases.settings_of(make_cohort(2)) is VOLUME
    cohort = make_cohort(4)
    mixed = replace(cohort, cases=(changed(cohort.cases[0], format="images"), *cohort.cases[1:]))
    assert cases.settings_of(mixed) is SLICES
    assert "morphology" not in SLICES.families


def test_features_are_computed_once_and_an_interrupted_extraction_goes_on(data, few_features, monkeypatch):
    names = [case.case_id for case in data.cohort.cases]
    save, n_saved = cases.save_document, []

    def until_the_third(path, content, number):
        if len(n_saved) == 3:
            raise KeyboardInterrupt
        n_saved.append(path)
        save(path, content, number)

    monkeypatch.setattr(cases, "save_document", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        features_of_cases(data, names)
    monkeypatch.setattr(cases, "save_document", save)
    data.calls.clear()
    first = features_of_cases(data, names)
    assert data.calls == names[3:]
    data.calls.clear()
    assert features_of_cases(data, names[:2]) == {name: first[name] for name in names[:2]}
    assert data.calls == []
    damaged = next(iter((data.cache / "radiomics").glob("*.json")))
    for text in ("{", '{"format": 1, "mirp": "2", "settings": "", "n_roi_voxels": 3, "features": {}}'):
        damaged.write_text(text)  # no JSON; a field is missing
        data.calls.clear()
        assert features_of_cases(data, names) == first
        assert len(data.calls) == 1


def test_another_roi_or_setting_is_computed_anew(data, few_features, monkeypatch, tmp_path):
    roi = tmp_path / "roi.nii.gz"
    roi.write_bytes(b"one")
    case = changed(data.cohort.cases[0], roi=roi)
    moved = replace(data, cohort=replace(data.cohort, cases=(case, *data.cohort.cases[1:])))

    def key():
        return cases._path_of(moved, case, cases.settings_of(moved.cohort)).name

    one = key()
    roi.write_bytes(b"two!")
    two = key()
    monkeypatch.setattr(cases, "VOLUME", replace(SMALL, bin_hu=10.0))
    assert len({one, two, key()}) == 3
    kept = [json.loads(path.read_text()) for path in (data.cache / "radiomics").glob("*.json")]
    assert all(content["mirp"] == extract.mirp_version() for content in kept)


def test_a_case_without_slices_is_refused(data, few_features):
    extra = replace(data.cohort.cases[0], case_id="c99", patient_id="p99")
    more = replace(data, cohort=replace(data.cohort, cases=(*data.cohort.cases, extra)))
    with pytest.raises(CohortError, match="case c99, radiomics: expected slices of the case, found none"):
        features_of_cases(more, ["c99"])


def test_a_case_without_features_is_said_and_gets_the_answer_of_a_middling_tumor(data, few_features, caplog):
    def read(case):
        volume, roi = data.read(case)
        return (
            (replace(volume, hu=np.full_like(volume.hu, 3000)), roi)
            if case.case_id == "c07"
            else (volume, roi)
        )

    bad = replace(data, read=read)
    labels = np.arange(7) % 2
    fitted = LEARNER.fit(bad, [f"c{n:02}" for n in range(7)], labels, seed=0)
    p = fitted.probabilities(["c07"])
    assert "case c07 has no radiomics features: expected an ROI with voxels of -1000 to 400 HU" in caplog.text
    assert p.sum() == pytest.approx(1)


def test_the_candidate_tells_dark_from_bright_tumors(data, few_features):
    names = [case.case_id for case in data.cohort.cases]
    labels = np.array([n % 2 for n in range(8)])
    fitted = LEARNER.fit(data, names[:6], labels[:6], seed=0)
    p = fitted.probabilities(names[6:])
    assert p.sum(axis=1) == pytest.approx(1)
    assert p.argmax(axis=1).tolist() == [0, 1]
    assert fitted.chosen
    again = LEARNER.fit(data, names[:6], labels[:6], seed=0).probabilities(names[6:])
    assert np.array_equal(p, again)


def test_features_are_extracted_once_before_the_fits(data, few_features, monkeypatch):
    from nephroscope.learning.baselines.radiomics import cases

    assert LEARNER.missing(data) == ""
    monkeypatch.setattr(cases, "_extract", lambda *_: pytest.fail("extracted again"))
    names = [case.case_id for case in data.cohort.cases]
    LEARNER.fit(data, names[:6], np.array([n % 2 for n in range(6)]), seed=0).probabilities(names[6:])


def test_without_mirp_it_says_what_to_install(data, monkeypatch):
    from nephroscope.learning.learners import radiomics

    monkeypatch.setattr(radiomics, "mirp_version", lambda: "")
    assert LEARNER.missing(data) == f"MIRP is not installed: {install_line('train,radiomics')}"
    with pytest.raises(ConfigError, match=r"expected MIRP, found none installed; pip install"):
        LEARNER.fit(data, ["c00"], np.array([0]), seed=0)


def test_a_mirp_that_cannot_be_imported_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "mirp", None)
    with pytest.raises(
        ConfigError, match=r"radiomics: expected MIRP, found that mirp cannot be imported; pip install"
    ):
        extract.extract(*ball(), SMALL)


def test_version_is_empty_where_the_package_is_not(monkeypatch):
    monkeypatch.setattr(
        extract, "version", lambda name: (_ for _ in ()).throw(extract.PackageNotFoundError(name))
    )
    assert extract.mirp_version() == ""


def informative(n=60, seed=0, shift=2.5):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    values = rng.normal(size=(n, 40)) * rng.uniform(0.01, 1000, 40)
    values[:, 7] = rng.normal(size=n) + shift * labels
    values[:, 8] = np.exp(values[:, 7] / 2)  # the same order: Spearman 1
    values[:, 9] = 5.0
    values[:, 10] = np.nan
    values[::7, 11] = np.nan
    return values, labels, [f"p{i}" for i in range(n)]


def test_selection_drops_the_constant_the_unknown_and_the_twin():
    values, labels, _ = informative()
    columns = Selection(values, labels).columns.tolist()
    assert columns[0] in (7, 8)
    assert not {7, 8} <= set(columns)
    assert not {9, 10} & set(columns)
    assert len(columns) == 20


def test_nothing_is_learnt_from_rows_that_are_not_given():
    """Selection and scale are functions of the training rows alone."""
    values, labels, patients = informative()
    train = np.arange(40)
    model = ElasticNet(values[train], labels[train], [patients[i] for i in train], 2, seed=0)
    other = values.copy()
    other[40:] = 1e6
    same = ElasticNet(other[train], labels[train], [patients[i] for i in train], 2, seed=0)
    assert np.array_equal(model.probabilities(values[40:]), same.probabilities(values[40:]))
    p = model.probabilities(values[40:])
    assert ((p[:, 1] > 0.5) == labels[40:]).mean() > 0.6


def test_on_noise_the_answer_is_near_the_prevalence_and_auc_at_chance():
    """160 features of pure noise, 40 cases: what is chosen inside must not look good outside."""
    rng = np.random.default_rng(3)
    values, labels = rng.normal(size=(120, 60)), np.arange(120) % 2
    patients = [f"p{i}" for i in range(120)]
    model = ElasticNet(values[:40], labels[:40], patients[:40], 2, seed=0)
    p = model.probabilities(values[40:])[:, 1]
    above = p[labels[40:] == 1][:, None] - p[labels[40:] == 0][None, :]
    assert 0.3 < (above > 0).mean() + (above == 0).mean() / 2 < 0.7
    assert np.abs(p - 0.5).mean() < 0.2


def test_inner_choice_keeps_a_patient_in_one_fold(monkeypatch):
    """Twin tumors with twin values: split apart, the many-feature settings would look perfect."""
    values, labels, _ = informative()
    patients = [f"p{i // 4}" for i in range(60)]
    seen = []
    original = elastic_net.patient_folds

    def watched(labels, patient_ids, n_folds, seed):
        folds = original(labels, patient_ids, n_folds, seed)
        seen.append((folds, list(patient_ids)))
        return folds

    monkeypatch.setattr(elastic_net, "patient_folds", watched)
    assert isinstance(choose(values, labels, patients, seed=1), Choice)
    ((folds, ids),) = seen
    assert all(np.unique(folds[np.array(ids) == name]).size == 1 for name in set(ids))


@pytest.mark.parametrize("labels", [np.zeros(5, int), np.array([0, 0, 0, 0, 1])])
def test_too_little_to_learn_from_still_gives_probabilities(labels):
    values = np.random.default_rng(0).normal(size=(5, 4))
    p = ElasticNet(values, labels, list("abcde"), 3, seed=0).probabilities(values)
    assert p.shape == (5, 3)
    assert p.sum(axis=1) == pytest.approx(1)
    assert (p > 0).all()


def test_three_subtypes():
    rng = np.random.default_rng(0)
    labels = np.arange(45) % 3
    values = rng.normal(size=(45, 10))
    values[:, 0] += 3 * (labels == 1)
    values[:, 1] += 3 * (labels == 2)
    model = ElasticNet(values, labels, [f"p{i}" for i in range(45)], 3, seed=0)
    assert (model.probabilities(values).argmax(axis=1) == labels).mean() > 0.8
