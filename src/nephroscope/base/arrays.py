"""Arrays that NumPy saved, read without believing what their header says.

NumPy's own reader evaluates the header, takes as much memory as it asks for, and fails in many ways.

Source: NumPy, "NPY format" (version 1.0, which is what plain numbers are saved as).
"""

import lzma
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

_MAGIC, _START = b"\x93NUMPY\x01\x00", 10
_HEADER = re.compile(
    rb"\{'descr': '(?P<kind>[<>|][iufb][1248])', 'fortran_order': (?P<columns_first>True|False), "
    rb"'shape': \((?P<shape>[0-9, ]{0,100})\), \} *\n"
)
ZIP_ERRORS = (
    *(OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)  # of an archive that is damaged, encrypted or otherwise packed


class ArrayError(ValueError):
    """A file that does not hold the array that it should."""


def array_of(content: bytes) -> npt.NDArray[Any]:
    """The array in the bytes of an NPY file.

    Raises:
        ArrayError: They are not one array of plain numbers.
    """
    form = _Form(content)
    if len(content) - form.offset != form.n_bytes:
        raise ArrayError(f"{len(content) - form.offset} bytes instead of {form.n_bytes}")
    flat: npt.NDArray[Any] = np.frombuffer(content, form.kind, offset=form.offset)
    return flat.reshape(form.shape, order=form.order)


def mapped_array(path: Path) -> npt.NDArray[Any]:
    """The array in an NPY file, read from the disk where it is used.

    Raises:
        ArrayError: The file is not one array of plain numbers.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        form = _Form(file.read(_START + 0xFFFF))
    if not 0 < form.n_bytes == path.stat().st_size - form.offset:
        raise ArrayError(f"{path.stat().st_size - form.offset} bytes instead of {form.n_bytes}")
    mapped: npt.NDArray[Any] = np.memmap(path, form.kind, "r", form.offset, form.shape, form.order)
    return mapped


def arrays_of_archive(path: Path, names: tuple[str, ...], most_bytes: int) -> Mapping[str, npt.NDArray[Any]]:
    """Arrays in an NPZ file, by their names.

    Raises:
        ArrayError: One is missing or not an array of plain numbers, they are larger than ``most_bytes`` together, or
            the archive is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [archive.getinfo(f"{name}.npy") for name in names]
            if sum(part.file_size for part in archive.infolist()) > most_bytes:
                raise ArrayError(f"more than {most_bytes / 1e6:.0f} MB")
            return {name: array_of(archive.read(part)) for name, part in zip(names, parts, strict=True)}
    except ArrayError:
        raise
    except ZIP_ERRORS as error:
        raise ArrayError(f"a damaged file ({type(error).__name__})") from error


class _Form:
    """Kind of numbers, shape and order from the first bytes of an NPY file; ``offset``: where its numbers begin."""

    def __init__(self, head: bytes) -> None:
        length = int.from_bytes(head[8:_START], "little")
        found = _HEADER.fullmatch(head, _START, min(_START + length, len(head)))
        if head[:8] != _MAGIC or found is None or len(head) < _START + length:
            raise ArrayError("no array of plain numbers")
        try:
            self.kind: np.dtype[Any] = np.dtype(found["kind"].decode())
        except TypeError as error:
            raise ArrayError("no kind of number") from error
        self.shape = tuple(int(part) for part in found["shape"].split(b",") if part.strip().isdigit())
        self.order: Literal["F", "C"] = "F" if found["columns_first"] == b"True" else "C"
        self.n_bytes = math.prod(self.shape) * self.kind.itemsize
        self.offset = _START + length
