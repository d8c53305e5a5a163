"""Readers and models with known cases in; the whole reader study, its JSON and its tables out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nephroscope.evaluation.readers.beside import Pair, compare_pair
from nephroscope.evaluation.readers.calls import CallTable, Known, Reader
from nephroscope.evaluation.readers.figures import ReaderFigures, figures_of
from nephroscope.evaluation.readers.pooled import (
    FEW_READERS,
    MeanBeside,
    MeanOfReaders,
    aided_beside_unaided,
    mean_beside_model,
    mean_of_readers,
)
from nephroscope.evaluation.statistics.agreement_kappa import KappaReport, compare_readers
from nephroscope.records import EvaluationConfig, Finding

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ReaderStudy:
    """Everything found about a table of calls.

    Attributes:
        scale: Of the readers' confidence, in words; empty without one.
        readers: Figures of people, unaided before aided.
        models: Figures of models, on the cases that any reader answered.
        means: Over readers, by figure and aided or not.
        against_models: Each reader against each model.
        mean_against_models: Mean of the readers against each model.
        aided: Each reader unaided against aided, ``mean_aided`` over all who did both.
        agreement: Between readers, unaided and aided; None with one reader.
        synthetic: True when a case is a phantom.
    """

    subtypes: tuple[str, ...]
    positive: str
    n_cases: int
    n_patients: int
    scale: str
    readers: tuple[ReaderFigures, ...]
    models: tuple[ReaderFigures, ...]
    means: tuple[MeanOfReaders, ...]
    against_models: tuple[Pair, ...]
    mean_against_models: tuple[MeanBeside, ...]
    aided: tuple[Pair, ...]
    mean_aided: tuple[MeanBeside, ...]
    agreement: KappaReport | None
    agreement_aided: KappaReport | None
    findings: tuple[Finding, ...]
    synthetic: bool = False

    @property
    def n_tests(self) -> int:
        """How many p-values stand in this study."""
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
        extra = {"format": FORMAT, "n_tests": self.n_tests, "sentences": list(self.sentences)}
        return extra | asdict(self) | kappas


def study_readers(
    table: CallTable,
    models: Sequence[Reader],
    known: Known,
    config: EvaluationConfig,
    synthetic: bool = False,
    findings: Sequence[Finding] = (),
) -> ReaderStudy:
    """Set readers beside models.

    Args:
        table: Readers, and models whose answers stand in the same table.
        models: Further models, such as the runs of a study; answers about cases that no reader saw are left aside.
        known: Truth of the cases.
        config: Gives confidence, resamples and seed.
        synthetic: True when a case is a phantom.
        findings: Doubts about the models.
    """
    read = {case for reader in table.readers for case in reader.readings}
    programs = [_on(model, read) for model in (*table.models, *models)]
    unaided, aided = ([r for r in table.readers if r.aided is arm] for arm in (False, True))
    arms = [arm for arm in (unaided, aided) if arm]
    both = [(u, a) for u in unaided for a in aided if u.name == a.name]
    confidence = config.confidence
    patients = {known.patient_of[case] for case in read}
    beside = [(arm, model) for arm in arms for model in programs if model.readings]
    once, again = ([pair[i] for pair in both] for i in (0, 1))
    return ReaderStudy(
        subtypes=known.subtypes,
        positive=known.positive,
        n_cases=len(read),
        n_patients=len(patients),
        scale=table.scale,
        readers=tuple(figures_of(reader, known, config) for reader in table.readers),
        models=tuple(figures_of(model, known, config) for model in programs if model.readings),
        means=tuple(mean for arm in arms for mean in mean_of_readers(arm, known, confidence)),
        against_models=tuple(
            compare_pair(reader, model, known, config) for arm, model in beside for reader in arm
        ),
        mean_against_models=tuple(
            found for arm, model in beside for found in mean_beside_model(arm, model, known, confidence)
        ),
        aided=tuple(compare_pair(u, a, known, config) for u, a in both),
        mean_aided=tuple(aided_beside_unaided(once, again, known, confidence) if len(both) > 1 else ()),
        agreement=_agreement(unaided, known, config),
        agreement_aided=_agreement(aided, known, config),
        findings=(*table.findings, *findings, *_doubts(arms, programs, len(read), len(patients))),
        synthetic=synthetic,
    )


def _on(model: Reader, cases: set[str]) -> Reader:
    """The model's answers about these cases alone."""
    kept = {case: reading for case, reading in model.readings.items() if case in cases}
    return Reader(name=model.name, aided=model.aided, readings=kept, model=True, told=model.told)


def _agreement(readers: Sequence[Reader], known: Known, config: EvaluationConfig) -> KappaReport | None:
    if len(readers) < 2:
        return None
    return compare_readers({reader.name: reader.called for reader in readers}, known.patient_of, config)


def _doubts(
    arms: Sequence[Sequence[Reader]], models: Sequence[Reader], n_cases: int, n_patients: int
) -> list[Finding]:
    """What holds of the study as a whole."""
    found = []
    n_readers = max(len(arm) for arm in arms)
    if n_readers < FEW_READERS:
        what = "no multi-reader analysis" if n_readers == 1 else "what it says of other readers is weak"
        found.append(
            _doubt(code="readers-few", message=f"{n_readers} reader{'' if n_readers == 1 else 's'}: {what}")
        )
    if n_patients < n_cases:
        found.append(
            _doubt(
                code="readers-clustered",
                message=f"{n_cases} cases of {n_patients} patients: exact McNemar takes cases as independent and is "
                "too sure; intervals and multi-reader analyses go by patient",
            )
        )
    found += [
        _doubt(code="model-no-cases", message=f"{model.name}: no answer about a case that a reader saw")
        for model in models
        if not model.readings
    ]
    return found


def _doubt(*, code: str, message: str) -> Finding:
    return Finding(code=code, severity="warning", message=message, case_id="")
