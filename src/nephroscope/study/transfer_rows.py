"""rois/transfers.json: what came of placing the ROIs of a study on other phases."""

from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.documents import read_document

FORMAT = 1
FOLDER, FILE = "rois", "transfers.json"


@dataclass(frozen=True, kw_only=True)
class TransferRow:
    """What became of one ROI on one other series.

    Attributes:
        phase: Of the other series, whose name is ``series``.
        shift_mm: How far the tumor's center moves; ``shift_lps_mm`` to the left, the back and the head.
        code: The reason in one word, ``reason`` in a sentence.
        drawn_on: Phase on which the tumor was drawn, by ``author``.
        dice_before, dice: Of the kidney, where it is known on both series.
        similarity: Normalized mutual information of both after the motion.
    """

    case: str
    phase: str
    series: str
    accepted: bool
    shift_mm: float | None
    reason: str
    code: str
    drawn_on: str
    author: str
    shift_lps_mm: tuple[float, float, float] | None = None
    degrees: float = 0.0
    dice_before: float | None = None
    dice: float | None = None
    similarity: float | None = None


@dataclass(frozen=True, kw_only=True)
class Transfers:
    """What rois/transfers.json holds."""

    transfers: tuple[TransferRow, ...] = ()


def load_transfers(root: Path) -> tuple[TransferRow, ...]:
    """The transfers of a study; none where none were made.

    Raises:
        StudyError: The file is damaged.
    """
    path = root / FOLDER / FILE
    remedy = "run `nephroscope rois transfer` again"
    return read_document(path, Transfers, FORMAT, remedy).transfers if path.is_file() else ()


def refused_series(root: Path) -> dict[str, tuple[str, ...]]:
    """By case_id, the series on which its tumor could not be placed."""
    found: dict[str, tuple[str, ...]] = {}
    for row in load_transfers(root):
        if not row.accepted:
            found[row.case] = (*found.get(row.case, ()), row.series)
    return found
