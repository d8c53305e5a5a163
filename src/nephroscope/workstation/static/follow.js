// A job as it goes: its state, how far it is, how long it will take, what it said; cancel it, or let it go on.
import { api, complain, make } from "/static/common.js";

export const WORDS = {
  waiting: "waiting for the job before it", running: "running", done: "done", partly: "done; some cases were refused", refused: "refused",
  failed: "failed: an error in this program", cancelled: "cancelled", interrupted: "interrupted",
};
export const ENDED = ["done", "partly", "refused", "failed", "cancelled", "interrupted"];

/** "3 min", "1 h 5 min", "20 s". */
export function timeWords(seconds) {
  if (seconds < 120) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}

/** How far a job is, in words. */
export function progressWords(job) {
  const at = job.progress;
  if (!at) return "";
  const left = at.seconds_left === null ? "" : `, about ${timeWords(at.seconds_left)} left`;
  return `${at.what}: ${at.done} of ${at.total} ${at.unit}s${left}`;
}

/** Draw a job into an element; `changed` is called after a button was pressed, with the identifier of a new job or null. */
export function drawJob(box, job, changed) {
  const open = box.querySelector("details")?.open ?? false;
  const ended = ENDED.includes(job.state);
  const bar = make("progress", { "aria-label": job.title });
  if (job.progress) {
    bar.max = Math.max(job.progress.total, 1);
    bar.value = job.progress.done;
  }
  const press = (address, after) => async (event) => {
    event.target.disabled = true;
    try {
      after(await api(address, { method: "POST" }));
    } catch (error) {
      complain(error);
    }
  };
  box.dataset.state = job.state;
  box.replaceChildren(...[
    make("div", { class: "row" },
      make("strong", { text: job.title }),
      make("span", { class: `tag ${{ refused: "refusal", failed: "refusal", interrupted: "warning", partly: "warning", done: "good" }[job.state] ?? "note"}`, text: WORDS[job.state], "data-testid": "job-state" }),
      make("span", { class: "quiet", text: new Date(1000 * (job.begun ?? job.made)).toLocaleString() })),
    job.state === "running" ? bar : null,
    job.state === "running" ? make("div", { class: "quiet", text: progressWords(job) || "running", "data-testid": "job-progress" }) : null,
    job.error ? make("p", { class: "refusal", text: job.error.message, "data-testid": "job-error" }) : null,
    make("div", { class: "row" },
      ended ? null : make("button", { text: "Cancel", "data-testid": "job-cancel", onclick: press(`/api/jobs/${job.id}/cancel`, () => changed?.(null)) }),
      ["interrupted", "cancelled", "failed", "refused", "partly"].includes(job.state) ? make("button", { text: job.state === "interrupted" ? "Go on" : "Again", "data-testid": "job-again", onclick: press(`/api/jobs/${job.id}/again`, (made) => changed?.(made.id)) }) : null),
    job.log?.length ? make("details", { open }, make("summary", { text: "What it said", "data-testid": "job-log-open" }), make("pre", { text: job.log.join("\n"), "data-testid": "job-log", tabindex: "0" })) : null,
  ].filter(Boolean));
}

/** Show a job in an element until it has ended, also when the workstation goes away and comes back; gives the job then. */
export async function follow(id, box) {
  box.classList.add("panel");
  box.dataset.testid = "job";
  for (;;) {
    try {
      const job = await api(`/api/jobs/${id}`);
      drawJob(box, job, (made) => { if (made) follow(made, box).catch(complain); });
      if (ENDED.includes(job.state)) return job;
    } catch (error) {
      if (error.code !== "no-server") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
