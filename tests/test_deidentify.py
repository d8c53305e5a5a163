"""De-identification: names in odd places go, what belongs together stays together, pixels stay as they are."""

import copy
import errno
import hashlib
import json
import logging
import os
import re
import warnings
from pathlib import Path

import numpy as np
import openpyxl
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian, RLELossless, generate_uid

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.cli import run
from nephroscope.imaging.dicom.series import read_dicom_series
from nephroscope.imaging.read import read_roi
from nephroscope.intake.deidentify import file as deidentify_file
from nephroscope.intake.deidentify import rules as deidentify_rules
from nephroscope.intake.deidentify.export import Options, deidentify_export
from nephroscope.intake.deidentify.pseudonyms import Secrets, linkage_path, open_key
from nephroscope.intake.deidentify.verify import find_leaks, identity_of, name_words, pixel_bytes
from nephroscope.intake.safe_text import clean_text
from phantoms import box_hu, box_tumor, dicom_slices, write_seg, write_slices

NAME, PATIENT = "Müller-Brandt^Hans Jürg^^Dr.", "KSB-0047113"
SECRET_WORDS = (
    "müller",
    "mueller",
    "muller",
    "brandt",
    "hans",
    "jürg",
    "ksb",
    "0047113",
    "kantonsspital",
    "weiss",
)
EVERYTHING = Options(age_sex=True, descriptions=True)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


def item(**values):
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def named_slices(patient_id=PATIENT, name=NAME, study_date="20210315"):
    """The box phantom with everything that a hospital writes, and names where nobody looks."""
    images = dicom_slices(patient_id)
    referenced = item(
        ReferencedSOPClassUID=images[0].SOPClassUID,
        ReferencedSOPInstanceUID=images[0].SOPInstanceUID,
        PurposeOfReferenceCodeSequence=Sequence(
            [item(CodeValue="1", CodingSchemeDesignator="99KSB", CodeMeaning="for Hans Müller")]
        ),
    )
    for image in images:
        image.SpecificCharacterSet = "ISO_IR 100"
        image.PatientName, image.PatientBirthDate, image.PatientAge = name, "19300704", ""
        image.StudyDate = image.SeriesDate = image.AcquisitionDate = study_date
        image.AcquisitionTime, image.ContrastBolusStartTime = "101530.5", "101450"
        image.AcquisitionDateTime = f"{study_date}101530.5+0100"
        image.StudyID, image.AccessionNumber = "KSB-77", "ACC0091234"
        image.InstitutionName, image.ReferringPhysicianName = "Kantonsspital Baden", "Weiss^Eva"
        image.SeriesDescription = "MUELLER HANS arterial 1.5 B30f 15.03.2021"
        image.RequestAttributesSequence = Sequence([item(RequestedProcedureID="KSB-77")])
        image.PatientBreedDescription, image.PatientSize, image.PregnancyStatus = "x", 1.93, 4
        image.StudyComments = "Herr Müller kommt wieder"
        image.SoftwareVersions = "syngo hans"
        image.OtherPatientIDsSequence = Sequence([item(PatientID="0047113", TypeOfPatientID="TEXT")])
        image.ReferencedImageSequence = Sequence([referenced])
        image.PerformedProtocolCodeSequence = Sequence(
            [item(CodeValue="818981001", CodingSchemeDesignator="SCT", CodeMeaning="Abdomen")]
        )
        image.PerformedProtocolCodeSequence[0].add_new(0x0040A123, "PN", "Weiss^Eva")
        image.PerformedProtocolCodeSequence[0].add_new(0x0040A160, "UT", "text by Dr. Weiss on Müller")
        block = image.private_block(0x0029, "KSB HOSPITAL", create=True)
        block.add_new(0x10, "LO", "Hans Müller")
        image.add_new(0x00189998, "UN", "Müller, Hans".encode())
        image.add_new(0x60000010, "US", 4)
        image.add_new(0x60003000, "OW", b"\0\0")
        image.preamble = b"Mueller".ljust(128, b"\0")
        image.file_meta.SourceApplicationEntityTitle = "KSB_MUELLER"
    return images


def go(tmp_path, source, options=EVERYTHING, to="dst", key="secret.key", labels=None):
    made = deidentify_export(source, tmp_path / to, tmp_path / key, options, labels)
    return {
        **json.loads(json.dumps(made.summary())),
        "key": str(made.key),
        "key_made": made.key_made,
        "linkage": str(made.linkage),
    }


def written(folder):
    return sorted(folder.rglob("*.dcm"))


def image_folder(folder):
    (found,) = {path.parent for path in written(folder) if pydicom.dcmread(path).Modality == "CT"}
    return found


def all_values(folder):
    return [
        (element.keyword, str(element.value))
        for path in written(folder)
        for element in pydicom.dcmread(path).iterall()
    ]


def assert_says_nothing(folder):
    """The test's own search: every byte of every file and every name of a folder."""
    for path in folder.rglob("*"):
        content = (path.read_bytes() if path.is_file() else b"") + str(path.relative_to(folder)).encode()
        for codec in ("latin-1", "utf-8"):
            text = content.decode(codec, "ignore").casefold()
            assert not re.search(rf"(?<![a-z0-9.])({'|'.join(SECRET_WORDS)})(?![a-z0-9])", text), path
            assert not [word for word in SECRET_WORDS if len(word) > 4 and word.isalpha() and word in text], (
                path
            )


@pytest.mark.parametrize("options", [Options(), EVERYTHING], ids=["strict", "options"])
@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
def test_names_in_odd_places_go(tmp_path, options, implicit):
    images = named_slices()
    for image in images if implicit else ():
        image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    write_slices(images, tmp_path / "Müller Hans")
    summary = go(tmp_path, tmp_path / "Müller Hans", options)
    assert (summary["n_written"], summary["n_refused"]) == (6, 0)
    assert_says_nothing(tmp_path / "dst")
    keywords = {keyword for keyword, _ in all_values(tmp_path / "dst")}
    assert "StudyComments" not in keywords
    assert not keywords & {"OtherPatientIDsSequence", "RequestAttributesSequence", "OverlayRows"}
    one = pydicom.dcmread(written(tmp_path / "dst")[0])
    assert not [e for e in one if e.tag.is_private or e.tag.group == 0x6000]
    patient = {"PatientName", "PatientID", "PatientBirthDate", "PatientSex"}
    assert {e.keyword for e in one if e.tag.group == 0x10} - {"PatientAge"} == patient
    assert one.PatientName == one.PatientID == summary_pseudonym(tmp_path)
    assert one.PatientBirthDate == one.AccessionNumber == one.StudyID == one.ReferringPhysicianName == ""
    assert one.PatientIdentityRemoved == "YES"
    assert one.LongitudinalTemporalInformationModified == "MODIFIED"


def summary_pseudonym(tmp_path, patient=PATIENT):
    return open_key(tmp_path / "secret.key")[0].pseudonym(patient)


def test_the_volume_is_the_same_and_segmentation_still_fits(tmp_path):
    images = named_slices()
    write_slices(images, tmp_path / "src")
    write_seg(images, {"Tumor": box_tumor()}, tmp_path / "src" / "seg", reader="Weiss^Eva")
    write_seg(images, {"Tumor": box_tumor()}, tmp_path / "src" / "seg2", reader="Braun^Uwe")
    summary = go(tmp_path, tmp_path / "src")
    assert summary["written"] == {"CT": 6, "SEG": 2}
    volume = read_dicom_series(image_folder(tmp_path / "dst"))
    assert np.array_equal(volume.hu, box_hu())
    assert volume.series_uid.startswith("2.25.")
    segs = [path for path in written(tmp_path / "dst") if pydicom.dcmread(path).Modality == "SEG"]
    for seg in segs:
        assert np.array_equal(read_roi(seg, volume, "P").voxels, box_tumor())
    readers = {str(pydicom.dcmread(seg).ContentCreatorName) for seg in segs}
    assert len(readers) == 2
    assert all(re.fullmatch(r"R-[0-9B-Z]{10}", reader) for reader in readers)
    assert_says_nothing(tmp_path / "dst")


def rtstruct(images):
    made = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3",
        SOPInstanceUID=generate_uid(),
        StudyInstanceUID=images[0].StudyInstanceUID,
        SeriesInstanceUID=generate_uid(),
        Modality="RTSTRUCT",
        PatientID=PATIENT,
        PatientName=NAME,
        SpecificCharacterSet="ISO_IR 100",
        StructureSetLabel="Müller",
        ROIInterpreter="Weiss^Eva",
    )
    contours = [
        item(ReferencedSOPClassUID=i.SOPClassUID, ReferencedSOPInstanceUID=i.SOPInstanceUID) for i in images
    ]
    series = item(SeriesInstanceUID=images[0].SeriesInstanceUID, ContourImageSequence=Sequence(contours))
    study = item(RTReferencedSeriesSequence=Sequence([series]))
    made.ReferencedFrameOfReferenceSequence = Sequence(
        [item(FrameOfReferenceUID=images[0].FrameOfReferenceUID, RTReferencedStudySequence=Sequence([study]))]
    )
    made.StructureSetROISequence = Sequence(
        [
            item(
                ROINumber=1,
                ROIName="Tumor Müller",
                ReferencedFrameOfReferenceUID=images[0].FrameOfReferenceUID,
                ROIDescription="Hans",
            )
        ]
    )
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return made


def test_rtstruct_refers_to_the_new_images(tmp_path):
    images = named_slices()
    write_slices(images, tmp_path / "src")
    rtstruct(images).save_as(tmp_path / "src" / "rs", enforce_file_format=True)
    go(tmp_path, tmp_path / "src")
    all_files = [pydicom.dcmread(path) for path in written(tmp_path / "dst")]
    ct = [file for file in all_files if file.Modality == "CT"]
    (structures,) = [file for file in all_files if file.Modality == "RTSTRUCT"]
    frame = structures.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert frame.FrameOfReferenceUID == ct[0].FrameOfReferenceUID
    assert series.SeriesInstanceUID == ct[0].SeriesInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in series.ContourImageSequence} == {c.SOPInstanceUID for c in ct}
    assert {i.ReferencedSOPClassUID for i in series.ContourImageSequence} == {ct[0].SOPClassUID}
    assert structures.StructureSetROISequence[0].ROIName == "Tumor"
    assert all(file.file_meta.MediaStorageSOPInstanceUID == file.SOPInstanceUID for file in all_files)
    assert_says_nothing(tmp_path / "dst")


def test_same_key_same_bytes_other_key_other_pseudonyms(tmp_path):
    write_slices(named_slices(), tmp_path / "src")
    assert go(tmp_path, tmp_path / "src", to="a")["key_made"] is True
    assert go(tmp_path, tmp_path / "src", to="b")["key_made"] is False
    go(tmp_path, tmp_path / "src", to="c", key="other.key")
    names_a, names_b, names_c = (
        {p.relative_to(tmp_path / to).as_posix(): p.read_bytes() for p in written(tmp_path / to)}
        for to in "abc"
    )
    assert names_a == names_b
    assert not names_a.keys() & names_c.keys()
    uids = [{value for key, value in all_values(tmp_path / to) if key.endswith("InstanceUID")} for to in "ac"]
    assert not uids[0] & uids[1]


def test_key_and_linkage_are_for_their_owner_only(tmp_path):
    write_slices(named_slices(), tmp_path / "src")
    go(tmp_path, tmp_path / "src")
    key, table = tmp_path / "secret.key", linkage_path(tmp_path / "secret.key")
    assert [path.stat().st_mode & 0o777 for path in (key, table)] == [0o600, 0o600]
    assert table.read_text().splitlines() == [
        "patient_id,pseudonym",
        f"{PATIENT},{summary_pseudonym(tmp_path)}",
    ]
    write_slices(named_slices("OTHER-1"), tmp_path / "more")
    go(tmp_path, tmp_path / "more", to="dst2")
    assert [line.split(",")[0] for line in table.read_text().splitlines()[1:]] == [PATIENT, "OTHER-1"]
    assert "hex" not in repr(open_key(key)[0])
    assert open_key(key)[0].key.hex() not in repr(open_key(key)[0])


def test_dates_move_alike_and_times_stay(tmp_path):
    write_slices(named_slices(study_date="20210315"), tmp_path / "src" / "a")
    write_slices(named_slices(study_date="20210401"), tmp_path / "src" / "b")
    go(tmp_path, tmp_path / "src")
    files = [pydicom.dcmread(path) for path in written(tmp_path / "dst")]
    days = sorted({np.datetime64(f"{f.StudyDate[:4]}-{f.StudyDate[4:6]}-{f.StudyDate[6:]}") for f in files})
    assert (days[1] - days[0]).astype(int) == 17
    shift = (np.datetime64("2021-03-15") - days[0]).astype(int)
    assert 1 <= shift <= 365
    assert shift == open_key(tmp_path / "secret.key")[0].days_back(PATIENT)
    assert {f.AcquisitionTime for f in files} == {"101530.5"}
    assert {f.ContrastBolusStartTime for f in files} == {"101450"}
    assert {f.AcquisitionDateTime[8:] for f in files} == {"101530.5"}
    assert all(f.AcquisitionDateTime[:8] == f.StudyDate for f in files)


def test_shift_is_between_1_and_365_days_and_differs_between_patients():
    days = {Secrets(b"k" * 32).days_back(str(n)) for n in range(3000)}
    assert min(days) == 1
    assert max(days) == 365


@pytest.mark.parametrize(
    ("birth", "age", "expected"),
    [
        ("19300704", "", "090Y"),
        ("19600316", "", "060Y"),
        ("19600315", "", "061Y"),
        ("", "063Y", "063Y"),
        ("", "095Y", "090Y"),
        ("", "008M", "008M"),
        ("", "old", None),
        ("20300101", "", None),
    ],
)
def test_age_is_kept_or_computed_by_option_only(tmp_path, birth, age, expected):
    images = named_slices()[:1]
    images[0].PatientBirthDate = birth
    images[0].SeriesDate = images[0].ContentDate = (
        "20300101"  # made later; the age is that at the examination
    )
    images[0].add_new("PatientAge", "LO", age)
    write_slices(images, tmp_path / "src")
    go(tmp_path, tmp_path / "src")
    go(tmp_path, tmp_path / "src", Options(), to="strict")
    kept, strict = (pydicom.dcmread(written(tmp_path / to)[0]) for to in ("dst", "strict"))
    assert (kept.get("PatientAge"), kept.PatientSex) == (expected, "F")
    assert ("PatientAge" in strict, strict.PatientSex) == (False, "")
    codes = [[c.CodeValue for c in f.DeidentificationMethodCodeSequence] for f in (kept, strict)]
    assert codes == [["113100", "113107", "113108", "113105"], ["113100", "113107"]]


def test_descriptions_keep_known_words_by_option_only(tmp_path):
    write_slices(named_slices(), tmp_path / "src")
    go(tmp_path, tmp_path / "src")
    go(tmp_path, tmp_path / "src", Options(), to="strict")
    assert {v for k, v in all_values(tmp_path / "dst") if k == "SeriesDescription"} == {"arterial 1.5 B30f"}
    assert not [v for k, v in all_values(tmp_path / "strict") if k == "SeriesDescription"]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("MUELLER HANS arterial", "arterial"),
        ("Abd. portalvenös 5.0 Br38f", "Abd portalvenös 5.0 Br38f"),
        ("C+ KM- w/o contrast", "C+ KM- w o contrast"),
        ("Müller 0791234567 nativ", "nativ"),
        ("tel 079 123 45 67 delayed", "delayed"),
        ("15.03.2021 3mm 70s", "3mm 70s"),
        ("15-03-21 venous", "venous"),
        ("王小明 腹部动脉期", "动脉期"),
        ("MRN4711 EXCRETORY_PHASE", "EXCRETORY PHASE"),
        ("Recon 3: KIDNEYS & DELAY", "Recon 3 KIDNEYS & DELAY"),
        ("kortikomedulläre Phase", "kortikomedulläre Phase"),
        ("", ""),
    ],
)
def test_clean_text(text, cleaned):
    assert clean_text(text) == cleaned


def test_a_name_that_is_a_known_word_goes_too(tmp_path):
    images = named_slices(name="Kopf^Maria")
    for image in images:
        image.SeriesDescription = "KOPF arterial"
    write_slices(images, tmp_path / "src")
    assert go(tmp_path, tmp_path / "src")["n_refused"] == 0
    assert {v for k, v in all_values(tmp_path / "dst") if k == "SeriesDescription"} == {"arterial"}


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 192", "Müller^Jürg=山田^太郎"),
    ],
)
def test_names_in_other_scripts_go(tmp_path, charset, name):
    images = named_slices(name=name)[:2]
    for image in images:
        image.SpecificCharacterSet = charset
        image.StudyComments = image.SeriesDescription = name.replace("^", " ")
        image.SegmentDescription = name  # kept by the profile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
        write_slices(images, tmp_path / "src")
    assert go(tmp_path, tmp_path / "src")["n_written"] == 2
    found = str(all_values(tmp_path / "dst")).casefold()
    assert not [word for word in name_words(name) if word in found]


def test_names_are_searched_in_their_usual_spellings():
    assert name_words("Müller-Brandt^José") == {"müller", "muller", "mueller", "brandt", "josé", "jose"}
    assert name_words("Li^Xu^Dr") == set()
    assert name_words("山田^太郎") == {"山田", "太郎"}


def test_what_the_search_finds_is_not_written(tmp_path, monkeypatch):
    """Each mutant lets something through; the search, which shares no code with the rules, finds it."""
    write_slices(named_slices(), tmp_path / "src")
    monkeypatch.setattr(deidentify_rules, "_sequence", lambda *_: None)
    summary = go(tmp_path, tmp_path / "src")
    assert (summary["n_written"], summary["n_refused"]) == (0, 6)
    assert "ReferencedSOPInstanceUID: an original UID" in summary["refused"][0]["reason"]
    assert "PersonName: a person's name" in summary["refused"][0]["reason"]
    assert not written(tmp_path / "dst")
    assert {p.name for p in (tmp_path / "dst").iterdir()} == {"deidentification.json"}
    assert_says_nothing(tmp_path / "dst")


def test_the_search_sees_every_kind_of_leak(tmp_path):
    (original, *_) = named_slices()
    identity = identity_of(original)
    clean = Dataset()
    clean.SOPClassUID, clean.SOPInstanceUID = original.SOPClassUID, generate_uid()
    clean.PatientName = "P-0123456789"
    clean.PixelData = original.PixelData
    clean["PixelData"].VR = "OW"
    clean.file_meta = pydicom.dataset.FileMetaDataset()
    clean.file_meta.TransferSyntaxUID = original.file_meta.TransferSyntaxUID
    path = tmp_path / "file"

    def leaks(**values):
        spoilt = Dataset()
        spoilt.update(copy.deepcopy(clean))
        spoilt.file_meta = clean.file_meta
        for name, value in values.items():
            setattr(spoilt, name, value)
        spoilt.preamble = bytes(128)
        spoilt.save_as(path, enforce_file_format=True)
        return find_leaks(path, identity, "P-0123456789", original.PixelData)

    assert leaks() == []
    assert leaks(StudyComments="seen by hans") == [
        "StudyComments: an identifying value",
        "bytes: an identifying value",
    ]
    assert leaks(ImageComments="19300704")[0] == "ImageComments: an identifying value"
    assert leaks(OperatorsName="Kurz^A") == ["OperatorsName: a person's name"]
    assert leaks(StudyInstanceUID=original.StudyInstanceUID) == [
        "StudyInstanceUID: an original UID",
        "bytes: an original UID",
    ]
    for text in ("04.07.1930", "xMüllerBrandtHansJürg", f"of {original.StudyInstanceUID}"):
        assert leaks(ImageComments=text)[0] == "ImageComments: an identifying value"
    assert leaks(PixelData=bytes(len(original.PixelData))) == ["pixels: different from the source"]
    assert leaks(ICCProfile=b"..Brandt") == [
        "ICCProfile: bytes: an identifying value",
        "bytes: an identifying value",
    ]
    assert leaks(StudyComments="Hansaplast, Chansons") == []
    assert "0047113" not in str(leaks(StudyComments=PATIENT))


def test_other_kinds_are_left_out_and_counted(tmp_path):
    images = named_slices()
    classes = ("7", "88.22", "104.1", "6.1")
    for image, tail in zip(images, classes, strict=False):
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = f"1.2.840.10008.5.1.4.1.1.{tail}"
        image.Modality = "HANS"
    images[4].BurnedInAnnotation = "YES"
    images[5].ImageType = ["DERIVED", "SECONDARY"]
    write_slices(images, tmp_path / "src")
    (tmp_path / "src" / "Müller.txt").write_text("letter")
    summary = go(tmp_path, tmp_path / "src")
    assert summary["written"] == {"CT": 1}
    assert (summary["n_left_out"], summary["n_not_dicom"], summary["n_files"]) == (5, 1, 7)
    assert any("burned in" in kind for kind in summary["left_out"])
    assert "SECONDARY" in next(iter(summary["doubts"]))
    assert_says_nothing(tmp_path / "dst")


def test_an_overlay_in_the_pixels_is_refused(tmp_path):
    images = named_slices()
    del images[0][0x60003000]
    write_slices(images, tmp_path / "src")
    summary = go(tmp_path, tmp_path / "src")
    assert summary["n_written"] == 5
    assert "overlay in the bits of the pixels" in summary["refused"][0]["reason"]


def test_damaged_files_do_not_stop_the_rest_nor_tell_their_names(tmp_path, capsys):
    folder = write_slices(named_slices(), tmp_path / "src")
    whole = (folder / "IM000").read_bytes()
    (folder / "IM000_Müller_Hans").write_bytes(whole[:700])
    (folder / "IM001_Müller").write_bytes(whole[:132] + bytes(range(256)) * 4)
    (folder / "empty").write_bytes(b"")
    words = [str(folder), str(tmp_path / "dst"), "--key", str(tmp_path / "k")]
    assert run(["deidentify", *words, "--json"]) == 3
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert (data["n_written"], data["n_not_dicom"]) == (6, 1)
    assert len(data["refused"]) == 2
    name = "IM000_Müller_Hans"
    assert data["refused"][0]["digest"] == hashlib.sha256(name.encode()).hexdigest()[:12]
    assert data["refused"][0]["file"] == 2
    assert "ller" not in out + err
    assert "refused: file 2 (" in err
    assert_says_nothing(tmp_path / "dst")


def test_bit_flips_are_refused_or_written_clean(tmp_path):
    folder = write_slices(named_slices()[:1], tmp_path / "src")
    whole = bytearray((folder / "IM000").read_bytes())
    generator = np.random.default_rng(0)
    for n in range(60):
        spoilt = whole.copy()
        for position in generator.integers(132, 2500, 3):
            spoilt[position] ^= 1 << int(generator.integers(8))
        (folder / f"flip{n:02}").write_bytes(spoilt)
    summary = go(tmp_path, folder)
    assert (
        summary["n_written"]
        + summary["n_refused"]
        + summary["n_left_out"]
        + summary["n_not_dicom"]
        + summary["n_twice"]
        == 61
    )
    assert summary["n_written"] > 5
    assert_says_nothing(tmp_path / "dst")


def test_links_are_not_followed_and_closed_folders_are_told(tmp_path, monkeypatch):
    outside = write_slices(named_slices("OUTSIDE-1"), tmp_path / "outside")
    source = write_slices(named_slices(), tmp_path / "src")
    (source / "file").symlink_to(outside / "IM000")
    (source / "folder").symlink_to(outside)
    (source / "Müller").mkdir()
    real = os.scandir

    def closed(path):
        if str(path).endswith("Müller"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", closed)
    summary = go(tmp_path, source)
    assert (summary["n_written"], summary["n_patients"]) == (6, 1)
    assert [refused["reason"] for refused in summary["refused"]] == [
        "a link or a device, which is not followed",
        "a link or a device, which is not followed",
        "cannot be read or written (IsADirectoryError)",
    ]
    assert_says_nothing(tmp_path / "dst")


def test_full_disk_stops_at_once(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    source = write_slices(named_slices(), tmp_path / "src")
    monkeypatch.setattr(deidentify_file, "find_leaks", full)
    with pytest.raises(OSError, match="No space left"):
        go(tmp_path, source)
    assert not list((tmp_path / "dst").rglob("*I-*"))


def test_what_people_type_into_code_strings_is_cleaned(tmp_path):
    images = named_slices()[:2]
    images[0].BodyPartExamined, images[0].ContentLabel = "CHESTABDPELVIS", "TUMOR_WEISS"
    images[1].BodyPartExamined, images[1].ContentLabel = "MEIER", "MEIER"
    images[1].StationName = "CT1"
    write_slices(images, tmp_path / "src")
    go(tmp_path, tmp_path / "src")
    one, two = sorted(map(pydicom.dcmread, written(tmp_path / "dst")), key=lambda file: file.InstanceNumber)
    assert (one.BodyPartExamined, one.ContentLabel) == ("CHESTABDPELVIS", "TUMOR")
    assert (two.BodyPartExamined, two.ContentLabel) == ("", "SEGMENT")


@pytest.mark.parametrize(
    ("agent", "kept", "strict"),
    [("Ultravist Weiss", "contrast", ""), ("NONE", "NONE", ""), ("", "", ""), ("350 IV", "350 IV", "")],
)
def test_whether_there_was_contrast_is_not_changed(tmp_path, agent, kept, strict):
    images = named_slices()[:1]
    images[0].ContrastBolusAgent = agent
    write_slices(images, tmp_path / "src")
    go(tmp_path, tmp_path / "src")
    go(tmp_path, tmp_path / "src", Options(), to="strict")
    found = [pydicom.dcmread(written(tmp_path / to)[0]).ContrastBolusAgent for to in ("dst", "strict")]
    assert found == [kept, strict]


def test_codes_of_the_hospital_tell_nothing_and_stay_alike(tmp_path):
    write_slices(named_slices(), tmp_path / "src")
    go(tmp_path, tmp_path / "src")
    files = [pydicom.dcmread(path) for path in written(tmp_path / "dst")]
    (own,) = {str(f.ReferencedImageSequence[0].PurposeOfReferenceCodeSequence[0]) for f in files}
    assert "99LOCAL" in own
    assert "KSB" not in own
    assert {f.PerformedProtocolCodeSequence[0].CodeMeaning for f in files} == {"Abdomen"}


def test_a_copy_can_be_copied_again(tmp_path):
    images = named_slices()
    write_slices(images, tmp_path / "src")
    write_seg(images, {"Tumor": box_tumor()}, tmp_path / "src" / "seg")
    go(tmp_path, tmp_path / "src")
    (tmp_path / "dst" / "deidentification.json").unlink()
    assert go(tmp_path, tmp_path / "dst", to="again", key="other.key")["n_written"] == 7


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI:UserWarning")
def test_silence_of_pydicom(tmp_path, caplog, capfd):
    """pydicom's warnings quote values."""
    images = named_slices()[:1]
    images[0].add_new("FrameOfReferenceUID", "UI", "hans.mueller")
    source = write_slices(images, tmp_path / "src")
    caplog.clear()
    capfd.readouterr()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        summary = go(tmp_path, source)
    assert (summary["n_written"], caplog.text, capfd.readouterr()) == (1, "", ("", ""))
    assert_says_nothing(tmp_path / "dst")


def test_interrupted_run_goes_on(tmp_path, monkeypatch):
    write_slices(named_slices(), tmp_path / "src")
    whole = go(tmp_path, tmp_path / "src", to="whole")
    real, calls = deidentify_file.find_leaks, []

    def interrupt(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(deidentify_file, "find_leaks", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, tmp_path / "src")
    assert len(list((tmp_path / "dst").rglob("I-*"))) == 3
    stray = written(tmp_path / "dst")[0].with_name(".I-killed.dcm.99.tmp")
    stray.write_text("not verified: Hans")
    summary = go(tmp_path, tmp_path / "src")
    assert (summary["n_written"], summary["n_from_earlier_run"]) == (6, 3)
    assert summary["n_patients"] == whole["n_patients"]
    assert_says_nothing(tmp_path / "dst")
    assert not stray.exists()
    with pytest.raises(
        ConfigError,
        match=r"new or empty folder, or the folder of an interrupted run .* found a folder with other files",
    ):
        go(tmp_path, tmp_path / "src")


def test_the_same_file_twice_is_written_once(tmp_path):
    images = named_slices()
    write_slices(images, tmp_path / "src" / "a")
    write_slices(images, tmp_path / "src" / "b")
    images[0].PixelData = bytes(len(images[0].PixelData))
    write_slices(images[:1], tmp_path / "src" / "c")
    summary = go(tmp_path, tmp_path / "src")
    assert (summary["n_written"], summary["n_twice"]) == (7, 6)


def test_many_files_by_several_processes(tmp_path):
    for n in range(12):
        write_slices(named_slices(f"MANY-{n:03}"), tmp_path / "src" / str(n))
    (tmp_path / "src" / "broken").write_bytes(bytes(128) + b"DICM" + b"\xff" * 50)
    summary = go(tmp_path, tmp_path / "src")
    assert (summary["n_files"], summary["n_written"], summary["n_patients"]) == (73, 72, 12)
    assert summary["n_refused"] == 1


@pytest.mark.parametrize(
    ("source", "to", "key", "text"),
    [
        ("none", "dst", "k", r"SRC: expected a folder with a DICOM export, found no such folder"),
        ("src", "src/dst", "k", r"DST: expected a folder outside SRC, found one inside the other"),
        ("src/a", "src", "k", r"DST: expected a folder outside SRC, found one inside the other"),
        ("src", "dst", "dst/k", r"--key: expected a key file outside of SRC and DST, found one inside"),
        ("src", "dst", "src/k", r"--key: expected a key file outside of SRC and DST, found one inside"),
        ("src", "file", "k", r"DST: expected a new or empty folder, found a file"),
        ("src", "dst", "nowhere/k", r"--key: expected a file in an existing folder, found no such folder"),
        (
            "src",
            "dst",
            "file",
            r"--key: expected a key file made by nephroscope deidentify, found a file of another",
        ),
        ("src", "other", "k", r"DST: expected a new or empty folder.*found a folder with other files"),
    ],
)
def test_refusals(tmp_path, source, to, key, text):
    write_slices(named_slices()[:1], tmp_path / "src" / "a")
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("x")
    with pytest.raises(ConfigError, match=text):
        go(tmp_path, tmp_path / source, to=to, key=key)
    assert not (tmp_path / "dst").exists() or not written(tmp_path / "dst")


def test_files_without_patient_id_say_so(tmp_path):
    images = named_slices("")
    write_slices(images, tmp_path / "src")
    summary = go(tmp_path, tmp_path / "src")
    assert "no PatientID" in next(iter(summary["doubts"]))
    images[0].StudyInstanceUID = images[0].FrameOfReferenceUID = ""
    write_slices(images[:1], tmp_path / "src2")
    assert (
        "shows which patient it belongs to"
        in go(tmp_path, tmp_path / "src2", to="dst2")["refused"][0]["reason"]
    )


LABELS = f"""patient_id;case_id;subtype;age;Geburtsdatum;Nachname;op_date;size_cm;Hans says
{PATIENT};{PATIENT}-left;PRCC;93;04.07.1930;Müller;2021-03-20;4,5;yes
{PATIENT};tumor-2;ChRCC;61;04.07.1930;Müller;2021-03-20;3,1;Weiss
NOT-HERE;NOT-HERE;PRCC;70;01.01.1950;Meier;2021-03-20;3;yes
"""


def test_labels_get_the_same_pseudonyms(tmp_path):
    write_slices(named_slices(), tmp_path / "src")
    (tmp_path / "labels.csv").write_text(LABELS, encoding="utf-8")
    summary = go(tmp_path, tmp_path / "src", labels=tmp_path / "labels.csv")
    lines = (tmp_path / "dst" / "labels.csv").read_text(encoding="utf-8").splitlines()
    pseudonym, other = summary_pseudonym(tmp_path), summary_pseudonym(tmp_path, "NOT-HERE")
    assert lines[0] == "patient_id,case_id,subtype,age,size_cm"
    assert lines[1] == f'{pseudonym},{pseudonym}-left,PRCC,90,"4,5"'
    assert re.fullmatch(rf'{pseudonym},C-[0-9B-Z]{{10}},ChRCC,61,"3,1"', lines[2])
    assert lines[3].startswith(f"{other},C-")
    assert summary["labels"] == {
        "file": "labels.csv",
        "n_rows": 3,
        "n_rows_without_images": 1,
        "columns_dropped": ["5 (birth_date)", "6", "7", "9"],
        "n_cells_emptied": 0,
    }
    assert_says_nothing(tmp_path / "dst")


def test_labels_under_other_headers_and_in_a_workbook(tmp_path):
    write_slices(named_slices()[:1], tmp_path / "src")
    book = openpyxl.Workbook()
    for row in (
        ["Nierentumoren"],
        ["N° patient", "Histologie", "Alter (Jahre)", "ROI file", "CT-Datum", "Grade"],
        [PATIENT, "pRCC", "91 J", "/data/Zwiebel/seg.nii", "2020-01-31", 2],
        ["OTHER-1", "ChRCC", "about 95", "", "", 3],
        ["OTHER-2", "ChRCC", 61.0, "", "", 3],
    ):
        book.active.append(row)
    book.save(tmp_path / "labels.xlsx")
    summary = go(tmp_path, tmp_path / "src", labels=tmp_path / "labels.xlsx")
    names = [summary_pseudonym(tmp_path, patient) for patient in (PATIENT, "OTHER-1", "OTHER-2")]
    assert (tmp_path / "dst" / "labels.csv").read_text(encoding="utf-8").splitlines() == [
        "N° patient,Histologie,Alter (Jahre)",
        f"{names[0]},pRCC,90",
        f"{names[1]},ChRCC,",
        f"{names[2]},ChRCC,61",
    ]
    assert summary["labels"]["columns_dropped"] == ["4 (roi)", "5 (scan_date)", "6"]
    assert summary["labels"]["n_cells_emptied"] == 1


def test_only_columns_of_a_known_meaning_leave_with_the_labels(tmp_path):
    write_slices(named_slices(name="Mann^Clear")[:1], tmp_path / "src")
    (tmp_path / "labels.csv").write_text(
        "患者编号,姓名,出生日期,Akte,Operateur,性别,病理类型,side,size_mm,exclusion_reason,phase,tumor_name\n"
        f"{PATIENT},王小明,1958-03-12,{PATIENT},Dr. Beil,Mann,clear cell RCC,links (Beil),31,{PATIENT} moved,"
        "arterial Mann,Tumor Mann\n"
        "B-4711,李四,1960-01-02,B-4711,Dr. Beil,frau,PRCC seen by Mann,left,Beil,no CT,,Beil\n"
        "B-4712,x,,,,divers,PRCC (E 2021/123456),,,CT of 3.4.2021,,\n",
        encoding="utf-8",
    )
    summary = go(tmp_path, tmp_path / "src", labels=tmp_path / "labels.csv")
    a, b, c = (summary_pseudonym(tmp_path, patient) for patient in (PATIENT, "B-4711", "B-4712"))
    assert (tmp_path / "dst" / "labels.csv").read_text(encoding="utf-8").splitlines() == [
        "患者编号,性别,病理类型,side,size_mm,exclusion_reason,phase,tumor_name",
        f"{a},M,clear cell RCC,left,31,,arterial,Tumor",
        f"{b},F,,left,,no CT,,segment",
        f"{c},O,,,,,,",
    ]
    assert summary["labels"]["columns_dropped"] == ["2", "3 (birth_date)", "4", "5"]
    assert summary["labels"]["n_cells_emptied"] == 5
    go(tmp_path, tmp_path / "src", Options(), to="strict", labels=tmp_path / "labels.csv")
    strict = (tmp_path / "strict" / "labels.csv").read_text(encoding="utf-8")
    assert strict.startswith("患者编号,病理类型,side,size_mm")


def test_labels_without_patients_are_refused(tmp_path):
    write_slices(named_slices()[:1], tmp_path / "src")
    (tmp_path / "labels.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        CohortError, match=r"--labels: expected a column patient_id .* found 2 columns without one"
    ):
        go(tmp_path, tmp_path / "src", labels=tmp_path / "labels.csv")
    assert not (tmp_path / "dst").exists()


def test_command_says_what_was_done(tmp_path, capsys):
    folder = write_slices(named_slices(), tmp_path / "src")
    (tmp_path / "labels.csv").write_text(LABELS, encoding="utf-8")
    words = [
        str(folder),
        str(tmp_path / "dst"),
        "--key",
        str(tmp_path / "k"),
        "--labels",
        str(tmp_path / "labels.csv"),
    ]
    assert run(["deidentify", *words, "--keep-age-sex", "--keep-descriptions"]) == 0
    text = capsys.readouterr().out
    assert "6 files read; written, read back and searched: 6 CT" in text
    assert "a NEW key was made" in text
    assert "keep them in the hospital" in text
    assert "next: nephroscope import dicom" in text
    assert "warning: pixels were not checked" in text
    assert "columns dropped: 5 (birth_date), 6, 7, 9\n" in text
    assert "phases can no longer" not in text
    assert not [word for word in SECRET_WORDS if word in text.casefold()]
    assert run(["deidentify", words[0], str(tmp_path / "dst2"), *words[2:4]]) == 0
    assert "phases can no longer be recognized from descriptions; --keep-desc" in capsys.readouterr().out
    assert run(["deidentify", *words]) == 2
    assert "refused: DST" in capsys.readouterr().err


REAL = (
    "ct_with_kidneys/example_ct_dicom",
    "kidney_seg",
    "rtstruct/mock_data",
    "dicom_seg",
    "dicom_transfer_syntaxes",
)


@pytest.mark.parametrize("place", REAL)
def test_real_files_keep_their_pixels_and_lose_their_uids(tmp_path, test_data, place):
    summary = go(tmp_path, test_data / place)
    assert summary["n_refused"] == 0
    assert summary["n_written"] > 0
    sources = [f for f in map(read_quietly, (test_data / place).rglob("*")) if f is not None]
    pixels = {_picture(f) for f in sources}
    uids = set().union(*(identity_of(f).uids for f in sources))
    for path in written(tmp_path / "dst"):
        made = read_quietly(path)
        assert _picture(made) in pixels
        assert not uids & {str(e.value) for e in made.iterall() if e.VR == "UI"}


def _picture(file):
    """Digest of the stored pixels; of run-length pixels, which are coded anew, the decoded ones."""
    content = pixel_bytes(file) or b""
    if content and file.file_meta.TransferSyntaxUID == RLELossless:
        content = file.pixel_array.tobytes()
    return hashlib.sha256(content).digest()


@pytest.mark.filterwarnings("ignore")
def read_quietly(path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(path) if path.is_file() else None
        except pydicom.errors.InvalidDicomError:
            return None


def test_real_series_and_its_segmentation(tmp_path, test_data):
    source = test_data / "ct_with_kidneys" / "example_ct_dicom"
    go(tmp_path, source)
    before, after = read_dicom_series(source), read_dicom_series(image_folder(tmp_path / "dst"))
    assert np.array_equal(before.hu, after.hu)
    assert np.array_equal(before.geometry.affine, after.geometry.affine)
    source = test_data / "dicom_seg"
    (tmp_path / "liver").mkdir()
    for path in [*(source / "ct-3slice").glob("*.dcm"), source / "liver.dcm"]:
        (tmp_path / "liver" / path.name).write_bytes(path.read_bytes())
    go(tmp_path, tmp_path / "liver", to="dst2")
    volume = read_dicom_series(image_folder(tmp_path / "dst2"))
    (seg,) = [p for p in written(tmp_path / "dst2") if pydicom.dcmread(p).Modality == "SEG"]
    before = read_roi(source / "liver.dcm", read_dicom_series(source / "ct-3slice"), "P", tumor_name="Liver")
    assert np.array_equal(read_roi(seg, volume, "P", tumor_name="Liver").voxels, before.voxels)
    series = pydicom.dcmread(seg).ReferencedSeriesSequence[0].SeriesInstanceUID
    assert series == volume.series_uid


@pytest.mark.parametrize(
    "damage", ["a digit of the key", "a pseudonym", "a number", "no header", "short", "binary"]
)
def test_key_and_linkage_that_do_not_belong_together_are_refused(tmp_path, damage):
    """Silently other pseudonyms would make two patients of one."""
    source = write_slices(named_slices(), tmp_path / "src")
    go(tmp_path, source, to="first")
    key, table = tmp_path / "secret.key", tmp_path / "secret.key.linkage.csv"
    digits, text = key.read_text(), table.read_text()
    if damage == "a digit of the key":
        key.write_text(digits[:-2] + ("0" if digits[-2] != "0" else "1") + "\n")
    changed = {
        "a pseudonym": re.sub(r",P-.", ",P-9" if ",P-9" not in text else ",P-8", text, count=1),
        "a number": text.replace("\n", "\n9", 1),
        "no header": text.partition("\n")[2],
        "short": text[:-4],
        "binary": "\0\1",
    }
    table.write_text(changed.get(damage, text))
    with pytest.raises((ConfigError, CohortError)) as refused:
        go(tmp_path, source, to="second")
    assert "secret.key.linkage.csv" in str(refused.value)
    assert PATIENT not in str(refused.value)
    assert not (tmp_path / "second" / "deidentification.json").exists()
    key.write_text(digits)
    table.write_text(text)
    go(tmp_path, source, to="second")
    assert image_folder(tmp_path / "first").name == image_folder(tmp_path / "second").name
