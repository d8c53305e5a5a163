// Choose a folder or a file of this computer. The server gives identifiers; names are shown, never sent back.
import { api, complain, make } from "/static/common.js";

/** The entry {id, name} that a person typed or pasted as a path. */
export async function entryOf(path) {
  const found = await api("/api/folders", { body: { path } });
  return found.file ?? found.folder;
}

/**
 * A field for a path with a button that opens the chooser; `value()` gives the identifier, or null where it is empty.
 * @param {object} options - name: for data-testid; label; files: choose a file rather than a folder.
 */
export function pathField({ name, label, files = false }) {
  let chosen = null;
  const input = make("input", {
    type: "text", size: 44, spellcheck: "false", autocomplete: "off", placeholder: files ? "path of a file" : "path of a folder",
    "data-testid": name, oninput: () => { chosen = null; },
  });
  const browse = make("button", {
    type: "button", text: "Choose…", "data-testid": `${name}-choose`, "aria-label": `Choose: ${label}`,
    onclick: async () => {
      const entry = await choose({ title: label, files, start: chosen?.id }).catch(complain);
      if (entry) {
        chosen = entry;
        input.value = entry.name;
        element.dispatchEvent(new CustomEvent("chosen"));
      }
    },
  });
  const element = make("div", { class: "row" }, make("label", { class: "field" }, label, input), browse);
  const value = async () => {
    if (chosen !== null) return chosen.id;
    if (input.value.trim() === "") return null;
    chosen = await entryOf(input.value);
    return chosen.id;
  };
  return { element, value };
}

/** Open the chooser; gives {id, name}, or null when it was closed. */
export function choose({ title, files = false, start = null }) {
  return new Promise((resolve, reject) => {
    let here = null;
    const list = make("ul", { class: "entries", "data-testid": "chooser-entries" });
    const where = make("strong", { "data-testid": "chooser-here" });
    const places = make("div", { class: "row" });
    const up = make("button", { type: "button", text: "Up", "data-testid": "chooser-up" });
    const take = make("button", { type: "button", class: "main", text: "Take this folder", "data-testid": "chooser-take" });
    const close = make("button", { type: "button", text: "Cancel", "data-testid": "chooser-cancel" });
    const dialog = make("dialog", { class: "chooser", "aria-label": title },
      make("h2", { text: title }), places, make("p", {}, where), list, make("div", { class: "row" }, up, files ? null : take, close));
    const end = (entry) => { dialog.close(); dialog.remove(); resolve(entry); };

    async function show(folder) {
      const found = await api("/api/folders", { body: folder ? { folder } : {} });
      here = found.folder;
      where.textContent = here.name;
      up.disabled = found.parent === null;
      up.onclick = () => show(found.parent.id).catch(complain);
      places.replaceChildren(...found.places.map((place) => make("button", { type: "button", text: place.name, "data-testid": "chooser-place", onclick: () => show(place.id).catch(complain) })));
      const entries = [
        ...found.folders.map((entry) => make("li", {}, make("button", { type: "button", text: `📁 ${entry.name}`, "data-testid": "chooser-folder", "data-name": entry.name, onclick: () => show(entry.id).catch(complain) }))),
        ...(files ? found.files.map((entry) => make("li", {}, make("button", { type: "button", text: entry.name, "data-testid": "chooser-file", "data-name": entry.name, onclick: () => end(entry) }))) : []),
      ];
      list.replaceChildren(...(entries.length ? entries : [make("li", { class: "quiet", text: "nothing to choose here" })]));
      if (found.left_out) {
        list.append(make("li", { class: "quiet", text: `and ${found.left_out} more: type the path instead` }));
      }
    }

    take.onclick = () => end(here);
    close.onclick = () => end(null);
    dialog.addEventListener("cancel", () => end(null));
    document.body.append(dialog);
    dialog.showModal();
    show(start).catch((error) => { dialog.close(); dialog.remove(); reject(error); });
  });
}
