"""An answer -> a Comprehensive 3D SR with a measurement report (TID 1500) that any PACS can keep.

Probabilities, threshold and call are coded items with the algorithm that gave them; the whole answer is there too,
as JSON in one text item, so that nothing of it is lost. The report is preliminary and unverified. It is COMPLETE when
its question, which subtype, is answered, and PARTIAL when the answer is "not sure".
"""

import json
from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import SeriesError
from nephroscope.base.files import digest_of, replacing
from nephroscope.exchange import codes, report_more
from nephroscope.exchange.codes import Code, concept
from nephroscope.exchange.segment import SegmentReference
from nephroscope.exchange.source import SourceSeries, tidy
from nephroscope.exchange.uids import derived_uid
from nephroscope.imaging.dicom.files import DICOM_DAMAGE, quiet
from nephroscope.imaging.files import damage_words
from nephroscope.records.prediction import Prediction

if TYPE_CHECKING:
    import highdicom as hd

DESCRIPTION = "Renal tumor subtype - research use only"
TIMED = ("date", "seconds", "timings", "picture")  # what differs when the same answer is made again


def answer_uid(kind: str, answer: Prediction, *parts: str) -> str:
    """A UID that is the same when the same answer is made again, at any time."""
    said = {name: value for name, value in as_plain(answer).items() if name not in TIMED}
    return derived_uid(kind, answer.series.series_uid, digest_of(said), *parts)


def write_answer_sr(
    answer: Prediction, source: SourceSeries, path: Path, segment: SegmentReference | None = None
) -> str:
    """Write an answer as a structured report of the patient's study; returns its SOP Instance UID.

    Args:
        answer: From `predict_files`.
        source: The images of the CT that was predicted.
        path: File to write, whole or not at all.
        segment: The ROI as `write_answer_seg` wrote it or `tumor_segment` found it; None for an answer about whole
            slices, or with an ROI that is no SEG.

    Raises:
        BundleError: Two subtypes would have one code.
        SeriesError: The answer is about another series, or the images lack what a report must copy.
    """
    where = f"series {source.series_uid}"
    if answer.series.series_uid != source.series_uid:
        raise SeriesError(
            where=where,
            expected="the images of the CT that was predicted",
            found=f"an answer about series {answer.series.series_uid}",
            remedy="give the series of the answer",
        )
    codes.check_codes([*answer.probabilities, *(answer.linked.probabilities if answer.linked else ())])
    uid = answer_uid("sr", answer, segment.sop_uid if segment else "")
    try:
        with quiet():
            report = _report(answer, source, segment, uid)
            with replacing(path) as temporary:
                report.save_as(temporary, enforce_file_format=True)
    except DICOM_DAMAGE as error:
        if isinstance(error, OSError):
            raise
        raise SeriesError(
            where=where,
            expected="CT images with the data that a report copies (patient and study)",
            found=f"images without them ({damage_words(error)})",
            remedy="give the original CT series",
        ) from error
    return uid


def _report(answer: Prediction, source: SourceSeries, segment: SegmentReference | None, uid: str) -> Any:
    import highdicom as hd

    made = datetime.fromisoformat(answer.date).astimezone()
    observer = hd.sr.ObserverContext(
        observer_type=concept(codes.DEVICE),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid("device", answer.model_digest),
            name="nephroscope",
            manufacturer_name="nephroscope",
            model_name=_fitting(answer.bundle.model),
        ),
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=concept(codes.CT),
        imaging_measurements=[_group(answer, source, segment)],
    )
    document = json.dumps(as_plain(replace(answer, picture="")), sort_keys=True, allow_nan=False)
    content[0].ContentSequence.append(_text(codes.DOCUMENT, document))
    is_complete = (answer.linked or answer).call is not None
    used = {source.slices[one.slice_index].sop_uid for one in answer.slices}
    evidence = [header for header in source.headers if str(header.SOPInstanceUID) in used]
    tidy(evidence[0])  # from which patient and study are copied
    if segment is not None:
        evidence.append(_evidence(segment))
    report = hd.sr.Comprehensive3DSR(
        evidence=evidence,
        content=content[0],
        series_instance_uid=derived_uid("sr-series", uid),
        series_number=source.series_number + 1001,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer="nephroscope",
        manufacturer_model_name="nephroscope",
        software_versions=answer.nephroscope,
        device_serial_number="none",
        is_complete=is_complete,
        series_description=DESCRIPTION,
        content_date=made.date(),
        content_time=made.time(),
    )
    source.copy_to(report)
    if not is_complete:
        report.CompletionFlagDescription = "not sure"
    report.InstanceCreationDate, report.InstanceCreationTime = report.ContentDate, report.ContentTime
    report.CodingSchemeIdentificationSequence = [codes.declared_scheme()]
    return report


def _group(answer: Prediction, source: SourceSeries, segment: SegmentReference | None) -> "hd.sr.Template":
    """The measurement group: TID 1411 with a segment, TID 1501 without."""
    import highdicom as hd

    tracking_uid = segment.tracking_uid if segment and segment.tracking_uid else answer_uid("tumor", answer)
    side = codes.SIDES.get(answer.side.drawn)
    shared = {
        "tracking_identifier": hd.sr.TrackingIdentifier(
            uid=tracking_uid, identifier=(segment.tracking_id if segment else "") or "tumor"
        ),
        "finding_category": concept(codes.ALTERED),
        "finding_type": concept(codes.NEOPLASM),
        "algorithm_id": _algorithm(answer),
        "finding_sites": [hd.sr.FindingSite(concept(codes.KIDNEY), concept(side) if side else None)],
        "measurements": _measurements(answer),
        "qualitative_evaluations": [
            _evaluation(
                codes.SUBTYPE, codes.subtype_code(answer.call) if answer.call else codes.UNDETERMINED
            ),
            _evaluation(codes.FORCED, codes.subtype_code(answer.forced_call)),
            _evaluation(codes.USE, codes.RESEARCH),
            *(_evaluation(name, value) for name, value in report_more.coded(answer)),
        ],
    }
    frames: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in answer.slices:
        image = source.slices[one.slice_index]
        frames[image.sop_class, image.sop_uid] += [image.frame] if image.frame else []
    named = [(*image, numbers or None) for image, numbers in frames.items()]
    if segment is None:
        images = [hd.sr.SourceImageForMeasurementGroup(*image) for image in named]
        group = hd.sr.MeasurementsAndQualitativeEvaluations(source_images=images, **shared)
    else:
        referenced = hd.sr.ReferencedSegment(
            sop_class_uid=segment.sop_class,
            sop_instance_uid=segment.sop_uid,
            segment_number=segment.number,
            source_images=[hd.sr.SourceImageForSegmentation(*image) for image in named],
        )
        group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=referenced, **shared
        )
    texts = [(codes.REASON, answer.reason), (codes.MODEL, answer.model_digest)]
    texts += [(codes.DRAWN_BY, answer.roi.words)] if answer.roi is not None else []
    texts += [(codes.FINDING, f"{one.severity}: {one.code}: {one.message}") for one in answer.findings]
    texts += report_more.texts(answer)
    group[0].ContentSequence.extend(_text(name, text) for name, text in texts)
    return group


def _measurements(answer: Prediction) -> "list[hd.sr.Measurement]":
    import highdicom as hd

    unit = concept(codes.NO_UNIT)
    values = [(codes.probability_code(name), p) for name, p in answer.probabilities.items()]
    made = [
        hd.sr.Measurement(
            name=concept(name),
            value=value,
            unit=unit,
            algorithm_id=_algorithm(answer),
            derivation=concept(codes.MEAN),
        )
        for name, value in values
    ]
    made += [
        hd.sr.Measurement(name=concept(name), value=value, unit=concept(of))
        for name, value, of in report_more.numbers(answer)
    ]
    return made


def _algorithm(answer: Prediction) -> "hd.sr.AlgorithmIdentification":
    import highdicom as hd

    return hd.sr.AlgorithmIdentification(
        name=f"nephroscope {answer.bundle.model}",
        version=answer.nephroscope,
        parameters=[
            f"model digest {answer.model_digest}",
            f"threshold {answer.threshold:g} on the probability of {answer.positive}"
            if len(answer.probabilities) == 2
            else "the most probable subtype is called",
            f"not sure within {answer.not_sure_margin:g}",
        ],
    )


def _evaluation(name: Code, value: Code) -> "hd.sr.QualitativeEvaluation":
    import highdicom as hd

    return hd.sr.QualitativeEvaluation(concept(name), concept(value))


def _text(name: Code, text: str) -> "hd.sr.TextContentItem":
    import highdicom as hd

    return hd.sr.TextContentItem(concept(name), text, hd.sr.RelationshipTypeValues.CONTAINS)


def _evidence(segment: SegmentReference) -> Any:
    from pydicom import Dataset

    made = Dataset()
    made.StudyInstanceUID, made.SeriesInstanceUID = segment.study_uid, segment.series_uid
    made.SOPClassUID, made.SOPInstanceUID = segment.sop_class, segment.sop_uid
    return made


def _fitting(text: str) -> str:
    return text[:64] or "unknown"
