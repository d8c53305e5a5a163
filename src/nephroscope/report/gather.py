"""From a scored run to the content of its page."""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nephroscope.base.files import load_json
from nephroscope.base.tables import read_table
from nephroscope.base.version import __version__
from nephroscope.intake.export.series_table import SERIES_FILE
from nephroscope.learning.run_files import CompleteRun
from nephroscope.questions.evaluation.subgroups import series_facts, vendor_of
from nephroscope.records import Evaluation, Finding, TrainConfig
from nephroscope.report.content import ReportContent, RunContent, Scan
from nephroscope.report.shortcuts import probe_run


def gather(scored: CompleteRun, evaluation: Evaluation, findings: Sequence[Finding]) -> ReportContent:
    """Everything the page of one run shows; ``findings`` are those of the imports."""
    snapshot = scored.snapshot
    folder, settings, store = snapshot.folder, snapshot.settings, snapshot.slices
    curves, converged = {}, {}
    for fold in snapshot.split.folds:
        path = scored.folder / f"fold-{fold.index}"
        lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        curves[fold.index] = [_epoch(line) for line in lines]
        converged[fold.index] = bool(load_json(path / "fold.json", 1)["converged"])
    scans = scans_of(folder.root / SERIES_FILE)
    training = TrainConfig(**load_json(scored.folder / "config.json", 1)["training"])
    return ReportContent(
        title=folder.root.resolve().name,
        runs=(RunContent(report=evaluation, train=training, curves=curves, converged=converged),),
        cohort=snapshot.cohort,
        split=snapshot.split,
        slice_counts={case_id: len(rows) for case_id, rows in store.rows_by_case.items()},
        slices_of=store.slices_of,
        spec=store.spec,
        evaluation=snapshot.settings.evaluation,
        findings=(*findings, *store.findings),
        version=__version__,
        date=datetime.now(UTC).date().isoformat(),
        study=folder.root,
        cohort_config=settings.cohort,
        roi_config=settings.roi,
        environment=_json(scored.folder / "environment.json"),
        scans=scans,
        shortcuts=probe_run(snapshot, evaluation, scans),
        facts=series_facts(folder.root) if scans else {},
        roi_agreement=_json(folder.root / "agreement" / "agreement.json"),
    )


def scans_of(series_csv: Path) -> dict[str, Scan]:
    """Maker and slice spacing of the CT of each case, from series.csv; empty where the table or a column is not."""
    if not series_csv.exists():
        return {}
    header, rows = read_table(series_csv)
    if not {"case_ids", "manufacturer", "spacing_mm"} <= set(header):
        return {}
    scans: dict[str, Scan] = {}
    for _, cells in rows:
        row = dict(zip(header, cells, strict=True))
        made_by, spacing = row["manufacturer"], _number(row["spacing_mm"])
        scan = Scan(manufacturer=vendor_of(made_by) if made_by else "", spacing_mm=spacing)
        scans |= dict.fromkeys(row["case_ids"].split(), scan)
    return scans


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _json(path: Path) -> dict[str, Any]:
    return load_json(path, 1) if path.exists() else {}


def _epoch(line: str) -> dict[str, float]:
    """One line of metrics.jsonl; null is a loss that was no number."""
    return {name: math.nan if value is None else value for name, value in json.loads(line).items()}
