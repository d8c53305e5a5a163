"""Processes of our own: the same answers in order, the same errors, and only a few items ahead."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nephroscope.base import machine
from nephroscope.base.errors import CohortError, StudyError
from nephroscope.base.machine import WAITING, _glibc, memory_kept
from nephroscope.base.parallel import Unfinished, Workers, map_in_processes


def square(number):
    return number * number


def refuse(number):
    raise CohortError(where=f"item {number}", expected="a", found="b", remedy="c")


def die(number):
    os._exit(1)


def whoami(number):
    sys.stdout.write("this must not come between the answers")
    return os.getpid()


def test_answers_come_in_order():
    assert list(map_in_processes(square, range(100))) == [n * n for n in range(100)]


def test_work_is_done_elsewhere():
    assert os.getpid() not in set(map_in_processes(whoami, range(8)))


def waiting(_number):
    return tuple(os.environ[name] for name in WAITING)


def threads_of_blas(_number):
    return os.environ["OPENBLAS_NUM_THREADS"]


def wait_long(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


@pytest.mark.skipif(sys.platform == "win32", reason="there os.kill ends a process")
def test_processes_end_with_the_one_that_started_them(tmp_path):
    """Also when that one is killed in the middle of an item."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_workers import wait_long;"
        "from nephroscope.base.parallel import map_in_processes; list(map_in_processes(wait_long, sys.argv[2:], 1))"
    )
    told = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent), str(told)])
    while not (told.exists() and told.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    child = int(told.read_text())
    os.kill(child, 0)  # it lives
    parent.kill()
    parent.wait()
    for _ in range(1200):
        if not is_running(child):
            return
        time.sleep(0.05)
    raise AssertionError("the child went on without its parent")


def work_to_the_end(place):
    place.write_text(str(os.getpid()))
    time.sleep(30)
    place.with_name("whole").write_text("")


def refuse_while_another_works(task):
    """The first item is refused as soon as the second is at work."""
    place, first = Path(task[0]), task[1]
    if not first:
        work_to_the_end(place)
    while not (place.exists() and place.read_text()):
        time.sleep(0.05)
    refuse(0)


def test_a_refused_item_ends_those_at_work(tmp_path):
    place = tmp_path / "pid"
    with pytest.raises(CohortError, match="item 0"):
        list(map_in_processes(refuse_while_another_works, [(str(place), True), (str(place), False)], 2))
    assert not (tmp_path / "whole").exists()
    if sys.platform != "win32":
        assert not is_running(int(place.read_text()))


def test_what_is_not_asked_for_any_more_ends_those_at_work(tmp_path):
    """As Ctrl-C in this process alone does."""
    place = tmp_path / "pid"
    answers = map_in_processes(first_or_work, ["", str(place)], 2)
    assert next(answers) == "first"
    while not (place.exists() and place.read_text()):
        time.sleep(0.05)
    answers.close()
    assert not (tmp_path / "whole").exists()
    if sys.platform != "win32":
        assert not is_running(int(place.read_text()))


def first_or_work(path):
    return work_to_the_end(Path(path)) if path else "first"


def is_running(pid):
    """Whether a process runs; one that ended and that nobody asked for does not."""
    state = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert set(map_in_processes(threads_of_blas, range(4))) == {"1"}
    assert set(map_in_processes(threads_of_blas, range(4), 1)) == {"2"}


def test_threads_that_wait_sleep_in_every_process(monkeypatch):
    """Set by the package before any library with threads is loaded; what a user has set stays."""
    code = "import sys, nephroscope, os; assert 'numpy' not in sys.modules; print(os.environ[sys.argv[1]])"
    for name, value in WAITING.items():
        others = {other: value for other, value in os.environ.items() if other != name}
        for given, expected in (({}, value), ({name: "7"}, "7")):
            command = [sys.executable, "-c", code, name]
            done = subprocess.run(command, env=others | given, capture_output=True, text=True)
            assert done.stdout.strip() == expected, done.stderr
        monkeypatch.delenv(name)
    assert set(map_in_processes(waiting, range(2), 2)) == {tuple(WAITING.values())}


@pytest.mark.parametrize(
    ("load", "rounds"),
    [
        ("0.00 0.01 0.05 1/79 2449", machine.ROUNDS_ALONE),
        ("0.00 0.01 0.05 2/79 2449", "0"),
        ("", "0"),
        (None, "0"),
    ],
)
def test_threads_wait_awake_for_a_moment_only_where_nothing_else_runs(monkeypatch, tmp_path, load, rounds):
    for name in (*WAITING, machine.SPIN):
        monkeypatch.delenv(name, raising=False)
    if load is not None:
        (tmp_path / "loadavg").write_text(load)
    monkeypatch.setattr(machine, "LOAD", tmp_path / "loadavg")
    machine.wait_asleep()
    assert os.environ[machine.SPIN] == rounds
    assert {name: os.environ[name] for name in WAITING} == WAITING


def test_rounds_of_waiting_that_a_user_has_set_stay(monkeypatch):
    monkeypatch.setenv(machine.SPIN, "7")
    machine.wait_asleep()
    assert os.environ[machine.SPIN] == "7"


@pytest.mark.skipif(_glibc() is None, reason="another allocator")
def test_memory_that_is_used_again_is_kept_for_a_while():
    """40 MB taken and filled ten times: the pages are cleared once inside, each time outside."""
    import ctypes
    import resource

    libc = _glibc()
    libc.malloc.restype = ctypes.c_void_p

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            place = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(40_000_000)))
            ctypes.memset(place, 1, 40_000_000)
            libc.free(place)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    outside = faults()
    with memory_kept():
        inside = faults()
    assert inside < outside / 4
    assert faults() > 2 * inside


def test_a_refusal_crosses_whole():
    with pytest.raises(CohortError, match="item 0: expected a, found b; c"):
        list(map_in_processes(refuse, range(3)))


def test_a_process_that_dies_is_a_refusal():
    with pytest.raises(StudyError, match="memory ran out"):
        list(map_in_processes(die, range(3)))


def test_only_a_few_items_are_taken_ahead():
    taken = []
    results = map_in_processes(square, (taken.append(n) or n for n in range(1000)))
    next(results)
    time.sleep(0.2)
    assert len(taken) <= 4 * (os.cpu_count() or 1) + 1
    results.close()


def test_code_of_the_working_folder_is_not_run(tmp_path, monkeypatch):
    for name in ("pickle", "os", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('foreign code')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert list(map_in_processes(square, [2, 3], 2)) == [4, 9]


def ends_sleeps_or_doubles(item):
    """What it was opened with counts too: a process that was replaced was opened again."""
    if isinstance(item, list):
        OPENED.extend(item)
        return None
    if item == 3:
        os._exit(1)
    if item == 5:
        time.sleep(600)
    return 2 * item + sum(OPENED)


OPENED: list[int] = []


@pytest.mark.parametrize("processes", [1, 2])
def test_a_process_that_ends_or_takes_too_long_ends_alone(processes):
    workers = Workers(ends_sleeps_or_doubles, [100], 1.0, processes)
    taken = []
    found = {}
    for item, result in workers.answers(taken.append(n) or n for n in range(8)):
        found[item] = result
        assert len(taken) <= len(found) + processes
    assert found == {
        **{n: 2 * n + 100 for n in range(8)},
        3: Unfinished(why="ended"),
        5: Unfinished(why="too long"),
    }


def test_what_nobody_waits_for_is_ended():
    workers = Workers(ends_sleeps_or_doubles, [0], 600.0, 2)
    answers = workers.answers([1, 5])
    assert next(answers) == (1, 2)
    started = time.monotonic()
    answers.close()
    assert time.monotonic() - started < 60


def test_a_refusal_at_opening_is_raised():
    with pytest.raises(CohortError, match="item"):
        list(Workers(refuse, "open", 600.0).answers([1]))
