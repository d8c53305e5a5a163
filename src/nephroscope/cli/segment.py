"""The command segment: tumors drawn by another program, as proposals."""

import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Optional

import tyro

from nephroscope.base.documents import as_plain
from nephroscope.cli.command import Command, NamesOption, Outcome, PathOption, Switch, table, warnings_text
from nephroscope.facade.segment import SegmentedCases, segment_image
from nephroscope.facade.study import Study
from nephroscope.segmenters.draw import IMAGE
from nephroscope.segmenters.presets import PRESETS
from nephroscope.segmenters.tool import Box, Tool, shown_line, tool_of, with_folds

BoxOption = Annotated[Optional[Box], tyro.conf.arg(metavar="INT ...", help_behavior_hint="")]  # noqa: UP045


@dataclass(frozen=True, kw_only=True)
class Segment(Command):
    """Let another program draw the tumors of a study, or of one CT, as proposals that a person accepts or corrects.

    The program gets the CT in HU as NIfTI and leaves a label map on the same grid, 1 for the tumor or other values
    that a JSON next to it names. What is on another grid, empty or otherwise wrong is refused by name; the rest goes
    on.

    Example: nephroscope segment my-study --with "my-program {image} {output}"

    Example: nephroscope segment my-study --with kits19-unet --model 3dunet_kits19_128x128x128.onnx --dry-run
    """

    target: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY|IMAGE")]
    """Study folder; or the folder of a DICOM series, or a NIfTI file."""
    program: Annotated[str, tyro.conf.arg(name="with", metavar="NAME|CMD")]
    """Name of a known program (totalsegmentator, kits19-unet, nnunet, monai-bundle, nninteractive); a bundle of
    `train --task segment`; or a command with {image} and {output}, or {image_folder} and {output_folder}."""
    model: Annotated[str, tyro.conf.arg(metavar="PATH|URL", help_behavior_hint="")] = ""
    """Weights of a known program: file, folder or address, as --dry-run says. Nothing is fetched."""
    sha256: Annotated[str, tyro.conf.arg(metavar="HEX", help_behavior_hint="")] = ""
    """Digest that these weights must have."""
    cases: NamesOption = ()
    """Only these cases."""
    tumor_label: int = 0
    """Value of the tumor in what the program writes; 0: it says so itself, or writes only 1."""
    box: BoxOption = None
    """For nninteractive: first and last slice, row and column of a box around the tumor, from 0 at feet, front and
    right."""
    out: PathOption = None
    """Of one CT: new file to write; by default NAME-proposed.nii.gz here."""
    limit_s: float = Tool.limit_s
    """Seconds after which the program, and all that it started, is ended."""
    dry_run: Switch = False
    """Only print the command, license, where weights come from, and what the program cannot do."""

    def run(self) -> Outcome:
        """Draw."""
        if self.dry_run and self.program.strip() in PRESETS:
            return self._described()
        tool = tool_of(self.program, self.model, self.tumor_label, self.limit_s, self.sha256, self.box)
        if self.dry_run:
            line = shown_line(tool.command, tool.environment, self._shown_image(), "", "")
            return Outcome(
                data={"command": list(tool.command), "author": f"model:{tool.name}@{tool.version}"}, text=line
            )
        if (self.target / "study.toml").is_file():
            done = Study(self.target).segment(tool, self.cases)
        else:
            stem = re.sub(r"\.nii(\.gz)?$", "", self.target.name)
            out = self.out or Path(f"{stem}-proposed{'' if tool.organs_only else '.nii.gz'}")
            done = segment_image(self.target, tool, out)
        return Outcome(
            data={"cases": [asdict(case) for case in done], "findings": as_plain(done.findings)}
            | _counts(done),
            text=_text(done),
            warning=warnings_text(done.findings),
            exit_code=3 if done.refused else 0,
        )

    def _described(self) -> Outcome:
        preset = PRESETS[self.program.strip()]
        folder = Path(self.model) if self.model and Path(self.model).is_dir() else None
        command = with_folds(preset.command, folder)
        box = ",".join(map(str, self.box or ()))
        rows = {
            "command": shown_line(command, preset.environment, self._shown_image(), self.model, box),
            "license": preset.licence,
            "weights": preset.weights,
            "cannot": preset.cannot,
            "model": f"--model {preset.model}",
        }
        text = "\n".join([preset.title, *(f"  {name:8} {value}" for name, value in rows.items())])
        return Outcome(
            data={"name": self.program.strip(), "title": preset.title, **rows, "words": command}, text=text
        )

    def _shown_image(self) -> Path:
        """In a command that is only shown: the image that was named, or one with the name that programs are given."""
        return self.target if self.target.is_file() else Path("ct", IMAGE)


def _counts(done: SegmentedCases) -> dict[str, int]:
    return {"proposed": len(done) - len(done.refused), "refused": len(done.refused)}


def _text(done: SegmentedCases) -> str:
    rows = [
        (
            case.case,
            case.state if case.again or case.state == "refused" else f"{case.state} before",
            case.author,
            "" if case.seconds is None else f"{case.seconds:.1f}",
            " ".join(finding.code for finding in case.findings if finding.severity != "note"),
        )
        for case in done
    ]
    lines = [table(rows, ("case", "state", "author", "seconds", "doubts")), done.summary()]
    lines += [f"refused [{case.code}]: {case.refused}" for case in done.refused]
    states = Counter(case.state for case in done)
    if states["proposed"]:
        lines.append(
            "a proposal is used when a person accepted or corrected it: nephroscope workstation, or rois accept"
        )
    return "\n".join(lines)
