"""nephroscope: classify renal tumor subtypes on CT, by patient and with confidence intervals. Research use only."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nephroscope.base.machine import wait_asleep
from nephroscope.base.offline import send_nothing
from nephroscope.base.version import __version__

send_nothing()  # before any package that would report its use
wait_asleep()  # before any library with threads

if TYPE_CHECKING:
    from nephroscope.facade.bundle import Bundle as Bundle
    from nephroscope.facade.run import Run as Run
    from nephroscope.facade.study import Study as Study
    from nephroscope.imaging.read import read_ct as read_ct
    from nephroscope.imaging.read import read_roi as read_roi

__all__ = ["Bundle", "Run", "Study", "__version__", "read_ct", "read_roi"]
_MODULES = {
    "Bundle": "facade.bundle",
    "Run": "facade.run",
    "Study": "facade.study",
    "read_ct": "imaging.read",
    "read_roi": "imaging.read",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that ``import nephroscope`` stays light."""
    if name not in _MODULES:
        raise AttributeError(f"module 'nephroscope' has no attribute {name!r}")
    return getattr(import_module(f"nephroscope.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
