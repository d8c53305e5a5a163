"""An answer as SR, SEG and secondary capture: valid, readable by others, and the same answer when it is read back."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.sr._concepts_dict import concepts

from ct_files import enhanced_ct
from nephroscope.base.documents import as_plain
from nephroscope.base.errors import BundleError, ConfigError, RoiError, SeriesError
from nephroscope.cli import run
from nephroscope.clinic.facts import given_facts
from nephroscope.clinic.sets import ConformalSets
from nephroscope.exchange import codes, report_more
from nephroscope.exchange.capture import MOST_LINES, broken_lines, words_of
from nephroscope.exchange.read_sr import read_answer
from nephroscope.exchange.report_sr import write_answer_sr
from nephroscope.exchange.segment import tumor_segment
from nephroscope.exchange.source import read_source_series
from nephroscope.facade.answer_files import AnswerFiles
from nephroscope.facade.prediction import FilesToPredict, predict_files, predict_linked
from nephroscope.imaging.read import read_ct
from nephroscope.intake.phantom import write_phantoms
from phantoms import box_tumor, dicom_slices, write_nifti, write_slices
from phantoms import write_seg as write_box_seg
from test_facts import MODEL
from test_outside import NEAR, bundle_with
from tiny_bundle import SPEC, make_bundle

NAMES = ("a.sr.dcm", "b.seg.dcm", "c.sc.dcm")


def program(name):
    """A program of the system, or one that came with a package of this Python."""
    return shutil.which(name) or shutil.which(name, path=Path(sys.executable).parent)


def needs(name, package):
    return pytest.mark.skipif(program(name) is None, reason=f"no {name}: install {package}")


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "export"
    write_phantoms(folder, 1, 7)
    return folder / "SYNTHETIC-0001"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b")


def wanted(folder):
    sr, seg, sc = (folder / name for name in NAMES)
    return AnswerFiles(sr=sr, seg=seg, sc=sc)


def written(bundle, image, roi, folder, **more):
    """The answer and its objects: SR, SEG, SC."""
    answer = predict_files(bundle, FilesToPredict(image=image, roi=roi, objects=wanted(folder), **more))
    return answer, [pydicom.dcmread(folder / name) for name in NAMES]


@pytest.fixture(scope="module")
def made(patient, bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    answer, objects = written(bundle, patient / "ct", patient / "roi_reader1.dcm", folder)
    return folder, answer, objects


def items(dataset):
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from items(item)


def named(report, code):
    return [one for one in items(report) if one.ConceptNameCodeSequence[0].CodeValue == code[0]]


@pytest.mark.parametrize("code", codes.STANDARD, ids=lambda code: code[2])
def test_standard_codes_are_those_of_the_tables(code):
    """pydicom makes its tables from PS3.16, with the SNOMED CT codes that DICOM uses."""
    value, scheme, meaning = code
    known = {text for table in concepts[scheme].values() for one, (text, _) in table.items() if one == value}
    assert meaning in known


@needs("dciodvfy", "dicom3tools with apt-get")
@pytest.mark.parametrize("name", NAMES)
def test_objects_are_valid(made, name):
    done = subprocess.run([program("dciodvfy"), made[0] / name], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []
    assert done.stderr.strip()


@needs("tid1500reader", "dcmqi with pip")
def test_tid1500reader_reads_probability_algorithm_and_segment(made):
    folder, answer, (_, seg, _) = made
    out = folder / "read.json"
    command = [program("tid1500reader"), "--inputDICOM", folder / NAMES[0], "--outputMetadata", out]
    subprocess.run(command, capture_output=True, check=True)
    read = json.loads(out.read_text())
    (group,) = read["Measurements"]
    assert group["segmentationSOPInstanceUID"] == seg.SOPInstanceUID
    assert group["ReferencedSegment"] == 1
    numbers = {one["quantity"]["CodeMeaning"]: one for one in group["measurementItems"]}
    for subtype, p in answer.probabilities.items():
        one = numbers[f"Probability of {subtype}"]
        assert float(one["value"]) == pytest.approx(p, abs=1e-12)
        said = one["measurementAlgorithmIdentification"]
        assert (said["AlgorithmName"], said["AlgorithmVersion"]) == ("nephroscope tiny", answer.nephroscope)
        assert f"model digest {answer.model_digest}" in said["AlgorithmParameters"]
    said = {
        one["conceptCode"]["CodeValue"]: one["conceptValue"]["CodeValue"]
        for one in group["qualitativeEvaluations"]
        if isinstance(one["conceptValue"], dict)
    }
    assert said["SUBTYPE"] == answer.call == "PRCC"
    assert said["USE"] == "RESEARCH"
    assert len(read["imageLibrary"]) == len(answer.slices)


def test_report_says_what_it_is(made):
    _, answer, (sr, seg, _) = made
    flags = (sr.VerificationFlag, sr.CompletionFlag, sr.PreliminaryFlag)
    assert flags == ("UNVERIFIED", "COMPLETE", "PRELIMINARY")
    assert sr.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == codes.SCHEME
    used = {
        code.CodingSchemeDesignator
        for item in items(sr)
        for name in ("ConceptNameCodeSequence", "ConceptCodeSequence")
        for code in item.get(name, [])
    }
    assert used <= {"DCM", "SCT", "LN", "UCUM", "RFC5646", codes.SCHEME}
    sources = [one.ReferencedSOPSequence[0] for one in named(sr, ("121233",))]
    assert len(sources) == len(answer.slices)
    assert len(seg.PerFrameFunctionalGroupsSequence) == answer.series.n_slices  # also those without tumor


def test_source_slices_are_those_of_the_answer(made, patient):
    _, answer, (sr, _, _) = made
    by_place = sorted(
        (pydicom.dcmread(path, stop_before_pixels=True) for path in (patient / "ct").iterdir()),
        key=lambda image: image.ImagePositionPatient[2],
    )
    expected = {by_place[one.slice_index].SOPInstanceUID for one in answer.slices}
    assert {
        one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for one in named(sr, ("121233",))
    } == expected


def test_answer_comes_back_as_predict_printed_it(patient, bundle, tmp_path, capsys):
    roi, sr = str(patient / "roi_reader1.dcm"), str(tmp_path / "a.dcm")
    assert run(["predict", str(bundle), str(patient / "ct"), "--roi", roi, "--sr", sr, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert run(["pacs", "read", sr, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == printed


def test_same_case_again_has_the_same_uids(made, patient, bundle, tmp_path):
    _, again = written(bundle, patient / "ct", patient / "roi_reader1.dcm", tmp_path)
    for one, other in zip(made[2], again, strict=True):
        assert one.SOPInstanceUID == other.SOPInstanceUID
        assert one.SeriesInstanceUID == other.SeriesInstanceUID
        assert re.fullmatch(r"2\.25\.\d{1,39}", one.SOPInstanceUID)


def test_another_roi_has_other_uids(made, patient, bundle, tmp_path):
    shutil.copytree(patient, tmp_path / "p")
    seg = pydicom.dcmread(patient / "roi_reader1.dcm")
    bits = seg.pixel_array.copy()
    first = tuple(np.argwhere(bits)[0])
    bits[first] = 0
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    seg.PixelData = packed + b"\0" * (len(packed) % 2)
    seg.save_as(tmp_path / "other.dcm")
    _, again = written(bundle, patient / "ct", tmp_path / "other.dcm", tmp_path)
    assert again[1].SOPInstanceUID != made[2][1].SOPInstanceUID
    assert again[0].SOPInstanceUID != made[2][0].SOPInstanceUID


def test_without_seg_the_report_refers_to_the_given_one(patient, bundle, tmp_path):
    roi = patient / "roi_reader1.dcm"
    predict_files(
        bundle, FilesToPredict(image=patient / "ct", roi=roi, objects=AnswerFiles(sr=tmp_path / "a"))
    )
    (one,) = named(pydicom.dcmread(tmp_path / "a"), ("121191",))
    assert one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == pydicom.dcmread(roi).SOPInstanceUID


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 100", "Müller^Jörg"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎")],
)
def test_patient_is_that_of_the_series_and_never_printed(bundle, tmp_path, capsys, charset, name):
    images = dicom_slices()
    roi = write_box_seg(images, {"Tumor": box_tumor()}, tmp_path / "roi.dcm")
    for image in images:
        image.SpecificCharacterSet, image.PatientName = charset, name
        image.IssuerOfPatientID, image.PatientBirthDate = "Town", "19500101"
    ct = write_slices(images, tmp_path / "ct")
    places = [str(tmp_path / one) for one in NAMES]
    asked = ["predict", str(bundle), str(ct), "--roi", str(roi), "--sr", places[0], "--seg", places[1]]
    assert run([*asked, "--sc", places[2], "--case-id", "c1"]) == 0
    said = capsys.readouterr()
    assert name.partition("^")[0] not in said.out + said.err
    for place in places:
        made = pydicom.dcmread(place)
        assert str(made.PatientName) == name
        assert (made.PatientID, made.IssuerOfPatientID, made.PatientBirthDate) == ("P1", "Town", "19500101")
        assert made.StudyInstanceUID == images[0].StudyInstanceUID


def test_not_sure_is_partial_and_undetermined(bundle, tmp_path):
    images = dicom_slices()
    for image in images:  # the phase of no training case is a doubt
        image.SeriesDescription = "Abdomen nativ"
        image.PatientBirthDate = image.PatientName = None
    ct = write_slices(images, tmp_path / "ct")
    roi = write_box_seg(dicom_slices_like(images), {"Tumor": box_tumor()}, tmp_path / "roi.dcm")
    answer, (sr, _, _) = written(bundle, ct, roi, tmp_path)
    assert answer.call is None
    assert (sr.CompletionFlag, sr.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    assert named(sr, codes.SUBTYPE)[0].ConceptCodeSequence[0].CodeValue == codes.UNDETERMINED[0]
    assert named(sr, codes.REASON)[0].TextValue == answer.reason
    said = [one.TextValue for one in named(sr, codes.FINDING)]
    assert any("phase-not-trained" in text for text in said)
    assert as_plain(read_answer(tmp_path / NAMES[0])) == as_plain(answer)


def dicom_slices_like(images):
    """The same images with what highdicom insists on."""
    for image in images:
        image.PatientName = image.PatientBirthDate = ""
    return images


def test_frames_of_an_enhanced_ct_are_named(bundle, tmp_path):
    image = enhanced_ct()
    ct = write_slices([image], tmp_path / "ct")
    volume = read_ct(ct)
    source = read_source_series(ct, volume)
    assert [one.frame for one in source.slices] == list(range(1, len(source.slices) + 1))
    assert {one.sop_uid for one in source.slices} == {image.SOPInstanceUID}


def test_nifti_is_refused(bundle, patient, tmp_path):
    volume = read_ct(patient / "ct")
    ct = write_nifti(volume.hu, tmp_path / "ct.nii.gz", volume.geometry.affine)
    files = FilesToPredict(image=ct, roi=patient / "roi_reader1.dcm", objects=wanted(tmp_path))
    with pytest.raises(SeriesError, match="expected a CT of DICOM images"):
        predict_files(bundle, files)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".dcm"]


def test_a_report_needs_an_roi_it_can_name(bundle, patient, tmp_path):
    from nephroscope.imaging.masks.write import write_nifti as write_mask
    from nephroscope.imaging.read import read_roi

    mask = tmp_path / "roi.nii.gz"
    write_mask(read_roi(patient / "roi_reader1.dcm", read_ct(patient / "ct")), mask)
    files = FilesToPredict(image=patient / "ct", roi=mask, objects=AnswerFiles(sr=tmp_path / "a.dcm"))
    with pytest.raises(RoiError, match="expected an ROI that a report can refer to"):
        predict_files(bundle, files)
    answer, (sr, seg, _) = written(bundle, patient / "ct", mask, tmp_path)
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"  # nobody said how it was drawn
    assert named(sr, ("121191",))[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == seg.SOPInstanceUID
    assert read_answer(tmp_path / NAMES[0]).call == answer.call


def test_images_of_several_studies_are_refused(bundle, tmp_path):
    images = dicom_slices()
    images[-1].StudyInstanceUID = "1.2.3"
    ct = write_slices(images, tmp_path / "ct")
    with pytest.raises(SeriesError, match="found images of 2 studies or patients under one series"):
        read_source_series(ct, read_ct(ct))


ODD = {
    "PatientSex": "m",
    "StudyDate": "2024-01-31",
    "StudyTime": "10:20:30",
    "PatientBirthDate": "1950.02.01",
    "StudyID": "S" * 30,
    "SeriesNumber": "2147483647",
    "StudyDescription": "d" * 90,
    "PatientAge": "63",
}
WITHOUT = ("PatientName", "PatientID", "SeriesNumber", "AccessionNumber", "StudyDate", "StudyID")


@needs("dciodvfy", "dicom3tools with apt-get")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", ["odd", "without"])
def test_objects_of_a_series_with_odd_values_are_valid(bundle, tmp_path, case):
    images = dicom_slices()
    roi = write_box_seg(images, {"Tumor": box_tumor()}, tmp_path / "roi.dcm")
    for image in images:
        for keyword, value in ODD.items() if case == "odd" else ():
            element = pydicom.DataElement(keyword, dictionary_VR(keyword), value, validation_mode=0)
            image[keyword] = element
        for keyword in WITHOUT if case == "without" else ():
            del image[keyword]
    ct = write_slices(images, tmp_path / "ct")
    _, objects = written(bundle, ct, roi, tmp_path)
    for one, name in zip(objects, NAMES, strict=True):
        done = subprocess.run(
            [program("dciodvfy"), tmp_path / name], capture_output=True, text=True, check=False
        )
        assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []
        if case == "odd":
            assert (one.StudyDate, one.StudyTime, one.PatientBirthDate) == ("20240131", "102030", "19500201")


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("FrameOfReferenceUID", None, "a CT with Frame of Reference UID"),
        ("StudyInstanceUID", None, "without a usable Study Instance UID"),
        ("StudyInstanceUID", "", "without a usable Study Instance UID"),
    ],
)
def test_a_series_without_what_names_it_is_refused(bundle, tmp_path, keyword, value, expected):
    images = dicom_slices()
    roi = write_box_seg(images, {"Tumor": box_tumor()}, tmp_path / "roi.dcm")
    for image in images:
        del image[keyword]
        if value is not None:
            setattr(image, keyword, value)
    ct = write_slices(images, tmp_path / "ct")
    with pytest.raises((SeriesError, RoiError), match=expected):
        written(bundle, ct, roi, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name in NAMES]


def test_an_answer_about_whole_slices_names_images_and_no_segment(patient, tmp_path):
    bundle = make_bundle(tmp_path / "full", replace(SPEC, roi_mode="full"))
    files = AnswerFiles(sr=tmp_path / "a.dcm")
    answer = predict_files(bundle, FilesToPredict(image=patient / "ct", objects=files))
    report = pydicom.dcmread(tmp_path / "a.dcm")
    assert named(report, ("121191",)) == []
    assert len(named(report, ("121112",))) == len(answer.slices)
    assert as_plain(read_answer(tmp_path / "a.dcm")) == as_plain(answer)
    asked = FilesToPredict(image=patient / "ct", objects=AnswerFiles(seg=tmp_path / "b.dcm"))
    with pytest.raises(RoiError, match="expected a case with an ROI"):
        predict_files(bundle, asked)


@pytest.mark.parametrize("where", ["roi", "twice"])
def test_nothing_is_written_over(bundle, patient, tmp_path, where):
    roi = Path(shutil.copy(patient / "roi_reader1.dcm", tmp_path / "roi.dcm"))
    before = roi.read_bytes()
    other = roi if where == "roi" else tmp_path / "new.dcm"
    objects = AnswerFiles(sr=tmp_path / "new.dcm", seg=other)
    with pytest.raises(ConfigError, match="names of new files"):
        predict_files(bundle, FilesToPredict(image=patient / "ct", roi=roi, objects=objects))
    assert roi.read_bytes() == before
    assert not (tmp_path / "new.dcm").exists()


def change_probability(report):
    number = named(report, codes.probability_code("PRCC"))[0].MeasuredValueSequence[0]
    number.NumericValue, number.FloatingPointValue = "0.9", 0.9


def change_call(report):
    named(report, codes.SUBTYPE)[0].ConceptCodeSequence[0].CodeValue = "ChRCC"


def change_model(report):
    named(report, codes.MODEL)[0].TextValue = "0" * 16


def drop_document(report):
    del report.ContentSequence[-1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (change_probability, "expected 0.678624, as in the whole answer"),
        (change_call, "expected PRCC, as in the whole answer"),
        (change_model, "expected that of the whole answer"),
        (drop_document, "expected a report of nephroscope with one answer, found 0 answers"),
    ],
)
def test_a_report_that_says_two_things_is_refused(made, tmp_path, change, expected):
    report = pydicom.dcmread(made[0] / NAMES[0])
    change(report)
    report.save_as(tmp_path / "changed.dcm")
    with pytest.raises(SeriesError, match=re.escape(expected)):
        read_answer(tmp_path / "changed.dcm")


def renamed(answer, first, second):
    """The answer of a bundle that calls PRCC and ChRCC so."""
    names = {"PRCC": first, "ChRCC": second}
    return replace(
        answer,
        probabilities={names[name]: p for name, p in answer.probabilities.items()},
        call=names[answer.call],
        forced_call=names[answer.forced_call],
        positive=names[answer.positive],
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("papillary type 1", "papillary type 2"),  # 16 characters, as much as a code has room for
        ("chromophobe renal cell", "chromophobe renal cell, eosinophilic"),
        ("a\\b", "a_b"),
        ("papillär", "papillar"),
        ("乳头状肾细胞癌", "嫌色细胞肾细胞癌嫌色细胞肾细胞癌嫌色细胞肾细胞癌嫌色细胞肾细胞癌"),
    ],
)
def test_long_names_of_subtypes_have_different_codes(made, patient, tmp_path, first, second):
    answer = renamed(made[1], first, second)
    source = read_source_series(patient / "ct", read_ct(patient / "ct"))
    write_answer_sr(answer, source, tmp_path / "a.dcm", tumor_segment(patient / "roi_reader1.dcm"))
    assert as_plain(read_answer(tmp_path / "a.dcm")) == as_plain(answer)
    for code_of in (codes.subtype_code, codes.probability_code):
        values = {code_of(name)[0] for name in (first, second)}
        assert len(values) == 2
        assert max(len(value.encode()) for value in values) <= 16  # dciodvfy counts bytes
        assert max(len(code_of(name)[2].encode()) for name in (first, second)) <= 64
    report = pydicom.dcmread(tmp_path / "a.dcm")
    (number,) = named(report, codes.probability_code(second))
    assert number.MeasuredValueSequence[0].FloatingPointValue == made[1].probabilities["ChRCC"]


def test_codes_of_names_that_fit_are_the_names():
    assert codes.subtype_code("ChRCC")[0] == "ChRCC"
    assert codes.probability_code("ChRCC")[0] == "P-ChRCC"
    assert codes.subtype_code("papillary type 1")[0] == "papillary type 1"
    assert re.fullmatch("P-papilla-[0-9a-f]{6}", codes.probability_code("papillary type 1")[0])


def test_two_subtypes_with_one_code_are_refused(made, patient, tmp_path):
    long = "papillary renal cell carcinoma"
    answer = renamed(made[1], long, codes.subtype_code(long)[0])
    source = read_source_series(patient / "ct", read_ct(patient / "ct"))
    with pytest.raises(BundleError) as error:
        write_answer_sr(answer, source, tmp_path / "a.dcm", tumor_segment(patient / "roi_reader1.dcm"))
    assert (error.value.code, error.value.where) == ("bundle", "--sr")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"\0" * 300, b"no DICOM" * 40])
def test_what_is_no_report_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(SeriesError):
        read_answer(tmp_path / "x")


def test_a_seg_is_no_report(made):
    with pytest.raises(SeriesError, match="found 0 answers"):
        read_answer(made[0] / NAMES[1])


def test_what_else_an_answer_says_is_there_too(patient, tmp_path):
    """Clinical facts, possible subtypes, distance, the ROI drawn otherwise, and a second question."""
    bundles = [tmp_path / "one", tmp_path / "two"]
    sets = ConformalSets(
        confidence=0.9, least={"PRCC": 0.2, "ChRCC": 0.2}, n_patients={"PRCC": 20, "ChRCC": 9}
    )
    own = replace(NEAR, limit=1e3)
    bundle_with(bundles[0], own, facts=as_plain(MODEL), sets_with_facts=as_plain(sets))
    make_bundle(bundles[1], subtypes=["ccRCC", "ChRCC"], positive="ccRCC")
    roi, sr = patient / "roi_reader1.dcm", tmp_path / "sr.dcm"
    files = FilesToPredict(
        image=patient / "ct",
        roi=roi,
        facts=given_facts(61, "F", 42),
        jitter=True,
        objects=AnswerFiles(sr=sr),
    )
    answer, second = predict_linked(bundles[0], bundles[1], files)
    report = pydicom.dcmread(sr)

    def number(code):
        (one,) = named(report, code)
        value = one.MeasuredValueSequence[0]
        return float(value.get("FloatingPointValue", value.NumericValue)), value.MeasurementUnitsCodeSequence[
            0
        ].CodeValue

    assert number(codes.FACTS["age"]) == (61, "a")
    assert number(codes.FACTS["size"]) == (42, "mm")
    assert number(codes.moved_code("sex"))[0] == pytest.approx(answer.facts[1].log_odds)
    assert named(report, codes.SEX)[0].ConceptCodeSequence[0].CodeValue == "F"
    assert number(codes.image_code("PRCC"))[0] == pytest.approx(answer.image_probabilities["PRCC"])
    possible = [one.ConceptCodeSequence[0].CodeValue for one in named(report, codes.POSSIBLE)]
    assert possible == list(answer.possible.subtypes)
    assert number(codes.DISTANCE)[0] == pytest.approx(answer.outside.distance)
    assert number(codes.LOWEST)[0] <= number(codes.HIGHEST)[0]
    for name, p in answer.linked.probabilities.items():
        assert number(codes.linked_code(name))[0] == pytest.approx(p)
    assert answer.linked.second.forced_call == second.forced_call
    assert report.CompletionFlag == ("PARTIAL" if answer.linked.call is None else "COMPLETE")
    assert as_plain(read_answer(sr)) == as_plain(answer)
    if program("dciodvfy"):
        done = subprocess.run([program("dciodvfy"), sr], capture_output=True, text=True, check=False)
        assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []
    (held,) = named(report, codes.FACTS["age"])
    held.MeasuredValueSequence[0].NumericValue = "62"
    if "FloatingPointValue" in held.MeasuredValueSequence[0]:
        held.MeasuredValueSequence[0].FloatingPointValue = 62.0
    report.save_as(sr)
    with pytest.raises(SeriesError, match="age"):
        read_answer(sr)


def test_doubts_that_do_not_fit_below_a_picture_are_not_left_out_unsaid():
    doubts = [f"warning: doubt {number}" for number in range(MOST_LINES + 1)]
    last = ["nephroscope 1", "RESEARCH USE ONLY"]
    assert broken_lines([*doubts[:MOST_LINES], *last], 40) == [*doubts[:MOST_LINES], *last]
    many = broken_lines([*doubts, *last], 40)
    assert len(many) == MOST_LINES + 2
    assert many[: MOST_LINES - 1] == doubts[: MOST_LINES - 1]
    assert "more" in many[MOST_LINES - 1]
    assert many[-2:] == last


def test_a_threshold_is_named_only_where_a_call_depends_on_it(bundle, patient, tmp_path):
    """With three subtypes the most probable one is called."""
    answer = predict_files(bundle, FilesToPredict(image=patient / "ct", roi=patient / "roi_reader1.dcm"))
    three = replace(answer, probabilities={**answer.probabilities, "ccRCC": 0.0})
    for one, named_there in ((answer, True), (three, False)):
        assert (codes.THRESHOLD in [name for name, _, _ in report_more.numbers(one)]) == named_there
        assert any("threshold" in line for line in words_of(one)[:1]) == named_there
