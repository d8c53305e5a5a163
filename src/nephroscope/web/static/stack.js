// Slices form an even stack, or a refusal says why not; and they are the whole series.

import { checkVoxel, cross, dot, identity, norm } from "./grid.js";
import { isLocalizer, nameOf, tailOf } from "./headers.js";
import { counted, fixed, general, grouped, median, note, rint, roundTo, seriesRefusal, warning } from "./words.js";

export const SPACING_TOLERANCE_MM = 0.1;
const [PLACE_TOLERANCE_MM, SAME_PLACE_MM, STEP_TOLERANCE] = [0.2, 0.01, 0.02];
const ORIENTATION_TOLERANCE = 1e-3;
const TILT_TOLERANCE = 2e-3;
const OBLIQUE = 0.7;
const [LISTED_GAPS, LEAST_STEPS] = [3, 3];
const WORDS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

const numbers = (values) => (values ?? []).map((value) => general(value)).join(", ");
const refuse = (where, expected, found, remedy) => seriesRefusal({ where, expected, found, remedy });

/** {order, affine, findings} of an even stack: positions of the headers along the normal, scouts left out. */
export function stackOf(headers, where) {
  const { kept, findings } = withoutScouts(headers, where);
  let slices = kept.map((index) => headers[index]);
  checkComplete(slices, where);
  checkAlike(slices, where);
  const [alongRow, alongColumn] = cosines(slices[0], where);
  const normal = cross(alongRow, alongColumn);
  const order = slices.map((_, index) => index).sort((a, b) => dot(slices[a].position, normal) - dot(slices[b].position, normal) || a - b);
  slices = order.map((index) => slices[index]);
  const places = slices.map((one) => one.position);
  const affine = identity();
  let step;
  if (slices.length === 1) {
    checkSingle(slices[0], normal, where);
    const thickness = Math.abs(slices[0].thickness || 0);
    step = normal.map((value) => (thickness || 1) * value);
    findings.push(thickness
      ? note("single-slice", `only one slice; ${general(thickness)} mm is used as its thickness`, where)
      : warning("single-slice", "only one slice, of unknown thickness; 1 mm is assumed, so volumes are wrong", where));
  } else {
    checkEven(slices, places, normal, where);
    step = places.at(-1).map((mm, i) => (mm - places[0][i]) / (places.length - 1));
    findings.push(...checkStep(slices, norm(step), where));
  }
  const [rowMm, colMm] = slices[0].pixelSpacing;
  for (let i = 0; i < 3; i += 1) { // Source: DICOM PS3.3 C.7.6.2.1.1.
    affine[i] = [step[i], alongColumn[i] * rowMm, alongRow[i] * colMm, places[0][i]];
  }
  checkVoxel(where, affine);
  return { order: order.map((index) => kept[index]), affine, findings };
}

function withoutScouts(headers, where) {
  const kept = headers.map((_, index) => index).filter((index) => !isLocalizer(headers[index]));
  if (!kept.length) throw refuse(where, "axial slices", `a scout (Image Type LOCALIZER, ${headers.length} of ${headers.length} images)`, "give the CT series itself");
  if (kept.length === headers.length) return { kept, findings: [] };
  let text = `${headers.length - kept.length} scout images of the series were left out`;
  const like = headers[kept[0]];
  const alike = (one) => String(one.orientation) === String(like.orientation) && one.rows === like.rows && one.columns === like.columns;
  if (headers.some((one) => isLocalizer(one) && alike(one))) {
    text += ", of which some have the size and orientation of its slices: they may be slices";
    return { kept, findings: [warning("scout-in-series", text, where)] };
  }
  return { kept, findings: [note("scout-in-series", text, where)] };
}

function checkComplete(slices, where) {
  for (const [name, field] of [
    ["Rows", "rows"], ["Columns", "columns"], ["ImagePositionPatient", "position"], ["ImageOrientationPatient", "orientation"], ["PixelSpacing", "pixelSpacing"],
    ["RescaleSlope", "slope"], ["RescaleIntercept", "intercept"],
  ]) {
    const lacking = slices.filter((one) => one[field] === null);
    if (lacking.length) {
      throw refuse(where, `${name} in every slice`, `none in ${lacking.length} of ${slices.length}, first in ${nameOf(lacking[0])}`,
        "export the original CT series, one file per slice");
    }
  }
  for (const one of slices) {
    if (one.samples !== 1 || !["", "MONOCHROME1", "MONOCHROME2"].includes(one.photometric)) {
      throw refuse(where, `gray pixels (MONOCHROME1 or MONOCHROME2) in ${nameOf(one)}`,
        `${one.photometric || "pixels"} with ${one.samples} values per pixel`, "export the original CT images");
    }
    if (one.slope <= 0 || Math.min(...one.pixelSpacing) <= 0 || !one.rows || !one.columns) {
      throw refuse(where, `rows, columns, pixel spacing and rescale slope above 0 in ${nameOf(one)}`,
        `${one.rows} x ${one.columns}, ${numbers(one.pixelSpacing)} mm, slope ${general(one.slope)}`, "export the original CT series");
    }
  }
}

function checkAlike(slices, where) {
  const list = (value) => (Array.isArray(value) ? value : [value]);
  const apart = (a, b) => Math.max(...a.map((value, i) => Math.abs(value - b[i])));
  for (const [name, field, tolerance] of [
    ["Rows", "rows", 0], ["Columns", "columns", 0], ["ImageOrientationPatient", "orientation", ORIENTATION_TOLERANCE], ["PixelSpacing", "pixelSpacing", ORIENTATION_TOLERANCE],
  ]) {
    const values = slices.map((one) => list(one[field]));
    if (!values.some((one) => apart(one, values[0]) > tolerance)) continue;
    const rounded = grouped(values.keys(), (index) => String(values[index].map((value) => roundTo(value, 3))));
    const usual = usualOf(rounded, values);
    const other = values.findIndex((one) => apart(one, values[usual]) > tolerance);
    throw refuse(where, `the same ${name} in all slices, ${numbers(values[usual])} as in ${nameOf(slices[usual])}`,
      `${numbers(values[other])} in ${nameOf(slices[other])}`, "export scout images and reformations as separate series");
  }
}

/** First of the most frequent values; of equally frequent ones the lowest. */
function usualOf(rounded, values) {
  const lists = [...rounded.values()];
  const most = Math.max(...lists.map((one) => one.length));
  const compare = (a, b) => values[a[0]].map((value, i) => roundTo(value, 3) - roundTo(values[b[0]][i], 3)).find((d) => d !== 0) ?? 0;
  return lists.filter((one) => one.length === most).sort(compare)[0][0];
}

function cosines(one, where) {
  const parts = [one.orientation.slice(0, 3), one.orientation.slice(3)];
  const lengths = parts.map(norm);
  if (lengths.some((length) => Math.abs(length - 1) > 0.01) || Math.abs(dot(parts[0], parts[1])) > 0.01) {
    throw refuse(where, "an ImageOrientationPatient of two unit vectors at right angles", `${numbers(one.orientation)} in ${nameOf(one)}`, "export the original CT series");
  }
  return parts.map((part, i) => part.map((value) => value / lengths[i]));
}

function checkSingle(one, normal, where) {
  if (Math.abs(normal[2]) < OBLIQUE) throw refuse(where, "axial slices", `a single image that is not axial, ${nameOf(one)}`, "give the CT series itself");
}

const minus = (a, b) => a.map((value, i) => value - b[i]);

function checkEven(slices, places, normal, where) {
  const steps = places.slice(1).map((place, i) => minus(place, places[i]));
  const gaps = steps.map((step) => dot(step, normal));
  const twice = gaps.map((_, i) => i).filter((i) => gaps[i] < SAME_PLACE_MM);
  if (twice.length) {
    const more = twice.length > 1 ? `, and ${twice.length - 1} more pairs` : "";
    throw refuse(where, "each slice at a different position", `${nameOf(slices[twice[0]])} and ${nameOf(slices[twice[0] + 1])} at the same position${more}`,
      "remove the repeated images, or export the phases as separate series");
  }
  const expected = median(gaps);
  const uneven = gaps.map((_, i) => i).filter((i) => Math.abs(gaps[i] - expected) > Math.min(SPACING_TOLERANCE_MM, expected / 4));
  if (uneven.length) {
    refuseTwoSpacings(slices, gaps, where);
    const listed = uneven.slice(0, LISTED_GAPS).map((i) => gapWords(slices[i], slices[i + 1], gaps[i], expected));
    const more = uneven.length > LISTED_GAPS ? `, and ${uneven.length - LISTED_GAPS} more` : "";
    throw refuse(where, `slices ${general(expected, 4)} mm apart`, listed.join(", ") + more, "send the complete series again, without other series");
  }
  checkStraight(slices, places, normal, steps, gaps, where);
}

function checkStep(slices, stepMm, where) {
  const told = [...new Set(slices.filter((one) => one.step).map((one) => roundTo(Math.abs(one.step), 3)))].sort((a, b) => a - b);
  const off = told.filter((mm) => Math.abs(mm - stepMm) > Math.max(SPACING_TOLERANCE_MM, STEP_TOLERANCE * stepMm));
  if (!off.length) return [];
  const text = `Spacing Between Slices is ${numbers(off)} mm, but positions are ${general(stepMm, 4)} mm apart, which was used`;
  return [warning("spacing-disagrees", text, where)];
}

function refuseTwoSpacings(slices, gaps, where) {
  const changes = gaps.slice(1).map((_, i) => i).filter((i) => Math.abs(gaps[i + 1] - gaps[i]) > SPACING_TOLERANCE_MM);
  if (changes.length !== 1 || Math.min(changes[0] + 1, gaps.length - changes[0] - 1) < LEAST_STEPS) return;
  const turn = changes[0] + 1;
  throw refuse(where, "the same distance between all slices",
    `${general(gaps[0], 4)} mm between ${nameOf(slices[0])} and ${nameOf(slices[turn])}, then ${general(gaps.at(-1), 4)} mm up to ${nameOf(slices.at(-1))}`,
    "export the two parts as separate series, or send the missing slices");
}

function checkStraight(slices, places, normal, steps, gaps, where) {
  const n = places.length;
  const total = gaps.reduce((sum, gap) => sum + gap, 0);
  const aside = minus(minus(places[n - 1], places[0]), normal.map((value) => total * value));
  const tilt = norm(aside) / total;
  if (tilt > TILT_TOLERANCE && norm(aside) > SPACING_TOLERANCE_MM) {
    const shift = Math.max(...steps.map((step, i) => norm(minus(step, normal.map((value) => gaps[i] * value)))));
    throw refuse(where, "slices stacked straight above each other",
      `slices shifted by up to ${general(shift, 3)} mm each: a gantry tilt of ${fixed((Math.atan(tilt) * 180) / Math.PI, 1)} degrees`,
      "export the series corrected for gantry tilt");
  }
  const off = places.map((place, i) => norm(place.map((mm, axis) => mm - (i === n - 1 ? places[n - 1][axis] : places[0][axis] + i * ((places[n - 1][axis] - places[0][axis]) / (n - 1))))));
  const worst = off.indexOf(Math.max(...off));
  if (off[worst] > PLACE_TOLERANCE_MM) {
    throw refuse(where, `slices stacked straight above each other, ${general(median(gaps), 4)} mm apart`,
      `${nameOf(slices[worst])} ${general(off[worst], 3)} mm away from its position`, "send the complete series again, without other series");
  }
}

function gapWords(one, other, gap, expected) {
  const key = (s) => [s.instanceNumber || 0, s.frame || 0];
  const [a, b] = [key(one), key(other)];
  const [first, second] = a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]) ? [other, one] : [one, other];
  const tail = (s) => (s.instanceNumber === null ? nameOf(s) : `${nameOf(s)} (SOP ..${tailOf(s)})`);
  const text = `${general(gap, 4)} mm between ${tail(first)} and ${tail(second)}`;
  const missing = rint(gap / expected) - 1;
  if (missing < 1 || Math.abs(gap - (missing + 1) * expected) > SPACING_TOLERANCE_MM * (missing + 1)) return text;
  return `${text}: ${WORDS[missing] ?? missing} ${missing === 1 ? "is" : "are"} missing`;
}

/** Warnings that slices of the series may be missing or mixed up. */
export function checkWhole(slices, where) {
  return [...cutShort(slices, where), ...partsMissing(slices, where), ...sharedUids(slices, where)];
}

function partsMissing(slices, where) {
  const parts = Math.max(0, ...slices.map((one) => one.parts || 0));
  const here = new Set(slices.map((one) => one.sopUid)).size;
  if (here >= parts) return [];
  return [warning("series-cut-short", `only ${here} of the ${parts} files of a concatenation are here: the series may be cut short`, where)];
}

function sharedUids(slices, where) {
  const uids = slices.filter((one) => one.sopUid).map((one) => `${one.sopUid} ${one.frame}`);
  const shared = uids.length - new Set(uids).size;
  return shared ? [warning("sop-uid-shared", `${counted(shared, "slice")} with the SOP Instance UID of a slice at another position`, where)] : [];
}

function cutShort(slices, where) {
  const known = slices.filter((one) => one.instanceNumber !== null && one.frame === null).map((one) => one.instanceNumber);
  if (known.length !== slices.length || known.length < 2) return [];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const claimed = new Set(slices.map((one) => one.imagesInAcquisition));
  const total = claimed.size === 1 ? [...claimed][0] : null;
  const lacks = total !== null && total > slices.length && total % slices.length !== 0;
  if (lacks && high - low + 1 === slices.length && low >= 0 && high <= total) {
    throw refuse(where, `${counted(total, "slice")}, as Images in Acquisition says`, `${slices.length}, from IM ${low} to IM ${high}: the series is cut short`, "send the whole series again");
  }
  const firstScan = slices.every((one) => ["", "0", "1"].includes(one.acquisitionNumber));
  const late = low > 1 && firstScan && slices.every((one) => ["", "1"].includes(one.temporalPosition));
  if (!lacks && !late) return [];
  const signs = [...(lacks ? [`Images in Acquisition says ${total}`] : []), ...(late ? [`the first is IM ${low}`] : [])];
  return [warning("series-cut-short", `${slices.length} slices, but ${signs.join(" and ")}: the series may be cut short`, where)];
}
