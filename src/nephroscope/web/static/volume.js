// A CT that was read in this page, as the viewer takes it.

import { columnOf, inverse } from "./grid.js";
import { Volume } from "/static/viewer-volume.js";

const ENDS = ["RL", "AP", "IS"]; // toward lower and higher x, y, z
const OBLIQUE = 0.26; // sine of 15 degrees: a smaller part of a direction gets no letter

/** Where a unit vector in LPS points, the larger part first. */
function letter(direction) {
  const order = [0, 1, 2].sort((a, b) => Math.abs(direction[b]) - Math.abs(direction[a]) || a - b);
  return order.filter((axis) => Math.abs(direction[axis]) >= OBLIQUE).map((axis) => ENDS[axis][direction[axis] > 0 ? 1 : 0]).join("");
}

/** Letters at the edges of each plane, by the direction cosines; none where the orientation is not known. */
function lettersOf({ affine, spacing }, known) {
  const [slices, rows, columns] = [0, 1, 2].map((j) => columnOf(affine, j).map((mm) => mm / spacing[j]));
  const minus = (direction) => direction.map((value) => -value);
  const shown = { axial: [columns, rows], coronal: [columns, minus(slices)], sagittal: [rows, minus(slices)] };
  return Object.fromEntries(Object.entries(shown).map(([plane, [across, down]]) => [plane, known
    ? { left: letter(minus(across)), right: letter(across), top: letter(minus(down)), bottom: letter(down) }
    : { left: "", right: "", top: "", bottom: "" }]));
}

export class LocalVolume extends Volume {
  constructor({ hu, geometry, findings }, phase) {
    super({ name: "ct", phase, address: "" });
    const { shape, spacing, affine } = geometry;
    const known = findings.every((finding) => finding.code !== "orientation-unknown");
    const letters = lettersOf(geometry, known);
    Object.assign(this, { hu, shape, spacing, affine, letters, inverse: inverse(affine), have: new Uint8Array(shape[0]).fill(1), loaded: 1 });
  }

  /** Everything is here. */
  need() {
    return Promise.resolve();
  }
}
