"""One logistic regression of what others said out of fold (a network, radiomics) and of age, sex and size.

A weak prior holds it to the mean of those answers, with no weight for the facts; there is no more to choose. Networks
that mix facts into their layers (FiLM, DAFT) have thousands of weights for what takes six here, and were
tried on hundreds of patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nephroscope.clinic.facts import FACTS, SUREST, FactsModel, FactTerm, fact_number
from nephroscope.learning.baselines.inner_folds import Floats, Ints
from nephroscope.records import ClinicalFacts

PRIOR = 1.0  # of weights: with two subtypes a normal prior of SD 1 on the log odds that an SD of a fact moves
OFFSET_PRIOR = 0.01


def facts_table(facts: Sequence[ClinicalFacts]) -> Floats:
    """Age in years, 1 for men and 0 for women, natural log of the size in cm: (n, 3), NaN where not known."""
    rows = [[fact_number(one, name) for name in FACTS] for one in facts]
    table: Floats = np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=np.float64)
    return table.reshape(len(facts), len(FACTS))


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """A fitted regression.

    Attributes:
        member_weights: Of the members' centered log probabilities.
        model: Of the facts and the offsets, as a bundle has it; its ``image_weight`` is the only member's, if one.
    """

    member_weights: tuple[float, ...]
    model: FactsModel

    def probabilities(self, member_p: Floats, facts: Sequence[ClinicalFacts]) -> Floats:
        """Probabilities (n, K) from those of the members (m, n, K); without a known fact, of the members alone.

        With one member this is its own answer; with several their weighted mean, without offsets.
        """
        m, terms = len(self.member_weights), self.model.terms
        table = facts_table(facts)[:, [FACTS.index(term.name) for term in terms]]
        scores = np.tensordot(np.array(self.member_weights), _logits(member_p), axes=1) if m else 0.0
        scores = scores + np.tile(np.array(self.model.offsets), (len(facts), 1))
        for place, term in enumerate(terms):
            known = np.isfinite(table[:, place])[:, None]
            scaled = (np.nan_to_num(table[:, place]) - term.mean)[:, None] / term.sd
            scores = scores + np.where(known, scaled * np.array(term.weights), np.array(term.unknown))
        shares = _softmax(scores)
        if m == 1 and terms:
            unknown = ~np.isfinite(table).any(axis=1)
            shares[unknown] = member_p[0][unknown]
        return shares


def fit_fusion(
    member_p: Floats,
    facts: Sequence[ClinicalFacts] | None,
    labels: Ints,
    patient_ids: Sequence[str],
) -> Fusion:
    """Weights of members and facts, from cases of which the members had not learned.

    What is not known gets the mean, and a column of its own where a training case lacks it. A patient counts once.

    Args:
        member_p: Out-of-fold probabilities (m, n, K); m may be 0.
        facts: Of each case; None leaves them out.
        labels: Index of each case's subtype, (n,).
        patient_ids: Of each case.
    """
    m, n, n_subtypes = member_p.shape
    columns, about = _columns(facts_table(facts)) if facts is not None else (np.zeros((n, 0)), [])
    logits = _logits(member_p)
    start = np.concatenate(
        [np.full(m, 1 / max(m, 1)), np.zeros(n_subtypes), np.zeros(columns.shape[1] * n_subtypes)]
    )
    _, place = np.unique(np.asarray(patient_ids), return_inverse=True)
    x = _solve(logits, columns, np.eye(n_subtypes)[labels], (1 / np.bincount(place)[place])[:, None], start)
    offsets, weights = x[m : m + n_subtypes], x[m + n_subtypes :].reshape(-1, n_subtypes)
    terms = tuple(
        FactTerm(
            name=name,
            mean=mean,
            sd=sd,
            weights=tuple(weights[column].tolist()),
            unknown=tuple(weights[gap].tolist()) if gap is not None else (0.0,) * n_subtypes,
        )
        for name, mean, sd, column, gap in about
    )
    model = FactsModel(
        image_weight=float(x[0]) if m == 1 else 0.0,
        offsets=tuple(offsets.tolist()),
        terms=terms,
        n_patients=int(place.max(initial=-1)) + 1,
        shrinkage=PRIOR,
    )
    return Fusion(member_weights=tuple(x[:m].tolist()), model=model)


_About = tuple[str, float, float, int, int | None]


def _columns(table: Floats) -> tuple[Floats, list[_About]]:
    """Standardized columns (n, F), with one for each gap; of each fact its name, mean, SD and columns.

    A fact that no case has, or that is the same in all, is left out.
    """
    columns: list[Floats] = []
    about: list[_About] = []
    for name, values in zip(FACTS, table.T, strict=True):
        known = np.isfinite(values)
        if not known.any() or values[known].std() == 0:
            continue
        mean, sd = float(values[known].mean()), float(values[known].std())
        column, gap = len(columns), None
        columns.append(np.where(known, (np.nan_to_num(values) - mean) / sd, 0.0))
        if not known.all():
            gap = len(columns)
            columns.append((~known).astype(np.float64))
        about.append((name, mean, sd, column, gap))
    return (np.column_stack(columns) if columns else np.zeros((len(table), 0))), about


def _logits(member_p: Floats) -> Floats:
    """Centered log probabilities (m, n, K)."""
    logs = np.log(np.clip(member_p, SUREST, 1.0))
    centered: Floats = logs - logs.mean(axis=2, keepdims=True)
    return centered


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _solve(logits: Floats, columns: Floats, truth: Floats, share: Floats, start: Floats) -> Floats:
    """Least of: sum over patients of their mean log loss + prior."""
    from scipy.optimize import minimize

    m, n_subtypes = len(logits), truth.shape[1]
    prior = np.full(start.size, PRIOR)
    prior[m : m + n_subtypes] = OFFSET_PRIOR

    def loss_and_slope(x: Floats) -> tuple[float, Floats]:
        scores = np.tensordot(x[:m], logits, axes=1) + x[m : m + n_subtypes]
        scores = scores + columns @ x[m + n_subtypes :].reshape(-1, n_subtypes)
        top = scores.max(axis=1, keepdims=True)
        logs = scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
        away = (np.exp(logs) - truth) * share
        slope = np.concatenate(
            [np.tensordot(logits, away, axes=2).ravel(), away.sum(axis=0), (columns.T @ away).ravel()]
        )
        loss = -float((share * truth * logs).sum()) + float((prior * (x - start) ** 2).sum())
        return loss, slope + 2 * prior * (x - start)

    bounds = [(0.0, None)] * m + [(None, None)] * (start.size - m)
    solved: Floats = minimize(loss_and_slope, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return solved
