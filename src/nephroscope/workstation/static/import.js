// Import a folder: look into it first, then import it as a job.
import { api, complain, frame, make, numberIn, say } from "/static/common.js";
import { pathField } from "/static/chooser.js";
import { follow } from "/static/follow.js";

/** The form of an import, also for a bundle's patients; `imported` is called after a job that imported something. */
export function importForm(imported, { labels = true } = {}) {
  const folder = pathField({ name: "import-path", label: "Folder of the export" });
  const rois = pathField({ name: "import-rois", label: "Folder of ROI files outside the export (if there is one)" });
  const table = pathField({ name: "import-labels", label: "Table with subtypes, CSV or XLSX (if there is one)", files: true });
  let uploaded = null; // the identifier of a table that was sent, or will be
  const upload = make("input", {
    type: "file", accept: ".csv,.xlsx,.tsv,.txt", "data-testid": "import-labels-upload",
    onchange: () => {
      start.disabled = kind.value === "dicom";
      uploaded = upload.files[0] ? sent(upload.files[0]) : null;
    },
  });
  async function sent(file) {
    try {
      return (await api("/api/uploads", { body: await file.arrayBuffer() })).id;
    } catch (error) {
      complain(error);
      upload.value = "";
      return null;
    }
  }
  const kind = make("select", { "data-testid": "import-kind" }, make("option", { value: "dicom", text: "DICOM" }), make("option", { value: "nifti", text: "NIfTI" }));
  const label = make("input", { type: "number", min: 0, max: 255, "data-testid": "import-tumor-label" });
  const keep = make("input", { type: "checkbox", checked: true, "data-testid": "import-keep" });
  const look = make("button", { text: "Look into the folder", class: "main", "data-testid": "import-look" });
  const start = make("button", { text: "Import", "data-testid": "import-start", disabled: true });
  const work = make("div", { class: "hidden" });
  const found = make("div", {});
  const labelField = make("label", { class: "field hidden" }, "Value of the tumor in label maps (if they have several)", label);

  async function options(dry) {
    const path = await folder.value();
    if (path === null) throw new Error("give the folder first");
    return {
      kind: kind.value, folder: path, labels: labels ? (await uploaded) ?? (await table.value()) : null, rois: kind.value === "dicom" ? await rois.value() : null,
      tumor_label: kind.value === "nifti" ? numberIn(label, "Value of the tumor") : null, keep_incomplete: keep.checked, dry_run: dry,
    };
  }
  async function run(dry) {
    const { id } = await api("/api/jobs", { body: { command: "import", options: await options(dry) } });
    work.classList.remove("hidden");
    const job = await follow(id, work);
    if (!["done", "partly"].includes(job.state)) return;
    if (dry) {
      found.replaceChildren(seriesTable(job.result));
      start.disabled = false;
      start.focus();
    } else {
      found.replaceChildren(summary(job.result));
      imported(job.result);
    }
  }
  const guarded = (dry) => async () => {
    look.disabled = true;
    try {
      await run(dry);
    } catch (error) {
      complain(error);
    } finally {
      look.disabled = false;
    }
  };
  look.onclick = guarded(true);
  start.onclick = guarded(false);
  for (const field of [folder, rois, table]) {  // what is imported is what was looked at
    field.element.addEventListener("input", () => { start.disabled = kind.value === "dicom"; });
    field.element.addEventListener("chosen", () => { start.disabled = kind.value === "dicom"; });
  }
  for (const name of ["input", "chosen"]) { // the table that was named last counts
    table.element.addEventListener(name, () => { uploaded = null; upload.value = ""; });
  }
  kind.onchange = () => {
    const nifti = kind.value === "nifti";
    look.classList.toggle("hidden", nifti);
    rois.element.classList.toggle("hidden", nifti);
    labelField.classList.toggle("hidden", !nifti);
    start.disabled = !nifti;
    start.classList.toggle("main", nifti);
  };
  return make("section", {},
    make("div", { class: "panel" },
      make("div", { class: "row" }, make("label", { class: "field" }, "Kind of files", kind)),
      folder.element,
      labels ? table.element : null,
      labels ? make("label", { class: "field" }, "… or send the table from elsewhere", upload) : null,
      rois.element, labelField,
      make("p", {}, make("label", {}, keep, " keep patients whose tumor is not outlined or labeled yet")),
      make("div", { class: "row" }, look, start)),
    work, found);
}

function seriesTable(result) {
  const rows = result.series.filter((one) => one.kind === "ct" || !one.accepted);
  const shown = rows.slice(0, 1000);
  return make("section", { class: "panel", "data-testid": "import-found" },
    make("h2", { text: "What the folder holds" }),
    make("p", { "data-testid": "import-summary", text: `${result.patients} patients, ${result.series.length} series, ${result.series.filter((one) => one.kind === "ct" && one.chosen).length} CT series would be imported; ${result.not_dicom} other files, ${result.damaged} damaged` }),
    "labels_without_ct" in result ? make("p", { text: `patients with a label row: ${result.patients_with_label}; label rows without a CT here: ${result.labels_without_ct}` }) : null,
    make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, ["Patient", "Kind", "Description", "Phase", "Slices", "Distance (mm)", "ROIs", "Taken", "Why"].map((text) => make("th", { scope: "col", text })))),
      make("tbody", {}, shown.map((one) => make("tr", { "data-testid": "import-row", "data-chosen": one.chosen ? "yes" : "no" },
        make("td", { text: one.patient_id }), make("td", { text: one.kind }), make("td", { text: one.description ?? "" }), make("td", { text: one.phase ?? "" }),
        make("td", { text: one.n_slices }), make("td", { text: one.spacing_mm ?? "" }), make("td", { text: one.n_rois }),
        make("td", { text: one.chosen ? "yes" : one.accepted ? "kept" : "no", class: one.chosen ? "good" : "" }), make("td", { text: one.reason })))))),
    rows.length > shown.length ? make("p", { class: "quiet", text: `and ${rows.length - shown.length} more series` }) : null);
}

function summary(result) {
  return make("section", { class: "panel", "data-testid": "import-done" },
    make("h2", { text: `${result.cases} cases of ${result.patients} patients are in the study` }),
    result.exclusions.length ? make("ul", {}, result.exclusions.slice(0, 200).map((one) => make("li", { "data-testid": "import-excluded", text: `${one.case_id}: ${one.reason}${one.hint ? ` (${one.hint})` : ""}` }))) : null,
    make("ul", {}, result.findings.map((one) => make("li", { class: one.severity, "data-testid": "import-finding", text: `${one.case_id ? `${one.case_id}: ` : ""}${one.message}` }))),
    make("a", { class: "button main", href: "/", text: "Go to the patients", "data-testid": "import-patients" }));
}

async function start() {
  await frame({ title: "Import", current: "/import" });
  document.getElementById("main").append(
    make("p", { class: "quiet", text: "The folder is searched with all folders below it. First see what it holds; nothing is written until you import." }),
    importForm(() => say("imported", "done")));
}

if (document.querySelector("script[src='/static/import.js']")) {
  start().catch(complain);
}
