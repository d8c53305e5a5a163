// The answer, a refusal and what the page is, as elements.

import { make } from "./local.js";
import { counted, fixed } from "./words.js";

const list = (pairs) => make("dl", {}, pairs.map(([name, value]) => [make("dt", { text: name }), make("dd", {}, value)]));

export function refusalElements(error) {
  if (!error.expected) return [make("p", { class: "refusal", role: "alert", text: `This page failed: ${error.message}` })];
  return [
    make("h2", { class: "refusal", text: "No answer" }),
    list([["where", error.where], ["expected", error.expected], ["found", error.found], ["what to do", error.remedy]]),
  ];
}

/** @param goTo - shows a slice of the CT. */
export function answerElements(answer, goTo) {
  const warnings = answer.findings.filter((one) => one.severity === "warning");
  const notes = answer.findings.filter((one) => one.severity !== "warning");
  const finding = (one) => make("li", { class: one.severity }, make("code", { text: one.code }), ` ${one.message}`);
  const save = () => {
    const file = new Blob([`${JSON.stringify(answer, null, 2)}\n`], { type: "application/json" });
    const link = make("a", { href: URL.createObjectURL(file), download: "answer.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  return [
    make("p", { class: "call", "data-testid": "call", text: answer.call ?? "not sure" }),
    make("p", { class: answer.call === null ? "warning" : "quiet", "data-testid": "reason", text: answer.reason }),
    Object.entries(answer.probabilities).map(([name, p]) => {
      const bar = make("span", {});
      bar.style.width = `${100 * p}%`;
      return [make("div", { text: `${name} ${fixed(p, 3)}` }), make("div", { class: "meter" }, bar)];
    }),
    make("p", { class: "quiet", text: `${Object.keys(answer.probabilities).length === 2 ? `Threshold on ${answer.positive}: ${fixed(answer.threshold, 2)}` : "The most probable subtype is called"}. Research only; not a medical device.` }),
    answer.possible ? make("p", { text: answer.possible.words }) : null,
    warnings.length ? make("ul", { class: "findings", "aria-label": "Doubts" }, warnings.map(finding)) : null,
    make("ul", { class: "findings", "aria-label": "Notes" }, notes.map(finding)),
    list([
      ["case", answer.case_id], ["series", answer.series.series_uid], ["phase", `${answer.series.phase}${answer.series.evidence ? ` (${answer.series.evidence})` : ""}`],
      ["side drawn", answer.side.drawn], ["model", answer.model_digest], ["seconds", fixed(answer.seconds, 2)],
    ]),
    make("details", {}, make("summary", { text: counted(answer.slices.length, "slice") }), make("table", {}, answer.slices.map((one) => make("tr", {},
      make("td", {}, make("button", { type: "button", text: `slice ${one.slice_index}`, onclick: () => goTo(one.slice_index) })),
      make("td", { text: `${one.area_mm2} mm2` }), make("td", { text: fixed(one.probabilities[answer.positive], 3) }),
    )))),
    make("p", {}, make("button", { type: "button", text: "Save as JSON", onclick: save })),
  ];
}

export function aboutElements(page, apart) {
  const { bundle, gate, sha256, digest, libraries } = page;
  const proof = gate.run
    ? `${gate.browser} gave what \`nephroscope predict\` gives for ${gate.cases} golden cases: the same slices, calls, findings and refusals; probabilities at most ${gate.largest_difference.toExponential(1)} apart.`
    : `This page was NOT compared with \`nephroscope predict\`: ${gate.why}.`;
  const figures = Object.entries(bundle.evaluation ?? {}).flatMap(([group, found]) => Object.entries(found).slice(0, 4).map(([name, one]) => `${group}, ${name}: ${fixed(one.value ?? NaN, 2)}`));
  return [
    make("p", { text: proof }),
    list([
      ["network", `${bundle.model}, made ${bundle.made} by nephroscope ${bundle.nephroscope}`], ["trained on", `${bundle.training.n_train} ${bundle.training.n_unit}s${bundle.training.synthetic ? ", SYNTHETIC" : ""}`],
      ["figures", figures.join("; ") || "none"], ["reference slices", `${apart.toExponential(1)} apart in this browser`], ["SHA-256 of all parts", make("code", { id: "digest", text: digest })],
      ...Object.entries(sha256).map(([name, value]) => [name, make("code", { text: value })]),
    ]),
    make("h3", { text: "Libraries in this file" }),
    libraries.map((one) => make("details", {}, make("summary", { text: `${one.name} ${one.version} (${one.license})` }), make("pre", { text: one.text || `License: ${one.license}. The text is in the package ${one.name} of npm.` }))),
  ];
}
