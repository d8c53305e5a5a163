// One CT series from its files: a volume in HU, or the reason why it is not an even stack.

import { checkStack, withoutCopies } from "./acquisitions.js";
import { isCtImage, isDicom, parseDicom } from "./dicom.js";
import { checkHu, huVolume } from "./grid.js";
import { nameOf, sliceHeaders, tailOf } from "./headers.js";
import { DERIVED, checkRescale, checkScales, checkSize, derivedKind, isSharp, readHu, scaleOf } from "./hounsfield.js";
import { Damage, Refusal, byCodePoint, counted, damageWords, fileName, firstFew, folderName, grouped, note, seriesRefusal, warning } from "./words.js";

const FEW_SERIES = 2;
const SAME_SIZE = 0.1;

/**
 * One CT series on the canonical grid.
 * @param files - File objects, or {name, size, arrayBuffer()}.
 * @param folder - what the folder is called; null for a list of files.
 * @param seriesUid - the series to read where there are several.
 */
export async function readSeries(files, folder, seriesUid = null) {
  const { slices: found, uid, findings } = await readSlices(files, folder, seriesUid);
  const where = `series ${uid}`;
  const { slices, copies } = await dropCopies(found, where);
  const headers = slices.map((one) => one.header);
  const stack = checkStack(headers, where);
  const ordered = stack.order.map((index) => slices[index]);
  const shape = [ordered.length, ordered[0].header.rows, ordered[0].header.columns];
  const hu = await readPixels(ordered, where);
  const scales = ordered.map((one) => scaleOf(one.header, one.data));
  const all = [
    ...findings, ...checkScales(ordered.map((one) => one.header), scales, hu, shape, where), ...copies, ...stack.findings,
    ...checkRescale(headers, where), ...checkHu(hu, shape, where), ...checkPlain(ordered[0], where),
  ];
  const volume = huVolume(hu, shape, stack.affine, uid, all);
  return { ...volume, frameUid: headers[0].frameUid, imageUids: new Set(headers.map((one) => one.sopUid).filter(Boolean)) };
}

async function readSlices(files, folder, seriesUid) {
  const sorted = [...files].sort((a, b) => byCodePoint(a.path ?? a.name, b.path ?? b.name));
  const where = folder === null ? `${sorted.length} files` : folderName(folder);
  const [slices, uids, passed] = [[], new Set(), []];
  let damaged = 0;
  for (const file of sorted) {
    let found;
    try {
      found = await readCt(file, seriesUid);
    } catch (error) {
      if (error instanceof Refusal) throw error;
      if (seriesUid === null || error.ofThisSeries) {
        throw seriesRefusal({
          where: fileName(file),
          expected: "a whole DICOM file",
          found: `one that is cut short or damaged (${damageWords(error.ofThisSeries ?? error)})`,
          remedy: "copy or export it again",
        });
      }
      damaged += 1;
      continue;
    }
    if (found === null) {
      passed.push(file);
      continue;
    }
    uids.add(found.uid);
    if (seriesUid === null || seriesUid === found.uid) slices.push(...found.slices);
  }
  const requested = seriesUid === null ? [...uids] : [...uids].filter((uid) => uid === seriesUid);
  if (requested.length !== 1) {
    throw seriesRefusal({
      where,
      expected: seriesUid === null ? "one CT series" : `CT series ${seriesUid}`,
      found: uids.size ? `${uids.size} CT series (${firstFew([...uids].sort(byCodePoint), 5)})` : `no CT image among ${sorted.length} files`,
      remedy: remedy(uids.size, slices.length),
    });
  }
  damaged += await lookLikeSlices(passed, slices.map((one) => one.file));
  const text = `${damaged} damaged files next to the series were skipped; they may belong to it`;
  return { slices, uid: requested[0], findings: damaged ? [warning("damaged-files", text, where)] : [] };
}

function remedy(series, slices) {
  if (series > FEW_SERIES && series === slices) return "each image has a Series Instance UID of its own: anonymize them again with one UID per series";
  return series ? "give the folder of a single series" : "check the path and the export";
}

async function lookLikeSlices(passed, files) {
  const sizes = files.map((file) => file.size).sort((a, b) => a - b);
  const usual = sizes[sizes.length >> 1];
  const plain = (file) => file.name.replace(/\d+/g, "#");
  const named = new Set(files.map(plain));
  let n = 0;
  for (const file of passed) {
    if (!named.has(plain(file)) && Math.abs(file.size - usual) > usual * SAME_SIZE) continue;
    if (!(await isKnownObject(file))) n += 1;
  }
  return n;
}

async function isKnownObject(file) {
  try {
    const bytes = await bytesOf(file);
    return isDicom(bytes) && (await parseDicom(bytes)).data.text("SOPClassUID") in RULES.classes;
  } catch {
    return false;
  }
}

export async function bytesOf(file) {
  return new Uint8Array(await file.arrayBuffer());
}

/** Series UID and slices of the CT image in a file; null when it is something else. */
async function readCt(file, seriesUid) {
  const bytes = await bytesOf(file);
  if (!isDicom(bytes)) return null;
  const parsed = await parse(bytes);
  if (!isCtImage(parsed)) return null;
  const uid = parsed.data.text("SeriesInstanceUID") || "without UID";
  if (uid !== "without UID" && seriesUid !== null && seriesUid !== uid) return { uid, slices: [] };
  try {
    if (!parsed.data.has("Rows")) throw new Damage("no Rows");
    const data = parsed.data.detached();
    return { uid, slices: sliceHeaders(parsed).map((header) => ({ header, file, data })) };
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw uid === seriesUid ? Object.assign(new Error("damaged"), { ofThisSeries: error }) : error;
  }
}

export async function parse(bytes) {
  try {
    return await parseDicom(bytes);
  } catch (error) {
    if (error instanceof Damage || error instanceof RangeError) throw error;
    throw new Damage("its content is damaged");
  }
}

/** Each slice once. Two different slices that claim to be the same are refused. */
async function dropCopies(slices, where) {
  const { kept, copies } = withoutCopies(slices.map((one) => one.header));
  for (const [copy, original] of copies) {
    const [one, two] = [await readPixels([slices[copy]], where), await readPixels([slices[original]], where)];
    if (one.length === two.length && one.every((value, i) => value === two[i])) continue;
    throw seriesRefusal({
      where,
      expected: "each SOP Instance UID on one image only",
      found: `two different images for ${nameOf(slices[copy].header)} (SOP ..${tailOf(slices[copy].header)})`,
      remedy: "find out which one is correct, and remove the other",
    });
  }
  const text = `left out ${counted(copies.length, "slice")}: copies of others of the series`;
  return { slices: kept.map((index) => slices[index]), copies: copies.length ? [note("duplicate-files", text, where)] : [] };
}

function checkPlain({ header, data }, where) {
  const description = data.text("SeriesDescription");
  const kind = derivedKind(header, description);
  if (kind && kind !== "not-hu") {
    const said = header.imageType.slice(2).join("\\") || "no more in Image Type";
    return [warning("derived-series", `no plain CT but ${DERIVED[kind]} (${said})`, where)];
  }
  const kernel = data.text("ConvolutionKernel");
  if (isSharp(kernel, description)) return [warning("sharp-kernel", `a sharp kernel (${kernel || "for bone or lung"}): noisier than a CT of soft tissue`, where)];
  return [];
}

/** HU of slices, in their order. */
async function readPixels(slices, where) {
  checkSize(slices.map((one) => one.header), where);
  const { rows, columns } = slices[0].header;
  const pixels = rows * columns;
  const hu = new Int16Array(slices.length * pixels);
  const byFile = grouped(slices.keys(), (index) => slices[index].file);
  for (const [file, indices] of byFile) {
    const parsed = await parse(await bytesOf(file));
    await readHu(parsed, indices.map((index) => [slices[index].header, hu.subarray(index * pixels, (index + 1) * pixels)]), where);
  }
  return hu;
}

