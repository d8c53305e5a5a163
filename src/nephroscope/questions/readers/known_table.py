"""A table of calls that also holds the truth in; what is known of its cases, without a study, out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nephroscope.base.columns import CheckedTable, listed_titles
from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.intake.labels.pathology import match_subtype, name_of_subtype
from nephroscope.questions.readers.calls import Known
from nephroscope.questions.readers.read_calls import CASE_ID, PATIENT_ID, TRUTH, CallOptions, open_calls
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
    table = open_calls(path, options or CallOptions())
    if not table.has(TRUTH):
        raise CohortError(
            where=path.name,
            expected="a column truth",
            found=listed_titles(table.header),
            remedy="add it, or use `nephroscope readers STUDY FILE.csv`, which takes the truth from the study",
        )
    found = _gather(table)
    subtypes = tuple(sorted(set(found.truth.values())))
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
            remedy="say which subtype sensitivity is about",
        )
    order = (named, *(name for name in subtypes if name != named))
    known = Known(subtypes=order, positive=named, truth=found.truth, patient_of=found.patient_of)
    return known, lambda text: name_of_subtype(text, order)


def _gather(table: CheckedTable) -> _Truths:
    found = _Truths()
    for row in table.rows:
        case = row.text(CASE_ID)
        if not case:
            row.wrong(CASE_ID, "a case")
        for column, of_case in ((TRUTH, found.truth), (PATIENT_ID, found.patient_of)):
            text = row.text(column) if table.has(column) else case
            if text in MISSING:
                row.wrong(column, "a value")
            elif of_case.setdefault(case, text) != text:
                row.wrong(column, f"{of_case[case]}, as in another row of case {case}")
    table.refuse()
    return found
