"""A table of calls that also holds the truth in; what is known of its cases, without a study, out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.tables import Mistakes, read_table
from nephroscope.intake.labels.pathology import match_subtype, name_of_subtype
from nephroscope.questions.readers.calls import Known
from nephroscope.questions.readers.read_calls import CallOptions, find_call_columns
from nephroscope.statistics.tables.columns import MISSING


@dataclass
class _Truths:
    """Truth and patient of each case, gathered row by row."""

    truth: dict[str, str] = field(default_factory=dict)
    patient_of: dict[str, str] = field(default_factory=dict)


def known_from_table(
    path: Path, positive: str | None, options: CallOptions | None = None
) -> tuple[Known, Callable[[str], str | None]]:
    """Truth and patient of each case from the table's own columns, and what a typed call means.

    Args:
        path: The table of calls, with a column truth.
        positive: Which subtype sensitivity and confidence are about.
        options: How the table is read.

    Raises:
        CohortError: There is no column truth, a cell of it is empty, or a case has two truths or two patients.
        ConfigError: The positive subtype is not said or none of the table's.
    """
    header, rows = read_table(path)
    where = find_call_columns(path.name, header, (options or CallOptions()).columns)
    if "truth" not in where:
        raise CohortError(
            where=path.name,
            expected="a column truth",
            found=", ".join(header),
            remedy="add it, or use `nephroscope readers STUDY FILE.csv`, which takes the truth from the study",
        )
    found = _gather(path.name, header, rows, where)
    subtypes = tuple(sorted(set(found.truth.values())))
    if len(subtypes) < 2:
        raise CohortError(
            where=f"{path.name}, column {header[where['truth']]}",
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
            remedy="say which subtype sensitivity is about",
        )
    order = (named, *(name for name in subtypes if name != named))
    known = Known(subtypes=order, positive=named, truth=found.truth, patient_of=found.patient_of)
    return known, lambda text: name_of_subtype(text, order)


def _gather(
    table: str, header: Sequence[str], rows: Sequence[tuple[int, list[str]]], where: dict[str, int]
) -> _Truths:
    mistakes, found = Mistakes(table), _Truths()
    kinds = (("truth", found.truth), ("patient_id", found.patient_of))
    for number, row in rows:
        case = row[where["case_id"]]
        if not case:
            mistakes.add(number, header[where["case_id"]], "a case", "nothing")
        for name, of_case in kinds:
            text = row[where[name]] if name in where else case
            if text in MISSING:
                mistakes.add(number, header[where[name]], "a value", repr(text) if text else "nothing")
            elif of_case.setdefault(case, text) != text:
                expected = f"{of_case[case]}, as in another row of case {case}"
                mistakes.add(number, header[where[name]], expected, repr(text))
    mistakes.refuse()
    return found
