"""Ranked candidates and their pairs in; whether a network beats the baselines, and what else to take away, out.

The first sentence is the answer to the question that a sceptic asks first. That two are the same is never said.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from nephroscope.experiments.folds import Answers
from nephroscope.experiments.measures import TestSet
from nephroscope.experiments.pairs import Pair
from nephroscope.records import Estimate, counted_noun, p_is, p_words

VERDICTS = {
    "network": "A network is shown to beat the best baseline",
    "baseline": "The best network is not shown to beat the baselines; the best baseline is shown to beat it",
    "not shown": "The best network is not shown to beat the best baseline",
}
FLATTERED = (
    " Which are best was seen in these very ranks, so their AUCs flatter, and the p of the pair alone is not that of "
    "a comparison planned beforehand."
)


def summary(ranked: Sequence[Answers], pairs: Sequence[Pair], tests: TestSet) -> list[str]:
    """What to take away: the answer first, then what is shown, who is first, and the rest in one line."""
    asked = primary(ranked, pairs)
    answer = asked["words"] if asked else _unanswered(ranked)
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
            f"Of {len(pairs)} pairs, {left} show no difference that these data support; "
            "this is not evidence that there is none."
        )
    return lines


def primary(ranked: Sequence[Answers], pairs: Sequence[Pair]) -> dict[str, Any] | None:
    """The best network against the best baseline; None without both.

    ``p`` is that of the pair alone. The ``verdict`` (network, baseline or not shown) goes by the p that is corrected
    for all pairs, as which two are best was seen in the ranks.
    """
    best = {kind: next((a.name for a in ranked if a.kind == kind), None) for kind in ("network", "baseline")}
    names = set(best.values())
    pair = next((pair for pair in pairs if {pair.one, pair.two} == names), None)
    if pair is None:
        return None
    above = pair.one == best["network"]
    difference = pair.difference if above else _turned(pair.difference)
    verdict = "not shown" if not pair.supported else "network" if above else "baseline"
    words = (
        f"{VERDICTS[verdict]}: {best['network']}, the best network, against {best['baseline']}, the best baseline: "
        f"{_size(difference)}, {_tested(pair, len(pairs))}, {counted_noun(difference.n, 'patient')}."
    )
    kinds = [a.kind for a in ranked]
    networks = {a.name for a in ranked if a.kind == "network"} - {best["network"]}
    shown = [p.one for p in pairs if p.supported and p.two == best["baseline"] and p.one in networks]
    if verdict == "not shown" and shown:  # closer to the baseline case by case, so told apart with less
        words += (
            f" {', '.join(shown)}, with a lower AUC, {'is' if len(shown) == 1 else 'are'} shown to beat it."
        )
    if max(kinds.count("network"), kinds.count("baseline")) > 1:
        words += FLATTERED
    return {
        **best,
        "verdict": verdict,
        "difference": asdict(difference),
        "p": pair.p,
        "p_holm": pair.p_holm,
        "words": words,
    }


def _unanswered(ranked: Sequence[Answers]) -> str:
    """Why the question has no answer: there is no network, or no baseline."""
    if any(answers.kind == "network" for answers in ranked):
        return "Whether a network beats the baselines is not answered: no baseline was ranked."
    return (
        "Whether a network beats the baselines is not answered: no network was ranked; `nephroscope compare STUDY "
        "--train mobilenet_v2` trains one on these folds."
    )


def _turned(d: Estimate) -> Estimate:
    """The same difference, the other way round."""
    low, high = (None if end is None else -end for end in (d.high, d.low))
    return replace(d, value=None if d.value is None else -d.value, low=low, high=high)


def _size(d: Estimate) -> str:
    if d.value is None:
        return f"difference of AUC undefined, {d.method}"
    between = "" if d.low is None or d.high is None else f" ({d.low:z.2f} to {d.high:z.2f})"
    return f"difference of AUC, network minus baseline, {d.value:z.2f}{between}"


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
        f"; that {'they are' if equals else 'it is'} better than {', '.join(others)} is not shown"
        if others
        else ""
    )
    return f"{has} the highest AUC here{than} ({counted_noun(n_patients, 'patient')})."


def _networks_against_baselines(ranked: Sequence[Answers], pairs: Sequence[Pair]) -> list[str]:
    """Every network against the best baseline, where no difference is shown; the best network stands above."""
    best = next((answers.name for answers in ranked if answers.kind == "baseline"), None)
    others = [answers.name for answers in ranked if answers.kind == "network"][1:]
    return [
        pair.words
        for pair in pairs
        if not pair.supported and best in (pair.one, pair.two) and (pair.one in others or pair.two in others)
    ]
