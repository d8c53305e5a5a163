// What every page uses: requests, elements made without HTML text, messages, and the frame with the top bar.

let session = null;

/** What the server says of this session: {csrf, mode, name}. */
export async function whoami() {
  if (session === null) {
    session = await api("/api/session");
  }
  return session;
}

/** A refusal of the server; its fields are code, where, expected, found, remedy. */
export class Refusal extends Error {
  constructor(status, error) {
    super(error.message ?? `the server answered ${status}`);
    Object.assign(this, { status, code: "answer", where: "", expected: "", found: "", remedy: "" }, error);
  }
}

/**
 * Ask the server.
 * @param {string} path - starts with /api/
 * @param {object} options - method; body: an object (sent as JSON), or an ArrayBuffer or typed array (sent as bytes); raw: give the
 *   Response itself; signal: of an AbortController; keepalive.
 */
export async function api(path, { method, body, raw = false, signal, keepalive = false } = {}) {
  const verb = method ?? (body === undefined ? "GET" : "POST");
  const headers = {};
  if (verb !== "GET") {
    headers["X-Nephroscope-Token"] = (await whoami()).csrf;
  }
  let sent;
  if (body !== undefined) {
    const bytes = body instanceof ArrayBuffer || ArrayBuffer.isView(body) || body instanceof Blob;
    headers["Content-Type"] = bytes ? "application/octet-stream" : "application/json";
    sent = bytes ? body : JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, { method: verb, headers, body: sent, signal, keepalive, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new Refusal(0, { code: "no-server", message: "the workstation does not answer: start it again and load this page" });
  }
  if (!answer.ok) {
    let error = {};
    try {
      error = (await answer.json()).error;
    } catch {
      // no JSON: the status is all there is
    }
    throw new Refusal(answer.status, error);
  }
  return raw ? answer : answer.json();
}

/** An element; attributes with "on" are listeners, `text` and children are text or elements, never HTML. */
export function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "rect", "line", "circle", "path", "text", "title"].includes(tag) && attributes.svg;
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "svg" || value === undefined || value === null || value === false) {
      continue;
    }
    if (name.startsWith("on")) {
      made.addEventListener(name.slice(2), value);
    } else if (name === "text") {
      made.textContent = value;
    } else if (["value", "checked", "disabled", "selected", "indeterminate"].includes(name) && !svg) {
      made[name] = value;
    } else {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/**
 * The number in a field, `empty` where nothing was typed. What is typed and no number, or outside of the field's limits, is an error: a
 * browser gives such a text as nothing.
 */
export function numberIn(input, name, empty = null) {
  const { badInput, rangeOverflow, rangeUnderflow, valueMissing } = input.validity;
  if (badInput || rangeOverflow || rangeUnderflow || valueMissing) throw new Error(`${name}: ${input.validationMessage}`);
  return input.value === "" ? empty : Number(input.value);
}

/** Say something at the edge of the page, also to a screen reader; kind is "done", "error" or "". */
export function say(text, kind = "") {
  let box = document.getElementById("said");
  if (box === null) {
    box = make("div", { id: "said", class: "said", role: "status", "aria-live": "polite", "data-testid": "page-messages" });
    document.body.append(box);
  }
  const line = make("p", { class: kind, text });
  box.append(line);
  while (box.children.length > 4) {
    box.firstChild.remove();
  }
  setTimeout(() => line.remove(), kind === "error" ? 15000 : 6000);
}

/** Say what went wrong. */
export function complain(error) {
  if (error.name !== "AbortError") {
    say(error.message, "error");
  }
}

const PLACES = {
  study: [
    ["/", "Patients"], ["/import", "Import"], ["/doubts", "Doubts"], ["/steps", "Steps"], ["/jobs", "Jobs"], ["/reading", "Reader studies"],
  ],
  bundle: [["/", "Patients"], ["/jobs", "Jobs"], ["/reading", "Reader studies"]],
  empty: [["/", "New study"]],
};

/** Put the top bar above the page; `current` is the address of the chosen entry. Gives the session. */
export async function frame({ title, current }) {
  document.title = `${title} - nephroscope`;
  const known = await whoami();
  const links = PLACES[known.mode].map(([address, text]) =>
    make("a", {
      href: address, text, "aria-current": address === current ? "page" : undefined,
      "data-testid": `frame-${text.toLowerCase().replace(" ", "-")}`,
    }),
  );
  const bar = make("header", { class: "bar" },
    make("span", { class: "name", text: "nephroscope" }),
    make("nav", { "aria-label": "Pages" }, links),
    make("span", { class: "use", text: "Research use only; not a medical device" }),
  );
  document.body.prepend(bar);
  return known;
}
