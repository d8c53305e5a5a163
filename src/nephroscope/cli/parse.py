"""Options from dataclasses: tyro reads the fields of a command and of the settings it takes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import tyro

from nephroscope.cli.outcome import Command
from nephroscope.records.settings import Settings, TrainConfig, with_recipe
from nephroscope.study.folder import open_study

CommandType = TypeVar("CommandType", bound=Command)
_PAIRS = (tyro.conf.OmitArgPrefixes,)  # --augmentation and --no-augmentation, whatever study.toml says
_FLAGS = (*_PAIRS, tyro.conf.FlagCreatePairsOff)


def parse(kind: type[CommandType], name: str, args: Sequence[str]) -> CommandType:
    """The command that ``args`` ask for; settings not named there are the study's, or the recipe's."""
    default: Any = kind.with_settings(_study_settings(args))
    command = _tyro(kind, name, args, default)
    training = getattr(command, "training", None)
    if isinstance(training, TrainConfig) and training.recipe != default.training.recipe:
        default = replace(default, training=with_recipe(default.training, training.recipe))
        command = _tyro(kind, name, args, default)
    return command


def _tyro(kind: type[CommandType], name: str, args: Sequence[str], default: Any) -> CommandType:
    more = {} if default is None else {"default": default}
    config = _PAIRS if hasattr(default, "training") else _FLAGS
    command: CommandType = tyro.cli(kind, prog=f"nephroscope {name}", args=list(args), config=config, **more)
    return command


def _study_settings(args: Sequence[str]) -> Settings | None:
    if any(arg in ("-h", "--help") for arg in args):
        return None
    for arg in args:
        if not arg.startswith("-") and (Path(arg) / "study.toml").is_file():
            return open_study(Path(arg))[1]
    return None
