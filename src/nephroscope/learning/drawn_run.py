"""A run of a network that draws: each CT drawn by a network that never saw its patient. ONNX Runtime; no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import StudyError
from nephroscope.clinic.session import NetworkSession
from nephroscope.learning.networks.table import DRAWING_NETWORKS, draws
from nephroscope.learning.planes import DrawnCT, PlaneStore, open_planes
from nephroscope.learning.run_files import CompleteRun, load_run, open_run, open_run_network, run_config
from nephroscope.learning.score_run import ALL_FOLDS, exported_folds
from nephroscope.records import CTVolume
from nephroscope.segmenters.planes import draw_labels
from nephroscope.study.artifact import out_of_date
from nephroscope.study.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class DrawingRun:
    """A complete run of a network that draws.

    Attributes:
        run: Its folder, and the study with the folds it was trained on.
        store: The planes it was trained on.
        labels: What it draws, as value 1, 2, ...
    """

    run: CompleteRun
    store: PlaneStore
    labels: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.run.folder

    @property
    def snapshot(self) -> Snapshot:
        """The study."""
        return self.run.snapshot

    def known_to(self, index: int) -> frozenset[str]:
        """Cases that the network of a fold learned from, or that decided when it stopped."""
        fold = next(fold for fold in self.snapshot.split.folds if fold.index == index)
        return fold.train | fold.validation

    def cts_of(self, index: int) -> tuple[DrawnCT, ...]:
        """The CTs of these cases."""
        return self.store.of_cases(self.known_to(index), self.labels)

    def tested(self) -> Iterator[tuple[int, DrawnCT]]:
        """Each CT that can be drawn by a network that did not see its patient, with the fold of that network.

        A fold that found next to nothing draws its test part too: its patients count. Held-out cases, which no
        network saw, are drawn by all that can be exported together: `ALL_FOLDS`.
        """
        folds = self.snapshot.split.folds
        for fold in folds:
            yield from ((fold.index, ct) for ct in self.store.of_cases(fold.test, self.labels))
        tested = frozenset[str]().union(*(fold.test for fold in folds))
        for ct in self.store.of_cases(self.snapshot.split.holdout - tested, self.labels):
            yield ALL_FOLDS, ct

    def networks_of(self, index: int) -> list[NetworkSession]:
        """The network of a fold, or those of all."""
        wanted = exported_folds(self.folder) if index == ALL_FOLDS else (index,)
        return [open_run_network(self.folder, one) for one in wanted]

    def draw(
        self, networks: Sequence[NetworkSession], ct: DrawnCT, volume: CTVolume
    ) -> npt.NDArray[np.uint8]:
        """What networks draw on a CT of the study, by label (S, R, C)."""
        return draw_labels(networks, volume, self.store.spec, np.asarray(self.store.read(ct)[0]))


def open_drawing_run(snapshot: Snapshot, name: str | None = None) -> DrawingRun:
    """A complete run of a network that draws, by default the last one.

    Raises:
        StudyError: There is none, or cohort, slices or planes changed since it was trained.
    """
    run = open_run(replace(snapshot, folder=snapshot.folder.segmenters), name)
    model, record = run_config(run.folder).model, load_run(run.folder)
    if not draws(model):
        raise StudyError(
            where=f"run {run.folder.name}",
            expected="a network that draws",
            found=model,
            remedy="move its folder to runs",
        )
    store = open_planes(snapshot)
    if store.digest != record.digests.planes:
        again = "nephroscope train --task segment"
        raise out_of_date(f"run {run.folder.name}", "what was drawn", "it was trained", again)
    return DrawingRun(run=run, store=store, labels=DRAWING_NETWORKS[model])
