"""Who is in the study: findings, exclusions, the cohort, and how it is divided."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Literal

from nephroscope.base.errors import CohortError
from nephroscope.base.files import digest_of
from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.text import counted_noun
from nephroscope.records.cases import Case, ChoiceRule, ChosenCase, ClinicalFacts, SeriesRef
from nephroscope.records.settings import COMBINED, READERS, Protocol, SplitConfig

Severity = Literal["note", "warning", "refusal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a reader must know about a case; it travels to the report and the screen.

    Attributes:
        code: Stable name, such as ``spacing-unknown``.
        severity: ``note`` (worth knowing), ``warning`` (doubt), ``refusal`` (the case was left out).
        where: Series UID, slice or file the finding is about; empty when it is the whole case.
    """

    code: str
    severity: Severity
    message: str
    case_id: str
    where: str = ""


def note(code: str, message: str, where: str = "", case_id: str = "") -> Finding:
    """A finding worth knowing."""
    return Finding(code=code, severity="note", message=message, case_id=case_id, where=where)


def warning(code: str, message: str, where: str = "", case_id: str = "") -> Finding:
    """A finding that makes a case doubtful."""
    return Finding(code=code, severity="warning", message=message, case_id=case_id, where=where)


class Findings(tuple[Finding, ...], ShownAsTable):
    """Findings, in the order in which they were made."""

    __slots__ = ()

    def records(self) -> list[Record]:
        """A row per finding: code, severity, message, case_id, where."""
        return [asdict(finding) for finding in self]


WANTED = ("excluded", "not-drawn")  # codes of cases that are left out by decision, or so far: no mistake


class Reason(str):
    """Why a case is left out, in words, with its kind.

    by-hand, another-subtype, subtype-unclear, no-ct, no-usable-ct, no-label, no-roi, whose-roi, contradicting or
    slice-order.
    """

    kind: str

    def __new__(cls, text: str, kind: str = "") -> "Reason":
        """The text with its kind."""
        made = super().__new__(cls, text)
        made.kind = kind
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A case that was seen and left out, and why; the flow diagram counts it under its ``kind``.

    Attributes:
        hint: What may be meant, such as ``did you mean 007?``.
        source: The import that left it out, as a digest of its kind and folder; repeated, it replaces its exclusions.
        kind: That of its `Reason`; empty for a reason of no kind.
    """

    case_id: str
    reason: str
    subtype: str = ""
    hint: str = ""
    source: str = ""
    kind: str = ""

    def __post_init__(self) -> None:
        if not self.kind and isinstance(self.reason, Reason):
            object.__setattr__(self, "kind", self.reason.kind)


@dataclass(frozen=True, kw_only=True)
class Cohort(ShownAsTable):
    """Who is in the study: subtypes in output order, the positive one, cases and exclusions.

    Attributes:
        rule: Which series and ROI of a case questions use.
        folder: The study's; digests see paths relative to it, so that a moved study is the same study.

    Raises:
        CohortError: A case_id appears twice, a subtype is not the study's, or a patient has two sexes.
    """

    subtypes: tuple[str, ...]
    positive: str
    cases: tuple[Case, ...]
    exclusions: tuple[Exclusion, ...] = ()
    rule: ChoiceRule = field(default_factory=ChoiceRule)
    folder: Path = field(default=Path(), compare=False)

    def __post_init__(self) -> None:
        twice = [name for name, n in Counter(c.case_id for c in self.cases).items() if n > 1]
        if twice:
            raise CohortError(
                where=f"cohort, case {twice[0]}",
                expected="every case_id once",
                found=f"it {sum(c.case_id == twice[0] for c in self.cases)} times",
                remedy="give each tumor its own case_id (patient_id groups the tumors of a patient)",
            )
        sexes: dict[str, str] = {}
        for case in self.cases:
            if case.subtype is not None and case.subtype not in self.subtypes:
                raise CohortError(
                    where=f"case {case.case_id}",
                    expected=f"a subtype of the study ({', '.join(self.subtypes)})",
                    found=repr(case.subtype),
                    remedy="correct the label, or add the subtype to study.toml",
                )
            sex = case.clinical.sex
            if sex and sexes.setdefault(case.patient_id, sex) != sex:
                raise CohortError(
                    where=f"patient {case.patient_id}",
                    expected="one sex for all tumors of a patient",
                    found=f"{sexes[case.patient_id]} and {sex}",
                    remedy="correct the sex, or the patient_id if these are two patients",
                )

    @cached_property
    def chosen(self) -> tuple[ChosenCase, ...]:
        """The cases in their order, each with the series that the rule chooses."""
        return tuple(case.chosen(self.rule) for case in self.cases)

    @cached_property
    def by_id(self) -> dict[str, ChosenCase]:
        """The chosen cases by case_id."""
        return {case.case_id: case for case in self.chosen}

    def records(self) -> list[Record]:
        """A row per case: cohort.csv, the chosen series, and the authors of the ROIs that are used; paths as text."""
        return [
            {
                **{
                    f.name: getattr(case, f.name)
                    for f in fields(Case)
                    if f.name not in ("clinical", "series", "rois")
                },
                **asdict(case.clinical),
                "series": case.ct.name,
                "phase": case.phase,
                "format": case.format,
                "image": str(case.image),
                "source": case.source,
                "roi_author": " ".join(case.authors()),
                "roi": str(case.roi.path) if case.roi else None,
            }
            for case in self.chosen
        ]

    def summary(self) -> str:
        """Number of cases and patients, and of cases per subtype."""
        counts = Counter(case.subtype or "without a subtype" for case in self.cases)
        patients = counted_noun(len({case.patient_id for case in self.cases}), "patient")
        text = f"{counted_noun(len(self.cases), 'case')} of {patients}"
        by_subtype = ", ".join(f"{n} {name}" for name, n in counts.items())
        return f"{text}: {by_subtype or 'none'}{' | SYNTHETIC' if self.synthetic else ''}"

    @property
    def synthetic(self) -> bool:
        """True when any case is a phantom."""
        return any(case.synthetic for case in self.cases)

    @property
    def digest(self) -> str:
        """Digest of everything in the three tables but exclusions."""
        more = [_more_than_two_readers(case, self.folder) for case in self.chosen]
        return self.digest_of(*FORMAT_1, more=[cells for cells in more if cells])

    @property
    def image_digest(self) -> str:
        """Digest of what slices are cut from: the chosen series, and the ROI of reader-1 or of the author named."""
        return self.digest_of("case_id", "format", "image", "roi", "tumor_label", "tumor_name", "source")

    @property
    def label_digest(self) -> str:
        """Digest of what patients are divided by and networks learn."""
        return self.digest_of("case_id", "patient_id", "subtype", "cohort")

    def phases_digest(self, phases: Sequence[str]) -> str:
        """Digest of the series of these phases, whether chosen or not, and of what is drawn on them otherwise."""
        listed = [(case.case_id, one) for case in self.cases for one in case.series if one.phase in phases]
        series = [
            [name, one.phase, one.format, _plain(one.image, self.folder), one.source] for name, one in listed
        ]
        drawn = [
            [case.case_id, roi.author, roi.series, _plain(roi.path, self.folder), roi.label, roi.name]
            for case in self.chosen
            for roi in case.rois
            if roi.series != case.ct.name
        ]
        return digest_of([series, drawn] if drawn else series)

    def digest_of(self, *names: str, more: Sequence[object] = ()) -> str:
        """Digest of the subtypes and of some facts of all cases, as the chosen series and its ROIs give them.

        Args:
            names: Of the facts, in the words of `FORMAT_1`.
            more: Anything else; nothing gives the digest that nephroscope gave when a case had one series.
        """
        rows = []
        for case in self.chosen:
            facts = _format_1(case)
            rows.append([_plain(facts[name], self.folder) for name in names])
        content: list[object] = [self.subtypes, self.positive, names, rows]
        return digest_of([*content, more] if more else content)


# The columns of a case when it was one series with the ROIs of one or two readers. Digests keep to them, in this
# order, so that a study of that time is not out of date.
FORMAT_1 = (
    *("case_id", "patient_id", "image", "format", "roi", "roi_reader2", "tumor_label", "tumor_name"),
    *("organs", "subtype", "subtype_reader2", "sex", "age_years", "size_cm", "phase", "site_id", "cohort"),
    *("source", "synthetic"),
)


FORMAT_2 = ("author", "path", "series", "label", "name")  # of an ROI; one that was accepted says so too


def _format_1(case: ChosenCase) -> dict[str, object]:
    """The facts of `FORMAT_1` of a case; the ROI is that of reader-1, or of another author whom the rule takes."""
    one, two = READERS
    named = one if case.rule.roi in (*COMBINED, two) else case.rule.roi
    first, second = case.roi_by(named), case.roi_by(two)
    if first is None and case.roi is not None and case.roi.author not in READERS:
        first = case.roi
    if first is not None and not case.rule.takes(first):
        first = None
    tumor = first or second
    label, name = (tumor.label, tumor.name) if tumor else (1, "")
    second_cell: object = second.path if second else None
    if second and (second.label, second.name) != (label, name):
        second_cell = [second.path, second.label, second.name]
    return {
        **{key: getattr(case, key) for key in FORMAT_1 if hasattr(case, key)},
        **{f.name: getattr(case.clinical, f.name) for f in fields(ClinicalFacts)},
        "roi": first.path if first else None,
        "roi_reader2": second_cell,
        "tumor_label": label,
        "tumor_name": name,
        "organs": case.ct.organs,
    }


def _more_than_two_readers(case: ChosenCase, folder: Path) -> list[list[str]]:
    """All series and ROIs of a case, where it has more than one series with the ROIs of reader-1 and reader-2."""
    if len(case.series) == 1 and {roi.author for roi in case.rois} <= {*READERS}:
        return []
    series = [[getattr(one, f.name) for f in fields(SeriesRef)] for one in case.series]
    rois = [[getattr(roi, name) for name in FORMAT_2] + ["accepted"] * roi.accepted for roi in case.rois]
    return [[_plain(value, folder) for value in values] for values in (*series, *rois)]


def _plain(value: object, folder: Path) -> str:
    if isinstance(value, Path) and value.is_relative_to(folder):
        return value.relative_to(folder).as_posix()
    if isinstance(value, list):
        return " ".join(_plain(part, folder) for part in value)
    return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One division of names into training, validation and test.

    Names are case_ids; under the image protocol ``case_id#slice_index``.

    Raises:
        CohortError: A name stands in two parts.
    """

    index: int
    train: frozenset[str]
    validation: frozenset[str]
    test: frozenset[str]

    def __post_init__(self) -> None:
        for one, two in (("train", "validation"), ("train", "test"), ("validation", "test")):
            both = getattr(self, one) & getattr(self, two)
            if both:
                raise CohortError(
                    where=f"fold {self.index}",
                    expected=f"no name in both {one} and {two}",
                    found=f"{min(both)!r} in both",
                    remedy="run `nephroscope split` again instead of editing splits.json",
                )


@dataclass(frozen=True, kw_only=True)
class Split(ShownAsTable):
    """All folds of a study, proven free of patient overlap unless the protocol is ``image``.

    Attributes:
        patient_of: patient_id of every case_id named; the proof needs it.
        holdout: case_ids that no fold trains on: internal and external test. With one fold, its test.
        findings: What makes it doubtful that patients are on one side only.

    Raises:
        CohortError: A patient stands on two sides of a fold, or a name is not in the cohort.
    """

    protocol: Protocol
    folds: tuple[Fold, ...]
    patient_of: Mapping[str, str]
    holdout: frozenset[str] = frozenset()
    config: SplitConfig = field(default_factory=SplitConfig)
    findings: tuple[Finding, ...] = ()

    def records(self) -> list[Record]:
        """A row per fold: index, and cases (images under the image protocol) of each part."""
        sizes = ("train", "validation", "test")
        rows: list[Record] = []
        for fold in self.folds:
            rows.append({"index": fold.index, **{part: len(getattr(fold, part)) for part in sizes}})
        return rows

    def summary(self) -> str:
        """By what it divides, and how many are held out."""
        unit = "LEAKY: image" if self.leaky else "case"
        return f"divided by {unit}; held out: {len(self.holdout)}"

    def __post_init__(self) -> None:
        if self.protocol == "image":
            return
        for fold in self.folds:
            parts = {
                "train": self._patients(fold.train),
                "validation": self._patients(fold.validation),
                "test": self._patients(fold.test),
            }
            if len(self.folds) > 1:
                parts["hold-out"] = self._patients(self.holdout)
            for one, two in [("train", p) for p in parts if p != "train"] + [
                ("validation", p) for p in parts if p not in ("train", "validation")
            ]:
                both = parts[one] & parts[two]
                if both:
                    raise CohortError(
                        where=f"splits, fold {fold.index}",
                        expected=f"no patient in both {one} and {two}",
                        found=f"patient {min(both)} in both",
                        remedy="run `nephroscope split` again",
                    )

    def _patients(self, names: frozenset[str]) -> set[str]:
        unknown = names - self.patient_of.keys()
        if unknown:
            raise CohortError(
                where="splits",
                expected="only cases of cohort.csv",
                found=f"{min(unknown)!r}",
                remedy="run `nephroscope split` again",
            )
        return {self.patient_of[name] for name in names}

    @property
    def leaky(self) -> bool:
        """True when slices of one patient stand on both sides; everything it touches says LEAKY."""
        return self.protocol == "image"
