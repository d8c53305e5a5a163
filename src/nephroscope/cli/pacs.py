"""The commands send, pacs and listen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from nephroscope.cli.command import Command, Outcome


@dataclass(frozen=True, kw_only=True)
class ReadReport(Command):
    """Read the answer in a structured report of nephroscope; with --json it is the one that predict printed.

    Example: nephroscope pacs read answer.dcm --json
    """

    report: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SR")]
    """The report, as `predict --sr` wrote it or a PACS gave it back."""

    def run(self) -> Outcome:
        """Read it."""
        from nephroscope.cli.clinic import prediction_text
        from nephroscope.exchange.read_sr import read_answer

        found = read_answer(self.report)
        return Outcome(data=found, text=prediction_text(found))


PACS = {"read": ReadReport}
