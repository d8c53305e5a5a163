"""adjudication.csv: the cases on which two readers differ most, and what was decided about each of them.

The file is written with an empty column ``decision``; a person fills it, and it is read back, every mistake named.
Columns that a person adds, such as a comment, stay.
"""

import re
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
        case_id, decision = (
            cells["case_id"],
            "-".join(re.split(r"[\s_-]+", cells["decision"].lower().strip())),
        )
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
    """Write the cases whose Dice is below a limit, and those decided or remarked on; decisions and remarks are kept.

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
    more, remarks = _remarks(path)
    others = [name for name in {**decisions, **remarks} if name not in low]
    rows = [
        (name, known.get(name, ""), decisions.get(name, ""), *remarks.get(name, [""] * len(more)))
        for name in (*low, *others)
    ]
    if rows or path.exists():
        save_table(path, (*COLUMNS, *more), rows)
    return low


def _remarks(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Further columns of the file as it is, and what stands there by case_id."""
    if not path.exists():
        return [], {}
    header, rows = read_table(path)
    at = [index for index, name in enumerate(header) if name and name.lower() not in COLUMNS]
    own = [name.lower() for name in header].index("case_id")
    found = {row[own]: [row[index] for index in at] for _, row in rows}
    return [header[index] for index in at], {name: cells for name, cells in found.items() if any(cells)}
