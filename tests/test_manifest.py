"""cohort.csv: out, through a spreadsheet, and back; every mistake by row and column."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nephroscope.base.errors import CohortError, StudyError
from nephroscope.base.tables import read_table, save_table
from nephroscope.records import Case, Cohort, Exclusion
from nephroscope.study.cohort_table import COLUMNS, load_cohort, save_cohort

SUBTYPES = ("PRCC", "ChRCC")


def make(*cases, exclusions=()):
    return Cohort(subtypes=SUBTYPES, positive="PRCC", cases=cases, exclusions=exclusions)


def load(folder):
    return load_cohort(folder, SUBTYPES, "PRCC")


def write(folder, text, encoding="utf-8"):
    (folder / "cohort.csv").write_bytes(text.encode(encoding))
    return folder


words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
numbers = st.none() | st.floats(0.01, 50)
cases = st.builds(
    Case,
    case_id=words,
    patient_id=words,
    image=words.map(lambda w: Path("/elsewhere") / w.replace("/", "_").replace(".", "_")),
    format=st.sampled_from(["dicom", "nifti", "images"]),
    roi=st.none() | st.just(Path("/elsewhere/roi")),
    tumor_label=st.integers(1, 65535),
    subtype=st.sampled_from([None, *SUBTYPES]),
    sex=st.sampled_from([None, "M", "F", "O"]),
    age_years=numbers,
    size_cm=numbers,
    phase=words,
    site_id=words,
    cohort=st.sampled_from(["development", "internal-test", "external-test:Köln"]),
    source=words,
    synthetic=st.booleans(),
)


@given(st.lists(cases, max_size=5, unique_by=(lambda c: c.case_id, lambda c: c.patient_id)))
def test_round_trip(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("study")
    cohort = make(*drawn, exclusions=(Exclusion(case_id="x", reason="no, really;", subtype="cyst"),))
    save_cohort(cohort, folder)
    assert load(folder) == cohort


def test_a_moved_study_finds_its_own_files(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    inside, outside = here / "data" / "a.nii.gz", tmp_path / "b.nii.gz"
    case = Case(case_id="a", patient_id="a", image=inside, roi=outside, format="nifti")
    save_cohort(
        make(case, Case(case_id="b", patient_id="b", image=Path("images.csv"), format="images")), here
    )
    assert "data/a.nii.gz" in (here / "cohort.csv").read_text().split(",")
    here.rename(there)
    one, two = load(there).cases
    assert (one.image, one.roi, two.image) == (there / "data" / "a.nii.gz", outside, there / "images.csv")


def test_the_table_is_plain(tmp_path):
    save_cohort(
        make(Case(case_id="a", patient_id="p", image=Path("/x"), format="dicom", age_years=63.0)), tmp_path
    )
    assert (tmp_path / "cohort.csv").read_text() == (
        "case_id,patient_id,site_id,subtype,sex,age_years,size_cm,phase,cohort,format,image,roi,roi_reader2,"
        "tumor_label,tumor_name,organs,subtype_reader2,source,synthetic\n"
        "a,p,site-1,,,63,,unknown,development,dicom,/x,,,1,,,,HU,no\n"
    )
    assert (tmp_path / "exclusions.csv").read_text() == "case_id,reason,subtype\n"


def test_a_failed_write_leaves_the_old_table(tmp_path, monkeypatch):
    save_cohort(make(), tmp_path)
    before = (tmp_path / "cohort.csv").read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match=r"No space"):
        save_cohort(make(Case(case_id="a", patient_id="a", image=Path("/x"), format="dicom")), tmp_path)
    assert (tmp_path / "cohort.csv").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohort.csv", "exclusions.csv"]


SPREADSHEETS = {
    "semicolon, mark, comma numbers": (";", "\ufeff", "utf-8", "4,3"),
    "tab": ("\t", "", "utf-8", "4.3"),
    "utf-16": ("\t", "\ufeff", "utf-16-le", "4.3"),
    "cp1252": (";", "", "cp1252", "4,3"),
}


@pytest.mark.parametrize(("separator", "mark", "encoding", "size"), SPREADSHEETS.values(), ids=SPREADSHEETS)
def test_what_spreadsheets_do_is_understood(tmp_path, separator, mark, encoding, size):
    lines = [
        ["notes", "Subtype", " case_id ", "image", "format", "sex", "size_cm", "site_id"],
        ["hm", "PRCC", " a ", "a.nii", "nifti", "male", size, "Köln"],
        [""] * 8,
        ["", "ChRCC", "b", "b.nii", "nifti", "f", "", ""],
    ]
    text = mark + "\r\n".join(separator.join(line) for line in lines) + "\r\n\r\n"
    one, two = load(write(tmp_path, text, encoding)).cases
    assert (one.case_id, one.patient_id, one.subtype, one.sex) == ("a", "a", "PRCC", "M")
    assert (one.size_cm, one.site_id, one.cohort) == (4.3, "Köln", "development")
    assert (two.sex, two.size_cm, two.site_id, two.roi) == ("F", None, "site-1", None)


HEADER = "case_id,patient_id,subtype,format,image,age_years,sex,cohort,tumor_label,synthetic\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "c,,PRCC,nifti,i,sixty,,,,",
            "column age_years: expected a number above 0 and up to 120, found 'sixty'",
        ),
        ("c,,PRCC,nifti,i,0,,,,", "column age_years: .*found '0'"),
        ("c,,PRCC,nifti,i,121,,,,", "column age_years: .*found '121'"),
        ("c,,PRCC,nifti,i,inf,,,,", "column age_years: .*found 'inf'"),
        (
            "c,,cyst,nifti,i,,,,,",
            r"column subtype: expected .* \(PRCC, ChRCC\) or nothing, found 'cyst'",
        ),
        (",,PRCC,nifti,i,,,,,", "column case_id: expected a name, found nothing"),
        ("c,,PRCC,nifti,,,,,,", "column image: expected a path, found nothing"),
        ("c,,PRCC,mhd,i,,,,,", "column format: expected dicom, nifti or images, found 'mhd'"),
        ("c,,PRCC,nifti,i,,x,,,", "column sex: expected M, F, O or nothing, found 'x'"),
        (
            "c,,PRCC,nifti,i,,,test,,",
            "column cohort: expected development, internal-test or external-test:NAME",
        ),
        ("c,,PRCC,nifti,i,,,external-test:,,", "column cohort: .*found 'external-test:'"),
        ("c,,PRCC,nifti,i,,,,0,", "column tumor_label: expected a whole number from 1 to 65535, found '0'"),
        ("c,,PRCC,nifti,i,,,,1.5,", "column tumor_label: .*found '1.5'"),
        ("c,,PRCC,nifti,i,,,,,maybe", "column synthetic: expected yes or no, found 'maybe'"),
        ("a,,PRCC,nifti,i,,,,,", "column case_id: expected every case_id once, found 'a' in row 2 too"),
        ("c,p,PRCC,nifti,i,,F,,,", "column sex: expected one sex for patient p, found F, but M in row 2"),
    ],
)
def test_mistakes_are_named_by_row_and_column(tmp_path, row, message):
    text = HEADER + "a,p,PRCC,nifti,i,50,male,development,1,no\n" + row + "\n"
    with pytest.raises(CohortError, match=r"^cohort.csv, row 3, " + message):
        load(write(tmp_path, text))


def test_all_mistakes_are_said_at_once_and_a_long_list_is_counted(tmp_path):
    with pytest.raises(CohortError, match=r"found 2: row 2, column subtype: .*; row 2, column age_years: "):
        load(write(tmp_path, HEADER + "a,,cyst,nifti,i,old,,,,\n"))
    rows = "".join(f"c{n},,cyst,nifti,i,,,,,\n" for n in range(30))
    with pytest.raises(
        CohortError, match=r"found 30: row 2, .* row 21, .*; and 10 more; correct these cells"
    ):
        load(write(tmp_path, HEADER + rows))


def test_rows_count_as_in_the_spreadsheet(tmp_path):
    text = HEADER + "\n\n" + "a,,cyst,nifti,i,,,,,\n"
    with pytest.raises(CohortError, match=r"row 4, column subtype"):
        load(write(tmp_path, text))


def test_no_table_a_workbook_and_a_wrong_header_are_refused(tmp_path):
    with pytest.raises(StudyError, match=r"expected cohort.csv, found none; run `nephroscope import` first"):
        load(tmp_path)
    (tmp_path / "cohort.csv").write_bytes(b"PK\x03\x04")
    with pytest.raises(CohortError, match=r"found a spreadsheet workbook; .*save the sheet as CSV"):
        load(tmp_path)
    with pytest.raises(CohortError, match=r"found an empty file"):
        load(write(tmp_path, "\n\n"))
    with pytest.raises(
        CohortError, match=r"expected the columns .*found no subtype, image among case_id, format"
    ):
        load(write(tmp_path, "case_id,format\n"))
    (tmp_path / "cohort.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CohortError, match=r"found bytes that are no text"):
        load(tmp_path)
    with pytest.raises(CohortError, match=r"field larger than"):
        load(write(tmp_path, "a,b\n" + "x" * 140_000))


def test_every_field_of_a_case_has_a_column():
    assert sorted(COLUMNS) == sorted(Case.__dataclass_fields__)


def test_what_a_spreadsheet_would_run_is_written_as_text_and_read_as_it_was(tmp_path):
    texts = ["=1+1", "@x", "+cmd|x", "-b", "'=x", "-2.5", "plain", "'quoted'"]
    save_table(tmp_path / "t.csv", ["a"], [[text] for text in texts])
    lines = (tmp_path / "t.csv").read_text().splitlines()[1:]
    assert lines == ["'=1+1", "'@x", "'+cmd|x", "'-b", "''=x", "-2.5", "plain", "'quoted'"]
    assert [row[0] for _, row in read_table(tmp_path / "t.csv")[1]] == texts
