"""The settings of study.toml: what each decides, and which values are allowed."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from typing import Literal

from nephroscope.base.errors import ConfigError
from nephroscope.base.files import digest_of
from nephroscope.records.report_config import ReportConfig

LABEL_COLUMNS = (
    *("case_id", "patient_id", "subtype", "subtype_reader2", "sex", "age_years"),
    *("birth_date", "scan_date", "surgery_date", "size_cm", "size_mm", "side", "phase", "site_id", "cohort"),
    *("file", "slice_index", "spacing", "row_mm", "col_mm"),
    *("roi", "tumor_label", "tumor_name", "organs", "exclude", "exclusion_reason", "synthetic"),
)


def check_columns(values: object) -> Mapping[str, str]:
    """The table ``[columns]`` of study.toml: our name = header in the user's label table.

    Raises:
        ConfigError: It is no table, a name is not ours, a header is no text, or one header stands for two names.
    """

    def refuse(name: str, expected: str, found: str, remedy: str) -> ConfigError:
        return ConfigError(where=f"study.toml, {name}", expected=expected, found=found, remedy=remedy)

    if not isinstance(values, Mapping):
        raise refuse(
            "columns", 'a table such as [columns] with subtype = "Histologie"', repr(values), "correct it"
        )
    owners: dict[str, str] = {}
    for name, header in values.items():
        where = f"columns.{name}"
        if name not in LABEL_COLUMNS:
            remedy = "write our name on the left and the header of your table on the right"
            raise refuse(where, f"one of {', '.join(LABEL_COLUMNS)}", repr(name), remedy)
        if not isinstance(header, str) or not header.strip():
            expected, remedy = "the header of a column of your label table", "correct it, or remove the line"
            raise refuse(where, expected, repr(header), remedy)
        other = owners.setdefault(header.strip().casefold(), name)
        if other != name:
            found = f"{header!r}, which is also given for {other}"
            raise refuse(where, "a different header for each name", found, "remove one of the two lines")
    return dict(values)


Protocol = Literal["patient", "image"]
RoiMode = Literal["full", "crop", "mask"]
READERS = ("reader-1", "reader-2")
COMBINED = ("union", "intersection", "staple")  # how the ROIs of the two become one
AUTHOR = re.compile(r"reader-[1-9]\d?|consensus|model:[^\s:@,;|]+@[^\s:@,;|]+|transferred:[^\s,;|]+")
TRANSFERRED = "transferred:"  # before the author whose ROI on another series was placed by registration
LARGEST_SEED = 2**32 - 1  # that scikit-learn takes
# As the paper prefers them. Corticomedullary is also called arterial, nephrographic venous, excretory delayed.
PHASES = ("corticomedullary", "nephrographic", "excretory", "unenhanced", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSpec:
    """What a network sees of a tumor. It travels in the bundle and is compared before each prediction.

    Attributes:
        roi_mode: crop (square box around the tumor), mask (the same, air outside the ROI) or full.
        margin_mm: Added on each side of the box.
        min_area_mm2: Cross-sections smaller than this are not cut.
        size_px: Rows and columns of a slice.
        window_level_hu, window_width_hu: Applied to HU just before the network; slices are stored in HU.
        phases: Further contrast phases to cut at the same positions; none cuts only the chosen series.
    """

    roi_mode: RoiMode = "crop"
    margin_mm: float = 10.0
    min_area_mm2: float = 20.0
    size_px: int = 256
    window_level_hu: float = 40.0
    window_width_hu: float = 400.0
    phases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for phase in self.phases:
            _one_of("slices.phases", phase, PHASES[:-1])
        if len(set(self.phases)) < len(self.phases):
            found = ", ".join(self.phases)
            remedy = "remove the repeated phase"
            raise ConfigError(where="slices.phases", expected="each phase once", found=found, remedy=remedy)
        _one_of("slices.roi_mode", self.roi_mode, ("full", "crop", "mask"))
        check_within("slices.margin_mm", self.margin_mm, 0, 200)
        check_within("slices.min_area_mm2", self.min_area_mm2, 0, 10_000)
        check_within("slices.size_px", self.size_px, 32, 1024)
        check_within("slices.window_width_hu", self.window_width_hu, 1, 5000)
        check_within("slices.window_level_hu", self.window_level_hu, -1000, 3000)
        if self.window_level_hu > self.window_width_hu:
            expected = "a level not above the width (abdomen: level 40, width 400)"
            found = f"level {self.window_level_hu:g}, width {self.window_width_hu:g}"
            where, remedy = "slices.window_level_hu", "swap the two numbers"
            raise ConfigError(where=where, expected=expected, found=found, remedy=remedy)

    @property
    def digest(self) -> str:
        """Digest of the specification; slices and bundles carry it."""
        return digest_of(self.as_dict)

    @property
    def as_dict(self) -> dict[str, object]:
        """As slices and bundles keep it: without phases where there are none, as before there were any."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("phases", ())}


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortConfig:
    """Which series of a case is used.

    Attributes:
        phase_preference: Contrast phases in order of preference; the first on which a suitable ROI was drawn is used.
        other: Subtypes of the study that its question is not about, such as oncocytoma: to be told as "none of mine".
    """

    phase_preference: tuple[str, ...] = PHASES
    other: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for phase in self.phase_preference:  # a study may name further ones, but not one of ours wrongly
            if phase not in PHASES and (
                not phase.strip() or get_close_matches(phase.casefold(), PHASES, 1, 0.85)
            ):
                _one_of("cohort.phase_preference", phase, PHASES)
        if len(set(self.phase_preference)) < len(self.phase_preference) or not self.phase_preference:
            expected, found = "every phase once, in order of preference", ", ".join(self.phase_preference)
            where, remedy = "cohort.phase_preference", "correct the list"
            raise ConfigError(where=where, expected=expected, found=found or "none", remedy=remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiConfig:
    """Which ROI of a case is used.

    Attributes:
        consensus: reader-1, reader-2, union, intersection, staple (one reader's where there is one), consensus or
            model:NAME@VERSION.
        adjudicate_below: Cases whose Dice is lower are listed for adjudication.
        use_proposed: Use ROIs that a model proposed and nobody accepted; otherwise such a case is left out.
    """

    consensus: str = "reader-1"
    adjudicate_below: float = 0.8
    use_proposed: bool = False

    def __post_init__(self) -> None:
        if not AUTHOR.fullmatch(self.consensus):
            _one_of("roi.consensus", self.consensus, (*READERS, *COMBINED, "consensus", "model:NAME@VERSION"))
        check_within("roi.adjudicate_below", self.adjudicate_below, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitConfig:
    """How patients are divided.

    Attributes:
        protocol: Split by patient, or by image as in Zuo et al. 2021 (LEAKY).
        folds: Number of cross-validation folds; 1 trains once, with the hold-out as the test set.
        holdout: Fraction of the development patients held out as internal test set before the rest are divided.
        validation: Fraction of the training patients of each fold used to decide when training stops.
        seed: Random seed for dividing the patients.
    """

    protocol: Protocol = "patient"
    folds: int = 5
    holdout: float = 0.0
    validation: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("split.protocol", self.protocol, ("patient", "image"))
        check_within("split.folds", self.folds, 1, 100)
        check_within("split.holdout", self.holdout, 0, 0.9)
        check_within("split.validation", self.validation, 0.01, 0.9)
        check_within("split.seed", self.seed, 0, LARGEST_SEED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a network is trained.

    Attributes:
        model: Network; `nephroscope models` lists them; also phases (several phases), fusion (clinical facts).
        width: Channel multiplier: mobilenet_v2 0.1 to 2, shufflenet_v2_x1_0 0.5, 1, 1.5 or 2, the others only 1.
        recipe: default (plain head, warm-up, cosine) or zuo2021 (heads of Zuo et al. 2021, Adam at 0.005).
        pretrained: Start from ImageNet weights, which torchvision downloads once.
        epochs: Maximum number of epochs.
        batch_size: Slices per step.
        learning_rate: Highest learning rate of Adam.
        schedule: cosine (falls to zero) or constant.
        warmup: Fraction of the steps during which the learning rate rises from 0.
        weight_decay: Weight decay, decoupled from the gradient.
        class_weights: Weight the loss so that every subtype counts equally; probabilities keep the prevalence.
        slices_per_case: Maximum number of slices per case and epoch, drawn at random; 0 uses all.
        patience: Stop after this many epochs without a better validation loss (mean over cases); 0 never stops.
        augmentation: Rotate, flip, blur, brighten and darken each batch.
        precision: auto uses bf16 where the device supports it, else fp32.
        seed: Random seed of initial weights, batches and augmentation.
    """

    model: str = "mobilenet_v2"
    width: float = 1.0
    recipe: Literal["default", "zuo2021"] = "default"
    pretrained: bool = False
    epochs: int = 30
    batch_size: int = 24
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.1
    weight_decay: float = 1e-4
    class_weights: bool = True
    slices_per_case: int = 0
    patience: int = 10
    augmentation: bool = True
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("training.recipe", self.recipe, ("default", "zuo2021"))
        _one_of("training.schedule", self.schedule, ("cosine", "constant"))
        _one_of("training.precision", self.precision, ("auto", "bf16", "fp32"))
        check_within("training.width", self.width, 0.05, 10)
        check_within("training.epochs", self.epochs, 1, 10_000)
        check_within("training.batch_size", self.batch_size, 2, 4096)
        check_within("training.learning_rate", self.learning_rate, 1e-8, 1)
        check_within("training.warmup", self.warmup, 0, 0.9)
        check_within("training.weight_decay", self.weight_decay, 0, 1)
        check_within("training.slices_per_case", self.slices_per_case, 0, 100_000)
        check_within("training.patience", self.patience, 0, 10_000)
        check_within("training.seed", self.seed, 0, LARGEST_SEED)

    @property
    def digest(self) -> str:
        """Digest of the configuration; a run is resumed only under the same one.

        A width of 1 is left out, so that runs from before there was a width go on.
        """
        return digest_of(
            {name: value for name, value in asdict(self).items() if (name, value) != ("width", 1.0)}
        )


def with_recipe(config: TrainConfig, recipe: str) -> TrainConfig:
    """The configuration with what a recipe decides; network, epochs, device and seed stay.

    Source: Zuo et al. 2021, Model Training and Validation: Adam, 0.005, batch 24.
    """
    if recipe == "zuo2021":
        return replace(
            config,
            recipe="zuo2021",
            pretrained=False,
            batch_size=24,
            learning_rate=0.005,
            schedule="constant",
            warmup=0.0,
            weight_decay=0.0,
            class_weights=False,
            patience=0,
        )
    fresh = TrainConfig()
    names = ("batch_size", "learning_rate", "schedule", "warmup", "weight_decay", "class_weights", "patience")
    return replace(config, recipe="default", **{name: getattr(fresh, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """How predictions become calls and results.

    Attributes:
        criterion: fixed (threshold 0.5, chosen before any data) or youden (on validation cases).
        not_sure_margin: No call when the probability is closer to the threshold than this.
        resamples: Number of bootstrap resamples of patients.
        confidence: Confidence level of every interval.
        seed: Random seed of the bootstrap and of the three random slices.
    """

    criterion: Literal["fixed", "youden"] = "fixed"
    not_sure_margin: float = 0.1
    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("evaluation.criterion", self.criterion, ("fixed", "youden"))
        check_within("evaluation.not_sure_margin", self.not_sure_margin, 0, 0.5)
        check_within("evaluation.resamples", self.resamples, 100, 1_000_000)
        check_within("evaluation.confidence", self.confidence, 0.5, 0.999)
        check_within("evaluation.seed", self.seed, 0, LARGEST_SEED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonConfig:
    """The main question of `compare` and `readers`, written down before any result is seen.

    Attributes:
        primary: Two names of `compare`, the first against the second, whose p is not corrected; empty names none.
        margin: Loss of AUC that would not matter (non-inferiority, equivalence), such as 0.05; 0 states none.
    """

    primary: tuple[str, ...] = ()
    margin: float = 0.0

    def __post_init__(self) -> None:
        check_main_pair(self.primary, self.margin, "comparison.")


def check_main_pair(primary: tuple[str, ...], margin: float, place: str) -> None:
    """Refuse a main pair that is not two names, or a margin outside its range; ``place`` begins the name of either.

    Raises:
        ConfigError: One of them is so.
    """
    if len(primary) not in (0, 2) or len(set(primary)) != len(primary):
        raise ConfigError(
            where=f"{place}primary",
            expected="two names that are compared, the first against the second",
            found=", ".join(primary),
            remedy="name a network and a baseline",
        )
    if margin:
        check_within(f"{place}margin", margin, 0.0001, 0.5)


def _one_of(where: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        expected = f"one of {', '.join(allowed)}"
        raise ConfigError(where=where, expected=expected, found=repr(value), remedy="correct it")


def check_within(where: str, value: float, low: float, high: float) -> None:
    """Refuse a setting or option outside a range.

    Raises:
        ConfigError: It is outside, or NaN.
    """
    if not low <= value <= high:
        expected = f"a number from {low:g} to {high:g}"
        raise ConfigError(where=where, expected=expected, found=repr(value), remedy="correct it")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What study.toml says.

    Raises:
        ConfigError: Fewer than two subtypes, one twice, or a positive subtype that is none of them.
    """

    subtypes: tuple[str, ...]
    positive: str
    columns: Mapping[str, str] = field(default_factory=dict)
    cohort: CohortConfig = field(default_factory=CohortConfig)
    roi: RoiConfig = field(default_factory=RoiConfig)
    slices: SliceSpec = field(default_factory=SliceSpec)
    split: SplitConfig = field(default_factory=SplitConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    comparison: ComparisonConfig = field(default_factory=ComparisonConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    def __post_init__(self) -> None:
        folded = {name.casefold() for name in self.subtypes}
        if len(self.subtypes) < 2 or len(folded) < len(self.subtypes) or "" in folded:
            raise ConfigError(
                where="study.toml, subtypes",
                expected="at least two different subtypes",
                found=", ".join(map(repr, self.subtypes)) or "none",
                remedy="list them, for example --subtypes PRCC ChRCC",
            )
        inside = [name for name in self.subtypes if name not in self.cohort.other]
        if not {*self.cohort.other} <= {*self.subtypes} - {self.positive} or len(inside) < 2:
            raise ConfigError(
                where="study.toml, cohort.other",
                expected="some of the subtypes, not the positive one; two others or more are left",
                found=", ".join(self.cohort.other),
                remedy="correct the list",
            )
        if self.positive not in self.subtypes:
            raise ConfigError(
                where="study.toml, positive",
                expected=f"one of {', '.join(self.subtypes)}",
                found=repr(self.positive),
                remedy="name the subtype whose probability the threshold is on",
            )
