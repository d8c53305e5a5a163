"""Pairs of ranked learners: whether a network beats the baselines, and what else to take away.

The first sentence is the answer to the question that a sceptic asks first. It never says that two are the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from nephroscope.learning.engine.predictions import Predictions
from nephroscope.questions.compare.measures import TestSet, auc_estimate
from nephroscope.questions.compare.results import CallPair, Pair, Primary, SamePatients
from nephroscope.records import Estimate, EvaluationConfig, counted_noun, p_is, p_words
from nephroscope.statistics import intervals
from nephroscope.statistics.auc import PairedTest, compare_aucs, compare_mean_aucs
from nephroscope.statistics.margin import against_margin, turned
from nephroscope.statistics.mcnemar import holm, mcnemar


def compare_pairs(ranked: Sequence[Predictions], tests: TestSet, config: EvaluationConfig) -> list[Pair]:
    """All pairs, tested on the very same cases and corrected together by Holm's method."""
    pairs = [_pair(one, two, tests, config) for one, two in combinations(ranked, 2)]
    corrected = holm([pair.p for pair in pairs])
    calls = holm([pair.accuracy.p for pair in pairs])
    alpha = 1 - config.confidence
    found = []
    for pair, p_holm, p_calls in zip(pairs, corrected, calls, strict=True):
        tested = replace(
            pair,
            p_holm=p_holm,
            accuracy=replace(pair.accuracy, p_holm=p_calls),
            supported=p_holm is not None and p_holm < alpha,
        )
        found.append(replace(tested, words=words_of(tested, tests, len(pairs))))
    return found


def words_of(pair: Pair, tests: TestSet, n_pairs: int) -> str:
    """What the data say of a pair; never that two are the same."""
    patients = counted_noun(tests.patients.n, "patient")
    d = pair.difference
    if d.value is None:
        return f"{pair.one} and {pair.two} cannot be compared: {d.method}."
    between = "" if d.low is None or d.high is None else f", {d.low:.2f} to {d.high:.2f}"
    size = f"difference of AUC {d.value:.2f}{between}"
    if pair.p is None or pair.p_holm is None:
        return f"The data do not show that {pair.one} is better than {pair.two} ({size}; {pair.test}; {patients})."
    p = p_is(pair.p)
    if n_pairs > 1:
        p += f", {p_words(pair.p_holm)} corrected for {n_pairs} pairs"
    verb = "show" if pair.supported else "do not show"
    return f"The data {verb} that {pair.one} is better than {pair.two} ({size}, {p}, {patients})."


def _pair(one: Predictions, two: Predictions, tests: TestSet, config: EvaluationConfig) -> Pair:
    found = auc_difference(one, two, tests, config)
    return Pair(
        one=one.name,
        two=two.name,
        difference=found.difference,
        p=found.p,
        p_holm=None,
        test=found.method,
        accuracy=_calls(one, two, tests, config),
    )


def auc_difference(
    one: Predictions, two: Predictions, tests: TestSet, config: EvaluationConfig
) -> PairedTest:
    """AUC of the first minus that of the second, the mean over subtypes where there are more than two."""
    areas, patients = (tests.areas(one), tests.areas(two)), tests.answered_by(one)
    if len(tests.subtypes) == 2:
        (a, truth), (b, _) = areas[0][0], areas[1][0]
        return compare_aucs(a, b, truth, patients, config, bootstrap=False)
    return compare_mean_aucs(*areas, patients, config)


def with_same_patients(
    asked: Primary,
    ranked: Sequence[Predictions],
    learned: Mapping[str, tuple[int, int]],
    tests: TestSet,
    config: EvaluationConfig,
) -> Primary:
    """The main question with what each learned from, and tested again where both learned from the same patients.

    A network needs patients that decide when to stop, so it learns from fewer than a baseline on the same folds.
    """
    by_name = {one.name: one for one in ranked}
    first, second = by_name[asked.network], by_name[asked.baseline]
    one, two = learned[first.name], learned[second.name]
    words = f"{asked.words} {_learned(first, tests, one)}; {_learned(second, tests, two)}"
    baseline, network = (first, second) if first.kind == "baseline" else (second, first)
    if one == two or (network.kind, baseline.kind) != ("network", "baseline"):
        return replace(asked, words=f"{words}.")
    if not all(case in baseline.same_patients for case in tests.cases):
        return replace(asked, words=f"{words}, which favors {baseline.name}.")
    fitted_again = replace(baseline, p=baseline.same_patients)
    again = [fitted_again if answers is baseline else answers for answers in (first, second)]
    test = auc_difference(again[0], again[1], tests, config)
    if test.difference.value is None:
        return replace(asked, words=f"{words}.")
    found = SamePatients(
        auc=auc_estimate(fitted_again, tests, config), difference=test.difference, p=test.p, test=test.method
    )
    size = _size(test.difference, asked.named) + (f", {p_is(test.p)}" if test.p is not None else "")
    words += (
        "; a network needs the others to decide when it stops. "
        f"With {baseline.name} fitted on the patients of {network.name} alone: {size}."
    )
    return replace(asked, same_patients=found, words=words)


def _learned(answers: Predictions, tests: TestSet, learned: tuple[int, int]) -> str:
    """From how many patients the fits learned, in words."""
    fewest, most = learned
    n = counted_noun(most, "patient") if fewest == most else f"{fewest} to {most} patients"
    if answers.kind == "network" and tests.answered_by(answers).n_folds == 1 and len(answers.validation) > 1:
        return f"{answers.name} is the mean of {len(answers.validation)} networks that learned from {n} each"
    return f"{answers.name} learned from {n}"


def with_margin(
    asked: Primary, ranked: Sequence[Predictions], margin: float, tests: TestSet, config: EvaluationConfig
) -> Primary:
    """The main question against a margin stated beforehand; as it is where there is none."""
    if not margin:
        return asked
    by_name = {one.name: one for one in ranked}
    test = auc_difference(by_name[asked.network], by_name[asked.baseline], tests, config)
    found = against_margin(test, margin, (asked.network, asked.baseline))
    words = f"{asked.words} Margin {margin:g}: {found.words}."
    return replace(asked, against_margin=found, words=words)


def macro_statistic(answers: Predictions, tests: TestSet) -> intervals.Statistic:
    """The AUC, or the mean over subtypes where there are more than two, as a function of patient weights."""
    parts = [intervals.auc_statistic(*area, tests.patients) for area in tests.areas(answers)]
    return intervals.mean_statistic(parts)


def _calls(one: Predictions, two: Predictions, tests: TestSet, config: EvaluationConfig) -> CallPair:
    """McNemar on the calls: exact, or Obuchowski's where patients have several tumors."""
    right = [tests.called(answers) == tests.truth for answers in (one, two)]
    found = mcnemar(right[0], right[1], tests.answered_by(one), config)
    return CallPair(
        difference=found.difference,
        p=found.p,
        only_one_right=found.only_one,
        only_two_right=found.only_two,
        test=found.method,
    )


VERDICTS = {
    "network": "A network is shown to beat the best baseline",
    "baseline": "The best network is not shown to beat the baselines; the best baseline is shown to beat it",
    "not shown": "The best network is not shown to beat the best baseline",
}
FLATTERED = (
    " Both were picked after seeing these results, so their AUCs are too optimistic, and the "
    "uncorrected p is not valid as it would be for a comparison planned beforehand."
)


def summary(
    ranked: Sequence[Predictions], pairs: Sequence[Pair], tests: TestSet, asked: Primary | None = None
) -> list[str]:
    """What to take away: the answer first, then what is shown, who is first, and the rest in one line."""
    asked = asked or primary(ranked, pairs)
    answer = asked.words if asked else _unanswered(ranked)
    if not pairs:
        return [answer, "One candidate: nothing to compare it with."]
    first = ranked[0].name
    beside = [pair for pair in pairs if pair.one == first and not pair.supported]
    lines = [answer, *(pair.words for pair in pairs if pair.supported)]
    if beside:
        lines.append(_highest(first, beside, tests.patients.n))
    lines += _networks_against_baselines(ranked, pairs)
    left = sum(not pair.supported for pair in pairs)
    if left:
        lines.append(
            f"For {left} of {len(pairs)} pairs the data do not show a difference; this does not mean "
            "that there is none."
        )
    return lines


def primary(
    ranked: Sequence[Predictions], pairs: Sequence[Pair], named: Sequence[str] = (), alpha: float = 0.05
) -> Primary | None:
    """The pair ``named`` beforehand, else the best network against the best baseline; None without both.

    ``p`` is that of the pair alone. The ``verdict`` (network, baseline or not shown) follows the p that is corrected
    for all pairs, as which two are best was seen in the ranks; for a pair named beforehand it follows its own p.
    """
    if named:
        return _named(pairs, named, alpha)
    best = {kind: next((a.name for a in ranked if a.kind == kind), None) for kind in ("network", "baseline")}
    names = set(best.values())
    pair = next((pair for pair in pairs if {pair.one, pair.two} == names), None)
    if pair is None:
        return None
    above = pair.one == best["network"]
    difference = pair.difference if above else turned(pair.difference)
    verdict = "not shown" if not pair.supported else "network" if above else "baseline"
    words = (
        f"{VERDICTS[verdict]}. Best network: {best['network']}; best baseline: {best['baseline']}; "
        f"{_size(difference)}, {_tested(pair, len(pairs))}, {counted_noun(difference.n, 'patient')}."
    )
    kinds = [a.kind for a in ranked]
    networks = {a.name for a in ranked if a.kind == "network"} - {best["network"]}
    shown = [p.one for p in pairs if p.supported and p.two == best["baseline"] and p.one in networks]
    if (
        verdict == "not shown" and shown
    ):  # closer to the baseline case by case, so a smaller difference is enough
        words += (
            f" {', '.join(shown)}, with a lower AUC, {'is' if len(shown) == 1 else 'are'} shown to beat it."
        )
    if max(kinds.count("network"), kinds.count("baseline")) > 1:
        words += FLATTERED
    return Primary(
        network=str(best["network"]),
        baseline=str(best["baseline"]),
        verdict=verdict,
        difference=difference,
        p=pair.p,
        p_holm=pair.p_holm,
        words=words,
    )


def _named(pairs: Sequence[Pair], named: Sequence[str], alpha: float) -> Primary:
    """The first of two names against the second, without correction: it was chosen before the results were seen."""
    first, second = named
    pair = next(pair for pair in pairs if {pair.one, pair.two} == {first, second})
    difference = pair.difference if pair.one == first else turned(pair.difference)
    shown = pair.p is not None and pair.p < alpha and difference.value is not None
    above = shown and (difference.value or 0.0) > 0
    verdict = "not shown" if not shown else "network" if above else "baseline"
    does = {
        "network": f"{first} is shown to be better than {second}",
        "baseline": f"{first} is shown to be worse than {second}",
        "not shown": f"{first} and {second} are not shown to differ",
    }[verdict]
    size = _size(difference, named=True)
    words = (
        f"{does} (the pair named before the results were seen): {size}, {_tested(pair, 1)}, "
        f"{counted_noun(difference.n, 'patient')}; {pair.test}."
    )
    return Primary(
        network=first,
        baseline=second,
        verdict=verdict,
        difference=difference,
        p=pair.p,
        p_holm=pair.p,
        words=words,
        named=True,
    )


def _unanswered(ranked: Sequence[Predictions]) -> str:
    """Why the question has no answer: there is no network, or no baseline."""
    if any(answers.kind == "network" for answers in ranked):
        return "Whether a network beats the baselines is not answered: no baseline was ranked."
    return (
        "Whether a network beats the baselines is not answered: no network was ranked; `nephroscope compare STUDY "
        "--train mobilenet_v2` trains one on these folds."
    )


def _size(d: Estimate, named: bool = False) -> str:
    if d.value is None:
        return f"difference of AUC undefined, {d.method}"
    between = "" if d.low is None or d.high is None else f" ({d.low:z.2f} to {d.high:z.2f})"
    which = "first minus second" if named else "network minus baseline"
    return f"difference of AUC, {which}, {d.value:z.2f}{between}"


def _tested(pair: Pair, n_pairs: int) -> str:
    if pair.p is None or pair.p_holm is None:
        return f"no p: {pair.test}"
    alone = p_is(pair.p)
    if n_pairs == 1:
        return alone
    return f"{alone}, {p_words(pair.p_holm)} corrected for {n_pairs} pairs"


def _highest(first: str, beside: Sequence[Pair], n_patients: int) -> str:
    """Who has the highest AUC, alone or with others, and than whom that is not shown to be better."""
    equals = [pair.two for pair in beside if pair.difference.value == 0]
    others = [pair.two for pair in beside if pair.two not in equals]
    has = f"{', '.join([first, *equals])} share" if equals else f"{first} has"
    than = (
        f"; {'they are' if equals else 'it is'} not shown to be better than {', '.join(others)}"
        if others
        else ""
    )
    return f"{has} the highest AUC here{than} ({counted_noun(n_patients, 'patient')})."


def _networks_against_baselines(ranked: Sequence[Predictions], pairs: Sequence[Pair]) -> list[str]:
    """Every network against the best baseline, where no difference is shown; the best network is in the answer."""
    best = next((answers.name for answers in ranked if answers.kind == "baseline"), None)
    others = [answers.name for answers in ranked if answers.kind == "network"][1:]
    return [
        pair.words
        for pair in pairs
        if not pair.supported and best in (pair.one, pair.two) and (pair.one in others or pair.two in others)
    ]
