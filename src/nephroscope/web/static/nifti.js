// NIfTI files: a CT on the same grid as DICOM, or the values as stored. What a header says twice is compared.

import { unpack } from "./dicom.js";
import { MOST_VOXELS, RAS_TO_LPS, apply, checkHu, checkRightAngles, checkVoxel, columnOf, describeAffine, determinant, huVolume, inMm, inverse, multiply, norm } from "./grid.js";
import { Damage, Refusal, damageWords, general, note, rint, seriesRefusal, warning } from "./words.js";

const MOST_OFFSET = 2 ** 20;
const MOST_PACKED = 1040;
const [FAR, ROUNDING] = [1, 0.1];
const TYPES = {
  2: ["uint8", Uint8Array, "getUint8"], 4: ["int16", Int16Array, "getInt16"], 8: ["int32", Int32Array, "getInt32"], 16: ["float32", Float32Array, "getFloat32"],
  64: ["float64", Float64Array, "getFloat64"], 256: ["int8", Int8Array, "getInt8"], 512: ["uint16", Uint16Array, "getUint16"],
  768: ["uint32", Uint32Array, "getUint32"], 1024: ["int64", BigInt64Array, "getBigInt64"], 1280: ["uint64", BigUint64Array, "getBigUint64"],
};
const OTHERS = { 1: "bool", 32: "complex64", 128: "[('R', 'u1'), ('G', 'u1'), ('B', 'u1')]", 1536: "float128", 1792: "complex128" };

export function isNifti(bytes) {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return true;
  return ["92,1,0,0", "0,0,1,92", "28,2,0,0", "0,0,2,28"].includes(String(Array.from(bytes.subarray(0, 4))));
}

/** A CT volume in HU. */
export async function readNifti(file) {
  const where = `file ${file.name}`;
  const stored = await readStored(file, MOST_VOXELS);
  const { values, slope, shift } = stored;
  let [low, high, finite] = [Infinity, -Infinity, true];
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i] * slope + shift;
    if (value < low) low = value;
    if (value > high) high = value;
    if (value !== value) finite = false;
  }
  if (!finite || !Number.isFinite(low) || !Number.isFinite(high)) {
    throw seriesRefusal({
      where, expected: "only finite numbers", found: "voxels that are infinite or not a number",
      remedy: "export the volume again without resampling it beyond its edge",
    });
  }
  if (low < -32768 || high > 32767) {
    throw seriesRefusal({ where, expected: "HU from -32768 to 32767", found: `values from ${general(low)} to ${general(high)}`, remedy: "export the CT in HU" });
  }
  let hu = values;
  if (!(values instanceof Int16Array) || stored.scaled) {
    hu = new Int16Array(values.length);
    for (let i = 0; i < hu.length; i += 1) hu[i] = rint(values[i] * slope + shift);
  }
  const strides = [1, stored.shape[0], stored.shape[0] * stored.shape[1]];
  const findings = [...stored.findings, ...checkHu(hu, stored.shape, file.name, strides)];
  const volume = huVolume(hu, stored.shape, stored.affine, `nifti-${stored.digest}`, findings, strides);
  checkRightAngles(where, stored.affine);
  return volume;
}

/** {values, slope, shift, scaled, shape, affine, digest, findings, start}: values as stored, first axis fastest. */
export async function readStored(file, most) {
  const where = `file ${file.name}`;
  let header;
  let values;
  let given;
  try {
    const packedBytes = new Uint8Array(await file.arrayBuffer());
    const digest = await shortDigest(packedBytes);
    const { bytes, head } = await content(packedBytes, file.name, most);
    const [slope, shift] = scale(head, where);
    given = affineOf(head, file.name);
    values = voxels(bytes, head);
    header = { ...head, slope, shift, digest, start: bytes.slice(0, Math.min(bytes.length, 200000)) };
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw seriesRefusal({
      where,
      expected: "a whole NIfTI file (.nii or .nii.gz)",
      found: `a file that is cut short or of another kind (${damageWords(error)})`,
      remedy: "copy or export it again",
    });
  }
  const [affine, other] = inMm(given.affine, header.units);
  const findings = [...given.findings];
  if (other) findings.push(note("units-not-mm", `the header gives lengths in ${other}; they were converted to mm`, file.name));
  checkVoxel(where, affine);
  return {
    values, slope: header.slope, shift: header.shift, scaled: header.slope !== 1 || header.shift !== 0, shape: header.shape,
    affine: multiply(RAS_TO_LPS, affine), digest: header.digest, findings, start: header.start,
  };
}

export async function shortDigest(bytes, letters = 16) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("").slice(0, letters);
}

async function content(stored, name, most) {
  const n = (size, announced) => { if (size !== announced) throw new Damage(`${size > announced ? "more" : `${size} bytes, less`} than the ${announced} bytes that its header announces`); };
  if (stored[0] !== 0x1f || stored[1] !== 0x8b) {
    const head = readHeader(stored.subarray(0, 540), name, most);
    n(stored.length, head.nBytes);
    return { bytes: stored, head };
  }
  const head = readHeader(await firstBytes(stored, 540), name, most);
  if (stored.length > head.nBytes + Math.floor(head.nBytes / 100) + 2 ** 16) throw new Damage(`more than the ${head.nBytes} bytes that its header announces`);
  if (head.nBytes > MOST_PACKED * stored.length) throw new Damage(`${stored.length} packed bytes for the ${head.nBytes} that its header announces`);
  let bytes;
  try {
    bytes = await unpack(stored, "gzip", head.nBytes);
  } catch (error) {
    if (error instanceof Damage && error.message.includes("too much")) n(head.nBytes + 1, head.nBytes);
    throw error;
  }
  n(bytes.length, head.nBytes);
  return { bytes, head };
}

async function firstBytes(stored, n) {
  const reader = new Blob([stored]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  const out = new Uint8Array(n);
  let at = 0;
  try {
    while (at < n) {
      const { done, value } = await reader.read();
      if (done) break;
      out.set(value.subarray(0, n - at), at);
      at += value.length;
    }
  } catch {
    throw at ? new RangeError("cut short") : new Damage("its content is damaged");
  } finally {
    reader.cancel().catch(() => {});
  }
  return out.subarray(0, Math.min(at, n));
}

/** Source: nifti1.h, nifti2.h. */
function readHeader(start, name, most) {
  const first = String(Array.from(start.subarray(0, 4)));
  const kind = { "92,1,0,0": [1, true], "0,0,1,92": [1, false], "28,2,0,0": [2, true], "0,0,2,28": [2, false] }[first];
  if (kind === undefined) throw new Damage("not a NIfTI header");
  const [version, little] = kind;
  const size = version === 1 ? 348 : 540;
  if (start.length < size) throw new Damage(`${start.length} bytes`);
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const at = version === 1
    ? { magic: 344, dim: 40, datatype: 70, bitpix: 72, pixdim: 76, offset: 108, slope: 112, units: 123, qform: 252, quat: 256, sform: 280 }
    : { magic: 4, dim: 16, datatype: 12, bitpix: 14, pixdim: 104, offset: 168, slope: 176, units: 500, qform: 344, quat: 352, sform: 400 };
  const float = (place, i = 0) => (version === 1 ? view.getFloat32(place + 4 * i, little) : view.getFloat64(place + 8 * i, little));
  const whole = (place, i = 0) => (version === 1 ? view.getInt16(place + 2 * i, little) : Number(view.getBigInt64(place + 8 * i, little)));
  const magic = String.fromCharCode(...start.subarray(at.magic, at.magic + 3));
  if (!["n+1", "n+2"].includes(magic)) throw new Damage(["ni1", "ni2"].includes(magic) ? "the header of a pair .hdr and .img, save it as .nii.gz" : "not a NIfTI header");
  const shape = Array.from({ length: Math.min(Math.max(whole(at.dim), 0), 7) }, (_, i) => whole(at.dim, i + 1));
  while (shape.length > 3 && shape.at(-1) === 1) shape.pop();
  const count = shape.reduce((product, one) => product * one, 1);
  if (shape.length !== 3 || count <= 0 || count > most || Math.min(...shape) < 1) {
    throw seriesRefusal({
      where: `file ${name}`, expected: `a volume with three axes${count > most ? ` of at most ${most} voxels` : ""}`,
      found: `${shape.join(" x ") || "no"} voxels`, remedy: "export one phase as one volume",
    });
  }
  const datatype = view.getInt16(at.datatype, little);
  const type = TYPES[datatype];
  if (type === undefined) throw new Damage(datatype in OTHERS ? `voxels of type ${OTHERS[datatype]}` : "its content is damaged");
  const bits = 8 * type[1].BYTES_PER_ELEMENT;
  const bitpix = view.getInt16(at.bitpix, little);
  if (bitpix !== bits) {
    throw seriesRefusal({ where: `file ${name}`, expected: `${bits} bits per voxel, as datatype ${type[0]} says`, found: `${bitpix}, as bitpix says`, remedy: "export it again" });
  }
  const offset = version === 1 ? float(at.offset) : whole(at.offset);
  if (!(offset >= 0 && offset <= MOST_OFFSET) || offset !== Math.floor(offset)) throw new Damage(`voxels ${general(offset)} bytes from the start`);
  const begin = Math.max(offset, size + 4);
  const code = (place) => (version === 1 ? view.getInt16(place, little) : view.getInt32(place, little));
  return {
    version, shape, type, little, offset: begin, nBytes: begin + (count * bits) / 8, slope: float(at.slope), shift: float(at.slope, 1),
    units: version === 1 ? start[at.units] : view.getInt32(at.units, little), pixdim: Array.from({ length: 4 }, (_, i) => float(at.pixdim, i)),
    qcode: code(at.qform), scode: code(at.qform + (version === 1 ? 2 : 4)), quat: Array.from({ length: 6 }, (_, i) => float(at.quat, i)),
    srow: [0, 1, 2].map((row) => [0, 1, 2, 3].map((i) => float(at.sform, 4 * row + i))),
  };
}

function scale({ slope, shift }, where) {
  if (!Number.isFinite(slope) || slope === 0) return [1, 0];
  if (!Number.isFinite(shift)) throw new Damage("its content is damaged");
  if (slope < 0) throw seriesRefusal({ where, expected: "a positive scl_slope", found: general(slope), remedy: "export it again in HU, without a scale" });
  return [slope, shift];
}

function voxels(bytes, { type: [, Kind, getter], little, offset, shape }) {
  const count = shape[0] * shape[1] * shape[2];
  const size = Kind.BYTES_PER_ELEMENT;
  let values;
  if (little && (bytes.byteOffset + offset) % size === 0) {
    values = new Kind(bytes.buffer, bytes.byteOffset + offset, count);
  } else if (little) {
    values = new Kind(bytes.slice(offset, offset + count * size).buffer);
  } else {
    const view = new DataView(bytes.buffer, bytes.byteOffset + offset);
    values = new Kind(count);
    for (let i = 0; i < count; i += 1) values[i] = view[getter](i * size, false);
  }
  return values instanceof BigInt64Array || values instanceof BigUint64Array ? Float64Array.from(values, Number) : values;
}

function affineOf(head, name) {
  const spacing = head.pixdim.slice(1).map(Math.abs);
  if (!spacing.every(Number.isFinite) || Math.min(...spacing) <= 0) {
    throw seriesRefusal({
      where: `file ${name}`, expected: "three spacings above 0 in pixdim", found: spacing.map((mm) => general(mm)).join(" x "),
      remedy: "export it again from the program that has its spacing",
    });
  }
  const sform = head.scode > 0 ? [...head.srow, [0, 0, 0, 1]] : null;
  const qform = head.qcode > 0 ? qformOf(head, spacing) : null;
  if (sform === null && qform === null) {
    const text = "the file does not say how the patient is oriented; its axes are assumed to point right, anterior and superior";
    return { affine: baseAffine(head.shape, spacing), findings: [warning("orientation-unknown", text, name)] };
  }
  const affine = sform ?? qform;
  const findings = [];
  if (sform !== null && qform !== null) findings.push(...compare(name, head.shape, ["sform", affine], ["qform", qform]));
  const lengths = [0, 1, 2].map((j) => norm(columnOf(affine, j)));
  const rescaled = affine.map((row, i) => (i < 3 ? row.map((value, j) => (j < 3 ? value * (spacing[j] / lengths[j]) : value)) : row));
  findings.push(...compare(name, head.shape, [sform === null ? "qform" : "sform", affine], ["pixdim", rescaled]));
  return { affine, findings: [...findings, ...defaults(affine, name)] };
}

/** Source: nifti1.h, method 2; nibabel refuses a quaternion longer than 1. */
function qformOf({ version, pixdim, quat }, spacing) {
  const [b, c, d] = quat.slice(0, 3);
  const rest = 1 - (b * b + c * c + d * d);
  const least = 3 * (version === 1 ? 2 ** -23 : 2 ** -52);
  if (!(rest > -least)) throw new Damage("its content is damaged");
  const a = rest < least ? 0 : Math.sqrt(rest);
  const s = 2 / (a * a + b * b + c * c + d * d);
  const turn = [
    [1 - s * (c * c + d * d), s * (b * c - d * a), s * (b * d + c * a)],
    [s * (b * c + d * a), 1 - s * (b * b + d * d), s * (c * d - b * a)],
    [s * (b * d - c * a), s * (c * d + b * a), 1 - s * (b * b + c * c)],
  ];
  const qfac = pixdim[0];
  if (qfac !== 1 && qfac !== -1) throw new Damage("its content is damaged");
  const steps = [spacing[0], spacing[1], spacing[2] * qfac];
  return [...turn.map((row, i) => [...row.map((value, j) => value * steps[j]), quat[3 + i]]), [0, 0, 0, 1]];
}

/** As nibabel places a volume without sform and qform: its middle at 0, and x reversed. */
function baseAffine(shape, spacing) {
  const steps = [-spacing[0], spacing[1], spacing[2]];
  return [0, 1, 2, 3].map((i) => [0, 1, 2, 3].map((j) => (i === 3 ? (j === 3 ? 1 : 0) : j === 3 ? -((shape[i] - 1) / 2) * steps[i] : i === j ? steps[i] : 0)));
}

function compare(name, shape, [oneName, one], [twoName, two]) {
  let apart = Infinity;
  const finite = one.flat().every(Number.isFinite) && two.flat().every(Number.isFinite);
  if (finite && Math.abs(determinant(one)) > 0) {
    const between = multiply(inverse(one), two);
    apart = 0;
    for (const i of [-0.5, shape[0] - 0.5]) for (const j of [-0.5, shape[1] - 0.5]) for (const k of [-0.5, shape[2] - 0.5]) {
      apply(between, [i, j, k]).forEach((value, axis) => { apart = Math.max(apart, Math.abs(value - [i, j, k][axis])); });
    }
  }
  const named = `${oneName} says ${describeAffine(one)} and ${twoName} says ${describeAffine(two)}`;
  if (apart > FAR) {
    throw seriesRefusal({
      where: `file ${name}`, expected: "one place for each voxel", found: `two, ${general(apart, 3)} voxels apart: ${named}`,
      remedy: "find out which one is correct, and export the volume again with that one",
    });
  }
  if (apart <= ROUNDING) return [];
  return [warning("geometry-disagrees", `the header places voxels twice, ${general(apart, 2)} voxels apart: ${named}; ${oneName} was used`, name)];
}

function defaults(affine, name) {
  const origin = Math.max(...columnOf(affine, 3).map(Math.abs));
  const unit = [0, 1, 2].every((j) => {
    const sorted = columnOf(affine, j).map(Math.abs).sort((a, b) => a - b);
    return [0, 0, 1].every((value, i) => Math.abs(sorted[i] - value) <= 1e-6);
  });
  if (origin > 1e-6 || !unit) return [];
  const text = "voxels of exactly 1 x 1 x 1 from 0, 0, 0, as programs write them that have lost the geometry: sizes, volumes and sides may be wrong";
  return [warning("geometry-default", text, name)];
}
