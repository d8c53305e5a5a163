"""The folder of a group at a site: its key, what came from the coordinator, what waits for approval, what was sent.

Where a site stands follows from the files that are there, so that every step can be killed and run again.
"""

import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import GroupError
from nephroscope.base.files import file_digest, make_folder
from nephroscope.federated.archive import Archive, open_archive, refused
from nephroscope.federated.group import COORDINATOR, FORMAT, Group, Invitation, Step
from nephroscope.federated.group_place import write_invitation
from nephroscope.federated.keys import write_private
from nephroscope.federated.ways import FolderWay, Way, archive_name

INVITATION, HERE = "invitation.json", "here.json"
AGAIN = "ask the coordinator for the invitation again, and join under a new name"


@dataclass(frozen=True, kw_only=True)
class Here:
    """Where archives pass at this computer: a folder; empty where the invitation names a relay."""

    exchange: str


@dataclass(frozen=True, eq=False)
class SitePlace:
    """The folder of a group at a site."""

    folder: Path

    @cached_property
    def invitation(self) -> Invitation:
        """What the coordinator handed over.

        Raises:
            GroupError: It is lost or damaged.
        """
        return read_document(self.folder / INVITATION, Invitation, FORMAT, AGAIN, GroupError)

    @property
    def site(self) -> str:
        """Name of the site."""
        return self.invitation.site

    @property
    def waiting(self) -> Path:
        """What was made and is not sent before it is approved."""
        return self.folder / "waiting"

    @property
    def sent(self) -> Path:
        """What was approved and sent, each with its page and the signed approval."""
        return self.folder / "sent"

    @property
    def run(self) -> Path:
        """The run that becomes the group's model at this site."""
        return self.folder / "run"

    def round(self, step: int, fold: int) -> Path:
        """Folder of a fold in a round."""
        return self.folder / "rounds" / f"{step:03}" / f"fold-{fold}"

    @property
    def exchange(self) -> Path:
        """The folder through which archives come and go where there is no relay."""
        return Path(read_document(self.folder / HERE, Here, FORMAT, AGAIN, GroupError).exchange)

    @property
    def through(self) -> str:
        """Address of the relay or of Flower, or the folder."""
        for name, address in (("relay", self.invitation.relay), ("Flower at", self.invitation.flower)):
            if address:
                return f"{name} {address}"
        return f"folder {self.exchange}"

    @cached_property
    def way(self) -> Way:
        """How archives come and go."""
        if self.invitation.relay:
            from nephroscope.federated.relay_client import relay_way

            return relay_way(self.invitation.relay, self.write_tls())
        return FolderWay(self.exchange)

    def write_tls(self) -> Path:
        """Write the certificates and the key of the invitation as files; gives their folder."""
        tls, invitation = self.folder / "tls", self.invitation
        texts = {"authority": invitation.authority, "certificate": invitation.certificate}
        for name, text in (*texts.items(), ("private", invitation.private)):
            if not (tls / f"{name}.pem").exists():
                write_private(tls / f"{name}.pem", text.encode())
        return tls

    def name_of(self, step: int) -> str:
        """Name of this site's archive of a step."""
        return archive_name(self.invitation.plan.name, step, self.site)

    def received(self) -> list[Archive]:
        """The coordinator's archives that are here, from joining on, each proved again.

        Raises:
            ArchiveError: One is not as it was signed.
        """
        plan = self.invitation.plan
        found: list[Archive] = []
        for step in range(plan.figures + 1):
            path = self.folder / "received" / f"{step:03}.zip"
            if not path.exists():
                break
            found.append(self._proved(path, step, found[-1].digest if found else ""))
        return found

    def _proved(self, path: Path, step: int, previous: str) -> Archive:
        plan = self.invitation.plan
        archive = open_archive(path, plan.key, plan.id, COORDINATOR)
        if archive.manifest.step != step or archive.manifest.previous != previous:
            raise refused(
                "replayed" if archive.manifest.step < step else "round",
                path,
                f"the coordinator's archive of {plan.words(step)}, made after the one that is here",
                f"that of {plan.words(archive.manifest.step)}",
            )
        return archive

    def receive(self) -> list[Archive]:
        """Fetch what is new from the coordinator, in order; gives all that is here.

        Raises:
            ArchiveError: An archive is damaged, replayed, or signed by another key; nothing of it is kept.
            GroupError: The group is not what the invitation said.
        """
        found, names = self.received(), set(self.way.names())
        plan = self.invitation.plan
        for step in range(len(found), plan.figures + 1):
            name = archive_name(plan.name, step, COORDINATOR)
            if name not in names:
                break
            path = self.folder / "received" / f"{step:03}.zip"
            draft = path.with_suffix(".new")
            make_folder(path.parent)
            self.way.fetch(name, draft)
            archive = self._proved(draft, step, found[-1].digest if found else "")
            archive.check_all()
            if step == 0:
                self._check_group(archive)
            draft.replace(path)
            found.append(self._proved(path, step, archive.manifest.previous))
        return found

    def set_aside(self) -> None:
        """Put away what was sent for the present step, so that it is made again: the coordinator refused it."""
        step = len(self.received())
        sent, plan = self.sent / self.name_of(step), self.invitation.plan
        if not sent.exists():
            return
        made = [self.folder / "rounds" / f"{step:03}"] if step <= plan.rounds else []
        for folder in [*made, *([self.folder / "alone"] if step == plan.closing else [])]:
            shutil.rmtree(folder, ignore_errors=True)
        aside = self.sent / "refused" / file_digest(sent)[:16]
        make_folder(aside)
        for path in (
            *sorted(self.sent.glob(f"{sent.stem}-*")),
            sent,
        ):  # the archive last: it says that it was sent
            path.replace(aside / path.name)

    def _check_group(self, archive: Archive) -> None:
        group = archive.document("group.json", Group)
        if group.plan != self.invitation.plan:
            raise GroupError(
                where=f"group {group.plan.name}",
                expected="the plan of the invitation",
                found="another one: something was changed since",
                remedy="ask the coordinator what was changed, and for a new invitation",
            )

    def group(self) -> Group:
        """The group as it was closed at joining.

        Raises:
            GroupError: The coordinator did not close it yet.
        """
        found = self.received()
        if not found:
            raise GroupError(
                where=f"group {self.invitation.plan.name}",
                expected="the archive of the coordinator that begins the first round",
                found="none yet",
                remedy="approve your own request to join, and wait for the coordinator",
            )
        return found[0].document("group.json", Group)

    def steps(self) -> list[Step]:
        """The records of all steps that are here."""
        return [archive.document("step.json", Step) for archive in self.received()]


def open_place(study: Path, group: str | None = None) -> SitePlace:
    """The folder of a group in a study, by default the only one.

    Raises:
        GroupError: There is none, or there are several.
    """
    places = sorted(path.parent for path in (study / "federated").glob(f"*/{INVITATION}"))
    named = [path for path in places if group is None or path.name == group]
    if len(named) != 1:
        names = ", ".join(path.name for path in places) or "none"
        raise GroupError(
            where=f"study {study.resolve().name}",
            expected="one group" if group is None else f"the group {group}",
            found=f"groups that this study joined: {names}",
            remedy="name it with --group, or join with `nephroscope federate join`",
        )
    return SitePlace(named[0])


def renewed(folder: Path, invitation: Invitation) -> bool:
    """Take over the certificates of an invitation that is otherwise the one that was joined with; False where not."""
    if not (folder / INVITATION).exists():
        return False
    known = SitePlace(folder).invitation
    texts = {name: getattr(known, name) for name in ("authority", "certificate", "private")}
    if known == invitation or replace(invitation, **texts) != known:
        return False
    shutil.rmtree(folder / "tls", ignore_errors=True)  # it is written again from the invitation
    write_invitation(folder / INVITATION, invitation)
    return True


def make_place(folder: Path, invitation: Invitation, exchange: Path | None) -> SitePlace:
    """Make the folder of a group where there is none; the same invitation again changes nothing.

    Raises:
        GroupError: There is another invitation, or neither a relay nor a folder to exchange archives through.
    """
    if invitation.flower and exchange is None:
        exchange = folder / "exchange"  # Flower carries what is there
    if not invitation.relay and exchange is None:
        raise GroupError(
            where="--exchange",
            expected="the folder through which archives come and go",
            found="none, and the invitation names no relay",
            remedy="name a folder; it may be shared, synchronized or carried",
        )
    place = SitePlace(folder)
    if (folder / INVITATION).exists() and place.invitation != invitation:
        raise GroupError(
            where=f"group {invitation.plan.name}",
            expected="a group that this study did not join yet",
            found="one that it joined with another invitation",
            remedy=f"remove the folder {folder.name} in federated/ of the study to leave it, and join again",
        )
    save_document(folder / HERE, Here(exchange=str(exchange.resolve()) if exchange else ""), FORMAT)
    if not (folder / INVITATION).exists():
        make_folder(folder)
        write_invitation(folder / INVITATION, invitation)
    return SitePlace(folder)
