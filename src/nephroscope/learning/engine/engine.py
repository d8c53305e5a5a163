"""The one engine behind every comparison: learners and divisions of the patients in, predictions out.

Fits are kept as they come, in ``folds/`` (baselines) and ``networks/`` (a training a fold), and are not made twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nephroscope.learning.engine.divisions import Division
from nephroscope.learning.engine.fits import run_fits
from nephroscope.learning.engine.networks import NetworkLearner
from nephroscope.learning.engine.predictions import Predictions, fits_of, predictions_of
from nephroscope.learning.engine.workers import Workers
from nephroscope.learning.learner import Learner
from nephroscope.study.snapshot import Snapshot


@dataclass(frozen=True, eq=False, kw_only=True)
class Engine:
    """Fits learners on divisions of one study.

    Attributes:
        snapshot: The study.
        folder: Where fits and trainings are kept.
        workers: Where the fits are made.
    """

    snapshot: Snapshot
    folder: Path
    workers: Workers

    @property
    def fits(self) -> Path:
        """Folder of the kept fits."""
        return self.folder / "folds"

    def predict(
        self, wanted: Sequence[tuple[Learner, Division]], what: str, choosing: bool = False
    ) -> list[Predictions | str]:
        """What each learner predicts on its division, or why it cannot.

        Args:
            wanted: Learners with divisions.
            what: What the progress bar calls the work.
            choosing: Ask baselines for the validation parts too, from which thresholds and weights are chosen.
        """
        fits = [
            fit
            for learner, division in wanted
            if not isinstance(learner, NetworkLearner)
            for fit in fits_of(self.snapshot, learner, division, choosing)
        ]
        results = run_fits(fits, self.fits, self.workers, what)
        return [
            learner.predict(self.snapshot, division, self.folder / "networks")
            if isinstance(learner, NetworkLearner)
            else predictions_of(self.snapshot, learner, division, results)
            for learner, division in wanted
        ]


def by_name(learners: Sequence[Learner], networks: Mapping[str, NetworkLearner]) -> dict[str, Learner]:
    """Baselines under their own names, and networks under those of their runs."""
    return {learner.name: learner for learner in learners} | dict(networks)
