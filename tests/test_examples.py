"""Figures printed in the how-tos are those that their commands print, on the tables of docs/examples/."""

import logging
import re
import runpy
import shlex
from pathlib import Path

import pytest

from nephroscope.cli import run
from nephroscope.intake.phantom.patient import draw_roster

ROOT = Path(__file__).parents[1]
HOW_TO = ROOT / "docs" / "how-to"
EXAMPLES = ROOT / "docs" / "examples"
PAGES = ("statistics.md", "readers.md", "plan.md")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
PHANTOM = "nephroscope import phantom my-study --cases 24 --seed 3"
PRINTS = re.compile(r"```sh\n((?:(?!```).)*)```\n\n```text\n((?:(?!```).)*)```", re.DOTALL)


@pytest.fixture(autouse=True)
def _in_a_checkout(monkeypatch):
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.chdir(ROOT)


def page_text(page):
    return (HOW_TO / page).read_text(encoding="utf-8")


def commands_of(shell):
    """Words of each command that needs no study."""
    lines = [shlex.split(line, comments=True) for line in shell.splitlines()]
    return [words[1:] for words in lines if words[:1] == ["nephroscope"] and not needs_a_study(words)]


def needs_a_study(words):
    return any(word.startswith("my-study") for word in words)


def printed():
    """Commands and the lines that stand below them; a page may leave lines out, and says no other."""
    for page in PAGES:
        for number, (shell, text) in enumerate(PRINTS.findall(page_text(page)), start=1):
            if commands_of(shell):
                yield pytest.param(commands_of(shell), text.splitlines(), id=f"{page}, block {number}")


@pytest.mark.parametrize(("commands", "lines"), list(printed()))
def test_commands_print_what_the_page_says(commands, lines, capsys):
    for words in commands:
        assert run(words) == 0
    found = iter("".join(capsys.readouterr()).splitlines())
    for line in lines:
        assert line in found, f"not printed, or not in this order: {line}"


def test_readers_of_the_phantom_study_print_what_the_page_says(tmp_path, monkeypatch, capsys):
    """The cohort that `import phantom` would make, without its images: readers need none."""
    ((_, text),) = [found for found in PRINTS.findall(page_text("readers.md")) if PHANTOM in found[0]]
    monkeypatch.chdir(tmp_path)
    assert run(["new", "my-study", "--subtypes", "PRCC", "ChRCC", "--positive", "PRCC"]) == 0
    cases = [f"SYNTHETIC-{i:04d}" for i in range(1, 25)]
    subtypes = [subtype for subtype, _ in draw_roster(3, 24)]
    tables = {
        "cohort.csv": [
            "case_id,subtype,synthetic",
            *(f"{c},{s},yes" for c, s in zip(cases, subtypes, strict=True)),
        ],
        "series.csv": ["case_id,format,image", *(f"{case},dicom,ct" for case in cases)],
        "rois.csv": ["case_id,author,roi"],
    }
    for file, lines in tables.items():
        (tmp_path / "my-study" / file).write_text("\n".join(lines), encoding="utf-8")
    capsys.readouterr()
    assert run(["readers", "my-study", str(EXAMPLES / "phantom-calls.csv")]) == 0
    assert "".join(capsys.readouterr()) == text


def test_every_command_on_a_table_can_be_pasted():
    """Its table lies in a checkout, unless it is of a study of one's own."""
    for page in ("statistics.md", "readers.md"):
        text = page_text(page)
        for language, shell in BLOCK.findall(text):
            for words in commands_of(shell) if language == "sh" else []:
                if words[0] != "statistics":
                    continue
                tables = [word for word in words if word.endswith(".csv")]
                assert tables, words
                for name in tables:
                    assert (ROOT / name).is_file(), f"{page}: {name}"
        for name in re.findall(r"docs/examples/([\w.-]+\.csv)", text):
            assert (EXAMPLES / name).is_file(), f"{page}: {name}"


def test_first_lines_in_the_page_are_those_of_the_files():
    told = re.findall(r"^\| `([\w-]+\.csv)` \| `([^`]+)` <br> `([^`]+)` \|", page_text("statistics.md"), re.M)
    assert len(told) == 6
    for name, header, row in told:
        first = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
        start, _, end = row.partition("...")
        assert first[0] == header, name
        assert first[1].startswith(start), name
        assert first[1].endswith(end), name


def test_the_papers_table_is_the_same_in_page_and_file():
    (text,) = [found for language, found in BLOCK.findall(page_text("readers.md")) if language == "csv"]
    assert text == (EXAMPLES / "zuo2021-readers.csv").read_text(encoding="utf-8")
    wide = (EXAMPLES / "zuo2021-calls.csv").read_text(encoding="utf-8").splitlines()
    long = {tuple(line.split(",")) for line in text.splitlines()[1:]}
    readers = ("reader 1", "reader 2", "MobileNetV2")
    for case, truth, *calls in (line.split(",") for line in wide[1:]):
        for reader, call in zip(readers, calls, strict=True):
            long.remove((case, truth, reader, call))
    assert not long


def test_the_synthetic_tables_are_those_of_their_script(tmp_path):
    """Nothing in them but what seeds give."""
    runpy.run_path(str(EXAMPLES / "make.py"))["make"](tmp_path)
    made = sorted(path.name for path in tmp_path.iterdir())
    typed = {"zuo2021-calls.csv", "zuo2021-readers.csv"}
    assert {*made, *typed} == {path.name for path in EXAMPLES.glob("*.csv")}
    for name in made:
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes(), name
