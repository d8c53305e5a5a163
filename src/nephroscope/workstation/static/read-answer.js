// What a reader answers: a call or "not sure", and a confidence about the positive subtype that goes with it.
import { make } from "/static/common.js";

const KEYS = ["Q", "W", "E", "R"];
const WORDS = (positive) => [`certainly not ${positive}`, `probably not ${positive}`, "undecided", `probably ${positive}`, `certainly ${positive}`];
const NOT_SURE = "not sure";

export class AnswerPanel {
  constructor(seat, give) {
    Object.assign(this, { seat, give, call: undefined, confidence: null, busy: true });
    this.calls = [...seat.subtypes, NOT_SURE];
    this.element = make("section", { class: "panel answer", "aria-label": "Your answer", tabindex: -1, "data-testid": "read-panel", "data-code": seat.code, "data-arm": seat.arm });
    this.note = make("p", { class: "why", role: "status", "data-testid": "read-why" });
    this.callButtons = this.calls.map((call, at) => make("button", {
      type: "button", "aria-pressed": "false", "data-testid": call === NOT_SURE ? "read-call-not-sure" : `read-call-${at + 1}`, "data-call": call,
      onclick: () => this.setCall(call),
    }, call, make("kbd", { text: this.keyOf(at) })));
    this.ratings = WORDS(seat.positive).map((words, at) => make("button", {
      type: "button", "aria-pressed": "false", "data-testid": `read-confidence-${at + 1}`, onclick: () => this.setConfidence(at + 1),
    }, make("b", { text: String(at + 1) }), make("span", { text: words })));
    this.submit = make("button", { type: "button", class: "main", text: "Answer (Enter)", "data-testid": "read-answer", onclick: () => this.done() });
    this.aid = make("div", { "data-testid": "read-aid", class: "aid hidden" });
    this.fill();
    this.draw();
  }

  fill() {
    const { seat } = this;
    const before = seat.unaided === null ? null : make("p", { class: "quiet", "data-testid": "read-own-answer",
      text: `Your answer without the model is kept: ${seat.unaided.call ?? NOT_SURE}, ${seat.unaided.confidence}. Answer again, now with the model.` });
    const arm = seat.arm === "aided" ? "with the model" : "without the model";
    this.element.append(...[
      make("h2", {}, "Case ", make("span", { class: "code", text: seat.code, "data-testid": "read-case-code" }), make("span", { class: "tag", text: arm, "data-testid": "read-arm", "data-arm": seat.arm })),
      seat.training ? make("p", { class: "tag warning", text: "practice: this case does not count", "data-testid": "read-training" }) : null,
      before, this.aid,
      make("p", { class: "question", text: seat.question, "data-testid": "read-question" }),
      make("div", { class: "calls", role: "group", "aria-label": "Call" }, this.callButtons),
      make("p", { class: "question", text: `How likely is ${seat.positive}?` }),
      make("div", { class: "ratings", role: "group", "aria-label": `Confidence about ${seat.positive}` }, this.ratings),
      this.note,
      make("p", { class: "submit" }, this.submit),
      make("p", { class: "quiet", text: "An answer is final. Keys: 1 to 5, the letters on the buttons, Enter, P to pause." }),
    ].filter(Boolean));
  }

  keyOf(at) {
    return this.calls[at] === NOT_SURE ? "0" : KEYS[at] ?? "";
  }

  /** Lowest and highest confidence that go with a call; the middle goes with each. */
  allowed(call = this.call) {
    const [low, middle, high] = this.seat.scale;
    if (call === undefined) return [low, high];
    if (call === NOT_SURE) return [low + 1, high - 1];
    return call === this.seat.positive ? [middle, high] : [low, middle];
  }

  fits(rating, call = this.call) {
    const [low, high] = this.allowed(call);
    return low <= rating && rating <= high;
  }

  setCall(call) {
    if (this.busy) return;
    this.call = call;
    if (this.confidence !== null && !this.fits(this.confidence)) {
      this.confidence = null;
      this.explain("Choose the confidence again: the one before contradicts this call.");
    } else {
      this.explain("");
    }
    this.draw();
  }

  setConfidence(rating) {
    if (this.busy) return;
    if (!this.fits(rating)) {
      const [low, high] = this.allowed();
      this.explain(`${rating} contradicts the call ${this.call}. The confidence says how likely ${this.seat.positive} is, not how sure you are of your call: with ${this.call} it is ${low} to ${high}. Change the call first, if you mean ${rating}.`);
      return;
    }
    this.confidence = rating;
    this.explain("");
    this.draw();
  }

  explain(text) {
    this.note.textContent = text;
  }

  done() {
    if (this.busy) return;
    if (this.call === undefined || this.confidence === null) {
      this.explain(this.call === undefined ? "Choose a call, or not sure." : "Choose a confidence from 1 to 5.");
      return;
    }
    this.give({ call: this.call === NOT_SURE ? null : this.call, confidence: this.confidence });
  }

  /** Enter on a button presses it, like everywhere; on one that is pressed already, or on none, it gives the answer. */
  endsWith(target) {
    return target.tagName !== "BUTTON" || target === this.submit || target.getAttribute("aria-pressed") === "true";
  }

  /** What a key does; true when it was one of ours. */
  key(key, target) {
    const at = this.calls.findIndex((_, place) => this.keyOf(place) === key.toUpperCase() && this.keyOf(place) !== "");
    if (at >= 0) {
      this.setCall(this.calls[at]);
    } else if (/^[1-5]$/.test(key)) {
      this.setConfidence(Number(key));
    } else if (key === "Enter" && this.endsWith(target)) {
      this.done();
    } else {
      return false;
    }
    return true;
  }

  setBusy(busy, text = "") {
    this.busy = busy;
    this.explain(text);
    this.draw();
  }

  draw() {
    this.callButtons.forEach((button, at) => {
      button.setAttribute("aria-pressed", String(this.calls[at] === this.call));
      button.disabled = this.busy;
    });
    this.ratings.forEach((button, at) => {
      button.setAttribute("aria-pressed", String(at + 1 === this.confidence));
      button.setAttribute("aria-disabled", String(!this.fits(at + 1)));
      button.disabled = this.busy;
    });
    this.submit.disabled = this.busy || this.call === undefined || this.confidence === null;
  }

  focus() {
    this.element.focus({ preventScroll: true });
  }

  /** The model's answer, in the aided arm only. */
  async showAid(aid) {
    const picture = make("img", { src: aid.picture, alt: "The slice on which the tumor is largest, with its outline", "data-testid": "read-aid-picture" });
    const bars = Object.entries(aid.probabilities).map(([name, p]) => make("div", { class: "bar-row" },
      make("span", { text: name }),
      make("meter", { min: 0, max: 1, value: p, "aria-label": `Probability of ${name}` }),
      make("b", { text: p.toFixed(3), "data-testid": name === aid.positive ? "read-aid-probability" : "read-aid-probability-other" })));
    this.aid.replaceChildren(
      make("h3", { text: "The model says" }),
      make("p", { class: "said-call", text: aid.call ?? NOT_SURE, "data-testid": "read-aid-call" }), ...bars, picture);
    this.aid.classList.remove("hidden");
    await picture.decode().catch(() => undefined);
  }
}
