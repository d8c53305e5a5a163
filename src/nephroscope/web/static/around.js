// Where a tumor lies in the body and to the kidneys, and how these enhance, as `nephroscope check` sees it.

import { apply } from "./grid.js";
import { crop, findParts, meanIndex } from "./measure.js";
import { fixed, median, rint } from "./words.js";

const R = RULES.regions;
const AIR_BELOW = R.airBelowHu;

const share = (values, low, high) => {
  let n = 0;
  for (let i = 0; i < values.length; i += 1) if (values[i] >= low && values[i] <= high) n += 1;
  return n / values.length;
};

/** HU, body and midline of the CT under the tumor. */
export function measureCtUnder(volume, voxels) {
  const { shape: [, nr, nc], spacing } = volume.geometry;
  const box = crop(voxels, volume.geometry.shape);
  const [bs, br, bc] = box.shape;
  const start = box.start;
  const under = [];
  for (let s = 0; s < bs; s += 1) for (let r = 0; r < br; r += 1) for (let c = 0; c < bc; c += 1) {
    if (box.voxels[(s * br + r) * bc + c]) under.push(volume.hu[((s + start[0]) * nr + r + start[1]) * nc + c + start[2]]);
  }
  const steps = [Math.ceil(bs / R.mostSlices), ...spacing.slice(1).map((mm) => Math.max(1, Math.trunc(R.coarseMm / mm)))];
  const shape = [Math.ceil(bs / steps[0]), Math.ceil(nr / steps[1]), Math.ceil(nc / steps[2])];
  const coarse = new Int16Array(shape[0] * shape[1] * shape[2]);
  let to = 0;
  for (let s = 0; s < bs; s += steps[0]) for (let r = 0; r < nr; r += steps[1]) for (let c = 0; c < nc; c += steps[2]) {
    coarse[to++] = volume.hu[((s + start[0]) * nr + r) * nc + c];
  }
  const body = findBody(coarse, shape, (steps[1] * spacing[1] + steps[2] * spacing[2]) / 2);
  let [looked, inBody] = [0, 0];
  const onCoarse = (place, axis) => Math.min(Math.floor((place + start[axis] + Math.floor(steps[axis] / 2)) / steps[axis]), shape[axis] - 1);
  for (let s = 0; s < shape[0]; s += 1) for (let r = 0; r < br; r += 1) for (let c = 0; c < bc; c += 1) {
    if (!box.voxels[(s * steps[0] * br + r) * bc + c]) continue;
    looked += 1;
    inBody += body[(s * shape[1] + onCoarse(r, 1)) * shape[2] + onCoarse(c, 2)];
  }
  let n = 0;
  for (let i = 0; i < body.length; i += 1) n += body[i];
  const nBody = n * steps[0] * steps[1] * steps[2];
  let midline = null;
  if (n) {
    const middle = meanIndex({ voxels: body, shape }).map((value, axis) => value * steps[axis] + (axis ? 0 : start[0]));
    [midline] = apply(volume.geometry.affine, middle);
  }
  return {
    meanHu: under.reduce((sum, hu) => sum + hu, 0) / under.length,
    fatShare: share(under, R.fatHu[0], R.fatHu[1]),
    airShare: share(under, -32768, AIR_BELOW - 1),
    denseShare: share(under, R.denseAboveHu + 1, 32767),
    outsideShare: looked ? 1 - inBody / looked : NaN,
    bodyShare: nBody ? under.length / nBody : 0,
    midline,
  };
}

/** The filled body in a stack of slices, without table and blanket. */
function findBody(hu, shape, pixelMm) {
  const dense = Uint8Array.from(hu, (value) => (value >= AIR_BELOW ? 1 : 0));
  const thin = Math.max(1, rint(R.tableMm / 2 / pixelMm));
  const core = grown(dense.map((one) => 1 - one), shape, thin).map((one) => 1 - one);
  const { part, sizes } = findParts(core, shape);
  if (!sizes.length) return dense;
  const most = sizes.reduce((best, size) => Math.max(best, size), 0);
  const large = core.map((_, i) => (part[i] >= 0 && sizes[part[i]] * 10 >= most ? 1 : 0));
  return filled(grown(large, shape, thin + 1).map((one, i) => one & dense[i]), shape);
}

/** A mask grown within its slices by a square of `n` on each side. */
function grown(mask, [ns, nr, nc], n) {
  let now = mask;
  for (const [length, stride, lines] of [[nr, nc, 1], [nc, 1, 2]]) {
    const out = new Uint8Array(now.length);
    for (let s = 0; s < ns; s += 1) for (let other = 0; other < (lines === 1 ? nc : nr); other += 1) {
      const base = s * nr * nc + other * (lines === 1 ? 1 : nc);
      let reach = -1;
      for (let i = 0; i < length; i += 1) {
        if (now[base + i * stride]) reach = i + n;
        if (i <= reach) out[base + i * stride] = 1;
      }
      reach = length;
      for (let i = length - 1; i >= 0; i -= 1) {
        if (now[base + i * stride]) reach = i - n;
        if (i >= reach) out[base + i * stride] = 1;
      }
    }
    now = out;
  }
  return now;
}

/** The body with everything that the surrounding air cannot reach within a slice. */
function filled(body, [ns, nr, nc]) {
  const out = new Uint8Array(body.length);
  const [height, width] = [nr + 2, nc + 2];
  for (let s = 0; s < ns; s += 1) {
    const reached = new Uint8Array(height * width);
    const stack = [0];
    reached[0] = 1;
    const free = (r, c) => r === 0 || c === 0 || r === height - 1 || c === width - 1 || !body[(s * nr + r - 1) * nc + c - 1];
    while (stack.length) {
      const at = stack.pop();
      const [r, c] = [Math.floor(at / width), at % width];
      for (const [dr, dc] of [[-1, 0], [1, 0], [0, -1], [0, 1]]) {
        const [y, x] = [r + dr, c + dc];
        if (y < 0 || x < 0 || y >= height || x >= width || reached[y * width + x] || !free(y, x)) continue;
        reached[y * width + x] = 1;
        stack.push(y * width + x);
      }
    }
    for (let r = 0; r < nr; r += 1) for (let c = 0; c < nc; c += 1) out[(s * nr + r) * nc + c] = reached[(r + 1) * width + c + 1] ? 0 : 1;
  }
  return out;
}

/** Depth of each voxel below the surface of a mask, in mm, up to a limit; 0 outside. Exact, one axis after the other. */
export function depthMm(mask, shape, spacing, limit) {
  const half = Math.min(...spacing) / 2;
  const reach = limit + half;
  const wide = shape.map((n) => n + 2);
  let squared = new Float32Array(wide[0] * wide[1] * wide[2]);
  const far = Math.fround(reach ** 2);
  for (let s = 0; s < shape[0]; s += 1) for (let r = 0; r < shape[1]; r += 1) for (let c = 0; c < shape[2]; c += 1) {
    if (mask[(s * shape[1] + r) * shape[2] + c]) squared[((s + 1) * wide[1] + r + 1) * wide[2] + c + 1] = far;
  }
  const strides = [wide[1] * wide[2], wide[2], 1];
  for (let axis = 0; axis < 3; axis += 1) {
    const source = squared.slice();
    const n = wide[axis];
    for (let k = 1; k <= Math.min(Math.trunc(reach / spacing[axis]), n - 1); k += 1) {
      const more = Math.fround((k * spacing[axis]) ** 2);
      for (let at = 0; at < squared.length; at += 1) {
        const place = Math.floor(at / strides[axis]) % n;
        if (place < n - k) squared[at] = Math.min(squared[at], Math.fround(source[at + k * strides[axis]] + more));
        if (place >= k) squared[at] = Math.min(squared[at], Math.fround(source[at - k * strides[axis]] + more));
      }
    }
  }
  const out = new Float32Array(mask.length);
  for (let s = 0; s < shape[0]; s += 1) for (let r = 0; r < shape[1]; r += 1) for (let c = 0; c < shape[2]; c += 1) {
    const at = (s * shape[1] + r) * shape[2] + c;
    if (mask[at]) out[at] = Math.max(Math.fround(Math.fround(Math.sqrt(squared[((s + 1) * wide[1] + r + 1) * wide[2] + c + 1])) - Math.fround(half)), 0);
  }
  squared = null;
  return out;
}

/** What lies 2 to 15 mm around a tumor: {fatShare, brightShare}; null where nothing of that is in the CT. */
export function measureShell(volume, voxels) {
  const { shape, spacing } = volume.geometry;
  const box = crop(voxels, shape);
  const reach = spacing.map((mm) => Math.ceil(R.shellMm[1] / mm));
  const low = box.start.map((start, i) => Math.max(start - reach[i], 0));
  const high = box.start.map((start, i) => Math.min(start + box.shape[i] + reach[i], shape[i]));
  const steps = spacing.map((mm) => Math.max(1, rint(R.shellGridMm / mm)));
  const small = low.map((first, i) => Math.ceil((high[i] - first) / steps[i]));
  const margin = reach.map((n, i) => Math.ceil(n / steps[i]) + 1);
  const wide = small.map((n, i) => n + 2 * margin[i]);
  const away = new Uint8Array(wide[0] * wide[1] * wide[2]).fill(1);
  const hu = [];
  let any = false;
  for (let s = 0; s < small[0]; s += 1) for (let r = 0; r < small[1]; r += 1) for (let c = 0; c < small[2]; c += 1) {
    const from = ((low[0] + s * steps[0]) * shape[1] + low[1] + r * steps[1]) * shape[2] + low[2] + c * steps[2];
    const to = ((s + margin[0]) * wide[1] + r + margin[1]) * wide[2] + c + margin[2];
    hu.push([to, volume.hu[from]]);
    if (voxels[from]) { away[to] = 0; any = true; }
  }
  if (!any) return null;
  const depth = depthMm(away, wide, spacing.map((mm, i) => mm * steps[i]), R.shellMm[1] + 1);
  const shell = hu.filter(([at]) => depth[at] > R.shellMm[0] && depth[at] < R.shellMm[1]).map(([, value]) => value);
  return shell.length ? { fatShare: share(shell, -32768, 0), brightShare: share(shell, 151, 32767) } : null;
}

export function sideOf(x, midline) {
  if (midline === null || Math.abs(x - midline) < R.midlineMm) return "unknown";
  return x > midline ? "left" : "right";
}

const FLIPS = [["head to foot", [0]], ["left to right", [2]], ["front to back", [1]], ["left to right and front to back", [1, 2]]];

/** The flips that would put a misplaced ROI on a kidney or, without one, on soft tissue. */
export function mirroredAxes(volume, voxels, kidney, leastSoft) {
  const { shape } = volume.geometry;
  const found = [];
  for (const [direction, axes] of FLIPS) {
    const flipped = new Uint8Array(voxels.length);
    const under = [];
    for (let s = 0; s < shape[0]; s += 1) for (let r = 0; r < shape[1]; r += 1) for (let c = 0; c < shape[2]; c += 1) {
      if (!voxels[(s * shape[1] + r) * shape[2] + c]) continue;
      const [a, b, d] = [s, r, c].map((value, axis) => (axes.includes(axis) ? shape[axis] - 1 - value : value));
      const at = (a * shape[1] + b) * shape[2] + d;
      flipped[at] = 1;
      under.push(volume.hu[at]);
    }
    if (share(under, R.softHu[0], R.softHu[1]) > leastSoft && (kidney === null || touch(flipped, kidney, shape))) found.push(direction);
  }
  return found.join(" or ");
}

/** Masks overlap or have neighbouring voxels, at least by a corner. */
function touch(one, two, [ns, nr, nc]) {
  for (let s = 0; s < ns; s += 1) for (let r = 0; r < nr; r += 1) for (let c = 0; c < nc; c += 1) {
    if (!one[(s * nr + r) * nc + c]) continue;
    for (let a = Math.max(s - 1, 0); a <= Math.min(s + 1, ns - 1); a += 1) for (let b = Math.max(r - 1, 0); b <= Math.min(r + 1, nr - 1); b += 1) {
      for (let d = Math.max(c - 1, 0); d <= Math.min(c + 1, nc - 1); d += 1) if (two[(a * nr + b) * nc + d]) return true;
    }
  }
  return false;
}

/** Gap, overlap and side to the kidneys. */
export function compareWithKidney(voxels, organs, geometry) {
  const { shape, spacing } = geometry;
  const names = ["kidney_left", "kidney_right", "kidney"].filter((name) => name in organs);
  const box = crop(voxels, shape);
  const middle = (one) => meanIndex(one).map((value, axis) => (value + one.start[axis]) * spacing[axis]);
  const own = middle(box);
  const count = (mask) => mask.reduce((sum, one) => sum + one, 0);
  const dice = Math.max(...names.map((name) => {
    let both = 0;
    for (let i = 0; i < voxels.length; i += 1) if (voxels[i] && organs[name][i]) both += 1;
    return (2 * both) / (count(voxels) + count(organs[name]));
  }));
  const away = Object.fromEntries(names.map((name) => [name, Math.hypot(...middle(crop(organs[name], shape)).map((mm, i) => mm - own[i]))]));
  const side = "kidney_left" in away && "kidney_right" in away ? (away.kidney_left < away.kidney_right ? "left" : "right") : "unknown";
  return { gapMm: gapMm(voxels, organs.kidney, shape, spacing), dice, side };
}

function gapMm(one, two, shape, spacing) {
  if (touch(one, two, shape)) return 0;
  const [a, b] = [one, two].map((mask) => surface(crop(mask, shape), spacing));
  let best = Infinity;
  for (const p of a) for (const q of b) {
    const mm = (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 + (p[2] - q[2]) ** 2;
    if (mm < best) best = mm;
  }
  return Math.sqrt(best);
}

function surface({ voxels, shape: [ns, nr, nc], start }, spacing) {
  const has = (s, r, c) => s >= 0 && r >= 0 && c >= 0 && s < ns && r < nr && c < nc && voxels[(s * nr + r) * nc + c];
  const found = [];
  for (let s = 0; s < ns; s += 1) for (let r = 0; r < nr; r += 1) for (let c = 0; c < nc; c += 1) {
    if (!has(s, r, c)) continue;
    const inner = has(s - 1, r, c) && has(s + 1, r, c) && has(s, r - 1, c) && has(s, r + 1, c) && has(s, r, c - 1) && has(s, r, c + 1);
    if (!inner) found.push([(s + start[0]) * spacing[0], (r + start[1]) * spacing[1], (c + start[2]) * spacing[2]]);
  }
  return found;
}

const E = RULES.enhancement;

/** How aorta, cortex and medulla enhance, and the phase that this suggests. */
export function measureEnhancement(volume, organs, tumor) {
  const lesion = (i) => tumor[i] || organs.cyst?.[i];
  const kidney = organs.kidney.map((one, i) => (one && !lesion(i) ? 1 : 0));
  const found = { aorta: null, cortex: null, medulla: null, brightMm3: 0 };
  if (kidney.includes(1)) Object.assign(found, kidneyHu(volume, kidney));
  if (organs.aorta) found.aorta = aortaHu(volume, organs.aorta, organs.kidney);
  return { ...found, phase: phaseOfImage(found) };
}

const medianOf = (hu) => (hu.length >= E.fewestVoxels ? median(hu) : null);

function inBox(volume, mask) {
  const box = crop(mask, volume.geometry.shape);
  const { shape: [, nr, nc] } = volume.geometry;
  const hu = new Int16Array(box.voxels.length);
  for (let s = 0; s < box.shape[0]; s += 1) for (let r = 0; r < box.shape[1]; r += 1) {
    const from = ((s + box.start[0]) * nr + r + box.start[1]) * nc + box.start[2];
    hu.set(volume.hu.subarray(from, from + box.shape[2]), (s * box.shape[1] + r) * box.shape[2]);
  }
  return { ...box, hu };
}

function kidneyHu(volume, kidney) {
  const { voxels, shape, hu } = inBox(volume, kidney);
  const depth = depthMm(voxels, shape, volume.geometry.spacing, E.medullaDepthMm);
  const [cortex, medulla] = [[], []];
  for (let i = 0; i < hu.length; i += 1) {
    if (!voxels[i] || hu[i] < E.tissueHu[0] || hu[i] > E.tissueHu[1]) continue;
    if (depth[i] >= E.cortexDepthMm[0] && depth[i] <= E.cortexDepthMm[1]) cortex.push(hu[i]);
    if (depth[i] >= E.medullaDepthMm) medulla.push(hu[i]);
  }
  const cortexHu = medianOf(cortex);
  const bright = Math.max(E.urineHu, (cortexHu ?? 0) + E.urineAboveCortexHu);
  let n = 0;
  for (let i = 0; i < hu.length; i += 1) if (voxels[i] && hu[i] > bright) n += 1;
  return { cortex: cortexHu, medulla: medianOf(medulla), brightMm3: n * volume.geometry.spacing.reduce((product, mm) => product * mm, 1) };
}

function aortaHu(volume, aorta, kidney) {
  const pixels = volume.geometry.shape[1] * volume.geometry.shape[2];
  const slices = new Set();
  for (let i = 0; i < kidney.length; i += 1) if (kidney[i]) slices.add(Math.floor(i / pixels));
  const atKidneys = aorta.map((one, i) => (one && slices.has(Math.floor(i / pixels)) ? 1 : 0));
  const n = atKidneys.reduce((sum, one) => sum + one, 0);
  const chosen = n >= E.fewestVoxels ? atKidneys : aorta;
  if (!chosen.includes(1)) return null;
  const { voxels, shape, hu } = inBox(volume, chosen);
  const depth = depthMm(voxels, shape, volume.geometry.spacing, E.aortaWallMm);
  const inside = Array.from(hu).filter((_, i) => voxels[i]);
  const lumen = Array.from(hu).filter((_, i) => depth[i] >= E.aortaWallMm);
  return medianOf(lumen.length >= E.fewestVoxels ? lumen : inside);
}

function phaseOfImage({ aorta, cortex, medulla, brightMm3 }) {
  const dull = cortex !== null && cortex <= E.unenhancedKidneyHu;
  if (dull && (aorta === null || aorta <= E.unenhancedAortaHu)) return "unenhanced";
  if (aorta === null || cortex === null || medulla === null) return "unknown";
  const difference = cortex - medulla;
  if (aorta >= E.arterialAortaHu && difference >= E.arterialDifferenceHu) return "corticomedullary";
  const [low, high] = E.venousAortaHu;
  if (brightMm3 >= E.urineMm3 && E.unenhancedAortaHu < aorta && aorta <= high) return "excretory";
  const even = Math.abs(difference) <= E.nephrographicDifferenceHu;
  if (even && low <= aorta && aorta <= high && cortex >= E.nephrographicCortexHu) return "nephrographic";
  return "unknown";
}

export function enhancementWords(found) {
  const known = ["aorta", "cortex", "medulla"].filter((name) => found[name] !== null).map((name) => `${name} ${fixed(found[name], 0)} HU`);
  return [...known, `${fixed(found.brightMm3 / 1000, 1)} ml of bright urine`].join(", ");
}
