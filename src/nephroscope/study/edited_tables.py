"""Tables that people edit too: our rows go in, and their columns, order and spelling stay."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.tables import read_table

Row = Mapping[str, str]  # by our name of the column
SameCell = Callable[[str, str, Row], bool]  # column, cell as it stands, the row as we would write it


@dataclass(frozen=True)
class EditedTable:
    """A table as it is to be written."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def merged_table(
    path: Path, wanted: Sequence[Row], columns: Sequence[str], key: Callable[[Row], Hashable], same: SameCell
) -> EditedTable | None:
    """The table at ``path`` with exactly the rows ``wanted``, or None where it has them already.

    A row that is there keeps its place, its further columns and every cell that says the same; rows that are new are
    appended, rows that are not wanted removed.

    Args:
        path: The table; it need not exist.
        wanted: Rows, each with all ``columns``.
        columns: Ours, in the order of a new table.
        key: Of a row: what makes it the same row.
        same: Whether a cell says what our row says in that column.
    """
    if not path.exists():
        return EditedTable(columns, [[row[name] for name in columns] for row in wanted])
    header, listed = read_table(path)
    at = {name.lower().replace(" ", "_"): place for place, name in reversed(list(enumerate(header)))}
    new = {key(row): row for row in wanted}
    missing = [name for name in columns if name not in at]
    added = [name for name in missing if any(not same(name, "", row) for row in wanted)]
    places = at | {name: len(header) + n for n, name in enumerate(added)}
    rows: list[list[str]] = []
    changed = bool(added)
    for _, cells in listed:
        row = new.pop(key({name: cells[place] for name, place in at.items()}), None)
        if row is None:
            changed = True
            continue
        rows.append(_kept(cells, row, places, same))
        changed = changed or rows[-1] != cells
    for row in new.values():
        rows.append(_kept([], row, places, lambda *_: False))
    return EditedTable((*header, *added), rows) if changed or new else None


def _kept(cells: Sequence[str], row: Row, places: Mapping[str, int], same: SameCell) -> list[str]:
    """A row of the table: cells that say what ``row`` says stay as they are."""
    found = [*cells, *[""] * (max(places.values()) + 1 - len(cells))]
    for name, place in places.items():
        if name in row and not same(name, found[place], row):
            found[place] = row[name]
    return found
