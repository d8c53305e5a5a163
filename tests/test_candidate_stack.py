"""The stack of baselines: weights on data whose truth is known; no case is asked of a member fitted on it."""

import dataclasses

import numpy as np
import pytest

from nephroscope.base.errors import ConfigError
from nephroscope.learning.baselines.inner_folds import log_losses, patient_folds
from nephroscope.learning.baselines.stack_weights import (
    SHRINKAGES,
    StackWeights,
    _logits,
    _solve,
    apply_stack,
    fit_stack,
)
from nephroscope.learning.learner import StudyData, remarks_of
from nephroscope.learning.learners.stack import MEMBERS, Stack
from nephroscope.records import Cohort
from one_series import one_series

SUBTYPES = ("PRCC", "ChRCC")


def names(n):
    return [f"p{number:03}" for number in range(n)]


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def members(labels, signals, k=2, seed=0):
    """Probabilities (m, n, K) of members whose logits are the truth times a signal each, plus noise of SD 1."""
    rng = np.random.default_rng(seed)
    truth = np.eye(k)[labels]
    return np.stack([softmax(signal * truth + rng.normal(size=(len(labels), k))) for signal in signals])


def test_the_informative_member_gets_the_weight():
    labels = np.arange(200) % 2
    stacked = fit_stack(members(labels, (2.0, 0.0, 0.0)), labels, names(200), 0)
    first, *noise = stacked.weights
    assert first > 0.8
    assert max(noise) < first / 3
    assert stacked.shrinkage is not None
    new = members(labels, (2.0, 0.0, 0.0), seed=1)
    mean = StackWeights(weights=(1 / 3,) * 3, offsets=(0.0, 0.0), shrinkage=None)
    better = log_losses(apply_stack(stacked, new), labels).mean()
    assert better < log_losses(apply_stack(mean, new), labels).mean() - 0.05


def test_few_cases_stay_at_the_plain_mean():
    """12 cases do not prove which of three calibrated members, who see much the same, is the better one."""
    labels = np.arange(12) % 2
    for seed in range(8):
        rng = np.random.default_rng(seed)
        seen = 1.5 * np.where(labels == 1, 1, -1) / 2 + rng.normal(
            size=12
        )  # the log odds of it are 1.5 times itself
        odds = 1.5 * seen + rng.normal(0, 0.4, (3, 12))
        said = softmax(np.stack([np.zeros((3, 12)), odds], axis=2))
        stacked = fit_stack(said, labels, names(12), seed)
        assert stacked.weights == pytest.approx((1 / 3,) * 3, abs=0.2)


def test_equal_members_stay_near_equal_and_noise_is_not_turned_round():
    labels = np.arange(100) % 2
    equal = fit_stack(members(labels, (1.5, 1.5), seed=3), labels, names(100), 0)
    assert abs(equal.weights[0] - equal.weights[1]) < 0.4
    wrong = fit_stack(members(labels, (2.0, -2.0), seed=4), labels, names(100), 0)
    assert wrong.weights[1] == 0.0


def test_three_subtypes():
    labels = np.arange(150) % 3
    said = members(labels, (0.0, 2.5), k=3)
    stacked = fit_stack(said, labels, names(150), 0)
    assert stacked.weights[1] > 4 * stacked.weights[0]
    together = apply_stack(stacked, said)
    assert together.shape == (150, 3)
    assert together.sum(axis=1) == pytest.approx(np.ones(150))
    assert (together.argmax(axis=1) == labels).mean() > 0.85


def test_the_plain_mean_is_that_of_logits():
    said = np.array([[[0.8, 0.2]], [[0.5, 0.5]]])
    mean = StackWeights(weights=(0.5, 0.5), offsets=(0.0, 0.0), shrinkage=None)
    odds = np.sqrt(4.0)
    assert apply_stack(mean, said)[0, 0] == pytest.approx(odds / (1 + odds))


def test_weights_are_the_least_of_what_the_docstring_says():
    """Small steps in any allowed direction only make it worse."""
    labels, patients = np.arange(40) % 2, [f"p{number // 2}" for number in range(40)]
    logits = _logits(members(labels, (1.0, 0.3)))
    solved = _solve(logits, labels, patients, 3.0)

    def cost(x):
        scores = np.tensordot(x[:2], logits, axes=1) + x[2:]
        losses = -np.log(softmax(scores)[np.arange(40), labels])
        return losses.sum() / 2 + 3.0 * ((x - np.array([0.5, 0.5, 0, 0])) ** 2).sum()

    best = np.array([*solved.weights, *solved.offsets])
    for axis in range(4):
        for step in (-1e-3, 1e-3):
            moved = best.copy()
            moved[axis] += step
            assert cost(moved) > cost(best) - 1e-8


def test_a_sure_mistake_is_believed_no_more_than_a_thousandth():
    said = np.array([[[1.0, 0.0]], [[0.4, 0.6]]])
    mean = StackWeights(weights=(0.5, 0.5), offsets=(0.0, 0.0), shrinkage=None)
    together = apply_stack(mean, said)[0, 1]
    assert together == pytest.approx(1 / (1 + np.sqrt(1000 * 0.4 / 0.6)))


@pytest.mark.parametrize("kind", ["one subtype", "one patient", "one case", "two cases"])
def test_odd_cohorts_get_the_plain_mean(kind):
    labels = np.zeros(10, int) if kind == "one subtype" else np.arange(10) % 2
    patients = ["p"] * 10 if kind == "one patient" else names(10)
    n = {"one case": 1, "two cases": 2}.get(kind, 10)
    said = members(labels, (1.0, 0.0))[:, :n]
    stacked = fit_stack(said, labels[:n], patients[:n], 0)
    assert stacked.weights == pytest.approx((0.5, 0.5), abs=0.05)
    assert np.isfinite(apply_stack(stacked, said)).all()


def test_the_same_seed_gives_the_same_weights():
    labels = np.arange(60) % 2
    said = members(labels, (1.0, 0.2))
    assert fit_stack(said, labels, names(60), 5) == fit_stack(said, labels, names(60), 5)
    assert SHRINKAGES[0] == np.inf


def test_what_cannot_be_stacked_is_refused():
    said = np.full((2, 3, 2), 0.5)
    with pytest.raises(
        ConfigError, match=r"stack: expected finite probabilities, found 1 that are not; give the prob"
    ):
        fit_stack(
            np.where(np.arange(12).reshape(2, 3, 2) == 4, np.nan, said), np.array([0, 1, 0]), names(3), 0
        )
    with pytest.raises(ConfigError, match=r"of one member or more, found shape \(0, 3, 2\)"):
        fit_stack(said[:0], np.array([0, 1, 0]), names(3), 0)
    with pytest.raises(ConfigError, match=r"one label and patient for each of 3 cases, found 2 labels"):
        fit_stack(said, np.array([0, 1]), names(2), 0)
    weights = fit_stack(said, np.array([0, 1, 0]), names(3), 0)
    with pytest.raises(ConfigError, match=r"expected 2 members and 2 subtypes, found 1 and 2"):
        apply_stack(weights, said[:1])


def test_weights_can_be_written_as_json():
    import json

    labels = np.zeros(10, int)
    stacked = fit_stack(members(labels, (1.0, 1.0)), labels, names(10), 0)
    assert json.loads(json.dumps(stacked.as_dict(), allow_nan=False))["shrinkage"] is None


# the candidate


class Recorder:
    """A member that gives back the truth of cases it was fitted on, and one half for others: a leak would be seen."""

    told = "recorder"

    def __init__(self, name, reason=""):
        self.name, self.reason, self.fits = name, reason, []

    def missing(self, data):
        return self.reason

    def fit(self, data, case_ids, labels, seed):
        self.fits.append(list(case_ids))
        known = dict(zip(case_ids, labels, strict=True))

        class Fitted:
            def probabilities(self, asked):
                sure = {0: (0.99, 0.01), 1: (0.01, 0.99), None: (0.5, 0.5)}
                return np.array([sure[known.get(case_id)] for case_id in asked])

        return Fitted()


def stacked_study(monkeypatch, recorders):
    cases = tuple(
        one_series(
            case_id=f"c{n:02}",
            patient_id=f"p{n // 2:02}",
            image=None,
            format="nifti",
            subtype=SUBTYPES[n // 2 % 2],
        )
        for n in range(24)
    )
    cohort = Cohort(subtypes=SUBTYPES, positive="PRCC", cases=cases)
    known = {recorder.name: recorder for recorder in recorders}
    monkeypatch.setattr("nephroscope.learning.learners.stack.all_learners", lambda: known)
    data = StudyData.of(cohort, None, None, None)
    labels = np.array([SUBTYPES.index(case.subtype) for case in cases])
    return data, [case.case_id for case in cases], labels


def test_no_member_is_asked_about_a_patient_it_was_fitted_on(monkeypatch):
    """Members that only remember say one half out of fold, so their weights stay at the mean."""
    recorders = [Recorder("a"), Recorder("b")]
    data, ids, labels = stacked_study(monkeypatch, recorders)
    fitted = dataclasses.replace(Stack(), members=("a", "b")).fit(data, ids, labels, 0)
    assert fitted.weights.weights == pytest.approx((0.5, 0.5))
    assert fitted.weights.shrinkage is None
    patients = [data.cohort.by_id[case_id].patient_id for case_id in ids]
    folds = patient_folds(labels, patients, 5, 0)
    for fold, inner in enumerate(recorders[0].fits[:5]):
        assert inner == [case_id for case_id, own in zip(ids, folds, strict=True) if own != fold]
    assert recorders[0].fits[5] == ids
    assert fitted.probabilities(["c00", "elsewhere"]) == pytest.approx(np.array([[0.99, 0.01], [0.5, 0.5]]))


def test_members_are_those_the_study_allows(monkeypatch):
    recorders = [Recorder("a"), Recorder("b", "no sex"), Recorder("c")]
    data, ids, labels = stacked_study(monkeypatch, recorders)
    stack = Stack(members=("a", "b", "c", "not-installed"))
    assert stack.missing(data) == ""
    assert remarks_of(stack, data) == ("members: a, c",)
    assert list(stack.fit(data, ids, labels, 0).members) == ["a", "c"]


def test_one_member_is_no_stack(monkeypatch):
    data, _, _ = stacked_study(monkeypatch, [Recorder("a"), Recorder("b", "no sex")])
    told = Stack(members=("a", "b")).missing(data)
    assert told == "nothing to combine, 1 of 2 members can be computed (b: no sex)"


def test_default_members_are_ours():
    from nephroscope.learning.learners import all_learners

    assert set(MEMBERS) <= set(all_learners())
