"""Measure the synthetic cohort and print JSON: seconds to write it, and what is in it.

Run: python benchmarks/phantom.py
"""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nephroscope.intake.phantom import Phantom, make_phantom, write_phantoms

N_WRITTEN, N_MADE, SEEDS = 83, 400, (1, 2, 3)


def auc(positive: list[float], negative: list[float]) -> float:
    """Area under the ROC curve by ranks: the share of pairs in the right order, ties counting half."""
    one, two = np.array(positive)[:, None], np.array(negative)[None, :]
    return round(float((one > two).mean() + 0.5 * (one == two).mean()), 3)


def quartiles(values: list[float]) -> list[float]:
    """25th, 50th and 75th percentile."""
    return [round(float(q), 3) for q in np.percentile(values, [25, 50, 75])]


def time_writing() -> dict[str, float]:
    """Seconds to write the cohort of the issue, workers' start included."""
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        write_phantoms(Path(scratch) / "export", N_WRITTEN, seed=1)
        seconds = time.perf_counter() - start
    return {
        "cases": N_WRITTEN,
        "seconds": round(seconds, 1),
        "seconds_per_case": round(seconds / N_WRITTEN, 3),
    }


def measure(phantom: Phantom) -> dict[str, object]:
    """What is said about one phantom below; its volume is dropped."""
    one, two, clinical = phantom.reader1, phantom.reader2, phantom.clinical
    return {
        "subtype": clinical.subtype,
        "mean_hu": float(phantom.hu[one].mean()),
        "dice": float(2 * (one & two).sum() / (one.sum() + two.sum())),
        "size_cm": clinical.size_cm,
        "age_years": clinical.age_years,
        "man": float(clinical.sex == "M"),
        "slice_mm": phantom.acquisition.spacing_mm[0],
        "noise_hu": phantom.acquisition.noise_hu,
        "corticomedullary": float(clinical.phase == "corticomedullary"),
        "n_slices": int(one.any(axis=(1, 2)).sum()),
    }


def describe(seed: int) -> dict[str, object]:
    """AUCs (ChRCC positive) of single values over one cohort, and its distributions by subtype."""
    rows = [measure(make_phantom(seed, i, N_MADE)) for i in range(N_MADE)]

    def column(name: str, subtype: str) -> list[float]:
        return [row[name] for row in rows if row["subtype"] == subtype]

    def by_subtype(subtype: str) -> Iterator[tuple[str, object]]:
        yield "cases", len(column("man", subtype))
        yield "men", round(float(np.mean(column("man", subtype))), 3)
        for name in ("age_years", "size_cm", "mean_hu", "n_slices"):
            yield f"{name}_quartiles", quartiles(column(name, subtype))

    single = ("mean_hu", "size_cm", "age_years", "man", "slice_mm", "noise_hu", "corticomedullary")
    return {
        "seed": seed,
        "auc": {name: auc(column(name, "ChRCC"), column(name, "PRCC")) for name in single},
        "reader_dice_quartiles": quartiles([row["dice"] for row in rows]),
        **{subtype: dict(by_subtype(subtype)) for subtype in ("PRCC", "ChRCC")},
    }


if __name__ == "__main__":
    print(json.dumps({"writing": time_writing(), "phantoms": [describe(seed) for seed in SEEDS]}, indent=1))
