// The page of a patient: the viewer, whose ROIs there are, and drawing.

import { api, complain, frame, make } from "/static/common.js";
import { colorOf, openViewer } from "/static/viewer.js";
import { Drawing } from "/static/draw.js";

const caseId = location.pathname.split("/")[2];
const side = document.getElementById("side");
const list = make("ul", { class: "rois", "data-testid": "rois-list" });
const box = make("div", { "data-testid": "draw-panel" });
let viewer = null;
let drawing = null;
let begun = false; // somewhere in a tumor
let me = { author: "", name: "" };

async function start() {
  const opening = openViewer(document.getElementById("viewer"), caseId);
  const session = await frame({ title: "Patient", current: "/" });
  me = await api("/api/reader");
  side.replaceChildren(
    make("section", { class: "panel" }, make("h2", { id: "case", text: "Patient", "data-testid": "case-title" }), links(session)),
    make("section", { class: "panel" }, make("h2", { text: "ROIs" }), list),
    make("section", { class: "panel" }, make("h2", { text: "Draw" }), who(), box),
  );
  viewer = await opening;
  window.viewer = viewer; // for the console
  drawing = new Drawing(viewer, caseId, box, showRois);
  viewer.onSeries = () => { if (drawing.roi) drawing.leave(); showRois().then(resume, complain); };
  const { case_id: name } = await api(`/api/cases/${caseId}/series`);
  document.getElementById("case").textContent = name;
  await showRois();
  await resume();
  document.querySelector("[data-testid='draw-begin']").disabled = false;
}

function links(session) {
  const link = (address, text, testid) => make("a", { class: "button", href: address, text, "data-testid": testid });
  return make("div", { class: "tools" },
    link("/", "All patients", "case-back"), link(`/result/${caseId}`, "Ask the model", "case-result"),
    session.mode === "study" ? link(`/annotators/${caseId}`, "Compare two ROIs", "case-compare") : null);
}

function who() {
  const readers = Array.from({ length: 9 }, (_, at) => `reader-${at + 1}`);
  const author = make("select", { "data-testid": "draw-reader", "aria-label": "Who draws" },
    make("option", { value: "", text: "nobody: look only" }), readers.map((name) => make("option", { value: name, text: name })));
  author.value = me.author;
  const name = make("input", { type: "text", value: me.name, maxlength: "80", placeholder: "your name (optional)", "aria-label": "Your name", "data-testid": "draw-name" });
  const begin = make("button", { type: "button", class: "main", text: "Draw", disabled: true, "data-testid": "draw-begin", onclick: async () => {
    begin.disabled = true;
    try {
      await drawing.settled();
      me = await api("/api/reader", { body: { author: author.value, name: author.value ? name.value : "" } });
      if (drawing.roi) drawing.leave();
      if (me.author) await drawing.begin(viewer.first);
      await showRois();
    } catch (error) {
      complain(error);
    } finally {
      begin.disabled = false;
    }
  } });
  author.addEventListener("change", () => { begin.textContent = author.value ? "Draw" : "Look only"; });
  return make("div", { class: "inline" }, author, name, begin);
}

/** After a reload, the reader goes on where the draft is. */
async function resume() {
  const rois = await listed();
  const own = rois.find((one) => one.mine && one.state === "draft" && one.series === viewer.first.id);
  if (own && !drawing.roi) {
    await drawing.begin(viewer.first);
    const drawn = [...drawing.layer.slices.keys()].map((index) => ({ index, runs: drawing.layer.runs(index) }));
    goToTumor(viewer.first, drawn);
    await showRois();
  }
}

async function listed() {
  return (await api(`/api/cases/${caseId}/rois`)).rois;
}

async function showRois() {
  const rois = await listed();
  for (const name of [...viewer.layers.keys()]) if (name.startsWith("seen ")) viewer.layers.delete(name);
  list.replaceChildren(...rois.map(row));
  if (!rois.length) list.replaceChildren(make("li", { class: "quiet", text: "No ROI yet" }));
  await Promise.all(rois.filter((one) => !one.hidden && one.id !== drawing.roi?.id).map(showOutline));
  viewer.draw();
}

async function showOutline(roi) {
  const volume = await [...viewer.volumes.values()].reduce(async (found, opened) => (await found) ?? ((await opened).id === roi.series ? opened : null), null);
  if (volume === null) return;
  try {
    const { slices } = await api(`/api/rois/${roi.id}/slices`);
    viewer.addLayer(`seen ${roi.id}`, volume, colorOf(roi.author)).put(slices);
    goToTumor(volume, slices);
  } catch (error) {
    complain(error);
  }
}

/** The first ROI that is seen says where to begin. */
function goToTumor(volume, slices) {
  const middle = slices[Math.floor(slices.length / 2)];
  if (begun || volume !== viewer.first || !middle) return;
  begun = true;
  viewer.goTo(middle.index, middle.runs);
}

function row(roi) {
  const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.background = colorOf(roi.author);
  const shown = make("input", { type: "checkbox", checked: !roi.hidden, disabled: roi.hidden, "data-testid": `rois-show-${roi.author}`, onchange: () => {
    const layer = viewer.layers.get(`seen ${roi.id}`)?.layer ?? (roi.id === drawing.roi?.id ? drawing.layer : null);
    if (layer) layer.shown = shown.checked;
    viewer.draw();
  } });
  const volume = roi.volume_ml >= 0 ? `, ${roi.volume_ml.toFixed(1)} ml` : "";
  const drawn = roi.id === drawing?.roi?.id && roi.state === "draft";
  const state = drawn ? `being drawn, version ${roi.version}` : roi.hidden ? "hidden until both have signed" : `${roi.state}${roi.version ? ` version ${roi.version}` : ""}${volume}`;
  const file = (kind, text) => make("a", { href: `/api/rois/${roi.id}/${kind}`, text, download: "", "data-testid": `rois-${kind}-${roi.author}` });
  const files = !roi.hidden && roi.version && roi.n_voxels > 0 ? [" ", file("seg", "SEG"), " ", file("nifti", "NIfTI")] : [];
  return make("li", { "data-testid": `rois-${roi.author}`, "data-state": roi.state, "data-hidden": String(roi.hidden), "data-roi": roi.id },
    make("label", {}, shown, " ", swatch, `${roi.author}${roi.name ? ` (${roi.name})` : ""}`), make("div", { class: "quiet", text: state }), ...files);
}

start().catch(complain);
