"""How well a trained network draws: Dice by patient on CTs that it never saw, with misses, next to the literature."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from nephroscope.base.errors import NephroscopeError, StudyError
from nephroscope.base.files import digest_of
from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.progress import track
from nephroscope.base.text import counted_noun
from nephroscope.clinic.session import NetworkSession, runtime_version
from nephroscope.learning.drawn_run import DrawingRun
from nephroscope.learning.planes import DrawnCT
from nephroscope.learning.run_files import load_run, run_config
from nephroscope.questions.evaluation.proposals import SIZES, ComparedPatient, figures_of
from nephroscope.records import ChosenCase, CTVolume, Estimate, EvaluationConfig, Finding, note, warning
from nephroscope.regions.detection import detect
from nephroscope.regions.organs import Organs, organs_of
from nephroscope.regions.surface import TOLERANCE_MM
from nephroscope.study.artifact import Artifact

FORMAT, FILE = 1, "drawings.json"
ENOUGH_CTS = 125  # after which the Dice of tumors hardly rises
LITERATURE = {
    "tumor": "in the literature, two people agree to a Dice of 0.92, the winner of KiTS19 reached 0.85, and the Dice "
    f"of tumors levels off at some {ENOUGH_CTS} CTs",
    "kidney": "in the literature, the winner of KiTS19 reached a Dice of 0.97 on kidneys",
}
SHOWN = {
    "tumor": (
        "dice",
        "surface_dice",
        "dice_found",
        "sensitivity",
        "f1",
        "false_alarms",
        "diameter_error_mm_absolute",
    ),
    "kidney": ("dice", "surface_dice"),
}


@dataclass(frozen=True, kw_only=True)
class DrawingEvaluation(ShownAsTable):
    """Figures of a network that draws, as drawings.json of its run holds them.

    Attributes:
        run, model: Its name and network.
        labels: What it draws.
        synthetic: True when a case is a phantom.
        n_patients: That were drawn by a network that never saw them.
        figures: By label and name; means over patients, with misses.
        by_size: Of tumors up to 4 cm, of 4 to 7, and above, by largest axial diameter.
        patients: By label, each patient, the worst Dice first.
        seconds_per_epoch: Of one fold, in the middle.
        beside: By label, what the literature says.
        findings: What is to be known, and refusals.
    """

    run: str
    model: str
    labels: tuple[str, ...]
    synthetic: bool
    n_patients: int
    figures: dict[str, dict[str, Estimate]]
    by_size: dict[str, dict[str, Estimate]]
    patients: dict[str, tuple[ComparedPatient, ...]]
    seconds_per_epoch: float
    beside: dict[str, str]
    findings: tuple[Finding, ...]

    def records(self) -> list[Record]:
        """A row per label and patient."""
        return [
            {"label": label, **asdict(one)} for label, patients in self.patients.items() for one in patients
        ]

    def summary(self) -> str:
        """Run, patients, and the Dice of each label."""
        marks = " | SYNTHETIC" if self.synthetic else ""
        dice = "; ".join(
            f"{label}: Dice {self.figures[label]['dice']}" for label in self.labels if self.figures[label]
        )
        return f"run {self.run}: {self.model}, {counted_noun(self.n_patients, 'patient')}; {dice}{marks}"


def evaluate_drawing(run: DrawingRun) -> DrawingEvaluation:
    """Draw every CT by a network that never saw its patient, and compare; kept, so that it is done once.

    Raises:
        StudyError: No CT can be drawn so.
    """
    config = run.snapshot.settings.evaluation
    made_from = digest_of(
        [
            FORMAT,
            load_run(run.folder).digest,
            run.store.digest,
            asdict(config),
            TOLERANCE_MM,
            runtime_version(),
        ]
    )
    artifact = Artifact(path=run.folder / FILE, kind=DrawingEvaluation, number=FORMAT, made_from=made_from)
    found = artifact.load()
    if found is None:
        found = _evaluate(run)
        artifact.save(found)
    return found


def _evaluate(run: DrawingRun) -> DrawingEvaluation:
    config, cohort = run.snapshot.settings.evaluation, run.snapshot.cohort
    rows: dict[str, list[ComparedPatient]] = {label: [] for label in run.labels}
    refused: list[Finding] = []
    tested = sorted(run.tested(), key=lambda one: one[0])
    opened: tuple[int | None, list[NetworkSession]] = (None, [])
    for index, ct in track(tested, "drawing", "CT", len(tested)):
        if opened[0] != index:
            opened = index, run.networks_of(index)
        try:
            for label, row in _compared(run, opened[1], ct).items():
                rows[label].append(row)
        except (NephroscopeError, OSError) as error:
            refused.append(_refusal(ct, error))
    patients = {row.patient_id for of_label in rows.values() for row in of_label}
    if not patients:
        raise StudyError(
            where=f"run {run.folder.name}",
            expected="a CT of a test part that can be drawn",
            found=refused[0].message if refused else "none",
            remedy="divide the patients into two folds or more",
        )
    tumors = rows.get("tumor", [])
    return DrawingEvaluation(
        run=run.folder.name,
        model=run_config(run.folder).model,
        labels=run.labels,
        synthetic=cohort.synthetic,
        n_patients=len(patients),
        figures={label: _shown(rows[label], label, config) for label in run.labels},
        by_size={
            name: _shown([row for row in tumors if low < row.diameter_mm <= high], "tumor", config)
            for name, low, high in SIZES
        }
        if tumors
        else {},
        patients={
            label: tuple(sorted(of_label, key=lambda row: (row.dice, row.case_ids)))
            for label, of_label in rows.items()
        },
        seconds_per_epoch=_seconds_per_epoch(run),
        beside={label: LITERATURE[label] for label in run.labels},
        findings=(*_findings(run), *refused),
    )


def _shown(rows: Sequence[ComparedPatient], label: str, config: EvaluationConfig) -> dict[str, Estimate]:
    return {name: value for name, value in figures_of(rows, config).items() if name in SHOWN[label]}


def _compared(run: DrawingRun, networks: list[NetworkSession], ct: DrawnCT) -> dict[str, ComparedPatient]:
    """By label, what was drawn against what people drew on a CT."""
    by_id = {case.case_id: case for case in run.snapshot.cases_to_read}
    cases = [by_id[name] for name in ct.case_ids]
    each = [run.snapshot.read_case(case) for case in cases]
    volume, tumor = each[0][0], np.logical_or.reduce([roi.voxels for _, roi in each])
    organs = organs_of(cases[0], volume) if "kidney" in run.labels else _organs(cases[0], volume)
    drawn = run.draw(networks, ct, volume)
    truth = {"tumor": tumor}
    if "kidney" in organs:
        truth["kidney"] = organs["kidney"] & ~tumor
    found = {}
    for number, label in enumerate(run.labels, start=1):
        mask = drawn == number
        what = detect(volume, truth[label], mask, organs, TOLERANCE_MM)
        found[label] = ComparedPatient(
            **asdict(what),
            patient_id=ct.patient_id,
            case_ids=ct.case_ids,
            series=cases[0].ct.name,
            missed=not mask.any(),
            state="",
        )
    return found


def _organs(case: ChosenCase, volume: CTVolume) -> Organs:
    try:
        return organs_of(case, volume)
    except (NephroscopeError, OSError):
        return {}


def _seconds_per_epoch(run: DrawingRun) -> float:
    """Of the folds, each as its seconds by its epochs, in the middle."""
    each = []
    for fold in load_run(run.folder).folds:
        n = len((run.folder / f"fold-{fold.index}" / "metrics.jsonl").read_bytes().splitlines())
        each.append(fold.seconds / max(n, 1))
    return round(float(np.median(each)), 2)


def _findings(run: DrawingRun) -> tuple[Finding, ...]:
    """What is to be known about what it learned from."""
    cts = run.store.of_cases(frozenset(run.snapshot.cohort.by_id), run.labels)
    found: list[Finding] = []
    if "tumor" in run.labels and len(cts) < ENOUGH_CTS:
        text = (
            f"it learned from at most {counted_noun(len(cts), 'CT')}; in the literature, the Dice of tumors rises "
            f"up to some {ENOUGH_CTS}"
        )
        found.append(warning("segment-few-cases", text))
    found += run.store.findings
    unread = sum(bool(ct.findings) for ct in run.store.cts) if "kidney" in run.labels else 0
    if left_out := len(run.store.cts) - len(cts) - unread:
        text = f"{counted_noun(left_out, 'CT')} without masks of the kidneys took no part"
        found.append(note("segment-no-kidneys", text))
    lost = [str(fold.index) for fold in load_run(run.folder).folds if not fold.converged]
    if lost:
        text = f"fold {', '.join(lost)} found next to nothing on its validation patients"
        found.append(warning("segment-not-converged", text))
    return tuple(found)


def _refusal(ct: DrawnCT, error: NephroscopeError | OSError) -> Finding:
    name = ct.case_ids[0]
    if isinstance(error, NephroscopeError):
        return Finding(code=error.code, severity="refusal", message=str(error), case_id=name)
    why = error.strerror or type(error).__name__
    return Finding(
        code="unreadable", severity="refusal", message=f"case {name}: cannot be read: {why}", case_id=name
    )
