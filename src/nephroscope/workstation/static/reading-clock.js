// The time on a case, by a clock that only runs forward: reading, idle, hidden and paused apart from each other.

export const IDLE_AFTER_MS = 120_000; // without any input; what goes beyond is idle, not reading
export const ASLEEP_MS = 5_000; // a visible page is asked ten times a second: a longer gap means that the computer slept
export const NOTHING = { active_ms: 0, idle_ms: 0, hidden_ms: 0, paused_ms: 0 };

/** Sums up where time goes; every change of state is told at the moment it happens. */
export class ReadingClock {
  /** @param {() => number} now - milliseconds, never backwards */
  constructor(now = () => performance.now()) {
    this.now = now;
    this.parts = { ...NOTHING };
    this.last = null;
    this.input = null;
    this.hidden = false;
    this.paused = false;
  }

  /** The case is on the screen. */
  start({ hidden = false } = {}) {
    this.last = this.input = this.now();
    this.hidden = hidden;
  }

  /** The reader moved the mouse, scrolled or pressed a key. */
  touched() {
    this.count();
    this.input = this.last;
  }

  /** Another tab or window covers the page, or no longer does. */
  setHidden(hidden) {
    this.count();
    this.hidden = hidden;
    this.input = this.last;
  }

  /** The reader pauses, or the server does not answer; or goes on. */
  setPaused(paused) {
    this.count();
    this.paused = paused;
    this.input = this.last;
  }

  /** Count what passed since the last call; gives all parts so far, in milliseconds. */
  count() {
    if (this.last === null) {
      return { ...this.parts };
    }
    const from = this.last;
    const to = Math.max(from, this.now());
    this.last = to;
    if (this.paused) {
      this.parts.paused_ms += to - from;
    } else if (this.hidden) {
      this.parts.hidden_ms += to - from;
    } else if (to - from > ASLEEP_MS) {
      this.parts.hidden_ms += to - from;
      this.input = to;
    } else {
      const reading = Math.min(Math.max(this.input + IDLE_AFTER_MS - from, 0), to - from);
      this.parts.active_ms += reading;
      this.parts.idle_ms += to - from - reading;
    }
    return { ...this.parts };
  }

  /** The case is answered: nothing counts any more. */
  stop() {
    const parts = this.count();
    this.last = null;
    return parts;
  }
}
