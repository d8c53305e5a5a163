"""The golden cases of the gate: many kinds of input that `predict` answers, doubts or refuses, drawn at random."""

from collections.abc import Iterator

import numpy as np

from nephroscope.web import golden_rois, golden_series
from nephroscope.web.golden_draft import Draft, GoldenCase, written
from nephroscope.web.golden_files import ROOT, make_scene

SEED = 2021
FIRST = (
    "plain",
    "SEG",
    "NIfTI",
    "flipped",
    "ROI on half of the resolution",
    "missing slice",
    "JPEG 2000",
    "no ROI",
)
ALL = golden_series.KINDS | golden_rois.KINDS
KINDS = {name: ALL[name] for name in (*FIRST, *ALL)}  # the first few show most


def golden_cases(n: int, seed: int = SEED) -> Iterator[GoldenCase]:
    """The first ``n`` of an endless row of cases: every kind in turn, each time another patient."""
    kinds = list(KINDS)
    for number in range(n):
        name = kinds[number % len(kinds)]
        rng = np.random.default_rng((seed, number))
        uid = f"{ROOT}.{seed}.{number}"
        draft = Draft(scene=make_scene(rng, int(rng.integers(7, 14)), uid), rng=rng)
        KINDS[name](draft)
        yield written(f"{number} {name}", draft)
