// A patient's files and the bundle in this page -> the CT that is meant, the tumor on it, and the answer with everything that is doubtful.

import { answerOf, checkPhase } from "./answer.js";
import { checkRoi } from "./check.js";
import { isCtImage, isDicom } from "./dicom.js";
import { isNifti, readNifti } from "./nifti.js";
import { namePhases, seriesText } from "./phase.js";
import { openRoi, organsIn, placeRoi, segSeries } from "./roi.js";
import { bytesOf, parse, readSeries } from "./series.js";
import { Refusal, byCodePoint, counted, firstFew, fixed, note, roiRefusal, seriesRefusal } from "./words.js";

const UNNAMED = "case";
const LONGEST_NAME = 64;

/** The kind of a file by its first bytes, in the words of a refusal. */
function kindOf(bytes) {
  if (isDicom(bytes)) return "dicom";
  if (isNifti(bytes)) return "nifti";
  const begin = (...codes) => codes.every((code, i) => bytes[i] === code);
  if (begin(0x89, 0x50, 0x4e, 0x47)) return "png";
  if (begin(0xff, 0xd8, 0xff)) return "jpeg";
  return begin(0x4e, 0x52, 0x52, 0x44) ? "nrrd" : "a file of another kind";
}

/**
 * The CT: {volume, name, phase, evidence, nSeries}.
 * @param files - of the folder or the one file; each has `path` below the folder, where there is one.
 * @param options - folder: its name, null for one file; roi: what `openRoi` gave, which decides between several series.
 */
export async function readCase(files, { folder = null, roi = null } = {}) {
  if (folder === null && files.length === 1) {
    const kind = kindOf(new Uint8Array(await files[0].slice(0, 132).arrayBuffer()));
    if (kind === "nifti") return { volume: await readNifti(files[0]), name: UNNAMED, phase: "unknown", evidence: "", nSeries: 1 };
    if (kind !== "dicom") {
      throw seriesRefusal({
        where: `image ${files[0].name}`, expected: "the files of a DICOM series, or a NIfTI file", found: kind,
        remedy: "check the path; PNG and JPEG slices are read by `nephroscope predict`",
      });
    }
  }
  const shown = files.filter((file) => !file.name.startsWith("."));
  const deep = shown.some((file) => (file.path ?? file.name).includes("/"));
  if (!deep) {
    try {
      const volume = await readSeries(shown, folder);
      const first = (await seriesIn(shown, volume.seriesUid)).find((one) => one.uid === volume.seriesUid);
      return named(volume, first, [first]);
    } catch (error) {
      if (!(error instanceof Refusal) || error.expected !== "one CT series") throw error;
    }
  }
  const found = await seriesIn(files);
  if (!found.length) {
    throw seriesRefusal({ where: "the patient's folder", expected: "a CT series", found: "none, here or in the folders below", remedy: "check the path and the export" });
  }
  const [volume, chosen] = await drawnOn(found, roi);
  return named(volume, chosen, found);
}

function named(volume, chosen, found) {
  const call = namePhases(found.map((one) => one.text))[found.indexOf(chosen)];
  const name = [...chosen.patientId].filter((letter) => letter === " " || !/[\p{C}\p{Z}]/u.test(letter)).join("").trim().slice(0, LONGEST_NAME) || UNNAMED;
  return { volume, name, phase: call.phase, evidence: call.evidence, nSeries: found.length };
}

/** The CT series among these files: {uid, files, patientId, text}; up to the first file of one, where it is named. */
async function seriesIn(files, last = null) {
  const found = new Map();
  for (const file of [...files].sort((a, b) => byCodePoint(a.path ?? a.name, b.path ?? b.name))) {
    let parsed;
    try {
      const bytes = await bytesOf(file);
      if (!isDicom(bytes)) continue;
      parsed = await parse(bytes);
    } catch {
      continue;
    }
    if (!isCtImage(parsed)) continue;
    const uid = parsed.data.text("SeriesInstanceUID") || "without UID";
    if (!found.has(uid)) found.set(uid, { uid, files: [], patientId: parsed.data.decoded("PatientID"), text: seriesText(parsed.data) });
    found.get(uid).files.push(file);
    if (uid === last) break;
  }
  return [...found.values()];
}

const words = ({ text, files }) => `${text.seriesNumber ? `series ${text.seriesNumber}` : "a series without number"} (${counted(files.length, "image")})`;

function unclear(found, what) {
  return seriesRefusal({
    where: "the patient's folder", expected: "one CT series, or several with an ROI that says which one it was drawn on",
    found: `${what}: ${firstFew(found.map(words))}`, remedy: "give the folder of the series on which the ROI was drawn",
  });
}

async function drawnOn(given, roi) {
  let found = given;
  const read = (one) => readSeries(one.files, null, one.uid);
  if (found.length === 1) return [await read(found[0]), found[0]];
  if (roi === null) throw unclear(found, "several");
  if (roi.kind === "seg") {
    const uids = new Set(segSeries(roi.parsed));
    const said = found.filter((one) => uids.has(one.uid));
    if (said.length === 1) return [await read(said[0]), said[0]];
    if (uids.size === 1 && !said.length) throw unclear(found, "none on which the ROI was drawn, among several");
    if (said.length) found = said;
  }
  const matching = [];
  for (const one of found) {
    try {
      const volume = await read(one);
      const placed = await placeRoi(roi, volume);
      if (!placed.findings.some((finding) => ["roi-resampled", "roi-outside"].includes(finding.code))) matching.push([volume, one]);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }
  if (matching.length !== 1) throw unclear(found, `${matching.length} that have the grid of the ROI, among several`);
  return matching[0];
}

/** Refuse a case without ROI, unless the network sees whole slices. */
function checkRoiGiven(about, roi, caseId) {
  if (roi !== null || about.slices.roi_mode === "full") return;
  throw roiRefusal({
    where: `case ${caseId}`, expected: "an ROI of the tumor, because this bundle classifies only the part of the CT around it", found: "none",
    remedy: "name its file with --roi, or draw and sign the tumor in the workstation",
  });
}

/** The answer for a CT that was read and a tumor on its grid (null for a bundle of whole slices). */
export async function answerCase(page, ct, roi, { stated = "unknown", organs = {} } = {}) {
  const { about } = page;
  const { shape, spacing } = ct.volume.geometry;
  checkRoiGiven(about, roi, ct.name);
  let tumor = about.slices.roi_mode === "full" && roi !== null && roi.voxels.every(Boolean) ? null : roi;
  const more = [];
  let drawn = "unknown";
  if (tumor !== null) {
    const checked = checkRoi(ct.volume, tumor, { organs, phase: ct.phase, stated });
    drawn = checked.side;
    more.push(...checked.findings);
  }
  more.push(...checkPhase(about, ct.phase, ct.evidence, ct.name));
  const refused = more.find((finding) => finding.severity === "refusal");
  if (refused) {
    throw roiRefusal({
      where: `case ${ct.name}`, expected: "a tumor", found: refused.message.replace(/^expected a tumor, found /, "").split(";")[0],
      remedy: "choose another label, or export the ROI again",
    });
  }
  tumor ??= wholeImage(ct.volume, ct.name);
  const answer = await answerOf(page, ct.volume, tumor, more);
  return {
    ...answer,
    side: { stated, drawn },
    series: {
      series_uid: ct.volume.seriesUid, phase: ct.phase, evidence: ct.evidence, n_slices: shape[0], n_series: ct.nSeries,
      slice_spacing_mm: round4(spacing[0]), pixel_spacing_mm: [round4(spacing[1]), round4(spacing[2])],
    },
    model_digest: about.sha256["model.onnx"].slice(0, 16),
    research_use_only: true,
  };
}

const round4 = (value) => Number(fixed(value, 4));

function wholeImage(volume, caseId) {
  const found = [note("no-mask", "no ROI: every slice of the CT counts, from edge to edge", "", caseId)];
  return { voxels: new Uint8Array(volume.hu.length).fill(1), geometry: volume.geometry, caseId, findings: found };
}

/**
 * Everything from files, as `nephroscope predict` does it.
 * @param asked - {files, folder, roi: File or null, caseId, side, label, name}.
 */
export async function predictFiles(page, asked) {
  const opened = asked.roi ? await openRoi(asked.roi, asked.caseId ?? "") : null;
  const ct = await readCase(asked.files, { folder: asked.folder, roi: opened });
  ct.name = asked.caseId ?? ct.name;
  let roi = null;
  let organs = {};
  if (opened !== null) {
    const renamed = asked.caseId ? opened : await openRoi(asked.roi, ct.name);
    roi = await placeRoi(renamed, ct.volume, asked);
    organs = await organsIn(renamed, ct.volume, asked.label ?? 1);
  }
  return { ct, roi, organs, answer: await answerCase(page, ct, roi, { stated: asked.side ?? "unknown", organs }) };
}

