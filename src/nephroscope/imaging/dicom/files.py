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

from pydicom.datadict import dictionary_VR
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
PIXEL_DATA = (0x7FE0, 0x0010)
MOST_VALUE_BYTES = 64 * 2**20  # of one value of a header; also the size from which a file is read with care
MOST_OBJECT_BYTES = 2**30  # of a SEG or RTSTRUCT
INFLATED_BYTES = 64 * 2**20
INFLATED_RATIO = 100
ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
DEEPEST = 32  # sequences within sequences


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


def read_object(path: Path) -> Any:
    """A whole SEG or RTSTRUCT, with or without preamble, from its file.

    Raises:
        DamageError: It is larger than any, or its lengths contradict each other. What pydicom raises for damage is
            not caught here.
    """
    if path.stat().st_size > MOST_OBJECT_BYTES:
        raise DamageError(f"more than {MOST_OBJECT_BYTES} bytes")
    with opened(path) as file:
        content = b"".join(iter(lambda: file.read(MOST_VALUE_BYTES), b""))
    found = read_partial(io.BytesIO(content), lambda tag, vr, length: tag.group == 0, force=True)
    check_lengths(content, found)
    return found


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


def check_lengths(content: bytes, read: Any) -> None:
    """Refuse a file whose lengths contradict each other: items that do not fill their sequence, elements their item.

    pydicom reads what it can of such a file, and what lies behind an item that is too long is lost without a word.
    Source: DICOM PS3.5 7.1, 7.5, A.4.

    Args:
        content: The whole file, unpacked.
        read: What pydicom read of it, for its transfer syntax.

    Raises:
        DamageError: An item is longer than its sequence, an element than its item, a tag is there twice, or what
            stands between two elements is none.
    """
    start = 132 if content[128:132] == b"DICM" else 0
    start = _meta_end(content, start)
    syntax = read.file_meta.get("TransferSyntaxUID", "") if hasattr(read, "file_meta") else ""
    implicit, little = read.original_encoding
    if syntax:
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    end = len(content.rstrip(b"\0")) if content[-1:] == b"\0" else len(content)
    walk = _Walk(content, bool(implicit), "<" if little else ">")
    walk.elements(start, len(content), open_end=False, depth=0, spare=end)


def _meta_end(content: bytes, at: int) -> int:
    """Where the file meta information, always explicit little endian, ends."""
    while content[at : at + 2] == b"\2\0":
        vr = content[at + 4 : at + 6]
        long = vr in LONG
        (length,) = struct.unpack_from("<L" if long else "<H", content, at + (8 if long else 6))
        at += (12 if long else 8) + length
    return at


class _Walk:
    """One pass over the elements of a data set."""

    def __init__(self, content: bytes, implicit: bool, order: str) -> None:
        self.content, self.implicit = content, implicit
        self.tag = struct.Struct(f"{order}HH")
        self.short, self.long = struct.Struct(f"{order}H"), struct.Struct(f"{order}L")

    def elements(self, at: int, end: int, *, open_end: bool, depth: int, spare: int | None = None) -> int:
        """Pass the elements from ``at`` to ``end``, or to the delimiter where the item has no length.

        ``spare``: where a file ends but for zeros, which may follow the last element.
        """
        if depth > DEEPEST:
            raise DamageError("too many sequences within each other")
        seen: set[tuple[int, int]] = set()
        while at < end:
            if spare is not None and at >= spare:
                return end
            if at + 8 > end:
                raise DamageError(f"{end - at} bytes that belong to no element")
            tag: tuple[int, int] = self.tag.unpack_from(self.content, at)
            if tag == ITEM_END and open_end:
                return at + 8
            if tag in seen or tag[0] == 0xFFFE:
                name = f"({tag[0]:04X},{tag[1]:04X})"
                raise DamageError(
                    f"the attribute {name} twice" if tag in seen else f"{name} outside a sequence"
                )
            seen.add(tag)
            at = self._element(tag, at, end, depth)
        if open_end:
            raise DamageError("an item without an end")
        return at

    def _element(self, tag: tuple[int, int], at: int, end: int, depth: int) -> int:
        """Where the element at ``at`` ends."""
        vr = b"" if self.implicit else self.content[at + 4 : at + 6]
        if self.implicit:
            at, (length,) = at + 8, self.long.unpack_from(self.content, at + 4)
        elif vr in SHORT:
            at, (length,) = at + 8, self.short.unpack_from(self.content, at + 6)
        elif vr in LONG and at + 12 <= end:
            at, (length,) = at + 12, self.long.unpack_from(self.content, at + 8)
        else:
            raise DamageError(f"something that is no attribute at byte {at}")
        if length != UNDEFINED and at + length > end:
            raise DamageError(f"the attribute ({tag[0]:04X},{tag[1]:04X}) longer than what holds it")
        if tag == PIXEL_DATA and length == UNDEFINED:
            return self._fragments(at, end)
        if length == UNDEFINED or vr == b"SQ" or (self.implicit and _is_sequence(tag)):
            # A sequence of an unknown VR is implicit little endian inside (PS3.5 6.2.2).
            inner = _Walk(self.content, True, "<") if vr == b"UN" else self
            return inner._items(at, end if length == UNDEFINED else at + length, length == UNDEFINED, depth)
        return at + int(length)

    def _items(self, at: int, end: int, open_end: bool, depth: int) -> int:
        """Pass the items of a sequence; they fill it exactly, or end with its delimiter."""
        while at < end:
            if at + 8 > end:
                raise DamageError(f"{end - at} bytes between items")
            tag, (length,) = (
                self.tag.unpack_from(self.content, at),
                self.long.unpack_from(self.content, at + 4),
            )
            at += 8
            if tag == SEQUENCE_END and open_end:
                return at
            if tag != ITEM:
                raise DamageError(f"something that is no item at byte {at - 8}")
            if length != UNDEFINED and at + length > end:
                raise DamageError("an item longer than its sequence")
            stop = end if length == UNDEFINED else at + length
            at = self.elements(at, stop, open_end=length == UNDEFINED, depth=depth + 1)
        if open_end:
            raise DamageError("a sequence without an end")
        return at

    def _fragments(self, at: int, end: int) -> int:
        """Pass the fragments of encapsulated pixel data."""
        while at + 8 <= end:
            tag, (length,) = (
                self.tag.unpack_from(self.content, at),
                self.long.unpack_from(self.content, at + 4),
            )
            at += 8
            if tag == SEQUENCE_END:
                return at
            if tag != ITEM or at + length > end:
                break
            at += length
        raise DamageError("pixel data that are cut short")


def _is_sequence(tag: tuple[int, int]) -> bool:
    try:
        return str(dictionary_VR(tag[0] << 16 | tag[1])) == "SQ"
    except KeyError:
        return False
