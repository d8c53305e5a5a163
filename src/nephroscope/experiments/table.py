"""The table of one test set: answers in; ranked rows with figures and remarks, pairs and words out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nephroscope.experiments.answer import primary, summary
from nephroscope.experiments.calibrated import calibration_of
from nephroscope.experiments.folds import Answers
from nephroscope.experiments.measures import TestSet, figures_of
from nephroscope.experiments.pairs import compare_pairs
from nephroscope.records import EvaluationConfig


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranked:
    """What is set into tables.

    Attributes:
        answers: Of every candidate, on all test sets.
        tempered: By name, the same after a temperature that was chosen inside, where there is one.
        remarks: By name, what a reader must know of a candidate on this study.
    """

    answers: Sequence[Answers]
    tempered: Mapping[str, Answers]
    remarks: Mapping[str, Sequence[str]]


def table_of(tests: TestSet, ranked: Ranked, config: EvaluationConfig) -> dict[str, Any]:
    """Table, pairs and words of one test set.

    Args:
        tests: Its cases.
        ranked: Every candidate.
        config: Of the figures and intervals.
    """
    figures = {a.name: figures_of(a, tests, config) for a in ranked.answers}
    ordered = sorted(ranked.answers, key=lambda a: (-(figures[a.name]["auc"].value or 0.0), a.name))
    pairs = compare_pairs(ordered, tests, config)
    values = [figures[a.name]["auc"].value for a in ordered]
    rows = [
        {
            "rank": None if value is None else 1 + sum(v is not None and v > value for v in values),
            "name": a.name,
            "kind": a.kind,
            "told": a.told,
            "remarks": list(ranked.remarks.get(a.name, ())),
            **{name: asdict(estimate) for name, estimate in figures[a.name].items()},
            "calibration": calibration_of(a, tests, ranked.tempered.get(a.name), config),
        }
        for a, value in zip(ordered, values, strict=True)
    ]
    words = summary(ordered, pairs, tests)
    return {
        "answer": words[0],
        "n_cases": len(tests.cases),
        "n_patients": tests.patients.n,
        "candidates": rows,
        "pairwise": [asdict(pair) for pair in pairs],
        "primary": primary(ordered, pairs),
        "words": words,
    }
