// The page: it is opened and proven, files are chosen or dropped, the tumor is drawn, and the answer is shown.

import { Network } from "./answer.js";
import { answerCase, predictFiles, readCase } from "./case.js";
import { PageDrawing, runsOf } from "./drawing.js";
import { isDicom } from "./dicom.js";
import { drawnSlices } from "./fit.js";
import { LocalVolume } from "./volume.js";
import { make } from "./local.js";
import { openRoi, organsIn, placeRoi, roiMask } from "./roi.js";
import { bytesOf, parse } from "./series.js";
import { aboutElements, answerElements, refusalElements } from "./show.js";
import { openViewer } from "/static/viewer.js";
import { Refusal, counted, roiRefusal } from "./words.js";

const TOLERANCE = 1e-3; // logits; other processors round differently
const at = (id) => document.getElementById(id);
const now = { files: [], folder: null, roiFile: null, ct: null, roi: null, organs: {}, viewer: null, volume: null, drawing: null };

/** The network of the page, after it gave the stored logits of the reference slices. */
async function openPage() {
  const network = await Network.open(await PARTS.bytes("model.onnx"));
  const { shape: [n, size], logits } = PAGE.reference;
  const hu = new Int16Array((await PARTS.bytes("reference.i16")).buffer);
  const found = await network.logits(Array.from({ length: n }, (_, i) => hu.subarray(i * size * size, (i + 1) * size * size)), size);
  const apart = Math.max(...found.flat().map((value, i) => Math.abs(value - logits.flat()[i])));
  if (!(apart <= TOLERANCE)) {
    throw new Refusal("bundle", {
      where: "this page", expected: `the reference slices to give their stored logits within ${TOLERANCE}`, found: `a difference of ${apart.toPrecision(2)} in this browser`,
      remedy: "use another browser, or `nephroscope predict`",
    });
  }
  const embedding = "embedding.onnx" in PAGE.sha256 ? await Network.open(await PARTS.bytes("embedding.onnx")) : null;
  return { about: PAGE.bundle, network, embedding, apart };
}

/** A case as the gate hands it over: files in base 64. */
async function golden(page, asked) {
  const file = ({ name, path, base64 }) => Object.assign(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], name), { path: path ?? name });
  try {
    const given = { ...asked, files: asked.files.map(file), roi: asked.roi ? file(asked.roi) : null };
    return { answer: (await predictFiles(page, given)).answer };
  } catch (error) {
    if (!(error instanceof Refusal)) return { crash: `${error.message} ${error.stack}` };
    const { code, where, expected, found, remedy } = error;
    return { refusal: { code, where, expected, found, remedy } };
  }
}

function showResult(elements) {
  at("result").hidden = false;
  at("result").replaceChildren(...elements.flat(Infinity).filter(Boolean));
}

/** Do something that takes a while, and show why it cannot be done. */
async function attempt(words, work) {
  at("state").hidden = false;
  at("state").textContent = words;
  document.body.setAttribute("aria-busy", "true");
  await new Promise((done) => setTimeout(done, 30)); // so that the words are seen
  try {
    await work();
  } catch (error) {
    showResult(refusalElements(error));
  } finally {
    document.body.removeAttribute("aria-busy");
    at("state").hidden = true;
    at("ask").disabled = now.ct === null;
    at("draw").disabled = now.ct === null;
  }
}

/** Which segment is the tumor, as the fields say. */
function asked() {
  const { value, validity } = at("label");
  if (validity.badInput || validity.rangeUnderflow || validity.stepMismatch) {
    throw roiRefusal({ where: "the field Label", expected: "a whole number of 1 or more, or nothing", found: "something else", remedy: "correct it" });
  }
  return { label: Number(value) || 1, name: at("segment").value || (value ? `#${value}` : "") };
}

async function readCt() {
  forget();
  const opened = now.roiFile ? await openRoi(now.roiFile) : null;
  now.ct = await readCase(now.files, { folder: now.folder, roi: opened });
  const { volume, name, phase, evidence, nSeries } = now.ct;
  const { shape, spacing } = volume.geometry;
  at("about-ct").textContent = `${name}: ${shape.join(" x ")} voxels of ${spacing.map((mm) => mm.toFixed(2)).join(" x ")} mm, phase ${phase}${evidence ? ` (${evidence})` : ""}${nSeries > 1 ? `, one of ${nSeries} series` : ""}`;
  now.volume = new LocalVolume(volume, phase);
  const listed = { name: "ct", phase, opened: Promise.resolve(now.volume) };
  now.viewer = await openViewer(at("viewer"), null, { series: { series: [listed] }, readOnly: true });
}

function forget() {
  now.drawing?.close();
  now.viewer?.close();
  Object.assign(now, { ct: null, roi: null, organs: {}, viewer: null, volume: null, drawing: null });
  at("result").hidden = true;
}

async function placeFile() {
  now.drawing?.close();
  now.viewer.removeLayer("tumor");
  Object.assign(now, { drawing: null, roi: null, organs: {} }); // a refused file leaves none, not the one before
  at("about-roi").textContent = "refused";
  now.segment = JSON.stringify(asked());
  const opened = await openRoi(now.roiFile, now.ct.name);
  const roi = await placeRoi(opened, now.ct.volume, asked());
  now.organs = await organsIn(opened, now.ct.volume, asked().label);
  now.roi = roi;
  const { shape } = now.ct.volume.geometry;
  const drawn = drawnSlices(now.roi.voxels, shape);
  const layer = now.viewer.addLayer("tumor", now.volume, "#ffb000");
  layer.put(drawn.map((index) => ({ index, runs: runsOf(now.roi.voxels, shape, index) })));
  const middle = drawn[Math.floor(drawn.length / 2)];
  now.viewer.goTo(middle, runsOf(now.roi.voxels, shape, middle));
  at("about-roi").textContent = `from a file: ${counted(drawn.length, "slice")}`;
}

async function takeCt(files, folder) {
  if (now.ct !== null) { // another case: nothing of the one before is used on it
    now.roiFile = null;
    at("side").value = "unknown";
    at("about-roi").textContent = "none yet";
  }
  Object.assign(now, { files, folder });
  await attempt("Reading the CT ...", async () => {
    await readCt();
    if (now.roiFile) await placeFile();
  });
  if (now.roi) await ask();
}

async function takeRoi(file) {
  now.roiFile = file;
  if (!now.files.length) {
    at("about-roi").textContent = "chosen; now the CT";
    return;
  }
  await attempt("Placing the ROI ...", async () => {
    if (now.ct === null) await readCt();
    await placeFile();
  });
  if (now.roi) await ask();
}

function draw() {
  Object.assign(now, { roi: null, roiFile: null, organs: {} });
  now.viewer.removeLayer("tumor");
  now.drawing?.close();
  now.drawing = new PageDrawing(now.viewer, now.volume, at("drawing"), () => { at("result").hidden = true; });
  at("about-roi").textContent = "drawn here; then Answer";
}

let page = null;

async function ask() {
  await attempt("Answering ...", async () => {
    const started = performance.now();
    now.answer = null;
    if (now.roiFile && (now.roi === null || now.segment !== JSON.stringify(asked()))) await placeFile();
    if (now.drawing) now.roi = roiMask(now.drawing.voxels(), now.ct.volume.geometry, now.ct.name);
    const answer = await answerCase(page, now.ct, now.roi, { stated: at("side").value, organs: now.organs });
    answer.seconds = (performance.now() - started) / 1000;
    now.answer = answer;
    showResult(answerElements(answer, (index) => now.viewer.goTo(index)));
  });
}

/** Files and folders that were dropped: [{file, path}]. */
async function dropped(items) {
  const found = [];
  const walk = async (entry, path) => {
    if (entry.isFile) {
      const file = await new Promise((done, fail) => entry.file(done, fail));
      found.push(Object.assign(file, { path: path + entry.name }));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!some.length) break;
      for (const one of some) await walk(one, `${path}${entry.name}/`);
    }
  };
  for (const entry of [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean)) await walk(entry, "");
  return found;
}

/** Files with their paths below the folder that was chosen or dropped. */
function withFolder(files) {
  const tops = new Set(files.map((file) => (file.path.includes("/") ? file.path.split("/")[0] : "")));
  const [top] = tops;
  if (tops.size !== 1 || top === "") return [files, null];
  return [files.map((file) => Object.assign(file, { path: file.path.slice(top.length + 1) })), top];
}

async function looksLikeRoi(file) {
  if (now.ct === null) return false;
  const bytes = await bytesOf(file);
  if (!isDicom(bytes)) return true;
  try {
    return (await parse(bytes)).data.text("Modality") !== "CT";
  } catch {
    return true;
  }
}

let last = Promise.resolve();

/** One thing after the other: what is chosen while something is read would mix two cases. */
function inTurn(work) {
  last = last.then(work).catch((error) => showResult(refusalElements(error)));
}

function listen() {
  for (const [button, input] of [["pick-folder", "input-folder"], ["pick-files", "input-files"], ["pick-roi", "input-roi"]]) {
    at(button).addEventListener("click", () => { at(input).value = ""; at(input).click(); });
  }
  const chosen = (input) => [...at(input).files].map((file) => Object.assign(file, { path: file.webkitRelativePath || file.name }));
  at("input-folder").addEventListener("change", () => { const files = chosen("input-folder"); inTurn(() => takeCt(...withFolder(files))); });
  at("input-files").addEventListener("change", () => { const files = chosen("input-files"); inTurn(() => takeCt(files, null)); });
  at("input-roi").addEventListener("change", () => { const [file] = at("input-roi").files; inTurn(() => takeRoi(file)); });
  at("draw").addEventListener("click", () => inTurn(draw));
  at("ask").addEventListener("click", () => inTurn(ask));
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const files = await dropped(event.dataTransfer.items);
    inTurn(async () => {
      if (files.length === 1 && await looksLikeRoi(files[0])) await takeRoi(files[0]);
      else if (files.length) await takeCt(...withFolder(files));
    });
  });
}

async function start() {
  at("subtypes").textContent = PAGE.bundle.subtypes.join(" or ");
  const training = PAGE.bundle.training;
  at("marks").textContent = [training.synthetic && "SYNTHETIC", training.leaky && "LEAKY"].filter(Boolean).join(" ");
  at("proof").textContent = PAGE.gate.run ? `compared with predict: ${PAGE.gate.cases} of ${PAGE.gate.cases}` : "NOT compared with predict";
  at("proof").classList.toggle("unproven", !PAGE.gate.run);
  try {
    page = await openPage();
  } catch (error) {
    at("state").replaceChildren(...refusalElements(error).flat());
    throw error;
  }
  at("about").append(...aboutElements(PAGE, page.apart).flat(Infinity).filter(Boolean), make("p", { class: "quiet", text: "The SHA-256 of the whole file is what `nephroscope export` printed." }));
  at("state").hidden = true;
  at("desk").hidden = false;
  listen();
  return page;
}

const opened = start();
opened.catch(() => {});
globalThis.nephroscope = {
  opened: opened.then(({ apart }) => ({ apart })),
  golden: async (case_) => golden(await opened, case_),
  answer: () => now.answer ?? null,
  drawn: () => Array.from(now.roi?.voxels ?? []).flatMap((one, i) => (one ? [i] : [])),
};
globalThis.nephroscope.opened.catch(() => {});
