"""The product's default network before it saw a CT; only where torchvision's weights were fetched once."""

from nephroscope.learning.baselines.frozen_features import torchvision_table, why_no_torchvision
from nephroscope.learning.baselines.regression import METHOD, FeatureLearner

LEARNER = FeatureLearner(
    name="frozen-mobilenet_v2",
    description=(
        "1,280 features of MobileNetV2 with torchvision's ImageNet weights, mean over a case's slices; "
        + METHOD
    ),
    table=torchvision_table,
    unavailable=why_no_torchvision,
)
