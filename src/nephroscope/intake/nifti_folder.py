"""Import a folder of CT volumes and label maps as NIfTI files."""

import re
from collections import defaultdict
from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path

from nephroscope.base.errors import CohortError
from nephroscope.intake.labels.join import Found, join_found
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.labels.whose_roi import RoiFile, find_beside
from nephroscope.intake.nifti_layouts import sort_files
from nephroscope.intake.other_files import UNREAD_IMAGES, ending_of, in_words, of_other_kinds
from nephroscope.records import Case, Cohort, Exclusion, Finding
from nephroscope.records.cohort import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class NiftiImport:
    """Cases of a folder of NIfTI files, who was left out and why, and what is worth knowing."""

    cases: tuple[Case, ...]
    exclusions: tuple[Exclusion, ...]
    findings: tuple[Finding, ...] = ()


def import_nifti(
    folder: Path,
    labels: list[LabelRow] | None,
    subtypes: tuple[str, ...],
    positive: str,
    tumor_label: int | None,
    keep_incomplete: bool = False,
) -> NiftiImport:
    """Cases from CT volumes and label maps in one of the layouts of `nifti_layouts`.

    With ``keep_incomplete`` volumes without a label map or a label row are cases too.

    Raises:
        CohortError: The folder holds no NIfTI file.
    """
    near = (Path(), folder.resolve())
    named_rois = {path for row in labels or () if (path := find_beside(row.roi, near)) is not None}
    found, others = _pairs(folder.resolve(), named_rois), _others(folder)
    if not found:
        raise CohortError(
            where=f"folder {folder.name}",
            expected="CT volumes and label maps as .nii or .nii.gz",
            found=f"none among {sum(1 for _ in folder.rglob('*'))} files{_of_which(others)}"
            if folder.is_dir()
            else "no folder",
            remedy="check the path; for DICOM use `nephroscope import dicom`",
        )
    found = [replace(volume, keep_incomplete=keep_incomplete) for volume in found]
    cases, exclusions = join_found(found, labels, subtypes, "nifti", tumor_label, folder.resolve())
    cohort = Cohort(subtypes=subtypes, positive=positive, cases=cases, exclusions=exclusions)
    findings = tuple(of_other_kinds(others, len(others)))
    return NiftiImport(cases=cohort.cases, exclusions=cohort.exclusions, findings=findings)


def _others(folder: Path) -> list[Path]:
    """Images of kinds that are not read."""
    return sorted(path for path in folder.rglob("*") if ending_of(path) in UNREAD_IMAGES and path.is_file())


def _of_which(others: list[Path]) -> str:
    return f", of which {in_words(others)} are of kinds that are not read" if others else ""


def _pairs(folder: Path, named_rois: Set[Path]) -> list[Found]:
    """Volumes with their label maps, by case."""
    files = sort_files(folder, named_rois)
    volumes, masks, found = files.volumes, files.masks, []
    parts = _of_several_tumors(volumes, masks)
    for name, paths in files.parts.items():
        parts[name] += paths
    for name in sorted(volumes.keys() | masks.keys()):
        refusal = without_roi = ""
        if not volumes[name]:
            refusal = Reason(f"no CT volume beside {masks[name][0].name}", "no-ct")
        elif len(volumes[name]) > 1 or len(masks[name]) > 1:
            refusal = (
                f"{len(volumes[name])} volumes and {len(masks[name])} label maps of this name"
                f"{_places(folder, volumes[name])}"
            )
        elif not masks[name]:
            several = ": which of several is the tumor's is not said" if len(parts[name]) > 1 else ""
            organs = f"; {files.organs[name].name} holds no file of a tumor" if name in files.organs else ""
            without_roi = Reason(f"no label map beside {volumes[name][0].name}{several or organs}", "no-roi")
        image = (volumes[name] or masks[name])[0]
        rois = masks[name] or (parts[name] if len(parts[name]) == 1 else [])
        found.append(
            Found(
                key=name,
                image=image,
                roi=next(iter(rois), None),
                rois=tuple(RoiFile(path=path) for path in (*masks[name], *parts[name])),
                organs=files.organs.get(name),
                refusal=refusal,
                without_roi="" if rois else without_roi,
            )
        )
    return found


def _places(folder: Path, volumes: list[Path]) -> str:
    """In which folders volumes of one name lie, and how to say which are label maps."""
    places = sorted({path.parent.relative_to(folder).as_posix() for path in volumes})
    if len(volumes) < 2:
        return ""
    if len(places) < 2:
        return f" ({', '.join(path.name for path in volumes)}): keep the CT alone"
    where = " and ".join(places)
    return f", in {where}: call the folder of label maps labels or masks, or name them in the column roi"


def _of_several_tumors(volumes: dict[str, list[Path]], masks: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """Label maps named after a volume and a tumor (P1_t2_seg beside P1), taken out of ``masks``, by volume."""
    parts: dict[str, list[Path]] = defaultdict(list)
    for name in sorted(masks.keys() - volumes.keys()):
        owners = [volume for volume in volumes if re.match(rf"{re.escape(volume)}[_ -]", name)]
        if owners:
            parts[max(owners, key=len)] += masks.pop(name)
    return parts
