"""Read a table of radiologists' calls; wrong cells are named by row and column."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from nephroscope.base.columns import CheckedRow, CheckedTable, Column, Sought
from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.tables import UNKNOWN, names
from nephroscope.base.text import first_few, is_not_sure, plain_words
from nephroscope.intake.labels.columns import opening_findings
from nephroscope.intake.labels.pathology import match_subtype, name_of_subtype
from nephroscope.intake.labels.titles import COLUMN_NAMES
from nephroscope.intake.labels.values import NO, YES
from nephroscope.questions.readers.answers import CallTable, CaseLabels, Reader, ReaderAnswer, Who
from nephroscope.questions.readers.confidence import (
    AUTO,
    Scale,
    call_doubts,
    scale_of,
    without_contradicted_confidences,
)
from nephroscope.records import counted_noun
from nephroscope.statistics.tables.columns import MISSING
from nephroscope.statistics.tables.readers import refuse_two_spellings

LONGEST_S = 24 * 3600.0


def _filled(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _number(text: str) -> float | None:
    """A number, with a decimal comma or a percent sign if need be; None where it is not known."""
    if text.casefold() in UNKNOWN:
        return None
    value = float(text.replace(",", ".").removesuffix("%"))
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _seconds(text: str) -> float | None:
    clock = re.fullmatch(r"(\d+):([0-5]\d)", text)
    value = 60.0 * int(clock[1]) + int(clock[2]) if clock else _number(text)
    if value is not None and not 0 < value <= LONGEST_S:
        raise ValueError(text)
    return value


def _is_yes(text: str, *also: str) -> bool:
    word = plain_words(text)
    if word in (*YES, *also):
        return True
    if word not in (*NO, *UNKNOWN, "unaided", "reader", "human", "without ai"):
        raise ValueError(text)
    return False


CASE_ID = Column(name="case_id", titles=COLUMN_NAMES["case_id"] + " id", parse=str, required=True)
READER = Column(
    name="reader",
    titles="reader readerid readername radiologist observer rater befunder leser lecteur lector lettore 阅片者",
    parse=_filled,
    expected="a reader",
    required=True,
)
CALL = Column(
    name="call",
    titles="call readercall answer reading diagnosis befund diagnose diagnostic diagnostico diagnosi subtype label "
    "判读 诊断 判读结果",
    parse=str,
)
CONFIDENCE = Column(
    name="confidence",
    titles="confidence rating score certainty likelihood probability konfidenz sicherheit confiance confianza "
    "confidenza 置信度",
    parse=_number,
    expected="a number",
)
SECONDS = Column(
    name="seconds",
    titles="seconds secs readingseconds readingtime readingtimes time times duration sekunden zeit dauer temps "
    "tiempo tempo 秒 时间 阅片时间",
    parse=_seconds,
    expected="seconds above 0, or minutes:seconds",
)
AIDED = Column(
    name="aided",
    titles="aided assisted withai aisupport aiassisted mitki unterstutzt avecia conia ai辅助",
    parse=lambda text: _is_yes(text, "aided", "with ai"),
    expected="yes or no",
)
KIND = Column(
    name="kind",
    titles="kind readerkind model ismodel",
    parse=lambda text: _is_yes(text, "model", "ai", "algorithm"),
    expected="yes or no",
)
TRUTH = Column(
    name="truth",
    titles="truth groundtruth reference referencestandard goldstandard pathology histology referenz "
    "referenzstandard pathologie histologie patologia histologia 金标准 病理 病理结果",
    parse=str,
)
SCALE = Column(name="scale", titles="scale confidencescale skala echelle escala scala", parse=str)
PATIENT_ID = Column(name="patient_id", titles=COLUMN_NAMES["patient_id"].removesuffix(" id"), parse=str)
COLUMNS = (CASE_ID, READER, CALL, CONFIDENCE, SECONDS, AIDED, KIND, TRUTH, PATIENT_ID, SCALE)
CALLS = Sought(columns=COLUMNS, one_of=(("call", "confidence"),), setting="--columns")


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """How a table is read, and what is asked of it.

    Attributes:
        columns: Our name of a column to its title, where it is not a usual one.
        scale: Of the confidence, or ``auto``.
        models: Names in the column reader that are programs.
        margin: Loss of AUC against readers that would not matter in a model; None takes that of study.toml.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    scale: str = AUTO
    models: Sequence[str] = ()
    margin: float | None = None


def open_calls(path: Path, options: CallOptions) -> CheckedTable:
    """The file of a table of calls, its columns found.

    Raises:
        CohortError: A column is missing or there twice, or neither call nor confidence is there.
    """
    return CheckedTable.read(path, CALLS.with_named(options.columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row as parsed."""

    number: int
    who: Who
    case: str
    answer: ReaderAnswer
    model: bool


@dataclass(frozen=True, kw_only=True)
class _RowParser:
    """Turns rows of a table into answers, and notes what is wrong in them."""

    labels: CaseLabels
    meaning_of: Callable[[str], str | None]
    models: Sequence[str]

    def parse(self, row: CheckedRow) -> _Row | None:
        """The answer of one row; None where it names no known case."""
        reader, case = row.value(READER) or "", self._case(row)
        model = reader in self.models or (row.value(KIND) or False)
        answer = ReaderAnswer(
            call=self._call(row), confidence=row.value(CONFIDENCE), seconds=row.value(SECONDS)
        )
        who = (reader, row.value(AIDED) or False)
        if case is None:
            return None
        return _Row(number=row.number, who=who, case=case, answer=answer, model=model)

    @cached_property
    def by_folded(self) -> dict[str, str]:
        """Cases by their names in small letters."""
        return {case.casefold(): case for case in self.labels.patient_of}

    def _case(self, row: CheckedRow) -> str | None:
        text = row.text(CASE_ID)
        case = text if text in self.labels.patient_of else self.by_folded.get(text.casefold())
        if case is None:
            row.wrong(CASE_ID, "a case that is known")
            return None
        if case not in self.labels.truth:
            row.wrong(CASE_ID, "a case whose subtype is known", f"{case!r}, which has none")
            return None
        truth = row.text(TRUTH)
        if truth and self.meaning_of(truth) != self.labels.truth[case]:
            row.wrong(TRUTH, f"{self.labels.truth[case]}, the truth of case {case} elsewhere")
        return case

    def _call(self, row: CheckedRow) -> str | None:
        text = row.text(CALL)
        if plain_words(text) in UNKNOWN or is_not_sure(text):
            return None
        meant = self.meaning_of(text)
        if meant is None:
            row.wrong(CALL, f"{', '.join(self.labels.subtypes)}, another tumor, or not sure")
        return meant


def _check_percents(table: CheckedTable) -> None:
    """Notes confidences without % where others have it: 0.8 next to 80% could be either."""
    if any(row.text(CONFIDENCE).endswith("%") for row in table.rows):
        for row in table.rows:
            text = row.text(CONFIDENCE)
            if not text.endswith("%") and text.casefold() not in UNKNOWN:
                row.wrong(CONFIDENCE, "a number with %, as in other rows")


def read_calls(
    path: Path,
    labels: CaseLabels,
    meaning_of: Callable[[str], str | None],
    options: CallOptions | None = None,
) -> CallTable:
    """Read a table of calls.

    Args:
        path: Table with the columns case_id, reader, and call or confidence; also seconds, aided, kind, truth.
        labels: Truth of the cases that may occur.
        meaning_of: Our name of a subtype as typed; None where it is unknown.
        options: How it is read.

    Raises:
        CohortError: A cell is wrong, a reader answers a case twice, or the confidences fit no scale.
        ConfigError: The scale or a model named in the options does not exist.
    """
    options = options or CallOptions()
    table = open_calls(path, options)
    parser = _RowParser(labels=labels, meaning_of=meaning_of, models=options.models)
    rows = [row for row in map(parser.parse, table.rows) if row is not None]
    _check_percents(table)
    table.refuse()
    people = [row for row in rows if not row.model]
    _check_rows(path.name, rows, people, options)
    values = [row.answer.confidence for row in people if row.answer.confidence is not None]
    scale = scale_of(values, _wanted_scale(table, options), path.name) if values else None
    if not table.has(CALL) and len(labels.subtypes) > 2:
        raise CohortError(
            where=path.name,
            expected="a column call, because a confidence can only tell two subtypes apart",
            found=f"{len(labels.subtypes)} subtypes and no such column",
            remedy="add the column call",
        )
    readers = _gathered(people, labels, None if table.has(CALL) else scale)
    models = _gathered([row for row in rows if row.model], labels, None, model=True)
    return CallTable(
        readers=tuple(without_contradicted_confidences(reader, labels, scale) for reader in readers),
        models=models,
        scale=scale.in_words(labels.positive) if scale else "",
        findings=(*opening_findings(table.raw), *call_doubts(readers, labels, scale)),
        margin=options.margin or 0.0,
    )


def _wanted_scale(table: CheckedTable, options: CallOptions) -> str:
    """The scale that the user names, or else the table in its column scale.

    Raises:
        CohortError: The table names several.
    """
    named = sorted({text for row in table.rows if (text := row.text(SCALE))}) if table.has(SCALE) else []
    if options.scale != AUTO or not named:
        return options.scale
    if len(named) > 1:
        raise CohortError(
            where=f"{table.file}, column {table.title(SCALE)}",
            expected="one scale for all readers",
            found=first_few(named),
            remedy="bring the confidences to one scale",
        )
    return named[0]


def _check_rows(table: str, rows: Sequence[_Row], people: Sequence[_Row], options: CallOptions) -> None:
    """Refuse two answers about a case, a reader written in two ways, and a table without people or a named model."""
    first: dict[tuple[Who, str], int] = {}
    for row in rows:
        before = first.setdefault((row.who, row.case), row.number)
        if before != row.number:
            aided = " aided" if row.who[1] else ""
            raise CohortError(
                where=f"{table}, row {row.number}",
                expected=f"one answer of reader {row.who[0]}{aided} about case {row.case}",
                found=f"another one in row {before}",
                remedy="remove one, or mark in the column aided which one was given with help",
            )
    kinds = ("a person", "a program")
    named = [(row.number, row.who[0], f"{row.who[0]}, {kinds[row.model]}") for row in rows]
    refuse_two_spellings(table, named)
    if not people:
        raise CohortError(
            where=table,
            expected="readers' answers",
            found=f"{counted_noun(len(rows), 'row')}, all from models" if rows else "no row",
            remedy="add the readers' rows",
        )
    missing = sorted(set(options.models) - {row.who[0] for row in rows})
    if missing:
        raise ConfigError(
            where="--models",
            expected=f"readers of {table}: {names({row.who[0] for row in rows}, 10)}",
            found=", ".join(missing),
            remedy="correct the names",
        )


def _gathered(
    rows: Sequence[_Row], labels: CaseLabels, scale: Scale | None, model: bool = False
) -> tuple[Reader, ...]:
    """Readers in the order of the table, unaided first; with a scale, calls are made from the confidences."""
    found: dict[Who, dict[str, ReaderAnswer]] = {}
    for row in rows:
        answer, confidence = row.answer, row.answer.confidence
        if scale is not None and confidence is not None:
            answer = replace(answer, call=_call_of(confidence, labels, scale.middle))
        if model and answer.call is None and confidence is not None and 0 <= confidence <= 1:
            answer = replace(answer, call=_call_of(confidence, labels, 0.5))
        found.setdefault(row.who, {})[row.case] = answer
    source = "the table of calls" if model else ""
    order = sorted(found, key=lambda who: who[1])
    return tuple(Reader(name=w[0], aided=w[1], answers=found[w], model=model, source=source) for w in order)


def _call_of(confidence: float, labels: CaseLabels, middle: float) -> str | None:
    if confidence == middle or len(labels.subtypes) != 2:
        return None
    other = next(name for name in labels.subtypes if name != labels.positive)
    return labels.positive if confidence > middle else other


def labels_from_table(
    path: Path, positive: str | None, options: CallOptions | None = None
) -> tuple[CaseLabels, Callable[[str], str | None]]:
    """Truth and patient of each case from the table's own columns, and our name of a subtype as typed.

    Args:
        path: The table of calls, with a column truth.
        positive: The subtype that sensitivity and confidence refer to.
        options: How the table is read.

    Raises:
        CohortError: There is no column truth, a cell of it is empty, or a case has two truths or two patients.
        ConfigError: The positive subtype is not given, or is none of the table's.
    """
    table = open_calls(path, options or CallOptions())
    if not table.has(TRUTH):
        raise CohortError(
            where=path.name,
            expected="a column truth",
            found=first_few(title for title in table.header if title),
            remedy="add it, or use `nephroscope readers STUDY FILE.csv`, which takes the truth from the study",
        )
    truth: dict[str, str] = {}
    patient_of: dict[str, str] = {}
    for row in table.rows:
        case = row.text(CASE_ID)
        if not case:
            row.wrong(CASE_ID, "a case")
        for column, of_case in ((TRUTH, truth), (PATIENT_ID, patient_of)):
            text = row.text(column) if table.has(column) else case
            if text in MISSING:
                row.wrong(column, "a value")
            elif of_case.setdefault(case, text) != text:
                row.wrong(column, f"{of_case[case]}, as in another row of case {case}")
    table.refuse()
    subtypes = tuple(sorted(set(truth.values())))
    if len(subtypes) < 2:
        raise CohortError(
            where=f"{path.name}, column {table.title(TRUTH)}",
            expected="cases of two subtypes or more",
            found=", ".join(subtypes) or "no row",
            remedy="add the other cases",
        )
    named = match_subtype(positive, subtypes) if positive else None
    if named is None:
        raise ConfigError(
            where="--positive",
            expected=f"one of {', '.join(subtypes)}",
            found=repr(positive) if positive else "nothing",
            remedy="name the subtype that sensitivity refers to",
        )
    order = (named, *(name for name in subtypes if name != named))
    labels = CaseLabels(subtypes=order, positive=named, truth=truth, patient_of=patient_of)
    return labels, lambda text: name_of_subtype(text, order)
