"""What a run was, beside its figures: a setup and its parts in; parameters, leak, configuration and counts out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from nephroscope.learning.networks.networks import describe_networks
from nephroscope.questions.replicate.answers import Part
from nephroscope.questions.replicate.setup import TOGETHER, Setup, test_sets
from nephroscope.records import DEVELOPMENT


def parameter_table() -> dict[str, dict[str, Any]]:
    """Parameters of the six networks as built, beside what the paper prints."""
    return {str(entry["name"]): dict(entry) for entry in describe_networks(2, "zuo2021")}


def leak_of(setup: Setup, paper: Part) -> dict[str, int]:
    """How far the paper's split leaks: patients with images in training and among those validated on."""
    from nephroscope.learning.training.batches import labelled_slices
    from nephroscope.learning.training.copies import amplify

    images = amplify(labelled_slices(setup.store, setup.cohort, frozenset(setup.development)))
    of = np.array([setup.cohort.by_id[str(c)].patient_id for c in setup.store.case_ids[images.rows]])
    used = (setup.paper_split[0], setup.paper_split[1][: len(paper.arm.choose)])
    train, validation = (set(of[part].tolist()) for part in used)
    return {
        "development_patients": len(set(of.tolist())),
        "validation_patients": len(validation),
        "patients_on_both_sides": len(train & validation),
        "amplified_images": len(images),
        "train_images": len(setup.paper_split[0]),
        "validation_images": len(setup.paper_split[1]),
    }


def configuration_of(setup: Setup, parts: Sequence[Part]) -> dict[str, Any]:
    """What was run, for the page and for programs."""
    first = parts[0]
    return {
        **asdict(setup.options),
        "models": list(setup.options.models),
        "shuffled_model": setup.options.shuffled,
        "images_per_epoch": setup.images_per_epoch,
        "twin_folds": setup.n_folds,
        "training": asdict(first.arm.config),
        "validation_images_used": len(first.arm.choose),
        "size_px": setup.store.spec.size_px,
        "roi_mode": setup.store.spec.roi_mode,
        "margin_mm": setup.store.spec.margin_mm,
        "tests_drawn": setup.tests_drawn,
    }


def cohort_of(setup: Setup) -> dict[str, Any]:
    """Counts of patients, cases and slices by part and subtype."""
    parts: dict[str, list[str]] = {DEVELOPMENT: list(setup.development)} | {
        name: of for name, of in test_sets(setup).items() if name != TOGETHER
    }
    found: dict[str, Any] = {}
    for part, names in parts.items():
        cases = [setup.cohort.by_id[name] for name in names]
        found[part] = {
            "patients": len({case.patient_id for case in cases}),
            "cases": len(cases),
            "slices": sum(len(setup.store.rows_by_case[name]) for name in names),
            "by_subtype": {s: sum(case.subtype == s for case in cases) for s in setup.cohort.subtypes},
        }
    return found


def phases_of(setup: Setup) -> dict[str, int]:
    """Cases used by contrast phase; where it is not known, under an empty name."""
    cases = [setup.cohort.by_id[name] for name in (*setup.development, *setup.tests)]
    return dict(sorted(Counter(case.phase or "" for case in cases).items()))
