// A tumor is measured: volume, diameters, parts and center, as `nephroscope check` measures it.

import { apply, determinant } from "./grid.js";

const ROUNDS = 6;

const crops = new WeakMap();

/** The smallest box with all voxels of a mask of 0 and 1: {voxels, shape, start}. A mask does not change once it was asked for. */
export function crop(voxels, shape) {
  if (!crops.has(voxels)) crops.set(voxels, cropped(voxels, shape));
  return crops.get(voxels);
}

function cropped(voxels, [ns, nr, nc]) {
  const [low, high] = [[ns, nr, nc], [-1, -1, -1]];
  for (let s = 0; s < ns; s += 1) for (let r = 0; r < nr; r += 1) {
    const base = (s * nr + r) * nc;
    if (r === 0 && voxels.subarray(base, base + nr * nc).indexOf(1) < 0) break; // an empty slice
    const row = voxels.subarray(base, base + nc);
    const first = row.indexOf(1);
    if (first < 0) continue;
    const last = row.lastIndexOf(1);
    [s, r, first].forEach((value, axis) => { low[axis] = Math.min(low[axis], value); });
    [s, r, last].forEach((value, axis) => { high[axis] = Math.max(high[axis], value); });
  }
  const shape = high.map((value, axis) => value - low[axis] + 1);
  const out = new Uint8Array(shape[0] * shape[1] * shape[2]);
  for (let s = 0; s < shape[0]; s += 1) for (let r = 0; r < shape[1]; r += 1) {
    const from = ((s + low[0]) * nr + r + low[1]) * nc + low[2];
    out.set(voxels.subarray(from, from + shape[2]), (s * shape[1] + r) * shape[2]);
  }
  return { voxels: out, shape, start: low };
}

/**
 * Connected parts: {part, sizes} with the part of each voxel (-1 outside), numbered by their first voxel.
 * @param options - corners: voxels that share an edge or a corner are connected; withinSlices: slices are separate.
 */
export function findParts(mask, [ns, nr, nc], { corners = true, withinSlices = false } = {}) {
  const part = new Int32Array(mask.length).fill(-1);
  const stack = [];
  const steps = [];
  for (const ds of withinSlices ? [0] : [-1, 0, 1]) for (const dr of [-1, 0, 1]) for (const dc of [-1, 0, 1]) {
    const n = Math.abs(ds) + Math.abs(dr) + Math.abs(dc);
    if (n && (corners || n === 1)) steps.push([ds, dr, dc, (ds * nr + dr) * nc + dc]);
  }
  const sizes = [];
  for (let seed = 0; seed < mask.length; seed += 1) {
    if (!mask[seed] || part[seed] >= 0) continue;
    const label = sizes.length;
    let n = 0;
    stack.push(seed);
    part[seed] = label;
    while (stack.length) {
      const at = stack.pop();
      n += 1;
      const c = at % nc;
      const r = Math.floor(at / nc) % nr;
      const s = Math.floor(at / (nr * nc));
      for (const [ds, dr, dc, step] of steps) {
        if (s + ds < 0 || s + ds >= ns || r + dr < 0 || r + dr >= nr || c + dc < 0 || c + dc >= nc) continue;
        const to = at + step;
        if (mask[to] && part[to] < 0) { part[to] = label; stack.push(to); }
      }
    }
    sizes.push(n);
  }
  return { part, sizes };
}

export function measure(voxels, geometry) {
  const { affine } = geometry;
  let box = crop(voxels, geometry.shape);
  let n = 0;
  let slices = 0;
  const pixels = box.shape[1] * box.shape[2];
  for (let s = 0; s < box.shape[0]; s += 1) {
    const before = n;
    for (let i = s * pixels; i < (s + 1) * pixels; i += 1) n += box.voxels[i];
    if (n > before) slices += 1;
  }
  const { part, sizes } = findParts(box.voxels, box.shape);
  if (sizes.length > 1) {
    const largest = sizes.indexOf(Math.max(...sizes));
    const further = crop(box.voxels.map((_, i) => (part[i] === largest ? 1 : 0)), box.shape);
    box = { ...further, start: further.start.map((value, axis) => value + box.start[axis]) };
  }
  const center = apply(affine, meanIndex(box).map((value, axis) => value + box.start[axis]));
  return {
    volumeMl: (n * Math.abs(determinant(affine))) / 1000,
    axialMm: axialDiameter(box, affine),
    anyMm: farthest(toMm([0, 1, 2].flatMap((axis) => ends(box, axis, [0, 1, 2])), affine)),
    nVoxels: n,
    nSlices: slices,
    sizes,
    center,
  };
}

export function meanIndex({ voxels, shape: [ns, nr, nc] }) {
  const sum = [0, 0, 0];
  let n = 0;
  for (let s = 0; s < ns; s += 1) for (let r = 0; r < nr; r += 1) for (let c = 0; c < nc; c += 1) {
    if (!voxels[(s * nr + r) * nc + c]) continue;
    sum[0] += s;
    sum[1] += r;
    sum[2] += c;
    n += 1;
  }
  return sum.map((value) => value / n);
}

function toMm(points, affine) {
  return points.map(([s, r, c]) => [0, 1, 2].map((i) => affine[i][0] * s + affine[i][1] * r + affine[i][2] * c));
}

function axialDiameter(box, affine) {
  const bySlice = new Map();
  for (const point of [...ends(box, 2, [1]), ...ends(box, 1, [2])]) {
    if (!bySlice.has(point[0])) bySlice.set(point[0], []);
    bySlice.get(point[0]).push(point);
  }
  return [...bySlice.values()].reduce((best, points) => Math.max(best, farthest(toMm(points, affine), best)), 0);
}

/** Largest distance between two points, exact; pairs that cannot be further apart than `best` are passed over. */
function farthest(given, least = 0) {
  const [low, high] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]];
  for (const point of given) point.forEach((mm, i) => { low[i] = Math.min(low[i], mm); high[i] = Math.max(high[i], mm); });
  const middle = low.map((mm, i) => (mm + high[i]) / 2);
  const points = given.map((point) => {
    const moved = point.map((mm, i) => mm - middle[i]);
    return [...moved, Math.hypot(...moved)];
  }).sort((a, b) => b[3] - a[3]);
  let best = least;
  let start = points[0];
  for (let round = 0; round < 4; round += 1) {
    let far = points[0];
    let most = -1;
    for (const point of points) {
      const mm = Math.hypot(point[0] - start[0], point[1] - start[1], point[2] - start[2]);
      if (mm > most) [most, far] = [mm, point];
    }
    best = Math.max(best, most);
    start = far;
  }
  for (let i = 0; i < points.length; i += 1) {
    for (let j = i + 1; j < points.length && points[i][3] + points[j][3] > best; j += 1) {
      const [a, b] = [points[i], points[j]];
      const mm = Math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2);
      if (mm > best) best = mm;
    }
    if (i + 1 < points.length && points[i][3] + points[i + 1][3] <= best) break;
  }
  return best;
}

/** Midpoints, as index, of the first and last face of each line of voxels along an axis, without those that no diameter can end at. */
function ends({ voxels, shape }, axis, directions) {
  const others = [0, 1, 2].filter((one) => one !== axis);
  const strides = [shape[1] * shape[2], shape[2], 1];
  const found = [];
  for (const outwards of [-0.5, 0.5]) {
    let points = [];
    for (let a = 0; a < shape[others[0]]; a += 1) for (let b = 0; b < shape[others[1]]; b += 1) {
      const base = a * strides[others[0]] + b * strides[others[1]];
      let at = outwards < 0 ? 0 : shape[axis] - 1;
      while (at >= 0 && at < shape[axis] && !voxels[base + at * strides[axis]]) at += outwards < 0 ? 1 : -1;
      if (at < 0 || at >= shape[axis]) continue;
      const point = [0, 0, 0];
      [point[others[0]], point[others[1]], point[axis]] = [a, b, at + outwards];
      points.push(point);
    }
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const along of directions.filter((one) => one !== axis)) points = beforeChords(points, others.find((one) => one !== along), along, axis, Math.sign(outwards));
    }
    found.push(...points);
  }
  return found;
}

function beforeChords(points, across, along, height, sign) {
  const sorted = [...points].sort((a, b) => a[across] - b[across] || a[along] - b[along]);
  return sorted.filter((at, i) => {
    const [before, after] = [sorted[i - 1], sorted[i + 1]];
    if (!before || !after || before[across] !== after[across]) return true;
    const level = (point) => point[height] * sign;
    return (level(before) - level(at)) * (after[along] - at[along]) + (level(after) - level(at)) * (at[along] - before[along]) < 0;
  });
}
