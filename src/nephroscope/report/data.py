"""A page in; all that stands on it as plain data for report.json, out. What is no number is null, never NaN."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nephroscope.questions.evaluation.evaluate import report_as_dict
from nephroscope.report.content import Saliency
from nephroscope.report.page_parts import PageParts
from nephroscope.statistics.curve import Curve


def report_json(page: PageParts, figures: Iterable[str]) -> dict[str, Any]:
    """The main run's report at the top, as `evaluate` gives it; the rest of the page beside it.

    All runs, when there are several, stand under ``runs``; ``figures`` are the names of their files.
    """
    content = page.content
    found = report_as_dict(content.main.report) | {"version": content.version, "date": content.date}
    if len(content.runs) > 1:
        found["runs"] = [report_as_dict(run.report) for run in content.runs]
    return found | {
        "title": content.title,
        "marks": list(content.marks),
        "key_result": page.key_result,
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
        "environment": plain(content.environment),
        "probabilities": plain(page.appraisal),
        "cases": [plain(p) for p in content.main.report.predictions],
        "findings": plain(content.findings),
        "tables": plain(page.tables),
        "figures": sorted(figures),
        "checklists": plain(page.checklists),
        "saliency": None if content.saliency is None else _saliency(content.saliency),
        "sections": plain(page.sections_data),
    }


def _saliency(saliency: Saliency) -> dict[str, Any]:
    """All but the pictures, which are on the page."""
    cases = {case_id: [one.slice_index for one in maps] for case_id, maps in saliency.maps.items()}
    words = {"told": saliency.told, "check": saliency.check}
    return words | {"figures": plain(saliency.figures), "slices": cases}


def plain(value: Any) -> Any:
    """Records, arrays, mappings and numbers as JSON has them."""
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
