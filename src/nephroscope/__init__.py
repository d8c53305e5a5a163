"""nephroscope: tell renal tumor subtypes apart on CT, by patient and with intervals. Research use only."""

from typing import TYPE_CHECKING

from nephroscope.base.version import __version__

if TYPE_CHECKING:
    from nephroscope.facade import Study as Study

__all__ = ["Study", "__version__"]


def __getattr__(name: str) -> object:
    """Load `Study` when it is first asked for, so that ``import nephroscope`` stays light."""
    if name == "Study":
        from nephroscope.facade import Study

        return Study
    raise AttributeError(f"module 'nephroscope' has no attribute {name!r}")
