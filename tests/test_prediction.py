"""`predict` on what a clinic has: it doubts what `check` doubts, finds the series, and names nobody."""

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pydicom
import pytest
from PIL import Image

from nephroscope.base.errors import BundleError, RoiError, SeriesError
from nephroscope.cli import run
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.score import LEAST_SLACK, SCALE, ApplicabilityDomain, learn_domain
from nephroscope.facade.bundle import Bundle
from nephroscope.facade.own_roi import own_roi
from nephroscope.facade.patient import read_patient
from nephroscope.facade.prediction import FilesToPredict, Prediction, in_memory, predict_files
from nephroscope.imaging.picture import OUTLINE, WRITING
from nephroscope.imaging.read import read_ct, read_roi
from nephroscope.intake.phantom import write_phantoms
from nephroscope.records import SliceSpec
from nephroscope.regions.check import check_case
from phantoms import write_nifti
from tiny_bundle import SPEC, make_bundle

SCHEMA = Path(__file__).parents[1] / "docs" / "reference" / "prediction.schema.json"


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """Folder of a phantom: ct/ and roi_reader1.dcm."""
    folder = tmp_path_factory.mktemp("phantom") / "export"
    write_phantoms(folder, 1, 7)
    return folder / "SYNTHETIC-0001"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture
def export(patient, tmp_path):
    return Path(shutil.copytree(patient, tmp_path / "Mueller_Hans"))


def files_of(folder, **more):
    return FilesToPredict(image=folder / "ct", roi=folder / "roi_reader1.dcm", **more)


def codes(answer, severity="warning"):
    return {finding.code for finding in answer.findings if finding.severity == severity}


def retold(folder, **attributes):
    """The series with other attributes; None removes one."""
    for path in sorted(folder.iterdir()):
        image = pydicom.dcmread(path)
        for name, value in attributes.items():
            if value is None:
                image.pop(name, None)
            else:
                setattr(image, name, value)
        image.save_as(path)


def with_gap(path, first, last):
    """The SEG without some of its frames in the middle."""
    seg = pydicom.dcmread(path)
    frames = list(seg.PerFrameFunctionalGroupsSequence)
    keep = [i for i in range(len(frames)) if not first <= i <= last]
    bits = seg.pixel_array[keep]
    seg.PerFrameFunctionalGroupsSequence = [frames[i] for i in keep]
    seg.NumberOfFrames = len(keep)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    seg.PixelData = packed + b"\0" * (len(packed) % 2)
    seg.save_as(path)
    return len(frames)


def test_a_plain_case_is_called_with_no_doubt(bundle, patient):
    found = predict_files(bundle, files_of(patient))
    assert codes(found) == set()
    assert found.call in ("PRCC", "ChRCC")
    assert found.series.phase == "nephrographic"
    assert found.side.drawn in ("left", "right")


def test_predict_doubts_what_check_doubts(bundle, export):
    n = with_gap(export / "roi_reader1.dcm", 4, 5)
    assert n > 8
    found = predict_files(bundle, files_of(export))
    volume = read_ct(export / "ct")
    roi = read_roi(export / "roi_reader1.dcm", volume, found.case_id)
    checked = check_case(in_memory(volume, found.case_id, "nephrographic"), volume, roi)
    of_check = {
        f.code for f in (*volume.findings, *roi.findings, *checked.findings) if f.severity == "warning"
    }
    assert {"roi-gap", "roi-parts"} <= of_check
    assert codes(found) == of_check
    assert (found.call, found.forced_call in ("PRCC", "ChRCC")) == (None, True)
    in_notebook = Bundle(bundle).predict(volume, roi)
    assert codes(in_notebook) == of_check
    assert in_notebook.call is None


def test_a_phase_that_no_training_case_had_is_not_called(bundle, export):
    retold(export / "ct", SeriesDescription="NATIVE 3.0 without contrast", ContrastBolusAgent=None)
    found = predict_files(bundle, files_of(export))
    assert found.series.phase == "unenhanced"
    assert "phase-not-trained" in codes(found)
    assert found.call is None
    assert Bundle(bundle).predict(export / "ct", export / "roi_reader1.dcm").call is None
    named = Bundle(bundle).predict(read_ct(export / "ct"), export / "roi_reader1.dcm", phase="unenhanced")
    assert "phase-not-trained" in codes(named)


def test_an_unknown_phase_is_a_note(bundle, export):
    retold(export / "ct", SeriesDescription="Abdomen", ProtocolName="Abdomen", StudyDescription="CT")
    retold(export / "ct", ContrastBolusAgent=None, ContrastBolusStartTime=None)
    found = predict_files(bundle, files_of(export))
    assert found.series.phase == "unknown"
    assert "phase-not-known" in codes(found, "note")
    assert codes(found) == set()


def test_a_bundle_that_knows_no_phases_doubts_none(tmp_path, export):
    training = {"synthetic": False, "leaky": False, "slices_digests": []}
    of_format_1 = make_bundle(tmp_path / "old", training=training)
    retold(export / "ct", SeriesDescription="NATIVE 3.0 without contrast", ContrastBolusAgent=None)
    assert codes(predict_files(of_format_1, files_of(export))) == set()


def test_an_roi_on_the_other_side_is_not_called(bundle, patient):
    drawn = predict_files(bundle, files_of(patient)).side.drawn
    other = "left" if drawn == "right" else "right"
    doubted = predict_files(bundle, files_of(patient, side=other))
    assert (codes(doubted), doubted.call) == ({"roi-side-differs"}, None)
    assert (doubted.side.stated, doubted.side.drawn) == (other, drawn)
    assert codes(predict_files(bundle, files_of(patient, side=drawn))) == set()


def test_what_is_no_tumor_is_refused(bundle, patient, tmp_path):
    volume = read_ct(patient / "ct")
    everything = write_nifti(
        np.ones(volume.hu.shape, np.uint8), tmp_path / "all.nii.gz", volume.geometry.affine
    )
    with pytest.raises(RoiError, match="expected a tumor, found"):
        predict_files(bundle, FilesToPredict(image=patient / "ct", roi=everything))


@pytest.fixture
def several(export, patient):
    """A patient with three series: the drawn one, one of other slices, and a scout."""
    second = Path(shutil.copytree(patient / "ct", export / "series-2"))
    retold(second, SeriesInstanceUID="1.2.3.4", SeriesNumber="2", SeriesDescription="NATIVE")
    for number, path in enumerate(sorted(second.iterdir())):
        image = pydicom.dcmread(path)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number + 1}"
        image.ImagePositionPatient = [0.0, *image.ImagePositionPatient[1:]]
        image.save_as(path)
    scout = export / "scout.dcm"
    shutil.copy(next((patient / "ct").iterdir()), scout)
    image = pydicom.dcmread(scout)
    image.SeriesInstanceUID, image.ImageType = "1.2.3.5", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "1.2.3.5.1"
    image.save_as(scout)
    return export


def test_the_roi_says_which_series_of_a_patient(bundle, several, tmp_path):
    alone = predict_files(bundle, files_of(several))
    by_seg = predict_files(bundle, FilesToPredict(image=several, roi=several / "roi_reader1.dcm"))
    assert by_seg.probabilities == alone.probabilities
    assert (by_seg.series.series_uid, by_seg.series.n_series) == (alone.series.series_uid, 3)
    volume = read_ct(several / "ct")
    roi = read_roi(several / "roi_reader1.dcm", volume)
    mask = write_nifti(roi.voxels.astype(np.uint8), tmp_path / "roi.nii.gz", volume.geometry.affine)
    by_grid = predict_files(bundle, FilesToPredict(image=several, roi=mask))
    assert by_grid.series.series_uid == alone.series.series_uid
    assert by_grid.probabilities == alone.probabilities
    assert Bundle(bundle).predict(several, mask).probabilities == alone.probabilities


def test_series_that_the_roi_does_not_tell_apart_are_refused(bundle, several, tmp_path):
    volume = read_ct(several / "ct")
    roi = read_roi(several / "roi_reader1.dcm", volume)
    mask = write_nifti(roi.voxels.astype(np.uint8), tmp_path / "roi.nii.gz", volume.geometry.affine)
    shutil.copytree(several / "ct", several / "again")
    retold(several / "again", SeriesInstanceUID="1.2.3.6", SeriesNumber="9")
    with pytest.raises(SeriesError, match="2 that have the grid of the ROI"):
        predict_files(bundle, FilesToPredict(image=several, roi=mask))
    with pytest.raises(SeriesError, match="several: series"):
        read_patient(several, None)
    shutil.rmtree(several / "ct")
    with pytest.raises(SeriesError, match="none on which the ROI was drawn"):
        predict_files(bundle, FilesToPredict(image=several, roi=several / "roi_reader1.dcm"))


def test_cases_are_named_by_pseudonym_or_option_never_by_a_folder(bundle, export, tmp_path):
    retold(export / "ct", PatientID="P-0017")
    found = predict_files(bundle, files_of(export))
    assert found.case_id == "P-0017"
    assert predict_files(bundle, files_of(export, case_id="x1")).case_id == "x1"
    volume = read_ct(export / "ct")
    roi = read_roi(export / "roi_reader1.dcm", volume)
    image = write_nifti(volume.hu, tmp_path / "Mueller.nii.gz", volume.geometry.affine)
    mask = write_nifti(roi.voxels.astype(np.uint8), tmp_path / "roi.nii.gz", volume.geometry.affine)
    nifti = predict_files(bundle, FilesToPredict(image=image, roi=mask))
    assert nifti.case_id == "case"
    for one in (found, nifti):
        assert "Mueller" not in msgspec.json.encode(one).decode()


def test_json_is_as_the_schema_says(bundle, patient, capsys, tmp_path):
    picture = tmp_path / "tumor.png"
    words = [
        "predict",
        bundle,
        patient / "ct",
        "--roi",
        patient / "roi_reader1.dcm",
        "--picture",
        picture,
        "--json",
    ]
    assert run([str(word) for word in words]) == 0
    found = json.loads(capsys.readouterr().out)
    kept = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert kept == json.loads(json.dumps(msgspec.json.schema(Prediction))), (
        "write it again: python tests/test_prediction.py"
    )
    assert set(found) == set(kept["$defs"]["Prediction"]["properties"])
    assert msgspec.convert(found, Prediction).case_id == "SYNTHETIC-0001"
    assert (found["format"], found["threshold"], found["positive"]) == (1, 0.5, "PRCC")
    assert found["date"].endswith("+00:00")
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(found, kept)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found | {"threshold": "0.5"}, kept)


def test_the_picture_shows_the_outline_where_the_tumor_is(bundle, patient, tmp_path):
    predict_files(bundle, files_of(patient, picture=tmp_path / "tumor.png"))
    with Image.open(tmp_path / "tumor.png") as picture:
        pixels = np.asarray(picture)
    volume = read_ct(patient / "ct")
    roi = read_roi(patient / "roi_reader1.dcm", volume)
    drawn = roi.voxels[roi.voxels.sum(axis=(1, 2)).argmax()]
    row, col = (place.mean() / n for place, n in zip(np.nonzero(drawn), drawn.shape, strict=True))
    at = np.nonzero((pixels == OUTLINE).all(axis=-1))
    assert at[0].size > 50
    assert at[0].mean() / pixels.shape[0] == pytest.approx(row, abs=0.02)
    assert at[1].mean() / pixels.shape[1] == pytest.approx(col, abs=0.02)
    half = pixels.shape[0] // 2
    written = (pixels[half - 16 : half + 16] == WRITING).all(axis=-1)
    assert written[:, :60].any()  # R, on the left of the picture
    assert written[:, -60:].any()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A bundle of whole slices."""
    return make_bundle(tmp_path_factory.mktemp("whole") / "b", SliceSpec(size_px=32, roi_mode="full"))


def test_a_bundle_of_whole_slices_needs_no_roi(whole, tmp_path):
    gray = np.random.default_rng(1).integers(60, 200, (64, 64)).astype(np.uint8)
    Image.fromarray(gray).save(tmp_path / "slice.png")
    Image.fromarray(np.ones((64, 64), np.uint8)).save(tmp_path / "ones.png")
    without = predict_files(whole, FilesToPredict(image=tmp_path / "slice.png", spacing_mm=0.7))
    ones = predict_files(
        whole, FilesToPredict(image=tmp_path / "slice.png", roi=tmp_path / "ones.png", spacing_mm=0.7)
    )
    assert without.probabilities == ones.probabilities
    assert without.slices == ones.slices
    assert "no-mask" in codes(without, "note")
    predict_files(
        whole,
        FilesToPredict(image=tmp_path / "slice.png", spacing_mm=0.7, picture=tmp_path / "p" / "all.png"),
    )
    with Image.open(tmp_path / "p" / "all.png") as picture:
        assert picture.size == (768, 768)
    assert not Bundle(whole).needs_roi
    assert Bundle(whole).predict(tmp_path / "slice.png").call == without.call


def test_a_bundle_of_tumors_says_that_it_needs_the_roi(bundle, patient):
    assert Bundle(bundle).needs_roi
    with pytest.raises(RoiError, match="--roi"):
        predict_files(bundle, FilesToPredict(image=patient / "ct"))
    with pytest.raises(RoiError, match="--roi"):
        Bundle(bundle).predict(read_ct(patient / "ct"))


def test_one_value_in_all_training_cases_has_room_around_it():
    """0.68359375 mm in every case; slices.csv holds 1.367188, predict computes 1.3671875."""
    domain = learn_domain([{SCALE: 1.367188}] * 12)
    assert domain.limits[SCALE] == (1.367188, 1.367188)
    for mm in (1.3671875, 1.375, 1.367188 * (1 - LEAST_SLACK) + 1e-9):
        assert domain.doubts("c", {SCALE: mm}) == []
    for mm in (1.0, 1.7):
        (doubt,) = domain.doubts("c", {SCALE: mm})
        assert (doubt.code, doubt.severity) == ("outside-training-range", "warning")


def test_a_scale_far_below_all_training_cases_is_doubted():
    """Scales of 0.5 to 2.5 mm: half of the range below the smallest would allow nothing, and less."""
    domain = learn_domain([{SCALE: 0.5}, {SCALE: 2.5}])
    assert domain.limits[SCALE][0] < 0
    assert domain.allowed(SCALE) == pytest.approx((0.25, 3.5))
    assert ApplicabilityDomain(limits={"mean": (-0.5, 1.5)}).allowed("mean") == (-0.5, 1.5)


def test_a_network_without_probabilities_gives_no_answer(tmp_path, patient, monkeypatch):
    opened = open_bundle(make_bundle(tmp_path / "b", SPEC))
    monkeypatch.setattr(
        opened.scorer.network, "probabilities", lambda hu: np.full((len(hu), 2), np.nan), raising=True
    )
    monkeypatch.setattr("nephroscope.facade.prediction.open_bundle", lambda _: opened)
    with pytest.raises(BundleError, match="a probability of each subtype"):
        predict_files(tmp_path / "b", files_of(patient))


def test_the_one_roi_of_a_folder_is_taken_and_said(bundle, several):
    for other in several.glob("roi_*.dcm"):
        if other.name != "roi_reader1.dcm":
            other.unlink()
    given = predict_files(bundle, files_of(several))
    found = predict_files(bundle, FilesToPredict(image=several))
    assert "roi-found" in codes(found, "note")
    assert "roi-found" not in codes(given, "note")
    assert found.probabilities == given.probabilities
    assert "roi-found" in codes(Bundle(bundle).predict(several), "note")


def test_several_rois_of_a_folder_are_refused_and_named(bundle, several):
    shutil.copy(several / "roi_reader1.dcm", several / "roi_2.dcm")
    with pytest.raises(RoiError) as refused:
        predict_files(bundle, FilesToPredict(image=several))
    assert {"roi_reader1.dcm", "roi_2.dcm"} <= set(refused.value.found.replace(",", "").split())


def test_an_roi_of_another_patient_in_the_folder_is_not_taken(bundle, several):
    for path in several.glob("roi_*.dcm"):
        if path.name != "roi_reader1.dcm":
            path.unlink()
    assert own_roi(open_bundle(bundle), several) == several / "roi_reader1.dcm"
    for path in several.glob("roi_*.dcm"):
        seg = pydicom.dcmread(path)
        seg.PatientID = "ANOTHER"
        seg.save_as(path)
    assert own_roi(open_bundle(bundle), several) is None
    with pytest.raises(SeriesError, match="expected one CT series"):
        predict_files(bundle, FilesToPredict(image=several))


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(msgspec.json.schema(Prediction), indent=1) + "\n", encoding="utf-8")
