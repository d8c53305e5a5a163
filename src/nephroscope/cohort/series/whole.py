"""Slices of an even stack in; whether that is the whole series, by its own numbers, out: a refusal or doubts."""

from collections.abc import Sequence

from nephroscope.cohort.series.slice_facts import SliceFacts
from nephroscope.errors import SeriesError
from nephroscope.records import Finding


def check_whole(slices: Sequence[SliceFacts], where: str) -> tuple[Finding, ...]:
    """Doubts that the slices are all of their series, each once.

    Raises:
        SeriesError: The end is missing by the series' own count.
    """
    return _cut_short(slices, where) + _parts_missing(slices, where) + _shared_uids(slices, where)


def _parts_missing(slices: Sequence[SliceFacts], where: str) -> tuple[Finding, ...]:
    """Doubt a concatenation of which files are missing; other acquisitions may lie in them."""
    n_parts = max((one.parts or 0 for one in slices), default=0)
    n_here = len({one.sop_uid for one in slices})
    if n_here >= n_parts:
        return ()
    text = f"{n_here} of the {n_parts} files of a concatenation: the series may be cut short"
    return (Finding(code="series-cut-short", severity="warning", message=text, case_id="", where=where),)


def _shared_uids(slices: Sequence[SliceFacts], where: str) -> tuple[Finding, ...]:
    """Doubt slices at places of their own that share a SOP Instance UID."""
    uids = [(one.sop_uid, one.frame) for one in slices if one.sop_uid]
    n_shared = len(uids) - len(set(uids))
    if not n_shared:
        return ()
    text = f"{n_shared} slices have the SOP Instance UID of another slice, at another place"
    return (Finding(code="sop-uid-shared", severity="warning", message=text, case_id="", where=where),)


def _cut_short(slices: Sequence[SliceFacts], where: str) -> tuple[Finding, ...]:
    """Refuse a series whose end is missing by its own count, and doubt one that looks so.

    Images in Acquisition may count several reconstructions: a whole multiple of what is there is no sign.
    """
    numbers = [one.instance_number for one in slices if one.instance_number is not None and one.frame is None]
    if len(numbers) != len(slices) or len(numbers) < 2:
        return ()
    low, high = min(numbers), max(numbers)
    claimed = {one.images_in_acquisition for one in slices}
    total = claimed.pop() if len(claimed) == 1 else None
    lacks = total is not None and total > len(slices) and total % len(slices) != 0
    in_one_run = high - low + 1 == len(slices)
    if lacks and in_one_run and low >= 0 and high <= (total or 0):
        raise SeriesError(
            where=where,
            expected=f"{total} slices, as Images in Acquisition says",
            found=f"{len(slices)}, IM {low} to IM {high}: the series is cut short",
            remedy="send the whole series again",
        )
    first_scan = {one.acquisition_number for one in slices} <= {"", "0", "1"}
    starts_late = low > 1 and first_scan and {one.temporal_position for one in slices} <= {"", "1"}
    if not lacks and not starts_late:
        return ()
    signs = [f"Images in Acquisition says {total}"] if lacks else []
    signs += [f"the first is IM {low}"] if starts_late else []
    text = f"{len(slices)} slices, but {' and '.join(signs)}: the series may be cut short"
    return (Finding(code="series-cut-short", severity="warning", message=text, case_id="", where=where),)
