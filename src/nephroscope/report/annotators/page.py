"""The page of two readers: an `AnnotatorReport` in; one HTML file without network, its JSON, CSV and figures out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from nephroscope.base.documents import as_plain, save_document
from nephroscope.base.files import save_text
from nephroscope.base.tables import save_table
from nephroscope.base.version import __version__
from nephroscope.questions.evaluation.annotators import AnnotatorReport, document_of
from nephroscope.records import Estimate
from nephroscope.regions.agreement import RoiAgreement
from nephroscope.report.annotators.figures import (
    READER_COLORS,
    Cut,
    bland_altman_figure,
    dice_figure,
    picture,
)
from nephroscope.report.page.names import RESEARCH_USE

FORMAT = 1
CSV_COLUMNS = (
    *("case_id", "patient_id", "dice", "surface_dice", "hd95_mm", "hausdorff_mm", "mean_surface_mm"),
    *("volume_ml_1", "volume_ml_2", "volume_difference_ml", "volume_difference_percent"),
    *(
        "diameter_mm_1",
        "diameter_mm_2",
        "n_slices_both",
        "slices_only_1",
        "slices_only_2",
        "adjudicate",
        "decision",
    ),
)
NAMES = {
    "dice": ("Dice", ""),
    "surface_dice": ("Surface Dice", ""),
    "hd95_mm": ("HD95", "mm"),
    "hausdorff_mm": ("Hausdorff distance", "mm"),
    "mean_surface_mm": ("Mean surface distance", "mm"),
    "volume_difference_percent": ("Volume difference", "%"),
}
LIMITS = {
    "volume": ("Volume", "ml"),
    "diameter": ("Largest axial diameter", "mm"),
}
Worst = Sequence[tuple[RoiAgreement, Sequence[Cut]]]


def write_agreement(folder: Path, title: str, report: AnnotatorReport, worst: Worst) -> Path:
    """Write index.html, agreement.json, agreement.csv and figures/*.svg into ``folder``.

    Returns:
        Path of index.html.
    """
    figures = _figures(report)
    for name, svg in figures.items():
        save_text(folder / "figures" / f"{name}.svg", svg)
    document = document_of(report)
    save_document(folder / "agreement.json", document, FORMAT)
    save_table(folder / "agreement.csv", CSV_COLUMNS, [_csv_row(as_plain(case)) for case in document.cases])
    save_text(folder / "index.html", render(title, report, figures, worst))
    return folder / "index.html"


def render(title: str, report: AnnotatorReport, figures: dict[str, str], worst: Worst) -> str:
    """The whole page as text."""
    environment = Environment(
        loader=PackageLoader("nephroscope.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("agreement.html.j2").render(
        title=title,
        version=__version__,
        report=report,
        figures=figures,
        marks=_marks(report),
        worst=[(case, picture(cuts)) for case, cuts in worst],
        pooled=_pooled_rows(report),
        limits=_limit_rows(report),
        colors=READER_COLORS,
        research_use=RESEARCH_USE,
        estimate=_estimate,
        ranges=_ranges,
    )


def _figures(report: AnnotatorReport) -> dict[str, str]:
    if not report.cases:
        return {}
    marks = _marks(report)
    drawn = {"dice": dice_figure(report, marks)}
    for what, (_, unit) in LIMITS.items():
        drawn[f"bland-altman-{what}"] = bland_altman_figure(report, what, unit, marks)
    return drawn


def _marks(report: AnnotatorReport) -> list[str]:
    return ["SYNTHETIC"] if report.synthetic else []


def _pooled_rows(report: AnnotatorReport) -> list[tuple[str, Estimate, Estimate]]:
    if not report.cases:
        return []
    rows = []
    for name, (words, unit) in NAMES.items():
        words = f"{words} ({unit})" if unit else words
        rows.append((words, report.pooled[name], report.pooled[f"{name}_median"]))
    return rows


def _limit_rows(report: AnnotatorReport) -> list[tuple[str, Estimate, Estimate, Estimate, Estimate]]:
    if not report.cases:
        return []
    rows = []
    for what, (words, unit) in LIMITS.items():
        for scale, label, suffix in (
            ("", f"{words}, difference ({unit})", f"_{unit}"),
            ("_ratio", f"{words}, ratio", ""),
        ):
            bias, low, high = (
                report.pooled[f"{what}{scale}_{name}{suffix}"] for name in ("bias", "limit_low", "limit_high")
            )
            rows.append((label, bias, low, high, report.pooled[f"{what}_growth"]))
    return rows


def _estimate(estimate: Estimate, digits: int = 3) -> dict[str, str]:
    """An estimate as text and the small print below it."""

    def text(value: float) -> str:
        return f"{value:#.{digits}g}".removesuffix(".")

    if estimate.value is None:
        return {"text": "not available", "small": estimate.method}
    if estimate.low is None or estimate.high is None:
        return {"text": text(estimate.value), "small": estimate.method}
    return {"text": text(estimate.value), "small": f"{text(estimate.low)} to {text(estimate.high)}"}


def _ranges(slices: Sequence[int]) -> str:
    """Slice numbers as ranges: 3-5, 9."""
    parts: list[list[int]] = []
    for index in slices:
        if parts and index == parts[-1][-1] + 1:
            parts[-1].append(index)
        else:
            parts.append([index])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def _csv_row(case: dict[str, Any]) -> list[str]:
    row = []
    for name in CSV_COLUMNS:
        value = case[name]
        if isinstance(value, float):
            row.append(f"{value:.6g}")
        elif isinstance(value, tuple | list):
            row.append(" ".join(map(str, value)))
        else:
            row.append("yes" if value is True else "" if value is False else str(value))
    return row
