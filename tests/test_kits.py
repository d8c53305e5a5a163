"""KiTS folders in: three layouts, the quirks of their tables, real counts, real grids, and shared patients."""

import json
import re

import nibabel
import numpy as np
import pytest

from nephroscope.base.errors import CohortError
from nephroscope.cli.imports import ImportKits
from nephroscope.facade.study import Study
from nephroscope.imaging.read import read_case
from nephroscope.intake.labels.pathology import read_pathology
from nephroscope.intake.public.kits import NO_CT, import_kits, read_kits_labels
from nephroscope.intake.public.same_patients import drop_known_patients, public_patient
from nephroscope.records import ChoiceRule, Cohort
from one_series import flat, one_series
from phantoms import read_label_map

SUBTYPES = ("PRCC", "ChRCC")
LAYOUTS = {
    "KiTS19": ("data/kits.json", "segmentation.nii.gz"),
    "KiTS21": ("kits21/data/kits.json", "aggregated_MAJ_seg.nii.gz"),
    "KiTS23": ("dataset/kits23.json", "segmentation.nii.gz"),
}
# As the projects write it: axis 0 from head to feet, axis 1 to the back, axis 2 to the left of the patient.
KITS_AFFINE = np.array([[0, 0, -0.8, 0], [0, -0.8, 0, 0], [-3.0, 0, 0, 0], [0, 0, 0, 1]], dtype=float)


def row(number, subtype="papillary", **more):
    known = {
        "case_id": f"case_{number:05}",
        "gender": "male",
        "age_at_nephrectomy": 60,
        "radiographic_size": 2.4,
    }
    return known | {"tumor_histologic_subtype": subtype} | more


def make_kits(root, release, rows, with_ct=(), masks=None):
    """A KiTS folder with volumes of 4 slices, 20 rows and 31 columns; the tumor is in the second from the head."""
    table, mask_name = LAYOUTS[release]
    place = (root / table).parent
    place.mkdir(parents=True)
    (root / table).write_text(json.dumps(rows))
    rng = np.random.default_rng(0)
    for number in with_ct:
        folder = place / f"case_{number:05}"
        folder.mkdir()
        labels = np.zeros((4, 20, 31), np.uint8)
        labels[1:3, 5:15, 3:12] = 1
        labels[1, 8:12, 4:9] = 2
        hu = rng.integers(-100, 200, labels.shape).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(hu, KITS_AFFINE), folder / "imaging.nii.gz")
        for name in masks or [mask_name]:
            (folder / name).write_bytes(nibabel.Nifti1Image(labels, KITS_AFFINE).to_bytes())
    return root


@pytest.mark.parametrize("release", LAYOUTS)
@pytest.mark.parametrize("inside", [False, True])
def test_each_release_is_known_by_its_folder(tmp_path, release, inside):
    masks = (
        [f"aggregated_{vote}_seg.nii.gz" for vote in ("MAJ", "AND", "OR")] if release == "KiTS21" else None
    )
    make_kits(tmp_path, release, [row(7), row(8, "chromophobe_rcc")], with_ct=(7, 8), masks=masks)
    folder = (tmp_path / LAYOUTS[release][0]).parent if inside else tmp_path
    found = import_kits(folder, SUBTYPES, "PRCC")
    assert found.release == release
    assert [(case.case_id, case.patient_id, case.subtype, case.site_id) for case in found.cases] == [
        ("KiTS-00007", "KiTS-00007", "PRCC", release),
        ("KiTS-00008", "KiTS-00008", "ChRCC", release),
    ]
    assert flat(found.cases[0]).roi.name == LAYOUTS[release][1]
    assert flat(found.cases[0]).tumor_label == 2
    assert flat(found.cases[0]).phase == "unknown"
    note = found.findings[0]
    assert note.code == "data-citation"
    assert "CC BY-NC-SA" in note.message
    assert release in note.message


def test_the_vote_of_kits21_is_chosen(tmp_path):
    names = [f"aggregated_{vote}_seg.nii.gz" for vote in ("MAJ", "AND", "OR")]
    make_kits(tmp_path, "KiTS21", [row(1)], with_ct=(1,), masks=names)
    for vote, name in zip(("MAJ", "AND", "OR"), names, strict=True):
        assert flat(import_kits(tmp_path, SUBTYPES, "PRCC", vote).cases[0]).roi.name == name


def test_kits21_without_label_maps_is_known_by_its_300_cases(tmp_path):
    assert (
        import_kits(
            make_kits(tmp_path / "a", "KiTS21", [row(n) for n in range(300)]), SUBTYPES, "PRCC"
        ).release
        == "KiTS21"
    )
    assert (
        import_kits(
            make_kits(tmp_path / "b", "KiTS19", [row(n) for n in range(210)]), SUBTYPES, "PRCC"
        ).release
        == "KiTS19"
    )


def test_the_tumor_lies_where_the_affine_says(tmp_path):
    """Slices are turned to run from feet to head; a matrix of 20 x 31 keeps its sides."""
    make_kits(tmp_path, "KiTS23", [row(1)], with_ct=(1,))
    volume, roi = read_case(import_kits(tmp_path, SUBTYPES, "PRCC").cases[0].chosen(ChoiceRule()))
    assert volume.hu.shape == (4, 20, 31)
    assert np.allclose(volume.geometry.spacing_mm, (3.0, 0.8, 0.8))
    assert np.flatnonzero(roi.voxels.any(axis=(1, 2))).tolist() == [2]
    assert roi.voxels.sum() == 20
    s, r, c = (indices.mean() for indices in np.nonzero(roi.voxels))
    centre = volume.geometry.affine @ (s, r, c, 1)
    assert np.allclose(centre[:3], (6 * 0.8, 9.5 * 0.8, -3.0))  # LPS: to the left, to the back, below slice 0


@pytest.mark.parametrize(
    ("age", "years"),
    [(0, None), ("0", None), (None, None), (">90", 90), (">=90", 90), ("90+", 90), ("61", 61), (61.5, 61.5)],
)
def test_ages_in_the_forms_of_the_releases(tmp_path, age, years):
    make_kits(tmp_path, "KiTS19", [row(1, age_at_nephrectomy=age)], with_ct=(1,))
    found = import_kits(tmp_path, SUBTYPES, "PRCC")
    assert found.cases[0].clinical.age_years == years
    assert len(found.findings) == 1


@pytest.mark.parametrize(
    ("gender", "sex"),
    [("male", "M"), ("female", "F"), ("transgender_male_to_female", "O"), (None, None)],
)
def test_three_genders_and_none(tmp_path, gender, sex):
    make_kits(tmp_path, "KiTS19", [row(1, gender=gender)], with_ct=(1,))
    assert import_kits(tmp_path, SUBTYPES, "PRCC").cases[0].clinical.sex == sex


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("age_at_nephrectomy", "old", "age_years"),
        ("age_at_nephrectomy", True, "age_years"),
        ("gender", "horse", "sex"),
        ("gender", {"a": 1}, "sex"),
        ("radiographic_size", 240, "size_cm"),
        ("radiographic_size", "big", "size_cm"),
    ],
)
def test_a_cell_that_cannot_be_read_is_a_finding_not_an_end(tmp_path, column, value, field):
    make_kits(tmp_path, "KiTS19", [row(1, **{column: value}), row(2)], with_ct=(1, 2))
    found = import_kits(tmp_path, SUBTYPES, "PRCC")
    assert len(found.cases) == 2
    assert getattr(flat(found.cases[0]), field) is None
    (doubt,) = [finding for finding in found.findings if finding.code == "clinical-unreadable"]
    assert (doubt.case_id, doubt.severity) == ("KiTS-00001", "warning")
    assert column in doubt.message


@pytest.mark.parametrize("typed", ["papillary", "papillary_rcc"])
def test_other_names_of_the_same_subtype(tmp_path, typed):
    make_kits(tmp_path, "KiTS19", [row(1, typed)], with_ct=(1,))
    assert import_kits(tmp_path, SUBTYPES, "PRCC").cases[0].subtype == "PRCC"


@pytest.mark.parametrize("typed", ["clear_cell_papillary_rcc", "clear_cell_papillary", "rcc_unclassified"])
def test_what_is_not_papillary_is_left_out_by_name(tmp_path, typed):
    make_kits(tmp_path, "KiTS19", [row(1, typed)], with_ct=(1,))
    (left_out,) = import_kits(tmp_path, SUBTYPES, "PRCC").exclusions
    assert left_out.case_id == "KiTS-00001"
    assert left_out.subtype == typed
    assert re.fullmatch(r"subtype \w+ is not in the study", left_out.reason)


def test_a_name_that_pathology_csv_does_not_tell_is_listed(tmp_path):
    make_kits(tmp_path, "KiTS19", [row(1, "blue tumor"), row(2)], with_ct=(1, 2))
    found = import_kits(tmp_path, SUBTYPES, "PRCC")
    assert found.exclusions[0].reason == "pathology text 'blue tumor' is not in pathology.csv"
    (doubt,) = [finding for finding in found.findings if finding.code == "subtype-unmapped"]
    assert "1 cases with a pathology text that pathology.csv does not list: 'blue tumor'" in doubt.message


def test_the_study_s_own_pathology_table_counts(tmp_path):
    make_kits(tmp_path, "KiTS19", [row(1, "blue tumor")], with_ct=(1,))
    (tmp_path / "pathology.csv").write_text(
        "text,subtype\nblue tumor,papillary\npapillary,papillary\nprcc,papillary\n"
    )
    table = read_pathology(tmp_path / "pathology.csv")
    assert import_kits(tmp_path, SUBTYPES, "PRCC", pathology=table).cases[0].subtype == "PRCC"


def test_what_is_missing_leaves_out_one_case_with_its_reason(tmp_path):
    rows = [row(1), row(2), row(3, None), row(4), {"tumor_histologic_subtype": "papillary"}, row(6)]
    make_kits(tmp_path, "KiTS19", rows, with_ct=(1, 2, 3, 4, 9))
    (tmp_path / "data" / "case_00002" / "imaging.nii.gz").write_text("version https://git-lfs.github.com\n")
    (tmp_path / "data" / "case_00004" / "segmentation.nii.gz").unlink()
    found = import_kits(tmp_path, SUBTYPES, "PRCC")
    assert [case.case_id for case in found.cases] == ["KiTS-00001"]
    assert {one.case_id: one.reason for one in found.exclusions} == {
        "KiTS-00002": NO_CT,
        "KiTS-00003": "tumor_histologic_subtype is null in kits.json",
        "KiTS-00004": "segmentation.nii.gz is not in its folder (case_00012 of KiTS-00012); "
        "only cases with the project's label map can be used",
        "KiTS19 row 5": "row 5 of kits.json has no case_id such as case_00012",
        "KiTS-00006": NO_CT,
        "KiTS-00009": "no label row names it",
    }
    counts = {count.subtype: (count.in_table, count.with_ct) for count in found.counts}
    assert counts == {"PRCC": (4, 2), "not said": (2, 1)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"found no readable JSON \(JSONDecodeError\)"),
        ("[" * 100_000, r"found no readable JSON \(NestingError\)"),
        ("{}", r"found something else"),
        ("[1]", r"found something else"),
        ('[{"case_id": "case_00000"}]', r"found 1 rows without it; update the clone"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, message):
    (tmp_path / "kits.json").write_text(text)
    with pytest.raises(CohortError, match=message):
        import_kits(tmp_path, SUBTYPES, "PRCC")


def test_no_table_and_two_tables_are_refused(tmp_path):
    with pytest.raises(CohortError, match=r"expected one clinical table of KiTS .* found no folder"):
        import_kits(tmp_path / "none", SUBTYPES, "PRCC")
    with pytest.raises(CohortError, match=r"found none; give the folder of one release"):
        import_kits(tmp_path, SUBTYPES, "PRCC")
    make_kits(tmp_path / "a", "KiTS19", [row(1)])
    make_kits(tmp_path / "a/kits", "KiTS23", [row(1)])
    (tmp_path / "a/kits/dataset").rename(tmp_path / "a/dataset")
    with pytest.raises(CohortError, match=r"found data/kits.json and dataset/kits23.json"):
        import_kits(tmp_path / "a", SUBTYPES, "PRCC")


def test_labels_alone_for_c4kc(tmp_path):
    make_kits(tmp_path, "KiTS23", [row(1), row(2, None)])
    labels = read_kits_labels(tmp_path / "dataset/kits23.json")
    assert [(label.case_id, label.subtype) for label in labels] == [("KiTS-00001", "papillary")]


# Shared patients


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("case_00012", "KiTS-00012"),
        ("KiTS-00012", "KiTS-00012"),
        ("kits_00012", "KiTS-00012"),
        ("TCGA-B9-4114", "TCGA-B9-4114"),
        ("tcga-b9-4114-01A-11R", "TCGA-B9-4114"),
        ("C3L-01465", "C3L-01465"),
        ("case_12", None),
        ("TCGA-B9-41145", None),
        ("patient 12", None),
    ],
)
def test_names_of_public_patients(name, same):
    assert public_patient(name) == same


def case(name, patient=None, **more):
    return one_series(case_id=name, patient_id=patient or name, image="ct", format="nifti", **more)


def test_the_first_release_in_stays():
    cohort = Cohort(
        subtypes=SUBTYPES,
        positive="PRCC",
        cases=(case("KiTS-00012", site_id="KiTS23", subtype="PRCC"), case("p1"), case("p2", "p1")),
    )
    new = (
        case("case_00012", site_id="KiTS19", subtype="ChRCC"),
        case("KiTS-00013"),
        case("p3", "p1"),
    )
    kept, dropped, findings = drop_known_patients(new, cohort)
    assert [one.case_id for one in kept] == ["KiTS-00013", "p3"]
    assert [(one.case_id, one.subtype) for one in dropped] == [("case_00012", "ChRCC")]
    assert dropped[0].reason == "the same patient as KiTS-00012, already in the study from KiTS23"
    assert [finding.code for finding in findings] == ["patient-shared", "patient-contradicts"]
    assert findings[0].message.startswith("1 of 3 cases belong to patients already in the study (case_00012)")
    assert findings[1].message.startswith("its subtype is PRCC from KiTS23 and ChRCC from KiTS19")


def test_of_two_cases_of_one_patient_the_first_is_told():
    cases = (case("KiTS-00012", site_id="KiTS23"), case("case_00012", site_id="KiTS19"))
    cohort = Cohort(subtypes=SUBTYPES, positive="PRCC", cases=cases)
    _, (dropped,), _ = drop_known_patients([case("KITS-00012", site_id="x")], cohort)
    assert dropped.reason == "the same patient as KiTS-00012, already in the study from KiTS23"


def test_the_study_imports_kits_without_the_command(tmp_path):
    make_kits(tmp_path / "a", "KiTS23", [row(1), row(2, "chromophobe_rcc")], with_ct=(1,))
    study = Study.create(tmp_path / "study", SUBTYPES)
    cohort, found = study.import_kits(tmp_path / "a")
    assert [one.case_id for one in cohort.cases] == ["KiTS-00001"]
    assert found.release == "KiTS23"
    assert [one.case_id for one in study.cohort.exclusions] == ["KiTS-00002"]


def test_nobody_is_dropped_from_an_empty_study():
    cases = (case("KiTS-00001"), case("case_00001x"))
    assert drop_known_patients(cases, None) == (cases, (), ())


def test_two_releases_in_one_study(tmp_path):
    make_kits(tmp_path / "a", "KiTS23", [row(1), row(2, "chromophobe_rcc")], with_ct=(1, 2))
    make_kits(tmp_path / "b", "KiTS19", [row(2, "chromophobe"), row(3)], with_ct=(2, 3))
    Study.create(tmp_path / "study", SUBTYPES)
    first = ImportKits(study=tmp_path / "study", source=tmp_path / "a").run()
    assert first.data["table"][0] == {
        "subtype": "PRCC",
        "in_study": True,
        "in_table": 1,
        "with_ct": 1,
        "without_ct": 0,
    }
    second = ImportKits(study=tmp_path / "study", source=tmp_path / "b").run()
    assert second.data["release"] == "KiTS19"
    assert second.data["cases"] == second.data["patients"] == 3
    assert {"KiTS-00002"} == {
        one["case_id"]
        for one in second.data["exclusions"]
        if "already in the study from KiTS23" in one["reason"]
    }
    assert "1 of 2 cases belong to patients already in the study" in second.text


def test_the_same_release_again_after_its_ct_was_downloaded(tmp_path):
    """Who was left out for want of a CT comes in; who is in stays; nobody is counted twice."""
    rows = [row(1), row(2, "chromophobe_rcc"), row(3, "oncocytoma")]
    make_kits(tmp_path / "a", "KiTS23", rows, with_ct=(1,))
    Study.create(tmp_path / "study", SUBTYPES)
    command = ImportKits(study=tmp_path / "study", source=tmp_path / "a")
    first = command.run().data
    assert {one["case_id"] for one in first["exclusions"]} == {"KiTS-00002", "KiTS-00003"}
    make_kits(tmp_path / "b", "KiTS23", rows, with_ct=(2,))
    (tmp_path / "b/dataset/case_00002").rename(tmp_path / "a/dataset/case_00002")
    for _ in range(2):
        again = command.run().data
        assert again["by_subtype"] == {"PRCC": 1, "ChRCC": 1}
        assert [one["case_id"] for one in again["exclusions"]] == ["KiTS-00003"]
        assert len(again["findings"]) == 1


# Real data


def test_real_counts_of_kits23(test_data, tmp_path):
    Study.create(tmp_path / "study", SUBTYPES)
    outcome = ImportKits(study=tmp_path / "study", source=test_data / "kits23").run()
    table = {count["subtype"]: count for count in outcome.data["table"]}
    assert (table["PRCC"]["in_table"], table["ChRCC"]["in_table"]) == (45, 38)
    assert (table["PRCC"]["without_ct"], table["ChRCC"]["without_ct"]) == (45, 38)
    assert table["clear_cell_papillary"] == {
        "subtype": "clear_cell_papillary",
        "in_study": False,
        "in_table": 12,
        "with_ct": 0,
        "without_ct": 12,
    }
    assert outcome.data["excluded"] == 489
    assert sum(one["reason"] == NO_CT for one in outcome.data["exclusions"]) == 83
    assert "no CT in kits23" in outcome.warning


@pytest.mark.parametrize("name", ["case_00088", "case_00113"])
def test_a_synthetic_ct_on_a_real_grid(test_data, tmp_path, name):
    """The label map's own affine, by nibabel alone, is the yardstick for the tumor's place and volume."""
    source = test_data / "kits23" / "dataset" / name
    stored = nibabel.load(source / "segmentation.nii.gz")
    labels = np.asarray(stored.dataobj)
    folder = tmp_path / name
    folder.mkdir()
    (folder / "segmentation.nii.gz").symlink_to(source / "segmentation.nii.gz")
    ct = nibabel.Nifti1Image((labels.astype(np.int16) * 40 - 20), stored.affine)
    (folder / "imaging.nii.gz").write_bytes(ct.to_bytes())
    (tmp_path / "kits23.json").write_text(json.dumps([row(int(name[5:]))]))
    volume, roi = read_case(import_kits(tmp_path, SUBTYPES, "PRCC").cases[0].chosen(ChoiceRule()))
    where = np.argwhere(labels == 2)
    ml = len(where) * abs(np.linalg.det(stored.affine[:3, :3])) / 1000
    assert roi.voxels.sum() * np.prod(volume.geometry.spacing_mm) / 1000 == pytest.approx(ml, rel=1e-4)
    assert (volume.hu[roi.voxels] == 60).all()
    ras = nibabel.affines.apply_affine(stored.affine, where.mean(axis=0))
    centre = volume.geometry.affine @ (*np.argwhere(roi.voxels).mean(axis=0), 1)
    assert np.allclose(centre[:3], ras * (-1, -1, 1), atol=0.01)
    assert volume.geometry.affine[2, 0] > 0  # the slice index grows towards the head
    upper, lower = _poles(read_label_map(folder / "segmentation.nii.gz")[0] > 0)
    assert upper > lower  # and there kidneys lie farther back


def _poles(organ):
    """Mean row (to the back) of the upper and of the lower fifth of what is labelled, slices from feet to head."""
    slices, rows, _ = np.nonzero(organ)
    low, high = np.quantile(slices, (0.2, 0.8))
    return rows[slices >= high].mean(), rows[slices <= low].mean()


def test_small_volumes_are_volumes_and_pointers_are_none(tmp_path):
    make_kits(tmp_path, "KiTS23", [row(7), row(8)], with_ct=(7, 8))
    place = tmp_path / "dataset"
    flat = nibabel.Nifti1Image(np.zeros((4, 20, 31), np.int16), KITS_AFFINE)
    nibabel.save(flat, place / "case_00007" / "imaging.nii.gz")
    assert (place / "case_00007" / "imaging.nii.gz").stat().st_size < 1000
    (place / "case_00008" / "imaging.nii.gz").write_bytes(
        b"version https://git-lfs.github.com/spec/v1 " * 100
    )
    found = import_kits(tmp_path, SUBTYPES, "PRCC")
    assert [case.case_id for case in found.cases] == ["KiTS-00007"]
    assert [(e.case_id, e.reason) for e in found.exclusions] == [("KiTS-00008", NO_CT)]


def test_rows_that_are_no_objects_leave_out_themselves_alone(tmp_path):
    make_kits(tmp_path, "KiTS23", [None, row(7), "x"], with_ct=(7,))
    found = import_kits(tmp_path, SUBTYPES, "PRCC")
    assert [case.case_id for case in found.cases] == ["KiTS-00007"]
    reason = "row {} of kits23.json has no case_id such as case_00012"
    assert [e.reason for e in found.exclusions] == [reason.format(1), reason.format(3)]
