"""The page of a run: its content goes in; index.html and the files next to it come out.

Next to the page: report.json, figures/ (SVG and PNG), tables/ (CSV), checklists/ (Markdown and CSV), model-card.md.
`SECTIONS` lists the sections in reading order; a new one is a file in ``sections`` and a line here.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nephroscope.base.documents import as_plain, read_document
from nephroscope.base.errors import StudyError
from nephroscope.base.files import save_json, save_text
from nephroscope.base.tables import save_table
from nephroscope.questions.evaluation.evaluate import document_of
from nephroscope.records import Estimate, counted_noun
from nephroscope.report.checklists.checklist import AnsweredItem, save_answers
from nephroscope.report.page.drawing import save_figures, save_paper_figures
from nephroscope.report.page.names import network_name
from nephroscope.report.page.render import Page, render
from nephroscope.report.page.section import Block, Filled, Fragment, Section, Text
from nephroscope.report.page.table import Table, save_csv
from nephroscope.report.study.appraisal import Appraisal, RunSource, source_of
from nephroscope.report.study.content import Environment, ReportContent, Saliency
from nephroscope.report.study.key_result import key_result, other_sets
from nephroscope.report.study.model_card import model_card
from nephroscope.report.study.sections.cases import CASES
from nephroscope.report.study.sections.checklists import CHECKLISTS, LISTS
from nephroscope.report.study.sections.cohort import COHORT
from nephroscope.report.study.sections.comparison import COMPARISON
from nephroscope.report.study.sections.control import CONTROL
from nephroscope.report.study.sections.facts import FACTS
from nephroscope.report.study.sections.jitter import JITTER
from nephroscope.report.study.sections.learning import LEARNING
from nephroscope.report.study.sections.limitations import LIMITATIONS
from nephroscope.report.study.sections.methods import METHODS
from nephroscope.report.study.sections.outside import OUTSIDE
from nephroscope.report.study.sections.probabilities import PROBABILITIES
from nephroscope.report.study.sections.readers import READERS
from nephroscope.report.study.sections.results import RESULTS
from nephroscope.report.study.sections.sets import SETS
from nephroscope.report.study.sections.shortcuts import SHORTCUTS
from nephroscope.report.study.sections.split import SPLIT
from nephroscope.report.study.sections.subgroups import SUBGROUPS
from nephroscope.statistics.resampling import Curve

FORMAT = 1
ENDINGS = {"figures": (".svg", ".png"), "tables": (".csv",)}
SECTIONS: tuple[Section[RunSource], ...] = (
    *(COHORT, SPLIT, LEARNING, RESULTS, PROBABILITIES, SETS, OUTSIDE, JITTER, SUBGROUPS),
    *(COMPARISON, FACTS, CONTROL, SHORTCUTS, READERS),
    *(CASES, METHODS, LIMITATIONS, CHECKLISTS),
)
AT_THE_TOP = (RESULTS, COMPARISON, CASES, LIMITATIONS)  # in this order, what these sections show first
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class RunPage:
    """Everything on the page of a run, computed once for HTML, JSON and model card; ``sections`` by their ids."""

    source: RunSource
    sections: Mapping[str, Filled]

    @property
    def content(self) -> ReportContent:
        """What the page is made from."""
        return self.source.content

    @property
    def methods(self) -> tuple[tuple[str, str], ...]:
        """(heading, text) of each method."""
        return self.sections[METHODS.id].methods

    @property
    def limitations(self) -> tuple[str, ...]:
        """All of them, most serious first."""
        return self.sections[LIMITATIONS.id].limitations

    @property
    def checklists(self) -> Mapping[str, tuple[AnsweredItem, ...]]:
        """Answers to every reporting checklist, by its key."""
        answers: Mapping[str, tuple[AnsweredItem, ...]] = self.sections[CHECKLISTS.id].data  # type: ignore[assignment]
        return answers

    @property
    def tables(self) -> Mapping[str, Table]:
        """Every table by the name of its file."""
        return self.page.tables

    @property
    def page(self) -> Page:
        """The page as it is rendered."""
        content, report = self.content, self.content.main.report
        subtypes = (" against " if len(report.subtypes) == 2 else ", ").join(report.subtypes)
        warning = (
            "The split is LEAKY: slices of one patient are used in both training and testing. "
            "No figure holds for a new patient."
        )
        digests = (
            ("cohort", report.cohort_digest),
            ("run", report.run_digest),
            ("slices", content.spec.digest),
        )
        return Page(
            title=content.title,
            byline=content.byline,
            subtitle=f"{subtypes} on CT · {network_name(report.model)} · run {report.run}",
            folded=True,
            marks=content.marks,
            sections=[(section, self.sections[section.id]) for section in SECTIONS],
            top=self._top(),
            state="" if report.converged else "DID NOT CONVERGE",
            warning=warning if "LEAKY" in content.marks else "",
            footer=(
                f"nephroscope {content.version}",
                *(f"{name} {digest}" for name, digest in digests),
                content.date,
            ),
            version=content.version,
            date=content.date,
        )

    def _top(self) -> list[Block]:
        compared = self.sections[COMPARISON.id].headline or "Not yet compared with baselines on these folds."
        others = other_sets(self.content)
        limits = counted_noun(len(self.limitations), "limitation")
        return [
            Text(key_result(self.content), "key", marked=True),
            *([Text(others, "second")] if others else []),
            Fragment("study/compared.html.j2", (compared, limits)),
            *(block for one in AT_THE_TOP for block in self.sections[one.id].top),
        ]


def page_of(content: ReportContent) -> RunPage:
    """Fill every section; each sees the content of those above it."""
    source = source_of(content)
    return fill_page(source)


def fill_page(source: RunSource) -> RunPage:
    """The sections of a page from what they are filled from."""
    filled: dict[str, Filled] = {}
    for section in SECTIONS:
        above = replace(source, above=tuple(filled.values()))
        filled[section.id] = section.filled(above, source.content.title)
    return RunPage(source=source, sections=filled)


def page_figures(page: RunPage) -> dict[str, Figure]:
    """Every figure of the page, by the name of its file."""
    return {name: draw() for name, draw in page.page.figures.items()}


def write_report(folder: Path, content: ReportContent, paper: bool = False) -> Path:
    """Write the page and its files into ``folder``, and remove what only an earlier page had there.

    Args:
        folder: Of the report.
        content: Of the page.
        paper: Write figures/paper too: PDF, SVG and PNG for a journal.

    Returns:
        Path of index.html.
    """
    logger.info("report: statistics of %s", counted_noun(len(content.main.report.predictions), "case"))
    page = page_of(content)
    logger.info("report: figures and tables")
    drawn = save_figures(folder / "figures", page_figures(page))
    if paper:
        save_paper_figures(folder / "figures" / "paper", page_figures(page))
    tables = page.tables
    for name, table in tables.items():
        save_csv(folder / "tables" / f"{name}.csv", table, content.marks)
    save_estimates(folder / "tables" / "figures.csv", content, page.source.appraisal)
    for checklist in LISTS:
        save_answers(folder / "checklists", checklist, page.checklists[checklist.key], content.marks)
    save_text(folder / "model-card.md", card_of(page))
    remove_leftovers(folder, {"figures": drawn, "tables": tables})
    save_json(folder / "report.json", report_json(page, drawn))
    save_text(folder / "index.html", render(page.page, drawn))
    return folder / "index.html"


def card_of(page: RunPage) -> str:
    """The model card of the run, as Markdown."""
    return model_card(page.source, page.methods, page.limitations)


def remove_leftovers(folder: Path, kept: Mapping[str, Iterable[str]]) -> list[Path]:
    """Delete the figures and tables that an earlier report wrote and the new one does not have.

    Args:
        folder: Of the report, its old report.json not yet replaced.
        kept: Names of the new ``figures`` and ``tables``.

    Returns:
        What was deleted.
    """
    try:
        old = read_document(folder / "report.json", _Written, FORMAT)
    except StudyError:  # none, or not a report of ours, or of a newer version: nothing is known of its files
        return []
    gone = []
    for kind, endings in ENDINGS.items():
        for name in sorted({*getattr(old, kind)} - {*kept[kind]}):
            for path in (folder / kind / f"{name}{ending}" for ending in endings):
                if path.parent == folder / kind and Path(name).name == name and path.is_file():
                    path.unlink()
                    gone.append(path)
    return gone


@dataclass(frozen=True, kw_only=True)
class _Written:
    """What is needed of the report.json of an earlier page: the names of its files."""

    figures: tuple[str, ...] = ()
    tables: Mapping[str, Any] = field(default_factory=dict)


def save_estimates(path: Path, content: ReportContent, appraisal: Appraisal) -> None:
    """Write every estimate of the page in one row each: value, interval, n, unit, method."""
    rows = [
        [group.name, part, name, *_columns(e)]
        for group in content.main.report.groups
        for part in ("case", "majority", "image")
        for name, e in getattr(group, part).items()
    ]
    for group in appraisal.groups.values():
        rows += [
            [group.name, f"calibration, {how}", name, *_columns(e)]
            for how, figures in group.calibration.items()
            for name, e in figures.items()
        ]
        for s in group.subgroups:
            rows += [
                [group.name, f"{s.attribute}: {s.value}", name, *_columns(e)] for name, e in s.figures.items()
            ]
    mark = " ".join(content.marks)
    header = ["test_set", "part", "figure", "value", "low", "high", "n", "unit", "method", "mark"]
    save_table(path, header, [[*row, mark] for row in rows])


def _columns(e: Estimate) -> list[object]:
    numbers = ["" if x is None else f"{x:.6g}" for x in (e.value, e.low, e.high)]
    return [*numbers, e.n, e.unit, e.method]


def report_json(page: RunPage, figures: Iterable[str]) -> dict[str, object]:
    """The main run's report at the top, as `evaluate` gives it, then the rest of the page.

    With several runs, all are under ``runs``; ``figures`` are the names of their files.
    """
    content, appraisal = page.content, page.source.appraisal
    recorded = content.environment or Environment()
    found: dict[str, object] = as_plain(document_of(content.main.report)) | {
        "version": content.version,
        "date": content.date,
    }
    if len(content.runs) > 1:
        found["runs"] = [as_plain(document_of(run.report)) for run in content.runs]
    data = {name: filled.data for name, filled in page.sections.items() if name != CHECKLISTS.id}
    return found | {
        "title": content.title,
        "marks": list(content.marks),
        "key_result": key_result(content),
        "methods": [{"heading": heading, "text": text} for heading, text in page.methods],
        "limitations": list(page.limitations),
        "settings": plain(
            {
                "training": content.main.train,
                "slices": content.spec,
                "split": content.split.config,
                "evaluation": content.evaluation,
                "cohort": content.cohort_config,
                "roi": content.roi_config,
            }
        ),
        "environment": {name: value for name, value in as_plain(recorded).items() if value not in ("", None)},
        "probabilities": {
            "groups": plain(appraisal.groups),
            "rescalings": plain(appraisal.rescalings),
            "not_to_be_had": appraisal.why_not_rescaled,
        },
        "cases": [plain(p) for p in content.main.report.predictions],
        "findings": plain(content.findings),
        "tables": {name: table.as_json() for name, table in page.tables.items()},
        "figures": sorted(figures),
        "checklists": plain(page.checklists),
        "saliency": None if content.saliency is None else _saliency(content.saliency),
        "sections": {name: plain(value) for name, value in data.items() if value is not None},
    }


def _saliency(saliency: Saliency) -> dict[str, object]:
    """All but the pictures, which are on the page."""
    cases = {case_id: [one.slice_index for one in maps] for case_id, maps in saliency.maps.items()}
    texts = {"told": saliency.text, "check": saliency.check}
    return texts | {"figures": plain(saliency.figures), "slices": cases}


def plain(value: Any) -> Any:
    """Records, arrays, mappings and numbers as JSON has them; what is no number is null, never NaN."""
    if isinstance(value, Curve):
        return value.as_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.name if isinstance(value, Path) else value
