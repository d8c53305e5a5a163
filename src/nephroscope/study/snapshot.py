"""A study at one moment: its settings, cohort, slices and folds, each checked to belong to the others.

Everything that is computed from a study takes a `Snapshot`: it cannot change while the work is done, and a part that
is out of date is refused when it is first used, with the file that changed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from nephroscope.base.errors import StudyError
from nephroscope.base.files import digest_of, replacing_together, save_text
from nephroscope.base.lock import writing
from nephroscope.base.text import shell_line
from nephroscope.records import (
    DEVELOPMENT,
    INTERNAL_TEST,
    OUT_OF_FOLD,
    ChoiceRule,
    ChosenCase,
    Cohort,
    CTVolume,
    EvaluationConfig,
    RoiMask,
    Split,
    SplitConfig,
)
from nephroscope.records.settings import Settings
from nephroscope.regions.consensus import FILE as DECISIONS_FILE
from nephroscope.regions.consensus import load_decisions, read_consensus_case
from nephroscope.study.artifact import changed_words, inputs_kept_in, out_of_date
from nephroscope.study.cohort_table import load_cohort
from nephroscope.study.doubles import check_patients
from nephroscope.study.drawn import redrawn
from nephroscope.study.folder import DIVISION, StudyFolder, changed_settings, open_study
from nephroscope.study.slices import SliceStore, cut_cohort, open_store
from nephroscope.study.split import FORMAT as SPLIT_FORMAT
from nephroscope.study.split import load_split, make_split, save_split
from nephroscope.study.transfer_rows import refused_series

ONE_READER = "reader-1"
ANY_INPUT = "cohort.csv, adjudication.csv, or [slices] or [roi] of study.toml"  # where none was kept by name
TABLES = "cohort.csv, series.csv, rois.csv or [cohort] in study.toml"


@dataclass(frozen=True, eq=False, kw_only=True)
class Snapshot:
    """One view of a study.

    Attributes:
        folder: Where it lies on disk.
        settings: Of study.toml.
        cohort: Of cohort.csv.
        decisions: Of adjudication.csv: case_id to the ROI that was decided on.
        refused: By case_id, the series on which `rois transfer` could not place its tumor.
        own_slices, own_split: Slices and folds to use instead of those on disk.
    """

    folder: StudyFolder
    settings: Settings
    cohort: Cohort
    decisions: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    own_slices: SliceStore | None = None
    own_split: Split | None = None

    @classmethod
    def of(
        cls, cohort: Cohort, slices: SliceStore, split: Split, evaluation: EvaluationConfig | None = None
    ) -> "Snapshot":
        """A snapshot of parts in memory, with default settings; its folder is that of the slices."""
        settings = Settings(subtypes=cohort.subtypes, positive=cohort.positive)
        if evaluation is not None:
            settings = replace(settings, evaluation=evaluation)
        folder = StudyFolder(slices.folder.parent)
        return cls(folder=folder, settings=settings, cohort=cohort, own_slices=slices, own_split=split)

    def with_split(self, split: Split) -> "Snapshot":
        """The same study with other folds, such as those of an earlier run."""
        return replace(self, own_slices=self.slices, own_split=split)

    def with_labels(self, cohort: Cohort, split: Split) -> "Snapshot":
        """The same slices under other subtypes and folds, for a control with shuffled labels."""
        return replace(self.with_split(split), cohort=cohort)

    def with_evaluation(self, config: EvaluationConfig) -> "Snapshot":
        """The same study with other settings for evaluation."""
        return replace(self, settings=replace(self.settings, evaluation=config))

    def as_on_disk(self) -> "Snapshot":
        """With the slices and folds that are on disk, even where they are out of date."""
        split, _ = load_split(self.folder.splits, self.cohort)
        return replace(self, own_slices=open_store(self.folder.slices), own_split=split)

    @cached_property
    def slices(self) -> SliceStore:
        """The slices on disk.

        Raises:
            StudyError: They were never cut, or the cohort, an ROI or a setting changed since.
        """
        if self.own_slices is not None:
            return self.own_slices
        store, remedy = open_store(self.folder.slices), shell_line("nephroscope", "slices", self.folder.root)
        if store.source != self.slices_digest:
            then = store.made_from and {**self._usual_roi, **store.made_from}
            changed = changed_words(then, {**self._usual_roi, **self.slices_made_from}, ANY_INPUT)
            raise out_of_date("slices", changed or ANY_INPUT, "the slices were cut", remedy)
        drawn_again = redrawn(self.cohort.chosen, store.drawn, not self._needs_second_reader)
        if drawn_again:
            others = f" and of {len(drawn_again) - 1} more" if len(drawn_again) > 1 else ""
            file = f"the ROI file of case {drawn_again[0]}{others}"
            raise out_of_date("slices", file, "the slices were cut", remedy)
        return store

    @cached_property
    def split(self) -> Split:
        """The folds on disk; made now where there are none yet.

        Raises:
            StudyError: The cohort or its slices changed since the patients were divided.
        """
        if self.own_split is not None:
            return self.own_split
        if not self.folder.splits.exists():
            with writing(self.folder.root, "split"):
                return divide_patients(self)
        split, digest = load_split(self.folder.splits, self.cohort)
        if digest != self.split_digest:
            then, now = inputs_kept_in(self.folder.splits, SPLIT_FORMAT), self.split_made_from
            changed = changed_words(then, now, "cohort.csv or the slices")
            remedy = shell_line("nephroscope", "split", self.folder.root)
            raise out_of_date("splits.json", changed, "the patients were divided", remedy)
        return split

    def has_split(self, config: SplitConfig) -> bool:
        """True when splits.json is up to date and was made with these settings."""
        if not self.folder.splits.exists():
            return False
        split, digest = load_split(self.folder.splits, self.cohort)
        return split.config == config and digest == self.split_digest

    @cached_property
    def cases_to_read(self) -> tuple[ChosenCase, ...]:
        """The cases, each under the rule of the study or the decision about it."""
        rule = self.settings.roi.consensus
        return tuple(
            replace(
                case.under(self.decisions.get(case.case_id, rule)),
                not_placed=self.refused.get(case.case_id, ()),
            )
            for case in self.cohort.chosen
        )

    def read_case(self, case: ChosenCase) -> tuple[CTVolume, RoiMask]:
        """The CT of a case, and the one ROI that the rule of the study, or a decision, makes of its annotators'."""
        return read_consensus_case(case, self.decisions.get(case.case_id, self.settings.roi.consensus))

    @cached_property
    def labels(self) -> Mapping[str, int]:
        """Index of the subtype of every labelled case."""
        subtypes = self.cohort.subtypes
        return {c.case_id: subtypes.index(c.subtype) for c in self.cohort.cases if c.subtype is not None}

    @property
    def positive(self) -> int:
        """Index of the positive subtype."""
        return self.cohort.subtypes.index(self.cohort.positive)

    def test_set_of(self, case_id: str, split: Split | None = None) -> str:
        """Which test set a case belongs to: out-of-fold, internal-test or external-test:NAME."""
        marked = self.cohort.by_id[case_id].cohort
        if marked != DEVELOPMENT:
            return marked
        return INTERNAL_TEST if case_id in (split or self.split).holdout else OUT_OF_FOLD

    @property
    def slices_made_from(self) -> dict[str, str]:
        """Digest of each file that the slices depend on, by its name."""
        made_from = {
            TABLES: self.cohort.image_digest,
            "[slices] in study.toml": self.settings.slices.digest,
        }
        if self._needs_second_reader:
            made_from |= {
                "[roi] in study.toml": self.settings.roi.consensus,
                "reader-2 in rois.csv": self.cohort.digest_of("roi_reader2"),
                "adjudication.csv": digest_of(self.decisions),
            }
        if phases := self.settings.slices.phases:
            made_from["further phases in series.csv"] = self.cohort.phases_digest(phases)
            if self.refused:
                made_from["rois/transfers.json"] = digest_of(self.refused)
        return made_from

    @property
    def slices_digest(self) -> str:
        """Digest of everything the slices depend on."""
        return digest_of(list(self.slices_made_from.values()))

    @property
    def _usual_roi(self) -> dict[str, str]:
        """The inputs that `slices_made_from` leaves out while one annotator's ROIs are used."""
        return {
            "[roi] in study.toml": ONE_READER,
            "reader-2 in rois.csv": self.cohort.digest_of("roi_reader2"),
            "adjudication.csv": digest_of({}),
        }

    @property
    def _needs_second_reader(self) -> bool:
        return self.settings.roi.consensus != ONE_READER or bool(self.decisions)

    @property
    def split_made_from(self) -> dict[str, str]:
        """Digest of what the division into folds depends on, by its name."""
        return {"cohort.csv": self.cohort.label_digest, "the slices": self.slices.digest}

    @property
    def split_digest(self) -> str:
        """Digest of everything the division into folds depends on."""
        return digest_of(list(self.split_made_from.values()))

    @cached_property
    def files_digest(self) -> str:
        """Digest of what the slices show, and of which image files are there."""
        return digest_of_files(self.cohort, self.slices)

    @cached_property
    def digest(self) -> str:
        """Digest of what a learner may look at: the cohort, the slices and the image files."""
        return digest_of([self.cohort.digest, self.files_digest])


def digest_of_files(cohort: Cohort, slices: SliceStore) -> str:
    """Digest of the slices, and of the image files that are missing now."""
    missing = []
    for case in cohort.chosen:
        files = {"image": case.image, "roi": case.roi.path if case.roi else None, "organs": case.ct.organs}
        missing += [[case.case_id, kind] for kind, path in files.items() if path and not path.exists()]
    return digest_of([slices.digest, missing])


def take_snapshot(root: Path) -> Snapshot:
    """The study in a folder, as it is now.

    Raises:
        StudyError: There is no study, or no cohort in it.
        ConfigError: A setting of study.toml is not allowed.
        CohortError: A cell of cohort.csv or adjudication.csv is wrong.
    """
    folder, settings = open_study(root.resolve())
    if not folder.cohort_csv.exists():
        raise StudyError(
            where="study", expected="a cohort", found="no cohort.csv", remedy="run `nephroscope import` first"
        )
    cohort = load_cohort(folder.root, settings.subtypes, settings.positive, ChoiceRule.of(settings))
    decisions = load_decisions(folder.root / DECISIONS_FILE, cohort.by_id)
    refused = refused_series(folder.root)
    return Snapshot(folder=folder, settings=settings, cohort=cohort, decisions=decisions, refused=refused)


def cut_slices(snapshot: Snapshot) -> SliceStore:
    """Cut all cases of a study, refusing bad ones by name; an interrupted cut goes on where it stopped."""
    return cut_cohort(
        snapshot.cases_to_read,
        snapshot.read_case,
        snapshot.settings.slices,
        snapshot.folder.slices,
        snapshot.slices_digest,
        snapshot.slices_made_from,
    )


def new_division(snapshot: Snapshot, config: SplitConfig | None) -> Split | None:
    """What these settings make of the patients, where the study is not divided so already; nothing is written.

    Raises:
        CohortError: As `divide_patients`.
    """
    return None if config is None or snapshot.has_split(config) else _divided(snapshot, config)


def _divided(snapshot: Snapshot, config: SplitConfig) -> Split:
    """A division of the patients; nothing is written.

    Raises:
        CohortError: As `divide_patients`.
    """
    findings = check_patients(snapshot.cohort, snapshot.slices)
    split = make_split(snapshot.cohort, snapshot.slices.indices_by_case(), config)
    return replace(split, findings=findings)


def divide_patients(snapshot: Snapshot, config: SplitConfig | None = None) -> Split:
    """Divide the patients and write splits.json; settings other than those of study.toml are written there with it.

    Raises:
        CohortError: The patients cannot be divided so, or one tumor is in the study under two patients with different
            subtypes; nothing is written then.
    """
    split = _divided(snapshot, config or snapshot.settings.split)
    keep_division(snapshot, split)
    return split


def keep_division(snapshot: Snapshot, split: Split) -> None:
    """Write a division to splits.json, and its settings to study.toml where they are others there."""
    folder, config = snapshot.folder, split.config
    kept = (snapshot.split_digest, snapshot.split_made_from)
    if config == snapshot.settings.split:
        save_split(split, folder.splits, *kept)
        return
    text, _, seen = changed_settings(folder, "split", asdict(config))
    with replacing_together(folder.root, DIVISION, [seen]) as new:
        save_split(split, new / folder.splits.name, *kept)
        save_text(new / folder.toml.name, text)
