"""Split a series into its acquisitions, each an even stack, from headers alone.

Headers are enough to say why a series would be refused, before a pixel is read, in the same words as the reading.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from nephroscope.base.errors import SeriesError
from nephroscope.base.text import first_few
from nephroscope.imaging.dicom.hounsfield import DERIVED, check_size, derived_kind, kinds_of
from nephroscope.imaging.dicom.pixel_data import check_decodable
from nephroscope.imaging.dicom.slice_header import SliceHeader
from nephroscope.imaging.dicom.stack import SPACING_TOLERANCE_MM, Stack, check_whole, stack_of
from nephroscope.imaging.grid import median
from nephroscope.records import Finding, warning

# A gap of fewer slices than this in an otherwise even stack means lost slices, not the space between two scans.
HOLE_SLICES = 10
# Most phases of one examination, and fewest slices of a phase, whose slices may lie between each other's.
MOST_INTERLEAVED, LEAST_INTERLEAVED = 8, 3
# Fewest slices whose order says something, and most that may be out of it: with more, numbers mean something else.
FEWEST_ORDERED, MOST_ODD = 5, 2
# What distinguishes acquisitions, the most deliberate first.
Key = Callable[[SliceHeader], str]
KEYS: tuple[Key, ...] = (
    lambda s: s.stack_id,
    lambda s: s.acquisition_number,
    lambda s: s.temporal_position,
    lambda s: f"{s.acquisition_number}/{s.temporal_position}/{s.stack_id}",
)
TIMES: tuple[Callable[[SliceHeader], float], ...] = (
    lambda s: _seconds(s.acquisition_time),
    lambda s: _seconds(s.content_time),
    lambda s: _number(s.trigger_time),
)


def split_acquisitions(headers: Sequence[SliceHeader]) -> list[list[int]]:
    """Which slices belong together: one group for one even stack, otherwise one group for each acquisition.

    Two scans whose slices alternate are two acquisitions if their numbers differ, though together they
    are an even stack. Otherwise slices are grouped by stack, acquisition number, temporal position or time: the first
    that gives only even stacks; else the first that separates repeated positions into groups of which at least one is
    an even stack, so that a phase with a missing slice does not spoil the others. Copies of a slice (same SOP
    Instance UID) stay with it, and scouts with the first group. What no attribute separates stays one group, and
    `reason_not_a_stack` says why.

    Returns:
        Positions in ``headers``, each once; groups in the order of what distinguishes them.
    """
    everything = [list(range(len(headers)))]
    kept, _ = without_copies(headers)
    kept = [index for index in kept if not headers[index].is_localizer]
    if _is_stack([headers[index] for index in kept]):
        interleaved = next(
            (way for way in _groups_by_number(headers, kept) if _are_interleaved(headers, way)), None
        )
        return _with_copies(headers, interleaved) if interleaved else everything
    ways = [groups for groups in _candidates(headers, kept) if len(groups) > 1]
    for good in (_all_even, _separate_repeats):
        for groups in ways:
            if good([[headers[index] for index in group] for group in groups]):
                return _with_copies(headers, groups)
    return everything


def _are_interleaved(headers: Sequence[SliceHeader], groups: Sequence[Sequence[int]]) -> bool:
    """True when all parts are even stacks and the slices of two of them lie between each other's.

    A scanner that moves in steps may number each step of one or a few slices: these are one scan.
    """
    if not 1 < len(groups) <= MOST_INTERLEAVED or min(map(len, groups)) < LEAST_INTERLEAVED:
        return False
    stacks = [[headers[index] for index in group] for group in groups]
    if not all(map(_is_stack, stacks)):
        return False
    spans = _spans(stacks)
    return any(start < end for (_, end, _), (start, _, _) in pairwise(spans))


def _all_even(stacks: Sequence[Sequence[SliceHeader]]) -> bool:
    return all(map(_is_stack, stacks)) and not _has_hole(stacks)


def _separate_repeats(stacks: Sequence[Sequence[SliceHeader]]) -> bool:
    """True when the parts separate repeated positions and one at least is an even stack (others: bolus tracking)."""
    each = [_most_at_one_place(slices) for slices in stacks]
    whole = _most_at_one_place([one for slices in stacks for one in slices])
    alone = all(most in (1, len(slices)) for most, slices in zip(each, stacks, strict=True))
    return whole > 1 and alone and min(map(len, stacks)) > 1 and any(map(_is_stack, stacks))


def _with_copies(headers: Sequence[SliceHeader], groups: Sequence[list[int]]) -> list[list[int]]:
    """The groups, with copies next to the slice they repeat, and scouts in the first group."""
    home = {headers[index].sop_uid + str(headers[index].frame): group for group in groups for index in group}
    left = set(range(len(headers))) - {index for group in groups for index in group}
    for index in sorted(left):
        home.get(headers[index].sop_uid + str(headers[index].frame), groups[0]).append(index)
    return [sorted(group) for group in groups]


def check_stack(headers: Sequence[SliceHeader], where: str) -> Stack:
    """The one even stack of a series.

    Raises:
        SeriesError: There are several acquisitions, or the slices are not an even stack.
    """
    n_groups = len(split_acquisitions(headers))
    if n_groups > 1:
        raise SeriesError(
            where=where,
            expected="one acquisition",
            found=f"{n_groups} acquisitions in one series",
            remedy="separate them with `nephroscope import dicom`, or export each as its own series",
        )
    stack = stack_of(headers, where)
    _check_one_kind([headers[index] for index in stack.order], where)
    check_decodable(headers, where)
    check_size(headers, where)
    slices = [headers[index] for index in stack.order]
    doubts = check_whole(slices, where) + _check_places(slices, where)
    return Stack(order=stack.order, affine=stack.affine, findings=stack.findings + doubts)


def _check_places(slices: Sequence[SliceHeader], where: str) -> tuple[Finding, ...]:
    """A warning about the few slices whose number or Slice Location does not fit their position, as all others do.

    Args:
        slices: In the order of their positions.
        where: The series.
    """
    odd = _out_of_line(slices) | _out_of_order(slices)
    if not odd:
        return ()
    listed = first_few(slices[index].name for index in sorted(odd))
    text = f"the number or Slice Location of {listed} does not fit its position: slices may be swapped"
    return (warning("slice-place", text, where),)


def _out_of_order(slices: Sequence[SliceHeader]) -> set[int]:
    """Slices without which the numbers rise or fall with the positions; empty where they do, or mostly do not."""
    numbers = [one.instance_number if one.frame is None else one.frame for one in slices]
    known = [number for number in numbers if number is not None]
    if len(known) < FEWEST_ORDERED or len(set(known)) < len(slices):
        return set()
    odd = min((_without_longest_run(known), _without_longest_run([-n for n in known])), key=len)
    return odd if len(odd) <= MOST_ODD else set()


def _without_longest_run(numbers: Sequence[int]) -> set[int]:
    """Positions that are not part of the longest rising run of numbers, with gaps allowed."""
    ends: list[int] = []  # index of the last number of the best run of each length
    before: list[int] = []
    for index, number in enumerate(numbers):
        length = bisect_left([numbers[end] for end in ends], number)
        before.append(ends[length - 1] if length else -1)
        ends[length : length + 1] = [index]
    run, at = set(), ends[-1]
    while at >= 0:
        run.add(at)
        at = before[at]
    return set(range(len(numbers))) - run


def _out_of_line(slices: Sequence[SliceHeader]) -> set[int]:
    """Slices whose Slice Location is not where those of all others put them; empty where many are not."""
    known = [one.location_mm for one in slices if one.location_mm is not None]
    if len(known) < max(len(slices), FEWEST_ORDERED):
        return set()
    spacing = median(np.diff(known))
    steps = np.arange(len(slices)) * spacing
    off_mm = np.abs(np.array(known) - steps - median(np.array(known) - steps))
    odd = set(np.flatnonzero(off_mm > max(SPACING_TOLERANCE_MM, abs(spacing) / 4)).tolist())
    return odd if len(odd) <= MOST_ODD and spacing else set()


def _check_one_kind(slices: Sequence[SliceHeader], where: str) -> None:
    """Refuse a series of which some slices are a plain CT and others are not, or are something else.

    Raises:
        SeriesError: There are several kinds.
    """
    kinds = [kind for kind in kinds_of(slices) if kind != "not-hu"]  # a warning, as for all slices
    if len(kinds) > 1:
        odd = next(one for one in slices if derived_kind(one) != derived_kind(slices[0]))
        raise SeriesError(
            where=where,
            expected="slices of one kind in a series",
            found=f"{' and '.join(DERIVED.get(kind, 'plain CT') for kind in kinds)}, first in {odd.name}",
            remedy="export each kind as its own series",
        )


def reason_not_a_stack(headers: Sequence[SliceHeader]) -> str | None:
    """Why these slices would be refused, without the name of the series; None when they would not.

    Several acquisitions are a reason too: ask for each group of `split_acquisitions` separately.
    """
    kept, _ = without_copies(headers)
    try:
        check_stack([headers[index] for index in kept], "")
    except SeriesError as error:
        return f"expected {error.expected}, found {error.found}; {error.remedy}"
    return None


def without_copies(headers: Sequence[SliceHeader]) -> tuple[list[int], list[tuple[int, int]]]:
    """Which slices are new, and which claim to be copies: (copy, the slice it repeats).

    A slice is a copy when SOP Instance UID, frame, position, orientation and rescale are the same. Whether its pixels
    are also the same is checked when they are read.
    """
    seen: dict[tuple[object, ...], int] = {}
    kept, copies = [], []
    for index, one in enumerate(headers):
        key = (one.sop_uid or index, one.frame, one.position_mm, one.orientation, one.slope, one.intercept)
        if key in seen:
            copies.append((index, seen[key]))
        else:
            seen[key] = index
            kept.append(index)
    return kept, copies


def _candidates(headers: Sequence[SliceHeader], kept: Sequence[int]) -> list[list[list[int]]]:
    """Ways to group the slices, the most deliberate first."""
    ways = _groups_by_number(headers, kept)
    n_repeats = _most_at_one_place([headers[index] for index in kept])
    if n_repeats > 1:
        ways += [_by_time(headers, kept, time, n_repeats) for time in TIMES]
    return ways


def _groups_by_number(headers: Sequence[SliceHeader], kept: Sequence[int]) -> list[list[list[int]]]:
    """Ways to group the slices by their numbers alone."""
    ways = []
    for key in KEYS:
        groups: dict[str, list[int]] = defaultdict(list)
        for index in kept:
            groups[key(headers[index])].append(index)
        ways.append([groups[name] for name in sorted(groups, key=_by_number)])
    return ways


def _by_number(text: str) -> tuple[float, str]:
    number = _number(text)
    return (float("inf") if math.isnan(number) else number, text)


def _number(text: str) -> float:
    """A number written in digits; NaN for other text."""
    return float(text) if text.replace(".", "", 1).isdecimal() else float("nan")


def _by_time(
    headers: Sequence[SliceHeader], kept: Sequence[int], time: Callable[[SliceHeader], float], n_groups: int
) -> list[list[int]]:
    """``n_groups`` groups, divided at the longest pauses: slices of one scan may each have their own time."""
    moments = np.array([time(headers[index]) for index in kept])
    if not np.isfinite(moments).all():
        return []
    order = np.argsort(moments, kind="stable")
    pauses = np.diff(moments[order])
    cuts = np.sort(np.argsort(-pauses, kind="stable")[: n_groups - 1]) + 1
    return [[kept[index] for index in part] for part in np.split(order, cuts)]


def _seconds(text: str) -> float:
    """A DICOM time, or date and time, in seconds from some midnight; NaN for anything else."""
    whole, _, fraction = text.partition(".")
    fraction = fraction.partition("+")[0].partition("-")[0]
    if not whole.isdigit() or (fraction and not fraction.isdigit()):
        return float("nan")
    if len(whole) in (8, 14):
        days, whole = int(whole[:4]) * 372 + int(whole[4:6]) * 31 + int(whole[6:8]), whole[8:]
    else:
        days = 0
    clock = whole.ljust(6, "0")
    if len(clock) != 6:
        return float("nan")
    seconds = int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + int(clock[4:])
    return days * 86400 + seconds + float(f"0.{fraction or 0}")


def _most_at_one_place(slices: Sequence[SliceHeader]) -> int:
    """How often the most repeated position occurs."""
    counts: dict[tuple[float, ...], int] = defaultdict(int)
    for one in slices:
        if one.position_mm is not None:
            counts[tuple(round(mm, 2) for mm in one.position_mm)] += 1
    return max(counts.values(), default=0)


def _is_stack(slices: Sequence[SliceHeader]) -> bool:
    """True for an even stack of more than one slice."""
    if len(slices) < 2:
        return False
    try:
        stack_of(slices, "")
    except SeriesError:
        return False
    return True


def _has_hole(stacks: Sequence[Sequence[SliceHeader]]) -> bool:
    """True when two groups are one stack with a few slices missing between them."""
    for (_, end, spacing_mm), (start, _, other_mm) in pairwise(_spans(stacks)):
        alike = abs(spacing_mm - other_mm) <= SPACING_TOLERANCE_MM
        if alike and spacing_mm / 2 < start - end < HOLE_SLICES * spacing_mm:
            return True
    return False


def _spans(stacks: Sequence[Sequence[SliceHeader]]) -> list[tuple[float, float, float]]:
    """First and last position along the normal and spacing, in mm, of even stacks, the lowest first."""
    spans = []
    for slices in stacks:
        stack = stack_of(slices, "")
        step = stack.affine[:3, 0]
        first, last = stack.affine[:3, 3], stack.affine[:3, 3] + (len(slices) - 1) * step
        spacing_mm = float(np.linalg.norm(step))
        spans.append((float(first @ step) / spacing_mm, float(last @ step) / spacing_mm, spacing_mm))
    return sorted(spans)
