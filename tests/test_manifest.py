"""cohort.csv, series.csv and rois.csv: written, edited, read; every mistake is named by file, row and column."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nephroscope.base.errors import CohortError, ConfigError, StudyError
from nephroscope.base.identifiers import clean_name, is_no_name
from nephroscope.base.tables import read_table, save_table
from nephroscope.records import Case, ChoiceRule, ClinicalFacts, Cohort, Exclusion, RoiRef, SeriesRef
from nephroscope.records.settings import PHASES, CohortConfig
from nephroscope.study.cohort_cells import COLUMNS
from nephroscope.study.cohort_table import load_cohort, save_cohort, seen_tables
from one_series import flat, one_series

SUBTYPES = ("PRCC", "ChRCC")


def make(*cases, exclusions=()):
    return Cohort(subtypes=SUBTYPES, positive="PRCC", cases=cases, exclusions=exclusions)


def load(folder):
    return load_cohort(folder, SUBTYPES, "PRCC")


TABLES = {
    "cohort.csv": "case_id,patient_id,subtype,age_years,sex,cohort,synthetic\na,p,PRCC,50,male,development,no\n",
    "series.csv": "case_id,series,phase,format,image\na,ct,,nifti,i\n",
    "rois.csv": "case_id,author,series,roi,tumor_label\na,reader-1,ct,r,1\n",
}


def write(folder, encoding="utf-8", **texts):
    """The three tables, or others in their places: ``cohort=...``."""
    for file, text in TABLES.items():
        text = texts.get(file.partition(".")[0], text)
        (folder / file).write_bytes(text.encode(encoding))
    return folder


words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
people = words.map(clean_name).filter(lambda word: word and not is_no_name(word))
numbers = st.none() | st.floats(0.01, 50)
paths = words.map(lambda w: Path("/elsewhere") / w.replace("/", "_").replace(".", "_"))
clinical = st.builds(
    ClinicalFacts, sex=st.sampled_from([None, "M", "F", "O"]), age_years=numbers, size_cm=numbers
)


@st.composite
def cases(draw):
    series = draw(
        st.lists(
            st.builds(
                SeriesRef,
                name=words,
                image=paths,
                format=st.sampled_from(["dicom", "nifti", "images"]),
                phase=st.sampled_from(PHASES),
                source=st.sampled_from(["HU", "8-bit L40 W400", "8-bit L-20.5 W350"]),
                series_uid=st.sampled_from(["", "1.2.3"]),
                organs=st.none() | paths,
            ),
            min_size=1,
            max_size=3,
            unique_by=lambda one: one.name,
        )
    )
    rois = draw(
        st.lists(
            st.builds(
                RoiRef,
                author=st.sampled_from(
                    ["reader-1", "reader-2", "reader-3", "consensus", "model:nnU-Net@2.1"]
                ),
                path=paths,
                series=st.sampled_from([one.name for one in series]),
                label=st.integers(1, 65535),
                name=st.just("") | words,
            ),
            max_size=4,
            unique_by=lambda roi: (roi.author, roi.series),
        )
    )
    return draw(
        st.builds(
            Case,
            case_id=people,
            patient_id=people,
            subtype=st.sampled_from([None, *SUBTYPES]),
            subtype_reader2=st.none() | words,
            clinical=clinical,
            series=st.just(tuple(series)),
            rois=st.just(tuple(rois)),
            site_id=words,
            cohort=st.sampled_from(["development", "internal-test", "external-test:Köln"]),
            synthetic=st.booleans(),
        )
    )


@given(st.lists(cases(), max_size=5, unique_by=(lambda c: c.case_id, lambda c: c.patient_id)))
def test_round_trip(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("study")
    cohort = make(*drawn, exclusions=(Exclusion(case_id="x", reason="no, really;", subtype="cyst"),))
    save_cohort(cohort, folder)
    assert load(folder) == cohort


def test_a_moved_study_finds_its_own_files(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    inside, outside = here / "data" / "a.nii.gz", tmp_path / "b.nii.gz"
    case = one_series(case_id="a", image=inside, roi=outside, format="nifti")
    save_cohort(make(case, one_series(case_id="b", image=Path("images.csv"), format="images")), here)
    assert "data/a.nii.gz" in (here / "series.csv").read_text().split(",")
    here.rename(there)
    one, two = map(flat, load(there).cases)
    assert (one.image, one.roi, two.image) == (there / "data" / "a.nii.gz", outside, there / "images.csv")


def test_the_side_of_a_tumor_is_kept_and_its_words_are_checked(tmp_path):
    for side in ("left", "right", None):
        case = one_series(
            case_id="a", patient_id="p", image=Path("/x"), format="dicom", side=side, roi=Path("/r")
        )
        save_cohort(make(case), tmp_path)
        assert load(tmp_path).cases[0].clinical.side == side
    table = (tmp_path / "cohort.csv").read_text()
    (tmp_path / "cohort.csv").write_text(table.replace(",,development", ",both,development"))
    with pytest.raises(CohortError, match="expected left, right or nothing"):
        load(tmp_path)


def test_the_tables_are_plain(tmp_path):
    case = one_series(
        case_id="a", patient_id="p", image=Path("/x"), format="dicom", age_years=63.0, roi=Path("/r")
    )
    save_cohort(make(case), tmp_path)
    assert (tmp_path / "cohort.csv").read_text() == (
        "case_id,patient_id,site_id,subtype,subtype_reader2,sex,age_years,size_cm,side,cohort,synthetic\n"
        "a,p,site-1,,,,63,,,development,no\n"
    )
    assert (tmp_path / "series.csv").read_text() == (
        "case_id,series,phase,format,image,source,organs,series_uid\na,ct,unknown,dicom,/x,HU,,\n"
    )
    assert (tmp_path / "rois.csv").read_text() == (
        "case_id,author,series,roi,tumor_label,tumor_name\na,reader-1,ct,/r,1,\n"
    )
    assert (tmp_path / "exclusions.csv").read_text() == "case_id,reason,subtype,hint,source,kind\n"


def test_a_failed_write_leaves_the_old_table(tmp_path, monkeypatch):
    save_cohort(make(), tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(before) == ["cohort.csv", "exclusions.csv", "rois.csv", "series.csv"]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match=r"No space"):
        save_cohort(make(one_series(case_id="a", image=Path("/x"), format="dicom")), tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


SPREADSHEETS = {
    "semicolon, mark, comma numbers": (";", "\ufeff", "utf-8", "4,3"),
    "tab": ("\t", "", "utf-8", "4.3"),
    "utf-16": ("\t", "\ufeff", "utf-16-le", "4.3"),
    "cp1252": (";", "", "cp1252", "4,3"),
}


@pytest.mark.parametrize(("separator", "mark", "encoding", "size"), SPREADSHEETS.values(), ids=SPREADSHEETS)
def test_what_spreadsheets_do_is_understood(tmp_path, separator, mark, encoding, size):
    def text(*lines):
        return mark + "\r\n".join(separator.join(line) for line in lines) + "\r\n\r\n"

    cohort = text(
        ["notes", "Subtype", " case_id ", "sex", "size_cm", "site_id"],
        ["hm", "PRCC", " a ", "male", size, "Köln"],
        [""] * 6,
        ["", "ChRCC", "b", "f", "", ""],
    )
    series = text(["Case ID", "image", "format"], ["a", "a.nii", "nifti"], ["b ", "b.nii", "nifti"])
    rois = text(["case_id", "Author", "ROI"], ["a", "reader-1", "r.nii"])
    one, two = map(flat, load(write(tmp_path, encoding, cohort=cohort, series=series, rois=rois)).cases)
    assert (one.case_id, one.patient_id, one.subtype, one.sex) == ("a", "a", "PRCC", "M")
    assert (one.size_cm, one.site_id, one.cohort) == (4.3, "Köln", "development")
    assert (two.sex, two.size_cm, two.site_id, two.roi) == ("F", None, "site-1", None)
    assert (one.image.name, one.roi.name, two.image.name) == ("a.nii", "r.nii", "b.nii")


def study_of(*names):
    return make(
        *(
            Case(
                case_id=name,
                patient_id=name,
                series=(SeriesRef(name="ct", image=Path("/x"), format="nifti"),),
                rois=(RoiRef(author="reader-1", path=Path("/r"), series="ct"),),
            )
            for name in names
        ),
        exclusions=tuple(Exclusion(case_id=f"not-{name}", reason="why") for name in names),
    )


@pytest.mark.parametrize("at", range(1, 11))
def test_killed_at_any_rename_the_tables_are_all_old_or_all_new(tmp_path, monkeypatch, at):
    old, new = study_of("a"), study_of("b", "c")
    save_cohort(old, tmp_path)
    replace, calls = Path.replace, []

    def killed(self, target):
        calls.append(self)
        if len(calls) == at:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        if at <= 8:  # four tables, four moves
            with pytest.raises(KeyboardInterrupt):
                save_cohort(new, tmp_path)
        else:
            save_cohort(new, tmp_path)
    assert load(tmp_path) == (old if at <= 4 else new)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*COLUMNS, "exclusions.csv"])


@pytest.mark.parametrize(
    ("file", "row", "message"),
    [
        (
            "cohort",
            "c,,PRCC,sixty",
            "column age_years: expected a number above 0 and up to 120, found 'sixty'",
        ),
        ("cohort", "c,,PRCC,0", "column age_years: .*found '0'"),
        ("cohort", "c,,PRCC,121", "column age_years: .*found '121'"),
        ("cohort", "c,,PRCC,inf", "column age_years: .*found 'inf'"),
        ("cohort", "c,,cyst,", r"column subtype: expected .* \(PRCC, ChRCC\) or nothing, found 'cyst'"),
        ("cohort", ",p,PRCC,", "column case_id: expected a name, found nothing"),
        ("cohort", "c,,PRCC,,x", "column sex: expected M, F, O or nothing, found 'x'"),
        (
            "cohort",
            "c,,PRCC,,,test",
            "column cohort: expected development, internal-test or external-test:NAME",
        ),
        ("cohort", "c,,PRCC,,,external-test:", "column cohort: .*found 'external-test:'"),
        ("cohort", "c,,PRCC,,,,maybe", "column synthetic: expected yes or no, found 'maybe'"),
        ("cohort", "a,,PRCC", "column case_id: expected every case_id once, found 'a' in row 2 too"),
        ("cohort", "c,p,PRCC,,F", "column sex: expected one sex for patient p, found F, but M in row 2"),
        ("series", "a,two,,nifti,", "column image: expected a path, found nothing"),
        ("series", "a,two,,mhd,i", "column format: expected dicom, nifti or images, found 'mhd'"),
        (
            "series",
            "a,ct,,nifti,i",
            "column series: expected every series of case a once, found 'ct' in row 2",
        ),
        ("series", "x,,,nifti,i", "column case_id: expected a case of cohort.csv, found 'x'"),
        (
            "rois",
            "a,reader-2,ct,r,0",
            "column tumor_label: expected a whole number from 1 to 65535, found '0'",
        ),
        ("rois", "a,reader-2,ct,r,1.5", "column tumor_label: .*found '1.5'"),
        (
            "rois",
            "a,me,ct,r",
            "column author: expected reader-1, reader-2, .* or model:NAME@VERSION, found 'me'",
        ),
        ("rois", "a,model:net,ct,r", "column author: .*found 'model:net'"),
        (
            "rois",
            "a,reader-2,venous,r",
            r"column series: expected a series of case a .*\(ct\), found 'venous'",
        ),
        ("rois", "a,reader-2,ct,", "column roi: expected a path, found nothing"),
        ("rois", "x,reader-2,ct,r", "column case_id: expected a case of cohort.csv, found 'x'"),
        (
            "rois",
            "a,reader-1,ct,r",
            "column author: expected one ROI per author on series ct, .* row 2 too",
        ),
    ],
)
def test_mistakes_are_named_by_file_row_and_column(tmp_path, file, row, message):
    texts = {file: TABLES[f"{file}.csv"] + row + "\n"}
    if file == "cohort" and row.startswith("c"):
        texts["series"] = TABLES["series.csv"] + "c,ct,,nifti,i\n"
    with pytest.raises(CohortError, match=rf"^{file}.csv, row 3, " + message):
        load(write(tmp_path, **texts))


def test_a_case_without_a_series_is_a_mistake(tmp_path):
    with pytest.raises(
        CohortError, match=r"^cohort.csv, row 3, column case_id: expected .* row in series.csv"
    ):
        load(write(tmp_path, cohort=TABLES["cohort.csv"] + "c,,PRCC\n"))


def test_a_series_without_a_name_takes_that_of_its_phase(tmp_path):
    series = "case_id,phase,format,image\na,nephrographic,nifti,i\n"
    rois = "case_id,author,roi\na,reader-1,r\n"
    (case,) = load(write(tmp_path, series=series, rois=rois)).cases
    assert [one.name for one in case.series] == [roi.series for roi in case.rois] == ["nephrographic"]


HEADER = TABLES["cohort.csv"].partition("\n")[0] + "\n"


def test_all_mistakes_are_said_at_once_and_a_long_list_is_counted(tmp_path):
    with pytest.raises(CohortError, match=r"found 2: row 2, column subtype: .*; row 2, column age_years: "):
        load(write(tmp_path, cohort=HEADER + "a,,cyst,old\n"))
    rows = "".join(f"c{n},,cyst\n" for n in range(30))
    series = "case_id,format,image\n" + "".join(f"c{n},nifti,i\n" for n in range(30))
    with pytest.raises(
        CohortError, match=r"found 30: row 2, .* row 21, .*; and 10 more; correct these cells"
    ):
        load(write(tmp_path, cohort=HEADER + rows, series=series, rois="case_id,author,roi\n"))
    with pytest.raises(
        CohortError,
        match=r"^cohort.csv and rois.csv: .*found 2: cohort.csv, row 2, column subtype: .*; rois.csv, row 2, column",
    ):
        load(write(tmp_path, cohort=HEADER + "a,,cyst\n", rois="case_id,author,roi\na,me,r\n"))


def test_rows_count_as_in_the_spreadsheet(tmp_path):
    with pytest.raises(CohortError, match=r"row 4, column subtype"):
        load(write(tmp_path, cohort=HEADER + "\n\n" + "a,,cyst\n"))


def test_no_table_a_workbook_and_a_wrong_header_are_refused(tmp_path):
    with pytest.raises(StudyError, match=r"expected cohort.csv, found none; run `nephroscope import` first"):
        load(tmp_path)
    (tmp_path / "cohort.csv").write_bytes(b"PK\x03\x04")
    with pytest.raises(CohortError, match=r"found a spreadsheet workbook; .*save the sheet as CSV"):
        load(tmp_path)
    with pytest.raises(CohortError, match=r"found an empty file"):
        load(write(tmp_path, cohort="\n\n"))
    with pytest.raises(
        CohortError, match=r"^cohort.csv: expected the columns .*found no subtype among case_id, sex"
    ):
        load(write(tmp_path, cohort="case_id,sex\n"))
    with pytest.raises(
        CohortError, match=r"^series.csv: expected the columns .*found no image among case_id"
    ):
        load(write(tmp_path, series="case_id,format\n"))
    (tmp_path / "cohort.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CohortError, match=r"found zero bytes"):
        load(tmp_path)
    with pytest.raises(CohortError, match=r"field larger than"):
        load(write(tmp_path, cohort="a,b\n" + "x" * 140_000))
    (write(tmp_path) / "rois.csv").unlink()
    with pytest.raises(StudyError, match=r"expected rois.csv, found none; restore it"):
        load(tmp_path)


def test_every_field_of_a_case_has_a_column():
    names = {name for columns in COLUMNS.values() for name in columns}
    own = {f for kind in (Case, ClinicalFacts, SeriesRef, RoiRef) for f in kind.__dataclass_fields__}
    renamed = {"name", "path", "label", "clinical", "rois", "series", "accepted"}
    other = {"author", "roi", "tumor_label", "tumor_name", "series", "state"}
    assert own - renamed == names - other | {"author"}


def test_what_a_spreadsheet_would_run_is_written_as_text_and_read_as_it_was(tmp_path):
    texts = ["=1+1", "@x", "+cmd|x", "-b", "'=x", "-2.5", "plain", "'quoted'"]
    save_table(tmp_path / "t.csv", ["a"], [[text] for text in texts])
    lines = (tmp_path / "t.csv").read_text().splitlines()[1:]
    assert lines == ["'=1+1", "'@x", "'+cmd|x", "'-b", "''=x", "-2.5", "plain", "'quoted'"]
    assert [row[0] for _, row in read_table(tmp_path / "t.csv")[1]] == texts


NO_ROIS = "case_id,author,roi\n"
EDITED = {
    "cohort": 'notes,subtype,Case ID,size_cm\nhm,PRCC,b,"4,3"\n=hm,ChRCC,a,\n',
    "series": "format,case_id,image,phase,who\nnifti,a,i,Nephrographic,me\nnifti,b,i,,you\n",
    "rois": "case_id,author,roi,seen\nb,reader-2,r2,x\nb,reader-1,r1,\na,reader-1,r1,y\n",
}


def test_what_people_add_to_the_tables_stays(tmp_path):
    write(tmp_path, **EDITED)
    (tmp_path / "exclusions.csv").write_text("reason,case_id,subtype,by\nno CT,x,,me\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    cohort = load(tmp_path)
    save_cohort(cohort, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before, "nothing was added"
    more = Case(
        case_id="c",
        patient_id="p",
        subtype="PRCC",
        clinical=ClinicalFacts(age_years=50.0),
        series=(SeriesRef(name="ct", image=tmp_path / "i.nii", format="nifti"),),
        rois=(RoiRef(author="reader-1", path=tmp_path / "r.nii", series="ct"),),
    )
    save_cohort(make(*cohort.cases, more, exclusions=cohort.exclusions), tmp_path)
    assert load(tmp_path).cases == (*cohort.cases, more)
    assert (tmp_path / "exclusions.csv").read_bytes() == before["exclusions.csv"]
    header, rows = read_table(tmp_path / "cohort.csv")
    assert header == ["notes", "subtype", "Case ID", "size_cm", "patient_id", "age_years"]
    assert [row for _, row in rows] == [
        ["hm", "PRCC", "b", "4,3", "", ""],
        ["=hm", "ChRCC", "a", "", "", ""],
        ["", "PRCC", "c", "", "p", "50"],
    ]
    header, rows = read_table(tmp_path / "rois.csv")
    assert [row[:4] for _, row in rows] == [
        ["b", "reader-2", "r2", "x"],
        ["b", "reader-1", "r1", ""],
        ["a", "reader-1", "r1", "y"],
        ["c", "reader-1", "r.nii", ""],
    ]


def test_tables_that_a_person_saves_meanwhile_are_not_written_over(tmp_path):
    write(tmp_path, **EDITED)
    seen, cohort = seen_tables(tmp_path), load(tmp_path)
    corrected = (tmp_path / "cohort.csv").read_text().replace("ChRCC", "PRCC")
    (tmp_path / "cohort.csv").write_text(corrected)
    more = one_series(case_id="c", image=Path("/x"), format="nifti")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(StudyError) as refused:
        save_cohort(make(*cohort.cases, more), tmp_path, seen)
    assert refused.value.where == "cohort.csv"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    save_cohort(make(*load(tmp_path).cases, more), tmp_path, seen_tables(tmp_path))
    assert [case.subtype for case in load(tmp_path).cases] == ["PRCC", "PRCC", None]


def test_a_correction_saved_after_a_kill_is_kept_when_the_tables_are_finished(tmp_path, monkeypatch):
    write(tmp_path)
    seen, cohort = seen_tables(tmp_path), load(tmp_path)
    more = one_series(case_id="c", image=Path("/x"), format="nifti")
    rename, killed = Path.rename, []

    def kill_after(self, target):
        rename(self, target)
        killed.append(target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", kill_after)
        with pytest.raises(KeyboardInterrupt):
            save_cohort(make(*cohort.cases, more), tmp_path, seen)
    assert killed == [tmp_path / ".tables.ready"]
    corrected = (tmp_path / "cohort.csv").read_text().replace("PRCC", "ChRCC")
    (tmp_path / "cohort.csv").write_text(corrected)
    assert [case.case_id for case in load(tmp_path).cases] == ["a", "c"]
    assert (tmp_path / "cohort.csv.kept").read_text() == corrected


@pytest.mark.parametrize(
    ("cell", "column", "text"),
    [
        ("phase", "phase", "nephrografic"),
        ("phase", "phase", "delayed"),
        ("source", "source", "hounsfield"),
        ("source", "source", "8-bit L40 W0"),
        ("source", "source", "8-bit L4.0.0 W400"),
    ],
)
def test_words_of_series_csv_are_checked_by_cell(tmp_path, cell, column, text):
    write(tmp_path, series=f"case_id,format,image,{cell}\na,nifti,i,{text}\n", rois=NO_ROIS)
    with pytest.raises(CohortError) as refused:
        load(tmp_path)
    assert refused.value.where == f"series.csv, row 2, column {column}"
    assert repr(text) in refused.value.found


def test_a_phase_of_the_study_s_own_is_allowed_where_the_preference_lists_it(tmp_path):
    write(tmp_path, series="case_id,format,image,phase\na,nifti,i,delayed 15 min\n", rois=NO_ROIS)
    rule = ChoiceRule(phases=CohortConfig(phase_preference=("delayed 15 min", "unknown")).phase_preference)
    assert load_cohort(tmp_path, SUBTYPES, "PRCC", rule).cases[0].series[0].phase == "delayed 15 min"
    with pytest.raises(ConfigError):
        CohortConfig(phase_preference=("nephrografic", "unknown"))


def test_only_misspellings_of_our_phases_are_refused():
    own = ("late excretory", "early arterial", "late arterial", "portal venous", "early nephrographic")
    assert CohortConfig(phase_preference=own).phase_preference == own
    for phase in PHASES:
        for wrong in (phase[:-1], phase[1:], phase[:3] + phase[4] + phase[3] + phase[5:], phase.title()):
            with pytest.raises(ConfigError):
                CohortConfig(phase_preference=(wrong,))
