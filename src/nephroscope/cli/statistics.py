"""`nephroscope statistics KIND FILE.csv`: the figures and tests of this product on anybody's table of predictions."""

from nephroscope.cli.outcome import Command
from nephroscope.cli.statistics_probabilities import PROBABILITY_STATISTICS
from nephroscope.cli.statistics_readers import READER_STATISTICS

STATISTICS: dict[str, type[Command]] = {**READER_STATISTICS, **PROBABILITY_STATISTICS}
