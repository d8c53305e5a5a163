"""Identifiers: what looks the same is the same; what is written otherwise is named; strangers stay apart."""

import unicodedata

import pytest
from pydicom import Dataset

from nephroscope.base.identifiers import alike, clean_name, existing, is_no_name, near_names, spelling
from nephroscope.intake.export.kinds import patient_id_of
from nephroscope.intake.export.roi_files import find_roi_files


@pytest.mark.parametrize(
    "typed",
    ["P4\u200b", "\ufeffP4", "P\u00ad4", " P4 ", "P4\u00a0", "P4\u2060", "P4\u200e", "P4\ufe0f", "\tP4"],
)
def test_what_nobody_sees_is_dropped(typed):
    assert clean_name(typed) == "P4"


def test_composed_and_decomposed_letters_meet():
    for name in ("Fäll1", "Ångström", "José", "Việt"):
        assert clean_name(unicodedata.normalize("NFD", name)) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    "typed",
    [
        "NA",
        "nan",
        "None",
        "-",
        "?",
        "",
        " ",
        "N/A",
        "#N/A",
        "<NA>",
        "NaT",
        "NULL",
        "unknown",
        "--",
        "\u2013",
        "k.A.",
        "未知",
    ],
)
def test_no_names(typed):
    assert is_no_name(typed)


@pytest.mark.parametrize("typed", ["P1", "0", "Nan-2", "none-1", "NA12878", "N", "A"])
def test_names(typed):
    assert not is_no_name(typed)


WIDE = "\uff30\uff10\uff11"


@pytest.mark.parametrize(
    "form", ["p01", "P1", "P-01", "P_1", "P 001", "P.1", "P01.0", WIDE, "P\u200b01", "(P01)", "P1,0"]
)
def test_one_spelling(form):
    assert spelling(form) == spelling("P01")
    assert alike([form, "P01", "P02"])[0] == [sorted([form, "P01"])]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1-12", "11-2"),
        ("P1-1", "P1-2"),
        ("P10", "P100"),
        ("A1", "B1"),
        ("C3L-00004", "C3N-00004"),
        ("case_00012", "KiTS-00012"),
        ("TCGA-B0-4710", "TCGA-B0-4711"),
        ("1.2.840.1", "1.2.840.11"),
        ("P12L1", "P12R2"),
        ("P1.5", "P15.0"),
    ],
)
def test_strangers(one, other):
    assert alike([one, other]) == ([], [])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P00_L", "P00_R"),
        ("P7 links", "P7 rechts"),
        ("12-left", "12-right"),
        ("7左", "7右"),
        ("P3_G", "P3 droite"),
        ("0998a", "0998b"),
        ("P7_T1", "P7-T2"),
        ("P7 tumor 1", "p07 Tumor 2"),
        ("004", "P04"),
        ("Patient 4", "Pat-04"),
        ("病人 4", "4"),
        ("2021-001", "2021001"),
        ("P5", "P5-L"),
    ],
)
def test_maybe_one_patient(one, other):
    spelled, maybe = alike([one, other])
    assert spelled == []
    assert maybe == [sorted([one, other])]


def test_near_twins_are_found_by_how_they_are_written():
    wanted = ["7", "12001", "p1", "12.0", "Z9", "same"]
    given = ["007", "0012001", "P1", "12", "P2", "same"]
    assert near_names(wanted, given) == {"7": "007", "12001": "0012001", "p1": "P1", "12.0": "12"}


def test_thousands_of_names_cost_no_square():
    spelled, maybe = alike(f"P{i:05d}{side}" for i in range(20_000) for side in ("", "_L"))
    assert (len(spelled), len(maybe)) == (0, 20_000)


@pytest.mark.parametrize(
    ("typed", "name"),
    [("NA", ""), (" ? ", ""), ("None", ""), ("P4\u200b", "P4"), (" P4 ", "P4"), ("Fa\u0308ll1", "Fäll1")],
)
def test_a_patient_id_of_dicom_is_cleaned_and_strangers_are_not_one(typed, name):
    header = Dataset()
    header.PatientID = typed
    assert patient_id_of(header) == name


def test_roi_files_meet_decomposed_names(tmp_path):
    (tmp_path / unicodedata.normalize("NFD", "Fäll1_seg.nii.gz")).touch()
    assert [path.parent for path in find_roi_files(tmp_path).of("Fäll1", [])] == [tmp_path]


def test_a_typed_path_meets_either_form(tmp_path):
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        path = tmp_path / unicodedata.normalize(form, f"Fäll{form}.nii")
        path.touch()
        assert existing(tmp_path / unicodedata.normalize(other, f"Fäll{form}.nii")) == path
    assert existing(tmp_path / "gone.nii") is None
