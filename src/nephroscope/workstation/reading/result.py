"""The result of a reader study. Every figure is one of `nephroscope readers`; here cases are only sorted."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

from nephroscope.questions.readers.answers import CallTable, CaseLabels, Reader, ReaderAnswer
from nephroscope.questions.readers.call_table import read_calls
from nephroscope.questions.readers.comparisons import Pair
from nephroscope.questions.readers.figures import figures_of
from nephroscope.questions.readers.reader_study import ReaderStudy, by_arm, on_cases, study_readers
from nephroscope.questions.readers.with_models import labels_of, test_sets
from nephroscope.records import Estimate, EvaluationConfig, Finding, warning
from nephroscope.statistics.intervals import no_estimate
from nephroscope.study.snapshot import Snapshot
from nephroscope.workstation.reading.aid import Aid
from nephroscope.workstation.reading.calls import Row, save_calls
from nephroscope.workstation.reading.protocol import Protocol
from nephroscope.workstation.reading.store import Spent

Outcome = Literal["correct", "not sure", "wrong"]
OUTCOMES: tuple[Outcome, ...] = ("correct", "not sure", "wrong")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A reader's answers unaided and aided, case by case.

    Attributes:
        counts: Cases by outcome: rows unaided, columns aided, both in the order correct, not sure, wrong.
        helped: Cases that are not correct unaided and correct aided; ``harmed`` the other way round.
        difference: Accuracy unaided minus aided on the cases called both times.
    """

    reader: str
    counts: tuple[tuple[int, ...], ...]
    helped: tuple[str, ...]
    harmed: tuple[str, ...]
    difference: Estimate | None
    p: float | None
    n_patients: int


@dataclass(frozen=True, kw_only=True)
class ByModel:
    """A reader's calls on the cases in which the model is right, and on those in which it is wrong.

    Attributes:
        correct, called: Cases that the reader classified correctly, of those called.
        errors: Cases called wrong.
        accuracy: With interval.
    """

    reader: str
    aided: bool
    model_is: Literal["right", "wrong"]
    n_cases: int
    n_patients: int
    correct: int
    called: int
    errors: tuple[str, ...]
    accuracy: Estimate


@dataclass(frozen=True, kw_only=True)
class OrderOf:
    """In which order a reader read a period.

    Attributes:
        arms: Of the period.
        mean_place: By subtype: mean place of its cases, from 1; alike where the order is balanced.
    """

    reader: str
    period: int
    arms: tuple[str, ...]
    n_cases: int
    mean_place: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class TimeOf:
    """Where a reader's time went in an arm, over all its cases, in seconds."""

    reader: str
    aided: bool
    active_s: float
    idle_s: float
    hidden_s: float
    paused_s: float


@dataclass(frozen=True, kw_only=True)
class ReadingResult:
    """The whole result.

    Attributes:
        figures: As `nephroscope readers` computes them.
        changes: Who was helped and who was harmed; empty unless readers did both.
        by_model: Errors where the model was right and where it was wrong; empty without a model.
        orders: Balance of the order.
        findings: Doubts about the readings; those about the figures are in ``figures``.
    """

    title: str
    digest: str
    complete: bool
    closed_why: str
    synthetic: bool
    figures: ReaderStudy
    changes: tuple[Change, ...]
    by_model: tuple[ByModel, ...]
    orders: tuple[OrderOf, ...]
    times: tuple[TimeOf, ...]
    findings: tuple[Finding, ...]


def compute_result(
    snapshot: Snapshot, protocol: Protocol, rows: list[Row], aid: Aid | None, complete: bool, closed_why: str
) -> ReadingResult:
    """The result of the answers that are there.

    Raises:
        CohortError: A case or its subtype is not in the study any more.
    """
    labels, meaning_of = labels_of(snapshot)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.csv"
        save_calls(path, rows, protocol.scale)
        table = read_calls(path, labels, meaning_of)
    models = [_as_reader(aid, protocol.positive)] if aid else []
    labels = CaseLabels(
        subtypes=labels.subtypes,
        positive=labels.positive,
        truth=labels.truth,
        patient_of=labels.patient_of,
        group_of=test_sets(snapshot, models),
    )
    config = snapshot.settings.evaluation
    figures = study_readers(table, models, labels, config, protocol.synthetic)
    return ReadingResult(
        title=protocol.title,
        digest=protocol.digest,
        complete=complete,
        closed_why=closed_why,
        synthetic=protocol.synthetic,
        figures=figures,
        changes=tuple(_changes(table, figures.aided, labels)),
        by_model=tuple(_by_model(table, models, labels, config)),
        orders=tuple(_orders(protocol, rows, labels)),
        times=tuple(_times(protocol, rows)),
        findings=tuple(_doubts(rows)),
    )


def _as_reader(aid: Aid, positive: str) -> Reader:
    """The model among the readers of the result."""
    found = {
        one.case_id: ReaderAnswer(
            call=one.forced_call, confidence=one.probabilities[positive], group=one.group, fold=one.fold
        )
        for one in aid.answers
    }
    source = f"{aid.model.kind}, as locked with the protocol"
    run, name = aid.model.kind == "run", Path(aid.model.name).name
    return Reader(name=name, aided=False, answers=found, model=True, source=source, of_study=run)


def _outcome(reader: Reader, case: str, labels: CaseLabels) -> Outcome:
    call = reader.answers[case].call
    return "not sure" if call is None else "correct" if call == labels.truth[case] else "wrong"


def _changes(table: CallTable, pairs: Sequence[Pair], labels: CaseLabels) -> list[Change]:
    unaided, aided = by_arm(table.readers)
    tested = {pair.first: pair for pair in pairs}
    found = []
    for one in unaided:
        again = next((reader for reader in aided if reader.name == one.name), None)
        if again is None:
            continue
        both = [case for case in one.answers if case in again.answers]
        told = {case: (_outcome(one, case, labels), _outcome(again, case, labels)) for case in both}
        pair = tested.get(one.title)
        calls = pair.calls if pair else None
        found.append(
            Change(
                reader=one.name,
                counts=tuple(
                    tuple(list(told.values()).count((row, column)) for column in OUTCOMES) for row in OUTCOMES
                ),
                helped=tuple(c for c, (was, now) in told.items() if was != "correct" and now == "correct"),
                harmed=tuple(c for c, (was, now) in told.items() if was == "correct" and now != "correct"),
                difference=calls.difference if calls else None,
                p=calls.p if calls else None,
                n_patients=len({labels.patient_of[case] for case in both}),
            )
        )
    return found


def _by_model(
    table: CallTable, models: Sequence[Reader], labels: CaseLabels, config: EvaluationConfig
) -> list[ByModel]:
    found = []
    for model in models:
        known = model.called
        right = {case for case, call in known.items() if call == labels.truth.get(case)}
        parts: Mapping[Literal["right", "wrong"], set[str]] = {"right": right, "wrong": known.keys() - right}
        for reader in table.readers:
            for is_, cases in parts.items():
                found.append(_on_part(on_cases(reader, cases), is_, labels, config))
    return found


def _on_part(
    reader: Reader, model_is: Literal["right", "wrong"], labels: CaseLabels, config: EvaluationConfig
) -> ByModel:
    cases = list(reader.answers)
    accuracy, (correct, called) = no_estimate("undefined: no case", 0), (0, 0)
    if cases:
        figures = figures_of(reader, labels, config)
        accuracy, (correct, called) = figures.figures["accuracy"], figures.counts["accuracy"]
    return ByModel(
        reader=reader.name,
        aided=reader.aided,
        model_is=model_is,
        n_cases=len(cases),
        n_patients=len({labels.patient_of[case] for case in cases}),
        correct=correct,
        called=called,
        errors=tuple(case for case in cases if _outcome(reader, case, labels) == "wrong"),
        accuracy=accuracy,
    )


def _orders(protocol: Protocol, rows: list[Row], labels: CaseLabels) -> list[OrderOf]:
    found = []
    for reader in protocol.readers:
        of_reader = [row for row in rows if row.reader == reader]
        for period in sorted({row.step.period for row in of_reader}):
            of_period = [row for row in of_reader if row.step.period == period]
            place = {row.step.case_id: row.place for row in of_period}
            by_subtype = {
                name: [at for case, at in place.items() if labels.truth[case] == name]
                for name in labels.subtypes
            }
            found.append(
                OrderOf(
                    reader=reader,
                    period=period,
                    arms=tuple(dict.fromkeys(row.step.arm for row in of_period)),
                    n_cases=len(place),
                    mean_place={name: sum(of) / len(of) for name, of in by_subtype.items() if of},
                )
            )
    return found


def _times(protocol: Protocol, rows: list[Row]) -> list[TimeOf]:
    found = []
    for reader in protocol.readers:
        for arm in protocol.arms:
            whole = Spent()
            for row in rows:
                if (row.reader, row.step.arm) == (reader, arm):
                    whole = whole.plus(row.answer.spent)
            active, idle, hidden, paused = (part / 1000 for part in astuple(whole))
            found.append(
                TimeOf(
                    reader=reader,
                    aided=arm == "aided",
                    active_s=active,
                    idle_s=idle,
                    hidden_s=hidden,
                    paused_s=paused,
                )
            )
    return found


def _doubts(rows: list[Row]) -> list[Finding]:
    return [
        warning(
            "reading-time-doubtful",
            f"reader {row.reader}: the browser counted more time than passed by this computer's clock; the clock "
            "was set back, or the time is wrong",
            case_id=row.step.case_id,
        )
        for row in rows
        if row.answer.doubtful
    ]
