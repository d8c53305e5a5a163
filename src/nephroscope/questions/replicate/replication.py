"""What a replication found: the records of replicate.json, whose keys are their names.

Figures are estimates by name: accuracy, sensitivity, specificity, precision, auc. ``paper`` is the paper's protocol,
LEAKY; ``twin`` the same training on the same data without the leak; ``difference`` the first minus the second.
"""

from dataclasses import dataclass

from nephroscope.learning.networks.layers import LayerRow
from nephroscope.learning.training.arm import ArmEpoch
from nephroscope.records import Estimate, TrainConfig

Figures = dict[str, Estimate]
TOGETHER = "together"  # the name of all test sets as one


@dataclass(frozen=True, kw_only=True)
class PaperArm:
    """A network under the paper's protocol.

    ``one_sided`` is true when every image is called the same subtype, so that accuracy is the share of that subtype.
    """

    mark: str
    converged: bool
    best_epoch: int | None
    one_sided: bool
    steps: int
    validation: Figures
    n_train_images: int
    epochs: tuple[ArmEpoch, ...]


@dataclass(frozen=True, kw_only=True)
class TwinFold:
    """How many patients a fold of the twin trains on, chooses its epoch on and is judged on."""

    train_patients: int
    choose_patients: int
    judge_patients: int


@dataclass(frozen=True, kw_only=True)
class TwinArm:
    """A network as the leak-free twin: lists by fold, figures of all folds together."""

    converged: tuple[bool, ...]
    best_epoch: tuple[int | None, ...]
    one_sided: tuple[bool, ...]
    steps: tuple[int, ...]
    by_image: Figures
    by_case: Figures
    epochs: tuple[tuple[ArmEpoch, ...], ...]
    folds: tuple[TwinFold, ...]


@dataclass(frozen=True, kw_only=True)
class BothArms:
    """A network under both protocols, and the difference of its figures by image."""

    model: str
    paper: PaperArm
    twin: TwinArm
    difference: Figures


@dataclass(frozen=True, kw_only=True)
class ShuffledControl(BothArms):
    """The same on labels shuffled between patients, and what it shows in a sentence."""

    sentence: str = ""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Figures of the test cases under both protocols."""

    paper: Figures
    twin: Figures
    difference: Figures


@dataclass(frozen=True, kw_only=True)
class Area:
    """An AUC and its two-sided p against 0.5; None without a variance to test with."""

    estimate: Estimate
    p_against_half: float | None


@dataclass(frozen=True, kw_only=True)
class AreaTwoWays:
    """An AUC with rows taken as independent, as the paper did, and clustered by patient."""

    naive: Area
    clustered: Area
    patients_by_subtype: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class AreasOfTests:
    """AUC of the test cases: the paper's protocol by image, the twin by case."""

    by_image_paper: AreaTwoWays
    by_case_twin: AreaTwoWays


@dataclass(frozen=True, kw_only=True)
class FiguresOfTests:
    """Figures of one test set: by image (three of a case), by case (two of three), by case (mean of all slices)."""

    by_image: Compared
    by_case: Compared
    by_case_mean: Compared
    roc: AreasOfTests


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a network costs: seconds, images, MB, milliseconds; on which device."""

    seconds_per_epoch: float
    images_per_epoch: int
    peak_memory_mb: float | None
    memory_of: str
    weights_mb: float
    ms_per_slice: float
    device: str
    threads: int
    precision: str


@dataclass(frozen=True, kw_only=True)
class Network(BothArms):
    """Everything about one network; ``tests`` by test set, all of them together first."""

    tests: dict[str, FiguresOfTests]
    resources: Resources


@dataclass(frozen=True, kw_only=True)
class CaseAnswer:
    """What a network says of a test case: the vote of its three images, and the mean over all slices."""

    images: int
    images_right: int
    mark: str
    call: str
    mean_call: str
    mean_p_positive: float


@dataclass(frozen=True, kw_only=True)
class CaseAnswers:
    """A test case under both protocols."""

    paper: CaseAnswer
    twin: CaseAnswer


@dataclass(frozen=True, kw_only=True)
class CaseRow:
    """A test case: its set, its truth, the answers of each network and the call of each reader."""

    case_id: str
    set: str
    truth: str
    n_slices: int
    models: dict[str, CaseAnswers]
    readers: dict[str, str | None]


@dataclass(frozen=True, kw_only=True)
class AgainstNetwork:
    """A reader's McNemar test (``method`` says which); ``counts``: both, network only, reader only, neither."""

    model: str
    protocol: str
    n: int
    counts: tuple[int, int, int, int]
    p: float | None
    method: str


@dataclass(frozen=True, kw_only=True)
class ReaderResult:
    """A reader on the test cases; ``counts`` by figure: correct and counted."""

    name: str
    figures: Figures
    counts: dict[str, tuple[int, int]]
    against: tuple[AgainstNetwork, ...]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What was run: the options as they were applied, the training of the first network, and the slices."""

    models: tuple[str, ...]
    epochs: int
    images_per_epoch: int
    twin_folds: int
    shuffled_model: str | None
    seed: int
    training: TrainConfig
    validation_images_used: int
    size_px: int
    roi_mode: str
    margin_mm: float
    tests_drawn: bool


@dataclass(frozen=True, kw_only=True)
class CohortPart:
    """Counts of one part of the study."""

    patients: int
    cases: int
    slices: int
    by_subtype: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Leak:
    """How far the paper's split leaks: patients with images in training and among those validated on."""

    development_patients: int
    validation_patients: int
    patients_on_both_sides: int
    amplified_images: int
    train_images: int
    validation_images: int


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Weights of a network as built, and as the paper prints them."""

    name: str
    trainable: int
    total: int
    head: str
    paper_trainable: int
    paper_total: int
    note: str


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One decision: what the paper says, what was done here, and why."""

    number: int
    paper: str
    done: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Replication:
    """The content of replicate.json; the fields from ``summary`` on are sentences made from the figures before."""

    version: str
    experiment: str
    study: str
    synthetic: bool
    subtypes: tuple[str, ...]
    positive: str
    digests: dict[str, str]
    configuration: Configuration
    cohort: dict[str, CohortPart]
    leak: Leak
    parameters: dict[str, Parameters]
    models: tuple[Network, ...]
    shuffled: ShuffledControl | None
    cases: tuple[CaseRow, ...]
    readers: tuple[ReaderResult, ...]
    readers_mean: Estimate | None
    readers_note: str
    trainings: int
    hours: float
    phases: dict[str, int]
    layers: tuple[LayerRow, ...]
    summary: str = ""
    tests_sentence: str = ""
    one_sided: str = ""
    twin_differs: tuple[str, ...] = ()
    isolated: str = ""
    hours_sentence: str = ""
    area_sentence: str = ""
    shortened: tuple[str, ...] = ()
    deviations: tuple[Deviation, ...] = ()

    @property
    def folds(self) -> tuple[TwinFold, ...]:
        """Folds of the twin, the same for every network."""
        return self.models[0].twin.folds

    @property
    def marks(self) -> tuple[str, ...]:
        """SYNTHETIC, where it is true."""
        return ("SYNTHETIC",) if self.synthetic else ()

    @property
    def test_sets(self) -> list[str]:
        """All test cases together, then each test set where there are several."""
        sets = [name for name in self.models[0].tests if name != TOGETHER]
        return [TOGETHER, *sets] if len(sets) > 1 else [TOGETHER]
