import contextlib
import os
from dataclasses import replace
from pathlib import Path

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
    for name in (".cutting/slices.npy", ".journal.jsonl"):  # bytes that were on their way when the power went
        with (tmp_path / "part" / name).open("ab") as file:
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
    np.save(tmp_path / "slices.npy", np.zeros((3, 32, 32), np.int16))
    with pytest.raises(StudyError, match=r"12 slices of 32 x 32 in slices.npy"):
        open_store(tmp_path)
    (tmp_path / "slices.npy").write_bytes((tmp_path / "slices.npy").read_bytes()[:3000])
    with pytest.raises(
        StudyError, match=r"12 slices in slices.npy, found a damaged file; run `nephroscope sl"
    ):
        open_store(tmp_path)


def _kill_at(monkeypatch, call, number):
    """Stop at the given number of a call of `Path` or `os`, as a kill would: nothing after it is done."""
    count = iter(range(1, 10**6))
    owner, name = call
    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        if next(count) == number:
            raise SystemExit("killed")
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, wrapped)
    return count


@pytest.mark.parametrize("name", ["replace", "rename", "unlink", "rmdir"])
def test_cut_stopped_between_any_two_renames_ends_the_same(tmp_path, monkeypatch, name):
    cohort = make_cohort(3)
    whole = make_store(tmp_path / "whole", cohort)
    owner = os if name == "rmdir" else Path
    for number in range(1, 100):
        folder = tmp_path / str(number)
        make_store(folder, make_cohort(2))  # slices of before
        with monkeypatch.context() as patch:
            count = _kill_at(patch, (owner, name), number)
            with contextlib.suppress(SystemExit):
                cut_cohort(cohort.cases, read_disc, SPEC, folder, "digest 2")
            reached = next(count) > number
        store = cut_cohort(cohort.cases, read_disc, SPEC, folder, "digest 2")
        assert np.array_equal(store.hu, whole.hu)
        assert sorted(path.name for path in folder.iterdir()) == ["slices.csv", "slices.npy", "spec.json"]
        if not reached:
            break
    else:
        pytest.fail("it never ended")


@pytest.mark.parametrize("damage", ["zeros", "cut off", "lost"])
def test_journal_is_verified_and_what_is_not_there_is_cut_again(tmp_path, damage):
    cohort = make_cohort(4)
    whole = make_store(tmp_path / "whole", cohort)

    def interrupted(case):
        if case.case_id == "c03":
            raise KeyboardInterrupt
        return read_disc(case)

    with pytest.raises(KeyboardInterrupt):
        cut_cohort(cohort.cases, interrupted, SPEC, tmp_path / "part", "digest")
    data = tmp_path / "part" / ".cutting" / "slices.npy"
    held = data.read_bytes()
    half = len(held) // 2
    if damage == "lost":
        data.unlink()
    else:
        data.write_bytes(held[:half] + bytes(len(held) - half) * (damage == "zeros"))
    read_again = []

    def counted(case):
        read_again.append(case.case_id)
        return read_disc(case)

    store = cut_cohort(cohort.cases, counted, SPEC, tmp_path / "part", "digest")
    assert np.array_equal(store.hu, whole.hu)
    assert (tmp_path / "part" / "spec.json").read_bytes() == (tmp_path / "whole" / "spec.json").read_bytes()
    assert read_again == ([] if damage == "lost" else ["c01"]) + ["c02", "c03"] or read_again[0] == "c00"


def test_roi_drawn_again_during_an_interruption_is_cut_again(tmp_path):
    roi = tmp_path / "roi"
    roi.write_bytes(b"first")
    cohort = make_cohort(3)
    cases = [replace(c, rois=tuple(replace(r, path=roi) for r in c.rois)) for c in cohort.cases]

    def interrupted(case):
        if case.case_id == "c02":
            raise KeyboardInterrupt
        return read_disc(case)

    chosen = replace(cohort, cases=tuple(cases)).chosen
    with pytest.raises(KeyboardInterrupt):
        cut_cohort(chosen, interrupted, SPEC, tmp_path / "s", "digest")
    roi.write_bytes(b"second, larger")
    read_again = []

    def counted(case):
        read_again.append(case.case_id)
        return read_disc(case)

    cut_cohort(chosen, counted, SPEC, tmp_path / "s", "digest")
    assert read_again == ["c00", "c01", "c02"]


@pytest.mark.parametrize("name", ["slices.npy", "slices.csv"])
def test_slices_that_are_not_those_that_were_cut_are_refused(tmp_path, name):
    make_store(tmp_path, make_cohort(3))
    path = tmp_path / name
    held = bytearray(path.read_bytes())
    held[-3] ^= 1
    path.write_bytes(held)
    with pytest.raises(StudyError) as refused:
        open_store(tmp_path)
    assert name in refused.value.expected
    assert refused.value.found == "other content"
    path.unlink()
    with pytest.raises(StudyError) as refused:
        open_store(tmp_path)
    assert refused.value.found == "no such file"


def test_slices_of_a_case_named_like_a_formula_are_found_again(tmp_path):
    cohort = make_cohort(2)
    cohort = replace(cohort, cases=tuple(replace(c, case_id=f"={c.case_id[1:]}") for c in cohort.cases))
    store = make_store(tmp_path, cohort)
    lines = (store.folder / "slices.csv").read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("'=0") for line in lines[1:])
    assert set(store.rows_by_case) == {"=00", "=01"}
