// The organizer's page: reader studies, their readers and codes, and the form of a new one.
import { api, complain, frame, make, say } from "/static/common.js";
import { planForm } from "/static/reading-plan.js";

const DESIGNS = { sequential: "sequential", crossover: "crossover", single: "one arm" };
const list = make("section", { class: "panel", "aria-label": "Reader studies" });
const detail = make("section", { class: "panel hidden", "aria-label": "Reader study", "data-testid": "reading-detail" });
const making = make("section", { class: "panel hidden", "aria-label": "New reader study", "data-testid": "reading-new-form" });

function progress(reader) {
  return `${reader.reader}: ${reader.answered} of ${reader.of}`;
}

function row(study) {
  const state = study.closed_at ? `closed: ${study.closed_why}` : study.complete ? "finished" : "open";
  return make("tr", { "data-testid": "reading-row", "data-id": study.id },
    make("td", {}, make("button", { type: "button", text: study.title, "data-testid": "reading-open", onclick: () => show(study.id).catch(complain) })),
    make("td", { text: study.locked_at.slice(0, 10) }),
    make("td", {}, make("span", { class: "digest", text: study.digest.slice(0, 12), title: study.digest })),
    make("td", { text: study.readers.map(progress).join("; ") }),
    make("td", { text: state, "data-testid": "reading-state" }),
    make("td", {}, make("a", { href: `/reading/${study.id}/result`, text: "result", "data-testid": "reading-result" })));
}

async function load() {
  const { studies } = await api("/api/reading");
  const head = ["Study", "Locked", "SHA-256", "Answers", "State", ""].map((text) => make("th", { scope: "col", text }));
  const table = studies.length === 0 ? make("p", { class: "quiet", text: "There is no reader study yet." })
    : make("div", { class: "scroll" }, make("table", { "data-testid": "reading-table" }, make("thead", {}, make("tr", {}, head)), make("tbody", {}, studies.map(row))));
  list.replaceChildren(table, make("p", {}, make("button", { type: "button", class: "main", text: "New reader study", "data-testid": "reading-new", onclick: () => begin(null).catch(complain) })));
}

/** A study with the codes of its readers. */
async function show(id) {
  const { study, protocol, plan, invited } = await api(`/api/reading/${id}`);
  const facts = [
    ["Question", protocol.question], ["Arms", `${protocol.arms.join(" and ")}, ${DESIGNS[protocol.design]}`],
    ["Cases", `${protocol.cases.length}, and ${protocol.training.length} for practice`],
    ["Positive", protocol.positive], ["Seed of the orders", String(protocol.seed)],
    ["Washout", protocol.design === "crossover" ? `${protocol.washout_days} days` : "none"],
    ["Model", protocol.model === null ? "none" : `${protocol.model.kind} ${protocol.model.name}, ${protocol.model.digest}`],
  ];
  const address = `${location.origin}${study.address}`;
  const readers = invited.map((one) => make("tr", { "data-testid": "reading-reader", "data-reader": one.reader },
    make("td", { text: one.reader }), make("td", {}, make("code", { text: one.code, "data-testid": "reading-code" })),
    make("td", { text: `${one.progress.answered} of ${one.progress.of}` })));
  detail.replaceChildren(
    make("h2", { text: study.title }),
    make("p", {}, "Locked under SHA-256 ", make("span", { class: "digest", text: study.digest, "data-testid": "reading-digest" }), ". A change is a new study."),
    make("table", {}, make("tbody", {}, facts.map(([name, text]) => make("tr", {}, make("th", { scope: "row", text: name }), make("td", { text }))))),
    make("h2", { text: "Readers" }),
    make("p", {}, "Readers work at ", make("a", { href: study.address, text: address, "data-testid": "reading-address" }), ". Each types their own code. A browser in which a reader has signed in opens nothing else, not even this page, until it is let in again with the address that the workstation printed."),
    make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ["Reader", "Code", "Answers"].map((text) => make("th", { scope: "col", text })))), make("tbody", {}, readers))),
    make("p", { class: "row" },
      make("button", { type: "button", text: "New study from this one", "data-testid": "reading-copy", onclick: () => begin(plan).catch(complain) }),
      study.closed_at || study.complete ? null : make("button", { type: "button", text: "Close for good", "data-testid": "reading-close", onclick: () => close(study) })));
  detail.classList.remove("hidden");
  detail.scrollIntoView();
}

function close(study) {
  const why = make("input", { size: 40, "data-testid": "reading-close-why" });
  const box = make("dialog", { "aria-label": "Close the study" },
    make("p", { text: "No more answers are taken, and the result is shown. This cannot be undone." }),
    make("label", { class: "field" }, "Why (shown with the result)", why),
    make("p", { class: "row" },
      make("button", { type: "button", class: "main", text: "Close", "data-testid": "reading-close-yes", onclick: async () => {
        box.close();
        try {
          await api(`/api/reading/${study.id}/close`, { body: { why: why.value } });
          await load();
          await show(study.id);
        } catch (error) { complain(error); }
      } }),
      make("button", { type: "button", text: "Cancel", onclick: () => box.close() })));
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}

async function begin(plan) {
  detail.classList.add("hidden");
  making.classList.remove("hidden");
  await planForm(making, plan, async (study) => {
    making.classList.add("hidden");
    say("The protocol is locked.", "done");
    await load();
    await show(study.id);
  });
  making.scrollIntoView();
}

async function start() {
  const known = await frame({ title: "Reader studies", current: "/reading" });
  const main = document.getElementById("main");
  if (known.mode !== "study") {
    main.append(make("p", { text: "A reader study needs a study with cases: open the workstation with a study folder.", "data-testid": "reading-needs-study" }));
    return;
  }
  main.append(list, detail, making);
  await load();
}

start().catch(complain);
