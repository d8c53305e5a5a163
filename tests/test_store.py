import numpy as np
import pytest

from nephroscope.base.errors import CohortError, RoiError, StudyError
from nephroscope.study.slices import cut_cohort, open_store
from small_study import SPEC, make_cohort, make_store, read_disc


def test_store_holds_what_was_cut(tmp_path):
    store = make_store(tmp_path, make_cohort(3))
    assert store.hu.shape == (12, 32, 32)
    assert store.hu.dtype == np.int16
    assert store.case_ids.tolist()[:5] == ["c00"] * 4 + ["c01"]
    assert store.slice_index.tolist()[:4] == [1, 2, 3, 4]
    assert [index for index, _ in store.slices_of("c02")] == [1, 2, 3, 4]
    assert not list(tmp_path.glob(".*"))


def test_bad_case_is_refused_by_name_and_the_rest_goes_on(tmp_path):
    def read(case):
        if case.case_id == "c01":
            raise RoiError(where="case c01", expected="an ROI", found="none", remedy="draw it")
        if case.case_id == "c02":
            raise PermissionError(13, "Permission denied")
        return read_disc(case)

    store = cut_cohort(make_cohort(4).cases, read, SPEC, tmp_path, "d")
    assert set(store.rows_by_case) == {"c00", "c03"}
    assert [finding.message for finding in store.refused] == [
        "case c01: expected an ROI, found none; draw it",
        "case c02: cannot be read: Permission denied",
    ]


def test_all_refused_is_an_error(tmp_path):
    def read(case):
        raise RoiError(where=f"case {case.case_id}", expected="an ROI", found="none", remedy="draw it")

    with pytest.raises(CohortError, match="found 2 cases, all refused; the first: case c00"):
        cut_cohort(make_cohort(2).cases, read, SPEC, tmp_path, "d")
    with pytest.raises(StudyError, match="expected slices cut from the cohort"):
        open_store(tmp_path)


@pytest.mark.parametrize("stop_at", ["c00", "c02", "c04"])
def test_interrupted_cut_goes_on_and_ends_the_same(tmp_path, stop_at):
    cohort, read_again = make_cohort(5), []

    def interrupted(case):
        if case.case_id == stop_at:
            raise KeyboardInterrupt
        return read_disc(case)

    def counted(case):
        read_again.append(case.case_id)
        return read_disc(case)

    whole = make_store(tmp_path / "whole", cohort)
    with pytest.raises(KeyboardInterrupt):
        cut_cohort(cohort.cases, interrupted, SPEC, tmp_path / "part", "digest")
    for name in ("slices.npy", "journal.jsonl"):  # bytes that were on their way when the power went
        with (tmp_path / "part" / f".{name}.partial").open("ab") as file:
            file.write(b'{"case')
    store = cut_cohort(cohort.cases, counted, SPEC, tmp_path / "part", "digest")
    assert read_again == [case.case_id for case in cohort.cases if case.case_id >= stop_at]
    for name in ("slices.npy", "slices.csv", "spec.json"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (store.hu == whole.hu).all()


def test_other_settings_start_afresh(tmp_path):
    cohort = make_cohort(3)

    def interrupted(case):
        if case.case_id == "c02":
            raise KeyboardInterrupt
        return read_disc(case)

    with pytest.raises(KeyboardInterrupt):
        cut_cohort(cohort.cases, interrupted, SPEC, tmp_path, "one")
    assert len(cut_cohort(cohort.cases, read_disc, SPEC, tmp_path, "two").rows_by_case) == 3


def test_old_slices_stay_until_new_ones_are_complete(tmp_path):
    cohort = make_cohort(3)
    make_store(tmp_path, cohort)

    def full_disk(case):
        raise MemoryError

    with pytest.raises(MemoryError):
        cut_cohort(cohort.cases, full_disk, SPEC, tmp_path, "new")
    assert len(open_store(tmp_path).hu) == 12


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    make_store(tmp_path, make_cohort(3))
    rows = (tmp_path / "slices.csv").read_text().splitlines()
    (tmp_path / "slices.csv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(StudyError, match=r"expected 12 rows in slices.csv, one per slice, found 11"):
        _ = open_store(tmp_path).case_ids
    np.save(tmp_path / "slices.npy", np.zeros((3, 32, 32), np.int16))
    with pytest.raises(StudyError, match=r"12 slices of 32 x 32 in slices.npy"):
        open_store(tmp_path)
    (tmp_path / "slices.npy").write_bytes((tmp_path / "slices.npy").read_bytes()[:3000])
    with pytest.raises(
        StudyError, match=r"12 slices in slices.npy, found a damaged file; run `nephroscope sl"
    ):
        open_store(tmp_path)
