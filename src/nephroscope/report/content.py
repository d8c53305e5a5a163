"""What a page is made of: one frozen record, filled by the study."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
)

Epoch = Mapping[str, float]  # epoch, train_loss, validation_loss, train_accuracy, validation_accuracy, ...
SlicesOf = Callable[[str], Iterable[tuple[int, npt.NDArray[np.int16]]]]  # case_id -> (slice_index, HU (H, W))


@dataclass(frozen=True, eq=False, kw_only=True)
class RunContent:
    """One run: its evaluation, its settings, and how each fold learnt.

    Attributes:
        curves: Epochs of each fold, by fold index.
        converged: Whether each fold beat chance on its own training set, by fold index.
    """

    report: Evaluation
    train: TrainConfig
    curves: Mapping[int, Sequence[Epoch]] = field(default_factory=dict)
    converged: Mapping[int, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What series.csv says of the CT of a case: vendor, and slice spacing in mm."""

    manufacturer: str = ""
    spacing_mm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SaliencyMap:
    """Where a network looked on one slice; ``address`` is a picture as a ``data:`` address."""

    slice_index: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Saliency:
    """Maps for the case cards by case_id, how they were made, and what their sanity check found.

    Without maps, ``told`` is the reason why there are none. ``figures`` are those of `SaliencyOfRun`.
    """

    maps: Mapping[str, Sequence[SaliencyMap]]
    told: str
    check: str
    figures: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportContent:
    """Everything on the page.

    Attributes:
        title: Name of the study.
        runs: One or more; the first is told in full, all are compared.
        slice_counts: Number of slices cut of each case_id.
        slices_of: Gives the slices of a case, for the thumbnails.
        findings: Of the data, refused cases (severity ``refusal``) included.
        date: As it is to be printed.
        study: Folder of the study, for the sections that other commands fill; None where there is none.
        cohort_config, roi_config: Which series was taken; how the ROIs of two readers became one.
        environment: Versions and machine that the run was trained with, from its environment.json.
        scans: By case_id, where series.csv tells it.
        facts: By case_id, the attributes that series.csv tells for the subgroups: vendor, slice spacing.
        roi_agreement: What `nephroscope agreement` found, from its agreement.json; empty where it was not run.
        shortcuts: What the probe of facts beside the tumor found; empty where it was not run.
        saliency: None where no maps were made.
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
    study: Path | None = None
    cohort_config: CohortConfig = field(default_factory=CohortConfig)
    roi_config: RoiConfig = field(default_factory=RoiConfig)
    environment: Mapping[str, Any] = field(default_factory=dict)
    scans: Mapping[str, Scan] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    roi_agreement: Mapping[str, Any] = field(default_factory=dict)
    shortcuts: Mapping[str, Any] = field(default_factory=dict)
    saliency: Saliency | None = None

    @property
    def main(self) -> RunContent:
        """The run the page is about."""
        return self.runs[0]

    @property
    def marks(self) -> tuple[str, ...]:
        """SYNTHETIC and LEAKY where they are true; they stand in the header, every caption and every figure."""
        synthetic = self.cohort.synthetic or any(run.report.synthetic for run in self.runs)
        leaky = self.split.leaky or any(run.report.leaky for run in self.runs)
        return ("SYNTHETIC",) * synthetic + ("LEAKY",) * leaky
