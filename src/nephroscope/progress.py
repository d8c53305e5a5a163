"""Progress of long work: a bar with time left on a terminal, a log line now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[Item], what: str, unit: str, total: int) -> Iterator[Item]:
    """Pass ``items`` on and tell on stderr how many of ``total`` are done and how long it will take."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=what, unit=unit, total=total, leave=False)
        return
    started = told = time.monotonic()
    for n, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - told >= SECONDS_BETWEEN_LINES and n < total:
            told = now
            left_s = (now - started) / n * (total - n)
            logger.info("%s: %d of %d %ss, about %d s left", what, n, total, unit, left_s)
