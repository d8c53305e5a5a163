"""`Study`: what can be done with a study folder, in the order in which it is done."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nephroscope.base.files import digest_of, save_json
from nephroscope.facade.annotators import ReaderVerbs
from nephroscope.facade.public import PublicVerbs
from nephroscope.records import EvaluationReport, Split, SplitConfig, TrainConfig
from nephroscope.regions.check import CheckedCase, check_cases
from nephroscope.study.slices import SliceStore
from nephroscope.study.snapshot import Snapshot, cut_slices, divide_patients, take_snapshot

if TYPE_CHECKING:
    from nephroscope.learning.engine.jobs import Means
    from nephroscope.learning.run_files import CompleteRun
    from nephroscope.questions.capacity.runs import CapacityOptions
    from nephroscope.questions.compare.comparison import ComparePlan, Comparison
    from nephroscope.questions.readers.call_table import CallOptions
    from nephroscope.questions.readers.reader_study import ReaderStudy
    from nephroscope.questions.replicate.setup import ReplicateOptions
    from nephroscope.report.content import ReportContent

FORMAT = 1


class Study(ReaderVerbs, PublicVerbs):
    """A study folder and its verbs: a thin facade over the rooms, for notebooks and for the commands."""

    # 2 WHERE the tumor is

    def check(self) -> dict[str, CheckedCase]:
        """Read every case and the ROI that its slices are cut from; findings and measures by case_id.

        A refusal is among the findings where the case cannot be used.
        """
        return check_cases(self.cohort.cases, self.import_findings, self.case_reader())

    # 3 WHAT a network sees

    @property
    def snapshot(self) -> Snapshot:
        """The study as it is on disk now: settings, cohort, slices and folds that belong together."""
        return take_snapshot(self.folder.root)

    def cut_slices(self) -> SliceStore:
        """Cut all cases, refusing bad ones by name; goes on where an interrupted cut stopped."""
        return cut_slices(self.snapshot)

    def slices(self) -> SliceStore:
        """The slices on disk, refused when they are out of date."""
        return self.snapshot.slices

    def make_split(self, config: SplitConfig | None = None) -> Split:
        """Divide the patients and write splits.json."""
        split = divide_patients(self.snapshot, config)
        self.settings = self.snapshot.settings
        return split

    def has_split(self, config: SplitConfig) -> bool:
        """True when splits.json is up to date and was made with these settings."""
        return self.snapshot.has_split(config)

    def split(self) -> Split:
        """The folds on disk; made when there are none yet, refused when they are out of date."""
        return self.snapshot.split

    # 5 how weights are learnt

    def train(
        self,
        config: TrainConfig | None = None,
        name: str | None = None,
        resume: bool = False,
        means: "Means | None" = None,
    ) -> dict[str, Any]:
        """Train all folds; gives the content of run.json.

        Args:
            config: By default the study's.
            name: Of the run; by default the network's name, numbered when it is taken.
            resume: Go on with the named run, or with the last one that was interrupted.
            means: Several processes or a Ray cluster, a fold each; by default one fold after the other, here.
        """
        from nephroscope.learning.engine.run_folds import resume_run, train_new_run

        if resume:
            return resume_run(self.snapshot, name, means)
        return train_new_run(self.snapshot, config or self.settings.training, name, means)

    # 6 how good, by patient

    def to_score(self, name: str | None = None) -> "CompleteRun":
        """A run (by default the last) with its cases, slices and folds, none of them changed since it was trained."""
        from nephroscope.learning.run_files import open_run

        return open_run(self.snapshot, name)

    def evaluate(self, run: str | None = None) -> EvaluationReport:
        """Score the test cases of a run and write predictions.csv, slices.csv and evaluation.json into it."""
        from nephroscope.learning.run_files import load_run
        from nephroscope.learning.score_run import score_run
        from nephroscope.questions.evaluation.evaluate import (
            RunFacts,
            build_report,
            predictions_to_csv,
            report_as_dict,
            slices_to_csv,
        )

        scored = self.to_score(run)
        cohort, split = scored.snapshot.cohort, scored.snapshot.split
        config = scored.snapshot.settings.evaluation
        content = load_run(scored.folder)
        predictions, points = score_run(scored)
        facts = RunFacts(
            run=scored.folder.name,
            model=content["model"],
            subtypes=cohort.subtypes,
            positive=cohort.positive,
            protocol=split.protocol,
            operating_points=tuple(points),
            cohort_digest=cohort.digest,
            run_digest=digest_of(content),
            synthetic=cohort.synthetic,
            converged=content["converged"],
        )
        report = build_report(facts, predictions, config)
        for save, name in ((predictions_to_csv, "predictions.csv"), (slices_to_csv, "slices.csv")):
            save(predictions, scored.folder / name, report.subtypes, report.protocol)
        save_json(scored.folder / "evaluation.json", {"format": FORMAT, **report_as_dict(report)})
        return report

    def compare(self, plan: "ComparePlan | None" = None, train: Sequence[str] = ()) -> "Comparison":
        """Rank baselines, trained runs and their stack on the same folds; networks in ``train`` are trained first."""
        from nephroscope.questions.compare.comparison import compare_study

        return compare_study(self.snapshot, plan, train)

    def capacity(self, options: "CapacityOptions | None" = None, only_plan: bool = False) -> dict[str, Any]:
        """Train networks of several sizes on the study's folds; gives AUC against weights; writes capacity/."""
        from nephroscope.questions.capacity.runs import CapacityOptions
        from nephroscope.questions.capacity.study import plan_capacity, save_capacity, study_capacity
        from nephroscope.report.capacity_figures import capacity_figure
        from nephroscope.report.drawing import save_figures

        snapshot, options = self.snapshot, options or CapacityOptions()
        if only_plan:
            return plan_capacity(snapshot, options)
        content = study_capacity(snapshot, options)
        folder = self.folder.root / "capacity"
        save_figures(folder, {"capacity": capacity_figure(content, content["synthetic"])})
        save_capacity(snapshot, content)
        return content

    def replicate_zuo2021(
        self, options: "ReplicateOptions | None" = None, readers: Path | str | None = None
    ) -> dict[str, Any]:
        """Repeat Zuo et al. 2021 with and without its leak; gives the content of replicate.json."""
        from nephroscope.facade.replicate import replicate_zuo2021

        return replicate_zuo2021(self.snapshot, self.import_findings, options, readers)

    def readers(
        self, path: Path | str, runs: Sequence[str] = (), options: "CallOptions | None" = None
    ) -> "ReaderStudy":
        """Set a table of radiologists' calls beside all complete runs, or the named ones; writes readers/."""
        from nephroscope.questions.readers.with_models import readers_against_models

        return readers_against_models(self.snapshot, Path(path), runs, options)

    # 7 tables, figures, one page

    def report(self, run: str | None = None) -> Path:
        """Write the report of a run; gives the path of its page."""
        from nephroscope.report.page import write_report
        from nephroscope.report.saliency import with_saliency

        content = self._page(run, self.evaluate(run))
        content = with_saliency(content, self.to_score(run), self.case_reader())
        return write_report(self.folder.report, content)

    def _page(self, run: str | None, evaluation: EvaluationReport) -> "ReportContent":
        from nephroscope.report.gather import gather

        return gather(self.to_score(run), evaluation, self.import_findings)

    # 8 what leaves the laboratory

    def export(self, out: Path | str, run: str | None = None) -> Path:
        """Write the model of a run as a bundle; gives its folder."""
        from nephroscope.learning.export import export_bundle
        from nephroscope.report.model_card import model_card

        evaluation = self.evaluate(run)
        card = model_card(self._page(run, evaluation))
        return export_bundle(self.to_score(run), evaluation, Path(out), card)
