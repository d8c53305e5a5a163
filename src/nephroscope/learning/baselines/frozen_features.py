"""Features of a network that never saw a CT: their mean over the slices of each case, cached."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nephroscope.base.files import digest_of
from nephroscope.base.version import install_line
from nephroscope.learning.baselines.features import FeatureTable, cached_table
from nephroscope.learning.learner import StudyData
from nephroscope.records import SliceSpec

FeaturesOf = Callable[[npt.NDArray[np.int16], SliceSpec], npt.NDArray[np.float32]]
VERSION = 1  # part of the cache's key: raise it when features are computed otherwise


def frozen_table(data: StudyData) -> FeatureTable:
    """Mean over slices of 1,280 features of EfficientNet-Lite0, a row for every case; NaN where it has no slices.

    Raises:
        ConfigError: The weights are not installed.
    """
    from nephroscope.learning.networks.frozen import slice_features, weights_digest

    digest = digest_of([VERSION, weights_digest(), data.seen, data.cohort.digest_of("case_id")])
    return cached_table(data.cache, "frozen", digest, lambda: _compute(data, slice_features, "lite0"))


def why_no_frozen(data: StudyData) -> str:
    """Why there are no frozen features: what they need is not installed."""
    if reason := _why_no_torch():
        return reason
    from nephroscope.learning.networks.frozen import WEIGHTS_PACKAGE, weights_file

    return "" if weights_file() else f"the package {WEIGHTS_PACKAGE.replace('_', '-')} is not installed"


def torchvision_table(data: StudyData) -> FeatureTable:
    """The same of MobileNetV2 with torchvision's ImageNet weights.

    Raises:
        ConfigError: The weights are not there, and cannot be fetched.
    """
    from nephroscope.learning.networks.frozen import torchvision_features, torchvision_file

    weights = torchvision_file().name
    digest = digest_of([VERSION, weights, data.seen, data.cohort.digest_of("case_id")])
    return cached_table(
        data.cache,
        "frozen-mobilenet_v2",
        digest,
        lambda: _compute(data, torchvision_features, "mobilenet_v2"),
    )


def why_no_torchvision(data: StudyData) -> str:
    """Why there are none: the weights were never fetched. A comparison fetches nothing by itself."""
    if reason := _why_no_torch():
        return reason
    from nephroscope.learning.networks.frozen import torchvision_file

    path = torchvision_file()
    remedy = "fetch them once by `nephroscope train STUDY --model mobilenet_v2 --pretrained` where there is a network"
    return "" if path.is_file() else f"torchvision's weights {path.name} are not in torch's cache; {remedy}"


def _why_no_torch() -> str:
    from importlib.util import find_spec

    there = all(find_spec(name) is not None for name in ("torch", "torchvision", "onnx"))
    return "" if there else f"torch is not installed: {install_line('train')}"


def _compute(data: StudyData, features_of: FeaturesOf, prefix: str) -> FeatureTable:
    cases, store, notes = data.cohort.cases, data.store, {}
    features = features_of(store.hu, store.spec)
    values = np.full((len(cases), features.shape[1]), np.nan)
    for place, case in enumerate(cases):
        rows = store.rows_by_case.get(case.case_id)
        if rows is None:
            notes[case.case_id] = "no slices were cut"
        else:
            values[place] = features[rows].mean(axis=0, dtype=np.float64)
    return FeatureTable(
        case_ids=tuple(case.case_id for case in cases),
        names=tuple(f"{prefix}_{number:04}" for number in range(features.shape[1])),
        values=values,
        notes=notes,
    )
