"""Readers and models with known cases in; the whole reader study, by test set and together, and its JSON out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from nephroscope.questions.readers.calls import CallTable, Known, Reader
from nephroscope.questions.readers.figures import Pair, ReaderFigures, compare_pair, figures_of
from nephroscope.questions.readers.pooled import (
    FEW_READERS,
    MeanBeside,
    MeanOfReaders,
    aided_beside_unaided,
    mean_beside_model,
    mean_of_readers,
)
from nephroscope.questions.readers.tested import correct
from nephroscope.records import EvaluationConfig, Finding, counted_noun
from nephroscope.statistics.kappa import KappaReport, compare_readers


@dataclass(frozen=True, kw_only=True)
class ReaderPart:
    """What was found on the cases of one test set, or on all cases together.

    Attributes:
        test_set: out-of-fold, internal-test, external-test:NAME, or what all cases are; empty without a study.
        readers: Figures of people, unaided before aided.
        models: Figures of models, on the cases that any reader answered; LEAKY ones stand here and in no test.
        means: Over readers, by figure and aided or not.
        against_models: Each reader against each model.
        mean_against_models: Mean of the readers against each model.
        aided: Each reader unaided against aided, ``mean_aided`` over all who did both.
        agreement: Between readers, unaided and aided; None with one reader.
    """

    test_set: str
    n_cases: int
    n_patients: int
    readers: tuple[ReaderFigures, ...]
    models: tuple[ReaderFigures, ...]
    means: tuple[MeanOfReaders, ...]
    against_models: tuple[Pair, ...]
    mean_against_models: tuple[MeanBeside, ...]
    aided: tuple[Pair, ...]
    mean_aided: tuple[MeanBeside, ...]
    agreement: KappaReport | None
    agreement_aided: KappaReport | None

    @property
    def n_tests(self) -> int:
        """How many p-values stand here; each is corrected for those of its question."""
        pairs = [*self.against_models, *self.aided]
        tests = [test for pair in pairs for test in (pair.calls, pair.areas) if test is not None]
        means = [found.found.test for found in (*self.mean_against_models, *self.mean_aided)]
        return sum(test.p is not None for test in (*tests, *means))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the tests say, in words."""
        pairs = [s for pair in (*self.against_models, *self.aided) for s in pair.sentences]
        return (*pairs, *(m.sentence for m in (*self.mean_against_models, *self.mean_aided)))

    def as_dict(self) -> dict[str, Any]:
        """For readers.json and ``--json``."""
        kappas = {
            name: None if found is None else found.as_dict()
            for name, found in (("agreement", self.agreement), ("agreement_aided", self.agreement_aided))
        }
        extra = {"n_tests": self.n_tests, "sentences": list(self.sentences)}
        return extra | asdict(self) | kappas


def study_part(
    test_set: str,
    readers: Sequence[Reader],
    models: Sequence[Reader],
    known: Known,
    config: EvaluationConfig,
) -> ReaderPart:
    """Set readers beside models on the cases that they answered.

    Args:
        test_set: Which cases these are.
        readers: People, with their answers about these cases alone.
        models: Programs; answers about cases that no reader answered are left aside.
        known: Truth of the cases.
        config: Gives confidence, resamples and seed; a corrected p below 1 - confidence shows a difference.
    """
    read = {case for reader in readers for case in reader.readings}
    programs = [program for model in models if (program := on_cases(model, read)).readings]
    tested = [program for program in programs if not program.leaky]
    unaided, aided = by_arm(readers)
    arms = [arm for arm in (unaided, aided) if arm]
    both = [(u, a) for u in unaided for a in aided if u.name == a.name]
    once, again = ([pair[i] for pair in both] for i in (0, 1))
    confidence = config.confidence
    against: list[Pair] = []
    mean_against: list[MeanBeside] = []
    for rivals in ([m for m in tested if not m.baseline], [m for m in tested if m.baseline]):
        beside = [(arm, model) for arm in arms for model in rivals]
        pairs = [compare_pair(reader, model, known, config) for arm, model in beside for reader in arm]
        means = [m for arm, model in beside for m in mean_beside_model(arm, model, known, confidence)]
        pairs, means = correct(pairs, means, 1 - confidence)
        against, mean_against = [*against, *pairs], [*mean_against, *means]
    mean_helped = aided_beside_unaided(once, again, known, confidence) if len(both) > 1 else []
    helped = [compare_pair(u, a, known, config) for u, a in both]
    helped, mean_helped = correct(helped, mean_helped, 1 - confidence)
    return ReaderPart(
        test_set=test_set,
        n_cases=len(read),
        n_patients=len({known.patient_of[case] for case in read}),
        readers=tuple(figures_of(reader, known, config) for reader in readers),
        models=tuple(figures_of(program, known, config) for program in programs),
        means=tuple(mean for arm in arms for mean in mean_of_readers(arm, known, confidence)),
        against_models=tuple(against),
        mean_against_models=tuple(mean_against),
        aided=tuple(helped),
        mean_aided=tuple(mean_helped),
        agreement=_agreement(unaided, known, config),
        agreement_aided=_agreement(aided, known, config),
    )


def by_arm(readers: Sequence[Reader]) -> tuple[list[Reader], list[Reader]]:
    """Unaided and aided."""
    return [r for r in readers if not r.aided], [r for r in readers if r.aided]


def on_cases(one: Reader, cases: set[str], test_set: str = "") -> Reader:
    """The answers about these cases alone, less those that are of another test set by the answer's own word."""
    kept = {
        case: reading
        for case, reading in one.readings.items()
        if case in cases and not (test_set and reading.group and reading.group != test_set)
    }
    return replace(one, readings=kept)


def _agreement(readers: Sequence[Reader], known: Known, config: EvaluationConfig) -> KappaReport | None:
    if len(readers) < 2:
        return None
    answers = {
        reader.name: {case: r.call or "not sure" for case, r in reader.readings.items()} for reader in readers
    }
    return compare_readers(answers, known.patient_of, config)


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
