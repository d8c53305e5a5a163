"""Attenuation, age, sex and size in one regression: what a careful radiologist knows in a minute."""

from nephroscope.learning.baselines.features import FeatureTable
from nephroscope.learning.baselines.measured import (
    attenuation_notes,
    attenuation_table,
    clinical_notes,
    clinical_table,
    why_no_clinical,
)
from nephroscope.learning.baselines.regression import METHOD, FeatureLearner
from nephroscope.learning.learner import StudyData


def both_tables(data: StudyData) -> FeatureTable:
    """Columns of both."""
    return attenuation_table(data).joined(clinical_table(data))


def both_notes(data: StudyData) -> tuple[str, ...]:
    """The notes of both."""
    return (*attenuation_notes(data), *clinical_notes(data))


LEARNER = FeatureLearner(
    name="attenuation+clinical",
    description=f"attenuation and clinical features together; {METHOD}",
    table=both_tables,
    unavailable=why_no_clinical,
    notes=both_notes,
)
