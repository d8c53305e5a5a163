"""The table of one test set: answers in; ranked rows with figures and remarks, pairs and words out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nephroscope.experiments.folds import Answers
from nephroscope.experiments.measures import TestSet, figures_of
from nephroscope.experiments.pairs import compare_pairs, primary, summary
from nephroscope.records import EvaluationConfig


def table_of(
    tests: TestSet,
    answers: Sequence[Answers],
    config: EvaluationConfig,
    remarks: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Table, pairs and words of one test set.

    Args:
        tests: Its cases.
        answers: Of every candidate.
        config: Of the figures and intervals.
        remarks: By candidate, what a reader must know of it on this study.
    """
    figures = {a.name: figures_of(a, tests, config) for a in answers}
    ordered = sorted(answers, key=lambda a: (-(figures[a.name]["auc"].value or 0.0), a.name))
    pairs = compare_pairs(ordered, tests, config)
    values = [figures[a.name]["auc"].value for a in ordered]
    rows = [
        {
            "rank": None if value is None else 1 + sum(v is not None and v > value for v in values),
            "name": a.name,
            "kind": a.kind,
            "told": a.told,
            "remarks": list(remarks.get(a.name, ())),
            **{name: asdict(estimate) for name, estimate in figures[a.name].items()},
        }
        for a, value in zip(ordered, values, strict=True)
    ]
    return {
        "n_cases": len(tests.cases),
        "n_patients": tests.patients.n,
        "candidates": rows,
        "pairwise": [asdict(pair) for pair in pairs],
        "primary": primary(ordered, pairs),
        "words": summary(ordered, pairs, tests),
    }
