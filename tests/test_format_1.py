"""A study of format 1, whose cases had one series each, is rewritten once and is not out of date afterwards."""

from dataclasses import replace
from pathlib import Path

import pytest

from nephroscope import Study
from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.tables import read_table
from nephroscope.records import ChoiceRule, Cohort, RoiRef, SeriesRef, SliceSpec
from nephroscope.study.folder import open_study
from one_series import one_series

HEADER = (
    "case_id,patient_id,site_id,subtype,sex,age_years,size_cm,phase,cohort,format,image,roi,roi_reader2,"
    "tumor_label,tumor_name,organs,subtype_reader2,source,synthetic,remark\n"
)
ROWS = (
    "a,p,site-2,PRCC,F,63,4.2,nephrographic,development,dicom,ct/a,rois/a.dcm,/elsewhere/a2.dcm,2,Tumor,organs/a,"
    "ChRCC,HU,no,large\n"
    "b,b,site-1,ChRCC,,,,unknown,internal-test,images,images.csv,,,1,,,,8-bit L40 W400,yes,\n"
    "c,c,site-1,,M,,3,unknown,development,nifti,c.nii,,c2.nii,3,,,,HU,no,\n"
)
# Of these three cases, by the program of format 1 with the study in /study.
DIGESTS = {
    "digest": "adda6b927c21ab1f",
    "image": "31ceec97085e8d8a",
    "label": "769afc9ce5220cc6",
    "reader-2": "11ccff025e007791",
    "organs": "28fbde3a3e0648c7",
}


def digests(cohort):
    return {
        "digest": cohort.digest,
        "image": cohort.image_digest,
        "label": cohort.label_digest,
        "reader-2": cohort.digest_of("roi_reader2"),
        "organs": cohort.digest_of("case_id", "organs", "source"),
    }


@pytest.fixture
def root(tmp_path):
    """A study of format 1 as it lay on disk."""
    Study.create(tmp_path / "s", ["PRCC", "ChRCC"])
    toml = tmp_path / "s" / "study.toml"
    toml.write_text(toml.read_text().replace("format = 2", "format = 1  # mine"))
    (tmp_path / "s" / "cohort.csv").write_text(HEADER + ROWS)
    (tmp_path / "s" / "series.csv").write_text("patient_id,case_ids,series_uid\np,a,1.2.3\n")
    return tmp_path / "s"


def test_digests_are_those_of_format_1(root):
    cohort = Study(root).cohort
    assert digests(cohort) == DIGESTS
    for rule in ("reader-2", "union", "staple"):
        assert digests(Cohort(**{**vars_of(cohort), "rule": ChoiceRule(roi=rule)})) == DIGESTS


def vars_of(cohort):
    names = ("subtypes", "positive", "cases", "exclusions", "folder")
    return {name: getattr(cohort, name) for name in names}


def test_what_is_chosen_changes_the_digest_of_slices_and_what_is_not_does_not():
    case = one_series("a", image=Path("ct"), roi=Path("r1"), phase="nephrographic")
    cohort = Cohort(subtypes=("A", "B"), positive="A", cases=(case,))
    early = SeriesRef(name="early", image=Path("ct2"), format="nifti", phase="corticomedullary")
    drawn = RoiRef(author="model:net@1", path=Path("m"), series="ct")
    more = replace(case, series=(*case.series, early), rois=(*case.rois, drawn))
    wider = Cohort(subtypes=("A", "B"), positive="A", cases=(more,))
    assert wider.image_digest == cohort.image_digest, "the ROI is on the same series"
    assert wider.digest != cohort.digest
    by_model = Cohort(**{**vars_of(wider), "rule": ChoiceRule(roi="model:net@1")})
    assert by_model.image_digest != cohort.image_digest
    also = replace(more, rois=(*more.rois, RoiRef(author="reader-1", path=Path("r2"), series="early")))
    assert Cohort(**{**vars_of(wider), "cases": (also,)}).image_digest != cohort.image_digest


def test_the_label_of_the_second_reader_counts():
    case = one_series("a", image=Path("ct"), roi=Path("r1"), roi_reader2=Path("r2"))
    one, two = case.rois
    other = replace(case, rois=(one, replace(two, label=2)))
    both = [Cohort(subtypes=("A", "B"), positive="A", cases=(c,)) for c in (case, other)]
    assert both[0].image_digest == both[1].image_digest
    assert both[0].digest_of("roi_reader2") != both[1].digest_of("roi_reader2")


def test_the_tables_are_rewritten_once_and_kept(root, caplog):
    caplog.set_level("INFO")
    study = Study(root)
    assert [r.message for r in caplog.records if "format 2" in r.message] == [
        "study s is rewritten in format 2; its former tables are kept in format-1/"
    ]
    assert "format = 2" in study.folder.toml.read_text()
    kept = {path.name: path.read_text() for path in (root / "format-1").iterdir()}
    assert sorted(kept) == ["cohort.csv", "series.csv", "study.toml"]
    assert kept["cohort.csv"] == HEADER + ROWS
    assert (root / "seen_series.csv").read_text() == kept["series.csv"]
    assert read_table(root / "cohort.csv")[0][-1] == "remark", "a column of somebody's own stays"
    assert [row for _, row in read_table(root / "series.csv")[1]] == [
        ["a", "nephrographic", "nephrographic", "dicom", "ct/a", "HU", "organs/a"],
        ["b", "ct", "unknown", "images", "images.csv", "8-bit L40 W400", ""],
        ["c", "ct", "unknown", "nifti", "c.nii", "HU", ""],
    ]
    assert [row for _, row in read_table(root / "rois.csv")[1]] == [
        ["a", "reader-1", "nephrographic", "rois/a.dcm", "2", "Tumor"],
        ["a", "reader-2", "nephrographic", "/elsewhere/a2.dcm", "2", "Tumor"],
        ["c", "reader-2", "ct", "c2.nii", "3", ""],
    ]
    caplog.clear()
    Study(root)
    assert not [r.message for r in caplog.records if "format 2" in r.message]


@pytest.mark.parametrize("stop", ["rois.csv", "series.csv", "cohort.csv", "study.toml"])
def test_an_interrupted_rewriting_is_done_again(root, monkeypatch, stop):
    real = Path.replace

    def broken(self, target):
        if Path(target) == root / stop:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        Study(root)
    monkeypatch.undo()
    assert digests(Study(root).cohort) == DIGESTS
    assert (root / "format-1" / "cohort.csv").read_text() == HEADER + ROWS
    assert (root / "seen_series.csv").read_text() == (root / "format-1" / "series.csv").read_text()


@pytest.mark.parametrize("at", range(1, 8))
def test_killed_at_any_rename_nothing_is_lost(root, monkeypatch, at):
    real, calls = Path.replace, []

    def broken(self, target):
        calls.append(target)
        if len(calls) == at:
            raise KeyboardInterrupt
        return real(self, target)

    seen = (root / "series.csv").read_text()
    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        Study(root)
    monkeypatch.undo()
    assert digests(Study(root).cohort) == DIGESTS
    assert (root / "format-1" / "cohort.csv").read_text() == HEADER + ROWS
    assert (root / "seen_series.csv").read_text() == seen


def test_a_study_of_format_2_that_says_1_keeps_its_edited_tables(root):
    Study(root)
    table = (root / "cohort.csv").read_text().replace("PRCC", "ChRCC")
    (root / "cohort.csv").write_text(table)
    toml = (root / "study.toml").read_text()
    (root / "study.toml").write_text(toml.replace("format = 2", "format = 1"))
    Study(root)
    assert (root / "cohort.csv").read_text() == table
    assert (root / "study.toml").read_text() == toml


def test_mistakes_are_named_in_the_new_tables(root):
    text = (HEADER + ROWS).replace(",63,", ",old,").replace(",2,Tumor", ",0,Tumor")
    (root / "cohort.csv").write_text(text)
    with pytest.raises(
        CohortError, match=r"cohort.csv, row 2, column age_years.*; rois.csv, row 2, column tumor_label"
    ):
        _ = Study(root).cohort


def test_a_study_without_cases_and_one_with_a_mistake_in_its_settings(tmp_path):
    Study.create(tmp_path / "s", ["PRCC", "ChRCC"])
    toml = tmp_path / "s" / "study.toml"
    text = toml.read_text().replace("format = 2", "format = 1")
    toml.write_text(text.replace("folds = 5", "folds = 0"))
    with pytest.raises(Exception, match=r"split.folds"):
        open_study(tmp_path / "s")
    assert not (tmp_path / "s" / "format-1").exists()
    toml.write_text(text)
    open_study(tmp_path / "s")
    assert "format = 2" in toml.read_text()


def test_a_phase_named_twice_is_refused():
    with pytest.raises(ConfigError) as refused:
        SliceSpec(phases=("excretory", "excretory"))
    assert refused.value.where == "slices.phases"
