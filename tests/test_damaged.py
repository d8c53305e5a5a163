"""Damaged and hostile files of every kind: refused with a reason, in little time and memory; never a crash."""

import contextlib
import gzip
import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

import fuzz
from nephroscope.base.errors import NephroscopeError
from nephroscope.imaging.dicom.series import read_dicom_series
from nephroscope.imaging.nifti import read_nifti
from nephroscope.imaging.read import read_ct, read_roi
from nephroscope.intake.export.cases import look_into
from nephroscope.intake.labels.rows import read_labels
from phantoms import box_volume, dicom_slices, write_nifti, write_slices

BOMB_BYTES = 2**28  # of zeros; packed a thousandth of that
MOST_BYTES = 2**27  # a reader may take while it refuses


@pytest.mark.parametrize("kind", sorted(fuzz.KINDS))
def test_damage_is_refused_or_harmless(kind):
    """A few hundred damaged files of a kind; `python tests/fuzz.py` goes on for as long as it is let."""
    result = fuzz.fuzz(seconds=1.5, seed=1, kinds=[kind])[kind]
    assert result["tried"] > 20
    assert kind == "dicom-scan" or result.get("refused", 0) > 0
    assert result["wrong"] == {}


def gz_bomb(folder):
    head = write_nifti(np.zeros((4, 4, 4), np.int16), folder / "small.nii").read_bytes()
    path = folder / "bomb.nii.gz"
    path.write_bytes(gzip.compress(head + bytes(BOMB_BYTES), compresslevel=1))
    return path


def absurd_nifti(folder):
    content = bytearray(write_nifti(np.zeros((4, 4, 4), np.int16), folder / "small.nii").read_bytes())
    content[40:56] = struct.pack("<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1)
    path = folder / "absurd.nii"
    path.write_bytes(content)
    return path


def nrrd(folder, encoding, data, sizes="4 4 4", more=""):
    path = folder / "mask.nrrd"
    head = (
        f"NRRD0004\ntype: unsigned char\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\n"
        f"space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nencoding: {encoding}\n{more}\n"
    )
    path.write_bytes(head.encode() + data)
    return path


def png_bomb(folder):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    path = folder / "bomb.png"
    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    packed = zlib.compress(bytes(2**24))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )
    return path


def xlsx_bomb(folder):
    path = folder / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book:
        book.writestr("[Content_Types].xml", "<Types/>")
        book.writestr("xl/workbook.xml", "<workbook/>")
        with book.open("xl/worksheets/sheet1.xml", "w") as sheet:
            for _ in range(BOMB_BYTES // 2**20):
                sheet.write(bytes(2**20))
    return path


FILES = {
    "gzip bomb as NIfTI": (gz_bomb, read_nifti),
    "absurd dimensions in NIfTI": (absurd_nifti, read_nifti),
    "gzip bomb as NRRD": (
        lambda folder: nrrd(folder, "gzip", gzip.compress(bytes(BOMB_BYTES), compresslevel=1)),
        lambda path: read_roi(path, box_volume(), "c"),
    ),
    "absurd dimensions in NRRD": (
        lambda folder: nrrd(folder, "raw", b"x", sizes="99999 99999 99999"),
        lambda path: read_roi(path, box_volume(), "c"),
    ),
    "NRRD whose data climb out": (
        lambda folder: nrrd(folder, "raw", b"", more="data file: ../../../../../etc/passwd\n"),
        lambda path: read_roi(path, box_volume(), "c"),
    ),
    "decompression bomb as PNG": (png_bomb, lambda path: read_ct(path, 40, 400, 1.0)),
    "zip bomb as spreadsheet": (xlsx_bomb, read_labels),
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_in_little_memory(tmp_path, name):
    build, read = FILES[name]
    path = build(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(NephroscopeError) as refused:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    assert "root:" not in str(refused.value)


def deflate_bomb(images):
    """A deflated data set that unpacks to far more than a slice."""
    one = images[2]
    one.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    one.private_block(0x0029, "X", create=True).add_new(0x10, "OB", bytes(BOMB_BYTES))


def absurd_rows(images):
    for image in images:
        image.Rows = image.Columns = 65535


@pytest.mark.parametrize("spoil", [deflate_bomb, absurd_rows])
def test_a_hostile_slice_is_refused_or_harmless(tmp_path, spoil):
    images = dicom_slices("P1")
    spoil(images)
    write_slices(images, tmp_path / "bad")
    write_slices(dicom_slices("P2"), tmp_path / "good")
    with contextlib.suppress(NephroscopeError):
        assert read_dicom_series(tmp_path / "bad").hu.shape == (6, 40, 48)
    good = [row for row in look_into(tmp_path)[1] if row.patient_id == "P2"]
    assert [row.accepted for row in good] == [True]


@pytest.mark.parametrize("closed", [True, False])
def test_endless_nesting_is_refused(tmp_path, closed):
    """DICOM has no pointers, so a cycle of sequences is nesting without end."""
    write_slices(dicom_slices("P1"), tmp_path)
    path = tmp_path / "IM002"
    content = path.read_bytes()
    at = content.index(b"\x10\x00\x10\x00PN")
    begin = b"\x08\x00\x15\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    path.write_bytes(content[:at] + begin * 5000 + end * 5000 * closed + content[at:])
    with pytest.raises(NephroscopeError, match="is cut short or damaged"):
        read_dicom_series(tmp_path)
    assert [file.name for file in look_into(tmp_path)[0].damaged] == ["IM002"]


def test_fuzzing_would_notice_a_crash(monkeypatch):
    """The harness itself can fail: a reader that raises something else is counted."""

    def broken(path):
        if path.read_bytes()[:4] != b"case":
            raise ZeroDivisionError
        return np.zeros(1)

    made = fuzz.targets
    monkeypatch.setattr(
        fuzz,
        "targets",
        lambda folder: {"csv": fuzz.Target(made(folder)["csv"].content, broken, folder / "labels.csv")},
    )
    assert "ZeroDivisionError" in fuzz.fuzz(1.0, 0, ["csv"])["csv"]["wrong"]


def test_pydicom_itself_reads_what_we_call_whole(tmp_path):
    """The clean files of the corpus are clean."""
    made = fuzz.targets(tmp_path)
    assert made.keys() == fuzz.KINDS
    for kind in ("dicom", "rtstruct", "seg-binary"):
        assert pydicom.dcmread(io.BytesIO(made[kind].content)).PatientID == "P1"
