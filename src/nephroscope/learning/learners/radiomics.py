"""Radiomics by IBSI with selection inside the fold and an elastic net."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nephroscope.base.errors import ConfigError
from nephroscope.learning.baselines.radiomics.cases import features_of_cases
from nephroscope.learning.baselines.radiomics.elastic_net import ElasticNet
from nephroscope.learning.baselines.radiomics.extract import EXTRA, mirp_version
from nephroscope.learning.learner import Floats, Ints, StudyData


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedRadiomics:
    """The model, and the names of its features in the order of its columns."""

    data: StudyData
    names: tuple[str, ...]
    model: ElasticNet

    def probabilities(self, case_ids: Sequence[str]) -> Floats:
        """Probabilities (n, K) of these cases."""
        return self.model.probabilities(feature_table(self.data, case_ids, self.names))

    @property
    def chosen(self) -> tuple[str, ...]:
        """The features that the model has, the best first."""
        n = self.model.choice.n_features if self.model.choice else 0
        return tuple(self.names[column] for column in self.model.selection.columns[:n])


@dataclass(frozen=True, kw_only=True)
class Radiomics:
    """IBSI features of the tumor, selected and weighed inside the training cases."""

    name: str = "radiomics"
    description: str = (
        "IBSI features by MIRP (morphology, intensity, textures; 2 mm, fixed bin size 25 HU, no filter; slice images "
        "by slice), selected inside the training cases, elastic-net logistic regression"
    )

    def missing(self, data: StudyData) -> str:
        """What to install; empty when MIRP is there: the features of every case that was cut are then kept.

        So they are extracted once, before several processes make the fits.
        """
        if not mirp_version():
            return f"MIRP is not installed: {EXTRA}"
        features_of_cases(
            data, [c.case_id for c in data.cohort.cases if c.case_id in data.store.rows_by_case]
        )
        return ""

    def fit(self, data: StudyData, case_ids: Sequence[str], labels: Ints, seed: int) -> FittedRadiomics:
        """Learn from these cases alone.

        Raises:
            ConfigError: MIRP is not installed.
        """
        if not mirp_version():
            raise ConfigError(
                where="baseline radiomics", expected="MIRP", found="none installed", remedy=EXTRA
            )
        found = features_of_cases(data, case_ids)
        names = tuple(sorted({name for features in found.values() for name in features}))
        values = feature_table(data, case_ids, names)
        patients = [data.cohort.by_id[name].patient_id for name in case_ids]
        model = ElasticNet(values, np.asarray(labels), patients, len(data.cohort.subtypes), seed)
        return FittedRadiomics(data=data, names=names, model=model)


def feature_table(data: StudyData, case_ids: Sequence[str], names: Sequence[str]) -> Floats:
    """Features (n, p) of cases; NaN where a case has none."""
    found = features_of_cases(data, case_ids)
    rows = [[found[case].get(name) for name in names] for case in case_ids]
    values: Floats = np.array(
        [[np.nan if value is None else value for value in row] for row in rows], dtype=np.float64
    ).reshape(len(rows), len(names))
    return values


LEARNER = Radiomics()
