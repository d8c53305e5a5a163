"""One file for each baseline; each holds a `CANDIDATE`."""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

from nephroscope.base.errors import ConfigError
from nephroscope.learning.baselines.candidate import Candidate


def all_candidates() -> dict[str, Candidate]:
    """Every baseline by name, in the order of their files' names."""
    modules = sorted(module.name for module in iter_modules(__path__))
    found = [import_module(f"{__name__}.{name}").CANDIDATE for name in modules]
    return {candidate.name: candidate for candidate in found}


def candidates_named(names: Sequence[str]) -> list[Candidate]:
    """The baselines of these names.

    Raises:
        ConfigError: There is none of a name.
    """
    known = all_candidates()
    for name in names:
        if name not in known:
            raise ConfigError(
                where="baselines",
                expected=f"one of {', '.join(known)}",
                found=repr(name),
                remedy="correct the name",
            )
    return [known[name] for name in names]
