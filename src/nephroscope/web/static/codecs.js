// Compressed frames: JPEG 2000, JPEG-LS and JPEG lossless by the libraries in this page, RLE here. Anything else is refused by its name.

import { Damage, NoDecoder } from "./words.js";

export const RLE = "1.2.840.10008.1.2.5";
const NAMES = RULES.syntaxes; // every transfer syntax by its name
const SIZE_MARKERS = new Set([0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf, 0xf7]);
const LOSSLESS = 0xc3;
const DECODERS = {
  "1.2.840.10008.1.2.4.57": lossless,
  "1.2.840.10008.1.2.4.70": lossless,
  "1.2.840.10008.1.2.4.80": jpegLs,
  "1.2.840.10008.1.2.4.81": jpegLs,
  "1.2.840.10008.1.2.4.90": jpeg2000,
  "1.2.840.10008.1.2.4.91": jpeg2000,
  [RLE]: rle,
};

export const canDecode = (syntax) => syntax in DECODERS;
export const syntaxName = (syntax) => NAMES[syntax] ?? syntax;

/** The stored values of one frame. `form` says rows, columns, bits and sign, as the header of the file does. */
export async function decodeFrame(frame, syntax, form) {
  if (!canDecode(syntax)) throw new NoDecoder(syntax);
  checkFrame(frame, "the frame", form);
  const stored = await DECODERS[syntax](frame, form);
  if (stored.length !== form.rows * form.columns) throw new Damage(`an array of ${stored.length} pixels`);
  return stored;
}

/** Refuse a frame without an end, or of another size than the header announces. */
export function checkFrame(frame, name, form) {
  const jpeg = frame[0] === 0xff && (frame[1] === 0xd8 || frame[1] === 0x4f);
  if (jpeg) {
    let end = frame.length;
    while (end > 0 && frame[end - 1] === 0) end -= 1;
    const tail = frame.subarray(Math.max(end - 3, 0), end);
    if (!tail.some((byte, at) => byte === 0xff && tail[at + 1] === 0xd9)) throw new Damage(`${name} has no end`);
  }
  const coded = codedHeader(frame);
  if (coded && (coded.rows !== form.rows || coded.columns !== form.columns)) {
    throw new Damage(`${coded.rows} x ${coded.columns} pixels for ${form.rows} x ${form.columns}`);
  }
  return coded;
}

/** Source: ITU-T T.81 B.2.2 (JPEG), T.87 C.2.2 (JPEG-LS), T.800 A.5.1 (JPEG 2000). */
function codedHeader(frame) {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame[0] === 0xff && frame[1] === 0x4f && frame[2] === 0xff && frame[3] === 0x51) {
    const [right, bottom, left, top] = [8, 12, 16, 20].map((at) => view.getUint32(at));
    return { rows: bottom - top, columns: right - left, components: view.getUint16(40), bits: (frame[42] & 0x7f) + 1, signed: frame[42] >> 7 === 1, marker: 0x51 };
  }
  if (frame[0] !== 0xff || frame[1] !== 0xd8) return null;
  for (let at = 2; at + 10 <= frame.length;) {
    if (frame[at] !== 0xff) return null;
    if (SIZE_MARKERS.has(frame[at + 1])) {
      return { bits: frame[at + 4], rows: view.getUint16(at + 5), columns: view.getUint16(at + 7), components: frame[at + 9], signed: false, marker: frame[at + 1] };
    }
    at += frame[at + 1] === 0xff ? 1 : 2 + view.getUint16(at + 2);
  }
  return null;
}

const loaded = new Map();

/** A codec of the page, started when it is first needed. */
function codec(name, factory) {
  if (!loaded.has(name)) {
    loaded.set(name, PARTS.bytes(`${name}.wasm`).then((wasmBinary) => factory({ wasmBinary, print: () => {}, printErr: () => {} })));
  }
  return loaded.get(name);
}

async function byLibrary(module, Decoder, frame, form) {
  const decoder = new Decoder();
  try {
    decoder.getEncodedBuffer(frame.length).set(frame);
    try {
      decoder.decode();
    } catch {
      throw new Damage("it cannot be decoded");
    }
    const coded = codedHeader(frame);
    const info = decoder.getFrameInfo();
    if (!coded || coded.components !== 1 || info.componentCount !== 1) throw new Damage("a code stream of another kind");
    const out = decoder.getDecodedBuffer();
    const bytes = new Uint8Array(out); // a copy: the library's memory goes
    return asDeclared(info.bitsPerSample <= 8 ? bytes : new Uint16Array(bytes.buffer), coded, form);
  } finally {
    decoder.delete();
  }
}

async function jpeg2000(frame, form) {
  const module = await codec("openjpegwasm_decode", OpenJPEGWASM);
  return byLibrary(module, module.J2KDecoder, frame, form);
}

async function jpegLs(frame, form) {
  const module = await codec("charlswasm_decode", CharLSWASM);
  return byLibrary(module, module.JpegLSDecoder, frame, form);
}

/** Values with the sign that the header of the file declares, which a code stream may not know. */
function asDeclared(values, coded, form) {
  const wide = 8 * values.BYTES_PER_ELEMENT;
  const unused = wide - coded.bits;
  const out = empty(form, values.length);
  const signed = wide === 8 ? new Int8Array(values.buffer, values.byteOffset, values.length) : new Int16Array(values.buffer, values.byteOffset, values.length);
  const from = form.signed ? signed : values;
  if (unused && coded.signed !== form.signed) {
    const lift = 32 - coded.bits;
    for (let i = 0; i < out.length; i += 1) out[i] = form.signed ? (from[i] << lift) >> lift : (from[i] << lift) >>> lift;
  } else {
    out.set(from);
  }
  return out;
}

function empty(form, n) {
  const kinds = { 8: [Uint8Array, Int8Array], 16: [Uint16Array, Int16Array], 32: [Uint32Array, Int32Array] };
  return new kinds[form.bitsAllocated][form.signed ? 1 : 0](n);
}

function lossless(frame, form) {
  const coded = codedHeader(frame);
  if (!coded || coded.marker !== LOSSLESS || coded.components !== 1) throw new Damage("a JPEG stream of another kind");
  if (coded.bits > form.bitsAllocated) throw new Damage(`${coded.bits} bits for ${form.bitsAllocated} in each pixel`);
  const decoder = new JpegLossless.Decoder();
  let buffer;
  try {
    buffer = decoder.decompress(frame.buffer, frame.byteOffset, frame.byteLength);
  } catch {
    throw new Damage("it cannot be decoded");
  }
  const values = coded.bits <= 8 ? new Uint8Array(buffer) : new Uint16Array(buffer);
  const out = empty(form, form.rows * form.columns);
  out.set(values.subarray(0, out.length));
  return out;
}

/** One segment for each byte of a pixel, the highest byte first. Source: DICOM PS3.5 annex G. */
function rle(frame, form) {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const [bytes, pixels] = [form.bitsAllocated / 8, form.rows * form.columns];
  if (frame.length < 64) throw new RangeError("cut short");
  const segments = view.getUint32(0, true);
  if (segments !== bytes) throw new Damage(`${segments} segments for ${bytes} bytes a pixel`);
  const starts = Array.from({ length: bytes }, (_, i) => view.getUint32(4 + 4 * i, true));
  const planes = new Uint8Array(pixels * bytes);
  starts.forEach((start, i) => {
    const end = i + 1 < bytes ? starts[i + 1] : frame.length;
    const plane = start >= 64 && start < end && end <= frame.length ? unpackBits(frame.subarray(start, end), pixels + 2) : new Uint8Array(0);
    if (plane.length < pixels || plane.length > pixels + 1) throw new Damage(`${plane.length} bytes for ${pixels} pixels`);
    const to = bytes - 1 - i;
    for (let p = 0; p < pixels; p += 1) planes[p * bytes + to] = plane[p];
  });
  const out = empty(form, pixels);
  new Uint8Array(out.buffer).set(planes);
  return out;
}

/** PackBits of at most some bytes. */
export function unpackBits(packed, most) {
  const out = new Uint8Array(most);
  let to = 0;
  for (let at = 0; at < packed.length && to < most;) {
    const n = packed[at++];
    if (n < 128) {
      const part = packed.subarray(at, Math.min(at + n + 1, at + most - to));
      out.set(part, to);
      to += part.length;
      at += n + 1;
    } else if (n > 128) {
      const end = Math.min(to + 257 - n, most);
      if (at < packed.length) out.fill(packed[at], to, end);
      to = end;
      at += 1;
    }
  }
  return out.subarray(0, to);
}
