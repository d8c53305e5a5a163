"""The same comparison on a cluster of two Ray nodes, one of them killed on the way."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from nephroscope.base import cluster as ray_jobs
from nephroscope.base.cluster import map_on_ray
from nephroscope.base.errors import ConfigError
from nephroscope.facade.many.run import ManyCases, predict_table
from nephroscope.records import SplitConfig
from test_study import make_study
from tiny_bundle import make_bundle

# In a process of its own: Ray starts threads and servers, and what they leave open is not for this test to judge.
SCRIPT = """
import json, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from nephroscope import Study
from nephroscope.questions.compare.comparison import ComparePlan
from dataclasses import replace
from nephroscope.base.errors import StudyError
from nephroscope.base.cluster import map_on_ray
from nephroscope.facade.many.run import ManyCases, predict_table
from nephroscope.learning.engine.divisions import present_division
from nephroscope.learning.engine.fits import run_fit
from nephroscope.learning.engine.predictions import fits_of
from nephroscope.learning.engine.workers import Workers
from some_learners import GUESSES, SLOW

def found_division(root):
    return present_division(Study(root).snapshot, 4)

root = Path(sys.argv[1])
cluster = Cluster(
    initialize_head=True,
    head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": {
        "health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_failure_threshold": 2}},
)
doomed = cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
log = {"nodes": 2}

def kill():
    kept = Study(root).folder.root / "comparison" / "folds" / "slow"
    while len(list(kept.glob("*.json"))) < 2:
        time.sleep(0.05)
    log["kept_when_killed"] = len(list(kept.glob("*.json")))
    cluster.remove_node(doomed, allow_graceful=False)

killer = threading.Thread(target=kill)
killer.start()
plan = ComparePlan(known=(SLOW, GUESSES), permutations=3, seed=4, workers=Workers(ray=cluster.address))
found = Study(root).compare(plan)
killer.join()
fit = next(iter(fits_of(Study(root).snapshot, SLOW, found_division(root), False)))
try:
    list(map_on_ray(run_fit, [replace(fit, digest="another")], cluster.address))
except StudyError as error:
    log["refused"] = str(error)
cases = ManyCases(table=root.parent / "cases.csv", out=root.parent / "on-ray", ray=cluster.address)
log["answered"] = predict_table(root.parent / "bundle", cases).answered
ray.init(address=cluster.address, log_to_driver=False)
log["alive_at_the_end"] = sum(node["Alive"] for node in ray.nodes())
ray.shutdown()
cluster.shutdown()
print(json.dumps({"log": log, "content": found.content}))
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = make_study(tmp_path_factory.mktemp("ray") / "study", 16)
    made.cut_slices()
    made.make_split(SplitConfig(folds=3))
    make_bundle(made.folder.root.parent / "bundle")
    volumes = made.folder.root / "volumes"
    names = sorted(path.name[:3] for path in volumes.glob("c??.nii.gz"))[:4]
    rows = [f"{name},{volumes}/{name}.nii.gz,{volumes}/{name}_seg.nii.gz" for name in names]
    table = "\n".join(["case_id,image,roi", *rows, "gone,nowhere,nowhere", ""])
    (made.folder.root.parent / "cases.csv").write_text(table, encoding="utf-8")
    return made


def run_script(text, *words):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-c", textwrap.dedent(text), *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_two_nodes_one_killed_same_result(study):
    from nephroscope.questions.compare.comparison import ComparePlan
    from some_learners import GUESSES, SLOW

    done = run_script(SCRIPT, study.folder.root)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["log"]["nodes"] == 2
    assert answer["log"]["alive_at_the_end"] == 1
    assert answer["log"]["kept_when_killed"] < 12
    assert (
        "expected the cohort and slices that the comparison started with (another)"
        in answer["log"]["refused"]
    )
    for path in (study.folder.root / "comparison" / "folds").rglob("*.json"):
        path.unlink()  # so that all is computed again, here and without Ray
    alone = study.compare(ComparePlan(known=(SLOW, GUESSES), permutations=3, seed=4))
    assert answer["content"] == json.loads(json.dumps(alone.content))
    place = study.folder.root.parent
    cases = ManyCases(table=place / "cases.csv", out=place / "here", jobs=1)
    assert predict_table(place / "bundle", cases).answered == answer["log"]["answered"] == 4
    for path in (place / "here" / "answers").iterdir():
        here, on_ray = (
            json.loads((place / name / "answers" / path.name).read_text()) for name in ("here", "on-ray")
        )
        assert without_time(here) == without_time(on_ray)


def without_time(answer):
    return {key: value for key, value in answer.items() if key not in ("date", "seconds", "timings")}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:1", "localhost:99999"])
def test_no_cluster_there(address):
    with pytest.raises(ConfigError, match=f"expected a Ray cluster at {address}, found none that answers"):
        list(map_on_ray(len, ["a"], address))


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'nephroscope-[^ ]+whl\[ray\]'"):
        list(map_on_ray(len, ["a"], "auto"))
    assert ray_jobs.RETRIES > 0
