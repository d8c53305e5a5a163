// Stored values become Hounsfield units with the rescale of each slice; and whose values are none is said.

import { AIR_HU, MOST_VOXELS } from "./grid.js";
import { nameOf } from "./headers.js";
import { damageText, formOf, storedFrames } from "./pixels.js";
import { Damage, NoDecoder, Refusal, byCodePoint, firstFew, fixed, general, grouped, median, rint, seriesRefusal, warning } from "./words.js";

const TISSUE_HU = [-500, 3072];
const MOST_HU = 65535;
const [BODY_HU, COMPARED_PX, LEAST_STEP_HU, MOST_STEP_HU] = [-500, 128, 4, 15];
const { derived, byType, words: WORDS, plainUnits, sharpFrom, numbered, canon, named, sharpWords } = RULES.hounsfield;
export const DERIVED = derived;
const patterns = Object.entries(WORDS).map(([kind, source]) => [kind, new RegExp(source, "iu")]);

export function checkSize(headers, where) {
  const n = headers.reduce((sum, one) => sum + (one.rows || 0) * (one.columns || 0), 0);
  if (n > MOST_VOXELS) {
    throw seriesRefusal({
      where,
      expected: `at most ${MOST_VOXELS} voxels`,
      found: `${n} in ${headers.length} slices of ${headers[0].rows} x ${headers[0].columns}`,
      remedy: "export the original CT series",
    });
  }
}

export function checkRescale(headers, where) {
  const others = [...new Set(headers.map((one) => one.rescaleType))].filter((one) => one !== "" && one !== "HU").sort(byCodePoint).join(", ");
  return others ? [warning("rescale-type", `Rescale Type is ${others}, not HU: the values may not be Hounsfield units`, where)] : [];
}

/** A warning about slices whose scale differs from that of their neighbours, and their values too. */
export function checkScales(slices, scales, hu, shape, where) {
  if (new Set(scales).size < 2) return [];
  const [n, rows, columns] = shape;
  const step = Math.max(1, Math.floor(Math.max(rows, columns) / COMPARED_PX));
  const steps = Array.from({ length: n - 1 }, (_, i) => stepHu(hu, i, rows, columns, step));
  const alike = steps.filter((_, i) => scales[i] === scales[i + 1]);
  const most = alike.length ? Math.max(LEAST_STEP_HU, 2 * Math.max(...alike)) : MOST_STEP_HU;
  const counts = grouped(scales, (one) => one);
  const count = (i) => counts.get(scales[i]).length;
  const odd = new Set(steps.map((_, i) => i).filter((i) => scales[i] !== scales[i + 1] && steps[i] > most).map((i) => (count(i) <= count(i + 1) ? i : i + 1)));
  if (!odd.size) return [];
  const listed = firstFew([...odd].sort((a, b) => a - b).map((i) => nameOf(slices[i])));
  const worst = Math.max(...steps.filter((_, i) => odd.has(i) || odd.has(i + 1)));
  const text = `${listed}: another rescale or number of bits than in neighboring slices, and values up to ${fixed(worst, 0)} HU away from theirs; one of them is damaged`;
  return [warning("slice-scale", text, where)];
}

function stepHu(hu, index, rows, columns, step) {
  const base = index * rows * columns;
  const apart = [];
  for (let r = 0; r < rows; r += step) for (let c = 0; c < columns; c += step) {
    const at = base + r * columns + c;
    const [one, two] = [hu[at], hu[at + rows * columns]];
    if (Math.max(one, two) > BODY_HU) apart.push(two - one);
  }
  return apart.length ? Math.abs(median(apart)) : 0;
}

/** Write the HU of slices of one file: `frames` are [header, Int16Array to fill]. */
export async function readHu(file, frames, where) {
  let one = frames[0][0];
  try {
    const form = formOf(file.data);
    let at = 0;
    for await (const stored of storedFrames(file, form, frames.map(([header]) => header.frame))) {
      let out;
      [one, out] = frames[at];
      at += 1;
      fillHu(stored, form, one.slope || 1, one.intercept || 0, out);
    }
  } catch (error) {
    if (error instanceof Refusal) throw error;
    if (error instanceof TooHigh) {
      throw seriesRefusal({
        where,
        expected: `HU of 16 bits in ${nameOf(one)}`,
        found: `${error.message} (slope ${general(one.slope)}, intercept ${general(one.intercept)})`,
        remedy: "send the series again; if it stays so, its rescale is wrong",
      });
    }
    throw seriesRefusal({
      where,
      expected: `decodable pixel data in ${nameOf(one)}`,
      found: damageText(file.syntax, error),
      remedy: error instanceof NoDecoder ? "export the series uncompressed" : "send the series again",
    });
  }
}

class TooHigh extends Error {}

/** HU = stored value * slope + intercept, rounded, with padding as air. */
function fillHu(stored, form, slope, intercept, out) {
  let padded = null;
  const outside = form.padding !== null && (form.padding[0] < form.limits[0] || form.padding[1] > form.limits[1]);
  if (outside) padded = inRange(stored, form.padding);
  const values = masked(stored, form);
  if (padded === null && form.padding !== null) {
    const paddingHu = form.padding.map((value) => value * slope + intercept);
    if (Math.max(...paddingHu) > AIR_HU) {
      padded = inRange(values, form.padding);
      if (paddingHu.some((hu) => TISSUE_HU[0] < hu && hu < TISSUE_HU[1])) fromTheSides(padded, form);
    }
  }
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i += 1) {
    if (values[i] < low) low = values[i];
    if (values[i] > high) high = values[i];
  }
  const shift = Math.trunc(intercept);
  if (slope === 1 && intercept === shift && form.bitsAllocated === 16 && low + shift >= -32768 && high + shift <= 32767 && Math.abs(shift) <= 32767) {
    for (let i = 0; i < out.length; i += 1) out[i] = values[i] + shift;
  } else {
    let highest = -Infinity;
    for (let i = 0; i < out.length; i += 1) {
      const hu = padded !== null && padded[i] ? AIR_HU : values[i] * slope + intercept;
      if (hu > highest) highest = hu;
      out[i] = Math.min(Math.max(rint(hu), AIR_HU), 32767);
    }
    if (!(highest <= MOST_HU)) throw new TooHigh(general(highest));
  }
  if (padded !== null) for (let i = 0; i < out.length; i += 1) if (padded[i]) out[i] = AIR_HU;
}

function inRange(values, [low, high]) {
  const found = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i += 1) found[i] = values[i] >= low && values[i] <= high ? 1 : 0;
  return found;
}

/** Keep padding that reaches the left or right end of its row without a gap: inside the scan circle 0 may be water. */
function fromTheSides(padded, { rows, columns }) {
  for (let r = 0; r < rows; r += 1) {
    const row = padded.subarray(r * columns, (r + 1) * columns);
    let [left, right] = [0, columns];
    while (left < columns && row[left]) left += 1;
    while (right > left && row[right - 1]) right -= 1;
    row.fill(0, left, right);
  }
}

/** The bits that belong to the value: bits above may hold overlays or the sign. Source: DICOM PS3.5 8.1.1. */
function masked(stored, form) {
  const size = stored.BYTES_PER_ELEMENT * 8;
  const unused = size - form.bitsStored;
  const aligned = form.highBit === form.bitsStored - 1;
  if (unused === 0 || (aligned && stored.every((value) => value >= form.limits[0] && value <= form.limits[1]))) return stored;
  const [up, down] = [32 - 1 - form.highBit, 32 - form.bitsStored];
  return stored.map((value) => (form.signed ? (value << up) >> down : (value << up) >>> down));
}

export function derivedKind(one, description = "") {
  const kind = one.imageType.slice(2).map((word) => byType[word.toUpperCase().trim()]).find(Boolean) ?? "";
  if (!kind && one.bitsAllocated === 8) return "eight-bit";
  const said = kind || (patterns.find(([, pattern]) => pattern.test(description.replaceAll("_", " ")))?.[0] ?? "");
  return said || (plainUnits.includes(one.rescaleType.trim().toUpperCase()) ? "" : "not-hu");
}

/** A kernel that sharpens: for bone or lung. */
export function isSharp(kernel, description = "") {
  if (!kernel.trim()) return new RegExp(sharpWords, "iu").test(description.replaceAll("_", " "));
  const first = kernel.replaceAll("\\", " ").trim();
  const isCanon = new RegExp(canon, "iu").test(first);
  if (isCanon || first.toUpperCase().startsWith("FC")) return isCanon;
  const number = new RegExp(numbered, "u").exec(first);
  return number ? Number(number[1]) >= sharpFrom : new RegExp(named, "iu").test(first);
}

/** What turns the stored values of a slice into HU. */
export function scaleOf(header, data) {
  const form = formOf(data);
  return [header.slope, header.intercept, header.photometric, form.bitsStored, form.highBit, form.signed, form.padding].map(String).join("|");
}

