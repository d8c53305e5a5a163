// A tumor is drawn on the CT in this page, with the tools of the workstation; every stroke can be undone.

import { Brush, Polygon, limitsIn } from "/static/draw-tools.js";
import { make, say } from "./local.js";

const LAYER = "tumor";
const TOOLS = [["brush", "Brush"], ["eraser", "Eraser"], ["threshold-brush", "HU brush"], ["polygon", "Polygon"]];
const MOST_STEPS = 200;

export class PageDrawing {
  /** @param {HTMLElement} box - for the buttons; `changed` is called after each stroke. */
  constructor(viewer, volume, box, changed) {
    Object.assign(this, { viewer, volume, box, changed });
    this.pen = null;
    this.busy = 0;
    this.radiusMm = 5;
    this.done = [];
    this.kept = new Map(); // runs of each slice as they were before the stroke that is on
    this.layer = viewer.addLayer(LAYER, volume, "#ffb000");
    this.layer.active = true;
    this.show();
    this.choose("brush");
  }

  show() {
    const button = (text, onclick) => make("button", { type: "button", text, onclick });
    this.buttons = TOOLS.map(([name, text]) => make("button", { type: "button", text, "aria-pressed": "false", "data-testid": `draw-${name}`, onclick: () => this.choose(name) }));
    this.size = make("input", { type: "range", min: "1", max: "40", value: String(this.radiusMm), oninput: () => { this.radiusMm = Number(this.size.value); this.viewer.draw(); } });
    this.low = make("input", { type: "number", value: "0", step: "10" });
    this.high = make("input", { type: "number", value: "250", step: "10" });
    this.facts = make("p", { class: "quiet", "data-testid": "draw-facts" });
    this.box.replaceChildren(
      make("div", { class: "tools", role: "toolbar", "aria-label": "Drawing tools" }, this.buttons, button("Undo", () => this.undo()), button("Clear slice", () => this.clear())),
      make("label", { class: "inline" }, "Brush", this.size),
      make("div", { class: "inline" }, make("label", {}, "HU from ", this.low), make("label", {}, "to ", this.high)),
      this.facts,
    );
    this.tell();
  }

  limits() {
    return limitsIn(this.low, this.high);
  }

  choose(name) {
    this.viewer.setOver(name === "polygon" ? new Polygon(this) : new Brush(this, name));
    this.buttons.forEach((one, at) => one.setAttribute("aria-pressed", String(TOOLS[at][0] === name)));
  }

  /** A stroke is done. */
  commit(index) {
    this.done.push({ index, runs: this.kept.get(index) ?? [] });
    if (this.done.length > MOST_STEPS) this.done.shift();
    this.kept.set(index, this.layer.runs(index));
    this.tell();
    this.viewer.draw();
    this.changed();
  }

  undo() {
    const last = this.done.pop();
    if (last === undefined) {
      say("Nothing to undo.");
      return;
    }
    this.put(last.index, last.runs);
  }

  clear() {
    const index = this.viewer.slice;
    this.done.push({ index, runs: this.kept.get(index) ?? [] });
    this.put(index, []);
  }

  put(index, runs) {
    this.layer.put([{ index, runs }]);
    this.kept.set(index, runs);
    this.viewer.goTo(index);
    this.tell();
    this.changed();
  }

  tell() {
    const [s, r, c] = this.volume.spacing;
    const counts = [...this.layer.slices.keys()].map((index) => this.layer.count(index)).filter(Boolean);
    const n = counts.reduce((sum, one) => sum + one, 0);
    this.facts.textContent = `${counts.length} slices, ${((n * s * r * c) / 1000).toFixed(1)} ml`;
  }

  /** The voxels (S, R, C) as they are drawn. */
  voxels() {
    const [, rows, columns] = this.volume.shape;
    const out = new Uint8Array(this.volume.shape[0] * rows * columns);
    for (const [index, mask] of this.layer.slices) out.set(mask, index * rows * columns);
    return out;
  }

  close() {
    this.viewer.setTool("move");
    this.viewer.removeLayer(LAYER);
    this.box.replaceChildren();
  }
}

/** Runs [row, first, last] of a slice of a mask, as a layer takes them. */
export function runsOf(voxels, [, rows, columns], index) {
  const found = [];
  for (let row = 0; row < rows; row += 1) {
    const base = (index * rows + row) * columns;
    for (let column = 0; column < columns; column += 1) {
      if (!voxels[base + column]) continue;
      const first = column;
      while (column + 1 < columns && voxels[base + column + 1]) column += 1;
      found.push([row, first, column]);
    }
  }
  return found;
}
