"""De-identification: names behind pixels, in values of another type, in the label table; numbers of two issuers."""

import re

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import UID, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from compress import rle
from nephroscope.imaging.dicom.codecs import decode_frame
from nephroscope.intake.deidentify.pixels import CUT
from nephroscope.intake.deidentify.pseudonyms import Secrets, linkage_path
from phantoms import write_slices
from test_deidentify import PATIENT, go, item, named_slices, written

SECRET = b"BRANDT^HANS 19300704"
SYNTAX = "1.2.840.10008.1.2.4."


def picture(bits):
    return (np.arange(24 * 32).reshape(24, 32) * 37 % (1 << (bits - 2))).astype(f"<u{bits // 8}")


def with_segment(frame, at, marker, content):
    return frame[:at] + marker + (len(content) + 2).to_bytes(2, "big") + content + frame[at:]


def spoilt_streams():
    """Codec, bits, and a frame with a name where no picture is."""
    jpeg = bytes(imagecodecs.jpeg8_encode(picture(8)))
    ls = bytes(imagecodecs.jpegls_encode(picture(16)))
    j2k = bytes(imagecodecs.jpeg2k_encode(picture(16), level=0, codecformat="j2k"))
    cod = j2k.index(b"\xff\x52")
    in_tile = bytearray(with_segment(j2k, j2k.index(b"\xff\x93"), b"\xff\x64", b"\0\x01" + SECRET))
    length_at = in_tile.index(b"\xff\x90") + 6
    length = int.from_bytes(in_tile[length_at : length_at + 4], "big") + len(SECRET) + 6
    in_tile[length_at : length_at + 4] = length.to_bytes(4, "big")
    return {
        "JPEG, comment after another segment": (
            "50",
            with_segment(with_segment(jpeg, 2, b"\xff\xfe", SECRET), 2, b"\xff\xef", bytes(5000)),
        ),
        "JPEG, behind the end": ("50", jpeg + SECRET),
        "JPEG, Exif": ("50", with_segment(jpeg, 2, b"\xff\xe1", b"Exif\0\0" + SECRET)),
        "JPEG-LS, comment": ("80", with_segment(ls, 2, b"\xff\xfe", SECRET)),
        "JPEG-LS, application": ("80", with_segment(ls, 2, b"\xff\xe8", SECRET)),
        "JPEG 2000, comment": ("90", with_segment(j2k, cod, b"\xff\x64", b"\0\x01" + SECRET)),
        "JPEG 2000, lengths": ("90", with_segment(j2k, cod, b"\xff\x55", SECRET)),
        "JPEG 2000, comment in a tile": ("90", bytes(in_tile)),
        "JPEG 2000, box": ("90", (8 + len(SECRET)).to_bytes(4, "big") + b"uuid" + SECRET + j2k),
        "JPEG 2000, behind the end": ("90", j2k + SECRET),
    }


def as_frame(image, syntax, frame, bits):
    image.Rows, image.Columns = 24, 32
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = bits, bits, bits - 1, 0
    image.file_meta.TransferSyntaxUID = UID(syntax)
    image.PixelData = encapsulate([frame])
    image["PixelData"].VR = "OB"


@pytest.mark.parametrize("name", ["Brandt^Hans", "Kurz^Eva"], ids=["own name", "strange name"])
@pytest.mark.parametrize("where", spoilt_streams())
def test_what_is_no_picture_leaves_a_compressed_stream(tmp_path, where, name):
    number, frame = spoilt_streams()[where]
    bits = 8 if number == "50" else 16
    (image, *_) = named_slices(name=name)
    as_frame(image, SYNTAX + number, frame, bits)
    write_slices([image], tmp_path / "src")
    summary = go(tmp_path, tmp_path / "src")
    assert (summary["n_written"], summary["refused"], summary["doubts"]) == (1, [], {CUT: 1})
    (path,) = written(tmp_path / "dst")
    assert not re.search(b"brandt|hans|19300704", path.read_bytes().lower())
    (copied,) = generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1)
    found = decode_frame(copied, SYNTAX + number, (24, 32), np.dtype(f"<u{bits // 8}"))
    whole = bytes(imagecodecs.jpeg8_encode(picture(8)))
    right = decode_frame(whole, SYNTAX + "50", (24, 32), np.dtype("u1")) if bits == 8 else picture(16)
    assert np.array_equal(found, right)


def test_bytes_behind_native_and_run_length_pixels_go(tmp_path):
    native, coded = named_slices()[:2]
    right = native.PixelData
    native.PixelData = right + b"BRANDT^HANS "
    values = np.frombuffer(coded.PixelData, "<u2").reshape(coded.Rows, coded.Columns)
    coded.file_meta.TransferSyntaxUID = RLELossless
    coded.PixelData = encapsulate([rle(values) + b"BRANDT^HANS "])
    coded["PixelData"].VR = "OB"
    write_slices([native, coded], tmp_path / "src")
    summary = go(tmp_path, tmp_path / "src")
    assert (summary["n_written"], summary["refused"]) == (2, [])
    for path in written(tmp_path / "dst"):
        assert b"BRANDT" not in path.read_bytes()
        file = pydicom.dcmread(path)
        compressed = file.file_meta.TransferSyntaxUID == RLELossless
        found = file.pixel_array.astype("<u2").tobytes() if compressed else file.PixelData
        assert found == (values.tobytes() if compressed else right)


def test_offset_tables_icons_and_long_tables_go(tmp_path):
    (image, *_) = named_slices()
    as_frame(image, JPEGLSLossless, bytes(imagecodecs.jpegls_encode(picture(16))), 16)
    plain = encapsulate([bytes(imagecodecs.jpegls_encode(picture(16)))], has_bot=False)
    image.PixelData = plain[:4] + (12).to_bytes(4, "little") + b"BRANDT^HANS." + plain[8:]
    image["PixelData"].VR = "OB"
    image.ExtendedOffsetTable, image.ExtendedOffsetTableLengths = b"BRANDT^H", b"ANS     "
    inner = image.ReferencedImageSequence[0]
    inner.add_new("PixelData", "OB", b"BRANDT^HANS ")
    lut = item(LUTDescriptor=[4, 0, 16])
    lut.add_new("LUTData", "OW", b"BRANDT^HANS ")
    image.VOILUTSequence = Sequence([lut])
    write_slices([image], tmp_path / "src")
    summary = go(tmp_path, tmp_path / "src")
    assert (summary["n_written"], summary["refused"]) == (1, [])
    assert b"BRANDT" not in written(tmp_path / "dst")[0].read_bytes()


def test_a_compression_that_cannot_be_searched_is_refused(tmp_path):
    (image, *_) = named_slices()
    as_frame(image, SYNTAX + "92", b"\0" * 64, 16)
    write_slices([image], tmp_path / "src")
    summary = go(tmp_path, tmp_path / "src")
    assert (summary["n_written"], summary["n_refused"]) == (0, 1)


def test_values_are_not_believed_by_their_type(tmp_path):
    """Text in the place of a number, a code or a term; a UID or a birth date in a text that is kept."""
    (image, *_) = named_slices()
    image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    image.StudyInstanceUID = "1.2.826.0.1.99.19300704.777"
    image.SoftwareVersions, image.StackID = f"VA44A {image.StudyInstanceUID}", "Dr Zqweiss"
    image.WindowCenter, image.WindowWidth, image.WindowCenterWidthExplanation = 40, 400, "Zqcolleague ABDOMEN"
    image.ManufacturerModelName = "SOMATOM Definition AS+ Zqcolleague"
    image.ScanOptions, image.ImageType = "ZQCOLLEAGUE", ["ORIGINAL", "PRIMARY", "AXIAL", "ZQCOLLEAGUE"]
    image.AnatomicRegionSequence = Sequence(
        [
            item(CodeValue="64033007", CodingSchemeDesignator="SCT", CodeMeaning="Zqcolleague"),
            item(CodeValue="Zqcolleague", CodingSchemeDesignator="SCT", CodeMeaning="Zqcolleague said so"),
        ]
    )
    image.add_new(0x00189997, "CS", "ZQCOLLEAGUE")
    image.SpacingBetweenSlices, image.AcquisitionNumber = "12345678", "87654321"
    image.DataCollectionDiameter, image.TableHeight = "55555555", "151.5"
    write_slices([image], tmp_path / "src")
    (path,) = (p for p in (tmp_path / "src").rglob("*") if p.is_file())
    content = path.read_bytes()
    for number, text in ((b"12345678", b"Zqnurse "), (b"87654321", b"Zqclerk "), (b"55555555", b"04071930")):
        assert number in content
        content = content.replace(number, text)
    path.write_bytes(content)
    summary = go(tmp_path, tmp_path / "src")
    assert (summary["n_written"], summary["refused"]) == (1, [])
    (path,) = written(tmp_path / "dst")
    assert not re.search(rb"zq|04071930", path.read_bytes().lower())
    file = pydicom.dcmread(path)
    assert (file.SoftwareVersions, file.ManufacturerModelName) == ("VA44A", "SOMATOM Definition AS+")
    assert (list(file.ImageType), file.ScanOptions) == (["ORIGINAL", "PRIMARY", "AXIAL", "OTHER"], "")
    assert file.TableHeight == 151.5
    known, own = file.AnatomicRegionSequence
    assert (known.CodeValue, known.CodeMeaning) == ("64033007", "Kidney")
    assert (own.CodingSchemeDesignator, own.CodeMeaning) == ("99LOCAL", "local code")


def test_one_number_of_two_issuers_is_two_patients(tmp_path):
    for issuer, study in (("Clinic A", "1.2.3.1"), ("Clinic B", "1.2.3.2"), ("", "1.2.3.2"), ("", "1.2.3.9")):
        (image, *_) = named_slices()
        image.IssuerOfPatientID, image.StudyInstanceUID = issuer, study
        image.SOPInstanceUID, image.SeriesInstanceUID = f"{study}.{len(issuer) + 1}", f"{study}.7"
        write_slices([image], tmp_path / "src" / f"{study}{issuer}")
    (tmp_path / "labels.csv").write_text(f"patient_id,subtype\n{PATIENT},PRCC\n")
    summary = go(tmp_path, tmp_path / "src", labels=tmp_path / "labels.csv")
    assert (summary["n_patients"], summary["n_written"], summary["n_refused"]) == (2, 3, 1)
    ids = {path.relative_to(tmp_path / "dst").parts[0] for path in written(tmp_path / "dst")}
    alone = Secrets(bytes.fromhex((tmp_path / "secret.key").read_text().split()[-1])).pseudonym(PATIENT)
    assert (len(ids), alone in ids) == (2, True)
    assert (tmp_path / "dst" / "labels.csv").read_text(encoding="utf-8-sig").splitlines()[1] == ",PRCC"
    rows = linkage_path(tmp_path / "secret.key").read_text(encoding="utf-8-sig").splitlines()
    assert rows[1] == f"{PATIENT},{alone},clinic a"
    (image, *_) = named_slices()  # a later export of the second clinic alone: its patient keeps the pseudonym
    image.IssuerOfPatientID = "CLINIC B"
    write_slices([image], tmp_path / "later")
    go(tmp_path, tmp_path / "later", to="again")
    (folder,) = {path.relative_to(tmp_path / "again").parts[0] for path in written(tmp_path / "again")}
    assert folder in ids - {alone}


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS:UserWarning")
@pytest.mark.parametrize("burned_in", ["YES", "yes", "Y", "TRUE"])
def test_burned_in_text_in_any_spelling_is_left_out(tmp_path, burned_in):
    (image, *_) = named_slices()
    image.BurnedInAnnotation = burned_in
    write_slices([image], tmp_path / "src")
    assert (go(tmp_path, tmp_path / "src")["n_left_out"], written(tmp_path / "dst")) == (1, [])


def test_names_of_the_label_table_are_searched_everywhere(tmp_path):
    (image, *_) = named_slices()
    image.ManufacturerModelName = "SOMATOM Sensation"
    write_slices([image], tmp_path / "src")
    (tmp_path / "labels.csv").write_text(
        "patient_id,Patient name,Befund,subtype,exclusion_reason,site_id\n"
        f'{PATIENT},"Sensation, Anna","Zqwho, Erna",PRCC,,East\n'
        'Q-2,"Zqnoimage, Hans","Zqwho, Erna",PRCC of Mr Zqnoimage,refused by Zqnoimage,East\n'
        'Q-3,"Zqott, Mia","Zqwho, Erna",ChRCC,wish of miazqott,Zqwho\n',
        encoding="utf-8",
    )
    summary = go(tmp_path, tmp_path / "src", labels=tmp_path / "labels.csv")
    lines = (tmp_path / "dst" / "labels.csv").read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[1:] for line in lines[1:]] == [
        ["PRCC", "", "East"],
        ["", "", "East"],
        ["ChRCC", "", ""],
    ]
    assert summary["labels"]["n_cells_emptied"] == 4
    assert summary["refused"] == []
    assert pydicom.dcmread(written(tmp_path / "dst")[0]).ManufacturerModelName == ""
