"""Import the folder of KiTS19, KiTS21 or KiTS23 as its project's script makes it.

The clinical table is JSON with peculiarities: ages as numbers, ``">90"`` or 0, three genders, nulls, and different
names of the same subtype in each release. Volumes are NIfTI with axis 0 from head to feet, as their affine says.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nephroscope.base.errors import CohortError
from nephroscope.base.limits import parse_json
from nephroscope.base.tables import parse_number
from nephroscope.imaging.files import file_kind
from nephroscope.intake.labels.join import Found, join_found
from nephroscope.intake.labels.pathology import PathologyTable, name_of_subtype, unmapped_finding
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.labels.values import parse_age, parse_sex
from nephroscope.intake.public.same_patients import public_patient
from nephroscope.records import Case, Cohort, Exclusion, Finding, note, warning
from nephroscope.records.cases import LARGEST_CM
from nephroscope.records.cohort import Reason

Vote = Literal["MAJ", "AND", "OR"]
TUMOR_LABEL = 2
CT_NAME = "imaging.nii.gz"
JSON_NAMES = ("kits23.json", "kits.json")
JSON_FOLDERS = ("", "dataset", "data", "kits21/data")
CASES_OF_KITS19 = 210
CASE_FOLDER = re.compile(r"case_\d{5}")
NO_CT = Reason(
    f"{CT_NAME} is not in its folder (case_00012 of KiTS-00012): download it with the KiTS project's own script",
    "no-ct",
)
NOT_SAID = "not said"
CITATIONS = {
    "KiTS19": "Heller et al., The KiTS19 Challenge Data, arXiv:1904.00445",
    "KiTS21": "Heller et al., The KiTS21 Challenge, arXiv:2307.01984",
    "KiTS23": "Heller et al., The KiTS21 Challenge, arXiv:2307.01984, and kits-challenge.org/kits23",
}
LICENCE = "CC BY-NC-SA 4.0: no commercial use, share alike"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtypeCount:
    """Number of tumors of one subtype in the clinical table, and of those with a CT."""

    subtype: str
    in_study: bool
    in_table: int
    with_ct: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KitsImport:
    """Cases of a KiTS release, exclusions with reasons, findings, and counts of its table."""

    release: str
    cases: tuple[Case, ...]
    exclusions: tuple[Exclusion, ...]
    findings: tuple[Finding, ...]
    counts: tuple[SubtypeCount, ...]


def import_kits(
    folder: Path,
    subtypes: tuple[str, ...],
    positive: str,
    vote: Vote = "MAJ",
    pathology: PathologyTable | None = None,
) -> KitsImport:
    """Cases of a KiTS folder: CT, the project's label map (tumor 2) and the histology in its JSON.

    Args:
        folder: The clone of the KiTS repository, or its folder of cases.
        subtypes: Subtypes of the study, in output order.
        positive: The subtype whose probability is the score.
        vote: Which merged label map of the three KiTS21 annotators to use.
        pathology: The study's pathology.csv; None uses the default table.

    Raises:
        CohortError: There is no clinical table, more than one, or one without histology.
    """
    table = _find_table(folder.resolve())
    rows = _read_rows(table)
    release = _release(table, len(rows))
    mask = f"aggregated_{vote}_seg.nii.gz" if release == "KiTS21" else "segmentation.nii.gz"
    labels, exclusions, findings = _labels(rows, table.name, release)
    labels = [
        replace(row, mapped_subtype=name_of_subtype(row.subtype, subtypes, pathology) or "") for row in labels
    ]
    findings += unmapped_finding((row.subtype for row in labels if not row.mapped_subtype), pathology)
    folders = {path.name for path in table.parent.iterdir() if CASE_FOLDER.fullmatch(path.name)}
    listed = {row["case_id"] for row in rows if CASE_FOLDER.fullmatch(str(row.get("case_id")))}
    found = [_found(table.parent / name, mask) for name in sorted(folders | listed)]
    known = {exclusion.case_id for exclusion in exclusions}
    cases, left_out = join_found(
        [volume for volume in found if volume.key not in known], labels, subtypes, "nifti", TUMOR_LABEL
    )
    cohort = Cohort(subtypes=subtypes, positive=positive, cases=cases, exclusions=(*exclusions, *left_out))
    with_ct = {volume.key for volume in found if volume.refusal != NO_CT}
    return KitsImport(
        release=release,
        cases=cohort.cases,
        exclusions=cohort.exclusions,
        findings=(_citation(release), *findings),
        counts=_counts(labels, exclusions, subtypes, with_ct),
    )


def read_kits_labels(table: Path) -> list[LabelRow]:
    """Labels from a KiTS JSON alone, for C4KC-KiTS, as its DICOM files have no histology.

    Raises:
        CohortError: It is not a clinical table of KiTS.
    """
    return _labels(_read_rows(table), table.name, "c4kc_kits")[0]


def _find_table(folder: Path) -> Path:
    places = [folder / inside / name for inside in JSON_FOLDERS for name in JSON_NAMES]
    found = sorted({path for path in places if path.is_file()})
    if len(found) == 1:
        return found[0]
    listed = " and ".join(path.relative_to(folder).as_posix() for path in found)
    raise CohortError(
        where=f"folder {folder.name}",
        expected="one clinical table of KiTS (data/kits.json, kits21/data/kits.json or dataset/kits23.json)",
        found=listed or ("none" if folder.is_dir() else "no folder"),
        remedy="give the folder of one release: the clone of its repository, or the folder with its cases",
    )


def _read_rows(table: Path) -> list[dict[str, Any]]:
    """The objects of the JSON list; at least one has a histology."""
    try:
        rows: Any = parse_json(table.read_text(encoding="utf-8-sig"))
        whole = isinstance(rows, list) and any(isinstance(row, dict) for row in rows)
        rows = [row if isinstance(row, dict) else {} for row in rows] if whole else []
        found = "something else" if not whole else f"{len(rows)} rows without it"
    except (OSError, ValueError) as error:
        whole, rows, found = False, [], f"no readable JSON ({type(error).__name__})"
    if not whole or not any("tumor_histologic_subtype" in row for row in rows):
        raise CohortError(
            where=f"file {table.name}",
            expected="a JSON list of cases with tumor_histologic_subtype",
            found=found,
            remedy="update the clone of the KiTS repository; early versions of kits.json have no histology",
        )
    return list(rows)


def _release(table: Path, n_rows: int) -> str:
    if table.name == "kits23.json":
        return "KiTS23"
    aggregated = next(table.parent.glob("case_*/aggregated_*_seg.nii.gz"), None)
    return "KiTS21" if aggregated or n_rows > CASES_OF_KITS19 else "KiTS19"


def _labels(
    rows: list[dict[str, Any]], file: str, release: str
) -> tuple[list[LabelRow], list[Exclusion], list[Finding]]:
    """Rows with a histology as labels, others as exclusions, unreadable cells as findings."""
    labels, exclusions, findings = [], [], []
    for number, row in enumerate(rows, start=1):
        name = public_patient(str(row.get("case_id")))
        subtype = row.get("tumor_histologic_subtype")
        if name is None:
            reason = f"row {number} of {file} has no case_id such as case_00012"
            exclusions.append(Exclusion(case_id=f"{release} row {number}", reason=reason))
            continue
        if not isinstance(subtype, str) or not subtype.strip():
            reason = f"tumor_histologic_subtype is {json.dumps(subtype)[:40]} in {file}"
            exclusions.append(Exclusion(case_id=name, reason=reason, kind="subtype-unclear"))
            continue
        label = LabelRow(row=number, case_id=name, patient_id=name, subtype=subtype.strip(), site_id=release)
        for field, (column, parse) in CLINICAL.items():
            text = "" if row.get(column) is None else str(row[column])
            try:
                label = replace(label, **{field: parse(text)})
            except ValueError:
                message = f"{column} is {text[:40]!r} in {file}, which cannot be read; taken as unknown"
                findings.append(warning("clinical-unreadable", message, case_id=name))
        labels.append(label)
    return labels, exclusions, findings


def _size_cm(text: str) -> float | None:
    return parse_number(text, -1e-9, LARGEST_CM) or None


CLINICAL: dict[str, tuple[str, Callable[[str], Any]]] = {
    "sex": ("gender", parse_sex),
    "age_years": ("age_at_nephrectomy", parse_age),
    "size_cm": ("radiographic_size", _size_cm),
}


def _found(folder: Path, mask: str) -> Found:
    """The CT and the label map of one case folder, or why there is no case."""
    image, roi = folder / CT_NAME, folder / mask
    refusal = ""
    # What is not NIfTI may be an empty file, a pointer of Git LFS or a page of HTML.
    if file_kind(image) != "nifti":
        refusal = NO_CT
    elif file_kind(roi) != "nifti":
        refusal = Reason(
            f"{mask} is not in its folder (case_00012 of KiTS-00012); "
            "only cases with the project's label map can be used",
            "no-roi",
        )
    return Found(key=public_patient(folder.name) or folder.name, image=image, roi=roi, refusal=refusal)


def _counts(
    labels: list[LabelRow], exclusions: list[Exclusion], subtypes: tuple[str, ...], with_ct: set[str]
) -> tuple[SubtypeCount, ...]:
    """Counts by subtype, first those of the study, then the most frequent."""
    cases: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        cases[label.mapped_subtype or label.subtype].add(label.case_id)
    for exclusion in exclusions:
        cases[NOT_SAID].add(exclusion.case_id)
    others = sorted(cases.keys() - set(subtypes), key=lambda name: (-len(cases[name]), name))
    order = [name for name in subtypes if name in cases] + others
    return tuple(
        SubtypeCount(
            subtype=name,
            in_study=name in subtypes,
            in_table=len(cases[name]),
            with_ct=len(cases[name] & with_ct),
        )
        for name in order
    )


def _citation(release: str) -> Finding:
    text = f"{release} is licensed {LICENCE}; cite {CITATIONS[release]}. Ages are those at nephrectomy"
    return note("data-citation", text, release)
