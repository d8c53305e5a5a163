// The tumor is cut out of a CT as square slices in HU, bit for bit as the program cuts it.

import { countOf } from "./fit.js";
import { AIR_HU } from "./grid.js";
import { crop } from "./measure.js";
import { fixed, general, rint, roiRefusal } from "./words.js";

/** @param roi - {voxels: Uint8Array, caseId}; @param spec - of the bundle. */
export function cutSlices(volume, roi, spec) {
  const { shape: [ns, nr, nc], spacing: [, rowMm, colMm] } = volume.geometry;
  const pixels = nr * nc;
  const areas = Array.from({ length: ns }, (_, s) => {
    return countOf(roi.voxels.subarray(s * pixels, (s + 1) * pixels)) * rowMm * colMm;
  });
  const kept = areas.map((_, s) => s).filter((s) => areas[s] >= spec.min_area_mm2 && areas[s] > 0);
  if (!kept.length) {
    const largest = areas.reduce((most, area, s) => (area > areas[most] ? s : most), 0);
    throw roiRefusal({
      where: `case ${roi.caseId}`,
      expected: `a tumor cross-section of at least ${general(spec.min_area_mm2)} mm2`,
      found: `at most ${fixed(areas[largest], 1)} mm2, on slice ${largest}`,
      remedy: "check the ROI and the pixel spacing, or lower slices.min_area_mm2",
    });
  }
  const box = field(roi, spec, nr, nc, rowMm, colMm);
  const mmPerPx = ((box[2] - box[0]) * colMm) / spec.size_px;
  return kept.map((s) => {
    let hu = volume.hu.subarray(s * pixels, (s + 1) * pixels);
    if (spec.roi_mode === "mask") hu = hu.map((value, i) => (roi.voxels[s * pixels + i] ? value : AIR_HU));
    return { hu: resample(hu, nr, nc, box, spec.size_px), sliceIndex: s, areaMm2: areas[s], mmPerPx };
  });
}

function field({ voxels }, spec, nr, nc, rowMm, colMm) {
  if (spec.roi_mode === "full") return squareBox([0, nr - 1], [0, nc - 1], rowMm, colMm, 0);
  const { start: [, top, left], shape: [, height, width] } = crop(voxels, [voxels.length / (nr * nc), nr, nc]);
  return squareBox([top, top + height - 1], [left, left + width - 1], rowMm, colMm, spec.margin_mm);
}

/** left, top, right, bottom: the smallest square in mm around the extent, and a margin. */
function squareBox([top, bottom], [left, right], rowMm, colMm, margin) {
  const halfMm = Math.max((bottom - top + 1) * rowMm, (right - left + 1) * colMm) / 2 + margin;
  const [row, col] = [(top + bottom + 1) / 2, (left + right + 1) / 2];
  const [halfR, halfC] = [halfMm / rowMm, halfMm / colMm];
  return [col - halfC, row - halfR, col + halfC, row + halfR];
}

function resample(hu, nr, nc, [left, top, right, bottom], size) {
  const reach = Math.ceil(Math.max(right - left, bottom - top) / size) + 1;
  const [r0, r1] = span(top, bottom, reach, nr);
  const [c0, c1] = span(left, right, reach, nc);
  const [height, width] = [r1 - r0, c1 - c0];
  const inside = new Float32Array(height * width).fill(AIR_HU);
  for (let r = Math.max(r0, 0); r < Math.min(r1, nr); r += 1) {
    for (let c = Math.max(c0, 0); c < Math.min(c1, nc); c += 1) inside[(r - r0) * width + c - c0] = hu[r * nc + c];
  }
  return resize(inside, height, width, [left - c0, top - r0, right - c0, bottom - r0], size);
}

function span(low, high, reach, n) {
  const [start, stop] = [Math.floor(low) - reach, Math.ceil(high) + reach];
  return [low < 0 ? start : Math.max(start, 0), high > n ? stop : Math.min(stop, n)];
}

/** Pillow's bilinear resize of mode F with a box: the box in single precision, coefficients in double, each pass stored in single. */
function resize(pixels, height, width, given, size) {
  const [left, top, right, bottom] = given.map(Math.fround);
  const across = left === 0 && right === size && width === size ? null : coefficients(width, left, right, size);
  const down = top === 0 && bottom === size && height === size ? null : coefficients(height, top, bottom, size);
  let now = pixels;
  if (across !== null) {
    now = new Float32Array(height * size);
    for (let r = 0; r < height; r += 1) {
      for (let x = 0; x < size; x += 1) {
        const [first, weights] = across[x];
        let sum = 0;
        for (let k = 0; k < weights.length; k += 1) sum += pixels[r * width + first + k] * weights[k];
        now[r * size + x] = sum;
      }
    }
  }
  const out = new Int16Array(size * size);
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      let sum = 0;
      if (down === null) {
        sum = now[y * size + x];
      } else {
        const [first, weights] = down[y];
        for (let k = 0; k < weights.length; k += 1) sum += now[(first + k) * size + x] * weights[k];
      }
      out[y * size + x] = rint(Math.fround(sum));
    }
  }
  return out;
}

function coefficients(n, low, high, size) {
  const scale = Math.fround(high - low) / size;
  const filterScale = Math.max(scale, 1);
  return Array.from({ length: size }, (_, x) => {
    const center = low + (x + 0.5) * scale;
    const first = Math.max(Math.trunc(center - filterScale + 0.5), 0);
    const end = Math.min(Math.trunc(center + filterScale + 0.5), n);
    const weights = new Float64Array(Math.max(end - first, 0));
    let sum = 0;
    for (let k = 0; k < weights.length; k += 1) {
      const away = Math.abs((k + first - center + 0.5) * (1 / filterScale));
      weights[k] = away < 1 ? 1 - away : 0;
      sum += weights[k];
    }
    if (sum !== 0) for (let k = 0; k < weights.length; k += 1) weights[k] /= sum;
    return [first, weights];
  });
}
