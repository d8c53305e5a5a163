// One CT series in the browser: its grid, its voxels as they arrive, and ROI masks on the same grid.

import { api, complain } from "/static/common.js";

const CHUNK = 16; // slices in one request
const AXES = { axial: 0, coronal: 1, sagittal: 2 };

export class Volume {
  /** @param {object} listed - a row of the list of series: address, name, phase. */
  constructor(listed) {
    Object.assign(this, { name: listed.name, phase: listed.phase, address: listed.address, id: listed.id ?? "" });
    this.hu = null;
    this.have = null;
    this.loaded = 0;
    this.closed = new AbortController();
    this.listeners = new Set();
    this.asked = new Map();
  }

  /** Read the grid, then one slice; the others follow by themselves. */
  async open(first = null) {
    const view = await api(this.address, { signal: this.closed.signal });
    this.view = view;
    this.shape = view.shape;
    this.spacing = view.spacing_mm;
    this.letters = view.letters;
    this.affine = view.affine;
    this.inverse = inverse(view.affine);
    const [slices, rows, columns] = view.shape;
    this.hu = new Int16Array(slices * rows * columns);
    this.have = new Uint8Array(slices);
    const start = first ?? Math.floor(slices / 2);
    await this.need(start);
    this.fill(start);
    return this;
  }

  /** Slices, rows and columns of what a plane shows: [n, height, width]. */
  planeShape(plane) {
    const [s, r, c] = this.shape;
    return { axial: [s, r, c], coronal: [r, s, c], sagittal: [c, s, r] }[plane];
  }

  /** Distance in mm between rows and columns of a plane. */
  planeSpacing(plane) {
    const [s, r, c] = this.spacing;
    return { axial: [r, c], coronal: [s, c], sagittal: [s, r] }[plane];
  }

  /** Voxel (slice, row, column) of a place (y, x) on a plane. */
  voxelAt(plane, index, y, x) {
    const last = this.shape[0] - 1;
    return { axial: [index, y, x], coronal: [last - y, index, x], sagittal: [last - y, x, index] }[plane];
  }

  /** Index of the plane, and place (y, x) on it, of a voxel. */
  placeOf(plane, [s, r, c]) {
    const last = this.shape[0] - 1;
    return { axial: [s, r, c], coronal: [r, last - s, c], sagittal: [c, last - s, r] }[plane];
  }

  /** LPS mm of a voxel, and voxel (not rounded) of LPS mm. */
  toMm(voxel) {
    return apply(this.affine, voxel);
  }

  toVoxel(mm) {
    return apply(this.inverse, mm);
  }

  axis(plane) {
    return AXES[plane];
  }

  value(voxel) {
    const [s, r, c] = voxel;
    const [slices, rows, columns] = this.shape;
    if (s < 0 || r < 0 || c < 0 || s >= slices || r >= rows || c >= columns || !this.have[s]) return null;
    return this.hu[(s * rows + r) * columns + c];
  }

  /** Write a plane through a table of grays into the pixels of a picture; gives false where slices are missing. */
  paint(plane, index, table, pixels) {
    const [slices, rows, columns] = this.shape;
    const hu = this.hu;
    if (plane === "axial") {
      if (!this.have[index]) return false;
      const n = rows * columns;
      const part = hu.subarray(index * n, (index + 1) * n);
      for (let at = 0; at < n; at += 1) pixels[at] = table[part[at] + 32768];
      return true;
    }
    const width = plane === "coronal" ? columns : rows;
    for (let s = 0; s < slices; s += 1) {
      const to = (slices - 1 - s) * width;
      if (!this.have[s]) {
        pixels.fill(0xff000000, to, to + width);
      } else if (plane === "coronal") {
        const from = (s * rows + index) * columns;
        for (let x = 0; x < width; x += 1) pixels[to + x] = table[hu[from + x] + 32768];
      } else {
        const from = s * rows * columns + index;
        for (let x = 0; x < width; x += 1) pixels[to + x] = table[hu[from + x * columns] + 32768];
      }
    }
    return true;
  }

  /** Ask for one slice now. */
  need(index) {
    if (this.have[index]) return Promise.resolve();
    if (!this.asked.has(index)) {
      const path = `${this.address}/slice/axial/${index}`;
      const asked = this.read(path, index, index).finally(() => this.asked.delete(index));
      this.asked.set(index, asked);
    }
    return this.asked.get(index);
  }

  async read(path, first, last) {
    const answer = await api(path, { raw: true, signal: this.closed.signal });
    const found = new Int16Array(await answer.arrayBuffer());
    if (this.hu === null) return;
    this.hu.set(found, first * this.shape[1] * this.shape[2]);
    this.have.fill(1, first, last + 1);
    this.loaded = this.have.reduce((sum, one) => sum + one, 0) / this.shape[0];
    this.listeners.forEach((listener) => listener());
  }

  /** Read everything, from a slice outward. */
  async fill(start) {
    const chunks = [];
    for (let first = 0; first < this.shape[0]; first += CHUNK) {
      chunks.push([first, Math.min(first + CHUNK, this.shape[0]) - 1]);
    }
    chunks.sort((a, b) => Math.abs(a[0] + CHUNK / 2 - start) - Math.abs(b[0] + CHUNK / 2 - start));
    for (const [first, last] of chunks) {
      while (this.hu !== null) {
        try {
          await this.read(`${this.address}/slices/axial/${first}-${last}`, first, last);
          break;
        } catch (error) {
          if (error.name === "AbortError") return;
          if (error.status !== 0) {
            complain(error);
            return;
          }
          await new Promise((done) => setTimeout(done, 500));
        }
      }
    }
  }

  close() {
    this.closed.abort();
    this.hu = null;
    this.listeners.clear();
  }
}

/** An ROI on the grid of a series: a mask per slice, and outlines made when they are looked at. */
export class Layer {
  constructor(shape, color) {
    this.shape = shape;
    this.color = color;
    this.slices = new Map();
    this.drawn = new Map();
    this.rows = new Map(); // first and last row of a slice that may be set
    this.shown = true;
    this.active = false;
    this.paths = new Map();
    this.counts = new Map();
  }

  /** Voxels of a slice. */
  count(index) {
    if (!this.counts.has(index)) this.counts.set(index, this.mask(index)?.reduce((sum, one) => sum + one, 0) ?? 0);
    return this.counts.get(index);
  }

  mask(index) {
    return this.slices.get(index) ?? null;
  }

  /** The mask of a slice to be changed; `touch` must follow. */
  own(index) {
    if (!this.slices.has(index)) this.slices.set(index, new Uint8Array(this.shape[1] * this.shape[2]));
    if (!this.rows.has(index)) this.rows.set(index, [this.shape[1], -1]);
    return this.slices.get(index);
  }

  /** A row of a slice was painted. */
  reach(index, row) {
    const rows = this.rows.get(index);
    rows[0] = Math.min(rows[0], row);
    rows[1] = Math.max(rows[1], row);
  }

  touch(index) {
    this.counts.delete(index);
    for (const key of this.paths.keys()) {
      if (!key.startsWith("axial") || key === `axial ${index}`) this.paths.delete(key);
    }
  }

  /** Put slices as the server gives them: [{index, runs, drawn}]. */
  put(slices) {
    const columns = this.shape[2];
    for (const { index, runs, drawn } of slices) {
      if (runs.length === 0) {
        this.slices.delete(index);
        this.rows.delete(index);
      } else {
        const mask = new Uint8Array(this.shape[1] * columns);
        for (const [row, first, last] of runs) mask.fill(1, row * columns + first, row * columns + last + 1);
        this.slices.set(index, mask);
        this.rows.set(index, [runs[0][0], runs.at(-1)[0]]);
      }
      this.drawn.set(index, drawn ?? true);
      this.touch(index);
    }
  }

  runs(index) {
    const mask = this.slices.get(index);
    const [, rows, columns] = this.shape;
    const found = [];
    const [top, bottom] = this.rows.get(index) ?? [rows, -1];
    for (let row = top; mask !== undefined && row <= bottom; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        if (!mask[row * columns + column]) continue;
        const first = column;
        while (column + 1 < columns && mask[row * columns + column + 1]) column += 1;
        found.push([row, first, column]);
      }
    }
    return found;
  }

  /** {edge, area}: paths in pixels of the plane; null where there is nothing. */
  path(volume, plane, index) {
    const key = `${plane} ${index}`;
    if (!this.paths.has(key)) {
      const [, height, width] = volume.planeShape(plane);
      const mask = plane === "axial" ? this.mask(index) : this.cut(volume, plane, index, height, width);
      const rows = plane === "axial" ? this.rows.get(index) : [0, height - 1];
      this.paths.set(key, mask === null ? null : trace(mask, height, width, rows));
    }
    return this.paths.get(key);
  }

  cut(volume, plane, index, height, width) {
    const columns = this.shape[2];
    let mask = null;
    for (const [s, slice] of this.slices) {
      const y = height - 1 - s;
      for (let x = 0; x < width; x += 1) {
        if (slice[plane === "coronal" ? index * columns + x : x * columns + index]) {
          mask ??= new Uint8Array(height * width);
          mask[y * width + x] = 1;
        }
      }
    }
    return mask;
  }
}

function trace(mask, height, width, [top, bottom]) {
  const edge = new Path2D();
  const area = new Path2D();
  let any = false;
  for (let y = top; y <= bottom; y += 1) {
    const row = y * width;
    for (let x = 0; x < width; x += 1) {
      if (!mask[row + x]) continue;
      const first = x;
      any = true;
      edge.moveTo(first, y);
      edge.lineTo(first, y + 1);
      for (;; x += 1) {
        if (y === 0 || !mask[row - width + x]) line(edge, x, y);
        if (y === height - 1 || !mask[row + width + x]) line(edge, x, y + 1);
        if (x + 1 >= width || !mask[row + x + 1]) break;
      }
      edge.moveTo(x + 1, y);
      edge.lineTo(x + 1, y + 1);
      area.rect(first, y, x + 1 - first, 1);
    }
  }
  return any ? { edge, area } : null;
}

function line(path, x, y) {
  path.moveTo(x, y);
  path.lineTo(x + 1, y);
}

export function apply(matrix, [a, b, c]) {
  return [0, 1, 2].map((row) => matrix[row][0] * a + matrix[row][1] * b + matrix[row][2] * c + matrix[row][3]);
}

function inverse(m) {
  const [a, b, c] = [0, 1, 2].map((column) => [m[0][column], m[1][column], m[2][column]]);
  const cross = (p, q) => [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]];
  const dot = (p, q) => p[0] * q[0] + p[1] * q[1] + p[2] * q[2];
  const det = dot(a, cross(b, c));
  const origin = [m[0][3], m[1][3], m[2][3]];
  return [cross(b, c), cross(c, a), cross(a, b)].map((row) => {
    const scaled = row.map((value) => value / det);
    return [...scaled, -dot(scaled, origin)];
  });
}
