"""The table of networks, without torch: names, and what the paper really built.

Source: Zuo et al. 2021, Table 1, solved for its heads: weights of torchvision's backbone plus a head must give the
printed numbers.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NetworkRow:
    """One network: torchvision's builder is ``name``.

    Attributes:
        paper_hidden: Width of the hidden layer in the paper's head; 0 for none.
        paper_spare_outputs: Outputs beyond the subtypes in the paper's head.
        paper_trainable, paper_total: As printed.
        paper_note: Why a printed number cannot be built.
    """

    name: str
    paper_hidden: int = 0
    paper_spare_outputs: int = 0
    paper_trainable: int
    paper_total: int
    paper_note: str = ""


NETWORKS = {
    row.name: row
    for row in (
        NetworkRow(
            name="mobilenet_v2",
            paper_trainable=2_226_434,
            paper_total=2_261_827,
            paper_note="the printed total is of a head with 3 outputs (1,281 more), the trainable of one with 2",
        ),
        NetworkRow(
            name="shufflenet_v2_x1_0",
            paper_spare_outputs=1,
            paper_trainable=1_256_679,
            paper_total=1_272_859,
        ),
        NetworkRow(
            name="efficientnet_b0",
            paper_spare_outputs=1,
            paper_trainable=4_011_391,
            paper_total=4_053_414,
            paper_note="the printed total holds 7 more: mean, variance and count of a Keras Normalization layer",
        ),
        NetworkRow(name="resnet34", paper_hidden=1024, paper_trainable=21_812_034, paper_total=21_829_058),
        NetworkRow(
            name="resnet50",
            paper_hidden=1024,
            paper_spare_outputs=1,
            paper_trainable=25_609_283,
            paper_total=25_662_403,
        ),
        NetworkRow(
            name="resnet101",
            paper_hidden=1024,
            paper_spare_outputs=1,
            paper_trainable=44_601_411,
            paper_total=44_706_755,
        ),
    )
}
