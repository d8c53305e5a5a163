// The list of patients.
import { api, complain, frame, make, say } from "/static/common.js";
import { importForm } from "/static/import.js";

const COLUMNS = [["case_id", "Case"], ["patient_id", "Patient"], ["phases", "Phases"], ["rois", "ROIs"], ["findings", "Findings"], ["prediction", "Prediction"]];
let cases = [];
let order = { column: "case_id", down: false };
let words = "";
let withSubtype = false;

function textOf(one, column) {
  const value = one[column];
  if (column === "phases") return value.join(" ");
  if (column === "rois") return value.map((roi) => `${roi.author} ${roi.state}`).join(" ");
  if (column === "findings") return value.map((finding) => finding.code).join(" ");
  if (column === "prediction") return value === null ? "" : value.call ?? "not sure";
  return value ?? "";
}

function shown() {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const found = cases.filter((one) => {
    const text = [...COLUMNS.map(([column]) => textOf(one, column)), withSubtype ? one.subtype : ""].join(" ").toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
  const sign = order.down ? -1 : 1;
  return found.sort((a, b) => sign * textOf(a, order.column).localeCompare(textOf(b, order.column), "en", { numeric: true }));
}

function row(one) {
  const link = make("a", { href: `/case/${one.id}`, text: one.case_id, "data-testid": "worklist-open", "data-case": one.case_id });
  const picture = make("img", { class: "thumbnail", src: one.thumbnail, alt: "", loading: "lazy", width: 72, height: 72 });
  const doubtful = one.findings.filter((finding) => finding.severity !== "note");
  return make("tr", { "data-testid": "worklist-row", "data-case": one.case_id },
    make("td", {}, picture),
    make("td", {}, link, one.synthetic ? make("span", { class: "tag", text: "SYNTHETIC" }) : null),
    make("td", { text: one.patient_id }),
    make("td", { text: one.phases.join(", ") }),
    make("td", {}, one.rois.length ? one.rois.map((roi) => make("span", { class: "tag", text: `${roi.author}: ${roi.state}` })) : make("span", { class: "quiet", text: "not drawn yet" })),
    make("td", {}, doubtful.map((finding) => make("span", { class: `tag ${finding.severity}`, text: finding.code, title: finding.message }))),
    make("td", {}, make("a", { href: `/result/${one.id}`, text: one.prediction === null ? "ask the model" : one.prediction.call ?? "not sure", "data-testid": "worklist-result" })),
    withSubtype ? make("td", { text: one.subtype }) : null,
  );
}

function draw() {
  const found = shown();
  document.getElementById("rows").replaceChildren(...found.map(row));
  document.getElementById("count").textContent = `${found.length} of ${cases.length}`;
  const head = COLUMNS.map(([column, text]) =>
    make("th", { scope: "col", "aria-sort": order.column === column ? (order.down ? "descending" : "ascending") : undefined },
      make("button", {
        text: `${text}${order.column === column ? (order.down ? " ▼" : " ▲") : ""}`, "data-testid": `worklist-sort-${column.replace("_", "-")}`,
        onclick: () => { order = { column, down: order.column === column && !order.down }; draw(); },
      })));
  document.getElementById("head").replaceChildren(make("th", {}), ...head, withSubtype ? make("th", { text: "Subtype" }) : "");
}

async function load() {
  cases = (await api(withSubtype ? "/api/cases?subtype=1" : "/api/cases")).cases;
  draw();
}

function keys(event) {
  if (event.key === "/" && event.target.tagName !== "INPUT") {
    event.preventDefault();
    document.getElementById("search").focus();
  }
  if (!["ArrowDown", "ArrowUp"].includes(event.key) || event.target.tagName === "SELECT") return;
  const links = [...document.querySelectorAll("[data-testid='worklist-open']")];
  const at = links.indexOf(document.activeElement);
  const next = links[Math.min(links.length - 1, Math.max(0, at + (event.key === "ArrowDown" ? 1 : -1)))];
  if (next) {
    event.preventDefault();
    next.focus();
  }
}

function newStudy() {
  const subtypes = make("input", { type: "text", value: "PRCC ChRCC", size: 40, "data-testid": "new-subtypes" });
  const positive = make("select", { "data-testid": "new-positive" });
  const names = () => subtypes.value.split(/[\s,;]+/).filter(Boolean);
  const fill = () => positive.replaceChildren(...names().map((name) => make("option", { value: name, text: name })));
  subtypes.oninput = fill;
  fill();
  const button = make("button", {
    class: "main", text: "Make the study", "data-testid": "new-make",
    onclick: async () => {
      try {
        await api("/api/study", { body: { subtypes: names(), positive: positive.value } });
        location.href = "/import";
      } catch (error) {
        complain(error);
      }
    },
  });
  document.getElementById("heading").textContent = "A new study";
  document.getElementById("main").append(make("section", { class: "panel" },
    make("p", { text: "This folder is empty. A study is made here with a study.toml that lists every setting." }),
    make("div", { class: "row" },
      make("label", { class: "field" }, "Subtypes, separated by spaces", subtypes),
      make("label", { class: "field" }, "Subtype that counts as positive", positive), button)));
}

function openPatient() {
  const form = importForm(() => { say("opened", "done"); load().catch(complain); }, { labels: false });
  const staysOpen = (event) => { if (!cases.length) event.preventDefault(); }; // there is nothing else to do
  document.getElementById("main").append(make("details", { class: "panel", id: "open" }, make("summary", { text: "Open a patient's folder", "data-testid": "open-patient", onclick: staysOpen }), form));
}

async function start() {
  const known = await frame({ title: "Patients", current: "/" });
  if (known.mode === "empty") {
    newStudy();
    return;
  }
  if (known.mode === "bundle") openPatient();
  document.getElementById("main").append(
    make("div", { class: "row" },
      make("label", { class: "field" }, "Search (/)", make("input", { id: "search", type: "search", "data-testid": "worklist-search", oninput: (event) => { words = event.target.value; draw(); } })),
      make("label", {}, make("input", { type: "checkbox", "data-testid": "worklist-subtype", onchange: (event) => { withSubtype = event.target.checked; load().catch(complain); } }), " show the subtype"),
      make("span", { id: "count", class: "quiet", "data-testid": "worklist-count" })),
    make("div", { class: "scroll" }, make("table", { "data-testid": "worklist-table" }, make("thead", {}, make("tr", { id: "head" })), make("tbody", { id: "rows" }))),
  );
  document.addEventListener("keydown", keys);
  await load();
  if (cases.length === 0) {
    const open = document.getElementById("open");
    if (open) open.open = true;
    else document.getElementById("main").append(make("p", {}, make("a", { class: "button main", href: "/import", text: "Import patients", "data-testid": "worklist-import" })));
  }
}

start().catch(complain);
