"""RTSTRUCT in: contours in mm become voxels by the rule of pixel centres, or are refused with their place."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from nephroscope.base.errors import RoiError
from nephroscope.imaging.masks.rtstruct import windings
from nephroscope.imaging.read import read_roi, roi_names
from nephroscope.intake.export.cases import read_dicom_series
from nephroscope.records import CTVolume, VolumeGeometry
from phantoms import SHAPE, box_affine, box_hu, box_tumor, box_volume


def rtstruct(rois, series="1.2.3", kind="CLOSED_PLANAR"):
    """ROIs by name: lists of contours (N, 3) in LPS mm, or of (contour, geometric type)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTStructureSetStorage, generate_uid()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    made.Modality = "RTSTRUCT"
    frame, study, referenced = Dataset(), Dataset(), Dataset()
    frame.FrameOfReferenceUID = generate_uid()
    if series:
        referenced.SeriesInstanceUID = series
        study.RTReferencedSeriesSequence = [referenced]
        frame.RTReferencedStudySequence = [study]
    made.ReferencedFrameOfReferenceSequence = [frame]
    made.StructureSetROISequence, made.ROIContourSequence, made.RTROIObservationsSequence = [], [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        named, outlined, observed = Dataset(), Dataset(), Dataset()
        named.ROINumber, named.ROIName = number, name
        outlined.ReferencedROINumber = observed.ReferencedROINumber = number
        observed.ObservationNumber, observed.RTROIInterpretedType = number, ""
        outlined.ContourSequence = []
        for contour in contours:
            points, geometric = contour if isinstance(contour, tuple) else (contour, kind)
            item = Dataset()
            item.ContourGeometricType, item.NumberOfContourPoints = geometric, len(points)
            item.ContourData = [f"{value:.4f}" for value in np.ravel(points)]
            outlined.ContourSequence.append(item)
        made.StructureSetROISequence.append(named)
        made.ROIContourSequence.append(outlined)
        made.RTROIObservationsSequence.append(observed)
    return made


def save(made, path):
    made.save_as(path, enforce_file_format=True)
    return path


def at(s, corners):
    """Contour in mm from (row, column) corners in pixels on slice ``s``."""
    index = np.array([(s, row, column, 1) for row, column in corners], float)
    return (box_affine() @ index.T).T[:, :3]


def box(s, top, bottom, left, right):
    """Edges run between pixels: rows top..bottom-1, columns left..right-1 are inside."""
    return at(
        s,
        [
            (top - 0.5, left - 0.5),
            (top - 0.5, right - 0.5),
            (bottom - 0.5, right - 0.5),
            (bottom - 0.5, left - 0.5),
        ],
    )


def up(mm):
    return np.array([0, 0, mm])


def tumor_contours():
    return [box(s, 10, 22, 8, 18) for s in range(1, 5)]


def read(rois, tmp_path, volume=None, name="", label=1, **how):
    path = save(rtstruct(rois, **how), tmp_path / "rt")
    return read_roi(path, volume or box_volume(), "P1", label, name)


def codes(roi):
    return [finding.code for finding in roi.findings]


# ---- the rule


def rasterise(polygon, shape):
    """Pixels inside by the even-odd rule."""
    return windings(polygon, shape) % 2 == 1


def test_pixel_centres_within_count_by_hand():
    """A triangle over 4 x 5 pixels."""
    expected = [".....", "#....", "###..", "....."]
    triangle = np.array([(0.4, -0.4), (2.6, -0.4), (2.6, 3.6)])
    found = ["".join("#" if x else "." for x in row) for row in rasterise(triangle, (4, 5))]
    assert found == expected


def test_a_centre_on_the_contour_counts_once():
    """Regions that share a contour share no pixel, and areas are kept."""
    left = np.array([(1, 1), (1, 4), (5, 4), (5, 1)], float)
    right = left + np.array([0, 3])
    one, two = rasterise(left, (8, 9)), rasterise(right, (8, 9))
    assert one.sum() == two.sum() == 12
    assert not (one & two).any()
    assert one[1, 1]
    assert not one[1, 4]
    assert two[1, 4]


def shoelace(polygon):
    y, x = polygon.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


@pytest.mark.parametrize("radius", [3.3, 20.2, 90.7])
def test_areas_of_circles(radius):
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    middle = 100.3, 99.8
    circle = np.stack([middle[0] + radius * np.sin(angle), middle[1] + radius * np.cos(angle)], axis=1)
    inside = rasterise(circle, (200, 201))
    rows, columns = np.nonzero(inside)
    assert inside.sum() == pytest.approx(shoelace(circle), rel=0.6 / radius)
    assert (rows.mean(), columns.mean()) == pytest.approx(middle, abs=0.15)
    all_rows, all_columns = np.indices(inside.shape)
    distance = np.hypot(all_rows - middle[0], all_columns - middle[1])
    assert inside[distance < radius - 0.01].all()
    assert not inside[distance > radius + 0.01].any()


def test_areas_of_an_l_are_exact():
    corners = np.array([(2, 3), (2, 8), (6, 8), (6, 14), (11, 14), (11, 3)], float) - 0.5
    for turned in (corners, corners[::-1], np.roll(corners, 2, axis=0)):
        assert rasterise(turned, (20, 20)).sum() == shoelace(corners) == 4 * 5 + 5 * 11


@pytest.mark.parametrize("seed", range(6))
def test_any_polygon_agrees_with_counting_crossings(seed):
    """Even-odd, also where the outline crosses itself: one crossing count per pixel, done the slow way."""
    random = np.random.default_rng(seed)
    polygon = random.uniform(-8, 38, (int(random.integers(3, 40)), 2))
    expected = np.zeros((30, 31), bool)
    for r in range(30):
        for c in range(31):
            crossings = 0
            for (r0, c0), (r1, c1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
                if (r0 <= r) != (r1 <= r) and c0 + (r - r0) * (c1 - c0) / (r1 - r0) < c:
                    crossings += 1
            expected[r, c] = crossings % 2
    assert np.array_equal(rasterise(polygon, (30, 31)), expected)


# ---- whole files


def test_contours_become_the_tumor(tmp_path):
    roi = read({"Tumor": tumor_contours()}, tmp_path)
    assert np.array_equal(roi.voxels, box_tumor())
    assert roi.findings == ()


def test_holes_islands_and_keyholes(tmp_path):
    outer, hole, island = box(2, 10, 22, 8, 18), box(2, 12, 20, 10, 16), box(2, 14, 16, 12, 14)
    elsewhere = box(2, 30, 33, 30, 40)
    expected = np.zeros(SHAPE[1:], bool)
    expected[10:22, 8:18], expected[12:20, 10:16], expected[14:16, 12:14] = True, False, True
    expected[30:33, 30:40] = True
    roi = read({"Tumor": [outer, hole, island, elsewhere]}, tmp_path)
    assert np.array_equal(roi.voxels[2], expected)
    keyhole = np.vstack([outer, outer[:1], hole, hole[:1]])
    roi = read({"Tumor": [keyhole, island, elsewhere]}, tmp_path)
    assert np.array_equal(roi.voxels[2], expected)


def test_a_roi_is_chosen_by_name_by_what_it_says_or_by_number(tmp_path):
    other = [box(s, 25, 30, 25, 30) for s in range(1, 5)]
    rois = {"Kidney": other, "GTV 1": tumor_contours(), "Lesion": other}
    assert np.array_equal(read(rois, tmp_path).voxels, box_tumor())
    assert roi_names(tmp_path / "rt") == ["1 Kidney", "2 GTV 1", "3 Lesion"]
    assert read(rois, tmp_path, name="lesion").voxels[2, 26, 26]
    with pytest.raises(RoiError, match=r"one segment called 'tumour', found 1 Kidney, 2 GTV 1, 3 Lesion"):
        read(rois, tmp_path, name="tumour")
    rois = {"A": other, "B": tumor_contours()}
    assert np.array_equal(read(rois, tmp_path, label=2).voxels, box_tumor())
    with pytest.raises(RoiError, match=r"found none called a tumor among 1 A, 2 B; say which"):
        read(rois, tmp_path, label=3)
    with pytest.raises(RoiError, match=r"found none called a tumor among 1 BODY, 2 B"):
        read({"BODY": other, "B": other}, tmp_path)
    with pytest.raises(RoiError, match=r"found none called a tumor among 1 Left Kidney, 2 B"):
        read({"Left Kidney": other, "B": other}, tmp_path)


def test_codes_and_types_of_observations_count(tmp_path):
    made = rtstruct({"A": [box(2, 25, 30, 25, 30)], "B": tumor_contours()})
    made.RTROIObservationsSequence[1].RTROIInterpretedType = "GTV"
    assert np.array_equal(read_roi(save(made, tmp_path / "a"), box_volume(), "P1").voxels, box_tumor())
    made.RTROIObservationsSequence[1].RTROIInterpretedType = ""
    made.RTROIObservationsSequence[0].RTROIInterpretedType = "PTV"
    with pytest.raises(RoiError, match=r"found none called a tumor among 1 A, 2 B"):
        read_roi(save(made, tmp_path / "a"), box_volume(), "P1")
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "108369006", "SCT", "Neoplasm"
    made.RTROIObservationsSequence[1].RTROIInterpretedType = ""
    made.RTROIObservationsSequence[1].RTROIIdentificationCodeSequence = [code]
    path = save(made, tmp_path / "a")
    assert np.array_equal(read_roi(path, box_volume(), "P1").voxels, box_tumor())
    assert np.array_equal(read_roi(path, box_volume(), "P1", 1, "108369006").voxels, box_tumor())


def test_points_and_open_contours_are_left_out_and_told(tmp_path):
    contours = [
        *tumor_contours(),
        (at(3, [(5, 5)]), "POINT"),
        (at(3, [(5, 5), (9, 9), (5, 9)]), "OPEN_PLANAR"),
    ]
    roi = read({"Tumor": contours}, tmp_path)
    assert np.array_equal(roi.voxels, box_tumor())
    assert codes(roi) == ["roi-open-contours"]
    assert roi.findings[0].message.startswith("2 points and open contours of 'Tumor'")
    assert codes(read({"Tumor": [*tumor_contours(), at(3, [(5, 5), (9, 9)])]}, tmp_path)) == [
        "roi-open-contours"
    ]
    with pytest.raises(RoiError, match=r"closed contours of ROI 1 Tumor, found 1 points and open contours"):
        read({"Tumor": contours[-1:]}, tmp_path)
    with pytest.raises(RoiError, match=r"closed contours of ROI 1 Tumor, found no contour"):
        read({"Tumor": []}, tmp_path)


def test_a_slice_left_out_stays_empty_and_is_told(tmp_path):
    contours = tumor_contours()
    del contours[1]
    roi = read({"Tumor": contours}, tmp_path)
    assert not roi.voxels[2].any()
    assert codes(roi) == ["roi-gap"]
    assert roi.findings[0].message.startswith("no contour on 1 slice between outlined ones")


def test_contours_between_slices_go_to_the_nearest(tmp_path):
    contours = [points + up(1.0) for points in tumor_contours()]
    roi = read({"Tumor": contours}, tmp_path)
    assert np.array_equal(roi.voxels, box_tumor())
    assert codes(roi) == ["roi-resampled"]
    assert "contours of 4 planes lie up to 1.00 mm off the slices" in roi.findings[0].message
    for beside_mm in (0.5, -0.5):
        both = [*tumor_contours(), *(box(s, 30, 35, 30, 35) + up(beside_mm) for s in range(1, 5))]
        roi = read({"Tumor": both}, tmp_path)
        assert np.array_equal(roi.voxels, box_tumor())
        assert "the nearest plane; planes not used: 4" in roi.findings[0].message


def test_contours_written_a_hair_apart_lie_on_one_plane(tmp_path):
    roi = read({"Tumor": [box(2, 10, 22, 8, 18), box(2, 12, 14, 10, 12) + up(0.01)]}, tmp_path)
    assert roi.voxels.sum() == 120 - 4
    assert roi.findings == ()


@pytest.mark.parametrize(("beyond", "inside"), [(1.2, True), (1.3, False), (-1.3, False)])
def test_contours_beyond_the_ct_are_refused_with_their_place(tmp_path, beyond, inside):
    s = 5 if beyond > 0 else 0
    contours = [box(s, 10, 22, 8, 18) + up(beyond)]
    if inside:
        assert read({"Tumor": contours}, tmp_path).voxels[s].sum() == 120
        return
    with pytest.raises(
        RoiError,
        match=r"on the 6 slices of the CT, found a contour at \(-11.2, -16.5, .*\) mm, 1.3 mm beyond the last one",
    ):
        read({"Tumor": contours}, tmp_path)


def test_contours_beyond_the_edge_of_an_image_are_cut(tmp_path):
    roi = read({"Tumor": [box(2, -5, 3, 46, 60)]}, tmp_path)
    assert roi.voxels.sum() == roi.voxels[2, :3, 46:].sum() == 6
    assert codes(roi) == ["roi-outside"]
    with pytest.raises(RoiError, match=r"that enclose voxels of the CT, found contours outside it"):
        read({"Tumor": [box(2, -5, -1, 46, 60)]}, tmp_path)
    with pytest.raises(RoiError, match=r"found contours that do not contain the center of any voxel"):
        read({"Tumor": [at(2, [(5.2, 5.2), (5.2, 5.4), (5.4, 5.4)])]}, tmp_path)


def test_oblique_contours_are_refused(tmp_path):
    tilted = box(2, 10, 22, 8, 18)
    tilted[1] += up(2)
    with pytest.raises(
        RoiError, match=r"contours in the planes of the CT, found an oblique one at \(.*spans 2.0 mm"
    ):
        read({"Tumor": [tilted]}, tmp_path)
    rounded = box(2, 10, 22, 8, 18)
    rounded[1] += up(0.05)
    assert read({"Tumor": [rounded]}, tmp_path).voxels[2].sum() == 120


def test_contours_in_a_plane_across_the_slices_are_read(tmp_path):
    """Drawn on sagittal images: every contour has one column."""
    index = [(0.5, 9.5, 12, 1), (4.5, 9.5, 12, 1), (4.5, 21.5, 12, 1), (0.5, 21.5, 12, 1)]
    roi = read({"Tumor": [(box_affine() @ np.array(index).T).T[:, :3]]}, tmp_path)
    expected = np.zeros(SHAPE, bool)
    expected[1:5, 10:22, 12] = True
    assert np.array_equal(roi.voxels, expected)


def test_contours_follow_a_turned_ct(tmp_path):
    """The CT's own planes may be oblique to the patient."""
    turned = np.eye(4)
    c, s = np.cos(0.3), np.sin(0.3)
    turned[1:3, 1:3] = [[c, -s], [s, c]]
    geometry = VolumeGeometry(shape=SHAPE, affine=turned @ box_affine())
    volume = CTVolume(hu=box_hu(), geometry=geometry, series_uid="1.2.3")
    contours = [points @ turned[:3, :3].T for points in tumor_contours()]
    assert np.array_equal(read({"Tumor": contours}, tmp_path, volume).voxels, box_tumor())


def test_another_series_is_refused_and_none_is_told(tmp_path):
    with pytest.raises(RoiError, match=r"expected an ROI of series 1.2.3, found an ROI of series 9.9"):
        read({"Tumor": tumor_contours()}, tmp_path, series="9.9")
    roi = read({"Tumor": tumor_contours()}, tmp_path, series="")
    assert np.array_equal(roi.voxels, box_tumor())
    assert codes(roi) == ["roi-reference"]
    roi = read({"Tumor": tumor_contours()}, tmp_path, box_volume("nifti-1234"), series="9.9")
    assert roi.findings == ()


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda made: delattr(made, "StructureSetROISequence"), "cannot be read: no StructureSetROISequence"),
        (
            lambda made: delattr(made, "ROIContourSequence"),
            "closed contours of ROI 1 Tumor, found no contour",
        ),
        (
            lambda made: delattr(made.ROIContourSequence[0].ContourSequence[0], "ContourGeometricType"),
            "cannot be read: no ContourGeometricType",
        ),
    ],
)
def test_damaged_structure_sets_are_refused(tmp_path, spoil, found):
    made = rtstruct({"Tumor": tumor_contours()})
    spoil(made)
    with pytest.raises(RoiError, match=found):
        read_roi(save(made, tmp_path / "a"), box_volume(), "P1")


@pytest.mark.parametrize("data", [["1", "2", "3", "4"], ["1e30"] * 9])
def test_points_that_are_no_places_are_refused(tmp_path, data):
    made = rtstruct({"Tumor": tumor_contours()})
    made.ROIContourSequence[0].ContourSequence[0].ContourData = data
    with pytest.raises(RoiError, match=r"of ROI 1 Tumor with three finite .* invalid points"):
        read_roi(save(made, tmp_path / "a"), box_volume(), "P1")


def test_a_contour_without_points_is_left_out_and_told(tmp_path):
    made = rtstruct({"Tumor": tumor_contours()})
    made.ROIContourSequence[0].ContourSequence[0].ContourData = None
    made.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 0
    roi = read_roi(save(made, tmp_path / "a"), box_volume(), "P1")
    assert (roi.voxels.sum(), codes(roi)) == (3 * 120, ["roi-open-contours"])


def test_a_contour_stored_twice_counts_once(tmp_path):
    """A copy would cancel the contour, as a hole does; it may begin elsewhere, run back or close itself."""
    one = box(2, 10, 22, 8, 18)
    copies = [one, np.roll(one, 1, axis=0), one[::-1], np.vstack([one, one[:1]]), one + up(0.01)]
    roi = read({"Tumor": [*tumor_contours(), *copies]}, tmp_path)
    assert np.array_equal(roi.voxels, box_tumor())
    assert codes(roi) == ["roi-repeated-contours"]
    assert roi.findings[0].message.startswith("5 contours of 'Tumor' are stored more than once")


def test_contours_that_cross_are_told_and_holes_are_not(tmp_path):
    crossing = read({"Tumor": [box(2, 10, 20, 8, 18), box(2, 15, 25, 8, 18)]}, tmp_path)
    assert codes(crossing) == ["roi-crossing-contours"]
    assert "cross each other on 1 slice;" in crossing.findings[0].message
    assert crossing.voxels.sum() == 2 * 50
    for second in (box(2, 12, 14, 10, 12), box(2, 20, 25, 8, 18), box(2, 5, 25, 5, 25)):
        assert read({"Tumor": [box(2, 10, 20, 8, 18), second]}, tmp_path).findings == ()


@pytest.mark.parametrize("beside_mm", [0.03, 0.1, -0.19])
def test_an_island_a_hair_off_its_slice_is_kept(tmp_path, beside_mm):
    """Slices 1 mm apart: an island some hundredths of a millimetre off is on the slice, not beside it."""
    thin = VolumeGeometry(shape=SHAPE, affine=box_affine() @ np.diag([0.4, 1, 1, 1]))
    volume = CTVolume(hu=box_hu(), geometry=thin, series_uid="1.2.3")
    squeeze = np.array([0, 0, 60.0])  # box_affine starts at z = 100
    contours = [c * [1, 1, 0.4] + squeeze for c in tumor_contours()]
    islands = [box(s, 30, 33, 30, 33) * [1, 1, 0.4] + squeeze + up(beside_mm) for s in range(1, 5)]
    roi = read({"Tumor": [*contours, *islands]}, tmp_path, volume)
    assert roi.voxels.sum() == box_tumor().sum() + 4 * 9


def test_truncated_structure_sets_are_refused(tmp_path):
    path = save(rtstruct({"Tumor": tumor_contours()}), tmp_path / "a")
    content = path.read_bytes()
    for keep in range(140, len(content) - 400, 101):
        path.write_bytes(content[:keep])
        with pytest.raises(RoiError):
            read_roi(path, box_volume(), "P1")


def test_a_file_without_preamble_is_read(tmp_path):
    path = save(rtstruct({"Tumor": tumor_contours()}), tmp_path / "a")
    made = pydicom.dcmread(path)
    (tmp_path / "b").write_bytes(path.read_bytes()[132:])
    assert np.array_equal(read_roi(tmp_path / "b", box_volume(), "P1").voxels, box_tumor())
    del made.file_meta
    made.preamble = None
    made.save_as(tmp_path / "c", implicit_vr=True, little_endian=True)
    assert (tmp_path / "c").read_bytes()[:2] == b"\x08\x00"
    assert np.array_equal(read_roi(tmp_path / "c", box_volume(), "P1").voxels, box_tumor())


# ---- real files


@pytest.fixture
def mock_ct(test_data, tmp_path):
    for name in ("ct_1.dcm", "ct_2.dcm"):
        (tmp_path / name).write_bytes((test_data / "rtstruct" / "mock_data" / name).read_bytes())
    return read_dicom_series(tmp_path)


def centres_within(points, geometry):
    """Pixels of an axial image whose centre lies within a contour in mm, by matplotlib."""
    from matplotlib.path import Path as Outline

    rows, columns = np.indices(geometry.shape[1:])
    _, row_mm, column_mm = geometry.spacing_mm
    x, y = geometry.affine[0, 3] + columns * column_mm, geometry.affine[1, 3] + rows * row_mm
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    return Outline(points[:, :2], closed=False).contains_points(centres).reshape(rows.shape)


def test_a_real_structure_set_with_a_hole(test_data, mock_ct):
    """An outer square and an inner octagon on the first slice."""
    path = test_data / "rtstruct" / "mock_data" / "rt.dcm"
    outer, hole = (
        np.array(contour.ContourData, float).reshape(-1, 3)
        for contour in pydicom.dcmread(path).ROIContourSequence[0].ContourSequence
    )
    roi = read_roi(path, mock_ct, "real")
    geometry = mock_ct.geometry
    assert np.array_equal(roi.voxels[0], centres_within(outer, geometry) & ~centres_within(hole, geometry))
    assert roi.voxels[0].sum() * 0.488281**2 == pytest.approx(
        shoelace(outer[:, :2]) - shoelace(hole[:, :2]), rel=0.03
    )
    assert not roi.voxels[1].any()


def test_real_contours_beyond_a_ct_cut_short_are_refused(test_data, mock_ct):
    folder = test_data / "rtstruct" / "mock_data"
    for name in ("invalid_reference_rt.dcm", "non_existent_reference_rt.dcm"):
        with pytest.raises(
            RoiError, match=r"on the 2 slices of the CT, found a contour at \(.*, 70.0\) mm, 5.0 mm beyond"
        ):
            read_roi(folder / name, mock_ct, "real", tumor_name="#1")
        assert roi_names(folder / name) == ["1 ROI-1", "2 ROI-2", "3 ROI-3", "4 ROI-4"]


def test_real_contours_fill_their_area(test_data, mock_ct):
    """The CT is continued by one empty slice, so that all contours lie on it."""
    geometry = VolumeGeometry(shape=(3, *mock_ct.geometry.shape[1:]), affine=mock_ct.geometry.affine)
    volume = CTVolume(hu=np.zeros(geometry.shape, np.int16), geometry=geometry, series_uid=mock_ct.series_uid)
    path = test_data / "rtstruct" / "mock_data" / "non_existent_reference_rt.dcm"
    outlined = pydicom.dcmread(path).ROIContourSequence
    for number in range(1, 5):
        roi = read_roi(path, volume, "real", number, f"roi-{number}")
        assert codes(roi) == ["roi-reference"]
        for contour in outlined[number - 1].ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            s = round((points[0, 2] - 60) / 5)
            area_px = shoelace(points[:, :2]) / 0.488281**2
            assert np.array_equal(roi.voxels[s], centres_within(points, geometry)), (number, s)
            assert roi.voxels[s].sum() == pytest.approx(area_px, rel=0.01), (number, s)


def test_a_real_oblique_ct_of_50_x_100(test_data, tmp_path):
    """Pixels of 3.5 x 2.5 mm: a contour around a block of pixels gives that block."""
    volume = read_dicom_series(test_data / "rtstruct" / "oriented_data")
    to_mm = volume.geometry.affine
    block = np.array([(1, r, c, 1) for r, c in ((9.5, 19.5), (9.5, 39.5), (29.5, 39.5), (29.5, 19.5))])
    path = save(rtstruct({"Tumor": [(to_mm @ block.T).T[:, :3]]}, volume.series_uid), tmp_path / "rt")
    expected = np.zeros(volume.geometry.shape, bool)
    expected[1, 10:30, 20:40] = True
    assert volume.geometry.shape == (3, 50, 100)
    assert np.array_equal(read_roi(path, volume, "real").voxels, expected)
    flat = (to_mm @ block.T).T[:, :3]
    flat[:, 2] = flat[:, 2].mean()
    with pytest.raises(RoiError, match=r"found an oblique one"):
        read_roi(save(rtstruct({"Tumor": [flat]}, volume.series_uid), tmp_path / "rt"), volume, "real")
