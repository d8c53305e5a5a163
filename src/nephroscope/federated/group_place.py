"""The coordinator's folder of a group: plan, invitations, what was accepted from sites, and its own archives."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import GroupError
from nephroscope.federated.archive import Archive, open_archive
from nephroscope.federated.group import COORDINATOR, FORMAT, Group, Invitation, Plan, Step
from nephroscope.federated.keys import write_private
from nephroscope.federated.relay_client import relay_way
from nephroscope.federated.ways import FolderWay, Way, archive_name

PLAN, RELAYED, FLOWER = "plan.json", "relayed.json", "flower.json"
AGAIN = "make the group again"


@dataclass(frozen=True, kw_only=True)
class Relayed:
    """Address of the relay or of Flower, as ``host:port``."""

    relay: str


@dataclass(frozen=True, eq=False)
class GroupPlace:
    """The coordinator's folder of a group; ``exchange`` in it is where archives pass without a relay."""

    folder: Path

    @cached_property
    def plan(self) -> Plan:
        """What was decided when the group was made.

        Raises:
            GroupError: There is no group here.
        """
        return read_document(self.folder / PLAN, Plan, FORMAT, AGAIN, GroupError)

    @property
    def exchange(self) -> Path:
        """The folder through which archives come and go where there is no relay."""
        return self.folder / "exchange"

    @property
    def relay(self) -> str:
        """Address of the relay; empty where archives pass through a folder."""
        return self._address(RELAYED)

    @property
    def flower(self) -> str:
        """Address at which Flower carries the archives of ``exchange``; empty where it does not."""
        return self._address(FLOWER)

    def _address(self, name: str) -> str:
        path = self.folder / name
        return read_document(path, Relayed, FORMAT, AGAIN, GroupError).relay if path.exists() else ""

    @property
    def way(self) -> Way:
        """How archives come and go: through the relay where there is one, otherwise through a folder."""
        if self.relay:
            return relay_way(self.relay, self.folder / "tls", "coordinator", "coordinator.key")
        return FolderWay(self.exchange)

    def invitations(self) -> list[Invitation]:
        """Everybody who was invited, by name."""
        paths = sorted((self.folder / "invitations").glob("*.json"))
        return [read_document(path, Invitation, FORMAT, AGAIN, GroupError) for path in paths]

    def made(self) -> list[Archive]:
        """The coordinator's own archives, one for each step that is closed."""
        found = []
        for step in range(self.plan.figures + 1):
            path = self.folder / "made" / archive_name(self.plan.name, step, COORDINATOR)
            if not path.exists():
                break
            found.append(open_archive(path, self.plan.key, self.plan.id, COORDINATOR))
        return found

    def group(self) -> Group:
        """The group as it was closed at joining."""
        return self.made()[0].document("group.json", Group)

    def steps(self) -> list[Step]:
        """The records of all steps so far."""
        return [archive.document("step.json", Step) for archive in self.made()]

    def accepted(self, step: int, site: str) -> Path:
        """The archive of a site that a step is made from."""
        return self.folder / "accepted" / archive_name(self.plan.name, step, site)

    def refused(self, step: int, site: str) -> Path:
        """A copy of an archive that was refused, to be looked at."""
        return self.folder / "refused" / archive_name(self.plan.name, step, site)


def write_invitation(path: Path, invitation: Invitation) -> Path:
    """Write an invitation so that only its owner may read it; gives its path."""
    draft = path.with_name(f".{path.name}.draft")
    save_document(draft, invitation, FORMAT)
    write_private(path, draft.read_bytes())
    draft.unlink()
    return path
