"""Statistics of probabilities: `nephroscope statistics calibration`, `decision-curve`, `operating-point` and `coverage`."""

from nephroscope.cli.outcome import Command

PROBABILITY_STATISTICS: dict[str, type[Command]] = {}
