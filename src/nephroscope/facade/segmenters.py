"""Networks of a study that draw, and what other programs drew in it: the part of `Study` for proposals."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nephroscope.base.documents import from_mapping
from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.lock import writes
from nephroscope.facade.imports import StudyImports
from nephroscope.records import SplitConfig, TrainConfig
from nephroscope.study.folder import StudyFolder
from nephroscope.study.snapshot import new_division, take_snapshot

if TYPE_CHECKING:
    from nephroscope.facade.segment import SegmentedCases
    from nephroscope.learning.drawn_run import DrawingRun
    from nephroscope.learning.engine.workers import Workers
    from nephroscope.questions.evaluation.drawings import DrawingEvaluation
    from nephroscope.questions.evaluation.proposals import ProposalReport
    from nephroscope.segmenters.tool import Tool


class Segmenter(ShownAsTable):
    """A complete run of a network that draws.

    Args:
        study: Study folder.
        name: Name of the run; by default the last complete one.

    Attributes:
        folder: Folder of the run.
        record: Content of its run.json.

    Raises:
        StudyError: There is no complete run of that name, or it is damaged.
    """

    def __init__(self, study: Path | str, name: str | None = None) -> None:
        from nephroscope.learning.run_files import load_run

        self._study = Path(study).resolve()
        self.folder = StudyFolder(self._study).segmenters.complete_run(name)
        self.record = load_run(self.folder)

    def __repr__(self) -> str:
        return f"Segmenter({self.summary()})"

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
        """Name of its network, such as ``unet-tumor``."""
        return self.record.model

    def records(self) -> list[Record]:
        """A row per fold: best epoch, Dice of its validation patients there, training time in seconds."""
        return [
            {
                "fold": fold.index,
                "best_epoch": fold.best.epoch if fold.best else None,
                "validation_dice": 1 - fold.best.validation_loss if fold.best else None,
                "converged": fold.converged,
                "seconds": fold.seconds,
            }
            for fold in self.record.folds
        ]

    def summary(self) -> str:
        """Name, network and folds."""
        return f"run {self.name}: {self.model}, {len(self.record.folds)} folds"

    @writes("evaluate")
    def evaluate(self) -> "DrawingEvaluation":
        """Draw each CT by a network that never saw its patient, and compare; writes drawings.json into the run.

        Raises:
            StudyError: Cohort, slices or what was drawn changed since the run was trained.
        """
        from nephroscope.questions.evaluation.drawings import evaluate_drawing

        return evaluate_drawing(self._inputs())

    @writes("export")
    def export(self, out: Path | str) -> Path:
        """Write the folds' networks as a bundle that draws, for `nephroscope segment --with`; returns its folder.

        Args:
            out: New folder.

        Raises:
            BundleError: ``out`` exists already, an exported network computes something else than the trained one, or
                a file would name a case, reader, site or path.
        """
        from nephroscope.learning.export_drawing import export_drawing_bundle
        from nephroscope.questions.evaluation.drawings import evaluate_drawing

        run = self._inputs()
        found = evaluate_drawing(run)
        texts = (
            *found.beside.values(),
            *(one.message for one in found.findings if one.severity != "refusal"),
        )
        lines = tuple(f"{text[0].upper()}{text[1:]}." for text in texts)
        return export_drawing_bundle(run, found.figures, Path(out), lines)

    def _inputs(self) -> "DrawingRun":
        from nephroscope.learning.drawn_run import open_drawing_run

        return open_drawing_run(take_snapshot(self._study), self.name)


class StudySegmenters(StudyImports):
    """A study folder with what draws in it: other programs, and networks that learned from its own ROIs."""

    @writes("segment")
    def segment(self, tool: "Tool", cases: Sequence[str] = ()) -> "SegmentedCases":
        """Let a program draw the tumors, as proposals; refused cases are among the result.

        Args:
            tool: From `nephroscope.segmenters.tool.tool_of`.
            cases: Only these; none: all.
        """
        from nephroscope.facade.segment import segment_study

        return segment_study(self.folder.root, tool, cases)

    @writes("accept")
    def accept_proposals(self, author: str, cases: Sequence[str], by: str = "") -> int:
        """Note that a person (``by``, such as reader-1) accepts what a model proposed; returns the number of ROIs."""
        from nephroscope.facade.segment import accept

        return len(accept(self.folder.root, author, cases, by))

    @writes("rois compare")
    def compare_proposals(
        self, author: str, bundle: Path | str | None = None, **asked: Any
    ) -> "ProposalReport":
        """Compare what a model proposed with what people drew; writes proposals/.

        Args:
            author: The model, ``model:NAME@VERSION``.
            bundle: Answers both ROIs of each case.
            asked: Further fields of `ProposalQuestion`, such as ``margin=0.05`` or ``cases=("P017",)``.

        Raises:
            CohortError: This author proposed nothing.
            StudyError: Nothing can be compared.
        """
        from nephroscope.clinic.bundle import open_bundle
        from nephroscope.questions.evaluation.proposals import ProposalQuestion, compare_proposals
        from nephroscope.report.proposals.page import WorstProposals, write_proposals

        worst, root = WorstProposals(), self.folder.root
        opened = open_bundle(Path(bundle)) if bundle is not None else None
        question = ProposalQuestion(author=author, bundle=opened, **asked)
        report = compare_proposals(take_snapshot(root), question, worst.offer, worst.offer_answer)
        write_proposals(root / "proposals", root.name, report, worst)
        return report

    @writes("train")
    def train_segmenter(
        self,
        config: TrainConfig | None = None,
        name: str | None = None,
        resume: bool = False,
        workers: "Workers | None" = None,
        split: SplitConfig | None = None,
        more_epochs: int | None = None,
        **changes: Any,
    ) -> Segmenter:
        """Train a network that draws on every fold, from the study's own ROIs.

        Args:
            config: Settings; by default those of study.toml. A network that tells subtypes apart leaves the choice to
                what was drawn.
            name: Name of the run; by default that of the network, with a number when it is taken.
            resume: Continue the named run, or the last one that was interrupted, with the settings it started with.
            workers: Several processes or a Ray cluster, a fold each.
            split: Divide the patients so first, unless they are; by default splits.json is used as it is.
            more_epochs: Give the named complete run, or the last one, so many more epochs instead.
            changes: Settings of [training] to change for this run, such as ``model="unet-tumor"``.

        Raises:
            ConfigError: A setting has no such name or value, or a network that draws cannot use it.
            StudyError: The slices or the split are missing or out of date, or too little was drawn.
        """
        from nephroscope.learning.engine.drawing_runs import extend_drawing, resume_drawing, train_drawing

        snapshot = take_snapshot(self.folder.root)
        if more_epochs is not None:
            record = extend_drawing(snapshot, more_epochs, name, workers)
        elif resume:
            record = resume_drawing(snapshot, name, workers)
        else:
            config = config or self.settings.training
            config = from_mapping(TrainConfig, {**asdict(config), **changes}, "training")
            record = train_drawing(snapshot, config, name, workers, new_division(snapshot, split))
            self.settings = take_snapshot(self.folder.root).settings
        return Segmenter(self.folder.root, record.name)

    def segmenter(self, name: str | None = None) -> Segmenter:
        """A complete run of a network that draws, by default the last one."""
        return Segmenter(self.folder.root, name)

    def segmenters(self) -> list[Segmenter]:
        """All complete runs of networks that draw."""
        runs = self.folder.segmenters.runs()
        return [self.segmenter(path.name) for path in runs if (path / "run.json").exists()]
