// The viewer: `openViewer(element, caseId, options)`. CT on its own grid in three planes or phases side by side, two-dimensional canvas.

import { api, complain, make } from "/static/common.js";
import { Layer, Volume } from "/static/viewer-volume.js";
import { Pane } from "/static/viewer-pane.js";

export const PRESETS = [
  ["soft", "Soft tissue", 40, 400], ["kidney", "Kidney", 100, 250], ["wide", "Wide", 50, 700], ["bone", "Bone", 400, 1800], ["lung", "Lung", -600, 1500],
];
const TOOLS = [["move", "Move", "M"], ["window", "Window", "W"], ["distance", "Distance", "D"]];
const LAYOUTS = [["one", "One"], ["planes", "Planes"], ["phases", "Phases"]];
const COLORS = { "reader-1": "#ffb000", "reader-2": "#56c7ff", consensus: "#7cf29c" };
const OTHERS = ["#ff8ad8", "#f0e442", "#c3a6ff", "#ff8f5e"];
const MOST_PHASES = 4;
const CANVAS = "viewer-canvas"; // data-testid of the first; the others add what they show
const NOTCH_PX = 40; // of the wheel

/** Colour of an author's outline. */
export function colorOf(author) {
  return COLORS[author] ?? OTHERS[[...author].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % OTHERS.length];
}

/**
 * Open a viewer in an element.
 * @param {HTMLElement} element - is filled; give it a height.
 * @param {string|null} caseId - identifier of a case; null with `options.list`.
 * @param {object} options - series: {series: [{name, phase, opened: Promise of a Volume}]} that are here already, in place of a server's;
 *   list: address of a list of series in place of /api/cases/ID/series; outlines: address of {"slices": [...]} to
 *   show as one outline on the first series; readOnly: no drawing; keys: "arrows" leaves letters to the page; index: slice to begin with.
 */
export async function openViewer(element, caseId, options = {}) {
  const viewer = new Viewer(element, options);
  try {
    await viewer.open(options.series ?? await api(options.list ?? `/api/cases/${caseId}/series`));
  } catch (error) {
    viewer.close();
    element.replaceChildren(make("p", { class: "refusal", role: "alert", "data-testid": "viewer-refused", text: error.message }));
    throw error;
  }
  return viewer;
}

class Viewer {
  constructor(element, options) {
    Object.assign(this, { element, options, complain });
    this.zoom = 1;
    this.level = 40;
    this.width = 400;
    this.tool = "move";
    this.layers = new Map();
    this.panes = [];
    this.volumes = new Map();
    this.measures = [];
    this.hidden = false;
    this.over = null; // what draws: {down, move, up, draw, key}
    this.setTable();
    this.canvases = make("div", { class: "panes", "data-testid": "viewer-panes" });
    this.bar = make("div", { class: "viewer-bar", role: "toolbar", "aria-label": "Viewer" });
    element.classList.add("viewer");
    element.replaceChildren(this.bar, this.canvases);
    this.stop = new AbortController();
    this.keys = (event) => this.key(event);
    window.addEventListener("keydown", this.keys, { signal: this.stop.signal });
  }

  async open(listed) {
    this.listed = listed.series;
    const chosen = this.listed.find((one) => [one.name, one.id].includes(listed.first)) ?? this.listed[0];
    this.first = await this.volume(chosen, this.options.index);
    const [s, r, c] = this.first.shape;
    this.center = this.first.toMm([(s - 1) / 2, (r - 1) / 2, (c - 1) / 2]);
    this.at = this.first.toMm([this.options.index ?? Math.floor(s / 2), Math.floor(r / 2), Math.floor(c / 2)]);
    this.makeBar();
    this.setLayout("one");
    if (this.options.outlines) {
      const found = await api(this.options.outlines);
      this.addLayer("outline", this.first, "#ffb000").put(found.slices ?? []);
      const drawn = (found.slices ?? []).filter((one) => one.runs.length);
      const middle = drawn[Math.floor(drawn.length / 2)];
      if (middle) this.goTo(middle.index, middle.runs);
      this.draw();
    }
  }

  async volume(listed, index = null) {
    if (!this.volumes.has(listed.name)) this.volumes.set(listed.name, listed.opened ?? new Volume(listed).open(index));
    return this.volumes.get(listed.name);
  }

  makeBar() {
    const button = (group, name, text, title, onclick) => make("button", {
      type: "button", text, title, "data-testid": `viewer-${group}-${name}`, "aria-pressed": "false", onclick,
    });
    this.toolButtons = TOOLS.map(([name, text, key]) => button("tool", name, text, `${text} (${key})`, () => this.setTool(name)));
    this.layoutButtons = LAYOUTS.map(([name, text]) => button("layout", name, text, `Show: ${text}`, () => this.setLayout(name)));
    this.presets = make("select", { "aria-label": "Window", "data-testid": "viewer-preset", onchange: () => this.preset(this.presets.value) },
      PRESETS.map(([name, text, level, width], at) => make("option", { value: name, text: `${at + 1} ${text} (L ${level} W ${width})` })));
    this.series = make("select", { "aria-label": "Series", "data-testid": "viewer-series", onchange: () => this.choose(this.series.value) },
      this.listed.map((one) => make("option", { value: one.name, text: one.phase === "unknown" ? one.name : one.phase, selected: one.name === this.first.name })));
    this.planes = make("select", { "aria-label": "Plane", "data-testid": "viewer-plane", onchange: () => this.setPlane(this.planes.value) },
      ["axial", "coronal", "sagittal"].map((name) => make("option", { value: name, text: name })));
    this.help = makeHelp(this.options);
    this.bar.replaceChildren(
      ...this.toolButtons, make("span", { class: "gap" }), ...this.layoutButtons, this.planes, this.series, this.presets,
      button("zoom", "in", "+", "Larger (+)", () => this.zoomBy(1.25)), button("zoom", "out", "\u2212", "Smaller (-)", () => this.zoomBy(0.8)),
      button("zoom", "fit", "Fit", "Fit (0)", () => this.fit()),
      button("help", "open", "Keys (?)", "All keys", () => this.help.showModal()), this.help,
    );
    this.setTool("move");
  }

  async choose(name) {
    this.first = await this.volume(this.listed.find((one) => one.name === name));
    this.setLayout(this.layout);
    this.onSeries?.(this.first);
  }

  setPlane(plane) {
    this.planes.value = plane;
    this.setLayout("one");
  }

  async setLayout(name) {
    this.layout = name;
    this.layoutButtons.forEach((one, at) => one.setAttribute("aria-pressed", String(LAYOUTS[at][0] === name)));
    const planes = { one: [this.planes.value], planes: ["axial", "coronal", "sagittal"], phases: ["axial"] }[name];
    let wanted = planes.map((plane) => [this.first, plane, plane === "axial" || name === "one" ? "" : `-${plane}`]);
    if (name === "phases") {
      const others = this.listed.filter((one) => one.name !== this.first.name).slice(0, MOST_PHASES - 1);
      const volumes = await Promise.all(others.map((one) => this.volume(one).catch((error) => (complain(error), null))));
      wanted = [this.first, ...volumes.filter((one) => one !== null)].map((one, at) => [one, "axial", at ? `-${at + 1}` : ""]);
    }
    if (this.penDown) this.over?.cancel?.(); // its canvas goes, and with it the end of the stroke
    this.drag = null;
    this.panes.forEach((pane) => pane.close());
    this.panes = wanted.map(([volume, plane, ending]) => this.listen(new Pane(this, volume, plane, CANVAS + ending)));
    this.canvases.dataset.count = this.panes.length;
    this.canvases.replaceChildren(...this.panes.map((pane) => pane.element));
    this.panes.forEach((pane) => pane.resize());
  }

  listen(pane) {
    const canvas = pane.canvas;
    const on = (name, handler, more = {}) => canvas.addEventListener(name, handler, { signal: this.stop.signal, ...more });
    on("pointerdown", (event) => this.down(pane, event));
    on("pointermove", (event) => this.move(pane, event));
    on("pointerrawupdate", (event) => { // before the next frame: a stroke does not wait for it
      if (this.penDown) this.move(pane, event);
    });
    on("pointerup", (event) => this.up(pane, event));
    on("pointercancel", (event) => this.up(pane, event));
    on("pointerleave", () => { pane.pointer = null; pane.draw(); });
    on("dblclick", (event) => this.over?.key?.(pane, { key: "Enter", preventDefault: () => event.preventDefault() }));
    on("contextmenu", (event) => event.preventDefault());
    on("wheel", (event) => this.wheel(pane, event), { passive: false });
    return pane;
  }

  wheel(pane, event) {
    event.preventDefault();
    if (this.penDown) return;
    if (event.ctrlKey) {
      this.zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15, pane, event);
      return;
    }
    const far = event.deltaMode === 0 ? event.deltaY : event.deltaY * NOTCH_PX;
    const step = Math.abs(far) >= NOTCH_PX ? Math.sign(far) : far / NOTCH_PX; // one slice a notch; a touchpad adds up
    this.turned = (this.turned ?? 0) + step;
    const steps = Math.trunc(this.turned);
    if (steps === 0) return;
    this.turned -= steps;
    this.scroll(pane, -steps);
  }

  /** Go on by some slices; up is toward the head, the back, the left. */
  scroll(pane, steps) {
    const axis = pane.volume.axis(pane.plane);
    const voxel = pane.volume.toVoxel(this.at);
    voxel[axis] = Math.min(Math.max(pane.index + steps, 0), pane.volume.shape[axis] - 1);
    this.at = pane.volume.toMm(voxel);
    this.draw();
  }

  /** Show an axial slice of the first series; the other planes go through the voxels of `runs`, where they are given. */
  goTo(index, runs = []) {
    const voxel = this.first.toVoxel(this.at);
    voxel[0] = Math.min(Math.max(index, 0), this.first.shape[0] - 1);
    if (runs.length) {
      const [row, first, last] = runs[Math.floor(runs.length / 2)];
      [voxel[1], voxel[2]] = [row, Math.round((first + last) / 2)];
    }
    this.at = this.first.toMm(voxel);
    this.draw();
  }

  get pane() {
    const focused = this.panes.find((one) => one.canvas === document.activeElement);
    return focused ?? this.panes[0];
  }

  get axialPane() {
    return this.panes.find((one) => one.plane === "axial" && one.volume === this.first) ?? null;
  }

  /** Index of the axial slice of the first series at the place that is shown. */
  get slice() {
    return Math.min(Math.max(Math.round(this.first.toVoxel(this.at)[0]), 0), this.first.shape[0] - 1);
  }

  down(pane, event) {
    pane.canvas.focus({ preventScroll: true });
    try {
      pane.canvas.setPointerCapture(event.pointerId);
    } catch {
      // an event that a script made has no pointer
    }
    const place = pane.placeAt(event.clientX, event.clientY);
    const tool = event.button === 2 ? "window" : event.button === 1 || event.shiftKey && this.over === null ? "move" : this.tool;
    this.drag = { pane, tool, x: event.clientX, y: event.clientY, place };
    if (event.button === 0 && this.over?.down(pane, place, event)) {
      this.drag.tool = "over";
    } else if (tool === "distance") {
      this.measures = this.measures.filter((one) => one.pane !== pane || one.index !== pane.index);
      this.measures.push({ pane, index: pane.index, from: place, to: place });
    } else if (tool === "move" && event.button === 0 && this.layout !== "one") {
      this.at = pane.volume.toMm(pane.voxelAt(place));
      this.draw();
    }
    event.preventDefault();
  }

  move(pane, event) {
    const place = pane.placeAt(event.clientX, event.clientY);
    pane.point(place);
    const { drag } = this;
    if (!drag) {
      if (this.over) pane.draw();
      return;
    }
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (this.penDown) {
      const events = event.getCoalescedEvents?.() ?? [];
      const places = (events.length ? events : [event]).map((one) => pane.placeAt(one.clientX, one.clientY));
      this.over.move(pane, places, event);
      return;
    }
    Object.assign(drag, { x: event.clientX, y: event.clientY });
    if (drag.tool === "window") {
      this.setWindow(this.level + dy, Math.max(this.width + 2 * dx, 1));
    } else if (drag.tool === "move" && this.layout !== "one" && event.buttons === 1) {
      this.at = pane.volume.toMm(pane.voxelAt(place));
      this.draw();
    } else if (drag.tool === "move") {
      const { scaleX, scaleY } = pane.placement();
      const [, y, x] = pane.volume.placeOf(pane.plane, pane.volume.toVoxel(this.center));
      this.center = pane.volume.toMm(pane.volume.voxelAt(pane.plane, pane.index, y - dy / scaleY, x - dx / scaleX));
      this.draw();
    } else if (drag.tool === "distance") {
      this.measures.at(-1).to = place;
      pane.draw();
    }
  }

  /** True from where a stroke begins to where it ends: nothing else happens meanwhile. */
  get penDown() {
    return this.drag?.tool === "over";
  }

  up(pane, event) {
    if (this.penDown) this.over?.up(pane, event);
    this.drag = null;
  }

  drawOver(pane, context, place) {
    const screen = ([y, x]) => [place.left + (x + 0.5) * place.scaleX, place.top + (y + 0.5) * place.scaleY];
    if (this.layout === "planes") this.drawCross(pane, context, screen);
    for (const one of this.measures.filter((measure) => measure.pane === pane && measure.index === pane.index)) {
      const [[x1, y1], [x2, y2]] = [screen(one.from), screen(one.to)];
      const [row, column] = pane.volume.planeSpacing(pane.plane);
      const mm = Math.hypot((one.to[0] - one.from[0]) * row, (one.to[1] - one.from[1]) * column);
      context.strokeStyle = "#f7f06d";
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
      context.stroke();
      context.fillStyle = "#f7f06d";
      context.font = "14px system-ui, sans-serif";
      context.textAlign = "left";
      context.fillText(`${mm.toFixed(1)} mm`, x2 + 8, y2);
      pane.canvas.dataset.distanceMm = mm.toFixed(2);
    }
    this.over?.draw(pane, context, screen, place);
  }

  drawCross(pane, context, screen) {
    const [, y, x] = pane.volume.placeOf(pane.plane, pane.volume.toVoxel(this.at));
    const [left, top] = screen([y, x]);
    context.strokeStyle = "#8fd3ff66";
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(left, 0);
    context.lineTo(left, pane.height);
    context.moveTo(0, top);
    context.lineTo(pane.width, top);
    context.stroke();
  }

  setTable() {
    const table = this.table ?? new Uint32Array(65536);
    const low = this.level - this.width / 2;
    for (let at = 0; at < 65536; at += 1) {
      const gray = Math.min(Math.max(Math.round(((at - 32768 - low) / this.width) * 255), 0), 255);
      table[at] = 0xff000000 | (gray << 16) | (gray << 8) | gray;
    }
    this.table = table;
  }

  setWindow(level, width) {
    [this.level, this.width] = [level, width];
    this.setTable();
    this.draw();
  }

  preset(name) {
    const [, , level, width] = PRESETS.find((one) => one[0] === name);
    this.presets.value = name;
    this.setWindow(level, width);
  }

  zoomBy(factor, pane = null, event = null) {
    const zoom = Math.min(Math.max(this.zoom * factor, 0.25), 40);
    if (pane && event) {
      const [y, x] = pane.placeAt(event.clientX, event.clientY);
      const [, cy, cx] = pane.volume.placeOf(pane.plane, pane.volume.toVoxel(this.center));
      const kept = this.zoom / zoom;
      this.center = pane.volume.toMm(pane.volume.voxelAt(pane.plane, pane.index, y + (cy - y) * kept, x + (cx - x) * kept));
    }
    this.zoom = zoom;
    this.draw();
  }

  fit() {
    const [s, r, c] = this.first.shape;
    this.center = this.first.toMm([(s - 1) / 2, (r - 1) / 2, (c - 1) / 2]);
    this.zoom = 1;
    this.draw();
  }

  setTool(name) {
    this.tool = name;
    this.over?.cancel?.();
    this.over = null;
    this.toolButtons.forEach((one, at) => one.setAttribute("aria-pressed", String(TOOLS[at][0] === name)));
    this.onTool?.(name);
    this.draw();
  }

  /** Let a drawing tool have the pointer. */
  setOver(over) {
    this.over?.cancel?.();
    this.over = over;
    this.toolButtons.forEach((one) => one.setAttribute("aria-pressed", "false"));
    this.draw();
  }

  addLayer(name, volume, color) {
    const layer = new Layer(volume.shape, color);
    this.layers.set(name, { layer, series: volume.name });
    return layer;
  }

  removeLayer(name) {
    this.layers.delete(name);
    this.draw();
  }

  layersOn(volume) {
    return [...this.layers.values()].filter((one) => one.series === volume.name).map((one) => one.layer);
  }

  draw() {
    this.panes.forEach((pane) => pane.draw());
  }

  setHidden(hidden) {
    this.hidden = hidden;
    this.draw();
  }

  key(event) {
    const { target, key } = event;
    const typing = target instanceof HTMLElement && target.closest("input, select, textarea, dialog");
    if (typing || event.altKey || this.hidden || this.penDown || this.panes.length === 0) return;
    const { pane } = this;
    const onCanvas = this.panes.some((one) => one.canvas === target) || target === document.body;
    const steps = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[key];
    const done = () => event.preventDefault();
    if (!event.ctrlKey && this.over?.key?.(pane, event)) return;
    if (event.ctrlKey || event.metaKey) return;
    if (steps !== undefined && onCanvas) {
      this.scroll(pane, steps);
      done();
    } else if (this.options.keys === "arrows") {
      return;
    } else if (key === "Home" || key === "End") {
      this.scroll(pane, key === "Home" ? 1e6 : -1e6);
      done();
    } else if (key === "+" || key === "=") {
      this.zoomBy(1.25);
    } else if (key === "-") {
      this.zoomBy(0.8);
    } else if (key === "0") {
      this.fit();
    } else if (key === "?") {
      this.help.showModal();
    } else if (key >= "1" && key <= String(PRESETS.length)) {
      this.preset(PRESETS[Number(key) - 1][0]);
    } else {
      const tool = TOOLS.find((one) => one[2].toLowerCase() === key.toLowerCase());
      if (tool) this.setTool(tool[0]);
    }
  }

  close() {
    this.stop.abort();
    this.panes.forEach((pane) => pane.close());
    this.panes = [];
    for (const opened of this.volumes.values()) opened.then((volume) => volume.close(), () => {});
    this.element.replaceChildren();
  }
}

const KEYS = [
  ["Arrow up, down; wheel", "next slice toward the head, toward the feet"], ["Page up, Page down", "ten slices"], ["+ - 0; Ctrl + wheel", "larger, smaller, fit"],
  ["1 to 5", "window presets"], ["M, W, D", "move, window, distance"], ["Right button", "drag for the window"],
];
const DRAW_KEYS = [
  ["B, E", "brush, eraser"], ["T", "brush that paints only HU within limits"], ["P", "polygon; Enter closes it"], ["G", "grow from a seed"],
  ["X", "box on three planes"], ["[ ]", "smaller, larger brush"], ["Shift while drawing", "erase instead of add"], ["I", "interpolate between drawn slices"],
  ["F, L", "fill holes, keep the largest part"], ["C", "copy to the next slice"], ["Ctrl Z, Ctrl Y", "undo, redo (50 steps)"],
  ["Alt + arrows", "move the pen by one voxel, with Shift by five; Space draws there"], ["Escape", "leave what was begun"],
];

function makeHelp(options) {
  const rows = [...KEYS, ...(options.readOnly ? [] : DRAW_KEYS), ["?", "this list"]];
  const table = make("table", {}, rows.map(([keys, text]) => make("tr", {}, make("th", { text: keys, scope: "row" }), make("td", { text }))));
  const close = make("button", { type: "button", class: "main", text: "Close", "data-testid": "viewer-help-close", onclick: () => dialog.close() });
  const dialog = make("dialog", { class: "help", "data-testid": "viewer-help", "aria-label": "Keys" }, make("div", { class: "inline" }, make("h2", { text: "Keys" }), close), table);
  return dialog;
}
