"""A bundle as a notebook uses it: CT and ROI in, an answer out. No torch."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from nephroscope.base.html import Record, ShownAsTable
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.predict import UNKNOWN
from nephroscope.facade.many.results import ManyAnswers
from nephroscope.facade.many.run import ManyCases, predict_table
from nephroscope.facade.own_roi import check_source, own_roi
from nephroscope.facade.patient import UNNAMED, PatientCt, read_patient
from nephroscope.facade.phases import check_series, phase_named
from nephroscope.facade.prediction import answer_with_doubts, phases_of_patient
from nephroscope.imaging.read import UnplacedRoi, read_ct, read_roi
from nephroscope.records import Answer, ClinicalFacts, CTVolume, RoiMask
from nephroscope.records.prediction import Side


class Bundle(ShownAsTable):
    """An exported model.

    Args:
        folder: Folder that `Run.export` or `nephroscope export` wrote.

    Raises:
        BundleError: It is damaged, of a newer format, or computes something else on this machine.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._opened = open_bundle(self.folder)

    def __repr__(self) -> str:
        return f"Bundle({self.summary()})"

    @property
    def subtypes(self) -> tuple[str, ...]:
        """Subtypes it tells apart, in the order of its output."""
        return self._opened.scorer.subtypes

    @property
    def needs_roi(self) -> bool:
        """False when its network sees whole slices."""
        return self._opened.spec.roi_mode != "full"

    def predict(
        self,
        ct: CTVolume | Path | str,
        roi: RoiMask | UnplacedRoi | Path | str | None = None,
        *,
        side: Side = "unknown",
        phase: str = UNKNOWN,
        facts: ClinicalFacts | None = None,
        others: Mapping[str, CTVolume | Path | str] | None = None,
    ) -> Answer:
        """Predict the subtype of one tumor; what `nephroscope check` doubts leaves the answer at "not sure".

        Args:
            ct: From `read_ct`; or the path of a series or of a patient's folder, from which the phase is read too.
            roi: From `read_roi`, or a path. None for a bundle of whole slices, or to take
                the only one in the folder.
            side: Side of the patient on which the tumor is said to be: left or right.
            phase: Contrast phase of a CT from `read_ct`, one of `PHASES`.
            facts: Age, sex and size, for a bundle that uses them (`nephroscope.clinic.facts.given_facts`).
            others: For a bundle of several phases: further CTs by their phase, from `read_ct` or as paths of series.
                The tumor is placed on them by registration. A patient's folder as ``ct`` gives them by itself.

        Raises:
            ConfigError: A further phase is none that the bundle takes.
            SeriesError: The path holds no usable CT, or it is not clear which series is meant.
            RoiError: The ROI is missing, is no tumor, or does not lie on this CT, or no cross-section is large
                enough.
        """
        found = None
        if isinstance(roi, Path | str):
            roi = read_roi(roi)
        if isinstance(ct, CTVolume):
            patient = PatientCt(volume=ct, name=UNNAMED, phase=phase)
        else:
            if roi is None and (found := own_roi(self._opened, Path(ct))) is not None:
                roi = read_roi(found)
            patient = read_patient(Path(ct), roi if isinstance(roi, UnplacedRoi) else None)
        if isinstance(roi, UnplacedRoi):
            roi = replace(roi, case_id=roi.case_id or patient.name).on(patient.volume)
        if roi is not None and not roi.case_id:
            roi = replace(roi, case_id=patient.name)
        if roi is not None:
            roi = replace(roi, findings=(*roi.findings, *check_source(roi.origin, found, roi.case_id)))
        name = roi.case_id if roi is not None else patient.name
        patient, placed = replace(patient, name=name), None
        given = {phase_named(word, "others"): one for word, one in (others or {}).items()}
        check_series([*given], (), self._opened.scorer.phases)
        if self._opened.scorer.phases:
            further = {
                name: one if isinstance(one, CTVolume) else read_ct(Path(one)) for name, one in given.items()
            }
            placed = phases_of_patient(self._opened, patient, roi, further)
        return answer_with_doubts(self._opened, patient, roi, side, facts=facts, placed=placed)[0]

    def predict_table(self, table: Path | str, out: Path | str, *, jobs: int | None = None) -> ManyAnswers:
        """Predict every case of a table, in several processes; the same folder again goes on where it ended.

        Args:
            table: CSV with the columns case_id and image, and roi, side and more where they are known.
            out: Folder of the results; results.csv there has a row a case, answers/ a JSON file a case.
            jobs: Processes; by default one per core, as far as memory allows.

        Raises:
            CohortError: The table is none, or cells of it are wrong.
            StudyError: The folder holds something else, or results of other rows.
            BundleError: The folder holds results of another bundle.
        """
        return predict_table(self.folder, ManyCases(table=Path(table), out=Path(out), jobs=jobs))

    def records(self) -> list[Record]:
        """A row per figure of the evaluation by case that the bundle carries."""
        return [
            {"test_set": group, "figure": name, **asdict(estimate)}
            for group, figures in self._opened.about.evaluation.items()
            for name, estimate in figures.items()
        ]

    def summary(self) -> str:
        """Folder, network, subtypes and marks."""
        opened = self._opened
        head = f"bundle {self.folder.name}: {opened.about.model}, {' or '.join(self.subtypes)}"
        training = opened.about.training
        marks = [
            ("trained on SYNTHETIC phantoms", training.synthetic),
            ("LEAKY split by image", training.leaky),
        ]
        return " | ".join([head, *(mark for mark, applies in marks if applies)])
