"""One file for each baseline; each holds a `LEARNER`."""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

from nephroscope.base.errors import ConfigError
from nephroscope.learning.learner import Learner


def all_learners() -> dict[str, Learner]:
    """Every baseline by name, in the order of their files' names."""
    modules = sorted(module.name for module in iter_modules(__path__))
    found = [import_module(f"{__name__}.{name}").LEARNER for name in modules]
    return {candidate.name: candidate for candidate in found}


def learners_named(names: Sequence[str]) -> list[Learner]:
    """The baselines of these names.

    Raises:
        ConfigError: There is none of a name.
    """
    known = all_learners()
    for name in names:
        if name not in known:
            raise ConfigError(
                where="baselines",
                expected=f"one of {', '.join(known)}",
                found=repr(name),
                remedy="correct the name",
            )
    return [known[name] for name in names]
