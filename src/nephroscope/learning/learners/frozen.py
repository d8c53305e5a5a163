"""A network trained on photographs, never on CT: a cheap and strong baseline."""

from nephroscope.learning.baselines.frozen_features import frozen_table, why_no_frozen
from nephroscope.learning.baselines.regression import METHOD, FeatureLearner

LEARNER = FeatureLearner(
    name="frozen",
    description=(
        f"1,280 features of EfficientNet-Lite0 with ImageNet weights, mean over all slices of a case; {METHOD}"
    ),
    table=frozen_table,
    unavailable=why_no_frozen,
)
