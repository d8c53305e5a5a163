"""What a network that draws sees of a CT: whole planes on a coarse grid, behind the window of the slices."""

from dataclasses import asdict, dataclass

from nephroscope.base.files import digest_of
from nephroscope.records.settings import SliceSpec, check_within


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSpec:
    """How a CT becomes planes. It travels in a bundle that draws and is compared before each use.

    Attributes:
        mm_per_px: Size of a pixel, about: the image has a whole number of them.
        step_mm: Of thinner slices every second, third ... is taken, so that planes lie about so far apart.
        window_level_hu, window_width_hu: Applied to HU by the network itself, as those of `SliceSpec`.
    """

    mm_per_px: float = 2.0
    step_mm: float = 3.0
    window_level_hu: float = 40.0
    window_width_hu: float = 400.0

    def __post_init__(self) -> None:
        check_within("planes.mm_per_px", self.mm_per_px, 0.2, 20)
        check_within("planes.step_mm", self.step_mm, 0.2, 50)
        self.seen_through(32)  # which checks the window

    @property
    def digest(self) -> str:
        """Digest of the specification."""
        return digest_of(asdict(self))

    def seen_through(self, size_px: int) -> SliceSpec:
        """The window for patches of a size, as networks take it."""
        return SliceSpec(
            size_px=size_px, window_level_hu=self.window_level_hu, window_width_hu=self.window_width_hu
        )
