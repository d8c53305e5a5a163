// Two annotators of one tumor compared: outlines in two colours, figures, slices that only one drew, and one consensus by a click.

import { api, complain, frame, make, say } from "/static/common.js";
import { colorOf, openViewer } from "/static/viewer.js";

const caseId = location.pathname.split("/")[2];
const figures = make("div", { "data-testid": "annotators-figures" });
const choices = ["one", "two"].map((name) => make("select", { "data-testid": `annotators-${name}`, "aria-label": `ROI ${name}`, onchange: () => compare().catch(complain) }));
let viewer = null;
let rois = [];
let latest = 0; // comparison that was asked for

async function start() {
  const opening = openViewer(document.getElementById("viewer"), caseId, { readOnly: true });
  await frame({ title: "Two annotators", current: "/" });
  document.getElementById("side").replaceChildren(
    make("section", { class: "panel" }, make("h2", { text: "Two ROIs of this patient" }),
      make("div", { class: "inline" }, choices), make("a", { class: "button", href: `/case/${caseId}`, text: "Back to the patient", "data-testid": "annotators-back" })),
    make("section", { class: "panel" }, figures),
  );
  viewer = await opening;
  await load();
}

async function load() {
  ({ rois } = await api(`/api/cases/${caseId}/rois`));
  const open = rois.filter((one) => one.state !== "draft" && !one.hidden && one.series === viewer.first.id);
  const waiting = rois.filter((one) => one.state === "draft" || one.hidden).map((one) => one.author);
  choices.forEach((choice, at) => {
    choice.replaceChildren(...open.map((one) => make("option", { value: one.id, text: `${one.author}${one.version ? ` version ${one.version}` : ""}` })));
    choice.selectedIndex = Math.min(at, open.length - 1);
  });
  if (open.length < 2) {
    const why = waiting.length ? `Not signed yet, or hidden until both have signed: ${waiting.join(", ")}.` : "Two annotators must draw this tumor first.";
    figures.replaceChildren(make("p", { "data-testid": "annotators-apart", text: why }));
    return;
  }
  await compare();
}

async function compare() {
  const [one, two] = choices.map((choice) => rois.find((roi) => roi.id === choice.value));
  latest += 1;
  const asked = latest;
  const [found, ...masks] = await Promise.all([
    api(`/api/rois/${one.id}/comparison/${two.id}`), ...[one, two].map((roi) => api(`/api/rois/${roi.id}/slices`)),
  ]);
  if (asked !== latest) return; // others were chosen meanwhile
  const colors = [colorOf(one.author), one.author === two.author ? "#ffffff" : colorOf(two.author)];
  masks.forEach(({ slices }, at) => viewer.addLayer(`roi ${at}`, viewer.first, colors[at]).put(slices));
  show(one, two, found.agreement, colors);
  const middle = masks[0].slices[Math.floor(masks[0].slices.length / 2)];
  viewer.goTo(middle.index, middle.runs);
}

function show(one, two, agreement, colors) {
  const swatch = (color) => {
    const made = make("span", { class: "swatch", "aria-hidden": "true" });
    made.style.background = color;
    return made;
  };
  const rows = [
    ["dice", "Dice", agreement.dice.toFixed(3)], ["surface-dice", `Surface Dice (${agreement.tolerance_mm} mm)`, agreement.surface_dice.toFixed(3)],
    ["mean-surface", "Mean surface distance", `${agreement.mean_surface_mm.toFixed(2)} mm`], ["hd95", "95 % surface distance", `${agreement.hd95_mm.toFixed(2)} mm`],
    ["hausdorff", "Largest surface distance", `${agreement.hausdorff_mm.toFixed(2)} mm`],
    ["volume-1", `Volume, ${one.author}`, `${agreement.volume_ml_1.toFixed(1)} ml`], ["volume-2", `Volume, ${two.author}`, `${agreement.volume_ml_2.toFixed(1)} ml`],
    ["slices-both", "Slices that both drew", String(agreement.n_slices_both)],
  ];
  const only = (roi, slices, name) => make("div", {}, make("h2", { text: `Only ${roi.author} drew` }),
    slices.length ? make("div", { class: "tools", "data-testid": `annotators-only-${name}` }, slices.map((index) => make("button", {
      type: "button", text: String(index + 1), title: `slice ${index + 1}`, "data-slice": index, "data-testid": `annotators-slice-${index}`, onclick: () => viewer.goTo(index),
    }))) : make("p", { class: "quiet", text: "no slice" }));
  const rules = [["one", `Take ${one.author}`], ["two", `Take ${two.author}`], ["union", "Union"], ["intersection", "Intersection"]];
  figures.replaceChildren(
    make("p", {}, swatch(colors[0]), `${one.author}  `, swatch(colors[1]), two.author),
    make("table", {}, make("tbody", {}, rows.map(([name, text, value]) => make("tr", {}, make("th", { scope: "row", text }), make("td", { text: value, "data-testid": `annotators-${name}` }))))),
    only(one, agreement.slices_only_1, "one"), only(two, agreement.slices_only_2, "two"),
    make("h2", { text: "Consensus" }),
    make("div", { class: "tools" }, rules.map(([rule, text]) => make("button", { type: "button", text, "data-testid": `annotators-consensus-${rule}`, onclick: () => consensus(one, two, rule) }))),
  );
}

async function consensus(one, two, rule) {
  try {
    const signed = await api(`/api/rois/${one.id}/consensus/${two.id}`, { body: { rule } });
    say(`Consensus of ${signed.n_voxels} voxels written; agreement and the slices can use it.`, "done");
    const kept = choices.map((choice) => choice.value);
    await load();
    choices.forEach((choice, at) => { choice.value = kept[at]; });
    await compare();
  } catch (error) {
    complain(error);
  }
}

start().catch(complain);
