// ROI files: DICOM SEG and NIfTI label maps become tumor voxels on the CT. Other kinds are refused by their name.

import { RLE, canDecode, decodeFrame, syntaxName, unpackBits } from "./codecs.js";
import { NATIVE, functionalGroup, inflate, isDicom, parseDicom } from "./dicom.js";
import { countOf, fitToCt, gaps } from "./fit.js";
import { GRID_TOLERANCE_MM, MOST_VOXELS, apply, columnOf, cross, describe, dot, inverse, multiply, norm } from "./grid.js";
import { mostVoxels, organMaps, readLabelMap } from "./labelmap.js";
import { isNifti, shortDigest } from "./nifti.js";
import { checkChoice, chooseSegment, findingOf, organOf, originFindings, refusalOf, tumorQuery } from "./segments.js";
import { bytesOf } from "./series.js";
import { Damage, Refusal, damageWords, fixed, general, rint, roiRefusal, roundTo, safeName } from "./words.js";

const [UNEVEN, THICKER] = [0.1, 1.5];
const DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1";
const [SEG, RTSTRUCT] = ["SEG", "RTSTRUCT"];

/** An ROI file, opened: {kind, where, file, parsed?, modality?}. */
export async function openRoi(file, caseId = "") {
  const where = `${caseId ? `case ${caseId}, ` : ""}ROI ${safeName(file, caseId)}`;
  const bytes = await bytesOf(file);
  const begin = (...codes) => codes.every((code, i) => bytes[i] === code);
  let other = "a file of another kind";
  if (isDicom(bytes)) return openDicom(file, bytes, where, caseId);
  if (isNifti(bytes)) return { kind: "nifti", where, file, caseId };
  if (begin(0x89, 0x50, 0x4e, 0x47)) other = "a PNG mask, which this page does not read";
  if (begin(0xff, 0xd8, 0xff)) other = "jpeg";
  if (begin(0x4e, 0x52, 0x52, 0x44)) other = "NRRD, which this page does not read";
  throw roiRefusal({
    where, expected: "a DICOM SEG or a NIfTI label map", found: other,
    remedy: "use `nephroscope predict`, export the ROI in one of these formats, or draw it here",
  });
}

async function openDicom(file, bytes, where, caseId) {
  let parsed;
  try {
    parsed = await parseDicom(bytes, true);
  } catch (error) {
    throw damaged(where, error);
  }
  const modality = parsed.data.text("Modality") || "unknown";
  if (modality === RTSTRUCT) {
    throw roiRefusal({
      where, expected: "a DICOM SEG or a NIfTI label map", found: "an RTSTRUCT, which this page does not read",
      remedy: "use `nephroscope predict`, or export the contours as a SEG or a label map",
    });
  }
  if (modality !== SEG) {
    throw roiRefusal({ where, expected: "a DICOM SEG or RTSTRUCT", found: `DICOM of modality ${modality}`, remedy: "give the segmentation, not the image" });
  }
  return { kind: "seg", where, file, parsed, caseId };
}

function damaged(where, error) {
  return roiRefusal({
    where, expected: "a whole DICOM SEG or RTSTRUCT", found: `one that cannot be read: ${damageWords(error)}`,
    remedy: "copy it again; if that does not help, export the ROI as a label map (NIfTI or NRRD)",
  });
}

/** {voxels, findings, geometry, caseId}: the tumor on the grid of a CT. */
export async function placeRoi(opened, volume, asked = {}) {
  const query = tumorQuery(opened.caseId, opened.where, asked.label ?? 1, asked.name ?? "");
  if (volume.seriesUid.startsWith("nifti-") && volume.seriesUid === `nifti-${await shortDigest(await bytesOf(opened.file))}`) {
    throw refusalOf(query, "an ROI drawn on the image", "the image itself, or a copy of it", "give the file of the ROI");
  }
  const { voxels, findings } = opened.kind === "seg" ? await readSeg(opened.parsed, volume, query) : await readLabelMap(opened.file, volume, query);
  return roiMask(voxels, volume.geometry, opened.caseId, findings);
}

export function roiMask(voxels, geometry, caseId, findings = []) {
  if (!countOf(voxels)) {
    throw roiRefusal({ where: `case ${caseId}`, expected: "an ROI with at least one tumor voxel", found: "none", remedy: "redraw it, choose another label, or leave the case out" });
  }
  return { voxels, geometry, caseId, findings };
}

export const segSeries = ({ data }) => data.items("ReferencedSeriesSequence").map((item) => item.text("SeriesInstanceUID"));

function segmentsOf(data) {
  return data.items("SegmentSequence").map((item) => {
    const kinds = item.items("SegmentedPropertyTypeCodeSequence");
    return {
      number: item.short("SegmentNumber"), name: item.decoded("SegmentLabel"), meanings: kinds.map((kind) => kind.decoded("CodeMeaning")),
      codes: kinds.map((kind) => kind.text("CodeValue")),
    };
  }).filter((one) => one.number !== 0);
}

async function readSeg(parsed, volume, query) {
  try {
    const findings = [...checkSeries(parsed, volume, query), ...checkFrameOf(parsed.data.text("FrameOfReferenceUID"), volume, query)];
    const segments = segmentsOf(parsed.data);
    const chosen = chooseSegment(segments, query);
    findings.push(...checkChoice(segments, chosen, query));
    const placed = await segmentOnCt(parsed, chosen.number, volume.geometry, query);
    return { voxels: placed.voxels, findings: [...findings, ...placed.findings, ...originFindings(parsed.data, chosen.number, query.caseId)] };
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw damaged(query.where, error);
  }
}

async function segmentOnCt(parsed, number, ct, query) {
  const { data } = parsed;
  const frames = await framesOf(parsed, number, query, mostVoxels(ct));
  const voxels = new Uint8Array(ct.shape[0] * ct.shape[1] * ct.shape[2]);
  const outside = frames.map((frame) => place(frame, voxels, ct));
  if (outside.includes(null) || areThicker(frames, data, ct)) return fitToCt(stackFrames(frames, data, onGrid(ct), query), ct, query);
  const n = outside.reduce((sum, one) => sum + one, 0);
  const inside = countOf(voxels);
  if (n && !inside) throw offGrid(frames[0], onGrid(ct), query);
  const findings = [];
  if (n) findings.push(findingOf(query, "roi-outside", `${n} voxels of ${n + inside} lie outside the CT and were left out`));
  else if (frames.some((frame) => reachesOut(frame, ct))) {
    findings.push(findingOf(query, "roi-resampled", `its frames of ${data.short("Rows")} x ${data.short("Columns")} reach out of the CT, ${describe(ct)}: compare`));
  }
  return { voxels, findings: [...findings, ...gaps(voxels, ct.shape, query)] };
}

function checkSeries(parsed, volume, query) {
  if (!/^\d/.test(volume.seriesUid)) return [];
  const uids = segSeries(parsed);
  if (!uids.length) return [findingOf(query, "roi-reference", "it does not name the series on which it was drawn; it was accepted because it lies on this CT")];
  if (uids.includes(volume.seriesUid)) return [];
  if (imagesOf(parsed.data).some((uid) => volume.imageUids.has(uid))) {
    return [findingOf(query, "roi-reference", `it names images of this CT, but as images of the series ${uids[0]}`)];
  }
  throw refusalOf(query, `an ROI of series ${volume.seriesUid}`, `an ROI of series ${uids[0]}`, "give the ROI that was drawn on this series");
}

function imagesOf(data) {
  const series = data.items("ReferencedSeriesSequence").flatMap((item) => item.items("ReferencedInstanceSequence"));
  const sources = data.items("PerFrameFunctionalGroupsSequence").flatMap((group) => group.items("DerivationImageSequence")).flatMap((one) => one.items("SourceImageSequence"));
  return [...series, ...sources].map((image) => image.text("ReferencedSOPInstanceUID")).filter(Boolean);
}

function checkFrameOf(uid, volume, query) {
  if (!uid || !volume.frameUid || uid === volume.frameUid) return [];
  return [findingOf(query, "roi-frame-differs", `it was drawn in the frame of reference ${uid}, and the CT lies in ${volume.frameUid}: compare in a viewer`)];
}

/** Frames of one segment that are not empty: {pixels, rows, columns, affine} with the affine from (row, column, 0) to LPS mm. */
async function framesOf(parsed, number, query, most) {
  const { data } = parsed;
  const kind = data.text("SegmentationType");
  const shared = data.item("SharedFunctionalGroupsSequence");
  const groups = data.items("PerFrameFunctionalGroupsSequence");
  const stored = data.integer("NumberOfFrames") || 1;
  if (groups.length !== stored) throw new Damage(`${groups.length} frames described, ${data.text("NumberOfFrames") || "None"} stored`);
  const described = new Set(data.items("SegmentSequence").map((item) => item.short("SegmentNumber")));
  const labels = kind === "LABELMAP";
  if (labels) described.add(0);
  const segmentOf = (group) => {
    const item = functionalGroup(group, shared, "SegmentIdentificationSequence");
    if (item === null) throw new Damage("its content is damaged");
    return item.short("ReferencedSegmentNumber");
  };
  const ofFrames = groups.map((group) => (labels ? number : segmentOf(group)));
  const unknown = ofFrames.filter((one) => !described.has(one));
  if (unknown.length) throw new Damage(`frames of segment ${Math.max(...unknown)}, which is not described`);
  checkPlaces(groups, shared, ofFrames);
  const ours = ofFrames.map((_, i) => i).filter((i) => ofFrames[i] === number);
  const [rows, columns] = [data.short("Rows"), data.short("Columns")];
  if (ours.length * rows * columns > most) {
    throw refusalOf(query, `at most ${most} voxels`, `${ours.length} frames of ${rows} x ${columns}`, "export only the segment of the tumor");
  }
  const half = kind === "FRACTIONAL" ? data.short("MaximumFractionalValue") / 2 : 0;
  const found = [];
  const pixels = await storedFrames(parsed, ours, rows, columns, stored);
  pixels.forEach((values, at) => {
    const frame = new Uint8Array(values.length);
    for (let i = 0; i < frame.length; i += 1) {
      const value = values[i];
      if (labels && value !== 0 && !described.has(value)) throw new Damage("pixels of a segment that is not described");
      if (labels ? value === number : value > half) frame[i] = 1;
    }
    if (frame.indexOf(1) >= 0) found.push({ pixels: frame, rows, columns, affine: frameAffine(groups[ours[at]], shared) });
  });
  return found;
}

function checkPlaces(groups, shared, ofFrames) {
  const places = groups.map((group, i) => {
    const position = functionalGroup(group, shared, "PlanePositionSequence");
    return position === null ? null : `${ofFrames[i]} ${(position.numbers("ImagePositionPatient", 3) ?? []).map((mm) => roundTo(mm, 2))}`;
  }).filter((one) => one !== null);
  const n = new Set(places).size;
  if (n < places.length) throw new Damage(`${places.length} frames at ${n} places`);
}

async function storedFrames({ data, bytes, syntax, pixels }, indices, rows, columns, n) {
  const bits = data.short("BitsAllocated");
  if (![1, 8, 16].includes(bits) || !syntax) throw new Damage(syntax ? `pixels of ${bits} bits` : "no transfer syntax");
  if (pixels === undefined) throw new Damage("no PixelData");
  const size = rows * columns;
  const native = NATIVE.has(syntax);
  if (native) {
    const expected = Math.floor((n * size * bits + 7) / 8);
    if (pixels.length < expected || pixels.length > expected + 1) throw new Damage(`${pixels.length} bytes of pixels, not the ${expected} of ${n} frames of ${rows} x ${columns}`);
    const all = bytes.subarray(pixels.dataOffset, pixels.dataOffset + pixels.length);
    return indices.map((index) => nativeFrame(all, index * size, size, bits));
  }
  const fragments = (pixels.fragments ?? []).map((one) => bytes.slice(one.position, one.position + one.length));
  if (fragments.length !== n) throw new Damage(`${fragments.length} frames stored, ${n} described`);
  const form = { rows, columns, bitsAllocated: bits, signed: data.short("PixelRepresentation") === 1 };
  const out = [];
  for (const index of indices) {
    if (syntax === DEFLATED_FRAMES || (syntax === RLE && bits === 1)) {
      out.push(nativeFrame(await unpacked(fragments[index], syntax, (size * bits + 7) >> 3), 0, size, bits));
    } else if (canDecode(syntax) && bits !== 1) {
      out.push(await decodeFrame(fragments[index], syntax, form));
    } else {
      throw new Damage(`frames in ${syntaxName(syntax)}, for which there is no decoder here; export it uncompressed`);
    }
  }
  return out;
}

async function unpacked(frame, syntax, n) {
  if (syntax === DEFLATED_FRAMES) return inflate(frame, n + 2);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const [segments, start] = [view.getUint32(0, true), view.getUint32(4, true)];
  if (segments !== 1 || start < 64 || start >= frame.length) throw new Damage(`${segments} segments for pixels of one bit`);
  return unpackBits(frame.subarray(start), n + 2);
}

function nativeFrame(bytes, start, size, bits) {
  const out = new Uint16Array(size);
  for (let i = 0; i < size; i += 1) {
    const at = start + i;
    out[i] = bits === 1 ? (bytes[at >> 3] >> (at & 7)) & 1 : bits === 8 ? bytes[at] : bytes[2 * at] | (bytes[2 * at + 1] << 8);
  }
  return out;
}

function frameAffine(group, shared) {
  const [position, orientation, measures] = ["PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"].map((name) => functionalGroup(group, shared, name));
  if (!position || !orientation || !measures) throw new Damage("frames that do not say where they lie (position, orientation and pixel spacing)");
  const [at, cosines, spacing] = [position.numbers("ImagePositionPatient", 3), orientation.numbers("ImageOrientationPatient", 6), measures.numbers("PixelSpacing", 2)];
  const lengths = cosines === null ? [0] : [norm(cosines.slice(0, 3)), norm(cosines.slice(3))];
  if (!at || !spacing || lengths.some((one) => Math.abs(one - 1) > 0.01) || Math.min(...spacing) <= 0) {
    throw new Damage("a frame without a usable position, orientation or pixel spacing");
  }
  return [...[0, 1, 2].map((i) => [cosines[3 + i] * spacing[0], cosines[i] * spacing[1], 0, at[i]]), [0, 0, 0, 1]];
}

/** Set the CT voxels under a frame; how many lie outside the CT, or null when it is off the grid. */
function place(frame, voxels, ct) {
  const toIndex = multiply(inverse(ct.affine), frame.affine);
  const [last, end] = [frame.rows - 1, frame.columns - 1];
  for (const corner of [[0, 0, 0], [0, end, 0], [last, 0, 0], [last, end, 0]]) {
    if (apply(toIndex, corner).some((value, axis) => Math.abs(value - rint(value)) * ct.spacing[axis] > GRID_TOLERANCE_MM)) return null;
  }
  for (const j of [0, 1]) if (Math.abs(Math.max(...columnOf(toIndex, j).map(Math.abs)) - 1) > 0.01) return null;
  let outside = 0;
  for (let i = frame.pixels.indexOf(1); i >= 0; i = frame.pixels.indexOf(1, i + 1)) {
    const [r, c] = [Math.floor(i / frame.columns), i % frame.columns];
    const index = apply(toIndex, [r, c, 0]).map(rint);
    if (index.every((value, axis) => value >= 0 && value < ct.shape[axis])) voxels[(index[0] * ct.shape[1] + index[1]) * ct.shape[2] + index[2]] = 1;
    else outside += 1;
  }
  return outside;
}

function reachesOut(frame, ct) {
  const toIndex = multiply(inverse(ct.affine), frame.affine);
  return [[0, 0], [0, frame.columns - 1], [frame.rows - 1, 0], [frame.rows - 1, frame.columns - 1]].some(([r, c]) => apply(toIndex, [r, c, 0])
    .some((value, axis) => value < -0.5 || value > ct.shape[axis] - 0.5));
}

function alongNormal(frames) {
  const first = frames[0].affine;
  const unit = (j) => columnOf(first, j).map((value) => value / norm(columnOf(first, j)));
  const away = frames.map(({ affine }) => columnOf(affine, 3).map((mm, i) => mm - first[i][3]));
  return [cross(unit(1), unit(0)), away];
}

function stackFrames(frames, data, expected, query) {
  const first = frames[0];
  const [normal, away] = alongNormal(frames);
  let heights = away.map((one) => dot(one, normal));
  const aside = Math.max(...away.map((one, f) => Math.max(...one.map((mm, i) => Math.abs(mm - heights[f] * normal[i])))));
  const turned = Math.max(...frames.map(({ affine }) => Math.max(...[0, 1, 2].flatMap((i) => [0, 1].map((j) => Math.abs(affine[i][j] - first.affine[i][j]))))));
  const lowest = Math.min(...heights);
  heights = heights.map((mm) => mm - lowest);
  const step = stepMm(data, heights);
  const steps = heights.map((mm) => mm / step);
  const off = Math.max(...steps.map((one) => Math.abs(one - rint(one)))) * step;
  const shape = [rint(Math.max(...steps)) + 1, first.rows, first.columns];
  if (off > UNEVEN * step || aside > 2 * GRID_TOLERANCE_MM || turned > 1e-3 || shape[0] * shape[1] * shape[2] > MOST_VOXELS) throw offGrid(first, expected, query);
  const voxels = new Uint8Array(shape[0] * shape[1] * shape[2]);
  frames.forEach(({ pixels }, f) => {
    const base = rint(steps[f]) * shape[1] * shape[2];
    pixels.forEach((value, i) => { if (value) voxels[base + i] = 1; });
  });
  const affine = [...[0, 1, 2].map((i) => [normal[i] * step, first.affine[i][0], first.affine[i][1], first.affine[i][3] + lowest * normal[i]]), [0, 0, 0, 1]];
  return { voxels, shape, affine };
}

const multiples = (found, step) => found.every((gap) => Math.abs(gap / step - rint(gap / step)) <= UNEVEN);
const gapsOf = (heights) => { const unique = [...new Set(heights.map((mm) => roundTo(mm, 3)))].sort((a, b) => a - b); return unique.slice(1).map((mm, i) => mm - unique[i]); };

function declared(data) {
  const measures = functionalGroup(data.items("PerFrameFunctionalGroupsSequence")[0], data.item("SharedFunctionalGroupsSequence"), "PixelMeasuresSequence");
  return ["SpacingBetweenSlices", "SliceThickness"].map((name) => measures?.number(name) ?? 0).filter((mm) => mm > 0);
}

function areThicker(frames, data, ct) {
  if (!frames.length) return false;
  const [normal, away] = alongNormal(frames);
  const found = gapsOf(away.map((one) => dot(one, normal)));
  const step = declared(data)[0] ?? 0;
  const inv = inverse(ct.affine);
  const n = step * Math.max(...[0, 1, 2].map((i) => Math.abs(dot(inv[i], normal))));
  return n > THICKER && found.length > 0 && multiples(found, step);
}

function stepMm(data, heights) {
  const found = gapsOf(heights);
  const said = declared(data).find((step) => multiples(found, step));
  if (said !== undefined) return said;
  if (!found.length) throw new Damage("one frame without a thickness");
  return Math.min(...found);
}

const onGrid = (ct) => `frames on the grid of the CT, ${describe(ct)}, or on an even grid that meets it`;

function offGrid(frame, expected, query) {
  const at = columnOf(frame.affine, 3).map((mm) => fixed(mm, 1)).join(", ");
  const spacing = [0, 1].map((j) => general(norm(columnOf(frame.affine, j)), 4)).join(" x ");
  return refusalOf(query, expected, `a frame of ${frame.rows} x ${frame.columns} pixels of ${spacing} mm from (${at})`,
    "draw the ROI on this series, or export it on the grid of the CT");
}

/** Organs that the ROI file itself names, on the CT's grid, by name; empty where it holds no kidney. */
export async function organsIn(opened, volume, label = 1) {
  const query = { ...tumorQuery(opened.caseId, opened.where, label), exact: true };
  const found = new Map();
  const add = (name, voxels) => {
    if (!countOf(voxels)) return;
    const known = found.get(name);
    found.set(name, known ? known.map((value, i) => value | voxels[i]) : voxels);
  };
  try {
    if (opened.kind === "seg") {
      const named = segmentsOf(opened.parsed.data).map((one) => [organOf(one), one]).filter(([organ]) => organ);
      if (!named.some(([organ]) => organ.startsWith("kidney"))) return {};
      for (const [organ, { number }] of named) add(organ, (await segmentOnCt(opened.parsed, number, volume.geometry, query)).voxels);
    } else {
      for (const [organ, mask] of await organMaps(opened, volume, label)) add(organ, fitToCt(mask, volume.geometry, query).voxels);
    }
  } catch (error) {
    if (error instanceof Refusal || error instanceof Damage) return {};
    throw error;
  }
  const sides = ["kidney_left", "kidney_right", "kidney"].filter((name) => found.has(name)).map((name) => found.get(name));
  if (sides.length) found.set("kidney", sides.reduce((all, one) => (all === one ? all : all.map((value, i) => value | one[i]))));
  return Object.fromEntries(found);
}
