"""Sign an ROI: written as SEG and NIfTI, read back, locked, and named in rois.csv of the study.

The files come first, then the lock, then the row. What a kill leaves out is done at the next look at the case.
"""

import contextlib
import re
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import NephroscopeError, RoiError
from nephroscope.base.files import digest_of, make_folder
from nephroscope.records import Case, ChosenCase, CTVolume, RoiMask, RoiRef
from nephroscope.workstation.drawing.documents import (
    PROPOSAL_OF,
    RoiDocument,
    check_follows,
    digest_of_slices,
    load_documents,
    load_voxels,
    now,
)
from nephroscope.workstation.drawing.rois import Rois
from nephroscope.workstation.images.routes import volumes_of
from nephroscope.workstation.images.volumes import on_series
from nephroscope.workstation.place import Place

Bools = npt.NDArray[np.bool_]
DRAWN = "drawn"
AS_IT_WAS = ", as it was"  # of a proposal that was signed without a change
SEG, NIFTI = ".dcm", ".nii.gz"


@dataclass(frozen=True, kw_only=True)
class Signed:
    """The answer to signing.

    Attributes:
        revision: That was signed.
        signed: Date and time.
        digest: SHA-256 of the mask.
        n_voxels: Of the mask.
        in_study: True when rois.csv names it already.
        findings: What reading it back, as every command does, found worth knowing.
    """

    revision: int
    signed: str
    digest: str
    n_voxels: int
    in_study: bool
    findings: tuple[str, ...]


def sign(rois: Rois, id_: str, number: int) -> Signed:
    """Sign the reader's own draft as it is after step ``number``.

    Raises:
        RoiError: It is empty or signed already, or cannot be written as it is.
        StudyError: Another command writes into the study.
    """
    place = rois.place
    with place.database() as db:
        document = rois.own_draft(db, id_)
        check_follows(document, number + 1)
    return sign_document(place, on_series(place.case(document.case_id), document.series), document)


def sign_document(place: Place, case: ChosenCase, document: RoiDocument, made_from: str = "") -> Signed:
    """Write, lock and list a draft; see `sign`."""
    with place.writing("sign an ROI"):
        ct = volumes_of(place).volume(case)
        _check_same_ct(document, ct)
        with place.database() as db:
            voxels, digest = load_voxels(db, document), digest_of_slices(db, document)
        roi = RoiMask(voxels=voxels, geometry=ct.geometry, case_id=case.case_id)
        document = replace(document, made_from=_made_from(made_from or document.made_from, case, roi, ct))
        file, findings = _write_files(place, case, document, roi, ct)
        signed = now()
        with place.changing() as db:
            updated = db.execute(
                "UPDATE roi_documents SET signed = ?, digest = ?, file = ?, made_from = ?"
                " WHERE id = ? AND revision = ? AND signed = ''",
                (signed, digest, file.name, document.made_from, document.id, document.revision),
            )
            if updated.rowcount != 1:
                raise RoiError(
                    where=document.where,
                    expected="the ROI as it was when signing began",
                    found="that it was changed meanwhile",
                    remedy="look at it, and sign it again",
                )
        listed = list_signed(place, case.case_id)
    return Signed(
        revision=document.revision,
        signed=signed,
        digest=digest,
        n_voxels=int(np.count_nonzero(voxels)),
        in_study=listed,
        findings=findings,
    )


def _made_from(text: str, case: ChosenCase, roi: RoiMask, ct: CTVolume) -> str:
    """What an ROI was made from; of what a model proposed also whether it is as it was."""
    from nephroscope.imaging.read import read_case_roi

    proposal = case.roi_by(text.removeprefix(PROPOSAL_OF).removesuffix(AS_IT_WAS)) if text else None
    if proposal is None or not proposal.by_model:
        return text
    same = np.array_equal(read_case_roi(case, proposal, ct).voxels, roi.voxels)
    return f"{PROPOSAL_OF}{proposal.author}{AS_IT_WAS if same else ''}"


def _check_same_ct(document: RoiDocument, ct: CTVolume) -> None:
    if document.shape != ct.geometry.shape or document.ct != ct.series_uid:
        raise RoiError(
            where=document.where,
            expected=f"the CT on which it was drawn, of {' x '.join(map(str, document.shape))} voxels",
            found=f"another one of {' x '.join(map(str, ct.geometry.shape))}",
            remedy="restore the files of the series",
        )


def file_stem(document: RoiDocument) -> str:
    """Name of the files of a signed ROI, without ending; a case_id that is no plain name is replaced by a digest."""
    parts = [document.case_id, document.series]
    plain = [
        part if re.fullmatch(r"[A-Za-z0-9][\w-]{0,40}", part, re.ASCII) else digest_of(part) for part in parts
    ]
    return f"{'-'.join(plain)}-{document.author}-v{document.version}"


def _write_files(
    place: Place, case: ChosenCase, document: RoiDocument, roi: RoiMask, ct: CTVolume
) -> tuple[Path, tuple[str, ...]]:
    """Write NIfTI and, of a DICOM series, SEG, and compare what `read_roi` makes of each with the mask.

    Returns:
        The file that the study uses, the SEG or, where the CT lacks what it must copy, the NIfTI; and findings.
    """
    from nephroscope.imaging.masks.write import write_roi
    from nephroscope.imaging.read import read_roi

    folder = place.state / DRAWN
    make_folder(folder)
    endings = (NIFTI, SEG) if case.format == "dicom" else (NIFTI,)
    used = folder
    findings: tuple[str, ...] = ()
    for ending in endings:
        path = folder / f"{file_stem(document)}{ending}"
        try:
            write_roi(roi, path, case, _ref(place, document).origin)
        except RoiError as error:
            if ending == NIFTI:
                raise
            return used, (*findings, f"seg-not-written: {error}")  # a CT without what a SEG must copy
        back = read_roi(path, ct, case.case_id)
        if not np.array_equal(back.voxels, roi.voxels):
            path.unlink()
            raise RoiError(
                where=document.where,
                expected="the file to hold the mask voxel by voxel",
                found=f"{np.count_nonzero(back.voxels != roi.voxels)} voxels that differ",
                remedy="report this, with the direction and spacing of the series; the drawing is kept",
            )
        used, findings = path, tuple(f"{one.code}: {one.message}" for one in back.findings)
    return used, findings


def file_content(place: Place, case: ChosenCase, document: RoiDocument, ending: str) -> bytes:
    """The ROI as SEG or NIfTI: of a signed one the file that was signed, of a draft one made now.

    Raises:
        RoiError: The draft is empty, or a SEG is asked for and the CT is not DICOM.
    """
    from nephroscope.imaging.masks.write import write_roi

    kept = place.state / DRAWN / f"{file_stem(document)}{ending}"
    if document.signed and kept.exists():
        return kept.read_bytes()
    with place.database() as db:
        voxels = load_voxels(db, document)
    ct = volumes_of(place).volume(case)
    roi = RoiMask(voxels=voxels, geometry=ct.geometry, case_id=case.case_id)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"roi{ending}"
        write_roi(roi, path, case, _ref(place, document).origin)
        return path.read_bytes()


def list_signed(place: Place, case_id: str) -> bool:
    """Write the rows of the signed ROIs of a case into rois.csv; only the newest version of an author has one.

    A row that is gone, as after an import of the case, is written again; one that names another file is left.

    Returns:
        True when rois.csv names all of them; False where there is no study.
    """
    if place.mode == "empty":
        return False
    with place.database() as db:
        signed = [one for one in load_documents(db, case_id) if one.signed]
    case = place.case(case_id)
    has = {(roi.series, roi.author) for roi in case.rois}
    known = {one.name for one in case.series}
    newest = {(one.series, one.author): one for one in signed if one.series in known}
    if all(key in has and one.listed for key, one in newest.items()):
        return True
    from nephroscope.study.cohort_table import save_cohort, seen_tables

    with place.writing("sign an ROI"):
        seen = seen_tables(place.root)
        cohort = place.cohort()
        refs = tuple(_ref(place, one) for key, one in newest.items() if not one.listed or key not in has)
        cases = tuple(_with_rois(case, refs) if case.case_id == case_id else case for case in cohort.cases)
        save_cohort(replace(cohort, cases=cases), place.root, seen)
        with place.changing() as db:
            _mark_listed(db, signed)
    return True


def _mark_listed(db: sqlite3.Connection, documents: list[RoiDocument]) -> None:
    db.executemany("UPDATE roi_documents SET listed = 1 WHERE id = ?", [(one.id,) for one in documents])


def _ref(place: Place, document: RoiDocument) -> RoiRef:
    path = place.state / DRAWN / document.file
    roi = RoiRef(author=document.author, path=path, series=document.series)
    if not document.made_from.startswith(PROPOSAL_OF):
        return roi
    model = document.made_from.removeprefix(PROPOSAL_OF).removesuffix(AS_IT_WAS)
    return replace(roi, made_from=model, accepted=document.made_from.endswith(AS_IT_WAS))


def _with_rois(case: Case, refs: tuple[RoiRef, ...]) -> Case:
    new = {(ref.author, ref.series): ref for ref in refs}
    kept = [new.pop((roi.author, roi.series), roi) for roi in case.rois]
    return replace(case, rois=(*kept, *new.values()))


def finish_signing(place: Place, case_id: str) -> None:
    """Write the rows that a kill left out; not while another command writes, then the next look does it."""
    with contextlib.suppress(NephroscopeError):
        list_signed(place, case_id)
