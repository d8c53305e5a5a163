"""Attenuation, age, sex and size in one regression: what a careful reader knows in a minute."""

from nephroscope.learning.baselines.features import FeatureTable
from nephroscope.learning.baselines.measured import (
    attenuation_table,
    clinical_table,
    lacks_clinical,
    tells_attenuation,
    tells_clinical,
)
from nephroscope.learning.baselines.regression import METHOD, FeatureLearner
from nephroscope.learning.learner import StudyData


def both_tables(data: StudyData) -> FeatureTable:
    """Columns of both."""
    return attenuation_table(data).beside(clinical_table(data))


def both_tell(data: StudyData) -> tuple[str, ...]:
    """What both tell."""
    return (*tells_attenuation(data), *tells_clinical(data))


LEARNER = FeatureLearner(
    name="attenuation+clinical",
    description=f"attenuation and clinical features together; {METHOD}",
    table=both_tables,
    lacks=lacks_clinical,
    tells=both_tell,
)
