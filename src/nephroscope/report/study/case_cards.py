"""The cards of single cases: slices as the network saw them, with its probabilities and its call."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from nephroscope.base.text import counted_noun
from nephroscope.clinic.cut import apply_window
from nephroscope.imaging.picture import data_address
from nephroscope.records import Answer, Evaluation, SliceSpec
from nephroscope.report.page.drawing import color_of
from nephroscope.report.page.names import group_name
from nephroscope.report.study.content import FullSlice, ReportContent

HEADINGS = {
    "wrong": "Mistakes, worst first",
    "unsure": "Not sure",
    "right": "Classified correctly, the least sure first",
    "unlabelled": "Without a label",
}
MOST = {"wrong": 120, "unsure": 60, "right": 24, "unlabelled": 24}  # cards of each: 228 are about 6 MB
SIDE_PX = 176  # shown at half to two thirds of that: sharp on a dense screen and in print


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A thumbnail, the probability on that slice alone, and where the network looked; ``saliency`` may be empty."""

    address: str
    slice_index: int
    p: float | None
    saliency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseCard:
    """One case on the page.

    Attributes:
        verdict: wrong, unsure, right or unlabelled.
        bar: Name, share and color of each subtype, the positive one first.
        threshold: On the probability of the positive subtype; None with more than two subtypes.
    """

    prediction: Answer
    verdict: str
    facts: str
    full: FullSlice | None
    pictures: tuple[Picture, ...]
    bar: tuple[tuple[str, float, str], ...]
    threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSection:
    """Cards under one heading; ``n`` counts all cases of the kind, shown or not."""

    heading: str
    n: int
    cards: tuple[CaseCard, ...]


def case_sections(content: ReportContent) -> list[CardSection]:
    """The worst mistakes first, then what was not sure, then what was correct."""
    return [
        CardSection(
            heading=HEADINGS[verdict],
            n=len(members),
            cards=tuple(_card(content, p, verdict) for p in members[: MOST[verdict]]),
        )
        for verdict, members in _ordered(content).items()
        if members
    ]


def worst_cards(sections: list[CardSection], most: int = 3) -> list[CaseCard]:
    """The cards for the top of the page: mistakes, then what was not sure, then what was correct by the least."""
    return [card for section in sections for card in section.cards][:most]


def cases_with_cards(content: ReportContent) -> list[str]:
    """case_id of the cases that get a card, in the order of the page."""
    return [p.case_id for verdict, members in _ordered(content).items() for p in members[: MOST[verdict]]]


def verdict_of(prediction: Answer) -> str:
    """wrong, unsure, right or unlabelled."""
    if prediction.truth is None:
        return "unlabelled"
    if prediction.call is None:
        return "unsure"
    return "right" if prediction.call == prediction.truth else "wrong"


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
    shown_maps = content.saliency.maps if content.saliency and not content.saliency.failed else {}
    maps = shown_maps.get(prediction.case_id, ())
    seen = {saliency.slice_index: saliency.address for saliency in maps}
    pictures = tuple(
        Picture(address=address, slice_index=index, p=by_slice.get(index), saliency=seen.get(index, ""))
        for index, address in thumbnails(content.slices_of(prediction.case_id), content.spec)
    )
    order = sorted(report.subtypes, key=lambda s: s != report.positive)
    bar = tuple((s, prediction.probabilities[s], color_of(report.subtypes.index(s))) for s in order)
    return CaseCard(
        prediction=prediction,
        verdict=verdict,
        facts=_facts(content, prediction),
        full=content.full_slices.get(prediction.case_id),
        pictures=pictures,
        bar=bar,
        threshold=_threshold_of(report, prediction) if len(report.subtypes) == 2 else None,
    )


def _threshold_of(report: Evaluation, prediction: Answer) -> float:
    """The threshold that a case was called by."""
    points = report.operating_points
    return points[prediction.fold if len(points) > 1 else 0].threshold


def _facts(content: ReportContent, prediction: Answer) -> str:
    case = content.cohort.by_id.get(prediction.case_id)
    facts = [group_name(prediction.group)] if len(content.main.report.groups) > 1 else []
    facts += [counted_noun(len(prediction.slices), "slice")]
    if case is not None:
        facts += [{"M": "man", "F": "woman"}[case.clinical.sex]] if case.clinical.sex in ("M", "F") else []
        facts += [f"{case.clinical.age_years:.0f} y"] if case.clinical.age_years is not None else []
        facts += [f"{case.clinical.size_cm:.1f} cm"] if case.clinical.size_cm is not None else []
        facts += [case.phase] if case.phase != "unknown" else []
        facts += [f"ROI by {case.used.roi}"] if case.used.roi else []
    return " · ".join(facts)


def shown_rows(n: int, most: int = 3) -> list[int]:
    """Indices of up to ``most`` evenly spaced slices among ``n``: the middles of equal parts."""
    if n <= most:
        return list(range(n))
    return [int((i + 0.5) / most * n) for i in range(most)]


def thumbnails(
    slices: Iterable[tuple[int, npt.NDArray[np.int16]]], spec: SliceSpec, most: int = 3
) -> list[tuple[int, str]]:
    """(slice_index, data address) of up to ``most`` slices, evenly spaced from the first quarter to the last.

    Args:
        slices: (slice_index, HU (H, W)) in volume order.
        spec: Gives the window.
        most: Largest number of pictures.
    """
    rows = list(slices)
    return [(index, jpeg_address(hu, spec)) for index, hu in (rows[i] for i in shown_rows(len(rows), most))]


def jpeg_address(hu: npt.NDArray[np.int16], spec: SliceSpec) -> str:
    """A slice, (H, W) in HU, as ``data:image/jpeg;base64,...``."""
    gray = (apply_window(hu, spec) * 255).round().astype(np.uint8)
    picture = Image.fromarray(gray)
    picture.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    return data_address(picture)
