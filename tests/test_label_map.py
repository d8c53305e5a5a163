"""Label maps as ITK-SNAP, 3D Slicer and MITK write them give one tumor on the CT; damaged ones the reason why not."""

import bz2
import gzip
import json
import tracemalloc

import numpy as np
import pytest

from nephroscope.base.errors import RoiError
from nephroscope.imaging.masks.segments import labels_of
from nephroscope.imaging.read import read_roi, roi_names
from phantoms import ORIGIN_MM, SHAPE, SPACING_MM, box_affine, box_tumor, box_volume, write_nifti

KIDNEY, TUMOR = 1, 2
TAGS = (
    "Segmentation.Status:completed|TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^{}^{}~SCT^{}^{}~^^~Anatomic codes - DICOM master list~^^~^^|"
)


def labels():
    """Kidney 1 around tumor 2; no symmetry."""
    values = np.zeros(SHAPE, np.uint8)
    values[0:5, 8:30, 6:24] = KIDNEY
    values[box_tumor()] = TUMOR
    return values


def nrrd_bytes(values=None, encoding="raw", packed=None, **changed):
    """An NRRD file as ITK writes it, its fields to be changed; None leaves one out."""
    values = labels() if values is None else values
    sizes = " ".join(str(n) for n in values.shape[::-1])
    s, r, c = SPACING_MM
    fields = {
        "type": "unsigned char",
        "dimension": str(values.ndim),
        "space": "left-posterior-superior",
        "sizes": sizes,
        "space directions": f"({c},0,0) (0,{r},0) (0,0,{s})",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": encoding,
        "space origin": f"({','.join(map(str, ORIGIN_MM))})",
    }
    fields |= {key.replace("_", " ") if key.islower() else key: value for key, value in changed.items()}
    lines = ["NRRD0004", "# a comment"]
    for key, value in fields.items():
        if value is not None:
            lines.append(f"{key}:={value}" if key.startswith(("Segment", "org.")) else f"{key}: {value}")
    return "\n".join(lines).encode() + b"\n\n" + (values.tobytes() if packed is None else packed)


def save(content, path):
    path.write_bytes(content)
    return path


def tumor_in(content, tmp_path, label=TUMOR, name=""):
    return read_roi(save(content, tmp_path / "m"), box_volume(), "P1", label, name)


# ---- forms of files


def test_simpleitk_writes_and_the_same_is_read(tmp_path):
    import SimpleITK

    image = SimpleITK.GetImageFromArray(labels())
    image.SetSpacing(SPACING_MM[::-1])
    image.SetOrigin(ORIGIN_MM)
    for name in ("m.nrrd", "m.nii.gz", "m.nii"):
        for compressed in (False, True):
            SimpleITK.WriteImage(image, str(tmp_path / name), compressed)
            roi = read_roi(tmp_path / name, box_volume(), "P1", TUMOR)
            assert np.array_equal(roi.voxels, box_tumor())
            assert roi.findings == ()
            assert roi_names(tmp_path / name) == ["1", "2"]


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int32, np.float32, np.float64])
def test_whole_numbers_of_any_type_are_labels(tmp_path, kind):
    import SimpleITK

    image = SimpleITK.GetImageFromArray(labels().astype(kind))
    image.SetSpacing(SPACING_MM[::-1])
    image.SetOrigin(ORIGIN_MM)
    for name in ("m.nrrd", "m.nii.gz"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
        assert np.array_equal(read_roi(tmp_path / name, box_volume(), "P1", TUMOR).voxels, box_tumor())


def test_every_encoding_is_read(tmp_path):
    raw = labels().tobytes()
    text = " ".join(map(str, labels().ravel())).encode()
    for encoding, packed in (
        ("raw", raw),
        ("gzip", gzip.compress(raw)),
        ("gz", gzip.compress(raw)),
        ("bzip2", bz2.compress(raw)),
        ("ascii", text),
        ("text", text.replace(b" ", b"\n")),
    ):
        assert np.array_equal(tumor_in(nrrd_bytes(None, encoding, packed), tmp_path).voxels, box_tumor())
    big = labels().astype(">i2")
    content = nrrd_bytes(big, type="short", endian="big")
    assert np.array_equal(tumor_in(content, tmp_path).voxels, box_tumor())


def test_every_space_is_turned_to_lps(tmp_path):
    x, y, z = ORIGIN_MM
    s, r, c = SPACING_MM
    for space, sx, sy in (
        ("right-anterior-superior", -1, -1),
        ("RAS", -1, -1),
        ("left-anterior-superior", 1, -1),
        ("LPS", 1, 1),
    ):
        content = nrrd_bytes(
            space=space,
            space_origin=f"({sx * x},{sy * y},{z})",
            space_directions=f"({sx * c},0,0) (0,{sy * r},0) (0,0,{s})",
        )
        roi = tumor_in(content, tmp_path)
        assert np.array_equal(roi.voxels, box_tumor())
        assert roi.findings == ()


def test_axes_in_any_order_and_direction_are_the_same_grid(tmp_path):
    """Stored from head to feet, slices first."""
    x, y, z = ORIGIN_MM
    s, r, c = SPACING_MM
    turned = labels()[::-1].transpose(2, 1, 0)
    content = nrrd_bytes(
        np.ascontiguousarray(turned),
        space_directions=f"(0,0,{-s}) (0,{r},0) ({c},0,0)",
        space_origin=f"({x},{y},{z + 5 * s})",
    )
    roi = tumor_in(content, tmp_path)
    assert np.array_equal(roi.voxels, box_tumor())
    assert roi.findings == ()


def test_a_nifti_on_another_grid_is_resampled_and_told(tmp_path):
    """The finding travels with the mask."""
    moved = box_affine()
    moved[0, 3] += 0.3
    path = write_nifti(labels(), tmp_path / "m.nii.gz", moved)
    roi = read_roi(path, box_volume(), "P1", TUMOR)
    assert np.array_equal(roi.voxels, box_tumor())
    (finding,) = roi.findings
    assert (finding.code, finding.case_id, finding.where) == ("roi-resampled", "P1", "case P1, ROI m.nii.gz")


def test_a_nifti_flipped_in_z_is_refused(tmp_path):
    flipped = box_affine()
    flipped[:3, 0] *= -1
    path = write_nifti(labels(), tmp_path / "m.nii.gz", flipped)
    with pytest.raises(
        RoiError, match=r"ROI m.nii.gz: .*the slices run the other way: a flipped header; export"
    ):
        read_roi(path, box_volume(), "P1", TUMOR)


def test_a_nifti_that_does_not_say_where_it_lies(tmp_path):
    import nibabel

    image = nibabel.Nifti1Image(labels().transpose(2, 1, 0), None)
    image.header["pixdim"][1:4] = SPACING_MM[::-1]
    nibabel.save(image, tmp_path / "m.nii")
    with pytest.raises(RoiError, match=r"a header with the position of the voxels, found none"):
        read_roi(tmp_path / "m.nii", box_volume(), "P1", TUMOR)


# ---- names


def slicer(number, name, layer=0, category=("85756007", "Tissue"), kind=("85756007", "Tissue"), value=None):
    return {
        f"Segment{number}_ID": f"Segment_{number + 1}",
        f"Segment{number}_Name": name,
        f"Segment{number}_LabelValue": str(number + 1 if value is None else value),
        f"Segment{number}_Layer": str(layer),
        f"Segment{number}_Tags": TAGS.format(*category, *kind),
    }


def test_slicer_names_choose_the_tumor(tmp_path):
    content = nrrd_bytes(**slicer(0, "Kidney"), **slicer(1, "Tumor"))
    assert np.array_equal(tumor_in(content, tmp_path, 1).voxels, box_tumor())
    assert roi_names(tmp_path / "m") == ["1 Kidney", "2 Tumor"]
    assert np.array_equal(tumor_in(content, tmp_path, 1, "kidney").voxels, labels() == KIDNEY)
    with pytest.raises(RoiError, match=r"one segment called 'Cyst', found 1 Kidney, 2 Tumor"):
        tumor_in(content, tmp_path, 1, "Cyst")


def test_slicer_codes_choose_the_tumor(tmp_path):
    neoplasm = slicer(1, "Segment_2", 0, ("49755003", "Altered"), ("108369006", "Neoplasm"))
    content = nrrd_bytes(**slicer(0, "Segment_1"), **neoplasm)
    assert np.array_equal(tumor_in(content, tmp_path, 1).voxels, box_tumor())
    assert np.array_equal(tumor_in(content, tmp_path, 1, "108369006").voxels, box_tumor())
    with pytest.raises(RoiError, match="one segment called '49755003'"):
        tumor_in(content, tmp_path, 1, "49755003")


def layered(*layers):
    """Layers first, as 3D Slicer and MITK store them: fastest axis in the file."""
    values = np.stack(layers, axis=-1).astype(np.uint8)
    s, r, c = SPACING_MM
    return values, {
        "space_directions": f"none ({c},0,0) (0,{r},0) (0,0,{s})",
        "kinds": "list domain domain domain",
    }


def test_overlapping_segments_lie_in_layers(tmp_path):
    kidney = np.zeros(SHAPE, bool)
    kidney[0:5, 8:30, 6:24] = True
    values, fields = layered(kidney, box_tumor())
    named = {**slicer(0, "Kidney", 0, value=1), **slicer(1, "Mass", 1, value=1)}
    roi = tumor_in(nrrd_bytes(values, **fields, **named), tmp_path, 1)
    assert np.array_equal(roi.voxels, box_tumor())
    assert np.array_equal(tumor_in((tmp_path / "m").read_bytes(), tmp_path, 1, "Kidney").voxels, kidney)
    old = {key: value for key, value in named.items() if "Layer" not in key and "LabelValue" not in key}
    roi = tumor_in(nrrd_bytes(values, **fields, **old), tmp_path, 1)
    assert np.array_equal(roi.voxels, box_tumor())
    far = {**named, "Segment1_Layer": "7"}
    with pytest.raises(RoiError, match="a segment in a layer that does not exist"):
        tumor_in(nrrd_bytes(values, **fields, **far), tmp_path, 1)


def test_a_cropped_slicer_segmentation_lies_on_the_ct(tmp_path):
    x, y, z = (box_affine() @ [1, 8, 6, 1])[:3]
    cropped = np.ascontiguousarray(labels()[1:5, 8:30, 6:24])
    roi = tumor_in(nrrd_bytes(cropped, space_origin=f"({x},{y},{z})", **slicer(1, "Tumor")), tmp_path)
    assert np.array_equal(roi.voxels, box_tumor())
    assert roi.findings == ()


def test_mitk_names_choose_the_tumor(tmp_path):
    groups = [
        {"labels": [{"name": "Kidney", "value": 1}, {"name": 'A "renal" mass', "value": 2}]},
        {"labels": [{"name": "Cyst", "value": 1}]},
    ]
    values, fields = layered(labels(), labels() == KIDNEY)
    for text in (json.dumps(groups), json.dumps(groups, indent=1).replace("\\", "\\\\").replace("\n", "\\n")):
        content = nrrd_bytes(values, **fields, **{"org.mitk.multilabel.segmentation.labelgroups": text})
        assert np.array_equal(tumor_in(content, tmp_path, 1, "Cyst").voxels, labels() == KIDNEY)
    assert roi_names(tmp_path / "m") == ["1 Kidney", '2 A "renal" mass', "1 Cyst"]
    assert np.array_equal(tumor_in(content, tmp_path, 1).voxels, box_tumor())


def test_labels_without_names_are_chosen_by_number(tmp_path):
    assert np.array_equal(tumor_in(nrrd_bytes(), tmp_path, 2).voxels, labels() == TUMOR)
    assert np.array_equal(tumor_in(nrrd_bytes(), tmp_path, name="#1").voxels, labels() == KIDNEY)
    with pytest.raises(RoiError, match=r"expected the tumor label 3, found only the values 0, 1, 2"):
        tumor_in(nrrd_bytes(), tmp_path, 3)
    with pytest.raises(
        RoiError, match=r"a label called 'Tumor', found only labels without names: 0, 1, 2; give the number"
    ):
        tumor_in(nrrd_bytes(), tmp_path, 2, "Tumor")


def test_the_only_label_is_the_tumor_and_several_are_refused(tmp_path):
    only = np.where(box_tumor(), 7, 0).astype(np.uint8)
    assert np.array_equal(tumor_in(nrrd_bytes(only), tmp_path, 1).voxels, box_tumor())
    for path in (save(nrrd_bytes(), tmp_path / "m.nrrd"), write_nifti(labels(), tmp_path / "m.nii.gz")):
        with pytest.raises(RoiError) as refused:
            read_roi(path, box_volume(), "P1")
        assert refused.value.found == "none called a tumor among 1, 2"
    partly = nrrd_bytes(**slicer(0, "Segment_1"))
    with pytest.raises(RoiError, match="none called a tumor among 1 Segment_1, 2"):
        tumor_in(partly, tmp_path, 1)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_labels_of_a_layer_are_its_values_but_zero(kind, order):
    layer = np.zeros((70, 80, 90), kind, order=order)
    wanted = sorted({1, 7, 100, int(np.iinfo(kind).max) if np.issubdtype(kind, np.integer) else 40_000})
    wanted = [-3, *wanted] if np.issubdtype(kind, np.signedinteger) else wanted
    layer[tuple(np.random.default_rng(1).integers(0, 70, (3, len(wanted))))] = wanted
    assert labels_of(layer) == wanted


def test_layers_without_names_count_from_one(tmp_path):
    kidney = np.zeros(SHAPE, bool)
    kidney[0:5, 8:30, 6:24] = True
    values, fields = layered(kidney, box_tumor())
    assert np.array_equal(tumor_in(nrrd_bytes(values, **fields), tmp_path, 2).voxels, box_tumor())
    with pytest.raises(RoiError, match="none called a tumor among 1, 2"):
        tumor_in(nrrd_bytes(values, **fields), tmp_path, 1)
    numbered, fields = layered(kidney, box_tumor() * 2)
    assert np.array_equal(tumor_in(nrrd_bytes(numbered, **fields), tmp_path, 2).voxels, box_tumor())
    empty, fields = layered(np.zeros(SHAPE), np.zeros(SHAPE), box_tumor())
    assert np.array_equal(tumor_in(nrrd_bytes(empty, **fields), tmp_path, 1).voxels, box_tumor())
    with pytest.raises(RoiError, match="the tumor label 2, found only the values 0, 1 in 3 layers"):
        tumor_in(nrrd_bytes(empty, **fields), tmp_path, 2)
    for layers in ((kidney * 2, box_tumor()), (labels(), box_tumor())):
        values, fields = layered(*layers)
        with pytest.raises(RoiError, match="one label in each layer, found 2 layers without names"):
            tumor_in(nrrd_bytes(values, **fields), tmp_path, 2)


@pytest.mark.parametrize("encode", ["utf-8", "latin-1"])
def test_letters_of_any_language_stay_in_names(tmp_path, encode):
    names = slicer(0, "Riñón") | slicer(1, "Lesión")
    plain = nrrd_bytes(**names)
    head, voxels = plain.split(b"\n\n", 1)
    content = head.decode().encode(encode) + b"\n\n" + voxels
    assert np.array_equal(tumor_in(content, tmp_path, 1).voxels, box_tumor())
    assert roi_names(tmp_path / "m") == ["1 Riñón", "2 Lesión"]
    assert np.array_equal(tumor_in(content, tmp_path, 1, "lesión").voxels, box_tumor())
    assert np.array_equal(tumor_in(content, tmp_path, 1, "RIÑÓN").voxels, labels() == KIDNEY)


def test_lines_that_end_as_on_windows_are_read(tmp_path):
    head, voxels = nrrd_bytes().split(b"\n\n", 1)
    content = head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + voxels
    assert np.array_equal(tumor_in(content, tmp_path).voxels, box_tumor())


def test_labels_that_scaling_moved_a_little_are_rounded_and_told(tmp_path):
    """As nibabel writes floats under an integer header: 1.99999."""
    path = write_nifti(labels() * np.float32(0.99999), tmp_path / "m.nii.gz")
    roi = read_roi(path, box_volume(), "P1", TUMOR)
    assert np.array_equal(roi.voxels, box_tumor())
    assert [(f.code, f.severity, f.case_id) for f in roi.findings] == [("roi-labels-rounded", "note", "P1")]
    path = write_nifti(labels() * np.float32(0.99), tmp_path / "m.nii.gz")
    with pytest.raises(RoiError, match="a label map of whole numbers"):
        read_roi(path, box_volume(), "P1", TUMOR)


def test_voxels_at_the_end_of_the_file_are_read(tmp_path):
    """Byte skip -1 (raw only): whatever stands between header and voxels does not count."""
    content = nrrd_bytes(packed=b"more of a header" + labels().tobytes(), byte_skip="-1")
    assert np.array_equal(tumor_in(content, tmp_path).voxels, box_tumor())
    with pytest.raises(RoiError, match="11503 of 11520 bytes"):
        tumor_in(nrrd_bytes(packed=labels().tobytes()[17:], byte_skip="-1"), tmp_path)
    packed = gzip.compress(labels().tobytes())
    with pytest.raises(RoiError, match="voxels after a skip"):
        tumor_in(nrrd_bytes(None, "gzip", packed, byte_skip="-1"), tmp_path)


def with_names(path, **names):
    """As Connectome Workbench and TotalSegmentator write names of values: in an extension of the NIfTI header."""
    import nibabel

    image = nibabel.load(path)
    labels = "".join(f'<Label Key="{key[1:]}" Red="1">{name}</Label>' for key, name in names.items())
    text = f"<CaretExtension><LabelTable>{labels}</LabelTable></CaretExtension>".encode()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", text))
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header), path)
    return path


def test_names_in_a_nifti_header_choose_the_tumor(tmp_path):
    path = with_names(write_nifti(labels(), tmp_path / "m.nii.gz"), _1="Niere", _2="Nierentumor")
    assert np.array_equal(read_roi(path, box_volume(), "P1").voxels, box_tumor())
    assert np.array_equal(read_roi(path, box_volume(), "P1", 1, "niere").voxels, labels() == KIDNEY)
    assert roi_names(path) == ["1 Niere", "2 Nierentumor"]
    path = with_names(write_nifti(labels(), tmp_path / "n.nii.gz"), _1="kidney_left", _2="kidney_right")
    with pytest.raises(RoiError, match="none called a tumor among 1 kidney_left, 2 kidney_right"):
        read_roi(path, box_volume(), "P1")
    with pytest.raises(RoiError, match="expected a segment that is the tumor, found 1 kidney_left"):
        read_roi(path, box_volume(), "P1", 2)


# ---- what is refused


@pytest.mark.parametrize("form", ["nifti", "nrrd", "nrrd, layers"])
def test_too_many_voxels_are_not_unpacked(tmp_path, form):
    """1024 x 1024 x 1024 zeros in a small file: its header is enough to refuse it."""
    zeros = gzip.compress(bytes(1024**2) * 8)
    size = {"nifti": "", "nrrd": "1024 1024 1024", "nrrd, layers": "64 1024 1024 16"}[form]
    if form == "nifti":
        head = bytearray(gzip.decompress(write_nifti(labels(), tmp_path / "m.nii.gz").read_bytes()))[:352]
        head[40:48] = np.array([3, 1024, 1024, 1024], "<i2").tobytes()
        content = gzip.compress(bytes(head) + bytes(1024**2))
    else:
        directions = {"space_directions": "none (1,0,0) (0,1,0) (0,0,1)"} if "layers" in form else {}
        content = nrrd_bytes(
            np.zeros((1,) * len(size.split()), np.uint8), "gzip", zeros, sizes=size, **directions
        )
    path = save(content, tmp_path / "m")
    tracemalloc.start()
    with pytest.raises(RoiError, match="voxels"):
        read_roi(path, box_volume(), "P1")
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"space": None}, "expected space .*, found space not given"),
        ({"space": "scanner-xyz"}, "found space scanner-xyz"),
        ({"space_directions": None, "spacings": "1 1 1"}, "no space directions"),
        ({"space_origin": None}, "no space origin"),
        ({"space_units": '"cm" "cm" "cm"'}, "units cm"),
        ({"sizes": "48 40"}, "whole NRRD label map|three axes"),
        ({"sizes": "48 40 5"}, "found a file that is cut short .*11520 of 9600 bytes"),
        ({"sizes": "48 40 7"}, "found a file that is cut short .*11520 of 13440 bytes"),
        ({"sizes": "4800000 4000000 6"}, "of at most 33554432 voxels each, found 4800000 x 4000000 x 6"),
        ({"sizes": "48 40 -6"}, "found 48 x 40 x -6 voxels"),
        ({"type": "block"}, "voxels of type block"),
        ({"encoding": "hex"}, "encoding hex"),
        ({"encoding": "gzip"}, "cut short or of another kind"),
        ({"encoding": "bzip2"}, "cut short or of another kind"),
        ({"encoding": None}, "cut short or of another kind"),
        ({"type": "short", "endian": None}, "cut short or of another kind"),
        ({"byte_skip": "5"}, "voxels after a skip"),
        ({"space_directions": "(1,0,0) (1,0,0) (0,0,1)"}, "two parallel directions"),
        ({"space_directions": "(0,0,0) (0,1,0) (0,0,1)"}, "a finite affine with three directions"),
        ({"space_directions": "none (0,1,0) (0,0,1)"}, "2 space directions"),
        ({"space_directions": "(a,0,0) (0,1,0) (0,0,1)"}, "cut short or of another kind"),
    ],
)
def test_headers_that_cannot_be_right_are_refused(tmp_path, changed, words):
    with pytest.raises(RoiError, match=words):
        tumor_in(nrrd_bytes(**changed), tmp_path)


def test_broken_off_and_fractional_nrrds_are_refused(tmp_path):
    content = nrrd_bytes(None, "gzip", gzip.compress(labels().tobytes()))
    for keep in range(4, len(content) - 9, 7):
        with pytest.raises(RoiError, match=r"case P1, ROI m: expected"):
            tumor_in(content[:keep], tmp_path)
    with pytest.raises(RoiError, match="a label map of whole numbers"):
        tumor_in(nrrd_bytes(labels() * np.float32(0.5), type="float"), tmp_path)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("bzip2", bz2.compress)])
def test_a_bomb_stays_packed(tmp_path, encoding, pack):
    """Much more is packed than the header announces; the rest is not unpacked."""
    bomb = nrrd_bytes(None, encoding, pack(labels().tobytes() + bytes(100_000_000)))
    tracemalloc.start()
    with pytest.raises(RoiError, match="more than the 11520 bytes that its header announces"):
        tumor_in(bomb, tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_nifti_bomb_stays_packed(tmp_path):
    nifti = gzip.decompress(write_nifti(labels(), tmp_path / "m.nii.gz").read_bytes())
    (tmp_path / "m.nii.gz").write_bytes(gzip.compress(nifti + bytes(100_000_000)))
    tracemalloc.start()
    with pytest.raises(
        RoiError, match=r"expected a whole NIfTI file .*more than the 11872 bytes that its header"
    ):
        read_roi(tmp_path / "m.nii.gz", box_volume(), "P1", TUMOR)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    for place, spoilt, words in (
        (42, b"\xff\x7f" * 3, "of at most 33554432 voxels, found 32767 x 32767 x 32767"),
        (108, b"\x00\x00\x80\x7f", "inf bytes from the start"),
        (70, b"\x07\x70", "whole NIfTI file"),
    ):
        content = nifti[:place] + spoilt + nifti[place + len(spoilt) :]
        (tmp_path / "m.nii.gz").write_bytes(gzip.compress(content))
        with pytest.raises(RoiError, match=words):
            read_roi(tmp_path / "m.nii.gz", box_volume(), "P1", TUMOR)


def test_a_nifti_header_that_announces_less_than_there_is_is_refused(tmp_path):
    """One column fewer would shift every row, one row fewer every slice."""
    whole = write_nifti(labels(), tmp_path / "m.nii").read_bytes()
    assert np.array_equal(tumor_in(whole, tmp_path).voxels, box_tumor())
    for at, n in ((42, 47), (44, 39), (46, 5)):
        content = bytearray(whole)
        content[at] = n
        with pytest.raises(RoiError, match="more than the "):
            tumor_in(bytes(content), tmp_path)
    with pytest.raises(RoiError, match="more than the 11"):
        tumor_in(whole + bytes(4000), tmp_path)


def test_a_flipped_bit_in_packed_voxels_is_noticed(tmp_path):
    """By the checksum at the end, which is read although all voxels are there before it."""
    packed = bytearray(gzip.compress(labels().tobytes(), compresslevel=0))
    packed[5000] ^= 2
    with pytest.raises(RoiError, match="CRC check failed"):
        tumor_in(nrrd_bytes(None, "gzip", bytes(packed)), tmp_path)
    nifti = gzip.decompress(write_nifti(labels(), tmp_path / "m.nii.gz").read_bytes())
    packed = bytearray(gzip.compress(nifti, compresslevel=0))
    packed[5000] ^= 2
    (tmp_path / "m.nii.gz").write_bytes(packed)
    with pytest.raises(RoiError, match="CRC check failed"):
        read_roi(tmp_path / "m.nii.gz", box_volume(), "P1", TUMOR)


def test_text_longer_than_its_voxels_is_refused(tmp_path):
    with pytest.raises(RoiError, match="more text than voxels"):
        tumor_in(nrrd_bytes(None, "ascii", b"1 " * 400_000), tmp_path)


def test_detached_voxels_must_lie_beside_their_header(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "m.raw").write_bytes(labels().tobytes())
    (tmp_path / "out.raw").write_bytes(labels().tobytes())
    header = folder / "m.nhdr"
    header.write_bytes(nrrd_bytes(packed=b"", data_file="m.raw"))
    assert np.array_equal(read_roi(header, box_volume(), "P1", TUMOR).voxels, box_tumor())
    for name, words in (
        ("../out.raw", "a data file outside the header's folder"),
        (str(tmp_path / "out.raw"), "a data file outside the header's folder"),
        ("gone.raw", "its data file is not next to it"),
        ("LIST", "voxels in several files"),
        ("m%03d.raw 1 6 1", "voxels in several files"),
    ):
        header.write_bytes(nrrd_bytes(packed=b"", data_file=name))
        with pytest.raises(RoiError, match=words):
            read_roi(header, box_volume(), "P1", TUMOR)
    (folder / "link.raw").symlink_to(tmp_path / "out.raw")
    header.write_bytes(nrrd_bytes(packed=b"", data_file="link.raw"))
    with pytest.raises(RoiError, match="a data file outside the header's folder"):
        read_roi(header, box_volume(), "P1", TUMOR)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_a_nifti_of_fractions_is_no_label_map(tmp_path, value):
    path = write_nifti(np.where(box_tumor(), value, 0.0), tmp_path / "m.nii.gz")
    for read in (lambda: read_roi(path, box_volume(), "P1"), lambda: roi_names(path)):
        with pytest.raises(
            RoiError, match=r"ROI m.nii.gz: expected a label map of whole numbers, found fractions"
        ):
            read()


def test_a_damaged_label_map_is_called_by_its_own_kind(tmp_path):
    whole = write_nifti(labels(), tmp_path / "whole.nii.gz").read_bytes()
    path = tmp_path / "m.nii.gz"
    for content in (whole[:60], whole[: len(whole) // 2], whole[:-5], whole[:200] + bytes(40) + whole[240:]):
        path.write_bytes(content)
        with pytest.raises(RoiError) as refused:
            read_roi(path, box_volume(), "P1", TUMOR)
        assert "NIfTI" in refused.value.expected
        assert "NRRD" not in str(refused.value)


def test_bad_names_in_a_header_are_refused(tmp_path):
    for fields in (
        {"org.mitk.multilabel.segmentation.labelgroups": "[{"},
        {"org.mitk.multilabel.segmentation.labelgroups": '[{"labels": [{"name": "x"}]}]'},
        {**slicer(0, "Tumor"), "Segment0_LabelValue": "x"},
    ):
        with pytest.raises(RoiError, match="expected a whole NRRD label map, found a file that is cut short"):
            tumor_in(nrrd_bytes(**fields), tmp_path)


# ---- real files


def test_a_real_nrrd_and_seg_of_one_liver_agree(test_data):
    from nephroscope.intake.export.cases import read_dicom_series

    folder = test_data / "dicom_seg" / "23x38x3"
    volume = read_dicom_series(folder / "image")
    from_nrrd = read_roi(folder / "nrrd" / "label.nrrd", volume, "real")
    from_seg = read_roi(folder / "seg" / "label.seg", volume, "real", tumor_name="#1")
    assert from_nrrd.voxels.sum() == 322
    assert np.array_equal(from_nrrd.voxels, from_seg.voxels)
    assert from_nrrd.findings == ()


def test_a_real_mask_lies_on_its_ct(test_data):
    from nephroscope.imaging.nifti import read_nifti

    volume = read_nifti(test_data / "ct_with_kidneys" / "example_ct.nii.gz")
    roi = read_roi(test_data / "ct_with_kidneys" / "example_seg_fast" / "kidney_left.nii.gz", volume, "real")
    assert roi.findings == ()
    assert roi.voxels.any()
