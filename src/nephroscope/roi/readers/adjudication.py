"""adjudication.csv: the cases on which two readers differ most, and what was decided about each of them.

The file is written with an empty column ``decision``; a person fills it, and it is read back, every mistake named.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from nephroscope.cohort.tables import Mistakes, read_table, save_table
from nephroscope.errors import CohortError
from nephroscope.roi.readers.consensus import EXCLUDE

FILE = "adjudication.csv"
COLUMNS = ("case_id", "dice", "decision")
DECISIONS = ("reader-1", "reader-2", "union", "intersection", EXCLUDE)


def load_decisions(path: Path, case_ids: Collection[str]) -> dict[str, str]:
    """Decisions by case_id; none where the file is not there or nothing is filled in.

    Raises:
        CohortError: A column is missing, a decision is none of the five, or a case is unknown or there twice.
    """
    if not path.exists():
        return {}
    header, rows = read_table(path)
    names = [name.lower() for name in header]
    if not {"case_id", "decision"} <= set(names):
        raise CohortError(
            where=path.name,
            expected=f"the columns {', '.join(COLUMNS)}",
            found=", ".join(header),
            remedy="restore the header line",
        )
    mistakes, decisions = Mistakes(path.name), {}
    for number, row in rows:
        cells = dict(zip(names, row, strict=True))
        case_id, decision = cells["case_id"], cells["decision"].lower()
        if not decision:
            continue
        if case_id not in case_ids or case_id in decisions:
            found = f"{case_id!r} twice" if case_id in decisions else repr(case_id)
            mistakes.add(number, "case_id", "a case of cohort.csv, once", found)
        if decision not in DECISIONS:
            mistakes.add(number, "decision", f"one of {', '.join(DECISIONS)}, or nothing", repr(decision))
        decisions[case_id] = decision
    mistakes.refuse()
    return decisions


def save_adjudication(
    path: Path, dices: Iterable[tuple[str, float]], below: float, decisions: Mapping[str, str]
) -> list[str]:
    """Write the cases whose Dice is below a limit, and those decided already; decisions are kept.

    Args:
        path: Of the file.
        dices: (case_id, Dice) of every case that two readers drew.
        below: The limit.
        decisions: As they were before.

    Returns:
        case_id of the cases below the limit, the worst first.
    """
    listed = sorted(dices, key=lambda row: (row[1], row[0]))
    low = [name for name, dice in listed if dice < below]
    known = {name: f"{dice:.4f}" for name, dice in listed}
    rows = [(name, known[name], decisions.get(name, "")) for name in low]
    rows += [(name, known.get(name, ""), what) for name, what in decisions.items() if name not in low]
    if rows or path.exists():
        save_table(path, COLUMNS, rows)
    return low
