"""Geometry and acquisitions from headers alone: what is an even stack, what is several, what is said of the rest."""

from dataclasses import replace

import numpy as np
import pytest

from ct_files import enhanced_ct, facts, scan
from nephroscope.base.errors import SeriesError
from nephroscope.imaging.dicom.acquisitions import (
    check_stack,
    reason_not_a_stack,
    split_acquisitions,
)
from nephroscope.imaging.dicom.files import read_header
from nephroscope.imaging.dicom.series import read_dicom_series
from nephroscope.imaging.dicom.slice_header import SLICE_TAGS, slice_headers
from nephroscope.imaging.dicom.stack import stack_of
from phantoms import SPACING_MM, box_affine, dicom_slices, write_slices


def test_order_and_grid_come_from_positions():
    slices = scan(6, start=100)
    mixed = [slices[i] for i in (3, 0, 5, 2, 4, 1)]
    stack = stack_of(mixed, "series 1")
    assert [mixed[i].instance_number for i in stack.order] == [1, 2, 3, 4, 5, 6]
    assert np.allclose(stack.affine, box_affine())


def test_thickness_and_spacing_of_the_header_do_not_matter():
    slices = [replace(one, thickness_mm=-7.0) for one in scan(6, start=100)]
    assert np.allclose(stack_of(slices, "").affine, box_affine())


def test_cosines_that_wobble_are_one_orientation():
    rng = np.random.default_rng(1)
    wobbled = [
        replace(one, orientation=tuple(np.array(one.orientation) + rng.normal(0, 1e-4, 6))) for one in scan(9)
    ]
    assert reason_not_a_stack(wobbled) is None


def without(slices, *indices):
    return [one for index, one in enumerate(slices) if index not in indices]


def at(slices, index, **values):
    return [replace(one, **values) if i == index else one for i, one in enumerate(slices)]


def tilted(slices, mm):
    return [replace(one, position_mm=(-20.0, i * mm, one.position_mm[2])) for i, one in enumerate(slices)]


COMPLETE = scan(8, step_mm=1.6)


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        (
            without(COMPLETE, 3, 4),
            "slices 1.6 mm apart, found 4.8 mm between IM 3 (SOP ..3) and IM 6 (SOP ..6): two are missing;",
        ),
        (without(COMPLETE, 2, 5), "IM 4 (SOP ..4): one is missing, 3.2 mm between IM 5 (SOP ..5) and IM 7"),
        (
            [*scan(20), *scan(20, start=150, first=90)],
            "slices 2.5 mm apart, found 102.5 mm between IM 20 (SOP ..20) and IM 90 (SOP ..90): 40 are missing",
        ),
        (
            at(COMPLETE, 3, position_mm=(-20.0, -30.5, 5.3)),
            "found 2.1 mm between IM 3 (SOP ..3) and IM 4 (SOP ..4), 1.1 mm between IM 4",
        ),
        (
            [one for pair in zip(scan(9), scan(9, first=21), strict=True) for one in pair],
            "each slice at a different position, found IM 1 and IM 21 at the same position, and 8 more pairs",
        ),
        (tilted(COMPLETE, 0.5), "slices shifted by up to 0.5 mm each: a gantry tilt of 17.4 degrees"),
        (tilted(COMPLETE, 0.05), "a gantry tilt of 1.8 degrees"),
        (
            at(COMPLETE, 3, position_mm=(-17.0, -30.5, 4.8)),
            "straight above each other, 1.6 mm apart, found IM 4 3 mm away",
        ),
        (
            [facts(i * 2.5 + 0.008 * i * i, i + 1) for i in range(12)],
            "2.588 mm apart, found IM 6 0.24 mm away from its position",
        ),
        (
            at(COMPLETE, 2, position_mm=None),
            "ImagePositionPatient in every slice, found none in 1 of 8, first in IM 3",
        ),
        (at(COMPLETE, 2, intercept=None), "RescaleIntercept in every slice"),
        (
            at(COMPLETE, 2, slope=0.0),
            "rescale slope above 0 in IM 3, found 40 x 48, 0.9, 0.7 mm, slope 0",
        ),
        (at(COMPLETE, 2, rows=0), "found 0 x 48"),
        (at(COMPLETE, 2, pixel_spacing_mm=(0.0, 0.7)), "found 40 x 48, 0, 0.7 mm"),
        (at(COMPLETE, 2, rows=50), "the same Rows in all slices, 40 as in IM 1, found 50 in IM 3"),
        (
            at(COMPLETE, 2, orientation=(1.0, 0.0, 0.0, 0.0, 0.99, 0.14)),
            "in all slices, 1, 0, 0, 0, 1, 0 as in IM 1, found 1, 0, 0, 0, 0.99, 0.14 in IM 3",
        ),
        (
            [replace(one, orientation=(1.0, 0.0, 0.0, 0.5, 0.5, 0.0)) for one in COMPLETE],
            "two unit vectors at right angles, found 1, 0, 0, 0.5, 0.5, 0",
        ),
        (at(COMPLETE, 2, photometric="RGB"), "gray pixels (MONOCHROME1 or MONOCHROME2) in IM 3, found RGB"),
        (at(COMPLETE, 2, slope=-1.0), "rescale slope above 0 in IM 3, found 40 x 48, 0.9, 0.7 mm, slope -1"),
        (
            [replace(one, pixel_spacing_mm=(900.0, 700.0)) for one in COMPLETE],
            "voxels of 0.01 to 100 mm, found",
        ),
        (
            [replace(one, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")) for one in scan(2)],
            "expected axial slices, found a scout (Image Type LOCALIZER, 2 of 2 images)",
        ),
        (
            [facts(0, 7, orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))],
            "expected axial slices, found a single image that is not axial, IM 7",
        ),
        (
            at(COMPLETE, 2, transfer_syntax="1.2.840.10008.1.2.4.55"),
            "Process 10 and 12), for which no decoder is installed",
        ),
        (
            [replace(one, images_in_acquisition=11) for one in COMPLETE],
            "11 slices, as Images in Acquisition says, found 8, from IM 1 to IM 8: the series is cut short",
        ),
        (
            scan(6, first=4, images_in_acquisition=9),
            "9 slices, as Images in Acquisition says, found 6, from IM 4 to IM 9: the series is cut short",
        ),
    ],
)
def test_why_slices_are_no_stack(slices, words):
    reason = reason_not_a_stack(slices)
    assert reason is not None
    assert words in reason


def test_a_small_drift_is_represented_and_not_refused():
    """Rounded positions and 0.05 degrees of tilt stay in the affine."""
    slices = [
        replace(one, position_mm=(-20.0, i * 0.001, round(i * 0.625, 1))) for i, one in enumerate(scan(80))
    ]
    assert reason_not_a_stack(slices) is None


def test_one_sign_of_an_early_end_is_a_doubt():
    (late,) = check_stack(scan(8, first=4), "series 1").findings
    assert (late.code, late.severity) == ("series-cut-short", "warning")
    assert late.message == "8 slices, but the first is IM 4: the series may be cut short"
    scattered = [
        replace(one, instance_number=3 * i + 1, images_in_acquisition=11) for i, one in enumerate(scan(8))
    ]
    (count,) = check_stack(scattered, "series 1").findings
    assert count.message == "8 slices, but Images in Acquisition says 11: the series may be cut short"


@pytest.mark.parametrize(
    "slices",
    [
        scan(8, images_in_acquisition=16),  # two reconstructions of one acquisition
        scan(8, images_in_acquisition=3),
        scan(8, first=101, acquisition_number="2"),
        scan(8, first=0, images_in_acquisition=8),
    ],
)
def test_counts_that_are_no_sign(slices):
    assert check_stack(slices, "series 1").findings == ()


def test_a_scout_in_a_series_is_left_out():
    scout = facts(
        50, 1, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), orientation=(0, 1, 0, 0, 0, -1), rows=700
    )
    stack = check_stack([scout, *scan(8, first=2, acquisition_number="2")], "series 1")
    assert 0 not in stack.order
    assert [(f.code, f.severity) for f in stack.findings] == [("scout-in-series", "note")]


# ---- acquisitions


def test_an_even_stack_is_one_whatever_its_times():
    slices = [
        replace(one, acquisition_time=f"1200{i:02d}", acquisition_number=str(i))
        for i, one in enumerate(scan(9))
    ]
    assert split_acquisitions(slices) == [list(range(9))]


def number(slices, value):
    return [replace(one, acquisition_number=str(value)) for one in slices]


def temporal(slices, value):
    return [replace(one, temporal_position=str(value)) for one in slices]


def timed(slices, value):
    return [replace(one, acquisition_time=f"1012{value * 20:02d}.500000") for one in slices]


def timed_each(slices, value):
    """A second per slice, a longer pause between the phases."""
    return [replace(one, content_time=f"10{15 + 2 * value}{i:02d}") for i, one in enumerate(slices)]


def triggered(slices, value):
    return [replace(one, trigger_time=str(500 * value + i)) for i, one in enumerate(slices)]


@pytest.mark.parametrize("mark", [number, temporal, timed, timed_each, triggered])
def test_acquisitions_are_told_apart(mark):
    """Three phases, interleaved as files; the second is cut by two slices at its end."""
    phases = [mark(scan(n, first=10 * k), k) for k, n in ((1, 8), (2, 6), (0, 8))]
    mixed = [one for phase in phases for one in phase][::-1]
    groups = split_acquisitions(mixed)
    firsts = [min(mixed[i].instance_number for i in group) for group in groups]
    assert firsts == [0, 10, 20]
    assert [len(group) for group in groups] == [8, 8, 6]
    assert reason_not_a_stack(mixed) == (
        "expected one acquisition, found 3 acquisitions in one series; "
        "separate them with `nephroscope import dicom`, or export each as its own series"
    )


def test_numbers_are_ordered_as_numbers():
    mixed = [*number(scan(5), 10), *number(scan(5, first=20), 9)]
    assert split_acquisitions(mixed) == [[5, 6, 7, 8, 9], [0, 1, 2, 3, 4]]


def test_repeats_without_a_mark_stay_one_group_and_are_refused():
    mixed = [*scan(5), *scan(5, first=20)]
    assert split_acquisitions(mixed) == [list(range(10))]
    assert "at the same position" in reason_not_a_stack(mixed)


def test_temporal_positions_count_where_every_slice_has_its_own_number():
    slices = [*temporal(scan(5), 1), *temporal(scan(5, first=20), 2)]
    slices = [replace(one, acquisition_number=str(one.instance_number)) for one in slices]
    assert split_acquisitions(slices) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_a_phase_with_a_gap_does_not_spoil_the_other():
    mixed = [*number(scan(8), 1), *number(without(scan(8, first=20), 4), 2)]
    groups = split_acquisitions(mixed)
    assert groups == [list(range(8)), list(range(8, 15))]
    first, second = (reason_not_a_stack([mixed[i] for i in group]) for group in groups)
    assert first is None
    assert "IM 23 (SOP ..23) and IM 25 (SOP ..25): one is missing" in second
    assert "2 acquisitions" in reason_not_a_stack(mixed)


def test_two_broken_phases_stay_one_group():
    mixed = [*number(without(scan(8), 3), 1), *number(without(scan(8, first=20), 4), 2)]
    assert split_acquisitions(mixed) == [list(range(14))]
    assert "at the same position" in reason_not_a_stack(mixed)


def test_a_tilted_gantry_as_scanners_write_it():
    """The plane is turned about x by 15 degrees, the table moves along z."""
    turn = (1.0, 0.0, 0.0, 0.0, 0.965926, -0.258819)
    slices = [replace(one, orientation=turn) for one in scan(8, step_mm=5)]
    assert "found slices shifted by up to 1.29 mm each: a gantry tilt of 15.0" in (
        reason_not_a_stack(slices) or ""
    )


def test_an_oblique_stack_is_no_tilt():
    turn = (1.0, 0.0, 0.0, 0.0, 0.965926, -0.258819)
    normal = np.array([0, 0.258819, 0.965926])
    slices = [
        replace(one, orientation=turn, position_mm=tuple(5 * i * normal)) for i, one in enumerate(scan(8))
    ]
    assert reason_not_a_stack(slices) is None


def test_a_loss_between_two_rotations_is_a_gap_and_not_two_scans():
    """A scanner that counts each rotation of four slices; one slice is lost between two."""
    slices = [replace(one, acquisition_number=str(i // 4)) for i, one in enumerate(scan(16))]
    torn = without(slices, 8, 9, 10, 11)
    assert split_acquisitions(torn) == [list(range(12))]
    assert "four are missing" in reason_not_a_stack(torn)


def test_two_scans_far_apart_are_two():
    groups = split_acquisitions([*number(scan(20), 1), *number(scan(20, start=400, first=30), 2)])
    assert [len(group) for group in groups] == [20, 20]


def test_copies_and_scouts_stay_with_a_group():
    one, two = number(scan(5), 1), number(scan(5, first=20), 2)
    scout = facts(0, 99, image_type=("LOCALIZER",))
    groups = split_acquisitions([*one, *two, two[3], scout])
    assert groups == [[0, 1, 2, 3, 4, 11], [5, 6, 7, 8, 9, 10]]
    assert "2 acquisitions" in reason_not_a_stack([*one, *two, two[3]])
    assert reason_not_a_stack([*one, one[2]]) is None


def test_two_thousand_slices_are_quick():
    import time

    started = time.perf_counter()
    groups = split_acquisitions([*number(scan(1000), 1), *number(scan(1000, first=2000), 2)])
    assert len(groups) == 2
    assert time.perf_counter() - started < 5


# ---- the same words before and after reading pixels


@pytest.mark.parametrize(
    "spoil",
    [
        lambda images: images.pop(2),
        lambda images: setattr(images[3], "Rows", 20),
        lambda images: delattr(images[3], "RescaleSlope"),
        lambda images: [
            setattr(image, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]) for image in images
        ],
        lambda images: [setattr(image, "ImagesInAcquisition", 7) for image in images],
    ],
)
def test_headers_alone_give_the_words_of_the_reader(tmp_path, spoil):
    images = dicom_slices()
    spoil(images)
    folder = write_slices(images, tmp_path)
    headers = [read_header(path, SLICE_TAGS) for path in sorted(folder.iterdir())]
    reason = reason_not_a_stack([one for header in headers for one in slice_headers(header)])
    with pytest.raises(SeriesError) as caught:
        read_dicom_series(folder)
    assert str(caught.value) == f"series {images[0].SeriesInstanceUID}: {reason}"


def test_headers_alone_do_for_what_is_whole(tmp_path):
    write_slices(dicom_slices(), tmp_path / "plain")
    write_slices([enhanced_ct()], tmp_path / "enhanced")
    for name in ("plain", "enhanced"):
        headers = [read_header(path, SLICE_TAGS) for path in (tmp_path / name).iterdir()]
        slices = [one for header in headers for one in slice_headers(header)]
        assert len(slices) == 6
        assert reason_not_a_stack(slices) is None
        assert stack_of(slices, "").affine[2, 0] == SPACING_MM[0]


def test_two_spacings_in_one_series_are_not_called_missing_slices():
    chest, abdomen = scan(5, step_mm=5), scan(6, start=22.5, step_mm=2.5, first=6)
    assert reason_not_a_stack([*chest, *abdomen]).startswith(
        "expected the same distance between all slices, found 5 mm between IM 1 and IM 5, then 2.5 mm up to IM 11"
    )


def test_the_odd_one_out_is_named_also_when_it_comes_first():
    scout = facts(0, 1, rows=888)
    assert "the same Rows in all slices, 40 as in IM 2, found 888 in IM 1" in reason_not_a_stack(
        [scout, *scan(5, start=10, first=2)]
    )


def test_a_concatenation_that_lacks_a_file_is_doubted():
    parts = [replace(one, sop_uid="1.1", frame=i, parts=3) for i, one in enumerate(scan(4))]
    parts += [replace(one, sop_uid="1.2", frame=i, parts=3) for i, one in enumerate(scan(4, start=10))]
    (doubt,) = check_stack(parts, "").findings
    assert (doubt.code, doubt.severity) == ("series-cut-short", "warning")
    assert doubt.message == "only 2 of the 3 files of a concatenation are here: the series may be cut short"
    assert check_stack([replace(one, parts=2) for one in parts], "").findings == ()


def test_two_spacings_need_three_steps_each():
    slices = [*scan(5), *scan(2, start=15, step_mm=5, first=6)]
    assert "5 mm between IM 5 (SOP ..5) and IM 6 (SOP ..6): one is missing" in reason_not_a_stack(slices)


def test_more_voxels_than_any_ct_has_are_refused_by_the_headers():
    slices = [replace(one, rows=40000, columns=40000) for one in scan(3)]
    assert "found 4800000000 in 3 slices of 40000 x 40000" in reason_not_a_stack(slices)


def test_bolus_tracking_in_the_series_of_the_scan_does_not_spoil_it():
    tracking = number([facts(10, i) for i in range(1, 6)], 1)
    mixed = [*tracking, *number(scan(8, first=6), 2)]
    groups = split_acquisitions(mixed)
    assert groups == [list(range(5)), list(range(5, 13))]
    assert reason_not_a_stack([mixed[i] for i in groups[1]]) is None


def test_one_slice_scanned_again_is_no_acquisition_of_its_own():
    mixed = [*number(scan(8), 1), *number([facts(10, 9)], 2)]
    assert split_acquisitions(mixed) == [list(range(9))]
    assert "at the same position" in reason_not_a_stack(mixed)


def test_phases_whose_slices_lie_between_each_others_are_two():
    early = scan(6, 0, 5, acquisition_number="1")
    late = scan(6, 2.5, 5, first=7, acquisition_number="2")
    assert split_acquisitions([*early, *late]) == [list(range(6)), list(range(6, 12))]
    told_by_time = [
        replace(one, acquisition_number="", temporal_position=one.acquisition_number) for one in early + late
    ]
    assert len(split_acquisitions(told_by_time)) == 2
    assert len(split_acquisitions(scan(12))) == 1


def test_steps_of_one_scan_are_not_taken_apart():
    """A scanner that steps numbers each slice, or each turn; parts that follow each other are one stack."""
    each = [replace(one, acquisition_number=str(n)) for n, one in enumerate(scan(12))]
    by_two = [replace(one, acquisition_number=str(n % 6)) for n, one in enumerate(scan(12))]
    halves = [replace(one, acquisition_number=str(n // 6)) for n, one in enumerate(scan(12))]
    many = [replace(one, acquisition_number=str(n % 9)) for n, one in enumerate(scan(36))]
    for slices in (each, by_two, halves, many):
        assert split_acquisitions(slices) == [list(range(len(slices)))]
