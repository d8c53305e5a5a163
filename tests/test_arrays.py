"""Arrays from files: what NumPy wrote is read back, everything else is refused, and nothing else raised."""

import io
import struct
import zipfile

import numpy as np
import pytest

from nephroscope.base.arrays import ArrayError, array_of, arrays_of_archive, mapped_array

VALUES = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def with_header(text, data=b"\0" * 48, version=1):
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text.encode() + data


def form(shape="(2, 3, 4)", kind="'<i2'", order="False"):
    return f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    "array",
    [
        VALUES,
        np.asfortranarray(VALUES),
        VALUES[:0],
        np.float32(3),
        VALUES[0, 0],
        VALUES > 3,
        VALUES.astype(">f8"),
    ],
)
def test_what_numpy_wrote_is_read_back(tmp_path, array):
    (tmp_path / "a.npy").write_bytes(saved(array))
    found = [array_of(saved(array))]
    if np.size(array):
        found.append(mapped_array(tmp_path / "a.npy"))
    for one in found:
        assert (one.dtype, one.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(one, array)


HOSTILE = [
    b"",
    b"\x93NUMPY\x01\x00",
    b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
    saved(VALUES)[:-1],
    saved(VALUES) + b"\0",
    saved(np.array([{1: 2}], dtype=object)),
    saved(np.array(["text"])),
    saved(np.zeros(2, [("a", "<i2")])),
    with_header(form(), version=9),
    *(
        with_header(form(shape))
        for shape in ("(10000000000000, 3, 4)", "(9" + "0" * 80 + ",)", "(-1,)", "(True,)")
    ),
    *(with_header(form(shape)) for shape in ("(1.5,)", "[24]", "()", "(24, 0)", "(" + "1, " * 200 + "24)")),
    *(
        with_header(form(kind=kind))
        for kind in ("'<z9'", "'V0'", "'<f1'", "'|O'", "[('a', '<i2')]", "'<M8[s]'")
    ),
    *(
        with_header(text)
        for text in (form()[:30], "{'descr': '''\n", "__import__('os')\n", "[" * 900, "\x00")
    ),
]


@pytest.mark.parametrize("content", HOSTILE)
def test_another_header_is_refused_before_anything_is_believed(tmp_path, content):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(ArrayError):
        array_of(content)
    with pytest.raises(ArrayError):
        mapped_array(path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ArrayError):
        arrays_of_archive(tmp_path / "a.npz", ("a",), 10**6)


def test_archives_are_bounded_and_any_damage_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("a.npy", saved(VALUES))
        np.testing.assert_array_equal(arrays_of_archive(path, ("a",), 10**6)["a"], VALUES)
        with pytest.raises(ArrayError, match="KeyError"):
            arrays_of_archive(path, ("a", "b"), 10**6)
        with pytest.raises(ArrayError, match="more than"):
            arrays_of_archive(path, ("a",), 100)
        content, chance, n_refused = path.read_bytes(), np.random.default_rng(int(method)), 0
        for _ in range(300):
            other = bytearray(content)
            other[chance.integers(len(other))] = chance.integers(256)
            path.write_bytes(other)
            try:
                found = arrays_of_archive(path, ("a",), 10**6)
            except ArrayError:
                n_refused += 1
                continue
            np.testing.assert_array_equal(found["a"], VALUES)
        assert n_refused > 100
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ArrayError):
            arrays_of_archive(path, ("a",), 10**6)
    with pytest.raises(ArrayError):
        arrays_of_archive(tmp_path / "none.npz", ("a",), 10**6)
