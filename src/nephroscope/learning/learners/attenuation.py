"""How bright the tumor is: the oldest sign, papillary tumors enhance least."""

from nephroscope.learning.baselines.measured import attenuation_notes, attenuation_table
from nephroscope.learning.baselines.regression import METHOD, FeatureLearner

LEARNER = FeatureLearner(
    name="attenuation",
    description=(
        "mean, SD and percentiles (10, 50, 90) of HU inside the ROI, its mean over that of renal cortex and aorta "
        f"where known; {METHOD}"
    ),
    table=attenuation_table,
    notes=attenuation_notes,
)
