"""Show the progress of long work: a bar with the time left on a terminal, otherwise a log line now and then."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from nephroscope.base.job import Progress, is_job, say_progress

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_WORDS_OF_A_JOB = 0.5
SECONDS_OF_PACE = 10.0  # after the first item, before a time left is shown,
SHARE_OF_PACE = 0.03  # or this share of the whole
_shown = True


def hide() -> None:
    """Show no progress in this process: the one that started it does."""
    global _shown
    _shown = False


def track(items: Iterable[Item], what: str, unit: str, total: int) -> Iterator[Item]:
    """Pass ``items`` on, and show on stderr how many of ``total`` are done and how long the rest will take."""
    with counting(what, unit, total) as step:
        for item in items:
            yield item
            step()  # the work is done before the yield (items are made) or after it (items are used)


@contextlib.contextmanager
def counting(
    what: str, unit: str, total: int, left: Callable[[], int] | None = None
) -> Iterator[Callable[[], None]]:
    """The same for work that is not a sequence of items: gives a function to call after each step.

    Args:
        what: Name of the work.
        unit: Name of one item, in the singular.
        total: How many items there are.
        left: For work that may end early: most items still left, asked after each item; ``total`` is then a limit.
    """
    if not _shown:
        yield lambda: None
        return
    if not sys.stderr.isatty():
        yield _Lines(what, unit, total, left).step
        return
    from tqdm import tqdm

    with tqdm(desc=what, unit=unit, total=total, leave=False, smoothing=0.1) as bar:

        def step() -> None:
            if left is not None:
                bar.total = bar.n + 1 + left()
            bar.update()

        yield step


class _Lines:
    """Logs a line now and then."""

    def __init__(self, what: str, unit: str, total: int, left: Callable[[], int] | None) -> None:
        self._words, self._total, self._left = (what, unit), total, left
        self._n, self._told = 0, time.monotonic()
        self._pace = Pace(time.monotonic)
        self._said = 0.0
        if is_job():
            self._say(total)

    def step(self) -> None:
        """One item more is done."""
        self._n += 1
        self._pace.step()
        most = self._total if self._left is None else self._n + self._left()
        now = time.monotonic()
        if is_job() and (now - self._said > SECONDS_BETWEEN_WORDS_OF_A_JOB or self._n >= most):
            self._said = now
            self._say(most)
        if now - self._told < SECONDS_BETWEEN_LINES or self._n >= most:
            return
        self._told = now
        what, unit = self._words
        bound = "" if self._left is None else "at most "
        left_s = self._pace.left(most)
        rest = "" if left_s is None else f", {bound}about {time_words(left_s)} left"
        logger.info("%s: %d of %s%d %ss%s", what, self._n, bound, most, unit, rest)

    def _say(self, most: int) -> None:
        what, unit = self._words
        left_s = self._pace.left(most)
        say_progress(Progress(what=what, done=self._n, total=most, unit=unit, seconds_left=left_s))


class Pace:
    """Speed of the items, without the first one, which also opens files and warms up the machine."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first = self._last = 0.0
        self._n = 0

    def step(self) -> None:
        """One item more is done."""
        self._last = self._clock()
        self._n += 1
        if self._n == 1:
            self._first = self._last

    def left(self, total: int) -> float | None:
        """Seconds until ``total`` items are done; None until the speed is known."""
        taken = self._last - self._first
        if self._n < 2 or (taken < SECONDS_OF_PACE and self._n < SHARE_OF_PACE * total):
            return None
        return taken / (self._n - 1) * (total - self._n)


def time_words(seconds: float) -> str:
    """A time in words: seconds up to 120 s, then minutes, then hours and minutes."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
