"""One patient under two names is found before a split: by the name, by equal pixels, and by copies of them."""

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from nephroscope import Study
from nephroscope.base.errors import CohortError
from nephroscope.cli import run
from nephroscope.records import SplitConfig
from nephroscope.study import near_copies as module
from nephroscope.study.doubles import check_names, check_patients
from nephroscope.study.near_copies import Copied, copied_patients
from nephroscope.study.slices import cut_cohort
from small_study import SPEC, make_cohort, make_store, read_disc
from test_study import make_study


def named(cohort, **patients):
    cases = tuple(
        replace(case, patient_id=patients.get(case.case_id, case.patient_id)) for case in cohort.cases
    )
    return replace(cohort, cases=cases)


def codes(findings):
    return {finding.code: finding for finding in findings}


def test_patients_of_their_own_are_not_doubted(tmp_path):
    cohort = make_cohort()
    assert check_patients(cohort, make_store(tmp_path, cohort)) == ()


def test_names_alike_are_a_warning_that_names_the_pair(tmp_path):
    cohort = named(make_cohort(), c00="Q31", c02="q-031", c04="X7_L", c06="X7_R")
    found = codes(check_patients(cohort, make_store(tmp_path, cohort)))
    assert set(found) == {"patients-spelled-alike", "patients-maybe-one"}
    assert "Q31 = q-031" in found["patients-spelled-alike"].message
    assert "X7_L = X7_R" in found["patients-maybe-one"].message
    assert codes(check_names(cohort)) == found
    assert {f.severity for f in found.values()} == {"warning"}


def test_signs_that_nobody_sees_are_spelled_out():
    (found,) = check_names(named(make_cohort(), c00="Q31", c02="Q31\u200b"))
    assert "Q31 = 'Q31\\u200b'" in found.message


def test_one_spelling_with_two_subtypes_is_refused(tmp_path):
    cohort = named(make_cohort(), c00="Q31", c01="Q-31", c02="X7", c03="X07")
    with pytest.raises(CohortError) as refusal:
        check_patients(cohort, make_store(tmp_path, cohort))
    assert refusal.value.found == "Q-31 (ChRCC) = Q31 (PRCC), X07 (ChRCC) = X7 (PRCC)"


def test_two_sides_or_two_sites_may_have_two_subtypes(tmp_path):
    cohort = named(make_cohort(), c00="P01 L", c01="P01 R", c02="7", c03="007")
    cohort = replace(
        cohort, cases=tuple(replace(c, site_id="B") if c.patient_id == "007" else c for c in cohort.cases)
    )
    assert set(codes(check_patients(cohort, make_store(tmp_path, cohort)))) == {
        "patients-maybe-one",
        "patients-spelled-alike",
    }


def copies_of(pairs, change=lambda hu, voxels: (hu, voxels)):
    """Reads some cases from the pixels of others, changed."""

    def read(case):
        source = pairs.get(case.case_id)
        if source is None:
            return read_disc(case)
        number = next(c for c in make_cohort().chosen if c.case_id == source)
        volume, roi = read_disc(number)
        hu, voxels = change(volume.hu, roi.voxels)
        hu, voxels = np.ascontiguousarray(hu), np.ascontiguousarray(voxels)
        return replace(volume, hu=hu), replace(roi, voxels=voxels, case_id=case.case_id)

    return read


def test_equal_pixels_of_two_patients_are_named(tmp_path):
    cohort = make_cohort()
    store = cut_cohort(cohort.chosen, copies_of({"c02": "c00", "c03": "c01"}), SPEC, tmp_path, "d")
    (found,) = check_patients(cohort, store)
    assert found.code == "patients-same-images"
    assert "p00 = p02 (4 slices equal), p01 = p03 (4 slices equal)" in found.message


def test_equal_pixels_with_two_subtypes_are_refused(tmp_path):
    cohort = make_cohort()
    store = cut_cohort(cohort.chosen, copies_of({"c01": "c00"}), SPEC, tmp_path, "d")
    with pytest.raises(CohortError) as refusal:
        check_patients(cohort, store)
    assert refusal.value.found == "p00 (PRCC) = p01 (ChRCC) (4 slices equal)"


def test_one_patient_with_two_cases_on_the_same_pixels_is_no_double(tmp_path):
    cohort = named(make_cohort(), c02="p00")
    store = cut_cohort(cohort.chosen, copies_of({"c02": "c00"}), SPEC, tmp_path, "d")
    assert check_patients(cohort, store) == ()


def other_roi(hu, voxels):
    smaller = voxels.copy()
    smaller[:, :, 14:] = False
    return hu, smaller


def test_one_ct_with_another_roi_is_one_patient_but_maybe_another_tumor(tmp_path):
    cohort = make_cohort()
    store = cut_cohort(cohort.chosen, copies_of({"c01": "c00"}, other_roi), SPEC, tmp_path, "d")
    (found,) = check_patients(cohort, store)
    assert found.code == "patients-same-images"
    assert "p00 = p01 (4 slices of one CT)" in found.message


@pytest.mark.parametrize(
    "flip", [(slice(None), slice(None, None, -1)), (slice(None),) * 2 + (slice(None, None, -1),)]
)
def test_mirrored_volumes_are_copies(tmp_path, flip):
    cohort = make_cohort()
    read = copies_of({"c02": "c00"}, lambda hu, voxels: (hu[flip], voxels[flip]))
    (found,) = check_patients(cohort, cut_cohort(cohort.chosen, read, SPEC, tmp_path, "d"))
    assert found.code == "patients-near-images"
    assert "p00 = p02 (4 slices alike)" in found.message


def test_a_copy_with_another_subtype_is_refused(tmp_path):
    cohort = make_cohort()
    read = copies_of({"c01": "c00"}, lambda hu, voxels: (hu[:, ::-1], voxels[:, ::-1]))
    with pytest.raises(CohortError, match="p00"):
        check_patients(cohort, cut_cohort(cohort.chosen, read, SPEC, tmp_path, "d"))


def scan(seed, size=128):
    """Abdomens of one shape, with a tumor of one of two values, which differ in their noise alone."""
    y, x = np.mgrid[:size, :size] / size
    hu = np.where(((x - 0.5) / 0.45) ** 2 + ((y - 0.5) / 0.35) ** 2 < 1, 50.0, -1000.0)
    hu[(y - 0.5) ** 2 + (x - 0.6) ** 2 < 0.01] = 75 + 30 * (seed % 2)
    noise = np.random.default_rng(seed).normal(0, 12, hu.shape)
    return (hu + noise * (hu > -500)).round().astype(np.int16)


def seen(hu, level, width, quality=None):
    """As an 8-bit picture through a window and back."""
    gray = np.clip((hu - level + width / 2) / width * 255, 0, 255).round().astype(np.uint8)
    if quality:
        file = io.BytesIO()
        Image.fromarray(gray).save(file, "JPEG", quality=quality)
        gray = np.asarray(Image.open(file))
    return np.round(level - width / 2 + gray / 255.0 * width).astype(np.int16)


CHANGES = {
    "window": lambda hu: seen(hu, 50, 350),
    "wide window": lambda hu: seen(hu, 40, 1500),
    "jpeg 90": lambda hu: seen(hu, 40, 400, 90),
    "jpeg 75": lambda hu: seen(hu, 40, 400, 75),
    "jpeg 70, window": lambda hu: seen(hu, 30, 350, 70),
    "mirrored": lambda hu: hu[:, ::-1],
    "upside down, jpeg": lambda hu: seen(hu[::-1], 40, 400, 80),
    "turned, window": lambda hu: seen(hu[::-1, ::-1], 30, 300),
    "brighter": lambda hu: (hu * 0.8 + 15).astype(np.int16),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("buckets", [False, True])
def test_copies_are_found_and_strangers_are_not(monkeypatch, change, buckets):
    if buckets:
        monkeypatch.setattr(module, "EACH_WITH_EACH", 0)
    originals = [scan(seed) for seed in range(30)]
    copies = [CHANGES[change](hu) for hu in originals[:10]]
    hu = np.stack([*originals, *copies])
    found = copied_patients(hu, range(40), [f"p{i:02}" for i in range(40)])
    pairs = {(pair.one, pair.other) for pair in found}
    assert pairs <= {(f"p{i:02}", f"p{30 + i}") for i in range(10)}
    assert len(pairs) >= (7 if buckets else 10)  # of a case with several slices, one is enough


def test_one_slice_of_many_that_is_alike_is_chance():
    rng = np.random.default_rng(5)
    slices = [rng.normal(40, 20, (64, 64)).astype(np.int16) for _ in range(19)]
    owner = ["a"] * 10 + ["b"] * 10
    one_alike = np.stack([*slices, slices[0][::-1]])
    assert list(copied_patients(one_alike, range(20), owner)) == []
    half_alike = np.stack([*slices[:15], *(one[:, ::-1] for one in slices[:5])])
    (found,) = copied_patients(half_alike, range(20), owner)
    assert found == Copied(one="a", other="b", n_slices=5, sure=True)


def test_pictures_without_noise_are_not_compared():
    flat = np.zeros((2, 64, 64), np.int16)
    flat[:, 20:40, 20:40] = 100
    assert list(copied_patients(flat, range(2), ["a", "b"])) == []


def test_slices_per_case_that_look_wrong_are_warnings():
    cohort = make_cohort()
    one = _Counted(dict.fromkeys(cohort.by_id, 1))
    assert set(codes(check_patients(cohort, one))) == {"one-slice-per-case"}
    uneven = _Counted({**dict.fromkeys(cohort.by_id, 4), "c05": 40})
    (found,) = check_patients(cohort, uneven)
    assert found.code == "slices-per-case-vary"
    assert "c05 has 40 slices" in found.message
    assert check_patients(cohort, _Counted({**dict.fromkeys(cohort.by_id, 4), "c05": 39})) == ()
    by_size = dict(zip(cohort.by_id, (1, 6, 8, 9, 11, 22), strict=False))  # as many as a tumor is high
    assert check_patients(cohort, _Counted(by_size)) == ()


class _Counted:
    """Slices of which only their numbers matter."""

    def __init__(self, counts):
        self.rows_by_case = {name: np.arange(n) for name, n in counts.items()}
        self.case_ids, self.hu, self.planes = [], [], {}


@pytest.fixture
def on_disk(tmp_path):
    study = make_study(tmp_path / "study")
    table = study.folder.cohort_csv
    table.write_text(table.read_text(encoding="utf-8").replace("c02,c02,", "c02,C0,"), encoding="utf-8")
    study.cut_slices()
    return study


def test_the_split_keeps_what_was_doubted(on_disk):
    doubts = on_disk.make_split(SplitConfig(folds=2)).findings
    assert set(codes(doubts)) == {"patients-spelled-alike"}
    assert Study(on_disk.folder.root).split().findings == doubts
    assert on_disk.check_patients() == doubts


def test_check_and_split_say_it_and_a_contradiction_writes_no_split(on_disk, capsys):
    root = str(on_disk.folder.root)
    assert run(["split", root, "--folds", "2"]) == 0
    assert "[patients-spelled-alike]" in "".join(capsys.readouterr())
    assert run(["check", root, "--json"]) == 0
    assert [f["code"] for f in json.loads(capsys.readouterr().out)["of_the_study"]] == [
        "patients-spelled-alike"
    ]
    table = on_disk.folder.cohort_csv
    table.write_text(table.read_text(encoding="utf-8").replace("c01,c01,", "c01,C00.0,"), encoding="utf-8")
    on_disk.folder.splits.unlink()
    assert run(["split", root, "--folds", "2"]) == 2
    assert not on_disk.folder.splits.exists()
    assert run(["check", root]) == 3


def test_a_repeated_import_replaces_its_own_exclusions(tmp_path, capsys):
    study = make_study(tmp_path / "study", n_cases=4)
    root, folder = study.folder.root, study.folder.root / "volumes"
    write_labels(root / "labels.csv", {"c00": "PRCC", "1": "ChRCC", "C02": "PRCC"})
    other = root / "other"
    other.mkdir()
    shutil.copy(folder / "c03.nii.gz", other / "X9.nii.gz")
    study.import_nifti(other, root / "labels.csv")
    study.folder.cohort_csv.write_text("case_id,subtype\n", encoding="utf-8")
    for name in ("series.csv", "rois.csv"):
        table = root / name
        table.write_text(table.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    first = study.import_nifti(folder, root / "labels.csv")
    hints = {one.case_id: one.hint for one in first.exclusions}
    assert hints["c02"] == "did you mean C02?"
    assert "X9" in hints
    (found,) = study.check_patients()
    assert (found.code, found.severity) == ("identifier-near", "warning")
    run(["import", "nifti", str(root), str(folder), "--labels", str(root / "labels.csv")])
    assert "did you mean C02?" in capsys.readouterr().out
    write_labels(root / "labels.csv", {f"c0{i}": "PRCC" for i in range(4)})
    again = study.import_nifti(folder, root / "labels.csv")
    assert {one.case_id for one in again.exclusions} <= {"X9", "1", "C02", "c00", "c01", "c02", "c03"}
    assert {one.case_id for one in again.exclusions if one.reason == "no label row names it"} == {"X9"}
    assert len(again.cases) == 4


def write_labels(path, subtypes):
    rows = "".join(f"{name},{subtype}\n" for name, subtype in subtypes.items())
    path.write_text("case_id,subtype\n" + rows, encoding="utf-8")


def test_no_names_in_an_edited_cohort(on_disk):
    table = on_disk.folder.cohort_csv
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("c01,c01,", "c01,NA,").replace("c03,c03,", "c03,nan,"), encoding="utf-8")
    assert [case.patient_id for case in on_disk.cohort.cases][:4] == ["c00", "c01", "C0", "c03"]
    table.write_text(text.replace("c01,c01,", "nan,c01,"), encoding="utf-8")
    with pytest.raises(CohortError, match="row 3, column case_id: expected a name, found 'nan'"):
        _ = on_disk.cohort
