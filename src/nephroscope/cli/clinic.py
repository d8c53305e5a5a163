"""The commands export, predict and info; predict and info need no torch."""

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import tyro

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import ConfigError
from nephroscope.base.text import shell_line
from nephroscope.base.version import __version__
from nephroscope.cli.command import (
    Command,
    CountOption,
    NumberOption,
    Outcome,
    PartName,
    PathOption,
    RunCommand,
    Switch,
    TextOption,
)
from nephroscope.cli.many import ManyOptions, dry_outcome, many_outcome
from nephroscope.learning.networks.table import NETWORKS
from nephroscope.records import counted_noun
from nephroscope.records.prediction import Side

if TYPE_CHECKING:
    from nephroscope.records import UsedFact
    from nephroscope.records.prediction import PredictedPhase, Prediction


# Of texts; a bare tuple, because tyro loads the slow typeguard for what is more than a plain class.
PhaseOption = tyro.conf.UseAppendAction[
    Annotated[tuple, tyro.conf.arg(metavar="PHASE=PATH", help_behavior_hint="")]  # type: ignore[type-arg]
]


@dataclass(frozen=True, kw_only=True)
class Export(RunCommand):
    """Write the model of a run as a bundle, a folder that predicts on a laptop without torch, or as one HTML file.

    Example: nephroscope export my-study --out my-bundle
    """

    out: PathOption = None
    """New folder for the bundle."""
    web: PathOption = None
    """New HTML file that answers in a browser without a network; Chromium must first reproduce `predict` in it."""
    web_libraries: PathOption = None
    """Folder with the .tgz files of the page's JavaScript libraries; by default npm downloads them once."""
    patient_slices: Switch = False
    """Keep slices of training cases in the bundle as reference, instead of phantoms; README and model card say so."""
    facts: Switch = False
    """Use age, sex and size with the image where `predict` is given them: one regression on out-of-fold answers."""
    fold: CountOption = None
    """Write the network of this fold alone: smaller and faster than the mean of all, and less sure."""

    def run(self) -> Outcome:
        """Export it."""
        import tempfile

        from nephroscope.base.errors import ConfigError
        from nephroscope.facade.study import Study

        if self.out is None and self.web is None:
            raise ConfigError(
                where="export",
                expected="--out FOLDER for a bundle, --web FILE for an HTML file, or both",
                found="neither",
                remedy="give one of them",
            )
        study = Study(self.study)
        if self.draws:
            from nephroscope.cli.learn_segment import export_segmenter

            others = (self.web, self.web_libraries, self.patient_slices, self.facts, self.fold)
            return export_segmenter(study.segmenter(self.run_name), self.out, others)
        if self.web is not None:
            from nephroscope.web.export import check_new_page
            from nephroscope.web.libraries import find_libraries

            check_new_page(self.web)  # before the bundle, which takes longer
            find_libraries(self.web_libraries)
        with tempfile.TemporaryDirectory() as folder:
            place = self.out or Path(folder) / "bundle"
            made = study.run(self.run_name).export(place, self.patient_slices, self.facts, self.fold)
            warnings = (
                ["the bundle holds CT slices of patients (--patient-slices)"] if self.patient_slices else []
            )
            data, lines = self._page(place, warnings)
        if self.out is not None:
            roi = " --roi ROI" if made.needs_roi else ""
            data = {"bundle": str(made.folder)} | data
            lines.insert(
                0,
                f"wrote {made.folder}; next: {shell_line('nephroscope', 'predict', made.folder)} IMAGE{roi}",
            )
        return Outcome(data=data, text="\n".join(lines), warning="\n".join(warnings))

    def _page(self, bundle: Path, warnings: list[str]) -> tuple[dict[str, object], list[str]]:
        """The HTML file of the bundle, where one is asked for: what --json says of it, and in words."""
        if self.web is None:
            return {}, []
        from dataclasses import asdict

        from nephroscope.web.export import export_page

        page = export_page(bundle, self.web, self.web_libraries)
        gate = page.gate
        if not gate.run:
            warnings.append(f"the page was not compared with `nephroscope predict`, and says so: {gate.why}")
        text = f"wrote {page.path} ({page.n_bytes / 1e6:.1f} MB, SHA-256 {page.sha256})"
        proof = (
            f"; {gate.browser} gave the answers of `predict` for {gate.cases} golden cases"
            if gate.run
            else ""
        )
        return {
            "web": str(page.path),
            "web_sha256": page.sha256,
            "web_bytes": page.n_bytes,
            "web_gate": asdict(gate),
        }, [text + proof]


@dataclass(frozen=True, kw_only=True)
class Predict(ManyOptions):
    """Predict the subtype of one tumor from CT and ROI, or of many: probabilities, and a call or "not sure".

    CT and ROI are checked as `nephroscope check` does; with a warning the answer is "not sure".

    Example: nephroscope predict my-bundle patient/ --roi tumor.dcm --side left --picture tumor.png
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Bundle folder."""
    image: Annotated[
        Optional[Path],  # noqa: UP045
        tyro.conf.Positional,
        tyro.conf.arg(metavar="IMAGE", help_behavior_hint=""),
    ] = None
    """Folder of a DICOM series, or of all series of a patient; a NIfTI volume; or a PNG or JPEG slice."""
    roi: PathOption = None
    """DICOM SEG or RTSTRUCT, NIfTI or NRRD label map, or PNG mask; by default the one DICOM ROI in the folder."""
    tumor_label: CountOption = None
    """Value of the tumor in a label map, or number of its segment; needed when the file has several without names."""
    tumor_name: PartName = ""
    """Name or code of the tumor's segment or contour; needed when several or none are called a tumor."""
    case_id: TextOption = None
    """Pseudonym to print; by default the PatientID of the DICOM files, otherwise "case"."""
    side: Annotated[Side, tyro.conf.arg(help_behavior_hint="")] = "unknown"
    """Side of the patient on which the tumor is said to be; an ROI on the other side is doubted."""
    age: NumberOption = None
    """Age of the patient at imaging in years, for a bundle that uses clinical facts."""
    sex: TextOption = None
    """Sex of the patient: M or F."""
    size_mm: NumberOption = None
    """Largest diameter of the tumor in mm."""
    series: PhaseOption = ()
    """For a bundle of several phases, instead of IMAGE: PHASE=PATH of each series, the drawn one first."""
    series_roi: PhaseOption = ()
    """PHASE=PATH of ROIs that were drawn on further phases; without, the ROI is placed there by registration."""
    jitter: Switch = False
    """Also answer with the ROI 2 mm larger, smaller and shifted: how far does the probability spread?"""
    then: PathOption = None
    """Bundle of a second question: which of the others it is, where the first is not its positive subtype."""
    picture: PathOption = None
    """PNG to write: the slice with the largest cross-section, with the outline of the ROI, R, L and a scale."""
    sr: PathOption = None
    """DICOM structured report (TID 1500) of the answer to write, for a PACS; DICOM CT only."""
    seg: PathOption = None
    """DICOM SEG to write: the ROI as it was used, with a frame for each slice; DICOM CT only."""
    sc: PathOption = None
    """DICOM secondary capture to write: the picture with the answer in words, for a PACS that shows no reports."""
    window_level: float = 40.0
    """PNG and JPEG only: level in HU of the window used when they were exported."""
    window_width: float = 400.0
    """PNG and JPEG only: width in HU of that window."""
    spacing_mm: NumberOption = None
    """PNG and JPEG only: pixel spacing in mm."""

    def run(self) -> Outcome:
        """Predict it."""
        many = self.many_cases()
        if many is not None:
            from nephroscope.facade.many.run import plan_table, predict_table

            if self.dry_run:
                return dry_outcome(plan_table(self.bundle, many))
            return many_outcome(predict_table(self.bundle, many))
        from nephroscope.facade.phases import by_phase

        series = by_phase(self.series, "--series")
        image = self.image or next(iter(series.values()), None)
        if image is None or (self.image is not None and series):
            raise ConfigError(
                where="nephroscope predict",
                expected="IMAGE, --series PHASE=PATH for several phases, or --table CSV with --out FOLDER",
                found="IMAGE and --series" if series else "none of them",
                remedy="name the folder of the CT, or a table of cases",
            )
        from nephroscope.clinic.facts import given_facts
        from nephroscope.facade.answer_files import AnswerFiles
        from nephroscope.facade.prediction import FilesToPredict, predict_files, predict_linked

        files = FilesToPredict(
            image=image,
            series=series,
            series_rois=by_phase(self.series_roi, "--series-roi"),
            roi=self.roi,
            case_id=self.case_id,
            tumor_label=1 if self.tumor_label is None else self.tumor_label,
            tumor_name=self.tumor_name or ("" if self.tumor_label is None else f"#{self.tumor_label}"),
            side=self.side,
            picture=self.picture,
            objects=AnswerFiles(sr=self.sr, seg=self.seg, sc=self.sc),
            window_level_hu=self.window_level,
            window_width_hu=self.window_width,
            spacing_mm=self.spacing_mm,
            jitter=self.jitter,
            facts=given_facts(self.age, self.sex, self.size_mm),
        )
        if self.then is None:
            found = predict_files(self.bundle, files)
            return Outcome(data=found, text=prediction_text(found, files.objects.wanted))
        return _linked(*predict_linked(self.bundle, self.then, files), files.objects.wanted)


def _linked(first: "Prediction", second: "Prediction", objects: Sequence[Path]) -> Outcome:
    """The answer to two linked questions, and both answers."""
    both = first.linked
    assert both is not None  # noqa: S101
    lines = [
        prediction_text(first, objects),
        prediction_text(second),
        f"both questions: {both.call or 'not sure'} ({both.reason})",
        *(f"  {name:8} {p:6.3f}" for name, p in both.probabilities.items()),
    ]
    data = {name: value for name, value in as_plain(both).items() if name != "second"}
    data |= {"case_id": first.case_id, "questions": [as_plain(first), as_plain(second)]}
    return Outcome(data=data, text="\n".join(lines))


def prediction_text(found: "Prediction", objects: Sequence[Path] = ()) -> str:
    """An answer in words, and the files that were written."""
    series = f"phase {found.series.phase}, {counted_noun(found.series.n_slices, 'slice')}"
    if found.series.n_series > 1:
        series += f", chosen from {found.series.n_series} series by the ROI"
    lines = [f"case {found.case_id}: {found.call or 'not sure'} ({found.reason})", f"  CT: {series}"]
    lines += [
        f"  {name:8} {p:6.3f}  mean of {counted_noun(len(found.slices), 'slice')}"
        for name, p in found.probabilities.items()
    ]
    lines += [phase_line(one) for one in found.phases]
    lines += [f"  ROI: {found.roi.words}"] if found.roi else []
    lines += [f"  {found.possible.words}"] if found.possible else []
    if found.outside is not None and found.outside.distance is not None:
        lines.append(
            f"  distance from the training cases {found.outside.distance:.2f}, limit {found.outside.limit:.2f}"
        )
    if found.image_probabilities:
        image = found.image_probabilities[found.positive]
        lines.append(f"  image alone: {found.positive} {image:.3f}")
    if found.jitter:
        p = [one.probabilities[found.positive] for one in found.jitter]
        flips = [one.roi for one in found.jitter if one.forced_call != found.forced_call]
        told = f"another call when {', '.join(flips)}" if flips else "always the same call"
        lines.append(f"  ROI drawn otherwise: {found.positive} {min(p):.3f} to {max(p):.3f}; {told}")
    lines += [fact_line(one, found.positive) for one in found.facts]
    lines += [f"  {finding.severity}: {finding.code}: {finding.message}" for finding in found.findings]
    lines += [f"wrote {path}" for path in ([found.picture] if found.picture else []) + [*objects]]
    lines.append(f"{found.seconds:.2f} s. Research use only; not a medical device.")
    return "\n".join(lines)


def phase_line(phase: "PredictedPhase") -> str:
    """Whether a phase was used, and how the tumor came there, in words."""
    moved = phase.shift_mm and math.hypot(*phase.shift_mm)
    shift = f", {moved:.1f} mm from where it was drawn" if moved else ""
    return f"  {phase.phase}: {'used' if phase.used else 'not used'}; {phase.reason}{shift}"


def fact_line(fact: "UsedFact", positive: str) -> str:
    """What a clinical fact moved, in words."""
    from nephroscope.facade.prediction import GIVEN

    value = f"{fact.value:g} {fact.unit}" if isinstance(fact.value, float) else fact.value
    source = "" if fact.source in ("", GIVEN) else f" from {fact.source}"
    return (
        f"  {fact.name} {value}{source}: {fact.log_odds:+.2f} in log odds of {positive} "
        f"({fact.probability_without:.3f} without it)"
    )


@dataclass(frozen=True, kw_only=True)
class Info(Command):
    """Print the versions of nephroscope and the packages it uses, and the networks it knows.

    Example: nephroscope info --json
    """

    def run(self) -> Outcome:
        """List them."""
        names = ["numpy", "pydicom", "highdicom", "nibabel", "onnxruntime", "torch", "torchvision"]
        packages = {name: _version(name) for name in names}
        data = {
            "nephroscope": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": packages,
            "models": list(NETWORKS),
            "recipes": ["default", "zuo2021"],
        }
        lines = [f"nephroscope {__version__}, Python {data['python']}, {data['platform']}"]
        lines += [f"  {name} {found or 'not installed'}" for name, found in packages.items()]
        lines.append(f"networks: {', '.join(NETWORKS)}")
        return Outcome(data=data, text="\n".join(lines))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
