// DICOM files of any origin: what they are, and the values of their headers. The parsing itself is dicom-parser's.

import { Damage, parseNumber } from "./words.js";

export const [IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN] = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"];
export const NATIVE = new Set([IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN]);
const MOST_UNPACKED = 2 ** 30;
const CHARSETS = {
  "ISO_IR 100": "iso-8859-1", "ISO_IR 101": "iso-8859-2", "ISO_IR 109": "iso-8859-3", "ISO_IR 110": "iso-8859-4", "ISO_IR 144": "iso-8859-5",
  "ISO_IR 127": "iso-8859-6", "ISO_IR 126": "iso-8859-7", "ISO_IR 138": "iso-8859-8", "ISO_IR 148": "windows-1254", "ISO_IR 166": "windows-874",
  "ISO_IR 13": "shift_jis", "ISO_IR 192": "utf-8", GB18030: "gb18030", GBK: "gbk", "ISO 2022 IR 87": "iso-2022-jp", "ISO 2022 IR 149": "euc-kr",
  "ISO 2022 IR 58": "gb18030", "ISO 2022 IR 100": "iso-8859-1", "ISO 2022 IR 144": "iso-8859-5",
};
// Keyword -> tag, as dicom-parser writes it.
export const TAGS = {
  SpecificCharacterSet: "x00080005", ImageType: "x00080008", SOPClassUID: "x00080016", SOPInstanceUID: "x00080018", SeriesTime: "x00080031", AcquisitionDate: "x00080022",
  AcquisitionDateTime: "x0008002a", AcquisitionTime: "x00080032", ContentTime: "x00080033", Modality: "x00080060", StudyDescription: "x00081030",
  SeriesDescription: "x0008103e", ReferencedInstanceSequence: "x0008114a", ReferencedSeriesSequence: "x00081115", ReferencedSOPInstanceUID: "x00081155",
  CodeValue: "x00080100", CodeMeaning: "x00080104", SourceImageSequence: "x00082112", DerivationImageSequence: "x00089124",
  PatientID: "x00100020", ContrastBolusAgent: "x00180010", BodyPartExamined: "x00180015", SliceThickness: "x00180050", SpacingBetweenSlices: "x00180088",
  ProtocolName: "x00181030", ContrastBolusStartTime: "x00181042", TriggerTime: "x00181060", ConvolutionKernel: "x00181210",
  StudyInstanceUID: "x0020000d", SeriesInstanceUID: "x0020000e", SeriesNumber: "x00200011", AcquisitionNumber: "x00200012", InstanceNumber: "x00200013",
  ImagePositionPatient: "x00200032", ImageOrientationPatient: "x00200037", FrameOfReferenceUID: "x00200052", TemporalPositionIdentifier: "x00200100",
  ImagesInAcquisition: "x00201002", SliceLocation: "x00201041", ImageComments: "x00204000", StackID: "x00209056", FrameAcquisitionNumber: "x00209156",
  FrameAcquisitionDateTime: "x00189074", FrameReferenceDateTime: "x00189151", TemporalPositionIndex: "x00209128",
  FrameContentSequence: "x00209111", PlanePositionSequence: "x00209113", PlaneOrientationSequence: "x00209116", InConcatenationTotalNumber: "x00209163",
  SamplesPerPixel: "x00280002", PhotometricInterpretation: "x00280004", PlanarConfiguration: "x00280006", NumberOfFrames: "x00280008", Rows: "x00280010",
  Columns: "x00280011", PixelSpacing: "x00280030", BitsAllocated: "x00280100", BitsStored: "x00280101", HighBit: "x00280102",
  PixelRepresentation: "x00280103", PixelPaddingValue: "x00280120", PixelPaddingRangeLimit: "x00280121", RescaleIntercept: "x00281052",
  RescaleSlope: "x00281053", RescaleType: "x00281054", PixelMeasuresSequence: "x00289110", PixelValueTransformationSequence: "x00289145",
  CTImageFrameTypeSequence: "x00189329", FrameType: "x00089007", UnassignedPerFrameConvertedAttributesSequence: "x00209171",
  Manufacturer: "x00080070", ManufacturerModelName: "x00081090", SoftwareVersions: "x00181020", SegmentAlgorithmType: "x00620008",
  SegmentAlgorithmName: "x00620009", SegmentDescription: "x00620006", SegmentationAlgorithmIdentificationSequence: "x00620007",
  AlgorithmVersion: "x00660031",
  SegmentationType: "x00620001", SegmentSequence: "x00620002", SegmentIdentificationSequence: "x0062000a", SegmentNumber: "x00620004",
  SegmentLabel: "x00620005", ReferencedSegmentNumber: "x0062000b", MaximumFractionalValue: "x0062000e", SegmentedPropertyTypeCodeSequence: "x0062000f",
  SharedFunctionalGroupsSequence: "x52009229", PerFrameFunctionalGroupsSequence: "x52009230", PixelData: "x7fe00010",
};

/** One data set: of a file or of an item of a sequence. */
export class DataSet {
  constructor(parsed, charset) {
    this.parsed = parsed;
    this.charset = charset ?? this.text("SpecificCharacterSet").split("\\").filter(Boolean).at(-1) ?? "";
  }

  element(keyword) {
    return this.parsed.elements[TAGS[keyword]];
  }

  has(keyword) {
    return this.element(keyword) !== undefined;
  }

  bytes(keyword) {
    const element = this.element(keyword);
    return element === undefined ? null : this.parsed.byteArray.subarray(element.dataOffset, element.dataOffset + element.length);
  }

  /** A value as written, in Latin letters; empty when absent. */
  text(keyword) {
    const bytes = this.bytes(keyword);
    if (bytes === null) return "";
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return text.replace(/^[\0 ]+|[\0 ]+$/g, "");
  }

  /** A value in the letters of the file's character set. */
  decoded(keyword) {
    const bytes = this.bytes(keyword);
    if (bytes === null) return "";
    return new TextDecoder(CHARSETS[this.charset] ?? "iso-8859-1").decode(bytes).replace(/[\0 ]+$/g, "").trim();
  }

  numbers(keyword, count) {
    const found = this.text(keyword).split("\\").map(parseNumber);
    return found.length === count && found.every((one) => one !== null) ? found : null;
  }

  number(keyword) {
    return this.numbers(keyword, 1)?.[0] ?? null;
  }

  integer(keyword) {
    const found = this.number(keyword);
    return found !== null && Number.isInteger(found) ? found : null;
  }

  short(keyword) {
    const element = this.element(keyword);
    return element === undefined || element.length !== 2 ? null : this.parsed.uint16(TAGS[keyword]);
  }

  /** A binary number of any length that is used here. */
  binary(keyword) {
    const element = this.element(keyword);
    if (element === undefined) return null;
    return element.length === 4 ? this.parsed.uint32(TAGS[keyword]) : element.length === 2 ? this.parsed.uint16(TAGS[keyword]) : null;
  }

  words(keyword) {
    const text = this.text(keyword);
    return text ? text.split("\\").map((part) => part.trim()) : [];
  }

  items(keyword) {
    return (this.element(keyword)?.items ?? []).map((item) => new DataSet(item.dataSet, this.charset));
  }

  item(keyword) {
    return this.items(keyword)[0] ?? null;
  }

  /** The same without the pixels: the header of a slice is kept, its file is not. */
  detached() {
    const plain = Object.entries(this.parsed.elements).filter(([tag, one]) => tag < TAGS.PixelData && one.items === undefined);
    const last = Math.max(0, ...plain.map(([, one]) => one.dataOffset + one.length));
    const bytes = this.parsed.byteArray.slice(0, last);
    return new DataSet(new dicomParser.DataSet(this.parsed.byteArrayParser, bytes, Object.fromEntries(plain)), this.charset);
  }
}

/** A functional group of one frame: its own, or the one that all frames share. */
export function functionalGroup(group, shared, name) {
  return group.item(name) ?? shared?.item(name) ?? null;
}

export function isDicom(bytes) {
  return bytes.length >= 132 && String.fromCharCode(...bytes.subarray(128, 132)) === "DICM" || beginsAsDicom(bytes);
}

/** Old exports have no preamble: their first attribute belongs to group 2 or 8, with a usual length. */
function beginsAsDicom(bytes) {
  if (bytes.length < 132) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 132);
  const [group, element, vr] = [view.getUint16(0, true), view.getUint16(2, true), String.fromCharCode(bytes[4], bytes[5])];
  const explicit = ["UL", "OB", "CS", "UI", "DA", "TM", "SH"].includes(vr) && view.getUint16(6, true) <= 256;
  return (group === 2 || group === 8) && element <= 0x18 && (explicit || view.getUint32(4, true) <= 256);
}

/**
 * The header of a file up to its pixel data, or the whole of it.
 * @returns {{data: DataSet, bytes: Uint8Array, syntax: string, mediaClass: string, pixelsAt: object|undefined}}
 */
export async function parseDicom(content, whole = false) {
  let bytes = content;
  const bare = String.fromCharCode(...bytes.subarray(128, 132)) !== "DICM";
  if (bare && bytes[0] === 2) bytes = withPreamble(bytes);
  const options = whole ? {} : { untilTag: TAGS.PixelData };
  if (bare && content[0] !== 2) options.TransferSyntaxUID = /[A-Z]{2}/.test(String.fromCharCode(bytes[4], bytes[5])) ? EXPLICIT : IMPLICIT;
  let syntax = "";
  if (!options.TransferSyntaxUID) {
    syntax = textAt(bytes, dicomParser.readPart10Header(bytes).elements.x00020010);
    if (syntax === DEFLATED) bytes = await inflated(bytes);
  }
  const parsed = dicomParser.parseDicom(bytes, options);
  return {
    data: new DataSet(parsed),
    bytes,
    syntax: syntax || options.TransferSyntaxUID || "",
    mediaClass: textAt(bytes, parsed.elements.x00020002),
    pixels: parsed.elements.x7fe00010,
    floats: parsed.elements.x7fe00008 ?? parsed.elements.x7fe00009,
  };
}

function textAt(bytes, element) {
  if (element === undefined) return "";
  return String.fromCharCode(...bytes.subarray(element.dataOffset, element.dataOffset + element.length)).replace(/[\0 ]+$/, "");
}

function withPreamble(bytes) {
  const out = new Uint8Array(bytes.length + 132);
  out.set([0x44, 0x49, 0x43, 0x4d], 128);
  out.set(bytes, 132);
  return out;
}

/** A deflated file, unpacked, with the transfer syntax that it then has. */
async function inflated(bytes) {
  const end = 144 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(140, true);
  const body = await inflate(bytes.subarray(end), MOST_UNPACKED);
  const out = new Uint8Array(end + body.length);
  out.set(bytes.subarray(0, end));
  const text = String.fromCharCode(...bytes.subarray(0, end));
  const at = text.indexOf(DEFLATED);
  out.fill(0, at + EXPLICIT.length, at + DEFLATED.length);
  out.set(body, end);
  return out;
}

/** Unpack deflated bytes; a zero may make their length even, and a browser refuses what follows the packed data. */
export async function inflate(bytes, most) {
  try {
    return await unpack(bytes, "deflate-raw", most);
  } catch (error) {
    if (bytes.at(-1) !== 0 || error instanceof Damage) throw error;
    return unpack(bytes.subarray(0, -1), "deflate-raw", most);
  }
}

/** Unpack gzip or deflate-raw; more than `most` bytes are damage. */
export async function unpack(bytes, kind, most) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(kind));
  const reader = stream.getReader();
  const parts = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      size += value.length;
      if (size > most) {
        await reader.cancel();
        throw new Damage("it unpacks to far too much");
      }
    }
  } catch (error) {
    if (error instanceof Damage) throw error;
    throw size ? new RangeError("cut short") : new TypeError("damaged");
  }
  const out = new Uint8Array(size);
  let at = 0;
  while (parts.length) {
    const part = parts.shift();
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export const CT_CLASSES = new Set(["2", "2.1", "2.2"].map((tail) => `1.2.840.10008.5.1.4.1.1.${tail}`));

export function isCtImage(file) {
  return CT_CLASSES.has(file.mediaClass) || CT_CLASSES.has(file.data.text("SOPClassUID"));
}
