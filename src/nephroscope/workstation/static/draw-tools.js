// The tools that draw on a canvas: brush, eraser, brush within HU limits, polygon, seed and box. They change a mask and hand over what changed.

import { say } from "/static/common.js";

const CLOSE_PX = 9; // from the first corner of a polygon

/** Limits in HU as two fields have them: an empty one is none, and what is no number lets nothing through. */
export function limitsIn(low, high) {
  const limit = (input, none) => (input.validity.badInput ? NaN : input.value === "" ? none : Number(input.value));
  return { low: limit(low, -Infinity), high: limit(high, Infinity) };
}

/** What all tools share: the pen of the keyboard, and which canvas they draw on. */
class Tool {
  constructor(drawing) {
    this.drawing = drawing;
    this.begun = false;
  }

  /** The pane is the series that is drawn on, seen along its slices. */
  fits(pane) {
    return pane.plane === "axial" && pane.volume === this.drawing.volume;
  }

  pen(pane) {
    const [, row, column] = this.drawing.pen ?? [0, Math.floor(pane.volume.shape[1] / 2), Math.floor(pane.volume.shape[2] / 2)];
    return [row, column];
  }

  /** Alt and arrows move the pen, Space uses the tool there. */
  key(pane, event) {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.altKey && steps) {
      const [row, column] = this.pen(pane);
      const far = event.shiftKey ? 5 : 1;
      this.drawing.pen = [0, row + steps[0] * far, column + steps[1] * far];
      pane.point(this.pen(pane));
      pane.draw();
      event.preventDefault();
      return true;
    }
    if (event.key === " " && event.target === pane.canvas) {
      if (this.down(pane, this.pen(pane), event)) this.up(pane, event);
      event.preventDefault();
      return true;
    }
    return false;
  }

  move() {}
  up() {}
  cancel() {}

  drawPen(pane, context, screen) {
    if (this.drawing.pen === null || !this.fits(pane)) return;
    const [x, y] = screen(this.pen(pane));
    context.strokeStyle = "#fff";
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x - 6, y);
    context.lineTo(x + 6, y);
    context.moveTo(x, y - 6);
    context.lineTo(x, y + 6);
    context.stroke();
  }

  draw(pane, context, screen) {
    this.drawPen(pane, context, screen);
  }
}

export class Brush extends Tool {
  /** @param {string} kind - brush, eraser or threshold-brush. */
  constructor(drawing, kind) {
    super(drawing);
    this.kind = kind;
  }

  down(pane, place, event) {
    if (!this.fits(pane) || this.drawing.busy) return false;
    this.erases = (this.kind === "eraser") !== event.shiftKey;
    if (this.kind === "threshold-brush" && !this.erases && !pane.volume.have[pane.index]) {
      say("The HU of this slice have not arrived yet.");
      return false;
    }
    this.begun = true;
    this.index = pane.index;
    this.last = place;
    this.mask = this.drawing.layer.own(this.index);
    this.stamp(place);
    this.show(pane);
    return true;
  }

  move(pane, places) {
    if (!this.begun) return;
    for (const place of places) {
      const [dy, dx] = [place[0] - this.last[0], place[1] - this.last[1]];
      const steps = Math.max(Math.ceil(Math.hypot(dy, dx) / Math.max(this.radii()[0] / 2, 0.5)), 1);
      for (let step = 1; step <= steps; step += 1) this.stamp([this.last[0] + (dy * step) / steps, this.last[1] + (dx * step) / steps]);
      this.last = place;
    }
    this.show(pane);
  }

  show(pane) {
    this.drawing.layer.touch(this.index);
    pane.draw();
  }

  /** Radii of the brush in rows and columns. */
  radii() {
    const [, row, column] = this.drawing.volume.spacing;
    return [this.drawing.radiusMm / row, this.drawing.radiusMm / column];
  }

  /** Paint every voxel whose center lies in the brush, and the one under it. */
  stamp([y, x]) {
    const [, rows, columns] = this.drawing.volume.shape;
    const [ry, rx] = this.radii();
    const hu = this.kind === "threshold-brush" && !this.erases ? this.drawing.volume.hu : null;
    const base = this.index * rows * columns;
    const { low, high } = this.drawing.limits();
    const paint = (row, column) => {
      if (row < 0 || column < 0 || row >= rows || column >= columns) return;
      const at = row * columns + column;
      if (hu === null || (hu[base + at] >= low && hu[base + at] <= high)) this.mask[at] = this.erases ? 0 : 1;
    };
    for (let row = Math.ceil(y - ry); row <= y + ry; row += 1) {
      if (row < 0 || row >= rows) continue;
      this.drawing.layer.reach(this.index, row);
      const half = rx * Math.sqrt(Math.max(1 - ((row - y) / ry) ** 2, 0));
      for (let column = Math.ceil(x - half); column <= x + half; column += 1) paint(row, column);
    }
    const under = Math.min(Math.max(Math.round(y), 0), rows - 1);
    this.drawing.layer.reach(this.index, under);
    if (under === Math.round(y)) paint(under, Math.round(x));
  }

  up() {
    if (!this.begun) return;
    this.begun = false;
    this.drawing.commit(this.index, this.kind === "threshold-brush" && this.erases ? "eraser" : this.kind);
  }

  cancel() {
    this.up();
  }

  draw(pane, context, screen, { scaleX, scaleY }) {
    this.drawPen(pane, context, screen);
    const place = pane.pointer ?? (this.drawing.pen === null ? null : this.pen(pane));
    if (place === null || !this.fits(pane)) return;
    const [x, y] = screen(place);
    const [ry, rx] = this.radii();
    context.strokeStyle = this.kind === "eraser" ? "#ff9d94" : "#fff";
    context.lineWidth = 1;
    context.beginPath();
    context.ellipse(x, y, Math.max(rx * scaleX, 1), Math.max(ry * scaleY, 1), 0, 0, 2 * Math.PI);
    context.stroke();
  }
}

export class Polygon extends Tool {
  constructor(drawing) {
    super(drawing);
    this.points = [];
  }

  down(pane, place, event) {
    if (!this.fits(pane) || this.drawing.busy) return false;
    if (this.points.length && this.index !== pane.index) this.points = [];
    this.index = pane.index;
    this.erases = event.shiftKey;
    const { scaleX, scaleY } = pane.placement();
    const [first] = this.points;
    if (this.points.length > 2 && Math.hypot((place[0] - first[0]) * scaleY, (place[1] - first[1]) * scaleX) < CLOSE_PX) {
      this.close(pane);
    } else {
      this.points.push(place);
      pane.draw();
    }
    return true;
  }

  key(pane, event) {
    if (event.key === "Enter" && this.points.length > 2 && !this.drawing.busy) {
      this.close(pane);
      event.preventDefault();
      return true;
    }
    if (event.key === "Escape" && this.points.length) {
      this.cancel();
      pane.draw();
      return true;
    }
    return super.key(pane, event);
  }

  close(pane) {
    const mask = this.drawing.layer.own(this.index);
    this.drawing.layer.reach(this.index, Math.max(Math.floor(Math.min(...this.points.map((point) => point[0]))), 0));
    this.drawing.layer.reach(this.index, Math.min(Math.ceil(Math.max(...this.points.map((point) => point[0]))), this.drawing.volume.shape[1] - 1));
    fillPolygon(mask, this.drawing.volume.shape, this.points, this.erases ? 0 : 1);
    this.points = [];
    this.drawing.layer.touch(this.index);
    pane.draw();
    this.drawing.commit(this.index, "polygon");
  }

  cancel() {
    this.points = [];
  }

  draw(pane, context, screen) {
    this.drawPen(pane, context, screen);
    if (!this.points.length || !this.fits(pane) || pane.index !== this.index) return;
    const corners = [...this.points, ...(pane.pointer ? [pane.pointer] : [])].map(screen);
    context.strokeStyle = this.drawing.layer.color;
    context.lineWidth = 2;
    context.beginPath();
    corners.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
    context.fillStyle = "#fff";
    for (const [x, y] of corners.slice(0, this.points.length)) context.fillRect(x - 2.5, y - 2.5, 5, 5);
  }
}

/** Set the voxels whose centers lie in a polygon, by the even-odd rule. */
export function fillPolygon(mask, [, rows, columns], points, value) {
  const ys = points.map((point) => point[0]);
  for (let row = Math.max(Math.floor(Math.min(...ys)), 0); row <= Math.min(Math.ceil(Math.max(...ys)), rows - 1); row += 1) {
    const crossings = [];
    points.forEach(([y1, x1], at) => {
      const [y2, x2] = points[(at + 1) % points.length];
      if (y1 <= row !== y2 <= row) crossings.push(x1 + ((row - y1) / (y2 - y1)) * (x2 - x1));
    });
    crossings.sort((a, b) => a - b);
    for (let at = 0; at + 1 < crossings.length; at += 2) {
      for (let column = Math.max(Math.ceil(crossings[at]), 0); column < crossings[at + 1] && column < columns; column += 1) {
        mask[row * columns + column] = value;
      }
    }
  }
}

export class Seed extends Tool {
  down(pane, place) {
    const voxel = pane.voxelAt(place);
    if (pane.volume !== this.drawing.volume || pane.volume.value(voxel) === null) return false;
    this.drawing.grow(voxel);
    return true;
  }
}

export class Box extends Tool {
  constructor(drawing) {
    super(drawing);
    this.spans = [null, null, null]; // first and last slice, row, column
  }

  down(pane, place) {
    if (pane.volume !== this.drawing.volume) return false;
    this.from = place;
    this.dragged = false;
    return true;
  }

  move(pane, places) {
    this.dragged = true;
    this.set(pane, this.from, places.at(-1));
  }

  key(pane, event) {
    if (event.key === "Enter" && this.spans.every(Boolean)) {
      this.drawing.propose();
      event.preventDefault();
      return true;
    }
    if (event.key === " " && event.target === pane.canvas) {
      const place = this.pen(pane);
      if (this.corner) this.set(pane, this.corner, place);
      this.corner = this.corner ? null : place;
      event.preventDefault();
      return true;
    }
    return super.key(pane, event);
  }

  set(pane, from, to) {
    const ends = [from, to].map((place) => pane.voxelAt(place));
    const fixed = pane.volume.axis(pane.plane);
    this.spans = this.spans.map((span, axis) => {
      if (axis === fixed) return span;
      const last = pane.volume.shape[axis] - 1;
      const pair = ends.map((end) => Math.min(Math.max(end[axis], 0), last)).sort((a, b) => a - b);
      return pair;
    });
    this.drawing.onBox(this.spans);
    this.drawing.viewer.draw();
  }

  draw(pane, context, screen) {
    this.drawPen(pane, context, screen);
    if (pane.volume !== this.drawing.volume) return;
    const axes = [0, 1, 2].filter((axis) => axis !== pane.volume.axis(pane.plane));
    if (!axes.every((axis) => this.spans[axis])) return;
    const corner = (end) => {
      const voxel = [pane.index, pane.index, pane.index];
      axes.forEach((axis) => { voxel[axis] = this.spans[axis][end]; });
      return pane.volume.placeOf(pane.plane, voxel).slice(1);
    };
    const [[y1, x1], [y2, x2]] = [corner(0), corner(1)];
    const [left, top] = screen([Math.min(y1, y2) - 0.5, Math.min(x1, x2) - 0.5]);
    const [right, bottom] = screen([Math.max(y1, y2) + 0.5, Math.max(x1, x2) + 0.5]);
    context.strokeStyle = "#fff";
    context.lineWidth = 1.5;
    context.strokeRect(left, top, right - left, bottom - top);
  }
}
