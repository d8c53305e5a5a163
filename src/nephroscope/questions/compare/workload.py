"""What a comparison still has to fit, in words for the log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nephroscope.base.documents import read_document
from nephroscope.base.errors import StudyError
from nephroscope.base.progress import time_words
from nephroscope.learning.engine.fits import FORMAT, Fit, is_kept
from nephroscope.learning.engine.workers import Workers
from nephroscope.learning.run_files import load_run
from nephroscope.questions.compare.plan import Schedule

# Seconds of a fit where none is kept: 74 cases, one core of two that had other work.
SECONDS_A_FIT = {"radiomics": 30.0, "stack": 65.0}
LEAVE_OUT = (
    "to do less: --candidates attenuation clinical (names of those wanted), --no-control, or a smaller "
    "--permutations; what is fitted is kept, so an interrupted comparison goes on"
)


def work_words(
    n_cases: int, fits: Mapping[str, Sequence[Fit]], kept: Path, workers: Workers
) -> tuple[str, ...]:
    """Lines for the log, one a learner; a single line where everything is kept.

    Args:
        n_cases: Cases that were cut.
        fits: All fits of each learner by name: ranks, repeats and control.
        kept: Folder of results.
        workers: Where the work is done.
    """
    left = {name: [fit for fit in own if not is_kept(kept, fit)] for name, own in fits.items()}
    if not any(left.values()):
        found = f"every fit of {', '.join(fits)} is kept" if fits else "no baseline to fit"
        return (f"compare: {n_cases} cases; {found}",)
    lines = [f"compare: {n_cases} cases; fits to make, on {workers}:"]
    for name, own in fits.items():
        lines.append(f"  {name}: {_learner(name, len(own), len(left[name]), kept)}")
    return (*lines, LEAVE_OUT)


def _learner(name: str, n: int, left: int, kept: Path) -> str:
    if not left:
        return f"{n} fits, all kept"
    before = f"{left} of {n} fits" if left < n else f"{n} fit{'' if n == 1 else 's'}"
    seconds, as_what = _seconds(kept / name)
    if seconds is None and name in SECONDS_A_FIT:
        seconds, as_what = SECONDS_A_FIT[name], "with 74 cases"
    if seconds is None:
        return before
    return f"{before}, {as_what} {seconds:.1f} s each, {time_words(seconds * left)} of computing"


@dataclass(frozen=True, kw_only=True)
class _Timed:
    """What is needed of a kept fit."""

    seconds: float


def _seconds(folder: Path) -> tuple[float | None, str]:
    """Mean time of the fits of a learner that this study keeps, whatever they were made from."""
    known = []
    for path in folder.glob("*.json"):
        try:
            known.append(read_document(path, _Timed, FORMAT).seconds)
        except StudyError:
            continue
    return (float(np.mean(known)), f"as {len(known)} before") if known else (None, "")


def training_words(schedule: Schedule) -> str:
    """What training the networks again will cost, from the time their first run took; empty where none is trained."""
    parts, n = [], 0
    for name, learner in schedule.networks.items():
        each = len(schedule.repeats_of(learner)) + len(schedule.control_of(learner))
        seconds = load_run(schedule.snapshot.folder.run(name)).seconds
        parts.append(f"{name}: {each} x {time_words(seconds)}")
        n += each
    return f"{n} trainings, where they are not kept yet ({'; '.join(parts)})" if n else ""
