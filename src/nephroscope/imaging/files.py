"""What a file is, by its first bytes, and what messages may call it without showing a patient's name."""

import re
import struct
import zlib
from pathlib import Path

from nephroscope.base.limits import NestingError

# What parsers of image files raise for damaged files, by experience. RecursionError is a RuntimeError, UnicodeError a
# ValueError, IndexError and KeyError are LookupErrors.
FILE_DAMAGE = (
    *(
        ArithmeticError,
        AssertionError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        NotImplementedError,
    ),
    *(OSError, RuntimeError, TypeError, ValueError, struct.error, zlib.error),
)


class DamageError(ValueError):
    """What is wrong with a file, in words for the person who has it."""


def damage_words(error: BaseException) -> str:
    """What a parser's error says about a file, without names of Python: ``no Rows``, ``it is cut short``.

    Their own messages may quote values, which may be a patient's; only names of attributes are taken from them.
    """
    if isinstance(error, DamageError | NestingError):
        return str(error)
    if isinstance(error, MemoryError):
        return "more than the memory holds"
    if isinstance(error, (EOFError, struct.error)):
        return "it is cut short"
    missing = error.args[0] if isinstance(error, KeyError) and error.args else getattr(error, "name", None)
    if isinstance(missing, str) and re.fullmatch(r"[A-Za-z][\w ]{2,60}", missing):
        return f"no {missing}"
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return error.strerror or (str(error) if "CRC" in str(error) else "its content is damaged")
    return "its content is damaged"


GZIP = b"\x1f\x8b"
NIFTI1_SIZES = (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c")  # the header begins with its own size, 348
NIFTI2_SIZES = (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # 540
# How DICOM without a preamble begins: group and element of its first attribute.
BARE_DICOM = tuple(
    bytes(tag) for tag in ((2, 0, 0, 0), (8, 0, 5, 0), (8, 0, 8, 0), (8, 0, 18, 0), (8, 0, 22, 0))
)
MAGIC = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"NRRD": "nrrd"}
NO_FILE, NOT_READABLE = "no file", "no readable file"
LABEL_MAPS = ("nifti", "nrrd")
# Words in file names that name no one; those of the first group also run together, such as ``CTSLICE``.
_USUAL_WORD = re.compile(
    r"(ct|mr|pt|sc|im|img|image|i|s|se|ser|series|slice|dicom|dcm|ima|file|frame|scan|export|instance|copy|x|of"
    r"|nii|gz|nrrd|nhdr|mha|mhd|hdr|mgz|mgh|npy|npz|mat|stl|vtk|tiff?|bmp|txt|xml|json|zip|seg|mask)*"
    r"|cts|jpe?g|kidneys?|left|lesion|map|organs?|png|reader|right|roi|label(s|map)?|rt|rts|rtstruct"
    r"|seg(ment|mentation)|struct|tumou?r",
    re.IGNORECASE,
)


def file_kind(path: Path) -> str:
    """What a file is by its first bytes: dicom, png, jpeg, nifti, nrrd, or in words what else was found."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError as error:
        return NO_FILE if isinstance(error, FileNotFoundError) else NOT_READABLE
    if start[128:132] == b"DICM" or start.startswith(BARE_DICOM):
        return "dicom"
    if start.startswith(GZIP) or start[:4] in (*NIFTI1_SIZES, *NIFTI2_SIZES):
        return "nifti"
    return next((kind for begin, kind in MAGIC.items() if start.startswith(begin)), "a file of another kind")


def safe_name(path: Path, case_id: str = "", letters: bool = True) -> str:
    """The name of a file if only the case ID, numbers and usual words are in it; otherwise its size and suffix.

    Args:
        path: The file.
        case_id: Pseudonym of the case, which may be in the name.
        letters: Single letters are allowed too, as in names of ROI files; elsewhere they may be initials.
    """
    if _names_no_one(path.name.replace(case_id, " ") if case_id else path.name, letters):
        return path.name
    size = f" of {path.stat().st_size} bytes" if path.is_file() else ""
    return f"a file{size}{f' ({path.suffix})' if path.suffix and _names_no_one(path.suffix) else ''}"


def file_name(path: Path) -> str:
    """The same as a noun: ``file IM0001``, ``a file of 512 bytes (.dcm)``."""
    name = safe_name(path, letters=False)
    return f"file {name}" if name == path.name else name


def folder_name(path: Path) -> str:
    """The name of a folder if only numbers and usual words are in it: others may be a patient's name."""
    return f"folder {path.name}" if _names_no_one(path.name) else "the folder of the series"


def _names_no_one(name: str, letters: bool = False) -> bool:
    words = re.split(r"[\W\d_]+", name)
    return all(_USUAL_WORD.fullmatch(word) or (letters and len(word) == 1) for word in words)
