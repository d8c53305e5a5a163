"""What every command shares: options read from its fields, and what it gives back."""

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Optional, TextIO, TypeVar

import tyro

from nephroscope.base.errors import ConfigError
from nephroscope.records import Estimate, Finding
from nephroscope.records.settings import Settings, TrainConfig, with_recipe
from nephroscope.study.folder import StudyFolder, open_study

StudyPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY")]
SourcePath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
# Options whose default is said in their help: without tyro's "(default: None)". Written with Optional, because of
# `X | None` tyro asks typeguard, whose import takes longer than all else that is done with the options.
PathOption = Annotated[Optional[Path], tyro.conf.arg(metavar="PATH", help_behavior_hint="")]  # noqa: UP045
TextOption = Annotated[Optional[str], tyro.conf.arg(metavar="TEXT", help_behavior_hint="")]  # noqa: UP045
PartName = Annotated[str, tyro.conf.arg(metavar="TEXT", help_behavior_hint="")]  # of an ROI file
CountOption = Annotated[Optional[int], tyro.conf.arg(metavar="INT", help_behavior_hint="")]  # noqa: UP045
NumberOption = Annotated[Optional[float], tyro.conf.arg(metavar="NUMBER", help_behavior_hint="")]  # noqa: UP045
NamesOption = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")]
RunName = Annotated[Optional[str], tyro.conf.arg(name="run", metavar="NAME", help_behavior_hint="")]  # noqa: UP045
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")]

CommandType = TypeVar("CommandType", bound="Command")
_BOTH_FORMS = (tyro.conf.OmitArgPrefixes,)  # --augmentation and --no-augmentation, whatever study.toml says
_ONE_FORM = (*_BOTH_FORMS, tyro.conf.FlagCreatePairsOff)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a command: ``data`` is printed with --json, ``text`` without; ``warning`` always."""

    data: Any
    text: str
    warning: str = ""
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class Command:
    """The options of a command are its fields."""

    json: Switch = field(default=False, kw_only=True)
    """Print one JSON object on stdout."""

    @classmethod
    def with_settings(cls, settings: Settings | None) -> "Command | None":
        """The command with the study's settings as defaults, or None where it takes none."""
        return None

    def run(self) -> Outcome:
        """Do the work and say what came out."""
        raise NotImplementedError

    def goes_on(self, words: Sequence[str]) -> Sequence[str] | None:
        """The command that continues this one after an interruption; None where it starts anew.

        Args:
            words: This command as it was given, without ``nephroscope``.
        """
        return words


@dataclass(frozen=True, kw_only=True)
class StudyCommand(Command):
    """A command on a study."""

    study: StudyPath
    """Study folder."""


@dataclass(frozen=True, kw_only=True)
class RunCommand(StudyCommand):
    """A command on a complete run of a study."""

    run_name: RunName = None
    """Name of the run; by default the last complete run."""

    @property
    def draws(self) -> bool:
        """True where the named run is one of a network that draws."""
        runs = StudyFolder(self.study).segmenters.runs() if self.run_name is not None else ()
        return any(path.name == self.run_name for path in runs)


def parse(kind: type[CommandType], name: str, args: Sequence[str]) -> CommandType:
    """Read the options of a command; settings not given there come from the study, or from the recipe."""
    default: Any = kind.with_settings(_study_settings(args))
    command = _read_options(kind, name, args, default)
    training = getattr(command, "training", None)
    if isinstance(training, TrainConfig) and training.recipe != default.training.recipe:
        default = replace(default, training=with_recipe(default.training, training.recipe))
        command = _read_options(kind, name, args, default)
    return command


def _read_options(kind: type[CommandType], name: str, args: Sequence[str], default: Any) -> CommandType:
    more = {} if default is None else {"default": default}
    config = _BOTH_FORMS if hasattr(default, "training") else _ONE_FORM
    said, prog = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), f"nephroscope {name}"
    try:
        with contextlib.redirect_stderr(said):
            command: CommandType = tyro.cli(kind, prog=prog, args=list(args), config=config, **more)
    except SystemExit as error:
        if not error.code:  # help
            raise
        raise ConfigError(
            where=prog,
            expected="the options that --help lists",
            found=_without_frame(said) or "others",
            remedy=f"see {prog} --help",
        ) from error
    return command


def _without_frame(said: TextIO) -> str:
    """What the option parser says is wrong, in one line, without the frame that it draws."""
    said.seek(0)
    lines = [line.strip(" \n│╭╮╰╯").strip() for line in said]
    wrong = takewhile(lambda line: line.strip("─"), (line for line in lines if not line.startswith("─ ")))
    return " ".join(" ".join(wrong).split())


def _study_settings(args: Sequence[str]) -> Settings | None:
    if any(arg in ("-h", "--help") for arg in args):
        return None
    for arg in args:
        if not arg.startswith("-") and (Path(arg) / "study.toml").is_file():
            return open_study(Path(arg))[1]
    return None


def table(rows: Iterable[Iterable[object]], header: Iterable[str]) -> str:
    """Rows as aligned text columns."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def estimates_text(estimates: dict[str, Estimate]) -> str:
    """One line per estimate; what ends the method of all of them is said once, below."""
    width = max([22, *(len(name) for name in estimates)])
    tails = ["; " + e.method.partition("; ")[2] for e in estimates.values() if e.value is not None]
    tail = tails[0] if len(tails) > 1 and len(set(tails)) == 1 and tails[0] != "; " else ""
    lines = [f"  {name:{width}} {str(estimate).removesuffix(tail)}" for name, estimate in estimates.items()]
    return "\n".join([*lines, *([f"  {'(all)':{width}} {tail[2:]}"] if tail else [])])


def warnings_text(findings: Iterable[Finding]) -> str:
    """A line per finding that is more than a note."""
    return "\n".join(f"{f.severity} [{f.code}]: {f.message}" for f in findings if f.severity != "note")


def findings_as_json(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """Findings as plain objects."""
    return [asdict(finding) for finding in findings]
