// The result of a reader study. Every figure comes from the server, with its number of cases, interval and method.
import { api, complain, frame, make, say } from "/static/common.js";

const STUDY = location.pathname.split("/")[2];
const FIGURES = [["accuracy", "Accuracy"], ["sensitivity", "Sensitivity"], ["specificity", "Specificity"], ["auc", "AUC"], ["coverage", "Called"]];
const OUTCOMES = ["correct", "not sure", "wrong"];

const arm = (aided) => (aided ? "with the model" : "without the model");
const seconds = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));

function interval(estimate) {
  if (estimate.value === null) return "-";
  const limits = estimate.low === null ? "" : ` (${estimate.low.toFixed(3)} to ${estimate.high.toFixed(3)})`;
  return `${estimate.value.toFixed(3)}${limits}`;
}

function figure(estimate, count) {
  const share = count ? `${count[0]}/${count[1]} ` : `n ${estimate.n} `;
  return make("td", {}, make("span", { class: "quiet", text: estimate.value === null ? "" : share }), make("span", { text: interval(estimate), title: estimate.method }));
}

function table(testid, head, rows) {
  return make("div", { class: "scroll" }, make("table", { "data-testid": testid },
    make("thead", {}, make("tr", {}, head.map((text) => make("th", { scope: "col", text })))), make("tbody", {}, rows)));
}

function cells(...texts) {
  return texts.map((text) => make("td", { text: String(text) }));
}

function methods(readers) {
  const found = new Set(readers.flatMap((one) => Object.values(one.figures).filter((estimate) => estimate.value !== null).map((estimate) => estimate.method)));
  return make("p", { class: "quiet", text: `Intervals: ${[...found].join("; ")}. Hold the mouse over a figure for its own method.` });
}

function meanRows(figures) {
  return [false, true].flatMap((aided) => {
    const means = figures.means.filter((one) => one.aided === aided && one.n_readers > 1);
    if (means.every((one) => one.mean.value === null)) return [];
    const of = (name) => means.find((one) => one.figure === name);
    return [make("tr", { "data-testid": "result-mean", "data-aided": aided },
      make("th", { scope: "row", text: `mean of ${means[0].n_readers} readers` }), cells(arm(aided), of("accuracy").n_cases),
      FIGURES.map(([name]) => (of(name) ? figureOf(of(name).mean) : make("td"))), make("td"))];
  });
}

function agreementPart(figures) {
  const rows = [[false, figures.agreement], [true, figures.agreement_aided]].flatMap(([aided, found]) => (found === null ? [] : found.pairs.map((pair) =>
    make("tr", { "data-testid": "result-agreement" }, make("th", { scope: "row", text: `${pair.first} and ${pair.second}` }), cells(arm(aided)), figureOf(pair.agreement), figureOf(pair.kappa)))));
  return rows.length ? [make("h2", { text: "Agreement of the readers" }), table("result-agreements", ["Readers", "", "Same call", "Cohen's kappa"], rows)] : [];
}

/** All test sets together are shown after each of them, where there are several: different networks answered them. */
function partsOf(figures) {
  const parts = Object.values(figures.groups);
  return parts.length > 1 ? [...parts, figures] : [figures];
}

function readersPart(figures, title) {
  const rows = [...figures.readers, ...figures.models].map((one) => make("tr", { "data-testid": "result-reader", "data-reader": one.name, "data-aided": one.aided },
    make("th", { scope: "row", text: one.name }), make("td", { text: one.model ? "the model" : arm(one.aided) }), make("td", { text: one.n_cases }),
    FIGURES.map(([name]) => figure(one.figures[name], one.counts[name])),
    make("td", { text: one.time === null ? "" : `${seconds(one.time.median_s)} (${seconds(one.time.lower_quartile_s)} to ${seconds(one.time.upper_quartile_s)})` })));
  rows.push(...meanRows(figures));
  return [make("h2", { text: title, "data-testid": "result-part" }), table("result-readers", ["Reader", "", "Cases", ...FIGURES.map(([, text]) => text), "Seconds, median (quartiles)"], rows), methods([...figures.readers, ...figures.models])];
}

function sentencesPart(figures) {
  const parts = [];
  if (figures.sentences.length) parts.push(make("h2", { text: "What the tests show" }), make("ul", { "data-testid": "result-sentences" }, figures.sentences.map((text) => make("li", { text }))));
  return parts;
}

function changesPart(changes) {
  if (changes.length === 0) return [];
  const rows = changes.map((one) => make("tr", { "data-testid": "result-change", "data-reader": one.reader },
    make("th", { scope: "row", text: one.reader }),
    cells(one.counts.flat().reduce((sum, n) => sum + n, 0), one.n_patients),
    make("td", { text: `${one.helped.length}${one.helped.length ? `: ${one.helped.join(", ")}` : ""}`, "data-testid": "result-helped" }),
    make("td", { text: `${one.harmed.length}${one.harmed.length ? `: ${one.harmed.join(", ")}` : ""}`, "data-testid": "result-harmed" }),
    one.difference === null ? cells("-", "") : [figureOf(one.difference), make("td", { text: one.p === null ? "-" : one.p.toFixed(3) })]));
  const grids = changes.map((one) => make("div", {}, make("h3", { text: one.reader }), table("result-transitions", ["without \\ with", ...OUTCOMES],
    one.counts.map((line, at) => make("tr", {}, make("th", { scope: "row", text: OUTCOMES[at] }), cells(...line))))));
  return [make("h2", { text: "Who was helped, who was harmed" }),
    make("p", { text: "Helped: correct with the model, and not without it. Harmed: the other way round. The difference is accuracy without minus with the model, on the cases called both times." }),
    table("result-changes", ["Reader", "Cases", "Patients", "Helped", "Harmed", "Difference", "p"], rows), make("div", { class: "form" }, grids)];
}

function figureOf(estimate) {
  return make("td", {}, make("span", { text: interval(estimate), title: estimate.method }), make("span", { class: "quiet", text: ` n ${estimate.n}` }));
}

function modelPart(byModel) {
  if (byModel.length === 0) return [];
  const rows = byModel.map((one) => make("tr", { "data-testid": "result-by-model", "data-reader": one.reader, "data-aided": one.aided, "data-model-is": one.model_is },
    make("th", { scope: "row", text: one.reader }), cells(arm(one.aided), one.model_is, one.n_cases, one.n_patients, `${one.errors.length}${one.errors.length ? `: ${one.errors.join(", ")}` : ""}`),
    figure(one.accuracy, [one.correct, one.called])));
  return [make("h2", { text: "Errors where the model was wrong" }),
    make("p", { text: "More errors with the model than without it, where the model was wrong, mean that readers followed it into its mistakes." }),
    table("result-model-errors", ["Reader", "", "The model was", "Cases", "Patients", "Wrong calls", "Accuracy of those called"], rows)];
}

function orderPart(orders, times) {
  const names = [...new Set(orders.flatMap((one) => Object.keys(one.mean_place)))];
  const rows = orders.map((one) => make("tr", { "data-testid": "result-order" }, make("th", { scope: "row", text: one.reader }),
    cells(one.period, one.arms.map((name) => arm(name === "aided")).join(", then "), one.n_cases, ...names.map((name) => one.mean_place[name]?.toFixed(1) ?? "-"))));
  const spent = times.map((one) => make("tr", { "data-testid": "result-time" }, make("th", { scope: "row", text: one.reader }),
    cells(arm(one.aided), ...[one.active_s, one.idle_s, one.hidden_s, one.paused_s].map(seconds))));
  return [make("h2", { text: "Balance of the order" }),
    make("p", { text: "Mean place of the cases of each subtype in the order of reading; places alike mean that neither was read earlier." }),
    table("result-orders", ["Reader", "Part", "Arm", "Cases", ...names.map((name) => `Mean place, ${name}`)], rows),
    make("h2", { text: "Where the time went" }),
    make("p", { text: "Seconds over all cases. Only reading counts as the time of an answer; in a sequential study the answer with the model takes the time of both." }),
    table("result-times", ["Reader", "", "Reading", "Idle (over 120 s without input)", "Hidden or asleep", "Paused"], spent)];
}

async function start() {
  await frame({ title: "Result of a reader study", current: "/reading" });
  const main = document.getElementById("main");
  let result;
  try {
    result = await api(`/api/reading/${STUDY}/result`);
  } catch (error) {
    main.append(make("p", { class: "panel refusal", text: error.message, "data-testid": "result-refused" }), make("a", { href: "/reading", text: "Reader studies" }));
    return;
  }
  const { figures } = result;
  document.getElementById("heading").textContent = result.title;
  const findings = [...result.findings, ...figures.findings];
  main.append(
    make("p", {}, result.synthetic ? make("span", { class: "tag warning", text: "SYNTHETIC" }) : null,
      `${figures.n_cases} cases of ${figures.n_patients} patients; positive: ${figures.positive}. ${result.complete ? "All readers are finished." : `Closed before all were finished: ${result.closed_why}`}`),
    make("p", {}, "Protocol SHA-256 ", make("span", { class: "digest", text: result.digest, "data-testid": "result-digest" })),
    make("p", { class: "row" },
      make("a", { class: "button main", href: `/api/reading/${STUDY}/calls.csv`, download: "calls.csv", text: "Save the calls (CSV)", "data-testid": "result-csv" }),
      make("button", { type: "button", text: "Write the calls into the study", "data-testid": "result-keep", onclick: async () => {
        try { say(`Written: ${(await api(`/api/reading/${STUDY}/calls`, { body: {} })).file}`, "done"); } catch (error) { complain(error); }
      } })),
    findings.length ? make("ul", { "data-testid": "result-findings" }, findings.map((one) => make("li", { class: one.severity, text: `${one.code}: ${one.message}` }))) : "",
    ...partsOf(figures).flatMap((part, _, parts) => readersPart(part, parts.length > 1 ? `Each reader: ${part.test_set}` : "Each reader")), ...changesPart(result.changes), ...modelPart(result.by_model), ...agreementPart(figures), ...sentencesPart(figures), ...orderPart(result.orders, result.times));
}

start().catch(complain);
