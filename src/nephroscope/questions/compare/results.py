"""What a comparison finds, as records: ranks, pairs, repeats, the control with shuffled labels, and shortcuts."""

from collections.abc import Mapping
from dataclasses import dataclass

from nephroscope.records import Estimate, Finding
from nephroscope.statistics.margin import MarginTest


@dataclass(frozen=True, kw_only=True)
class Tempered:
    """Calibration after a temperature that was chosen on the validation parts."""

    intercept: Estimate
    slope: Estimate
    brier: Estimate


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Of the positive subtype's probability, as ranked; ``inside`` is None where ``inside_told`` says why."""

    intercept: Estimate
    slope: Estimate
    inside: Tempered | None
    inside_told: str


@dataclass(frozen=True, kw_only=True)
class RankedLearner:
    """One row of a table of ranks.

    Attributes:
        kind: baseline, network or stack.
        description: What the learner is, in a sentence.
        remarks: What users must know of it on this study.
        figures: ``auc``, ``auc_by_fold``, ``accuracy``, ..., ``brier``: each of cases.
        learned_from: Patients that a fit learned from, the fewest and the most of its fits; 0 where it is not known.
    """

    rank: int | None
    name: str
    kind: str
    description: str
    remarks: tuple[str, ...]
    figures: Mapping[str, Estimate]
    calibration: Calibration
    learned_from: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class CallPair:
    """The calls of two learners on the same cases: difference of accuracy, and who alone is correct how often.

    ``p`` is that of the McNemar test that ``test`` names (exact, or by patient where patients have several tumors),
    ``p_holm`` corrected for the number of pairs; None without a test.
    """

    difference: Estimate
    p: float | None
    only_one_right: int
    only_two_right: int
    test: str
    p_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two learners on the same cases; ``one`` ranks above ``two``.

    Attributes:
        difference: AUC of the first minus AUC of the second.
        p: Two-sided, of this pair alone; None where there is no test.
        p_holm: Corrected for the number of pairs.
        test: Its name, or why there is none.
        accuracy: Of the calls.
        supported: True when the data show a difference of AUC after correction.
        words: The same as a sentence.
    """

    one: str
    two: str
    difference: Estimate
    p: float | None
    p_holm: float | None
    test: str
    accuracy: CallPair
    supported: bool = False
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class SamePatients:
    """A network against a baseline that was fitted again on the very patients that the network learned from."""

    auc: Estimate
    difference: Estimate
    p: float | None
    test: str


@dataclass(frozen=True, kw_only=True)
class Primary:
    """The main question: the best network against the best baseline, or the pair ``named`` beforehand.

    ``verdict`` is network (the first of a named pair), baseline (the second) or not shown.

    Attributes:
        same_patients: The same where both learned from the same patients; None where they did in the first place, or
            where it is not known.
        against_margin: Against the margin of study.toml or ``--margin``; None without one.
    """

    network: str
    baseline: str
    verdict: str
    difference: Estimate
    p: float | None
    p_holm: float | None
    words: str
    named: bool = False
    same_patients: SamePatients | None = None
    against_margin: MarginTest | None = None


@dataclass(frozen=True, kw_only=True)
class RankTable:
    """All learners on one test set: ranks, pairs and what to take away, the answer first."""

    answer: str
    n_cases: int
    n_patients: int
    candidates: tuple[RankedLearner, ...]
    pairwise: tuple[Pair, ...]
    primary: Primary | None
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NotCompared:
    """A learner or run that was left out, and why."""

    name: str
    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LeakyRun:
    """A run on a split by image, which is never ranked; with the AUC of its evaluation where there is one."""

    name: str
    model: str
    reason: str
    auc: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """One learner over other divisions of the patients and other seeds; SDs are None with fewer than two values."""

    name: str
    repeats: int
    auc: Estimate
    auc_by_repeat: tuple[float | None, ...]
    sd_over_splits: float | None
    sd_over_splits_n: int
    seeds: int
    sd_over_seeds: float | None
    sd_over_seeds_n: int
    refused: tuple[str, ...]
    sd_over_splits_unit: str = "division"
    sd_over_seeds_unit: str = "seed"


@dataclass(frozen=True, kw_only=True)
class Control:
    """One learner on labels permuted between patients.

    Attributes:
        auc: Mean over the permutations.
        auc_by_fold: Mean of the means within folds.
        observed: AUC with the true labels.
        p: Of the permutations; ``p_floor`` is the least that so many can give.
        alarm: True when something may leak; None without permutations.
        noticed_above: The mean AUC above which there would have been an alarm.
        words: The same as a sentence.
        refused: Why fits were refused.
    """

    name: str
    permutations: int
    auc: Estimate
    auc_by_fold: float | None
    auc_by_fold_n: int
    lowest: float | None
    highest: float | None
    range_n: int
    observed: float | None
    p: float | None
    p_floor: float | None
    alarm: bool | None
    noticed_above: float | None
    words: str
    refused: tuple[str, ...]
    unit: str = "permutation"


@dataclass(frozen=True, kw_only=True)
class FactRow:
    """How well one fact alone predicts the subtype.

    Attributes:
        told: What the fact is.
        known: Cases of which it is known; None for all facts together.
        levels: Its values with their numbers, or its range.
        how: The score behind the AUC.
    """

    name: str
    told: str
    known: int | None
    levels: tuple[str, ...]
    auc: Estimate
    how: str


@dataclass(frozen=True, kw_only=True)
class FactGap:
    """How much more probability a learner gives on one side of a fact, among cases of one subtype."""

    fact: str
    name: str
    one: str
    other: str
    gap: Estimate


@dataclass(frozen=True, kw_only=True)
class Shortcuts:
    """Facts that should not predict a subtype: how well they do, who follows them, and what that means."""

    facts: tuple[FactRow, ...]
    follows: tuple[FactGap, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DecisionLine:
    """Net benefit of a subset over threshold probabilities, with limits; None where there is none."""

    thresholds: tuple[float, ...]
    net_benefit: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    method: str


@dataclass(frozen=True, kw_only=True)
class SubsetRow:
    """Figures of one subset of image, facts and radiomics; calibration is of the positive subtype's probability."""

    parts: tuple[str, ...]
    auc: Estimate
    brier: Estimate
    slope: Estimate
    intercept: Estimate
    decision: DecisionLine


@dataclass(frozen=True, kw_only=True)
class AddedValue:
    """What a part adds to others.

    Attributes:
        added: The part.
        to: Those that were there.
        statistic: Likelihood ratio of the nested regressions, of the positive subtype against all others.
        df: Columns that were added.
        p: Of that test; None where there is none.
        test: Its name, or why there is none.
        difference: AUC with the part minus AUC without it: an estimate. It has no p, as its test on the same data
            hardly ever rejects (Vickers 2011).
        words: The same as a sentence.
    """

    added: str
    to: tuple[str, ...]
    statistic: float
    df: int
    p: float | None
    test: str
    difference: Estimate
    words: str


@dataclass(frozen=True, kw_only=True)
class FusionTable:
    """Image, facts and radiomics on one test set; ``image`` names the network, ``n_without_facts`` counts cases."""

    image: str
    test_set: str
    n_cases: int
    n_patients: int
    n_without_facts: int
    rows: tuple[SubsetRow, ...]
    added: tuple[AddedValue, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PhaseSubset:
    """A network of several phases, shown these alone, on the cases that have all of them."""

    phases: tuple[str, ...]
    n_cases: int
    auc: Estimate


@dataclass(frozen=True, kw_only=True)
class AllPhases:
    """All phases that there are minus the best single one, on the cases that have it; chosen on validation cases."""

    best_single: str
    n_cases: int
    difference: Estimate
    p: float | None
    test: str
    words: str


@dataclass(frozen=True, kw_only=True)
class PhasesTable:
    """What the phases bring to one run on one test set; ``n_by_phases`` counts cases by the phases that they have."""

    name: str
    test_set: str
    n_cases: int
    n_by_phases: Mapping[str, int]
    rows: tuple[PhaseSubset, ...]
    all_against_best: AllPhases | None


@dataclass(frozen=True, kw_only=True)
class ComparisonDocument:
    """The content of comparison.json; ``test_set`` is the one that answer, repeats and control are about.

    ``findings`` are doubts about what was chosen on few validation cases. ``fusion`` is empty without clinical facts,
    ``phases`` without a network for several phases.
    """

    version: str
    subtypes: tuple[str, ...]
    positive: str
    synthetic: bool
    folds: int
    protocol: str
    seed: int
    split_seed: int
    criterion: str
    made_from: Mapping[str, str]
    runs_seen: tuple[str, ...]
    test_set: str
    groups: Mapping[str, RankTable]
    not_compared: tuple[NotCompared, ...]
    leaky: tuple[LeakyRun, ...]
    repeated: tuple[Repeated, ...]
    control: tuple[Control, ...]
    shortcuts: Shortcuts
    findings: tuple[Finding, ...] = ()
    fusion: tuple[FusionTable, ...] = ()
    phases: tuple[PhasesTable, ...] = ()

    @property
    def first(self) -> RankTable:
        """The table of ``test_set``."""
        return self.groups[self.test_set]
