"""`Study` with verbs: a thin facade over the rooms, for notebooks and for the commands."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nephroscope.cohort.findings import load_findings, save_findings
from nephroscope.cohort.manifest import load_cohort, save_cohort
from nephroscope.cohort.split import load_split, make_split, save_split
from nephroscope.errors import CohortError, StudyError
from nephroscope.files import load_json, save_json
from nephroscope.records import (
    Case,
    Cohort,
    EvaluationReport,
    Exclusion,
    Finding,
    Split,
    SplitConfig,
    TrainConfig,
)
from nephroscope.records.digest import digest_of
from nephroscope.roi.check import check_cases
from nephroscope.roi.read import read_case
from nephroscope.slices.store import SliceStore, cut_cohort, open_store
from nephroscope.study import Settings, StudyFolder, change_settings, create_study, open_study, stale

if TYPE_CHECKING:
    from nephroscope.cohort.images import ImagesOptions
    from nephroscope.evaluation.score_run import RunToScore

FORMAT = 1
logger = logging.getLogger(__name__)


class Study:
    """A study folder and what can be done with it, in the order in which it is done.

    Args:
        root: Folder with study.toml.

    Raises:
        StudyError: There is no study, or it is of a newer format.
        ConfigError: A setting in study.toml is not allowed.
    """

    def __init__(self, root: Path | str) -> None:
        self.folder: StudyFolder
        self.settings: Settings
        self.folder, self.settings = open_study(Path(root).resolve())

    @classmethod
    def create(cls, root: Path | str, subtypes: Sequence[str], positive: str | None = None) -> "Study":
        """Make a new study; ``positive`` is the first subtype where it is not said."""
        settings = Settings(subtypes=tuple(subtypes), positive=positive or next(iter(subtypes), ""))
        create_study(Path(root), settings)
        return cls(root)

    def change(self, table: str, **values: Any) -> None:
        """Write settings of one table of study.toml, such as ``study.change("slices", roi_mode="full")``."""
        self.settings = change_settings(self.folder, table, values)

    # 1 WHO is in the study

    @property
    def cohort(self) -> Cohort:
        """The manifest as it is on disk now."""
        if not self.folder.cohort_csv.exists():
            raise StudyError(
                where="study",
                expected="a cohort",
                found="no cohort.csv",
                remedy="run `nephroscope import` first",
            )
        return load_cohort(self.folder.root, self.settings.subtypes, self.settings.positive)

    def import_images(self, source: Path | str, options: "ImagesOptions") -> Cohort:
        """Add the cases of a folder of slice images; without masks, the study's slices are cut whole."""
        from nephroscope.cohort.images import import_images, save_image_rows

        found = import_images(Path(source), options, self.settings.subtypes, self.settings.positive)
        self._check_new(found.cases)
        images = save_image_rows(found.rows, self.folder.root)
        cases = [replace(case, image=images) for case in found.cases]
        if options.masks is None and self.settings.slices.roi_mode != "full":
            self.change("slices", roi_mode="full")
            logger.info('no masks: set slices.roi_mode = "full" in study.toml')
        return self._add(cases, found.exclusions, found.findings)

    def import_dicom(self, source: Path | str, labels: Path | str | None = None) -> Cohort:
        """Add the patients of a DICOM export: CT series with a SEG, labelled by a table."""
        from nephroscope.cohort.dicom import import_dicom
        from nephroscope.cohort.labels import read_labels

        rows = read_labels(Path(labels)) if labels else None
        found = import_dicom(Path(source), rows, self.settings.subtypes, self.settings.positive)
        return self._add(found.cases, found.exclusions, found.findings)

    def import_nifti(self, source: Path | str, labels: Path | str, tumor_label: int = 1) -> Cohort:
        """Add the cases of a folder of NIfTI volumes with label maps, labelled by a table."""
        from nephroscope.cohort.labels import read_labels
        from nephroscope.cohort.nifti import import_nifti

        rows = read_labels(Path(labels))
        found = import_nifti(Path(source), rows, self.settings.subtypes, self.settings.positive, tumor_label)
        return self._add(found.cases, found.exclusions, found.findings)

    def import_phantom(self, n_cases: int, seed: int = 0) -> Cohort:
        """Write a synthetic DICOM export into the study's folder ``phantom`` and import it."""
        from nephroscope.cohort.phantom import write_phantoms

        export = self.folder.root / "phantom"
        labels = write_phantoms(export, n_cases, seed)
        return self.import_dicom(export, labels)

    def _check_new(self, cases: Sequence[Case]) -> None:
        if self.folder.cohort_csv.exists():
            known = self.cohort.by_id.keys() & {case.case_id for case in cases}
            if known:
                raise CohortError(
                    where=f"case {min(known)}",
                    expected="new cases",
                    found=f"{len(known)} of {len(cases)} that are already in cohort.csv",
                    remedy="import into a new study, or remove their rows from cohort.csv first",
                )

    def _add(
        self, cases: Sequence[Case], exclusions: Sequence[Exclusion], findings: Sequence[Finding]
    ) -> Cohort:
        self._check_new(cases)
        before = self.cohort if self.folder.cohort_csv.exists() else None
        cohort = Cohort(
            subtypes=self.settings.subtypes,
            positive=self.settings.positive,
            cases=(*(before.cases if before else ()), *cases),
            exclusions=(*(before.exclusions if before else ()), *exclusions),
            folder=self.folder.root,
        )
        save_cohort(cohort, self.folder.root)
        self.note(*findings)
        return self.cohort

    def note(self, *findings: Finding) -> None:
        """Keep findings with the study; they go into its report."""
        save_findings(self.folder.root, (*self.import_findings, *findings))

    @property
    def import_findings(self) -> tuple[Finding, ...]:
        """What the imports found worth knowing."""
        return load_findings(self.folder.root)

    # 2 WHERE the tumor is

    def check(self) -> dict[str, tuple[Finding, ...]]:
        """Read every case and its ROI; findings by case_id, a refusal among them where it cannot be used."""
        return check_cases(self.cohort.cases, self.import_findings)

    # 3 WHAT a network sees

    def cut_slices(self) -> SliceStore:
        """Cut all cases, refusing bad ones by name; goes on where an interrupted cut stopped."""
        cohort = self.cohort
        return cut_cohort(
            cohort.cases, read_case, self.settings.slices, self.folder.slices, self._slices_digest(cohort)
        )

    def _slices_digest(self, cohort: Cohort) -> str:
        return digest_of([cohort.image_digest, self.settings.slices.digest])

    def slices(self) -> SliceStore:
        """The slices on disk, when they are those of the present cohort and settings."""
        store, remedy = open_store(self.folder.slices), f"nephroscope slices {self.folder.root}"
        if store.digest != self._slices_digest(self.cohort):
            raise stale("slices", "cohort.csv or [slices] in study.toml", remedy)
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
        self, config: TrainConfig | None = None, name: str | None = None, resume: bool = False
    ) -> dict[str, Any]:
        """Train all folds; gives the content of run.json.

        Args:
            config: By default the study's.
            name: Of the run; by default the network's name, numbered when it is taken.
            resume: Go on with the named run, or with the last one that was interrupted.
        """
        from nephroscope.training.run import RunInputs, train_run

        if resume:
            path = self.folder.interrupted_run(name)
            held = load_json(path / "config.json", FORMAT)
            config = TrainConfig(**held["training"])
            split, _ = load_split(path / "split.json", self.cohort)
        else:
            config = config or self.settings.training
            path = self.folder.new_run(name or config.model, numbered=name is None)
            split = self.split()
        inputs = RunInputs(cohort=self.cohort, store=self.slices(), split=split, config=config)
        return train_run(path, inputs)

    # 6 how good, by patient

    def _to_score(self, name: str | None) -> "RunToScore":
        from nephroscope.evaluation.score_run import RunToScore

        path, cohort, store = self.folder.complete_run(name), self.cohort, self.slices()
        digests = load_json(path / "run.json", FORMAT)["digests"]
        if digests["slices"] != store.digest or digests["cohort"] != cohort.label_digest:
            raise stale(f"run {path.name}", "the cohort or its slices", "nephroscope train")
        split, _ = load_split(path / "split.json", cohort)
        return RunToScore(
            folder=path, cohort=cohort, store=store, split=split, config=self.settings.evaluation
        )

    def evaluate(self, run: str | None = None) -> EvaluationReport:
        """Score the test cases of a run and write predictions.csv, slices.csv and evaluation.json into it."""
        from nephroscope.evaluation.evaluate import (
            RunFacts,
            build_report,
            predictions_to_csv,
            report_as_dict,
            slices_to_csv,
        )
        from nephroscope.evaluation.score_run import score_run

        scored = self._to_score(run)
        content = load_json(scored.folder / "run.json", FORMAT)
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

    # 7 tables, figures, one page

    def report(self, run: str | None = None) -> Path:
        """Write the report of a run; gives the path of its page."""
        from nephroscope.report.gather import gather
        from nephroscope.report.page import write_report

        evaluation = self.evaluate(run)
        content = gather(
            self.folder.root.resolve().name, self._to_score(run), evaluation, self.import_findings
        )
        return write_report(self.folder.report, content)

    # 8 what leaves the laboratory

    def export(self, out: Path | str, run: str | None = None) -> Path:
        """Write the model of a run as a bundle; gives its folder."""
        from nephroscope.deploy.export import export_bundle

        return export_bundle(self._to_score(run), self.evaluate(run), Path(out))
