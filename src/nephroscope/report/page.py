"""The page itself: a `ReportContent` in, report/index.html (one file, no network), report.json and figures out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from nephroscope.evaluation.evaluate import report_as_dict
from nephroscope.files import save_json, save_text
from nephroscope.records import CasePrediction, EvaluationReport
from nephroscope.report import characteristics, tables, words
from nephroscope.report.content import ReportContent
from nephroscope.report.figures import all_figures, color_of, slug
from nephroscope.report.flow import flow_svg
from nephroscope.report.thumbnails import thumbnails


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A thumbnail with what the network said of that slice."""

    address: str
    slice_index: int
    p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseCard:
    """One case on the page; ``verdict`` is wrong, unsure, right or unlabelled."""

    prediction: CasePrediction
    verdict: str
    facts: str
    pictures: tuple[Picture, ...]


def write_report(folder: Path, content: ReportContent) -> Path:
    """Write index.html, report.json and figures/*.svg into ``folder``.

    Returns:
        Path of index.html.
    """
    figures = {"flow": flow_svg(content.cohort, content.split, content.findings), **all_figures(content)}
    for name, svg in figures.items():
        save_text(folder / "figures" / f"{name}.svg", svg)
    save_json(folder / "report.json", _report_json(content))
    save_text(folder / "index.html", render_page(content, figures))
    return folder / "index.html"


def render_page(content: ReportContent, figures: dict[str, str]) -> str:
    """The whole page as text."""
    environment = Environment(
        loader=PackageLoader("nephroscope.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    report = content.main.report
    template = environment.get_template("template.html.j2")
    return template.render(
        content=content,
        report=report,
        marks=content.marks,
        figures=figures,
        tables=tables,
        characteristics=characteristics,
        words=words,
        tiles=_tiles(report),
        groups=[(group, slug(group.name), _confusions(report, group)) for group in report.groups],
        sections=case_sections(content),
        thresholds=lambda p: _threshold(report, p),
        colors={s: color_of(i) for i, s in enumerate(report.subtypes)},
    )


def case_sections(content: ReportContent) -> list[tuple[str, list[CaseCard]]]:
    """(heading, cards): the worst mistakes first, then what was not sure, then what was right."""
    headings = {
        "wrong": "Mistakes, worst first",
        "unsure": "Not sure",
        "right": "Called right",
        "unlabelled": "Without a label",
    }
    cards: dict[str, list[CaseCard]] = {verdict: [] for verdict in headings}
    ordered = sorted(content.main.report.predictions, key=lambda p: p.probabilities.get(p.truth or "", 1.0))
    for prediction in ordered:
        card = _card(content, prediction)
        cards[card.verdict].append(card)
    return [(headings[verdict], members) for verdict, members in cards.items() if members]


def _card(content: ReportContent, prediction: CasePrediction) -> CaseCard:
    report = content.main.report
    if prediction.truth is None:
        verdict = "unlabelled"
    elif prediction.call is None:
        verdict = "unsure"
    else:
        verdict = "right" if prediction.call == prediction.truth else "wrong"
    shown = report.positive if len(report.subtypes) == 2 else prediction.truth or report.positive
    at = report.subtypes.index(shown)
    by_slice = {s.slice_index: s.probabilities[at] for s in prediction.slices}
    pictures = tuple(
        Picture(address=address, slice_index=index, p=by_slice.get(index))
        for index, address in thumbnails(content.slices_of(prediction.case_id), content.spec)
    )
    return CaseCard(
        prediction=prediction, verdict=verdict, facts=_facts(content, prediction), pictures=pictures
    )


def _facts(content: ReportContent, prediction: CasePrediction) -> str:
    case = content.cohort.by_id.get(prediction.case_id)
    facts = [tables.group_name(prediction.group)] if len(content.main.report.groups) > 1 else []
    facts += [f"{len(prediction.slices)} slices"]
    if case is not None:
        facts += [{"M": "man", "F": "woman"}[case.sex]] if case.sex in ("M", "F") else []
        facts += [f"{case.age_years:.0f} y"] if case.age_years is not None else []
        facts += [f"{case.size_cm:.1f} cm"] if case.size_cm is not None else []
        facts += [case.phase] if case.phase != "unknown" else []
    return " · ".join(facts)


def _threshold(report: EvaluationReport, prediction: CasePrediction) -> float:
    points = report.operating_points
    return points[prediction.fold if len(points) > 1 else 0].threshold


def _tiles(report: EvaluationReport) -> list[tuple[str, Any]]:
    """The four figures at the top."""
    two = len(report.subtypes) == 2
    names = ("auc", "accuracy", "sensitivity", "specificity") if two else ("auc", "accuracy", "coverage")
    return [(name, report.groups[0].case[name]) for name in names]


def _confusions(report: EvaluationReport, group: Any) -> list[tuple[str, Sequence[Sequence[int]]]]:
    if not report.converged:
        return []
    return [("by case", group.confusion_case), ("by image", group.confusion_image)]


def _report_json(content: ReportContent) -> dict[str, Any]:
    """The main run's report; all runs, when there are several, under ``runs``."""
    found = report_as_dict(content.main.report) | {"version": content.version, "date": content.date}
    if len(content.runs) > 1:
        found["runs"] = [report_as_dict(run.report) for run in content.runs]
    return found
