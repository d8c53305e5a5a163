"""The page of a replication: content and figures in; index.html (one file, no network), CSV, SVG and PNG out."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from nephroscope import __version__
from nephroscope.cohort.tables import save_table
from nephroscope.files import save_text
from nephroscope.replicate import tables, tables_more, tables_tests, words
from nephroscope.replicate.setup import TOGETHER
from nephroscope.report.drawing import save_figures
from nephroscope.report.tables import Table
from nephroscope.report.words import RESEARCH_USE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER_PARTS = "The paper: 39 PRCC and 35 ChRCC tumors, 1,854 images; 6 and 4 test cases."
SECTIONS = (
    ("flow", "Flow"),
    ("copies", "Copies"),
    ("validation", "Six networks"),
    ("shuffled", "Shuffled labels"),
    ("tests", "Test cases"),
    ("roc", "ROC"),
    ("network", "The network"),
    ("resources", "Resources"),
    ("decisions", "Decisions"),
)


def marks_of(content: Mapping[str, Any]) -> list[str]:
    """SYNTHETIC, where it is."""
    return ["SYNTHETIC"] if content["synthetic"] else []


def write_page(folder: Path, content: dict[str, Any], figures: "Mapping[str, Figure]") -> Path:
    """Write index.html, tables/*.csv and figures/*.svg and *.png into ``folder``; gives the page's path."""
    drawn = save_figures(folder / "figures", figures)
    made = all_tables(content)
    for name, table in made.items():
        parts = table if isinstance(table, list) else [table]
        for number, part in enumerate(parts):
            suffix = f"-{number + 1}" if len(parts) > 1 else ""
            _save_csv(folder / "tables" / f"{name}{suffix}.csv", part, marks_of(content))
    save_text(folder / "index.html", _render(content, drawn, made))
    return folder / "index.html"


def all_tables(content: dict[str, Any]) -> dict[str, Table | list[Table]]:
    """Every table of the page by its name; the test sets are several."""
    sets = [TOGETHER, *(name for name in content["cohort"] if name != "development")]
    sets = sets if len(sets) > 2 else [TOGETHER]  # one set alone is all together
    made: dict[str, Table | list[Table]] = {
        "cohort_table": _cohort_table(content),
        "parameters": tables.parameter_table(content),
        "validation": tables.validation_table(content),
        "all_figures": tables.figure_table(content),
        "cases": tables_tests.case_table(content),
        "readers": tables_tests.reader_table(content),
        "tests": [
            tables_tests.test_table(content, name, {n["model"]: n["tests"][name] for n in content["models"]})
            for name in sets
        ],
        "areas": tables_more.area_table(content, sets),
        "layers": tables_more.layer_table(content),
        "resources": tables_more.resource_table(content),
        "decisions": tables_more.deviation_table(content),
    }
    if content["shuffled"]:
        made["shuffled"] = tables_more.shuffled_table(content)
    return made


def _render(content: dict[str, Any], figures: dict[str, str], made: dict[str, Table | list[Table]]) -> str:
    environment = Environment(
        loader=PackageLoader("nephroscope.replicate", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("zuo2021.html.j2").render(
        content=content,
        marks=marks_of(content),
        figures=figures,
        sections=SECTIONS,
        version=__version__,
        date=datetime.now(UTC).date().isoformat(),
        research_use=RESEARCH_USE,
        source=words.source(),
        **made,
    )


def _cohort_table(content: dict[str, Any]) -> Table:
    rows = []
    for part, n in content["cohort"].items():
        by_subtype = [str(n["by_subtype"][s]) for s in content["subtypes"]]
        rows.append((part, str(n["patients"]), str(n["cases"]), *by_subtype, f"{n['slices']:,}"))
    header = ("Part", "Patients", "Tumors", *content["subtypes"], "Slices")
    notes = (f"Positive: {content['positive']}. {PAPER_PARTS}",)

    return Table(caption="Parts of this study", header=header, rows=tuple(rows), notes=notes)


def _save_csv(path: Path, table: Table, marks: list[str]) -> None:
    """Header and rows; the small print of a figure in a column of its own, the marks in a last one."""
    small = {
        i for row in table.rows for i, cell in enumerate(row) if not isinstance(cell, str) and cell.small
    }
    header = [
        t for i, name in enumerate(table.header) for t in ([name, f"{name}, note"] if i in small else [name])
    ]
    rows = []
    for row in table.rows:
        line: list[str] = []
        for i, cell in enumerate(row):
            line.append(cell if isinstance(cell, str) else cell.text)
            if i in small:
                line.append("" if isinstance(cell, str) else cell.small)
        rows.append([*line, *marks])
    save_table(path, [*header, *(["mark"] if marks else [])], rows)
