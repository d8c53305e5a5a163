"""What a program drew in a study against what people drew: by patient, with misses, and what it does to answers."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from nephroscope.base.errors import CohortError, NephroscopeError, RoiError, StudyError
from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.progress import track
from nephroscope.base.text import counted_noun
from nephroscope.clinic.bundle import Bundle
from nephroscope.imaging.read import read_case_roi
from nephroscope.questions.evaluation.proposed_answers import (
    AnswerEffect,
    TwoAnswers,
    answer_twice,
    effect_on_answers,
)
from nephroscope.records import ChosenCase, CTVolume, Estimate, EvaluationConfig, Finding, RoiMask
from nephroscope.records.cases import Case, ChoiceRule
from nephroscope.records.origin import BY_MODEL
from nephroscope.records.settings import READERS
from nephroscope.regions.consensus import EXCLUDE, read_consensus_case
from nephroscope.regions.detection import Detection, detect
from nephroscope.regions.organs import Organs, organs_of
from nephroscope.statistics.intervals import (
    Patients,
    Statistic,
    clustered_bootstrap,
    no_estimate,
    percentile_interval,
)
from nephroscope.statistics.metrics import Floats
from nephroscope.study.snapshot import Snapshot

logger = logging.getLogger(__name__)
Keep = Callable[["ComparedPatient", CTVolume, RoiMask, RoiMask | None], None]
KeepAnswer = Callable[[TwoAnswers, CTVolume, RoiMask, RoiMask], None]
SIZES = (("up to 4 cm", 0.0, 40.0), ("4 to 7 cm", 40.0, 70.0), ("above 7 cm", 70.0, np.inf))
MEANS = ("dice", "surface_dice", "mean_hu_error", "diameter_error_mm", "n_false")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPatient(Detection):
    """All tumors of a patient on one series, drawn and proposed.

    Attributes:
        patient_id: Pseudonym.
        case_ids: Tumors of the patient that were drawn on this series.
        series: Its name.
        missed: True where nothing was proposed.
        state: Of the proposal: proposed or accepted; empty where there is none.
    """

    patient_id: str
    case_ids: tuple[str, ...]
    series: str
    missed: bool
    state: str


@dataclass(frozen=True, kw_only=True)
class ProposalReport(ShownAsTable):
    """The result of `compare_proposals`, as it is written to compare.json.

    Attributes:
        author: Who proposed.
        truth: Whose ROIs they are compared with.
        tolerance_mm: Of the surface Dice.
        synthetic: True when a case is a phantom.
        n_patients: That were compared.
        n_missed: Of them, those for whom nothing was proposed; their Dice is 0.
        figures: By name; means over patients, with misses.
        by_size: The same for tumors up to 4 cm, of 4 to 7, and above, by largest axial diameter.
        cysts_known: Patients for whom organs with cysts are known.
        patients: Each, the worst Dice first.
        answers: What the proposals do to a bundle's answers; None where no bundle was given.
        findings: Refusals, one per case.
    """

    author: str
    truth: str
    tolerance_mm: float
    synthetic: bool
    n_patients: int
    n_missed: int
    figures: dict[str, Estimate]
    by_size: dict[str, dict[str, Estimate]]
    cysts_known: int
    patients: tuple[ComparedPatient, ...]
    answers: AnswerEffect | None
    findings: tuple[Finding, ...]

    def records(self) -> list[Record]:
        """A row per patient."""
        return [asdict(one) for one in self.patients]

    def summary(self) -> str:
        """Author, number of patients, and of those missed."""
        marks = " | SYNTHETIC" if self.synthetic else ""
        whose = counted_noun(self.n_patients, "patient")
        return f"{self.author} against {self.truth}: {whose}, {self.n_missed} without a proposal{marks}"

    @property
    def refused(self) -> tuple[Finding, ...]:
        """Cases that could not be compared."""
        return tuple(finding for finding in self.findings if finding.severity == "refusal")


@dataclass(frozen=True, kw_only=True)
class ProposalQuestion:
    """What is compared.

    Attributes:
        author: Who proposed.
        cases: Only these; none: all.
        tolerance_mm: Of the surface Dice.
        bundle: Answers both ROIs of each case; None asks none.
        margin: Loss of AUC that would not matter.
    """

    author: str
    cases: tuple[str, ...] = ()
    tolerance_mm: float = 2.0
    bundle: Bundle | None = None
    margin: float = 0.05


def compare_proposals(
    snapshot: Snapshot, asked: ProposalQuestion, keep: Keep, keep_answer: KeepAnswer
) -> ProposalReport:
    """Compare what a program proposed with what people drew. A bad case is refused, the others go on.

    Args:
        snapshot: The study.
        asked: Author, cases, bundle, margin.
        keep: Called with each patient, the CT and both masks, while they are in memory.
        keep_answer: The same with both answers about a case.

    Raises:
        CohortError: Nobody of this name proposed anything, or there is no such case.
        StudyError: No case has an ROI of a person.
    """
    author = _author(snapshot, asked.author)
    consensus = snapshot.settings.roi.consensus
    truth = READERS[0] if consensus.startswith(BY_MODEL) else consensus
    groups, findings = _by_patient(snapshot, asked, author, truth)
    found: list[ComparedPatient] = []
    answers: list[TwoAnswers] = []
    n_cysts = 0
    for cases in track(groups, "comparing", "patient", len(groups)):
        try:
            one = _Read.of(snapshot, cases, author, truth)
            row = one.compared(asked.tolerance_mm)
        except (NephroscopeError, OSError) as error:
            findings.append(_refusal(cases[0].case_id, error))
            continue
        n_cysts += "cyst" in one.organs
        found.append(row)
        keep(row, one.volume, one.drawn, one.proposed)
        for case, drawn, proposed in one.each if asked.bundle is not None else ():
            assert asked.bundle is not None  # noqa: S101
            answers.append(answer_twice(asked.bundle, case, one.volume, drawn, proposed))
            if proposed is not None:
                keep_answer(answers[-1], one.volume, drawn, proposed)
    if not found:
        found_instead = findings[-1].message
        raise StudyError(
            where="study", expected="a case to compare", found=found_instead, remedy="correct it"
        )
    found.sort(key=lambda row: (row.dice, row.case_ids))
    config = snapshot.settings.evaluation
    return ProposalReport(
        author=author,
        truth=truth,
        tolerance_mm=asked.tolerance_mm,
        synthetic=snapshot.cohort.synthetic,
        n_patients=len({row.patient_id for row in found}),
        n_missed=sum(row.missed for row in found),
        figures=figures_of(found, config),
        by_size={
            name: figures_of([row for row in found if low < row.diameter_mm <= high], config)
            for name, low, high in SIZES
        },
        cysts_known=n_cysts,
        patients=tuple(found),
        answers=effect_on_answers(answers, asked.bundle, asked.margin, config) if asked.bundle else None,
        findings=tuple(findings),
    )


def _by_patient(
    snapshot: Snapshot, asked: ProposalQuestion, author: str, truth: str
) -> tuple[list[list[ChosenCase]], list[Finding]]:
    """The cases to compare, those of a patient on one series together, and a note for each that is left out."""
    wanted = {*asked.cases} or {*snapshot.cohort.by_id}
    if unknown := sorted(wanted - snapshot.cohort.by_id.keys()):
        raise CohortError(
            where="cases", expected="cases of cohort.csv", found=unknown[0], remedy="look up the case_id"
        )
    rule = ChoiceRule(phases=snapshot.cohort.rule.phases, roi=truth)
    groups: dict[tuple[str, str], list[ChosenCase]] = defaultdict(list)
    left_out = []
    for case in snapshot.cohort.cases:
        on = _where_both(case, rule, author) if case.case_id in wanted else None
        if on is not None and snapshot.decisions.get(case.case_id) != EXCLUDE:
            groups[case.patient_id, str(on.image)].append(on)
        elif case.case_id in wanted:
            left_out.append(case.case_id)
    if not groups:
        raise StudyError(
            where="study",
            expected="cases with an ROI that a person drew, on the series of the proposal",
            found=f"none of {counted_noun(len(wanted), 'case')}",
            remedy="draw some in `nephroscope workstation`, or import their ROIs",
        )
    return [*groups.values()], [_note(name) for name in left_out]


def _author(snapshot: Snapshot, wanted: str) -> str:
    """The author of that name; without a version where only one fits."""
    known = sorted({roi.author for case in snapshot.cohort.cases for roi in case.rois if roi.by_model})
    fits = [name for name in known if wanted == name or name.partition("@")[0] == wanted]
    if len(fits) != 1:
        raise CohortError(
            where=f"--by {wanted}",
            expected="an author model:NAME@VERSION of rois.csv",
            found=", ".join(known) or "no ROI of a model",
            remedy="run `nephroscope segment` first, or correct the name",
        )
    return fits[0]


def _where_both(case: Case, rule: ChoiceRule, author: str) -> ChosenCase | None:
    """The case on the series on which the program drew, else the one that the study uses; None where nobody drew."""
    chosen = case.chosen(rule)
    proposed = [roi.series for roi in case.rois if roi.author == author]
    for name in proposed or [chosen.ct.name]:
        on = case.on(name, rule)
        if any(by != author for by in on.authors()) and on.format != "images":
            return on
    return None


@dataclass(frozen=True, eq=False)
class _Read:
    """A patient's CT with what was drawn and proposed on it, together and by case."""

    volume: CTVolume
    organs: Organs
    each: tuple[tuple[ChosenCase, RoiMask, RoiMask | None], ...]
    author: str

    @classmethod
    def of(cls, snapshot: Snapshot, cases: Sequence[ChosenCase], author: str, truth: str) -> "_Read":
        each = []
        for case in cases:
            volume, drawn = read_consensus_case(case, snapshot.decisions.get(case.case_id, truth))
            roi = case.roi_by(author)
            each.append((case, drawn, read_case_roi(case, roi, volume) if roi is not None else None))
        try:
            organs = organs_of(cases[0], volume)
        except (RoiError, OSError):
            organs = {}
        return cls(volume, organs, tuple(each), author)

    @property
    def drawn(self) -> RoiMask:
        """All tumors that people drew."""
        return _together([drawn for _, drawn, _ in self.each])

    @property
    def proposed(self) -> RoiMask | None:
        """All that the program proposed."""
        masks = [proposed for _, _, proposed in self.each if proposed is not None]
        return _together(masks) if masks else None

    def compared(self, tolerance_mm: float) -> ComparedPatient:
        proposed, case = self.proposed, self.each[0][0]
        empty = np.zeros(self.volume.geometry.shape, np.bool_)
        mask = proposed.voxels if proposed is not None else empty
        states = {roi.state for one, _, _ in self.each if (roi := one.roi_by(self.author)) is not None}
        return ComparedPatient(
            **asdict(detect(self.volume, self.drawn.voxels, mask, self.organs, tolerance_mm)),
            patient_id=case.patient_id,
            case_ids=tuple(one.case_id for one, _, _ in self.each),
            series=case.ct.name,
            missed=proposed is None,
            state=" and ".join(sorted(states)),
        )


def _together(masks: Sequence[RoiMask]) -> RoiMask:
    voxels = np.logical_or.reduce([mask.voxels for mask in masks])
    return RoiMask(voxels=voxels, geometry=masks[0].geometry, case_id=masks[0].case_id)


def figures_of(rows: Sequence[ComparedPatient], config: EvaluationConfig) -> dict[str, Estimate]:
    """Means over patients, and detection over all tumors, each with the interval of redrawn patients.

    Names: ``dice`` and ``surface_dice`` (misses count as 0), ``dice_found`` (without those of Dice 0),
    ``mean_hu_error``, ``diameter_error_mm`` and their ``_absolute`` (where something was proposed), ``sensitivity``
    (tumors found), ``precision``, ``f1``, ``false_alarms`` per patient, ``on_cysts`` per patient.
    """
    if not rows:
        return {}
    patients = Patients.of([row.patient_id for row in rows], np.zeros(len(rows), np.intp))
    column = {
        name: np.array([np.nan if (value := getattr(row, name)) is None else value for row in rows], float)
        for name in (*MEANS, "n_tumors", "n_found", "n_on_cysts")
    }
    found = column["n_found"]
    parts = found + column["n_false"] + column["n_on_cysts"]
    shown = {
        "dice": (column["dice"], None),
        "surface_dice": (column["surface_dice"], None),
        "dice_found": (np.where(column["dice"] > 0, column["dice"], np.nan), None),
        "mean_hu_error": (column["mean_hu_error"], None),
        "mean_hu_error_absolute": (np.abs(column["mean_hu_error"]), None),
        "diameter_error_mm": (column["diameter_error_mm"], None),
        "diameter_error_mm_absolute": (np.abs(column["diameter_error_mm"]), None),
        "sensitivity": (found, column["n_tumors"]),
        "precision": (found, parts),
        "f1": (2 * found, column["n_tumors"] + parts),
        "false_alarms": (column["n_false"], np.ones(len(rows))),
        "on_cysts": (column["n_on_cysts"], np.ones(len(rows))),
    }
    return {name: _estimate(top, below, patients, config) for name, (top, below) in shown.items()}


def _estimate(top: Floats, below: Floats | None, patients: Patients, config: EvaluationConfig) -> Estimate:
    """A mean over the rows that have a value, or a ratio of sums, with the interval of redrawn patients."""
    known = np.isfinite(top)
    n = int(np.count_nonzero(known))
    if not n or (below is not None and not below.sum()):
        return no_estimate("nothing was proposed", n, "patient")
    statistic = _ratio(np.where(known, top, 0.0), known.astype(float) if below is None else below, patients)
    value = float(statistic(np.ones((1, patients.n)))[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = clustered_bootstrap({"": statistic}, patients, config.resamples, config.seed)[""]
    drawn = drawn[np.isfinite(drawn)]
    whose = counted_noun(patients.n, "patient")
    return percentile_interval(drawn, whose, config.confidence).around(value, n, "patient")


def _ratio(top: Floats, below: Floats, patients: Patients) -> Statistic:
    above, under = patients.per_patient(top), patients.per_patient(below)

    def statistic(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = (weights @ above) / (weights @ under)
        return found

    return statistic


def _note(case_id: str) -> Finding:
    text = f"case {case_id}: no ROI of a person on a series that was proposed on, or excluded"
    return Finding(code="not-compared", severity="note", message=text, case_id=case_id)


def _refusal(case_id: str, error: NephroscopeError | OSError) -> Finding:
    if isinstance(error, NephroscopeError):
        code, message = error.code, str(error)
    else:
        code, why = "unreadable", error.strerror or type(error).__name__
        message = f"case {case_id}: cannot be read: {why}"
    logger.warning("refused: %s", message)
    return Finding(code=code, severity="refusal", message=message, case_id=case_id)
