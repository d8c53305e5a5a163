"""The commands export, predict and info; predict and info need no torch."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import tyro

from nephroscope.base.version import __version__
from nephroscope.cli.command import (
    Command,
    CountOption,
    NumberOption,
    Outcome,
    PartName,
    RunCommand,
    TextOption,
    findings_as_json,
)
from nephroscope.learning.networks.table import NETWORKS
from nephroscope.records import Answer


@dataclass(frozen=True, kw_only=True)
class Export(RunCommand):
    """Write the model of a run as a bundle, a folder that predicts on a laptop without torch.

    Example: nephroscope export my-study --out my-bundle
    """

    out: Path
    """New folder for the bundle."""

    def run(self) -> Outcome:
        """Export it."""
        from nephroscope.facade.study import Study

        bundle = Study(self.study).run(self.run_name).export(self.out).folder
        return Outcome(
            data={"bundle": str(bundle)},
            text=f"wrote {bundle}; next: nephroscope predict {bundle} IMAGE --roi ROI",
        )


@dataclass(frozen=True, kw_only=True)
class Predict(Command):
    """Predict the subtype of one tumor from CT and ROI: probabilities, and a call or "not sure".

    Example: nephroscope predict my-bundle ct-series/ --roi tumor.dcm
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Bundle folder."""
    image: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """Folder of a DICOM series, a NIfTI volume, or a PNG or JPEG slice."""
    roi: Path
    """DICOM SEG or RTSTRUCT, NIfTI or NRRD label map, or PNG mask."""
    tumor_label: CountOption = None
    """Value of the tumor in a label map, or number of its segment; needed when the file has several without names."""
    tumor_name: PartName = ""
    """Name or code of the tumor's segment or contour; needed when several or none are called a tumor."""
    case_id: TextOption = None
    """Pseudonym to print; by default the name of the image."""
    window_level: float = 40.0
    """PNG and JPEG only: level in HU of the window used when they were exported."""
    window_width: float = 400.0
    """PNG and JPEG only: width in HU of that window."""
    spacing_mm: NumberOption = None
    """PNG and JPEG only: pixel spacing in mm."""

    def run(self) -> Outcome:
        """Predict it."""
        from nephroscope.clinic.predict import ImageToPredict, predict_files

        what = ImageToPredict(
            image=self.image,
            roi=self.roi,
            case_id=self.case_id or self.image.name.partition(".")[0] or "case",
            tumor_label=self.tumor_label or 1,
            tumor_name=self.tumor_name or (f"#{self.tumor_label}" if self.tumor_label else ""),
            window_level_hu=self.window_level,
            window_width_hu=self.window_width,
            spacing_mm=self.spacing_mm,
        )
        answer, seconds = predict_files(self.bundle, what)
        return Outcome(data=_answer_as_json(answer, seconds), text=_prediction_text(answer, seconds))


def _answer_as_json(answer: Answer, seconds: dict[str, float]) -> dict[str, Any]:
    """An answer as one JSON object."""
    return {
        "case_id": answer.case_id,
        "probabilities": answer.probabilities,
        "call": answer.call,
        "reason": answer.reason,
        "slices": [
            {
                "slice_index": part.slice_index,
                "area_mm2": round(part.area_mm2, 1),
                "probabilities": dict(zip(answer.probabilities, part.probabilities, strict=True)),
            }
            for part in answer.slices
        ],
        "findings": findings_as_json(answer.findings),
        "seconds": seconds["total"],
        "timings": seconds,
        "model_digest": answer.model_digest,
        "research_use_only": True,
    }


def _prediction_text(answer: Answer, seconds: dict[str, float]) -> str:
    lines = [f"case {answer.case_id}: {answer.call or 'not sure'} ({answer.reason})"]
    lines += [
        f"  {name:8} {p:6.3f}  mean of {len(answer.slices)} slices"
        for name, p in answer.probabilities.items()
    ]
    lines += [f"  {finding.severity}: {finding.code}: {finding.message}" for finding in answer.findings]
    lines.append(f"{seconds['total']:.2f} s. Research use only; not a medical device.")
    return "\n".join(lines)


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
