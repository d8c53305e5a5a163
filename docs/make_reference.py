"""Write docs/reference/cli.md and settings.md from the program itself: `python docs/make_reference.py`."""

import contextlib
import io
import os
from importlib import import_module
from pathlib import Path

from nephroscope.cli import COMMANDS, run
from nephroscope.records.settings import Settings
from nephroscope.study.folder import settings_as_toml

HERE = Path(__file__).resolve().parent / "reference"
INTRO = """# Commands

Every command, with its options, as `nephroscope COMMAND --help` prints it. With `--json`, every command prints one
JSON object on stdout and messages on stderr. Exit codes: 0 done; 2 refused; 3 done for some cases and refused for
others; 130 interrupted; 1 a bug of ours.
"""


def help_of(*command: str) -> str:
    """What a command prints for --help, at 100 columns, without colors."""
    os.environ.update(COLUMNS="100", NO_COLOR="1", TERM="dumb")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        run([*command, "--help"])
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def subcommands(name: str) -> list[str]:
    """Names of the commands below a group; none for a command."""
    module, attribute, _ = COMMANDS[name]
    table = getattr(import_module(f"nephroscope.cli.{module}"), attribute)
    return list(table) if isinstance(table, dict) else []


def commands_page() -> str:
    """The page of all commands."""
    parts = [INTRO]
    for name, (_, _, summary) in COMMANDS.items():
        below = subcommands(name)
        parts.append(f"## {name}\n\n{summary[0].upper()}{summary[1:]}.\n")
        if not below:
            parts.append(f"```text\n{help_of(name)}\n```\n")
        parts += [f"### {name} {sub}\n\n```text\n{help_of(name, sub)}\n```\n" for sub in below]
    return "\n".join(parts)


def settings_page() -> str:
    """The page of study.toml: what `nephroscope new` writes."""
    text = settings_as_toml(Settings(subtypes=("PRCC", "ChRCC"), positive="PRCC"))
    return (
        "# Settings\n\nstudy.toml as `nephroscope new my-study` writes it: every setting with its default and\n"
        "what it does. Wrong names and values are refused; the message names the setting.\n\n"
        f"```toml\n{text.strip()}\n```\n"
    )


if __name__ == "__main__":
    for name, page in (("cli.md", commands_page()), ("settings.md", settings_page())):
        (HERE / name).write_text(page, encoding="utf-8")
