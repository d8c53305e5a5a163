"""The command group federate: reads options, prints what was done and what comes next."""

import getpass
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nephroscope.base.documents import plain_json, read_document
from nephroscope.base.errors import GroupError
from nephroscope.base.lock import writing
from nephroscope.base.text import shell_line
from nephroscope.cli.command import (
    Command,
    NamesOption,
    Outcome,
    PathOption,
    StudyCommand,
    Switch,
    TextOption,
    table,
)
from nephroscope.cli.federated_play import Rehearse, Simulate
from nephroscope.cli.federated_ways import Flower, Relay, Renew

if TYPE_CHECKING:
    from nephroscope.federated.figure_documents import Pooled
    from nephroscope.federated.group_place import GroupPlace
    from nephroscope.federated.leaving import Waiting
    from nephroscope.federated.place import SitePlace

GroupPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="GROUP")]
SiteArgument = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SITE")]


@dataclass(frozen=True, kw_only=True)
class NewGroup(Command):
    """Make the folder of a group; what all sites train comes from the study.toml of a study.

    Example: nephroscope federate new renal-group --study my-study --rounds 5 --quorum 3
    """

    group: GroupPath
    """Folder of the group, which is made; its name is the group's."""
    study: Annotated[Path, tyro.conf.arg(metavar="STUDY")]
    """Study whose subtypes, slices, folds and training settings the group takes."""
    rounds: int = 5
    """Exchanges of weights; they divide the epochs of [training] evenly."""
    local_epochs: int = 0
    """Epochs of a site in each round; 0: those of [training] over the rounds, times the number of sites."""
    quorum: int = 3
    """Sites without which no round is closed."""
    days: float = 14
    """Days that every site has for a round; before they are over no round is closed without a site."""
    proximal: float = 0.0
    """FedProx: pull each site's weights towards the group's, by this factor; 0 is plain FedAvg."""
    local_norm: Switch = False
    """Keep the statistics and weights of batch norm at each site."""

    def run(self) -> Outcome:
        """Make it."""
        from nephroscope.federated.coordinator import new_group
        from nephroscope.federated.keys import fingerprint
        from nephroscope.study.folder import open_study

        settings = open_study(self.study)[1]
        plan = new_group(
            self.group.resolve(),
            settings,
            rounds=self.rounds,
            local_epochs=self.local_epochs,
            quorum=self.quorum,
            days=self.days,
            proximal=self.proximal,
            local_norm=self.local_norm,
        )
        text = f"group {plan.name}, key {fingerprint(plan.key)}\nnext: " + shell_line(
            "nephroscope", "federate", "invite", self.group, "SITE"
        )
        return Outcome(data=plain_json(plan) | {"fingerprint": fingerprint(plan.key)}, text=text)


@dataclass(frozen=True, kw_only=True)
class GroupCommand(Command):
    """A command of the coordinator."""

    group: GroupPath
    """Folder of the group."""

    def place(self) -> "GroupPlace":
        """The folder of the group."""
        from nephroscope.federated.group_place import GroupPlace

        return GroupPlace(self.group.resolve())


@dataclass(frozen=True, kw_only=True)
class Invite(GroupCommand):
    """Write the invitation of a site: a file with secrets, to be handed over in person.

    Example: nephroscope federate invite renal-group lisbon
    """

    site: SiteArgument
    """Name of the site."""
    relay: TextOption = None
    """Address of the relay that the sites call, such as relay.example.org:8443; by default a folder is used."""
    flower: TextOption = None
    """Address of the coordinator's Flower instead, as the sites call it."""

    def run(self) -> Outcome:
        """Write it."""
        from nephroscope.federated.coordinator import invite

        place, certify = self.place(), None
        relay, flower = self.relay or place.relay, self.flower or place.flower
        if relay or flower:
            from nephroscope.federated.certificates import certifier
            from nephroscope.federated.relay import flowered, relayed

            certify = certifier(place.folder, relay or flower)
            if flower:
                flowered(place, flower)
            if relay:
                relayed(place, relay)
        path = invite(place, self.site, relay, certify, flower)
        text = f"wrote {path}; the site runs: nephroscope federate join STUDY {path.name}"
        text += "" if relay or flower else " --exchange FOLDER"
        return Outcome(data={"invitation": str(path), "site": self.site}, text=text)


@dataclass(frozen=True, kw_only=True)
class Join(StudyCommand):
    """Join a group: make this site's key and the request, with counts of what the study holds.

    Example: nephroscope federate join my-study lisbon.json --exchange shared-folder
    """

    invitation: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INVITATION")]
    """The file that the coordinator handed over."""
    exchange: PathOption = None
    """Folder through which archives come and go; not needed where the group has a relay."""

    def run(self) -> Outcome:
        """Join."""
        from nephroscope.federated.group import FORMAT, Invitation
        from nephroscope.federated.place import renewed
        from nephroscope.federated.site import join
        from nephroscope.study.snapshot import take_snapshot

        invitation = read_document(
            self.invitation, Invitation, FORMAT, "ask the coordinator for it again", GroupError
        )
        folder = self.study.resolve() / "federated" / invitation.plan.name
        with writing(self.study, "federate join"):
            if renewed(folder, invitation):
                return Outcome(
                    data={"renewed": True}, text="took over the certificates; nothing else changed"
                )
            waiting = join(folder, take_snapshot(self.study), invitation, self.exchange)
        return waits(self.study, waiting)


@dataclass(frozen=True, kw_only=True)
class SiteCommand(StudyCommand):
    """A command of a site."""

    group: TextOption = None
    """Name of the group; by default the only one that the study joined."""

    def place(self) -> "SitePlace":
        """The folder of the group in the study."""
        from nephroscope.federated.place import open_place

        return open_place(self.study.resolve(), self.group)


@dataclass(frozen=True, kw_only=True)
class TrainRound(SiteCommand):
    """Fetch what the coordinator sent, train the next round, and list what would leave; nothing is sent yet.

    Example: nephroscope federate train-round my-study
    """

    again: Switch = False
    """The coordinator refused what was sent for this step: put it aside and make it again."""

    def run(self) -> Outcome:
        """Train it."""
        from nephroscope.federated.site import train_next
        from nephroscope.study.snapshot import take_snapshot

        with writing(self.study, "federate train-round"):
            place = self.place()
            if self.again:
                place.set_aside()
            waiting = train_next(place, take_snapshot(self.study))
        return waits(self.study, waiting)


@dataclass(frozen=True, kw_only=True)
class Inspect(SiteCommand):
    """Try whether the weights that wait give away who was trained on; the answer is added to their page.

    Example: nephroscope federate inspect my-study
    """

    def run(self) -> Outcome:
        """Try it."""
        from nephroscope.federated.inspector import inspect
        from nephroscope.study.snapshot import take_snapshot

        with writing(self.study, "federate inspect"):
            found = inspect(self.place(), take_snapshot(self.study))
        text = (
            f"{found.archive}: {found.training} training and {found.held_out} held-out cases told apart "
            f"by their loss with AUC {found.auc.interval()}; 0.5 is a guess"
        )
        return Outcome(data=plain_json(found), text=text)


@dataclass(frozen=True, kw_only=True)
class Approve(SiteCommand):
    """Sign and send the archive that waits; read its page first.

    Example: nephroscope federate approve my-study --by "A. Ferreira"
    """

    by: TextOption = None
    """Who lets it go; by default the name of the account on this computer."""
    again: Switch = False
    """Send what was approved last once more, the same bytes, as it was lost or damaged on its way."""

    def run(self) -> Outcome:
        """Send it."""
        from nephroscope.federated.leaving import approve, send_again

        with writing(self.study, "federate approve"):
            place = self.place()
            approval, sent = send_again(place) if self.again else approve(place, self.by or getpass.getuser())
        text = f"{approval.by} approved {approval.archive}; it was sent, and a copy is kept in {sent.parent}"
        return Outcome(data=plain_json(approval), text=text)


@dataclass(frozen=True, kw_only=True)
class Aggregate(GroupCommand):
    """Close the present step from the archives of the sites; refused while somebody is missing.

    Example: nephroscope federate aggregate renal-group
    """

    without: NamesOption = ()
    """After the deadline: go on without exactly these sites, which stands in the record."""

    def run(self) -> Outcome:
        """Close it."""
        from nephroscope.federated.aggregate import aggregate

        place = self.place()
        with writing(place.folder, "federate aggregate"):
            archive, step = aggregate(place, self.without)
        lines = [f"closed {place.plan.words(step.step)} with {', '.join(one.site for one in step.used)}"]
        if step.missing:
            lines.append(f"went on without {', '.join(step.missing)}, as told")
        lines += [f"refused {r.site}, {place.plan.words(r.step)} [{r.code}]: {r.why}" for r in step.refused]
        lines.append(f"{archive.path.name} is laid out for the sites")
        data = plain_json(step) | {"archive": archive.path.name, "digest": archive.digest}
        return Outcome(data=data, text="\n".join(lines))


@dataclass(frozen=True, kw_only=True)
class EvaluateGroup(Command):
    """At a site: answer its own patients with all models. At the coordinator: write the page of the group.

    Example: nephroscope federate evaluate my-study
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY|GROUP")]
    """Study of a site, or folder of a group."""
    group: TextOption = None
    """Of a study: name of the group; by default the only one that it joined."""
    share: Literal["histogram", "scores", "figures"] = "histogram"
    """What a site tells of its scores: counts in 100 bins, the scores themselves without names, or neither."""
    epsilon: float = 0.0
    """Noise on the histograms, of differential privacy epsilon for all models together; 0 adds none."""
    again: Switch = False
    """Of a study: the coordinator refused the figures that were sent: put them aside and make them again."""

    def run(self) -> Outcome:
        """Evaluate."""
        if (self.folder / "study.toml").exists():
            return self._site()
        from nephroscope.federated.group_page import write_group_page
        from nephroscope.federated.group_place import GroupPlace

        place = GroupPlace(self.folder.resolve())
        page, pooled = write_group_page(place)
        text = f"{pooled_text(pooled)}\nwrote {page}; open it in a browser"
        return Outcome(data={"page": str(page), "pooled": plain_json(pooled)}, text=text)

    def _site(self) -> Outcome:
        from nephroscope.federated.figures import into_study, make_figures
        from nephroscope.federated.place import open_place
        from nephroscope.study.snapshot import take_snapshot

        with writing(self.folder, "federate evaluate"):
            place = open_place(self.folder.resolve(), self.group)
            if self.again:
                place.set_aside()
            waiting = make_figures(place, take_snapshot(self.folder), self.share, self.epsilon)
            run = into_study(place, self.folder.resolve())
        return waits(self.folder, waiting, f"the group's model is run {run.name} of this study\n")


def waits(study: Path, waiting: "Waiting", more: str = "") -> Outcome:
    """What waits for approval, and the command that sends it."""
    leaves = waiting.leaves
    text = (
        f"{more}{leaves.step_words}: {leaves.archive}, {leaves.bytes / 1e6:.1f} MB, waits; nothing was sent\n"
        f"read {waiting.page}\nthen: {shell_line('nephroscope', 'federate', 'approve', study)}"
    )
    data = {"archive": str(waiting.archive), "list": str(waiting.list), "page": str(waiting.page)}
    return Outcome(
        data=data | {"step": leaves.step, "sha256": leaves.sha256, "bytes": leaves.bytes}, text=text
    )


def pooled_text(pooled: "Pooled") -> str:
    """A line for each model: AUC of all cases, within sites, and over sites."""
    rows = []
    for one in pooled.models:
        over = one.auc
        known = over.low is not None
        meta = f"{over.value:.3f} ({over.low:.3f} to {over.high:.3f})" if known else "-"
        rows.append([one.model, one.histogram.interval(), one.stratified.interval(), meta])
    text = table(rows, ["model", "AUC, pooled", "AUC, within sites", "AUC, mean over sites"])
    single = (
        f"\nbest trained alone: {pooled.best_single} (chosen on these figures)" if pooled.best_single else ""
    )
    silent = "".join(f"\n{site}: no figures, {why}" for site, why in pooled.silent.items())
    return text + single + silent


FEDERATED: dict[str, type[Command]] = {
    "new": NewGroup,
    "invite": Invite,
    "join": Join,
    "train-round": TrainRound,
    "inspect": Inspect,
    "approve": Approve,
    "aggregate": Aggregate,
    "evaluate": EvaluateGroup,
    "relay": Relay,
    "renew": Renew,
    "flower": Flower,
    "simulate": Simulate,
    "rehearse": Rehearse,
}
