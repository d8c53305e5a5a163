"""Is a tumor none of the subtypes? Its distance from the training cases, and whether that finds foreign ones.

The embedding is EfficientNet-Lite0 with ImageNet weights, mean over the slices. Distances are Mahalanobis with one
covariance for all subtypes, shrunk (Ledoit and Wolf 2004), in a few principal directions: what a bundle needs of it
are means and directions over all training cases, no case's own numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nephroscope.clinic.outside import KEPT, OutsideCheck
from nephroscope.learning.baselines.frozen_features import frozen_table, why_no_frozen
from nephroscope.learning.baselines.inner_folds import Floats, patient_folds
from nephroscope.learning.engine.study_data import study_data
from nephroscope.records import DEVELOPMENT, Estimate
from nephroscope.statistics.estimates import share_of_cases
from nephroscope.statistics.intervals import Patients, no_estimate
from nephroscope.statistics.metrics import Ints, auc
from nephroscope.statistics.placements import area_interval
from nephroscope.study.snapshot import Snapshot

FEWEST = 15  # patients of each subtype of the question: fewer cannot show an AUROC above chance
MOST_DIRECTIONS, CASES_A_DIRECTION = 20, 4
FOLDS, SEED = 5, 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Whitening:
    """A linear map (F, d) after a mean (F,), under which the spread within subtypes is 1; their centers (K, d)."""

    mean: Floats
    directions: Floats
    centers: Floats

    def distances(self, values: Floats) -> Floats:
        """Of rows (n, F) from the nearest center, (n,)."""
        placed = (values - self.mean) @ self.directions
        apart = ((placed[:, None] - self.centers[None]) ** 2).sum(axis=2)
        nearest: Floats = np.sqrt(apart.min(axis=1))
        return nearest


def fit_whitening(values: Floats, labels: Ints) -> Whitening:
    """From training cases (n, F) and their subtypes.

    Source:
        Lee 2018, NeurIPS (class means, tied covariance); Ledoit and Wolf 2004, J Multivar Anal 88:365.
    """
    from sklearn.covariance import ledoit_wolf

    mean = values.mean(axis=0)
    n_directions = max(1, min(MOST_DIRECTIONS, len(values) // CASES_A_DIRECTION))
    principal = np.linalg.svd(values - mean, full_matrices=False)[2][:n_directions].T
    kinds = np.unique(labels)
    placed = (values - mean) @ principal
    within = np.vstack([placed[labels == kind] - placed[labels == kind].mean(axis=0) for kind in kinds])
    spread, _ = ledoit_wolf(within, assume_centered=True)
    sizes, axes = np.linalg.eigh(spread)
    directions = principal @ (axes / np.sqrt(np.maximum(sizes, 1e-9)))
    centers = np.stack([((values[labels == kind] - mean) @ directions).mean(axis=0) for kind in kinds])
    return Whitening(mean=mean, directions=directions, centers=centers)


@dataclass(frozen=True, eq=False, kw_only=True)
class OutsideStudy:
    """The development cases of a study in the embedding: values (n, F), subtypes (n,) and patients."""

    values: Floats
    labels: Ints
    patients: tuple[str, ...]
    subtypes: tuple[str, ...]
    other: tuple[str, ...]
    confidence: float

    @property
    def inside(self) -> tuple[str, ...]:
        """The subtypes of the question."""
        return tuple(name for name in self.subtypes if name not in self.other)

    def rows(self, names: Sequence[str]) -> Ints:
        """Rows of these subtypes."""
        wanted = [self.subtypes.index(name) for name in names]
        return np.flatnonzero(np.isin(self.labels, wanted))


def outside_study(snapshot: Snapshot) -> OutsideStudy | str:
    """The study in the embedding, or why there is none."""
    cohort, store = snapshot.cohort, snapshot.slices
    cases = [
        c for c in cohort.chosen if c.subtype and c.cohort == DEVELOPMENT and c.case_id in store.rows_by_case
    ]
    cases = [c for c in cases if c.case_id not in snapshot.split.holdout]
    other = snapshot.settings.cohort.other
    for name in cohort.subtypes:
        n = len({c.patient_id for c in cases if c.subtype == name})
        if name not in other and n < FEWEST:
            return (
                f"{n} patients of {name} for training and validation, and {FEWEST} of each subtype are needed"
            )
    data = study_data(snapshot)
    if why := why_no_frozen(data):
        return why
    return OutsideStudy(
        values=frozen_table(data).rows([c.case_id for c in cases]),
        labels=np.array([cohort.subtypes.index(c.subtype or "") for c in cases], dtype=np.intp),
        patients=tuple(c.patient_id for c in cases),
        subtypes=cohort.subtypes,
        other=other,
        confidence=snapshot.settings.evaluation.confidence,
    )


def check_outside(snapshot: Snapshot) -> OutsideCheck:
    """Whether foreign tumors are recognized: each subtype left out in turn, and those that the study calls other."""
    study = outside_study(snapshot)
    return not_measured(study, snapshot.settings.cohort.other) if isinstance(study, str) else checked(study)


def not_measured(why: str, other: tuple[str, ...] = ()) -> OutsideCheck:
    """What is said where nothing was measured."""
    words = (
        f"tumors of other subtypes are not recognized: whether they would be was not measured ({why}); they get one "
        "of the names too"
    )
    return OutsideCheck(recognizes=False, words=words, other=other)


def checked(study: OutsideStudy) -> OutsideCheck:
    """The same for the cases of a study."""
    aurocs, flagged = {}, {}
    for name in study.subtypes:
        rest = [one for one in study.inside if one != name]
        aurocs[name], flagged[name] = _left_out(study, rest, name)
    recognizes = all(e.low is not None and e.low > 0.5 for e in aurocs.values())
    told = "; ".join(
        f"{name} left out: AUROC {e.interval('.2f')}, {_percent(flagged[name])} flagged"
        for name, e in aurocs.items()
    )
    if not recognizes:
        words = f"tumors of other subtypes are not recognized ({told}); they get one of the names too"
        return OutsideCheck(recognizes=False, words=words, auroc=aurocs, flagged=flagged, other=study.other)
    inside = study.rows(study.inside)
    own, _ = _distances(study, inside, np.array([], dtype=np.intp))
    model = fit_whitening(study.values[inside], study.labels[inside])
    names = [study.subtypes[kind] for kind in np.unique(study.labels[inside])]
    words = (
        f"tumors unlike the training cases are flagged; {100 * KEPT:.0f} % of those like them are kept. "
        f"Tried with {told}. Other foreign tumors may not be recognized"
    )
    return OutsideCheck(
        recognizes=True,
        words=words,
        auroc=aurocs,
        flagged=flagged,
        centers={name: tuple(row) for name, row in zip(names, model.centers.tolist(), strict=True)},
        limit=float(np.quantile(own, KEPT)),
        other=study.other,
    )


def outside_words(check: OutsideCheck) -> str:
    """What the README of a bundle says of it."""
    held = (
        "embedding.onnx is a network trained on photographs with one linear layer; bundle.json has the mean of each "
        "subtype's training cases in it. Neither holds the numbers of a single case."
    )
    text = f"{check.words[0].upper()}{check.words[1:]}."
    return f"\n## Tumors outside the question\n\n{text}\n" + (f"\n{held}\n" if check.recognizes else "")


def _percent(share: Estimate) -> str:
    return "-" if share.value is None else f"{100 * share.value:.0f} %"


def _left_out(study: OutsideStudy, rest: Sequence[str], name: str) -> tuple[Estimate, Estimate]:
    """AUROC of the distance for a subtype that was left out, and its share beyond the limit of the others."""
    inside, foreign = study.rows(rest), study.rows([name])
    n = len({study.patients[i] for i in foreign})
    if n < 2:
        nothing = no_estimate(f"undefined: {n} patients of {name}", n, "patient")
        return nothing, nothing
    own, others = _distances(study, inside, foreign)
    scores = np.concatenate([own, others])
    is_foreign = np.arange(scores.size) >= own.size
    owners = [study.patients[i] for i in (*inside, *foreign)]
    patients = Patients.of(owners, is_foreign.astype(np.intp), range(FOLDS))
    value = auc(scores, is_foreign)
    interval = area_interval([(scores, is_foreign)], patients, study.confidence)
    beyond = others > np.quantile(own, KEPT)
    flagged = share_of_cases(beyond.tolist(), [study.patients[i] for i in foreign], study.confidence)
    return interval.around(value or 0.0, scores.size), flagged


def _distances(study: OutsideStudy, inside: Ints, foreign: Ints) -> tuple[Floats, Floats]:
    """Of cases of the question, each from centers of the folds without its patient; of foreign ones the mean."""
    labels, owners = study.labels[inside], [study.patients[i] for i in inside]
    fold = patient_folds(labels, owners, FOLDS, SEED)
    own, others = np.zeros(inside.size), np.zeros(foreign.size)
    numbers = np.unique(fold)
    for number in numbers:
        train, test = inside[fold != number], fold == number
        model = fit_whitening(study.values[train], study.labels[train])
        own[test] = model.distances(study.values[inside[test]])
        others += model.distances(study.values[foreign]) / numbers.size if foreign.size else 0.0
    return own, others


def save_embedding(snapshot: Snapshot, path: Path) -> None:
    """Write embedding.onnx: slices to the numbers in which the centers of the question's subtypes lie.

    Raises:
        StudyError: There is no embedding of this study.
    """
    from nephroscope.learning.networks.frozen import export_embedding

    study = outside_study(snapshot)
    assert not isinstance(study, str), study  # noqa: S101  # `check_outside` had one
    inside = study.rows(study.inside)
    model = fit_whitening(study.values[inside], study.labels[inside])
    hu = np.array(snapshot.slices.hu[:8])
    export_embedding(snapshot.slices.spec, model.directions, -model.mean @ model.directions, hu, path)
