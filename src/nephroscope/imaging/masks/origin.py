"""Who drew an ROI, as its own file says: a person, a program, or a program whose proposal a person accepted."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from nephroscope.base.errors import NephroscopeError
from nephroscope.base.files import file_digest
from nephroscope.base.limits import parse_json
from nephroscope.imaging.files import LABEL_MAPS, file_kind
from nephroscope.records import Finding, RoiOrigin, note, warning
from nephroscope.records.origin import BY_MODEL, OriginState
from nephroscope.records.settings import AUTHOR

OURS, NOT_RECORDED = "nephroscope", "not recorded"
BY = re.compile(r"(accepted|corrected) by (reader-[1-9]\d?|consensus|a person)")
TAGS = (
    *("SegmentSequence", "StructureSetROISequence", "ApprovalStatus", "ManufacturerModelName"),
    "SoftwareVersions",
)
MOST_JSON_BYTES = 2**20
ENDINGS = re.compile(r"(\.seg)?\.(nii|nii\.gz|nrrd|nhdr)$", re.IGNORECASE)


def origin_of(opened: Any, number: int) -> RoiOrigin:
    """Who drew a segment of a SEG or a contour of an RTSTRUCT.

    Of a SEG that is the Segment Algorithm Type of its segment (PS3.3 C.8.20.4), of an RTSTRUCT the ROI Generation
    Algorithm (PS3.3 C.8.8.5) with the Approval Status.

    Args:
        opened: From `read_dicom_roi`. What pydicom raises for damage is not caught here.
        number: Of the segment or contour.
    """
    if opened.Modality == "SEG":
        return _of_segment(opened, _item(opened.SegmentSequence, "SegmentNumber", number))
    return _of_contours(opened, _item(opened.StructureSetROISequence, "ROINumber", number))


def check_origin(origin: RoiOrigin, case_id: str, table: str = "") -> list[Finding]:
    """A warning where a program drew it and nobody accepted that; a note where its file says that one helped.

    Args:
        origin: Of the ROI.
        case_id: Of the case.
        table: Who drew it as rois.csv says, where that is another.
    """
    said = f" ({origin.evidence})" if origin.evidence else ""
    but = f", although rois.csv says {table}" if table else ""
    if origin.state == "proposed":
        text = f"the ROI was drawn by {origin.author or 'a program'}, and nobody accepted it{but}{said}"
        return [warning("roi-proposed", text, case_id=case_id)]
    if origin.state == "assisted":
        text = f"a program helped to draw the ROI; whether a person looked at all of it is not said{said}"
        return [note("roi-proposed", text, case_id=case_id)]
    return []


def model_author(name: object, version: object) -> str:
    """``model:NAME@VERSION`` of what a file says of a program."""
    plain = [
        re.sub(r"[^\w.+-]+", "-", str(word or ""), flags=re.ASCII).strip("-") for word in (name, version)
    ]
    return f"{BY_MODEL}{plain[0] or 'unknown'}@{plain[1] or 'unknown'}"


def program_of_seg(header: Any) -> str:
    """The program behind a SEG whose segments are all AUTOMATIC, as the author of an ROI; empty for others."""
    segments = header.get("SegmentSequence") or []
    if not segments or any(one.get("SegmentAlgorithmType") != "AUTOMATIC" for one in segments):
        return ""
    return _program(header, segments[0])


def program_of_contours(header: Any) -> str:
    """The program behind an RTSTRUCT that is all automatic and that nobody approved; empty for others."""
    rois = header.get("StructureSetROISequence") or []
    if not rois or any(one.get("ROIGenerationAlgorithm") != "AUTOMATIC" for one in rois):
        return ""
    return "" if header.get("ApprovalStatus") == "APPROVED" else _program(header, {})


def program_behind(path: Path) -> str:
    """The program that drew all of an ROI file that nobody accepted, as its author; empty for others."""
    kind = file_kind(path) if path.is_file() else ""
    if kind in LABEL_MAPS:
        found = origin_beside(path)
        return found.author if found.state == "proposed" else ""
    if kind != "dicom":
        return ""
    from nephroscope.imaging.dicom.files import read_header

    header = read_header(path, TAGS)
    return "" if header is None else program_of_seg(header) or program_of_contours(header)


def _program(header: Any, segment: Any) -> str:
    stated: Any = next(iter(segment.get("SegmentationAlgorithmIdentificationSequence") or []), {})
    versions = header.get("SoftwareVersions") or ""
    software = versions if isinstance(versions, str) else next(iter(versions), "")
    name = segment.get("SegmentAlgorithmName") or header.get("ManufacturerModelName")
    return model_author(name, stated.get("AlgorithmVersion") or software)


def _item(items: Any, keyword: str, number: int) -> Any:
    return next(item for item in items if int(item.get(keyword)) == number)


def _of_segment(roi: Any, segment: Any) -> RoiOrigin:
    kind = str(segment.get("SegmentAlgorithmType") or "")
    evidence = f"Segment Algorithm Type {kind}" if kind else ""
    if kind == "MANUAL":
        return RoiOrigin(state="drawn", evidence=evidence)
    if kind == "AUTOMATIC":
        return RoiOrigin(author=_program(roi, segment), state="proposed", evidence=evidence)
    if kind != "SEMIAUTOMATIC":
        return RoiOrigin(evidence=evidence)
    if roi.get("Manufacturer") == OURS:
        if segment.get("SegmentAlgorithmName") == NOT_RECORDED:
            return RoiOrigin(evidence=evidence)
        if said := BY.fullmatch(str(segment.get("SegmentDescription") or "")):
            by = "" if said[2] == "a person" else said[2]
            return RoiOrigin(author=_program(roi, segment), state=_state(said[1]), by=by, evidence=evidence)
    return RoiOrigin(author=_program(roi, segment), state="assisted", evidence=evidence)


def _of_contours(roi: Any, contours: Any) -> RoiOrigin:
    kind = str(contours.get("ROIGenerationAlgorithm") or "")
    evidence = f"ROI Generation Algorithm {kind}" if kind else ""
    if kind == "MANUAL":
        return RoiOrigin(state="drawn", evidence=evidence)
    if kind not in ("AUTOMATIC", "SEMIAUTOMATIC"):
        return RoiOrigin(evidence=evidence)
    if roi.get("ApprovalStatus") == "APPROVED":
        evidence += ", Approval Status APPROVED"
        return RoiOrigin(author=_program(roi, {}), state="accepted", evidence=evidence)
    state: OriginState = "proposed" if kind == "AUTOMATIC" else "assisted"
    return RoiOrigin(author=_program(roi, {}), state=state, evidence=evidence)


def origin_beside(path: Path) -> RoiOrigin:
    """Who drew a label map: from the JSON next to it, as `nephroscope segment` writes one."""
    stem = ENDINGS.sub("", path.name)
    for name in (f"{stem}.json", f"{path.name}.json"):
        if (found := beside_says(path.with_name(name))) is not None:
            return _told(found, path, name)
    return RoiOrigin()


def n_drawn(path: Path) -> int | None:
    """Number of voxels that are drawn in a label map: the same where it was only saved again, None if unreadable."""
    from nephroscope.imaging.nifti import read_stored

    try:
        return int(np.count_nonzero(read_stored(path).values))
    except NephroscopeError:
        return None


def beside_says(path: Path) -> Mapping[str, object] | None:
    """What a JSON file says of the program that drew the label map next to it; None where it says nothing of one."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_JSON_BYTES:
            return None
        found = parse_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    told = [found.get(key) for key in ("author", "tool")] if isinstance(found, dict) else []
    return (
        found
        if isinstance(found, dict) and any(isinstance(word, str) and word.strip() for word in told)
        else None
    )


def _told(found: Mapping[str, object], path: Path, beside: str) -> RoiOrigin:
    author = str(found.get("author") or "")
    if not (author.startswith(BY_MODEL) and AUTHOR.fullmatch(author)):
        author = model_author(found.get("tool") or author, found.get("version"))
    digest = found.get("sha256")
    other = isinstance(digest, str) and digest and digest != file_digest(path)
    if other and (found.get("voxels") is None or found["voxels"] != n_drawn(path)):
        return RoiOrigin(author=author, state="assisted", evidence=f"changed since {beside} was written")
    by = str(found.get("by") or "")
    return RoiOrigin(
        author=author,
        state=_state(str(found.get("state") or "proposed")),
        by=by if AUTHOR.fullmatch(by) and ":" not in by else "",
        evidence=beside,
    )


def _state(text: str) -> OriginState:
    return next((state for state in get_args(OriginState) if state == text), "proposed")
