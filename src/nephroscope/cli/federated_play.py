"""The commands federate simulate and rehearse: a group played on one computer."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nephroscope.base.documents import plain_json
from nephroscope.base.lock import writing
from nephroscope.cli.command import (
    Command,
    CountOption,
    NamesOption,
    Outcome,
    PathOption,
    StudyCommand,
    Switch,
    table,
)
from nephroscope.records import TrainConfig
from nephroscope.records.settings import Settings

if TYPE_CHECKING:
    from nephroscope.federated.simulate import Simulation


@dataclass(frozen=True, kw_only=True)
class Simulate(StudyCommand):
    """Play a group on one study whose cases have several sites, with all archives, keys and figures.

    Example: nephroscope federate simulate my-study --rounds 5
    """

    training: TrainConfig = field(default_factory=TrainConfig)
    sites: Literal["site_id"] = "site_id"
    """Column of cohort.csv that says which site a case is of."""
    rounds: int = 5
    """Exchanges of weights; they divide the epochs evenly."""
    local_epochs: int = 0
    """Epochs of a site in each round; 0: those of [training] over the rounds, times the number of sites."""
    drop: NamesOption = ()
    """Sites that leave the group."""
    drop_after: int = 1
    """Rounds after which they leave."""
    quorum: CountOption = None
    """Sites without which no round is closed; by default all that do not leave."""
    proximal: float = 0.0
    """FedProx: pull each site's weights towards the group's, by this factor."""
    local_norm: Switch = False
    """Keep batch norm at each site."""
    jobs: CountOption = None
    """Sites that work at the same time, each in a process; by default one a core."""
    central: bool = True
    """Train on all patients at once, too, for comparison."""
    out: PathOption = None
    """Folder of the simulation; by default simulation/ in the study."""

    @classmethod
    def with_settings(cls, settings: Settings | None) -> "Simulate":
        """The study's settings as defaults."""
        return cls(study=tyro.MISSING, training=settings.training if settings else TrainConfig())

    def run(self) -> Outcome:
        """Play it."""
        from nephroscope.federated.simulate import Options, simulate

        out = self.out or self.study / "simulation"
        options = Options(
            rounds=self.rounds,
            local_epochs=self.local_epochs,
            drop=self.drop,
            drop_after=self.drop_after,
            quorum=self.quorum,
            proximal=self.proximal,
            local_norm=self.local_norm,
            jobs=self.jobs or os.cpu_count() or 1,
            central=self.central,
        )
        result = simulate(self.study.resolve(), out.resolve(), options, self.training)
        code = 3 if result.failed else 0
        return Outcome(data=plain_json(result), text=simulation_text(result, out), exit_code=code)


@dataclass(frozen=True, kw_only=True)
class Rehearse(Command):
    """Rehearse everything with phantoms: studies, keys, rounds, approvals and the page of a group, SYNTHETIC.

    Example: nephroscope federate rehearse rehearsal
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Folder that is made; run again, it goes on where it stopped."""
    sites: int = 3
    """Hospitals."""
    cases: int = 16
    """Cases of each hospital."""
    rounds: int = 2
    """Exchanges of weights."""
    epochs: int = 4
    """Epochs of all rounds together."""

    def run(self) -> Outcome:
        """Rehearse."""
        from nephroscope.federated.group_page import write_group_page
        from nephroscope.federated.group_place import GroupPlace
        from nephroscope.federated.rehearsal import make_hospitals
        from nephroscope.federated.simulate import Options, simulate

        out = self.folder / "played"
        with writing(self.folder, "federate rehearse"):
            study = make_hospitals(self.folder, self.sites, self.cases, self.epochs)
            result = simulate(study.resolve(), out.resolve(), Options(rounds=self.rounds))
            page, _ = write_group_page(GroupPlace((out / "hospitals").resolve()))
        lists = sorted((out / "sites").glob("*/sent/*-leaves.html"))
        text = f"SYNTHETIC\n{simulation_text(result, out)}\npage of the group: {page}\nwhat left a site: {lists[-1]}"
        return Outcome(
            data=plain_json(result) | {"page": str(page), "lists": [str(p) for p in lists]}, text=text
        )


def simulation_text(result: "Simulation", out: Path) -> str:
    """Sites, and each model's AUC on all cases next to what the group computes from histograms."""
    told = "; ".join(f"{site} {n} patients" for site, n in result.sites.items())
    rows = [
        [one.model, one.auc.interval(), "-" if one.from_histograms is None else f"{one.from_histograms:.3f}"]
        for one in result.models
    ]
    lines = [told, table(rows, ["model", "AUC, all cases", "from histograms"])]
    lines += [f"left the group: {', '.join(result.dropped)}"] if result.dropped else []
    lines += [f"{one.site} failed in step {one.step} [{one.code}]: {one.why}" for one in result.failed]
    return "\n".join([*lines, f"wrote {out / 'simulation.json'}"])
