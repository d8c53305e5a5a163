"""Names of figures, test sets and subtypes as the pages print them, and a few words that all pages share."""

import re
from collections.abc import Sequence
from functools import cache
from itertools import combinations

from nephroscope.intake.labels.pathology import default_table
from nephroscope.questions.replicate.printed import NAMES as NETWORK_NAMES
from nephroscope.records import Estimate, Evaluation

RESEARCH_USE = "Research use only. Not a medical device; not for decisions about a patient."
NAMES = {
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "auc": "AUC",
    "coverage": "Coverage (share with a call)",
    "accuracy_when_sure": "Accuracy when sure",
}
ONE_OF = {"men": "man", "women": "woman"}
CONSENSUS = {
    "reader-1": "the first annotator's region was used",
    "reader-2": "the second annotator's region was used",
    "union": "the union of both regions was used",
    "intersection": "the intersection of both regions was used",
    "staple": "both regions were combined by STAPLE",
}


def network_name(model: str) -> str:
    """Name of a network as people write it; any other name as it is."""
    return NETWORK_NAMES.get(model, model)


def subtype_name(subtype: str) -> str:
    """Name of a subtype as people write it: ``clear_cell`` -> ``clear cell``."""
    return subtype.replace("_", " ")


def as_written(text: str) -> str:
    """A text with the names of networks and subtypes as people write them."""
    return _names().sub(lambda found: NETWORK_NAMES.get(found[0]) or subtype_name(found[0]), text)


@cache
def _names() -> re.Pattern[str]:
    subtypes = {row.subtype for row in default_table().rows if "_" in row.subtype}
    known = sorted({*NETWORK_NAMES, *subtypes}, key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, known))})(?!\w)")


def figure_name(name: str, report: Evaluation) -> str:
    """Name of a figure: ``sensitivity_PRCC`` -> ``Sensitivity (PRCC against the rest)``."""
    if name == "auc" and len(report.subtypes) > 2:
        return "AUC, mean over subtypes"
    if name in ("sensitivity", "specificity", "precision"):
        return f"{NAMES[name]} ({report.positive})"
    if name == "auc_pairs":
        return "AUC, mean over pairs of subtypes (Hand and Till)"
    for one, two in combinations(report.subtypes, 2):
        if name == f"auc_pairs_{one}_{two}":
            return f"AUC ({one} against {two})"
    kind, _, subtype = name.partition("_")
    return NAMES[name] if name in NAMES else f"{NAMES[kind]} ({subtype} against the rest)"


def group_name(name: str) -> str:
    """Name of a test set: ``out-of-fold`` -> ``cross-validation``."""
    known = {"out-of-fold": "cross-validation", "internal-test": "internal test set", "": "test cases"}
    if name.startswith("external-test:"):
        return f"external test set {name.partition(':')[2]}"
    return known.get(name, name)


def group_title(name: str) -> str:
    """Name of a test set at the start of a line; a name that somebody gave keeps its letters."""
    text = group_name(name)
    return text[:1].upper() + text[1:]


def slug(group: str) -> str:
    """A test set's name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", group).strip("-")


def percent(value: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * value:.1f} %"


def with_marks(text: str, marks: Sequence[str]) -> str:
    """A title with SYNTHETIC and LEAKY behind it."""
    return " · ".join([text, *marks])


def with_interval(e: Estimate, digits: int = 2) -> str:
    """``0.91 (0.84 to 0.96)``, or the value alone where there is no interval."""
    return "not available" if e.value is None else e.interval(f".{digits}f")
