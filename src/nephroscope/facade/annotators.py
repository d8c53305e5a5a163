"""The verbs of two readers: compare their ROIs, choose how one is made of two, hear what was decided."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nephroscope.base.errors import CohortError, NephroscopeError, RoiError, StudyError
from nephroscope.base.progress import track
from nephroscope.facade.who import CohortVerbs
from nephroscope.imaging.dicom.series import is_series_list, load_series_files
from nephroscope.intake.labels.pathology import load_pathology, name_of_subtype
from nephroscope.records import ChosenCase, Finding
from nephroscope.regions.agreement import TOLERANCE_MM, RoiAgreement, compare
from nephroscope.regions.consensus import (
    EXCLUDE,
    FILE,
    check_rule,
    combine,
    load_decisions,
    read_readers,
    save_adjudication,
)
from nephroscope.study.snapshot import take_snapshot

if TYPE_CHECKING:
    from nephroscope.questions.evaluation.annotators import AnnotatorReport
    from nephroscope.report.annotators.figures import Worst

logger = logging.getLogger(__name__)


class ReaderVerbs(CohortVerbs):
    """What can be done with the ROIs of two readers."""

    def decisions(self) -> dict[str, str]:
        """What adjudication.csv decides, case_id to decision; empty where nothing is filled in.

        Raises:
            CohortError: A decision is none of the five, or a case is unknown.
        """
        path = self.folder.root / FILE
        return load_decisions(path, self.cohort.by_id) if path.exists() else {}

    def set_consensus(self, rule: str) -> None:
        """Write the rule by which one ROI is made of two; slices cut by another rule are then stale.

        Raises:
            ConfigError: There is no such rule, or STAPLE is asked for and SimpleITK is not installed.
        """
        check_rule(rule)
        self.change("roi", consensus=rule)

    def write_roi(self, case_id: str, path: Path | str) -> Path:
        """Write the one ROI of a case, as the rule or a decision makes it, for other programs; gives the path.

        Args:
            case_id: Of cohort.csv.
            path: Ends in .nii or .nii.gz for a NIfTI label map, or in .dcm for a DICOM SEG of its CT series.

        Raises:
            CohortError: There is no such case.
            RoiError: The name ends otherwise, or a SEG is asked for and the CT is no DICOM.
        """
        from nephroscope.imaging.masks.write import write_nifti, write_seg

        path, case = Path(path), self.cohort.by_id.get(case_id)
        if case is None:
            raise CohortError(
                where=f"case {case_id}",
                expected="a case of cohort.csv",
                found="none of that name",
                remedy="look up its case_id",
            )
        as_seg = path.suffix == ".dcm" and case.format == "dicom"
        if not as_seg and not path.name.endswith((".nii", ".nii.gz")):
            raise RoiError(
                where=f"case {case_id}, {path.name}",
                expected="a name that ends in .nii.gz, or in .dcm where the CT is DICOM",
                found=f"{path.suffix or 'no ending'}, and a CT as {case.format}",
                remedy="choose another name",
            )
        _, roi = take_snapshot(self.folder.root).read_case(case)
        if not as_seg:
            write_nifti(roi, path)
            return path
        listed = load_series_files(case.image).files if is_series_list(case.image) else case.image
        write_seg(roi, listed, path)
        return path

    def agreement(self, tolerance_mm: float = TOLERANCE_MM) -> "AnnotatorReport":
        """Compare two readers case by case; writes agreement/ and the cases to adjudicate.

        One bad case is refused by name and the others go on.

        Raises:
            StudyError: No case has the ROIs of two readers, nor two pathology readings.
        """
        from nephroscope.questions.evaluation.annotators import AnnotatorReport, compare_readings, pool
        from nephroscope.report.annotators.page import write_agreement

        cohort, config, decisions = self.cohort, self.settings.evaluation, self.decisions()
        double = [case for case in cohort.chosen if case.both_readers]
        labels, disagreements = compare_readings(cohort, config, self._named())
        if not double and labels is None:
            raise StudyError(
                where="study",
                expected="cases with ROIs of reader-1 and reader-2 (rois.csv) or two readings (subtype_reader2)",
                found=f"{len(cohort.cases)} cases with one",
                remedy="add them to rois.csv or cohort.csv; paths may be relative to the study",
            )
        found, findings, worst = self._compare_all(double, decisions, tolerance_mm)
        patient_of = {case.case_id: case.patient_id for case in cohort.cases}
        report = AnnotatorReport(
            rule=self.settings.roi.consensus,
            adjudicate_below=self.settings.roi.adjudicate_below,
            tolerance_mm=tolerance_mm,
            cases=tuple(found),
            patient_of=patient_of,
            pooled=pool(found, [patient_of[row.case_id] for row in found], config) if found else {},
            labels=labels,
            disagreements=disagreements,
            one_reader=tuple(c.case_id for c in cohort.chosen if not c.both_readers),
            findings=tuple(findings),
            decisions=decisions,
            synthetic=cohort.synthetic,
        )
        dices = [(row.case_id, row.dice) for row in found]
        save_adjudication(self.folder.root / FILE, dices, report.adjudicate_below, decisions)
        write_agreement(self.folder.root / "agreement", self.folder.root.resolve().name, report, worst.kept)
        return report

    def _named(self) -> Callable[[str], str | None]:
        """What the study, or its pathology.csv, calls a subtype that somebody typed into cohort.csv."""
        table, subtypes = load_pathology(self.folder.root), self.cohort.subtypes
        return lambda text: name_of_subtype(text, subtypes, table)

    def _compare_all(
        self, cases: Sequence[ChosenCase], decisions: Mapping[str, str], tolerance_mm: float
    ) -> "tuple[list[RoiAgreement], list[Finding], Worst]":
        """Comparisons, the worst first; findings; and pieces of the worst cases."""
        from nephroscope.report.annotators.figures import Worst

        found: list[RoiAgreement] = []
        findings: list[Finding] = []
        worst = Worst()
        for case in track(cases, "comparing", "case", len(cases)):
            try:
                volume, one, two = read_readers(case)
                compared = compare(one, two, tolerance_mm)
                found.append(compared)
                worst.offer(compared, volume, one, two)
                findings += dict.fromkeys((*one.findings, *two.findings))
                rule = decisions.get(case.case_id, self.settings.roi.consensus)
                if compared.dice == 0 and rule != EXCLUDE:
                    combine(one, two, rule)  # refuses when nothing is left
            except NephroscopeError as error:
                findings.append(_refusal(case, error.code, str(error)))
            except OSError as error:
                why = f"case {case.case_id}: cannot be read: {error.strerror or error}"
                findings.append(_refusal(case, "unreadable", why))
        found.sort(key=lambda row: (row.dice, row.case_id))
        return found, findings, worst


def _refusal(case: ChosenCase, code: str, message: str) -> Finding:
    logger.warning("refused: %s", message)
    return Finding(code=code, severity="refusal", message=message, case_id=case.case_id)
