"""Divide the patients of a cohort into folds and a hold-out.

The unit is the patient. The paper's split by image is here too, to show its illusion; it says LEAKY.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from nephroscope.base.documents import from_plain, read_object
from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.files import save_json
from nephroscope.records import DEVELOPMENT, Case, Cohort, Finding, Fold, Protocol, Split, SplitConfig

FORMAT = 1
UNITS: dict[Protocol, Literal["patient", "LEAKY: image"]] = {"patient": "patient", "image": "LEAKY: image"}
logger = logging.getLogger(__name__)
Strata = dict[str, list[str]]  # stratum -> names to divide


def make_split(cohort: Cohort, slices_of: Mapping[str, Iterable[int]], config: SplitConfig) -> Split:
    """Deal the labelled cases that have slices into folds, stratified by subtype.

    Args:
        cohort: Cases marked internal-test or external-test:NAME never enter a fold's training.
        slices_of: Slice indices of each case_id that was cut.
        config: Protocol, number of folds, shares of hold-out and validation, seed.

    Raises:
        CohortError: Only one subtype has cases, a subtype has fewer patients than folds, or a patient
            is in development and in a test set.
        ConfigError: One fold is asked for and nothing is held out to test it on.
    """
    cases = [case for case in cohort.cases if case.subtype is not None and case.case_id in slices_of]
    _check_subtypes(cohort, cases)
    rng = np.random.default_rng([config.seed, 0x5B117])
    held_patients = _held_out(cohort, cases, config, rng)
    development = [case for case in cases if case.patient_id not in held_patients]
    reserved = frozenset(case.case_id for case in cases if case.patient_id in held_patients)
    if config.folds == 1 and not reserved and config.protocol == "patient":
        raise ConfigError(
            where="split.holdout",
            expected="a hold-out to test a single fold on",
            found="holdout = 0 and no case marked internal-test",
            remedy="use --holdout 0.25, or two folds or more",
        )
    if config.protocol == "image":
        folds = _image_folds(development, slices_of, config, rng)
    else:
        folds = _patient_folds(development, reserved, config, rng)
    patient_of = {case.case_id: case.patient_id for case in cases}
    return Split(
        protocol=config.protocol, folds=folds, patient_of=patient_of, holdout=reserved, config=config
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _SplitFile:
    protocol: Protocol
    cohort_digest: str
    config: SplitConfig
    holdout: frozenset[str]
    folds: tuple[Fold, ...]
    unit: Literal["patient", "LEAKY: image"] | None = None
    findings: tuple[Finding, ...] = ()


def save_split(
    split: Split, path: Path, cohort_digest: str, made_from: Mapping[str, str] | None = None
) -> None:
    """Write splits.json: names of cases, never positions.

    Args:
        split: Folds and held-out cases.
        path: The file.
        cohort_digest: Of everything that the division depends on.
        made_from: The same by name of each input, where it is known.
    """
    folds = [
        {"index": fold.index}
        | {part: sorted(getattr(fold, part)) for part in ("train", "validation", "test")}
        for fold in split.folds
    ]
    content = {
        "format": FORMAT,
        "protocol": split.protocol,
        "unit": UNITS[split.protocol],
        "cohort_digest": cohort_digest,
        **({"made_from": dict(made_from)} if made_from else {}),
        "config": asdict(split.config),
        "holdout": sorted(split.holdout),
        "folds": folds,
        "findings": [asdict(finding) for finding in split.findings],
    }
    save_json(path, content)


def load_split(path: Path, cohort: Cohort) -> tuple[Split, str]:
    """Read splits.json, prove it against the cohort, and give the digest of the cohort it was made for.

    Raises:
        CohortError: A patient is on two sides, or a case is unknown.
        StudyError: The file is damaged or of a newer format.
    """
    content = read_object(path, FORMAT)
    held = from_plain(content, _SplitFile, path.name, "run `nephroscope split` again", CohortError)
    if held.unit not in (None, UNITS[held.protocol]):
        raise CohortError(
            where=f"{path.name}, unit",
            expected=f"{UNITS[held.protocol]!r}, the unit of the protocol {held.protocol!r}",
            found=repr(held.unit),
            remedy="run `nephroscope split` again",
        )
    split = Split(
        protocol=held.protocol,
        folds=held.folds,
        patient_of={case.case_id: case.patient_id for case in cohort.cases},
        holdout=held.holdout,
        config=held.config,
        findings=held.findings,
    )
    return split, held.cohort_digest


def image_name(case_id: str, slice_index: int) -> str:
    """Name of one slice under the image protocol."""
    return f"{case_id}#{slice_index}"


def _check_subtypes(cohort: Cohort, cases: list[Case]) -> None:
    present = {case.subtype for case in cases}
    if len(present) < len(cohort.subtypes):
        missing = [name for name in cohort.subtypes if name not in present]
        raise CohortError(
            where="cohort",
            expected=f"usable cases of every subtype ({', '.join(cohort.subtypes)})",
            found=f"{len(cases)} cases, none of {', '.join(missing)}",
            remedy="import such cases, or remove the subtype from study.toml",
        )
    parts: dict[str, set[str]] = defaultdict(set)
    for case in cohort.cases:
        parts[case.patient_id].add(case.cohort)
    for patient_id, cohorts in parts.items():
        if len(cohorts) > 1:
            raise CohortError(
                where=f"patient {patient_id}",
                expected="all tumors of a patient in one cohort",
                found=" and ".join(sorted(cohorts)),
                remedy="correct the column cohort in cohort.csv",
            )


def _strata(cases: Iterable[Case]) -> Strata:
    """Patients by the subtypes they have, in a fixed order."""
    subtypes: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        subtypes[case.patient_id].add(str(case.subtype))
    strata: Strata = defaultdict(list)
    for patient_id in sorted(subtypes):
        strata["+".join(sorted(subtypes[patient_id]))].append(patient_id)
    return dict(sorted(strata.items()))


def _share(strata: Strata, share: float, rng: np.random.Generator) -> set[str]:
    """About ``share`` of each stratum, at least one where it has two or more, never all."""
    taken: set[str] = set()
    for names in strata.values():
        n = min(max(round(len(names) * share), 1), len(names) - 1)
        taken.update(str(name) for name in rng.permutation(names)[:n])
    return taken


def _deal(strata: Strata, n_folds: int, rng: np.random.Generator) -> list[set[str]]:
    """Deal each stratum round the folds, going on where the last stratum stopped."""
    hands: list[set[str]] = [set() for _ in range(n_folds)]
    turn = 0
    for names in strata.values():
        for name in rng.permutation(names):
            hands[turn % n_folds].add(str(name))
            turn += 1
    return hands


def _held_out(cohort: Cohort, cases: list[Case], config: SplitConfig, rng: np.random.Generator) -> set[str]:
    held = {case.patient_id for case in cohort.cases if case.cohort != DEVELOPMENT}
    if config.holdout > 0:
        held |= _share(_strata(case for case in cases if case.patient_id not in held), config.holdout, rng)
    return held


def _patient_folds(
    cases: list[Case], reserved: frozenset[str], config: SplitConfig, rng: np.random.Generator
) -> tuple[Fold, ...]:
    strata = _strata(cases)
    _check_enough(cases, config.folds)
    tests = _deal(strata, config.folds, rng) if config.folds > 1 else [set()]
    folds = []
    for index, test in enumerate(tests):
        rest = [case for case in cases if case.patient_id not in test]
        validation = _share(_strata(rest), config.validation, rng)
        trained = {case.subtype for case in rest if case.patient_id not in validation}
        if not validation or len(trained) < len({case.subtype for case in cases}):
            raise _too_few(config.folds, f"fold {index} without {'training' if validation else 'validation'}")
        folds.append(
            Fold(
                index=index,
                train=frozenset(c.case_id for c in rest if c.patient_id not in validation),
                validation=frozenset(c.case_id for c in rest if c.patient_id in validation),
                test=frozenset(c.case_id for c in cases if c.patient_id in test) or reserved,
            )
        )
    return tuple(folds)


def _check_enough(cases: list[Case], n_folds: int) -> None:
    patients: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        patients[str(case.subtype)].add(case.patient_id)
    wanted = max(n_folds, 2)
    for subtype, names in patients.items():
        if len(names) < wanted:
            raise _too_few(n_folds, f"{len(names)} of {subtype}")


def _too_few(n_folds: int, found: str) -> CohortError:
    return CohortError(
        where=f"split into {n_folds} folds",
        expected=f"at least {max(n_folds, 2)} development patients of each subtype, with some left for validation",
        found=found,
        remedy="use fewer folds, import more patients, or hold out fewer",
    )


def _image_folds(
    cases: list[Case], slices_of: Mapping[str, Iterable[int]], config: SplitConfig, rng: np.random.Generator
) -> tuple[Fold, ...]:
    """The paper's split: every slice is divided on its own, so a patient is on both sides. LEAKY."""
    logger.warning("LEAKY: the split is by image; slices of one patient are in both training and test")
    strata: Strata = defaultdict(list)
    for case in cases:
        strata[str(case.subtype)] += [image_name(case.case_id, s) for s in slices_of[case.case_id]]
    n_folds = max(config.folds, 2)
    folds = []
    for index, test in enumerate(_deal(strata, n_folds, rng)[: config.folds]):
        rest = {subtype: [name for name in names if name not in test] for subtype, names in strata.items()}
        validation = _share(rest, config.validation, rng)
        train = {name for names in rest.values() for name in names} - validation
        folds.append(
            Fold(
                index=index,
                train=frozenset(train),
                validation=frozenset(validation),
                test=frozenset(test),
            )
        )
    return tuple(folds)
