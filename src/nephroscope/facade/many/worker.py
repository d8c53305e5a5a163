"""One case of a table in a process of its own: its answer as files, and what the ledger is to say of it."""

import errno
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import NephroscopeError, RoiError, StudyError
from nephroscope.base.files import file_digest, save_json
from nephroscope.base.parallel import Unfinished, Workers
from nephroscope.clinic.bundle import Bundle, open_bundle
from nephroscope.facade.answer_files import AnswerFiles
from nephroscope.facade.many.case_table import CaseToPredict, found_in
from nephroscope.facade.many.ledger import CaseResult, Refusal
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.imaging.masks.origin import origin_beside
from nephroscope.records import RoiOrigin
from nephroscope.records.origin import OriginState
from nephroscope.records.prediction import Prediction

if TYPE_CHECKING:
    from nephroscope.segmenters.tool import Tool

ANSWERS, DRAWN = "answers", "drawn"
ObjectKind = Literal["sr", "seg", "sc"]
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What all cases of a run need.

    Attributes:
        bundle_digest: Of bundle.json, as when the run began.
        table_folder: To which paths of cases are relative.
        out: Folder of the results.
        threads: With which a network computes.
        segmenter: Program that draws the tumor of a case without an ROI; None: such a case is refused.
    """

    bundle: Path
    bundle_digest: str
    table_folder: Path
    out: Path
    objects: tuple[ObjectKind, ...]
    threads: int
    segmenter: "Tool | None" = None


_opened: tuple[Opening, Bundle] | None = None


def digest_of_bundle(folder: Path) -> str:
    """By which a ledger knows a bundle.

    Raises:
        OSError: There is no bundle.json.
    """
    return file_digest(folder / "bundle.json")[:16]


def work(item: Opening | CaseToPredict) -> CaseResult | None:
    """Open the bundle for what follows, or answer a case; in a process of `Workers`.

    Raises:
        BundleError: The bundle is damaged.
        StudyError: It is another one than when the run began.
        OSError: There is no room for the results.
    """
    global _opened
    if isinstance(item, Opening):
        bundle = open_bundle(item.bundle, item.threads)
        if digest_of_bundle(item.bundle) != item.bundle_digest:
            raise StudyError(
                where=f"bundle {item.bundle.resolve().name}",
                expected="the bundle with which this run began",
                found="that it was replaced meanwhile",
                remedy="use another folder for --out with the new bundle",
            )
        _opened = item, bundle
        return None
    if _opened is None:
        raise RuntimeError("a case came before the bundle")
    return _answered(item, *_opened)


_kept: tuple[Opening, float, Workers] | None = None


def work_on_ray(item: tuple[Opening, float, CaseToPredict]) -> tuple[str, CaseResult | Unfinished]:
    """Name of a case with its result, from a process of `Workers` that this process of Ray keeps for the next one."""
    global _kept
    opening, seconds, case = item
    if _kept is None or _kept[:2] != (opening, seconds):
        if _kept is not None:
            _kept[2].close()
        _kept = opening, seconds, Workers(work, opening, seconds)
    return case.case_id, _kept[2].answer(case)


def refused(case_id: str, error: NephroscopeError) -> CaseResult:
    """The result of a case that cannot be answered."""
    return CaseResult(case_id=case_id, state="refused", probabilities={}, refusal=Refusal(**error.as_dict()))


def _answered(case: CaseToPredict, opening: Opening, bundle: Bundle) -> CaseResult:
    place = found_in(opening.table_folder)
    files = FilesToPredict(
        image=place(case.image),
        roi=None if case.roi is None else place(case.roi),
        case_id=case.case_id,
        tumor_label=1 if case.tumor_label is None else case.tumor_label,
        tumor_name=case.tumor_name or ("" if case.tumor_label is None else f"#{case.tumor_label}"),
        side=case.side,
        objects=AnswerFiles(
            **{kind: object_path(opening.out, kind, case.file_name) for kind in opening.objects}
        ),
        facts=case.facts,
        facts_from=dict.fromkeys(("age", "sex", "size"), "the table"),
    )
    files = replace(files, origin=_named_by_a_person(files.roi, opening.out))
    try:
        if files.roi is None and opening.segmenter is not None and bundle.spec.roi_mode != "full":
            files = _with_drawn(files, drawn_path(opening.out, case.file_name), opening.segmenter)
        found = predict_files(bundle, files)
        save_json(answer_path(opening.out, case.file_name), as_plain(found), checksum=False)
    except NephroscopeError as error:
        return refused(case.case_id, error)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        return _failed("unreadable", case, "files that the system reads", error.strerror or _name(error))
    except Exception as error:
        return _failed("fault", case, "an answer or a refusal", f"a fault of this program, {_name(error)}")
    return _result(found, opening.objects, files.origin.author if files.origin else "")


def _with_drawn(files: FilesToPredict, path: Path, tool: "Tool") -> FilesToPredict:
    """The case with what a program draws on its CT; see `nephroscope.segmenters.draw`.

    Raises:
        SegmenterError: The program failed, took too long, or drew no tumor.
    """
    from nephroscope.imaging.masks.write import save_origin, write_nifti
    from nephroscope.imaging.read import read_ct
    from nephroscope.segmenters.draw import draw_tumor
    from nephroscope.segmenters.watch import Watch

    made = draw_tumor(read_ct(files.image), tool, files.case_id or "", [Watch([files.image])])
    if made.roi is None:
        raise RoiError(
            where=f"case {files.case_id}",
            expected="a program that draws the tumor",
            found=f"{tool.name}, which draws organs only",
            remedy="choose another program for --draw-with",
        )
    write_nifti(made.roi, path)
    origin = RoiOrigin(author=made.author, state="proposed")
    save_origin(path, origin)
    return replace(files, roi=path, origin=origin)


def _named_by_a_person(path: Path | None, out: Path) -> RoiOrigin | None:
    """Who drew an ROI that lies among those that a program drew here: that the table names it is its acceptance."""
    if path is None or path.parent.resolve() != (out / DRAWN).resolve():
        return None
    found = origin_beside(path)
    states: dict[str, OriginState] = {"proposed": "accepted", "assisted": "corrected"}
    if found.state not in states:
        return None
    return replace(found, state=states[found.state], evidence="a person named it in the table")


def drawn_path(out: Path, name: str) -> Path:
    """The ROI that a program drew of a case."""
    return out / DRAWN / f"{name}.nii.gz"


def answer_path(out: Path, name: str) -> Path:
    """The JSON file of a case."""
    return out / ANSWERS / f"{name}.json"


def object_path(out: Path, kind: ObjectKind, name: str) -> Path:
    """A DICOM object of a case."""
    return out / kind / f"{name}.dcm"


def _result(found: Prediction, objects: tuple[ObjectKind, ...], drawn_by: str) -> CaseResult:
    return CaseResult(
        case_id=found.case_id,
        state="answered",
        probabilities=dict(found.probabilities),
        call=found.call,
        forced_call=found.forced_call,
        reason=found.reason,
        doubts=tuple(dict.fromkeys(one.code for one in found.findings if one.severity == "warning")),
        notes=tuple(dict.fromkeys(one.code for one in found.findings if one.severity != "warning")),
        phase=found.series.phase,
        side=found.side.drawn,
        n_slices=len(found.slices),
        series_uid=found.series.series_uid,
        seconds=found.seconds,
        objects=objects,
        drawn_by=drawn_by,
        roi_author=found.roi.author if found.roi else "",
        roi_state=found.roi.state if found.roi else "",
        roi_by=found.roi.by if found.roi else "",
    )


def _failed(code: str, case: CaseToPredict, expected: str, found: str) -> CaseResult:
    remedy = "look at its files; if they are whole, report this with `nephroscope info`"
    refusal = Refusal(code=code, where=f"case {case.case_id}", expected=expected, found=found, remedy=remedy)
    return CaseResult(case_id=case.case_id, state="refused", probabilities={}, refusal=refusal)


def _name(error: Exception) -> str:
    """Kind and place of an error, without its text, which may quote a file."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = (
        "" if place is None else f" in {Path(place.tb_frame.f_code.co_filename).name}, line {place.tb_lineno}"
    )
    return f"{type(error).__name__}{where}"
