"""Processes of our own: the same answers in order, the same errors, and only a few items ahead."""

import os
import sys
import time

import pytest

from nephroscope.base.errors import CohortError, StudyError
from nephroscope.base.parallel import map_in_processes


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
