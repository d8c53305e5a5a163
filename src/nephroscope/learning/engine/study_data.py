"""A study folder as an experiment sees it: folds and labels here; data without labels for the candidates."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from nephroscope.base.errors import StudyError
from nephroscope.base.files import digest_of
from nephroscope.learning.baselines.candidate import StudyData, digest_of_seen
from nephroscope.records import DEVELOPMENT, INTERNAL_TEST, Case, Cohort, CTVolume, RoiMask, Split
from nephroscope.records.settings import Settings
from nephroscope.regions.consensus import FILE, load_decisions, read_consensus_case
from nephroscope.study.cohort_table import load_cohort
from nephroscope.study.folder import StudyFolder, open_study
from nephroscope.study.slices import SliceStore, open_store

FEATURES = "features"
OUT_OF_FOLD = "out-of-fold"


@dataclass(frozen=True, eq=False, kw_only=True)
class Material:
    """What experiments are made from: the study's folder, settings, cohort, slices and present folds."""

    folder: StudyFolder
    settings: Settings
    cohort: Cohort
    store: SliceStore
    split: Split

    @cached_property
    def digest(self) -> str:
        """Of the manifest, of what the slices show and of which files are there: what a candidate may look at."""
        return digest_of([self.cohort.digest, digest_of_seen(self.cohort, self.store)])

    @cached_property
    def data(self) -> StudyData:
        """The study without its labels, as candidates see it."""
        return data_of(str(self.folder.root), self.digest)

    @cached_property
    def labels(self) -> Mapping[str, int]:
        """Index of the subtype of every labelled case."""
        subtypes = self.cohort.subtypes
        return {c.case_id: subtypes.index(c.subtype) for c in self.cohort.cases if c.subtype is not None}

    @property
    def positive(self) -> int:
        """Index of the positive subtype."""
        return self.cohort.subtypes.index(self.cohort.positive)

    def group_of(self, case_id: str, split: Split) -> str:
        """Which test set a case belongs to under a split: out-of-fold, internal-test or external-test:NAME."""
        marked = self.cohort.by_id[case_id].cohort
        if marked != DEVELOPMENT:
            return marked
        return INTERNAL_TEST if case_id in split.holdout else OUT_OF_FOLD

    def slices_of(self) -> dict[str, list[int]]:
        """Slice indices of every case that was cut."""
        return {name: self.store.slice_index[rows].tolist() for name, rows in self.store.rows_by_case.items()}


@lru_cache(maxsize=4)
def data_of(root: str, digest: str) -> StudyData:
    """The study at a path without its labels, opened once in a process.

    Raises:
        StudyError: The folder is not to be seen from this machine, or holds another cohort or other slices.
    """
    if not (Path(root) / "study.toml").is_file():
        raise StudyError(
            where=f"machine {socket.gethostname()}",
            expected="the study folder, under the path it has where the command was given",
            found="no study.toml there",
            remedy="put the study on storage that every machine sees, or leave --ray out",
        )
    folder, settings = open_study(Path(root))
    cohort = load_cohort(folder.root, settings.subtypes, settings.positive)
    store = open_store(folder.slices)
    found = digest_of([cohort.digest, digest_of_seen(cohort, store)])
    if found != digest:
        raise StudyError(
            where=f"study on machine {socket.gethostname()}",
            expected=f"the cohort and slices the comparison began with ({digest})",
            found=f"others ({found})",
            remedy="run the command again",
        )
    path = folder.root / FILE
    decisions = load_decisions(path, cohort.by_id) if path.exists() else {}
    rule = settings.roi.consensus

    def read(case: Case) -> tuple[CTVolume, RoiMask]:
        return read_consensus_case(case, decisions.get(case.case_id, rule))

    return StudyData.of(cohort, store, read, folder.root / FEATURES)
