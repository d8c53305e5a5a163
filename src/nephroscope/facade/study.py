"""`Study`: what can be done with a study folder, in the order in which it is done."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nephroscope.base.files import digest_of, save_json
from nephroscope.facade.annotators import ReaderVerbs
from nephroscope.facade.public import PublicVerbs
from nephroscope.records import Cohort, EvaluationReport, Split, SplitConfig, TrainConfig
from nephroscope.regions.check import CheckedCase, check_cases
from nephroscope.study.folder import stale
from nephroscope.study.slices import SliceStore, cut_cohort, open_store, redrawn
from nephroscope.study.split import load_split, make_split, save_split

if TYPE_CHECKING:
    from nephroscope.learning.engine.jobs import Means
    from nephroscope.learning.score_run import RunToScore
    from nephroscope.questions.capacity.runs import CapacityOptions
    from nephroscope.questions.compare.comparison import ComparePlan, Comparison
    from nephroscope.questions.readers.read_calls import CallOptions
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

    def cut_slices(self) -> SliceStore:
        """Cut all cases, refusing bad ones by name; goes on where an interrupted cut stopped."""
        cohort = self.cohort
        read, digest = self.case_reader(), self._slices_digest(cohort)
        return cut_cohort(cohort.cases, read, self.settings.slices, self.folder.slices, digest)

    def _slices_digest(self, cohort: Cohort) -> str:
        parts = [cohort.image_digest, self.settings.slices.digest]
        if self._needs_reader_2():
            decisions = digest_of(self.decisions())
            parts += [self.settings.roi.consensus, cohort.digest_of("roi_reader2"), decisions]
        return digest_of(parts)

    def _needs_reader_2(self) -> bool:
        return self.settings.roi.consensus != "reader-1" or bool(self.decisions())

    def slices(self) -> SliceStore:
        """The slices on disk, when they are those of the present cohort and settings."""
        store, remedy = open_store(self.folder.slices), f"nephroscope slices {self.folder.root}"
        cohort = self.cohort
        if store.source != self._slices_digest(cohort):
            raise stale("slices", "adjudication.csv, [roi], cohort.csv or [slices] in study.toml", remedy)
        anew = redrawn(cohort.cases, store.drawn, 2 if self._needs_reader_2() else 1)
        if anew:
            others = f" and of {len(anew) - 1} more" if len(anew) > 1 else ""
            raise stale("slices", f"the ROI file of case {anew[0]}{others}", remedy)
        return store

    def make_split(self, config: SplitConfig | None = None) -> Split:
        """Divide patients anew and write splits.json."""
        cohort, store = self.cohort, self.slices()
        if config is not None and config != self.settings.split:
            self.change("split", **asdict(config))
        slices_of = {name: store.slice_index[rows].tolist() for name, rows in store.rows_by_case.items()}
        split = make_split(cohort, slices_of, self.settings.split)
        save_split(split, self.folder.splits, self._split_digest(cohort, store))
        return split

    def _split_digest(self, cohort: Cohort, store: SliceStore) -> str:
        return digest_of([cohort.label_digest, store.digest])

    def has_split(self, config: SplitConfig) -> bool:
        """True when splits.json is what ``config`` asks for and the cohort has not changed since."""
        if not self.folder.splits.exists():
            return False
        split, digest = load_split(self.folder.splits, self.cohort)
        return split.config == config and digest == self._split_digest(self.cohort, self.slices())

    def split(self) -> Split:
        """The folds on disk; made when there are none yet, refused when the cohort changed since."""
        if not self.folder.splits.exists():
            return self.make_split()
        split, digest = load_split(self.folder.splits, self.cohort)
        if digest != self._split_digest(self.cohort, self.slices()):
            remedy = f"nephroscope split {self.folder.root}"
            raise stale("splits.json", "the cohort or its slices", remedy)
        return split

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
        from nephroscope.facade.spread import spread_folds
        from nephroscope.learning.engine.networks import run_config
        from nephroscope.learning.run_files import load_run_split
        from nephroscope.learning.training.run import RunInputs, train_run

        if resume:
            path = self.folder.interrupted_run(name)
            config, split = run_config(path), load_run_split(path, self.cohort)
        else:
            config = config or self.settings.training
            path = self.folder.new_run(name or config.model, numbered=name is None)
            split = self.split()
        inputs = RunInputs(cohort=self.cohort, store=self.slices(), split=split, config=config)
        return train_run(path, inputs, spread_folds(self.folder.root, path, means) if means else None)

    # 6 how good, by patient

    def to_score(self, name: str | None = None) -> "RunToScore":
        """A run (by default the last) with its cases, slices and folds, none of them changed since it was trained."""
        from nephroscope.learning.run_files import load_run, load_run_split
        from nephroscope.learning.score_run import RunToScore

        path, cohort, store = self.folder.complete_run(name), self.cohort, self.slices()
        digests = load_run(path)["digests"]
        if digests["slices"] != store.digest or digests["cohort"] != cohort.label_digest:
            raise stale(f"run {path.name}", "the cohort or its slices", "nephroscope train")
        return RunToScore(
            folder=path,
            cohort=cohort,
            store=store,
            split=load_run_split(path, cohort),
            config=self.settings.evaluation,
        )

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
        content = load_run(scored.folder)
        predictions, points = score_run(scored)
        facts = RunFacts(
            run=scored.folder.name,
            model=content["model"],
            subtypes=scored.cohort.subtypes,
            positive=scored.cohort.positive,
            protocol=scored.split.protocol,
            operating_points=tuple(points),
            cohort_digest=scored.cohort.digest,
            run_digest=digest_of(content),
            synthetic=scored.cohort.synthetic,
            converged=content["converged"],
        )
        report = build_report(facts, predictions, scored.config)
        for save, name in ((predictions_to_csv, "predictions.csv"), (slices_to_csv, "slices.csv")):
            save(predictions, scored.folder / name, report.subtypes, report.protocol)
        save_json(scored.folder / "evaluation.json", {"format": FORMAT, **report_as_dict(report)})
        return report

    def compare(self, plan: "ComparePlan | None" = None, train: Sequence[str] = ()) -> "Comparison":
        """Rank baselines, trained runs and their stack on the same folds; networks in ``train`` are trained first."""
        from nephroscope.facade.compare import compare_study

        return compare_study(self, plan, train)

    def capacity(self, options: "CapacityOptions | None" = None, only_plan: bool = False) -> dict[str, Any]:
        """Train networks of several sizes on the study's folds; gives AUC against weights; writes capacity/."""
        from nephroscope.facade.capacity import capacity

        return capacity(self, options, only_plan)

    def replicate_zuo2021(
        self, options: "ReplicateOptions | None" = None, readers: Path | str | None = None
    ) -> dict[str, Any]:
        """Repeat Zuo et al. 2021 with and without its leak; gives the content of replicate.json."""
        from nephroscope.facade.replicate import replicate_zuo2021

        return replicate_zuo2021(self, options, readers)

    def readers(
        self, path: Path | str, runs: Sequence[str] = (), options: "CallOptions | None" = None
    ) -> "ReaderStudy":
        """Set a table of radiologists' calls beside all complete runs, or the named ones; writes readers/."""
        from nephroscope.facade.model_readers import read_beside_models

        return read_beside_models(self, Path(path), runs, options)

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

        return gather(self.folder, self.settings, self.to_score(run), evaluation, self.import_findings)

    # 8 what leaves the laboratory

    def export(self, out: Path | str, run: str | None = None) -> Path:
        """Write the model of a run as a bundle; gives its folder."""
        from nephroscope.learning.export import export_bundle
        from nephroscope.report.model_card import model_card

        evaluation = self.evaluate(run)
        card = model_card(self._page(run, evaluation))
        return export_bundle(self.to_score(run), evaluation, Path(out), card)
