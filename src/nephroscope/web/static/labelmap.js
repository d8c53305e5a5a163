// NIfTI label maps: the tumor and the organs that they hold, as masks on the CT.

import { countOf, fitToCt } from "./fit.js";
import { canonicalGrid } from "./grid.js";
import { readStored } from "./nifti.js";
import { KITS, checkChoice, chooseSegment, organOf, refusalOf } from "./segments.js";
import { Refusal, damageWords, firstFew, general, note, quoted, rint, roiRefusal } from "./words.js";

const [MOST_ROI_VOXELS, LEAST_BOUND, FINER] = [2 ** 29, 2 ** 25, 8];
const NEARLY_WHOLE = 1e-3;

/** How many voxels an ROI of this CT may have: it may be drawn twice as fine in each direction. */
export const mostVoxels = (ct) => Math.min(MOST_ROI_VOXELS, Math.max(LEAST_BOUND, FINER * ct.shape[0] * ct.shape[1] * ct.shape[2]));

/** A NIfTI label map: {stored, values, segments, names}. */
export async function openLabelMap(file, where, most) {
  let stored;
  try {
    stored = await readStored(file, most);
    if (stored.scaled) {
      const { slope, shift } = stored;
      stored.values = Float64Array.from(stored.values, (value) => value * slope + shift);
    }
    return { ...stored, ...wholeNumbers(stored, file.name), named: namedValues(stored.start) };
  } catch (error) {
    if (error instanceof Refusal) throw error.asKind("roi", where);
    throw roiRefusal({ where, expected: "a whole NIfTI label map", found: `a file that is cut short or of another kind (${damageWords(error)})`, remedy: "export it again" });
  }
}

function namedValues(start) {
  const text = new TextDecoder("utf-8").decode(start);
  const found = text.matchAll(/<Label\b[^>]*\bKey="(\d{1,5})"[^>]*>(?:<!\[CDATA\[)?\s*([^<\]]{1,80})/g);
  return Array.from(found, (match) => ({ number: Number(match[1]), name: match[2].trim(), meanings: [], codes: [] }));
}

/** Labels are whole numbers; a note where scaling or rounding by another program had moved them. */
function wholeNumbers({ values, findings }, name) {
  if (!(values instanceof Float32Array || values instanceof Float64Array)) return { values, findings };
  const whole = new Int32Array(values.length);
  let most = 0;
  for (let i = 0; i < values.length; i += 1) {
    whole[i] = rint(values[i]);
    const off = Math.abs(values[i] - whole[i]);
    if (!(off <= NEARLY_WHOLE)) {
      throw roiRefusal({
        where: `file ${name}`, expected: "a label map of whole numbers", found: "fractions or values that are not a number",
        remedy: "export labels, not probabilities or a CT, and resample them with nearest neighbor",
      });
    }
    most = Math.max(most, off);
  }
  const text = `labels lie up to ${general(most, 1)} off whole numbers; they were rounded`;
  return { values: whole, findings: most ? [...findings, note("roi-labels-rounded", text, name)] : findings };
}

export function labelsIn(values) {
  const found = new Set();
  let last = 0;
  for (let i = 0; i < values.length; i += 1) if (values[i] !== last) { last = values[i]; found.add(last); }
  found.delete(0);
  return [...found].sort((a, b) => a - b);
}

export async function readLabelMap(file, volume, query) {
  const map = await openLabelMap(file, query.where, mostVoxels(volume.geometry));
  const labels = labelsIn(map.values);
  const valuesIn = firstFew([...new Set([0, ...labels])].sort((a, b) => a - b), 12);
  if (query.name.trim() && !map.named.length) {
    throw refusalOf(query, `a label called ${quoted(query.name)}`, `only labels without names: ${valuesIn}`,
      "give the number of the label as --tumor-label, without --tumor-name");
  }
  const known = new Set(map.named.map((one) => one.number));
  const segments = [...map.named, ...labels.filter((value) => !known.has(value)).map((number) => ({ number, name: "", meanings: [], codes: [] }))];
  const missing = (number) => refusalOf(query, `the tumor label ${number}`, `only the values ${valuesIn}`, "give the label of the tumor as --tumor-label");
  const numbers = new Set(segments.map((one) => one.number));
  if (!numbers.size || ((query.exact || query.label !== 1) && !map.named.length && !numbers.has(query.label))) throw missing(query.label);
  const chosen = chooseSegment(segments, query);
  const mask = maskOf(map, chosen.number);
  if (!countOf(mask.voxels)) throw missing(chosen.number);
  if (map.findings.some((one) => one.code === "orientation-unknown") && !canonicalGrid(map.shape, map.affine).matches(volume.geometry)) {
    throw refusalOf(query, "a header with the position of the voxels", "none", "export the ROI again with its orientation (sform or qform)");
  }
  const doubts = [...checkChoice(segments, chosen, query), ...map.findings.map((one) => ({ ...one, where: query.where, case_id: query.caseId }))];
  const fitted = fitToCt(mask, volume.geometry, query);
  return { voxels: fitted.voxels, findings: [...doubts, ...fitted.findings] };
}

export function maskOf(map, value) {
  const voxels = new Uint8Array(map.values.length);
  for (let i = 0; i < voxels.length; i += 1) voxels[i] = map.values[i] === value ? 1 : 0;
  return { voxels, shape: map.shape, strides: [1, map.shape[0], map.shape[0] * map.shape[1]], affine: map.affine };
}

export async function organMaps(opened, volume, label) {
  const map = await openLabelMap(opened.file, opened.where, mostVoxels(volume.geometry));
  if (!map.named.length && KITS[label] !== "tumor") return [];
  if (map.named.length) {
    const named = map.named.map((one) => [organOf(one), one]).filter(([organ]) => organ);
    return named.map(([organ, { number }]) => [organ, maskOf(map, number)]);
  }
  const labels = labelsIn(map.values);
  return labels.every((value) => value in KITS) ? labels.map((value) => [KITS[value], maskOf(map, value)]) : [];
}
