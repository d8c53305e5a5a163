"""Write the synthetic cohort: a folder of DICOM files and a clinical table."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from nephroscope.base.errors import CohortError
from nephroscope.base.parallel import map_in_processes
from nephroscope.base.progress import track
from nephroscope.base.tables import save_table
from nephroscope.intake.phantom.make import Phantom, make_phantom
from nephroscope.intake.phantom.patient import DESIGNS, Clinical, deal_cohorts, draw_roster

WORD = "SYNTHETIC"
_DATE, _TIME = "20000101", "120000"
_INTERCEPT_HU = -1024


def write_series(folder: Path, phantom: Phantom, seed: int) -> list[Dataset]:
    """Write the CT series below ``folder``, one file per slice from head to feet.

    Returns:
        The images as written, from head to feet.
    """
    folder.mkdir(parents=True)
    header = _series_header(phantom, seed)
    images = []
    for number, s in enumerate(reversed(range(phantom.hu.shape[0])), start=1):
        image = _image(header, phantom, s, number, seed)
        dcmwrite(folder / f"IM_{number:04d}.dcm", image, enforce_file_format=True)
        images.append(image)
    return images


def write_segmentation(path: Path, images: list[Dataset], phantom: Phantom, reader: int, seed: int) -> None:
    """Write the mask of one annotator (1 or 2) as a binary DICOM segmentation of ``images``."""
    from highdicom.seg import Segmentation

    case_id = phantom.clinical.case_id
    voxels = (phantom.reader1 if reader == 1 else phantom.reader2)[::-1]  # head to feet, as the images
    segmentation = Segmentation(
        source_images=images,
        pixel_array=voxels.astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[_describe_segment(case_id, reader, seed)],
        series_instance_uid=_uid(seed, case_id, "roi series", reader),
        series_number=100 + reader,
        sop_instance_uid=_uid(seed, case_id, "roi", reader),
        instance_number=1,
        manufacturer="nephroscope",
        manufacturer_model_name=f"{WORD} phantom",
        software_versions="1",
        device_serial_number=WORD,
        content_description=f"{WORD} tumor, reader {reader}",
        content_label="TUMOR",
        series_description=f"{WORD} ROI reader {reader}",
        omit_empty_frames=True,
    )
    segmentation.SyntheticData = "YES"
    segmentation.ContentCreatorName = f"READER{reader}"
    _fix(segmentation, _uid(seed, case_id, "roi dimensions", reader))
    segmentation.save_as(path, enforce_file_format=True)


def _series_header(phantom: Phantom, seed: int) -> Dataset:
    """The header that all images of the series share."""
    clinical, acquisition = phantom.clinical, phantom.acquisition
    slice_mm, row_mm, column_mm = phantom.geometry.spacing_mm
    header = Dataset()
    header.SOPClassUID = CTImageStorage
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    for name in ("InstanceCreation", "Study", "Series", "Acquisition", "Content"):
        setattr(header, f"{name}Date", _DATE)
        setattr(header, f"{name}Time", _TIME)
    header.SyntheticData = "YES"
    header.AccessionNumber = ""
    header.Modality = "CT"
    header.Manufacturer = acquisition.manufacturer
    header.ManufacturerModelName = acquisition.model
    header.InstitutionName = f"{WORD} {clinical.site_id}"
    header.ReferringPhysicianName = ""
    header.StudyDescription = f"{WORD} CT abdomen with contrast"
    header.SeriesDescription = f"{WORD} {acquisition.series_words} {slice_mm:g} {acquisition.kernel}"
    header.PatientName = clinical.case_id.replace("-", "^")
    header.PatientID = clinical.case_id
    header.PatientBirthDate = ""
    header.PatientSex = clinical.sex
    header.PatientAge = f"{clinical.age_years:03d}Y"
    header.PatientPosition = "HFS"
    header.ContrastBolusAgent = "iodine"
    header.BodyPartExamined = "ABDOMEN"
    header.SliceThickness = header.SpacingBetweenSlices = f"{slice_mm:g}"
    header.KVP = acquisition.kvp
    header.ConvolutionKernel = acquisition.kernel
    header.StudyInstanceUID = _uid(seed, clinical.case_id, "study")
    header.SeriesInstanceUID = _uid(seed, clinical.case_id, "series")
    header.FrameOfReferenceUID = _uid(seed, clinical.case_id, "frame")
    header.StudyID = "1"
    header.SeriesNumber = 3
    header.AcquisitionNumber = 1
    header.PositionReferenceIndicator = ""
    header.ImageComments = f"{WORD} phantom, not a patient"
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.PixelSpacing = [f"{row_mm:g}", f"{column_mm:g}"]
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.Rows, header.Columns = phantom.hu.shape[1:]
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    header.WindowCenter, header.WindowWidth = 40, 400
    header.RescaleIntercept, header.RescaleSlope, header.RescaleType = _INTERCEPT_HU, 1, "HU"
    return header


def _image(header: Dataset, phantom: Phantom, s: int, number: int, seed: int) -> Dataset:
    """Slice ``s`` of the phantom under the header of its series."""
    x, y, z = phantom.geometry.affine[:3, 3] + s * phantom.geometry.affine[:3, 0]
    image = Dataset()
    image.update(header)
    image.SOPInstanceUID = _uid(seed, phantom.clinical.case_id, "image", number)
    image.InstanceNumber = number
    image.ImagePositionPatient = [f"{x:.2f}", f"{y:.2f}", f"{z:.2f}"]
    image.SliceLocation = f"{z:.2f}"
    stored: npt.NDArray[np.uint16] = (phantom.hu[s] - np.int16(_INTERCEPT_HU)).astype("<u2")
    image.PixelData = stored.tobytes()
    image["PixelData"].VR = "OW"
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = CTImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def _describe_segment(case_id: str, reader: int, seed: int) -> object:
    """The segment's codes: a neoplasm of the kidney, outlined by hand."""
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    return SegmentDescription(
        segment_number=1,
        segment_label="Tumor",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type="MANUAL",
        tracking_uid=_uid(seed, case_id, "tumor"),
        tracking_id=f"{case_id} tumor",
        anatomic_regions=[codes.SCT.Kidney],
    )


def _fix(segmentation: Dataset, dimensions_uid: str) -> None:
    """Replace random and current values of highdicom: dates, times, the dimension organization."""
    for element in segmentation.iterall():
        if element.VR == "DA" and element.value:
            element.value = _DATE
        elif element.VR == "TM" and element.value:
            element.value = _TIME
        elif element.VR == "DT" and element.value:
            element.value = _DATE + _TIME
        elif element.keyword == "DimensionOrganizationUID":
            element.value = dimensions_uid


def _uid(seed: int, *parts: object) -> str:
    """A UID computed from the seed and the object it names."""
    return str(generate_uid(entropy_srcs=["nephroscope phantom", str(seed), *map(str, parts)]))


COLUMNS = (
    "case_id", "patient_id", "site_id", "subtype", "sex", "age_years", "size_cm", "phase", "cohort", "synthetic"
)  # fmt: skip
_WORTH_A_WORKER = 12  # cases; below, starting a process takes longer than it saves


def write_phantoms(
    folder: Path,
    n_cases: int | None,
    seed: int,
    on_case: Callable[[str], None] | None = None,
    like: str = "kits23",
) -> Path:
    """Write a synthetic cohort and return its ``clinical.csv``; the folder appears when everything is written.

    Below ``folder``: ``clinical.csv``, and per case ``SYNTHETIC-0001/ct/*.dcm``, ``roi_reader1.dcm`` and
    ``roi_reader2.dcm``. The same seed and number of cases give the same bytes. From 24 cases on, two processes
    share the work.

    Args:
        folder: A new or empty folder.
        n_cases: Number of patients with one tumor each; None for the number of the imitated cohort.
        seed: Zero or larger.
        on_case: Called with each case_id in order after it was written.
        like: kits23 (45 PRCC to 38 ChRCC) or zuo2021 (84 cases with thin slices and the paper's test cases).

    Raises:
        CohortError: The folder is not empty or cannot be written, or a number is out of range.
    """
    n_cases = DESIGNS[like].n_cases if n_cases is None else n_cases
    _check(folder, n_cases, seed)
    cohorts = deal_cohorts(draw_roster(seed, n_cases, DESIGNS[like]), DESIGNS[like])
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
            draft = Path(scratch) / "cohort"
            draft.mkdir()
            rows = []
            written = _write_cases(draft, n_cases, seed, like)
            for clinical in track(written, "writing phantoms", "case", n_cases):
                rows.append(clinical)
                if on_case is not None:
                    on_case(clinical.case_id)
            save_table(
                draft / "clinical.csv", COLUMNS, (_cells(*row) for row in zip(rows, cohorts, strict=True))
            )
            if folder.exists():
                folder.rmdir()
            draft.rename(folder)
    except OSError as error:
        raise CohortError(
            where=str(folder),
            expected="a writable folder",
            found=error.strerror or type(error).__name__,
            remedy="choose another folder, or free some space (about 3.3 MB per case)",
        ) from error
    return folder / "clinical.csv"


def _check(folder: Path, n_cases: int, seed: int) -> None:
    if n_cases < 1 or seed < 0:
        raise CohortError(
            where="phantoms",
            expected="at least one case and a seed of 0 or more",
            found=f"{n_cases} cases, seed {seed}",
            remedy="correct the number",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CohortError(
            where=str(folder),
            expected="a new or empty folder",
            found="files in it" if folder.is_dir() else "a file",
            remedy="choose another folder, or remove this one",
        )


def _write_cases(folder: Path, n_cases: int, seed: int, like: str) -> Iterator[Clinical]:
    """Write every case below ``folder``, in order of their names.

    The number of threads of BLAS is left as it is: rounding, and with it single HU, depends on it.
    """
    jobs = [(folder, n_cases, seed, like, index) for index in range(n_cases)]
    in_processes = min(os.cpu_count() or 1, n_cases // _WORTH_A_WORKER) >= 2
    return map_in_processes(_write_case, jobs) if in_processes else map(_write_case, jobs)


def _write_case(job: tuple[Path, int, int, str, int]) -> Clinical:
    folder, n_cases, seed, like, index = job
    phantom = make_phantom(seed, index, n_cases, DESIGNS[like])
    case = folder / phantom.clinical.case_id
    images = write_series(case / "ct", phantom, seed)
    for reader in (1, 2):
        write_segmentation(case / f"roi_reader{reader}.dcm", images, phantom, reader, seed)
    return phantom.clinical


def _cells(row: Clinical, cohort: str) -> list[str]:
    who = [row.case_id, row.case_id, row.site_id, row.subtype, row.sex]
    return [*who, str(row.age_years), str(row.size_cm), row.phase, cohort, "yes"]
