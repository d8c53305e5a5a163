"""The one interface of everything that is compared: fit on cases, then probabilities for cases."""

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


@dataclass(frozen=True, eq=False, kw_only=True)
class StudyData:
    """What a candidate may look at. Subtypes are taken away: labels reach it through `Candidate.fit` alone.

    Attributes:
        cohort: Cases whose ``subtype`` is None.
        store: Their slices in HU.
        read: CT and ROI of a case, for what needs the volume.
        cache: Folder for features that cost time; their key must hold the digest of what they are made from.
    """

    cohort: Cohort
    store: SliceStore
    read: Callable[[ChosenCase], tuple[CTVolume, RoiMask]]
    cache: Path

    @classmethod
    def of(
        cls,
        cohort: Cohort,
        store: SliceStore,
        read: Callable[[ChosenCase], tuple[CTVolume, RoiMask]],
        cache: Path,
    ) -> "StudyData":
        """The data of a study without its subtypes."""
        blind = tuple(replace(case, subtype=None, subtype_reader2=None) for case in cohort.cases)
        return cls(cohort=replace(cohort, cases=blind), store=store, read=read, cache=cache)

    @cached_property
    def seen(self) -> str:
        """Digest of what there is to be seen, for the key of a cache."""
        return digest_of_files(self.cohort, self.store)


class Fitted(Protocol):
    """A candidate that has seen its training cases."""

    def probabilities(self, case_ids: Sequence[str]) -> Floats:
        """Probabilities (n, K) of the subtypes in the cohort's order; every row sums to one."""
        ...


class Candidate(Protocol):
    """What can be compared.

    Attributes:
        name: Short and stable: column of tables, option of commands.
        told: What it is, in a sentence for the report's methods.
    """

    name: str
    told: str

    def missing(self, data: StudyData) -> str:
        """Why it cannot be computed on this study ("no sex, age or size in cohort.csv"); empty when it can."""
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


def remarks_of(candidate: Candidate, data: StudyData) -> tuple[str, ...]:
    """What a reader must know of a candidate on this study: clipped HU, gaps, members; none where it tells nothing.

    A candidate may have a third verb for this, ``remarks(data)``, with sentences for the page.
    """
    remarks = getattr(candidate, "remarks", None)
    return tuple(remarks(data)) if remarks is not None else ()
