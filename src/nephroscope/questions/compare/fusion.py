"""What image, clinical facts and radiomics add to each other: every subset of them, on the folds of the comparison.

Each fold's cases are answered by a regression fitted on the out-of-fold answers of the other folds' cases. Those come
from networks that had this fold's patients among their training cases, so the one weight of the image is not wholly
blind to them. Held-out cases are free of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from nephroscope.learning.baselines.fusion import facts_table, fit_fusion
from nephroscope.learning.engine.divisions import Division
from nephroscope.learning.engine.predictions import HOLDOUT, Predictions, Probabilities
from nephroscope.questions.compare.measures import TestSet, auc_estimate, brier
from nephroscope.questions.compare.pairs import auc_difference
from nephroscope.questions.compare.results import AddedValue, DecisionLine, FusionTable, SubsetRow
from nephroscope.records import ClinicalFacts, EvaluationConfig, counted_noun, p_is
from nephroscope.statistics.added_value import added_value
from nephroscope.statistics.decision_curve import decision_curve
from nephroscope.statistics.logistic import intercept_and_slope
from nephroscope.statistics.metrics import Floats
from nephroscope.study.snapshot import Snapshot

IMAGE, FACTS, RADIOMICS = "image", "facts", "radiomics"
WORDS = {IMAGE: "the image", FACTS: "age, sex and size", RADIOMICS: "radiomics"}
THRESHOLDS = np.arange(5, 100, 5) / 100
FEWEST_KNOWN = 5  # cases with a fact, for the facts to be asked about
LEAST_P = 1e-3  # a logit is taken to be no further from 0 than this probability's


@dataclass(frozen=True, eq=False, kw_only=True)
class _Parts:
    """What can be combined: answers by part, and the clinical facts of each case."""

    division: Division
    members: Mapping[str, Predictions]
    facts: Mapping[str, ClinicalFacts]

    @property
    def names(self) -> tuple[str, ...]:
        """The parts that there are, in the order of the subsets."""
        known = sum(bool(np.isfinite(facts_table([one])).any()) for one in self.facts.values())
        there = {*self.members, *([FACTS] if known >= FEWEST_KNOWN else [])}
        return tuple(name for name in (IMAGE, FACTS, RADIOMICS) if name in there)

    @property
    def image(self) -> Predictions:
        """The image's answers."""
        return self.members[IMAGE]


def fusion_tables(
    snapshot: Snapshot, division: Division, ranked: Sequence[Predictions], sets: Mapping[str, TestSet]
) -> tuple[FusionTable, ...]:
    """A table for each network and test set; of the frozen network where no run is ranked. None without facts."""
    by_name = {one.name: one for one in ranked}
    images = [replace(one, p=one.image or one.p) for one in ranked if one.kind == "network"]
    images = images or [by_name[name] for name in ("frozen",) if name in by_name]
    facts = {case.case_id: case.clinical for case in snapshot.cohort.cases}
    found = []
    for image in images:
        members = {IMAGE: image} | ({RADIOMICS: by_name["radiomics"]} if "radiomics" in by_name else {})
        parts = _Parts(division=division, members=members, facts=facts)
        if FACTS not in parts.names:
            continue
        combined = {subset: _combined(parts, subset) for subset in _subsets(parts.names)}
        for name, tests in sets.items():
            there = {
                s: answers
                for s, answers in combined.items()
                if answers is not None and _whole(answers, tests)
            }
            found.append(_table(name, parts, there, tests, snapshot.settings.evaluation))
    return tuple(found)


def _subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    return [subset for n in range(1, len(names) + 1) for subset in combinations(names, n)]


def _whole(answers: Predictions, tests: TestSet) -> bool:
    return all(case in answers.p for case in tests.cases)


def _combined(parts: _Parts, subset: tuple[str, ...]) -> Predictions | None:
    """The answers of a subset; of image or radiomics alone their own. None where there is nothing to fit on."""
    members = [parts.members[name] for name in subset if name != FACTS]
    if subset in ((IMAGE,), (RADIOMICS,)):
        return members[0]
    p: dict[str, Probabilities] = {}
    for index in dict.fromkeys(parts.image.fold.values()):
        cases = [case for case, own in parts.image.fold.items() if own == index]
        learn, said = _learn(parts, members, index)
        labels = np.array([parts.division.labels[case] for case in learn], dtype=np.intp)
        if len(set(labels.tolist())) < 2:
            return None
        owner = [parts.division.cohort.by_id[case].patient_id for case in learn]
        known = [parts.facts[case] for case in learn] if FACTS in subset else None
        fusion = fit_fusion(said, known, labels, owner)
        asked = _said(members, cases, said.shape[2])
        rows = fusion.probabilities(asked, [parts.facts[case] for case in cases])
        p |= {case: tuple(row) for case, row in zip(cases, rows.tolist(), strict=True)}
    name = "+".join(subset)
    return Predictions(name=name, kind="fusion", description=name, p=p, fold=dict(parts.image.fold))


def _learn(parts: _Parts, members: Sequence[Predictions], index: int) -> tuple[list[str], Floats]:
    """Cases that a regression for one fold may learn from, and what the members said of them."""
    labels, image, n_subtypes = parts.division.labels, parts.image, len(parts.division.cohort.subtypes)
    others = [
        c for c, own in image.fold.items() if own not in (index, HOLDOUT) and c in labels and c in parts.facts
    ]
    if others:
        return others, _said(members, others, n_subtypes)
    told = image.validation.get(max(index, 0), {})  # one fold: what was said of its validation part
    cases = [c for c in told if c in labels and all(c in m.validation.get(0, {}) for m in members)]
    rows = [[m.validation[max(index, 0)][c] for c in cases] for m in members]
    return cases, np.array(rows, np.float64).reshape(len(members), len(cases), n_subtypes)


def _said(members: Sequence[Predictions], cases: Sequence[str], n_subtypes: int) -> Floats:
    rows = [[member.p[case] for case in cases] for member in members]
    said: Floats = np.array(rows, dtype=np.float64).reshape(len(members), len(cases), n_subtypes)
    return said


def _table(
    name: str,
    parts: _Parts,
    combined: Mapping[tuple[str, ...], Predictions],
    tests: TestSet,
    config: EvaluationConfig,
) -> FusionTable:
    added = [
        _added(parts, combined, (subset, term), tests, config)
        for subset in combined
        for term in parts.names
        if term not in subset and tuple(sorted((*subset, term), key=parts.names.index)) in combined
    ]
    none = sum(not np.isfinite(facts_table([parts.facts[c]])).any() for c in tests.cases)
    words = [one.words for one in added if (one.added, one.to) == (FACTS, (IMAGE,))]
    if none:
        words.append(f"{counted_noun(none, 'case')} without any clinical fact: answered by the image alone.")
    return FusionTable(
        image=parts.image.name,
        test_set=name,
        n_cases=len(tests.cases),
        n_patients=tests.patients.n,
        n_without_facts=none,
        rows=tuple(_row(subset, answers, tests, config) for subset, answers in combined.items()),
        added=tuple(added),
        words=tuple(words),
    )


def _row(
    subset: tuple[str, ...], answers: Predictions, tests: TestSet, config: EvaluationConfig
) -> SubsetRow:
    p, truth = tests.probabilities(answers)[:, tests.positive], tests.truth == tests.positive
    patients = tests.answered_by(answers)
    slopes = intercept_and_slope(p, truth, patients, config, "case")
    curve = decision_curve(p, truth, patients, config, THRESHOLDS).net_benefit
    ends = [np.full(THRESHOLDS.size, np.nan) if side is None else side for side in (curve.low, curve.high)]
    return SubsetRow(
        parts=subset,
        auc=auc_estimate(answers, tests, config),
        brier=brier(tests.probabilities(answers), tests, config, patients.n_folds),
        slope=slopes["slope"],
        intercept=slopes["intercept"],
        decision=DecisionLine(
            thresholds=tuple(THRESHOLDS.tolist()),
            net_benefit=_plain(curve.y),
            low=_plain(ends[0]),
            high=_plain(ends[1]),
            method=curve.method,
        ),
    )


def _plain(values: Floats) -> tuple[float | None, ...]:
    return tuple(float(value) if np.isfinite(value) else None for value in np.atleast_1d(values))


def _added(
    parts: _Parts,
    combined: Mapping[tuple[str, ...], Predictions],
    question: tuple[tuple[str, ...], str],
    tests: TestSet,
    config: EvaluationConfig,
) -> AddedValue:
    subset, term = question
    both = tuple(sorted((*subset, term), key=parts.names.index))
    base = np.hstack([_term(parts, part, tests) for part in subset])
    n_folds = tests.answered_by(parts.image).n_folds
    found = added_value(
        base,
        _term(parts, term, tests),
        tests.truth == tests.positive,
        tests.patients.row,
        out_of_fold=0 if term == FACTS else n_folds,
        seed=config.seed,
    )
    difference = auc_difference(combined[both], combined[subset], tests, config).difference
    shown = found.p is not None and found.p < 1 - config.confidence
    what, to = WORDS[term], " and ".join(WORDS[part] for part in subset)
    add = "add" if term == FACTS else "adds"
    claim = f"{what} {add}" if shown else f"{what} {add} anything"
    tested = f"likelihood ratio {found.statistic:.1f}, {p_is(found.p)}" if found.p is not None else found.how
    words = f"The data {'show' if shown else 'do not show'} that {claim} to {to} ({tested})."
    if difference.value is not None:
        words += f" Difference of AUC {difference.interval('.2f')}: an estimate, not a test."
    return AddedValue(
        added=term,
        to=subset,
        statistic=found.statistic,
        df=found.df,
        p=found.p,
        test=found.how,
        difference=difference,
        words=words,
    )


def _term(parts: _Parts, name: str, tests: TestSet) -> Floats:
    """Columns of a part: the logit of its out-of-fold answer; of facts the numbers, gaps at the mean and marked."""
    if name != FACTS:
        p = np.clip(tests.probabilities(parts.members[name])[:, tests.positive], LEAST_P, 1 - LEAST_P)
        logit: Floats = np.log(p / (1 - p))[:, None]
        return logit
    table = facts_table([parts.facts[case] for case in tests.cases])
    known = np.isfinite(table)
    counts = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, np.nan_to_num(table), 0.0).sum(axis=0) / counts
    filled, gaps = np.where(known, table, means), np.unique((~known).astype(np.float64), axis=1)
    columns: Floats = np.hstack([filled, gaps])
    return columns
