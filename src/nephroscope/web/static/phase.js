// The contrast phase of CT series from DICOM attributes, with the words it was found in. The table of words comes from the program.

import { fixed, grouped } from "./words.js";

const { phrases, noAgent, delays, delayWords, unitsS, afterS, beforeS, sameAcquisitionS, beforeInjectionS, longestBareS, longestText } = RULES.phase;
const NAMED = ["unenhanced", "corticomedullary", "nephrographic", "excretory"];
const [CONTRAST, SEVERAL, MIXED, NO_PHASE, NOTHING, LATE, TARDIVE] = ["contrast", "several", "mixed", "no phase", "nothing", "late", "tardive"];
const [STRONG, TIMED, WEAK] = [3, 2, 1];
const LETTERS = { "\u00f8": "o", "\u0142": "l", "\u0111": "d", "\u0131": "i", "\u00e6": "ae", "\u0153": "oe" };
const [AN, L, CJK] = ["[\\p{L}\\p{N}]", "\\p{L}", "\\u3040-\\u30ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uac00-\\ud7af"];
const KERNEL = new RegExp(`(?<!${AN})(?:[BHIU]\\d\\d[fhs]|D\\d\\df|[BHQST][rfvl]\\d\\d[a-z]?|FC\\d\\d)(?!${AN})`, "giu");
const PLURAL = new RegExp(`(?<=\\d)['\\u2032\\u2019]s(?!${AN})`, "giu");
const GLUED = new RegExp(`(?<=${L}{2})(?=(?:phases?|phasen|fase|fasen|fasi|faz[aey]?|fazi|fas)(?!${L}))`, "giu");
const TOKEN = new RegExp(
  `(?<!${AN})(?:c|ce|km|iv)[+\\-]/?[+\\-](?!${AN})|(?<!${AN})(?:c|ce|km|iv|pdc|mdc)[+\\-](?!${AN})|(?<!${AN})[+\\-](?:c|iv)(?!${AN})|(?<!${AN})\\+km(?!${AN})`
  + `|&|[${CJK}]|(?:(?![${CJK}])${L})+|\\d+(?:[.,]\\d+)?|(?<=\\d)['\\u2032\\u2019]{1,2}|(?<=\\d)["\\u2033\\u201d]`, "giu");

export function foldedWord(text) {
  const swap = (one) => one.replace(/[\u00f8\u0142\u0111\u0131\u00e6\u0153]/g, (letter) => LETTERS[letter]);
  const lower = text.toLowerCase().replaceAll("\u00df", "ss");
  return swap(swap(lower).normalize("NFKD").replace(/\p{Mn}|\p{Mc}/gu, "")).normalize("NFC");
}

function sign(word) {
  if (["''", '"', "\u2033", "\u201d"].includes(word)) return "s";
  if (["'", "\u2032", "\u2019"].includes(word)) return "'";
  if (word.length > 2 && word.includes("+") && word.includes("-")) return "c+-";
  return { "&": "and", "+km": "c+" }[word.toLowerCase()] ?? foldedWord(word);
}

function clean(text) {
  let plain = text.normalize("NFKC").replace(KERNEL, " ").replace(PLURAL, " ").replace(GLUED, " ");
  plain = [...` ${plain}`].map((b, i, all) => (i && /\p{Ll}/u.test(all[i - 1]) && /\p{Lu}/u.test(b) ? ` ${b}` : b)).slice(1).join("");
  return plain.split(/\s+/u).filter(Boolean).join(" ");
}

export const phaseOfDelay = (seconds) => delays.find(([, low, high]) => low <= seconds && seconds <= high)?.[0] ?? "unknown";

export function secondsOfDay(time) {
  const [whole, part] = split(time.trim().replaceAll(":", ""));
  if (!/^\d+$/.test(whole) || whole.length > 6 || (part && !/^\d+$/.test(part))) return null;
  const padded = whole.length === 4 ? `${whole}00` : whole.padStart(6, "0");
  const [hours, minutes, seconds] = [0, 2, 4].map((at) => Number(padded.slice(at, at + 2)));
  if (hours > 23 || minutes > 59 || seconds > 60) return null;
  return hours * 3600 + minutes * 60 + seconds + Number(`0.${part || 0}`);
}

function split(text) {
  const at = text.indexOf(".");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

/** {phase, words, says, level, mentioned} of one description. */
export function phaseOfText(given) {
  const text = clean(given.slice(0, longestText));
  const hits = adjectivesJoined(findHits(text));
  const unknown = (words, says, level = 0, mentioned = new Set()) => ({ phase: "unknown", words, says, level, mentioned });
  const dead = hits.find((hit) => hit.meaning === NO_PHASE || hit.meaning === MIXED);
  if (dead) return unknown(dead.words, dead.meaning);
  const named = hits.filter((hit) => NAMED.includes(hit.meaning));
  const mentioned = new Set(named.map((hit) => hit.meaning));
  if (!named.length) {
    const other = hits.find((hit) => hit.meaning === SEVERAL || hit.meaning === CONTRAST);
    return unknown(other?.words ?? "", other?.meaning ?? NOTHING);
  }
  const level = Math.max(...named.map((hit) => hit.level));
  const best = new Map();
  for (const hit of [...named].reverse()) if (hit.level === level) best.set(hit.meaning, hit.words);
  const withContrast = hits.find((hit) => hit.meaning === CONTRAST)?.words ?? "";
  if (best.size === 1 && !(best.has("unenhanced") && withContrast)) {
    const [[phase, words]] = best;
    return { phase, words, says: hits.some((hit) => hit.meaning === SEVERAL) ? SEVERAL : "named", level, mentioned };
  }
  const spoken = [...[...best.values()].reverse(), ...(best.size === 1 ? [withContrast] : [])];
  return unknown(spoken.join('" and "'), "conflict", level, mentioned);
}

function findHits(text) {
  const found = [...text.matchAll(TOKEN)].map((match) => ({ folded: sign(match[0]), start: match.index, end: match.index + match[0].length }));
  const words = found.map((token) => token.folded);
  const hits = [];
  for (let i = 0; i < words.length;) {
    const [meaning, level, after] = timeAt(words, i) ?? phraseAt(words, i) ?? ["", 0, i + 1];
    if (meaning) hits.push({ meaning, level, words: text.slice(found[i].start, found[after - 1].end), first: i, after });
    i = after;
  }
  return hits;
}

const isNumber = (word) => /^\d/.test(word);

function timeAt(words, i) {
  const at = delayWords.includes(words[i]) ? i + 1 : i;
  if (at >= words.length || !isNumber(words[at])) return null;
  const two = words.slice(at + 1, at + 3).join(" ");
  const unit = [two, two.split(" ")[0]].find((one) => one in unitsS);
  if (unit === undefined) return null;
  let after = at + 1 + unit.split(" ").length;
  if (words[after] === "ip") return null;
  const seconds = Number(words[at].replace(",", ".")) * unitsS[unit];
  const phase = phaseOfDelay(seconds);
  const untold = phase === "unknown" || (unit === "s" && seconds > longestBareS);
  if (after < words.length && delayWords.includes(words[after])) after += 1;
  return [untold ? NOTHING : phase, TIMED, after];
}

function phraseAt(words, i) {
  const word = words[i];
  const keys = [word, ...Array.from({ length: word.length }, (_, n) => `${word.slice(0, word.length - n)}*`), ...(isNumber(word) ? ["#"] : [])];
  const fits = (pattern, one) => (pattern === "#" ? isNumber(one) : pattern.endsWith("*") ? one.startsWith(pattern.slice(0, -1)) : one === pattern);
  let best = null;
  for (const key of keys) {
    for (const phrase of Object.hasOwn(phrases, key) ? phrases[key] : []) {
      const n = phrase.words.length;
      if (i + n > words.length || (phrase.atEnd && i + n !== words.length)) continue;
      if (!phrase.words.slice(1).every((pattern, at) => fits(pattern, words[i + 1 + at]))) continue;
      if (best === null || higher(phrase.rank, best.rank)) best = phrase;
    }
  }
  return best === null ? null : [best.meaning, best.level, i + best.words.length];
}

function higher(a, b) {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at >= 0 && a[at] > b[at];
}

function adjectivesJoined(hits) {
  const timed = hits.some((hit) => hit.level === TIMED && NAMED.includes(hit.meaning));
  const kept = [];
  for (const hit of hits) {
    if (hit.meaning !== LATE && hit.meaning !== TARDIVE) {
      kept.push(hit);
      continue;
    }
    const near = hits.some((other) => ["corticomedullary", "nephrographic"].includes(other.meaning) && other.level === STRONG
      && (other.first === hit.after || (hit.meaning === TARDIVE && other.after === hit.first)));
    if (!near) kept.push({ ...hit, meaning: "excretory", level: timed ? TIMED : hit.level });
  }
  return kept;
}

const KEYWORDS = {
  modality: "Modality", seriesDescription: "SeriesDescription", protocolName: "ProtocolName", studyDescription: "StudyDescription", imageComments: "ImageComments",
  imageType: "ImageType", contrastAgent: "ContrastBolusAgent", contrastStart: "ContrastBolusStartTime", acquisitionTime: "AcquisitionTime",
  seriesNumber: "SeriesNumber", studyUid: "StudyInstanceUID", seriesUid: "SeriesInstanceUID",
};

/** What a header says that may show the phase. */
export function seriesText(data) {
  return Object.fromEntries(Object.entries(KEYWORDS).map(([name, keyword]) => [name, data.decoded(keyword).split("\\").map((part) => part.trim()).join(" ").trim()]));
}

function call(reading, source) {
  const why = { conflict: ": more than one phase", mixed: ": more than one phase", "no phase": ": not an image of a phase" };
  const tail = reading.phase === "unknown" ? (why[reading.says] ?? "") : "";
  return { phase: reading.phase, evidence: `${source}: "${reading.words}"${tail}`, source };
}

function namePhase(text) {
  if (text.modality && text.modality.toUpperCase() !== "CT") return { phase: "unknown", evidence: `Modality ${text.modality}: not CT`, source: "Modality" };
  if (text.imageType.toUpperCase().includes("LOCALIZER")) return { phase: "unknown", evidence: "ImageType: localizer", source: "ImageType" };
  const own = phaseOfText(text.seriesDescription);
  if (own.phase !== "unknown" || ["conflict", MIXED, NO_PHASE].includes(own.says)) return call(own, "SeriesDescription");
  const comment = phaseOfText(text.imageComments);
  if (comment.phase !== "unknown" && comment.says !== SEVERAL) return call(comment, "ImageComments");
  return fromTime(text) ?? fromExamination(text, own) ?? {
    phase: "unknown", source: "",
    evidence: [CONTRAST, SEVERAL].includes(own.says) ? `SeriesDescription: "${own.words}" does not name a phase` : "no words or times that show a phase",
  };
}

function fromTime(text) {
  const [start, scan] = [secondsOfDay(text.contrastStart), secondsOfDay(text.acquisitionTime)];
  if (start === null || scan === null) return null;
  const delay = scan - start;
  const phase = -beforeInjectionS <= delay && delay < 0 ? "unenhanced" : phaseOfDelay(delay);
  return phase === "unknown" ? null : { phase, evidence: `AcquisitionTime is ${fixed(delay, 0)} s after ContrastBolusStartTime`, source: "time" };
}

function fromExamination(text, own) {
  if (own.says === SEVERAL) return null;
  const without = noAgent.includes(text.contrastAgent.trim().toLowerCase());
  for (const [source, words] of [["ProtocolName", text.protocolName], ["StudyDescription", text.studyDescription]]) {
    const reading = phaseOfText(words);
    if (reading.says !== NOTHING && (reading.says !== "named" || reading.level === WEAK)) continue;
    const contrast = own.says === CONTRAST || Boolean(text.contrastAgent && !without);
    if (reading.phase !== "unknown" && !(reading.phase === "unenhanced" && contrast)) return call(reading, source);
  }
  if (without && own.says === NOTHING) return { phase: "unenhanced", evidence: `ContrastBolusAgent: "${text.contrastAgent}"`, source: "ContrastBolusAgent" };
  return null;
}

/** The phases of several series, in the same order; the order in the study may decide. */
export function namePhases(texts) {
  const calls = texts.map(namePhase);
  for (const members of grouped(texts.keys(), (i) => texts[i].studyUid || `row ${i}`).values()) {
    const clear = members.filter((i) => calls[i].phase !== "unknown" && ["SeriesDescription", "ImageComments", "time"].includes(calls[i].source));
    for (const i of members) calls[i] = unlessContradicted(i, texts, calls, clear);
    const ordered = members.filter((i) => calls[i].phase === "unknown").map((i) => [i, fromOrder(i, texts, calls, clear)]);
    for (const [i, found] of ordered) calls[i] = found ?? calls[i];
  }
  return calls;
}

function unlessContradicted(i, texts, calls, clear) {
  const one = calls[i];
  if (!["ProtocolName", "StudyDescription"].includes(one.source)) return one;
  for (const k of clear) {
    const same = one.source === "StudyDescription" || texts[k].protocolName === texts[i].protocolName;
    if (same && calls[k].phase !== one.phase) return { ...one, phase: "unknown", evidence: `${one.evidence} also belongs to a series named ${calls[k].phase}` };
  }
  return one;
}

function fromOrder(i, texts, calls, clear) {
  const [at, own] = [secondsOfDay(texts[i].acquisitionTime), phaseOfText(texts[i].seriesDescription)];
  if (at === null || [NO_PHASE, MIXED].includes(own.says) || ["Modality", "ImageType"].includes(calls[i].source)) return null;
  let said = new Map();
  for (const k of clear) {
    const other = secondsOfDay(texts[k].acquisitionTime);
    if (other === null) continue;
    const [phase, relation] = relationOf(at - other, calls[k].phase);
    const name = texts[k].seriesNumber ? `series ${texts[k].seriesNumber}` : "a series";
    if (phase && !said.has(phase)) said.set(phase, `acquired ${relation} ${name}, named ${calls[k].phase} (${calls[k].evidence})`);
  }
  said = new Map([...said].filter(([phase]) => !own.mentioned.size || own.mentioned.has(phase)));
  if (said.size !== 1 || (own.says === CONTRAST && said.has("unenhanced"))) return null;
  const [[phase, evidence]] = said;
  return { phase, evidence, source: "order" };
}

function relationOf(later, phase) {
  if (Math.abs(later) <= sameAcquisitionS) return [phase, "together with"];
  const [named, low, high, implied] = beforeS;
  if (phase === named && low <= -later && -later <= high) return [implied, `${fixed(-later, 0)} s before`];
  for (const [one, least, most, then] of afterS) if (phase === one && least <= later && later <= most) return [then, `${fixed(later, 0)} s after`];
  return ["", ""];
}

