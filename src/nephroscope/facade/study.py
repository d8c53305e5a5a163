"""`Study`: what can be done with a study folder, in the order in which it is done."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nephroscope.base.documents import from_mapping
from nephroscope.base.errors import CohortError, StudyError
from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.lock import writes
from nephroscope.facade.run import Run
from nephroscope.facade.segmenters import StudySegmenters
from nephroscope.records import (
    Finding,
    Split,
    SplitConfig,
    TrainConfig,
    counted_noun,
    with_recipe,
)
from nephroscope.records.settings import PHASES
from nephroscope.regions.check import CheckedCase, ReadCase, check_cases
from nephroscope.regions.consensus import check_rule
from nephroscope.regions.surface import TOLERANCE_MM
from nephroscope.study.doubles import check_names, check_patients, near_misses
from nephroscope.study.roi_warnings import save_roi_warnings
from nephroscope.study.slices import SliceStore
from nephroscope.study.snapshot import Snapshot, cut_slices, divide_patients, new_division, take_snapshot

if TYPE_CHECKING:
    from nephroscope.facade.status import StudyStatus
    from nephroscope.learning.engine.workers import Workers
    from nephroscope.questions.capacity.runs import CapacityOptions
    from nephroscope.questions.capacity.study import CapacityPlan, CapacityResult
    from nephroscope.questions.compare.comparison import ComparePlan, Comparison
    from nephroscope.questions.evaluation.annotators import AnnotatorReport
    from nephroscope.questions.readers.call_table import CallOptions
    from nephroscope.questions.readers.reader_study import ReaderStudy
    from nephroscope.questions.replicate.replication import Replication
    from nephroscope.questions.replicate.setup import ReplicateOptions
    from nephroscope.study.transfer_rows import TransferRow


class Study(StudySegmenters, ShownAsTable):
    """A study folder and what can be done with it, for notebooks and for the commands."""

    def records(self) -> list[Record]:
        """A row per subtype: labelled cases and patients; empty before the first import."""
        cases = self.cohort.cases if self.folder.cohort_csv.exists() else ()
        named = {name: [case for case in cases if case.subtype == name] for name in self.settings.subtypes}
        return [
            {"subtype": name, "cases": len(found), "patients": len({case.patient_id for case in found})}
            for name, found in named.items()
        ]

    def summary(self) -> str:
        """Folder, and the complete runs."""
        return f"study {self.folder.root.name}; complete runs: {', '.join(self._run_names()) or 'none'}"

    def status(self) -> "StudyStatus":
        """What is up to date, what is not and why, who is out, and the next command; reads no image."""
        from nephroscope.facade.status import study_status

        return study_status(self.folder.root)

    # 2 where the tumor is

    def check(self) -> "CheckedCases":
        """Read every case and the ROI that its slices are cut from; findings and measures by case_id.

        A case that cannot be used has a finding of severity ``refusal``. Where the packages for pages are installed
        (the extra ``train``), check/index.html shows a picture of every case.
        """
        snapshot = self.snapshot
        if find_spec("jinja2") is None:
            return self._checked(snapshot, snapshot.read_case)
        from nephroscope.report.check.page import ContactSheet, write_contact_sheet

        sheet = ContactSheet(cases={case.case_id: case for case in snapshot.cases_to_read})
        read = sheet.drawing(snapshot.read_case)
        sheet.checked = checked = self._checked(snapshot, read)
        name, synthetic = self.folder.root.resolve().name, self.cohort.synthetic
        checked.page = write_contact_sheet(self.folder.check, name, sheet, synthetic=synthetic)
        return checked

    def _checked(self, snapshot: Snapshot, read: ReadCase) -> "CheckedCases":
        checked = CheckedCases(check_cases(snapshot.cases_to_read, self.import_findings, read))
        save_roi_warnings(snapshot, (f for case in checked.values() for f in case.findings))
        return checked

    def check_patients(self) -> tuple[Finding, ...]:
        """What makes it doubtful that patients are told apart: their names and, once slices are cut, what these show.

        Raises:
            CohortError: One tumor is in the study under two patients, with different subtypes.
        """
        try:
            return (*check_patients(self.cohort, self.slices()), *near_misses(self.cohort))
        except StudyError:
            return check_names(self.cohort)

    @writes("agreement")
    def set_consensus(self, rule: str) -> None:
        """Write into study.toml how the ROIs of two annotators are combined; slices cut before are then out of date.

        Raises:
            ConfigError: There is no such rule, or STAPLE is chosen and SimpleITK is not installed.
        """
        check_rule(rule)
        self.change("roi", consensus=rule)

    @writes("agreement")
    def agreement(self, tolerance_mm: float = TOLERANCE_MM) -> "AnnotatorReport":
        """Compare two annotators case by case; writes agreement/ and adjudication.csv.

        Args:
            tolerance_mm: Tolerance of the surface Dice.

        Raises:
            StudyError: No case has the ROIs of two annotators or two pathology readings.
        """
        from nephroscope.questions.evaluation.annotators import compare_annotators
        from nephroscope.report.annotators.figures import Worst
        from nephroscope.report.annotators.page import write_agreement

        worst, root = Worst(), self.folder.root
        report = compare_annotators(self.snapshot, tolerance_mm, worst.offer)
        write_agreement(root / "agreement", root.name, report, worst.kept)
        return report

    def write_roi(self, case_id: str, path: Path | str) -> Path:
        """Write the ROI that the study uses for a case, for other programs; returns the path.

        Args:
            case_id: The case_id in cohort.csv.
            path: Ends in .nii or .nii.gz for a NIfTI label map, or in .dcm for a DICOM SEG of its CT series.

        Raises:
            CohortError: There is no such case.
            RoiError: The file name ends differently, or a SEG is asked for and the CT is not DICOM.
        """
        from nephroscope.imaging.masks.write import write_roi

        snapshot = self.snapshot
        case = snapshot.cohort.by_id.get(case_id)
        if case is None:
            raise CohortError(
                where=f"case {case_id}",
                expected="a case in cohort.csv",
                found="none with that name",
                remedy="look up the case_id in cohort.csv",
            )
        known = {"origin": case.roi.origin} if case.roi and not case.combined else {}
        return write_roi(snapshot.read_case(case)[1], Path(path), case, **known)

    @writes("rois")
    def transfer_rois(self) -> "tuple[TransferRow, ...]":
        """Place the ROI of every case on its other phases by registration; "draw it" where that cannot be believed.

        Accepted ones become rows of rois.csv by ``transferred:AUTHOR``. Where ``slices.phases`` names none, it then
        names the phases of the study. Where the packages for pages are installed, rois/transfers.html shows each.

        Raises:
            StudyError: No case has another phase on which nobody drew.
            ConfigError: SimpleITK is not installed.
        """
        from nephroscope.study.transfer_rows import FOLDER
        from nephroscope.study.transfers import transfer_study

        snapshot, folder = self.snapshot, self.folder.root / FOLDER
        if find_spec("jinja2") is None:
            rows = transfer_study(snapshot)
        else:
            from nephroscope.report.transfers.page import TransferPictures

            pictures = TransferPictures()
            rows = transfer_study(snapshot, pictures.offer)
            pictures.write(folder, self.folder.root.resolve().name, rows, synthetic=self.cohort.synthetic)
        there = {case.phase for case in snapshot.cohort.chosen} | {row.phase for row in rows if row.accepted}
        if not self.settings.slices.phases and len(there - {"unknown"}) > 1:
            self.change("slices", phases=[phase for phase in PHASES if phase in there - {"unknown"}])
        return rows

    # 3 what a network sees

    @property
    def snapshot(self) -> Snapshot:
        """The study as it is on disk now: settings, cohort, slices and folds that belong together."""
        return take_snapshot(self.folder.root)

    @writes("slices")
    def cut_slices(self) -> SliceStore:
        """Cut the slices of all cases; a case that cannot be cut is refused by name, an interrupted cut continues."""
        return cut_slices(self.snapshot)

    def slices(self) -> SliceStore:
        """The slices on disk, refused when they are out of date."""
        return self.snapshot.slices

    @writes("split")
    def make_split(self, config: SplitConfig | None = None, **changes: Any) -> Split:
        """Divide the patients and write splits.json; ``changes`` are settings of [split], such as ``folds=3``."""
        wanted = {**asdict(config or self.settings.split), **changes}
        split = divide_patients(self.snapshot, from_mapping(SplitConfig, wanted, "split"))
        self.settings = self.snapshot.settings
        return split

    def has_split(self, config: SplitConfig) -> bool:
        """True when splits.json is up to date and was made with these settings."""
        return self.snapshot.has_split(config)

    def split(self) -> Split:
        """The folds on disk; made when there are none yet, refused when they are out of date."""
        return self.snapshot.split

    # 4 networks

    @writes("train")
    def train(
        self,
        config: TrainConfig | None = None,
        name: str | None = None,
        resume: bool = False,
        workers: "Workers | None" = None,
        split: SplitConfig | None = None,
        more_epochs: int | None = None,
        **changes: Any,
    ) -> Run:
        """Train a network on every fold.

        Args:
            config: Settings; by default those of study.toml.
            name: Name of the run; by default that of the network, with a number when it is taken.
            resume: Continue the named run, or the last one that was interrupted, with the settings it started with.
            workers: Several processes or a Ray cluster, a fold each; by default as many folds at once as cores and
                memory allow.
            split: Divide the patients so first, unless they are; by default splits.json is used as it is.
            more_epochs: Give the named complete run, or the last one, so many more epochs instead.
            changes: Settings of [training] to change for this run, such as ``model="mobilenet_v2"``.

        Raises:
            ConfigError: A setting has no such name or value, or the network draws: see `train_segmenter`.
            StudyError: The slices or the split are missing or out of date.
        """
        from nephroscope.learning.engine.runs import extend_run, resume_run, train_new_run

        if more_epochs is not None:
            return Run(self.folder.root, extend_run(self.snapshot, more_epochs, name, workers).name)
        if resume:
            return Run(self.folder.root, resume_run(self.snapshot, name, workers).name)
        config = config or self.settings.training
        if "recipe" in changes:
            config = with_recipe(config, changes["recipe"])
        config = from_mapping(TrainConfig, {**asdict(config), **changes}, "training")
        self.folder.new_run(name or config.model, numbered=name is None)  # refused before anything is written
        snapshot = self.snapshot
        name = train_new_run(snapshot, config, name, workers, new_division(snapshot, split)).name
        self.settings = self.snapshot.settings
        return Run(self.folder.root, name)

    def run(self, name: str | None = None) -> Run:
        """A complete run, by default the last one."""
        return Run(self.folder.root, name)

    def runs(self) -> list[Run]:
        """All complete runs."""
        return [self.run(name) for name in self._run_names()]

    def _run_names(self) -> list[str]:
        return [path.name for path in self.folder.runs() if (path / "run.json").exists()]

    # 5 questions

    @writes("compare")
    def compare(
        self, plan: "ComparePlan | None" = None, train: Sequence[str] = (), **changes: Any
    ) -> "Comparison":
        """Rank baselines, trained runs and their stack on the same folds; writes comparison/.

        Args:
            plan: What to compare; by default all baselines and runs.
            train: Networks to train first if they have no run on these folds.
            changes: Fields of the plan to change, such as ``repeats=10``.
        """
        from nephroscope.questions.compare.comparison import ComparePlan, compare_study

        return compare_study(self.snapshot, replace(plan or ComparePlan(), **changes), train)

    def plan_capacity(self, options: "CapacityOptions | None" = None) -> "CapacityPlan":
        """What `capacity` would train, and about how long that takes on this machine."""
        from nephroscope.questions.capacity.runs import CapacityOptions
        from nephroscope.questions.capacity.study import plan_capacity

        return plan_capacity(self.snapshot, options or CapacityOptions())

    @writes("capacity")
    def capacity(self, options: "CapacityOptions | None" = None) -> "CapacityResult":
        """Train networks of several sizes on the folds: AUC against the number of weights; writes capacity/."""
        from nephroscope.questions.capacity.runs import CapacityOptions
        from nephroscope.questions.capacity.study import save_capacity, study_capacity
        from nephroscope.report.capacity_figures import capacity_figure
        from nephroscope.report.page.drawing import save_figures

        snapshot = self.snapshot
        result = study_capacity(snapshot, options or CapacityOptions())
        save_figures(self.folder.root / "capacity", {"capacity": capacity_figure(result, result.synthetic)})
        save_capacity(snapshot, result)
        return result

    @writes("replicate")
    def replicate_zuo2021(
        self,
        options: "ReplicateOptions | None" = None,
        readers: Path | str | None = None,
        workers: "Workers | None" = None,
    ) -> "Replication":
        """Repeat Zuo et al. 2021 with its leak and without; returns the content of replicate.json."""
        from nephroscope.report.replicate.page import replicate_zuo2021

        return replicate_zuo2021(self.snapshot, self.import_findings, options, readers, workers)

    @writes("readers")
    def readers(
        self, path: Path | str, runs: Sequence[str] = (), options: "CallOptions | None" = None
    ) -> "ReaderStudy":
        """Compare a table of radiologists' calls with all complete runs, or the named ones; writes readers/."""
        from nephroscope.questions.readers.with_models import readers_against_models

        return readers_against_models(self.snapshot, Path(path), runs, options)


class CheckedCases(dict[str, CheckedCase], ShownAsTable):
    """What `Study.check` found: findings and measures by case_id; ``page`` is where they are drawn."""

    page: Path | None = None

    def records(self) -> list[Record]:
        """A row per finding: code, severity, message, case_id, where."""
        return [asdict(finding) for case in self.values() for finding in case.findings]

    def summary(self) -> str:
        """Number of cases, and of those refused."""
        refused = sum(any(f.severity == "refusal" for f in case.findings) for case in self.values())
        return f"{counted_noun(len(self), 'case')} checked, {refused} refused"
