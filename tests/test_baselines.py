"""Baselines: attenuation, clinical, and the regression below them, against known truths and a real table."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nephroscope.base.errors import CohortError, ConfigError, RoiError
from nephroscope.learning.baselines import measured
from nephroscope.learning.baselines.features import FeatureTable, cached_table
from nephroscope.learning.baselines.inner_folds import by_patient, log_losses, patient_folds
from nephroscope.learning.baselines.measured import attenuation_table, clinical_table, measured_table
from nephroscope.learning.baselines.regression import STRENGTHS, _turn, fit_logistic
from nephroscope.learning.learner import StudyData, remarks_of
from nephroscope.learning.learners import all_learners, learners_named
from nephroscope.records import Cohort, CTVolume, Finding, RoiMask
from one_series import changed, one_series
from small_study import SUBTYPES, geometry, make_cohort, make_store, read_disc

HOW_TO = Path(__file__).parents[1] / "docs" / "how-to" / "baselines.md"


@pytest.fixture(autouse=True)
def _no_organs(monkeypatch):
    """The small study has no files, so none that might hold kidneys."""
    monkeypatch.setattr(measured, "organs_of", lambda case, volume: {})


def study(folder, n_cases=12, read=read_disc, **fields):
    """The small study without its subtypes, its labels, and the case_ids."""
    cohort = make_cohort(n_cases, **fields)
    by_id = cohort.by_id
    data = StudyData.of(
        cohort,
        make_store(folder / "slices", cohort),
        lambda case: read(by_id[case.case_id]),
        folder / "features",
    )
    return data, np.array([SUBTYPES.index(case.subtype) for case in cohort.cases]), list(by_id)


def auc(scores, positive):
    """Share of pairs in the right order."""
    above = scores[positive][:, None] - scores[~positive][None]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def names(n):
    return [f"p{number}" for number in range(n)]


# features of a study


def test_attenuation_is_that_of_the_voxels_in_the_roi(tmp_path):
    data, _, ids = study(tmp_path)
    table = attenuation_table(data)
    volume, roi = read_disc(make_cohort(12).by_id["c03"])
    inside = volume.hu[roi.voxels]
    mean, sd, p10, p50, p90, cortex, aorta = table.rows(["c03"])[0]
    assert (mean, sd) == pytest.approx((inside.mean(), inside.std()))
    assert (p10, p50, p90) == pytest.approx(tuple(np.percentile(inside, (10, 50, 90))))
    assert np.isnan(cortex)
    assert np.isnan(aorta)
    assert table.case_ids == tuple(ids)


def test_bright_and_dark_tumors_are_told_apart_by_cases_not_seen(tmp_path):
    data, labels, ids = study(tmp_path)
    fitted = all_learners()["attenuation"].fit(data, ids[:8], labels[:8], 0)
    said = fitted.probabilities(ids[8:])
    assert said.shape == (4, 2)
    assert said.sum(axis=1) == pytest.approx(np.ones(4))
    assert auc(said[:, 0], labels[8:] == 0) == 1.0


def test_a_candidate_never_sees_subtypes(tmp_path):
    data, _, _ = study(tmp_path, subtype_reader2="PRCC")
    assert {case.subtype for case in data.cohort.cases} == {None}
    assert {case.subtype_reader2 for case in data.cohort.cases} == {None}


def test_ratios_to_cortex_and_aorta(tmp_path, monkeypatch):
    """A kidney of 180 HU and an aorta of 150 HU beside a tumor: the ratios are its mean over these."""
    grid = geometry((12, 60, 60), (1.0, 1.0, 1.0))
    parts = {name: np.zeros(grid.shape, bool) for name in ("kidney", "aorta", "tumor")}
    parts["kidney"][:, 5:35, 5:35] = True
    parts["tumor"][3:9, 5:15, 5:15] = True
    parts["aorta"][:, 40:52, 40:52] = True
    hu = np.zeros(grid.shape, np.int16)
    for name, value in (("kidney", 180), ("aorta", 150), ("tumor", 90)):
        hu[parts[name]] = value
    read = (
        CTVolume(hu=hu, geometry=grid, series_uid="1"),
        RoiMask(voxels=parts["tumor"], geometry=grid, case_id="c00"),
    )
    data, _, _ = study(tmp_path, 2, read=lambda case: read)
    monkeypatch.setattr(measured, "organs_of", lambda case, volume: parts)
    row = dict(zip(measured.ATTENUATION, attenuation_table(data).rows(["c00"])[0], strict=True))
    assert row["to_cortex"] == pytest.approx(90 / 180)
    assert row["to_aorta"] == pytest.approx(90 / 150)
    assert "ratio to aorta known for 2 of 2 cases" in remarks_of(all_learners()["attenuation"], data)


def test_organs_that_cannot_be_read_cost_the_ratio_alone(tmp_path, monkeypatch):
    def refuse(case, volume):
        raise RoiError(where="organs", expected="masks", found="none", remedy="x")

    data, _, _ = study(tmp_path, 2)
    monkeypatch.setattr(measured, "organs_of", refuse)
    table = attenuation_table(data)
    assert np.isfinite(table.column("mean_hu")).all()
    assert table.notes["c00"].startswith("no ratio to organs: organs: expected masks")


def test_a_case_that_cannot_be_read_is_a_gap_with_its_reason(tmp_path):
    def read(case):
        if case.case_id == "c01":
            raise RoiError(where="case c01", expected="an ROI", found="none", remedy="draw it")
        if case.case_id == "c02":
            raise OSError(5, "Input/output error")
        return read_disc(case)

    data, labels, ids = study(tmp_path, read=read)
    candidate = all_learners()["attenuation"]
    assert candidate.missing(data) == ""
    table = attenuation_table(data)
    assert np.isnan(table.rows(["c01", "c02"])).all()
    assert table.notes == {
        "c01": "case c01: expected an ROI, found none; draw it",
        "c02": "cannot be read: Input/output error",
    }
    assert remarks_of(candidate, data)[-1].startswith("2 of 12 cases with gaps (case c01: expected")
    said = candidate.fit(data, ids[:8], labels[:8], 0).probabilities(ids)
    assert np.isfinite(said).all()


def test_nothing_readable_is_a_reason_not_a_figure(tmp_path):
    def read(case):
        raise RoiError(where="case", expected="an ROI", found="none", remedy="draw it")

    data, _, _ = study(tmp_path, read=read)
    told = all_learners()["attenuation"].missing(data)
    assert (
        told == "attenuation: not one value is known (case c00: case: expected an ROI, found none; draw it)"
    )


def test_hu_behind_a_window_are_told(tmp_path):
    data, _, _ = study(tmp_path, source="8-bit L40 W400")
    told = remarks_of(all_learners()["attenuation"], data)
    assert told[0] == "HU of cases with source 8-bit L40 W400 are clipped to -160 to 240"


def test_an_image_without_mask_or_spacing_says_so(tmp_path):
    def read(case):
        volume, roi = read_disc(case)
        code = "no-mask" if case.case_id == "c00" else "spacing-unknown"
        finding = Finding(code=code, severity="warning", message="", case_id=case.case_id)
        return dataclasses.replace(volume, findings=(finding,)), roi

    data, _, _ = study(tmp_path, read=read)
    table = measured_table(data)
    assert np.isnan(table.column("roi_diameter_cm")).all()
    assert table.notes == {"c00": "no mask: HU of the whole image, with the tissue around the tumor"}


def test_features_are_read_once_and_a_damaged_cache_is_made_again(tmp_path, caplog):
    asked = []

    def read(case):
        asked.append(case.case_id)
        return read_disc(case)

    data, _, ids = study(tmp_path, read=read)
    first, asked_once = attenuation_table(data), len(asked)
    assert np.array_equal(attenuation_table(data).values, first.values, equal_nan=True)
    assert asked == ids
    (path,) = data.cache.glob("measured-*.npz")
    path.write_bytes(path.read_bytes()[:200])
    assert np.array_equal(attenuation_table(data).values, first.values, equal_nan=True)
    assert len(asked) == 2 * asked_once
    assert "is damaged" in caplog.text


def test_a_ct_that_comes_back_is_measured(tmp_path):
    cohort = make_cohort(12)
    image = tmp_path / "ct.nii"
    first = changed(cohort.cases[0], image=image)
    cohort = dataclasses.replace(cohort, cases=(first, *cohort.cases[1:]))

    def read(case):
        if case.case_id == first.case_id and not image.exists():
            raise CohortError(where="case c00", expected="the image", found="none", remedy="restore it")
        return read_disc(case)

    def measured_now():
        store = make_store(tmp_path / "slices", cohort)
        return measured_table(StudyData.of(cohort, store, read, tmp_path / "features")).column("mean_hu")[0]

    assert np.isnan(measured_now())
    image.touch()
    assert np.isfinite(measured_now())


def test_another_digest_replaces_the_cached_table(tmp_path):
    def table(value):
        return FeatureTable(case_ids=("a",), names=("x",), values=np.array([[value]]))

    assert cached_table(tmp_path, "t", "0" * 16, lambda: table(1.0)).values[0, 0] == 1
    assert cached_table(tmp_path, "t", "0" * 16, lambda: table(2.0)).values[0, 0] == 1
    assert cached_table(tmp_path, "t", "1" * 16, lambda: table(3.0)).values[0, 0] == 3
    assert [path.name for path in tmp_path.iterdir()] == [f"t-{'1' * 16}.npz"]


def test_clinical_takes_the_table_and_measures_what_it_lacks(tmp_path):
    """The disc is 11 voxels of 1 mm across."""
    data, _, _ = study(tmp_path, 4, age_years=61.0)
    cases = [changed(case, sex=sex) for case, sex in zip(data.cohort.cases, "MFO", strict=False)]
    cases = [changed(cases[0], size_cm=4.0), *cases[1:], data.cohort.cases[3]]
    data = dataclasses.replace(data, cohort=dataclasses.replace(data.cohort, cases=tuple(cases)))
    table = clinical_table(data)
    assert table.column("age_years").tolist() == [61.0] * 4
    assert table.column("male")[:2].tolist() == [1.0, 0.0]
    assert np.isnan(table.column("male")[2:]).all()
    assert np.exp(table.column("log_size_cm")[0]) == pytest.approx(4.0)
    assert np.exp(table.column("log_size_cm")[1:]) == pytest.approx([1.1] * 3, abs=0.02)
    assert table.notes == {"c02": "no sex", "c03": "no sex"}
    told = remarks_of(all_learners()["clinical"], data)
    assert "3 of 4 sizes are the largest axial diameter of the ROI" in told


def test_clinical_needs_something(tmp_path):
    data, _, _ = study(tmp_path)
    for name in ("clinical", "attenuation+clinical"):
        assert all_learners()[name].missing(data) == "no age, sex or size in cohort.csv"


def test_attenuation_and_clinical_stand_side_by_side(tmp_path):
    data, labels, ids = study(tmp_path, age_years=50.0, size_cm=3.0)
    fitted = all_learners()["attenuation+clinical"].fit(data, ids[:8], labels[:8], 0)
    assert fitted.table.names[:1] == ("mean_hu",)
    assert fitted.table.names[-3:] == ("age_years", "male", "log_size_cm")
    assert auc(fitted.probabilities(ids[8:])[:, 0], labels[8:] == 0) == 1.0


def test_notes_of_two_tables_are_joined():
    one = FeatureTable(case_ids=("a", "b"), names=("x",), values=np.ones((2, 1)), notes={"a": "no x"})
    two = FeatureTable(case_ids=("b", "a"), names=("y",), values=np.array([[1], [2]]), notes={"a": "no y"})
    both = one.joined(two)
    assert both.values.tolist() == [[1, 2], [1, 1]]
    assert both.notes == {"a": "no x; no y"}


def test_a_case_of_another_study_is_refused(tmp_path):
    data, labels, ids = study(tmp_path)
    fitted = all_learners()["attenuation"].fit(data, ids, labels, 0)
    with pytest.raises(
        CohortError,
        match=r"case zz: expected a case of the study, found no features",
    ):
        fitted.probabilities(["zz"])


def test_an_unknown_baseline_is_refused():
    with pytest.raises(ConfigError, match=r"baselines: expected one of .*clinical.*, found 'x'"):
        learners_named(["x"])


# the regression


def test_all_tumors_of_a_patient_stand_in_one_fold():
    rng = np.random.default_rng(0)
    for seed in range(20):
        n = int(rng.integers(2, 60))
        patients = [f"p{number}" for number in rng.integers(0, max(2, n // 2), n)]
        labels = rng.integers(0, 3, n)
        folds = patient_folds(labels, patients, 5, seed)
        for patient in set(patients):
            assert len({int(fold) for fold, who in zip(folds, patients, strict=True) if who == patient}) == 1
        assert set(folds.tolist()) == set(range(min(5, len(set(patients)))))


def test_folds_have_their_share_of_each_subtype():
    labels = np.repeat([0, 1], (39, 35))
    folds = patient_folds(labels, names(74), 5, 3)
    for label, least in ((0, 7), (1, 7)):
        assert np.bincount(folds[labels == label]).min() >= least


def test_a_patient_with_two_tumors_counts_once():
    assert by_patient(np.array([1.0, 3.0, 5.0]), ["a", "a", "b"]).tolist() == [2.0, 5.0]


def test_log_loss_is_minus_log_of_the_true_subtypes_probability():
    said = np.array([[0.5, 0.5], [0.25, 0.75], [0.0, 1.0]])
    assert log_losses(said, np.array([0, 1, 0])) == pytest.approx(-np.log([0.5, 0.75, 1e-6]))


def test_the_regression_is_the_ridge_regression_of_its_penalty():
    """The gradient of sum of log loss + |w|^2 / (2 C) is zero at the weights, on columns of mean 0 and SD 1."""
    rng = np.random.default_rng(1)
    values = rng.normal(5, 3, (60, 4))
    labels = (values[:, 0] + rng.normal(0, 2, 60) > 5).astype(int)
    fitted = fit_logistic(values, labels, names(60), 2, 0)
    scaled = (values - values.mean(axis=0)) / values.std(axis=0)
    away = fitted.probabilities(values)[:, 1] - labels
    weights = fitted.model.coef_[0]
    assert scaled.T @ away + weights / fitted.strength == pytest.approx(np.zeros(4), abs=1e-2)
    assert away.sum() == pytest.approx(0, abs=1e-2)
    assert fitted.strength == min(fitted.inner_loss, key=fitted.inner_loss.get)


def test_turning_many_features_changes_no_probability():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(2)
    x, asked = rng.normal(size=(30, 200)), rng.normal(size=(7, 200))
    y = np.arange(30) % 3
    turn = _turn(x)
    assert turn.shape == (200, 30)
    plain = LogisticRegression(C=0.1, tol=1e-9, max_iter=10_000).fit(x, y).predict_proba(asked)
    turned = LogisticRegression(C=0.1, tol=1e-9, max_iter=10_000).fit(x @ turn, y).predict_proba(asked @ turn)
    assert turned == pytest.approx(plain, abs=1e-5)


def test_noise_gets_a_strong_penalty_and_stays_at_chance():
    rng = np.random.default_rng(3)
    labels = np.arange(60) % 2
    found, far = [], []
    for seed in range(4):
        values = rng.normal(size=(60, 30))
        fitted = fit_logistic(values, labels, names(60), 2, seed)
        asked = rng.normal(size=(200, 30))
        said = fitted.probabilities(asked)[:, 1]
        far.append(np.abs(said - 0.5).mean())
        found.append(fitted.strength)
    assert max(found) <= 1e-2
    assert max(far) < 0.15


def test_a_sign_is_found_and_the_seed_decides_all():
    rng = np.random.default_rng(4)
    labels = np.arange(80) % 2
    values = rng.normal(size=(80, 5))
    values[:, 2] += 1.5 * labels
    fitted = fit_logistic(values[:60], labels[:60], names(60), 2, 9)
    again = fit_logistic(values[:60], labels[:60], names(60), 2, 9)
    said = fitted.probabilities(values[60:])
    assert np.array_equal(said, again.probabilities(values[60:]))
    assert auc(said[:, 1], labels[60:] == 1) > 0.75


def edge(kind):
    """Features, labels, patients and number of subtypes of a cohort that is odd in one way."""
    values = np.random.default_rng(5).normal(size=(24, 3))
    gap, labels = np.where(np.arange(3) == 1, np.nan, values), np.arange(24) % 2
    return {
        "one patient in a class": (values, (np.arange(24) == 3).astype(int), names(24), 2),
        "constant features": (np.full((24, 3), 7.0), labels, names(24), 2),
        "a column of gaps": (gap, labels, names(24), 2),
        "all gaps": (values * np.nan, labels, names(24), 2),
        "fewer patients than folds": (values[:3], labels[:3], names(3), 2),
        "three subtypes, one absent": (values, labels, names(24), 3),
        "four subtypes": (values, np.arange(24) % 4, names(24), 4),
        "two tumors a patient": (values, labels, [f"p{n // 2}" for n in range(24)], 2),
        "one patient": (values, labels, ["p"] * 24, 2),
        "one subtype": (values, labels * 0, names(24), 2),
        "separable": (np.where(np.arange(3) == 0, 1e6 * labels[:, None], values), labels, names(24), 2),
        "huge and tiny": (values * np.array([1e12, 1e-12, 1.0]), labels, names(24), 2),
    }[kind]


KINDS = [
    "one patient in a class",
    "constant features",
    "a column of gaps",
    "all gaps",
    "fewer patients than folds",
    "three subtypes, one absent",
    "four subtypes",
    "two tumors a patient",
    "one patient",
    "one subtype",
    "separable",
    "huge and tiny",
]


@pytest.mark.parametrize("kind", KINDS)
def test_odd_cohorts_get_probabilities_without_a_warning(kind):
    values, labels, patients, k = edge(kind)
    fitted = fit_logistic(values, labels, patients, k, 0)
    asked = np.vstack([values, np.full((1, 3), np.nan), np.full((1, 3), 1e9)])
    said = fitted.probabilities(asked)
    assert said.shape == (len(asked), k)
    assert said.sum(axis=1) == pytest.approx(np.ones(len(asked)))
    assert (said > 0).all()
    if kind == "constant features":
        assert said[:24, 0] == pytest.approx(np.full(24, 0.5), abs=1e-3)
    if kind == "three subtypes, one absent":
        assert said[:, 2] == pytest.approx(np.full(len(asked), 1 / 27), rel=1e-4)
    if kind == "one subtype":
        assert fitted.strength is None
        assert said[0] == pytest.approx([25 / 26, 1 / 26], rel=1e-4)
    if kind == "one patient":
        assert fitted.strength == STRENGTHS[0]
        assert fitted.inner_loss == {}


def test_what_is_not_finite_is_a_gap():
    table = FeatureTable(case_ids=("a", "b"), names=("x",), values=np.array([[np.inf], [1.0]]))
    assert np.isnan(table.values[0, 0])
    assert not table.empty


def test_a_gap_is_marked():
    """That a value is missing may itself tell: here it is all there is."""
    labels = np.arange(60) % 2
    values = np.random.default_rng(6).normal(size=(60, 1))
    values[labels == 1] = np.nan
    said = fit_logistic(values, labels, names(60), 2, 0).probabilities(np.array([[np.nan], [0.0]]))
    assert said[0, 1] > 0.9
    assert said[1, 1] < 0.1


# real figures


def kits23(table, cache):
    """The 45 PRCC and 38 ChRCC of KiTS23's clinical table, without CT, and their labels."""
    from nephroscope.intake.labels.pathology import name_of_subtype
    from nephroscope.intake.public.kits import read_kits_labels

    cases = [
        one_series(
            case_id=row.case_id,
            patient_id=row.patient_id,
            image=Path("ct"),
            format="nifti",
            sex=row.sex,
            age_years=row.age_years,
            size_cm=row.size_cm,
            subtype=name_of_subtype(row.subtype, SUBTYPES),
        )
        for row in read_kits_labels(Path(table))
    ]
    cases = tuple(case for case in cases if case.subtype in SUBTYPES)
    cohort = Cohort(subtypes=SUBTYPES, positive="PRCC", cases=cases)
    none = np.array([])
    no_ct = SimpleNamespace(digest="none", rows_by_case={}, hu=none, area_mm2=none, case_ids=none)
    labels = np.array([SUBTYPES.index(case.subtype) for case in cases])
    return StudyData.of(cohort, no_ct, None, Path(cache)), labels


def test_the_clinical_baseline_on_kits23(test_data, tmp_path):
    """decisions.md: age, sex and log size alone give AUC 0.74 on 45 PRCC and 38 ChRCC of KiTS23."""
    table = test_data / "kits23" / "dataset" / "kits23.json"
    if not table.is_file():
        pytest.skip("no kits23.json")
    data, labels = kits23(table, tmp_path)
    assert np.bincount(labels).tolist() == [45, 38]
    found = [repeated_auc(data, labels, seed) for seed in range(3)]
    assert np.mean(found) == pytest.approx(0.74, abs=0.03)


def repeated_auc(data, labels, seed):
    """AUC of the probabilities that 5 folds of patients gave to cases that they had not seen."""
    ids, candidate = [case.case_id for case in data.cohort.cases], all_learners()["clinical"]
    folds = patient_folds(labels, [case.patient_id for case in data.cohort.cases], 5, seed)
    said = np.empty(len(ids))
    for fold in range(5):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        fitted = candidate.fit(data, [ids[i] for i in train], labels[train], seed)
        said[test] = fitted.probabilities([ids[i] for i in test])[:, 0]
    return auc(said, labels == 0)


def test_the_example_of_the_how_to_is_a_whole_baseline(tmp_path, monkeypatch):
    """Its file, put beside ours, is found, fitted and asked; nothing else was told of it."""
    text = HOW_TO.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    from nephroscope.learning import learners

    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "shape_of_slices.py").write_text(code)
    monkeypatch.setattr(learners, "__path__", [*learners.__path__, str(tmp_path / "parts")])
    candidate = all_learners()["largest-slice"]
    data, labels, ids = study(tmp_path)
    assert candidate.missing(data) == ""
    said = candidate.fit(data, ids[:8], labels[:8], 0).probabilities(ids[8:])
    assert said.shape == (4, 2)
