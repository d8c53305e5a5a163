"""One patient in the study under two names: by how the names are written, and by what the slices show.

Patients are divided by patient_id, so a patient with two of them may be on both sides of a split. A pair that names
one tumor with two subtypes is refused; any other is a finding that the split keeps, so that `train` and the report
repeat it. All is done by hashing: the cost grows with the number of slices, not with its square.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import CohortError
from nephroscope.base.identifiers import LOST_ZEROS, alike, clean_name
from nephroscope.base.text import counted_noun, first_few
from nephroscope.records import Case, Cohort, Finding, warning
from nephroscope.study.near_copies import copied_patients
from nephroscope.study.slices import SliceStore

NAMED = 50  # pairs in one message
FEWEST_CASES = 4  # of which each has one slice
TENFOLD = 10
REMEDY = (
    "give both the same patient_id in the label table if they are one patient, else names that differ clearly; "
    "remove the wrong row if it is one tumor; then import again"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two patients who may be one.

    Attributes:
        code: Of the finding.
        one, other: Their patient_ids.
        why: What makes them one, for the message.
        same_tumor: True where also the tumor is the same, so that its subtype must be.
    """

    code: str
    one: str
    other: str
    why: str
    same_tumor: bool


def check_names(cohort: Cohort) -> tuple[Finding, ...]:
    """Patients whose identifiers differ in writing only, or in a side or a number of a tumor; and `near_misses`."""
    return (*_findings(_by_name(cohort)), *near_misses(cohort))


def near_misses(cohort: Cohort) -> tuple[Finding, ...]:
    """A warning that names excluded cases that miss another name only by how it is written."""
    hinted = [one for one in cohort.exclusions if one.hint]
    first: dict[frozenset[str], str] = {}  # both names of a pair may be excluded
    for one in hinted:
        twin = one.hint.removeprefix("did you mean ").removesuffix("?")
        first.setdefault(frozenset((one.case_id, twin)), f"{_shown(one.case_id)}: {one.hint}")
    if not first:
        return ()
    zeros = any(len(pair) == 2 and len({name.lstrip("0") for name in pair}) == 1 for pair in first)
    text = (
        f"{counted_noun(len(first), 'name')} of the label table without images, but with images under a name that "
        f"differs only in how it is written: {first_few(first.values(), NAMED)}; write them alike"
    )
    if zeros:
        text += f" ({LOST_ZEROS})"
    return (warning("identifier-near", text),)


def check_patients(cohort: Cohort, slices: SliceStore) -> tuple[Finding, ...]:
    """What makes it doubtful that a division by patient_id keeps patients apart.

    Args:
        cohort: The cases.
        slices: Cut from them.

    Returns:
        Warnings of the whole study (no case_id): patients who may be one, slices per case that look wrong.

    Raises:
        CohortError: One tumor is in the study under two patients, with different subtypes.
    """
    pairs = [*_by_name(cohort), *_by_slices(cohort, slices)]
    _refuse_contradictions(cohort, pairs)
    return (*_findings(pairs), *_slices_per_case(slices))


def _by_name(cohort: Cohort) -> list[Pair]:
    spelled, maybe = alike({case.patient_id for case in cohort.cases})
    return [
        *_chained(spelled, code="patients-spelled-alike", same_tumor=True),
        *_chained(maybe, code="patients-maybe-one", same_tumor=False),
    ]


def _chained(groups: Iterable[Sequence[str]], code: str, same_tumor: bool) -> Iterator[Pair]:
    """The first of each group with each of the others: as many pairs as there are names."""
    for first, *others in groups:
        yield from (
            Pair(code=code, one=first, other=other, why="", same_tumor=same_tumor) for other in others
        )


def _by_slices(cohort: Cohort, slices: SliceStore) -> list[Pair]:
    patient_of = {case.case_id: case.patient_id for case in cohort.cases}
    owner = [patient_of.get(str(name), "") for name in slices.case_ids]
    first: dict[str, int] = {}
    crops: dict[tuple[str, str], int] = defaultdict(int)
    distinct: list[int] = []
    for row, hu in enumerate(slices.hu):
        if hu.min() == hu.max():
            continue
        digest = hashlib.sha256(hu.tobytes()).hexdigest()
        before = first.setdefault(digest, row)
        if before == row:
            distinct.append(row)
        elif owner[before] != owner[row]:
            crops[owner[before], owner[row]] += 1
    planes = _shared_planes(slices.planes, patient_of)
    found: dict[frozenset[str], Pair] = {}
    for pair in (
        *_sharing(crops, "equal", code="patients-same-images", same_tumor=True),
        *_sharing(planes, "of one CT", code="patients-same-images", same_tumor=False),
        *_copied(slices.hu, distinct, owner),
    ):
        found.setdefault(frozenset((pair.one, pair.other)), pair)
    return list(found.values())


def _sharing(shared: Mapping[tuple[str, str], int], how: str, code: str, same_tumor: bool) -> Iterator[Pair]:
    """Pairs of patients by the number of slices that they share."""
    for (one, other), n in sorted(shared.items()):
        yield Pair(
            code=code, one=one, other=other, why=f"{counted_noun(n, 'slice')} {how}", same_tumor=same_tumor
        )


def _copied(hu: npt.NDArray[np.int16], rows: Sequence[int], owner: Sequence[str]) -> Iterator[Pair]:
    """Pairs of patients of whom one seems to be a copy of the other; only sure ones must have one subtype."""
    for found in copied_patients(hu, rows, owner):
        yield Pair(
            code="patients-near-images",
            one=found.one,
            other=found.other,
            why=f"{counted_noun(found.n_slices, 'slice')} alike",
            same_tumor=found.sure,
        )


def _shared_planes(
    planes: Mapping[str, Sequence[str]], patient_of: Mapping[str, str]
) -> dict[tuple[str, str], int]:
    """How many planes of a CT two patients share, whatever was drawn on them."""
    first: dict[str, str] = {}
    shared: dict[tuple[str, str], int] = defaultdict(int)
    for case_id, digests in planes.items():
        patient = patient_of.get(case_id, "")
        for digest in filter(None, digests):
            before = first.setdefault(digest, patient)
            if before != patient:
                shared[before, patient] += 1
    return shared


def _refuse_contradictions(cohort: Cohort, pairs: Iterable[Pair]) -> None:
    cases: dict[str, list[Case]] = defaultdict(list)
    for case in cohort.cases:
        cases[case.patient_id].append(case)

    def subtypes(patient: str) -> set[str]:
        return {case.subtype for case in cases[patient] if case.subtype}

    def sites(patient: str) -> set[str]:
        return {case.site_id for case in cases[patient]}

    wrong = []
    for pair in pairs:
        one, other = subtypes(pair.one), subtypes(pair.other)
        elsewhere = pair.code == "patients-spelled-alike" and not sites(pair.one) & sites(pair.other)
        if pair.same_tumor and one and other and not one & other and not elsewhere:
            words = f" ({pair.why})" if pair.why else ""
            wrong.append(
                f"{_shown(pair.one)} ({' and '.join(sorted(one))}) = {_shown(pair.other)} "
                f"({' and '.join(sorted(other))}){words}"
            )
    if wrong:
        raise CohortError(
            where="cohort",
            expected="one subtype for one patient under two names",
            found=first_few(wrong, NAMED),
            remedy=REMEDY,
        )


WORDS = {
    "patients-spelled-alike": "patient_ids that differ only in how they are written",
    "patients-maybe-one": "patient_ids that may be of one patient, as one also says a side, a tumor or the like",
    "patients-same-images": "patients with the same pixels",
    "patients-near-images": "patients whose slices are copies in another window, mirrored or saved again",
}


def _findings(pairs: Iterable[Pair]) -> Iterator[Finding]:
    by_code: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_code[pair.code].append(pair)
    for code, found in by_code.items():
        listed = first_few((_sentence(pair) for pair in found), NAMED)
        text = f"{counted_noun(len(found), 'pair')} of {WORDS[code]}: {listed}; {REMEDY}"
        yield warning(code, text)


def _sentence(pair: Pair) -> str:
    return f"{_shown(pair.one)} = {_shown(pair.other)}" + (f" ({pair.why})" if pair.why else "")


def _shown(name: str) -> str:
    """A name; with its signs spelled out where some of them are not seen."""
    return name if clean_name(name) == name else ascii(name)


def _slices_per_case(slices: SliceStore) -> Iterator[Finding]:
    counts = {name: len(rows) for name, rows in slices.rows_by_case.items()}
    most, typical = max(counts, key=counts.__getitem__), median(counts.values())
    if len(counts) >= FEWEST_CASES and counts[most] == 1:
        text = (
            f"each of the {len(counts)} cases has one slice: if several of these images are of one patient, they "
            "must have one patient_id, or one case_id if they are of one tumor"
        )
        yield warning("one-slice-per-case", text)
    elif counts[most] >= TENFOLD * typical:
        text = (
            f"case {most} has {counted_noun(counts[most], 'slice')}, the typical case {typical:g}: check that "
            "these are the slices of one tumor, and that slice spacing is alike"
        )
        yield warning("slices-per-case-vary", text)
