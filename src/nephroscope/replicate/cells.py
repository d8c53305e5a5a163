"""What the tables share: names of figures and protocols; an estimate in, a cell out."""

from typing import Any

from nephroscope.replicate.words import said
from nephroscope.report.tables import Cell

SHARES = ("accuracy", "sensitivity", "specificity", "precision")
LEAKY_NOTE = "LEAKY: split by image after augmentation; images of one patient are trained and validated on."
SETS = {"together": "all test cases"}
PROTOCOLS = {"paper": "paper's protocol, epoch chosen on the LEAKY split", "twin": "twin"}
FIGURE_NAMES = {
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "auc": "AUC",
}


def cell_of(estimate: dict[str, Any], before: str = "") -> Cell:
    """A figure with its interval, and below it what is counted."""
    if estimate["value"] is None:
        return Cell("none", before + _short(estimate["method"]))
    why = f" · {_short(estimate['method'])}" if estimate["low"] is None else ""
    n = estimate["n"]
    return Cell(said(estimate), f"{before}n = {n} {estimate['unit']}{'s' * (n != 1)}{why}")


def _short(method: str) -> str:
    """Why a figure has no interval, without what the column's header says."""
    why = method.rpartition("paper's protocol minus twin")[2].lstrip(";: ")
    return "no interval: without variance" if why.startswith("no interval: without variance") else why
