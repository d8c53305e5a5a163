// The answer of a model about one case: probabilities by case and by slice, the call or "not sure", and why.
import { api, complain, frame, make, numberIn, say } from "/static/common.js";
import { pathField } from "/static/chooser.js";

const id = location.pathname.split("/")[2];
let document_ = null;
let shown = null;
let author = "";
let mapped = false;

function showSlice(index) {
  shown = index;
  const picture = document.getElementById("picture");
  picture.src = mapped ? `/api/cases/${id}/looked?slice=${index}` : `/api/cases/${id}/picture?slice=${index}${author ? `&author=${encodeURIComponent(author)}` : ""}`;
  picture.alt = mapped ? "the part of the slice that the network saw, with a map of where it looked" : "CT slice with the outline of the ROI";
  const part = document_.slices.find((one) => one.slice_index === index);
  document.getElementById("caption").textContent = `Slice ${index}, counted from 0 from the feet: ${Object.entries(part.probabilities).map(([name, p]) => `${name} ${p.toFixed(3)}`).join(", ")}; ${part.area_mm2} mm²`;
  for (const bar of document.querySelectorAll("[data-testid='result-bar']")) {
    bar.setAttribute("aria-pressed", String(Number(bar.dataset.slice) === index));
  }
}

function bars() {
  const positive = document_.positive;
  return make("div", { class: "bars", role: "group", "aria-label": `Probability of ${positive} by slice` }, document_.slices.map((one) => {
    const p = one.probabilities[positive];
    const fill = make("span", { class: "fill" });
    fill.style.height = `${Math.max(2, 100 * p)}%`;
    return make("button", {
      class: "bar-button", title: `slice ${one.slice_index}: ${positive} ${p.toFixed(3)}`, "aria-label": `slice ${one.slice_index}: ${positive} ${p.toFixed(3)}`,
      "aria-pressed": "false", "data-testid": "result-bar", "data-slice": one.slice_index, "data-value": p, onclick: () => showSlice(one.slice_index),
    }, fill);
  }));
}

async function saveDicom() {
  const content = await (await api(`/api/cases/${id}/dicom`, { raw: true })).blob();
  const address = URL.createObjectURL(content);
  make("a", { href: address, download: "answer.zip" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function maps() {
  const words = make("p", { class: "quiet hidden", "data-testid": "result-map-words", text: `Grad-CAM of the last feature map for ${document_.forced_call}, on the part of the slice that the network saw: orange marks what raised its log odds. Each slice is scaled by its own peak, so slices cannot be compared. A research aid, not evidence.` });
  const box = make("input", { type: "checkbox", "data-testid": "result-map", onchange: () => { mapped = box.checked; words.classList.toggle("hidden", !mapped); showSlice(shown); } });
  const none = make("span", { class: "quiet", "data-testid": "result-map-none" });
  api(`/api/cases/${id}/result`).then((known) => {
    box.disabled = known.no_maps !== "";
    none.textContent = known.no_maps === "" ? "" : ` (not here: ${known.no_maps})`;
  }).catch(complain);
  return make("div", {}, make("p", {}, make("label", {}, box, " show where the network looked"), none), words);
}

/** Who drew the ROI, and what a person did with what a program drew; as the program says it. */
function drawnBy({ author, state, by }) {
  const [who, person] = [author || "a program", by || "a person who is not named"];
  return {
    drawn: `drawn by ${author || "a person"}`, proposed: `drawn by ${who}, and nobody accepted it`, accepted: `drawn by ${who}, accepted as proposed by ${person}`,
    corrected: `drawn by ${who}, corrected by ${person}`, assisted: `drawn by a person with ${who}`, unknown: "who drew it is not known",
  }[state];
}

function answer(found) {
  document_ = found;
  mapped = false;
  const sure = found.call !== null;
  const box = document.getElementById("answer");
  box.replaceChildren(
    make("section", { class: "panel" },
      make("p", { class: `call ${sure ? "" : "warning"}`, text: found.call ?? "not sure", "data-testid": "result-call" }),
      make("p", { text: found.reason, "data-testid": "result-reason" }),
      sure ? null : make("p", { class: "quiet", text: `If it had to choose: ${found.forced_call}`, "data-testid": "result-forced" }),
      make("table", { class: "narrow" }, make("tbody", {}, Object.entries(found.probabilities).map(([name, p]) => make("tr", {},
        make("th", { scope: "row", text: name }), make("td", { text: p.toFixed(3), title: String(p), "data-testid": "result-probability", "data-subtype": name, "data-value": p }))))),
      found.facts.length ? make("p", { text: `Image alone: ${found.positive} ${found.image_probabilities[found.positive].toFixed(3)}. Clinical facts:` }) : null,
      found.facts.length ? make("ul", {}, found.facts.map((one) => make("li", { "data-testid": "result-fact", "data-name": one.name, "data-value": one.log_odds, text: `${one.name} ${one.value} ${one.unit} (${one.source}): ${one.log_odds.toFixed(2)} in log odds of ${found.positive}` }))) : null,
      found.possible ? make("p", { class: "quiet", text: found.possible.words, "data-testid": "result-possible" }) : null,
      found.roi ? make("p", { class: found.roi.state === "proposed" ? "warning" : "quiet", text: `ROI: ${drawnBy(found.roi)}`, "data-testid": "result-roi", "data-state": found.roi.state }) : null,
      make("p", { class: "quiet", text: `Mean of ${found.slices.length} slice${found.slices.length === 1 ? "" : "s"}; ${Object.keys(found.probabilities).length === 2 ? `threshold ${found.threshold.toFixed(3)} on ${found.positive}` : "the most probable subtype is called"}; CT phase ${found.series.phase}; model ${found.bundle.model}, ${found.model_digest}` })),
    make("section", { class: "panel" },
      make("h2", { text: `Probability of ${found.positive} by slice` }), bars(),
      maps(),
      make("figure", {}, make("img", { id: "picture", class: "large", alt: "CT slice with the outline of the ROI", "data-testid": "result-picture", width: 640, height: 640 }), make("figcaption", { id: "caption", "data-testid": "result-caption" }))),
    make("section", { class: "panel" },
      make("h2", { text: "Findings" }),
      found.findings.length ? make("ul", {}, found.findings.map((one) => make("li", { class: one.severity, "data-testid": "result-finding", "data-code": one.code, text: `${one.severity}: ${one.message}` }))) : make("p", { text: "none" }),
      make("div", { class: "row" },
        make("button", { text: "Save as DICOM (SR and SEG)", "data-testid": "result-dicom", onclick: () => saveDicom().catch(complain) }))));
  const middle = found.slices.reduce((best, one) => (one.area_mm2 > best.area_mm2 ? one : best), found.slices[0]);
  showSlice(middle.slice_index);
}

/** Fields of age, sex and size, shown where the bundle uses them. */
function factFields(known) {
  const age = make("input", { type: "number", min: 0, max: 120, step: "any", value: known.age ?? "", "data-testid": "result-age" });
  const sex = make("select", { "data-testid": "result-sex" }, ["", "F", "M"].map((name) => make("option", { value: name, text: name || "not known" })));
  sex.value = known.sex ?? "";
  const size = make("input", { type: "number", min: 0, step: "any", value: known.size_mm ?? "", "data-testid": "result-size" });
  const all = { age: ["Age in years", age], sex: ["Sex", sex], size: ["Largest diameter in mm", size] };
  const fields = Object.entries(all).map(([name, [text, input]]) => [name, make("label", { class: "field hidden" }, text, input)]);
  return {
    elements: fields.map(([, element]) => element),
    show: (names) => fields.forEach(([name, element]) => element.classList.toggle("hidden", !names.includes(name))),
    value: (names) => (names.length ? { age: numberIn(age, all.age[0]), sex: sex.value || null, size_mm: numberIn(size, all.size[0]) } : null),
  };
}

async function bundles(select) {
  const found = (await api("/api/bundles")).bundles;
  select.replaceChildren(...found.map((one) => make("option", { value: one.id, text: one.refused ? `${one.name}: cannot be used` : `${one.name} (${one.model}${one.synthetic ? ", SYNTHETIC" : ""})`, disabled: Boolean(one.refused) })));
  return found;
}

async function start() {
  await frame({ title: "Answer", current: "" });
  const known = await api(`/api/cases/${id}/result`);
  document.getElementById("heading").textContent = `Answer of the model: ${known.case_id}`;
  const facts = factFields(known.facts);
  let listed = [];
  const used = () => listed.find((one) => one.id === select.value)?.facts ?? [];
  const select = make("select", { "data-testid": "result-bundle", onchange: () => facts.show(used()) });
  const who = make("select", { "data-testid": "result-author" }, make("option", { value: "", text: "as the study says" }), known.authors.map((name) => make("option", { value: name, text: name })));
  const folder = pathField({ name: "result-bundle-path", label: "Folder of another bundle" });
  const ask = make("button", {
    class: "main", text: "Ask the model", "data-testid": "result-ask",
    onclick: async () => {
      ask.disabled = true;
      say("asking the model");
      try {
        author = who.value;
        answer(await api(`/api/cases/${id}/predict`, { body: { bundle: select.value, author, facts: facts.value(used()) } }));
        document.getElementById("old").classList.add("hidden");
      } catch (error) {
        complain(error);
      } finally {
        ask.disabled = false;
      }
    },
  });
  const add = make("button", {
    text: "Add it", "data-testid": "result-bundle-add",
    onclick: async () => {
      try {
        const made = await api("/api/bundles", { body: { folder: await folder.value() } });
        listed = await bundles(select);
        select.value = made.id;
        facts.show(used());
        ask.disabled = false;
        say(`added ${made.name}`, "done");
      } catch (error) {
        complain(error);
      }
    },
  });
  document.getElementById("main").append(...[
    make("p", {}, make("a", { href: `/case/${id}`, text: "Look at the CT", "data-testid": "result-case" })),
    make("div", { class: "panel" },
      make("div", { class: "row" }, make("label", { class: "field" }, "Bundle", select), make("label", { class: "field" }, "ROI by", who), facts.elements, ask),
      make("details", {}, make("summary", { text: "A bundle from elsewhere", "data-testid": "result-bundle-more" }), folder.element, add)),
    known.authors.length ? null : make("p", { class: "warning", "data-testid": "result-undrawn" }, "No ROI is signed yet: ", make("a", { href: `/case/${id}`, text: "draw the tumor and sign it" }), "."),
    make("p", { id: "old", class: "warning hidden", text: "The ROI was drawn again since this answer: ask again.", "data-testid": "result-old" }),
    make("div", { id: "answer" })].filter(Boolean));
  listed = await bundles(select);
  ask.disabled = listed.every((one) => one.refused);
  if (known.document !== null) {
    document.getElementById("old").classList.toggle("hidden", known.current);
    if ([...select.options].some((one) => one.value === known.bundle)) select.value = known.bundle;
    author = known.author;
    who.value = author;
    answer(known.document);
  }
  facts.show(used());
  document.addEventListener("keydown", (event) => {
    if (document_ === null || !["ArrowLeft", "ArrowRight"].includes(event.key) || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
    const order = document_.slices.map((one) => one.slice_index);
    const next = order[order.indexOf(shown) + (event.key === "ArrowRight" ? 1 : -1)];
    if (next !== undefined) {
      event.preventDefault();
      showSlice(next);
    }
  });
}

start().catch(complain);
