import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from nephroscope import Study
from nephroscope.base.errors import ConfigError, RoiError, StudyError
from nephroscope.cli import run
from nephroscope.imaging.read import read_case, read_roi
from nephroscope.records import Cohort, RoiMask, VolumeGeometry
from nephroscope.regions.agreement import compare
from nephroscope.regions.agreement_files import compare_files
from nephroscope.report.annotators.figures import Cut, Worst, cut_out, edges
from nephroscope.study.cohort_table import save_cohort
from one_series import changed
from phantoms import SHAPE, box_affine, box_tumor, box_volume, dicom_slices, write_nifti, write_seg
from small_study import make_cohort, read_disc
from test_label_map import labels, nrrd_bytes, slicer


def mask(voxels, affine=None, case_id="P1"):
    geometry = VolumeGeometry(shape=voxels.shape, affine=box_affine() if affine is None else affine)
    return RoiMask(voxels=voxels, geometry=geometry, case_id=case_id)


def moved_tumor():
    """One slice higher, one column to the side, and a column less wide: slices 2 to 5, columns 9 to 17."""
    two = np.zeros(SHAPE, bool)
    two[2:6, 10:22, 9:18] = True
    return two


# ---- two masks


def test_two_boxes_by_hand():
    """480 and 432 voxels of 1.575 mm3; 3 slices of 12 x 9 are common."""
    found = compare(mask(box_tumor()), mask(moved_tumor()))
    assert found.dice == pytest.approx(2 * 324 / (480 + 432))
    assert found.volume_ml_1 == pytest.approx(480 * 2.5 * 0.9 * 0.7 / 1000)
    assert found.volume_difference_ml == pytest.approx(-48 * 0.001575)
    assert found.volume_difference_percent == pytest.approx(-100 * 48 / 456)
    assert found.n_slices_both == 3
    assert (found.slices_only_1, found.slices_only_2) == ((1,), (5,))
    assert found.box == ((1, 5), (10, 21), (8, 17))
    assert found.hausdorff_mm == pytest.approx(np.hypot(2.5, 0.7))
    assert found.diameter_mm_1 == pytest.approx(np.hypot(11 * 0.9, 10 * 0.7), abs=0.6)
    assert found.tolerance_mm == 2.0


def test_order_of_readers_only_turns_signs():
    one, two = mask(box_tumor()), mask(moved_tumor())
    there, back = compare(one, two), compare(two, one)
    assert (there.dice, there.surface_dice, there.hd95_mm) == (back.dice, back.surface_dice, back.hd95_mm)
    assert there.volume_difference_percent == -back.volume_difference_percent
    assert there.slices_only_1 == back.slices_only_2


def test_equal_masks_and_masks_apart():
    found = compare(mask(box_tumor()), mask(box_tumor()))
    assert (found.dice, found.surface_dice, found.hausdorff_mm) == (1, 1, 0)
    far = np.zeros(SHAPE, bool)
    far[1:5, 30:34, 40:44] = True
    found = compare(mask(box_tumor()), mask(far))
    assert (found.dice, found.surface_dice) == (0, 0)
    assert found.n_slices_both == 4


def test_what_lies_around_does_not_matter():
    one, two = box_tumor(), moved_tumor()
    wide = [np.pad(m, 5) for m in (one, two)]
    affine = box_affine()
    affine[:3, 3] -= affine[:3, :3] @ (5, 5, 5)
    small, large = compare(mask(one), mask(two)), compare(*(mask(m, affine) for m in wide))
    assert large.hd95_mm == pytest.approx(small.hd95_mm)
    assert large.surface_dice == pytest.approx(small.surface_dice)
    assert large.slices_only_2 == (10,)


def test_other_grids_are_refused():
    shifted = box_affine()
    shifted[2, 3] += 2.5
    with pytest.raises(
        RoiError, match=r"case P1: expected both annotators' ROIs on one grid, 6 x 40 x 48.*export both"
    ):
        compare(mask(box_tumor()), mask(box_tumor(), shifted))


# ---- files without a CT


def test_two_segs_are_laid_on_one_grid(tmp_path):
    """The second SEG holds one slice more, below: its own grid begins elsewhere."""
    images = dicom_slices()
    low = box_tumor()
    low[0] = low[1]
    one = write_seg(images, {"Tumor": box_tumor(), "Kidney": ~box_tumor()}, tmp_path / "a.dcm")
    two = write_seg(images, {"tumor": low, "Cyst": box_tumor()}, tmp_path / "b.dcm")
    found = compare_files(one, two)
    (part,) = found.segments
    assert part.case_id == "Tumor"
    assert part.dice == pytest.approx(2 * 480 / (480 + 600))
    assert (part.n_slices_both, part.slices_only_1, part.slices_only_2) == (4, (), (0,))
    assert (found.only_1, found.only_2) == (("Kidney",), ("Cyst",))
    back = compare_files(two, one, "TUMOR").segments[0]
    assert (back.slices_only_1, back.dice) == ((0,), part.dice)


def test_a_sparse_seg_begins_where_it_begins(tmp_path):
    images, upper = dicom_slices(), box_tumor()
    upper[:3] = False
    one = write_seg(images, {"Tumor": upper}, tmp_path / "a.dcm")
    two = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "b.dcm")
    part = compare_files(one, two).segments[0]
    assert part.dice == pytest.approx(2 * 240 / (240 + 480))
    assert part.volume_ml_2 == pytest.approx(480 * 0.001575)
    assert len(part.slices_only_2) == 2


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_every_kind_of_seg_is_read(tmp_path, kind):
    images = dicom_slices()
    one = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "a.dcm", kind=kind)
    two = write_seg(images, {"Tumor": moved_tumor()}, tmp_path / "b.dcm")
    assert compare_files(one, two).segments[0].dice == pytest.approx(2 * 324 / 912)


def test_two_segments_of_one_label_keep_their_numbers(tmp_path):
    seg = write_seg(dicom_slices(), {"Tumor": box_tumor(), "tumor": moved_tumor()}, tmp_path / "a.dcm")
    assert [part.case_id for part in compare_files(seg, seg).segments] == ["Tumor 1", "tumor 2"]


def test_two_segments_of_one_name_in_a_label_map_do_not_hide_each_other(tmp_path):
    """Number 1 is the kidney's 2400 voxels, number 2 the tumor's 480; both are called mass."""
    named = {**slicer(0, "Mass"), **slicer(1, "mass")}
    (tmp_path / "a.nrrd").write_bytes(nrrd_bytes(**named))
    found = compare_files(tmp_path / "a.nrrd", tmp_path / "a.nrrd")
    sizes = {part.case_id: round(part.volume_ml_1 / 0.001575) for part in found.segments}
    assert sizes == {"Mass 1": np.count_nonzero(labels() == 1), "mass 2": np.count_nonzero(labels() == 2)}


def test_exactly_one_half_is_no_tumor(tmp_path):
    path = write_seg(dicom_slices(uid="1.2.3"), {"Tumor": box_tumor()}, tmp_path / "a.dcm", kind="FRACTIONAL")
    seg = pydicom.dcmread(path)
    pixels = np.where(seg.pixel_array > 0, 254, 0).astype(np.uint8)
    pixels[:, 10] //= 2
    seg.PixelData, seg.MaximumFractionalValue = pixels.tobytes(), 254
    seg.save_as(path)
    (part,) = compare_files(path, path).segments
    n_voxels = np.count_nonzero(read_roi(path, box_volume(), "P1").voxels)
    assert part.volume_ml_1 == pytest.approx(n_voxels * 0.001575)
    assert n_voxels == 480 - 4 * 10


def test_many_labels_do_not_fill_the_memory(tmp_path):
    """60 labels in 64 x 128 x 128 voxels: whole masks would take 63 MB for each file."""
    labels = np.zeros((64, 128, 128), np.uint8)
    for value in range(1, 61):
        labels[value, 4:9, 4:9] = value
    path = write_nifti(labels, tmp_path / "a.nii.gz")
    tracemalloc.start()
    found = compare_files(path, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.segments) == 60
    assert found.segments[9].box == ((10, 10), (4, 8), (4, 8))
    assert peak < 45e6


def test_files_far_apart_do_not_fill_the_memory(tmp_path):
    affine = box_affine()
    affine[2, 3] += 2.5 * 10_000_000
    one = write_nifti(box_tumor().astype(np.uint8), tmp_path / "a.nii.gz")
    two = write_nifti(box_tumor().astype(np.uint8), tmp_path / "b.nii.gz", affine)
    with pytest.raises(
        RoiError, match=r"file b.nii.gz: expected a grid of at most 536870912 voxels .* found 10000006"
    ):
        compare_files(one, two)


def test_label_maps_are_compared_value_by_value(tmp_path):
    labels = box_tumor().astype(np.uint8) * 2
    labels[0, 0, 0] = 1
    one = write_nifti(labels, tmp_path / "a.nii.gz")
    two = write_nifti(moved_tumor().astype(np.uint8) * 2, tmp_path / "b.nii.gz")
    found = compare_files(one, two)
    assert [part.case_id for part in found.segments] == ["label 2"]
    assert found.segments[0].dice == compare(mask(box_tumor()), mask(moved_tumor())).dice
    assert found.only_1 == ("label 1",)
    (part,) = found.segments
    assert (part.slices_only_1, part.slices_only_2) == ((1,), (5,))
    assert part.box == ((1, 5), (10, 21), (8, 17))


def test_files_that_cannot_be_compared_are_refused(tmp_path):
    one = write_seg(dicom_slices(), {"Tumor": box_tumor()}, tmp_path / "a.dcm")
    other = write_seg(dicom_slices(), {"Tumor": box_tumor()}, tmp_path / "b.dcm")
    with pytest.raises(
        RoiError, match=r"file b.dcm: expected a segmentation of series .* like a.dcm, found a segmentation"
    ):
        compare_files(one, other)
    with pytest.raises(
        RoiError, match=r"expected a segment 'Mass' in both, found Tumor in the first, Tumor in"
    ):
        compare_files(one, one, "Mass")
    with pytest.raises(RoiError, match=r"file gone: expected a segmentation, found no file"):
        compare_files(one, tmp_path / "gone")
    image = dicom_slices()[0]
    image.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    with pytest.raises(
        RoiError, match=r"file ct.dcm: expected a DICOM SEG or RTSTRUCT, found DICOM of modality"
    ):
        compare_files(one, tmp_path / "ct.dcm")
    (tmp_path / "broken.dcm").write_bytes(one.read_bytes()[:-300])
    with pytest.raises(RoiError, match=r"file broken.dcm: expected a whole DICOM SEG"):
        compare_files(one, tmp_path / "broken.dcm")
    affine = box_affine()
    affine[0, 3] += 0.3
    a = write_nifti(box_tumor().astype(np.uint8), tmp_path / "a.nii.gz")
    b = write_nifti(box_tumor().astype(np.uint8), tmp_path / "b.nii.gz", affine)
    with pytest.raises(
        RoiError, match=r"file b.nii.gz: expected the same grid as the segments before it, 6 x 40 x 48"
    ):
        compare_files(a, b)


@pytest.fixture
def real_pair(test_data):
    folder = test_data / "kidney_seg"
    return [next(folder.glob(f"{reader}_TCGA-BP-4964_*_0.seg.dcm")) for reader in ("ne1", "rad1")]


def test_the_real_pair_agrees_with_simpleitk(real_pair):
    """Dice and, between contours, largest and mean distance, on arrays laid out here by the frames' positions."""
    sitk, pydicom = pytest.importorskip("SimpleITK"), pytest.importorskip("pydicom")
    found = compare_files(*real_pair)
    assert (found.only_1, found.only_2) == ((), ("Mass",))
    (kidney,) = found.segments
    stacks = []
    for path in real_pair:
        seg = pydicom.dcmread(path)
        stack = {}
        for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
            if int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber) == 1:
                stack[float(group.PlanePositionSequence[0].ImagePositionPatient[2])] = frame
        stacks.append(stack)
    heights = sorted({*stacks[0], *stacks[1]})
    assert np.allclose(np.diff(heights), 5)
    images = []
    for stack in stacks:
        blank = np.zeros((512, 512), np.uint8)
        array = np.pad(np.stack([stack.get(z, blank) for z in heights]), ((1, 1), (0, 0), (0, 0)))
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.664062, 0.664062, 5.0))
        images.append(image)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    assert kidney.dice == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-9)
    distance = sitk.HausdorffDistanceImageFilter()
    distance.Execute(*(sitk.LabelContour(image) for image in images))
    assert kidney.hausdorff_mm == pytest.approx(distance.GetHausdorffDistance(), abs=1e-4)
    assert kidney.mean_surface_mm == pytest.approx(distance.GetAverageHausdorffDistance(), abs=1e-4)
    assert kidney.volume_ml_1 == pytest.approx(stacks_ml(stacks[0]), rel=1e-5)


def stacks_ml(stack):
    return sum(int(frame.sum()) for frame in stack.values()) * 0.664062**2 * 5 / 1000


# ---- a study of two readers


def make_double_study(root, n_cases=8):
    """NIfTI cases; reader 2 draws one column less, case 3 elsewhere, case 5 nothing; case 7 has one reader."""
    study = Study.create(root, ["PRCC", "ChRCC"])
    (root / "volumes").mkdir()
    study.change("evaluation", resamples=200)
    study.change("slices", size_px=32, margin_mm=4.0)
    cases = []
    for number, case in enumerate(make_cohort(n_cases).cases):
        volume, roi = read_disc(case)
        affine = volume.geometry.affine
        second = roi.voxels.copy()
        second[:, :, 16 - number % 3 :] = False
        if number == 3:
            second = np.roll(roi.voxels, -9, axis=2) & ~roi.voxels
        if number == 5:
            second[:] = False
        image = write_nifti(volume.hu, root / "volumes" / f"{case.case_id}.nii.gz", affine)
        paths = [
            write_nifti(voxels.astype(np.uint8), root / "volumes" / f"{case.case_id}_{reader}.nii.gz", affine)
            for reader, voxels in ((1, roi.voxels), (2, second))
        ]
        labels = {"subtype_reader2": "prcc" if number == 1 else case.subtype}
        patient = f"p{number // 2}"
        cases.append(
            changed(case, image=image, roi=paths[0], roi_reader2=paths[1], patient_id=patient, **labels)
        )
    cases[7] = changed(cases[7], roi_reader2=None, subtype_reader2=None)
    cohort = Cohort(subtypes=("PRCC", "ChRCC"), positive="PRCC", cases=tuple(cases), folder=root)
    save_cohort(cohort, root)
    return study


@pytest.fixture
def study(tmp_path):
    return make_double_study(tmp_path / "study")


def test_cases_are_compared_pooled_and_written(study):
    report = study.agreement()
    assert report.cases[0].case_id == "c03"
    assert len(report.cases) == 6
    assert report.n_patients == 4
    assert report.one_reader == ("c07",)
    (finding,) = report.refused
    assert (finding.case_id, finding.severity) == ("c05", "refusal")
    dice = report.pooled["dice"]
    assert dice.value == pytest.approx(np.mean([case.dice for case in report.cases]))
    assert dice.low < dice.value < dice.high
    assert (dice.n, dice.unit) == (6, "case")
    assert "200 resamples of 4 patients" in dice.method
    folder = study.folder.root / "agreement"
    content = json.loads((folder / "agreement.json").read_text())
    assert content["rule"] == "reader-1"
    assert content["cases"][0]["case_id"] == "c03"
    assert content["cases"][0]["adjudicate"] is True
    lines = (folder / "agreement.csv").read_text().splitlines()
    assert len(lines) == 7
    assert lines[1].startswith("c03,p1,0,")
    page = (folder / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert "Slices are counted from 0 at the feet; viewers count from 1" in page
    assert "“open” means a Dice below 0.8 and no decision yet" in page
    assert "“Grows with size” is the rank correlation" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    assert (folder / "figures" / "bland-altman-volume.svg").exists()


def test_low_cases_are_listed_for_adjudication_and_decisions_are_kept(study):
    study.agreement()
    path = study.folder.root / "adjudication.csv"
    assert path.read_text() == "case_id,dice,decision\nc03,0.0000,\n"
    path.write_text("case_id,dice,decision\nc03,0.0000,reader-2\nc00,,Union\n")
    report = study.agreement()
    decisions = {case.case_id: case.decision for case in report.cases if case.decision}
    assert decisions == {"c03": "reader-2", "c00": "union"}
    assert path.read_text().splitlines()[1] == "c03,0.0000,reader-2"
    assert path.read_text().splitlines()[2].startswith("c00,0.")


def test_an_intersection_without_voxels_is_refused_unless_decided(study):
    study.set_consensus("intersection")
    report = study.agreement()
    refused = {finding.case_id: finding.message for finding in report.refused}
    assert (
        "expected the intersection of two annotators' ROIs to contain a voxel, found none" in refused["c03"]
    )
    assert len(report.cases) == 6
    (study.folder.root / "adjudication.csv").write_text("case_id,dice,decision\nc03,0,exclude\n")
    assert [finding.case_id for finding in study.agreement().refused] == ["c05"]


def test_two_pathology_readings(study):
    report = study.agreement()
    (one,) = report.readings.disagreements
    assert (one.case_id, one.reading_1, one.reading_2) == ("c01", "ChRCC", "PRCC")
    assert report.readings.labels == ("ChRCC", "PRCC")
    assert report.readings.table == ((2, 1), (0, 4))
    assert report.readings.agreement.value == pytest.approx(6 / 7)


def test_a_reading_typed_into_the_cohort_is_known_by_the_pathology_table(study):
    typed = {"c00": "papillary RCC", "c02": "Papillary renal cell carcinoma, type 2", "c04": "oncocytoma"}
    cases = tuple(
        replace(case, subtype_reader2=typed.get(case.case_id, case.subtype_reader2))
        for case in study.cohort.cases
    )
    save_cohort(replace(study.cohort, cases=cases), study.folder.root)
    assert {d.case_id: d.reading_2 for d in study.agreement().readings.disagreements} == {
        "c01": "PRCC",
        "c04": "oncocytoma",
    }


def test_doubts_about_a_file_name_their_case(study, capsys):
    case = study.cohort.chosen[0]
    stored = read_roi(case.roi_by("reader-2").path, read_case(case)[0], "c00")
    moved = stored.geometry.affine.copy()
    moved[2, 3] += 0.4
    write_nifti(stored.voxels.astype(np.uint8), case.roi_by("reader-2").path, moved)
    run(["agreement", str(study.folder.root)])
    assert (
        "warning: case c00, ROI c00_2.nii.gz: drawn on a grid other than that of the CT"
        in capsys.readouterr().out
    )
    assert "case c00, ROI c00_2.nii.gz: drawn on" in (study.folder.root / "agreement/index.html").read_text()


def test_a_study_with_one_reader_is_refused(tmp_path):
    study = make_double_study(tmp_path / "study")
    cases = tuple(changed(c, roi_reader2=None, subtype_reader2=None) for c in study.cohort.cases)
    save_cohort(replace(study.cohort, cases=cases), study.folder.root)
    with pytest.raises(
        StudyError, match=r"expected cases with ROIs of reader-1 and reader-2 .* found 8 cases with one"
    ):
        study.agreement()


def test_the_command(study, capsys):
    root = str(study.folder.root)
    assert run(["agreement", root, "--json", "--consensus", "union"]) == 3
    data = json.loads(capsys.readouterr().out)
    assert data["rule"] == "union"
    assert data["subtypes"]["disagreements"] == [
        {"case_id": "c01", "reading_1": "ChRCC", "reading_2": "PRCC"}
    ]
    assert {"case_id", "dice", "surface_dice", "hd95_mm", "volume_ml_1", "adjudicate"} <= data["cases"][
        0
    ].keys()
    assert Study(root).settings.roi.consensus == "union"
    assert run(["agreement", root, "--consensus", "somebody"]) == 2
    assert run(["agreement", root, "--consensus", "model:kidney@2"]) == 3
    assert 'consensus = "model:kidney@2"' in (study.folder.root / "study.toml").read_text()
    assert run(["agreement", root, "--consensus", "reader-2"]) == 3
    text = capsys.readouterr().out
    assert 'wrote roi.consensus = "reader-2"; cut the slices again: nephroscope slices' in text
    assert "1 cases with Dice below 0.8: 1 still to decide in" in text
    assert "slices only reader 1 drew" in text
    (study.folder.root / "adjudication.csv").write_text("case_id,dice,decision\nc03,0,reader-1\n")
    run(["agreement", root])
    assert "1 cases with Dice below 0.8: all decided in" in capsys.readouterr().out


def test_the_command_with_two_files(tmp_path, capsys):
    one = write_nifti(box_tumor().astype(np.uint8), tmp_path / "a.nii.gz")
    two = write_nifti(moved_tumor().astype(np.uint8), tmp_path / "b.nii.gz")
    assert run(["agreement", "--files", str(one), str(two), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["segments"][0]["label"] == "label 1"
    assert data["segments"][0]["dice"] == pytest.approx(2 * 324 / 912)
    for wrong in (
        [],
        [str(tmp_path), "--files", str(one), str(two)],
        [str(tmp_path), "--tumor-name", "Mass"],
    ):
        assert run(["agreement", *wrong]) == 2
        assert "expected a study folder (with or without --consensus), or --files" in capsys.readouterr().err
    assert run(["agreement", "--files", str(one), str(two), "--tolerance-mm", "-1"]) == 2
    assert "--tolerance-mm: expected a number from 0 to 100, found -1" in capsys.readouterr().err


def test_an_unknown_rule_is_refused(study):
    with pytest.raises(ConfigError, match=r"roi.consensus: expected one of reader-1"):
        study.set_consensus("majority")


# ---- pictures


def test_pictures_show_where_they_differ():
    volume, one, two = box_volume(), mask(box_tumor()), mask(moved_tumor())
    found = compare(one, two)
    cuts = cut_out(found, volume, one, two)
    assert [cut.slice_index for cut in cuts] == [1, 2, 5]
    assert [cut.who for cut in cuts] == ["annotator 1 only", "both annotators", "annotator 2 only"]
    assert cuts[0].aspect == pytest.approx(0.9 / 0.7)
    assert cuts[0].one.sum() == 120
    assert cuts[0].hu.shape == cuts[0].one.shape


def test_only_the_worst_are_kept():
    volume, one = box_volume(), mask(box_tumor())
    worst = Worst()
    for width in range(9, 0, -1):
        two = box_tumor()
        two[:, :, 8 + width :] = False
        found = replace(compare(one, mask(two)), case_id=f"w{width}")
        worst.offer(found, volume, one, mask(two))
    assert [found.case_id for found, _ in worst.kept] == ["w1", "w2", "w3", "w4", "w5", "w6"]


def test_outlines_run_along_pixel_edges():
    one = np.zeros((3, 4), bool)
    one[1, 2] = True
    assert {frozenset(line) for line in edges(one)} == {
        frozenset({(1.5, 0.5), (2.5, 0.5)}),
        frozenset({(1.5, 1.5), (2.5, 1.5)}),
        frozenset({(1.5, 0.5), (1.5, 1.5)}),
        frozenset({(2.5, 0.5), (2.5, 1.5)}),
    }
    assert edges(np.zeros((2, 2), bool)) == []
    cut = Cut(hu=np.zeros((3, 4), np.int16), one=one, two=~one, slice_index=0, aspect=1.0)
    assert cut.who == "both annotators"


def test_volumes_are_large_but_the_box_is_small():
    """Two tumors of 40 mm in 200 x 512 x 512 voxels: the box alone is looked at."""
    one = np.zeros((200, 512, 512), bool)
    one[80:110, 200:250, 200:250] = True
    grid = VolumeGeometry(shape=one.shape, affine=np.diag([1.0, 0.8, 0.8, 1.0]))
    two = np.roll(one, 3, axis=0)
    found = compare(*(RoiMask(voxels=m, geometry=grid, case_id="P") for m in (one, two)))
    assert found.hausdorff_mm == 3
    assert found.box == ((80, 112), (200, 249), (200, 249))


@pytest.mark.parametrize("name", ["out.dcm", "out.nii.gz"])
def test_the_roi_of_the_study_is_written_for_other_programs(tmp_path, name, capsys):
    study = Study.create(tmp_path / "s", subtypes=["PRCC", "ChRCC"])
    study.import_phantom(2, seed=4)
    study.set_consensus("union")
    case = study.cohort.chosen[0]
    out = tmp_path / name
    assert run(["roi", str(tmp_path / "s"), case.case_id, "--out", str(out)]) == 0
    assert "wrote" in capsys.readouterr().out
    volume, union = study.snapshot.read_case(case)
    assert np.array_equal(read_roi(out, volume, "c").voxels, union.voxels)
    assert run(["roi", str(tmp_path / "s"), "nobody", "--out", str(out)]) == 2
    assert run(["roi", str(tmp_path / "s"), case.case_id, "--out", str(tmp_path / "x.stl")]) == 2
