"""One replication at a time: a folder in, a lock on it that ends with the process, however that ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from nephroscope.base.errors import StudyError

NAME = ".lock"


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the folder: two that train the same network would choose between each other's epochs.

    The system lets go of the lock when the process ends, killed or not; where there are no such locks (Windows)
    nothing is held.

    Raises:
        StudyError: Another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StudyError(
                where=f"{folder.parent.name}/{folder.name}",
                expected="one replication at a time",
                found="another one at work on this study",
                remedy="wait until it has ended; what it finished is not done again",
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
