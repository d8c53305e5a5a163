"""Who the patient is and how large the tumor: what is known without looking inside it."""

from nephroscope.learning.baselines.measured import clinical_table, lacks_clinical, tells_clinical
from nephroscope.learning.baselines.regression import METHOD, FeatureLearner

LEARNER = FeatureLearner(
    name="clinical",
    description=f"age, sex and log of the largest diameter; {METHOD}",
    table=clinical_table,
    lacks=lacks_clinical,
    tells=tells_clinical,
)
