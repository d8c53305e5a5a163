"""What each phase brings to a network of several phases: AUC by subset of phases, and all against the best one.

The same network is asked again with some phases taken away. The best single phase is chosen on the validation parts,
so that the test cases do not choose what they are compared with.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from nephroscope.imaging.grid import AIR_HU
from nephroscope.learning.engine.divisions import Division
from nephroscope.learning.engine.predictions import HOLDOUT, Predictions, Probabilities
from nephroscope.learning.engine.trained_runs import FoundRun
from nephroscope.learning.networks.table import PHASE_NETWORKS
from nephroscope.learning.run_files import KeptNetwork
from nephroscope.learning.score_run import MeanNetwork, exported_folds
from nephroscope.questions.compare.facts import Fact
from nephroscope.questions.compare.measures import TestSet, auc_of, figures_of
from nephroscope.questions.compare.pairs import auc_difference
from nephroscope.questions.compare.results import AllPhases, PhasesTable, PhaseSubset, Shortcuts
from nephroscope.records import Estimate, EvaluationConfig, Finding, warning
from nephroscope.statistics.intervals import no_estimate
from nephroscope.study.slices import SliceStore
from nephroscope.study.snapshot import Snapshot

PRESENCE = "which phases exist"
FEWEST = 4  # cases for a figure
MOST_PHASES = 4
Subset = tuple[str, ...]
Network = KeptNetwork | MeanNetwork


def phases_there(store: SliceStore, case_id: str) -> Subset:
    """The phases in which a case has slices."""
    rows = store.rows_by_case.get(case_id)
    return tuple(p for p in store.spec.phases if rows is not None and store.presence[p][rows].any())


def presence_fact(snapshot: Snapshot) -> list[Fact]:
    """Which phases each case has, as a fact of the probe; none where the slices have one phase."""
    store = snapshot.slices
    if not store.spec.phases:
        return []
    cases = [name for name in sorted(snapshot.labels) if name in store.rows_by_case]
    values = {case: " + ".join(phases_there(store, case)) or "none" for case in cases}
    return [Fact(name=PRESENCE, description="the contrast phases that the patient has", values=values)]


def presence_findings(shortcuts: Shortcuts) -> list[Finding]:
    """A warning where the phases that exist predict the subtype without any image."""
    found = []
    for row in shortcuts.facts:
        e = row.auc
        if row.name == PRESENCE and e.value is not None and e.low is not None and e.low > 0.5:
            text = (
                f"{PRESENCE} alone predicts the subtype (AUC {e.value:.2f}, from {e.low:.2f}): a network that takes "
                "several phases can use this instead of the tumor"
            )
            found.append(warning("phases-shortcut", text))
    return found


def phases_tables(
    snapshot: Snapshot, division: Division, runs: Sequence[FoundRun], sets: Mapping[str, TestSet]
) -> tuple[PhasesTable, ...]:
    """A table for each run of a network for several phases and each test set."""
    return tuple(
        _table(snapshot, division, run, tests)
        for run in runs
        if run.predictions is not None and run.model in PHASE_NETWORKS
        for tests in sets.values()
    )


def _table(snapshot: Snapshot, division: Division, run: FoundRun, tests: TestSet) -> PhasesTable:
    store, config = snapshot.slices, snapshot.settings.evaluation
    there = {case: phases_there(store, case) for case in tests.cases}
    phases = store.spec.phases
    asked = _Asked(snapshot, division, run)
    subsets = [s for n in range(1, len(phases) + 1) for s in combinations(phases, n)]
    rows = []
    for subset in subsets if len(phases) <= MOST_PHASES else [(phase,) for phase in phases]:
        own = _part(tests, [case for case in tests.cases if set(subset) <= set(there[case])])
        rows.append(PhaseSubset(phases=subset, n_cases=len(own.cases), auc=_auc(asked, subset, own, config)))
    best = _best_single(asked, division, tests)
    against = None
    if best and len(phases) > 1:
        own = _part(tests, [case for case in tests.cases if best in there[case]])
        against = _against(asked, phases, best, own, config)
    combos = [" + ".join(there[case]) for case in tests.cases]
    n_by_phases = {combo: combos.count(combo) for combo in sorted(set(combos))}
    return PhasesTable(
        name=run.name,
        test_set=tests.name,
        n_cases=len(tests.cases),
        n_by_phases=n_by_phases,
        rows=tuple(rows),
        all_against_best=against,
    )


class _Asked:
    """A run that is asked with some phases taken away."""

    def __init__(self, snapshot: Snapshot, division: Division, run: FoundRun) -> None:
        folder = snapshot.folder.run(run.name)
        self.store, self.name, self.division = snapshot.slices, run.name, division
        self.networks: dict[int, Network] = {
            fold.index: KeptNetwork(folder, fold.index) for fold in division.split.folds
        }
        kept = tuple(KeptNetwork(folder, index) for index in exported_folds(folder))
        self.networks[HOLDOUT] = MeanNetwork(networks=kept)

    def answers(self, subset: Subset, cases: Iterable[str]) -> Predictions:
        """Of test cases, each by the fold that did not see it."""
        fold_of = {name: fold.index for fold in self.division.split.folds for name in fold.test}
        fold = {case: fold_of.get(case, HOLDOUT) for case in cases}
        p = {case: self._mean(self.networks[index], subset, case) for case, index in fold.items()}
        return Predictions(name=self.name, kind="network", description="", p=p, fold=fold)

    def validated(self, subset: Subset) -> Predictions:
        """Of the cases of all validation parts that have the subset, the last fold's where several have a case."""
        fold, p = {}, {}
        for part in self.division.split.folds:
            for case in sorted(part.validation):
                if set(subset) <= set(phases_there(self.store, case)):
                    p[case], fold[case] = self._mean(self.networks[part.index], subset, case), part.index
        return Predictions(name=self.name, kind="network", description="", p=p, fold=fold)

    def _mean(self, network: Network, subset: Subset, case: str) -> Probabilities:
        rows = self.store.rows_by_case[case]
        rows = rows[np.any([self.store.presence[phase][rows] for phase in subset], axis=0)]
        air = np.full_like(self.store.hu[rows], AIR_HU)
        phases = self.store.spec.phases
        hu = np.stack([self.store.phases[p][rows] if p in subset else air for p in phases], axis=1)
        return tuple(network.probabilities(hu).mean(axis=0).tolist())


def _part(tests: TestSet, cases: Sequence[str]) -> TestSet:
    """A test set of some of its cases."""
    at = [tests.cases.index(case) for case in cases]
    return TestSet(
        name=tests.name,
        cases=tuple(cases),
        truth=tests.truth[at],
        subtypes=tests.subtypes,
        positive=tests.positive,
        patient_ids=tuple(tests.patient_ids[i] for i in at),
    )


def _enough(tests: TestSet) -> bool:
    return len(tests.cases) >= FEWEST and len(np.unique(tests.truth)) == len(tests.subtypes)


def _auc(asked: _Asked, subset: Subset, tests: TestSet, config: EvaluationConfig) -> Estimate:
    if not _enough(tests):
        return no_estimate("undefined: too few cases have these phases", len(tests.cases))
    return figures_of(asked.answers(subset, tests.cases), tests, config)["auc"]


def _best_single(asked: _Asked, division: Division, tests: TestSet) -> str:
    """The phase whose answers rank validation cases best, alone; empty where none can be ranked."""
    found = {}
    for phase in asked.store.spec.phases:
        answers = asked.validated((phase,))
        cases = [case for case in sorted(answers.p) if case in division.labels]
        if not cases:
            continue
        own = TestSet.of("validation", cases, division.labels, division.cohort)
        if _enough(own):
            found[phase] = auc_of(answers, own) or 0.0
    return max(found, key=lambda phase: found[phase], default="")


def _against(
    asked: _Asked, phases: Subset, best: str, tests: TestSet, config: EvaluationConfig
) -> AllPhases | None:
    if not _enough(tests):
        return None
    every, one = asked.answers(phases, tests.cases), asked.answers((best,), tests.cases)
    found = auc_difference(every, one, tests, config)
    d = found.difference
    between = "" if d.low is None or d.high is None else f" ({d.low:.2f} to {d.high:.2f})"
    value = "not computable" if d.value is None else f"{d.value:+.2f}"
    n = f"{len(tests.cases)} cases"
    text = f"All phases minus {best} alone, the best on validation cases: AUC {value}{between}, {n}."
    return AllPhases(
        best_single=best, n_cases=len(tests.cases), difference=d, p=found.p, test=found.method, words=text
    )
