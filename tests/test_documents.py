"""Typed documents: out as JSON and back; every wrong field is named."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from nephroscope.base.documents import as_plain, read_document, save_document
from nephroscope.base.errors import BundleError, StudyError
from nephroscope.records import SliceSpec
from small_study import content_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: str
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    parts: tuple[Part, ...]
    spec: SliceSpec
    state: Literal["open", "closed"] = "open"
    digests: Mapping[str, str] = field(default_factory=dict)
    by_fold: dict[int, float] = field(default_factory=dict)
    path: Path | None = None


WHOLE = Whole(
    parts=(Part(name="a", value=0.1), Part(name="b")),
    spec=SliceSpec(size_px=64),
    digests={"cohort": "x"},
    by_fold={0: 0.5, 1: 0.25},
    path=Path("a") / "b",
)


def write(path, **changes):
    content = content_of(path)
    path.write_text(json.dumps(content | changes))


def test_it_comes_back_as_it_was(tmp_path):
    path = tmp_path / "whole.json"
    save_document(path, WHOLE, 3)
    assert read_document(path, Whole, 3) == WHOLE
    content = content_of(path)
    assert next(iter(content)) == "format"
    assert content["format"] == 3
    assert content["parts"] == [{"name": "a", "value": 0.1}, {"name": "b", "value": None}]
    assert content["path"] == "a/b"


def test_numpy_numbers_become_plain_ones():
    part = Part(name="a", value=np.float64(0.5))
    assert as_plain(part) == {"name": "a", "value": 0.5}


def test_whole_numbers_serve_as_decimals_and_new_fields_are_passed_over(tmp_path):
    path = tmp_path / "whole.json"
    save_document(path, WHOLE, 1)
    write(path, parts=[{"name": "a", "value": 1, "more": 2}])
    assert read_document(path, Whole, 1).parts == (Part(name="a", value=1.0),)


@pytest.mark.parametrize(
    ("changes", "where", "found"),
    [
        ({"parts": [{"name": "a"}, {"value": 1}]}, "whole.json, parts[1].name", "none: the field is missing"),
        ({"parts": [{"name": 7}]}, "whole.json, parts[0].name", "int"),
        ({"parts": None}, "whole.json, parts", "null"),
        ({"spec": {"size_px": "64"}}, "whole.json, spec.size_px", "str"),
        ({"state": "ajar"}, "whole.json, state", "Invalid enum value 'ajar'"),
        ({"digests": {"cohort": 1}}, "whole.json, digests[]", "int"),
    ],
)
def test_the_wrong_field_is_named(tmp_path, changes, where, found):
    path = tmp_path / "whole.json"
    save_document(path, WHOLE, 1)
    write(path, **changes)
    with pytest.raises(StudyError) as caught:
        read_document(path, Whole, 1, remedy="make it again")
    assert (caught.value.where, caught.value.found) == (where, found)
    assert caught.value.remedy == "make it again"


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"a": 1}', "[" * 100_000, "\x00\xff"])
def test_what_is_no_document_is_refused(tmp_path, text):
    path = tmp_path / "whole.json"
    path.write_text(text)
    with pytest.raises(BundleError) as caught:
        read_document(path, Whole, 1, refusal=BundleError)
    assert caught.value.expected == "a JSON object with a format number"


def test_no_file_and_a_newer_format_are_refused(tmp_path):
    path = tmp_path / "whole.json"
    with pytest.raises(StudyError) as caught:
        read_document(path, Whole, 1)
    assert caught.value.found == "no such file"
    save_document(path, WHOLE, 2)
    with pytest.raises(StudyError) as caught:
        read_document(path, Whole, 1)
    assert caught.value.found == "format 2"
