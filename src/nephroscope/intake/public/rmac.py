"""Import UCSF RMaC, the renal mass CT data set of UCSF: an HDF5 file a patient, up to four registered phases, a mask.

Layout, from the read-me file and the conversion script of its repository: `PID.hdf5` with the arrays noncon,
arterial, portven and delay and a mask of 0 and 1, each (x, y, z) as NIfTI has it, and the attributes PID, tumor_type,
pathology, pathology_grade, Patient Age, Patient Sex and `NAME_pixdim` in mm. `phase_reg_key.csv` says of each phase
0 (none), 1 (not registered to noncon) or 2 (registered). Not kept there: origin and orientation.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.files import replacing
from nephroscope.base.progress import track
from nephroscope.base.version import install_line
from nephroscope.intake.labels.pathology import PathologyTable, name_of_subtype, unmapped_finding
from nephroscope.intake.labels.values import parse_age, parse_sex
from nephroscope.records import Case, ClinicalFacts, Exclusion, Finding, RoiRef, SeriesRef, note, warning

KEY = "phase_reg_key.csv"
PHASES = {
    "noncon": "unenhanced",
    "arterial": "corticomedullary",
    "portven": "nephrographic",
    "delay": "excretory",
}
NO_VOLUME, NOT_REGISTERED, REGISTERED = "0", "1", "2"
CITATION = "UCSF RMaC, doi 10.58078/C2WC74, CC BY 4.0: name its authors"
BOX_FILL = 0.999  # share of its bounding rectangle that a box fills on a slice


@dataclass(frozen=True, kw_only=True)
class RmacPatient:
    """One row of phase_reg_key.csv: registered phases by their names in the file, and those that are not."""

    pid: str
    registered: tuple[str, ...]
    unregistered: tuple[str, ...]
    has_file: bool


@dataclass(frozen=True, kw_only=True)
class RmacImport:
    """Cases, exclusions with reasons, and findings."""

    cases: tuple[Case, ...]
    exclusions: tuple[Exclusion, ...]
    findings: tuple[Finding, ...]


def plan_rmac(folder: Path) -> tuple[RmacPatient, ...]:
    """What phase_reg_key.csv lists and which files are there; needs neither h5py nor a network.

    Raises:
        CohortError: There is no such table, or it has other columns or values.
    """
    path = folder / KEY
    if not path.is_file():
        raise _refusal(folder, f"{KEY} next to the HDF5 files", "none")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [
            {k.strip().casefold(): (v or "").strip() for k, v in row.items() if k}
            for row in csv.DictReader(file)
        ]
    found = []
    for number, row in enumerate(rows, start=2):
        pid = next(
            (row[name] for name in ("pid", "patient id", "patient", "id", "unnamed: 0") if row.get(name)), ""
        )
        if not pid or not set(PHASES) <= row.keys():
            raise _refusal(
                folder, f"the columns PID, {', '.join(PHASES)} in {KEY}", ", ".join(row) or "no column"
            )
        codes = {name: row[name].removesuffix(".0") for name in PHASES}
        wrong = next((code for code in codes.values() if code not in ("", *"012")), "")
        if wrong:
            raise _refusal(folder, f"0, 1 or 2 in row {number} of {KEY}", repr(wrong))
        found.append(
            RmacPatient(
                pid=pid,
                registered=tuple(
                    n for n, c in codes.items() if c == REGISTERED or (n == "noncon" and c != NO_VOLUME)
                ),
                unregistered=tuple(n for n, c in codes.items() if c == NOT_REGISTERED and n != "noncon"),
                has_file=(folder / f"{pid}.hdf5").is_file(),
            )
        )
    return tuple(found)


def import_rmac(
    folder: Path, out: Path, subtypes: tuple[str, ...], pathology: PathologyTable | None = None
) -> RmacImport:
    """Write the registered phases and the mask of each patient as NIfTI, and make cases of them.

    Args:
        folder: With phase_reg_key.csv and the HDF5 files.
        out: Folder for the NIfTI files.
        subtypes: Of the study.
        pathology: The study's pathology.csv; None uses the default table.

    Raises:
        CohortError: The folder has another layout.
        ConfigError: h5py is not installed.
    """
    patients = plan_rmac(folder)
    cases, exclusions, findings, texts = [], [], [], []
    for patient in track(patients, "reading RMaC", "patient", len(patients)):
        if not patient.has_file:
            exclusions.append(
                Exclusion(case_id=patient.pid, reason="its HDF5 file is not in the folder", kind="no-ct")
            )
            continue
        with _opened(folder / f"{patient.pid}.hdf5") as file:
            said = [str(_attribute(file, name)) for name in ("pathology", "tumor_type")]
            subtype = next(
                (name for text in said if (name := name_of_subtype(text, subtypes, pathology))), None
            )
            if subtype not in subtypes:
                texts += [] if subtype else said[:1]
                reason = f"its pathology is {said[0][:60]!r}"
                exclusions.append(Exclusion(case_id=patient.pid, reason=reason, kind="other-subtype"))
                continue
            made = _case(file, patient, out / patient.pid, subtype)
        if isinstance(made, Exclusion):
            exclusions.append(made)
            continue
        cases.append(made[0])
        findings += made[1]
    of_all = [note("data-citation", CITATION), note("rmac-orientation", ORIENTATION)] if cases else []
    findings = [*of_all, *findings, *unmapped_finding(texts, pathology)]
    return RmacImport(cases=tuple(cases), exclusions=tuple(exclusions), findings=tuple(findings))


ORIENTATION = (
    "the files of RMaC keep no orientation: columns are taken to run to the left, rows to the front and slices to "
    "the head, as dcm2niix writes them; look at the sides in check/index.html"
)


def _case(file: Any, patient: RmacPatient, out: Path, subtype: str) -> tuple[Case, list[Finding]] | Exclusion:
    if "mask" not in file:
        return Exclusion(case_id=patient.pid, reason="its file has no mask", kind="no-roi")
    mask = np.asarray(file["mask"]) >= 0.5
    names = [name for name in patient.registered if name in file and file[name].shape == mask.shape]
    if not mask.any() or not names:
        reason = "its mask is empty" if not mask.any() else "no phase has the grid of its mask"
        return Exclusion(case_id=patient.pid, reason=reason, kind="no-roi")
    pixdim = np.asarray(_attribute(file, "mask_pixdim"), np.float64)
    out.mkdir(parents=True, exist_ok=True)
    roi = _write(out / "mask.nii.gz", mask.astype(np.uint8), pixdim)
    series, rois = [], []
    for name in names:
        hu = np.clip(np.rint(np.asarray(file[name])), -1024, 3071).astype(np.int16)
        image = _write(out / f"{name}.nii.gz", hu, pixdim)
        series.append(SeriesRef(name=PHASES[name], image=image, format="nifti", phase=PHASES[name]))
        rois.append(RoiRef(author="reader-1", path=roi, series=PHASES[name]))
    findings = []
    if is_box(mask):
        text = "the ROI is a box around the tumor, not its outline: volume and HU are those of the box"
        findings.append(warning("roi-is-box", text, case_id=patient.pid))
    if patient.unregistered:
        text = f"{', '.join(PHASES[n] for n in patient.unregistered)} left out: not registered, place unknown"
        findings.append(note("rmac-not-registered", text, case_id=patient.pid))
    clinical = ClinicalFacts(
        sex=_parsed(parse_sex, _attribute(file, "Patient Sex")),
        age_years=_parsed(parse_age, _attribute(file, "Patient Age")),
    )
    case = Case(
        case_id=patient.pid,
        patient_id=patient.pid,
        subtype=subtype,
        clinical=clinical,
        series=tuple(series),
        rois=tuple(rois),
        site_id="UCSF",
    )
    return case, findings


def is_box(mask: npt.NDArray[np.bool_]) -> bool:
    """True where a mask (x, y, z) fills its bounding rectangle on every slice that it touches."""
    touched = np.flatnonzero(mask.any(axis=(0, 1)))
    shares = []
    for z in touched:
        x, y = np.flatnonzero(mask[:, :, z].any(axis=1)), np.flatnonzero(mask[:, :, z].any(axis=0))
        area = (x[-1] - x[0] + 1) * (y[-1] - y[0] + 1)
        shares.append(mask[:, :, z].sum() / area)
    return bool(shares) and min(shares) >= BOX_FILL


def _write(path: Path, array: npt.NDArray[Any], pixdim: npt.NDArray[np.float64]) -> Path:
    import nibabel

    affine = np.diag([-pixdim[0], pixdim[1], pixdim[2], 1.0])
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    with replacing(path) as temporary:
        part = temporary.with_name(f"{temporary.name}.nii.gz")
        nibabel.save(image, part)
        part.replace(temporary)
    return path


def _opened(path: Path) -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ConfigError(
            where="import rmac",
            expected="the extra 'rmac', which reads HDF5",
            found="no h5py",
            remedy=install_line("rmac"),
        ) from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise CohortError(
            where=f"file {path.name}",
            expected="an HDF5 file",
            found="another or a damaged one",
            remedy="download it again",
        ) from error


def _attribute(file: Any, name: str) -> Any:
    value = file.attrs.get(name, "")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _parsed(parse: Any, value: Any) -> Any:
    try:
        return parse(str(value)) if str(value).strip() else None
    except ValueError:
        return None


def _refusal(folder: Path, expected: str, found: str) -> CohortError:
    return CohortError(
        where=f"folder {folder.name}",
        expected=expected,
        found=found,
        remedy="give the folder of UCSF RMaC as downloaded",
    )


def counts(patients: Sequence[RmacPatient]) -> Mapping[str, int]:
    """Patients in the table, with their file, and by phase that is registered."""
    by_phase = {PHASES[name]: sum(name in one.registered for one in patients) for name in PHASES}
    return {"patients": len(patients), "files": sum(one.has_file for one in patients), **by_phase}
