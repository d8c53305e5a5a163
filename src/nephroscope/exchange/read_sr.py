"""A structured report that `write_answer_sr` wrote -> the same answer again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nephroscope.base.documents import from_plain
from nephroscope.base.errors import SeriesError
from nephroscope.base.limits import parse_json
from nephroscope.exchange import codes, report_more
from nephroscope.exchange.codes import Code
from nephroscope.imaging.dicom.files import DICOM_DAMAGE, quiet, read_object
from nephroscope.imaging.files import damage_words
from nephroscope.records.prediction import Prediction

MOST_BYTES = 64 * 2**20
DEEPEST = 8  # items within items
COMPREHENSIVE_3D = "1.2.840.10008.5.1.4.1.1.88.34"
ROUNDING = 1e-9
AGAIN = "do not use it; predict the case again"


def read_answer(path: Path) -> Prediction:
    """The answer in a structured report of nephroscope, as `predict --json` printed it but for its picture's path.

    What is written there twice, coded for any program and as JSON, must agree.

    Raises:
        SeriesError: The file is damaged, no such report, or says two things.
    """
    where = "the structured report"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _refused(where, f"a report of at most {MOST_BYTES >> 20} MB", "a larger file")
        with quiet():
            report = read_object(path)
            items = list(_items(report, 0)) if report.get("SOPClassUID") == COMPREHENSIVE_3D else []
            said = [_text(item) for item in items if _is(item, codes.DOCUMENT)]
            if len(said) != 1:
                raise _refused(where, "a report of nephroscope with one answer", f"{len(said)} answers")
            content = parse_json(said[0])
            answer = from_plain(content, Prediction, where, AGAIN, SeriesError)
            _compare(answer, items, where)
    except DICOM_DAMAGE as error:
        found = f"one that cannot be read: {damage_words(error)}"
        raise _refused(where, "a whole structured report", found) from error
    return answer


def _refused(where: str, expected: str, found: str) -> SeriesError:
    return SeriesError(where=where, expected=expected, found=found, remedy=AGAIN)


def _items(item: Any, depth: int) -> Iterator[Any]:
    if depth > DEEPEST:
        return
    for child in item.get("ContentSequence") or []:
        yield child
        yield from _items(child, depth + 1)


def _is(item: Any, code: Code) -> bool:
    name = (item.get("ConceptNameCodeSequence") or [None])[0]
    return name is not None and (name.get("CodeValue"), name.get("CodingSchemeDesignator")) == code[:2]


def _text(item: Any) -> str:
    return str(item.get("TextValue") or "")


def _value(item: Any) -> str:
    return str(item.ConceptCodeSequence[0].CodeValue)


def _number(item: Any) -> float:
    value = item.MeasuredValueSequence[0]
    return float(value.get("FloatingPointValue", value.NumericValue))


def _compare(answer: Prediction, items: list[Any], where: str) -> None:
    """Refuse a report whose coded items say something else than its JSON.

    Raises:
        SeriesError: They do.
    """
    numbers = {codes.probability_code(name): p for name, p in answer.probabilities.items()}
    numbers |= {name: value for name, value, _ in report_more.numbers(answer)}
    for code, value in numbers.items():
        coded = [_number(item) for item in items if _is(item, code)]
        if len(coded) != 1 or abs(coded[0] - value) > ROUNDING:
            raise _refused(f"{where}, {code[2]}", f"{value:g}, as in the whole answer", f"{coded}")
    call = codes.subtype_code(answer.call) if answer.call else codes.UNDETERMINED
    for code, expected in ((codes.SUBTYPE, call), (codes.FORCED, codes.subtype_code(answer.forced_call))):
        found = [item.ConceptCodeSequence[0].CodeValue for item in items if _is(item, code)]
        if found != [expected[0]]:
            raise _refused(f"{where}, {code[2]}", f"{expected[0]}, as in the whole answer", f"{found}")
    for wanted, value_of in (
        (list(report_more.coded(answer)), _value),
        (list(report_more.texts(answer)), _text),
    ):
        for name in dict.fromkeys(one for one, _ in wanted):
            said = [value if isinstance(value, str) else value[0] for one, value in wanted if one == name]
            held = [value_of(item) for item in items if _is(item, name)]
            if held != said:
                raise _refused(f"{where}, {name[2]}", "as in the whole answer", "another")
    if [_text(item) for item in items if _is(item, codes.MODEL)] != [answer.model_digest]:
        raise _refused(f"{where}, {codes.MODEL[2]}", "that of the whole answer", "another")
