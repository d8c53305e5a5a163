"""Readers and models on the cases of one test set in; their figures, means, corrected tests and agreement out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from nephroscope.evaluation.readers.beside import Pair, compare_pair
from nephroscope.evaluation.readers.calls import Known, Reader
from nephroscope.evaluation.readers.family import correct
from nephroscope.evaluation.readers.figures import ReaderFigures, figures_of
from nephroscope.evaluation.readers.pooled import (
    MeanBeside,
    MeanOfReaders,
    aided_beside_unaided,
    mean_beside_model,
    mean_of_readers,
)
from nephroscope.evaluation.statistics.agreement_kappa import KappaReport, compare_readers
from nephroscope.records import EvaluationConfig


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
