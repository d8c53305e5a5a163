// The form of a new reader study: what is read by whom, in which arms; checked, then locked for good.
import { api, complain, make } from "/static/common.js";

const LAYOUTS = {
  unaided: { text: "Without the model only", arms: ["unaided"], design: "single" },
  aided: { text: "With the model only", arms: ["aided"], design: "single" },
  sequential: { text: "Sequential: without, and right after it with the model", arms: ["unaided", "aided"], design: "sequential" },
  crossover: { text: "Crossover: all cases in one arm, after the washout in the other", arms: ["unaided", "aided"], design: "crossover" },
};
const ROLES = [["", "left out"], ["case", "counts"], ["training", "practice"]];

/** Draw the form into `place`; `plan` fills it in, `locked` is called with the study that was locked. */
export async function planForm(place, plan, locked) {
  let withSubtype = false;
  let choices = await api("/api/reading/choices");
  const roles = new Map([...(plan?.cases ?? []).map((id) => [id, "case"]), ...(plan?.training ?? []).map((id) => [id, "training"])]);
  const field = (label, input, hint) => make("label", { class: "field" }, label, input, hint ? make("span", { class: "quiet", text: hint }) : null);
  const text = (testid, value, more = {}) => make("input", { value, "data-testid": testid, ...more });
  const title = text("plan-title", plan ? `${plan.title}, again` : "");
  const question = text("plan-question", plan?.question ?? "", { placeholder: "Which subtype is this tumor?" });
  const readers = make("textarea", { "data-testid": "plan-readers", value: (plan?.readers ?? []).join("\n") });
  const kind = plan === null ? "unaided" : plan.design === "single" ? plan.arms[0] : plan.design;
  const layout = make("select", { "data-testid": "plan-design", onchange: draw }, Object.entries(LAYOUTS).map(([value, one]) => make("option", { value, text: one.text, selected: value === kind })));
  const seed = text("plan-seed", String(plan?.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]), { inputmode: "numeric" });
  const washout = text("plan-washout", String(plan?.washout_days ?? 28), { inputmode: "numeric" });
  const outline = make("input", { type: "checkbox", checked: plan?.outline ?? true, "data-testid": "plan-outline" });
  const model = make("select", { "data-testid": "plan-model", onchange: draw },
    choices.runs.map((name) => make("option", { value: `run ${name}`, text: `run ${name}` })),
    choices.bundles.map((name) => make("option", { value: `bundle ${name}`, text: `bundle ${name.split("/").pop()}` })), make("option", { value: "bundle", text: "a bundle ..." }));
  const bundle = text("plan-bundle", "", { placeholder: "folder of the bundle" });
  const words = text("plan-search", "", { type: "search", oninput: draw });
  const phase = make("select", { "data-testid": "plan-phase", onchange: draw },
    make("option", { value: "", text: "any" }), [...new Set(choices.cases.flatMap((one) => one.phases))].sort().map((name) => make("option", { value: name, text: name })));
  const set = make("select", { "data-testid": "plan-test-set", onchange: draw },
    make("option", { value: "", text: "any" }), [...new Set(choices.cases.map((one) => one.test_set))].sort().map((name) => make("option", { value: name, text: name })));
  const usable = make("input", { type: "checkbox", checked: true, "data-testid": "plan-usable", onchange: draw });
  const subtype = make("input", { type: "checkbox", "data-testid": "plan-subtype", onchange: async () => {
    withSubtype = subtype.checked;
    choices = await api(`/api/reading/choices${withSubtype ? "?subtype=1" : ""}`);
    draw();
  } });
  const rows = make("tbody");
  const counted = make("p", { role: "status", "data-testid": "plan-count" });
  const checked = make("div", { "data-testid": "plan-checked", role: "status" });
  const modelFields = make("div", { class: "form" }, field("Model that aids", model, "A run answers each case by the fold that did not see the patient; a bundle must not have seen the case."), field("Bundle", bundle));
  const washoutField = field("Washout in days", washout, "28 or more");
  let head;

  function shown() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    return choices.cases.filter((one) => wanted.every((word) => `${one.case_id} ${one.patient_id} ${one.subtype}`.toLowerCase().includes(word))
      && (phase.value === "" || one.phases.includes(phase.value)) && (set.value === "" || one.test_set === set.value)
      && (!usable.checked || (one.labeled && (one.outlined || !outline.checked))));
  }

  function rowOf(one) {
    const role = make("select", { "aria-label": `Role of case ${one.case_id}`, "data-testid": "plan-role", onchange: (event) => setRole(one.case_id, event.target.value) },
      ROLES.map(([value, label]) => make("option", { value, text: label, selected: (roles.get(one.case_id) ?? "") === value })));
    return make("tr", { "data-testid": "plan-case", "data-case": one.case_id },
      make("td", {}, role), make("td", { text: one.case_id }), make("td", { text: one.patient_id }), make("td", { text: one.phases.join(", ") }), make("td", { text: one.test_set }),
      make("td", { text: one.labeled ? "known" : "not known" }), make("td", { text: one.outlined ? "yes" : "no" }), withSubtype ? make("td", { text: one.subtype }) : null);
  }

  function setRole(id, role) {
    if (role === "") {
      roles.delete(id);
    } else {
      roles.set(id, role);
    }
    count();
  }

  function count() {
    const chosen = [...roles.values()];
    const n = chosen.filter((role) => role === "case").length;
    const bySubtype = withSubtype ? choices.subtypes.map((name) => `${choices.cases.filter((one) => one.subtype === name && roles.get(one.case_id) === "case").length} ${name}`) : [];
    counted.textContent = `${n} ${n === 1 ? "case counts" : "cases count"}${bySubtype.length ? ` (${bySubtype.join(", ")})` : ""}, ${chosen.length - n} for practice`;
    checked.replaceChildren();
  }

  function draw() {
    const { arms, design } = LAYOUTS[layout.value];
    modelFields.classList.toggle("hidden", !arms.includes("aided"));
    bundle.parentElement.classList.toggle("hidden", model.value !== "bundle");
    washoutField.classList.toggle("hidden", design !== "crossover");
    const titles = ["Role", "Case", "Patient", "Phases", "Test set", "Subtype", "Outline", ...(withSubtype ? ["Pathology"] : [])];
    head.replaceChildren(...titles.map((name) => make("th", { scope: "col", text: name })));
    rows.replaceChildren(...shown().map(rowOf));
    count();
  }

  function every(role) {
    for (const one of shown()) setRole(one.case_id, role);
    draw();
  }

  const whole = (input) => (input.value.trim() === "" ? null : Number(input.value)); // what is none is refused

  function written() {
    const { arms, design } = LAYOUTS[layout.value];
    const of = (role) => choices.cases.map((one) => one.case_id).filter((id) => roles.get(id) === role);
    const [kind, ...rest] = model.value.split(" ");
    const chosen = { kind, name: rest.length ? rest.join(" ") : bundle.value };
    return {
      title: title.value, question: question.value, cases: of("case"), training: of("training"),
      readers: readers.value.split("\n").map((line) => line.trim()).filter(Boolean), arms, design, seed: whole(seed), washout_days: whole(washout),
      outline: outline.checked, model: arms.includes("aided") ? chosen : null,
    };
  }

  async function check() {
    checked.replaceChildren(make("p", { text: "The protocol is being checked against the study." }));
    const body = written();
    try {
      const found = await api("/api/reading/check", { body });
      checked.replaceChildren(
        make("p", {}, "SHA-256 of this protocol: ", make("span", { class: "digest", text: found.digest, "data-testid": "plan-digest" })),
        make("p", { text: "Once it is locked, nothing of it can be changed." }),
        make("button", { type: "button", class: "main", text: "Lock the protocol", "data-testid": "plan-lock", onclick: (event) => lock(body, event.target) }));
    } catch (error) {
      checked.replaceChildren(make("p", { class: "refusal", text: error.message, "data-testid": "plan-refused" }));
    }
  }

  async function lock(body, button) {
    button.disabled = true;
    try {
      await locked(await api("/api/reading", { body }));
    } catch (error) {
      button.disabled = false;
      complain(error);
    }
  }

  head = make("tr");
  outline.addEventListener("change", draw);
  place.replaceChildren(
    make("h2", { text: "New reader study" }),
    make("div", { class: "form" }, field("Title", title), field("Question to the readers", question), field("Readers, a pseudonym a line", readers),
      field("Arms", layout), washoutField, field("Seed of the orders", seed), make("label", {}, outline, " show the outline of the tumor, as a person drew it")),
    modelFields,
    make("h2", { text: "Cases" }),
    make("div", { class: "row" }, field("Search", words), field("Phase", phase), field("Test set", set),
      make("label", {}, usable, " usable only"), make("label", {}, subtype, " show the pathology"),
      make("button", { type: "button", text: "Choose all shown", "data-testid": "plan-choose-all", onclick: () => every("case") }),
      make("button", { type: "button", text: "Choose none of those shown", "data-testid": "plan-choose-none", onclick: () => every("") })),
    make("div", { class: "cases", tabindex: 0, role: "region", "aria-label": "Cases" }, make("table", { "data-testid": "plan-cases" }, make("thead", {}, head), rows)),
    counted,
    make("p", { class: "row" }, make("button", { type: "button", text: "Check", "data-testid": "plan-check", onclick: check })),
    checked);
  draw();
  title.focus();
}
