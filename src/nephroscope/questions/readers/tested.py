"""The tests of one question on one test set in; the same with corrected p-values, and their sentences, out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nephroscope.questions.readers.figures import Pair
from nephroscope.questions.readers.pooled import FEW_READERS, MeanBeside
from nephroscope.records import Estimate, counted_noun, p_is
from nephroscope.statistics.auc import PairedTest
from nephroscope.statistics.mcnemar import McNemarTest, holm


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """A p with its correction: ``p_holm`` for ``n_tests``; a difference is shown where it is below ``alpha``."""

    p: float | None
    p_holm: float | None
    n_tests: int
    alpha: float

    @property
    def shown(self) -> bool:
        """True when a sentence may say that two differ."""
        return self.p_holm is not None and self.p_holm < self.alpha

    def __str__(self) -> str:
        if self.p is None or self.p_holm is None:
            return "no p"
        if self.n_tests < 2:
            return p_is(self.p)
        return f"{p_is(self.p)}, corrected for {self.n_tests} tests {p_is(self.p_holm)}"


def pair_sentences(pair: Pair, calls: Tested, areas: Tested) -> tuple[str, ...]:
    """What the calls of a pair say and, where there are any, its confidences."""
    of_calls = _of_calls(pair, pair.calls, calls)
    return (of_calls,) if pair.areas is None else (of_calls, _of_areas(pair, pair.areas, areas))


def _of_calls(pair: Pair, test: McNemarTest | None, tested: Tested) -> str:
    one, two = pair.first, pair.second
    if test is None:
        return f"{one} and {two} have no case in common that both called."
    first, second = test.both + test.only_one, test.both + test.only_two
    if test.p is None:
        return (
            f"{one} and {two} are right in {first} and {second} of {counted_noun(test.n, 'case')} of "
            f"{counted_noun(pair.n_patients, 'patient')}: difference {_interval(test.difference)}. "
            f"No test: cases of one patient are not independent."
        )
    how = f"exact McNemar {tested}, {counted_noun(test.n, 'case')}"
    if not tested.shown:
        return f"No difference between {one} and {two} is shown (right in {first} and {second} of {test.n}; {how})."
    if first < second:
        one, two, first, second = two, one, second, first
    return f"{one} is right more often than {two} (in {first} and {second} of {test.n}; {how})."


def _interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"not available ({estimate.method})"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f} ({estimate.method})"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f}; {estimate.method})"


def _of_areas(pair: Pair, test: PairedTest, tested: Tested) -> str:
    one, two, n = pair.first, pair.second, counted_noun(pair.n_rated, "case")
    if test.p is None or test.difference.value is None:
        return f"The AUCs of {one} and {two} cannot be tested: {test.method} ({n})."
    how = f"{test.method}, {tested}, {n}"
    if not tested.shown:
        return f"No difference between the AUCs of {one} and {two} is shown ({how})."
    better, other = (one, two) if test.difference.value > 0 else (two, one)
    return f"The AUC of {better} is higher than that of {other} ({how})."


def mean_sentence(mean: MeanBeside, tested: Tested) -> str:
    """What a mean of readers beside a model, or unaided beside aided, says."""
    found, name = mean.found, "AUC" if mean.figure == "auc" else mean.figure
    value = found.difference.value
    if found.test.p is None or value is None:
        why = f"{found.test.method}; {counted_noun(mean.n_cases, 'case')}"
        return f"Mean {name}: {found.first} and {found.second} cannot be tested ({why})."
    weak = f"; {mean.n_readers} readers say little of other readers" if mean.n_readers < FEW_READERS else ""
    how = f"multi-reader analysis, {tested}, {mean.n_readers} readers, {counted_noun(mean.n_cases, 'case')}{weak}"
    if not tested.shown:
        return f"No difference in {name} between {found.first} and {found.second} is shown ({how})."
    word = "higher" if value > 0 else "lower"
    return f"{name[0].upper()}{name[1:]} of {found.first} is {word} than of {found.second} ({how})."


def correct(
    pairs: Sequence[Pair], means: Sequence[MeanBeside], alpha: float
) -> tuple[list[Pair], list[MeanBeside]]:
    """Correct all tests of a question as one family, and say what each shows after that.

    The questions of a test set: readers beside networks, beside baselines, aided beside unaided.

    Args:
        pairs: Two answers each; a test of the calls and one of the AUCs, where they can be had.
        means: Means of readers beside a model, or unaided beside aided.
        alpha: A corrected p below it shows a difference; one less the confidence of the intervals.
    """
    raw: list[float | None] = []
    for pair in pairs:
        raw += [None if test is None else test.p for test in (pair.calls, pair.areas)]
    raw += [mean.found.test.p for mean in means]
    n_tests = sum(p is not None for p in raw)
    tested = [
        Tested(p=p, p_holm=p_holm, n_tests=n_tests, alpha=alpha)
        for p, p_holm in zip(raw, holm(raw), strict=True)
    ]
    of_pairs, of_means = tested[: 2 * len(pairs)], tested[2 * len(pairs) :]
    told_pairs = [
        replace(
            pair,
            calls_p_holm=calls.p_holm,
            areas_p_holm=areas.p_holm,
            sentences=pair_sentences(pair, calls, areas),
        )
        for pair, calls, areas in zip(pairs, of_pairs[::2], of_pairs[1::2], strict=True)
    ]
    told_means = [
        replace(mean, p_holm=one.p_holm, sentence=mean_sentence(mean, one))
        for mean, one in zip(means, of_means, strict=True)
    ]
    return told_pairs, told_means
