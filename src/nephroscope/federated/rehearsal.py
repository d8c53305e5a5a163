"""Phantom patients of several hospitals in one study, for a rehearsal before the first real round. SYNTHETIC."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nephroscope.facade.study import Study
from nephroscope.records.settings import check_within
from nephroscope.study.cohort_table import save_cohort, seen_tables

SUBTYPES = ("PRCC", "ChRCC")


def make_hospitals(folder: Path, sites: int, cases: int, epochs: int) -> Path:
    """Make a study of phantoms whose cases are dealt to hospitals by subtype; gives its folder.

    Raises:
        ConfigError: A number is out of range.
    """
    check_within("--sites", sites, 1, 20)
    check_within("--cases", cases, 16, 200)
    check_within("--epochs", epochs, 1, 1000)
    root = folder / "study"
    begun: Callable[[], bool] = (root / "slices" / "spec.json").exists
    if begun():
        return root
    study = Study(root) if (root / "study.toml").exists() else Study.create(root, list(SUBTYPES))
    study.change("slices", size_px=64)
    study.change("split", folds=2)
    study.change("training", model="shufflenet_v2_x1_0", width=0.5, epochs=epochs, batch_size=8, patience=0)
    study.import_phantom(sites * cases)
    seen, cohort = seen_tables(root), study.cohort
    dealt: Counter[str] = Counter()
    placed = []
    for case in cohort.cases:
        number = dealt[str(case.subtype)] % sites + 1
        dealt[str(case.subtype)] += 1
        placed.append(replace(case, site_id=f"hospital-{number}"))
    save_cohort(replace(cohort, cases=tuple(placed)), root, seen)
    Study(root).cut_slices()
    return root
