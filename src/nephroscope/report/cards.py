"""A page's content in; a card of every case worth a look, in the order of the page, and a table of all, out."""

from dataclasses import dataclass

from nephroscope.records import Answer, Evaluation
from nephroscope.report import tables
from nephroscope.report.content import ReportContent
from nephroscope.report.tables import Table
from nephroscope.report.thumbnails import thumbnails

HEADINGS = {
    "wrong": "Mistakes, worst first",
    "unsure": "Not sure",
    "right": "Called right, the least sure first",
    "unlabelled": "Without a label",
}
MOST = {"wrong": 120, "unsure": 60, "right": 24, "unlabelled": 24}  # cards of each: 228 are some 6 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A thumbnail, what the network said of that slice, and where it looked; ``saliency`` is empty without a map."""

    address: str
    slice_index: int
    p: float | None
    saliency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseCard:
    """One case on the page; ``verdict`` is wrong, unsure, right or unlabelled."""

    prediction: Answer
    verdict: str
    facts: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSection:
    """Cards under one heading; ``n`` counts all of the kind, shown or not."""

    heading: str
    n: int
    cards: tuple[CaseCard, ...]


def case_sections(content: ReportContent) -> list[CardSection]:
    """The worst mistakes first, then what was not sure, then what was right."""
    by_verdict = _ordered(content)
    return [
        CardSection(
            heading=HEADINGS[verdict],
            n=len(members),
            cards=tuple(_card(content, p, verdict) for p in members[: MOST[verdict]]),
        )
        for verdict, members in by_verdict.items()
        if members
    ]


def cases_with_cards(content: ReportContent) -> list[str]:
    """case_id of the cases that get a card: those a saliency map is worth computing for."""
    return [p.case_id for verdict, members in _ordered(content).items() for p in members[: MOST[verdict]]]


def case_table(content: ReportContent) -> Table:
    """Every case, one row each, in the order of cohort.csv where it stands there."""
    report = content.main.report
    order = {case.case_id: i for i, case in enumerate(content.cohort.cases)}
    rows = [
        (
            p.case_id,
            tables.group_name(p.group),
            p.truth or "",
            p.call or "not sure",
            p.forced_call,
            *(f"{p.probabilities[s]:.3f}" for s in report.subtypes),
            str(len(p.slices)),
            verdict_of(p),
        )
        for p in sorted(report.predictions, key=lambda p: order.get(p.case_id, len(order)))
    ]
    header = (
        "Case",
        "Test set",
        "Truth",
        "Call",
        "Forced call",
        *(f"p {s}" for s in report.subtypes),
        "Slices",
        "Verdict",
    )
    return Table(caption="Every case", header=header, rows=tuple(rows))


def verdict_of(prediction: Answer) -> str:
    """wrong, unsure, right or unlabelled."""
    if prediction.truth is None:
        return "unlabelled"
    if prediction.call is None:
        return "unsure"
    return "right" if prediction.call == prediction.truth else "wrong"


def threshold_of(report: Evaluation, prediction: Answer) -> float:
    """The threshold that a case was called by."""
    points = report.operating_points
    return points[prediction.fold if len(points) > 1 else 0].threshold


def _ordered(content: ReportContent) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = {verdict: [] for verdict in HEADINGS}
    for p in sorted(content.main.report.predictions, key=lambda p: p.probabilities.get(p.truth or "", 1.0)):
        found[verdict_of(p)].append(p)
    return found


def _card(content: ReportContent, prediction: Answer, verdict: str) -> CaseCard:
    report = content.main.report
    shown = report.positive if len(report.subtypes) == 2 else prediction.truth or report.positive
    at = report.subtypes.index(shown)
    by_slice = {s.slice_index: s.probabilities[at] for s in prediction.slices}
    maps = content.saliency.maps.get(prediction.case_id, ()) if content.saliency else ()
    seen = {saliency.slice_index: saliency.address for saliency in maps}
    pictures = tuple(
        Picture(address=address, slice_index=index, p=by_slice.get(index), saliency=seen.get(index, ""))
        for index, address in thumbnails(content.slices_of(prediction.case_id), content.spec)
    )
    return CaseCard(
        prediction=prediction, verdict=verdict, facts=_facts(content, prediction), pictures=pictures
    )


def _facts(content: ReportContent, prediction: Answer) -> str:
    case = content.cohort.by_id.get(prediction.case_id)
    facts = [tables.group_name(prediction.group)] if len(content.main.report.groups) > 1 else []
    facts += [f"{len(prediction.slices)} slices"]
    if case is not None:
        facts += [{"M": "man", "F": "woman"}[case.sex]] if case.sex in ("M", "F") else []
        facts += [f"{case.age_years:.0f} y"] if case.age_years is not None else []
        facts += [f"{case.size_cm:.1f} cm"] if case.size_cm is not None else []
        facts += [case.phase] if case.phase != "unknown" else []
    return " · ".join(facts)
