"""A network trained on photographs, never on CT: the cheap strong one."""

from nephroscope.baselines.feature_candidate import METHOD, FeatureCandidate
from nephroscope.baselines.frozen_features import frozen_table, lacks_frozen

CANDIDATE = FeatureCandidate(
    name="frozen",
    told=f"1,280 features of EfficientNet-Lite0 with ImageNet weights, mean over all slices of a case; {METHOD}",
    table=frozen_table,
    lacks=lacks_frozen,
)
