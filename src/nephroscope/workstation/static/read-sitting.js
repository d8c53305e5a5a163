// One sitting at one case: counts its time, tells the server many times a second, and brings the answer there.
import { api } from "/static/common.js";
import { ReadingClock } from "/static/reading-clock.js";

const BEAT_MS = 40;
const SLOW_MS = 1000; // while the time of the answer stands still
const MOST_AT_ONCE = 2; // requests that are on their way; the server takes the largest time
const AGAIN_MS = 500;
const INPUTS = ["pointermove", "pointerdown", "keydown", "wheel", "touchstart"];

const wait = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

export class Sitting {
  /**
   * @param {string} base - address of the reader
   * @param {number} number - of the answer that is asked for
   * @param {number} sitting - from the server; it takes the time of the newest one only
   * @param {object} told - lost: the server does not answer; found: it does again; replaced: another window has the case
   */
  constructor(base, number, sitting, told) {
    Object.assign(this, { base, number, sitting, told, sending: new Set(), sentAt: 0, away: false, pausedByReader: false, over: false });
    this.clock = new ReadingClock();
    this.clock.start({ hidden: document.visibilityState === "hidden" });
    this.touched = () => this.clock.touched();
    this.seen = () => this.clock.setHidden(document.visibilityState === "hidden");
    for (const kind of INPUTS) document.addEventListener(kind, this.touched, { capture: true, passive: true });
    document.addEventListener("visibilitychange", this.seen);
    this.timer = setInterval(() => this.beat(), BEAT_MS);
  }

  setPaused(paused) {
    this.pausedByReader = paused;
    this.clock.setPaused(paused || this.away);
    this.sentAt = 0;
    this.beat();
  }

  /** Bring the time so far to the server. */
  async beat() {
    const spent = this.clock.count();
    const still = (this.clock.paused || this.clock.hidden) && performance.now() - this.sentAt < SLOW_MS;
    if (this.sending.size >= (this.away ? 1 : MOST_AT_ONCE) || this.over || (still && !this.away)) return;
    this.sentAt = performance.now();
    const sent = this.send(spent);
    this.sending.add(sent);
    try {
      await sent;
      if (this.away) this.back();
    } catch (error) {
      if (this.over) return;
      if (error.code === "no-server") {
        this.gone();
        await wait(AGAIN_MS);
      } else if (error.code === "reading-other-window") {
        this.told.replaced();
      }
    } finally {
      this.sending.delete(sent);
    }
  }

  send(spent) {
    return api(`${this.base}/time`, { body: { number: this.number, sitting: this.sitting, spent } });
  }

  save() {
    return this.send(this.clock.count());
  }

  gone() {
    if (this.away) return;
    this.away = true;
    this.clock.setPaused(true);
    this.told.lost();
  }

  back() {
    this.away = false;
    this.clock.setPaused(this.pausedByReader);
    if (!this.pausedByReader) this.told.found();
  }

  /** Give the final answer; asked again, word for word, until the server has it. */
  async answer({ call, confidence }) {
    const spent = this.clock.stop();
    const request = crypto.randomUUID();
    this.end();
    await Promise.allSettled(this.sending); // so that none comes after the answer
    const body = { number: this.number, sitting: this.sitting, request, call, confidence, spent };
    for (;;) {
      try {
        return await api(`${this.base}/answer`, { body });
      } catch (error) {
        if (error.code !== "no-server") throw error;
        this.told.lost();
        await wait(AGAIN_MS);
      }
    }
  }

  /** Stop counting. */
  end() {
    this.over = true;
    clearInterval(this.timer);
    for (const kind of INPUTS) document.removeEventListener(kind, this.touched, { capture: true });
    document.removeEventListener("visibilitychange", this.seen);
  }
}
