"""The command workstation: a study or a bundle in the browser of this computer."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nephroscope.cli.command import Command, Outcome, PathOption, Switch

if TYPE_CHECKING:
    from nephroscope.workstation.server import Address

FolderPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]


@dataclass(frozen=True, kw_only=True)
class Workstation(Command):
    """Open a study or a bundle in the browser; nothing leaves this computer. Ctrl-C ends it.

    Example: nephroscope workstation my-study
    """

    folder: FolderPath
    """Study; bundle; or a new or empty folder, in which the browser then makes a study."""
    port: int = 0
    """Port on this computer; 0 takes a free one."""
    no_browser: Switch = False
    """Only print the address."""
    data: PathOption = None
    """For a bundle: folder for what is drawn and answered; by default in your own application data."""

    def run(self) -> Outcome:
        """Serve until it is interrupted."""
        from nephroscope.workstation.server import serve

        serve(self.folder, self.data, self.port, self._say)
        return Outcome(data=None, text="stopped; jobs that are at work go on")

    def _say(self, address: "Address") -> None:
        line = json.dumps(asdict(address)) if self.json else f"open {address.url}\nCtrl-C ends it"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        if not self.no_browser:
            import threading
            import webbrowser

            threading.Thread(target=webbrowser.open, args=(address.url,), daemon=True).start()
