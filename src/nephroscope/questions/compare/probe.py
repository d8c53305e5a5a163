"""The shortcut probe: how well facts that should not predict a subtype do, and which learners follow them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from nephroscope.learning.engine.divisions import Division
from nephroscope.learning.engine.predictions import Predictions
from nephroscope.questions.compare.facts import Fact
from nephroscope.questions.compare.measures import TestSet, bootstrapped, figures_of
from nephroscope.questions.compare.results import FactGap, FactRow, Shortcuts
from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.intervals import no_estimate
from nephroscope.statistics.metrics import Bools, Floats, auc
from nephroscope.study.snapshot import Snapshot

TOGETHER = "all together"
EXACT = "the fact itself as score, in the direction these data have"
LEARNT = "logistic regression, out of fold"


def probe(
    snapshot: Snapshot,
    facts: Sequence[Fact],
    ranked: Sequence[Predictions],
    tests: TestSet,
    division: Division,
) -> Shortcuts:
    """How well each fact alone predicts the subtype, and how far each candidate follows it within a subtype.

    Args:
        snapshot: The study.
        facts: Of its cases.
        ranked: Candidates.
        tests: The first test set.
        division: Its folds.
    """
    config = snapshot.settings.evaluation
    rows, usable = [], []
    for fact in facts:
        why = _useless(fact, tests)
        if why:
            rows.append(_row(fact, no_estimate(f"undefined: {why}", len(tests.cases)), ""))
            continue
        usable.append(fact)
        estimate, how = _alone(fact, tests, division, config)
        rows.append(_row(fact, estimate, how))
    if len(usable) > 1:
        everything = Fact(name=TOGETHER, description=", ".join(fact.name for fact in usable), values={})
        estimate = _auc(_learnt(usable, tests, division), tests, config)
        rows.append(_row(everything, estimate, LEARNT))
    gaps = [_gap_row(fact, answers, tests, config) for fact in usable for answers in ranked]
    words = _words(rows, gaps, tests)
    return Shortcuts(facts=tuple(rows), follows=tuple(gaps), words=tuple(words))


def _row(fact: Fact, estimate: Estimate, how: str) -> FactRow:
    return FactRow(
        name=fact.name,
        told=fact.description,
        known=len(fact.values) if fact.name != TOGETHER else None,
        levels=tuple(_levels(fact)),
        auc=estimate,
        how=how,
    )


def _levels(fact: Fact) -> list[str]:
    if not fact.values:
        return []
    if fact.numeric:
        numbers = sorted(float(value) for value in fact.values.values())
        return [f"{numbers[0]:g} to {numbers[-1]:g} {fact.unit}".strip()]
    return [f"{level} ({n})" for level, n in Counter(map(str, fact.values.values())).most_common()]


def _useless(fact: Fact, tests: TestSet) -> str:
    """Why a fact cannot be tested here; empty when it can."""
    known = [fact.values[case] for case in tests.cases if case in fact.values]
    if not known:
        return "not known of any case"
    if len(set(known)) < 2 and len(known) == len(tests.cases):
        return f"the same for all {len(known)} cases"
    if len(set(known)) < 2 and len(known) < len(tests.cases):
        return f"one value, known of {len(known)} of {len(tests.cases)} cases"
    return ""


def _alone(fact: Fact, tests: TestSet, division: Division, config: EvaluationConfig) -> tuple[Estimate, str]:
    values = [fact.values.get(case) for case in tests.cases]
    simple = fact.numeric or len(set(values)) == 2
    if len(tests.subtypes) == 2 and simple and None not in values:
        score = np.unique(np.array(values), return_inverse=True)[1].astype(np.float64)
        score /= score.max()
        truth = tests.truth == tests.positive
        if (auc(score, truth) or 0.0) < 0.5:
            score = 1 - score
        return _auc(_as_answers(score, tests), tests, config), EXACT
    return _auc(_learnt([fact], tests, division), tests, config), LEARNT


def _as_answers(score: Floats, tests: TestSet) -> Predictions:
    rows = {
        case: tuple(s if i == tests.positive else 1 - s for i in range(2))
        for case, s in zip(tests.cases, score.tolist(), strict=True)
    }
    return Predictions(name="fact", kind="probe", description="", p=rows, fold=dict.fromkeys(rows, 0))


def _learnt(facts: Sequence[Fact], tests: TestSet, division: Division) -> Predictions:
    """Logistic regression on the facts, fitted and tested on the same folds as every candidate.

    Cases that no fold tests, such as those of an external set, get a fit on all cases of the folds.
    """
    from sklearn.linear_model import LogisticRegression

    folds, wanted = division.split.folds, frozenset(tests.cases)
    everyone = frozenset().union(*(fold.train | fold.validation | fold.test for fold in folds))
    parts = [(fold.train | fold.validation, fold.test & wanted) for fold in folds]
    parts.append((everyone, wanted.difference(*(fold.test for fold in folds))))
    p: dict[str, tuple[float, ...]] = {}
    for learn, asked in ((sorted(names), sorted(asked)) for names, asked in parts if asked):
        x, y = _design(facts, learn, learn), np.array([division.labels[case] for case in learn])
        fitted = LogisticRegression(C=1.0, max_iter=1000).fit(x, y)
        found = fitted.predict_proba(_design(facts, learn, asked))
        wide = np.zeros((len(asked), len(tests.subtypes)))
        wide[:, fitted.classes_] = found
        p |= {case: tuple(row) for case, row in zip(asked, wide.tolist(), strict=True)}
    return Predictions(name="fact", kind="probe", description="", p=p, fold=dict.fromkeys(p, 0))


def _design(facts: Sequence[Fact], learn: Sequence[str], cases: Sequence[str]) -> Floats:
    """Columns (n, k): numbers standardized by the learning cases with a column for unknown; words as 0 and 1."""
    columns = []
    for fact in facts:
        if fact.numeric:
            known = [float(fact.values[case]) for case in learn if case in fact.values]
            middle, spread = (float(np.mean(known)), float(np.std(known)) or 1.0) if known else (0.0, 1.0)
            columns.append([(float(fact.values.get(case, middle)) - middle) / spread for case in cases])
        else:
            levels = sorted({str(fact.values[case]) for case in learn if case in fact.values})
            columns += [[float(fact.values.get(case) == level) for case in cases] for level in levels]
        columns.append([float(case not in fact.values) for case in cases])
    return np.array(columns, dtype=np.float64).T


def _auc(answers: Predictions, tests: TestSet, config: EvaluationConfig) -> Estimate:
    return figures_of(answers, tests, config)["auc"]


def _gap_row(fact: Fact, answers: Predictions, tests: TestSet, config: EvaluationConfig) -> FactGap:
    one, other, above = _two_sides(fact, tests)
    known = np.array([case in fact.values for case in tests.cases])
    estimate = within_class_gap(tests.probabilities(answers)[:, tests.positive], above, known, tests, config)
    return FactGap(fact=fact.name, name=answers.name, one=one, other=other, gap=estimate)


def _two_sides(fact: Fact, tests: TestSet) -> tuple[str, str, Bools]:
    """Names of two sides of a fact, and which cases are on the first: above the median, or the commonest word."""
    values = [fact.values.get(case) for case in tests.cases]
    if fact.numeric:
        middle = float(np.median([float(v) for v in values if v is not None]))
        if middle == max(float(v) for v in values if v is not None):
            above = np.array([v is not None and float(v) >= middle for v in values])
            return f"{middle:g} {fact.unit}".strip(), "less", above
        above = np.array([v is not None and float(v) > middle for v in values])
        return f"above {middle:g} {fact.unit}".strip(), "up to that", above
    counted = Counter(str(v) for v in values if v is not None).most_common()
    first = counted[0][0]
    others = counted[1][0] if len(counted) == 2 else "any other"
    return first, others, np.array([v == first for v in values])


def within_class_gap(
    p: Floats, above: Bools, known: Bools, tests: TestSet, config: EvaluationConfig
) -> Estimate:
    """How much higher the probability of the positive subtype is on one side of a fact, among cases of one subtype.

    The difference of the means within each subtype, averaged by the subtypes' numbers; 0 when a candidate's
    probability does not go with the fact once the truth is given.
    """
    cells, shares, values = [], [], []
    for subtype in np.unique(tests.truth):
        own = (tests.truth == subtype) & known
        sides = own & above, own & ~above
        if sides[0].any() and sides[1].any():
            cells.append([(tests.patients.per_patient(p * s), tests.patients.per_patient(s)) for s in sides])
            shares.append(int(own.sum()))
            values.append(float(p[sides[0]].mean() - p[sides[1]].mean()))
    if not cells:
        return no_estimate("undefined: no subtype has cases on both sides", int(known.sum()))
    weight = np.array(shares) / sum(shares)

    def statistic(weights: Floats) -> Floats:
        total = np.zeros(len(weights))
        for share, sides in zip(weight, cells, strict=True):
            means = [
                np.divide(weights @ s, weights @ n, out=np.full(len(weights), np.nan), where=weights @ n > 0)
                for s, n in sides
            ]
            total += share * (means[0] - means[1])
        return total

    value = float(np.dot(weight, values))
    return bootstrapped(statistic, value, sum(shares), tests, config)


def _words(rows: Sequence[FactRow], gaps: Sequence[FactGap], tests: TestSet) -> list[str]:
    lines = []
    for row in rows:
        e = row.auc
        if e.value is None or e.low is None or e.high is None or e.low <= 0.5:
            continue
        line = f"In this cohort {row.name} alone gives AUC {e.value:.2f} ({e.low:.2f} to {e.high:.2f})"
        if row.name == TOGETHER:
            lines.append(f"{line.replace(' alone gives', ' give')}, without any image.")
        else:
            own = [gap for gap in gaps if gap.fact == row.name]
            lines.append(
                f"{line}: a model that knows it can reach this AUC without looking at the tumor. "
                f"{_followers(own, tests)}"
            )
    return lines or ["No fact other than the tumor is shown to predict the subtype in this cohort."]


def _followers(gaps: Sequence[FactGap], tests: TestSet) -> str:
    """Who follows a fact; where it never differs within a subtype that cannot be seen, and nobody is cleared."""
    if all(gap.gap.value is None for gap in gaps):
        return (
            "Whether a candidate follows it cannot be determined: within each subtype all cases are on one side of "
            "it, so these data cannot separate the fact from the subtype."
        )
    return " ".join(filter(None, (_follower(gap, tests) for gap in gaps))) or (
        "No candidate is shown to follow it within a subtype."
    )


def _follower(gap: FactGap, tests: TestSet) -> str:
    """A sentence on a learner whose gap is not by chance; else empty."""
    e, subtype = gap.gap, tests.subtypes[tests.positive]
    if e.value is None or e.low is None or e.high is None or e.low <= 0 <= e.high:
        return ""
    return (
        f"Within a subtype, {gap.name} gives {subtype} {abs(e.value):.2f} "
        f"({min(abs(e.low), abs(e.high)):.2f} to {max(abs(e.low), abs(e.high)):.2f}) "
        f"{'more' if e.value > 0 else 'less'} probability to cases with {gap.one} than to cases with "
        f"{gap.other}."
    )
