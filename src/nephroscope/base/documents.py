"""Typed documents as JSON: a dataclass and its format number to a file, and back, checked field by field."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from nephroscope.base.errors import ConfigError, NephroscopeError, StudyError
from nephroscope.base.files import CHECKSUM, digest_of, save_json
from nephroscope.base.limits import NestingError, parse_json

Document = TypeVar("Document")
AGAIN = "remove the file and run the step that makes it again"
_AT = re.compile(r"(?P<what>.*?)(?: - at `(?P<at>[^`]*)`)?", re.DOTALL)
_EXPECTED = re.compile(r"Expected (?P<expected>.*?), got (?P<found>.*)", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")


def save_document(path: Path, document: object, number: int) -> None:
    """Write a dataclass as an indented JSON object that begins with ``"format": number``, whole or not at all.

    Paths become text with forward slashes; tuples become lists.
    """
    save_json(path, {"format": number, **as_plain(document)})


def as_plain(document: object) -> dict[str, object]:
    """The fields of a dataclass as plain JSON values, nested ones too."""
    plain: dict[str, object] = msgspec.to_builtins(document, enc_hook=_plain)
    return plain


def plain_json(document: object) -> dict[str, object]:
    """The fields of a dataclass as they are read back from JSON: tuples are lists."""
    plain: dict[str, object] = json.loads(json.dumps(as_plain(document)))
    return plain


def read_document(
    path: Path,
    kind: type[Document],
    newest: int,
    remedy: str = AGAIN,
    refusal: type[NephroscopeError] = StudyError,
) -> Document:
    """A dataclass from one of our JSON files. Fields that the dataclass does not have are passed over.

    Args:
        path: The file.
        kind: The dataclass, with defaults for the fields that older formats lack.
        newest: Highest format number that this program reads.
        remedy: What to do when the file is damaged.
        refusal: Kind of the refusal.

    Raises:
        NephroscopeError: Of the kind ``refusal``: the file cannot be read, is no JSON object, is of a newer format,
            or a field is missing or holds something else; the field is named.
    """
    content = _content(path, newest, remedy, refusal)
    document = from_plain(content, kind, path.name, remedy, refusal)
    _compare_checksum(path, content, remedy, refusal)
    return document


def from_plain(
    content: object,
    kind: type[Document],
    where: str,
    remedy: str = AGAIN,
    refusal: type[NephroscopeError] = StudyError,
) -> Document:
    """A dataclass from plain JSON values.

    Raises:
        NephroscopeError: Of the kind ``refusal``: a field is missing or holds something else; the field is named.
    """
    try:
        return msgspec.convert(content, kind, str_keys=True, dec_hook=_typed)
    except msgspec.ValidationError as error:
        place, expected, found = _explained(str(error))
        field = f"{where}, {place}" if place else where
        raise refusal(where=field, expected=expected, found=found, remedy=remedy) from error


def read_object(
    path: Path, newest: int, remedy: str = AGAIN, refusal: type[NephroscopeError] = StudyError
) -> dict[str, object]:
    """The JSON object in a file, with a format number of at most ``newest``; its fields are not checked.

    Raises:
        NephroscopeError: Of the kind ``refusal``: the file cannot be read, is no JSON object, of a newer format, or
            not as it was written.
    """
    content = _content(path, newest, remedy, refusal)
    _compare_checksum(path, content, remedy, refusal)
    content.pop(CHECKSUM, None)
    return content


def _compare_checksum(
    path: Path, content: Mapping[str, object], remedy: str, refusal: type[NephroscopeError]
) -> None:
    """Refuse a file that is not as it was written; those of older versions have no checksum."""
    rest = {name: value for name, value in content.items() if name != CHECKSUM}
    if CHECKSUM in content and content[CHECKSUM] != digest_of(rest):
        raise refusal(
            where=f"{path.name}, {CHECKSUM}",
            expected="the file as it was written",
            found="that something in it was changed since, by hand or by damage",
            remedy=remedy,
        )


def _content(path: Path, newest: int, remedy: str, refusal: type[NephroscopeError]) -> dict[str, object]:
    try:
        content: Any = parse_json(path.read_text(encoding="utf-8"))
        number = content["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise refusal(
            where=path.name,
            expected="a JSON object with a format number",
            found=_why(error),
            remedy=remedy,
        ) from error
    if type(number) is not int or not 1 <= number <= newest:
        raise refusal(
            where=path.name,
            expected=f"format {newest} or older",
            found=f"format {number}",
            remedy="it was written by a newer nephroscope: update this one",
        )
    return dict(content)


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return "a damaged or different file" + (f": {error}" if isinstance(error, NestingError) else "")


def _explained(message: str) -> tuple[str, str, str]:
    """Field (``spec.size_px``), what was expected there and what was found, from msgspec's message."""
    parts = _AT.fullmatch(message)
    what, at = (parts["what"], parts["at"] or "") if parts else (message, "")
    place = at.removeprefix("$").removeprefix(".").replace("[...]", "[]")
    missing = _MISSING.fullmatch(what)
    if missing:
        name = f"{place}.{missing['name']}".removeprefix(".")
        return name, "a value", "none: the field is missing"
    said = _EXPECTED.fullmatch(what)
    if said:
        return place, said["expected"].replace("`", ""), said["found"].replace("`", "")
    return place, "a valid value", what.replace("`", "")


def _plain(value: object) -> object:
    """JSON value of what msgspec does not know: paths, and single NumPy numbers."""
    if isinstance(value, Path):
        return value.as_posix()
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    raise TypeError(f"{type(value).__name__} has no place in a document")


def _typed(kind: type[Any], value: object) -> object:
    """The value of a type that msgspec does not know, from its JSON value."""
    if issubclass(kind, Path) and isinstance(value, str):
        return Path(value)
    raise TypeError(f"{kind.__name__} has no place in a document")


Record = TypeVar("Record")


def from_mapping(kind: type[Record], values: object, where: str) -> Record:
    """A configuration record from a TOML table or JSON object, refusing names and types it does not have.

    Raises:
        ConfigError: It is no table, a key is unknown, or a value has another type than the default.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(
            where=where, expected="a table of settings", found=repr(values), remedy="correct it, or remove it"
        )
    known = {f.name: f for f in fields(cast(Any, kind))}
    lists: dict[str, tuple[str, ...]] = {}
    for name, value in values.items():
        if name not in known:
            expected, remedy = f"one of {', '.join(known)}", "correct the name, or remove the line"
            raise ConfigError(where=f"{where}.{name}", expected=expected, found=repr(name), remedy=remedy)
        default = known[name].default
        if isinstance(default, tuple) and isinstance(value, list) and all(isinstance(v, str) for v in value):
            lists[name] = tuple(value)
            continue
        wanted = (int, float) if isinstance(default, float) else (type(default),)
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            expected, remedy = f"a {type(default).__name__} such as {default!r}", "correct the value"
            raise ConfigError(where=f"{where}.{name}", expected=expected, found=repr(value), remedy=remedy)
    return kind(**{**values, **lists})
