"""A whole slice of a case for its card: the CT of the cases worth a look is read, one at a time."""

from dataclasses import dataclass, field, replace

from nephroscope.base.errors import NephroscopeError
from nephroscope.base.progress import track
from nephroscope.imaging.picture import draw_slice
from nephroscope.questions.saliency.maps import CaseReader
from nephroscope.records import ChosenCase, CTVolume, RoiMask
from nephroscope.report.study.case_cards import cases_with_cards
from nephroscope.report.study.content import FullSlice, ReportContent

MOST = 24  # first cards with a whole slice


@dataclass(frozen=True, eq=False, kw_only=True)
class SliceTaker:
    """Reads cases, and keeps of each the slice on which the tumor is largest.

    Attributes:
        read: Gives the CT and ROI of a case.
        taken: What was kept, by case_id.
    """

    read: CaseReader
    taken: dict[str, FullSlice] = field(default_factory=dict)

    def __call__(self, case: ChosenCase) -> tuple[CTVolume, RoiMask]:
        """The CT and ROI of a case, as `read` gives them."""
        volume, roi = self.read(case)
        drawn = draw_slice(volume, roi, outline=False)
        self.taken[case.case_id] = FullSlice(
            address=drawn.address, outline=drawn.edge_address, slice_index=drawn.slice_index
        )
        return volume, roi


def with_full_slices(content: ReportContent, taker: SliceTaker) -> ReportContent:
    """The content with a whole slice for the first cards; a case that cannot be read has none."""
    wanted = [
        c for c in cases_with_cards(content)[:MOST] if c not in taker.taken and c in content.cohort.by_id
    ]
    for case_id in track(wanted, "report: whole slices", "case", len(wanted)):
        try:
            taker(content.cohort.by_id[case_id])
        except (NephroscopeError, OSError):
            continue
    return replace(content, full_slices=dict(taker.taken))
