"""A tested pair, or a tested mean of readers, in; the sentence that the corrected p allows out."""

from dataclasses import dataclass

from nephroscope.evaluation.readers.beside import Pair
from nephroscope.evaluation.readers.pooled import FEW_READERS, MeanBeside
from nephroscope.evaluation.statistics.auc import PairedTest
from nephroscope.evaluation.statistics.mcnemar import McNemarTest
from nephroscope.records import Estimate, counted_noun, p_is


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
