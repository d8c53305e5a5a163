"""What the model says about each case of a reader study, as it was locked with the protocol."""

from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.documents import as_plain, read_document, save_document
from nephroscope.workstation.reading.protocol import ChosenModel, UsedModel, canonical_digest
from nephroscope.workstation.reading.refusals import LockedError

FORMAT = 1
FILE, PICTURES = "model.json", "pictures"


@dataclass(frozen=True, kw_only=True)
class AidedAnswer:
    """What the model says about a case.

    Attributes:
        probabilities: By subtype.
        call: None: not sure.
        forced_call: The call if "not sure" were not allowed.
        group: Test set of the case; empty for a bundle.
        fold: Of the network that answered; empty for a bundle.
    """

    case_id: str
    probabilities: dict[str, float]
    call: str | None
    forced_call: str
    group: str
    fold: str


@dataclass(frozen=True, kw_only=True)
class Aid:
    """The model and its answers about the cases, in the order of their names."""

    model: ChosenModel
    digest: str
    answers: tuple[AidedAnswer, ...]

    @property
    def used(self) -> UsedModel:
        """What the protocol says of it."""
        answers = canonical_digest(as_plain(self)["answers"])
        name = Path(self.model.name).name
        return UsedModel(kind=self.model.kind, name=name, digest=self.digest, answers=answers)


def save_aid(folder: Path, aid: Aid) -> None:
    """Write model.json into the folder of a reader study."""
    save_document(folder / FILE, aid, FORMAT)


def read_aid(folder: Path, used: UsedModel) -> Aid:
    """The answers that were locked with the protocol.

    Raises:
        LockedError: The file is lost, damaged or changed.
    """
    remedy = "restore the file from a copy; for other answers make a new reader study"
    aid = read_document(folder / FILE, Aid, FORMAT, remedy, LockedError)
    if aid.used.answers != used.answers:
        raise LockedError(
            where=FILE,
            expected="the model's answers as they were locked",
            found="others",
            remedy=remedy,
        )
    return aid


def picture_path(folder: Path, aid: Aid, case_id: str) -> Path:
    """The picture of a case."""
    place = next(at for at, answer in enumerate(aid.answers) if answer.case_id == case_id)
    return folder / PICTURES / f"{place}.png"
