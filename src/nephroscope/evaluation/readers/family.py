"""The tests of one question on one test set in; the same with corrected p-values, and their sentences, out."""

from collections.abc import Sequence
from dataclasses import replace

from nephroscope.evaluation.readers.beside import Pair
from nephroscope.evaluation.readers.pooled import MeanBeside
from nephroscope.evaluation.readers.words import Tested, mean_sentence, pair_sentences
from nephroscope.evaluation.statistics.holm import holm


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
