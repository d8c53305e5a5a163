"""The product's default network before it saw a CT; only where torchvision's weights were fetched once."""

from nephroscope.baselines.feature_candidate import METHOD, FeatureCandidate
from nephroscope.baselines.frozen_features import lacks_torchvision, torchvision_table

CANDIDATE = FeatureCandidate(
    name="frozen-mobilenet_v2",
    told=f"1,280 features of MobileNetV2 with torchvision's ImageNet weights, mean over a case's slices; {METHOD}",
    table=torchvision_table,
    lacks=lacks_torchvision,
)
