"""Figures about saliency maps in; the sentences of the page about them, its methods and limitations, out."""

from collections.abc import Mapping

from nephroscope.questions.saliency.checks import ALIKE, weights_verdict
from nephroscope.questions.saliency.maps import CHECKED, DRAWS
from nephroscope.records import Estimate
from nephroscope.report.content import ReportContent


def check_words(figures: Mapping[str, Estimate]) -> str:
    """What the sanity check found, and how much of the maps lies in the tumor."""
    if not _checked(figures):
        return "Whether the maps depend on the weights was not checked."
    verdict = {
        "depends": "The maps depend on the weights",
        "unclear": (
            "Warning: it is unclear whether the maps depend on the weights, as with random ones they should agree "
            f"less than {ALIKE:g}, and less than with the mirrored slice"
        ),
        "alike": "Warning: the maps look the same under random weights, so they do not explain the model",
        "unknown": "Whether the maps depend on the weights could not be checked",
    }[weights_verdict(figures)]
    words = [
        f"{verdict}: mean Spearman with the maps of the same network under random weights "
        f"{_told(figures['random'])}; without its sign {_told(figures['random_size'])}; for comparison, with the "
        f"map of the mirrored slice, which would be 1 for a steady map, {_told(figures['mirrored'])}."
    ]
    if "inside" in figures and figures["inside"].value is not None:
        words.append(_inside(figures))
    return " ".join(words)


def _checked(figures: Mapping[str, Estimate]) -> bool:
    return {"random", "random_size", "mirrored"} <= figures.keys()


def _inside(figures: Mapping[str, Estimate]) -> str:
    above = figures["inside_above_area"]
    verdict = "no more than an even map would have there"
    if above.low is not None and above.low > 0:
        verdict = "more than an even map would have there"
    elif above.high is not None and above.high < 0:
        verdict = "less than an even map would have there"
    return (
        f"The share of the map that lies in the ROI is {_told(figures['inside'])}; the ROI fills "
        f"{_told(figures['area'])} of the slice: {verdict} (difference {_told(above)})."
    )


def _told(figure: Estimate) -> str:
    if figure.value is None:
        return f"not available ({figure.method})"
    patients = f"{figure.n} patient{'' if figure.n == 1 else 's'}"
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
        f"the slice with the largest tumor of up to {CHECKED} test patients a fold, drawn whatever was called, and "
        f"correlates its signed map with those of {DRAWS} networks with random weights, whose batch-norm statistics "
        "are of the same slices; intervals by patient bootstrap."
    )
    return (("Saliency maps", text),)


def saliency_limitations(content: ReportContent) -> tuple[str, ...]:
    """What must be said of maps that were made; empty where there are none."""
    if content.saliency is None or not content.saliency.maps:
        return ()
    told = "Saliency maps show where a network looked, coarsely, and not why; no reader was tested with them."
    figures = content.saliency.figures
    verdict = weights_verdict(figures) if _checked(figures) else "unknown"
    extra = {
        "alike": " Here they look the same under random weights: they do not explain this model.",
        "unclear": " Here it is unclear whether they depend on the weights.",
        "unknown": " Whether they depend on the weights could not be checked.",
    }.get(verdict, "")
    return (told + extra,)
