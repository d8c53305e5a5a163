"""Saliency maps on the case cards: a page's content and its scored run go in, the content with maps comes out.

With the maps come the sentences about them: how they were made, what their check found, and their limits.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from nephroscope.clinic.cut import apply_window
from nephroscope.imaging.picture import data_address
from nephroscope.learning.run_files import CompleteRun
from nephroscope.questions.saliency.checks import ALIKE, SaliencyOfRun, shown_map, weights_verdict
from nephroscope.questions.saliency.maps import CHECKED, DRAWS, CaseReader, saliency_of_run
from nephroscope.records import Estimate, SliceSpec, counted_noun
from nephroscope.report.study.case_cards import SIDE_PX, cases_with_cards, shown_rows
from nephroscope.report.study.content import ReportContent, Saliency, SaliencyMap

logger = logging.getLogger(__name__)

MOST_CASES, MOST_OUTLINES = 24, 12  # first cards with maps, and with the ROI's line, for which a CT is read
MAP_COLOR, ROI_COLOR = (230, 159, 0), (86, 180, 233)  # orange and sky blue of Okabe and Ito
DENSEST = 0.6  # opacity of a map at its peak


def with_saliency(content: ReportContent, run: CompleteRun, read: CaseReader) -> ReportContent:
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
    text = (
        f"The first {len(maps)} cards also show, below each slice, where the network looked: Grad-CAM of "
        f"its last feature map ({rows} x {columns} cells) for the subtype it called. Orange marks what "
        "raised the log odds of that subtype. Each slice is scaled by its own peak, so the strength "
        "cannot be compared between slices. In a slice without orange, nothing raised the log odds. "
        "Blue line: the tumor's ROI, if it could be read. "
        "A research aid, not evidence."
    )
    check = check_sentences(found.figures)
    return replace(content, saliency=Saliency(maps=maps, text=text, check=check, figures=found.figures))


def _none(why: str) -> Saliency:
    return Saliency(maps={}, text=f"No saliency maps: {why}.", check="")


def _picture(hu: npt.NDArray[np.int16], place: tuple[str, int], found: SaliencyOfRun, spec: SliceSpec) -> str:
    """A slice (H, W) under its map and the line around its ROI, as ``data:image/jpeg;base64,...``."""
    side = min(SIDE_PX, hu.shape[0])
    gray = Image.fromarray((apply_window(hu, spec) * 255).round().astype(np.uint8))
    pixels = np.asarray(gray.resize((side, side), Image.Resampling.LANCZOS), np.float32)[..., None]
    opacity = DENSEST * shown_map(found.signed[place], side)[..., None]
    pixels = pixels * (1 - opacity) + np.array(MAP_COLOR, np.float32) * opacity
    if place in found.rois:
        pixels[_edge(found.rois[place], side)] = ROI_COLOR
    return data_address(Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)), subsampling=0)


def _edge(roi: npt.NDArray[np.bool_], side: int) -> npt.NDArray[np.bool_]:
    """The border of a mask (H, W) drawn at (side, side): a line of two pixels, one on each side of it."""
    small = Image.fromarray(roi.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BILINEAR)
    inside = np.asarray(small) > 127
    around = np.pad(inside, 1, mode="edge")
    near = np.stack([around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]])
    edge: npt.NDArray[np.bool_] = near.any(axis=0) & ~(near.all(axis=0) & inside)
    return edge


def check_sentences(figures: Mapping[str, Estimate]) -> str:
    """What the sanity check found, and how much of the maps lies in the tumor."""
    if not _checked(figures):
        return "Whether the maps depend on the weights was not checked."
    verdict = {
        "depends": "The maps depend on the weights",
        "unclear": (
            "Warning: it is unclear whether the maps depend on the weights. Their correlation with maps "
            f"of random weights should be below {ALIKE:g} and below that with the mirrored slice"
        ),
        "alike": "Warning: the maps look the same under random weights, so they do not explain the model",
        "unknown": "Whether the maps depend on the weights could not be checked",
    }[weights_verdict(figures)]
    words = [
        f"{verdict}: mean Spearman correlation with the maps of the same network under random weights "
        f"{_with_patients(figures['random'])}; ignoring the sign {_with_patients(figures['random_size'])}; for "
        "comparison, with the map of the mirrored slice, which would be 1 for a stable map, "
        f"{_with_patients(figures['mirrored'])}."
    ]
    if "inside" in figures and figures["inside"].value is not None:
        words.append(_inside(figures))
    return " ".join(words)


def _checked(figures: Mapping[str, Estimate]) -> bool:
    return {"random", "random_size", "mirrored"} <= figures.keys()


def _inside(figures: Mapping[str, Estimate]) -> str:
    above = figures["inside_above_area"]
    verdict = "no more than for an evenly spread map"
    if above.low is not None and above.low > 0:
        verdict = "more than for an evenly spread map"
    elif above.high is not None and above.high < 0:
        verdict = "less than for an evenly spread map"
    return (
        f"The proportion of the map inside the ROI is {_with_patients(figures['inside'])}, and the ROI fills "
        f"{_with_patients(figures['area'])} of the slice: {verdict} (difference {_with_patients(above)})."
    )


def _with_patients(figure: Estimate) -> str:
    if figure.value is None:
        return f"not available ({figure.method})"
    patients = counted_noun(figure.n, "patient")
    if figure.low is None or figure.high is None:
        return f"{_signed(figure.value)} ({patients})"
    return f"{_signed(figure.value)} ({_signed(figure.low)} to {_signed(figure.high)}; {patients})"


def _signed(value: float) -> str:
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "\N{MINUS SIGN}")


def saliency_methods(content: ReportContent) -> tuple[tuple[str, str], ...]:
    """How the maps were made and checked; empty where there are none."""
    if content.saliency is None or not content.saliency.maps:
        return ()
    text = (
        "Maps are Grad-CAM (Selvaraju 2017) of the last feature map before the mean over the image, for the log odds "
        "of the forced call against the other subtypes, each slice by the network of the fold that answered it; "
        "negative places are not shown, and each slice is scaled by its own peak. The check (Adebayo 2018) takes "
        f"the slice with the largest tumor of up to {CHECKED} test patients a fold, chosen regardless of the call, "
        f"and correlates its signed map with those of {DRAWS} networks with random weights, whose batch-norm "
        "statistics come from the same slices; intervals by patient bootstrap."
    )
    return (("Saliency maps", text),)


def saliency_limitations(content: ReportContent) -> tuple[str, ...]:
    """The limits of saliency maps; empty where there are none."""
    if content.saliency is None or not content.saliency.maps:
        return ()
    text = "Saliency maps show roughly where a network looked, not why; they were not tested with readers."
    figures = content.saliency.figures
    verdict = weights_verdict(figures) if _checked(figures) else "unknown"
    extra = {
        "alike": " Here they look the same under random weights: they do not explain this model.",
        "unclear": " Here it is unclear whether they depend on the weights.",
        "unknown": " Whether they depend on the weights could not be checked.",
    }.get(verdict, "")
    return (text + extra,)
