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
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import IO, Any, TypeVar, cast

from nephroscope.base.errors import StudyError
from nephroscope.base.progress import hide

Item = TypeVar("Item")
Result = TypeVar("Result")
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CHILD = "from nephroscope.base.parallel import _serve; _serve()"


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
            raise StudyError(
                where="a worker process",
                expected="a result",
                found="that the operating system ended the process, perhaps because memory ran out",
                remedy="close other programs, and run the command again",
            ) from error
        if not worked:
            raise result
        return result

    def _send(self, what: Any) -> None:
        pickle.dump(what, self.questions)
        self.questions.flush()

    def stop(self) -> None:
        """End the process, also in the middle of an item; who waits for its answer gets an error."""
        self.process.terminate()
        self.process.wait()

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
