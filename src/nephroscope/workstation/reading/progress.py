"""How far each reader is."""

import sqlite3
from dataclasses import dataclass

from nephroscope.workstation.reading.store import Who, answers_of, secrets_of, steps_of


@dataclass(frozen=True, kw_only=True)
class ReaderProgress:
    """Answers given and asked for, practice apart; ``finished`` when nothing is left."""

    reader: str
    answered: int
    of: int
    training_answered: int
    training_of: int

    @property
    def finished(self) -> bool:
        """True when nothing is left."""
        return self.answered == self.of


def progress_of(db: sqlite3.Connection, study: str) -> list[ReaderProgress]:
    """Of every reader."""
    found = []
    for reader in secrets_of(db, study):
        steps, answers = steps_of(db, Who(study, reader)), answers_of(db, Who(study, reader))
        counts = [
            (
                sum(s.number in answers for s in steps if s.training is training),
                sum(s.training is training for s in steps),
            )
            for training in (False, True)
        ]
        (answered, of), (training_answered, training_of) = counts
        found.append(
            ReaderProgress(
                reader=reader,
                answered=answered,
                of=of,
                training_answered=training_answered,
                training_of=training_of,
            )
        )
    return found
