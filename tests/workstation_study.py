"""A study of DICOM series without ROIs, for tests of the workstation."""

from nephroscope import Study
from nephroscope.records import Case, Cohort, SeriesRef
from nephroscope.study.cohort_table import save_cohort
from phantoms import dicom_slices, write_slices


def undrawn_study(root, n_cases=1, change=lambda images: images, phases=("nephrographic",)):
    """A study folder whose cases have a DICOM series per phase and no ROI."""
    Study.create(root, ["PRCC", "ChRCC"])
    cases = []
    for number in range(n_cases):
        name = f"c{number}"
        folders = [
            write_slices(change(dicom_slices(f"P{number}")), root / "ct" / name / phase) for phase in phases
        ]
        series = tuple(
            SeriesRef(name=phase, image=folder, format="dicom", phase=phase)
            for phase, folder in zip(phases, folders, strict=True)
        )
        cases.append(Case(case_id=name, patient_id=f"p{number}", subtype="PRCC", series=series))
    cohort = Cohort(subtypes=("PRCC", "ChRCC"), positive="PRCC", cases=tuple(cases))
    save_cohort(cohort, root)
    return root
