// The stored pixel values of DICOM frames, in every transfer syntax for which there is a decoder here.

import { canDecode, checkFrame, decodeFrame, syntaxName } from "./codecs.js";
import { BIG_ENDIAN, NATIVE } from "./dicom.js";
import { nameOf } from "./headers.js";
import { Damage, NoDecoder, seriesRefusal } from "./words.js";

const UNDEFINED = 0xffffffff;
const [MOST_CODED, MOST_CODED_MORE] = [2, 2 ** 20];
const AFTER_PIXELS = new Set([0x7fe0, 0x7fe1, 0x7fe3, 0xfffa, 0xfffc]);

/** How the pixels of a file are stored. Source: DICOM PS3.5 8.1.1, PS3.3 C.7.5.1.1.2. */
export function formOf(data) {
  const [rows, columns, bitsAllocated, bitsStored] = ["Rows", "Columns", "BitsAllocated", "BitsStored"].map((name) => data.short(name) ?? 0);
  const highBit = data.short("HighBit") ?? bitsStored - 1;
  if (![8, 16, 32].includes(bitsAllocated) || bitsStored < 1 || bitsStored > bitsAllocated || highBit < bitsStored - 1 || highBit >= bitsAllocated) {
    throw new Damage(`bits allocated ${bitsAllocated}, stored ${bitsStored}, high bit ${highBit}`);
  }
  const signed = data.short("PixelRepresentation") === 1;
  const ends = ["PixelPaddingValue", "PixelPaddingRangeLimit"].map((name) => data.short(name));
  const wrapped = ends.filter((value) => value !== null).map((value) => wrap(value, bitsAllocated, signed));
  const padding = ends[0] === null ? null : [Math.min(...wrapped), Math.max(...wrapped)];
  const limits = signed ? [-(2 ** (bitsStored - 1)), 2 ** (bitsStored - 1) - 1] : [0, 2 ** bitsStored - 1];
  return { rows, columns, bitsAllocated, bitsStored, highBit, signed, padding, limits };
}

function wrap(value, bits, signed) {
  const low = value % 2 ** bits;
  return signed && low >= 2 ** (bits - 1) ? low - 2 ** bits : low;
}

/** What was found instead of decodable pixel data. */
export function damageText(syntax, error) {
  if (error instanceof NoDecoder) return `${syntaxName(syntax)}, for which there is no decoder in this page`;
  return `${syntaxName(syntax)} that is cut short or damaged${error instanceof Damage ? ` (${error.message})` : ""}`;
}

/** Refuse a transfer syntax without a decoder, by its name. */
export function checkDecodable(headers, where) {
  for (const syntax of new Set(headers.map((one) => one.syntax))) {
    if (NATIVE.has(syntax) || canDecode(syntax)) continue;
    const first = headers.find((one) => one.syntax === syntax);
    throw seriesRefusal({
      where,
      expected: `decodable pixel data in ${nameOf(first)}`,
      found: `${/^\d+(\.\d+)+$/.test(syntax) ? syntaxName(syntax) : "no transfer syntax"}, for which no decoder is installed`,
      remedy: "export the series uncompressed",
    });
  }
}

/**
 * The stored values of these frames of a parsed file, one after the other.
 * @param {object} file - of `parseDicom`.
 * @param {Array<number|null>} frames - numbers from 0; null for the only one.
 */
export async function* storedFrames(file, form, frames) {
  const { data, syntax, bytes } = file;
  const n = data.integer("NumberOfFrames") || 1;
  const begin = beginPixels(file, form, n);
  const pixels = form.rows * form.columns;
  if (!NATIVE.has(syntax)) {
    const coded = codedFrames(file, form, n, begin);
    coded.forEach((frame, at) => checkFrame(frame, `frame ${at + 1}`, form));
    for (const frame of frames) yield decodeFrame(coded[frame ?? 0], syntax, form);
    return;
  }
  const size = form.bitsAllocated / 8;
  for (const frame of frames) {
    const start = begin + (frame ?? 0) * pixels * size;
    yield native(bytes.subarray(start, start + pixels * size), form, syntax === BIG_ENDIAN);
  }
}

function native(bytes, form, big) {
  const copy = bytes.slice();
  if (big) {
    const size = form.bitsAllocated / 8;
    for (let at = 0; at < copy.length; at += size) copy.subarray(at, at + size).reverse();
  }
  const kinds = { 8: [Uint8Array, Int8Array], 16: [Uint16Array, Int16Array], 32: [Uint32Array, Int32Array] };
  return new kinds[form.bitsAllocated][form.signed ? 1 : 0](copy.buffer);
}

function beginPixels({ syntax, bytes, pixels }, form, n) {
  if (pixels === undefined) throw new Damage("no integer pixel data");
  const start = pixels.dataOffset;
  if (!NATIVE.has(syntax)) return start;
  if (syntax === BIG_ENDIAN && form.bitsAllocated === 8) throw new NoDecoder("bytes swapped in pairs");
  const expected = (n * form.rows * form.columns * form.bitsAllocated) / 8;
  const undefinedLength = pixels.hadUndefinedLength;
  const present = Math.min(undefinedLength ? UNDEFINED : pixels.length, bytes.length - start);
  if (undefinedLength || present < expected || present > expected + 1) {
    throw new Damage(`${present} bytes for ${n} of ${form.rows} x ${form.columns} pixels`);
  }
  checkRest(bytes, start + pixels.length, form);
  return start;
}

/** Refuse bytes behind the pixel data that are no attribute: some were put in before them, and all are shifted. */
function checkRest(bytes, end, form) {
  const row = (form.columns * form.bitsAllocated) / 8;
  const rest = bytes.subarray(Math.min(end, bytes.length), Math.min(Math.max(end, 0) + row, bytes.length));
  if (!rest.length) return;
  const padding = rest.length === row && rest.every((byte) => byte === 0);
  const letters = (at) => rest.length > at + 1 && /^[A-Za-z]{2}$/.test(String.fromCharCode(rest[at], rest[at + 1]));
  const group = rest.length > 1 ? [rest[0] | (rest[1] << 8), (rest[0] << 8) | rest[1]] : [];
  const attribute = group.some((one) => AFTER_PIXELS.has(one)) && (letters(4) || rest.length >= 8);
  if (!padding && !attribute) throw new Damage(`${bytes.length - end} bytes behind its pixel data`);
}

/** The frames of encapsulated pixel data. Source: DICOM PS3.5 A.4. */
function codedFrames({ bytes, data }, form, n, start) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fragments = [];
  let at = start;
  while (at + 8 <= bytes.length && view.getUint16(at, true) === 0xfffe && view.getUint16(at + 2, true) === 0xe000) {
    const length = view.getUint32(at + 4, true);
    if (at + 8 + length > bytes.length) throw new Damage(`${bytes.length - at - 8} of ${length} bytes of its last fragment`);
    fragments.push({ offset: at - start, bytes: bytes.subarray(at + 8, at + 8 + length) });
    at += 8 + length;
  }
  const end = Math.min(at + 8, bytes.length);
  checkRest(bytes, end, form);
  const size = (form.rows * form.columns * form.bitsAllocated * n) / 8;
  if (end - start > MOST_CODED * size + MOST_CODED_MORE) throw new Damage(`${end - start} compressed bytes for ${n * form.rows * form.columns} pixels`);
  const [table, ...parts] = fragments;
  if (table === undefined || !parts.length) throw new Damage("no frames");
  const frames = n === 1 ? [parts] : parts.length === n ? parts.map((one) => [one]) : byTable(table, parts);
  if (frames.length !== n) throw new Damage(`${frames.length} frames for ${n}`);
  void data;
  return frames.map((group) => joined(group.map((one) => one.bytes)));
}

function byTable(table, parts) {
  const view = new DataView(table.bytes.buffer, table.bytes.byteOffset, table.bytes.byteLength);
  const starts = Array.from({ length: table.bytes.length >> 2 }, (_, i) => view.getUint32(4 * i, true));
  if (!starts.length) throw new Damage("frames in several pieces, without a table of them");
  const first = parts[0].offset;
  return starts.map((from, i) => parts.filter((one) => one.offset - first >= from && (i + 1 === starts.length || one.offset - first < starts[i + 1])));
}

function joined(parts) {
  if (parts.length === 1) return parts[0].slice(); // with a buffer of its own
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
