"""The records that pass between rooms: frozen, keyword-only, checked when made.

Volumes are (slice, row, column) = (S, R, C) with an affine from index to LPS millimetres; intensities are HU.
"""

from nephroscope.base.files import digest_of
from nephroscope.base.words import counted_noun, p_is, p_words
from nephroscope.records.cases import (
    DEVELOPMENT,
    EXTERNAL_TEST,
    INTERNAL_TEST,
    OUT_OF_FOLD,
    Case,
    Cohort,
    Exclusion,
    Finding,
    Fold,
    ImageFormat,
    Severity,
    Sex,
    Split,
)
from nephroscope.records.results import (
    CasePrediction,
    Estimate,
    EvaluationGroup,
    EvaluationReport,
    OperatingPoint,
    SlicePrediction,
)
from nephroscope.records.settings import (
    PHASES,
    CohortConfig,
    Consensus,
    EvaluationConfig,
    Protocol,
    RoiConfig,
    RoiMode,
    SliceSpec,
    SplitConfig,
    TrainConfig,
    from_mapping,
    with_recipe,
)
from nephroscope.records.volumes import (
    CTVolume,
    RoiMask,
    TumorSlice,
    VolumeGeometry,
)

__all__ = [
    "DEVELOPMENT",
    "EXTERNAL_TEST",
    "INTERNAL_TEST",
    "OUT_OF_FOLD",
    "PHASES",
    "CTVolume",
    "Case",
    "CasePrediction",
    "Cohort",
    "CohortConfig",
    "Consensus",
    "Estimate",
    "EvaluationConfig",
    "EvaluationGroup",
    "EvaluationReport",
    "Exclusion",
    "Finding",
    "Fold",
    "ImageFormat",
    "OperatingPoint",
    "Protocol",
    "RoiConfig",
    "RoiMask",
    "RoiMode",
    "Severity",
    "Sex",
    "SlicePrediction",
    "SliceSpec",
    "Split",
    "SplitConfig",
    "TrainConfig",
    "TumorSlice",
    "VolumeGeometry",
    "counted_noun",
    "digest_of",
    "from_mapping",
    "p_is",
    "p_words",
    "with_recipe",
]
