"""Who the patient is and how large the tumor: what is known without looking inside it."""

from nephroscope.learning.baselines.measured import clinical_notes, clinical_table, why_no_clinical
from nephroscope.learning.baselines.regression import METHOD, FeatureLearner

LEARNER = FeatureLearner(
    name="clinical",
    description=f"age, sex and log of the largest diameter; {METHOD}",
    table=clinical_table,
    unavailable=why_no_clinical,
    notes=clinical_notes,
)
