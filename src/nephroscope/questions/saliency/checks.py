"""Checks of saliency maps: do they depend on the weights, and how much of them lies in the tumor? No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.stats import spearmanr

from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.intervals import (
    Interval,
    Patients,
    clustered_bootstrap,
    no_estimate,
    percentile_interval,
)
from nephroscope.statistics.metrics import Floats

ALIKE = 0.5  # from this mean absolute Spearman on, maps with random weights count as similar: our choice
Verdict = Literal["depends", "unclear", "alike", "unknown"]
Map = npt.NDArray[np.float32]
Place = tuple[str, int]  # case_id, slice_index


@dataclass(frozen=True, eq=False, kw_only=True)
class SaliencyOfRun:
    """Maps of a run and their checks.

    Attributes:
        signed: Map (h, w) of each slice asked for, in log odds of the forced call of its case.
        rois: Tumor (H, W) on the slices whose ROI was read.
        figures: By name: random, random_size, mirrored, inside, area, inside_above_area.
        missing: Why there are no maps; empty if there are.
    """

    signed: Mapping[Place, Map] = field(default_factory=dict)
    rois: Mapping[Place, npt.NDArray[np.bool_]] = field(default_factory=dict)
    figures: Mapping[str, Estimate] = field(default_factory=dict)
    missing: str = ""


def shown_map(signed: Map, size_px: int) -> Map:
    """A map as it is shown, (h, w) to (size_px, size_px) in [0, 1]: what favored the subtype.

    Negative values are 0; the map is enlarged bilinearly and divided by its largest value, so the strength of two
    slices cannot be compared. A map without positive values is 0 everywhere.

    Source:
        Selvaraju 2017, Grad-CAM, ICCV, the ReLU of equation 2.
    """
    positive = Image.fromarray(np.maximum(signed, 0).astype(np.float32))
    large = np.asarray(positive.resize((size_px, size_px), Image.Resampling.BILINEAR))
    peak = float(large.max())
    scaled: Map = np.clip(large / peak, 0, 1) if peak > 0 else np.zeros_like(large)
    return scaled


def rank_agreement(one: Map, other: Map) -> Floats:
    """Spearman's rank correlation of two signed maps of each slice, (N, h, w) twice, to (N,).

    NaN if a map is the same everywhere.

    Source:
        Adebayo 2018, Sanity checks for saliency maps, NeurIPS, section 3: Spearman rank correlation.
    """
    found = np.full(len(one), np.nan)
    for i, (a, b) in enumerate(zip(one, other, strict=True)):
        if np.ptp(a) > 0 and np.ptp(b) > 0:
            found[i] = spearmanr(a.ravel(), b.ravel()).statistic
    return found


def share_inside(shown: Map, roi: npt.NDArray[np.bool_]) -> Floats:
    """Share of what a map (N, H, W) in [0, 1] shows that lies in the ROI (N, H, W); NaN where it shows nothing."""
    total = shown.sum(axis=(1, 2), dtype=np.float64)
    inside = (shown * roi).sum(axis=(1, 2), dtype=np.float64)
    share: Floats = np.divide(inside, total, out=np.full(len(shown), np.nan), where=total > 0)
    return share


def mean_over_patients(values: Sequence[float], what: str, config: EvaluationConfig) -> Estimate:
    """Mean of one value per patient with a patient-bootstrap interval; the method counts values left out (NaN)."""
    each = np.asarray(values, dtype=np.float64)
    known = each[~np.isnan(each)]
    method = f"mean {what}, one slice a patient"
    if known.size < each.size:
        method += f", {each.size - known.size} without a value left out"
    if known.size == 0:
        return no_estimate("undefined: no slice has a value", 0, "patient")
    value = float(known.mean())
    if known.size == 1:
        return Interval(None, None, f"{method}; no interval from one").around(value, 1, "patient")
    patients = Patients(row=np.arange(known.size), stratum=np.zeros(known.size, np.intp))
    statistics = {"mean": lambda weights: weights @ known / weights.sum(axis=1)}
    drawn = clustered_bootstrap(statistics, patients, config.resamples, config.seed)["mean"]
    interval = percentile_interval(drawn, f"{known.size} patients", config.confidence)
    return interval._replace(method=f"{method}; {interval.method}").around(value, known.size, "patient")


def weights_verdict(figures: Mapping[str, Estimate]) -> Verdict:
    """Whether maps depend on the weights, are similar for random ones, or it is unclear.

    The absolute correlation counts, because an untrained network may show the same places with the opposite sign. It
    must be below `ALIKE`, and below what the map of the mirrored slice reaches.
    """
    random, mirrored = figures["random_size"], figures["mirrored"]
    if random.value is None:
        return "unknown"
    low, high = (random.value if limit is None else limit for limit in (random.low, random.high))
    if low >= ALIKE:
        return "alike"
    steady = mirrored.value if mirrored.low is None else mirrored.low
    return "depends" if steady is not None and high < min(ALIKE, steady) else "unclear"
