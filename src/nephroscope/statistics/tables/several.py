"""A table whose truth has more than two values, with a probability of each: each class against the rest, the mean."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.estimates import Rows, areas_of, estimate_all, pairwise_areas
from nephroscope.statistics.metrics import Ints
from nephroscope.statistics.tables.columns import TRUTH
from nephroscope.statistics.tables.rows import ReadOptions, drop_missing, notes_on, owners_of, read_rows
from nephroscope.statistics.tables.scores import Scored


@dataclass(frozen=True, eq=False, kw_only=True)
class SeveralClasses:
    """The rows, and the index of the class of each among ``classes``, (n,)."""

    scored: Scored
    classes: tuple[str, ...]
    truth: Ints

    def figures(self, config: EvaluationConfig) -> dict[str, Estimate]:
        """``macro``, the mean of the AUCs of the classes, then each class against all others, then each two classes.

        ``pairs`` is Hand and Till's mean over the pairs, and ``A, B`` that of one pair.
        """
        owners = self.scored.owners
        p = np.stack(list(self.scored.scores.values()), axis=1)
        rows = Rows(unit=owners.unit, truth=self.truth, called=self.truth, p=p, patients=owners.patients)
        found = estimate_all(rows, {}, areas_of(rows, self.classes, 0), config)
        named = {"macro": found["auc"]} | {name: found[f"auc_{name}"] for name in self.classes}
        pairs = pairwise_areas(rows, self.classes, config)
        both = {f"{a}, {b}": pairs[f"auc_pairs_{a}_{b}"] for a, b in combinations(self.classes, 2)}
        return named | {"pairs": pairs["auc_pairs"]} | both


def read_several(path: Path, options: ReadOptions) -> SeveralClasses | None:
    """The table, where no positive value and no score is named and each of three or more classes has p_CLASS.

    Raises:
        CohortError: A cell is wrong, a row occurs twice, or a case contradicts itself.
    """
    table = read_rows(path, options)
    truth = table.find(options.truth, TRUTH, "--truth")
    if options.positive is not None or options.score or options.lower_is_positive or truth is None:
        return None
    titles = {title.casefold(): title for title in table.header}
    named = sorted(title.removeprefix("p_") for title in titles if title.startswith("p_"))
    if len(named) < 3:
        return None
    table, left_out = drop_missing(table, (truth, *(titles[f"p_{name}"] for name in named)), options)
    classes = table.classes(truth)
    if len(classes) < 3 or not {value.casefold() for value in classes} <= set(named):
        return None
    columns = [titles[f"p_{value.casefold()}"] for value in classes]
    owners = owners_of(table, options, table.texts(truth), (truth, *columns))
    index = {value: i for i, value in enumerate(classes)}
    rest = "each class against all others, macro is their mean; each two classes, pairs is their mean (Hand and Till)"
    scored = Scored(
        table=table,
        scores={title: table.numbers(title) for title in columns},
        is_positive=np.array([value == classes[0] for value in table.texts(truth)]),
        truth=truth,
        positive=classes[0],
        owners=owners,
        notes=(rest, *left_out, *notes_on(table, owners)),
    )
    at = np.array([index[value] for value in table.texts(truth)], dtype=np.intp)
    return SeveralClasses(scored=scored, classes=tuple(classes), truth=at)
