"""Open DICOM files of any origin and read their headers; damage raises one of `DICOM_DAMAGE` and nothing else."""

import io
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.dataset import FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from nephroscope.imaging.files import FILE_DAMAGE, DamageError

# pydicom has no common base class of its errors.
DICOM_DAMAGE = (InvalidDicomError, BytesLengthException, *FILE_DAMAGE)
LOGGER = logging.getLogger("pydicom")
UNDEFINED = 0xFFFFFFFF  # a length that is not given
DEFLATED = b"1.2.840.10008.1.2.1.99"
PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
MOST_VALUE_BYTES = 64 * 2**20  # of one value of a header; also the size from which a file is read with care
INFLATED_BYTES = 64 * 2**20
INFLATED_RATIO = 100


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings and log: they quote values of the file. We check what matters ourselves."""
    level = LOGGER.level
    LOGGER.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        LOGGER.setLevel(level)


def read_header(path: Path, tags: Sequence[str | int]) -> Any | None:
    """These attributes of a DICOM file, or None when it is not DICOM or damaged."""
    try:
        with quiet(), opened(path) as file:
            return parse_header(file, tags)[0]
    except DICOM_DAMAGE:
        return None


class _Careful(io.BufferedReader):
    """A large file of which no single value of a header may be large, whatever length is written before it."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MOST_VALUE_BYTES:
            raise DamageError("a value longer than any header has")
        return super().read(size)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file, unpacked if it is deflated, up to a limit.

    Raises:
        ValueError: It unpacks to more than an image of its size can.
    """
    with path.open("rb") as file:
        head = file.read(1024)
        if DEFLATED not in head:
            if os.fstat(file.fileno()).st_size > MOST_VALUE_BYTES:
                with _Careful(io.FileIO(path)) as careful:
                    yield careful
                return
            file.seek(0)
            yield file
            return
        (length,) = struct.unpack_from("<L", head, 140)
        end = 144 + length
        file.seek(end)
        packed = file.read(MOST_VALUE_BYTES + 1)
        if len(packed) > MOST_VALUE_BYTES:
            raise DamageError("more packed bytes than an image has")
    limit = max(INFLATED_BYTES, INFLATED_RATIO * len(packed))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(packed, limit)
    if inflater.unconsumed_tail:
        raise DamageError("it unpacks to far too much")
    plain = head[:end].replace(DEFLATED, b"1.2.840.10008.1.2.1\0\0\0")
    yield io.BytesIO(plain + data)


def parse_header(file: BinaryIO, tags: Sequence[str | int]) -> tuple[Any, int]:
    """These attributes up to the pixel data, and the position in the file where the pixel data begin.

    Files of old exports, without the preamble of 128 bytes and ``DICM``, are read if they begin as DICOM does.

    Raises:
        InvalidDicomError: The file is not DICOM.
    """
    head = file.read(132)
    file.seek(0)
    bare = head[128:] != b"DICM"
    if bare and not _begins_as_dicom(head):
        raise InvalidDicomError("neither preamble nor a first attribute")
    wanted = [Tag(tag) for tag in tags]
    header: Any = read_partial(file, _at_end, specific_tags=wanted, force=bare)
    if "TransferSyntaxUID" not in header.file_meta:
        implicit, little = header.original_encoding
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        header.file_meta = FileMetaDataset(header.file_meta)
        header.file_meta.TransferSyntaxUID = plain if little else ExplicitVRBigEndian
    return header, file.tell()


def _at_end(tag: BaseTag, vr: str | None, length: int) -> bool:
    """True at the pixel data, and at what is no attribute: the zeros of a copy that was not finished.

    Raises:
        DamageError: The length is that of no attribute.
    """
    if tag in PIXEL_TAGS or tag.group == 0:
        return True
    if MOST_VALUE_BYTES < length != UNDEFINED:
        raise DamageError("a value longer than any header has")
    return False


def _begins_as_dicom(head: bytes) -> bool:
    """True when the first attribute belongs to group 2 or 8, near its start, with a usual length."""
    if len(head) < 132:
        return False
    group, element, vr, short, long = struct.unpack_from("<HH2sHxx", head)[:4] + struct.unpack_from(
        "<4xL", head
    )
    explicit = vr in (b"UL", b"OB", b"CS", b"UI", b"DA", b"TM", b"SH") and short <= 256
    return group in (2, 8) and element <= 0x18 and (explicit or long <= 256)


def functional_group(group: Any, shared: Any, name: str) -> Any:
    """A functional group of one frame: its own, or the one that all frames share; None where there is neither."""
    items = group.get(name) or (shared.get(name) if shared is not None else None)
    return items[0] if items else None
