"""Jobs of a comparison in; in words, before any of it starts: what will run, what is kept, how long it may take."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nephroscope.errors import StudyError
from nephroscope.experiments.jobs import FORMAT, Job, Means, is_kept
from nephroscope.experiments.study_data import Material
from nephroscope.files import load_json
from nephroscope.progress import time_words

# Seconds of a fit where none is kept to go by: 74 cases, one core of two that had other work.
SECONDS_A_FIT = {"radiomics": 30.0, "stack": 65.0}
LEAVE_OUT = (
    "to do less: --candidates attenuation clinical (names of those wanted), --no-control, or a smaller "
    "--permutations; what is fitted is kept, so an interrupted comparison goes on"
)


def work_words(
    material: Material, jobs: Mapping[str, Sequence[Job]], kept: Path, means: Means
) -> tuple[str, ...]:
    """Lines for the log, one a candidate; a single line where everything is kept.

    Args:
        material: The study.
        jobs: All fits of each candidate by name: ranks, repeats and control.
        kept: Folder of results.
        means: Where the work is done.
    """
    left = {name: [job for job in own if not is_kept(kept, job)] for name, own in jobs.items()}
    n_cases = len(material.store.rows_by_case)
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
            known.append(float(load_json(path, FORMAT)["seconds"]))
        except (StudyError, KeyError, TypeError, ValueError):
            continue
    return (float(np.mean(known)), f"as {len(known)} before") if known else (None, "")
