"""The command laptop: a folder with everything that a computer without rights or network needs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from nephroscope.base.errors import ConfigError
from nephroscope.cli.command import Command, Outcome, PathOption, TextOption


@dataclass(frozen=True, kw_only=True)
class Laptop(Command):
    """Make a folder that runs a bundle on a laptop without administrator rights and without a network.

    It holds the bundle, this program, its packages as wheels with their hashes, and a start script. The laptop needs
    Python of the version given.

    Example: nephroscope laptop my-bundle --out for-the-clinic --platform windows --python 3.12
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Bundle folder."""
    out: Path
    """New folder, at most 250 MB."""
    platform: TextOption = None
    """windows, linux, macos-arm, windows-arm, linux-arm or macos-intel; by default what this computer is."""
    python: TextOption = None
    """Version of Python on the laptop, such as 3.12; by default the one that runs here."""
    wheels: PathOption = None
    """Folder with the wheels, where this computer has no network either; by default pip downloads them."""

    def run(self) -> Outcome:
        """Make it."""
        import sys

        from nephroscope.laptop.folder import make_laptop_folder, this_computer
        from nephroscope.laptop.pins import Target, systems

        known, name = systems(), self.platform or this_computer()
        if name not in known:
            raise ConfigError(
                where="--platform",
                expected=f"one of {', '.join(known)}",
                found=repr(name),
                remedy="correct it",
            )
        python = self.python or f"{sys.version_info.major}.{sys.version_info.minor}"
        made = make_laptop_folder(
            self.bundle, self.out, Target(system=known[name], python=python), self.wheels
        )
        script = "start.cmd" if known[name].is_windows else "start.sh"
        return Outcome(
            data={**asdict(made), "folder": str(made.folder)},
            text=f"wrote {made.folder}: {made.size_mb:.0f} MB for {made.system}, Python {made.python}\n"
            f"next: copy the whole folder to the laptop and start {script} there; README.txt in it says more",
        )
