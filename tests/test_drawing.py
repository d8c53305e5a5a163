"""ROI documents: strokes that last, undo, signing and locking, SEG read back, two annotators apart."""

import csv

import highdicom
import numpy as np
import pytest

from nephroscope import Study, read_ct, read_roi
from nephroscope.base.errors import RoiError, StudyError
from nephroscope.base.lock import writing
from nephroscope.workstation.answers import NotFoundError
from nephroscope.workstation.drawing.apart import ConsensusAsked, compare_two, make_consensus
from nephroscope.workstation.drawing.documents import LockedError, StaleError
from nephroscope.workstation.drawing.draw import NewSlice, Operation, Stroke, keep_stroke, operate
from nephroscope.workstation.drawing.operations import runs_of
from nephroscope.workstation.drawing.people import ApartError, NobodyError, choose_reader, may_see
from nephroscope.workstation.drawing.rois import Rois
from nephroscope.workstation.drawing.sign import finish_signing, sign
from nephroscope.workstation.images.volumes import on_series
from nephroscope.workstation.place import Place
from phantoms import SHAPE
from test_workstation_images import KINDS
from workstation_study import undrawn_study


def rois_of(place, author="reader-1", session=None):
    """A session in which a reader draws."""
    rois = Rois(place, session or author)
    with place.changing() as db:
        choose_reader(db, rois.session, author, "")
    return rois


def begin(rois, case_id="c0", new_version=False):
    case = rois.place.case(case_id)
    return rois.begin(on_series(case, case.series[0].name), new_version)


def square(first, last):
    mask = np.zeros(SHAPE[1:], bool)
    mask[first : last + 1, first : last + 1] = True
    return mask


def draw(rois, id_, number, masks, tool="brush"):
    slices = [NewSlice(index=index, runs=runs_of(mask)) for index, mask in masks.items()]
    return keep_stroke(rois, id_, Stroke(number=number, slices=slices, tool=tool))


def voxels(rois, id_, shape=SHAPE):
    with rois.place.database() as db:
        entry = rois.visible(db, id_)
    mask = np.zeros(shape, bool)
    for index, found in rois.slices(entry).items():
        for row, first, last in found.runs:
            mask[index, row, first : last + 1] = True
    return mask


def table(root):
    with (root / "rois.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def place(tmp_path):
    return Place(undrawn_study(tmp_path / "study"))


def test_strokes_stay_and_are_undone_and_redone(place):
    rois = rois_of(place)
    id_ = begin(rois).id
    draw(rois, id_, 1, {2: square(3, 9)})
    draw(rois, id_, 2, {2: square(3, 12), 3: square(4, 5)})
    again = Rois(Place(place.root), "reader-1")  # after a restart
    assert np.array_equal(voxels(again, id_)[2], square(3, 12))
    undone = operate(again, id_, Operation(number=3, operation="undo"))
    assert (undone.revision, undone.can_undo, undone.can_redo) == (3, True, True)
    assert [one.index for one in undone.changed] == [2, 3]
    assert np.array_equal(voxels(again, id_)[2], square(3, 9))
    assert not voxels(again, id_)[3].any()
    operate(again, id_, Operation(number=4, operation="redo"))
    assert np.array_equal(voxels(again, id_)[3], square(4, 5))
    operate(again, id_, Operation(number=5, operation="undo"))
    draw(again, id_, 6, {1: square(0, 1)})
    with pytest.raises(RoiError, match="redo"):
        operate(again, id_, Operation(number=7, operation="redo"))


def test_fifty_steps_are_undone_and_no_more(place):
    rois = rois_of(place)
    id_ = begin(rois).id
    for number in range(1, 61):
        draw(rois, id_, number, {2: square(0, number % 30)})
    for number in range(61, 111):
        operate(rois, id_, Operation(number=number, operation="undo"))
    assert np.array_equal(voxels(rois, id_)[2], square(0, 10))
    with pytest.raises(RoiError, match="undo"):
        operate(rois, id_, Operation(number=111, operation="undo"))


def test_a_stroke_sent_twice_counts_once_and_a_stale_one_is_refused(place):
    rois = rois_of(place)
    id_ = begin(rois).id
    draw(rois, id_, 1, {2: square(3, 9)})
    assert draw(rois, id_, 1, {2: square(3, 9)}).revision == 1
    with pytest.raises(StaleError):
        draw(rois, id_, 1, {2: square(3, 10)})
    with pytest.raises(StaleError):
        draw(rois, id_, 3, {2: square(3, 10)})
    assert np.array_equal(voxels(rois, id_)[2], square(3, 9))


@pytest.mark.parametrize("index", [-1, SHAPE[0]])
def test_a_stroke_outside_is_refused(place, index):
    rois = rois_of(place)
    id_ = begin(rois).id
    with pytest.raises(RoiError):
        draw(rois, id_, 1, {index: square(1, 2)})
    with pytest.raises(RoiError):
        keep_stroke(rois, id_, Stroke(number=1, slices=[NewSlice(index=2, runs=[(0, 0, SHAPE[2])])]))
    assert not voxels(rois, id_).any()


def test_nobody_draws_nothing(place):
    with pytest.raises(NobodyError):
        begin(Rois(place, "stranger"))


def test_interpolation_fills_between_drawn_slices_and_is_made_anew(place):
    rois = rois_of(place)
    id_ = begin(rois).id
    draw(rois, id_, 1, {1: square(10, 20), 5: square(10, 20)})
    made = operate(rois, id_, Operation(number=2, operation="interpolate"))
    assert [one.index for one in made.changed] == [2, 3, 4]
    assert not any(one.drawn for one in made.changed)
    assert np.array_equal(voxels(rois, id_)[3], square(10, 20))
    draw(rois, id_, 3, {3: square(12, 18)})
    again = operate(rois, id_, Operation(number=4, operation="interpolate"))
    assert [one.index for one in again.changed] == [2, 4]
    assert np.array_equal(voxels(rois, id_)[3], square(12, 18))
    operate(rois, id_, Operation(number=5, operation="clear", slice=5))
    shorter = operate(rois, id_, Operation(number=6, operation="interpolate"))
    assert (shorter.changed[-1].index, shorter.changed[-1].runs) == (4, []), "what an earlier end left goes"
    assert np.flatnonzero(voxels(rois, id_).any(axis=(1, 2))).tolist() == [1, 2, 3]


def test_operations(place):
    rois = rois_of(place)
    id_ = begin(rois).id
    corners = [(9.5, 9.5), (9.5, 20.5), (20.5, 20.5), (20.5, 9.5)]
    operate(rois, id_, Operation(number=1, operation="polygon", slice=3, points=corners))
    assert np.array_equal(voxels(rois, id_)[3], square(10, 20))
    operate(rois, id_, Operation(number=2, operation="copy", slice=3, to=4))
    inner = [(13.5, 13.5), (13.5, 15.5), (15.5, 15.5), (15.5, 13.5)]
    operate(rois, id_, Operation(number=3, operation="polygon", slice=4, points=inner, mode="erase"))
    assert not voxels(rois, id_)[4][14, 14]
    operate(rois, id_, Operation(number=4, operation="fill-holes"))
    assert np.array_equal(voxels(rois, id_)[4], square(10, 20))
    draw(rois, id_, 5, {0: square(1, 2)})
    operate(rois, id_, Operation(number=6, operation="largest-part"))
    assert np.flatnonzero(voxels(rois, id_).any(axis=(1, 2))).tolist() == [3, 4]
    operate(rois, id_, Operation(number=7, operation="clear"))
    box = ((1, 5), (8, 20), (10, 16))
    operate(rois, id_, Operation(number=8, operation="ellipsoid", box=box))
    spans = [np.flatnonzero(voxels(rois, id_).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    assert [(own[0], own[-1]) for own in spans] == [(1, 5), (8, 20), (10, 16)]
    copied = operate(rois, id_, Operation(number=9, operation="copy", slice=0, to=1))
    assert copied.changed == [], "an empty slice empties no other"
    assert voxels(rois, id_)[1].any()


def test_an_operation_that_changes_nothing_is_no_step_to_undo(place):
    rois = rois_of(place)
    id_ = begin(rois).id
    draw(rois, id_, 1, {3: square(10, 20)})
    for asked in ("fill-holes", "largest-part"):
        assert operate(rois, id_, Operation(number=2, operation=asked)).revision == 1, asked
    assert operate(rois, id_, Operation(number=2, operation="clear", slice=5)).revision == 1
    fitted = operate(rois, id_, Operation(number=2, operation="fit", slice=3))
    again = operate(rois, id_, Operation(number=fitted.revision + 1, operation="fit", slice=0))
    assert (again.revision, again.changed) == (fitted.revision, []), "nothing is drawn there"
    undone = operate(rois, id_, Operation(number=fitted.revision + 1, operation="undo"))
    assert [one.index for one in undone.changed] == [3]
    with pytest.raises(RoiError):
        operate(rois, id_, Operation(number=9, operation="fill-holes"))


def test_a_region_grows_in_the_ct(place):
    rois = rois_of(place)
    id_ = begin(rois).id
    from phantoms import box_tumor

    slice_, row, column = (int(at) for at in np.argwhere(box_tumor()).mean(axis=0))
    asked = Operation(number=1, operation="grow", slice=slice_, row=row, column=column, tolerance_hu=40)
    assert operate(rois, id_, asked).doubt == ""
    grown = voxels(rois, id_)
    assert not (grown & ~box_tumor()).any()  # 40 HU less than the difference to what lies around
    assert grown.sum() > 0.95 * box_tumor().sum()


@pytest.mark.parametrize(
    "asked",
    [
        {"operation": "sing"},
        {"operation": "grow", "slice": 2},
        {"operation": "grow", "slice": 2, "row": 99, "column": 2},
        {"operation": "grow", "slice": 2, "row": 2, "column": 2, "tolerance_hu": float("nan")},
        {"operation": "copy", "slice": 2},
        {"operation": "copy", "slice": 2, "to": 99},
        {"operation": "ellipsoid"},
        {"operation": "polygon", "points": [(0, 0), (1, 1), (2, 0)]},
        {"operation": "polygon", "slice": 1, "points": [(0, 0), (1, 1), (2, 0)], "mode": "xor"},
        {"operation": "interpolate"},
        {"operation": "undo"},
    ],
)
def test_operations_that_lack_something_are_refused(place, asked):
    rois = rois_of(place)
    id_ = begin(rois).id
    with pytest.raises(RoiError if asked["operation"] in ("interpolate", "undo") else Exception) as refused:
        operate(rois, id_, Operation(number=1, **asked))
    assert refused.value.code in ("roi", "request")


@pytest.mark.parametrize("kind", KINDS)
def test_a_signed_roi_is_read_back_voxel_by_voxel(tmp_path, kind):
    place = Place(undrawn_study(tmp_path / "study", change=KINDS[kind]))
    rois = rois_of(place)
    case = place.case("c0")
    ct = read_ct(case.series[0].image)
    drawn = np.zeros(ct.hu.shape, bool)
    drawn[1:4] = np.random.default_rng(5).random((3, *ct.hu.shape[1:])) > 0.7
    id_ = begin(rois).id
    masks = {index: drawn[index] for index in range(1, 4)}
    draw(rois, id_, 1, masks)
    signed = sign(rois, id_, 1)
    assert signed.in_study
    row = table(place.root)[0]
    assert (row["author"], row["roi"]) == ("reader-1", "workstation/drawn/c0-nephrographic-reader-1-v1.dcm")
    seg = place.root / row["roi"]
    assert np.array_equal(read_roi(seg, ct).voxels, drawn)
    assert np.array_equal(read_roi(seg.with_suffix("").with_suffix(".nii.gz"), ct).voxels, drawn)
    assert_highdicom_sees(seg, case.series[0].image, drawn, ct)
    assert np.array_equal(voxels(rois, id_, drawn.shape), drawn)


def test_a_ct_without_what_a_seg_copies_gets_a_label_map(tmp_path):
    def of_many_studies(images):
        for number, image in enumerate(images):
            image.StudyInstanceUID = f"1.2.3.{number}"
        return images

    place = Place(undrawn_study(tmp_path / "study", change=of_many_studies))
    rois = rois_of(place)
    id_ = begin(rois).id
    draw(rois, id_, 1, {2: square(3, 9)})
    (finding,) = sign(rois, id_, 1).findings
    assert finding.startswith("seg-not-written: ")
    (row,) = table(place.root)
    ct = read_ct(place.case("c0").series[0].image)
    assert np.array_equal(read_roi(place.root / row["roi"], ct).voxels[2], square(3, 9))


def assert_highdicom_sees(seg, folder, drawn, ct):
    """The frames of the SEG by the UIDs of the CT images, placed by position alone."""
    import pydicom

    opened = highdicom.seg.segread(seg)
    images = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    frames = opened.get_pixels_by_source_instance(
        [image.SOPInstanceUID for image in images],
        combine_segments=True,
        relabel=True,
        assert_missing_frames_are_empty=True,
    )
    back = np.zeros(drawn.shape, bool)
    to_index = np.linalg.inv(ct.geometry.affine)
    for image, frame in zip(images, frames, strict=True):
        right, down = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
        rows, columns = np.nonzero(frame)
        row_mm, column_mm = map(float, image.PixelSpacing)
        at = np.array(image.ImagePositionPatient, float)
        points = at + rows[:, None] * row_mm * down + columns[:, None] * column_mm * right
        index = np.round((to_index @ np.c_[points, np.ones(len(points))].T)[:3]).astype(int)
        back[tuple(index)] = True
    assert np.array_equal(back, drawn)


def test_a_signed_roi_changes_only_by_a_new_version(place):
    rois = rois_of(place)
    first = begin(rois)
    draw(rois, first.id, 1, {2: square(3, 9)})
    with pytest.raises(StaleError):
        sign(rois, first.id, 0)
    signed = sign(rois, first.id, 1)
    with pytest.raises(LockedError):
        draw(rois, first.id, 2, {2: square(3, 10)})
    with pytest.raises(LockedError):
        operate(rois, first.id, Operation(number=2, operation="undo"))
    with pytest.raises(LockedError):
        sign(rois, first.id, 1)
    assert begin(rois).state == "signed"
    second = begin(rois, new_version=True)
    assert (second.version, second.state) == (2, "draft")
    draw(rois, second.id, 1, {3: square(3, 9)})
    sign(rois, second.id, 1)
    assert np.array_equal(voxels(rois, first.id)[3], np.zeros(SHAPE[1:], bool))
    (row,) = table(place.root)
    assert row["roi"].endswith("-v2.dcm")
    with place.database() as db:
        assert rois.view(db, first.id).digest == signed.digest
    Study(place.root).check()


def test_an_empty_roi_is_not_signed(place):
    rois = rois_of(place)
    id_ = begin(rois).id
    with pytest.raises(RoiError):
        sign(rois, id_, 0)
    assert begin(rois).state == "draft"


def test_a_study_that_is_being_written_is_signed_into_later(place):
    rois = rois_of(place)
    id_ = begin(rois).id
    draw(rois, id_, 1, {2: square(3, 9)})
    with writing(place.root, "slices"), pytest.raises(StudyError):
        _in_another_thread(lambda: sign(rois, id_, 1))
    assert begin(rois).state == "draft"
    sign(rois, id_, 1)
    assert len(table(place.root)) == 1


def _in_another_thread(call):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def test_a_row_that_a_kill_left_out_is_written_at_the_next_look(place):
    rois = rois_of(place)
    id_ = begin(rois).id
    draw(rois, id_, 1, {2: square(3, 9)})
    before = (place.root / "rois.csv").read_bytes()
    sign(rois, id_, 1)
    (place.root / "rois.csv").write_bytes(before)
    with place.changing() as db:
        db.execute("UPDATE roi_documents SET listed = 0")
    finish_signing(place, "c0")
    assert len(table(place.root)) == 1
    (place.root / "rois.csv").write_bytes(before)  # an import of the case
    finish_signing(place, "c0")
    (row,) = table(place.root)
    (place.root / "rois.csv").write_text(
        (place.root / "rois.csv").read_text(encoding="utf-8").replace(row["roi"], "other.dcm"),
        encoding="utf-8",
    )
    finish_signing(place, "c0")
    assert table(place.root)[0]["roi"] == "other.dcm"


def test_two_annotators_are_apart_until_both_have_signed(place):
    one, two = rois_of(place, "reader-1"), rois_of(place, "reader-2")
    a = begin(one).id
    draw(one, a, 1, {2: square(5, 14), 3: square(5, 14)})
    b = begin(two).id
    draw(two, b, 1, {3: square(5, 14), 4: square(5, 14)})
    for asks, other in ((one, b), (two, a), (Rois(place, "nobody"), a)):
        with pytest.raises(ApartError):
            voxels(asks, other)
    sign(one, a, 1)
    for asks, other in ((one, b), (two, a), (Rois(place, "nobody"), a)):
        with pytest.raises(ApartError):
            voxels(asks, other)
    with pytest.raises(ApartError):
        draw(two, a, 2, {3: square(1, 2)})
    hidden = {view.author: view for view in two.listed("c0")}["reader-1"]
    assert (hidden.hidden, hidden.state, hidden.n_voxels, hidden.digest) == (True, "signed", -1, "")
    with pytest.raises(ApartError):
        compare_two(one, a, b)
    sign(two, b, 1)
    assert voxels(two, a).any()
    found = compare_two(two, a, b).agreement
    assert found.dice == 0.5
    assert (found.slices_only_1, found.slices_only_2) == ((2,), (4,))
    report = Study(place.root).agreement()
    assert report.cases[0].dice == 0.5
    assert report.cases[0].mean_surface_mm == found.mean_surface_mm


def test_the_consensus_is_where_agreement_reads_it(place):
    one, two = rois_of(place, "reader-1"), rois_of(place, "reader-2")
    a, b = begin(one).id, begin(two).id
    draw(one, a, 1, {2: square(5, 14)})
    draw(two, b, 1, {2: square(8, 20)})
    sign(one, a, 1)
    sign(two, b, 1)
    make_consensus(one, a, b, ConsensusAsked(rule="union"))
    rows = {row["author"]: row for row in table(place.root)}
    assert set(rows) == {"reader-1", "reader-2", "consensus"}
    ct = read_ct(place.case("c0").series[0].image)
    assert np.array_equal(
        read_roi(place.root / rows["consensus"]["roi"], ct).voxels[2], square(5, 14) | square(8, 20)
    )
    report = Study(place.root).agreement()
    assert report.cases[0].decision == "union"
    make_consensus(one, a, b, ConsensusAsked(rule="two"))
    assert Study(place.root).agreement().cases[0].decision == "reader-2"
    consensus = {view.author: view for view in one.listed("c0")}["consensus"]
    assert (consensus.version, consensus.made_from) == (
        2,
        "reader-2 of reader-1 version 1 and reader-2 version 1",
    )


@pytest.mark.parametrize(
    ("me", "author", "state", "finished", "drawing", "seen"),
    [
        ("reader-1", "reader-1", "draft", set(), {"reader-1"}, True),
        ("reader-2", "reader-1", "draft", {"reader-2"}, {"reader-1"}, False),
        ("reader-2", "reader-1", "imported", {"reader-1"}, set(), False),
        ("reader-2", "reader-1", "signed", {"reader-1"}, {"reader-2"}, False),
        ("reader-2", "reader-1", "signed", {"reader-1", "reader-2"}, set(), True),
        ("reader-2", "consensus", "signed", set(), {"reader-2"}, False),
        ("", "reader-1", "signed", {"reader-1"}, {"reader-2"}, False),
        ("", "reader-1", "imported", {"reader-1"}, set(), True),
        ("reader-2", "model:a@1", "imported", set(), {"reader-2"}, True),
    ],
)
def test_who_may_see(me, author, state, finished, drawing, seen):
    assert may_see(me, author, state, finished, drawing) == seen


def test_an_roi_that_is_gone_is_not_found(place):
    rois = rois_of(place)
    id_ = place.id_of("roi", "c0", "nephrographic", "reader-7", "1")
    with pytest.raises(NotFoundError):
        voxels(rois, id_)
