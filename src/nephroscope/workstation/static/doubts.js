// What is doubtful: check every case, then look at the doubtful ones first.
import { api, complain, frame, make } from "/static/common.js";
import { follow } from "/static/follow.js";

function numbers(one) {
  const found = [];
  if (one.measures?.volume_ml !== null && one.measures?.volume_ml !== undefined) found.push(`${one.measures.volume_ml.toFixed(1)} ml`);
  if (one.measures?.largest_axial_diameter_mm) found.push(`${one.measures.largest_axial_diameter_mm.toFixed(0)} mm`);
  if (one.measures) found.push(`side ${one.measures.side}`);
  return [one.phase, one.roi, ...found].filter(Boolean).join(", ");
}

function card(one) {
  return make("article", { class: "panel case", "data-testid": "doubts-case", "data-case": one.case_id, "data-worst": one.worst },
    make("img", { class: "picture", src: one.picture, alt: `slice of case ${one.case_id} with the outline of its ROI`, loading: "lazy", width: 240, height: 240 }),
    make("div", {},
      make("h2", {}, make("a", { href: `/case/${one.id}`, text: one.case_id, "data-testid": "doubts-open" })),
      make("p", { class: "quiet", text: numbers(one) }),
      make("ul", {}, one.findings.map((finding) => make("li", { class: finding.severity, "data-testid": "doubts-finding", "data-code": finding.code, text: `${finding.severity}: ${finding.message}` })))));
}

async function show() {
  const found = await api("/api/doubts");
  document.getElementById("when").textContent = found.checked === null ? "Not checked here yet." : `Checked ${new Date(1000 * found.checked).toLocaleString()}.`;
  const doubtful = found.cases.filter((one) => one.worst === "refusal" || one.worst === "warning");
  const rest = found.cases.filter((one) => !doubtful.includes(one));
  document.getElementById("cases").replaceChildren(
    ...(found.of_the_study.length ? [make("div", { class: "panel" }, make("h2", { text: "About the whole study" }), make("ul", {}, found.of_the_study.map((one) => make("li", { class: one.severity, "data-testid": "doubts-study", text: one.message }))))] : []),
    ...(found.apart.length ? [make("p", { class: "warning", "data-testid": "doubts-apart", text: `Not shown until both annotators have signed: ${found.apart.join(", ")}` })] : []),
    ...doubtful.map(card),
    ...(rest.length ? [make("details", {}, make("summary", { text: `${rest.length} ${rest.length === 1 ? "case" : "cases"} with nothing doubtful`, "data-testid": "doubts-rest" }), rest.map(card))] : []));
  const pages = (await api("/api/pages")).pages;
  document.getElementById("pages").replaceChildren(...pages.map((one) => make("a", { class: "button", href: one.address, target: "_blank", text: one.title, "data-testid": "doubts-page" })));
}

async function start() {
  await frame({ title: "Doubts", current: "/doubts" });
  const work = make("div", { class: "hidden" });
  const check = make("button", {
    class: "main", text: "Check every case", "data-testid": "doubts-check",
    onclick: async () => {
      try {
        const { id } = await api("/api/jobs", { body: { command: "check" } });
        work.classList.remove("hidden");
        await follow(id, work);
        await show();
      } catch (error) {
        complain(error);
      }
    },
  });
  document.getElementById("main").append(make("div", { class: "row" }, check, make("span", { id: "when", class: "quiet" }), make("span", { id: "pages", class: "row" })), work, make("div", { id: "cases" }));
  await show();
}

start().catch(complain);
