// A reader at work: sign in, one case after the other, an answer for each. Nothing here knows more than the reader may know.
import { api, make, say, whoami } from "/static/common.js";
import { AnswerPanel } from "/static/read-answer.js";
import { Sitting } from "/static/read-sitting.js";
import { openViewer } from "/static/viewer.js";

const STUDY = location.pathname.split("/").pop();
const BASE = `/api/read/${STUDY}`;
const AGAIN_MS = 500;
const main = document.getElementById("main");
let sitting = null;
let viewer = null;
let panel = null;

function show(...parts) {
  main.replaceChildren(...parts);
}

function head(seat) {
  document.getElementById("title").textContent = seat.title;
  document.title = "Reader study - nephroscope";
  document.getElementById("who").textContent = `Reader ${seat.reader}`;
  const practice = seat.training ? "Practice, does not count: " : "";
  const part = seat.periods > 1 ? `Part ${seat.period} of ${seat.periods}, ` : "";
  document.getElementById("progress").textContent = seat.state === "reading" ? `${part}${practice}case ${seat.done + 1} of ${seat.of}` : "";
  document.getElementById("sign-out").classList.remove("hidden");
  document.getElementById("pause").classList.toggle("hidden", seat.state !== "reading");
}

function signIn(reason = "") {
  const code = make("input", { id: "code", autocomplete: "off", spellcheck: "false", autocapitalize: "characters", size: 24, "data-testid": "read-sign-in-code" });
  const wrong = make("p", { class: "refusal", role: "alert", "data-testid": "read-sign-in-message", text: reason });
  const form = make("form", { class: "panel narrow", onsubmit: (event) => {
    event.preventDefault();
    api(`${BASE}/sign-in`, { body: { code: code.value } }).then((seat) => next(seat).catch(failed), (error) => { wrong.textContent = error.message; });
  } },
    make("h2", { text: "Sign in" }),
    make("p", { text: "Type the code that the organizer gave you. It is yours alone. From then on this browser opens nothing but this reader study, until you sign out." }),
    make("label", { class: "field" }, "Your code", code),
    make("p", {}, make("button", { class: "main", type: "submit", text: "Sign in", "data-testid": "read-sign-in" })),
    wrong);
  show(form);
  code.focus();
}

function message(testid, title, text) {
  show(make("section", { class: "panel narrow", "data-testid": testid }, make("h2", { text: title }), make("p", { text })));
}

/** Show what the reader has to do now. */
async function next(seat) {
  sitting?.end();
  viewer?.close();
  [sitting, viewer, panel] = [null, null, null];
  head(seat);
  if (seat.state === "done") {
    message("read-done", "All cases are answered", "Thank you. Your answers are kept. You may sign out.");
  } else if (seat.state === "closed") {
    message("read-closed", "This reader study is closed", "No more answers are taken. Thank you for those you gave.");
  } else if (seat.state === "washout") {
    const day = new Date(seat.not_before).toLocaleString("en-GB", { dateStyle: "full", timeStyle: "short" });
    message("read-washout", "The first part is done", `The second part begins on ${day}, so that you do not remember the cases.`);
  } else {
    await openCase(seat);
  }
}

async function openCase(seat) {
  const picture = make("div", { class: "reading-picture", "data-testid": "read-picture" });
  panel = new AnswerPanel(seat, give);
  show(make("div", { class: "desk" }, picture, panel.element));
  panel.setBusy(true, "The images are being loaded.");
  const opened = await api(`${BASE}/open`, { body: { number: seat.number } });
  viewer = await openViewer(picture, null, {
    readOnly: true, keys: "arrows", list: `${BASE}/images/${seat.code}/series`, outlines: `${BASE}/images/${seat.code}/outline`,
  });
  if (seat.arm === "aided") {
    await panel.showAid(await api(`${BASE}/aid`));
  }
  sitting = new Sitting(BASE, seat.number, opened.sitting, { lost, found, replaced }); // the case is on the screen: its time begins
  panel.setBusy(false);
  panel.focus();
}

async function give(answer) {
  const current = sitting;
  panel.setBusy(true, "Your answer is being saved.");
  try {
    await next(await current.answer(answer));
  } catch (error) {
    failed(error);
  }
}

function cover(text, testid, button) {
  uncover();
  viewer?.setHidden(true);
  document.querySelector(".desk")?.setAttribute("inert", "");
  main.append(make("div", { class: "cover", id: "cover", "data-testid": testid, role: "alertdialog", "aria-label": text }, make("p", { text }), button ?? null));
  button?.focus();
}

function uncover() {
  document.getElementById("cover")?.remove();
  document.querySelector(".desk")?.removeAttribute("inert");
  viewer?.setHidden(false);
}

function pause() {
  if (sitting === null || document.getElementById("cover")) return;
  sitting.setPaused(true);
  cover("Paused. The time stands still and the images are hidden.", "read-paused", make("button", {
    class: "main", type: "button", text: "Go on (P)", "data-testid": "read-resume", onclick: resume,
  }));
}

function resume() {
  uncover();
  sitting.setPaused(false);
  panel.focus();
}

function lost() {
  cover("The workstation does not answer. Your time stands still, and nothing is lost. It goes on by itself as soon as the workstation runs again; or open its new address, and sign in with your code.", "read-no-server");
}

function found() {
  uncover();
}

function replaced() {
  sitting?.end();
  sitting = null;
  cover("This case was opened in another window. Go on there, or load this page again.", "read-other-window");
}

/** The workstation went away while a case was being opened: begin it again when it is back. */
async function comeBack() {
  lost();
  for (;;) {
    await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
    try {
      await next(await api(BASE));
      return;
    } catch (error) {
      if (error.code !== "no-server") {
        failed(error);
        return;
      }
      lost();
    }
  }
}

function failed(error) {
  if (error.code === "no-server") {
    comeBack();
  } else if (error.status === 403) {
    signIn(error.message);
  } else if (error.code?.startsWith("reading-")) {
    say(error.message, "error");
    api(BASE).then(next).catch((again) => (again.code === "no-server" ? comeBack() : message("read-failed", "This does not work", again.message)));
  } else {
    message("read-failed", "This does not work", error.message);
  }
}

document.getElementById("pause").addEventListener("click", pause);
document.getElementById("sign-out").addEventListener("click", async () => {
  try {
    await sitting?.save();
    sitting?.end();
    await api(`${BASE}/sign-out`, { body: {} });
    sitting = null;
    viewer?.close();
    for (const id of ["pause", "sign-out"]) document.getElementById(id).classList.add("hidden");
    message("read-signed-out", "Signed out", "This browser is let in again with the address that the workstation printed when it was started.");
  } catch (error) {
    failed(error);
  }
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "TEXTAREA", "SELECT"].includes(event.target.tagName)) return;
  if (event.key.toLowerCase() === "p" && sitting !== null) {
    if (document.getElementById("cover")) {
      if (document.querySelector("[data-testid='read-resume']")) resume();
    } else {
      pause();
    }
  } else if (!document.getElementById("cover") && panel?.key(event.key, event.target)) {
    event.preventDefault();
    event.stopPropagation();
  }
}, true);

async function start() {
  const { reading } = await whoami();
  if (reading === STUDY) {
    await next(await api(BASE));
  } else {
    signIn();
  }
}

start().catch(failed);
