"""Jobs of the workstation: commands in processes of their own that outlive the server."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from nephroscope.base.job import LOCK, VARIABLE, lives
from nephroscope.base.lock import writing
from nephroscope.workstation.database import connected
from nephroscope.workstation.jobs import KEPT, Job, Jobs
from nephroscope.workstation.place import Place
from nephroscope.workstation.study.steps import _going_on
from small_study import make_study


def wait(client, id_, *states, seconds=60):
    """The job once it is in one of these states."""
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        job = client.get(f"/api/jobs/{id_}")[1]
        if job["state"] in states:
            return job
        time.sleep(0.1)
    raise AssertionError(job)


FINAL = ("done", "partly", "refused", "failed", "cancelled", "interrupted")


def begin(client, command, **options):
    status, answer = client.post("/api/jobs", {"command": command, "options": options})
    assert status == 201, answer
    return answer["id"]


def folder_id(client, path):
    status, answer = client.post("/api/folders", {"path": str(path)})
    assert status == 200, answer
    return answer["folder"]["id"]


def test_from_an_empty_folder_to_slices(tmp_path, workstation):
    make_study(tmp_path / "first", 4)
    volumes = tmp_path / "first" / "volumes"
    (volumes / "c03_seg.nii.gz").unlink()
    client = workstation(tmp_path / "new").client()
    assert client.get("/api/session")[1]["mode"] == "empty"
    assert client.post("/api/jobs", {"command": "check"})[0] == 422
    status, study = client.post("/api/study", {"subtypes": ["PRCC", "ChRCC"], "positive": "ChRCC"})
    assert (status, study["positive"], study["status"]["parts"][0]["state"]) == (200, "ChRCC", "none")
    labels = (tmp_path / "first" / "labels.csv").read_bytes()
    table = client.post("/api/uploads", labels, "application/octet-stream")[1]["id"]
    id_ = begin(client, "import", kind="nifti", folder=folder_id(client, volumes), labels=table)
    job = wait(client, id_, *FINAL)
    assert (job["state"], job["exit_code"], job["result"]["cases"]) == ("done", 0, 4)
    cases = client.get("/api/cases")[1]["cases"]
    assert [len(case["rois"]) for case in cases] == [1, 1, 1, 0]
    first, second = begin(client, "check"), begin(client, "slices")
    job = wait(client, second, *FINAL)
    assert job["state"] == "done"
    assert job["result"]["not_drawn"] == ["c03"]
    earlier = client.get(f"/api/jobs/{first}")[1]
    assert earlier["state"] == "done"
    assert earlier["ended"] <= job["begun"] + 0.01


def test_a_refusal_says_its_four_parts(tmp_path, workstation):
    make_study(tmp_path / "s", 2)
    client = workstation(tmp_path / "s").client()
    job = wait(client, begin(client, "report"), *FINAL)
    assert (job["state"], job["error"]["code"]) == ("refused", "study")
    assert job["error"]["remedy"]


def test_odd_options_are_refused(tmp_path, workstation):
    make_study(tmp_path / "s", 2)
    client = workstation(tmp_path / "s").client()
    for command, options in [
        ("rm", {}),
        ("train", {"model": "--help"}),
        ("train", {"name": "../x"}),
        ("export", {"name": "a/b"}),
        ("export", {"name": ""}),
        ("export", {}),
        ("split", {"folds": "5"}),
        ("report", {"run": "-x"}),
    ]:
        status, answer = client.post("/api/jobs", {"command": command, "options": options})
        assert (status, answer["error"]["code"]) == (400, "request"), (command, options)
    assert client.get("/api/jobs")[1]["jobs"] == []


def test_a_job_waits_for_a_command_in_a_terminal_and_repeats_no_path(tmp_path, workstation):
    """The folder of an export may be named after its patient; what a job says does not repeat it."""
    study = make_study(tmp_path / "s", 2)
    source = tmp_path / "Doe_Jane"
    (study.folder.root / "volumes").rename(source)
    for path in source.iterdir():
        path.rename(source / path.name.replace("c0", "d0"))
    client = workstation(tmp_path / "s").client()
    with writing(study.folder.root, "slices"):
        id_ = begin(client, "import", kind="nifti", folder=folder_id(client, source))
        time.sleep(1.0)
        assert client.get(f"/api/jobs/{id_}")[1]["state"] == "waiting"
    job = wait(client, id_, *FINAL)
    assert (job["state"], job["result"]["cases"]) == ("done", 4)
    assert "Doe" not in json.dumps(job)
    assert "Doe" not in json.dumps(client.get("/api/jobs")[1])
    assert "Doe" not in json.dumps(client.get("/api/cases")[1])


def slow(client):
    """A job of many seconds."""
    return begin(client, "compare", repeats=20)


@pytest.mark.skipif(os.name == "nt", reason="kills by signal")
def test_a_job_outlives_a_killed_server_and_can_be_cancelled(tmp_path, workstation):
    study = make_study(tmp_path / "s", 12)
    study.cut_slices()
    server = workstation(tmp_path / "s")
    client = server.client()
    id_, waiting = slow(client), begin(client, "check")
    folder = tmp_path / "s" / "workstation" / "jobs" / id_
    wait(client, id_, "running")
    ended = time.monotonic() + 30
    while not lives(folder) and time.monotonic() < ended:
        time.sleep(0.05)
    server.kill()
    assert lives(folder)
    client = workstation(tmp_path / "s").client()
    assert client.get(f"/api/jobs/{id_}")[1]["state"] == "running"
    assert client.get(f"/api/jobs/{waiting}")[1]["state"] == "waiting"
    assert client.post(f"/api/jobs/{id_}/again")[0] == 400
    assert client.post(f"/api/jobs/{id_}/cancel")[0] == 200
    assert wait(client, id_, *FINAL)["state"] == "cancelled"
    assert wait(client, waiting, *FINAL)["state"] == "done"
    assert client.post(f"/api/jobs/{id_}/cancel")[0] == 400


@pytest.mark.skipif(os.name == "nt", reason="kills by signal")
def test_the_page_of_steps_shows_what_goes_on_before_and_after_a_kill(tmp_path, workstation, page):
    make_study(tmp_path / "s", 12).cut_slices()
    server = workstation(tmp_path / "s")
    wait(server.client(), slow(server.client()), "running")
    page.goto(server.url, wait_until="networkidle")
    page.goto(f"{server.origin}/steps")
    job = '[data-testid="steps-compare-panel"] [data-testid="job"]'
    page.wait_for_selector(f'{job}[data-state="running"]')
    server.kill()
    workstation(tmp_path / "s", "--port", server.port)
    page.click(f'{job} [data-testid="job-cancel"]')
    page.wait_for_selector(f'{job}[data-state="cancelled"]')
    assert page.locator('[data-testid="job"]').count() == 1


@pytest.mark.skipif(os.name == "nt", reason="kills by signal")
def test_a_killed_job_is_interrupted_and_goes_on(tmp_path, workstation):
    study = make_study(tmp_path / "s", 12)
    study.cut_slices()
    server = workstation(tmp_path / "s")
    client = server.client()
    id_ = slow(client)
    wait(client, id_, "running")
    folder = tmp_path / "s" / "workstation" / "jobs" / id_
    while not (folder / LOCK).exists():
        time.sleep(0.05)
    with connected(tmp_path / "s" / "workstation" / "workstation.sqlite") as db:
        (pid,) = db.execute("SELECT pid FROM jobs").fetchone()
    server.kill()
    os.kill(pid, 9)
    client = workstation(tmp_path / "s").client()
    assert wait(client, id_, *FINAL)["state"] == "interrupted"
    new = client.post(f"/api/jobs/{id_}/again")[1]["id"]
    assert wait(client, new, "running", *FINAL)["state"] == "running"
    client.post(f"/api/jobs/{new}/cancel")
    wait(client, new, "cancelled")


def test_a_job_runs_no_code_of_the_study(tmp_path, workstation):
    make_study(tmp_path / "s", 2)
    for name in ("csv", "numpy", "msgspec", "pickle"):
        code = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        (tmp_path / "s" / f"{name}.py").write_text(code, encoding="utf-8")
    client = workstation(tmp_path / "s").client()
    assert wait(client, begin(client, "check"), *FINAL)["state"] == "done"
    assert not (tmp_path / "ran").exists()


LIVES = "import time; from nephroscope.base.job import living\nwith living(): time.sleep(60)"


def ended(jobs, id_, seconds=20):
    """The state of a job once it has ended."""
    until = time.monotonic() + seconds
    while jobs.one(id_).ended is None and time.monotonic() < until:
        time.sleep(0.05)
    return jobs.one(id_).state


@pytest.mark.skipif(os.name == "nt", reason="ends by signal")
def test_a_job_whose_process_was_never_written_down_is_cancelled(tmp_path):
    """As where the server was killed just after it started the process."""
    place = Place(make_study(tmp_path / "s", 2).folder.root)
    jobs = Jobs(place)
    id_ = jobs.add("check", "Check", ["check"])
    folder = place.state / "jobs" / id_
    environment = os.environ | {VARIABLE: str(folder)}
    process = subprocess.Popen([sys.executable, "-c", LIVES], env=environment, start_new_session=True)
    try:
        with place.changing() as db:
            db.execute("UPDATE jobs SET state = 'running', begun = ?", (time.time(),))
        until = time.monotonic() + 20
        while not lives(folder) and time.monotonic() < until:
            time.sleep(0.05)
        jobs.start()
        jobs.cancel(id_)
        assert ended(jobs, id_) == "cancelled"
        assert process.wait(5) != 0
    finally:
        process.kill()
        jobs.stop()


def test_a_mistake_while_looking_does_not_end_the_looking(tmp_path, monkeypatch):
    place = Place(make_study(tmp_path / "s", 2).folder.root)
    jobs, step, tries = Jobs(place), Jobs._step, []

    def wrong_at_first(self):
        tries.append(1)
        if len(tries) == 1:
            raise TypeError
        return step(self)

    monkeypatch.setattr(Jobs, "_step", wrong_at_first)
    jobs.start()
    try:
        assert ended(jobs, jobs.add("check", "Check", ["check", str(place.root)])) == "done"
    finally:
        jobs.stop()


def test_only_old_jobs_that_have_ended_go_and_the_last_check_stays(tmp_path):
    place = Place(tmp_path / "s")
    jobs = Jobs(place)
    gone = jobs.add("split", "split", ["split"])
    with place.changing() as db:
        db.execute("UPDATE jobs SET state = 'done', ended = 1")
    for _ in range(KEPT):  # without any check
        newest = jobs.add("split", "split", ["split"])
    assert (gone in {job.id for job in jobs.listed()}, len(jobs.listed())) == (False, KEPT)
    assert not (place.state / "jobs" / gone).exists()
    assert (place.state / "jobs" / newest).exists()
    with place.changing() as db:
        db.execute("DELETE FROM jobs")
    shutil.rmtree(place.state / "jobs")
    first, waiting, check, failed = (
        jobs.add(name, name, [name]) for name in ("check", "slices", "check", "check")
    )
    with place.changing() as db:
        db.execute("UPDATE jobs SET state = 'done', ended = 1 WHERE command = 'check'")
        db.execute("UPDATE jobs SET state = 'failed' WHERE id = ?", (failed,))
    more = [jobs.add("split", "split", ["split"]) for _ in range(KEPT)]
    kept = {waiting, check, *more}
    assert {job.id for job in jobs.listed()} == kept
    assert {path.name for path in (place.state / "jobs").iterdir()} == kept
    assert first not in kept


@pytest.mark.parametrize(
    ("begun", "ended", "resumed"),
    [
        (None, 160.0, None),  # refused or cancelled while it waited
        (10.0, 20.0, None),  # before both runs
        (90.0, 160.0, "old"),
        (190.0, 260.0, "new"),
        (290.0, 360.0, None),  # its run is complete
        (390.0, 460.0, None),  # after all runs
    ],
)
def test_a_training_goes_on_with_its_own_run_only(tmp_path, begun, ended, resumed):
    place = Place(tmp_path / "s")
    for name, began in (("old", 100), ("new", 200), ("complete", 300)):
        folder = place.root / "runs" / name
        folder.mkdir(parents=True)
        for file in ("config.json", "run.json")[: 1 + (name == "complete")]:
            (folder / file).write_text("{}", encoding="utf-8")
            os.utime(folder / file, (began, began))
    words = ["train", str(place.root), "--model", "resnet18"]
    job = Job(id="x", command="train", title="Train", state="interrupted", made=1.0, begun=begun, ended=ended)
    again = ["train", str(place.root), "--resume", "--name", resumed]
    assert _going_on(place, words, job) == (again if resumed else words)
