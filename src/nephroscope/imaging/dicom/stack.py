"""Check that slices form an even stack, and that they are the whole series."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import SeriesError
from nephroscope.base.text import counted_noun
from nephroscope.imaging.dicom.slice_header import SliceHeader
from nephroscope.imaging.grid import check_voxel, median
from nephroscope.records import Finding, note, warning

Floats = npt.NDArray[np.float64]

SPACING_TOLERANCE_MM = 0.1
# How far a slice may lie from its place in an even stack: more than rounding in headers, less than matters.
PLACE_TOLERANCE_MM = 0.2
SAME_PLACE_MM = 0.01
STEP_TOLERANCE = 0.02  # of the distance of slices, for what Spacing Between Slices says
# The cosines of real series differ by 1e-4 from slice to slice.
ORIENTATION_TOLERANCE = 1e-3
# Tangent of the largest tilt that counts as none: 0.1 degrees.
TILT_TOLERANCE = 2e-3
# Cosine of 45 degrees to the long axis of the body.
OBLIQUE = 0.7
LISTED_GAPS = 3
LEAST_STEPS = 3  # equal steps that count as a spacing of their own
WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Slices that form an even stack.

    Attributes:
        order: Positions of the given headers, sorted along the normal; scouts are left out.
        affine: 4x4 from (slice in this order, row, column) to LPS mm.
    """

    order: tuple[int, ...]
    affine: Floats
    findings: tuple[Finding, ...]


def stack_of(headers: Sequence[SliceHeader], where: str) -> Stack:
    """The even stack that the slices form.

    Args:
        headers: One acquisition, in any order, each slice once.
        where: Name of the series in the refusal.

    Raises:
        SeriesError: There are only scouts, a position, spacing or rescale is missing, pixels are not gray, slices
            differ in size, orientation or spacing, a position is repeated, there is a gap, or the gantry is tilted.
    """
    kept, findings = _without_scouts(headers, where)
    slices = [headers[index] for index in kept]
    _check_complete(slices, where)
    _check_alike(slices, where)
    along_row, along_column = _cosines(slices[0], where)
    normal = np.cross(along_row, along_column)
    places = np.array([one.position_mm for one in slices])
    order = np.argsort(places @ normal, kind="stable")
    slices, places = [slices[index] for index in order], places[order]
    affine = np.eye(4)
    if len(slices) == 1:
        _check_single(slices[0], normal, where)
        thickness_mm = abs(slices[0].thickness_mm or 0.0)
        affine[:3, 0] = (thickness_mm or 1.0) * normal
        text = f"only one slice; {thickness_mm:g} mm is used as its thickness"
        unknown = "only one slice, of unknown thickness; 1 mm is assumed, so volumes are wrong"
        told = note("single-slice", text, where) if thickness_mm else warning("single-slice", unknown, where)
        findings.append(told)
    else:
        _check_even(slices, places, normal, where)
        affine[:3, 0] = (places[-1] - places[0]) / (len(places) - 1)
        findings += _check_step(slices, float(np.linalg.norm(affine[:3, 0])), where)
    row_mm, col_mm = slices[0].pixel_spacing_mm or (0.0, 0.0)
    # Source: DICOM PS3.3 C.7.6.2.1.1.
    affine[:3, 1] = along_column * row_mm
    affine[:3, 2] = along_row * col_mm
    affine[:3, 3] = places[0]
    check_voxel(where, affine)
    return Stack(order=tuple(kept[index] for index in order), affine=affine, findings=tuple(findings))


def _without_scouts(headers: Sequence[SliceHeader], where: str) -> tuple[list[int], list[Finding]]:
    """Which slices are not scouts; a scout filed with a series is reported and left out."""
    kept = [index for index, one in enumerate(headers) if not one.is_localizer]
    if not kept:
        raise SeriesError(
            where=where,
            expected="axial slices",
            found=f"a scout (Image Type LOCALIZER, {len(headers)} of {len(headers)} images)",
            remedy="give the CT series itself",
        )
    if len(kept) == len(headers):
        return kept, []
    text = f"{len(headers) - len(kept)} scout images of the series were left out"
    like = headers[kept[0]]
    scouts = [one for one in headers if one.is_localizer]
    if any(
        (one.orientation, one.rows, one.columns) == (like.orientation, like.rows, like.columns)
        for one in scouts
    ):
        text += ", of which some have the size and orientation of its slices: they may be slices"
        return kept, [warning("scout-in-series", text, where)]
    return kept, [note("scout-in-series", text, where)]


def _check_complete(slices: Sequence[SliceHeader], where: str) -> None:
    """Refuse slices that lack a value needed for their position or HU."""
    for name, field in (
        ("Rows", "rows"),
        ("Columns", "columns"),
        ("ImagePositionPatient", "position_mm"),
        ("ImageOrientationPatient", "orientation"),
        ("PixelSpacing", "pixel_spacing_mm"),
        ("RescaleSlope", "slope"),
        ("RescaleIntercept", "intercept"),
    ):
        lacking = [one for one in slices if getattr(one, field) is None]
        if lacking:
            raise SeriesError(
                where=where,
                expected=f"{name} in every slice",
                found=f"none in {len(lacking)} of {len(slices)}, first in {lacking[0].name}",
                remedy="export the original CT series, one file per slice",
            )
    for one in slices:
        # MONOCHROME1 says how to show the values, not what they are (PS3.3 C.7.6.3.1.2).
        gray = one.samples == 1 and one.photometric in ("", "MONOCHROME1", "MONOCHROME2")
        if not gray:
            raise SeriesError(
                where=where,
                expected=f"gray pixels (MONOCHROME1 or MONOCHROME2) in {one.name}",
                found=f"{one.photometric or 'pixels'} with {one.samples} values per pixel",
                remedy="export the original CT images",
            )
        if (one.slope or 0) <= 0 or min(one.pixel_spacing_mm or (0,)) <= 0 or not one.rows or not one.columns:
            raise SeriesError(
                where=where,
                expected=f"rows, columns, pixel spacing and rescale slope above 0 in {one.name}",
                found=f"{one.rows} x {one.columns}, {_numbers(one.pixel_spacing_mm)} mm, slope {one.slope:g}",
                remedy="export the original CT series",
            )


def _check_alike(slices: Sequence[SliceHeader], where: str) -> None:
    """Refuse slices that differ in size, orientation or pixel spacing."""
    for name, field, tolerance in (
        ("Rows", "rows", 0.0),
        ("Columns", "columns", 0.0),
        ("ImageOrientationPatient", "orientation", ORIENTATION_TOLERANCE),
        ("PixelSpacing", "pixel_spacing_mm", ORIENTATION_TOLERANCE),
    ):
        values = np.array([np.atleast_1d(getattr(one, field)) for one in slices], float)
        other = np.flatnonzero(np.abs(values - values[0]).max(axis=1) > tolerance)
        if len(other):
            _, same, counts = np.unique(values.round(3), axis=0, return_inverse=True, return_counts=True)
            usual = int(np.flatnonzero(same.ravel() == counts.argmax())[0])
            other = np.flatnonzero(np.abs(values - values[usual]).max(axis=1) > tolerance)
            raise SeriesError(
                where=where,
                expected=f"the same {name} in all slices, {_numbers(values[usual])} as in {slices[usual].name}",
                found=f"{_numbers(values[other[0]])} in {slices[other[0]].name}",
                remedy="export scout images and reformations as separate series",
            )


def _cosines(one: SliceHeader, where: str) -> tuple[Floats, Floats]:
    """Unit vectors along a row and along a column, at right angles."""
    cosines = np.array(one.orientation).reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(cosines[0] @ cosines[1]) > 0.01:
        raise SeriesError(
            where=where,
            expected="an ImageOrientationPatient of two unit vectors at right angles",
            found=f"{_numbers(one.orientation)} in {one.name}",
            remedy="export the original CT series",
        )
    along_row, along_column = cosines / lengths[:, None]
    return along_row, along_column


def _check_single(one: SliceHeader, normal: Floats, where: str) -> None:
    """Refuse a single image that is not axial: an unlabelled scout, or a key image."""
    if abs(normal[2]) < OBLIQUE:
        raise SeriesError(
            where=where,
            expected="axial slices",
            found=f"a single image that is not axial, {one.name}",
            remedy="give the CT series itself",
        )


def _check_even(slices: Sequence[SliceHeader], places: Floats, normal: Floats, where: str) -> None:
    """Refuse repeated positions, gaps, a tilted gantry, and slices off the line of the others."""
    steps = np.diff(places, axis=0)
    gaps_mm = steps @ normal
    (twice,) = np.nonzero(gaps_mm < SAME_PLACE_MM)
    if len(twice):
        more = f", and {len(twice) - 1} more pairs" if len(twice) > 1 else ""
        raise SeriesError(
            where=where,
            expected="each slice at a different position",
            found=f"{slices[twice[0]].name} and {slices[twice[0] + 1].name} at the same position{more}",
            remedy="remove the repeated images, or export the phases as separate series",
        )
    expected_mm = median(gaps_mm)
    (uneven,) = np.nonzero(np.abs(gaps_mm - expected_mm) > min(SPACING_TOLERANCE_MM, expected_mm / 4))
    if len(uneven):
        _refuse_two_spacings(slices, gaps_mm, where)
        listed = [_gap(slices[i], slices[i + 1], gaps_mm[i], expected_mm) for i in uneven[:LISTED_GAPS]]
        more = f", and {len(uneven) - LISTED_GAPS} more" if len(uneven) > LISTED_GAPS else ""
        raise SeriesError(
            where=where,
            expected=f"slices {expected_mm:.4g} mm apart",
            found=", ".join(listed) + more,
            remedy="send the complete series again, without other series",
        )
    _check_straight(slices, places, normal, where)


def _check_step(slices: Sequence[SliceHeader], step_mm: float, where: str) -> list[Finding]:
    """A warning when Spacing Between Slices is not the distance of the positions, which is used."""
    told = {round(abs(one.step_mm), 3) for one in slices if one.step_mm}
    off = [
        mm for mm in sorted(told) if abs(mm - step_mm) > max(SPACING_TOLERANCE_MM, STEP_TOLERANCE * step_mm)
    ]
    if not off:
        return []
    text = f"Spacing Between Slices is {_numbers(off)} mm, but positions are {step_mm:.4g} mm apart, which was used"
    return [warning("spacing-disagrees", text, where)]


def _refuse_two_spacings(slices: Sequence[SliceHeader], gaps_mm: Floats, where: str) -> None:
    """Refuse two stacks of different spacing, one after the other, and say so rather than that slices are missing."""
    (changes,) = np.nonzero(np.abs(np.diff(gaps_mm)) > SPACING_TOLERANCE_MM)
    if len(changes) != 1 or min(changes[0] + 1, len(gaps_mm) - changes[0] - 1) < LEAST_STEPS:
        return
    turn = int(changes[0]) + 1
    raise SeriesError(
        where=where,
        expected="the same distance between all slices",
        found=f"{gaps_mm[0]:.4g} mm between {slices[0].name} and {slices[turn].name}, "
        f"then {gaps_mm[-1]:.4g} mm up to {slices[-1].name}",
        remedy="export the two parts as separate series, or send the missing slices",
    )


def _check_straight(slices: Sequence[SliceHeader], places: Floats, normal: Floats, where: str) -> None:
    """Refuse a tilted gantry, and slices off the line of the others."""
    steps = np.diff(places, axis=0)
    gaps_mm = steps @ normal
    off_mm = np.linalg.norm(places - np.linspace(places[0], places[-1], len(places)), axis=1)
    aside = steps.sum(axis=0) - gaps_mm.sum() * normal
    tilt = float(np.linalg.norm(aside)) / gaps_mm.sum()
    if tilt > TILT_TOLERANCE and np.linalg.norm(aside) > SPACING_TOLERANCE_MM:
        degrees = np.degrees(np.arctan(tilt))
        shift_mm = float(np.linalg.norm(steps - np.outer(gaps_mm, normal), axis=1).max())
        raise SeriesError(
            where=where,
            expected="slices stacked straight above each other",
            found=f"slices shifted by up to {shift_mm:.3g} mm each: a gantry tilt of {degrees:.1f} degrees",
            remedy="export the series corrected for gantry tilt",
        )
    if off_mm.max() > PLACE_TOLERANCE_MM:
        worst = int(off_mm.argmax())
        raise SeriesError(
            where=where,
            expected=f"slices stacked straight above each other, {median(gaps_mm):.4g} mm apart",
            found=f"{slices[worst].name} {off_mm[worst]:.3g} mm away from its position",
            remedy="send the complete series again, without other series",
        )


def _gap(one: SliceHeader, other: SliceHeader, gap_mm: float, expected_mm: float) -> str:
    """One uneven step in words, with the number of missing slices where it is a whole number."""
    first, second = sorted((one, other), key=lambda s: (s.instance_number or 0, s.frame or 0))
    text = f"{gap_mm:.4g} mm between {_with_tail(first)} and {_with_tail(second)}"
    missing = round(gap_mm / expected_mm) - 1
    if missing < 1 or abs(gap_mm - (missing + 1) * expected_mm) > SPACING_TOLERANCE_MM * (missing + 1):
        return text
    word = WORDS[missing] if missing < len(WORDS) else str(missing)
    return f"{text}: {word} {'is' if missing == 1 else 'are'} missing"


def _with_tail(one: SliceHeader) -> str:
    return one.name if one.instance_number is None else f"{one.name} (SOP ..{one.tail})"


def _numbers(values: Sequence[float] | Floats | None) -> str:
    return ", ".join(f"{value:g}" for value in (() if values is None else values))


def check_whole(slices: Sequence[SliceHeader], where: str) -> tuple[Finding, ...]:
    """Warnings that slices of the series may be missing or mixed up.

    Raises:
        SeriesError: The series has fewer slices than it says it has.
    """
    return _cut_short(slices, where) + _parts_missing(slices, where) + _shared_uids(slices, where)


def _parts_missing(slices: Sequence[SliceHeader], where: str) -> tuple[Finding, ...]:
    """A warning about a concatenation with missing files; other acquisitions may be in them."""
    n_parts = max((one.parts or 0 for one in slices), default=0)
    n_here = len({one.sop_uid for one in slices})
    if n_here >= n_parts:
        return ()
    text = f"only {n_here} of the {n_parts} files of a concatenation are here: the series may be cut short"
    return (warning("series-cut-short", text, where),)


def _shared_uids(slices: Sequence[SliceHeader], where: str) -> tuple[Finding, ...]:
    """A warning about slices at different positions that share a SOP Instance UID."""
    uids = [(one.sop_uid, one.frame) for one in slices if one.sop_uid]
    n_shared = len(uids) - len(set(uids))
    if not n_shared:
        return ()
    text = f"{counted_noun(n_shared, 'slice')} with the SOP Instance UID of a slice at another position"
    return (warning("sop-uid-shared", text, where),)


def _cut_short(slices: Sequence[SliceHeader], where: str) -> tuple[Finding, ...]:
    """Refuse a series that lacks its end by its own count, and warn about one that may.

    Images in Acquisition may count several reconstructions: a whole multiple of the slices present is no sign.
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
            expected=f"{counted_noun(total or 0, 'slice')}, as Images in Acquisition says",
            found=f"{len(slices)}, from IM {low} to IM {high}: the series is cut short",
            remedy="send the whole series again",
        )
    first_scan = {one.acquisition_number for one in slices} <= {"", "0", "1"}
    starts_late = low > 1 and first_scan and {one.temporal_position for one in slices} <= {"", "1"}
    if not lacks and not starts_late:
        return ()
    signs = [f"Images in Acquisition says {total}"] if lacks else []
    signs += [f"the first is IM {low}"] if starts_late else []
    text = f"{len(slices)} slices, but {' and '.join(signs)}: the series may be cut short"
    return (warning("series-cut-short", text, where),)
