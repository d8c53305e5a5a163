"""The one interface of everything that learns: fit on cases, then probabilities for cases.

A new learner is one file in `learning/learners` that holds a `LEARNER`; commands, folds, parallel work, the control
with shuffled labels and the report then know it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nephroscope.records import ChosenCase, Cohort, CTVolume, RoiMask
from nephroscope.study.slices import SliceStore
from nephroscope.study.snapshot import digest_of_files

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
CaseReader = Callable[[ChosenCase], tuple[CTVolume, RoiMask]]


@dataclass(frozen=True, eq=False, kw_only=True)
class StudyData:
    """What a learner may look at. Subtypes are taken away: labels reach it through `Learner.fit` alone.

    Attributes:
        cohort: Cases whose ``subtype`` is None.
        store: Their slices in HU.
        read: CT and ROI of a case, for what needs the volume.
        cache: Folder for features that cost time; their key must hold the digest of what they are made from.
    """

    cohort: Cohort
    store: SliceStore
    read: CaseReader
    cache: Path

    @classmethod
    def of(cls, cohort: Cohort, store: SliceStore, read: CaseReader, cache: Path) -> "StudyData":
        """The data of a study without its subtypes."""
        blind = tuple(replace(case, subtype=None, subtype_reader2=None) for case in cohort.cases)
        return cls(cohort=replace(cohort, cases=blind), store=store, read=read, cache=cache)

    @cached_property
    def seen(self) -> str:
        """Digest of the slices and image files, for the key of a cache."""
        return digest_of_files(self.cohort, self.store)


class Fitted(Protocol):
    """A learner that has seen its training cases."""

    def probabilities(self, case_ids: Sequence[str]) -> Floats:
        """Probabilities (n, K) of the subtypes in the cohort's order; every row sums to one."""
        ...


class Learner(Protocol):
    """A baseline or a network.

    Attributes:
        name: Short and stable: column of tables, option of commands.
        description: A sentence for the report's methods.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def description(self) -> str: ...  # noqa: D102

    def missing(self, data: StudyData) -> str:
        """Why it cannot be used on this study ("no sex, age or size in cohort.csv"); empty when it can."""
        ...

    def fit(self, data: StudyData, case_ids: Sequence[str], labels: Ints, seed: int) -> Fitted:
        """Learn from these cases alone; whatever is chosen (features, penalty) is chosen inside them, by patient.

        Args:
            data: The study, without labels.
            case_ids: Training cases.
            labels: Index of each one's subtype, (n,).
            seed: Of whatever chance it needs.
        """
        ...


def remarks_of(learner: Learner, data: StudyData) -> tuple[str, ...]:
    """Sentences for the page about a learner on this study: clipped HU, gaps, members of a stack.

    They come from a third method, ``remarks(data)``, which a learner may have.
    """
    remarks = getattr(learner, "remarks", None)
    return tuple(remarks(data)) if remarks is not None else ()
