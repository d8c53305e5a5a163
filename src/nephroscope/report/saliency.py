"""A page's content and its scored run in; the same content with saliency maps on the first case cards, out."""

import base64
import io
import logging
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from nephroscope.clinic.cut import apply_window
from nephroscope.learning.run_files import CompleteRun
from nephroscope.questions.saliency.checks import SaliencyOfRun, shown_map
from nephroscope.questions.saliency.maps import Reader, saliency_of_run
from nephroscope.records import SliceSpec
from nephroscope.report.cards import cases_with_cards
from nephroscope.report.content import ReportContent, Saliency, SaliencyMap
from nephroscope.report.saliency_words import check_words
from nephroscope.report.thumbnails import SIDE_PX, shown_rows

logger = logging.getLogger(__name__)

MOST_CASES, MOST_OUTLINES = 24, 12  # first cards with maps, and with the ROI's line, for which a CT is read
MAP_COLOR, ROI_COLOR = (230, 159, 0), (86, 180, 233)  # orange and sky blue of Okabe and Ito
DENSEST = 0.6  # opacity of a map at its peak


def with_saliency(content: ReportContent, run: CompleteRun, read: Reader) -> ReportContent:
    """The content with maps for up to `MOST_CASES` cards, mistakes first, or with the reason why there are none.

    Args:
        content: Of the page.
        run: What it is about.
        read: Gives the CT and ROI of a case, for the outline of the tumor.
    """
    report = content.main.report
    if not report.converged:
        return replace(content, saliency=_none("the run did not converge"))
    wanted: dict[str, list[int]] = {}
    for case_id in cases_with_cards(content)[:MOST_CASES]:
        indices = [index for index, _ in content.slices_of(case_id)]
        wanted[case_id] = [indices[i] for i in shown_rows(len(indices))]
    logger.info("report: where the network looked, for %d cases", len(wanted))
    found = saliency_of_run(run, report.predictions, wanted, [*wanted][:MOST_OUTLINES], read)
    if found.missing:
        return replace(content, saliency=_none(found.missing))
    maps = {
        case_id: [
            SaliencyMap(slice_index=index, address=_picture(hu, (case_id, index), found, content.spec))
            for index, hu in content.slices_of(case_id)
            if index in indices
        ]
        for case_id, indices in wanted.items()
    }
    rows, columns = next(iter(found.signed.values())).shape
    told = (
        f"Below the slices of the first {len(maps)} cards: where the network looked, as Grad-CAM of its last feature "
        f"map ({rows} x {columns} places) for the subtype it called. Orange is what raised the log odds of that "
        "subtype; each slice is scaled by its own peak, so two slices cannot be compared in strength, and "
        "a slice without orange has nothing that spoke for it. Blue line: the tumor's ROI, where it was read. "
        "A research aid, not evidence."
    )
    check = check_words(found.figures)
    return replace(content, saliency=Saliency(maps=maps, told=told, check=check, figures=found.figures))


def _none(why: str) -> Saliency:
    return Saliency(maps={}, told=f"No saliency maps: {why}.", check="")


def _picture(hu: npt.NDArray[np.int16], place: tuple[str, int], found: SaliencyOfRun, spec: SliceSpec) -> str:
    """A slice (H, W) under its map and the line around its ROI, as ``data:image/jpeg;base64,...``."""
    side = min(SIDE_PX, hu.shape[0])
    gray = Image.fromarray((apply_window(hu, spec) * 255).round().astype(np.uint8))
    pixels = np.asarray(gray.resize((side, side), Image.Resampling.LANCZOS), np.float32)[..., None]
    opacity = DENSEST * shown_map(found.signed[place], side)[..., None]
    pixels = pixels * (1 - opacity) + np.array(MAP_COLOR, np.float32) * opacity
    if place in found.rois:
        pixels[_edge(found.rois[place], side)] = ROI_COLOR
    file = io.BytesIO()
    picture = Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
    picture.save(file, "JPEG", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _edge(roi: npt.NDArray[np.bool_], side: int) -> npt.NDArray[np.bool_]:
    """The border of a mask (H, W) drawn at (side, side): a line of two pixels, one on each side of it."""
    small = Image.fromarray(roi.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BILINEAR)
    inside = np.asarray(small) > 127
    around = np.pad(inside, 1, mode="edge")
    near = np.stack([around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]])
    edge: npt.NDArray[np.bool_] = near.any(axis=0) & ~(near.all(axis=0) & inside)
    return edge
