// Strokes and operations on their way to the server: one after the other, each with the number of its step; strokes are sent again until they are kept.

import { api } from "/static/common.js";

const AGAIN_MS = 1000;

export class Saver {
  /** @param {object} roi - as the server gives it. @param {function} told - is called with "saved", "saving" or "lost". */
  constructor(roi, told, refused) {
    Object.assign(this, { roi, told, refused });
    this.revision = roi.revision;
    this.left = 0;
    this.last = Promise.resolve();
  }

  /** Send a stroke: slices as [{index, runs}]. */
  stroke(tool, slices) {
    this.then(() => this.keep({ tool, slices })).catch((error) => this.refused(error));
  }

  /** Ask the server to draw; gives its answer. */
  operation(asked) {
    return this.then(async () => this.take(await this.send("operations", asked)));
  }

  /** Do something after all that was begun. */
  then(job) {
    this.left += 1;
    this.told("saving");
    const done = this.last.then(job).finally(() => {
      this.left -= 1;
      if (this.left === 0) this.told("saved");
    });
    this.last = done.catch(() => {});
    return done;
  }

  /** When everything is kept. */
  settled() {
    return this.last;
  }

  async keep(stroke) {
    for (;;) {
      try {
        this.take(await this.send("strokes", stroke));
        return;
      } catch (error) {
        if (error.status !== 0 && error.status !== 408 && !(error.status >= 500)) throw error;
        this.told("lost");
        await new Promise((done) => setTimeout(done, AGAIN_MS));
      }
    }
  }

  send(what, body) {
    return api(`/api/rois/${this.roi.id}/${what}`, { body: { number: this.revision + 1, ...body } });
  }

  take(answer) {
    this.revision = answer.revision;
    this.roi.can_undo = answer.can_undo;
    this.roi.can_redo = answer.can_redo;
    return answer;
  }
}
