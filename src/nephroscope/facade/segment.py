"""Tumors drawn by a program: the cases of a study, or one image; and the acceptance of what was proposed.

Of each case first the files are written, then its rows: what a kill leaves out is drawn again, what has rows is not.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import CohortError, ConfigError, NephroscopeError, RoiError
from nephroscope.base.files import digest_of, file_digest
from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.progress import track
from nephroscope.base.text import counted_noun
from nephroscope.imaging.dicom.series import is_series_list, load_series_files
from nephroscope.imaging.masks.write import write_labels, write_nifti
from nephroscope.imaging.read import read_case_ct, read_ct
from nephroscope.records import Case, ChosenCase, Cohort, Finding, RoiRef, warning
from nephroscope.records.origin import BY_MODEL
from nephroscope.records.settings import AUTHOR
from nephroscope.segmenters.draw import Proposal, draw_tumor
from nephroscope.segmenters.refusal import MisplacedError, SegmenterError
from nephroscope.segmenters.tool import Tool, author_of, check_program
from nephroscope.segmenters.watch import Watch
from nephroscope.study.cohort_table import load_cohort, save_cohort, seen_tables
from nephroscope.study.snapshot import Snapshot, take_snapshot

FOLDER = "proposed"  # in rois/ of the study
FORMAT = 1
# Share of masks in impossible places from which on the others are doubted (benchmarks/turned.py).
OFTEN = 0.25
# Others write there while a program draws: the lock of this command, and the workstation.
NOT_WATCHED = (".lock", ".lock.json", "workstation")


@dataclass(frozen=True, kw_only=True)
class SegmentedCase:
    """What became of a case.

    Attributes:
        case: The case_id, or the name of the image.
        state: ``proposed``; ``accepted`` where a person accepted it before; ``organs`` where the program draws no
            tumor; ``refused``.
        author: ``model:NAME@VERSION``.
        refused: Why there is no proposal; None where there is one.
        code: Of the refusal; empty without one.
        again: False where it was drawn by an earlier run.
        path: Of the file; empty where there is none.
        seconds: That the program took.
        findings: What is doubtful about the proposal.
    """

    case: str
    state: str
    author: str
    refused: str | None = None
    code: str = ""
    again: bool = True
    path: str = ""
    seconds: float | None = None
    findings: tuple[Finding, ...] = ()


class SegmentedCases(tuple[SegmentedCase, ...], ShownAsTable):
    """What became of each case, in their order."""

    __slots__ = ()

    @property
    def refused(self) -> tuple[SegmentedCase, ...]:
        """Those without a proposal."""
        return tuple(case for case in self if case.refused is not None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is doubtful about all of them: a program that turns its masks over draws some that fit by chance."""
        misplaced = sum(case.code == MisplacedError.code for case in self)
        drawn = sum(
            case.again and (case.refused is None or case.code == MisplacedError.code) for case in self
        )
        if misplaced < 2 or misplaced < OFTEN * drawn:
            return ()
        text = f"{misplaced} of {drawn} masks lie where no tumor can be: the program may turn the image"
        text += "; look at each of the others"
        return (warning("segmenter-often-misplaced", text),)

    def records(self) -> list[Record]:
        """A row per case: case, state, author, refused."""
        return [{name: value for name, value in asdict(case).items() if name != "findings"} for case in self]

    def summary(self) -> str:
        """How many were drawn, and how many refused."""
        return f"{counted_noun(len(self) - len(self.refused), 'case')} drawn, {len(self.refused)} refused"


class ProposalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept next to a proposal: who drew it, with what, and what it was like when it was drawn.

    Attributes:
        author: ``model:NAME@VERSION``.
        given: The program as the user named it.
        program: Version, or a digest of its files.
        weights: Digest of its weights, as computed here or else as it says.
        labels: Names of the values that it wrote.
        seconds: That it took.
        ct: Series UID of the CT.
        sha256: Of the file next to this one; empty for organs.
        findings: Codes of what is doubtful.
        voxels: Number of voxels of the tumor; None for organs.
    """

    author: str
    given: str
    program: str
    weights: str
    labels: dict[str, str]
    seconds: float
    ct: str
    sha256: str
    findings: tuple[str, ...]
    voxels: int | None = None


def segment_image(path: Path, tool: Tool, out: Path) -> SegmentedCases:
    """Let a program draw the tumor on one CT, and write it as a NIfTI label map.

    Args:
        path: Folder of a DICOM series, or a NIfTI file.
        tool: The program.
        out: File to write, .nii.gz; of a program that draws organs only, a folder.

    Raises:
        SeriesError: The CT cannot be read.
        ConfigError: The program is not installed, or ``out`` exists.
    """
    check_program(tool)
    _check_new_file(out)
    name = re.sub(r"\.nii(\.gz)?$", "", path.name)
    volume = read_ct(path)
    try:
        proposal = draw_tumor(volume, tool, name, [Watch([path])])
        _save(proposal, out, tool, volume.series_uid)
    except RoiError as error:
        return SegmentedCases([_refused(name, tool, error)])
    return SegmentedCases([_drawn(name, proposal, out)])


def _check_new_file(out: Path) -> None:
    """Refuse a place that is taken: it may be the CT, or a drawing that somebody corrected."""
    taken = next((path for path in (out, _record_path(out)) if path.exists()), None)
    if taken is not None:
        raise ConfigError(
            where="--out",
            expected="the name of a new file or folder",
            found=f"the existing {taken.name}",
            remedy="choose another name, or remove it; nothing was changed",
        )


def segment_study(root: Path, tool: Tool, wanted: Sequence[str] = ()) -> SegmentedCases:
    """Let a program draw the tumor of each case on its chosen series; rois.csv then has a row of it, as a proposal.

    A case that this program drew before, with the same weights, is left as it is.

    Args:
        root: The study.
        tool: The program.
        wanted: Only these cases; none: all.

    Raises:
        ConfigError: The program is not installed.
        CohortError: There is no such case.
    """
    check_program(tool)
    snapshot = take_snapshot(root)
    cases = _named(snapshot.cohort, wanted)
    root = snapshot.folder.root
    watch = Watch([root, root / "workstation" / "drawn"], NOT_WATCHED)
    done = track(cases, "drawing", "case", len(cases))
    return SegmentedCases(_segment_case(snapshot, case, tool, watch) for case in done)


def accept(root: Path, author: str, wanted: Sequence[str], by: str = "") -> list[RoiRef]:
    """Note in rois.csv that a person looked at proposals and accepts them as they are; returns them.

    Args:
        root: The study.
        author: The model.
        wanted: Cases.
        by: The annotator who looked at them, such as reader-1; empty: rois.csv does not say who.

    Raises:
        ConfigError: ``by`` is no annotator.
        CohortError: There is no such case, or this author proposed nothing for it.
    """
    if by and (not AUTHOR.fullmatch(by) or ":" in by):
        raise ConfigError(
            where="--reader",
            expected="reader-1, reader-2 ... or consensus",
            found=repr(by),
            remedy="give that",
        )
    snapshot, seen = take_snapshot(root), seen_tables(root)
    cohort = snapshot.cohort
    names = {case.case_id for case in _named(cohort, wanted)}
    taken, cases = [], []
    for case in cohort.cases:
        own = [roi for roi in case.rois if case.case_id in names and roi.author == author]
        if case.case_id in names and (not own or not own[0].by_model):
            raise CohortError(
                where=f"case {case.case_id}",
                expected=f"a proposal of {author}",
                found=", ".join(roi.author for roi in case.rois) or "no ROI",
                remedy="look up the authors in rois.csv",
            )
        taken += own
        rois = [replace(roi, accepted=True, accepted_by=by) if roi in own else roi for roi in case.rois]
        cases.append(replace(case, rois=tuple(rois)))
    save_cohort(replace(cohort, cases=tuple(cases)), snapshot.folder.root, seen)
    return taken


def _named(cohort: Cohort, wanted: Sequence[str]) -> list[ChosenCase]:
    if unknown := [name for name in wanted if name not in cohort.by_id]:
        raise CohortError(
            where="cases",
            expected="names of cases in cohort.csv",
            found=", ".join(map(repr, unknown[:4])),
            remedy="look up the case_id in cohort.csv",
        )
    return [case for case in cohort.chosen if not wanted or case.case_id in wanted]


def _segment_case(snapshot: Snapshot, case: ChosenCase, tool: Tool, watch: Watch) -> SegmentedCase:
    try:
        if (before := _drawn_before(case, tool)) is not None:
            return before
        if case.format == "images":
            raise RoiError(
                where=f"case {case.case_id}",
                expected="a CT volume",
                found="slice images",
                remedy="import the CT series of the case",
            )
        volume = read_case_ct(case)
        watch.changed()  # what we wrote since is no change
        side = case.clinical.side or "unknown"
        proposal = draw_tumor(volume, tool, case.case_id, [watch, Watch(_files_of(case))], side=side)
        _check_new(case, proposal)
        path = snapshot.folder.root / "rois" / FOLDER / _file_name(case, proposal)
        _save(proposal, path, tool, volume.series_uid)
        _list(snapshot, case, proposal, path)
    except (NephroscopeError, OSError) as error:
        return _refused(case.case_id, tool, error)
    return _drawn(case.case_id, proposal, path)


def _files_of(case: ChosenCase) -> list[Path]:
    return [*load_series_files(case.image).files] if is_series_list(case.image) else [case.image]


def _drawn_before(case: ChosenCase, tool: Tool) -> SegmentedCase | None:
    """What this program drew of the case, where rois.csv or series.csv names it."""
    drawn = [(roi.path, roi.state) for roi in case.rois if roi.series == case.ct.name and roi.by_model]
    organs = [(case.ct.organs, "organs")] if case.ct.organs is not None else []
    for path, state in (*drawn, *organs):
        record = _record_path(path)
        if not (path.exists() and record.is_file()):
            continue
        kept = read_document(record, ProposalRecord, FORMAT)
        if (kept.given, kept.program) == (tool.given, tool.version):
            return SegmentedCase(
                case=case.case_id,
                state=state,
                author=kept.author,
                again=False,
                path=str(path),
                seconds=kept.seconds,
            )
    return None


def _check_new(case: ChosenCase, proposal: Proposal) -> None:
    """Refuse to write over what has a row already."""
    author, on = proposal.author, f"series {case.ct.name}"
    if proposal.roi is None:
        there = f"those of series.csv on {on}" if case.ct.organs is not None else ""
    else:
        there = f"one of {author} on {on}, drawn by another program or version" if case.roi_by(author) else ""
    if there:
        raise RoiError(
            where=f"case {case.case_id}",
            expected=f"{'an ROI' if proposal.roi else 'organs'} that the study does not have yet",
            found=there,
            remedy="remove its row, or its cell in the column organs; or let the program say another name or version",
        )


def _file_name(case: ChosenCase, proposal: Proposal) -> str:
    plain = [
        part if re.fullmatch(r"[A-Za-z0-9][\w.-]{0,60}", part, re.ASCII) else digest_of(part)
        for part in (case.case_id, case.ct.name, proposal.author.removeprefix(BY_MODEL))
    ]
    return "-".join(plain) + (".nii.gz" if proposal.roi is not None else "-organs")


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix('.nii.gz')}.json")


def _save(proposal: Proposal, path: Path, tool: Tool, series_uid: str) -> None:
    """Write what was drawn, and the record next to it."""
    if proposal.roi is not None:
        write_nifti(proposal.roi, path)
    for name, mask in proposal.organs.items() if proposal.roi is None else ():
        write_labels(mask.astype(np.uint8), proposal.geometry, path / f"{name}.nii.gz")
    record = ProposalRecord(
        author=proposal.author,
        given=tool.given,
        program=tool.version,
        weights=tool.weights or proposal.says.weights,
        labels={str(value): name for value, name in (proposal.says.labels or tool.labels).items()},
        seconds=round(proposal.seconds, 3),
        ct=series_uid,
        sha256=file_digest(path) if path.is_file() else "",
        findings=tuple(finding.code for finding in proposal.findings),
        voxels=int(proposal.roi.voxels.sum()) if proposal.roi is not None else None,
    )
    save_document(_record_path(path), record, FORMAT)


def _list(snapshot: Snapshot, case: ChosenCase, proposal: Proposal, path: Path) -> None:
    """Write the row of a proposal, or the cell of organs, into the tables as they are now."""
    root, settings = snapshot.folder.root, snapshot.settings
    seen = seen_tables(root)
    cohort = load_cohort(root, settings.subtypes, settings.positive, snapshot.cohort.rule)
    cases = tuple(
        _with(one, case, proposal, path) if one.case_id == case.case_id else one for one in cohort.cases
    )
    save_cohort(replace(cohort, cases=cases), root, seen)


def _with(one: Case, case: ChosenCase, proposal: Proposal, path: Path) -> Case:
    if proposal.roi is not None:
        return replace(one, rois=(*one.rois, RoiRef(author=proposal.author, path=path, series=case.ct.name)))
    series = tuple(replace(ct, organs=path) if ct.name == case.ct.name else ct for ct in one.series)
    return replace(one, series=series)


def _drawn(name: str, proposal: Proposal, path: Path) -> SegmentedCase:
    return SegmentedCase(
        case=name,
        state="organs" if proposal.roi is None else "proposed",
        author=proposal.author,
        path=str(path),
        seconds=round(proposal.seconds, 3),
        findings=proposal.findings,
    )


def _refused(name: str, tool: Tool, error: NephroscopeError | OSError) -> SegmentedCase:
    if isinstance(error, NephroscopeError):
        code, why = error.code, str(error)
    else:
        code, why = "unreadable", f"case {name}: cannot be read: {error.strerror or type(error).__name__}"
    said = error.author if isinstance(error, SegmenterError) else ""
    author = said or author_of(tool.name, tool.version)
    return SegmentedCase(case=name, state="refused", author=author, refused=why, code=code)
