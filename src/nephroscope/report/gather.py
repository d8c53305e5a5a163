"""From a scored run to the content of its page."""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime

from nephroscope import __version__
from nephroscope.evaluation.score_run import RunToScore
from nephroscope.files import load_json
from nephroscope.records import EvaluationReport, Finding, TrainConfig
from nephroscope.report.content import ReportContent, RunContent


def gather(
    title: str, scored: RunToScore, evaluation: EvaluationReport, findings: Sequence[Finding]
) -> ReportContent:
    """Everything the page of one run shows; ``findings`` are those of the imports."""
    store = scored.store
    curves, converged = {}, {}
    for fold in scored.split.folds:
        path = scored.folder / f"fold-{fold.index}"
        lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        curves[fold.index] = [_epoch(line) for line in lines]
        converged[fold.index] = bool(load_json(path / "fold.json", 1)["converged"])
    training = TrainConfig(**load_json(scored.folder / "config.json", 1)["training"])
    return ReportContent(
        title=title,
        runs=(RunContent(report=evaluation, train=training, curves=curves, converged=converged),),
        cohort=scored.cohort,
        split=scored.split,
        slice_counts={case_id: len(rows) for case_id, rows in store.rows_by_case.items()},
        slices_of=store.slices_of,
        spec=store.spec,
        evaluation=scored.config,
        findings=(*findings, *store.findings),
        version=__version__,
        date=datetime.now(UTC).date().isoformat(),
    )


def _epoch(line: str) -> dict[str, float]:
    """One line of metrics.jsonl; null is a loss that was no number."""
    return {name: math.nan if value is None else value for name, value in json.loads(line).items()}
