"""How much a figure depends on chance: every learner on other divisions of the patients and with other seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from nephroscope.learning.engine.engine import Engine
from nephroscope.learning.engine.predictions import Predictions
from nephroscope.learning.learner import Learner
from nephroscope.questions.compare.measures import TestSet, auc_of, bootstrapped, first_test_set, widened
from nephroscope.questions.compare.pairs import macro_statistic
from nephroscope.questions.compare.plan import Schedule
from nephroscope.questions.compare.results import Repeated
from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.intervals import mean_statistic, no_estimate

NO_CHANCE = 1e-12


def repeat_all(
    schedule: Schedule, engine: Engine, learners: Mapping[str, Learner], first: Sequence[Predictions]
) -> list[Repeated]:
    """Each learner over all divisions and seeds: mean AUC with interval, SD over divisions and SD over seeds.

    Args:
        schedule: Says how often.
        engine: Fits and predicts.
        learners: By the name under which they were ranked.
        first: Predictions on splits.json.
    """
    asked = [(one, schedule.repeats_of(learners[one.name])) for one in first if one.name in learners]
    found = iter(engine.predict([pair for _, wanted in asked for pair in wanted], "repeats"))
    tests, n = first_test_set(schedule.snapshot, schedule.present), len(schedule.other_folds)
    config = schedule.snapshot.settings.evaluation
    rows = []
    for one, wanted in asked:
        said = [next(found) for _ in wanted]
        rows.append(_row(one, said[:n], said[n:], tests, config))
    return rows


def _row(
    first: Predictions,
    splits: Sequence[Predictions | str],
    seeds: Sequence[Predictions | str],
    tests: TestSet,
    config: EvaluationConfig,
) -> Repeated:
    """Figures of one learner; a fit that was refused on some division is listed, never skipped in silence."""
    by_split = [first, *(a for a in splits if isinstance(a, Predictions))]
    by_seed = [first, *(a for a in seeds if isinstance(a, Predictions))]
    values = [auc_of(one, tests) for one in by_split]
    sd_over_splits, n_splits = _spread(values)
    sd_over_seeds, n_seeds = _spread([auc_of(one, tests) for one in by_seed])
    return Repeated(
        name=first.name,
        repeats=len(by_split),
        auc=_mean_auc(by_split, tests, config),
        auc_by_repeat=tuple(values),
        sd_over_splits=sd_over_splits,
        sd_over_splits_n=n_splits,
        seeds=len(by_seed),
        sd_over_seeds=sd_over_seeds,
        sd_over_seeds_n=n_seeds,
        refused=tuple(one for one in (*splits, *seeds) if isinstance(one, str)),
    )


def _mean_auc(repeats: Sequence[Predictions], tests: TestSet, config: EvaluationConfig) -> Estimate:
    """Mean over divisions of the AUC, with the interval of that mean over redrawn patients.

    The same patients come again in each division, so the interval does not shrink with their number.
    """
    values = [auc_of(one, tests) for one in repeats]
    known = [value for value in values if value is not None]
    n = tests.patients.n
    if len(known) < len(values):
        return no_estimate("undefined: a class has no case", n, "patient")
    statistic = mean_statistic([macro_statistic(one, tests) for one in repeats])
    found = bootstrapped(statistic, float(np.mean(known)), len(tests.cases), tests, config)
    found = widened(found, tests.answered_by(repeats[0]).n_folds, (0.0, 1.0))
    return replace(found, method=f"mean over {len(repeats)} divisions; {found.method}")


def _spread(values: Sequence[float | None]) -> tuple[float | None, int]:
    """Standard deviation of the values that are known, and their number.

    None with fewer than two; 0 means that nothing depends on this chance.
    """
    known = [value for value in values if value is not None]
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return (0.0 if sd is not None and sd <= NO_CHANCE else sd), len(known)
