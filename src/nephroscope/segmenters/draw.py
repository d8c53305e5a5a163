"""One CT and one program -> the tumor as it proposes it, or a refusal; nothing that it touches is changed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir, mkdtemp

from nephroscope.base.files import HOST, file_digest, process_lives
from nephroscope.base.text import first_few
from nephroscope.imaging.masks.write import write_volume
from nephroscope.records import CTVolume, Finding, RoiMask, VolumeGeometry, note, warning
from nephroscope.records.prediction import Side
from nephroscope.regions.check import check_position, check_side
from nephroscope.regions.found_kidneys import check_found_kidneys
from nephroscope.regions.organs import Organs
from nephroscope.regions.surroundings import measure_ct_under
from nephroscope.segmenters.output import Says, read_output
from nephroscope.segmenters.process import run_program
from nephroscope.segmenters.refusal import MisplacedError, SegmenterError, WroteElsewhereError
from nephroscope.segmenters.tool import Tool, author_of
from nephroscope.segmenters.watch import Watch

SCRATCH = "nephroscope-segment"
IMAGE, OUTPUT = "image_0000.nii.gz", "image.nii.gz"  # as nnU-Net names them
# Where a proposal is surely no tumor; other doubts go along as findings.
NO_TUMOR = {"roi-impossible", "roi-is-kidney", "roi-mirrored"}
MOST_AWAY = 0.5  # share of it outside the body, or on air


@dataclass(frozen=True, eq=False, kw_only=True)
class Proposal:
    """What a program drew on one CT.

    Attributes:
        author: ``model:NAME@VERSION``.
        geometry: Grid of the CT.
        roi: The tumor with its findings; None where the program draws organs only.
        organs: What else it drew, by name.
        says: What it says of itself.
        seconds: That it took, as measured here.
        findings: Of the tumor, and whether the program learned from this CT.
    """

    author: str
    geometry: VolumeGeometry
    roi: RoiMask | None
    organs: Organs
    says: Says
    seconds: float
    findings: tuple[Finding, ...] = ()


def draw_tumor(
    volume: CTVolume,
    tool: Tool,
    case_id: str = "",
    watches: Sequence[Watch] = (),
    organs: Organs | None = None,
    side: Side = "unknown",
) -> Proposal:
    """Let a program draw the tumor on a CT.

    The program gets the CT in HU as NIfTI in a folder of its own and leaves a label map there; see
    docs/how-to/segment.md.

    Args:
        volume: The CT.
        tool: The program, from `tool_of`.
        case_id: Name of the case in messages and in the mask.
        watches: Files that the program must leave as they are, such as the study and the CT.
        organs: Organs of the case, where they are known; by default those that the program drew too.
        side: Of the patient on which the tumor is said to be; a drawing on the other one is doubted.

    Raises:
        SegmenterError: The program failed, took too long, left no usable label map, or changed something else.
    """
    where = f"{f'case {case_id}, ' if case_id else ''}drawn by {tool.name}"
    with _scratch() as scratch:
        image, folder = scratch / "in" / IMAGE, scratch / "out"
        write_volume(volume, image)
        folder.mkdir()
        digest = file_digest(image)
        places = {
            "image": image,
            "output": folder / OUTPUT,
            "image_folder": image.parent,
            "output_folder": folder,
            "model": Path(tool.model).resolve() if tool.model and "://" not in tool.model else tool.model,
        }
        filled = {name: str(place) for name, place in places.items()}
        failed: SegmenterError | None = None
        try:
            seconds = run_program(
                tool.filled(filled), scratch, tool.limit_s, where, _environment(tool, filled)
            )
        except SegmenterError as error:
            failed = error
        _check_untouched(image, digest, watches, where)
        if failed is not None:
            raise failed
        output = read_output(folder, folder / OUTPUT, volume.geometry, tool, where)
    author = author_of(output.says.tool or tool.name, output.says.version or tool.version)
    roi, seen = None, _seen(output.says, case_id)
    if output.tumor is not None:
        roi = RoiMask(voxels=output.tumor, geometry=volume.geometry, case_id=case_id)
        found, measures = check_position(volume, roi, output.organs if organs is None else organs)
        try:
            refuse_misplaced(found, volume, roi, where)
        except SegmenterError as error:
            error.author = author
            raise
        if "kidney" not in (output.organs if organs is None else organs):
            found += check_found_kidneys(volume, roi, "unknown")
        found += check_side(side, measures.side, case_id)
        roi = replace(roi, findings=tuple(found))
    return Proposal(
        findings=(*seen, *(roi.findings if roi is not None else ())),
        author=author,
        geometry=volume.geometry,
        roi=roi,
        organs=output.organs,
        says=output.says,
        seconds=seconds,
    )


def _seen(says: Says, case_id: str) -> tuple[Finding, ...]:
    """What is to be known where a program learned from the CT that it draws on."""
    if says.seen == "out-of-fold":
        text = "it was learned from; drawn by those of the networks that did not learn from it"
        return (note("segmenter-out-of-fold", text, case_id=case_id),)
    if says.seen == "trained-on":
        text = "it learned from this CT and what was drawn on it: the drawing does not show how well it draws others"
        return (warning("segmenter-trained-on", text, case_id=case_id),)
    return ()


def _environment(tool: Tool, places: Mapping[str, str]) -> dict[str, str]:
    own = (
        {"PYTHONPATH": str(Path(__file__).parents[2])}
        if "nephroscope.segmenters" in " ".join(tool.command)
        else {}
    )
    return own | {name: value.replace("{model}", places["model"]) for name, value in tool.environment.items()}


@contextmanager
def _scratch() -> Iterator[Path]:
    for left in Path(gettempdir()).glob(f"{SCRATCH}-{HOST}-*-*"):  # of a process that was killed
        if (pid := left.name.split("-")[-2]).isdigit() and not process_lives(int(pid)):
            rmtree(left, ignore_errors=True)
    folder = Path(mkdtemp(prefix=f"{SCRATCH}-{HOST}-{os.getpid()}-"))
    try:
        (folder / "in").mkdir()
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


def _check_untouched(image: Path, digest: str, watches: Sequence[Watch], where: str) -> None:
    """Refuse where the image that the program was given, or anything that is watched, is not as it was."""
    changed = [name for watch in watches for name in watch.changed()]
    if not image.is_file() or file_digest(image) != digest:
        changed.insert(0, "its input image")
    if changed:
        raise WroteElsewhereError(
            where=where,
            expected="nothing written but its output",
            found=f"files made, changed or removed: {first_few(changed)}",
            remedy="restore them, and do not use this program",
        )


def refuse_misplaced(found: Sequence[Finding], volume: CTVolume, roi: RoiMask, where: str) -> None:
    """Refuse what is surely no tumor where it lies.

    Raises:
        MisplacedError: Most of it is outside the body or air, it is a whole kidney, or its mirror image fits.
    """
    codes = {finding.code for finding in found}
    away = False
    if codes & {"roi-outside-body", "roi-on-air"}:
        under = measure_ct_under(volume, roi)
        away = max(under.outside_share, under.air_share) > MOST_AWAY
    if away or codes & NO_TUMOR:
        raise MisplacedError(
            where=where,
            expected="a tumor in the body, on or next to a kidney",
            found="; ".join(finding.message for finding in found if finding.severity != "note"),
            remedy="draw it by hand; look whether the program turns the image",
        )
