"""What an answer says besides subtype and probabilities, as items: limits, facts, sets, distance, jitter, and so on.

`numbers`, `coded` and `texts` are the items of the report, and what they are compared with when it is read back.
"""

from collections.abc import Iterator

from nephroscope.exchange import codes
from nephroscope.exchange.codes import Code
from nephroscope.records.prediction import Prediction

Number = tuple[Code, float, Code]  # name, value, unit


def numbers(answer: Prediction) -> Iterator[Number]:
    """Measurements; the threshold only where a call depends on it, as with two subtypes."""
    if len(answer.probabilities) == 2:
        yield codes.THRESHOLD, answer.threshold, codes.NO_UNIT
    yield codes.MARGIN, answer.not_sure_margin, codes.NO_UNIT
    for subtype, p in answer.image_probabilities.items():
        yield codes.image_code(subtype), p, codes.NO_UNIT
    for fact in answer.facts:
        if isinstance(fact.value, float):
            unit = codes.MILLIMETER if fact.unit == "mm" else codes.YEAR
            yield codes.FACTS[fact.name], fact.value, unit
        yield codes.moved_code(fact.name), fact.log_odds, codes.NO_UNIT
    if answer.outside is not None and answer.outside.distance is not None:
        yield codes.DISTANCE, answer.outside.distance, codes.NO_UNIT
        yield codes.DISTANCE_LIMIT, answer.outside.limit or 0.0, codes.NO_UNIT
    if answer.jitter:
        p_positive = [one.probabilities[answer.positive] for one in answer.jitter]
        yield codes.LOWEST, min(p_positive), codes.NO_UNIT
        yield codes.HIGHEST, max(p_positive), codes.NO_UNIT
    if answer.linked is not None:
        for subtype, p in answer.linked.probabilities.items():
            yield codes.linked_code(subtype), p, codes.NO_UNIT


def coded(answer: Prediction) -> Iterator[tuple[Code, Code]]:
    """Qualitative evaluations: name and value."""
    for fact in answer.facts:
        if not isinstance(fact.value, float):
            yield codes.SEX, codes.MALE if fact.value == "M" else codes.FEMALE
    if answer.possible is not None:
        for subtype in answer.possible.subtypes:
            yield codes.POSSIBLE, codes.subtype_code(subtype)
        if not answer.possible.subtypes:
            yield codes.POSSIBLE, codes.NONE_OF_THEM
    if answer.linked is not None:
        call = answer.linked.call
        yield codes.LINKED, codes.subtype_code(call) if call else codes.UNDETERMINED
        yield codes.LINKED_FORCED, codes.subtype_code(answer.linked.forced_call)


def texts(answer: Prediction) -> Iterator[tuple[Code, str]]:
    """Texts, each by its name."""
    if answer.possible is not None:
        yield codes.POSSIBLE_WORDS, answer.possible.words
    if answer.outside is not None:
        yield codes.FOREIGN, answer.outside.words
    for one in answer.jitter:
        if one.forced_call != answer.forced_call:
            yield codes.OTHER_CALL, one.roi
    if answer.linked is not None:
        yield codes.LINKED_REASON, answer.linked.reason
        yield codes.LINKED_MODEL, answer.linked.second.model_digest
