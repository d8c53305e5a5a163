"""The synthetic cohort: what it promises about bytes, labels, headers, tumors and readers."""

import csv
import hashlib
from collections import Counter

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nephroscope.base.errors import CohortError
from nephroscope.intake.phantom import SUBTYPES, make_phantom, write, write_phantoms
from nephroscope.intake.phantom.canvas import FOREVER, Canvas, Solid, scan, turned
from nephroscope.intake.phantom.patient import ATYPICAL, DESIGNS, deal_cohorts, draw_patient, draw_roster
from nephroscope.intake.phantom.tumor import _SOLID_HU


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "export"
    named = []
    table = write_phantoms(folder, 3, seed=7, on_case=named.append)
    assert table == folder / "clinical.csv"
    assert named == ["SYNTHETIC-0001", "SYNTHETIC-0002", "SYNTHETIC-0003"]
    return folder


@pytest.fixture(scope="module")
def phantoms():
    return [make_phantom(seed=2, index=i, n_cases=12) for i in range(12)]


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def headers(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]


# --- on disk


def test_same_seed_same_bytes_whatever_the_number_of_processes(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_WORTH_A_WORKER", 1)
    monkeypatch.setattr(write.os, "cpu_count", lambda: 2)
    write_phantoms(tmp_path / "again", 3, seed=7)
    assert digests(tmp_path / "again") == digests(cohort)
    assert len(digests(cohort)) == 1 + 3 * (24 + 2)


def test_another_seed_gives_other_patients():
    assert (make_phantom(1, 0).hu != make_phantom(2, 0).hu).mean() > 0.5


def test_table_names_its_columns_and_no_path_tells_the_subtype(cohort):
    with (cohort / "clinical.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == write.COLUMNS
    assert {row["subtype"] for row in rows} == {"PRCC", "ChRCC"}
    assert {row["synthetic"] for row in rows} == {"yes"}
    assert all(row["case_id"] == row["patient_id"] for row in rows)
    assert not any("RCC" in path for path in digests(cohort))


def test_synthetic_stands_in_every_header_and_no_subtype_does(cohort):
    for header in headers(cohort):
        assert header.SyntheticData == "YES"
        assert str(header.PatientName).startswith("SYNTHETIC^000")
        assert header.PatientID.startswith("SYNTHETIC-000")
        assert header.StudyDescription.startswith("SYNTHETIC")
        assert header.SeriesDescription.startswith("SYNTHETIC")
        text = str(header).lower()
        assert not any(word in text for word in ("prcc", "chrcc", "papillary", "chromophobe"))


def test_every_image_has_its_own_uid_and_a_fixed_date(cohort):
    found = headers(cohort)
    assert len({header.SOPInstanceUID for header in found}) == len(found)
    assert {header.ContentDate for header in found} == {"20000101"}


def test_images_are_as_pydicom_would_write_them(cohort, tmp_path):
    for path in sorted((cohort / "SYNTHETIC-0002" / "ct").iterdir()):
        image = pydicom.dcmread(path)
        image.file_meta.ImplementationVersionName = "nephroscope"
        image.save_as(tmp_path / "again.dcm", enforce_file_format=True)
        assert (tmp_path / "again.dcm").read_bytes() == path.read_bytes()


def test_series_and_segmentation_give_back_the_phantom(cohort):
    phantom = make_phantom(seed=7, index=0, n_cases=3)
    case = cohort / "SYNTHETIC-0001"
    images = sorted(
        map(pydicom.dcmread, (case / "ct").iterdir()), key=lambda i: float(i.ImagePositionPatient[2])
    )
    hu = np.stack([i.pixel_array.astype(int) * int(i.RescaleSlope) + int(i.RescaleIntercept) for i in images])
    assert np.array_equal(hu, phantom.hu)
    slice_mm, row_mm, column_mm = phantom.geometry.spacing_mm
    assert float(images[0].PixelSpacing[0]) == row_mm == column_mm
    steps = np.diff([float(i.ImagePositionPatient[2]) for i in images])
    assert steps == pytest.approx(slice_mm, abs=0.011)
    order = {image.SOPInstanceUID: s for s, image in enumerate(images)}
    for reader, mask in ((1, phantom.reader1), (2, phantom.reader2)):
        seg = pydicom.dcmread(case / f"roi_reader{reader}.dcm")
        assert seg.SegmentationType == "BINARY"
        assert seg.ContentCreatorName == f"READER{reader}"
        segment = seg.SegmentSequence[0]
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
        assert segment.AnatomicRegionSequence[0].CodeMeaning == "Kidney"
        drawn = np.zeros_like(mask)
        for frame, groups in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
            source = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            drawn[order[source]] = frame.astype(bool)
        assert np.array_equal(drawn, mask)


# --- refusals


def test_a_folder_with_something_in_it_is_refused_and_kept(tmp_path):
    (tmp_path / "letter.txt").write_text("keep me")
    with pytest.raises(CohortError, match="expected a new or empty folder, found files in it"):
        write_phantoms(tmp_path, 2, seed=0)
    with pytest.raises(CohortError, match="expected a new or empty folder, found a file"):
        write_phantoms(tmp_path / "letter.txt", 2, seed=0)
    assert (tmp_path / "letter.txt").read_text() == "keep me"


@pytest.mark.parametrize(("n_cases", "seed"), [(0, 1), (2, -1)])
def test_numbers_out_of_range_are_refused(tmp_path, n_cases, seed):
    with pytest.raises(CohortError, match=f"found {n_cases} cases, seed {seed}"):
        write_phantoms(tmp_path / "new", n_cases, seed)


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CohortError, match="expected a writable folder"):
        write_phantoms(tmp_path / "file" / "new", 1, seed=0)


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def stop(case_id):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "new", 2, seed=0, on_case=stop)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "new").mkdir()
    assert write_phantoms(tmp_path / "new", 1, seed=0).is_file()


# --- who


@given(seed=st.integers(0, 9999), n_cases=st.integers(2, 300))
def test_roster_has_both_subtypes_in_kits_proportion(seed, n_cases):
    subtypes = [subtype for subtype, _ in draw_roster(seed, n_cases)]
    assert len(subtypes) == n_cases
    assert abs(subtypes.count("PRCC") - n_cases * 45 / 83) <= 0.5 or n_cases == 2
    assert set(subtypes) == {"PRCC", "ChRCC"}


def test_some_tumors_of_each_subtype_look_like_the_other():
    roster = draw_roster(0, 830)  # 450 PRCC, 380 ChRCC
    atypical = [a for a, b in roster if a != b]
    for subtype, n in (("PRCC", 450), ("ChRCC", 380)):
        assert atypical.count(subtype) == round(ATYPICAL * n) > 0
    assert [a for a, _ in roster] != sorted(a for a, _ in roster)


@given(seed=st.integers(0, 9999), n_cases=st.integers(4, 200))
def test_four_subtypes_are_dealt_in_their_proportion(seed, n_cases):
    design = DESIGNS["kits23"].of(SUBTYPES)
    dealt = Counter(subtype for subtype, _ in draw_roster(seed, n_cases, design))
    assert sum(dealt.values()) == n_cases
    for subtype, n in design.cases.items():
        assert dealt[subtype] >= 1
        assert abs(dealt[subtype] - n_cases * n / design.n_cases) <= 1 or n_cases < 8


def test_a_design_has_the_subtypes_that_are_asked_for():
    assert list(DESIGNS["kits23"].of(["oncocytoma", "PRCC"]).cases) == ["PRCC", "oncocytoma"]
    assert DESIGNS["kits23"].of(["ccRCC"]) == DESIGNS["kits23"]
    assert DESIGNS["zuo2021"].of(SUBTYPES).cases["PRCC"] == 44


def test_clear_cell_and_oncocytoma_enhance_more_and_wash_out():
    """Order and wash-out of the literature; clear cell is the uneven one of the two."""
    own = {name: _SOLID_HU[name] for name in SUBTYPES}
    for name in ("ccRCC", "oncocytoma"):
        hu = list(own[name].values())
        assert hu == sorted(hu, reverse=True)
        assert hu[0] > max(own["PRCC"]["corticomedullary"], own["ChRCC"]["corticomedullary"])
    design = DESIGNS["kits23"].of(["ccRCC", "oncocytoma"])
    spread = {"ccRCC": [], "oncocytoma": []}
    for i in range(8):
        phantom = make_phantom(3, i, 8, design)
        spread[phantom.clinical.look].append(phantom.hu[phantom.reader1].std())
    assert np.median(spread["ccRCC"]) > np.median(spread["oncocytoma"])


def test_clinical_values_follow_kits():
    drawn = {
        subtype: [draw_patient(np.random.default_rng([1, i]), i, subtype, subtype)[0] for i in range(1500)]
        for subtype in ("PRCC", "ChRCC")
    }
    for subtype, men, age, size in (("PRCC", 34 / 44, 60, 3.3), ("ChRCC", 15 / 38, 53, 4.3)):
        rows = drawn[subtype]
        assert np.mean([row.sex == "M" for row in rows]) == pytest.approx(men, abs=0.04)
        assert np.mean([row.age_years for row in rows]) == pytest.approx(age, abs=1.2)
        assert np.median([row.size_cm for row in rows]) == pytest.approx(size, abs=0.2)


def test_the_scan_does_not_know_the_subtype():
    for index in range(20):
        one = draw_patient(np.random.default_rng([1, index]), index, "PRCC", "PRCC")
        two = draw_patient(np.random.default_rng([1, index]), index, "ChRCC", "PRCC")
        assert one[1] == two[1]
        assert (one[0].phase, one[0].site_id) == (two[0].phase, two[0].site_id)


# --- what


def test_tumor_is_whole_inside_the_scan_and_as_large_as_the_table_says(phantoms):
    for phantom in phantoms:
        mask = phantom.reader1
        assert not mask[[0, -1]].any()
        assert not mask[:, [0, -1]].any()
        assert not mask[:, :, [0, -1]].any()
        extent = max(np.ptp(np.flatnonzero(mask.any(axis=axes))) + 1 for axes in ((0, 1), (0, 2)))
        measured_cm = extent * phantom.geometry.spacing_mm[1] / 10
        assert measured_cm == pytest.approx(phantom.clinical.size_cm, rel=0.25, abs=0.3)


def test_readers_differ_as_readers_do(phantoms):
    dice = [2 * (p.reader1 & p.reader2).sum() / (p.reader1.sum() + p.reader2.sum()) for p in phantoms]
    assert 0.85 < np.median(dice) < 0.95
    assert 0.6 < min(dice) < max(dice) < 1


def test_tissues_have_the_attenuation_of_their_phase(phantoms):
    for phantom in phantoms:
        hu, phase = phantom.hu, phantom.clinical.phase
        assert hu.dtype == np.int16
        assert hu[:, 0, 0].mean() == pytest.approx(-1000, abs=20)
        blood = np.percentile(hu[12, 100:180, 118:150], 95)
        assert blood > (180 if phase == "corticomedullary" else 90)


# --- tools


def test_partial_volume_keeps_the_volume_of_a_ball():
    canvas = Canvas((20, 40, 40), (2, 1, 1))
    ball = Solid(center=(0.3, -0.2, 0.6), axes=(9, 9, 9))
    covered = canvas.coverage(ball, canvas.box(ball))
    assert covered.sum() * 2 == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.02)
    assert 0 < ((covered > 0) & (covered < 1)).mean() < 0.5


def test_what_runs_through_the_scan_is_painted_on_every_slice():
    canvas = Canvas((3, 9, 9), (5, 1, 1))
    canvas.paint(Solid(center=(0, 0, 0), axes=(2, 2, FOREVER)).grown(1), 50)
    assert canvas.hu[:, 4, 4].tolist() == [50, 50, 50]
    assert canvas.hu[:, 0, 0].tolist() == [-1000] * 3


def test_turned_points_the_first_axis_where_it_says():
    solid = Solid(center=(1, 2, 3), axes=(10, 1, 1), rotation=turned(90))
    assert solid.at((1, 0, 0)) == pytest.approx((1, 12, 3))


def test_waves_do_not_depend_on_the_grid():
    coarse, fine = Canvas((1, 21, 21), (1, 2, 2)), Canvas((1, 41, 41), (1, 1, 1))
    everywhere = (slice(None),) * 3
    a = coarse.waves(everywhere, 12, np.random.default_rng(0))
    b = fine.waves(everywhere, 12, np.random.default_rng(0))
    assert b[:, ::2, ::2] == pytest.approx(a, abs=1e-4)


def test_noise_has_the_strength_asked_for_and_neighbours_share_it():
    noise = scan(np.zeros((4, 128, 128), np.float32), 1.4, 0.25, 12, np.random.default_rng(0)).astype(float)
    assert noise.std() == pytest.approx(12, rel=0.05)
    assert np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1] > 0.2
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05


def test_the_papers_cohort_has_its_test_cases_and_thin_slices():
    design = DESIGNS["zuo2021"]
    roster = draw_roster(3, design.n_cases, design)
    cohorts = deal_cohorts(roster, design)
    dealt = Counter((subtype, cohort) for (subtype, _), cohort in zip(roster, cohorts, strict=True))
    assert dealt == {
        ("PRCC", "development"): 39,
        ("ChRCC", "development"): 35,
        ("PRCC", "internal-test"): 3,
        ("ChRCC", "internal-test"): 3,
        ("PRCC", "external-test:TCIA"): 2,
        ("ChRCC", "external-test:TCIA"): 2,
    }
    thick, thin = make_phantom(3, 0, 84), make_phantom(3, 0, 84, design)
    assert thin.geometry.spacing_mm[0] == thin.acquisition.spacing_mm[0] == 1.4
    heights = [p.geometry.shape[0] * p.geometry.spacing_mm[0] for p in (thick, thin)]
    assert heights[1] == pytest.approx(heights[0], abs=1.4)
