"""A trained run of a study: its folds, figures, report page and bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nephroscope.base.html import Record, ShownAsTable
from nephroscope.facade.bundle import Bundle
from nephroscope.records import Evaluation, EvaluationGroup
from nephroscope.study.cohort_table import load_findings
from nephroscope.study.folder import StudyFolder
from nephroscope.study.snapshot import take_snapshot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nephroscope.learning.run_files import CompleteRun
    from nephroscope.report.study.content import ReportContent


class Run(ShownAsTable):
    """A complete run: a network trained on every fold of a study.

    Args:
        study: Study folder.
        name: Name of the run; by default the last complete one.

    Attributes:
        folder: Folder of the run.
        content: Content of its run.json.

    Raises:
        StudyError: There is no complete run of that name, or it is damaged.
    """

    def __init__(self, study: Path | str, name: str | None = None) -> None:
        from nephroscope.learning.run_files import load_run

        self._study = Path(study).resolve()
        self.folder = StudyFolder(self._study).complete_run(name)
        self.content: dict[str, Any] = load_run(self.folder)

    def __repr__(self) -> str:
        return f"Run({self.summary()})"

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.name

    @property
    def model(self) -> str:
        """Name of its network."""
        return str(self.content["model"])

    @property
    def converged(self) -> bool:
        """False when no fold learned more than chance on its own training slices."""
        return bool(self.content["converged"])

    @property
    def leaky(self) -> bool:
        """True when it was trained on a split by image."""
        return bool(self.content["leaky"])

    def records(self) -> list[Record]:
        """A row per fold: best epoch, validation loss there (mean over cases, in nats), training time in seconds."""
        return [
            {
                "fold": fold["index"],
                "best_epoch": (fold["best"] or {}).get("epoch"),
                "validation_loss": (fold["best"] or {}).get("validation_loss"),
                "converged": fold["converged"],
                "seconds": fold["seconds"],
            }
            for fold in self.content["folds"]
        ]

    def summary(self) -> str:
        """Name, network and marks."""
        marks = [("LEAKY split by image", self.leaky), ("did not converge", not self.converged)]
        head = f"run {self.name}: {self.model}, {len(self.content['folds'])} folds"
        return " | ".join([head, *(mark for mark, applies in marks if applies)])

    def inputs(self) -> "CompleteRun":
        """The run with the cohort, slices and folds it was trained on.

        Raises:
            StudyError: The cohort or its slices changed since.
        """
        from nephroscope.learning.run_files import open_run

        return open_run(take_snapshot(self._study), self.name)

    def evaluate(self) -> Evaluation:
        """Score the test cases; writes predictions.csv, slices.csv and evaluation.json into the folder of the run.

        Raises:
            StudyError: The cohort or its slices changed since the run was trained.
        """
        from nephroscope.questions.evaluation.evaluate import evaluate_run

        return evaluate_run(self.inputs())

    @property
    def figures(self) -> "RunFigures":
        """The figures of the run; it is evaluated first."""
        return RunFigures(content=self._page(self.evaluate()))

    def report(self) -> Path:
        """Write the report of the run; returns the path of its page."""
        from nephroscope.report.study.page import write_report
        from nephroscope.report.study.saliency import with_saliency

        run, content = self.inputs(), self._page(self.evaluate())
        content = with_saliency(content, run, run.snapshot.read_case)
        return write_report(run.snapshot.folder.report, content)

    def export(self, out: Path | str) -> Bundle:
        """Write the model of the best fold as a bundle into the new folder ``out``.

        Raises:
            BundleError: ``out`` exists already, or the exported network computes something else than the trained one.
        """
        from nephroscope.learning.export import export_bundle
        from nephroscope.report.study.page import card_of, page_of

        evaluation = self.evaluate()
        card = card_of(page_of(self._page(evaluation)))
        return Bundle(export_bundle(self.inputs(), evaluation, Path(out), card))

    def _page(self, evaluation: Evaluation) -> "ReportContent":
        from nephroscope.report.study.read_run import read_run

        return read_run(self.inputs(), evaluation, load_findings(self._study))


@dataclass(frozen=True, eq=False, kw_only=True)
class RunFigures:
    """The figures of a run, as matplotlib figures; nothing is written.

    ``group`` names a test set, such as ``out-of-fold``; by default the first of the evaluation.
    """

    content: "ReportContent"

    def learning_curves(self) -> "Figure":
        """Loss (nats) and balanced accuracy by epoch, a line per fold."""
        from nephroscope.report.study.sections.learning import learning_curves

        return learning_curves(self.content.main, self.content.marks)

    def roc(self, group: str = "") -> "Figure":
        """ROC curve by case, with its bootstrap band over patients, and by image."""
        from nephroscope.report.study.sections.results import roc

        report = self.content.main.report
        chosen = self._group(group)
        members = [p for p in report.predictions if p.group == chosen.name and p.truth is not None]
        return roc(report, chosen, members, self.content.evaluation, self.content.marks)

    def probabilities(self, group: str = "") -> "Figure":
        """A dot per case: its probability, by true subtype."""
        from nephroscope.report.study.sections.results import case_probabilities

        report = self.content.main.report
        chosen = self._group(group).name
        members = [p for p in report.predictions if p.group == chosen and p.truth is not None]
        return case_probabilities(report, members, self.content.evaluation, self.content.marks)

    def _group(self, name: str) -> EvaluationGroup:
        groups = self.content.main.report.groups
        return next((group for group in groups if group.name == name), groups[0])


def runs_of(study: Path) -> Sequence[Run]:
    """All complete runs of a study, the oldest first."""
    folders = StudyFolder(study).runs()
    return [Run(study, folder.name) for folder in folders if (folder / "run.json").exists()]
