import builtins
import json
from dataclasses import replace

import numpy as np
import pytest

from nephroscope.base.errors import CohortError, ConfigError, RoiError, StudyError
from nephroscope.cli import run
from nephroscope.records import Finding, RoiMask, VolumeGeometry
from nephroscope.regions.consensus import (
    combine,
    load_decisions,
    read_consensus_case,
    read_readers,
    save_adjudication,
    staple,
)
from nephroscope.study.cohort_table import save_cohort
from one_series import changed
from phantoms import write_nifti
from test_agreement import make_double_study

GRID = VolumeGeometry(shape=(1, 2, 4), affine=np.diag([3.0, 1.0, 1.0, 1.0]))


def roi(text, findings=()):
    voxels = np.array([[[c == "#" for c in row] for row in text.split()]])
    return RoiMask(voxels=voxels, geometry=GRID, case_id="P1", findings=findings)


def drawn(mask):
    return " ".join("".join(".#"[int(v)] for v in row) for row in mask.voxels[0])


ONE, TWO = roi("##.. ##.."), roi(".##. .#..")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("reader-1", "##.. ##.."),
        ("reader-2", ".##. .#.."),
        ("union", "###. ##.."),
        ("intersection", ".#.. .#.."),
    ],
)
def test_rules_by_eye(rule, expected):
    assert drawn(combine(ONE, TWO, rule)) == expected


def test_both_readers_findings_are_kept_once():
    note = Finding(code="roi-resampled", severity="warning", message="m", case_id="P1")
    other = replace(note, where="b")
    made = combine(roi("#... ....", (note,)), roi("#... ....", (note, other)), "union")
    assert made.findings == (note, other)


def test_nothing_in_common_is_refused():
    with pytest.raises(
        RoiError, match=r"case P1: expected the intersection of two annotators' ROIs to contain .* found none"
    ):
        combine(roi("#... ...."), roi("...# ...."), "intersection")


def test_staple_is_simpleitks_in_the_box_of_both():
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(1)
    rows, cols = np.ogrid[:30, :30]
    one, two = (np.zeros((4, 30, 30), bool) for _ in range(2))
    one[1:3] = (rows - 14) ** 2 + (cols - 14) ** 2 < 64
    two[1:3] = (rows - 15) ** 2 + (cols - 16) ** 2 < 81
    two[1] &= rng.random((30, 30)) > 0.02
    made = staple(one, two)
    assert (one & two & ~made).sum() == 0
    assert (made & ~(one | two)).sum() == 0
    box = (slice(1, 3), slice(7, 24), slice(7, 25))
    assert one.sum() == one[box].sum()
    assert two.sum() == two[box].sum()
    images = [sitk.GetImageFromArray(np.pad(m[box], 1).astype(np.uint8)) for m in (one, two)]
    probability = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    assert np.array_equal(np.pad(made[box], 1), probability >= 0.5)
    assert np.array_equal(
        np.pad(made, 6)[6:-6, 6:-6, 6:-6], staple(np.pad(one, 6), np.pad(two, 6))[6:-6, 6:-6, 6:-6]
    )
    assert drawn(combine(ONE, ONE, "staple")) == drawn(ONE)


@pytest.fixture
def _no_simpleitk(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "SimpleITK":
            raise ModuleNotFoundError("No module named 'SimpleITK'", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.usefixtures("_no_simpleitk")
def test_staple_without_its_extra_is_refused(tmp_path):
    message = (
        r"expected the extra 'readers' for STAPLE, found no SimpleITK; pip install '[^ ]+whl\[readers\]'"
    )
    with pytest.raises(ConfigError, match=message):
        combine(ONE, TWO, "staple")
    study = make_double_study(tmp_path / "study", 8)
    with pytest.raises(ConfigError, match=message):
        study.set_consensus("staple")
    assert study.settings.roi.consensus == "reader-1"


# ---- cases


@pytest.fixture
def study(tmp_path):
    return make_double_study(tmp_path / "study")


def test_a_case_is_read_by_the_rule(study):
    case = study.cohort.chosen[0]
    _, one, two = read_readers(case)
    assert one.voxels.sum() > two.voxels.sum()
    sizes = {
        rule: read_consensus_case(case, rule)[1].voxels.sum() for rule in ("reader-1", "reader-2", "union")
    }
    assert sizes == {"reader-1": one.voxels.sum(), "reader-2": two.voxels.sum(), "union": one.voxels.sum()}


def test_one_reader_is_kept_with_a_note(study):
    lone = study.cohort.chosen[7]
    assert read_consensus_case(lone, "reader-1")[1].findings == ()
    (note,) = read_consensus_case(lone, "union")[1].findings
    assert (note.code, note.severity, note.case_id) == ("one-reader", "note", "c07")
    assert note.message == "case c07: one reader only; reader-1 was kept where the rule is union"
    other = changed(lone, roi=None, roi_reader2=lone.roi.path)
    assert read_consensus_case(other, "reader-2")[1].findings == ()
    assert (
        "reader-2 was kept where the rule is reader-1"
        in read_consensus_case(other, "reader-1")[1].findings[0].message
    )


def test_what_is_missing_is_refused(study):
    case = study.cohort.chosen[0]
    with pytest.raises(
        StudyError, match=r"case c00: expected the roi of reader-2 that its row in rois.csv points to"
    ):
        read_consensus_case(changed(case, roi_reader2=case.image.parent / "gone.nii"), "union")
    with pytest.raises(RoiError, match=r"with the ROIs of two annotators, found one annotator; add the rows"):
        read_readers(study.cohort.chosen[7])
    with pytest.raises(RoiError, match=r"found slice images"):
        read_readers(changed(case, format="images"))
    with pytest.raises(RoiError, match=r"found the decision 'exclude' in adjudication.csv"):
        read_consensus_case(case, "exclude")


def test_slices_follow_rule_and_decisions(study):
    """Cases c03 (drawn elsewhere) and c05 (second ROI empty) are refused by intersection; a decision saves c03."""
    first = study.cut_slices()
    assert first.n_cases == 8
    study.set_consensus("intersection")
    with pytest.raises(
        StudyError,
        match=r"out of date: \[roi\] in study.toml changed since",
    ):
        study.slices()
    cut = study.cut_slices()
    assert sorted(f.case_id for f in cut.refused) == ["c03", "c05"]
    assert [f.case_id for f in cut.findings if f.code == "one-reader"] == ["c07"]
    (study.folder.root / "adjudication.csv").write_text(
        "case_id,dice,decision\nc03,0,reader-1\nc00,0.9,exclude\n"
    )
    with pytest.raises(StudyError, match=r"out of date: adjudication.csv changed since"):
        study.slices()
    cut = study.cut_slices()
    assert {f.case_id: f.code for f in cut.refused} == {"c00": "excluded", "c05": "roi"}
    assert study.slices().digest == cut.digest
    study.set_consensus("reader-1")
    by_decision = study.cut_slices().digest
    (study.folder.root / "adjudication.csv").unlink()
    assert by_decision != first.digest
    assert study.cut_slices().digest == first.digest


def test_a_new_file_of_reader_2_makes_slices_stale_where_the_rule_needs_it(study):
    def draw(n_columns):
        case = study.cohort.chosen[0]
        volume, one, _ = read_readers(case)
        voxels = one.voxels.astype(np.uint8)
        voxels[:, :, -n_columns:] = 0
        return write_nifti(voxels, study.folder.root / f"new{n_columns}.nii.gz", volume.geometry.affine)

    def give(path):
        first, *others = study.cohort.chosen
        cases = (changed(first, roi_reader2=path), *others)
        save_cohort(replace(study.cohort, cases=cases), study.folder.root)

    study.cut_slices()
    give(draw(3))
    study.slices()  # by reader 1, the second reader's file does not matter
    study.set_consensus("union")
    study.cut_slices()
    give(draw(4))
    with pytest.raises(StudyError, match=r"out of date: reader-2 in rois.csv changed since"):
        study.slices()


def test_a_wanted_exclusion_is_no_refusal(study, capsys, caplog):
    """Case c05 cannot be read by the second reader's rule: it is excluded, and nothing is left to refuse."""
    root = str(study.folder.root)
    study.set_consensus("reader-2")
    assert run(["slices", root]) == 3
    capsys.readouterr()
    caplog.clear()
    (study.folder.root / "adjudication.csv").write_text("case_id,dice,decision\nc05,,exclude\n")
    assert run(["slices", root, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["refused"], data["excluded"], data["cases"]) == ([], ["c05"], 7)
    assert run(["slices", root]) == 0
    shown = capsys.readouterr()
    assert "1 case excluded by adjudication: c05" in shown.out
    assert "refused" not in shown.out + shown.err + caplog.text
    assert run(["check", root]) == 0
    assert "excluded by adjudication" in capsys.readouterr().out
    (told,) = study.check()["c05"].findings
    assert (told.code, told.severity) == ("excluded", "note")


def test_check_looks_at_the_roi_that_slices_are_cut_from(study):
    def volumes():
        return {name: case.measures and case.measures.n_voxels for name, case in study.check().items()}

    cases = {case.case_id: case for case in study.cohort.chosen}
    one, two = (np.count_nonzero(mask.voxels) for mask in read_readers(cases["c00"])[1:])
    assert volumes()["c00"] == one
    told = {f.code: f for f in study.check()["c05"].findings}
    assert told["roi-reader2-unreadable"].severity == "warning"
    assert "case c05" in told["roi-reader2-unreadable"].message
    assert not any(f.severity == "refusal" for f in told.values())
    study.set_consensus("reader-2")
    assert volumes()["c00"] == two != one
    assert [f.severity for f in study.check()["c05"].findings] == ["refusal"]


# ---- adjudication.csv


def test_decisions_are_read_as_people_type_them(tmp_path):
    path = tmp_path / "adjudication.csv"
    assert load_decisions(path, {"a"}) == {}
    path.write_text("Case_ID;Dice;Decision\na;0,5;Union\nb;0,6;\n")
    assert load_decisions(path, {"a", "b"}) == {"a": "union"}
    path.write_text("\ufeffcase_id,dice,decision\na,,Reader 1\nb,, reader_2 \n")
    assert load_decisions(path, {"a", "b"}) == {"a": "reader-1", "b": "reader-2"}


def test_what_a_person_wrote_beside_decisions_stays(tmp_path):
    path = tmp_path / "adjudication.csv"
    path.write_text("Comment;case_id;dice;decision;By\nnecrotic rim;a;0,5;union;\n;b;0,6;;\nwhy;c;0,9;;KL\n")
    decisions = load_decisions(path, {"a", "b", "c"})
    assert save_adjudication(path, [("a", 0.5), ("b", 0.6), ("c", 0.9)], 0.8, decisions) == ["a", "b"]
    assert path.read_text() == (
        "case_id,dice,decision,Comment,By\na,0.5000,union,necrotic rim,\nb,0.6000,,,\nc,0.9000,,why,KL\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case_id,dice\na,0.5\n", r"expected the columns case_id, dice, decision, found case_id, dice"),
        ("case_id,decision\na,mine\n", r"row 2, column decision: expected one of reader-1, .* found 'mine'"),
        (
            "case_id,decision\nz,union\n",
            r"row 2, column case_id: expected a case of cohort.csv, once, found 'z'",
        ),
        ("case_id,decision\na,union\na,exclude\n", r"found 'a' twice"),
    ],
)
def test_wrong_decisions_are_named(tmp_path, text, message):
    path = tmp_path / "adjudication.csv"
    path.write_text(text)
    with pytest.raises(CohortError, match=message):
        load_decisions(path, {"a", "b"})


def test_the_list_is_sorted_and_not_made_for_nothing(tmp_path):
    path = tmp_path / "adjudication.csv"
    assert save_adjudication(path, [("a", 0.9)], 0.8, {}) == []
    assert not path.exists()
    assert save_adjudication(path, [("a", 0.9), ("b", 0.7), ("c", 0.3)], 0.8, {"b": "union"}) == ["c", "b"]
    assert path.read_text() == "case_id,dice,decision\nc,0.3000,\nb,0.7000,union\n"
    assert save_adjudication(path, [("b", 0.8)], 0.8, {}) == []
    assert path.read_text() == "case_id,dice,decision\n"
