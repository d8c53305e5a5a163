// What is doubtful about a tumor on its CT, in the words of `nephroscope check`.

import { compareWithKidney, enhancementWords, measureCtUnder, measureEnhancement, measureShell, mirroredAxes, sideOf } from "./around.js";
import { drawnSlices } from "./fit.js";
import { findParts, measure } from "./measure.js";
import { counted, firstFew, fixed, note, percent, warning } from "./words.js";

const C = RULES.check;
const MISPLACED = ["roi-outside-body", "roi-on-air", "roi-on-bone", "roi-on-fat"];

/**
 * {findings, side} of a tumor that was placed on its CT.
 * @param roi - {voxels, caseId, findings}; `organs` - masks by name; `phase` - of the CT; `stated` - side on which the tumor is said to be.
 */
export function checkRoi(volume, roi, { organs = {}, phase = "unknown", stated = "unknown" } = {}) {
  const { caseId } = roi;
  const under = measureCtUnder(volume, roi.voxels);
  const measures = measure(roi.voxels, volume.geometry);
  const findings = checkPlace(under, volume, roi);
  const codes = () => new Set(findings.map((finding) => finding.code));
  let side = sideOf(measures.center[0], under.midline);
  if ("kidney" in organs) {
    findings.push(...checkPhase(phase, measureEnhancement(volume, organs, roi.voxels), caseId));
    const relation = compareWithKidney(roi.voxels, organs, volume.geometry);
    findings.push(...checkKidney(relation, caseId));
    if (relation.side !== "unknown") side = relation.side;
  } else if (!MISPLACED.some((code) => codes().has(code))) {
    findings.push(...checkShell(measureShell(volume, roi.voxels), caseId));
  }
  findings.push(...mirrored(volume, roi, organs, codes()));
  findings.push(...checkShape(measures, roi, volume), ...checkSize(measures, caseId, under.bodyShare), ...checkSide(stated, side, caseId));
  findings.push(note("roi-measures", [
    `${fixed(measures.volumeMl, 1)} ml`, `largest axial diameter ${fixed(measures.axialMm, 0)} mm`, `in any direction ${fixed(measures.anyMm, 0)} mm`,
    counted(measures.nSlices, "slice"), `side ${side}`,
  ].join(", "), "", caseId));
  return { findings, side };
}

function checkPlace(under, volume, roi) {
  const found = [];
  const add = (code, text) => found.push(warning(code, text, "", roi.caseId));
  if (under.outsideShare > C.mostOutside) add("roi-outside-body", `${percent(under.outsideShare)} of the tumor lies outside the body`);
  if (under.airShare > C.mostAir) add("roi-on-air", `${percent(under.airShare)} of the tumor is air (below -300 HU); its mean is ${fixed(under.meanHu, 0)} HU`);
  if (under.denseShare > C.mostDense) add("roi-on-bone", `${percent(under.denseShare)} of the tumor is above 300 HU: bone, metal or contrast medium, not tumor`);
  if (under.fatShare > C.mostFat) {
    add("roi-on-fat", `${percent(under.fatShare)} of the tumor has the HU of fat (-150 to -30): it was drawn next to the tumor, or the tumor is an angiomyolipoma, which contains fat`);
  }
  const ends = edges(roi.voxels, volume.geometry.shape);
  if (ends.length) add("roi-cut-off", `the tumor reaches the ${ends.join(" and the ")} edge of the scan: tumor or CT may be cut off`);
  return found;
}

function edges(voxels, [ns, nr, nc]) {
  const has = (s, r, c) => voxels[(s * nr + r) * nc + c] === 1;
  const plane = (n, m, at) => { for (let i = 0; i < n; i += 1) for (let j = 0; j < m; j += 1) if (at(i, j)) return true; return false; };
  const found = [];
  if (ns > 1 && plane(nr, nc, (r, c) => has(0, r, c))) found.push("lowest");
  if (ns > 1 && plane(nr, nc, (r, c) => has(ns - 1, r, c))) found.push("highest");
  if (nr > 1 && plane(ns, nc, (s, c) => has(s, 0, c))) found.push("front");
  if (nr > 1 && plane(ns, nc, (s, c) => has(s, nr - 1, c))) found.push("back");
  if (nc > 1 && plane(ns, nr, (s, r) => has(s, r, 0))) found.push("right");
  if (nc > 1 && plane(ns, nr, (s, r) => has(s, r, nc - 1))) found.push("left");
  return found;
}

function checkShape(measures, roi, volume) {
  const found = [];
  const drawn = drawnSlices(roi.voxels, volume.geometry.shape);
  const n = volume.geometry.shape[0];
  const add = (make, code, text) => found.push(make(code, text, "", roi.caseId));
  if (drawn.length === 1 && n > 1) add(warning, "roi-one-slice", `the tumor is one slice thick: slice ${drawn[0]} of ${n}, counted from 0`);
  const has = new Set(drawn);
  const skipped = [];
  for (let s = drawn[0]; s < drawn.at(-1); s += 1) if (!has.has(s)) skipped.push(s);
  if (skipped.length && !roi.findings.some((finding) => finding.code === "roi-gap")) {
    add(warning, "roi-gap", `no tumor is drawn on ${counted(skipped.length, "slice")} between drawn ones: ${firstFew(skipped)}, counted from 0`);
  }
  if (measures.sizes.length > 1) {
    const { sizes } = findParts(roi.voxels, volume.geometry.shape);
    const shares = sizes.map((size) => size / measures.nVoxels).sort((a, b) => b - a);
    const [parts, specks] = [shares.filter((one) => one >= C.speck), shares.filter((one) => one < C.speck)];
    if (parts.length > 1) {
      add(warning, "roi-parts", `the tumor is in ${parts.length} parts that do not touch (${firstFew(parts.map((one) => percent(one)))}), but one case is one tumor`);
    }
    if (specks.length) {
      add(note, "roi-specks", `${specks.length} specks next to the tumor make up ${percent(specks.reduce((sum, one) => sum + one, 0), 1)} of its voxels`);
    }
  }
  return found;
}

function checkSize(measures, caseId, bodyShare) {
  const found = [];
  if (measures.nVoxels < C.fewestVoxels) found.push(warning("roi-tiny", `the tumor has ${measures.nVoxels} voxels`, "", caseId));
  const [ml, mm] = [measures.volumeMl, measures.anyMm];
  if (ml > C.impossibleMl || bodyShare > C.impossibleBodyShare) {
    const text = `expected a tumor, found ${fixed(ml, 0)} ml, ${percent(bodyShare)} of the body in its slices; choose another label, or export the ROI again`;
    found.push({ code: "roi-impossible", severity: "refusal", message: text, case_id: caseId, where: "" });
  } else if (ml > C.largeMl || mm > C.largeMm) {
    const text = `the tumor has ${fixed(ml, 0)} ml and ${fixed(mm, 0)} mm: larger than a kidney (${fixed(C.largeMl, 0)} ml, ${fixed(C.largeMm, 0)} mm) and than most tumors`;
    found.push(warning("roi-large", text, "", caseId));
  }
  return found;
}

function checkKidney(relation, caseId) {
  const found = [];
  if (relation.gapMm > C.mostGapMm) found.push(warning("roi-off-kidney", `the tumor is ${fixed(relation.gapMm, 0)} mm from the nearest kidney`, "", caseId));
  if (relation.dice > C.kidneyDice) {
    found.push(warning("roi-is-kidney", `the ROI is a whole kidney (Dice ${fixed(relation.dice, 2)}): the label of the kidney was used for the tumor`, "", caseId));
  }
  return found;
}

function checkShell(shell, caseId) {
  if (shell === null || shell.fatShare >= C.leastFatAround || shell.brightShare >= C.mostBrightAround) return [];
  const text = `only ${percent(shell.fatShare)} of what lies within 15 mm of the tumor is fat or air; a kidney lies in fat, so this may be a lesion of the liver, the spleen or muscle`;
  return [warning("roi-no-fat-around", text, "", caseId)];
}

function mirrored(volume, roi, organs, codes) {
  const kidney = organs.kidney ?? null;
  const offKidney = kidney !== null && codes.has("roi-off-kidney");
  if (!offKidney && !MISPLACED.some((code) => codes.has(code))) return [];
  const axes = mirroredAxes(volume, roi.voxels, kidney, offKidney ? RULES.regions.leastSoftByKidney : RULES.regions.leastSoft);
  const text = `mirrored ${axes}, the tumor would lie on ${kidney === null ? "soft tissue" : "a kidney"}: the axes of its file may be mixed up`;
  return axes ? [warning("roi-mirrored", text, "", roi.caseId)] : [];
}

function checkSide(stated, drawn, caseId) {
  if (stated === "unknown" || drawn === "unknown" || stated === drawn) return [];
  return [warning("roi-side-differs", `the tumor was drawn on the ${drawn} of the patient, but it is said to be on the ${stated}`, "", caseId)];
}

function checkPhase(named, enhancement, caseId) {
  if (enhancement.phase === "unknown" || enhancement.phase === named) return [];
  const words = enhancementWords(enhancement);
  if (named === "unknown") return [note("phase-from-image", `DICOM does not name the phase; the image looks ${enhancement.phase} (${words})`, "", caseId)];
  return [warning("phase-disagrees", `the table or the header says ${named}, the image looks ${enhancement.phase} (${words})`, "", caseId)];
}
