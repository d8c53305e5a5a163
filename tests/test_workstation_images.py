"""The CT for the browser: every slice as the reader gives it, from the cache or before it is filled."""

import dataclasses

import numpy as np
import pytest

from nephroscope import Study, read_ct
from nephroscope.base.errors import SeriesError
from nephroscope.intake.slice_images.cases import ImagesOptions
from nephroscope.records import VolumeGeometry, warning
from nephroscope.workstation.images.planes import cut_plane, letters_of
from nephroscope.workstation.images.routes import view_of
from nephroscope.workstation.images.volumes import Volumes, on_series, series_key
from nephroscope.workstation.place import Place
from one_series import one_series
from phantoms import box_affine, box_hu, dicom_slices, write_nifti, write_png, write_slices


def turn(images, degrees):
    """Tilt a series around the axis from right to left; it stays a stack at right angles."""
    angle = np.radians(degrees)
    rows = np.array([0, np.cos(angle), np.sin(angle)])
    normal = np.cross([1, 0, 0], rows)
    for number, image in enumerate(images):
        image.ImageOrientationPatient = [1, 0, 0, *rows.tolist()]
        image.ImagePositionPatient = (np.array([-20.0, -30.0, 5.0]) + normal * 3.0 * number).tolist()
    return images


def mirrored(images):
    """Head first, each image from left to right of the patient."""
    for image in images:
        image.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
    return images[::-1]


def stretched(images):
    for image in images:
        image.PixelSpacing = [0.7, 1.3]
    return images


def sagittal(images):
    for number, image in enumerate(images):
        image.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        image.ImagePositionPatient = [3.0 * number, 0, 0]
    return images


KINDS = {
    "plain": lambda images: images,
    "oblique": lambda images: turn(images, 20),
    "mirrored": mirrored,
    "stretched": stretched,
    "sagittal": sagittal,
}


def dicom_case(tmp_path, change=KINDS["plain"]):
    folder = write_slices(change(dicom_slices()), tmp_path / "ct")
    case = one_series(case_id="c1", patient_id="p1", image=folder, roi=folder, format="dicom")
    return on_series(case, case.series[0].name)


@pytest.mark.parametrize("kind", KINDS)
def test_each_slice_is_the_readers_before_and_after_the_cache_is_filled(tmp_path, kind):
    case = dicom_case(tmp_path, KINDS[kind])
    volume = read_ct(case.image)
    cache = Volumes(tmp_path / "cache")
    last = len(volume.hu) - 1
    assert np.array_equal(cache.plane(case, "axial", 0), volume.hu[0])
    assert np.array_equal(cache.plane(case, "axial", last), volume.hu[last])
    assert np.array_equal(cache.slices(case, 0, last), volume.hu)  # waits until it is filled
    assert cache.is_ready(case)
    again = Volumes(tmp_path / "cache")
    facts = again.facts(case)
    assert facts.geometry.matches(volume.geometry)
    assert facts.series_uid == volume.series_uid
    for plane, n in zip(("axial", "coronal", "sagittal"), volume.hu.shape, strict=True):
        for index in (0, n - 1):
            assert np.array_equal(again.plane(case, plane, index), cut_plane(volume.hu, plane, index))


def test_the_grid_is_known_from_headers(tmp_path):
    case = dicom_case(tmp_path, mirrored)
    cache = Volumes(tmp_path / "cache")
    assert cache.facts(case).geometry.matches(read_ct(case.image).geometry)
    assert not cache.is_ready(case)


def test_a_changed_series_is_read_anew(tmp_path):
    path = write_nifti(box_hu(), tmp_path / "ct.nii.gz")
    case = one_series(case_id="c1", patient_id="p1", image=path, roi=path, format="nifti")
    case = on_series(case, case.series[0].name)
    cache = Volumes(tmp_path / "cache")
    before = cache.plane(case, "axial", 2).copy()
    write_nifti(np.where(box_hu() > 0, box_hu() + 7, box_hu()).astype(np.int16), path)
    after = cache.plane(case, "axial", 2)
    assert (after - before).max() == 7


def test_the_cache_is_bounded_and_the_oldest_goes_first(tmp_path):
    cases = []
    for number in range(4):
        path = write_nifti(box_hu() + np.int16(number), tmp_path / f"ct{number}.nii")
        case = one_series(case_id=f"c{number}", patient_id="p1", image=path, roi=path, format="nifti")
        cases.append(on_series(case, case.series[0].name))
    cache = Volumes(tmp_path / "cache", most_bytes=2 * box_hu().nbytes)
    for case in cases:
        cache.slices(case, 0, 0)
    assert [cache.is_ready(case) for case in cases] == [False, False, True, True]
    assert len(list((tmp_path / "cache").iterdir())) == 4


@pytest.mark.parametrize(
    ("plane", "index"), [("axial", -1), ("axial", 99), ("coronal", 99), ("sagittal", -1)]
)
def test_a_slice_outside_is_refused(tmp_path, plane, index):
    case = dicom_case(tmp_path)
    with pytest.raises(SeriesError):
        Volumes(tmp_path / "cache").plane(case, plane, index)


def test_a_disk_without_room_is_a_refusal(tmp_path):
    case = dicom_case(tmp_path)
    (tmp_path / "cache").write_text("a file in the place of the folder")
    cache = Volumes(tmp_path / "cache")
    assert cache.plane(case, "axial", 1).any()
    with pytest.raises(SeriesError) as refused:
        cache.slices(case, 0, 1)
    assert "room" in refused.value.expected


def test_series_that_are_not_axial_are_read_whole(tmp_path):
    case = dicom_case(tmp_path, sagittal)
    middle = Volumes(tmp_path / "cache").facts(case).shape[0] // 2
    cache = Volumes(tmp_path / "other")
    for _ in range(2):
        assert np.array_equal(cache.plane_now(case, middle), read_ct(case.image).hu[middle])


def test_too_many_slices_at_once_are_refused(tmp_path):
    case = dicom_case(tmp_path)
    with pytest.raises(SeriesError):
        Volumes(tmp_path / "cache").slices(case, 3, 2)


def test_missing_files_are_named_without_their_folder(tmp_path):
    case = dataclasses.replace(dicom_case(tmp_path))
    for path in case.image.iterdir():
        path.unlink()
    case.image.rmdir()
    with pytest.raises(SeriesError) as refused:
        series_key(case)
    assert str(tmp_path) not in str(refused.value)


def test_slice_images_have_no_letters(tmp_path):
    root = tmp_path / "study"
    Study.create(root, ["PRCC", "ChRCC"])
    for number in range(2):
        pixels = np.full((40, 50), 100 + number, np.uint8)
        write_png(pixels, tmp_path / "slices" / f"a1_F_50_PRCC_slice{number}.png")
    Study(root).import_images(tmp_path / "slices", ImagesOptions(row_mm=0.8, col_mm=0.8))
    place = Place(root)
    (case,) = place.cases()
    view = view_of(place, on_series(case, case.series[0].name))
    assert view.shape == (2, 40, 50)
    assert {one.left + one.top for one in view.letters.values()} == {""}


def test_letters_follow_the_directions():
    plain = letters_of(VolumeGeometry(shape=(3, 4, 5), affine=box_affine()), ())
    assert (plain["axial"].left, plain["axial"].right) == ("R", "L")
    assert (plain["axial"].top, plain["axial"].bottom) == ("A", "P")
    assert (plain["coronal"].left, plain["coronal"].top) == ("R", "S")
    assert (plain["sagittal"].left, plain["sagittal"].right, plain["sagittal"].top) == ("A", "P", "S")
    angle = np.radians(30)
    affine = box_affine()
    affine[:2, 2] = np.array([np.cos(angle), np.sin(angle)])
    affine[:2, 1] = np.array([-np.sin(angle), np.cos(angle)])
    oblique = letters_of(VolumeGeometry(shape=(3, 4, 5), affine=affine), ())
    assert (oblique["axial"].left, oblique["axial"].right) == ("RA", "LP")
    unknown = letters_of(
        VolumeGeometry(shape=(3, 4, 5), affine=box_affine()), (warning("orientation-unknown", "x", "y"),)
    )
    assert unknown["axial"].left == ""
