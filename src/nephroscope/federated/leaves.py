"""The list of everything that one archive holds, made before it is sent."""

from dataclasses import dataclass, field
from typing import Any

from nephroscope.base.documents import plain_json
from nephroscope.federated.group import Plan


@dataclass(frozen=True, kw_only=True)
class SentTensor:
    """A tensor that leaves: SHA-256 of its values, and the length of its change as a vector."""

    member: str
    name: str
    shape: tuple[int, ...]
    type: str
    bytes: int
    sha256: str
    change: float | None


@dataclass(frozen=True, kw_only=True)
class SentMember:
    """A file of the archive; ``figures`` are those in it, word for word, where it holds any."""

    name: str
    bytes: int
    sha256: str
    figures: Any = None


@dataclass(frozen=True, kw_only=True)
class Leaves:
    """Everything that one archive holds.

    Attributes:
        archive: Name of the file.
        bytes, sha256: Of the whole file.
        digest: SHA-256 of its manifest, which the next archives of the coordinator name.
        recipient: Who gets it, and the fingerprint of their key.
        through: The folder or relay.
        words: The same in sentences.
        change: Length of the change of all weights, by member; None where there is nothing to compare with.
        settings: What the group agreed on.
        synthetic: The patients are phantoms.
        risk: What an inspector could read back, where it was tried.
    """

    archive: str
    bytes: int
    sha256: str
    digest: str
    group: str
    step: int
    step_words: str
    sender: str
    recipient: str
    through: str
    words: tuple[str, ...]
    members: tuple[SentMember, ...]
    tensors: tuple[SentTensor, ...]
    change: dict[str, float | None]
    settings: Plan
    synthetic: bool
    risk: dict[str, float | None] = field(default_factory=dict)


def settings_lines(plan: Plan) -> list[tuple[str, str]]:
    """The settings of a group by name, as text."""
    lines = []
    for name, value in plain_json(plan).items():
        if isinstance(value, dict):
            lines += [(f"{name}.{key}", str(one)) for key, one in value.items() if one != []]
        else:
            lines.append((name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return lines
