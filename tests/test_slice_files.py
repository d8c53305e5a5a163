"""Slice images whose names or pixels are not what a program expects: the tumor a viewer shows, or a refusal."""

import shutil
import struct
import unicodedata
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nephroscope.base.errors import CohortError, RoiError, SeriesError
from nephroscope.imaging.slice_images import read_image_case
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.slice_images.cases import ImagesOptions, import_images, save_image_rows
from nephroscope.intake.slice_images.names import DEFAULT_PATTERN, rows_of_labels, rows_of_names
from nephroscope.records import ChoiceRule
from phantoms import write_png

SUBTYPES = ("PRCC", "ChRCC")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Fall12_w_58J_ChRCC_Schicht3.png", ("Fall12", "F", 58, "ChRCC", 3)),
        ("Patient 7 männlich 63Jahre papillär Bild 12.png", ("Patient 7", "M", 63, "papillär", 12)),
        (
            "cas012_femme_63ans_carcinome_chromophobe_coupe07.jpg",
            ("cas012", "F", 63, "carcinome_chromophobe", 7),
        ),
        ("caso3-mujer-40años-papilar-corte-2.png", ("caso3", "F", 40, "papilar", 2)),
        ("病例12_男_63岁_乳头状_层07.png", ("病例12", "M", 63, "乳头状", 7)),
        ("病例12_女_63_嫌色_切片7.png", ("病例12", "F", 63, "嫌色", 7)),
        ("Fällé3_f_63_PRCC_Image_7.PNG", ("Fällé3", "F", 63, "PRCC", 7)),
        ("case012_M_63_PRCC_Slice07.jpg", ("case012", "M", 63, "PRCC", 7)),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_file_names_in_the_words_of_hospitals(name, expected, form):
    file = unicodedata.normalize(form, name)
    (row,), findings = rows_of_names({file: Path(file)}, DEFAULT_PATTERN)
    assert (row.case_id, row.sex, row.age_years, row.subtype, row.slice_index) == expected
    assert findings == []


def test_h_in_file_names_is_male_where_no_m_is():
    files = {f"cas{i}_{sex}_60_PRCC_{i}.png": Path() for i, sex in enumerate("HF")}
    assert [row.sex for row in rows_of_names(files, DEFAULT_PATTERN)[0]] == ["M", "F"]


def test_names_that_do_not_match_are_told_by_an_example(tmp_path):
    with pytest.raises(CohortError) as refusal:
        rows_of_names({"IM_001.png": Path()}, DEFAULT_PATTERN)
    assert "case012_M_63_PRCC_slice07.jpg" in refusal.value.expected
    assert "?P<" not in str(refusal.value)


def test_images_and_masks_meet_without_what_nobody_sees(tmp_path):
    for folder, name in (("i", "Fäll1.png"), ("m", "Fäll1.png")):
        (tmp_path / folder).mkdir()
        form = "NFD" if folder == "i" else "NFC"
        gray = np.full((8, 8), 1 if folder == "m" else 90, np.uint8)
        gray[0] = 0
        write_png(gray, tmp_path / folder / unicodedata.normalize(form, name))
    (tmp_path / "l.csv").write_text("file,case_id,subtype\nFäll1\u200b.png,P1,PRCC\n", encoding="utf-8")
    options = ImagesOptions(labels=tmp_path / "l.csv", masks=tmp_path / "m")
    found = import_images(tmp_path / "i", options, SUBTYPES, "PRCC")
    assert [row.mask is not None for row in found.rows] == [True]


def test_a_near_name_of_an_image_is_pointed_out(tmp_path):
    files = {"P007.png": Path(), "P8.png": Path()}
    rows = [LabelRow(row=2, case_id="P7", subtype="PRCC", file="p7.png")]
    with pytest.raises(CohortError, match=r"did you mean P007\.png"):
        rows_of_labels(rows, files, tmp_path)


def scan_of(tumor=150, size=64):
    y, x = np.mgrid[:size, :size] / size
    gray = np.where((y - 0.5) ** 2 + (x - 0.5) ** 2 < 0.16, 115, 0).astype(np.uint8)
    mask = (y - 0.4) ** 2 + (x - 0.6) ** 2 < 0.01
    gray[mask] = tumor
    return gray, mask.astype(np.uint8)


def one_case(folder, image, mask, **options):
    """The volume and tumor of one slice image; ``image`` and ``mask`` write a file."""
    for name in ("i", "m"):
        (folder / name).mkdir()
    image(folder / "i" / "a.png")
    mask(folder / "m" / "a.png")
    (folder / "l.csv").write_text("file,case_id,subtype\na.png,P1,PRCC\n")
    found = import_images(
        folder / "i", ImagesOptions(labels=folder / "l.csv", masks=folder / "m", **options), SUBTYPES, "PRCC"
    )
    images = save_image_rows(found.rows, folder)
    (case,) = (replace(c, series=tuple(replace(s, image=images) for s in c.series)) for c in found.cases)
    return read_image_case(case.chosen(ChoiceRule()))


def gray_file(pixels):
    return lambda path: Image.fromarray(pixels).save(path)


def turned_file(pixels, orientation):
    """Stored as EXIF says that it is to be turned back."""
    turns = {
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        6: np.rot90(pixels),
        8: np.rot90(pixels, -1),
    }

    def save(path):
        tags = Image.Exif()
        tags[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(turns[orientation])).save(path, exif=tags)

    return save


def png16(pixels, channels):
    """A PNG of 16 bits in 2 (gray, alpha), 3 or 4 channels."""

    def save(path):
        values = np.repeat(pixels[..., None].astype(">u2") * 257, channels, 2)
        if channels in (2, 4):
            values[..., -1] = 65535
        raw = b"".join(b"\0" + line.tobytes() for line in values)
        kind = {2: 4, 3: 2, 4: 6}[channels]
        head = struct.pack(">IIBBBBB", *pixels.shape[::-1], 16, kind, 0, 0, 0)
        parts = [(b"IHDR", head), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
        made = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts]
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(made))

    return save


def palette_file(pixels, colors):
    def save(path):
        image = Image.fromarray(pixels).convert("L")
        indexed = Image.frombytes("P", image.size, image.tobytes())
        indexed.putpalette([value for color in colors for value in color])
        indexed.save(path)

    return save


@pytest.mark.parametrize("orientation", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("turned", ["image", "mask", "both"])
def test_images_are_turned_as_a_viewer_shows_them(tmp_path, orientation, turned):
    gray, mask = scan_of()
    image = turned_file(gray, orientation) if turned != "mask" else gray_file(gray)
    drawn = turned_file(mask, orientation) if turned != "image" else gray_file(mask)
    volume, roi = one_case(tmp_path, image, drawn)
    assert float(volume.hu[roi.voxels].mean()) == pytest.approx(40 - 200 + 150 / 255 * 400, abs=3)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bits_per_color_are_refused_in_images_and_masks(tmp_path, channels):
    gray, mask = scan_of()
    with pytest.raises(SeriesError, match="16 bits per color"):
        one_case(tmp_path, png16(gray, channels), gray_file(mask))
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    with pytest.raises(RoiError, match="16 bits per color"):
        one_case(tmp_path, gray_file(gray), png16(mask, channels))


def test_a_palette_that_shows_the_background_bright_is_refused(tmp_path):
    gray, mask = scan_of()
    with pytest.raises(RoiError, match="index 0 brighter"):
        one_case(tmp_path, gray_file(gray), palette_file(1 - mask, [(255, 255, 255), (0, 0, 0)]))


@pytest.mark.parametrize(
    "colors", [[(0, 0, 0), (128, 0, 0)], [(0, 0, 0), (255, 255, 255)], [(0, 0, 0), (0, 0, 0)]]
)
def test_the_usual_palettes_are_read_by_their_indices(tmp_path, colors):
    gray, mask = scan_of()
    _, roi = one_case(tmp_path, gray_file(gray), palette_file(mask, colors))
    assert roi.voxels.sum() == mask.sum()


@pytest.mark.parametrize("value", [1, 255])
def test_inverted_masks_are_refused(tmp_path, value):
    gray, mask = scan_of()
    with pytest.raises(RoiError, match="the masks are inverted"):
        one_case(tmp_path, gray_file(gray), gray_file((1 - mask) * np.uint8(value)), tumor_label=value)


def test_a_tumor_as_large_as_its_image_is_none_inverted(tmp_path):
    gray, mask = scan_of()
    _, roi = one_case(tmp_path, gray_file(gray), gray_file(np.ones_like(mask)))
    assert roi.voxels.all()


@pytest.mark.parametrize(
    "pixels", [lambda g: 255 - g, lambda g: np.pad(g[8:-8, 8:-8], 8, constant_values=255)]
)
def test_negatives_and_white_frames_are_a_warning(tmp_path, pixels):
    gray, mask = scan_of()
    volume, _ = one_case(tmp_path, gray_file(pixels(gray)), gray_file(mask))
    assert ("image-negative", "warning") in [(f.code, f.severity) for f in volume.findings]


def test_black_edges_are_no_negative(tmp_path):
    gray, mask = scan_of()
    volume, _ = one_case(tmp_path, gray_file(gray), gray_file(mask))
    assert "image-negative" not in [f.code for f in volume.findings]


def test_transparency_and_several_pictures_are_refused(tmp_path):
    gray, mask = scan_of()
    through = np.dstack([gray, gray, gray, np.where(gray == 0, 0, 255)]).astype(np.uint8)
    with pytest.raises(SeriesError, match="without transparency"):
        one_case(tmp_path, gray_file(through), gray_file(mask))

    def film(path):
        Image.fromarray(gray).save(path, save_all=True, append_images=[Image.fromarray(gray[::-1].copy())])

    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    with pytest.raises(SeriesError, match="several pictures"):
        one_case(tmp_path, film, gray_file(mask))
