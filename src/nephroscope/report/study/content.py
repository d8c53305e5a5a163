"""What the page of a run is made from: one frozen record."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.clinic.outside import OutsideCheck
from nephroscope.questions.compare.results import Shortcuts
from nephroscope.questions.evaluation.jitter import JitterDocument
from nephroscope.questions.saliency.checks import weights_verdict
from nephroscope.records import (
    Cohort,
    CohortConfig,
    Estimate,
    Evaluation,
    EvaluationConfig,
    Finding,
    RoiConfig,
    SliceSpec,
    Split,
    TrainConfig,
    UsedInput,
)

Epoch = Mapping[str, float]  # epoch, train_loss, validation_loss, train_accuracy, validation_accuracy, ...
SlicesOf = Callable[[str], Iterable[tuple[int, npt.NDArray[np.int16]]]]  # case_id -> (slice_index, HU (H, W))


@dataclass(frozen=True, eq=False, kw_only=True)
class RunContent:
    """One run: its evaluation, its settings, and the learning curves of its folds.

    Attributes:
        curves: Epochs of each fold, by fold index.
        converged: Whether each fold beat chance on its own training set, by fold index.
        exported: Indices of the folds whose networks a bundle has; they answer held-out cases too.
        keeps_prior: Probabilities are at the prevalence of the training cases though the loss weighs the subtypes.
    """

    report: Evaluation
    train: TrainConfig
    curves: Mapping[int, Sequence[Epoch]] = field(default_factory=dict)
    converged: Mapping[int, bool] = field(default_factory=dict)
    exported: Sequence[int] = ()
    keeps_prior: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Versions and machine of a training, from the run's environment.json; empty where it does not say."""

    nephroscope: str = ""
    python: str = ""
    platform: str = ""
    torch: str = ""
    torchvision: str = ""
    numpy: str = ""
    device: str = ""
    threads: int | None = None
    precision: str = ""
    layout: str = ""
    started: str = ""
    format: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The CT of a case, from seen_series.csv: vendor, and slice spacing in mm."""

    manufacturer: str = ""
    spacing_mm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SaliencyMap:
    """Where a network looked on one slice; ``address`` is the picture as a ``data:`` address."""

    slice_index: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Saliency:
    """Maps for the case cards by case_id, a text on how they were made, and what their sanity check found.

    Without maps, ``text`` is the reason why there are none. ``figures`` are those of `SaliencyOfRun`.
    """

    maps: Mapping[str, Sequence[SaliencyMap]]
    text: str
    check: str
    figures: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """True where the check shows that the maps do not depend on the weights, or may not: none is shown then."""
        asked = {"random_size", "mirrored"} <= self.figures.keys()
        return asked and weights_verdict(self.figures) in ("alike", "unclear")


@dataclass(frozen=True, slots=True, kw_only=True)
class FullSlice:
    """A whole slice of a case with R, L and a scale, and the ROI's outline to lay over it: ``data:`` addresses."""

    address: str
    outline: str
    slice_index: int


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportContent:
    """Everything on the page.

    Attributes:
        title, byline: Of the study; authors and site.
        runs: One or more; the page describes the first and compares all.
        slice_counts: Number of slices cut of each case_id.
        slices_of: Gives the slices of a case, for the thumbnails.
        findings: Of the data, refused cases (severity ``refusal``) included.
        date: As printed.
        study: Folder of the study, for the sections that other commands fill; None without one.
        cohort_config, roi_config: Which series was taken; how one ROI was made of two annotators'.
        environment: Versions and machine of the training; None where they were not recorded.
        scans: By case_id, from seen_series.csv.
        facts: By case_id, the attributes for the subgroups that seen_series.csv holds: vendor, slice spacing.
        roi_agreement: Mean Dice of two annotators, from agreement.json; None where it was not measured.
        roi_warnings: What the last check doubted about ROIs; None where there was none, or cases changed since.
        shortcuts: What the probe of facts other than the tumor found; None where it was not run.
        saliency: None where no maps were made.
        full_slices: By case_id, for the first cards.
        outside: Whether tumors of other subtypes are recognized; None where that was not asked.
        jitter: Calls with ROIs drawn otherwise; None where that was not asked.
    """

    title: str
    runs: tuple[RunContent, ...]
    cohort: Cohort
    split: Split
    slice_counts: Mapping[str, int]
    slices_of: SlicesOf
    spec: SliceSpec
    evaluation: EvaluationConfig
    findings: tuple[Finding, ...]
    version: str
    date: str
    byline: str = ""
    study: Path | None = None
    cohort_config: CohortConfig = field(default_factory=CohortConfig)
    roi_config: RoiConfig = field(default_factory=RoiConfig)
    environment: Environment | None = None
    scans: Mapping[str, Scan] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    roi_agreement: Estimate | None = None
    roi_warnings: tuple[Finding, ...] | None = None
    shortcuts: Shortcuts | None = None
    saliency: Saliency | None = None
    full_slices: Mapping[str, FullSlice] = field(default_factory=dict)
    jitter: JitterDocument | None = None
    outside: OutsideCheck | None = None

    @property
    def main(self) -> RunContent:
        """The run the page is about."""
        return self.runs[0]

    @property
    def held_out_by(self) -> str:
        """Who classifies held-out cases and those of a bundle, where there are several folds."""
        n_folds = len(self.split.folds)
        n = len(self.main.exported) or n_folds
        if n == 1:
            return f"the network of one of {n_folds} folds"
        of_all = "" if n == n_folds else f"{n} of "
        return f"the mean probability of the networks of {of_all}{n_folds} folds"

    @property
    def marks(self) -> tuple[str, ...]:
        """SYNTHETIC and LEAKY where they are true: for the header, every caption and every figure."""
        synthetic = self.cohort.synthetic or any(run.report.synthetic for run in self.runs)
        leaky = self.split.leaky or any(run.report.leaky for run in self.runs)
        return ("SYNTHETIC",) * synthetic + ("LEAKY",) * leaky

    @property
    def unknown(self) -> dict[str, int]:
        """Number of cases whose age, sex or size is not known."""
        facts = [case.clinical for case in self.cohort.chosen]
        return {
            "age": sum(one.age_years is None for one in facts),
            "sex": sum(one.sex is None for one in facts),
            "size": sum(one.size_cm is None for one in facts),
        }

    def used_of(self, case_id: str) -> UsedInput:
        """The phase, and whose ROI, a case is used with; empty where it is no longer in the cohort."""
        case = self.cohort.by_id.get(case_id)
        return UsedInput(series="", phase="", roi="") if case is None else case.used

    def sites_of(self, group: str) -> set[str]:
        """The sites of a test set's cases."""
        by_id = self.cohort.by_id
        return {by_id[p.case_id].site_id for p in self.main.report.predictions if p.group == group}
