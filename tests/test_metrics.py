import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nephroscope.statistics import metrics

TRUTH = np.array([0] * 15 + [1] * 15)
CALLED = np.array([0] * 15 + [0] * 2 + [1] * 13)  # the paper's 30 test images: TP 15, FN 0, FP 2, TN 13


def test_the_papers_test_images():
    found = metrics.proportions(TRUTH, CALLED, ("PRCC", "ChRCC"), 0)
    assert {n: (p.k, p.n) for n, p in found.items()} == {
        "accuracy": (28, 30),
        "sensitivity": (15, 15),
        "specificity": (13, 15),
        "precision": (15, 17),  # printed as sensitivity, 88.2353 %
    }
    assert found["precision"].value == pytest.approx(0.882353, abs=1e-6)
    assert metrics.confusion(TRUTH, CALLED, 2) == ((15, 0), (2, 13))


def test_three_subtypes_have_each_their_own():
    truth, called = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 0])
    found = metrics.proportions(truth, called, ("A", "B", "C"), 0)
    assert (found["sensitivity_C"].k, found["sensitivity_C"].n) == (2, 3)
    assert (found["specificity_B"].k, found["specificity_B"].n) == (4, 5)
    assert (found["precision_A"].k, found["precision_A"].n) == (1, 2)
    assert found["sensitivity"].value == found["sensitivity_A"].value == 0.5
    assert metrics.confusion(truth, called, 3) == ((1, 1, 0), (0, 1, 0), (1, 0, 2))


def test_undefined_is_none_with_its_reason():
    one_class = np.zeros(4, dtype=int)
    found = metrics.proportions(one_class, one_class, ("PRCC", "ChRCC"), 0)
    assert found["specificity"].value is None
    assert found["specificity"].empty == "all are PRCC"
    assert metrics.precision(one_class, one_class, 1, "ChRCC").value is None
    assert metrics.sensitivity(one_class, one_class, 1, "ChRCC").empty == "none is ChRCC"
    assert metrics.auc(np.arange(4.0), np.ones(4, dtype=bool)) is None


def test_auc_by_hand():
    """Positive 0.8 and 0.4 against 0.4 and 0.1: three won, one tie, of four."""
    assert metrics.auc(np.array([0.8, 0.4, 0.4, 0.1]), np.array([True, True, False, False])) == 3.5 / 4


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=25))
def test_auc_is_the_share_of_pairs_won_and_the_area_under_the_roc(rows):
    s, y = np.array([float(a) for a, _ in rows]), np.array([b for _, b in rows])
    pairs = [(a > b) + (a == b) / 2 for a in s[y] for b in s[~y]]
    if not pairs:
        assert metrics.auc(s, y) is None
        return
    assert metrics.auc(s, y) == pytest.approx(np.mean(pairs))
    fpr, tpr = metrics.roc_points(s, y)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    area = (np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2).sum()
    assert area == pytest.approx(np.mean(pairs))
