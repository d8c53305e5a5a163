"""Who drew an ROI: wherever a program did, results say so, and doubt what nobody accepted."""

import pydicom
import pytest

from nephroscope import Bundle, Study
from nephroscope.facade.answer_files import AnswerFiles
from nephroscope.facade.listen import answering
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.imaging.dicom.series import read_dicom_series
from nephroscope.imaging.masks.write import save_origin
from nephroscope.imaging.read import read_roi
from nephroscope.intake.export.kinds import roi_of
from nephroscope.records import Case, ChoiceRule, RoiOrigin, RoiRef, SeriesRef
from nephroscope.regions.check import check_cases
from phantoms import box_affine, box_tumor, dicom_slices, write_nifti, write_seg, write_slices
from test_rtstruct import at, rtstruct, save
from tiny_bundle import make_bundle


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A DICOM series with a SEG, and a bundle."""
    folder = tmp_path_factory.mktemp("origin")
    images = dicom_slices()
    write_slices(images, folder / "ct")
    write_seg(images, {"Tumor": box_tumor()}, folder / "seg.dcm")
    make_bundle(folder / "bundle")
    return folder


def retold(place, path, kind, **more):
    """The SEG as a program drew it, or a person with one."""
    seg = pydicom.dcmread(place / "seg.dcm")
    seg.ManufacturerModelName = "Maker's station"
    for name, value in more.items():
        setattr(seg, name, value)
    for segment in seg.SegmentSequence:
        segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = kind, "Net 7"
    seg.SoftwareVersions = "2.0"
    seg.save_as(path)
    return path


@pytest.mark.parametrize(
    ("kind", "state", "severity"),
    [("AUTOMATIC", "proposed", "warning"), ("SEMIAUTOMATIC", "assisted", "note"), ("MANUAL", "drawn", None)],
)
def test_what_a_seg_says_of_its_drawing_goes_with_the_answer(place, tmp_path, kind, state, severity):
    roi = retold(place, tmp_path / "seg.dcm", kind)
    objects = AnswerFiles(sr=tmp_path / "sr.dcm", seg=tmp_path / "used.dcm")
    found = predict_files(place / "bundle", FilesToPredict(image=place / "ct", roi=roi, objects=objects))
    assert (found.roi.state, found.roi.evidence) == (state, f"Segment Algorithm Type {kind}")
    assert [one.severity for one in found.findings if one.code == "roi-proposed"] == (
        [severity] if severity else []
    )
    assert (found.call is None) >= (severity == "warning"), "what nobody accepted is not sure"
    sr = pydicom.dcmread(tmp_path / "sr.dcm")
    texts = [item.TextValue for item in flat(sr) if item.get("ValueType") == "TEXT"]
    assert found.roi.words in texts
    if state == "proposed":
        assert found.roi.author == "model:Net-7@2.0"
        used = pydicom.dcmread(tmp_path / "used.dcm").SegmentSequence[0]
        assert (used.SegmentAlgorithmType, used.SegmentAlgorithmName) == ("AUTOMATIC", "Net-7")
    for given in (roi, read_roi(roi), read_roi(roi, read_dicom_series(place / "ct"))):
        codes = {one.code for one in Bundle(place / "bundle").predict(place / "ct", given).findings}
        assert ("roi-proposed" in codes) == bool(severity)


def flat(item):
    for child in item.get("ContentSequence") or []:
        yield child
        yield from flat(child)


def test_the_listener_says_so_too(place, tmp_path):
    roi = retold(place, tmp_path / "seg.dcm", "AUTOMATIC")
    case = type("Received", (), {"images": place / "ct", "roi": roi, "series_uid": "1.2.3"})
    answering(place / "bundle", picture=False)(case, tmp_path)
    texts = [
        item.TextValue
        for item in flat(pydicom.dcmread(tmp_path / "sr.dcm"))
        if item.get("ValueType") == "TEXT"
    ]
    assert "drawn by model:Net-7@2.0, and nobody accepted it" in texts
    assert any(text.startswith("warning: roi-proposed: ") for text in texts)


@pytest.mark.parametrize(
    ("kind", "approval", "state", "model"),
    [
        ("AUTOMATIC", "", "proposed", "model:Planner@3.1"),
        ("AUTOMATIC", "APPROVED", "accepted", ""),
        ("SEMIAUTOMATIC", "UNAPPROVED", "assisted", ""),
        ("MANUAL", "", "drawn", ""),
        ("", "", "unknown", ""),
    ],
)
def test_what_an_rtstruct_says_of_its_drawing(place, tmp_path, kind, approval, state, model):
    made = rtstruct({"Tumor": [at(s, [(8, 8), (8, 16), (16, 16), (16, 8)]) for s in (2, 3)]}, series=None)
    made.StructureSetROISequence[0].ROIGenerationAlgorithm = kind
    made.ApprovalStatus, made.ManufacturerModelName, made.SoftwareVersions = approval, "Planner", ["3.1", "x"]
    path = save(made, tmp_path / "rt.dcm")
    assert read_roi(path, read_dicom_series(place / "ct")).origin.state == state
    assert roi_of(made, path, "rtstruct").model == model, "an import takes it as that program's"


def test_an_import_takes_a_label_map_with_its_json_as_that_program_s(place, tmp_path):
    volume = read_dicom_series(place / "ct")
    (tmp_path / "volumes").mkdir()
    write_nifti(volume.hu, tmp_path / "volumes" / "c1.nii.gz", box_affine())
    write_nifti(box_tumor().astype("u1"), tmp_path / "volumes" / "c1_seg.nii.gz", box_affine())
    (tmp_path / "volumes" / "c1_seg.json").write_text('{"tool": "Net 7", "version": "2"}')
    (tmp_path / "labels.csv").write_text("case_id,subtype\nc1,PRCC\n")
    study = Study.create(tmp_path / "study", ["PRCC", "ChRCC"])
    study.import_nifti(tmp_path / "volumes", tmp_path / "labels.csv")
    (roi,) = study.cohort.cases[0].rois
    assert (roi.author, roi.state) == ("model:Net-7@2", "proposed")
    assert study.cohort.by_id["c1"].only_proposed == (roi,)


def test_check_doubts_what_rois_csv_says_that_a_person_drew(place, tmp_path):
    roi = retold(place, tmp_path / "seg.dcm", "AUTOMATIC")
    series = SeriesRef(name="ct", image=place / "ct", format="dicom")

    def codes(**who):
        case = Case(
            case_id="c", patient_id="p", series=(series,), rois=(RoiRef(path=roi, series="ct", **who),)
        )
        return [one.code for one in check_cases([case.chosen(ChoiceRule())])["c"].findings]

    assert "roi-proposed" in codes(author="reader-1")
    assert "roi-proposed" not in codes(author="model:Net-7@2.0", accepted=True)
    assert "roi-proposed" not in codes(author="reader-1", made_from="model:Net-7@2.0")


def test_a_proposal_that_was_only_saved_again_stays_one(place, tmp_path):
    volume, mask, path = read_dicom_series(place / "ct"), box_tumor().astype("u1"), tmp_path / "tumor.nii.gz"
    write_nifti(mask, path, box_affine())
    save_origin(path, RoiOrigin(author="model:net@1", state="proposed"))
    assert read_roi(path, volume).origin.state == "proposed"
    write_nifti(mask.astype("i2"), path, box_affine())
    assert read_roi(path, volume).origin.state == "proposed"
    mask[tuple(index[0] for index in mask.nonzero())] = 0
    write_nifti(mask, path, box_affine())
    assert read_roi(path, volume).origin.state == "assisted"
