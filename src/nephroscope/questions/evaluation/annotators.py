"""How far two annotators agree in a study: figures over all cases, with intervals over patients."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from nephroscope.base.errors import NephroscopeError, StudyError
from nephroscope.base.files import Seen
from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.progress import track
from nephroscope.intake.labels.pathology import load_pathology, name_of_subtype
from nephroscope.records import (
    ChosenCase,
    Cohort,
    CTVolume,
    Estimate,
    EvaluationConfig,
    Finding,
    RoiMask,
    counted_noun,
)
from nephroscope.regions.agreement import RoiAgreement, compare
from nephroscope.regions.consensus import EXCLUDE, combine, load_decisions, read_readers, save_adjudication
from nephroscope.regions.consensus import FILE as DECISIONS_FILE
from nephroscope.statistics.bland_altman import bland_altman, growth
from nephroscope.statistics.intervals import Patients, Statistic, clustered_bootstrap, percentile_interval
from nephroscope.statistics.kappa import LabelAgreement, compare_labels
from nephroscope.statistics.metrics import Floats
from nephroscope.study.snapshot import Snapshot

logger = logging.getLogger(__name__)
Keep = Callable[[RoiAgreement, CTVolume, RoiMask, RoiMask], None]
MEASURES = (
    *("dice", "surface_dice", "hd95_mm", "hausdorff_mm", "mean_surface_mm"),
    *("volume_ml_1", "volume_ml_2", "volume_difference_ml", "volume_difference_percent"),
    *("diameter_mm_1", "diameter_mm_2"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedCase(RoiAgreement):
    """A case that two annotators drew; ``adjudicate`` if its Dice is below the limit, ``decision`` may be empty."""

    patient_id: str
    adjudicate: bool
    decision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A case that the two pathology readings name differently."""

    case_id: str
    reading_1: str
    reading_2: str


@dataclass(frozen=True, kw_only=True)
class PathologyReadings(LabelAgreement):
    """Agreement of the two pathology readings."""

    disagreements: tuple[Disagreement, ...]


@dataclass(frozen=True, kw_only=True)
class AnnotatorReport(ShownAsTable):
    """The result of `compare_annotators`, as it is written to agreement.json.

    Attributes:
        rule: How the study makes one ROI of two.
        adjudicate_below: Dice below which a case is listed for adjudication.
        tolerance_mm: Of the surface Dice.
        synthetic: True when a case is a phantom.
        n_patients: Patients among the cases that two annotators drew.
        pooled: Figures over all of them, by name; see `pool`.
        cases: Those that two annotators drew, the worst Dice first.
        one_reader: case_id of the cases with one annotator.
        findings: Refusals, one per case, and doubts about an ROI.
        subtypes: The two pathology readings; an empty dict if no case has two.
    """

    rule: str
    adjudicate_below: float
    tolerance_mm: float
    synthetic: bool
    n_patients: int
    pooled: dict[str, Estimate]
    cases: tuple[AnnotatedCase, ...]
    one_reader: tuple[str, ...]
    findings: tuple[Finding, ...]
    subtypes: PathologyReadings | dict[str, str]

    def records(self) -> list[Record]:
        """A row per case: the measures, and the decision of adjudication."""
        names = ("case_id", "patient_id", *MEASURES, "adjudicate", "decision")
        return [{name: getattr(case, name) for name in names} for case in self.cases]

    def summary(self) -> str:
        """Number of cases and patients, and the rule."""
        counts = f"{counted_noun(len(self.cases), 'case')} of {counted_noun(self.n_patients, 'patient')}"
        return f"{counts}, rule {self.rule}{' | SYNTHETIC' if self.synthetic else ''}"

    @property
    def readings(self) -> PathologyReadings | None:
        """The two pathology readings, or None if no case has two."""
        return self.subtypes if isinstance(self.subtypes, PathologyReadings) else None

    @property
    def refused(self) -> tuple[Finding, ...]:
        """Cases that could not be compared, or of which the rule leaves nothing."""
        return tuple(finding for finding in self.findings if finding.severity == "refusal")


def pool(
    cases: Sequence[RoiAgreement], patient_ids: Sequence[str], config: EvaluationConfig
) -> dict[str, Estimate]:
    """Mean (``dice``) and median (``dice_median``) of every measure, and Bland-Altman figures of volume and diameter.

    Bland-Altman names: ``volume_bias_ml``, ``volume_limit_low_ml``, ``volume_limit_high_ml``, the same with
    ``volume_ratio_`` for the second over the first, ``volume_growth``, and the like with ``diameter_`` and ``_mm``.

    ``patient_ids`` are those of the cases, of which there is at least one.
    """
    patients = Patients.of(patient_ids, np.zeros(len(cases), np.intp))
    columns = {name: np.array([getattr(case, name) for case in cases], float) for name in MEASURES}
    pooled: dict[str, Estimate] = {}
    statistics: dict[str, Statistic] = {}
    for name, values in columns.items():
        statistics |= {
            name: mean_statistic(values, patients),
            f"{name}_median": median_statistic(values, patients),
        }
    once = np.ones((1, patients.n))
    drawn = clustered_bootstrap(statistics, patients, config.resamples, config.seed)
    whose = counted_noun(patients.n, "patient")
    for name, statistic in statistics.items():
        interval = percentile_interval(drawn[name], whose, config.confidence)
        pooled[name] = interval.around(float(statistic(once)[0]), len(cases))
    for what, unit in (("volume", "ml"), ("diameter", "mm")):
        one, two = columns[f"{what}_{unit}_1"], columns[f"{what}_{unit}_2"]
        for name, estimate in bland_altman(one, two, patients, config).items():
            pooled[f"{what}_{name}_{unit}"] = estimate
        for name, estimate in bland_altman(one, two, patients, config, ratio=True).items():
            pooled[f"{what}_ratio_{name}"] = estimate
        pooled[f"{what}_growth"] = growth(one, two, patients, config)
    return pooled


def mean_statistic(values: Floats, patients: Patients) -> Statistic:
    """Mean over cases as a function of patient weights."""
    total, count = patients.per_patient(values), patients.per_patient(np.ones(values.size))

    def statistic(weights: Floats) -> Floats:
        means: Floats = weights @ total / (weights @ count)
        return means

    return statistic


def median_statistic(values: Floats, patients: Patients) -> Statistic:
    """Median over cases as a function of patient weights that are whole numbers."""
    order = np.argsort(values, kind="stable")
    ordered, owner = values[order], patients.row[order]

    def statistic(weights: Floats) -> Floats:
        last = np.cumsum(weights[:, owner], axis=1)
        n = last[:, -1]
        low = (last > ((n - 1) // 2)[:, None]).argmax(axis=1)
        high = (last > (n // 2)[:, None]).argmax(axis=1)
        medians: Floats = (ordered[low] + ordered[high]) / 2
        return medians

    return statistic


def compare_readings(
    cohort: Cohort, config: EvaluationConfig, meaning_of: Callable[[str], str | None]
) -> PathologyReadings | None:
    """Agreement of the two pathology readings of the cases that have both; None without any.

    A second reading is compared by the study's name of it (``meaning_of``), or as typed if it has none.
    """
    both = [
        (case, case.subtype, meaning_of(case.subtype_reader2) or case.subtype_reader2)
        for case in cohort.cases
        if case.subtype and case.subtype_reader2
    ]
    if not both:
        return None
    first, second = [row[1] for row in both], [row[2] for row in both]
    labels = compare_labels(first, second, [case.patient_id for case, _, _ in both], config)
    differ = (
        Disagreement(case_id=case.case_id, reading_1=one, reading_2=two)
        for case, one, two in both
        if one != two
    )
    return PathologyReadings(**vars(labels), disagreements=tuple(differ))


def compare_annotators(snapshot: Snapshot, tolerance_mm: float, keep: Keep) -> AnnotatorReport:
    """Compare two annotators case by case; writes the cases to adjudicate. A bad case is refused, the others go on.

    Args:
        snapshot: The study.
        tolerance_mm: Tolerance of the surface Dice.
        keep: Called with each comparison, the CT and both ROIs, while they are in memory.

    Raises:
        StudyError: No case has the ROIs of two annotators or two pathology readings.
    """
    cohort, settings, decisions = snapshot.cohort, snapshot.settings, snapshot.decisions
    pathology = load_pathology(snapshot.folder.root)
    double = [case for case in cohort.chosen if case.both_readers]
    readings = compare_readings(
        cohort, settings.evaluation, lambda text: name_of_subtype(text, cohort.subtypes, pathology)
    )
    if not double and readings is None:
        raise StudyError(
            where="study",
            expected="cases with ROIs of reader-1 and reader-2 (rois.csv) or two readings (subtype_reader2)",
            found=f"{len(cohort.cases)} cases with one",
            remedy="add them to rois.csv or cohort.csv; paths may be relative to the study",
        )
    found, findings = _compare_each(snapshot, double, tolerance_mm, keep)
    patient_of = {case.case_id: case.patient_id for case in cohort.cases}
    owners, below = [patient_of[row.case_id] for row in found], settings.roi.adjudicate_below
    report = AnnotatorReport(
        rule=settings.roi.consensus,
        adjudicate_below=below,
        tolerance_mm=tolerance_mm,
        synthetic=cohort.synthetic,
        n_patients=len(set(owners)),
        pooled=pool(found, owners, settings.evaluation) if found else {},
        cases=tuple(
            AnnotatedCase(
                **asdict(row),
                patient_id=owner,
                adjudicate=row.dice < below,
                decision=decisions.get(row.case_id, ""),
            )
            for row, owner in zip(found, owners, strict=True)
        ),
        one_reader=tuple(case.case_id for case in cohort.chosen if not case.both_readers),
        findings=tuple(findings),
        subtypes=readings or {},
    )
    dices = [(row.case_id, row.dice) for row in found]
    path = snapshot.folder.root / DECISIONS_FILE
    seen = Seen.of(path)  # a decision that was written while the ROIs were compared is kept
    save_adjudication(path, dices, below, load_decisions(path, cohort.by_id), seen)
    return report


def _compare_each(
    snapshot: Snapshot, cases: Sequence[ChosenCase], tolerance_mm: float, keep: Keep
) -> tuple[list[RoiAgreement], list[Finding]]:
    """Comparisons, the lowest Dice first, and findings."""
    found: list[RoiAgreement] = []
    findings: list[Finding] = []
    for case in track(cases, "comparing", "case", len(cases)):
        try:
            volume, one, two = read_readers(case)
            compared = compare(one, two, tolerance_mm)
            found.append(compared)
            keep(compared, volume, one, two)
            findings += dict.fromkeys((*one.findings, *two.findings))
            rule = snapshot.decisions.get(case.case_id, snapshot.settings.roi.consensus)
            if compared.dice == 0 and rule != EXCLUDE:
                combine(one, two, rule)  # refuses when nothing is left
        except NephroscopeError as error:
            findings.append(_refusal(case.case_id, error.code, str(error)))
        except OSError as error:
            why = f"case {case.case_id}: cannot be read: {error.strerror or error}"
            findings.append(_refusal(case.case_id, "unreadable", why))
    found.sort(key=lambda row: (row.dice, row.case_id))
    return found, findings


def _refusal(case_id: str, code: str, message: str) -> Finding:
    logger.warning("refused: %s", message)
    return Finding(code=code, severity="refusal", message=message, case_id=case_id)
