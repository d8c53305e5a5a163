"""How often two linked questions end at the truth: is it the one subtype, and if not, which of the others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nephroscope.base.errors import ConfigError
from nephroscope.clinic.linked import check_linked
from nephroscope.records import OUT_OF_FOLD, Estimate, Evaluation, EvaluationConfig
from nephroscope.statistics.estimates import Rows, estimate_all
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.metrics import accuracy, confusion, sensitivity


@dataclass(frozen=True, kw_only=True)
class LinkedEvaluation:
    """Both questions on the same held-out cases, each answered by networks that did not see the case.

    Attributes:
        subtypes: The first question's, then those of the second.
        figures: ``accuracy``, ``sensitivity_SUBTYPE`` of each, and ``auc_SUBTYPE`` by the probability that both
            answers give it: of the first question's subtype against all, of another among those of the second.
            Others against the first question's subtype cannot be ranked: the second run never answers its cases.
        confusion: Rows of truth by columns of call; the last column are cases of the first question's subtype that it
            calls another: what the second would say of them is not known, as it was never asked.
        n_left_out: Cases that only one of the two runs answered, although both questions concern them.
    """

    subtypes: tuple[str, ...]
    n_cases: int
    n_patients: int
    n_left_out: int
    figures: dict[str, Estimate]
    confusion: tuple[tuple[int, ...], ...]
    synthetic: bool


def evaluate_linked(first: Evaluation, second: Evaluation, config: EvaluationConfig) -> LinkedEvaluation:
    """How often two linked questions, each answered by its own cross-validated run, end at the truth.

    Raises:
        ConfigError: The questions do not follow each other, or no case was answered in cross-validation.
    """
    positive = first.positive
    check_linked(first.subtypes, positive, second.subtypes)
    one, two = (
        {p.case_id: p for p in report.predictions if p.group == OUT_OF_FOLD and p.truth}
        for report in (first, second)
    )
    subtypes = (positive, *second.subtypes)
    known = [name for name, p in one.items() if p.truth == positive or name in two]
    if not known:
        raise ConfigError(
            where="--then",
            expected="cases that both runs answered in cross-validation, under the same case_id",
            found="none",
            remedy="import the same cases into both studies",
        )

    def place(name: str, of: str) -> int:
        """Index of the truth, or of the forced call, of a case."""
        if getattr(one[name], of) == positive:
            return 0
        return subtypes.index(getattr(two[name], of)) if name in two else len(subtypes)

    def probabilities(name: str) -> list[float]:
        """Of each subtype, by the product of both answers; 0 where the second question has none."""
        first_p = one[name].probabilities[positive]
        second_p = two[name].probabilities if name in two else {}
        return [first_p, *((1 - first_p) * second_p.get(s, 0.0) for s in second.subtypes)]

    truth, called = (np.array([place(name, of) for name in known]) for of in ("truth", "forced_call"))
    patients = Patients.of([one[name].patient_id for name in known], truth)
    n_folds = max(len({p.fold for p in run.values()}) for run in (one, two))
    rows = Rows(
        unit="case",
        truth=truth,
        called=called,
        p=np.array([probabilities(name) for name in known]),
        patients=replace(patients, n_folds=n_folds),
    )
    shares = {"accuracy": accuracy(truth, called)}
    shares |= {f"sensitivity_{s}": sensitivity(truth, called, i, s) for i, s in enumerate(subtypes)}
    return LinkedEvaluation(
        subtypes=subtypes,
        n_cases=len(known),
        n_patients=patients.n,
        n_left_out=len(one.keys() | two.keys()) - len(known),
        figures=estimate_all(rows, shares, {}, config) | _areas(rows, subtypes, config),
        confusion=confusion(truth, called, len(subtypes) + 1)[:-1],
        synthetic=first.synthetic or second.synthetic,
    )


def _areas(rows: Rows, subtypes: Sequence[str], config: EvaluationConfig) -> dict[str, Estimate]:
    """The AUC of each subtype, on the cases that were asked about it."""
    asked = rows.truth > 0
    of_others = replace(
        rows,
        truth=rows.truth[asked],
        called=rows.called[asked],
        p=rows.p[asked],
        patients=rows.patients.on(asked),
    )
    found: dict[str, Estimate] = {}
    for number, name in enumerate(subtypes):
        own = of_others if number else rows
        areas = {f"auc_{name}": [(own.p[:, number], own.truth == number)]}
        found |= estimate_all(own, {}, areas, config)
    return found
