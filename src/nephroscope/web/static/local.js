// What the workstation's viewer asks of its server, answered here.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export function say(text, kind = "") {
  let box = document.querySelector(".said");
  if (box === null) {
    box = make("div", { class: "said", "aria-live": "polite" });
    document.body.append(box);
  }
  const line = make("p", { class: kind, text });
  box.append(line);
  setTimeout(() => line.remove(), kind === "error" ? 12000 : 4000);
}

export const complain = (error) => say(error.message, "error");

/** Nothing is asked of anybody: the volume is here already. */
export function api() {
  return Promise.reject(new Error("there is no server"));
}
