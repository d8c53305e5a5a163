// Drawing on a viewer: the reader's own ROI, its tools, what the program draws, undo, signing.

import { api, complain, make, numberIn, say } from "/static/common.js";
import { colorOf } from "/static/viewer.js";
import { Saver } from "/static/draw-save.js";
import { Box, Brush, Polygon, Seed, limitsIn } from "/static/draw-tools.js";

const OWN = "own";
const RADII = [0.5, 100]; // mm
const STATES = { saved: "Saved", saving: "Saving ...", lost: "Not saved: the workstation does not answer. It is tried again." };
const TOOLS = [
  ["brush", "Brush", "B"], ["eraser", "Eraser", "E"], ["threshold-brush", "HU brush", "T"], ["polygon", "Polygon", "P"], ["grow", "Grow", "G"], ["box", "Box", "X"],
];
const ACTIONS = [
  ["interpolate", "Interpolate", "I"], ["fill-holes", "Fill holes", "F"], ["largest-part", "Largest part", "L"], ["copy", "Copy to next", "C"], ["clear", "Clear slice", ""],
  ["fit", "Fit outline", ""], ["proposal", "Take the model's proposal", ""],
];

export class Drawing {
  /** @param {object} viewer - of `openViewer`. @param {HTMLElement} box - for the buttons. @param {function} changed - after signing, and when there is something to save as a file or no more. */
  constructor(viewer, caseId, box, changed) {
    Object.assign(this, { viewer, caseId, box, changed });
    this.roi = null;
    this.pen = null;
    this.busy = 0;
    this.radiusMm = 4;
    this.stop = new AbortController();
    window.addEventListener("keydown", (event) => this.key(event), { signal: this.stop.signal });
    window.addEventListener("beforeunload", (event) => {
      if (this.saver?.left) event.preventDefault();
    }, { signal: this.stop.signal });
    viewer.onTool = () => this.mark(null);
  }

  /** Draw on a series; with `newVersion` on the next version of a signed ROI. */
  async begin(volume, newVersion = false) {
    await this.saver?.settled();
    const roi = await api(`/api/cases/${this.caseId}/rois`, { body: { series: volume.id, new_version: newVersion } });
    const { slices } = await api(`/api/rois/${roi.id}/slices`);
    this.volume = volume;
    this.roi = roi;
    this.layer = this.viewer.addLayer(OWN, volume, colorOf(roi.author));
    this.layer.put(slices);
    this.filled = slices.length > 0;
    this.layer.active = roi.state === "draft";
    this.saver = new Saver(roi, (state) => this.tell(state), (error) => this.lost(error));
    this.viewer.draw();
    this.show();
    if (roi.state === "draft") this.choose("brush");
  }

  /** Leave the ROI as it is. */
  leave() {
    this.viewer.setTool("move");
    this.viewer.removeLayer(OWN);
    this.roi = null;
    this.box.replaceChildren();
  }

  /** When every stroke is kept, as the reader who drew it. */
  async settled() {
    this.viewer.setTool("move");
    await this.saver?.settled();
  }

  close() {
    this.stop.abort();
    this.leave();
  }

  show() {
    const { roi } = this;
    if (roi.state !== "draft") {
      this.box.replaceChildren(
        make("p", { "data-testid": "draw-signed", text: `Version ${roi.version} is signed (${roi.signed}) and does not change.` }),
        make("button", { type: "button", text: "New version", "data-testid": "draw-new-version", onclick: () => this.begin(this.volume, true).catch(complain) }),
      );
      return;
    }
    const button = (name, text, key, onclick) => make("button", {
      type: "button", text, title: key ? `${text} (${key})` : text, "data-testid": `draw-${name}`, onclick,
    });
    this.toolButtons = TOOLS.map(([name, text, key]) => {
      const made = button(name, text, key, () => this.choose(name));
      made.setAttribute("aria-pressed", "false");
      return made;
    });
    const actions = ACTIONS.map(([name, text, key]) => button(name, text, key, () => this.act(name)));
    this.undoButton = button("undo", "Undo", "Ctrl Z", () => this.act("undo"));
    this.redoButton = button("redo", "Redo", "Ctrl Y", () => this.act("redo"));
    this.size = make("input", { type: "range", min: "0", max: "100", value: String(this.toSlider()), "data-testid": "draw-size", oninput: () => this.setRadius(this.fromSlider()) });
    this.sizeText = make("span", { "data-testid": "draw-size-mm" });
    this.low = number("draw-low", 0);
    this.high = number("draw-high", 250);
    this.tolerance = number("draw-tolerance", 40);
    this.tolerance.required = true;
    this.whole = make("input", { type: "checkbox", checked: true, "data-testid": "draw-grow-all" });
    this.proposal = button("propose", "Make the proposal", "Enter", () => this.propose());
    this.boxText = make("span", { class: "quiet", "data-testid": "draw-box-text", text: "no box yet" });
    this.saved = make("span", { class: "saved", role: "status", "data-testid": "draw-saved" });
    this.facts = make("p", { class: "quiet", "data-testid": "draw-facts" });
    const sign = button("sign", "Sign and lock ...", "", () => this.askToSign());
    sign.classList.add("main");
    this.box.replaceChildren(
      make("p", { class: "inline" }, this.saved),
      make("div", { class: "tools", role: "toolbar", "aria-label": "Drawing tools" }, this.toolButtons),
      make("label", { class: "inline" }, "Brush", this.size, this.sizeText),
      make("div", { class: "inline" }, make("label", {}, "HU from ", this.low), make("label", {}, "to ", this.high)),
      make("div", { class: "inline" }, make("label", {}, "Grow within ", this.tolerance, " HU"), make("label", {}, this.whole, " all slices")),
      make("div", { class: "inline" }, this.proposal, this.boxText),
      make("div", { class: "tools" }, this.undoButton, this.redoButton, actions),
      this.facts, sign,
    );
    this.setRadius(this.radiusMm);
    this.tell("saved");
    this.onBox([null, null, null]);
  }

  toSlider() {
    return Math.round((100 * Math.log(this.radiusMm / RADII[0])) / Math.log(RADII[1] / RADII[0]));
  }

  fromSlider() {
    return RADII[0] * (RADII[1] / RADII[0]) ** (Number(this.size.value) / 100);
  }

  setRadius(mm) {
    this.radiusMm = Math.min(Math.max(mm, RADII[0]), RADII[1]);
    this.size.value = this.toSlider();
    this.sizeText.textContent = `${(2 * this.radiusMm).toFixed(1)} mm wide`;
    this.viewer.draw();
  }

  limits() {
    return limitsIn(this.low, this.high);
  }

  mark(name) {
    this.toolButtons?.forEach((one, at) => one.setAttribute("aria-pressed", String(TOOLS[at][0] === name)));
  }

  choose(name) {
    if (this.roi?.state !== "draft") return;
    const made = { polygon: () => new Polygon(this), grow: () => new Seed(this), box: () => new Box(this) }[name] ?? (() => new Brush(this, name));
    this.viewer.setOver(made());
    this.mark(name);
    if (name === "box" && this.viewer.layout !== "planes") this.viewer.setLayout("planes");
    if (name === "box") this.onBox([null, null, null]);
  }

  /** A stroke is done: send the slice as it is now. */
  commit(index, tool) {
    this.layer.drawn.set(index, true);
    this.saver.stroke(tool, [{ index, runs: this.layer.runs(index) }]);
    if (this.viewer.panes.length > 1) this.viewer.draw();
  }

  /** Let the program draw; one after the other, and nothing is drawn by hand meanwhile. */
  async act(name, more = {}) {
    if (this.roi?.state !== "draft") return;
    const index = this.viewer.slice; // of the drawn series, whatever plane is shown
    const asked = { operation: name, ...more };
    if (name === "copy") Object.assign(asked, { slice: index, to: index + 1 });
    if (name === "clear" || name === "fit") asked.slice = index;
    this.busy += 1;
    try {
      const answer = await this.saver.operation(asked);
      this.layer.put(answer.changed);
      if (answer.doubt) say(answer.doubt, "error");
      else if (!answer.changed.length) say("Nothing to change.");
      const shown = answer.changed.map((one) => one.index);
      if (name === "copy" && shown.length) this.viewer.goTo(index + 1);
      else if ((name === "undo" || name === "redo") && shown.length && !shown.includes(index)) this.viewer.goTo(shown[0]);
    } catch (error) {
      this.failed(error);
    } finally {
      this.busy -= 1;
    }
    this.viewer.draw();
    this.tell("saved");
  }

  grow([slice, row, column]) {
    try {
      this.act("grow", { slice, row, column, tolerance_hu: numberIn(this.tolerance, "Grow within"), whole: this.whole.checked });
    } catch (error) {
      complain(error);
    }
  }

  onBox(spans) {
    const words = ["slices", "rows", "columns"].map((name, axis) => `${name} ${spans[axis] ? spans[axis].join(" to ") : "?"}`);
    this.boxText.textContent = spans.some(Boolean) ? words.join(", ") : "draw a box on two planes, with the tool Box";
    this.proposal.disabled = !spans.every(Boolean);
    this.spans = spans;
  }

  propose() {
    this.act("ellipsoid", { box: this.spans });
  }

  tell(state) {
    if (!this.saved || this.roi === null) return;
    const waiting = this.saver.left > 0;
    const shown = state === "saved" && waiting ? "saving" : state;
    this.saved.dataset.state = shown;
    this.saved.textContent = STATES[shown];
    this.saved.dataset.revision = this.saver.revision;
    this.undoButton.disabled = !waiting && !this.roi.can_undo;
    this.redoButton.disabled = waiting || !this.roi.can_redo;
    const [s, r, c] = this.volume.spacing;
    if (shown === "saved") {
      const drawn = [...this.layer.slices.keys()].map((index) => [index, this.layer.count(index)]).filter(([, count]) => count);
      const n = drawn.reduce((sum, [, count]) => sum + count, 0);
      this.facts.textContent = `${drawn.length} ${drawn.length === 1 ? "slice" : "slices"}, ${((n * s * r * c) / 1000).toFixed(1)} ml`;
      Object.assign(this.facts.dataset, { slices: drawn.map(([index]) => index).sort((a, b) => a - b).join(" "), voxels: n });
      if (this.filled !== n > 0) {
        this.filled = n > 0;
        this.changed().catch(complain);
      }
    }
  }

  failed(error) {
    if (error.code === "stale" || error.code === "locked") this.lost(error);
    else complain(error);
  }

  /** Another window drew: show what the server has. */
  lost(error) {
    complain(error);
    this.viewer.removeLayer(OWN);
    this.begin(this.volume).catch(complain);
  }

  key(event) {
    const { target, key } = event;
    if (this.roi?.state !== "draft" || this.viewer.hidden || this.viewer.penDown || (target instanceof HTMLElement && target.closest("input:not([type=range]), select, textarea, dialog"))) return;
    const low = key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (low === "z" || low === "y") {
        this.act(low === "y" || event.shiftKey ? "redo" : "undo");
        event.preventDefault();
      }
      return;
    }
    if (event.altKey) {
      this.viewer.over?.key?.(this.viewer.pane, event);
      return;
    }
    const tool = TOOLS.find((one) => one[2].toLowerCase() === low);
    const action = ACTIONS.find((one) => one[2] && one[2].toLowerCase() === low);
    if (tool) this.choose(tool[0]);
    else if (action) this.act(action[0]);
    else if (key === "[") this.setRadius(this.radiusMm / 1.2);
    else if (key === "]") this.setRadius(this.radiusMm * 1.2);
  }

  askToSign() {
    const go = make("button", { type: "button", class: "main", text: "Sign and lock", "data-testid": "draw-sign-confirm", onclick: async () => {
      go.disabled = true;
      go.textContent = "Writing and reading back ...";
      try {
        await this.saver.settled();
        const signed = await api(`/api/rois/${this.roi.id}/sign`, { body: { revision: this.saver.revision } });
        say(`Signed: ${signed.n_voxels} voxels, written and read back.`, "done");
        dialog.close();
        await this.begin(this.volume);
        await this.changed();
      } catch (error) {
        dialog.close();
        this.failed(error);
      }
    } });
    const dialog = make("dialog", { "data-testid": "draw-sign-dialog", "aria-label": "Sign" },
      make("h2", { text: `Sign as ${this.roi.author}${this.roi.name ? ` (${this.roi.name})` : ""}` }),
      make("p", { text: `${this.facts.textContent}. It is saved as SEG and NIfTI, becomes the ROI of ${this.roi.author} in this study, and changes only by a new version.` }),
      make("div", { class: "inline" }, go, make("button", { type: "button", text: "Cancel", "data-testid": "draw-sign-cancel", onclick: () => dialog.close() })),
    );
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }
}

function number(testid, value) {
  return make("input", { type: "number", value: String(value), step: "10", "data-testid": testid });
}
