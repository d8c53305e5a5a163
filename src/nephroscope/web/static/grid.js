// One grid for every file format: arrays are turned to (slice, row, column) in patient directions, and HU are checked.

import { fixed, general, median, rint, roundTo, seriesRefusal, warning } from "./words.js";

export const AIR_HU = -1024;
export const MOST_VOXELS = 2 ** 29;
export const GRID_TOLERANCE_MM = 0.05;
const OTHER_UNITS = { 1: ["metres", 1000], 3: ["micrometres", 0.001] };
const SHEAR_TOLERANCE = 2e-3;
const [LEAST_MM, MOST_MM] = [0.01, 100];
const [AIR_SHARE, TISSUE_SHARE] = [1e-4, 5e-3];
const ADULT_MM = { wide: [200, 700], deep: [100, 600] };
const LONGEST_SCAN_MM = 2200;
const [BODY_HU, LEAST_MATRIX, SAMPLED_SLICES, LEAST_BODY] = [-300, 80, 15, 0.25];
const ORDERS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

export const multiply = (a, b) => a.map((row) => b[0].map((_, j) => row.reduce((sum, value, k) => sum + value * b[k][j], 0)));
export const identity = () => [0, 1, 2, 3].map((i) => [0, 1, 2, 3].map((j) => (i === j ? 1 : 0)));
export const apply = (m, [a, b, c]) => [0, 1, 2].map((i) => m[i][0] * a + m[i][1] * b + m[i][2] * c + m[i][3]);
export const columnOf = (m, j) => [m[0][j], m[1][j], m[2][j]];
export const norm = ([a, b, c]) => Math.sqrt(a * a + b * b + c * c);
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const RAS_TO_LPS = [[-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]];

export function determinant(m) {
  return dot(columnOf(m, 0), cross(columnOf(m, 1), columnOf(m, 2)));
}

export function inverse(m) {
  const [a, b, c] = [0, 1, 2].map((j) => columnOf(m, j));
  const det = dot(a, cross(b, c));
  const rows = [cross(b, c), cross(c, a), cross(a, b)].map((row) => row.map((value) => value / det));
  const origin = columnOf(m, 3);
  return [...rows.map((row) => [...row, -dot(row, origin)]), [0, 0, 0, 1]];
}

/** Where a volume lies: shape [S, R, C] and the affine from index to LPS mm. */
export class Geometry {
  constructor(shape, affine) {
    this.shape = [...shape];
    this.affine = affine;
    this.spacing = [0, 1, 2].map((j) => norm(columnOf(affine, j)));
    const finite = affine.flat().every(Number.isFinite);
    if (Math.min(...shape) < 1 || !finite || Math.min(...this.spacing) <= 0) {
      throw seriesRefusal({
        where: "volume geometry",
        expected: "three positive dimensions and a finite affine with three directions",
        found: `shape ${tuple(shape)}, affine ${JSON.stringify(affine)}`,
        remedy: "export the image again",
      });
    }
  }

  /** No corner is further than 0.05 mm from its twin. */
  matches(other) {
    if (this.shape.some((n, axis) => n !== other.shape[axis])) return false;
    return corners(this.shape).every((corner) => {
      const [one, two] = [apply(this.affine, corner), apply(other.affine, corner)];
      return one.every((mm, axis) => Math.abs(mm - two[axis]) <= GRID_TOLERANCE_MM);
    });
  }
}

/** Index of the corner voxels, the last axis fastest. */
export function corners(shape, low = 0, high = -1) {
  const found = [];
  for (const s of [low, shape[0] + high]) for (const r of [low, shape[1] + high]) for (const c of [low, shape[2] + high]) found.push([s, r, c]);
  return found;
}

export const tuple = (values) => `(${values.join(", ")}${values.length === 1 ? "," : ""})`;

/** Order of the axes, which of the new ones are to be flipped, and the grid after that. */
export function turned(shape, affine) {
  const { spacing } = new Geometry(shape, affine);
  const cosine = (world, old) => affine[world][old] / spacing[old];
  let [order, best] = [ORDERS[0], -1];
  for (const one of ORDERS) {
    const fit = [0, 1, 2].reduce((sum, i) => sum + Math.abs(cosine(2 - i, one[i])), 0);
    if (fit > best) [order, best] = [one, fit];
  }
  const toOld = [0, 1, 2, 3].map(() => [0, 0, 0, 0]);
  toOld[3][3] = 1;
  const flipped = [];
  order.forEach((old, now) => {
    const backwards = cosine(2 - now, old) < 0;
    toOld[old][now] = backwards ? -1 : 1;
    toOld[old][3] = backwards ? shape[old] - 1 : 0;
    if (backwards) flipped.push(now);
  });
  const to = multiply(affine, toOld);
  for (let i = 0; i < 3; i += 1) {
    for (let j = 0; j < 3; j += 1) to[i][j] = roundTo(to[i][j], 6);
    to[i][3] = roundTo(to[i][3], 3);
  }
  return { order, flipped, geometry: new Geometry(order.map((old) => shape[old]), to) };
}

export const canonicalGrid = (shape, affine) => turned(shape, affine).geometry;

/**
 * An array with its axes permuted and flipped, never resampled.
 * @param values - typed array; `strides` are those of its three axes (C order by default).
 */
export function canonical(values, shape, affine, strides = [shape[1] * shape[2], shape[2], 1]) {
  const { order, flipped, geometry } = turned(shape, affine);
  const [ns, nr, nc] = geometry.shape;
  const steps = order.map((old, now) => (flipped.includes(now) ? -strides[old] : strides[old]));
  const start = order.reduce((sum, old, now) => sum + (flipped.includes(now) ? (shape[old] - 1) * strides[old] : 0), 0);
  if (steps[2] === 1 && steps[1] === nc && steps[0] === nr * nc) return { values, geometry };
  const out = new values.constructor(ns * nr * nc);
  let to = 0;
  for (let s = 0; s < ns; s += 1) {
    for (let r = 0; r < nr; r += 1) {
      let from = start + s * steps[0] + r * steps[1];
      if (steps[2] === 1) {
        out.set(values.subarray(from, from + nc), to);
        to += nc;
      } else {
        for (let c = 0; c < nc; c += 1, from += steps[2]) out[to++] = values[from];
      }
    }
  }
  return { values: out, geometry };
}

/** A CT volume on the canonical grid; values below air become air. */
export function huVolume(hu, shape, affine, seriesUid, findings, strides) {
  let [same, first] = [true, hu[0]];
  for (let i = 1; i < hu.length && same; i += 1) same = hu[i] === first;
  if (same) {
    throw seriesRefusal({
      where: `series ${seriesUid}`,
      expected: "a CT with varying values",
      found: `the same value in every voxel, ${first} HU`,
      remedy: "export the series again",
    });
  }
  const turnedTo = canonical(hu, shape, affine, strides);
  const array = turnedTo.values;
  for (let i = 0; i < array.length; i += 1) if (array[i] < AIR_HU) array[i] = AIR_HU;
  const more = checkBody(array, turnedTo.geometry, seriesUid);
  return { hu: array, geometry: turnedTo.geometry, seriesUid, findings: [...findings, ...more], frameUid: "", imageUids: new Set() };
}

export function inMm(affine, units) {
  const [name, mm] = OTHER_UNITS[units & 7] ?? ["", 1];
  return [affine.map((row, i) => (i < 3 ? row.map((value) => value * mm) : row)), name];
}

export function checkVoxel(where, affine) {
  const edges = [0, 1, 2].map((j) => norm(columnOf(affine, j)));
  if (!edges.every((mm) => mm >= LEAST_MM && mm <= MOST_MM)) {
    throw seriesRefusal({
      where,
      expected: `voxels of ${general(LEAST_MM)} to ${general(MOST_MM)} mm`,
      found: `${edges.map((mm) => general(mm, 4)).join(" x ")} mm`,
      remedy: "export it with spacing in mm",
    });
  }
}

export function checkRightAngles(where, affine) {
  const axes = [0, 1, 2].map((j) => columnOf(affine, j)).map((axis) => axis.map((value) => value / norm(axis)));
  const worst = Math.max(...[[0, 1], [0, 2], [1, 2]].map(([i, j]) => Math.abs(dot(axes[i], axes[j]))));
  if (worst > SHEAR_TOLERANCE) {
    throw seriesRefusal({
      where,
      expected: "axes at right angles",
      found: `a grid sheared by ${fixed((Math.asin(Math.min(worst, 1)) * 180) / Math.PI, 1)} degrees (tilted gantry)`,
      remedy: "export the series corrected for gantry tilt",
    });
  }
}

/** A warning when values cannot be those of a body surrounded by air. `shape` and `strides` are those of the array as stored. */
export function checkHu(hu, shape, where, strides = [shape[1] * shape[2], shape[2], 1]) {
  const step = Math.max(1, rint((hu.length / 1e6) ** (1 / 3)));
  const sample = [];
  let [tissue, air, watery, low, high] = [0, 0, 0, Infinity, -Infinity];
  for (let s = 0; s < shape[0]; s += step) for (let r = 0; r < shape[1]; r += step) for (let c = 0; c < shape[2]; c += step) {
    const value = hu[s * strides[0] + r * strides[1] + c * strides[2]];
    sample.push(value);
    if (value < low) low = value;
    if (value > high) high = value;
    if (value >= -200 && value <= 200) tissue += 1;
    if (value < -500) air += 1;
    if (value >= 824 && value <= 1224) watery += 1;
  }
  const n = sample.length;
  let doubt = "";
  if (high < 0) doubt = `nothing above ${high} HU`;
  else if (tissue / n < TISSUE_SHARE) doubt = `hardly anything between -200 and 200 HU (from ${low} to ${high})`;
  else if (air / n < AIR_SHARE) {
    doubt = `no air (from ${low} to ${high} HU)${watery / n > 10 * TISSUE_SHARE ? ", as if the intercept of -1024 had been lost" : ""}`;
  } else if (air / n > 0.05 && sample.filter((value) => value >= -1060 && value <= -930).length < 0.02 * (air / n) * n) {
    doubt = `its air has about ${fixed(median(sample.filter((value) => value < -500)), 0)} HU instead of -1000`;
  }
  return doubt ? [warning("hu-implausible", `implausible for a CT of the abdomen: ${doubt}`, where)] : [];
}

function checkBody(hu, { shape: [ns, nr, nc], spacing: [sliceMm, rowMm, colMm] }, where) {
  const doubts = [];
  if ((ns - 1) * sliceMm > LONGEST_SCAN_MM) doubts.push(`a scan ${fixed(ns * sliceMm, 0)} mm long`);
  if (Math.min(nr, nc) >= LEAST_MATRIX) {
    const looked = new Set(Array.from({ length: SAMPLED_SLICES }, (_, i) => i === SAMPLED_SLICES - 1 ? ns - 1 : rint(i * ((ns - 1) / (SAMPLED_SLICES - 1)))));
    const spans = { wide: [], deep: [] };
    for (const s of looked) {
      const [byCol, byRow] = [new Int32Array(nc), new Int32Array(nr)];
      const base = s * nr * nc;
      for (let r = 0; r < nr; r += 1) for (let c = 0; c < nc; c += 1) if (hu[base + r * nc + c] > BODY_HU) { byCol[c] += 1; byRow[r] += 1; }
      spans.wide.push(span(byCol));
      spans.deep.push(span(byRow));
    }
    for (const [name, mm] of [["wide", colMm], ["deep", rowMm]]) {
      const sizes = spans[name].filter(Boolean);
      if (2 * sizes.length <= looked.size) continue;
      const size = median(sizes) * mm;
      if (size < ADULT_MM[name][0] || size > ADULT_MM[name][1]) doubts.push(`a body ${fixed(size, 0)} mm ${name}`);
    }
  }
  const text = `${doubts.join(" and ")}, which no adult has: the spacing may be wrong, or this is no CT of a trunk`;
  return doubts.length ? [warning("body-implausible", text, where)] : [];
}

function span(counts) {
  const least = Math.max(LEAST_BODY * Math.max(...counts), 1);
  let [first, last] = [-1, -1];
  counts.forEach((n, i) => { if (n >= least) { if (first < 0) first = i; last = i; } });
  return first <= 0 || last === counts.length - 1 ? 0 : last - first + 1;
}

export function describe({ shape, spacing, affine }) {
  const origin = columnOf(affine, 3).map((mm) => fixed(mm, 1)).join(", ");
  return `${shape.join(" x ")} voxels of ${spacing.map((mm) => general(mm, 4)).join(" x ")} mm from (${origin})`;
}

export function describeAffine(affine) {
  const axes = [0, 1, 2].map((j) => columnOf(affine, j));
  const signs = axes.map((axis) => {
    const world = [0, 1, 2].reduce((most, i) => (Math.abs(axis[i]) > Math.abs(axis[most]) ? i : most), 0);
    return `${axis[world] < 0 ? "-" : "+"}${"xyz"[world]}`;
  });
  const origin = columnOf(affine, 3).map((mm) => fixed(mm, 1)).join(", ");
  return `${axes.map((axis) => general(norm(axis), 4)).join(" x ")} mm along ${signs.join(" ")} from (${origin})`;
}
