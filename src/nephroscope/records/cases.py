"""Who: cases, exclusions, the cohort, and how it is divided."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Literal

from nephroscope.base.errors import CohortError
from nephroscope.base.files import digest_of
from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.text import counted_noun
from nephroscope.records.settings import Protocol, SplitConfig

Sex = Literal["M", "F", "O"]
Severity = Literal["note", "warning", "refusal"]
ImageFormat = Literal["dicom", "nifti", "images"]
DEVELOPMENT, INTERNAL_TEST, EXTERNAL_TEST = "development", "internal-test", "external-test:"
OUT_OF_FOLD = "out-of-fold"  # test set of development cases, each answered by the fold that did not see it


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One tumor. A patient may have two: ``patient_id`` groups them.

    Attributes:
        case_id: Pseudonym of the tumor, unique in the cohort.
        patient_id: Pseudonym of the patient; splits, metrics and intervals go by it.
        subtype: Pathology label, one of the study's subtypes; None when not known (prediction only).
        sex: DICOM Patient's Sex (0010,0040): M, F, O; None when not known.
        age_years: Age at imaging.
        size_cm: Largest diameter in the clinical table.
        cohort: ``development``, ``internal-test`` or ``external-test:NAME``.
        image: Folder of a DICOM series, a NIfTI file, or the ``images.csv`` that lists slice images.
        roi: DICOM SEG, label map, or None when every image is itself the region (``images`` only).
        roi_reader2: The second reader's ROI, where there is one.
        tumor_label: Value of the tumor in a label map, or number of its segment.
        tumor_name: Label or code of the tumor's segment or contour; empty where the file says it itself.
        organs: Label map, SEG or folder of masks with kidneys and vessels, where there is one.
        subtype_reader2: The second pathology reading, where there is one; never used as a label.
        source: Where HU come from: ``HU``, or ``8-bit L40 W400`` for gray images behind a window.
        synthetic: True for phantoms; then the word stands in every table and page.
    """

    case_id: str
    patient_id: str
    image: Path
    format: ImageFormat
    roi: Path | None = None
    roi_reader2: Path | None = None
    tumor_label: int = 1
    tumor_name: str = ""
    organs: Path | None = None
    subtype: str | None = None
    subtype_reader2: str | None = None
    sex: Sex | None = None
    age_years: float | None = None
    size_cm: float | None = None
    phase: str = "unknown"
    site_id: str = "site-1"
    cohort: str = DEVELOPMENT
    source: str = "HU"
    synthetic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A case that was seen and left out, and why; counted in the flow diagram."""

    case_id: str
    reason: str
    subtype: str = ""


@dataclass(frozen=True, kw_only=True)
class Cohort(ShownAsTable):
    """Who is in the study: subtypes in output order, the positive one, cases and exclusions.

    ``folder`` is the study's; digests see paths relative to it, so that a moved study is the same study.

    Raises:
        CohortError: A case_id appears twice, a subtype is not the study's, or a patient has two sexes.
    """

    subtypes: tuple[str, ...]
    positive: str
    cases: tuple[Case, ...]
    exclusions: tuple[Exclusion, ...] = ()
    folder: Path = field(default=Path(), compare=False)

    def __post_init__(self) -> None:
        twice = [name for name, n in Counter(c.case_id for c in self.cases).items() if n > 1]
        if twice:
            raise CohortError(
                where=f"cohort, case {twice[0]}",
                expected="every case_id once",
                found=f"{twice[0]!r} {sum(c.case_id == twice[0] for c in self.cases)} times",
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
            if case.sex and sexes.setdefault(case.patient_id, case.sex) != case.sex:
                raise CohortError(
                    where=f"patient {case.patient_id}",
                    expected="one sex for all tumors of a patient",
                    found=f"{sexes[case.patient_id]} and {case.sex}",
                    remedy="correct the sex, or the patient_id if these are two patients",
                )

    @cached_property
    def by_id(self) -> dict[str, Case]:
        """Cases by case_id."""
        return {case.case_id: case for case in self.cases}

    def records(self) -> list[Record]:
        """A row per case, with the columns of cohort.csv; paths as text."""
        rows = [{f.name: getattr(case, f.name) for f in fields(Case)} for case in self.cases]
        return [
            {name: str(value) if isinstance(value, Path) else value for name, value in row.items()}
            for row in rows
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
        """Digest of everything in the manifest but exclusions."""
        return self.digest_of(*(f.name for f in fields(Case)))

    @property
    def image_digest(self) -> str:
        """Digest of what slices are cut from."""
        return self.digest_of("case_id", "format", "image", "roi", "tumor_label", "tumor_name", "source")

    @property
    def label_digest(self) -> str:
        """Digest of what patients are divided by and networks learn."""
        return self.digest_of("case_id", "patient_id", "subtype", "cohort")

    def digest_of(self, *names: str) -> str:
        """Digest of the subtypes and of these fields of all cases; paths relative to the study folder."""

        def plain(value: object) -> str:
            if isinstance(value, Path) and value.is_relative_to(self.folder):
                return value.relative_to(self.folder).as_posix()
            return str(value)

        rows = [[plain(getattr(case, name)) for name in names] for case in self.cases]
        return digest_of([self.subtypes, self.positive, names, rows])


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
class Split:
    """All folds of a study, proven free of patient overlap unless the protocol is ``image``.

    Attributes:
        patient_of: patient_id of every case_id named; the proof needs it.
        holdout: case_ids that no fold trains on: internal and external test. With one fold, its test.

    Raises:
        CohortError: A patient stands on two sides of a fold, or a name is not in the cohort.
    """

    protocol: Protocol
    folds: tuple[Fold, ...]
    patient_of: Mapping[str, str]
    holdout: frozenset[str] = frozenset()
    config: SplitConfig = field(default_factory=SplitConfig)

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


OLDEST_YEARS, LARGEST_CM = 120, 50


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
