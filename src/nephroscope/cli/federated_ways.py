"""The commands federate relay and flower: ways for archives between hospitals, until interrupted."""

import json
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from nephroscope.base.lock import writing
from nephroscope.cli.command import Command, Outcome, Switch, TextOption


@dataclass(frozen=True, kw_only=True)
class Relay(Command):
    """Serve the archives of a group over TLS, to callers with its certificates only, until interrupted.

    Example: nephroscope federate relay relay --host 0.0.0.0 --port 8443
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """The folder relay/ of the coordinator's group, or a copy of it on another computer."""
    host: str = "127.0.0.1"
    """Address of this computer to listen at; 0.0.0.0 is every one."""
    port: int = 8443
    """Port to listen at."""

    def run(self) -> Outcome:
        """Serve."""
        from nephroscope.federated.relay import serve_relay

        with writing(self.folder, "federate relay"):
            serve_relay(self.folder, self.host, self.port, self._say)
        return Outcome(data=None, text="stopped")

    def _say(self, port: int) -> None:
        line = json.dumps({"host": self.host, "port": port}) if self.json else f"relay at {self.host}:{port}"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


@dataclass(frozen=True, kw_only=True)
class Renew(Command):
    """Make new certificates of a group, for three years from today; keys, plan and rounds stay.

    Example: nephroscope federate renew renal-group
    """

    group: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="GROUP")]
    """Folder of the group."""

    def run(self) -> Outcome:
        """Renew them."""
        from nephroscope.federated.group_place import GroupPlace
        from nephroscope.federated.renewal import renew

        place = GroupPlace(self.group.resolve())
        with writing(place.folder, "federate renew"):
            paths = renew(place)
        first = "copy relay/ to the computer of the relay, and " if place.relay else ""
        text = (
            f"made new certificates; {first}start the relay or Flower again. Hand out the invitations, "
            f"{', '.join(path.name for path in paths)}: each site runs nephroscope federate join STUDY INVITATION"
        )
        return Outcome(data={"invitations": [str(path) for path in paths]}, text=text)


@dataclass(frozen=True, kw_only=True)
class Flower(Command):
    """Carry approved archives with Flower, at a site and at the coordinator, until interrupted.

    Example: nephroscope federate flower my-study
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY|GROUP")]
    """Study of a site, or folder of a group."""
    group: TextOption = None
    """Of a study: name of the group; by default the only one that it joined."""
    host: str = "127.0.0.1"
    """Of a group: address of this computer to listen at; 0.0.0.0 is every one."""
    port: int = 9092
    """Of a group: port to listen at."""
    once: Switch = False
    """Of a study: end when all that was sent so far is here and there."""

    def run(self) -> Outcome:
        """Carry."""
        from nephroscope.federated.flower import carry_at_coordinator, carry_at_site
        from nephroscope.federated.group_place import GroupPlace
        from nephroscope.federated.place import open_place

        folder = self.folder.resolve()
        try:
            if (folder / "study.toml").exists():
                place = open_place(folder, self.group)
                with writing(place.folder / "flower", "federate flower"):
                    carry_at_site(place, self._say, self.once)
            else:
                with writing(folder / "flower", "federate flower"):
                    group = GroupPlace(folder)
                    carry_at_coordinator(group, self.host, self.port, self._at, self._say, threading.Event())
        except KeyboardInterrupt:
            return Outcome(data=None, text="stopped")
        return Outcome(data=None, text="done")

    def _at(self, port: int) -> None:
        self._line({"host": self.host, "port": port}, f"Flower at {self.host}:{port}")

    def _say(self, words: str) -> None:
        self._line({"said": words}, words)

    def _line(self, data: dict[str, object], text: str) -> None:
        sys.stdout.write(f"{json.dumps(data) if self.json else text}\n")
        sys.stdout.flush()
