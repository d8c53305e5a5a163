"""The whole reader study: figures, comparisons and agreement by test set and on all cases together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nephroscope.base.html import Record, ShownAsTable
from nephroscope.questions.readers.answers import CallTable, CaseLabels, Reader
from nephroscope.questions.readers.comparisons import (
    FEW_READERS,
    MeanComparison,
    MeanOfReaders,
    Pair,
    aided_against_unaided,
    compare_pair,
    correct,
    mean_against_model,
    mean_of_readers,
    with_margin,
)
from nephroscope.questions.readers.figures import ReaderFigures, figures_of
from nephroscope.records import OUT_OF_FOLD, EvaluationConfig, Finding, counted_noun, warning
from nephroscope.statistics.kappa import KappaReport, compare_readers


@dataclass(frozen=True, kw_only=True)
class ReaderResults:
    """Figures and tests on the cases of one test set, or on all of them together.

    Attributes:
        test_set: out-of-fold, internal-test, external-test:NAME, or a name for all together; empty without a study.
        readers: Figures of people, unaided before aided.
        models: Figures of models, on the cases that any reader answered; LEAKY ones are shown but not tested.
        means: Over readers, by figure and aided or not.
        against_models: Each reader against each model.
        mean_against_models: Mean of the readers against each model.
        aided: Each reader unaided against aided, ``mean_aided`` over all who did both.
        agreement: Between readers, unaided and aided; None with one reader.
        n_tests: How many p-values there are; each is corrected for those of its question.
        sentences: What the tests show, in words.
    """

    test_set: str
    n_cases: int
    n_patients: int
    readers: tuple[ReaderFigures, ...]
    models: tuple[ReaderFigures, ...]
    means: tuple[MeanOfReaders, ...]
    against_models: tuple[Pair, ...]
    mean_against_models: tuple[MeanComparison, ...]
    aided: tuple[Pair, ...]
    mean_aided: tuple[MeanComparison, ...]
    agreement: KappaReport | None
    agreement_aided: KappaReport | None
    n_tests: int
    sentences: tuple[str, ...]


def results_on(
    test_set: str,
    readers: Sequence[Reader],
    models: Sequence[Reader],
    labels: CaseLabels,
    config: EvaluationConfig,
    margin: float = 0.0,
) -> ReaderResults:
    """Compare readers with models on the cases that they answered.

    Args:
        test_set: Name of these cases.
        readers: People, with their answers about these cases only.
        models: Programs; answers about cases that no reader answered are not used.
        labels: Truth of the cases.
        config: Gives confidence, resamples and seed; a corrected p below 1 - confidence shows a difference.
        margin: Loss of AUC against readers that would not matter in a model; 0 where none is stated.
    """
    read = {case for reader in readers for case in reader.answers}
    programs = [program for model in models if (program := on_cases(model, read)).answers]
    tested = [program for program in programs if not program.leaky]
    unaided, aided = by_arm(readers)
    arms = [arm for arm in (unaided, aided) if arm]
    both = [(u, a) for u in unaided for a in aided if u.name == a.name]
    once, again = ([pair[i] for pair in both] for i in (0, 1))
    confidence = config.confidence
    pairs: list[Pair] = []
    means: list[MeanComparison] = []
    for rivals in ([m for m in tested if not m.baseline], [m for m in tested if m.baseline]):
        matches = [(arm, model) for arm in arms for model in rivals]
        of_pairs, of_means = correct(
            [compare_pair(reader, model, labels, config) for arm, model in matches for reader in arm],
            [m for arm, model in matches for m in mean_against_model(arm, model, labels, confidence)],
            1 - confidence,
        )
        of_pairs, of_means = with_margin(of_pairs, of_means, margin)
        pairs, means = [*pairs, *of_pairs], [*means, *of_means]
    mean_aided = aided_against_unaided(once, again, labels, confidence) if len(both) > 1 else []
    pairs_aided, mean_aided = correct(
        [compare_pair(u, a, labels, config) for u, a in both], mean_aided, 1 - confidence
    )
    every_pair, every_mean = [*pairs, *pairs_aided], [*means, *mean_aided]
    tests = [test for pair in every_pair for test in (pair.calls, pair.areas) if test is not None]
    of_pairs_in_words = [sentence for pair in every_pair for sentence in pair.sentences]
    return ReaderResults(
        test_set=test_set,
        n_cases=len(read),
        n_patients=len({labels.patient_of[case] for case in read}),
        readers=tuple(figures_of(reader, labels, config) for reader in readers),
        models=tuple(figures_of(program, labels, config) for program in programs),
        means=tuple(mean for arm in arms for mean in mean_of_readers(arm, labels, confidence)),
        against_models=tuple(pairs),
        mean_against_models=tuple(means),
        aided=tuple(pairs_aided),
        mean_aided=tuple(mean_aided),
        agreement=_agreement(unaided, labels, config),
        agreement_aided=_agreement(aided, labels, config),
        n_tests=sum(test.p is not None for test in (*tests, *(mean.found.test for mean in every_mean))),
        sentences=(*of_pairs_in_words, *(mean.sentence for mean in every_mean)),
    )


def by_arm(readers: Sequence[Reader]) -> tuple[list[Reader], list[Reader]]:
    """Unaided and aided."""
    return [r for r in readers if not r.aided], [r for r in readers if r.aided]


def on_cases(one: Reader, cases: set[str], test_set: str = "") -> Reader:
    """The answers about these cases only, without those that the model's own split puts in another test set."""
    kept = {
        case: reading
        for case, reading in one.answers.items()
        if case in cases and not (test_set and reading.group and reading.group != test_set)
    }
    return replace(one, answers=kept)


def _agreement(readers: Sequence[Reader], labels: CaseLabels, config: EvaluationConfig) -> KappaReport | None:
    if len(readers) < 2:
        return None
    answers = {
        reader.name: {case: r.call or "not sure" for case, r in reader.answers.items()} for reader in readers
    }
    return compare_readers(answers, labels.patient_of, config)


FORMAT = 1
POOLED = "all test sets pooled"
POOLED_NETWORKS = f"{POOLED} (different networks)"


@dataclass(frozen=True, kw_only=True)
class ReaderStudy(ReaderResults, ShownAsTable):
    """All results of a table of calls; the fields of `ReaderResults` are those of all cases together.

    Attributes:
        scale: Of the readers' confidence, in words; empty without one.
        groups: The same by test set; a single test set is all cases. Empty without a study.
        sentences: Those of every part; with several test sets each begins with the name of its own.
        synthetic: True when a case is a phantom.
        format: Of readers.json.
    """

    subtypes: tuple[str, ...]
    positive: str
    scale: str
    groups: Mapping[str, ReaderResults]
    findings: tuple[Finding, ...]
    synthetic: bool = False
    format: int = FORMAT

    def records(self) -> list[Record]:
        """A row per test set and reader or model: cases, and each figure with its limits."""
        rows: list[Record] = []
        for part in self.parts:
            for one in (*part.readers, *part.models):
                row: Record = {"test_set": part.test_set, "name": one.name, "aided": one.aided}
                row |= {"model": one.model, "n_cases": one.n_cases}
                for name, estimate in one.figures.items():
                    row |= estimate.columns(name)
                rows.append(row)
        return rows

    def summary(self) -> str:
        """Number of cases and patients, and marks."""
        counts = f"{counted_noun(self.n_cases, 'case')} of {counted_noun(self.n_patients, 'patient')}"
        return f"{counts}, positive {self.positive}{' | SYNTHETIC' if self.synthetic else ''}"

    @property
    def parts(self) -> tuple[ReaderResults, ...]:
        """What is shown: each test set and then all together, or all cases where there is one test set."""
        return (*self.groups.values(), self) if len(self.groups) > 1 else (self,)

    def sentences_of(self, part: ReaderResults) -> tuple[str, ...]:
        """The sentences of one of the parts, without its name."""
        if part is not self or len(self.groups) < 2:
            return part.sentences
        name = f"{self.test_set}: "
        return tuple(text.removeprefix(name) for text in self.sentences if text.startswith(name))


def study_readers(
    table: CallTable,
    models: Sequence[Reader],
    labels: CaseLabels,
    config: EvaluationConfig,
    synthetic: bool = False,
    findings: Sequence[Finding] = (),
) -> ReaderStudy:
    """Compare readers with models, by test set and on all cases together.

    Args:
        table: Readers, and models whose answers are in the same table.
        models: Further models, such as the runs of a study; answers about cases that no reader saw are not used.
        labels: Truth of the cases, and their test sets.
        config: Gives confidence, resamples and seed.
        synthetic: True when a case is a phantom.
        findings: Doubts about the models.
    """
    every = [*table.models, *models]
    sets = _test_sets(table.readers, labels)
    together = POOLED_NETWORKS if every else POOLED
    title = together if len(sets) > 1 else next(iter(sets), "")
    models = [on_cases(model, sets[title], title) for model in every] if len(sets) == 1 else every
    whole = results_on(title, table.readers, models, labels, config, table.margin)
    groups = {title: whole} if len(sets) == 1 else {}
    if len(sets) > 1:
        groups = {
            name: results_on(
                name,
                [kept for reader in table.readers if (kept := on_cases(reader, cases)).answers],
                [on_cases(model, cases, name) for model in every],
                labels,
                config,
                table.margin,
            )
            for name, cases in sets.items()
        }
    named = [f"{part.test_set}: {text}" for part in (*groups.values(), whole) for text in part.sentences]
    return ReaderStudy(
        **vars(whole) | ({"sentences": tuple(named)} if len(sets) > 1 else {}),
        subtypes=labels.subtypes,
        positive=labels.positive,
        scale=table.scale,
        groups=groups,
        findings=(*table.findings, *findings, *_doubts(table.readers, every, labels, whole)),
        synthetic=synthetic,
    )


def _test_sets(readers: Sequence[Reader], labels: CaseLabels) -> dict[str, set[str]]:
    """Cases that readers answered by test set, out-of-fold first; empty where no test set is known."""
    sets: dict[str, set[str]] = {}
    for reader in readers:
        for case in reader.answers:
            if case in labels.group_of:
                sets.setdefault(labels.group_of[case], set()).add(case)
    return dict(sorted(sets.items(), key=lambda item: (item[0] != OUT_OF_FOLD, item[0])))


def _doubts(
    readers: Sequence[Reader], models: Sequence[Reader], labels: CaseLabels, whole: ReaderResults
) -> list[Finding]:
    """What is doubtful about the study as a whole."""
    found = []
    n_readers = max(len(arm) for arm in by_arm(readers))
    if n_readers < FEW_READERS:
        few = f"{n_readers} readers are too few to generalize to other readers"
        found.append(warning("readers-few", "1 reader: no multi-reader analysis" if n_readers == 1 else few))
    if whole.n_patients < whole.n_cases:
        counts = f"{counted_noun(whole.n_cases, 'case')} of {counted_noun(whole.n_patients, 'patient')}"
        clustered = (
            "McNemar's test is by patient (Obuchowski 1998) where a patient has several of the cases; intervals and "
            "multi-reader analyses are by patient"
        )
        found.append(warning("readers-clustered", f"{counts}: {clustered}"))
    read = {case for reader in readers for case in reader.answers}
    for model in models:
        seen = on_cases(model, read).answers
        if not seen:
            found.append(warning("model-no-cases", f"{model.name}: no answer about a case that a reader saw"))
        other = [
            case for case, r in seen.items() if r.group and r.group != labels.group_of.get(case, r.group)
        ]
        if other:
            counts = f"{model.name}: {len(other)} of {len(seen)} cases"
            why = "are in a different test set in its own split than in splits.json; these are left out"
            found.append(warning("model-left-out", f"{counts} {why}"))
    return found
