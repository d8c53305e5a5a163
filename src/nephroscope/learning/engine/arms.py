"""Train the arms of a replication: here one after the other, in several processes or on a Ray cluster.

An arm goes on at the epoch where it was stopped, and ends with the same bits wherever it is trained.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nephroscope.base.errors import StudyError
from nephroscope.base.progress import track
from nephroscope.learning.engine.workers import Workers
from nephroscope.learning.training.arm import Arm, train_arm
from nephroscope.learning.training.device import n_threads, threads
from nephroscope.study.snapshot import Snapshot, take_snapshot

# Time of a step relative to the other networks, on a CPU: for the time left only.
COST = {
    "shufflenet_v2_x1_0": 2,
    "mobilenet_v2": 4,
    "efficientnet_b0": 6,
    "resnet34": 8,
    "resnet50": 12,
    "resnet101": 20,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class SentArm:
    """An arm on its way to another process: without its pixels, which are read there from the study.

    Attributes:
        study: Path of the study folder, the same on every machine.
        slices: Digest of its slices.
        threads: Of the processor, as in the process that sends it.
    """

    study: str
    slices: str
    arm: Arm
    threads: int


def train_arms(snapshot: Snapshot, arms: Sequence[Arm], workers: Workers, what: str) -> None:
    """Train those of the arms that are not finished.

    Args:
        snapshot: The study; with several workers it is read again from disk by each.
        arms: What is to be learnt.
        workers: Where; each worker trains a whole arm.
        what: What the progress bar calls the work.

    Raises:
        StudyError: A file of an arm is damaged, a process ended, or the study changed meanwhile.
        ConfigError: The network or the precision is not available here, or there is no cluster at the address.
    """
    if workers.only_here:
        total = sum(arm.steps_left * COST[arm.config.model] for arm in arms)
        for _ in track(_steps(arms), what, "step", max(total, 1)):
            pass
        return
    left = [arm for arm in arms if not arm.is_finished]
    root, digest, n = str(snapshot.folder.root), snapshot.slices.digest, n_threads()
    sent = [SentArm(study=root, slices=digest, arm=_bare(arm), threads=n) for arm in left]
    for _ in track(workers.each(train_sent_arm, sent), what, "training", len(sent)):
        pass


def train_sent_arm(sent: SentArm) -> None:
    """Train one arm where this process runs.

    Raises:
        StudyError: The study cannot be seen from here or its slices changed, or a file of the arm is damaged.
    """
    where = f"arms/{sent.arm.folder.name}"
    if not (Path(sent.study) / "study.toml").is_file():
        raise StudyError(
            where=where,
            expected="the study folder at the same path on every machine",
            found="none there on one of them",
            remedy="put the study on storage that all machines share",
        )
    store = take_snapshot(Path(sent.study)).slices
    if store.digest != sent.slices:
        raise StudyError(
            where=where,
            expected="the slices that the replication started with",
            found="others",
            remedy="run the command again",
        )
    train, choose = (replace(images, hu=store.hu) for images in (sent.arm.train, sent.arm.choose))
    with threads(sent.threads):
        for _ in train_arm(replace(sent.arm, train=train, choose=choose)):
            pass


def _bare(arm: Arm) -> Arm:
    nothing = np.zeros((0, 1, 1), dtype=np.int16)
    return replace(arm, train=replace(arm.train, hu=nothing), choose=replace(arm.choose, hu=nothing))


def _steps(arms: Sequence[Arm]) -> Iterator[None]:
    for arm in arms:
        for _ in train_arm(arm):
            yield from (None for _ in range(COST[arm.config.model]))
