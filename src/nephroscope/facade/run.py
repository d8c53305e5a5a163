"""A trained run of a study: its folds, figures, report page and bundle."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nephroscope.base.documents import read_object
from nephroscope.base.errors import StudyError
from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.lock import writes
from nephroscope.facade.bundle import Bundle
from nephroscope.records import Answer, Evaluation, EvaluationConfig, EvaluationGroup
from nephroscope.study.findings import load_findings
from nephroscope.study.folder import StudyFolder
from nephroscope.study.snapshot import take_snapshot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nephroscope.learning.run_files import CompleteRun
    from nephroscope.questions.evaluation.jitter import JitterDocument
    from nephroscope.report.study.content import ReportContent, RunContent


class Run(ShownAsTable):
    """A complete run: a network trained on every fold of a study.

    Args:
        study: Study folder.
        name: Name of the run; by default the last complete run.

    Attributes:
        folder: Folder of the run.
        record: Content of its run.json.
        content: The same as plain JSON values.

    Raises:
        StudyError: There is no complete run of that name, or it is damaged.
    """

    def __init__(self, study: Path | str, name: str | None = None) -> None:
        from nephroscope.learning.run_files import FORMAT, load_run

        self._study = Path(study).resolve()
        self.folder = StudyFolder(self._study).complete_run(name)
        self.record = load_run(self.folder)
        self.content = read_object(self.folder / "run.json", FORMAT)

    def __repr__(self) -> str:
        return f"Run({self.summary()})"

    @property
    def _lock_folder(self) -> Path:
        """One command at a time writes into the study."""
        return self._study

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.name

    @property
    def model(self) -> str:
        """Name of its network."""
        return self.record.model

    @property
    def converged(self) -> bool:
        """False when no fold learned more than chance on its own training slices."""
        return self.record.converged

    @property
    def leaky(self) -> bool:
        """True when it was trained on a split by image."""
        return self.record.leaky

    def records(self) -> list[Record]:
        """A row per fold: best epoch, validation loss there (mean over cases, in nats), training time in seconds."""
        return [
            {
                "fold": fold.index,
                "best_epoch": fold.best.epoch if fold.best else None,
                "validation_loss": fold.best.validation_loss if fold.best else None,
                "converged": fold.converged,
                "seconds": fold.seconds,
            }
            for fold in self.record.folds
        ]

    def summary(self) -> str:
        """Name, network and marks."""
        marks = [("LEAKY split by image", self.leaky), ("did not converge", not self.converged)]
        head = f"run {self.name}: {self.model}, {len(self.record.folds)} folds"
        return " | ".join([head, *(mark for mark, applies in marks if applies)])

    def inputs(self) -> "CompleteRun":
        """The run with the cohort, slices and folds it was trained on.

        Raises:
            StudyError: The cohort or its slices changed since.
        """
        from nephroscope.learning.run_files import open_run

        return open_run(take_snapshot(self._study), self.name)

    @writes("evaluate")
    def evaluate(self) -> Evaluation:
        """Score the test cases; writes predictions.csv, slices.csv and evaluation.json into the folder of the run.

        Raises:
            StudyError: The cohort or its slices changed since the run was trained.
        """
        from nephroscope.questions.evaluation.evaluate import evaluate_run

        return evaluate_run(self.inputs())

    @writes("evaluate")
    def jitter(self) -> "JitterDocument":
        """Answer every test case again with its ROI drawn 2 mm otherwise; writes jitter.json into the run.

        Raises:
            StudyError: The network sees whole slices or several phases, or the split is by image.
        """
        from nephroscope.questions.evaluation.jitter import jitter_run

        return jitter_run(self.inputs(), self.evaluate())

    @property
    def figures(self) -> "RunFigures":
        """The figures of the run, which is evaluated first."""
        from nephroscope.report.study.read_run import run_content

        run = self.inputs()
        return RunFigures(run=run_content(run, self.evaluate()), config=run.snapshot.settings.evaluation)

    @writes("report")
    def report(self, paper: bool = False) -> Path:
        """Write the report of the run; returns the path of its page.

        Args:
            paper: Write the figures for a paper too: PDF, SVG and PNG at the widths of one and two columns.
        """
        from nephroscope.report.study.full_slices import SliceTaker, with_full_slices
        from nephroscope.report.study.page import write_report
        from nephroscope.report.study.saliency import with_saliency

        run, content = self.inputs(), self._page(self.evaluate())
        taker = SliceTaker(read=run.snapshot.read_case)
        content = with_full_slices(with_saliency(content, run, taker), taker)
        return write_report(run.snapshot.folder.report, content, paper)

    @writes("export")
    def export(
        self, out: Path | str, patient_slices: bool = False, facts: bool = False, fold: int | None = None
    ) -> Bundle:
        """Write the mean of the folds' networks as a bundle into the new folder ``out``; it names nothing.

        Args:
            out: New folder.
            patient_slices: Store slices of training cases as reference, instead of phantoms; the README then says so.
            facts: Answer with age, sex and size as well as the image, where they are given.
            fold: Write the network of this fold alone, which is smaller and faster.

        Raises:
            BundleError: ``out`` exists already, the exported network computes something else than the trained one,
                or a file would name a case, reader, site or path.
        """
        from nephroscope.learning.export import ExportChoice, export_bundle
        from nephroscope.report.study.page import card_of, page_of

        evaluation = self.evaluate()
        card = card_of(page_of(self._page(evaluation)))
        choice = ExportChoice(patient_slices=patient_slices, facts=facts, fold=fold)
        return Bundle(export_bundle(self.inputs(), evaluation, Path(out), card, choice))

    def _page(self, evaluation: Evaluation) -> "ReportContent":
        from nephroscope.report.study.read_run import read_run

        return read_run(self.inputs(), evaluation, load_findings(self._study))


@dataclass(frozen=True, eq=False, kw_only=True)
class RunFigures:
    """The figures of a run as matplotlib figures; nothing is written.

    ``test_set`` is a name such as ``out-of-fold``; by default the first of the evaluation.
    """

    run: "RunContent"
    config: EvaluationConfig

    def learning_curves(self) -> "Figure":
        """Loss (cross-entropy, nats) and balanced accuracy by epoch, a line per fold."""
        from nephroscope.report.study.sections.learning import learning_curves

        return learning_curves(self.run, self._marks)

    def roc(self, test_set: str = "") -> "Figure":
        """ROC curve by case with its band over patients, and by image.

        Raises:
            StudyError: There is no such test set, or its AUC could not be computed.
        """
        from nephroscope.report.study.sections.results import roc

        group = self._group(test_set)
        if group.case["auc"].value is None:
            raise StudyError(
                where=f"run {self.run.report.run}, test set {group.name}",
                expected="an AUC",
                found=group.case["auc"].method,
                remedy="look at the learning curves",
            )
        return roc(self.run.report, group, self._cases(group), self.config, self._marks)

    def probabilities(self, test_set: str = "") -> "Figure":
        """A dot per case: its probability, by true subtype."""
        from nephroscope.report.study.sections.results import case_probabilities

        cases = self._cases(self._group(test_set))
        return case_probabilities(self.run.report, cases, self.config, self._marks)

    @property
    def _marks(self) -> tuple[str, ...]:
        report = self.run.report
        return ("SYNTHETIC",) * report.synthetic + ("LEAKY",) * report.leaky

    def _cases(self, group: EvaluationGroup) -> list[Answer]:
        return [p for p in self.run.report.predictions if p.group == group.name and p.truth is not None]

    def _group(self, name: str) -> EvaluationGroup:
        groups = {group.name: group for group in self.run.report.groups}
        if name and name not in groups:
            raise StudyError(
                where=f"run {self.run.report.run}",
                expected=f"one of the test sets {', '.join(groups)}",
                found=repr(name),
                remedy="correct the name",
            )
        return groups[name] if name else self.run.report.groups[0]
