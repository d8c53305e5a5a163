"""Statistics of several readers: `nephroscope statistics mrmc` and `kappa`."""

from nephroscope.cli.outcome import Command

READER_STATISTICS: dict[str, type[Command]] = {}
