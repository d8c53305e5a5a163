// A mask of any grid is placed on the grid of the CT, and what that changed is said, or why it is not possible.

import {
  GRID_TOLERANCE_MM, Geometry, apply, canonical, canonicalGrid, columnOf, corners, describe, determinant, identity, inverse, multiply, norm,
} from "./grid.js";
import { findingOf, refusalOf } from "./segments.js";
import { Refusal, counted, firstFew, fixed, percent, rint, roiRefusal, roundTo } from "./words.js";

const SAME_SPACING = 1e-3;
const FLATTEST = 1e-3;
const MOST_CHANGE = 0.1;
const TIE = 6;

const BLOCK = 2 ** 16; // voxels that are passed over together where they are empty

/** Voxels of a mask of 0 and 1. */
export function countOf(voxels) {
  let n = 0;
  for (let start = 0; start < voxels.length; start += BLOCK) {
    const block = voxels.subarray(start, start + BLOCK);
    if (block.indexOf(1) >= 0) for (let i = 0; i < block.length; i += 1) n += block[i];
  }
  return n;
}

const close = (a, b, relative = SAME_SPACING, absolute = 1e-8) => a.every((value, i) => Math.abs(value - b[i]) <= absolute + relative * Math.abs(b[i]));

/**
 * {voxels, findings}: the mask on the CT's grid, unchanged, shifted by whole voxels, or resampled to the nearest voxel.
 * @param mask - {voxels: Uint8Array, shape, strides, affine}, as stored.
 */
export function fitToCt(mask, ct, query) {
  let found;
  try {
    found = canonical(mask.voxels, mask.shape, mask.affine, mask.strides);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw roiRefusal({ where: query.where, expected: error.expected, found: error.found, remedy: "export the ROI again" });
  }
  const { values: voxels, geometry: own } = found;
  if (own.matches(ct)) return { voxels, findings: [] };
  checkPlace(own, ct, query);
  const shift = shiftOf(own, ct);
  const all = countOf(voxels);
  let fitted;
  let outside;
  if (shift === null) {
    const canonicalMask = { voxels, shape: own.shape, affine: own.affine };
    fitted = resampleNearest(mask, ct);
    outside = countOutside(canonicalMask, mask, ct);
  } else {
    fitted = shifted(voxels, own.shape, shift, ct.shape);
    outside = all - countOf(fitted);
  }
  if (all && !countOf(fitted)) {
    throw refusalOf(query, `an ROI inside the CT, ${describe(ct)}`,
      outside === all ? `one completely outside it, on ${describe(own)}` : "one too thin to contain the center of any voxel",
      "give the ROI that was drawn on this series");
  }
  const same = own.shape.every((n, i) => n === ct.shape[i]);
  const reachesOut = shift !== null && !same && shift.some((start, i) => start < 0 || start + own.shape[i] > ct.shape[i]);
  const moved = shift === null || (same && shift.some(Boolean)) || (!outside && reachesOut);
  return { voxels: fitted, findings: changes(countOf(fitted), all, outside, own, ct, moved, query) };
}

/** Each voxel of the CT gets the value of the mask voxel that contains its centre; half rounds up, as in ITK. */
function resampleNearest(mask, ct) {
  const out = new Uint8Array(ct.shape[0] * ct.shape[1] * ct.shape[2]);
  const reached = reachedBox(mask, ct);
  if (reached === null) return out;
  const m = multiply(inverse(mask.affine), ct.affine);
  const strides = mask.strides ?? [mask.shape[1] * mask.shape[2], mask.shape[2], 1];
  const [[s0, s1], [r0, r1], [c0, c1]] = reached;
  for (let s = s0; s <= s1; s += 1) for (let r = r0; r <= r1; r += 1) for (let c = c0; c <= c1; c += 1) {
    let at = 0;
    let inside = true;
    for (let axis = 0; axis < 3 && inside; axis += 1) {
      const index = Math.floor(roundTo(m[axis][0] * s + m[axis][1] * r + m[axis][2] * c + m[axis][3], TIE) + 0.5);
      inside = index >= 0 && index < mask.shape[axis];
      at += index * strides[axis];
    }
    if (inside && mask.voxels[at]) out[(s * ct.shape[1] + r) * ct.shape[2] + c] = 1;
  }
  return out;
}

function eachSet(mask, visit) {
  const strides = mask.strides ?? [mask.shape[1] * mask.shape[2], mask.shape[2], 1];
  for (let i = 0; i < mask.shape[0]; i += 1) for (let j = 0; j < mask.shape[1]; j += 1) for (let k = 0; k < mask.shape[2]; k += 1) {
    if (mask.voxels[i * strides[0] + j * strides[1] + k * strides[2]]) visit(i, j, k);
  }
}

function reachedBox(mask, ct) {
  const [low, high] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]];
  eachSet(mask, (...index) => index.forEach((value, axis) => {
    low[axis] = Math.min(low[axis], value);
    high[axis] = Math.max(high[axis], value);
  }));
  if (low[0] === Infinity) return null;
  const toCt = multiply(inverse(ct.affine), mask.affine);
  const places = [];
  for (const i of [low[0] - 0.5, high[0] + 0.5]) for (const j of [low[1] - 0.5, high[1] + 0.5]) for (const k of [low[2] - 0.5, high[2] + 0.5]) places.push(apply(toCt, [i, j, k]));
  const box = [0, 1, 2].map((axis) => {
    const values = places.map((place) => place[axis]);
    return [Math.max(Math.floor(Math.min(...values)), 0), Math.min(Math.ceil(Math.max(...values)), ct.shape[axis] - 1)];
  });
  return box.some(([a, b]) => a > b) ? null : box;
}

function countOutside(_, mask, ct) {
  const toCt = multiply(inverse(ct.affine), mask.affine);
  let n = 0;
  eachSet(mask, (...index) => {
    const place = apply(toCt, index).map((value) => roundTo(value, TIE));
    if (place.some((value, axis) => value < -0.5 || value >= ct.shape[axis] - 0.5)) n += 1;
  });
  return n;
}

function checkPlace(own, ct, query) {
  const cell = Math.abs(determinant(own.affine)) / own.spacing.reduce((product, mm) => product * mm, 1);
  if (cell < FLATTEST) throw refusalOf(query, "a grid with three different directions", "two parallel directions", "export the ROI again");
  let why = whySpoilt(own, ct);
  const [one, two] = [boxMm(own), boxMm(ct)];
  if (!why && [0, 1, 2].some((axis) => Math.max(one[0][axis], two[0][axis]) > Math.min(one[1][axis], two[1][axis]))) {
    why = "it does not touch the CT and seems to belong to another series";
  }
  if (why) {
    throw refusalOf(query, `the grid of the CT, ${describe(ct)}`, `${describe(own)}: ${why}`,
      "export the ROI again from the program in which it was drawn on this series");
  }
}

function whySpoilt(own, ct) {
  const why = whatIsLost(own, ct);
  if (why || !sameShape(own, ct) || !close(own.spacing, ct.spacing)) return why;
  const names = ["slices", "rows", "columns"];
  for (const a of [0, 1, -1]) for (const b of [0, 1, -1]) for (const c of [0, 1, -1]) {
    const ends = [a, b, c];
    if (!ends.some(Boolean)) continue;
    const moved = ct.affine.map((row, i) => (i < 3 ? [...row.slice(0, 3), row[3] + ends.reduce((sum, end, j) => sum + row[j] * end * (ct.shape[j] - 1), 0)] : row));
    if (own.matches(new Geometry(ct.shape, moved))) {
      const turned = names.filter((_, i) => ends[i]).join(" and ");
      return `the same size and spacing, but the ${turned} run the other way: a flipped header`;
    }
  }
  for (const a of [1, -1]) for (const b of [1, -1]) for (const c of [1, -1]) {
    const signs = [a, b, c, 1];
    const mirror = identity().map((row, i) => row.map((value) => value * signs[i]));
    const onlyOrigin = ct.affine.map((row, i) => (i < 3 ? [...row.slice(0, 3), row[3] * signs[i]] : row));
    if (own.matches(canonicalGrid(ct.shape, multiply(mirror, ct.affine))) || own.matches(new Geometry(ct.shape, onlyOrigin))) {
      const axes = [..."xyz"].filter((_, i) => signs[i] < 0).join(" and ");
      return `the same size and spacing, but with the wrong sign in ${axes}${axes === "x and y" ? " (RAS taken for LPS)" : ""}`;
    }
  }
  return "";
}

const sameShape = (own, ct) => own.shape.every((n, i) => n === ct.shape[i]);

function whatIsLost(own, ct) {
  const same = sameShape(own, ct);
  const atZero = cornerAtZero(own) && !(!same && cornerAtZero(ct));
  const unit = close(own.spacing, [1, 1, 1], 1e-5);
  const straight = [0, 1, 2].map((j) => Math.max(...columnOf(own.affine, j).map(Math.abs)));
  if (atZero && unit && close(straight, [1, 1, 1], 1e-5)) return "1 mm voxels from 0, 0, 0: its header was lost";
  if (!same) return "";
  if (!close(own.spacing, ct.spacing)) {
    return unit && shareCorner(own, ct) ? "the same size and first voxel, but 1 mm voxels: its spacing was lost" : "";
  }
  if (atZero && !cornerAtZero(ct)) return "the same size and spacing, but from 0, 0, 0: its origin was lost";
  if (isStraight(own) && !isStraight(ct) && shareCorner(own, ct)) {
    return "the same size, spacing and first voxel, but straight where the CT is turned: its directions were lost";
  }
  return "";
}

function shiftOf(own, ct) {
  const toCt = multiply(inverse(ct.affine), own.affine);
  const first = columnOf(toCt, 3).map(rint);
  const far = corners(own.shape).some((corner) => apply(toCt, corner).some((value, axis) => Math.abs(value - corner[axis] - first[axis]) * ct.spacing[axis] > GRID_TOLERANCE_MM));
  const turned = [0, 1, 2].some((i) => [0, 1, 2].some((j) => Math.abs(toCt[i][j] - (i === j ? 1 : 0)) > 0.01));
  return far || turned ? null : first;
}

function shifted(voxels, own, shift, shape) {
  const out = new Uint8Array(shape[0] * shape[1] * shape[2]);
  const [low, high] = [shift.map((start) => Math.max(start, 0)), shift.map((start, i) => Math.max(Math.min(start + own[i], shape[i]), 0))];
  for (let s = low[0]; s < high[0]; s += 1) for (let r = low[1]; r < high[1]; r += 1) for (let c = low[2]; c < high[2]; c += 1) {
    out[(s * shape[1] + r) * shape[2] + c] = voxels[((s - shift[0]) * own[1] + r - shift[1]) * own[2] + c - shift[2]];
  }
  return out;
}

function changes(n, all, outside, own, ct, moved, query) {
  const [ownMl, ctMl] = [own, ct].map((grid) => Math.abs(determinant(grid.affine)) / 1000);
  const [before, after] = [all * ownMl, n * ctMl];
  const found = [];
  if (moved) {
    found.push(findingOf(query, "roi-resampled",
      `drawn on a grid other than that of the CT, ${describe(own)}; resampled to the nearest voxel: ${fixed(before, 2)} ml before, ${fixed(after, 2)} ml after`));
  }
  if (outside) found.push(findingOf(query, "roi-outside", `${outside} voxels (${fixed(outside * ownMl, 2)} ml) of ${all} lie outside the CT and were left out`));
  const inside = (all - outside) * ownMl;
  if (moved && inside && Math.abs(after / inside - 1) > MOST_CHANGE) {
    found.push(findingOf(query, "roi-volume-changed",
      `resampling changed the volume inside the CT from ${fixed(inside, 2)} to ${fixed(after, 2)} ml, more than ${percent(MOST_CHANGE)}`));
  }
  return found;
}

function cornerAtZero(grid) {
  return Math.min(...corners(grid.shape).map((corner) => Math.max(...apply(grid.affine, corner).map(Math.abs)))) <= GRID_TOLERANCE_MM;
}

function shareCorner(one, two) {
  const theirs = corners(two.shape).map((corner) => apply(two.affine, corner));
  return corners(one.shape).some((corner) => {
    const place = apply(one.affine, corner);
    return theirs.some((other) => norm(place.map((mm, i) => mm - other[i])) <= GRID_TOLERANCE_MM);
  });
}

function isStraight(grid) {
  return [0, 1, 2].every((j) => Math.abs(Math.max(...columnOf(grid.affine, j).map((value) => Math.abs(value) / grid.spacing[j])) - 1) <= 1e-5 + 1e-5);
}

function boxMm(grid) {
  const places = corners(grid.shape, -0.5, -0.5).map((corner) => apply(grid.affine, corner));
  return [Math.min, Math.max].map((pick) => [0, 1, 2].map((axis) => pick(...places.map((place) => place[axis]))));
}

/** A finding about empty slices between drawn ones. */
export function gaps(voxels, shape, query) {
  const drawn = drawnSlices(voxels, shape);
  if (!drawn.length) return [];
  const has = new Set(drawn);
  const empty = [];
  for (let s = drawn[0]; s < drawn.at(-1); s += 1) if (!has.has(s)) empty.push(s);
  return empty.length ? [findingOf(query, "roi-gap", `no frame for ${counted(empty.length, "slice")} between drawn ones, left empty: ${firstFew(empty)} (from 0)`)] : [];
}

export function drawnSlices(voxels, [ns, nr, nc]) {
  const found = [];
  for (let s = 0; s < ns; s += 1) if (voxels.subarray(s * nr * nc, (s + 1) * nr * nc).indexOf(1) >= 0) found.push(s);
  return found;
}
