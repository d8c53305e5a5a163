"""A CSV of radiologists' calls in; readers with their answers and doubts out; mistakes are named by cell."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.tables import UNKNOWN, Mistakes, names, read_table
from nephroscope.base.words import is_not_sure, plain_words
from nephroscope.intake.labels.table import COLUMN_NAMES, plain
from nephroscope.intake.labels.values import NO, YES
from nephroscope.questions.readers.calls import CallTable, Known, Reader, Reading, Who
from nephroscope.questions.readers.confidence import AUTO, Scale, believed, call_doubts, scale_of
from nephroscope.records import counted_noun

# Compared without case, accents and whatever is neither letter nor digit; the first named is taken.
NAMES = {
    "case_id": COLUMN_NAMES["case_id"] + " id",
    "reader": "reader readerid readername radiologist observer rater befunder leser lecteur lector lettore 阅片者",
    "call": "call readercall answer reading diagnosis befund diagnose diagnostic diagnostico diagnosi subtype label",
    "confidence": "confidence rating score certainty likelihood probability konfidenz sicherheit confiance confianza "
    "confidenza 置信度",
    "seconds": "seconds secs readingseconds readingtime readingtimes time times duration sekunden zeit dauer temps "
    "tiempo tempo",
    "aided": "aided assisted withai aisupport aiassisted mitki unterstutzt",
    "kind": "kind readerkind model ismodel",
    "truth": "truth groundtruth reference referencestandard goldstandard pathology histology",
    "patient_id": COLUMN_NAMES["patient_id"].removesuffix(" id"),
}


def find_call_columns(table: str, header: Sequence[str], named: Mapping[str, str]) -> dict[str, int]:
    """Place of each column that the table has.

    Args:
        table: File name, for refusals.
        header: Of the table.
        named: Our name to header, where the user says it.

    Raises:
        CohortError: A column is not there, is there twice, or neither call nor confidence is there.
    """
    plain_header = [plain(title) for title in header]
    where: dict[str, int] = {}
    for name, spellings in NAMES.items():
        wanted = [plain(named[name])] if name in named else spellings.split()
        found = [i for word in wanted for i, title in enumerate(plain_header) if title == word]
        found = [i for i in found if i not in where.values()]
        if name in named and not found:
            raise _refusal(table, f"a column {named[name]!r}", header, "correct its name")
        if found:
            if plain_header.count(plain_header[found[0]]) > 1:
                raise _refusal(table, f"one column {header[found[0]]!r}", header, "rename one of them")
            where[name] = found[0]
    for name in ("case_id", "reader"):
        if name not in where:
            raise _refusal(table, f"a column {name}", header, "rename the column")
    if not {"call", "confidence"} & where.keys():
        raise _refusal(table, "a column call or a column confidence", header, "add what the readers answered")
    return where


def _refusal(table: str, expected: str, header: Sequence[str], remedy: str) -> CohortError:
    return CohortError(where=table, expected=expected, found=", ".join(header), remedy=remedy)


LONGEST_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """How a table is read.

    Attributes:
        columns: Our name of a column to its header, where it is not a usual one.
        scale: Of the confidence, or ``auto``.
        models: Readers of the table that are programs.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    scale: str = AUTO
    models: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    number: int
    who: Who
    case: str
    reading: Reading
    model: bool


class _Rows:
    """Reads the rows of one table cell by cell."""

    def __init__(
        self, path: Path, known: Known, means: Callable[[str], str | None], options: CallOptions
    ) -> None:
        header, self.rows = read_table(path)
        self.name, self.known, self.means, self.options = path.name, known, means, options
        self.where = find_call_columns(self.name, header, options.columns)
        self.header, self.mistakes = header, Mistakes(self.name)
        self.by_folded = {case.casefold(): case for case in known.patient_of}

    def cell(self, row: Sequence[str], name: str) -> str:
        return row[self.where[name]] if name in self.where else ""

    def wrong(self, number: int, name: str, expected: str, found: str) -> None:
        self.mistakes.add(
            number, self.header[self.where[name]], expected, repr(found) if found else "nothing"
        )

    def read(self) -> list[_Row]:
        """All rows, or the refusal of all mistakes."""
        found = [self._row(number, row) for number, row in self.rows]
        self._percents()
        self.mistakes.refuse()
        return [row for row in found if row is not None]

    def _row(self, number: int, row: Sequence[str]) -> _Row | None:
        reader, case = self.cell(row, "reader"), self._case(number, row)
        if not reader:
            self.wrong(number, "reader", "a reader", "")
        model = reader in self.options.models or self._yes(number, row, "kind", ("model", "ai", "algorithm"))
        reading = Reading(
            call=self._call(number, row),
            confidence=self._number(number, row, "confidence"),
            seconds=self._seconds(number, row),
        )
        aided = self._yes(number, row, "aided", ("aided", "with ai"))
        if case is None:
            return None
        return _Row(number=number, who=(reader, aided), case=case, reading=reading, model=model)

    def _case(self, number: int, row: Sequence[str]) -> str | None:
        text = self.cell(row, "case_id")
        case = text if text in self.known.patient_of else self.by_folded.get(text.casefold())
        if case is None:
            self.wrong(number, "case_id", "a case that is known", text)
            return None
        if case not in self.known.truth:
            self.wrong(number, "case_id", "a case whose subtype is known", f"{case}, without one")
            return None
        said = self.cell(row, "truth")
        if said and self.means(said) != self.known.truth[case]:
            self.wrong(number, "truth", f"{self.known.truth[case]}, the truth of case {case} elsewhere", said)
        return case

    def _call(self, number: int, row: Sequence[str]) -> str | None:
        text = self.cell(row, "call")
        if plain_words(text) in UNKNOWN or is_not_sure(text):
            return None
        meant = self.means(text)
        if meant is None:
            self.wrong(number, "call", f"{', '.join(self.known.subtypes)}, another tumor, or not sure", text)
        return meant

    def _number(self, number: int, row: Sequence[str], name: str) -> float | None:
        text = self.cell(row, name)
        if text.casefold() in UNKNOWN:
            return None
        try:
            value = float(text.replace(",", ".").removesuffix("%"))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.wrong(number, name, "a number", text)
            return None
        return value

    def _percents(self) -> None:
        """Notes confidences without % where others have it: 0.8 beside 80% could be either."""
        given = [(number, self.cell(row, "confidence")) for number, row in self.rows]
        if any(text.endswith("%") for _, text in given):
            for number, text in given:
                if not text.endswith("%") and text.casefold() not in UNKNOWN:
                    self.wrong(number, "confidence", "a number with %, as in other rows", text)

    def _seconds(self, number: int, row: Sequence[str]) -> float | None:
        text = self.cell(row, "seconds")
        clock = re.fullmatch(r"(\d+):([0-5]\d)", text)
        value = 60.0 * int(clock[1]) + int(clock[2]) if clock else self._number(number, row, "seconds")
        if value is not None and not 0 < value <= LONGEST_S:
            self.wrong(number, "seconds", "seconds above 0, or minutes:seconds", text)
            return None
        return value

    def _yes(self, number: int, row: Sequence[str], name: str, also: Sequence[str]) -> bool:
        word = plain_words(self.cell(row, name))
        if word in (*YES, *also):
            return True
        if word not in (*NO, *UNKNOWN, "unaided", "reader", "human", "without ai"):
            self.wrong(number, name, "yes or no", word)
        return False


def read_calls(
    path: Path, known: Known, means: Callable[[str], str | None], options: CallOptions | None = None
) -> CallTable:
    """Read a table of calls.

    Args:
        path: CSV with the columns case_id, reader, and call or confidence; also seconds, aided, kind, truth.
        known: Truth of the cases that may be named.
        means: What a typed subtype is called, None where nobody can tell.
        options: How it is read.

    Raises:
        CohortError: A cell is wrong, a reader answers a case twice, or confidences stand on no one scale.
        ConfigError: The scale or a model named in the options does not exist.
    """
    options = options or CallOptions()
    reading = _Rows(path, known, means, options)
    rows = reading.read()
    _refuse_twice(path.name, rows)
    _refuse_two_spellings(path.name, rows)
    people = [row for row in rows if not row.model]
    _check_people(path.name, rows, people, options)
    values = [row.reading.confidence for row in people if row.reading.confidence is not None]
    scale = scale_of(values, options.scale, path.name) if values else None
    if "call" not in reading.where and len(known.subtypes) > 2:
        raise CohortError(
            where=path.name,
            expected="a column call, as a confidence names one of two subtypes only",
            found=f"{len(known.subtypes)} subtypes and no such column",
            remedy="add the column call",
        )
    of_calls = "call" in reading.where
    readers = _gathered(people, known, scale if not of_calls else None)
    models = _gathered([row for row in rows if row.model], known, None, model=True)
    return CallTable(
        readers=tuple(believed(reader, known, scale) for reader in readers),
        models=models,
        scale=scale.told(known.positive) if scale else "",
        findings=tuple(call_doubts(readers, known, scale)),
    )


def _refuse_twice(table: str, rows: Sequence[_Row]) -> None:
    first: dict[tuple[Who, str], int] = {}
    for row in rows:
        before = first.setdefault((row.who, row.case), row.number)
        if before != row.number:
            aided = " aided" if row.who[1] else ""
            raise CohortError(
                where=f"{table}, row {row.number}",
                expected=f"one answer of reader {row.who[0]}{aided} about case {row.case}",
                found=f"another one in row {before}",
                remedy="remove one, or tell them apart in the column aided",
            )


def _refuse_two_spellings(table: str, rows: Sequence[_Row]) -> None:
    """One reader as "Dr. A" and "dr a" would be two; as person and program, too."""
    first: dict[str, _Row] = {}
    for row in rows:
        name = row.who[0]
        before = first.setdefault(" ".join(re.findall(r"\w+", name.casefold())), row)
        if before.who[0] != name or before.model != row.model:
            kinds = ("a person", "a program")
            told = [f"{one.who[0]}, {kinds[one.model]}" for one in (before, row)]
            raise CohortError(
                where=f"{table}, row {row.number}",
                expected=f"a reader written in one way ({told[0]}, in row {before.number})",
                found=told[1],
                remedy="write the reader alike in all rows, or give two readers names that differ in more",
            )


def _check_people(table: str, rows: Sequence[_Row], people: Sequence[_Row], options: CallOptions) -> None:
    if not people:
        raise CohortError(
            where=table,
            expected="answers of readers",
            found=f"{counted_noun(len(rows), 'row')}, all of models" if rows else "no row",
            remedy="add them",
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
    rows: Sequence[_Row], known: Known, scale: Scale | None, model: bool = False
) -> tuple[Reader, ...]:
    """Readers in the order of the table, unaided first; with a scale, calls are made of confidences."""
    found: dict[Who, dict[str, Reading]] = {}
    for row in rows:
        reading = row.reading
        if scale is not None and reading.confidence is not None:
            reading = replace(reading, call=_call_of(reading.confidence, known, scale.middle))
        if model and reading.call is None and reading.confidence is not None and 0 <= reading.confidence <= 1:
            reading = replace(reading, call=_call_of(reading.confidence, known, 0.5))
        found.setdefault(row.who, {})[row.case] = reading
    told = "the table of calls" if model else ""
    order = sorted(found, key=lambda who: who[1])
    return tuple(Reader(name=w[0], aided=w[1], readings=found[w], model=model, told=told) for w in order)


def _call_of(confidence: float, known: Known, middle: float) -> str | None:
    if confidence == middle or len(known.subtypes) != 2:
        return None
    other = next(name for name in known.subtypes if name != known.positive)
    return known.positive if confidence > middle else other
