// What a CT header says about each slice: single-frame, enhanced and legacy-converted multi-frame files.

import { functionalGroup } from "./dicom.js";
import { Refusal, damageWords, seriesRefusal } from "./words.js";

const MULTI_FRAME = new Set(["1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"]);

/** The end of a SOP Instance UID. */
export const tailOf = (one) => one.sopUid.split(".").at(-1).slice(-6) || "?";

/** A slice by its Instance Number, or else by the end of its UID. */
export function nameOf(one) {
  const file = one.instanceNumber === null ? `SOP ..${tailOf(one)}` : `IM ${one.instanceNumber}`;
  return one.frame === null ? file : `${file} frame ${one.frame + 1}`;
}

export const isLocalizer = (one) => one.imageType.some((word) => ["LOCALIZER", "SCOUT", "TOPOGRAM"].includes(word.toUpperCase()));

function single({ data, syntax }) {
  return {
    sopUid: data.text("SOPInstanceUID"),
    frame: null,
    instanceNumber: data.integer("InstanceNumber"),
    position: data.numbers("ImagePositionPatient", 3),
    orientation: data.numbers("ImageOrientationPatient", 6),
    pixelSpacing: data.numbers("PixelSpacing", 2),
    thickness: data.number("SliceThickness"),
    step: data.number("SpacingBetweenSlices"),
    location: data.number("SliceLocation"),
    rows: data.short("Rows"),
    columns: data.short("Columns"),
    slope: data.number("RescaleSlope"),
    intercept: data.number("RescaleIntercept"),
    rescaleType: data.text("RescaleType"),
    photometric: data.text("PhotometricInterpretation"),
    samples: data.short("SamplesPerPixel") || 1,
    bitsAllocated: data.short("BitsAllocated"),
    imageType: data.words("ImageType"),
    acquisitionNumber: data.text("AcquisitionNumber"),
    temporalPosition: data.text("TemporalPositionIdentifier"),
    stackId: "",
    acquisitionTime: data.text("AcquisitionDateTime") || data.text("AcquisitionDate") + data.text("AcquisitionTime"),
    contentTime: data.text("ContentTime"),
    triggerTime: data.text("TriggerTime"),
    imagesInAcquisition: data.integer("ImagesInAcquisition"),
    parts: data.short("InConcatenationTotalNumber"),
    syntax,
    frameUid: data.text("FrameOfReferenceUID"),
  };
}

/** The slice headers in a CT file: one for a single-frame file, otherwise one for each frame. */
export function sliceHeaders(file) {
  const { data } = file;
  const where = `series ${data.text("SeriesInstanceUID")}`;
  const n = data.integer("NumberOfFrames");
  const whole = single(file);
  if (!MULTI_FRAME.has(data.text("SOPClassUID"))) {
    if ((n || 1) > 1) {
      throw seriesRefusal({
        where,
        expected: "one frame in each CT image, or an enhanced CT image",
        found: `${n} frames without positions in ${nameOf(whole)}`,
        remedy: "export the series as single-frame CT images",
      });
    }
    return [whole];
  }
  try {
    return frames(data, n, whole, where);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw seriesRefusal({
      where,
      expected: "readable functional groups",
      found: `damaged ones in ${nameOf(whole)} (${damageWords(error)})`,
      remedy: "export the series again, as single-frame CT images if that is offered",
    });
  }
}

function frames(data, n, whole, where) {
  const groups = data.items("PerFrameFunctionalGroupsSequence");
  if (!groups.length || n !== groups.length) {
    throw seriesRefusal({
      where,
      expected: "one functional group for each frame",
      found: `${groups.length} for ${n} frames in ${nameOf(whole)}`,
      remedy: "export the series again, as single-frame CT images if that is offered",
    });
  }
  const shared = data.item("SharedFunctionalGroupsSequence");
  return groups.map((group, index) => frame(whole, index, (name) => functionalGroup(group, shared, name)));
}

/** Source: DICOM PS3.3 C.7.6.16.2 and C.8.15.3. */
function frame(whole, index, group) {
  const [place, turn, measures, rescale, content, kind, legacy] = [
    "PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence", "FrameContentSequence",
    "CTImageFrameTypeSequence", "UnassignedPerFrameConvertedAttributesSequence",
  ].map(group);
  const said = (keyword) => (content?.has(keyword) ? content.text(keyword) : "");
  const counted = (keyword) => { const value = content?.binary(keyword) ?? null; return value === null ? "" : String(value); };
  const kept = (keyword) => legacy?.text(keyword) ?? "";
  const frameType = kind?.words("FrameType") ?? [];
  return {
    ...whole,
    frame: index,
    position: place?.numbers("ImagePositionPatient", 3) ?? null,
    orientation: turn?.numbers("ImageOrientationPatient", 6) ?? null,
    pixelSpacing: measures?.numbers("PixelSpacing", 2) ?? null,
    thickness: measures?.number("SliceThickness") ?? null,
    step: measures?.number("SpacingBetweenSlices") ?? null,
    slope: rescale?.number("RescaleSlope") ?? null,
    intercept: rescale?.number("RescaleIntercept") ?? null,
    rescaleType: rescale?.text("RescaleType") ?? "",
    imageType: frameType.length ? frameType : whole.imageType,
    imagesInAcquisition: null,
    acquisitionNumber: counted("FrameAcquisitionNumber") || kept("AcquisitionNumber"),
    temporalPosition: counted("TemporalPositionIndex") || kept("TemporalPositionIdentifier"),
    stackId: said("StackID"),
    acquisitionTime: said("FrameAcquisitionDateTime") || kept("AcquisitionTime"),
    contentTime: said("FrameReferenceDateTime") || kept("ContentTime"),
    triggerTime: kept("TriggerTime"),
  };
}
