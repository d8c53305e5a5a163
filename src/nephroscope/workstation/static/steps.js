// The steps of a study, each as a job, with the options that people turn.
import { api, complain, frame, make, numberIn } from "/static/common.js";
import { ENDED, follow } from "/static/follow.js";

let study = null;

function number(name, text, value, attributes = {}) {
  return { name, element: make("label", { class: "field" }, text, make("input", { type: "number", value, required: true, "data-testid": `steps-${name}`, ...attributes })), read: (input) => numberIn(input, text) };
}

function choice(name, text, values, first) {
  const options = values.map((value) => make("option", { value, text: value || first }));
  return { name, element: make("label", { class: "field" }, text, make("select", { "data-testid": `steps-${name}` }, options)), read: (input) => input.value };
}

function word(name, text, placeholder) {
  return { name, element: make("label", { class: "field" }, text, make("input", { type: "text", placeholder, "data-testid": `steps-${name}` })), read: (input) => input.value.trim() };
}

function steps() {
  const runs = ["", ...study.runs];
  return [
    { command: "slices", title: "Slices", text: "Cut out the slices that show the tumor, all at one size.", button: "Cut the slices", fields: [] },
    {
      command: "split", title: "Division", text: "Divide the patients into folds; some may be held out as a test set.", button: "Divide the patients",
      fields: [number("folds", "Folds", 5, { min: 1, max: 20 }), number("holdout", "Share held out", 0, { min: 0, max: 0.9, step: 0.05 })],
    },
    {
      command: "train", title: "Training", text: "Train a network on every fold. This takes long; it goes on when you close the page.", button: "Train",
      fields: [choice("model", "Network", study.networks), number("epochs", "Epochs, at most", 30, { min: 1, max: 10000 }), word("name", "Name of the run", "as the network")],
    },
    {
      command: "compare", title: "Comparison", text: "Compare the networks with simpler baselines on the same folds.", button: "Compare",
      fields: [number("repeats", "Divisions of the patients", 1, { min: 1, max: 100 })],
    },
    { command: "report", title: "Report", text: "Write the report of a run as one page.", button: "Write the report", fields: [choice("report-run", "Run", runs, "the last one")] },
    {
      command: "export", title: "Bundle", text: "Export the model of a run; it then predicts without the study.", button: "Export",
      fields: [choice("export-run", "Run", runs, "the last one"), word("export-name", "Name of the bundle", "such as kidney-1")],
    },
  ];
}

function card(step) {
  const work = make("div", { class: "hidden", "data-work": step.command });
  const begin = async () => {
    try {
      const options = {};
      for (const field of step.fields) {
        options[field.name.replace(/^(report|export)-/, "")] = field.read(field.element.querySelector("input, select"));
      }
      const { id } = await api("/api/jobs", { body: { command: step.command, options } });
      await show(id, work);
    } catch (error) {
      complain(error);
    }
  };
  return make("section", { class: "panel", "data-testid": `steps-${step.command}-panel` },
    make("h2", { text: step.title }),
    make("p", { text: step.text }),
    make("p", { class: "quiet", "data-testid": `steps-${step.command}-state`, "data-part": step.command }),
    make("div", { class: "row" }, step.fields.map((field) => field.element), make("button", { text: step.button, "data-testid": `steps-${step.command}`, onclick: begin })),
    work);
}

async function show(id, work) {
  work.classList.remove("hidden");
  await follow(id, work);
  await look();
}

/** What goes on, or was interrupted, is shown again when the page is opened again. */
async function showUnfinished() {
  const { jobs } = await api("/api/jobs");
  for (const work of document.querySelectorAll("[data-work]")) {
    const last = jobs.find((one) => one.command === work.dataset.work);
    if (last && (last.state === "interrupted" || !ENDED.includes(last.state))) show(last.id, work).catch(complain);
  }
}

function stateOf(command) {
  const parts = study.status.parts;
  if (command === "train") {
    return study.runs.length ? `complete: ${study.runs.join(", ")}` : "not done yet";
  }
  const name = { slices: "slices", split: "split", compare: "comparison", report: "report" }[command];
  const part = parts.find((one) => one.name === name);
  return part && part.state !== "none" ? `${part.state}${part.detail ? `: ${part.detail}` : ""}` : "not done yet";
}

async function look() {
  study = await api("/api/study");
  for (const tag of document.querySelectorAll("[data-part]")) {
    tag.textContent = tag.dataset.part === "export" ? "" : stateOf(tag.dataset.part);
    tag.classList.toggle("hidden", tag.textContent === "");
    const button = document.querySelector(`[data-testid='steps-${tag.dataset.part}']`);
    button.classList.toggle("main", study.status.next === tag.dataset.part);
  }
  for (const name of ["report-run", "export-run"]) {
    const select = document.querySelector(`[data-testid='steps-${name}']`);
    const kept = select.value;
    select.replaceChildren(...["", ...study.runs].map((value) => make("option", { value, text: value || "the last one" })));
    select.value = kept;
  }
  const out = study.status.out;
  document.getElementById("out").classList.toggle("hidden", out.length === 0);
  document.getElementById("out").replaceChildren(...(out.length ? [make("summary", { text: `${out.length} left out`, "data-testid": "steps-out" }), make("ul", {}, out.slice(0, 500).map((one) => make("li", { text: `${one.case_id}: ${one.reason}` })))] : []));
  document.getElementById("counts").textContent = `${study.status.cases} cases of ${study.status.patients} patients; subtypes ${study.subtypes.join(", ")}, positive ${study.positive}`;
  const pages = (await api("/api/pages")).pages;
  document.getElementById("pages").replaceChildren(...pages.map((one) => make("a", { class: "button", href: one.address, target: "_blank", text: one.title, "data-testid": "steps-page", "data-title": one.title })));
}

async function start() {
  await frame({ title: "Steps", current: "/steps" });
  study = await api("/api/study");
  document.getElementById("main").append(
    make("p", { id: "counts", "data-testid": "steps-counts" }), make("details", { id: "out" }), make("div", { id: "pages", class: "row" }),
    make("div", { class: "cards" }, steps().map(card)));
  await look();
  await showUnfinished();
}

start().catch(complain);
