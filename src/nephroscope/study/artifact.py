"""What is computed from a study and kept: a file with the digests of its inputs, which tell when it is out of date.

An artifact is up to date when every input has the digest that it had when the artifact was written. It is written
last and whole, so its presence means that the work is complete.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from nephroscope.base.documents import AGAIN, as_plain, from_plain, read_document, read_object
from nephroscope.base.errors import StudyError
from nephroscope.base.files import save_json

Document = TypeVar("Document")
Inputs = str | Mapping[str, str]  # one digest of all inputs, or the digest of each by its name


@dataclass(frozen=True, kw_only=True)
class Artifact(Generic[Document]):
    """A JSON file computed from a study.

    Attributes:
        path: The file.
        kind: Dataclass of its content.
        number: Its format.
        made_from: Digests of the inputs as they are now.
    """

    path: Path
    kind: type[Document]
    number: int
    made_from: Inputs

    def save(self, document: Document) -> None:
        """Write the file, whole or not at all."""
        inputs = self.made_from if isinstance(self.made_from, str) else dict(self.made_from)
        save_json(self.path, {"format": self.number, "made_from": inputs, **as_plain(document)})

    def load(self) -> Document | None:
        """The content when it is up to date; None when it must be computed, also where the file is damaged."""
        try:
            content = read_object(self.path, self.number)
            return None if self._changed(content) else self._typed(content, AGAIN)
        except StudyError:
            return None

    def read(self, remedy: str = AGAIN) -> Document:
        """The content, whatever it was made from.

        Raises:
            StudyError: There is none, or it is damaged or of a newer format; a wrong field is named.
        """
        return read_document(self.path, self.kind, self.number, remedy)

    def stale(self, remedy: str = AGAIN) -> tuple[str, ...]:
        """The inputs that changed since the file was written; the file's name where they were not kept by name.

        Raises:
            StudyError: There is no such file, or it is damaged or of a newer format.
        """
        return self._changed(read_object(self.path, self.number, remedy))

    def _typed(self, content: Mapping[str, object], remedy: str) -> Document:
        return from_plain(content, self.kind, self.path.name, remedy)

    def _changed(self, content: Mapping[str, object]) -> tuple[str, ...]:
        then = content.get("made_from")
        if isinstance(then, Mapping) and isinstance(self.made_from, Mapping):
            return changed_inputs(then, self.made_from)
        return () if then == self.made_from else (self.path.name,)


def changed_inputs(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the inputs whose digests differ, including those that are new or gone."""
    return tuple(name for name in {**now, **then} if then.get(name) != now.get(name))


def changed_words(then: Mapping[str, str], now: Mapping[str, str], unknown: str) -> str:
    """Names of the inputs that changed, for a message; ``unknown`` where no digests by name were kept."""
    return " and ".join(changed_inputs(then, now)) if then else unknown


def out_of_date(what: str, changed: str, since: str, command: str) -> StudyError:
    """The refusal of a part of the study that was made before one of its inputs changed.

    Args:
        what: The part, such as ``slices``.
        changed: The inputs that changed, by name.
        since: When it was made, such as "the slices were cut".
        command: Makes it again.
    """
    return StudyError(
        where=what,
        expected=f"{what} made from the study as it is now",
        found=f"out of date: {changed} changed since {since}",
        remedy=f"run `{command}` again",
    )


def inputs_kept_in(path: Path, newest: int) -> dict[str, str]:
    """The digests by name that a file was made from; empty where it has none, or only one of all inputs."""
    held: Any = read_object(path, newest).get("made_from")
    return dict(held) if isinstance(held, dict) else {}
