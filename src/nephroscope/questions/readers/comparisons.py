"""Two answers to the same cases compared, means of readers, and what the tests show after correction.

The questions of a test set: readers against networks, readers against baselines, aided against unaided. The tests
of one question are corrected together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nephroscope.base.errors import CohortError
from nephroscope.questions.readers.answers import CaseLabels, Reader
from nephroscope.records import Estimate, EvaluationConfig, counted_noun, p_is
from nephroscope.statistics.auc import PairedTest, compare_aucs
from nephroscope.statistics.intervals import Patients, no_estimate
from nephroscope.statistics.margin import MarginTest, against_margin, interval_against_margin, turned
from nephroscope.statistics.mcnemar import McNemarTest, holm, mcnemar
from nephroscope.statistics.metrics import Floats
from nephroscope.statistics.mrmc import Difference, against_one, analyse
from nephroscope.statistics.mrmc_design import Design, Figure, numbered

FIGURES: tuple[Figure, ...] = ("accuracy", "sensitivity", "specificity", "auc")
FEW_READERS = 5


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two answers compared on the cases that both called, and on those that both rated.

    Attributes:
        first: Title of the one, ``second`` of the other; differences are first minus second.
        n_called: Cases that both called, of ``n_patients`` patients.
        calls: McNemar test of correct calls: exact; by patient (Obuchowski 1998) where patients have several of the
            cases. None where no case is called by both.
        areas: Paired test of the AUCs; None where no case is rated by both.
        n_rated: Cases that both rated.
        calls_p_holm: p of the calls, corrected within its question; ``areas_p_holm`` that of the AUCs.
        sentences: What this shows after correction, in words.
        against_margin: Whether the model's AUC (``second``) is not inferior to the reader's; None without a margin.
    """

    first: str
    second: str
    n_called: int
    n_patients: int
    calls: McNemarTest | None
    areas: PairedTest | None
    n_rated: int
    calls_p_holm: float | None = None
    areas_p_holm: float | None = None
    sentences: tuple[str, ...] = ()
    against_margin: MarginTest | None = None


def compare_pair(one: Reader, two: Reader, labels: CaseLabels, config: EvaluationConfig) -> Pair:
    """Compare two answers, paired by case; not yet corrected for other tests, so without a sentence."""
    called = [case for case in one.called if case in two.called]
    rated = [case for case in one.rated if case in two.rated]
    areas = None
    if rated:
        areas = compare_aucs(
            one.scores(rated),
            two.scores(rated),
            labels.is_positive(rated),
            _patients(one, two, rated, labels),
            config,
        )
    return Pair(
        first=one.title,
        second=two.title,
        n_called=len(called),
        n_patients=len({labels.patient_of[case] for case in called}),
        calls=_compare_calls(one, two, called, labels, config) if called else None,
        areas=areas,
        n_rated=len(rated),
    )


def _patients(one: Reader, two: Reader, cases: list[str], labels: CaseLabels) -> Patients:
    """The patient of each case, and the folds of the two: of a person one, of cross-validated answers several."""
    folds = max(one.folds(cases), two.folds(cases), key=lambda found: len(set(found)))
    return Patients.of([labels.patient_of[case] for case in cases], labels.indices(cases), folds)


def _compare_calls(
    one: Reader, two: Reader, called: list[str], labels: CaseLabels, config: EvaluationConfig
) -> McNemarTest:
    """The exact test where every case is another patient's; otherwise the test by patient."""
    right_one, right_two = one.right(called, labels), two.right(called, labels)
    patients = _patients(one, two, called, labels)
    return mcnemar(right_one, right_two, patients, config)


@dataclass(frozen=True, kw_only=True)
class MeanOfReaders:
    """Mean of a figure over readers, of the cases that all of them answered; random readers and cases."""

    figure: Figure
    aided: bool
    n_readers: int
    n_cases: int
    mean: Estimate


@dataclass(frozen=True, kw_only=True)
class MeanComparison:
    """Mean of the readers minus a model, or unaided minus aided.

    Attributes:
        p_holm: Of ``found.test``, corrected within its question.
        sentence: What it shows after correction, in words.
        against_margin: Whether the model's AUC is not inferior to the mean of the readers; None without a margin.
    """

    figure: Figure
    n_readers: int
    n_cases: int
    found: Difference
    p_holm: float | None = None
    sentence: str = ""
    against_margin: MarginTest | None = None


def mean_of_readers(readers: Sequence[Reader], labels: CaseLabels, confidence: float) -> list[MeanOfReaders]:
    """Mean of each figure over readers that are all aided or all unaided; None, and why, where there is none."""
    found = []
    for figure in FIGURES:
        design, n = _design([readers], labels, figure)
        if isinstance(design, str):
            mean = no_estimate(design, n)
        else:
            (mean,) = analyse(design, figure, "jackknife", confidence).means.values()
        aided = readers[0].aided
        found.append(MeanOfReaders(figure=figure, aided=aided, n_readers=len(readers), n_cases=n, mean=mean))
    return found


def mean_against_model(
    readers: Sequence[Reader], model: Reader, labels: CaseLabels, confidence: float
) -> list[MeanComparison]:
    """Mean of two or more readers minus the model, by figure, on the cases that all of them answered."""
    found: list[MeanComparison] = []
    n_folds = len(set(model.folds([*model.answers])))
    for figure in FIGURES:
        design, n = _design([[*readers, model]], labels, figure)
        if len(readers) < 2 or isinstance(design, str):
            continue
        people = replace(design, readers=design.readers[:-1], ratings=design.ratings[:, :-1])
        difference = against_one(people, design.ratings[0, -1], model.title, figure, confidence, n_folds)
        if readers[0].aided:
            difference = replace(difference, first=f"{difference.first}, aided")
        found.append(MeanComparison(figure=figure, n_readers=len(readers), n_cases=n, found=difference))
    return found


def aided_against_unaided(
    unaided: Sequence[Reader], aided: Sequence[Reader], labels: CaseLabels, confidence: float
) -> list[MeanComparison]:
    """Unaided minus aided over the readers who did both, by figure; readers in the same order in both."""
    found = []
    for figure in FIGURES:
        design, n = _design([unaided, aided], labels, figure)
        if not isinstance(design, str):
            difference = analyse(design, figure, "jackknife", confidence).differences[0]
            found.append(MeanComparison(figure=figure, n_readers=len(unaided), n_cases=n, found=difference))
    return found


def _design(arms: Sequence[Sequence[Reader]], labels: CaseLabels, figure: Figure) -> tuple[Design | str, int]:
    """The crossing of the cases that everybody answered, or why there is no analysis; and how many cases."""
    everybody = [reader for arm in arms for reader in arm]
    answered = [set(reader.rated if figure == "auc" else reader.called) for reader in everybody]
    cases = [case for case in everybody[0].answers if all(case in of for of in answered)]
    if len(arms[0]) < 2:
        return "undefined: one reader; a mean over readers needs two", len(cases)
    if not cases:
        answer = "confidence" if figure == "auc" else "call"
        return f"undefined: no case with a {answer} of every reader", 0
    design = Design(
        treatments=("unaided", "aided") if len(arms) == 2 else ("readers",),
        readers=tuple(reader.name for reader in arms[0]),
        ratings=np.array([[_ratings(reader, cases, labels, figure) for reader in arm] for arm in arms]),
        truth=labels.is_positive(cases),
        patient=numbered([labels.patient_of[case] for case in cases]),
    )
    try:
        design.check(figure, "jackknife")
    except CohortError as error:
        return f"undefined: expected {error.expected}, found {error.found}", len(cases)
    return design, len(cases)


def _ratings(reader: Reader, cases: list[str], labels: CaseLabels, figure: Figure) -> Floats:
    """Confidences; or 1 and 0 chosen so that the figure counts a case as correct where the call is correct."""
    if figure == "auc":
        return reader.scores(cases)
    positive, called = labels.is_positive(cases), reader.called
    if figure == "accuracy":
        right = reader.right(cases, labels)
        return np.where(right, positive, ~positive).astype(float)
    return np.array([called[case] == labels.positive for case in cases], dtype=float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """A p with its correction for ``n_tests``, ``p_holm``; below ``alpha`` it shows a difference."""

    p: float | None
    p_holm: float | None
    n_tests: int
    alpha: float

    @property
    def shown(self) -> bool:
        """True when a sentence may claim a difference."""
        return self.p_holm is not None and self.p_holm < self.alpha

    def __str__(self) -> str:
        if self.p is None or self.p_holm is None:
            return "no p"
        if self.n_tests < 2:
            return p_is(self.p)
        return f"{p_is(self.p)}, corrected for {self.n_tests} tests {p_is(self.p_holm)}"


def _calls_sentence(pair: Pair, test: McNemarTest | None, tested: Tested) -> str:
    one, two = pair.first, pair.second
    if test is None:
        return f"{one} and {two} have no case in common that both called."
    first, second = test.both + test.only_one, test.both + test.only_two
    if test.p is None:
        return (
            f"{one} and {two} classified {first} and {second} of {counted_noun(test.n, 'case')} of "
            f"{counted_noun(pair.n_patients, 'patient')} correctly: difference {_interval(test.difference)}. "
            f"{test.method[:1].upper()}{test.method[1:]}."
        )
    name = "McNemar by patient" if "by patient" in test.method else "exact McNemar"
    how = f"{name} {tested}, {counted_noun(test.n, 'case')}"
    if not tested.shown:
        return f"No difference between {one} and {two} is shown ({first} and {second} of {test.n} correct; {how})."
    if first < second:
        one, two, first, second = two, one, second, first
    return f"{one} classified more cases correctly than {two} ({first} and {second} of {test.n}; {how})."


def _interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"not available ({estimate.method})"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f} ({estimate.method})"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f}; {estimate.method})"


def _areas_sentence(pair: Pair, test: PairedTest, tested: Tested) -> str:
    one, two, n = pair.first, pair.second, counted_noun(pair.n_rated, "case")
    if test.p is None or test.difference.value is None:
        return f"The AUCs of {one} and {two} could not be compared: {test.method} ({n})."
    how = f"{test.method}, {tested}, {n}"
    if not tested.shown:
        return f"No difference between the AUCs of {one} and {two} is shown ({how})."
    better, other = (one, two) if test.difference.value > 0 else (two, one)
    return f"The AUC of {better} is higher than that of {other} ({how})."


def _mean_sentence(mean: MeanComparison, tested: Tested) -> str:
    """What the mean of readers against a model, or unaided against aided, shows."""
    found, name = mean.found, "AUC" if mean.figure == "auc" else mean.figure
    first = f"the {found.first}" if found.first.startswith("mean of") else found.first
    value = found.difference.value
    if found.test.p is None or value is None:
        why = f"{found.test.method}; {counted_noun(mean.n_cases, 'case')}"
        return f"Mean {name}: {first} and {found.second} could not be compared ({why})."
    few = "; too few readers to generalize to others" if mean.n_readers < FEW_READERS else ""
    how = f"multi-reader analysis, {tested}, {mean.n_readers} readers, {counted_noun(mean.n_cases, 'case')}{few}"
    if not tested.shown:
        return f"No difference in {name} between {first} and {found.second} is shown ({how})."
    word = "higher" if value > 0 else "lower"
    return f"The {name} of {first} is {word} than that of {found.second} ({how})."


def with_margin(
    pairs: Sequence[Pair], means: Sequence[MeanComparison], margin: float
) -> tuple[list[Pair], list[MeanComparison]]:
    """Readers against models, and whether each model is shown to lose at most ``margin`` of AUC; 0 asks nothing."""
    if not margin:
        return [*pairs], [*means]
    of_pairs, of_means = [], []
    for pair in pairs:
        found = None
        if pair.areas is not None:
            names = pair.second, pair.first
            areas = pair.areas
            found = against_margin(replace(areas, difference=turned(areas.difference)), margin, names)
        words = (f"Margin {margin:g}: {found.words}.",) if found else ()
        of_pairs.append(replace(pair, against_margin=found, sentences=(*pair.sentences, *words)))
    for mean in means:
        found = None
        if mean.figure == "auc":
            names = mean.found.second, f"the {mean.found.first}"
            found = interval_against_margin(turned(mean.found.difference), margin, names)
        words = (f"Margin {margin:g}: {found.words}.",) if found else ()
        of_means.append(replace(mean, against_margin=found, sentence=" ".join((mean.sentence, *words))))
    return of_pairs, of_means


def correct(
    pairs: Sequence[Pair], means: Sequence[MeanComparison], alpha: float
) -> tuple[list[Pair], list[MeanComparison]]:
    """Correct all tests of a question together, and add what each shows after that, in words.

    Args:
        pairs: Two answers each; a test of the calls and one of the AUCs, where these could be computed.
        means: Means of readers against a model, or unaided against aided.
        alpha: A corrected p below it shows a difference; 1 minus the confidence of the intervals.
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
    corrected_pairs = []
    for pair, calls, areas in zip(pairs, of_pairs[::2], of_pairs[1::2], strict=True):
        sentences = [_calls_sentence(pair, pair.calls, calls)]
        if pair.areas is not None:
            sentences.append(_areas_sentence(pair, pair.areas, areas))
        pair = replace(pair, calls_p_holm=calls.p_holm, areas_p_holm=areas.p_holm)
        corrected_pairs.append(replace(pair, sentences=tuple(sentences)))
    corrected_means = [
        replace(mean, p_holm=one.p_holm, sentence=_mean_sentence(mean, one))
        for mean, one in zip(means, of_means, strict=True)
    ]
    return corrected_pairs, corrected_means
