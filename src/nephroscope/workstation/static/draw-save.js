// Strokes on their way to the server: one after the other, each with the number of its step, sent again until it is kept.

import { api } from "/static/common.js";

const AGAIN_MS = 1000;

export class Saver {
  /** @param {object} roi - as the server gives it. @param {function} told - is called with "saved", "saving" or "lost". */
  constructor(roi, told, refused) {
    Object.assign(this, { roi, told, refused });
    this.revision = roi.revision;
    this.waiting = [];
    this.running = null;
  }

  /** Send a stroke: slices as [{index, runs}]. */
  stroke(tool, slices) {
    this.told("saving");
    this.waiting.push({ tool, slices });
    this.running ??= this.run();
  }

  async run() {
    while (this.waiting.length) {
      const next = this.waiting[0];
      try {
        const answer = await api(`/api/rois/${this.roi.id}/strokes`, { body: { number: this.revision + 1, ...next } });
        this.take(answer);
        this.waiting.shift();
      } catch (error) {
        if (error.status !== 0 && error.status !== 408 && !(error.status >= 500)) {
          this.waiting = [];
          this.refused(error);
          break;
        }
        this.told("lost");
        await new Promise((done) => setTimeout(done, AGAIN_MS));
      }
    }
    this.running = null;
    if (this.waiting.length === 0) this.told("saved");
  }

  take(answer) {
    this.revision = answer.revision;
    this.roi.can_undo = answer.can_undo;
    this.roi.can_redo = answer.can_redo;
  }

  /** When every stroke is kept. */
  async settled() {
    while (this.running !== null) await this.running;
  }

  /** Ask the server to draw; gives its answer. */
  async operation(asked) {
    await this.settled();
    this.told("saving");
    try {
      const answer = await api(`/api/rois/${this.roi.id}/operations`, { body: { number: this.revision + 1, ...asked } });
      this.take(answer);
      return answer;
    } finally {
      this.told("saved");
    }
  }
}
