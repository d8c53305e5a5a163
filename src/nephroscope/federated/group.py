"""What a group agreed on, and the documents that its archives hold. Counts below five patients are None."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nephroscope.base.errors import ConfigError, GroupError
from nephroscope.learning.networks.table import encoder_of, fuses
from nephroscope.records import SliceSpec, SplitConfig, TrainConfig
from nephroscope.records.settings import Settings, check_within
from nephroscope.study.snapshot import Snapshot
from nephroscope.study.split import make_split

FORMAT = 1
FEWEST = 5  # patients of a cell
COORDINATOR = "coordinator"  # its name as a sender
SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all sites train and answer, decided before the first round.

    Attributes:
        name: Of the group.
        id: Drawn at random when the group was made; no archive of another group fits.
        training: ``epochs`` are those of a training on all patients at once; patience is 0, as each round has its
            epochs.
        split: How each site divides its own patients.
        rounds: Exchanges of weights.
        local_epochs: Of a site in each round. 0 shares those of ``training`` over the rounds and takes them times the
            number of sites: then a site makes about as many steps as a training on all patients at once.
        quorum: Sites without which no round is closed.
        days: That every site has for a round.
        proximal: FedProx; 0 is FedAvg.
        local_norm: Batch norm stays at each site.
        key: Public key of the coordinator.
        made: Date and time when the group was made; the time for joining counts from it.
    """

    name: str
    id: str
    subtypes: tuple[str, ...]
    positive: str
    slices: SliceSpec
    split: SplitConfig
    training: TrainConfig
    rounds: int
    quorum: int
    days: float
    proximal: float
    local_norm: bool
    key: str
    made: str
    local_epochs: int = 0

    def __post_init__(self) -> None:
        check_within("--rounds", self.rounds, 1, 1000)
        check_within("--local-epochs", self.local_epochs, 0, 1000)
        check_within("--quorum", self.quorum, 1, 1000)
        check_within("--days", self.days, 0, 366)
        check_within("--proximal", self.proximal, 0, 100)
        if fuses(self.training.model):
            raise ConfigError(
                where="training.model",
                expected="a network: a group of hospitals exchanges weights, and no clinical facts",
                found=self.training.model,
                remedy=f"use {encoder_of(self.training.model)}",
            )
        if not self.local_epochs and self.training.epochs % self.rounds:
            raise ConfigError(
                where="--rounds",
                expected=f"a number that divides the {self.training.epochs} epochs of [training] evenly",
                found=str(self.rounds),
                remedy="change --epochs or --rounds, or say --local-epochs",
            )
        if self.split.protocol != "patient" or self.split.folds < 2:
            raise ConfigError(
                where="[split] in study.toml",
                expected="folds by patient, two or more",
                found=f"protocol {self.split.protocol}, {self.split.folds} folds",
                remedy="correct it: figures come from patients that a network did not see",
            )

    @property
    def closing(self) -> int:
        """The step after the last round: models trained alone are exchanged."""
        return self.rounds + 1

    @property
    def figures(self) -> int:
        """The last step: figures of all models at each site."""
        return self.rounds + 2

    def words(self, step: int) -> str:
        """A step in words."""
        if step == 0:
            return "joining"
        if step <= self.rounds:
            return f"round {step} of {self.rounds}"
        return "the closing exchange" if step == self.closing else "the figures"


@dataclass(frozen=True, kw_only=True)
class SiteKey:
    """A site and its public key."""

    name: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group that is complete: the plan and its sites."""

    plan: Plan
    sites: tuple[SiteKey, ...]
    format: int = FORMAT

    @property
    def epochs(self) -> int:
        """Of a site in one round."""
        plan = self.plan
        return plan.local_epochs or plan.training.epochs // plan.rounds * len(self.sites)

    @property
    def training(self) -> TrainConfig:
        """Settings by which each site trains: with its epochs of all rounds."""
        return replace(self.plan.training, epochs=self.epochs * self.plan.rounds)

    def key_of(self, site: str) -> str:
        """Public key of a site.

        Raises:
            GroupError: It is not in the group.
        """
        for one in self.sites:
            if one.name == site:
                return one.key
        raise GroupError(
            where=f"site {site}",
            expected=f"one of {', '.join(one.name for one in self.sites)}",
            found="another name",
            remedy="look at group.json",
        )


@dataclass(frozen=True, kw_only=True)
class Invitation:
    """What a site is handed by the coordinator in person: it holds secrets, so it is not sent by mail in the open.

    Attributes:
        code: Proves once that a request to join comes from who was handed this file.
        relay: Address of the relay; empty where archives pass another way.
        flower: Address of the coordinator's Flower; empty where archives pass another way.
        authority, certificate, private: PEM texts with which the site and that address prove who they are.
    """

    plan: Plan
    site: str
    code: str
    relay: str = ""
    flower: str = ""
    authority: str = ""
    certificate: str = ""
    private: str = ""


@dataclass(frozen=True, kw_only=True)
class Count:
    """Patients of one kind at a site; None where there are one to four."""

    of: str
    value: str
    patients: int | None


@dataclass(frozen=True, kw_only=True)
class Joining:
    """Request of a site to join: its public key, proof of the invitation, and what it could bring.

    Attributes:
        proof: HMAC of the public key with the code of the invitation.
        counts: Patients by subtype, phase, spacing and finding.
        synthetic: They are phantoms.
    """

    key: str
    proof: str
    counts: tuple[Count, ...]
    synthetic: bool
    findings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FoldFigures:
    """What a site says of one fold of a round.

    Attributes:
        patients: Of the training part: the weight in the mean.
        cases: Training cases by subtype; None where one of them has fewer than five patients.
        received_loss: Of the model that the round began with, on the validation part, in nats; None where that has
            fewer than five patients, or it is not finite.
    """

    index: int
    patients: int
    cases: tuple[int, ...] | None
    received_loss: float | None


@dataclass(frozen=True, kw_only=True)
class RoundFigures:
    """What a site says of a round, next to its tensors."""

    folds: tuple[FoldFigures, ...]
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Used:
    """An archive that went into a step."""

    site: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An archive that did not, and why; ``code`` is that of the refusal."""

    site: str
    step: int
    code: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """The record of a step in the coordinator's archive.

    Attributes:
        missing: Sites that the step was closed without.
        told: True where the coordinator was told to go on without them.
        until: Date and time up to which the next step waits for every site.
        losses: Validation loss of the group's model before this step, by fold; None where no site told it.
        drift: How far each site's weights went from the mean, as a share of how far the mean went, by site.
    """

    step: int
    used: tuple[Used, ...]
    missing: tuple[str, ...]
    told: bool
    refused: tuple[Refusal, ...]
    until: str
    losses: tuple[float | None, ...] = ()
    drift: dict[str, float | None] = field(default_factory=dict)


def plan_of(settings: Settings, **decided: object) -> Plan:
    """The plan with what a study's study.toml says of subtypes, slices, folds and training."""
    training = replace(settings.training, patience=0)
    found = {
        "subtypes": settings.subtypes,
        "positive": settings.positive,
        "slices": settings.slices,
        "split": settings.split,
        "training": training,
    } | decided
    return Plan(**found)  # type: ignore[arg-type]


def check_name(name: str) -> None:
    """Refuse a name of a site or group that cannot stand in the name of a file.

    Raises:
        ConfigError: It cannot.
    """
    if not SITE_NAME.fullmatch(name) or name == COORDINATOR:
        raise ConfigError(
            where="name",
            expected="letters, digits, - and _, at most 40",
            found=repr(name[:60]),
            remedy="choose another name",
        )


def site_snapshot(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """A site's study with the folds of the plan.

    Raises:
        GroupError: Its subtypes or slices are not those of the plan, or a fold has fewer than five patients to train.
        CohortError: There are too few patients for the folds.
    """
    settings = snapshot.settings
    pairs = {
        "subtypes": (plan.subtypes, snapshot.cohort.subtypes),
        "positive": (plan.positive, snapshot.cohort.positive),
        "[slices]": (plan.slices.as_dict, settings.slices.as_dict),
    }
    for name, (wanted, found) in pairs.items():
        if wanted != found:
            raise GroupError(
                where=f"study.toml, {name}",
                expected=f"what the group agreed on: {wanted}",
                found=str(found),
                remedy="change study.toml, and cut the slices again",
            )
    split = make_split(snapshot.cohort, snapshot.slices.indices_by_case(), plan.split)
    for fold in split.folds:
        n = n_patients(snapshot, fold.train)
        if n < FEWEST:
            raise GroupError(
                where=f"fold {fold.index}",
                expected=f"at least {FEWEST} patients to train on",
                found=str(n),
                remedy="import more patients: what so few teach a network can be read back from it",
            )
    return snapshot.with_split(split)


def n_patients(snapshot: Snapshot, case_ids: Sequence[str] | frozenset[str]) -> int:
    """How many patients these cases are of."""
    return len({snapshot.cohort.by_id[name].patient_id for name in case_ids})
