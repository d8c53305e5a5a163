"""What the documentation says runs: its commands parse, its Python runs, every command and setting is told."""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, fields, replace
from importlib import import_module
from pathlib import Path

import pytest

from nephroscope.cli import COMMANDS
from nephroscope.cli.command import parse
from nephroscope.records.settings import Settings
from nephroscope.report.page.drawing import STYLE
from nephroscope.study.folder import settings_as_toml
from test_study import CONFIG, make_study

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(language):
    for page in PAGES:
        for found, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            if found == language:
                yield page.relative_to(ROOT).as_posix(), text


def commands():
    for page, text in blocks("sh"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["nephroscope"]:
                yield pytest.param(words[1:], id=f"{page}: {' '.join(words[1:4])}")


@pytest.mark.parametrize("words", list(commands()))
def test_command_parses(words):
    module, kind, _ = COMMANDS[words[0]]
    command, rest = getattr(import_module(f"nephroscope.cli.{module}"), kind), words[1:]
    if isinstance(command, dict):
        command, rest = command[rest[0]], rest[1:]
    parse(command, words[0], rest)


def test_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    study = make_study(tmp_path / "my-study")
    study.change("training", **asdict(replace(CONFIG, epochs=4)))
    study.change("split", folds=2)
    for name, file in (("ct", "c00"), ("tumor", "c00_seg")):
        shutil.copy(tmp_path / "my-study" / "volumes" / f"{file}.nii.gz", tmp_path / f"{name}.nii.gz")
    monkeypatch.chdir(tmp_path)
    (snippet,) = [text for page, text in blocks("python") if page == "README.md"]
    names = {}
    exec(compile(snippet, "README.md", "exec"), names)  # noqa: S102
    assert sum(names["answer"].probabilities.values()) == pytest.approx(1)
    assert "10 cases" in capsys.readouterr().out


def test_every_command_is_told():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in COMMANDS:
        assert f"nephroscope {name}" in text, name


def test_every_setting_has_a_help_text():
    """The docstring of a settings record is the help of its option."""
    settings = Settings(subtypes=("a", "b"), positive="a")
    toml = settings_as_toml(settings)
    for name in ("cohort", "roi", "slices", "split", "training", "evaluation"):
        record = getattr(settings, name)
        for field in fields(record):
            assert re.search(rf"\b{field.name}\b.*: ", record.__doc__), f"{name}.{field.name}"
            assert f"\n{field.name} = " in toml


def anchors(page):
    """The anchors of a page's headings, as GitHub and MyST make them."""
    for heading in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        yield re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def test_links_anchors_and_pictures_exist():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            file, _, anchor = target.partition("#")
            if "://" in target:
                continue
            other = page.parent / file if file else page
            assert other.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(other), f"{page.name}: {target}"


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs").glob("*/*.md")):
        assert f"\n{page.relative_to(ROOT / 'docs').with_suffix('').as_posix()}\n" in index, page.name


def test_nothing_committed_names_a_registry():
    for path in [*PAGES, *sorted((ROOT / "requirements").glob("*.txt")), ROOT / "pyproject.toml"]:
        text = path.read_text(encoding="utf-8")
        for host in ("files.pythonhosted", "pypi.org", "--index-url", "download.pytorch"):
            assert host not in text, f"{path.name}: {host}"


def test_reference_of_commands_and_settings_is_current():
    """`python docs/make_reference.py` writes it anew."""
    code = (
        "import sys; sys.path.insert(0, 'docs'); import make_reference as m;"
        "print(m.commands_page() == (m.HERE / 'cli.md').read_text(encoding='utf-8'),"
        " m.settings_page() == (m.HERE / 'settings.md').read_text(encoding='utf-8'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_pages_draw_text_in_the_font_that_figures_were_laid_out_with_and_wait_for_pictures():
    """Otherwise labels are cut off, and a printed page has black pictures."""
    folder = ROOT / "src" / "nephroscope" / "report"
    style = (folder / "page" / "style.css.j2").read_text(encoding="utf-8")
    (family,) = re.findall(r"figure svg text \{ font-family: ([^!]*)!important", style)
    assert [name.strip(' "') for name in family.split(",")][:3] == STYLE["font.sans-serif"][:3]
    assert not any("decoding=" in path.read_text(encoding="utf-8") for path in folder.rglob("*.j2"))
