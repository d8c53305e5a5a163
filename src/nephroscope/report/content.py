"""What a page is made of: one frozen record, filled by the study."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nephroscope.records import (
    Cohort,
    EvaluationConfig,
    EvaluationReport,
    Finding,
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

    report: EvaluationReport
    train: TrainConfig
    curves: Mapping[int, Sequence[Epoch]] = field(default_factory=dict)
    converged: Mapping[int, bool] = field(default_factory=dict)


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
