// Which segment of an ROI file is the tumor: one rule for SEG and label maps. The words come from the program.

import { firstFew, note, quoted, roiRefusal, warning } from "./words.js";

const { tumorCodes, patterns } = RULES.segments;
const search = Object.fromEntries(Object.entries(patterns).map(([name, source]) => [name, new RegExp(source, "u")]));
export const MOST_LISTED = 12;
const SAY_WHICH = "say which is the tumor: tumor_label or tumor_name in the label table, tumor_name in rois.csv (#2 is number 2), or --tumor-label or --tumor-name";

export function folded(text) {
  const plain = text.toLowerCase().replaceAll("\u00df", "ss").replaceAll("\u0131", "i").replaceAll("\u00e6", "ae").normalize("NFKD");
  return plain.replace(/\p{Mn}/gu, "").normalize("NFC");
}

/** What is asked for: {caseId, where, label, name, exact}. */
export function tumorQuery(caseId, where, label = 1, name = "") {
  const number = /^#(\d{1,5})$/.exec(name.trim());
  return number ? { caseId, where, label: Number(number[1]), name: "", exact: true } : { caseId, where, label, name, exact: false };
}

const hasNumber = (query) => query.exact || query.label !== 1;
export const refusalOf = (query, expected, found, remedy) => roiRefusal({ where: query.where, expected, found, remedy });
export const findingOf = (query, code, message) => warning(code, message, query.where, query.caseId);

export function saysTumor({ name, meanings, codes }) {
  if (search.rest.test(folded(name))) return false;
  return codes.some((code) => tumorCodes.includes(code)) || [name, ...meanings].some((word) => search.tumor.test(folded(word)));
}

export function saysLesion({ name }) {
  return search.lesion.test(folded(name)) && !search.rest.test(folded(name));
}

function saysOther(segment) {
  if (saysTumor(segment)) return false;
  const words = [segment.name, ...segment.meanings].map(folded);
  return ["organ", "other"].some((kind) => words.some((word) => search[kind].test(word) && !search.lesion.test(word)));
}

function isCalled(segment, name) {
  const plain = (word) => word.trim().toLowerCase();
  return [segment.name, ...segment.meanings, ...segment.codes].some((word) => plain(word) === plain(name));
}

export function listed(segments) {
  return firstFew(segments.map((one) => `${one.number} ${one.name}`.trim()), MOST_LISTED) || "none";
}

function tumorsOf(segments) {
  const tumors = segments.filter(saysTumor);
  return tumors.length ? tumors : segments.filter(saysLesion);
}

/** The segment that is the tumor, or a refusal. */
export function chooseSegment(segments, query) {
  const numbers = segments.map((one) => one.number);
  if (new Set(numbers).size < numbers.length) throw refusalOf(query, "a different number for each segment", listed(segments), "export the ROI again");
  if (query.name.trim()) return byName(segments, query);
  const tumors = query.exact ? [] : tumorsOf(segments);
  if (tumors.length === 1 && hasNumber(query) && tumors[0].number !== query.label) {
    throw refusalOf(query, `number ${query.label} as the tumor`, `only ${listed(tumors)} called a tumor among ${listed(segments)}`,
      `give the right number, or #${query.label} as tumor_name if number ${query.label} is meant`);
  }
  if (tumors.length === 1) return tumors[0];
  const numbered = (tumors.length ? tumors : segments).filter((one) => one.number === query.label);
  const chosen = tumors.length || hasNumber(query) ? numbered : segments;
  if (chosen.length !== 1) {
    throw refusalOf(query, "one segment that is the tumor", `${tumors.length || "none"} called a tumor among ${listed(segments)}`, SAY_WHICH);
  }
  if (saysOther(chosen[0]) && !query.exact) {
    throw refusalOf(query, "a segment that is the tumor", segments.length === 1 ? `only ${quoted(chosen[0].name)}` : listed(segments),
      "give the segmentation of the tumor, or the name of its segment as --tumor-name");
  }
  return chosen[0];
}

function byName(segments, query) {
  let called = segments.filter((one) => isCalled(one, query.name));
  if (called.length > 1) called = called.filter((one) => one.number === query.label);
  if (called.length !== 1) throw refusalOf(query, `one segment called ${quoted(query.name)}`, listed(segments), "give the name or the code exactly as in the file");
  return called[0];
}

export function checkChoice(segments, chosen, query) {
  if (query.name.trim() || hasNumber(query)) return [];
  const tumors = tumorsOf(segments);
  if (tumors.length < 2) return [];
  return [findingOf(query, "roi-several-tumors", `${tumors.length} segments are called a tumor, ${listed(tumors)}: number ${chosen.number} was used`)];
}

const { kits, codes: ORGAN_CODES } = RULES.organs;
export const KITS = kits;

/** The name that organ masks have here; empty for anything else. */
export function organOf({ name, meanings, codes }) {
  const text = [name, ...meanings].join(" ");
  const byCode = codes.filter((code) => code in ORGAN_CODES).map((code) => ORGAN_CODES[code]);
  const words = new Set(text.toLowerCase().split(/[^\p{L}\p{N}]+/u));
  const any = (...list) => list.some((word) => words.has(word));
  if (any("cyst", "cysts")) return "cyst";
  const segment = { name: text, meanings: [], codes: [] };
  if (saysTumor(segment) || saysLesion(segment)) return "tumor";
  if (any("kidney", "kidneys") || byCode[0] === "kidney") {
    const sides = ["left", "right"].filter((side) => any(side, side[0]));
    return sides.length === 1 ? `kidney_${sides[0]}` : "kidney";
  }
  const plain = ["aorta", "liver", "spleen"].filter((organ) => any(organ, `${organ}s`));
  return [...plain, ...byCode][0] ?? "";
}

/** The findings about who drew a segment of a SEG, as `check_origin` has them. */
export function originFindings(seg, number, caseId) {
  const segment = seg.items("SegmentSequence").find((item) => item.short("SegmentNumber") === number);
  const kind = segment.text("SegmentAlgorithmType");
  if (kind !== "AUTOMATIC" && kind !== "SEMIAUTOMATIC") return [];
  const said = `(Segment Algorithm Type ${kind})`;
  if (kind === "AUTOMATIC") {
    const version = segment.item("SegmentationAlgorithmIdentificationSequence")?.decoded("AlgorithmVersion") || seg.decoded("SoftwareVersions").split("\\")[0];
    const name = segment.decoded("SegmentAlgorithmName") || seg.decoded("ManufacturerModelName");
    const [plainName, plainVersion] = [name, version].map((word) => word.replace(/[^\w.+-]+/g, "-").replace(/^-+|-+$/g, "") || "unknown");
    return [warning("roi-proposed", `the ROI was drawn by model:${plainName}@${plainVersion}, and nobody accepted it ${said}`, "", caseId)];
  }
  const ours = seg.text("Manufacturer") === "nephroscope";
  if (ours && (segment.text("SegmentAlgorithmName") === "not recorded" || /^(accepted|corrected) by (reader-[1-9]\d?|consensus|a person)$/.test(segment.text("SegmentDescription")))) return [];
  return [note("roi-proposed", `a program helped to draw the ROI; whether a person looked at all of it is not said ${said}`, "", caseId)];
}
