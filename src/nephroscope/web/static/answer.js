// From the slices of a case to its answer: probabilities, the call or "not sure", and why, as `nephroscope predict` gives them.

import { cutSlices } from "./cut.js";
import { Refusal, fixed, general, note, warning } from "./words.js";

const [MEAN, SD, SCALE] = RULES.features;
const { slack: SLACK, leastSlack: LEAST_SLACK, rounding: ROUNDING, batch: BATCH } = RULES.score;

/** The network of the page in ONNX Runtime: `await network.logits(slices)`, a Float32Array of n x k. */
export class Network {
  static async open(bytes) {
    if (!Network.begun) {
      Network.begun = true;
      ort.env.wasm.numThreads = 1;
      ort.env.wasm.proxy = false;
      ort.env.logLevel = "error";
      ort.env.wasm.wasmBinary = (await PARTS.bytes("ort-wasm-simd-threaded.wasm")).buffer;
    }
    const made = new Network();
    made.session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 });
    return made;
  }

  /** @param slices - Int16Array of size x size each. */
  async logits(slices, size) {
    const parts = [];
    for (let i = 0; i < slices.length; i += BATCH) {
      const some = slices.slice(i, i + BATCH);
      const hu = new Int16Array(some.length * size * size);
      some.forEach((one, at) => hu.set(one, at * size * size));
      const { logits } = await this.session.run({ hu: new ort.Tensor("int16", hu, [some.length, 1, size, size]) });
      const [, k] = logits.dims;
      for (let row = 0; row < some.length; row += 1) parts.push(Array.from(logits.data.subarray(row * k, (row + 1) * k)));
    }
    return parts;
  }
}

function softmax(logits) {
  const most = Math.max(...logits);
  const powers = logits.map((value) => Math.exp(value - most));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}

/** A warning where the network never saw the contrast phase of a CT; a note where the phase is not known. */
export function checkPhase(about, phase, evidence, caseId) {
  const known = Object.entries(about.training.phases).filter(([name, n]) => name !== "unknown" && n);
  if (!known.length || known.some(([name]) => name === phase)) return [];
  const trained = known.map(([name, n]) => `${name} (${n})`).join(", ");
  if (phase === "unknown") return [note("phase-not-known", `the contrast phase of this CT is not known; the network was trained on ${trained}`, "", caseId)];
  return [warning("phase-not-trained", `the CT is ${phase}${evidence ? ` (${evidence})` : ""}; the network was trained on ${trained}`, "", caseId)];
}

function doubts(about, slices, mmPerPx, caseId) {
  const { window_level_hu: level, window_width_hu: width } = about.slices;
  let [n, sum, squares] = [0, 0, 0];
  const shown = (hu) => Math.min(Math.max(Math.fround(Math.fround(hu - level) / width) + 0.5, 0), 1);
  for (const hu of slices) for (const value of hu) { const x = shown(value); n += 1; sum += x; squares += x * x; }
  const mean = sum / n;
  const features = { [MEAN]: mean, [SD]: Math.sqrt(Math.max(squares / n - mean * mean, 0)), [SCALE]: mmPerPx };
  const found = [];
  for (const [name, [least, most]] of Object.entries(about.applicability)) {
    const [middle, smallest] = [(least + most) / 2, least + ((most - least) * SLACK) / (1 + 2 * SLACK)];
    const half = Math.max((most - least) / 2, LEAST_SLACK * Math.abs(middle));
    let [low, high] = [middle - half, middle + half];
    if (name === SCALE) low = Math.max(low, smallest / 2);
    if (features[name] >= low && features[name] <= high) continue;
    found.push(warning("outside-training-range", `${name} is ${general(features[name], 3)}; the training cases allow ${general(low, 3)} to ${general(high, 3)}`, "", caseId));
  }
  return found;
}

function labelOf(p, threshold, positive) {
  if (p.length === 2) return p[positive] >= threshold ? positive : 1 - positive;
  return p.indexOf(Math.max(...p));
}

/** {call, reason}: the call, or null for "not sure". */
export function decide(p, about, findings) {
  const { subtypes, positive } = about;
  const threshold = about.operating_point.threshold;
  let distance;
  let sentence;
  if (subtypes.length === 2) {
    const pPositive = p[subtypes.indexOf(positive)];
    distance = Math.abs(pPositive - threshold);
    sentence = (gap) => `probability of ${positive} ${fixed(pPositive, 2)} ${gap} the threshold ${fixed(threshold, 2)}`;
  } else {
    const order = p.map((_, i) => i).sort((a, b) => p[a] - p[b] || a - b);
    const [second, first] = order.slice(-2);
    distance = p[first] - p[second];
    sentence = (gap) => `probability of ${subtypes[first]} ${fixed(p[first], 2)} ${gap} the next, ${subtypes[second]} ${fixed(p[second], 2)}`;
  }
  const margin = about.not_sure_margin;
  const reasons = findings.filter((one) => one.severity === "warning").map((one) => `${one.code}: ${one.message}`);
  if (distance < margin - ROUNDING) reasons.unshift(sentence(`is within ${fixed(margin, 2)} of`));
  const forced = subtypes[labelOf(p, threshold, subtypes.indexOf(positive))];
  if (reasons.length) return { call: null, forced, reason: reasons.join("; ") };
  return { call: forced, forced, reason: sentence(`is ${fixed(distance, 2)} from`) };
}

async function slicesDigest(slices) {
  const all = new Int16Array(slices.reduce((sum, one) => sum + one.length, 0));
  let at = 0;
  for (const one of slices) { all.set(one, at); at += one.length; }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const unique = (findings) => [...new Map(findings.map((one) => [JSON.stringify(one), one])).values()];

/** {outside, findings}: how far a case lies from the training cases of every subtype, where the bundle knows that. */
async function outsideOf({ about, embedding }, slices, caseId) {
  const check = about.outside;
  if (!check) return { outside: null, findings: [] };
  if (embedding === null) {
    return { outside: { recognizes: false, distance: null, limit: null, words: check.words }, findings: [note("foreign-tumors-not-recognized", check.words, "", caseId)] };
  }
  const rows = await embedding.logits(slices, about.slices.size_px);
  const place = rows[0].map((_, k) => rows.reduce((sum, row) => sum + row[k], 0) / rows.length);
  const names = Object.keys(check.centers);
  const distance = Math.min(...names.map((name) => Math.sqrt(check.centers[name].reduce((sum, value, k) => sum + (value - place[k]) ** 2, 0))));
  const outside = { recognizes: true, distance, limit: check.limit, words: check.words };
  if (distance <= check.limit) return { outside, findings: [] };
  const text = `unlike the training cases of ${names.join(" and ")}: distance ${fixed(distance, 2)}, and ${fixed(100 * RULES.outside.kept, 0)} % of theirs are within ${fixed(check.limit, 2)}; it may be another tumor`;
  return { outside, findings: [warning("outside-question", text, "", caseId)] };
}

/** The subtypes that the image leaves possible; null where the bundle has no sets. */
function possibleOf({ sets }, probabilities) {
  if (!sets) return null;
  const all = Object.keys(sets.least);
  const left = all.filter((name) => probabilities[name] >= sets.least[name] - RULES.sets.rounding);
  const rests = Object.entries(sets.n_patients).map(([name, n]) => `${n} ${name}`).join(", ");
  let what = left.join(" or ");
  if (!left.length) {
    what = `${all.length === 2 ? "neither subtype" : "none of the subtypes"}: ${fixed(100 * (1 - sets.confidence), 0)} % of the cases of each look as unlike it, or more`;
  } else if (left.length === 2 && all.length === 2) {
    what = `both ${left.join(" and ")}`;
  }
  const words = `possible at ${general(100 * sets.confidence)} %: ${what} (from calibration patients: ${rests}; no promise for another hospital)`;
  return { subtypes: left, confidence: sets.confidence, n_patients: sets.n_patients, words };
}

/** The answer for a CT and a tumor on its grid. `more` are the doubts about CT, ROI and phase. */
export async function answerOf(page, volume, roi, more) {
  const { about, network } = page;
  const cut = cutSlices(volume, roi, about.slices);
  const slices = cut.map((one) => one.hu);
  const digest = await slicesDigest(slices);
  let findings = unique([...volume.findings, ...roi.findings, ...more]);
  const far = await outsideOf(page, slices, roi.caseId);
  const logits = await network.logits(slices, about.slices.size_px);
  const p = logits.map(softmax);
  if (!p.flat().every(Number.isFinite)) {
    throw new Refusal("bundle", { where: `case ${roi.caseId}`, expected: "a probability of each subtype", found: "numbers that are none", remedy: "do not use this bundle; export the run again" });
  }
  findings = [...findings, ...far.findings, ...guesses(about, roi.caseId), ...doubts(about, slices, cut[0].mmPerPx, roi.caseId)];
  const mean = about.subtypes.map((_, k) => p.reduce((sum, row) => sum + row[k], 0) / p.length);
  const decided = decide(mean, about, findings);
  const named = (row) => Object.fromEntries(about.subtypes.map((name, k) => [name, row[k]]));
  return {
    case_id: roi.caseId,
    probabilities: named(mean),
    call: decided.call,
    forced_call: decided.forced,
    reason: decided.reason,
    positive: about.positive,
    threshold: about.operating_point.threshold,
    not_sure_margin: about.not_sure_margin,
    slices: cut.map((one, row) => ({ slice_index: one.sliceIndex, area_mm2: Number(fixed(one.areaMm2, 1)), probabilities: named(p[row]) })),
    findings: [...findings, ...notes(about, digest.slice(0, 16), roi.caseId), ...calledOther(about, decided.forced, roi.caseId)],
    outside: far.outside,
    possible: possibleOf(about, named(mean)),
    slices_sha256: digest,
  };
}

/** A warning where no AUC of the bundle was above chance with its whole interval. */
function guesses({ evaluation }, caseId) {
  const measured = Object.entries(evaluation ?? {}).filter(([, figures]) => figures.auc).map(([group, figures]) => [group, figures.auc]);
  if (!measured.length || measured.some(([, auc]) => (auc.low ?? 0) > RULES.chance)) return [];
  const told = measured.filter(([, auc]) => auc.value !== null && auc.low !== null && auc.high !== null)
    .map(([group, auc]) => `${fixed(auc.value, 2)} (${fixed(auc.low, 2)} to ${fixed(auc.high, 2)}; ${auc.n} ${auc.unit}s, ${group})`);
  const words = told.length ? `AUC ${told.join(", ")}` : "its AUC could not be computed";
  return [warning("not-better-than-chance", `the model was not shown to be better than guessing: ${words}`, "", caseId)];
}

function calledOther({ outside }, call, caseId) {
  if (!(outside?.other ?? []).includes(call)) return [];
  return [note("called-outside", `${call} is a subtype that the study counts as outside its question`, "", caseId)];
}

function notes(about, digest, caseId) {
  const found = [];
  if (about.training.slices_digests.includes(digest)) found.push(note("seen-in-training", "this case was used to train the network: the answer is not independent", "", caseId));
  if (about.training.synthetic) found.push(note("synthetic-training", "the network was trained on SYNTHETIC phantoms: the answer has no clinical meaning", "", caseId));
  if (about.training.leaky) found.push(note("leaky-split", "LEAKY: the network was trained with a split by image, so its figures are too good", "", caseId));
  return found;
}
