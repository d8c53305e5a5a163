"""A tumor with its CT series and ROIs, and the rule that chooses which of them a question uses."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from nephroscope.base.errors import CohortError
from nephroscope.records.origin import BY_MODEL, RoiOrigin
from nephroscope.records.settings import AUTHOR, COMBINED, PHASES, READERS, TRANSFERRED, Settings

Sex = Literal["M", "F", "O"]
ImageFormat = Literal["dicom", "nifti", "images"]
RoiState = Literal["drawn", "proposed", "accepted", "corrected"]
DEVELOPMENT, INTERNAL_TEST, EXTERNAL_TEST = "development", "internal-test", "external-test:"
OUT_OF_FOLD = "out-of-fold"  # test set of development cases, each answered by the fold that did not see it
OLDEST_YEARS, LARGEST_CM = 120, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicalFacts:
    """What the clinical table says of a tumor and its patient; None where it is not known.

    Attributes:
        sex: DICOM Patient's Sex (0010,0040): M, F, O.
        age_years: Age at imaging.
        size_cm: Largest diameter.
        side: Side of the patient on which the tumor is.
    """

    sex: Sex | None = None
    age_years: float | None = None
    size_cm: float | None = None
    side: Literal["left", "right"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRef:
    """One CT series on which a tumor is seen.

    Attributes:
        name: Unique in its case, such as ``nephrographic``; ROIs name it.
        image: Folder of a DICOM series, a NIfTI file, or the ``images.csv`` that lists slice images.
        phase: Contrast phase, one of `PHASES` where it is known.
        source: Where HU come from: ``HU``, or ``8-bit L40 W400`` for gray images seen through a window.
        series_uid: SeriesInstanceUID (0020,000E); empty where the import did not read one.
        organs: Label map, SEG or folder of masks of kidneys and vessels on this series, where there is one.
    """

    name: str
    image: Path
    format: ImageFormat
    phase: str = "unknown"
    source: str = "HU"
    series_uid: str = ""
    organs: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiRef:
    """A tumor as one author drew it on one series.

    Attributes:
        author: ``reader-1``, ``reader-2`` ..., ``consensus``, ``model:NAME@VERSION``, or ``transferred:`` and the
            author whose ROI on another series was placed on this one.
        path: DICOM SEG or RTSTRUCT, label map, or the folder of masks of slice images.
        series: Name of the series it was drawn on.
        label: Value of the tumor in a label map, or number of its segment.
        name: Label or code of the tumor's segment or contour; empty where the file itself says which it is.
        accepted: True where a person looked at what a model drew and accepted it as it is.
        accepted_by: The annotator who did; empty where that was not said.
        made_from: Of an annotator's ROI that began with what a model proposed, that model.

    Raises:
        CohortError: The author is none of these.
    """

    author: str
    path: Path
    series: str
    label: int = 1
    name: str = ""
    accepted: bool = False
    accepted_by: str = ""
    made_from: str = ""

    @property
    def by_model(self) -> bool:
        """True where it is as a model drew it, whether or not a person accepted it."""
        return self.author.startswith(BY_MODEL)

    @property
    def state(self) -> RoiState:
        """``drawn`` by a person; ``proposed`` by a model, and then ``accepted`` or ``corrected`` by a person."""
        if not self.by_model and not self.made_from:
            return "drawn"
        return "accepted" if self.accepted else "proposed" if self.by_model else "corrected"

    @property
    def origin(self) -> RoiOrigin:
        """Who drew it, as rois.csv says."""
        drawn_by = self.made_from or self.author
        by = self.accepted_by if self.by_model else self.author if self.made_from else ""
        return RoiOrigin(author=drawn_by, state=self.state, by=by, evidence="rois.csv")

    @property
    def words(self) -> str:
        """Author and state: ``model:NAME@VERSION (proposed)``, ``reader-1 (corrected model:NAME@VERSION)``."""
        if self.state == "drawn":
            return self.author
        if self.by_model:
            return f"{self.author} ({self.state}{f' by {self.accepted_by}' if self.accepted_by else ''})"
        what = f"{self.made_from} as proposed" if self.accepted else f"corrected {self.made_from}"
        return f"{self.author} ({what})"

    def __post_init__(self) -> None:
        if not AUTHOR.fullmatch(self.author):
            raise CohortError(
                where="ROI, author",
                expected="reader-1, reader-2, consensus, model:NAME@VERSION or transferred:AUTHOR",
                found=repr(self.author),
                remedy="correct it in rois.csv",
            )

    @property
    def is_transferred(self) -> bool:
        """True where nobody drew it on its series: it was drawn on another one and placed by registration."""
        return self.author.startswith(TRANSFERRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceRule:
    """Which series of a case a question uses, and which of the ROIs drawn on it.

    Attributes:
        phases: Contrast phases, the preferred first; a phase that is not named comes after all that are.
        roi: An author, or how reader-1 and reader-2 become one: union, intersection or staple.
        use_proposed: Whether ROIs that a model proposed and nobody accepted may be used.
    """

    phases: tuple[str, ...] = PHASES
    roi: str = READERS[0]
    use_proposed: bool = False

    @classmethod
    def of(cls, settings: Settings) -> "ChoiceRule":
        """The rule that study.toml gives, in ``[cohort]`` and ``[roi]``."""
        roi = settings.roi
        return cls(phases=settings.cohort.phase_preference, roi=roi.consensus, use_proposed=roi.use_proposed)

    def takes(self, roi: RoiRef) -> bool:
        """False for a transferred ROI, and for one that a model proposed where the study does not use such."""
        return not roi.is_transferred and (self.use_proposed or roi.state != "proposed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One tumor. A patient may have two: ``patient_id`` groups them.

    Attributes:
        case_id: Pseudonym of the tumor, unique in the cohort.
        patient_id: Pseudonym of the patient; patients, not cases, are split, counted and resampled.
        subtype: Pathology label, one of the study's subtypes; None when not known (prediction only).
        subtype_reader2: The second pathology reading, where there is one; never used as a label.
        series: CT series of the tumor, at least one.
        rois: ROIs of the tumor, at most one of an author on each series. Slice images may do without: each image is
            then the region.
        cohort: ``development``, ``internal-test`` or ``external-test:NAME``.
        synthetic: True for phantoms; every table and page then says so.

    Raises:
        CohortError: There is no series, two have one name, an ROI names a series that is not there, or an author has
            two ROIs on one series.
    """

    case_id: str
    patient_id: str
    subtype: str | None = None
    subtype_reader2: str | None = None
    clinical: ClinicalFacts = field(default_factory=ClinicalFacts)
    series: tuple[SeriesRef, ...]
    rois: tuple[RoiRef, ...] = ()
    site_id: str = "site-1"
    cohort: str = DEVELOPMENT
    synthetic: bool = False

    def __post_init__(self) -> None:
        names = [one.name for one in self.series]
        if not names or len(set(names)) < len(names) or "" in names:
            raise self._refusal(
                "at least one series, each with its own name",
                f"the names {', '.join(map(repr, names))}" if names else "no series",
                "series.csv",
            )
        drawn = [(roi.author, roi.series) for roi in self.rois]
        for author, series in drawn:
            if series not in names:
                found = f"the ROI of {author} on {series!r}"
                raise self._refusal(f"ROIs on its series ({', '.join(names)})", found, "rois.csv")
            if drawn.count((author, series)) > 1:
                raise self._refusal(
                    "one ROI per author on a series", f"two of {author} on {series}", "rois.csv"
                )

    def _refusal(self, expected: str, found: str, table: str) -> CohortError:
        where, remedy = f"case {self.case_id}", f"correct the rows of this case in {table}"
        return CohortError(where=where, expected=expected, found=found, remedy=remedy)

    def chosen(self, rule: ChoiceRule) -> "ChosenCase":
        """The case with the series that a rule chooses.

        This is the first phase on which a wanted ROI was drawn: by the named author; or, where the rule is about
        readers, by both or the one it names, else by the other, else by anybody. Where there is no such ROI it is the
        first phase. Of two series of one phase, the first in series.csv is taken. Transferred ROIs do not count.
        """
        rank = {phase: place for place, phase in enumerate(rule.phases)}
        ordered = sorted(self.series, key=lambda one: rank.get(one.phase, len(rank)))
        usable = [roi for roi in self.rois if rule.takes(roi)]
        authors = {one.name: {roi.author for roi in usable if roi.series == one.name} for one in ordered}
        for wanted in _wanted(rule.roi):
            for one in ordered:
                if wanted <= authors[one.name] and authors[one.name]:
                    return self._on(one, rule)
        return self._on(ordered[0], rule)

    def on(self, series: str, rule: ChoiceRule) -> "ChosenCase":
        """The case with one of its series, whichever the rule would choose."""
        return self._on(next(one for one in self.series if one.name == series), rule)

    def _on(self, ct: SeriesRef, rule: ChoiceRule) -> "ChosenCase":
        return ChosenCase(ct=ct, rule=rule, **{f.name: getattr(self, f.name) for f in fields(Case)})


def _wanted(rule: str) -> list[set[str]]:
    """Sets of authors, the most wanted first, of which a series must have all; the empty set is anybody."""
    one, two = READERS
    if rule in COMBINED:
        return [{one, two}, {one}, {two}, set()]
    return [{one}, {two}, set()] if rule == one else [{two}, {one}, set()] if rule == two else [{rule}]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedInput:
    """What a step used of a case.

    Attributes:
        series: Name of the series.
        phase: Its contrast phase.
        roi: Whose ROI: ``reader-1``, ``union of reader-1 and reader-2``, ``model:NAME@VERSION (proposed)``; empty
            where there is none.
    """

    series: str
    phase: str
    roi: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenCase(Case):
    """A case with the one series that a question uses. `Case.chosen` makes it.

    Attributes:
        ct: The series.
        rule: By which it was chosen.
        not_placed: Names of series on which its tumor could not be placed, and is to be drawn.
    """

    ct: SeriesRef
    rule: ChoiceRule
    not_placed: tuple[str, ...] = ()

    @property
    def image(self) -> Path:
        """Of the chosen series."""
        return self.ct.image

    @property
    def format(self) -> ImageFormat:
        """Of the chosen series."""
        return self.ct.format

    @property
    def phase(self) -> str:
        """Of the chosen series."""
        return self.ct.phase

    @property
    def source(self) -> str:
        """Where the HU of the chosen series come from."""
        return self.ct.source

    def roi_by(self, author: str) -> RoiRef | None:
        """What an author drew on the chosen series, whether or not the rule takes it."""
        return next((r for r in self.rois if (r.author, r.series) == (author, self.ct.name)), None)

    @property
    def both_readers(self) -> tuple[RoiRef, RoiRef] | None:
        """What reader-1 and reader-2 drew on the chosen series, where both did."""
        one, two = map(self.roi_by, READERS)
        return (one, two) if one and two else None

    def authors(self) -> tuple[str, ...]:
        """Whose ROIs the case's rule takes.

        Where it is about readers, a case that one of them drew keeps that ROI, and one that neither drew the
        first that is there.
        """
        drawn = [roi.author for roi in self.rois if roi.series == self.ct.name and self.rule.takes(roi)]
        for wanted in _wanted(self.rule.roi):
            if wanted <= set(drawn):
                return tuple(sorted(wanted)) or tuple(drawn[:1])
        return ()

    @property
    def combined(self) -> bool:
        """True where one ROI is made of two; of slice images the first reader's is taken."""
        return len(self.authors()) > 1 and self.format != "images"

    @property
    def only_proposed(self) -> tuple[RoiRef, ...]:
        """What models proposed on the chosen series, where the rule takes no ROI and does not use such."""
        found = [roi for roi in self.rois if roi.series == self.ct.name and not self.rule.takes(roi)]
        return () if self.authors() else tuple(found)

    def under(self, roi_rule: str) -> "ChosenCase":
        """The case on the same series under another rule for its ROIs, such as a decision about it."""
        return replace(self, rule=replace(self.rule, roi=roi_rule))

    @property
    def phases(self) -> dict[str, str]:
        """Its phases, each ``drawn``, ``transferred``, ``to be drawn`` (a transfer was refused) or ``not drawn``."""
        found: dict[str, str] = {}
        for one in self.series:
            here = [roi for roi in self.rois if roi.series == one.name]
            drawn = any(not roi.is_transferred for roi in here)
            refused = "to be drawn" if one.name in self.not_placed else "not drawn"
            found.setdefault(one.phase, "drawn" if drawn else "transferred" if here else refused)
        return found

    @property
    def used(self) -> UsedInput:
        """What a step that reads the case uses of it."""
        authors = " and ".join(self.authors())
        roi = f"{self.rule.roi} of {authors}" if len(self.authors()) > 1 else authors
        if self.roi is not None and len(self.authors()) == 1:
            roi = self.roi.words
        return UsedInput(series=self.ct.name, phase=self.phase, roi=roi)

    @property
    def roi(self) -> RoiRef | None:
        """The ROI that the rule takes; of two, the first reader's."""
        return next(map(self.roi_by, self.authors()), None)


def series_name(phase: str, taken: Sequence[str] = ()) -> str:
    """A name for a new series: its phase (``ct`` where it is not known), with a number when that is taken."""
    base, number = "ct" if phase in ("", "unknown") else re.sub(r"\W+", "-", phase), 2
    name = base
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name


def parse_cohort_word(text: str) -> str:
    """``development`` (also when empty), ``internal-test`` or ``external-test:NAME``.

    Raises:
        ValueError: It is none of them.
    """
    word = text or DEVELOPMENT
    named = word.startswith(EXTERNAL_TEST) and word != EXTERNAL_TEST
    if word not in (DEVELOPMENT, INTERNAL_TEST) and not named:
        raise ValueError(text)
    return word
