"""Readers and models with known cases in; the whole reader study, by test set and together, and its JSON out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from nephroscope.evaluation.readers.calls import CallTable, Known, Reader
from nephroscope.evaluation.readers.part import ReaderPart, by_arm, on_cases, study_part
from nephroscope.evaluation.readers.pooled import FEW_READERS
from nephroscope.records import EvaluationConfig, Finding, counted_noun

FORMAT = 1
TOGETHER = "all cases together"
POOLED = f"{TOGETHER}, answered by different networks"
OUT_OF_FOLD = "out-of-fold"


@dataclass(frozen=True, kw_only=True)
class ReaderStudy(ReaderPart):
    """Everything found about a table of calls; what it has of a `ReaderPart` is of all cases.

    Attributes:
        scale: Of the readers' confidence, in words; empty without one.
        groups: The same by test set; one test set is all cases. Empty without a study.
        synthetic: True when a case is a phantom.
    """

    subtypes: tuple[str, ...]
    positive: str
    scale: str
    groups: Mapping[str, ReaderPart]
    findings: tuple[Finding, ...]
    synthetic: bool = False

    @property
    def parts(self) -> tuple[ReaderPart, ...]:
        """What is shown: each test set and then all cases together, or all cases where there is one."""
        return (*self.groups.values(), self) if len(self.groups) > 1 else (self,)

    @property
    def told(self) -> tuple[str, ...]:
        """The sentences of every part; with several test sets each names its own."""
        if len(self.groups) < 2:
            return self.sentences
        return tuple(f"{part.test_set}: {sentence}" for part in self.parts for sentence in part.sentences)

    def as_dict(self) -> dict[str, Any]:
        """For readers.json and ``--json``."""
        groups = {name: part.as_dict() for name, part in self.groups.items()}
        extra = {"format": FORMAT, "groups": groups, "sentences": list(self.told)}
        return super().as_dict() | extra


def study_readers(
    table: CallTable,
    models: Sequence[Reader],
    known: Known,
    config: EvaluationConfig,
    synthetic: bool = False,
    findings: Sequence[Finding] = (),
) -> ReaderStudy:
    """Set readers beside models, by test set and on all cases together.

    Args:
        table: Readers, and models whose answers stand in the same table.
        models: Further models, such as the runs of a study; answers about cases that no reader saw are left aside.
        known: Truth of the cases, and their test sets.
        config: Gives confidence, resamples and seed.
        synthetic: True when a case is a phantom.
        findings: Doubts about the models.
    """
    every = [*table.models, *models]
    sets = _test_sets(table.readers, known)
    together = POOLED if every else TOGETHER
    title = together if len(sets) > 1 else next(iter(sets), "")
    asked = [on_cases(model, sets[title], title) for model in every] if len(sets) == 1 else every
    whole = study_part(title, table.readers, asked, known, config)
    groups = {title: whole} if len(sets) == 1 else {}
    if len(sets) > 1:
        groups = {
            name: study_part(
                name,
                [kept for reader in table.readers if (kept := on_cases(reader, cases)).readings],
                [on_cases(model, cases, name) for model in every],
                known,
                config,
            )
            for name, cases in sets.items()
        }
    return ReaderStudy(
        **{field.name: getattr(whole, field.name) for field in fields(ReaderPart)},
        subtypes=known.subtypes,
        positive=known.positive,
        scale=table.scale,
        groups=groups,
        findings=(*table.findings, *findings, *_doubts(table.readers, every, known, whole)),
        synthetic=synthetic,
    )


def _test_sets(readers: Sequence[Reader], known: Known) -> dict[str, set[str]]:
    """Cases that readers answered by test set, out-of-fold first; empty where no test set is known."""
    sets: dict[str, set[str]] = {}
    for reader in readers:
        for case in reader.readings:
            if case in known.group_of:
                sets.setdefault(known.group_of[case], set()).add(case)
    return dict(sorted(sets.items(), key=lambda item: (item[0] != OUT_OF_FOLD, item[0])))


def _doubts(
    readers: Sequence[Reader], models: Sequence[Reader], known: Known, whole: ReaderPart
) -> list[Finding]:
    """What holds of the study as a whole."""
    found = []
    n_readers = max(len(arm) for arm in by_arm(readers))
    if n_readers < FEW_READERS:
        what = "no multi-reader analysis" if n_readers == 1 else "what it says of other readers is weak"
        found.append(_doubt("readers-few", f"{counted_noun(n_readers, 'reader')}: {what}"))
    if whole.n_patients < whole.n_cases:
        found.append(
            _doubt(
                "readers-clustered",
                f"{counted_noun(whole.n_cases, 'case')} of {counted_noun(whole.n_patients, 'patient')}: "
                "no exact McNemar test where a patient has "
                "several of the cases; intervals and multi-reader analyses go by patient",
            )
        )
    read = {case for reader in readers for case in reader.readings}
    for model in models:
        seen = on_cases(model, read).readings
        if not seen:
            found.append(_doubt("model-no-cases", f"{model.name}: no answer about a case that a reader saw"))
        other = [case for case, r in seen.items() if r.group and r.group != known.group_of.get(case, r.group)]
        if other:
            found.append(
                _doubt(
                    "model-left-out",
                    f"{model.name}: {len(other)} of {len(seen)} cases are of another test set in its own split than "
                    "in splits.json; left out of the figures of their test set",
                )
            )
    return found


def _doubt(code: str, message: str) -> Finding:
    return Finding(code=code, severity="warning", message=message, case_id="")
