"""The page itself: a `ReportContent` in; index.html (one file, no network) and everything beside it as files, out.

Beside it: report.json, figures/ (SVG and PNG), tables/ (CSV), checklists/ (Markdown and CSV) and model-card.md.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from nephroscope.base.errors import StudyError
from nephroscope.base.files import load_json, save_json, save_text
from nephroscope.records import Evaluation
from nephroscope.report import tables, words
from nephroscope.report.cards import case_sections, threshold_of
from nephroscope.report.checklists.items import counts
from nephroscope.report.checklists.write import CHECKLISTS, LEAD, save_checklists
from nephroscope.report.content import ReportContent
from nephroscope.report.data import report_json
from nephroscope.report.drawing import color_of, save_figures
from nephroscope.report.figures import slug
from nephroscope.report.model_card import model_card
from nephroscope.report.page_parts import PageParts, page_figures, page_parts
from nephroscope.report.page_tables import save_estimates, save_tables

FORMAT = 1
ENDINGS = {"figures": (".svg", ".png"), "tables": (".csv",)}


def remove_leftovers(folder: Path, kept: dict[str, Iterable[str]]) -> list[Path]:
    """Delete the figures and tables that the report of an earlier time wrote and the new one does not have.

    Args:
        folder: Of the report, its old report.json not yet replaced.
        kept: Names of the new ``figures`` and ``tables``.

    Returns:
        What was deleted.
    """
    old, gone = _old_report(folder / "report.json"), []
    for kind, endings in ENDINGS.items():
        told = old.get(kind)
        names = {name for name in told if isinstance(name, str)} if isinstance(told, dict | list) else set()
        for name in sorted(names - set(kept[kind])):
            for path in (folder / kind / f"{name}{ending}" for ending in endings):
                if path.parent == folder / kind and Path(name).name == name and path.is_file():
                    path.unlink()
                    gone.append(path)
    return gone


def _old_report(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return load_json(path, FORMAT)
    except StudyError:  # not a report of ours, or of a newer version: nothing is known of its files
        return {}


logger = logging.getLogger(__name__)

SECTIONS = (
    ("data", "Data"),
    ("split", "Split"),
    ("learning", "Learning"),
    ("results", "Results"),
    ("calibration", "Probabilities"),
    ("subgroups", "Subgroups"),
    ("comparison", "Comparison"),
    ("shortcuts", "Shortcuts"),
    ("readers", "Readers"),
    ("cases", "Cases"),
    ("methods", "Methods"),
    ("limits", "Limitations"),
    ("checklists", "Checklists"),
)


def write_report(folder: Path, content: ReportContent) -> Path:
    """Write the page and what stands beside it into ``folder``, and remove what an earlier page alone had there.

    Returns:
        Path of index.html.
    """
    logger.info("report: statistics of %d cases", len(content.main.report.predictions))
    page = page_parts(content)
    logger.info("report: figures and tables")
    drawn = save_figures(folder / "figures", page_figures(page))
    save_tables(folder / "tables", page.tables, content.marks)
    save_estimates(folder / "tables" / "figures.csv", content, page.appraisal)
    save_checklists(folder / "checklists", page.checklists, content.marks)
    save_text(folder / "model-card.md", model_card(content, page))
    remove_leftovers(folder, {"figures": drawn, "tables": page.tables})
    save_json(folder / "report.json", report_json(page, drawn))
    save_text(folder / "index.html", render_page(page, drawn))
    return folder / "index.html"


def render_page(page: PageParts, drawn: Mapping[str, str]) -> str:
    """The whole page as text; ``drawn`` holds its figures as SVG by name."""
    environment = Environment(
        loader=PackageLoader("nephroscope.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    content = page.content
    report = content.main.report
    return environment.get_template("template.html.j2").render(
        page=page,
        content=content,
        report=report,
        marks=content.marks,
        figures=drawn,
        shown=page.tables,
        tables=tables,
        words=words,
        navigation=SECTIONS,
        tiles=_tiles(report),
        groups=[(group, slug(group.name), _confusions(report, group)) for group in report.groups],
        sections=case_sections(content),
        thresholds=lambda p: threshold_of(report, p),
        colors={s: color_of(i) for i, s in enumerate(report.subtypes)},
        checklists=[(c, page.checklists[c.key], counts(page.checklists[c.key])) for c in CHECKLISTS],
        checklist_lead=LEAD,
    )


def _tiles(report: Evaluation) -> list[tuple[str, Any]]:
    """The four figures at the top."""
    two = len(report.subtypes) == 2
    names = ("auc", "accuracy", "sensitivity", "specificity") if two else ("auc", "accuracy", "coverage")
    return [(name, report.groups[0].case[name]) for name in names]


def _confusions(report: Evaluation, group: Any) -> list[tuple[str, Sequence[Sequence[int]]]]:
    if not report.converged:
        return []
    return [("by case", group.confusion_case), ("by image", group.confusion_image)]
