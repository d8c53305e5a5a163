"""The table of networks, without torch: names, and what the paper really built.

Source: Zuo et al. 2021, Table 1, solved for its heads: weights of torchvision's backbone plus a head must give the
printed numbers.
"""

from dataclasses import dataclass

from nephroscope.base.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class NetworkRow:
    """One network: torchvision's builder is ``name``.

    Attributes:
        paper_hidden: Width of the hidden layer in the paper's head; 0 for none.
        paper_spare_outputs: Outputs beyond the subtypes in the paper's head.
        paper_trainable, paper_total: As printed.
        paper_note: Why a printed number cannot be built.
        widths: torchvision's builder at each multiplier of channels; only 1 where it has no others.
        any_width: The builder takes every multiplier from 0.1 to 2.
    """

    name: str
    paper_hidden: int = 0
    paper_spare_outputs: int = 0
    paper_trainable: int
    paper_total: int
    paper_note: str = ""
    widths: tuple[tuple[float, str], ...] = ()
    any_width: bool = False

    def has_width(self, width: float) -> bool:
        """True when the network can be built with so many times its channels."""
        return width == 1 or (self.any_width and 0.1 <= width <= 2) or width in dict(self.widths)

    @property
    def told_widths(self) -> str:
        """Its widths in words."""
        if self.any_width:
            return "0.1 to 2"
        return ", ".join(f"{width:g}" for width, _ in self.widths) or "1 alone"


NETWORKS = {
    row.name: row
    for row in (
        NetworkRow(
            name="mobilenet_v2",
            paper_trainable=2_226_434,
            paper_total=2_261_827,
            any_width=True,
            paper_note="the printed total is of a head with 3 outputs (1,281 more), the trainable of one with 2",
        ),
        NetworkRow(
            name="shufflenet_v2_x1_0",
            paper_spare_outputs=1,
            paper_trainable=1_256_679,
            paper_total=1_272_859,
            widths=(
                (0.5, "shufflenet_v2_x0_5"),
                (1.0, "shufflenet_v2_x1_0"),
                (1.5, "shufflenet_v2_x1_5"),
                (2.0, "shufflenet_v2_x2_0"),
            ),
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


@dataclass(frozen=True, kw_only=True)
class PhaseRow:
    """A network for several phases: its shared encoder, and whether attention weighs the phases."""

    encoder: str
    attention: bool = False


PHASE_NETWORKS = {
    "phases": PhaseRow(encoder="mobilenet_v2"),
    "phases-attention": PhaseRow(encoder="mobilenet_v2", attention=True),
    "phases-shufflenet": PhaseRow(encoder="shufflenet_v2_x1_0"),
}

FUSED_NETWORKS = {"fusion": "mobilenet_v2"}  # answers with age, sex and size beside this network
TRAINABLE = (*NETWORKS, *PHASE_NETWORKS, *FUSED_NETWORKS)


def fuses(model: str) -> bool:
    """True for a model that answers with clinical facts beside its network."""
    return model in FUSED_NETWORKS


def encoder_of(model: str) -> str:
    """The row of `NETWORKS` that a model is built on."""
    return PHASE_NETWORKS[model].encoder if model in PHASE_NETWORKS else FUSED_NETWORKS.get(model, model)


# Networks that draw, with what they draw: value 1, 2, ... of their label maps. A tumor is never a part of a kidney.
DRAWING_NETWORKS = {
    "unet": ("kidney", "tumor"),
    "unet-kidney": ("kidney",),
    "unet-tumor": ("tumor",),
}
DRAWING_PLANES = 3  # neighboring planes that a network that draws is shown, of which it draws the middle one


def draws(model: str) -> bool:
    """True for a network that draws, false for one that tells subtypes apart."""
    return model in DRAWING_NETWORKS


def outputs_of(model: str, n_subtypes: int) -> int:
    """How many values a network gives: of each case, or with the background of each pixel."""
    return len(DRAWING_NETWORKS[model]) + 1 if draws(model) else n_subtypes


def channels_of(model: str, phases: tuple[str, ...]) -> int:
    """How many slices a network is shown at once."""
    return DRAWING_PLANES if draws(model) else max(len(phases_of(model, phases)), 1)


def phases_of(model: str, phases: tuple[str, ...]) -> tuple[str, ...]:
    """The phases that a network is shown, in order; none for one that sees the chosen series."""
    return phases if model in PHASE_NETWORKS else ()


def check_width(name: str, width: float) -> None:
    """Refuse a width that a network does not have.

    Raises:
        ConfigError: Names the widths that it has.
    """
    row = NETWORKS[name]
    if not row.has_width(width):
        raise ConfigError(
            where=f"training.width, {name}",
            expected=f"one of its widths: {row.told_widths}",
            found=f"{width:g}",
            remedy="correct the width, or use mobilenet_v2 or shufflenet_v2_x1_0, which have several",
        )
