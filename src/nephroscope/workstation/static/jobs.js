// All jobs, the latest first.
import { api, complain, frame, make } from "/static/common.js";
import { drawJob, ENDED } from "/static/follow.js";

const boxes = new Map();

async function look() {
  const { jobs } = await api("/api/jobs");
  const list = document.getElementById("jobs");
  for (const job of [...jobs].reverse()) {
    let box = boxes.get(job.id);
    if (box === undefined) {
      box = make("article", { class: "panel", "data-testid": "job", "data-job": job.id });
      boxes.set(job.id, box);
      list.prepend(box);
    }
    if (box.dataset.state !== job.state || !ENDED.includes(job.state)) {
      const whole = await api(`/api/jobs/${job.id}`);
      drawJob(box, whole, () => look().catch(complain));
    }
  }
  document.getElementById("none").classList.toggle("hidden", jobs.length > 0);
}

async function start() {
  await frame({ title: "Jobs", current: "/jobs" });
  document.getElementById("main").append(
    make("p", { class: "quiet", text: "Jobs go on when this page or the workstation is closed. One works on the study at a time; the others wait." }),
    make("p", { id: "none", text: "No jobs yet." }), make("div", { id: "jobs" }));
  for (;;) {
    await look().catch(complain);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

start().catch(complain);
