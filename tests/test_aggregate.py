import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nephroscope.clinic
from nephroscope.base.errors import ConfigError, RoiError
from nephroscope.clinic.call import decide, forced_call, majority_of_three, mean_over_slices, youden_threshold
from nephroscope.records import Finding, OperatingPoint, SlicePrediction

TWO = ("PRCC", "ChRCC")
THREE = ("PRCC", "ChRCC", "ccRCC")
HALF = OperatingPoint(threshold=0.5, criterion="fixed", chosen_on="before any data")


def slices(*rows):
    return [SlicePrediction(slice_index=i, probabilities=row) for i, row in enumerate(rows)]


def rng():
    return np.random.default_rng(0)


def test_mean_over_slices():
    assert mean_over_slices(slices((0.2, 0.8), (0.6, 0.4))) == pytest.approx((0.4, 0.6))


def test_mean_of_no_slice_is_refused():
    with pytest.raises(RoiError, match="expected at least one slice to average, found none"):
        mean_over_slices([])


def test_two_of_three_decide_though_the_mean_says_otherwise():
    assert majority_of_three(slices((0.51, 0.49), (0.51, 0.49), (0.0, 1.0)), rng()) == 0


def test_majority_goes_by_the_threshold_on_the_positive():
    rows = slices((0.6, 0.4), (0.6, 0.4), (0.9, 0.1))
    assert majority_of_three(rows, rng(), threshold=0.7, positive=0) == 1
    assert majority_of_three(rows, rng(), threshold=0.3, positive=1) == 1


def test_two_slices_that_disagree_go_by_their_mean():
    assert majority_of_three(slices((0.9, 0.1), (0.4, 0.6)), rng()) == 0
    assert majority_of_three(slices((0.1, 0.9)), rng()) == 1


def test_three_slices_three_subtypes_go_by_the_mean():
    rows = slices((0.5, 0.4, 0.1), (0.1, 0.8, 0.1), (0.3, 0.3, 0.4))
    assert majority_of_three(rows, rng()) == 1


def test_majority_is_seeded():
    rows = slices(*[(p, 1 - p) for p in (0.1, 0.9, 0.2, 0.8, 0.3, 0.7)])
    labels = [majority_of_three(rows, np.random.default_rng(seed)) for seed in range(20)]
    assert set(labels) == {0, 1}
    assert labels == [majority_of_three(rows, np.random.default_rng(seed)) for seed in range(20)]


@pytest.mark.parametrize(
    ("p", "positive", "threshold", "call"),
    [
        ((0.5, 0.5), "PRCC", 0.5, "PRCC"),
        ((0.49, 0.51), "PRCC", 0.5, "ChRCC"),
        ((0.6, 0.4), "PRCC", 0.7, "ChRCC"),
        ((0.6, 0.4), "ChRCC", 0.3, "ChRCC"),
    ],
)
def test_forced_call_of_two(p, positive, threshold, call):
    point = OperatingPoint(threshold=threshold, criterion="fixed", chosen_on="before any data")
    assert forced_call(p, TWO, positive, point) == call


def test_forced_call_of_three_is_the_likeliest():
    assert forced_call((0.3, 0.3, 0.4), THREE, "PRCC", HALF) == "ccRCC"


def test_near_the_threshold_is_not_sure_and_says_so():
    call, reason = decide((0.54, 0.46), TWO, "PRCC", HALF, 0.10)
    assert call is None
    assert reason == "probability of PRCC 0.54 is within 0.10 of the threshold 0.50"


def test_far_from_the_threshold_is_a_call_with_a_reason():
    assert decide((0.81, 0.19), TWO, "PRCC", HALF, 0.10) == (
        "PRCC",
        "probability of PRCC 0.81 is 0.31 from the threshold 0.50",
    )


def test_exactly_the_margin_is_a_call():
    assert decide((0.6, 0.4), TWO, "PRCC", HALF, 0.1)[0] == "PRCC"


def test_two_likeliest_too_close_is_not_sure():
    call, reason = decide((0.2, 0.42, 0.38), THREE, "PRCC", HALF, 0.10)
    assert call is None
    assert reason == "probability of ChRCC 0.42 is within 0.10 of the next, ccRCC 0.38"
    assert decide((0.1, 0.6, 0.3), THREE, "PRCC", HALF, 0.10)[0] == "ChRCC"


def test_a_warning_forbids_the_call_and_a_note_does_not():
    note = Finding(code="one-reader", severity="note", message="one reader only", case_id="a")
    warning = Finding(code="native-phase", severity="warning", message="no contrast", case_id="a")
    assert decide((0.9, 0.1), TWO, "PRCC", HALF, 0.1, [note])[0] == "PRCC"
    assert decide((0.9, 0.1), TWO, "PRCC", HALF, 0.1, [note, warning]) == (None, "native-phase: no contrast")
    assert decide((0.5, 0.5), TWO, "PRCC", HALF, 0.1, [warning])[1].endswith(
        "0.50; native-phase: no contrast"
    )


def test_youden_threshold():
    assert youden_threshold([0.1, 0.2, 0.6, 0.9], [False, False, True, True]) == pytest.approx(0.4)
    assert youden_threshold([0.7, 0.7], [False, True]) == 0.5


def test_youden_of_one_class_is_refused():
    with pytest.raises(ConfigError, match="of the positive and of another subtype, found 2 positive of 2"):
        youden_threshold([0.1, 0.2], [True, True])


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=30))
def test_no_threshold_beats_youden(rows):
    p, y = np.array([a / 20 for a, _ in rows]), np.array([b for _, b in rows])
    if y.all() or not y.any():
        return

    def index(threshold):
        return (p[y] >= threshold).mean() - (p[~y] >= threshold).mean()

    levels = np.unique(p)
    inner = (levels[1:] + levels[:-1]) / 2
    assert index(youden_threshold(p, y)) >= max((index(t) for t in inner), default=0) - 1e-9


def test_the_clinic_needs_numpy_alone():
    room = Path(nephroscope.clinic.__file__).parent
    for name in ("__init__", "call"):
        tree = ast.parse((room / f"{name}.py").read_text())
        modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        modules |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        assert {m.split(".")[0] for m in modules} <= {"collections", "numpy", "nephroscope"}
        assert not any(m.startswith("nephroscope.clinic.") for m in modules)
