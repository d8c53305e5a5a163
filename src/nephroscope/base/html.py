"""HTML for notebooks: flat records become one small table, every value escaped."""

from collections.abc import Sequence
from html import escape

Record = dict[str, object]  # a row of plain values, as `pandas.DataFrame` takes it
MOST_ROWS = 60


class ShownAsTable:
    """A result that a notebook shows as a table; `records` gives the rows to `pandas.DataFrame`."""

    __slots__ = ()

    def records(self) -> list[Record]:
        """The rows, each a flat dict of plain values."""
        raise NotImplementedError

    def summary(self) -> str:
        """One line above the table."""
        return ""

    def _repr_html_(self) -> str:
        return html_table(self.records(), self.summary())


def html_table(records: Sequence[Record], heading: str = "") -> str:
    """A table with a heading above it; decimals are rounded to three digits, rows after the 60th are counted.

    Args:
        records: Rows; the keys of the first are the columns.
        heading: Text above the table.
    """
    parts = [f"<p><b>{escape(heading)}</b></p>"] if heading else []
    if records:
        columns = list(records[0])
        head = "".join(f"<th>{escape(name)}</th>" for name in columns)
        rows = ["".join(_cell(record.get(name)) for name in columns) for record in records[:MOST_ROWS]]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    else:
        parts.append("<p>none</p>")
    if len(records) > MOST_ROWS:
        parts.append(f"<p>and {len(records) - MOST_ROWS} more rows; records() gives all</p>")
    return "\n".join(parts)


def _cell(value: object) -> str:
    if value is None:
        text = ""
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = f"{value:.3f}"
    else:
        text = str(value)
    return f"<td>{escape(text)}</td>"
