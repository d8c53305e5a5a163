"""What a comparison still has to fit, in words for the log."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nephroscope.base.errors import StudyError
from nephroscope.base.files import load_json
from nephroscope.base.progress import time_words
from nephroscope.learning.engine.jobs import FORMAT as JOB_FORMAT
from nephroscope.learning.engine.jobs import Job, Means, is_kept
from nephroscope.study.snapshot import Snapshot

# Seconds of a fit where none is kept to go by: 74 cases, one core of two that had other work.
SECONDS_A_FIT = {"radiomics": 30.0, "stack": 65.0}

LEAVE_OUT = (
    "to do less: --candidates attenuation clinical (names of those wanted), --no-control, or a smaller "
    "--permutations; what is fitted is kept, so an interrupted comparison goes on"
)


def work_words(
    snapshot: Snapshot, jobs: Mapping[str, Sequence[Job]], kept: Path, means: Means
) -> tuple[str, ...]:
    """Lines for the log, one a candidate; a single line where everything is kept.

    Args:
        snapshot: The study.
        jobs: All fits of each candidate by name: ranks, repeats and control.
        kept: Folder of results.
        means: Where the work is done.
    """
    left = {name: [job for job in own if not is_kept(kept, job)] for name, own in jobs.items()}
    n_cases = len(snapshot.slices.rows_by_case)
    if not any(left.values()):
        told = f"every fit of {', '.join(jobs)} is kept" if jobs else "no baseline to fit"
        return (f"compare: {n_cases} cases; {told}",)
    lines = [f"compare: {n_cases} cases; fits to make, on {_where(means)}:"]
    for name, own in jobs.items():
        lines.append(f"  {name}: {_candidate(name, len(own), len(left[name]), kept)}")
    return (*lines, LEAVE_OUT)


def _where(means: Means) -> str:
    if means.ray is not None:
        return f"the Ray cluster {means.ray}"
    return "one core (more by --jobs)" if means.jobs == 1 else f"{means.jobs} processes"


def _candidate(name: str, n: int, left: int, kept: Path) -> str:
    if not left:
        return f"{n} fits, all kept"
    before = f"{left} of {n} fits" if left < n else f"{n} fit{'' if n == 1 else 's'}"
    seconds, told = _seconds(kept / name)
    if seconds is None and name in SECONDS_A_FIT:
        seconds, told = SECONDS_A_FIT[name], "with 74 cases"
    if seconds is None:
        return before
    return f"{before}, {told} {seconds:.1f} s each, {time_words(seconds * left)} of computing"


def _seconds(folder: Path) -> tuple[float | None, str]:
    """Mean time of the fits of a candidate that this study keeps; whatever they were made from."""
    known = []
    for path in folder.glob("*.json"):
        try:
            known.append(float(load_json(path, JOB_FORMAT)["seconds"]))
        except (StudyError, KeyError, TypeError, ValueError):
            continue
    return (float(np.mean(known)), f"as {len(known)} before") if known else (None, "")
