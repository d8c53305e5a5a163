"""Whether the lengths in a DICOM data set agree: items fill their sequence, elements their item, each tag once.

pydicom reads what it can where they do not, and what lies behind an item that is too long is lost without a word.
Source: DICOM PS3.5 7.1, 7.5, A.4.
"""

import struct
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from nephroscope.imaging.files import DamageError

ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
PIXEL_DATA = (0x7FE0, 0x0010)
UNDEFINED = 0xFFFFFFFF
SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
DEEPEST = 32  # sequences within sequences


def check_lengths(content: bytes, read: Any) -> None:
    """Refuse a file whose lengths contradict each other.

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
