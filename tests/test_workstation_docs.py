"""docs/reference/workstation.md lists every page, data-testid and JSON address, and none that is not there."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("starlette")

from nephroscope.workstation.pages import PAGES, STATIC
from nephroscope.workstation.server import all_routes

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "workstation.md").read_text(encoding="utf-8")
WORDS = set(re.findall(r"`([a-z]+(?:-[a-z0-9]+)+|job)`", PAGE))  # also in a row with others
FILES = [path for path in STATIC.iterdir() if path.suffix in (".js", ".html")]
SCRIPTS = [path.read_text(encoding="utf-8") for path in FILES]
NAME = r"([a-z0-9-]+)"
PLAIN = (
    rf'data-testid="{NAME}"',
    rf'testid: "{NAME}"',
    rf'testid": "{NAME}"',
    rf'testid": [^,;`\n]*\? "{NAME}" :',
)
OTHERS = (rf'testid": [^,;`\n]*\? [^,;\n]*: "{NAME}"',)
MADE = re.compile(r'testid": (?:[^,;`\n]*\? [^,;`\n]* : )?`([^`]+)`')


def ids_in_scripts():
    """Identifiers as they are, and as patterns where a part is put in."""
    plain, patterns = set(), set()
    for script in SCRIPTS:
        text = script.replace("dataset.testid =", '"data-testid":')
        for pattern in (*PLAIN, *OTHERS):
            plain |= set(re.findall(pattern, text))
        for name in re.findall(rf'pathField\(\{{ name: "{NAME}"', text):
            plain |= {name, f"{name}-choose"}
        patterns |= {re.sub(r"\$\{(?:[^{}]|\{[^{}]*\})*\}", "[a-z0-9-]*", one) for one in MADE.findall(text)}
    return plain, patterns - {"[a-z0-9-]*-choose"}


def rows():
    """Identifiers in the first column of the tables of data-testid, and in the sentence about the bar."""
    found = set(re.findall(r"`(frame-[a-z-]+|page-messages)`", PAGE))
    for table in re.findall(r"^\| data-testid \|.*?\n\n", PAGE + "\n", re.MULTILINE | re.DOTALL):
        for line in table.splitlines()[2:]:
            found |= set(re.findall(r"`([a-z][a-z0-9-]+)`", line.split(" | ")[0]))
    return found


def test_every_data_testid_is_listed():
    plain, patterns = ids_in_scripts()
    assert len(plain) > 100
    assert plain - WORDS == set()
    assert [one for one in patterns if not any(re.fullmatch(one, name) for name in WORDS)] == []


def test_every_row_is_a_data_testid():
    plain, patterns = ids_in_scripts()
    text = "".join(SCRIPTS)  # some are handed on by a function, as they are or with a part put in
    quoted = plain | set(re.findall(rf'"{NAME}"', text))
    patterns |= {re.sub(r"\$\{\w+\}", "[a-z0-9-]*", one) for one in re.findall(r"`([a-z][\w${}-]+)`", text)}
    assert {n for n in rows() if n not in quoted and not any(re.fullmatch(p, n) for p in patterns)} == set()


def test_pages():
    listed = set(re.findall(r"^\| `(/[^`]*)` \|", PAGE, re.MULTILINE))
    assert listed == set(PAGES)
    for name in PAGES.values():
        assert (STATIC / name).is_file()


def test_addresses():
    """Method and path of each route, with the names of its parts but not their kinds."""
    routes = {
        (method, re.sub(r":\w+\}", "}", route.path))
        for route in all_routes()
        for method in route.methods - {"HEAD"}
        if route.path.startswith(("/api", "/pages"))
    }
    listed = set(re.findall(r"`(GET|POST) (/[^`? ]+)`", PAGE))
    assert routes - listed == set(), "addresses without a word"
    assert listed - routes == set(), "addresses that there are not"


def test_examples_are_json():
    examples = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) > 10
    for text in examples:
        json.loads(text)
