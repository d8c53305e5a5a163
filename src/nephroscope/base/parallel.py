"""Run one of our functions on many items in several processes, in order, with only a few items in memory.

The processes are plain Python processes that import the function by name. So a user's script needs no
``if __name__ == "__main__"``, as with multiprocessing, and is never run a second time.
"""

import contextlib
import os
import pickle  # between this process and its own children only; never on disk
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from threading import Lock, Thread, Timer
from typing import IO, Any, Literal, TypeVar, cast

from nephroscope.base.errors import StudyError
from nephroscope.base.machine import usable_cores
from nephroscope.base.progress import hide

Item = TypeVar("Item")
Result = TypeVar("Result")
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CHILD = "from nephroscope.base.parallel import _serve; _serve()"
SECONDS_TO_END = 10.0  # of a process that was killed; one that waits for a dead network drive is left behind


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """An item without a result: its process took too long and was ended, or ended by itself."""

    why: Literal["too long", "ended"]


class Workers:
    """Processes of which each answers items one by one; one that ends, or takes too long, ends alone and is replaced.

    Args:
        function: Of one item; importable by its name. What it raises is raised here.
        first: Given to each new process before its first item, without a limit of time: to open what all items need.
        seconds: Limit for one item.
        processes: Number of processes. Each has its share of the cores for threads of libraries.
    """

    def __init__(
        self, function: Callable[[Any], Any], first: object, seconds: float, processes: int = 1
    ) -> None:
        self._function, self._first, self._seconds = function, first, seconds
        threads = str(max(1, usable_cores() // processes))
        self._limits = dict.fromkeys(THREAD_LIMITS, threads)
        self._children: list[_Child | None] = [None] * processes
        self._stopped, self._guard = False, Lock()

    def answers(self, items: Iterable[Item]) -> Iterator[tuple[Item, Any]]:
        """Each item with its result, or `Unfinished`, as they are done; an item is taken when a process is free."""
        rest, done = iter(items), SimpleQueue[tuple[int, Any, Future[Any]]]()

        def begin(place: int) -> int:
            """Give the next item to the process at this place; 0 where there is none left."""
            item = next(rest, self)  # itself: no item
            if item is not self:
                future = pool.submit(self.answer, item, place)
                future.add_done_callback(lambda future: done.put((place, item, future)))
            return int(item is not self)

        with contextlib.closing(self), ThreadPoolExecutor(len(self._children)) as pool:
            try:
                n_busy = sum(map(begin, range(len(self._children))))
                while n_busy:
                    place, item, future = done.get()
                    yield item, future.result()
                    n_busy += begin(place) - 1
            finally:
                self._stop()  # the pool waits for its threads, and these for answers that nobody wants

    def answer(self, item: object, place: int = 0) -> Any:
        """The result of one item, or `Unfinished`, from the process at this place."""
        child = self._child(place)
        limit = _Limit(self._seconds, child.process)
        try:
            with limit:
                result = child.answer(item)
        except _EndedError:
            result = Unfinished(why="too long" if limit.passed else "ended")
        if limit.passed or isinstance(result, Unfinished):
            child.end()
            self._children[place] = None
        return result

    def _child(self, place: int) -> "_Child":
        with self._guard:
            if self._stopped:
                raise _ended()
            child = self._children[place]
            if child is not None:
                return child
            child = self._children[place] = _Child(self._function, self._limits)
        child.answer(self._first)
        return child

    def close(self) -> None:
        """End the processes, also in the middle of an item."""
        self._stop()
        for child in self._children:
            if child is not None:
                child.end()

    def _stop(self) -> None:
        with self._guard:
            self._stopped = True
            for child in self._children:
                if child is not None:
                    child.stop()


class _Limit:
    """Kills a process that is still at work when so many seconds have passed in the block."""

    def __init__(self, seconds: float, process: "subprocess.Popen[bytes]") -> None:
        self._process, self._over, self._guard = process, False, Lock()
        self._timer = Timer(seconds, self._end)
        self._timer.daemon = True
        self.passed = False

    def _end(self) -> None:
        with self._guard:
            if not self._over:
                self.passed = True
                self._process.kill()

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._guard:
            self._over = True


class _EndedError(StudyError):
    """A process ended without an answer."""


def _ended() -> _EndedError:
    return _EndedError(
        where="a worker process",
        expected="a result",
        found="that the operating system ended the process, perhaps because memory ran out",
        remedy="close other programs, and run the command again",
    )


def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int | None = None
) -> Iterator[Result]:
    """``map(function, items)`` on all cores; ``function`` must be importable by its name.

    Args:
        function: Function of one item.
        items: Items, in the order of the results.
        processes: Number of processes; None: one per core. Each has its share of the cores for threads of libraries.

    Raises:
        Exception: Whatever the function raised.
        StudyError: A process was ended by the system.
    """
    cores = os.cpu_count() or 1
    n = processes or cores
    threads = str(max(1, cores // n))
    limits = dict.fromkeys(THREAD_LIMITS, threads)
    children: list[_Child] = []
    free: SimpleQueue[_Child] = SimpleQueue()
    try:
        for _ in range(n):
            children.append(_Child(function, limits))
            free.put(children[-1])
        yield from _in_order(children, free, items, n)
    finally:
        for child in children:
            child.end()


def _in_order(
    children: "list[_Child]", free: "SimpleQueue[_Child]", items: Iterable[Any], n: int
) -> Iterator[Any]:
    rest = iter(items)

    def work(item: Any) -> Any:
        child = free.get()
        try:
            return child.answer(item)
        finally:
            free.put(child)

    with ThreadPoolExecutor(n) as pool:
        ahead: deque[Future[Any]] = deque(pool.submit(work, item) for item in islice(rest, 4 * n))
        try:
            while ahead:
                yield ahead.popleft().result()
                ahead.extend(pool.submit(work, item) for item in islice(rest, 1))
        finally:
            for future in ahead:
                future.cancel()
            for child in children:  # the pool waits for its threads, and these for answers that nobody wants
                child.stop()


class _Child:
    """One process that returns the function's result, or what it raised."""

    def __init__(self, function: Callable[[Any], Any], limits: dict[str, str]) -> None:
        command = [sys.executable, "-P", "-c", _CHILD]  # -P: no code of the working folder is run
        found_here = {**os.environ, **limits, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=found_here
        )
        self.questions, self.answers = (
            cast(IO[bytes], self.process.stdin),
            cast(IO[bytes], self.process.stdout),
        )
        self._send((function.__module__, function.__qualname__))

    def answer(self, item: Any) -> Any:
        try:
            self._send(item)
            worked, result = pickle.load(self.answers)  # noqa: S301 - from our own child
        except (EOFError, BrokenPipeError) as error:
            raise _ended() from error
        if not worked:
            raise result
        return result

    def _send(self, what: Any) -> None:
        pickle.dump(what, self.questions)
        self.questions.flush()

    def stop(self) -> None:
        """End the process, also in the middle of an item; who waits for its answer gets an error."""
        self.process.terminate()
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(SECONDS_TO_END)

    def end(self) -> None:
        self.stop()
        self.answers.close()
        with contextlib.suppress(BrokenPipeError):
            self.questions.close()


def _serve() -> None:
    """The child's side: a function's name, then items, until the pipe closes.

    It closes when the parent ends, however it does; the child then leaves at once, in the middle of an item: nobody
    waits for it, and a command that goes on with the work must not find it writing.
    """
    from importlib import import_module

    asked: SimpleQueue[Any] = SimpleQueue()
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing else may come between the answers
    hide()
    try:
        module, name = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own parent
        function = getattr(
            import_module(module), name
        )  # first: items may need the same modules, in the thread
        Thread(target=_listen, args=(asked,), daemon=True).start()
        while True:
            item = asked.get()
            try:
                answer: tuple[bool, Any] = (True, function(item))
            except Exception as error:
                answer = (False, error)
            pickle.dump(answer, answers)
            answers.flush()
    except (KeyboardInterrupt, BrokenPipeError, EOFError):
        os._exit(0)  # without waiting for the thread that listens
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _listen(asked: "SimpleQueue[Any]") -> None:
    try:
        while True:
            asked.put(pickle.load(sys.stdin.buffer))  # noqa: S301 - from our own parent
    except EOFError:
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
