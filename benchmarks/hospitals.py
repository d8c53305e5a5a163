"""What a group of hospitals learns, next to a training on all their patients at once: AUC on new phantoms.

Ten sites of 16 SYNTHETIC patients of the abdomen, fold 0 of five (about 10 to train on at each site), 64 pixels,
shufflenet_v2_x1_0 at half width, 10 epochs. Rounds are trained and averaged as `nephroscope federate` does, in one
process and without archives; every model answers the same 400 phantoms that no site has. Prints one JSON line for
each way. `python benchmarks/hospitals.py FOLDER [WAY ...]` makes the phantoms in FOLDER once; ways are those of WAYS.
A way with all the steps takes 200 s of one core.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nephroscope.facade.study import Study
from nephroscope.federated.group import Group, SiteKey, plan_of
from nephroscope.federated.mean import mean_of
from nephroscope.federated.played_site import of_site
from nephroscope.federated.rehearsal import make_hospitals
from nephroscope.federated.simulate import union
from nephroscope.learning.run_files import Compute
from nephroscope.learning.training.checkpoint import first_state
from nephroscope.learning.training.fit import cases_by_subtype, fit
from nephroscope.learning.training.rounds import (
    NETWORK,
    arrays_as_bytes,
    arrays_of,
    case_probabilities,
    final_weights,
    first_arrays,
    measured_norms,
    norm_names,
    put,
    round_task,
)
from nephroscope.learning.training.run import fold_task
from nephroscope.records import SplitConfig
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.metrics import auc
from nephroscope.statistics.placements import area_interval
from nephroscope.study.snapshot import take_snapshot
from nephroscope.study.split import make_split

SITES, CASES, NEW, EPOCHS, ONE = 10, 16, 400, 10, Compute(threads=1)
DECIDED = {"rounds": 5, "local_epochs": 0, "proximal": 0.0, "local_norm": False}
WAYS = {
    "central": None,
    "central, epochs times the sites": None,
    "alone": None,
    "group": {},
    "two leave after the first round": {"leave": 2},
    "eight sites from the beginning": {"sites": 8},
    "FedProx 0.01": {"proximal": 0.01},
    "local batch norm": {"local_norm": True},
    "epochs not times the sites": {"local_epochs": EPOCHS // 5},
    "a third of the epochs": {"local_epochs": 6},
    "10 rounds": {"rounds": 10},
    "1 round": {"rounds": 1},
}


def hospitals(folder):
    """The study of all sites, each site's part with its folds, and the new phantoms."""
    study = take_snapshot(make_hospitals(folder, SITES, CASES, EPOCHS))
    training = replace(study.settings.training, epochs=EPOCHS, precision="fp32")
    study = replace(study, settings=replace(study.settings, training=training, split=SplitConfig(folds=5)))
    parts = []
    for site in sorted({case.site_id for case in study.cohort.cases}):
        part = of_site(study, site)
        parts.append(
            part.with_split(make_split(part.cohort, part.slices.indices_by_case(), study.settings.split))
        )
    new = folder / "new"
    if not (new / "slices" / "spec.json").exists():
        made = Study.create(new, list(study.cohort.subtypes))
        made.change("slices", size_px=64)
        made.import_phantom(NEW, seed=77)
        made.cut_slices()
    return study, parts, take_snapshot(new)


def answered(new, config, weights):
    """AUC of weights on the new phantoms, with its interval."""
    names = sorted(case.case_id for case in new.cohort.cases)
    y = np.array([new.labels[name] == new.positive for name in names])
    p = case_probabilities(new, config, weights, names)[:, new.positive]
    patients = Patients(row=np.arange(y.size), stratum=y.astype(np.intp), n_folds=1)
    one = area_interval([(p, y)], patients, 0.95).around(auc(p, y), y.size)
    return {"auc": round(one.value, 3), "low": round(one.low, 3), "high": round(one.high, 3)}


def trained(study, config):
    """Weights after the last epoch of fold 0 of a study, and the steps made."""
    task = fold_task(study, config, study.split.folds[0], ONE)
    state = first_state(task, study.slices.spec)
    for _ in fit(task, state):
        pass
    return final_weights(arrays_of(state), cases_by_subtype(task)), state.step


def together(parts, group, leave=0):
    """Weights of a group after its last round, for each site, and figures of what it cost."""
    plan, spec = group.plan, parts[0].slices.spec
    own = norm_names(plan.training, 2, spec) if plan.local_norm else frozenset()
    tasks = {
        site.name: fold_task(part, group.training, part.split.folds[0], ONE)
        for site, part in zip(group.sites, parts, strict=True)
    }
    shares = {
        site.name: len({part.cohort.by_id[name].patient_id for name in part.split.folds[0].train})
        for site, part in zip(group.sites, parts, strict=True)
    }
    mean = first_arrays(plan.training, 0, 2, spec)
    kept = {name: {k: v for k, v in mean.items() if k in own} for name in tasks}
    history = {name: [] for name in tasks}
    for step in range(1, plan.rounds + 1):
        there = list(tasks)[: len(tasks) - leave] if step > 1 else list(tasks)
        arrays = {}
        for name in there:
            task = round_task(tasks[name], step * group.epochs, plan.proximal, len(tasks))
            task.anchor.update(
                {k.removeprefix(NETWORK): torch.from_numpy(v) for k, v in (mean | kept[name]).items()}
            )
            state = first_state(task, spec)
            put(state, mean | kept[name], len(history[name]) * task.steps_per_epoch)
            state.history = history[name]
            for _ in fit(task, state):
                pass
            found = arrays_of(state)
            kept[name] = {k: v for k, v in found.items() if k in own}
            arrays[name] = {k: v for k, v in found.items() if k not in own}
        mean = mean_of(arrays, {name: shares[name] for name in there})
    counts = np.sum([cases_by_subtype(tasks[name]) for name in there], axis=0)
    norms = {name: measured_norms(tasks[name], ONE, spec, mean | kept[name]) for name in there}
    if not own:
        norms = {"all": mean_of(norms, {name: shares[name] for name in there})}
    weights = [
        final_weights(mean | kept.get(name, {}) | {NETWORK + k: v for k, v in one.items()}, counts)
        for name, one in norms.items()
    ]
    size = len(arrays_as_bytes(arrays[there[0]]))
    return weights, {"steps_of_a_site": state.step, "mb_a_round": round(size / 1e6, 2)}


def row(way, study, parts, new):
    """The figures of one way."""
    config = replace(study.settings.training, patience=0)
    asked = WAYS[way] or {}
    parts = parts[: asked.get("sites", SITES)]
    decided = DECIDED | {k: v for k, v in asked.items() if k in DECIDED}
    known = {"name": "g", "id": "i", "key": "k", "made": "2026-01-01T00:00:00+00:00"}
    plan = plan_of(replace(study.settings, training=config), **known, quorum=1, days=0.0, **decided)
    group = Group(plan=plan, sites=tuple(SiteKey(name=f"{n:02}", key="") for n in range(len(parts))))
    if way in list(WAYS)[:2]:
        whole = study.with_split(union([part.split for part in parts]))
        weights, steps = trained(whole, config if way == "central" else group.training)
        return answered(new, config, weights) | {"steps": steps}
    if way == "alone":
        found = [answered(new, config, trained(part, group.training)[0])["auc"] for part in parts]
    else:
        weights, cost = together(parts, group, asked.get("leave", 0))
        if len(weights) == 1:
            return answered(new, config, weights[0]) | cost
        found = [answered(new, config, one)["auc"] for one in weights]
    spread = {"auc": round(float(np.mean(found)), 3), "of_each_site": found}
    return spread if way == "alone" else spread | cost


if __name__ == "__main__":
    torch.set_num_threads(1)
    material = hospitals(Path(sys.argv[1]))
    for way in sys.argv[2:] or WAYS:
        began = time.process_time()
        found = row(way, *material)
        seconds = round(time.process_time() - began)
        print(json.dumps({"way": way, **found, "n": NEW, "processor_s": seconds}), flush=True)
