"""`nephroscope statistics KIND FILE.csv`: the figures and tests of this product on anybody's table of predictions."""

from nephroscope.cli.command import Command
from nephroscope.cli.statistics_probabilities import PROBABILITY_STATISTICS
from nephroscope.cli.statistics_readers import READER_STATISTICS
from nephroscope.cli.statistics_tests import TEST_STATISTICS

STATISTICS: dict[str, type[Command]] = {**TEST_STATISTICS, **READER_STATISTICS, **PROBABILITY_STATISTICS}
