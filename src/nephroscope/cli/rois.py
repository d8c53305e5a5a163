"""The commands agreement and rois: annotators compared, and the ROI that the study uses written to a file."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import ConfigError
from nephroscope.base.text import shell_line
from nephroscope.cli.command import (
    Command,
    NamesOption,
    Outcome,
    PartName,
    PathOption,
    StudyCommand,
    estimates_text,
    table,
)
from nephroscope.facade.study import Study
from nephroscope.records.settings import check_within
from nephroscope.regions.agreement import RoiAgreement
from nephroscope.regions.surface import TOLERANCE_MM

if TYPE_CHECKING:
    from nephroscope.questions.evaluation.annotators import AnnotatorReport

HEADER = (
    "case",
    "Dice",
    "surface Dice",
    "HD95 mm",
    "ml, reader 1",
    "ml, reader 2",
    "slices only reader 1 drew",
    "slices only reader 2 drew",
)
SHOWN = ("dice", "dice_median", "surface_dice", "hd95_mm", "mean_surface_mm", "volume_difference_percent")
SHOWN_LIMITS = ("volume_ratio_bias", "volume_ratio_limit_low", "volume_ratio_limit_high")


@dataclass(frozen=True, kw_only=True)
class WriteRoi(StudyCommand):
    """Save the ROI that the study uses for a case as DICOM SEG or NIfTI; with two annotators, their consensus.

    Example: nephroscope rois write my-study P017 --out P017-tumor.dcm

    The old name goes on working. Example: nephroscope roi my-study P017 --out P017-tumor.dcm
    """

    case_id: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CASE")]
    """The case_id in cohort.csv."""
    out: Path
    """File to write: .dcm for a DICOM SEG of the case's CT series, .nii.gz for a label map."""

    def run(self) -> Outcome:
        """Write it."""
        path = Study(self.study).write_roi(self.case_id, self.out)
        return Outcome(data={"case_id": self.case_id, "path": str(path)}, text=f"wrote {path}")


@dataclass(frozen=True, kw_only=True)
class TransferRois(StudyCommand):
    """Place each ROI on the other phases of its patient by registration, or say that it must be drawn there.

    Accepted ROIs become rows of rois.csv by transferred:AUTHOR; rois/transfers.html shows each before and after.

    Example: nephroscope rois transfer my-study
    """

    def run(self) -> Outcome:
        """Transfer them."""
        rows = Study(self.study).transfer_rois()
        page = self.study / "rois" / "transfers.html"
        data = {
            "transfers": [as_plain(row) for row in rows],
            "page": str(page) if page.is_file() else None,
        }
        cells = (
            (
                row.case,
                row.drawn_on,
                row.phase,
                "accepted" if row.accepted else "draw it",
                "" if row.shift_mm is None else f"{row.shift_mm:.1f}",
                row.reason.removeprefix("draw it: "),
            )
            for row in rows
        )
        lines = [table(cells, ("case", "drawn on", "phase", "", "shift mm", "why"))]
        n = sum(row.accepted for row in rows)
        lines.append(f"{n} of {len(rows)} accepted; the others must be drawn on their phase")
        lines += [f"look at each: {page}"] if page.is_file() else []
        lines.append(f"next: {shell_line('nephroscope', 'slices', self.study)}")
        return Outcome(data=data, text="\n".join(lines))


@dataclass(frozen=True, kw_only=True)
class AcceptProposals(StudyCommand):
    """Accept what a model proposed for some cases as it is, after a person looked at each; rois.csv then says so.

    Example: nephroscope rois accept my-study P017 P018 --by model:my-program@2.1 --reader reader-1
    """

    case_ids: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CASE ...")]
    """The case_ids in cohort.csv."""
    by: str
    """Author of the proposals, as in rois.csv."""
    reader: str = ""
    """Who looked at them: reader-1, reader-2 and so on; results name this annotator."""

    def run(self) -> Outcome:
        """Note it."""
        n_rois = Study(self.study).accept_proposals(self.by, self.case_ids, self.reader)
        data = {"accepted": n_rois, "cases": list(self.case_ids), "author": self.by, "reader": self.reader}
        return Outcome(data=data, text=f"accepted: {n_rois} proposals of {self.by}")


@dataclass(frozen=True, kw_only=True)
class CompareProposals(StudyCommand):
    """Compare what a model proposed with what people drew: overlap, tumors found and missed, false alarms.

    Where nothing was proposed, Dice is 0. With --bundle: what the proposals do to its answers, against a margin
    stated beforehand. Writes proposals/ (page, JSON, CSV) into the study.

    Example: nephroscope rois compare my-study --by model:kits19-unet@1a2b3c4d --bundle my-bundle
    """

    by: str
    """Author of the proposals, as in rois.csv."""
    bundle: PathOption = None
    """Bundle that answers both ROIs of each case."""
    margin: float = 0.05
    """Loss of AUC that would not matter."""
    tolerance_mm: float = TOLERANCE_MM
    """Tolerance of the surface Dice, in mm."""
    cases: NamesOption = ()
    """Only these cases; those that were never proposed on count as missed."""

    def run(self) -> Outcome:
        """Compare."""
        check_within("--tolerance-mm", self.tolerance_mm, 0, 100)
        check_within("--margin", self.margin, 0.0001, 0.5)
        asked = {"margin": self.margin, "tolerance_mm": self.tolerance_mm, "cases": self.cases}
        report = Study(self.study).compare_proposals(self.by, self.bundle, **asked)
        page = self.study / "proposals" / "index.html"
        lines = [report.summary(), estimates_text(report.figures)]
        for size, figures in report.by_size.items():
            lines.append(f"  {size}: Dice {figures['dice']}" if figures else f"  {size}: no patient")
        if report.answers is not None:
            lines.append(f"answers: {report.answers.shown.words}")
            lines.append(estimates_text({"calls that change": report.answers.flips}))
            lines.append(
                f"  no answer with the proposal: {report.answers.n_without} of {report.answers.n_cases}"
            )
            if report.answers.n_seen:
                lines.append(f"  seen in training: {report.answers.n_seen}; their answers are too good")
        lines.append(f"wrote {page}; open it in a browser")
        return Outcome(
            data=as_plain(report) | {"page": str(page)},
            text="\n".join(lines),
            warning="\n".join(f"{f.severity}: {f.message}" for f in report.findings),
            exit_code=3 if report.refused else 0,
        )


ROIS: dict[str, type[Command]] = {  # the kinds of `nephroscope rois`
    "write": WriteRoi,
    "transfer": TransferRois,
    "accept": AcceptProposals,
    "compare": CompareProposals,
}


@dataclass(frozen=True, kw_only=True)
class Agreement(Command):
    """Compare two annotators' ROIs and two pathology readings, case by case; or compare two segmentation files.

    Writes agreement/ (page, JSON, CSV) and adjudication.csv into the study. To settle a case, write reader-1,
    reader-2, union, intersection or exclude in the column decision of adjudication.csv.

    Example: nephroscope agreement my-study --consensus union
    """

    study: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY", help_behavior_hint="")
    ] = None
    """Study folder."""
    files: Annotated[tuple[Path, Path] | None, tyro.conf.arg(metavar="FILE FILE", help_behavior_hint="")] = (
        None
    )
    """Two DICOM SEG, NIfTI or NRRD files of one series, instead of a study."""
    tumor_name: PartName = ""
    """With --files: compare only the segment with this label."""
    consensus: Annotated[str | None, tyro.conf.arg(metavar="RULE", help_behavior_hint="")] = None
    """Which ROI the slices use, saved in study.toml: union, intersection, staple, or any author, such as reader-3,
    consensus or model:NAME@VERSION."""
    tolerance_mm: float = TOLERANCE_MM
    """Tolerance of the surface Dice, in mm."""

    def run(self) -> Outcome:
        """Compare."""
        if not 0 <= self.tolerance_mm <= 100:
            raise ConfigError(
                where="--tolerance-mm",
                expected="a number from 0 to 100",
                found=f"{self.tolerance_mm:g}",
                remedy="correct it",
            )
        if self.files is not None and self.study is None and self.consensus is None:
            return self._files(*self.files)
        if self.study is not None and self.files is None and not self.tumor_name:
            return self._study(self.study)
        raise ConfigError(
            where="nephroscope agreement",
            expected="a study folder (with or without --consensus), or --files with two paths (--tumor-name)",
            found="both or neither",
            remedy="see nephroscope agreement --help",
        )

    def _study(self, path: Path) -> Outcome:
        study = Study(path)
        if self.consensus is not None:
            study.set_consensus(self.consensus)
        report = study.agreement(self.tolerance_mm)
        data = as_plain(report) | {"page": str(path / "agreement" / "index.html")}
        lines = [_report_text(report)]
        if self.consensus is not None:
            again = shell_line("nephroscope", "slices", path)
            lines.append(f'wrote roi.consensus = "{self.consensus}"; cut the slices again: {again}')
        low = [case for case in report.cases if case.adjudicate]
        if low:
            n_left = sum(not case.decision for case in low)
            left = f"{n_left} still to decide in" if n_left else "all decided in"
            below = f"{len(low)} cases with Dice below {report.adjudicate_below:g}"
            lines.append(f"{below}: {left} {path / 'adjudication.csv'}")
        lines.append(f"wrote {path / 'agreement' / 'index.html'}; open it in a browser")
        warning = "\n".join(
            f"{finding.severity}: {f'{finding.where}: ' if finding.where else ''}{finding.message}"
            for finding in report.findings
        )
        return Outcome(
            data=data, text="\n".join(lines), warning=warning, exit_code=3 if report.refused else 0
        )

    def _files(self, one: Path, two: Path) -> Outcome:
        from nephroscope.regions.agreement_files import compare_files

        found = compare_files(one, two, self.tumor_name, self.tolerance_mm)
        data = {
            "segments": [{"label": part.case_id, **_without_id(part)} for part in found.segments],
            "only_1": list(found.only_1),
            "only_2": list(found.only_2),
        }
        lines = [_table(found.segments, "segment")]
        for number, labels in ((1, found.only_1), (2, found.only_2)):
            if labels:
                lines.append(f"only in file {number}: {', '.join(labels)}")
        return Outcome(data=data, text="\n".join(lines))


def _without_id(part: RoiAgreement) -> dict[str, object]:
    return {name: value for name, value in asdict(part).items() if name != "case_id"}


def _report_text(report: "AnnotatorReport") -> str:
    lines = []
    if report.cases:
        lines = [_table(report.cases, "case"), "slices are numbered from 0, starting at the feet", ""]
        lines.append(report.summary())
        lines.append(estimates_text({name: report.pooled[name] for name in (*SHOWN, *SHOWN_LIMITS)}))
    if report.one_reader:
        lines.append(f"one annotator only: {len(report.one_reader)} cases")
    if report.readings is not None:
        lines.append("two pathology readings:")
        lines.append(estimates_text({"agreement": report.readings.agreement, "kappa": report.readings.kappa}))
        lines += [f"  {d.case_id}: {d.reading_1}, {d.reading_2}" for d in report.readings.disagreements]
    return "\n".join(lines)


def _table(cases: Iterable[RoiAgreement], what: str) -> str:
    rows = [
        (
            case.case_id,
            f"{case.dice:.3f}",
            f"{case.surface_dice:.3f}",
            f"{case.hd95_mm:.2f}",
            f"{case.volume_ml_1:.2f}",
            f"{case.volume_ml_2:.2f}",
            " ".join(map(str, case.slices_only_1)),
            " ".join(map(str, case.slices_only_2)),
        )
        for case in cases
    ]
    return table(rows, (what, *HEADER[1:]))
