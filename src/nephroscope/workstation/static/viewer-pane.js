// One canvas that shows one plane of one series: gray values, outlines, letters, a scale, and where the pointer is.

import { make } from "/static/common.js";

const MOST_DENSITY = 2; // canvas pixels per CSS pixel

export class Pane {
  constructor(viewer, volume, plane, testid) {
    Object.assign(this, { viewer, volume, plane });
    this.canvas = make("canvas", {
      "data-testid": testid, tabindex: "0", role: "img", "data-plane": plane,
      "aria-label": `${plane} CT, ${volume.phase}. Arrow up and down change the slice; question mark shows all keys.`,
    });
    const spot = (side) => make("span", { class: `letter ${side}`, "data-testid": `${testid}-letter-${side}` });
    this.spots = Object.fromEntries(["left", "right", "top", "bottom"].map((side) => [side, spot(side)]));
    this.title = make("span", { class: "note-line top-left", "data-testid": `${testid}-title` });
    this.probe = make("span", { class: "note-line bottom-left", "data-testid": `${testid}-probe` });
    this.state = make("span", { class: "note-line bottom-right", "data-testid": `${testid}-window` });
    this.element = make("div", { class: "pane" }, this.canvas, ...Object.values(this.spots), this.title, this.probe, this.state);
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.picture = document.createElement("canvas"); // the slice as it is stored
    this.base = document.createElement("canvas"); // the same at the size of the screen
    this.painted = "";
    this.pointer = null;
    for (const [side, spotted] of Object.entries(this.spots)) spotted.textContent = volume.letters[plane][side];
    this.onLoad = () => this.arrived();
    volume.listeners.add(this.onLoad);
    this.resizing = new ResizeObserver(() => this.resize());
    this.resizing.observe(this.element);
  }

  close() {
    this.volume.listeners.delete(this.onLoad);
    this.resizing.disconnect();
    this.element.remove();
  }

  resize() {
    const density = Math.min(window.devicePixelRatio || 1, MOST_DENSITY);
    this.width = this.element.clientWidth;
    this.height = this.element.clientHeight;
    this.density = density;
    this.canvas.width = Math.max(Math.round(this.width * density), 1);
    this.canvas.height = Math.max(Math.round(this.height * density), 1);
    this.draw();
  }

  /** Where the volume is looked at, as index of this plane. */
  get index() {
    const axis = this.volume.axis(this.plane);
    const at = Math.round(this.volume.toVoxel(this.viewer.at)[axis]);
    return Math.min(Math.max(at, 0), this.volume.shape[axis] - 1);
  }

  /** CSS pixels of the outer corner of the first pixel, and per pixel. */
  placement() {
    const [, height, width] = this.volume.planeShape(this.plane);
    const [row, column] = this.volume.planeSpacing(this.plane);
    const fit = Math.min(this.width / (width * column), this.height / (height * row));
    const scale = fit * this.viewer.zoom;
    const [, y, x] = this.volume.placeOf(this.plane, this.volume.toVoxel(this.viewer.center));
    const [scaleX, scaleY] = [scale * column, scale * row];
    return { left: this.width / 2 - (x + 0.5) * scaleX, top: this.height / 2 - (y + 0.5) * scaleY, scaleX, scaleY };
  }

  /** Place (y, x) on the plane, not rounded, where (0, 0) is the center of the first pixel. */
  placeAt(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const { left, top, scaleX, scaleY } = this.placement();
    return [(clientY - box.top - top) / scaleY - 0.5, (clientX - box.left - left) / scaleX - 0.5];
  }

  voxelAt([y, x]) {
    return this.volume.voxelAt(this.plane, this.index, Math.round(y), Math.round(x));
  }

  arrived() {
    if (this.plane !== "axial" || this.painted === "" || this.missing) {
      this.painted = "";
      this.draw();
    }
    this.canvas.dataset.loaded = this.volume.loaded.toFixed(3);
  }

  paintPicture() {
    const { volume, plane, index } = this;
    const key = `${index} ${this.viewer.level} ${this.viewer.width} ${plane === "axial" ? "" : volume.loaded}`;
    if (this.painted === key) return;
    const [, height, width] = volume.planeShape(plane);
    if (this.picture.width !== width || this.picture.height !== height || this.pixels === undefined) {
      this.picture.width = width;
      this.picture.height = height;
      this.image = new ImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.pictureContext = this.picture.getContext("2d");
    }
    this.missing = !volume.paint(plane, index, this.viewer.table, this.pixels);
    if (this.missing) {
      this.pixels.fill(0xff000000);
      volume.need(index).catch(this.viewer.complain);
    }
    this.pictureContext.putImageData(this.image, 0, 0);
    this.painted = this.missing ? "" : key;
  }

  draw() {
    if (!this.width || this.volume.hu === null) return;
    const started = performance.now();
    const { context, density } = this;
    this.paintPicture();
    const place = this.placement();
    const { scaleX } = place;
    const [, height, width] = this.volume.planeShape(this.plane);
    if (this.viewer.over === null) {
      this.paintSlice(context, place, height, width);
    } else { // a tool moves over a slice that stays
      this.paintBase(place, height, width);
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.drawImage(this.base, 0, 0);
    }
    context.setTransform(density, 0, 0, density, 0, 0);
    if (!this.viewer.hidden) {
      this.drawLayers(place);
      this.viewer.drawOver(this, context, place);
      this.drawScale(scaleX);
    }
    this.describe(place, width, height);
    this.canvas.dataset.paintMs = (performance.now() - started).toFixed(2);
  }

  paintSlice(context, { left, top, scaleX, scaleY }, height, width) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(this.density, 0, 0, this.density, 0, 0);
    context.imageSmoothingEnabled = scaleX < 4;
    if (!this.viewer.hidden) context.drawImage(this.picture, left, top, width * scaleX, height * scaleY);
  }

  /** The slice at the size of the screen; made anew only when it, its place or its window changes. */
  paintBase(place, height, width) {
    const { base, canvas } = this;
    const { left, top, scaleX, scaleY } = place;
    const key = [this.painted, this.missing, left, top, scaleX, scaleY, canvas.width, canvas.height, this.viewer.hidden].join(" ");
    if (this.based === key && !this.missing) return;
    if (base.width !== canvas.width || base.height !== canvas.height) [base.width, base.height] = [canvas.width, canvas.height];
    this.paintSlice(base.getContext("2d", { alpha: false }), place, height, width);
    this.based = key;
  }

  drawLayers({ left, top, scaleX, scaleY }) {
    const { context, index, plane, volume } = this;
    const matrix = new DOMMatrix([scaleX, 0, 0, scaleY, left, top]);
    for (const layer of this.viewer.layersOn(volume)) {
      const found = layer.shown ? layer.path(volume, plane, index) : null;
      if (found === null) continue;
      if (layer.active) {
        const area = new Path2D();
        area.addPath(found.area, matrix);
        context.fillStyle = `${layer.color}38`;
        context.fill(area);
      }
      const edge = new Path2D();
      edge.addPath(found.edge, matrix);
      context.lineWidth = layer.active ? 2 : 1.6;
      context.strokeStyle = layer.color;
      context.setLineDash(layer.active && layer.drawn.get(index) === false && plane === "axial" ? [5, 4] : []);
      context.stroke(edge);
      context.setLineDash([]);
    }
  }

  drawScale(scaleX) {
    const perMm = scaleX / this.volume.planeSpacing(this.plane)[1];
    const mm = [10, 20, 50, 100].find((length) => length * perMm > 60) ?? 100;
    const [x, y] = [this.width - 14, this.height / 2 + (mm * perMm) / 2];
    this.context.strokeStyle = "#eee";
    this.context.lineWidth = 2;
    this.context.beginPath();
    this.context.moveTo(x, y);
    this.context.lineTo(x, y - mm * perMm);
    this.context.stroke();
    this.context.fillStyle = "#eee";
    this.context.font = "12px system-ui, sans-serif";
    this.context.textAlign = "right";
    this.context.fillText(mm >= 10 ? `${mm / 10} cm` : `${mm} mm`, x - 5, y);
  }

  describe({ left, top, scaleX, scaleY }, width, height) {
    const { index } = this;
    const n = this.volume.planeShape(this.plane)[0];
    const place = `${this.volume.phase} | ${this.plane} ${index + 1} of ${n}`;
    if (this.title.textContent !== place) this.title.textContent = place;
    const gray = `L ${Math.round(this.viewer.level)} W ${Math.round(this.viewer.width)}`;
    if (this.state.textContent !== gray) this.state.textContent = gray;
    const about = {
      slice: index, slices: n, rows: height, columns: width, left: left.toFixed(3), top: top.toFixed(3), scaleX: scaleX.toFixed(5),
      scaleY: scaleY.toFixed(5), series: this.volume.name, ready: this.missing ? "0" : "1", loaded: this.volume.loaded.toFixed(3),
      level: Math.round(this.viewer.level), window: Math.round(this.viewer.width),
    };
    for (const [name, value] of Object.entries(about)) {
      if (this.canvas.dataset[name] !== String(value)) this.canvas.dataset[name] = value;
    }
  }

  /** Say what is under the pointer. */
  point(place) {
    this.pointer = place;
    const voxel = this.voxelAt(place);
    const hu = this.volume.value(voxel);
    const mm = this.volume.toMm(voxel).map((value) => value.toFixed(0)).join(", ");
    this.probe.textContent = hu === null ? "" : `${hu} HU | slice ${voxel[0]}, row ${voxel[1]}, column ${voxel[2]} | ${mm} mm`;
    Object.assign(this.canvas.dataset, { hu: hu ?? "", row: voxel[1], column: voxel[2] });
  }
}

