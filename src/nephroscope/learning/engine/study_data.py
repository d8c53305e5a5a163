"""A study without its labels, as a learner sees it, opened once in each process."""

import socket
from functools import lru_cache
from pathlib import Path

from nephroscope.base.errors import StudyError
from nephroscope.learning.learner import StudyData
from nephroscope.study.snapshot import Snapshot, take_snapshot

FEATURES = "features"


def study_data(snapshot: Snapshot) -> StudyData:
    """The study without its labels, as learners see it."""
    return data_of(str(snapshot.folder.root), snapshot.digest)


@lru_cache(maxsize=4)
def data_of(root: str, digest: str) -> StudyData:
    """The study at a path without its labels, opened once in a process.

    Raises:
        StudyError: The folder is not to be seen from this machine, or holds another cohort or other slices.
    """
    if not (Path(root) / "study.toml").is_file():
        raise StudyError(
            where=f"machine {socket.gethostname()}",
            expected="the study folder at the same path as on the machine that runs the command",
            found="no study.toml there",
            remedy="put the study on storage that every machine sees, or leave --ray out",
        )
    snapshot = take_snapshot(Path(root))
    if snapshot.digest != digest:
        raise StudyError(
            where=f"study on machine {socket.gethostname()}",
            expected=f"the cohort and slices that the comparison started with ({digest})",
            found=f"others ({snapshot.digest})",
            remedy="run the command again",
        )
    return StudyData.of(snapshot.cohort, snapshot.slices, snapshot.read_case, snapshot.folder.root / FEATURES)
