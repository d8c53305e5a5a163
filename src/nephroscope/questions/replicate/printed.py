"""What the paper printed, as data, and what its numbers must have been.

Source: Zuo et al. 2021, Front Oncol 11:746750, Tables 1 and 3, Results and Figure 4; the counts behind its
percentages are the only ones that fit them.
"""

from dataclasses import dataclass, field

CITATION = "Zuo et al. 2021, Front Oncol 11:746750"
NAMES = {
    "mobilenet_v2": "MobileNetV2",
    "shufflenet_v2_x1_0": "ShuffleNetV2",
    "efficientnet_b0": "EfficientNet-B0",
    "resnet34": "ResNet-34",
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedModel:
    """A row of Table 1; shares are fractions, None where the paper says "cannot converge".

    ``validation`` and ``tests`` hold (hits, counted) by figure; ``note`` says what a printed number really is.
    """

    validation_accuracy: float | None = None
    validation: dict[str, tuple[int, int]] = field(default_factory=dict)
    test: dict[str, tuple[int, int]] = field(default_factory=dict)
    test_unit: str = ""
    note: str = ""


MODELS = {
    "mobilenet_v2": PrintedModel(
        validation_accuracy=0.968640,
        validation={"accuracy": (4417, 4560), "sensitivity": (2402, 2417), "specificity": (2015, 2143)},
        test={"accuracy": (10, 10), "sensitivity": (5, 5), "specificity": (5, 5)},
        test_unit="case",
        note="the printed 100 % is by case, 10 of 10: exact 95 % interval 69 to 100 %",
    ),
    "shufflenet_v2_x1_0": PrintedModel(
        validation_accuracy=0.973074,
        test={"accuracy": (20, 24), "sensitivity": (12, 13), "specificity": (8, 11)},
        test_unit="image",
        note="on 24 of the 30 test images: one batch, the rest was dropped",
    ),
    "efficientnet_b0": PrintedModel(),
    "resnet34": PrintedModel(
        validation_accuracy=0.936404,
        validation={"accuracy": (4270, 4560)},
        test={"accuracy": (22, 24), "sensitivity": (11, 13), "specificity": (11, 11)},
        test_unit="image",
        note="on 24 of the 30 test images: one batch, the rest was dropped",
    ),
    "resnet50": PrintedModel(),
    "resnet101": PrintedModel(),
}

# By image, MobileNetV2: 30 images of 10 cases. TP 15, FN 0, FP 2, TN 13.
TEST_IMAGES = {"accuracy": (28, 30), "sensitivity": (15, 15), "specificity": (13, 15), "precision": (15, 17)}
TEST_IMAGES_NOTE = (
    "printed as sensitivity 88.2353 %: that is 15 of 17, the precision; the sensitivity is 15 of 15"
)
AUC = (0.9489, 0.849, 1.000)
AUC_NOTE = "by image, 213.5 of 225 pairs; its interval treats three images of a patient as independent"
READERS = {
    "reader 1": (9, 10, 1.0),
    "reader 2": (8, 10, 0.5),
}  # right, cases, exact McNemar p against the model
READERS_NOTE = "exact McNemar against the model's 10 of 10: no superiority is shown"

# Table 3: (name, function, output, stride, filter)
_ROWS = """\
Input Layer||256,256,3|/|/
Conv1|Conv+BN+ReLU6|128,128,32|2|3*3*32
inverted_residual|Linear|128,128,16|1|1*1*32*16
inverted_residual_1|ReLU6|64,64,24|2|3*3*16*24
inverted_residual_2|Linear|64,64,24|1|1*1*24
inverted_residual_3|ReLU6|32,32,32|2|3*3*24*32
inverted_residual_4|Linear|32,32,32|1|1*1*32
inverted_residual_5|Linear|32,32,32|1|1*1*32
inverted_residual_6|ReLU6|16,16,64|2|3*3*32*64
inverted_residual_7|Linear|16,16,64|1|1*1*64
inverted_residual_8|Linear|16,16,64|1|1*1*64
inverted_residual_9|Linear|16,16,64|1|1*1*64
inverted_residual_10|Linear|16,16,96|1|1*1*64*96
inverted_residual_11|Linear|16,16,96|1|1*1*96
inverted_residual_12|Linear|16,16,96|1|1*1*96
inverted_residual_13|ReLU6|8,8,160|2|3*3*96*160
inverted_residual_14|Linear|8,8,160|1|1*1*160
inverted_residual_15|Linear|8,8,160|1|1*1*160
inverted_residual_16|Linear|8,8,320|1|1*1*160*320
Conv|ReLU6|8,8,1280|1|1*1*320*1280
Global average pooling||1280|1|Pool 8*8
Dropout||1280|1|Probability = 0.2
Classifier|ReLU|2|/|Classifier
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedLayer:
    """A row of Table 3."""

    name: str
    function: str
    output: tuple[int, ...]
    stride: str
    filters: str


def printed_layers() -> list[PrintedLayer]:
    """Table 3."""
    rows = []
    for line in _ROWS.splitlines():
        name, function, output, stride, filters = line.split("|")
        shape = tuple(int(side) for side in output.split(","))
        rows.append(PrintedLayer(name=name, function=function, output=shape, stride=stride, filters=filters))
    return rows


LAYERS_NOTE = (
    "Of the three convolutions of a block the paper prints one, without the expansion; it names ReLU6 or Linear; "
    "in every block ReLU6 follows the first two, and the last is linear"
)


def layer_note(name: str) -> str:
    """What the paper's row does not say, or says otherwise."""
    if name == "Conv1":
        return "the input has 3 channels: 3*3*3*32"
    if name == "inverted_residual":
        return "a depthwise 3*3 comes before it; no expansion"
    if name == "Classifier":
        return "built without the ReLU: logits"
    return ""
