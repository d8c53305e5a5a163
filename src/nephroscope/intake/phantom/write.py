"""Write the synthetic cohort: a folder of DICOM files and a clinical table."""

import os
import struct
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import DataElement, Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from nephroscope.base.errors import CohortError
from nephroscope.base.files import make_folder, publish_folder
from nephroscope.base.parallel import map_in_processes
from nephroscope.base.progress import track
from nephroscope.base.tables import save_table
from nephroscope.intake.phantom.make import Phantom, make_phantom
from nephroscope.intake.phantom.patient import (
    DESIGNS,
    SERIES_WORDS,
    Clinical,
    Design,
    FurtherPhase,
    deal_cohorts,
    draw_phases,
    draw_roster,
)

WORD = "SYNTHETIC"
_DATE, _TIME = "20000101", "120000"
_INTERCEPT_HU = -1024
_INSTANCE_UID = 0x00080018


def write_series(folder: Path, phantom: Phantom, seed: int) -> None:
    """Write the CT series below ``folder``, one file per slice from head to feet.

    What all slices share is put into bytes once.
    """
    folder.mkdir(parents=True)
    shared = {int(element.tag): _in_bytes(element) for element in _series_header(phantom, seed)}
    for number, s in enumerate(reversed(range(phantom.hu.shape[0])), start=1):
        own = _own_elements(phantom, s, seed)
        elements = shared | {tag: _text(tag, vr, value) for tag, (vr, value) in own.items()}
        stored: npt.NDArray[np.uint16] = (phantom.hu[s] - np.int16(_INTERCEPT_HU)).astype("<u2")
        pixels = _in_bytes(DataElement("PixelData", "OW", stored.tobytes()))
        content = b"".join(elements[tag] for tag in sorted(elements)) + pixels
        start = _file_start(own[_INSTANCE_UID][1])
        (folder / f"IM_{number:04d}.dcm").write_bytes(start + content)


def write_segmentation(path: Path, phantom: Phantom, reader: int, seed: int) -> None:
    """Write the mask of one annotator (1 or 2) as a binary DICOM segmentation of the slices that it touches."""
    from highdicom.seg import Segmentation

    case_id = phantom.clinical.case_id
    voxels = phantom.reader1 if reader == 1 else phantom.reader2
    drawn = np.flatnonzero(voxels.any(axis=(1, 2)))[::-1]  # head to feet, as the images
    header = _series_header(phantom, seed)
    segmentation = Segmentation(
        source_images=[_image(header, _own_elements(phantom, s, seed)) for s in drawn.tolist()],
        pixel_array=voxels[drawn].astype(np.uint8),
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
    )
    segmentation.SyntheticData = "YES"
    segmentation.ContentCreatorName = f"READER{reader}"
    _fix(segmentation, _uid(seed, case_id, "roi dimensions", reader))
    segmentation.save_as(path, enforce_file_format=True)


def _series_header(phantom: Phantom, seed: int) -> Dataset:
    """The header that all images of the series share."""
    clinical, acquisition = phantom.clinical, phantom.acquisition
    further = (clinical.phase,) if phantom.further else ()
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
    header.SeriesInstanceUID = _uid(seed, clinical.case_id, "series", *further)
    header.FrameOfReferenceUID = _uid(seed, clinical.case_id, "frame")
    header.StudyID = "1"
    header.SeriesNumber = 3 + list(SERIES_WORDS).index(clinical.phase) + 1 if further else 3
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


def _own_elements(phantom: Phantom, s: int, seed: int) -> dict[int, tuple[str, str]]:
    """What slice ``s`` of the phantom does not share with its series, except its pixels: tag to VR and value."""
    x, y, z = phantom.geometry.affine[:3, 3] + s * phantom.geometry.affine[:3, 0]
    number = phantom.hu.shape[0] - s
    further = (phantom.clinical.phase,) if phantom.further else ()
    return {
        _INSTANCE_UID: ("UI", _uid(seed, phantom.clinical.case_id, "image", number, *further)),
        0x00200013: ("IS", str(number)),  # instance number
        0x00200032: ("DS", f"{x:.2f}\\{y:.2f}\\{z:.2f}"),  # position of the image
        0x00201041: ("DS", f"{z:.2f}"),  # location of the slice
    }


def _image(header: Dataset, own: dict[int, tuple[str, str]]) -> Dataset:
    """The header of an image."""
    image = Dataset({element.tag: element for element in header})
    for tag, (vr, value) in own.items():
        image.add_new(tag, vr, value)
    return image


def _in_bytes(element: DataElement) -> bytes:
    """One element in Explicit VR Little Endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_data_element(buffer, element)
    written: bytes = buffer.getvalue()
    return written


def _text(tag: int, vr: str, value: str) -> bytes:
    """The same of an element of text, several times as fast."""
    raw = value.encode("ascii")
    raw += (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), len(raw)) + raw


def _file_start(instance_uid: str) -> bytes:
    """Preamble and file meta information of an image."""
    version = struct.pack("<HH2sHI2s", 2, 1, b"OB", 0, 2, b"\0\1")
    about = version + b"".join(
        (
            _text(0x00020002, "UI", CTImageStorage),
            _text(0x00020003, "UI", instance_uid),
            _text(0x00020010, "UI", ExplicitVRLittleEndian),
            _text(0x00020012, "UI", PYDICOM_IMPLEMENTATION_UID),
            _text(0x00020013, "SH", "nephroscope"),
        )
    )
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(about)) + about


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
PHASE_COLUMNS = ("case_id", "phase", "shift_left_mm", "shift_back_mm", "shift_head_mm")
_WORTH_A_WORKER = 12  # cases; below, starting a process takes longer than it saves


def write_phantoms(
    folder: Path,
    n_cases: int | None,
    seed: int,
    on_case: Callable[[str], None] | None = None,
    like: str | Design = "kits23",
    subtypes: Collection[str] = (),
) -> Path:
    """Write a synthetic cohort and return its ``clinical.csv``; the folder appears when everything is written.

    Below ``folder``: ``clinical.csv``, and per case ``SYNTHETIC-0001/ct/*.dcm``, ``roi_reader1.dcm`` and
    ``roi_reader2.dcm``. The same seed and number of cases give the same bytes. From 24 cases on, two processes
    share the work. With several phases each further one that a patient has is in ``ct-PHASE/``, undrawn, and
    ``phases.csv`` says how far its organs moved.

    Args:
        folder: A new or empty folder.
        n_cases: Number of patients with one tumor each; None for the number of the imitated cohort.
        seed: Zero or larger.
        on_case: Called with each case_id in order after it was written.
        like: kits23 (45 PRCC to 38 ChRCC) or zuo2021 (84 cases with thin slices and the paper's test cases).
        subtypes: Which of `SUBTYPES` there are; PRCC and ChRCC if fewer than two are named.

    Raises:
        CohortError: The folder is not empty or cannot be written, or a number is out of range.
    """
    design = (DESIGNS[like] if isinstance(like, str) else like).of(subtypes)
    n_cases = design.n_cases if n_cases is None else n_cases
    _check(folder, n_cases, seed, design.n_phases)
    cohorts = deal_cohorts(draw_roster(seed, n_cases, design), design)
    try:
        make_folder(folder.parent)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
            draft = Path(scratch) / "cohort"
            draft.mkdir()
            rows, scans = [], []
            written = _write_cases(draft, n_cases, seed, design)
            for clinical, further in track(written, "writing phantoms", "case", n_cases):
                rows.append(clinical)
                scans += [(clinical.case_id, one.phase, *map(str, one.shift_mm)) for one in further]
                if on_case is not None:
                    on_case(clinical.case_id)
            save_table(
                draft / "clinical.csv", COLUMNS, (_cells(*row) for row in zip(rows, cohorts, strict=True))
            )
            if design.n_phases > 1:
                save_table(draft / "phases.csv", PHASE_COLUMNS, scans)
            if folder.exists():
                folder.rmdir()
            publish_folder(draft, folder)
    except OSError as error:
        raise CohortError(
            where=str(folder),
            expected="a writable folder",
            found=error.strerror or type(error).__name__,
            remedy="choose another folder, or free some space (about 3.3 MB per case and phase)",
        ) from error
    return folder / "clinical.csv"


def _check(folder: Path, n_cases: int, seed: int, n_phases: int) -> None:
    if n_cases < 1 or seed < 0 or not 1 <= n_phases <= len(SERIES_WORDS):
        raise CohortError(
            where="phantoms",
            expected=f"at least one case, a seed of 0 or more, and 1 to {len(SERIES_WORDS)} phases",
            found=f"{n_cases} cases, seed {seed}, {n_phases} phases",
            remedy="correct the number",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CohortError(
            where=str(folder),
            expected="a new or empty folder",
            found="files in it" if folder.is_dir() else "a file",
            remedy="choose another folder, or remove this one",
        )


Written = tuple[Clinical, list[FurtherPhase]]


def _write_cases(folder: Path, n_cases: int, seed: int, design: Design) -> Iterator[Written]:
    """Write every case below ``folder``, in order of their names."""
    jobs = [(folder, n_cases, seed, design, index) for index in range(n_cases)]
    in_processes = min(os.cpu_count() or 1, n_cases // _WORTH_A_WORKER) >= 2
    return map_in_processes(_write_case, jobs) if in_processes else map(_write_case, jobs)


def _write_case(job: tuple[Path, int, int, Design, int]) -> Written:
    folder, n_cases, seed, design, index = job
    phantom = make_phantom(seed, index, n_cases, design)
    case = folder / phantom.clinical.case_id
    write_series(case / "ct", phantom, seed)
    for reader in (1, 2):
        write_segmentation(case / f"roi_reader{reader}.dcm", phantom, reader, seed)
    further = draw_phases(seed, index, phantom.clinical.phase, design.n_phases)
    for one in further:
        again = make_phantom(seed, index, n_cases, design, one)
        write_series(case / f"ct-{one.phase}", again, seed)
    return phantom.clinical, further


def _cells(row: Clinical, cohort: str) -> list[str]:
    who = [row.case_id, row.case_id, row.site_id, row.subtype, row.sex]
    return [*who, str(row.age_years), str(row.size_cm), row.phase, cohort, "yes"]
