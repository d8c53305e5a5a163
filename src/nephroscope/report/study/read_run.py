"""A scored run of a study goes in; the content of its page comes out."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nephroscope.base.documents import read_document
from nephroscope.base.version import __version__
from nephroscope.intake.export.series_table import SEEN_FILE, seen_rows
from nephroscope.learning.engine.divisions import present_division
from nephroscope.learning.engine.predictions import Predictions
from nephroscope.learning.outside import check_outside
from nephroscope.learning.run_files import METRICS, CompleteRun, fold_file, started_run
from nephroscope.learning.score_run import usable_folds
from nephroscope.questions.compare.facts import Fact
from nephroscope.questions.compare.measures import TestSet
from nephroscope.questions.compare.probe import probe
from nephroscope.questions.compare.results import Shortcuts
from nephroscope.questions.evaluation.jitter import load_jitter
from nephroscope.questions.evaluation.subgroups import UNKNOWN, attributes_of, series_facts, vendor_of
from nephroscope.records import ChosenCase, Estimate, Evaluation, Finding, TrainConfig
from nephroscope.report.study.content import Environment, ReportContent, RunContent, Scan
from nephroscope.study.roi_warnings import roi_warnings
from nephroscope.study.snapshot import Snapshot

NAMED = ("vendor", "sex", "site", "phase")  # facts and their values, named as in the figures by subgroup


@dataclass(frozen=True, kw_only=True)
class _Fold:
    """What the page needs of fold.json."""

    converged: bool


@dataclass(frozen=True, kw_only=True)
class _Config:
    """What the page needs of a run's config.json."""

    training: TrainConfig


@dataclass(frozen=True, kw_only=True)
class _Agreement:
    """What the page needs of agreement.json."""

    pooled: dict[str, Estimate]


def read_run(run: CompleteRun, evaluation: Evaluation, findings: Sequence[Finding]) -> ReportContent:
    """Everything the page of one run shows; ``findings`` are those of the imports."""
    snapshot = run.snapshot
    folder, settings, store = snapshot.folder, snapshot.settings, snapshot.slices
    scans = scans_of(folder.root / SEEN_FILE, snapshot.cohort.chosen)
    doubts = roi_warnings(snapshot).load()
    environment, agreement = run.folder / "environment.json", folder.root / "agreement" / "agreement.json"
    return ReportContent(
        title=settings.report.title or folder.root.resolve().name,
        byline=settings.report.byline,
        runs=(run_content(run, evaluation),),
        cohort=snapshot.cohort,
        split=snapshot.split,
        slice_counts={case_id: len(rows) for case_id, rows in store.rows_by_case.items()},
        slices_of=store.slices_of,
        spec=store.spec,
        evaluation=settings.evaluation,
        findings=tuple(
            dict.fromkeys(
                (
                    *findings,
                    *evaluation.findings,
                    *snapshot.split.findings,
                    *store.findings,
                    *(doubts.findings if doubts else ()),
                )
            )
        ),
        roi_warnings=doubts.findings if doubts else None,
        version=__version__,
        date=datetime.now(UTC).date().isoformat(),
        study=folder.root,
        cohort_config=settings.cohort,
        roi_config=settings.roi,
        environment=read_document(environment, Environment, 1) if environment.exists() else None,
        scans=scans,
        shortcuts=_probe(snapshot, evaluation, scans),
        facts=series_facts(folder.root, snapshot.cohort.chosen) if scans else {},
        roi_agreement=_mean_dice(agreement) if agreement.exists() else None,
        jitter=load_jitter(run),
        outside=check_outside(snapshot),
    )


def run_content(run: CompleteRun, evaluation: Evaluation) -> RunContent:
    """A run with its evaluation, settings and learning curves."""
    curves, converged = {}, {}
    for fold in run.snapshot.split.folds:
        path = run.folder / f"fold-{fold.index}"
        lines = fold_file(run.folder, fold.index, METRICS).path.read_text(encoding="utf-8").splitlines()
        curves[fold.index] = [_epoch(line) for line in lines]
        converged[fold.index] = read_document(path / "fold.json", _Fold, 1).converged
    training = read_document(run.folder / "config.json", _Config, 1).training
    compute = started_run(run.folder).compute
    return RunContent(
        report=evaluation,
        train=training,
        curves=curves,
        converged=converged,
        exported=usable_folds(run.folder),
        keeps_prior=training.class_weights and compute is not None and compute.keeps_prior,
    )


def scans_of(seen_series_csv: Path, cases: Iterable[ChosenCase] = ()) -> dict[str, Scan]:
    """Maker and slice spacing of the CT of each case, from seen_series.csv; empty without its columns."""
    scans: dict[str, Scan] = {}
    for row in seen_rows(seen_series_csv, cases):
        if not {"case_ids", "manufacturer", "spacing_mm"} <= set(row):
            return {}
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


def _mean_dice(path: Path) -> Estimate | None:
    dice = read_document(path, _Agreement, 1).pooled.get("dice")
    return None if dice is None or dice.value is None else dice


def _epoch(line: str) -> dict[str, float]:
    """One line of metrics.jsonl; null is a loss that was no number."""
    return {name: math.nan if value is None else value for name, value in json.loads(line).items()}


def _probe(snapshot: Snapshot, report: Evaluation, scans: Mapping[str, Scan]) -> Shortcuts | None:
    """The shortcut probe on the first test set, with this run's answers and the facts known without reading an image.

    None for a LEAKY run or one that did not converge.
    """
    if report.leaky or not report.converged:
        return None
    labels = dict(snapshot.labels)
    group = report.groups[0].name
    asked = [p for p in report.predictions if p.group == group and p.case_id in labels]
    answers = Predictions(
        name=report.run,
        kind="network",
        description=report.model,
        p={p.case_id: tuple(p.probabilities[s] for s in report.subtypes) for p in asked},
        fold={p.case_id: p.fold for p in asked},
    )
    tests = TestSet.of(group, sorted(p.case_id for p in asked), labels, snapshot.cohort)
    cases = [snapshot.cohort.by_id[name] for name in sorted(labels)]
    facts, division = facts_known(cases, scans), present_division(snapshot, 0)
    return probe(snapshot, facts, [answers], tests, division)


def facts_known(cases: Sequence[ChosenCase], scans: Mapping[str, Scan]) -> list[Fact]:
    """What the study folder knows of the cases other than the tumor, named as in the figures by subgroup."""
    seen = {c.case_id: scans.get(c.case_id, Scan()) for c in cases}
    of = {c.case_id: attributes_of(c, {"vendor": seen[c.case_id].manufacturer or UNKNOWN}) for c in cases}
    spacing = {case_id: scan.spacing_mm for case_id, scan in seen.items() if scan.spacing_mm is not None}
    return [
        *(
            Fact(
                name=name,
                description=name,
                values={c: known[name] for c, known in of.items() if known[name] != UNKNOWN},
            )
            for name in NAMED
        ),
        Fact(name="source", description="source of intensities", values={c.case_id: c.source for c in cases}),
        Fact(name="slice spacing", description="slice spacing", values=spacing, unit="mm"),
    ]
