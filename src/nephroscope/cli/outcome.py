"""What a command gives back: data for --json, words for people, and the exit code."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from nephroscope.records import Estimate, Finding
from nephroscope.records.settings import Settings

StudyPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY")]
SourcePath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
OneWay = Annotated[bool, tyro.conf.FlagCreatePairsOff]  # a flag that has no --no-
RunName = Annotated[str | None, tyro.conf.arg(name="run", metavar="NAME")]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a command: ``data`` is printed with --json, ``text`` without; ``warning`` always."""

    data: Any
    text: str
    warning: str = ""
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class Command:
    """What every command has."""

    json: OneWay = field(default=False, kw_only=True)
    """Print one JSON object on stdout."""

    @classmethod
    def with_settings(cls, settings: Settings | None) -> "Command | None":
        """The command with the study's settings as defaults, or None where it takes none."""
        return None

    def run(self) -> Outcome:
        """Do it."""
        raise NotImplementedError


def table(rows: Iterable[Iterable[object]], header: Iterable[str]) -> str:
    """Rows as aligned text columns."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def estimates_text(estimates: dict[str, Estimate]) -> str:
    """One line per estimate."""
    return "\n".join(f"  {name:22} {estimate}" for name, estimate in estimates.items())


def findings_as_json(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """Findings as plain objects."""
    return [asdict(finding) for finding in findings]
