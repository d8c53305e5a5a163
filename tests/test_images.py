"""Slice images in: names or a table, masks or none, and everything a folder of pictures can get wrong."""

import numpy as np
import pytest
from PIL import Image

from nephroscope.base.errors import CohortError, ConfigError, RoiError, SeriesError
from nephroscope.imaging.slice_images import read_image_case, read_slice_image
from nephroscope.intake.slice_images.cases import ImagesOptions, import_images, save_image_rows
from nephroscope.records import Cohort
from nephroscope.study.cohort_table import load_cohort, save_cohort
from one_series import changed, flat
from phantoms import box_hu, box_tumor, window_gray, write_png

SUBTYPES = ("PRCC", "ChRCC")
WINDOW = {"window_level_hu": 40.0, "window_width_hu": 400.0}


def run(folder, **options):
    return import_images(folder, ImagesOptions(**WINDOW | options), SUBTYPES, "PRCC")


def studied(result, folder):
    """The cases as they come back from the study they were saved in."""
    folder.mkdir()
    save_image_rows(result.rows, folder)
    cohort = Cohort(subtypes=SUBTYPES, positive="PRCC", cases=result.cases, exclusions=result.exclusions)
    save_cohort(cohort, folder)
    return load_cohort(folder, SUBTYPES, "PRCC").by_id


def gray(index=2):
    return window_gray(box_hu()[index])


def reasons(result):
    return {x.case_id: x.reason for x in result.exclusions}


@pytest.fixture
def labelled(tmp_path):
    """Case a with slices 9 and 10 and masks (label 2), case b with one slice; labels beside them."""
    for name, index in (("a_10", 3), ("a_9", 2), ("b_1", 0)):
        write_png(gray(index), tmp_path / "images" / f"{name}.png")
        write_png((box_tumor()[index] * 2).astype(np.uint8), tmp_path / "masks" / f"{name}.png")
    rewrite(tmp_path, "a_10.png,a,10,PRCC,M,0.7", "a_9.png,a,9,PRCC,M,0.7", "b_1.png,b,1,ChRCC,F,0.7")
    return tmp_path


def rewrite(folder, *rows):
    (folder / "labels.csv").write_text("\n".join(["file,case,slice,subtype,sex,spacing", *rows]) + "\n")


def options_for(folder, **more):
    return {"labels": folder / "labels.csv", "masks": folder / "masks", "tumor_label": 2, **more}


# ---- names


@pytest.mark.parametrize(
    ("name", "case", "subtype", "sex", "age", "index"),
    [
        ("case012_M_63_PRCC_slice07.jpg", "case012", "PRCC", "M", 63, 7),
        ("012-F-55-ChRCC-7.png", "012", "ChRCC", "F", 55, 7),
        ("sub/P3 male 40y papillary_rcc 12.JPEG", "P3", "PRCC", "M", 40, 12),
        ("case_00025_F_50_chromophobe_rcc_0060.png", "case_00025", "ChRCC", "F", 50, 60),
        ("7_F_0_PRCC.png", "7", "PRCC", "F", None, 0),
    ],
)
def test_default_pattern(tmp_path, name, case, subtype, sex, age, index):
    write_png(gray(), tmp_path / name)
    result = run(tmp_path)
    (made,) = map(flat, result.cases)
    assert (made.case_id, made.patient_id, made.subtype, made.sex, made.age_years) == (
        case,
        case,
        subtype,
        sex,
        age,
    )
    assert (made.format, made.roi, made.source) == ("images", None, "8-bit L40 W400")
    assert [row.slice_index for row in result.rows] == [index]


def test_a_pattern_of_the_user_reads_folders_too(tmp_path):
    for name in ("PRCC/p1/t1_2.png", "ChRCC/p2/t2_2.png"):
        write_png(gray(), tmp_path / name)
    pattern = r"^(?P<subtype>\w+)/(?P<patient>\w+)/(?P<case>\w+)_(?P<slice>\d+)\.png"
    cases = run(tmp_path, pattern=pattern).cases
    assert [(c.case_id, c.patient_id, c.subtype) for c in cases] == [
        ("t2", "p2", "ChRCC"),
        ("t1", "p1", "PRCC"),
    ]


def test_names_that_do_not_match_are_counted(tmp_path):
    for name in ("1_M_60_PRCC_1.png", "x.png", "2_Q_60_PRCC_1.png"):
        write_png(gray(), tmp_path / name)
    result = run(tmp_path)
    assert len(result.cases) == 1
    (finding,) = result.findings
    assert (
        finding.message == "2 file names do not match the pattern and were left out: 2_Q_60_PRCC_1.png, x.png"
    )


def test_unusable_patterns_and_names_are_refused(tmp_path):
    write_png(gray(), tmp_path / "x.png")
    with pytest.raises(CohortError, match=r"found none among 1, such as 'x.png'; give --pattern"):
        run(tmp_path)
    with pytest.raises(ConfigError, match=r"named groups .*found '\(' \("):
        run(tmp_path, pattern="(")
    with pytest.raises(ConfigError, match=r"with the groups case"):
        run(tmp_path, pattern="(?P<case>.)")


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(CohortError, match=r"expected slice images .*found an empty folder"):
        run(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(CohortError, match=r"found only other files \(1 .txt\); check the path; for DICOM"):
        run(tmp_path)
    with pytest.raises(CohortError, match=r"gone: expected a folder of images, found no folder"):
        run(tmp_path / "gone")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (("1_M_60_PRCC_1.png", "1_M_60_ChRCC_2.png"), "two subtypes: ChRCC and PRCC"),
        (
            ("1_M_60_PRCC_1.png", "1_F_60_PRCC_2.png"),
            "its rows contradict each other: sex F and M",
        ),
        (
            ("1_M_60_PRCC_1.png", "1_M_61_PRCC_2.png"),
            "its rows contradict each other: age_years 60.0 and 61.0",
        ),
        (("1_M_60_PRCC_1.png", "1_M_60_PRCC_s1.png"), "slice numbers missing or used twice"),
        (("1_M_60_PRCC_1.png", "1_M_60_PRCC.png"), "slice numbers missing or used twice: some are missing"),
        (("1_M_60_oncocytoma_1.png",), "subtype oncocytoma is not in the study"),
    ],
)
def test_cases_left_out(tmp_path, files, reason):
    for name in files:
        write_png(gray(), tmp_path / name)
    result = run(tmp_path)
    assert not result.cases
    assert reason in reasons(result)["1"]


# ---- tables and masks


def test_a_case_is_stacked_in_slice_order_with_its_tumor(labelled, tmp_path):
    cases = studied(run(labelled / "images", **options_for(labelled)), tmp_path / "study")
    volume, roi = read_image_case(cases["a"])
    assert volume.hu.shape == (2, 40, 48)
    assert volume.geometry.spacing_mm == (1.0, 0.7, 0.7)
    assert np.abs(volume.hu - np.clip(box_hu()[2:4], -160, 240)).max() <= 1  # 400 HU in 255 steps
    assert np.array_equal(roi.voxels, box_tumor()[2:4])
    assert [f.code for f in volume.findings] == ["eight-bit"]
    assert cases["a"].source == "8-bit L40 W400"


def test_names_that_a_spreadsheet_would_run_come_back(labelled, tmp_path):
    rewrite(labelled, "a_9.png,@7,9,PRCC,M,0.7", "a_10.png,-b=1,1,ChRCC,F,0.7")
    by_id = studied(run(labelled / "images", **options_for(labelled)), tmp_path / "study")
    assert len(by_id) == 2
    for name, index in (("@7", 2), ("-b=1", 3)):
        volume, _ = read_image_case(by_id[name])
        assert np.abs(volume.hu[0] - box_hu()[index].clip(-160, 240)).max() < 3, name
    assert "'@7" in (tmp_path / "study" / "images.csv").read_text()


def test_the_window_travels_in_the_manifest(labelled, tmp_path):
    result = run(labelled / "images", **options_for(labelled, window_level_hu=127.5, window_width_hu=255.0))
    case = studied(result, tmp_path / "study")["a"]
    assert case.source == "8-bit L127.5 W255"
    assert np.array_equal(read_image_case(case)[0].hu[0], gray(2))
    with pytest.raises(CohortError, match=r"case a, column source: expected the window .*found 'HU'"):
        read_image_case(changed(case, source="HU"))


def test_masks_inside_the_source_folder_are_not_images(labelled):
    assert len(run(labelled, **options_for(labelled)).rows) == 3
    with pytest.raises(
        CohortError, match=r"image a_10.png: expected one file .*images/a_10.png, masks/a_10.png"
    ):
        run(labelled, labels=labelled / "labels.csv")


def test_a_slice_the_tumor_does_not_cross_stays(labelled, tmp_path):
    write_png(np.ones((40, 48), np.uint8), labelled / "masks" / "a_9.png")
    roi = read_image_case(
        studied(run(labelled / "images", **options_for(labelled)), tmp_path / "study")["a"]
    )[1]
    assert roi.voxels.any(axis=(1, 2)).tolist() == [False, True]


def test_a_case_without_tumor_label_is_refused_with_the_values(labelled, tmp_path):
    case = studied(run(labelled / "images", **options_for(labelled, tumor_label=3)), tmp_path / "study")["a"]
    with pytest.raises(
        RoiError, match=r"case a, its masks: expected the tumor label 3, found only the values 0, 2"
    ):
        read_image_case(case)


def test_missing_masks(labelled, tmp_path):
    (labelled / "masks" / "a_9.png").unlink()
    (labelled / "masks" / "b_1.png").unlink()
    result = run(labelled / "images", **options_for(labelled))
    assert reasons(result) == {"b": "no mask named as b_1.png"}
    assert [(f.code, f.message) for f in result.findings] == [
        ("mask-missing", "no mask for a_9.png; taken as slices without tumor")
    ]
    roi = read_image_case(studied(result, tmp_path / "study")["a"])[1]
    assert roi.voxels.any(axis=(1, 2)).tolist() == [False, True]
    with pytest.raises(CohortError, match=r"mask folder gone: .*found no such folder"):
        run(labelled / "images", **options_for(labelled, masks=labelled / "gone"))


def test_two_masks_of_one_name_are_refused(labelled):
    for side in "lr":
        write_png(np.ones((40, 48), np.uint8), labelled / "masks" / side / "b_1.png")
    (labelled / "masks" / "b_1.png").unlink()
    with pytest.raises(CohortError, match=r"mask of b_1.png: expected one mask with this name, found 2"):
        run(labelled / "images", **options_for(labelled))


def test_without_masks_the_whole_image_is_the_region(labelled, tmp_path):
    result = run(labelled / "images", labels=labelled / "labels.csv")
    case = studied(result, tmp_path / "study")["a"]
    roi = read_image_case(case)[1]
    assert case.roi is None
    assert roi.voxels.all()
    assert [f.code for f in roi.findings] == ["no-mask"]


def test_repeated_missing_and_unlabelled_images(labelled):
    rows = ["a_9.png,a,9,PRCC,M,", "a_9.png,a,9,PRCC,M,", "gone.png,a,3,PRCC,M,", "never.png,c,1,PRCC,M,"]
    rewrite(labelled, *rows, "b_1.png,b,1,ChRCC,F,")
    result = run(labelled / "images", **options_for(labelled))
    assert [(f.code, f.message) for f in result.findings] == [
        ("image-missing", "2 labelled images do not exist: gone.png, never.png"),
        ("image-unlabelled", "1 image has no label and was left out: a_10.png"),
        ("label-repeated", "1 image has the same label row twice: a_9.png"),
    ]
    assert len(result.rows) == 2
    assert reasons(result) == {"c": "none of its labelled images exists"}


def test_an_assumed_window_and_masks_of_several_values_are_notes(labelled):
    write_png((box_tumor()[2] * 2 + 1).astype(np.uint8), labelled / "masks" / "a_9.png")
    result = run(labelled / "images", **options_for(labelled, window_width_hu=None))
    window, masks = result.findings
    assert (window.code, window.severity) == ("window-assumed", "note")
    assert "level 40 and width 400 HU" in window.message
    assert (masks.code, masks.severity) == ("mask-values", "note")
    assert masks.message.startswith(
        "masks hold the values 1, 2, 3 (in the first 3 of them); 2 is used for the tumor; "
    )
    assert {case.source for case in map(flat, result.cases)} == {"8-bit L40 W400"}
    kidney = run(labelled / "images", **options_for(labelled, tumor_label=1)).findings
    assert [(f.code, f.severity) for f in kidney if f.code == "mask-values"] == [("mask-values", "warning")]
    (labelled / "masks" / "a_9.png").write_bytes(b"damaged")
    assert run(labelled / "images", **options_for(labelled)).findings == ()


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            ("a_9.png,a,9,PRCC,M,", "a_9.png,a,8,PRCC,M,"),
            "its label rows contradict each other about a_9.png",
        ),
        (("a_9.png,a,9,PRCC,M,", "a_9.png,b,9,ChRCC,M,"), "image a_9.png is labelled for a and b"),
    ],
)
def test_contradicting_rows_leave_the_case_out(labelled, rows, reason):
    rewrite(labelled, *rows)
    assert reason in reasons(run(labelled / "images", **options_for(labelled)))["a"]


def test_tables_without_files_are_refused(labelled):
    (labelled / "labels.csv").write_text("case,subtype\na,PRCC\n")
    with pytest.raises(CohortError, match=r'column named file.* \[columns\] file = "Bild"'):
        run(labelled / "images", **options_for(labelled))
    rewrite(labelled, "x.png,a,9,PRCC,M,")
    with pytest.raises(
        CohortError, match=r"found none of 1, such as 'x.png', but other images: a_10.png, a_9.png and 1 more"
    ):
        run(labelled / "images", **options_for(labelled))


# ---- pixels


@pytest.fixture
def case_a(labelled, tmp_path):
    return studied(run(labelled / "images", **options_for(labelled)), tmp_path / "study")["a"]


def test_truncated_images_and_masks_are_named_without_their_folder(case_a, labelled):
    path = labelled / "images" / "a_9.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(
        SeriesError, match=r"case a, image a_9.png: expected an undamaged PNG or JPEG"
    ) as caught:
        read_image_case(case_a)
    assert str(labelled) not in str(caught.value)
    path.unlink()
    with pytest.raises(SeriesError, match=r"image a_9.png: .*found no file"):
        read_image_case(case_a)
    write_png(gray(), path)
    mask = labelled / "masks" / "a_9.png"
    mask.write_bytes(mask.read_bytes()[:60])
    with pytest.raises(RoiError, match=r"case a, mask a_9.png: expected a readable PNG"):
        read_image_case(case_a)


def test_images_of_different_size_or_spacing_are_refused(case_a, labelled, tmp_path):
    write_png(gray()[:30], labelled / "images" / "a_10.png")
    with pytest.raises(
        SeriesError, match=r"all slices like a_9.png, 40 x 48 pixels.*found 30 x 48 pixels.*in a_10.png"
    ):
        read_image_case(case_a)
    write_png(gray(), labelled / "images" / "a_10.png")
    table = tmp_path / "study" / "images.csv"
    table.write_text(
        table.read_text().replace("a_10.png,0.7,0.7", "X").replace("masks/X", "masks/a_10.png,0.8,0.8")
    )
    with pytest.raises(SeriesError, match=r"0.7 x 0.7 mm, found 40 x 48 pixels, 0.8 x 0.8 mm in a_10.png"):
        read_image_case(case_a)


def test_a_mask_of_another_size_is_refused(case_a, labelled):
    write_png(np.ones((41, 48), np.uint8), labelled / "masks" / "a_9.png")
    with pytest.raises(
        RoiError, match=r"mask a_9.png: expected the size of its image, 40 x 48 pixels, found 41 x 48"
    ):
        read_image_case(case_a)


def test_color_masks_are_refused_but_gray_ones_stored_as_color_are_read(case_a, labelled):
    mask = labelled / "masks" / "a_9.png"
    write_png(np.repeat((box_tumor()[2] * 2).astype(np.uint8)[..., None], 3, axis=2), mask)
    assert read_image_case(case_a)[1].voxels[0].any()
    write_png(np.dstack([gray(), gray(), 255 - gray()]), mask)
    with pytest.raises(RoiError, match=r"one label value per pixel, found 3 color channels"):
        read_image_case(case_a)


def test_spacing_unknown_and_constant_images_are_findings(labelled, tmp_path):
    rewrite(labelled, "a_10.png,a,10,PRCC,M,", "a_9.png,a,9,PRCC,M,")
    write_png(np.full((40, 48), 7, np.uint8), labelled / "images" / "a_9.png")
    case = studied(run(labelled / "images", **options_for(labelled)), tmp_path / "study")["a"]
    volume, _ = read_image_case(case)
    assert volume.geometry.spacing_mm == (1.0, 1.0, 1.0)
    assert [(f.code, f.severity) for f in volume.findings] == [
        ("eight-bit", "note"),
        ("spacing-unknown", "note"),
        ("constant-image", "warning"),
    ]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA"])
def test_gray_in_any_mode_is_read(tmp_path, mode):
    Image.fromarray(gray()).convert(mode).save(tmp_path / "a.png")
    volume = read_slice_image(tmp_path / "a.png", 127.5, 255, 0.8)
    assert np.array_equal(volume.hu[0], gray())
    assert volume.geometry.spacing_mm == (1.0, 0.8, 0.8)
    assert volume.series_uid.startswith("image-")


def test_jpeg_is_read_and_color_16_bit_and_bombs_are_refused(tmp_path, monkeypatch):
    Image.fromarray(gray()).convert("RGB").save(tmp_path / "a.jpg", quality=95)
    hu = read_slice_image(tmp_path / "a.jpg", 127.5, 255, None).hu[0]
    assert np.abs(hu - gray().astype(int)).mean() < 3
    write_png(np.dstack([gray(), gray(), 255 - gray()]), tmp_path / "c.png")
    with pytest.raises(
        SeriesError, match=r"image c.png: expected a gray image \(equal red, green and blue\), found color"
    ):
        read_slice_image(tmp_path / "c.png", 40, 400, None)
    Image.fromarray(gray().astype(np.uint16) * 200).save(tmp_path / "d.png")
    with pytest.raises(SeriesError, match=r"an 8-bit gray image, found mode I;16; for 16 bits or HU use"):
        read_slice_image(tmp_path / "d.png", 40, 400, None)
    for most in (1500, 100):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(SeriesError, match=r"found far too many pixels"):
            read_slice_image(tmp_path / "a.jpg", 40, 400, None)


def test_a_changed_images_csv_is_refused(case_a):
    lines = case_a.image.read_text().splitlines()
    for text in (
        "\n".join([*lines, lines[1]]),
        "\n".join(lines[:1]),
        "\n".join(lines).replace(",9,", ",nine,"),
    ):
        case_a.image.write_text(text + "\n")
        with pytest.raises(
            CohortError, match=r"case a: expected its slices in images.csv as the import wrote them"
        ):
            read_image_case(case_a)


# ---- real slices


def test_real_kits19_slices(test_data, tmp_path):
    folder = test_data / "kits19_slices"
    options = ImagesOptions(
        labels=folder / "labels.csv",
        masks=folder / "masks",
        tumor_label=2,
        window_level_hu=127.5,
        window_width_hu=255,
    )
    subtypes = ("papillary", "chromophobe", "clear_cell")
    result = import_images(folder / "images", options, subtypes, "papillary")
    found = [case.subtype for case in result.cases]
    assert [found.count(name) for name in subtypes] == [3, 4, 12]
    assert len(result.rows) == 50
    assert reasons(result) == {
        "case_00042": "subtype mest is not in the study",
        "case_00088": "subtype wilms_tumor is not in the study",
        "case_00116": "subtype oncocytoma is not in the study",
        "case_00183": "subtype clear_cell_papillary is not in the study",
    }
    save_image_rows(result.rows, tmp_path)
    save_cohort(
        Cohort(subtypes=subtypes, positive="papillary", cases=result.cases, exclusions=result.exclusions),
        tmp_path,
    )
    case = load_cohort(tmp_path, subtypes, "papillary").by_id["case_00135"]
    volume, roi = read_image_case(case)
    assert volume.hu.shape == (20, 512, 512)
    assert (volume.hu.min(), volume.hu.max()) == (0, 255)
    assert roi.voxels.any(axis=(1, 2)).sum() == 19  # one of its slices holds kidney only
    assert volume.geometry.spacing_mm == (1.0, 0.8379, 0.8379)
