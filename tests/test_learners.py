"""A new learner is one file, and a network learns through the same two methods as a baseline."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nephroscope.cli import run
from nephroscope.learning import learners
from nephroscope.learning.engine.networks import NetworkLearner
from nephroscope.learning.engine.study_data import study_data
from nephroscope.records import SplitConfig
from test_study import CONFIG, make_study

ONE_FILE = '''"""How bright the middle of the tumor is."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fitted:
    data: object
    middle: float

    def probabilities(self, case_ids):
        bright = np.array([mean_hu(self.data, case) > self.middle for case in case_ids])
        return np.stack([np.where(bright, 0.1, 0.9), np.where(bright, 0.9, 0.1)], axis=1)


def mean_hu(data, case):
    return float(data.store.hu[data.store.rows_by_case[case]][:, 12:20, 12:20].mean())


@dataclass(frozen=True)
class Brightness:
    name: str = "brightness"
    description: str = "mean HU in the middle of the slices, against the middle of the training cases"

    def missing(self, data):
        return ""

    def fit(self, data, case_ids, labels, seed):
        return Fitted(data, float(np.median([mean_hu(data, case) for case in case_ids])))


LEARNER = Brightness()
'''


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = make_study(tmp_path_factory.mktemp("learners") / "study", 16)
    made.cut_slices()
    made.make_split(SplitConfig(folds=2))
    return made


def test_a_new_learner_is_one_file(study, tmp_path, monkeypatch, capsys):
    """It is put next to ours; the command then fits it on all folds and on shuffled labels, and ranks it."""
    (tmp_path / "brightness.py").write_text(ONE_FILE)
    monkeypatch.setattr(learners, "__path__", [*learners.__path__, str(tmp_path)])
    words = ["compare", str(study.folder.root), "--candidates", "brightness", "--permutations", "2", "--json"]
    assert run(words) == 0
    content = json.loads(capsys.readouterr().out)
    (row,) = content["candidates"]
    assert (row["name"], row["kind"], row["auc"]["value"]) == ("brightness", "baseline", 1.0)
    assert row["told"].startswith("mean HU in the middle of the slices")
    assert content["control"][0]["permutations"] == 2
    kept = sorted((study.folder.root / "comparison" / "folds" / "brightness").glob("r0-f*.json"))
    assert [path.name for path in kept] == ["r0-f0.json", "r0-f1.json"]


def test_a_network_is_a_learner_like_any_other(study):
    """Fitted on some cases it gives probabilities for others; the second time nothing is trained."""
    data = study_data(study.snapshot)
    learner = NetworkLearner(config=replace(CONFIG, epochs=2))
    assert learner.missing(data) == ""
    names = sorted(data.store.rows_by_case)
    labels = np.array([study.snapshot.labels[name] for name in names], dtype=np.intp)
    p = learner.fit(data, names[:12], labels[:12], 3).probabilities(names[12:])
    assert p.shape == (4, 2)
    assert p.sum(axis=1) == pytest.approx(1)
    (trained,) = (data.cache / "networks").iterdir()
    before = (trained / "run.json").read_bytes()
    again = learner.fit(data, names[:12], labels[:12], 3).probabilities(names[12:])
    assert (again == p).all()
    assert (trained / "run.json").read_bytes() == before
    split = json.loads((trained / "split.json").read_text())
    (fold,) = split["folds"]
    assert sorted(fold["train"] + fold["validation"]) == names[:12]
    assert fold["validation"]
