"""Files that another program must leave as they are, compared by digest before and after it ran."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from nephroscope.base.files import file_digest

_Seen = tuple[tuple[int, ...], str]  # what the system says of a file, and its SHA-256


class Watch:
    """All files at or below some paths.

    A file is read again where the system says that it was written to; on Windows, which keeps no time that a program
    cannot set back, each time.

    Args:
        paths: Files and folders.
        without: Names of files and folders that others may write to meanwhile.
    """

    def __init__(self, paths: Sequence[Path], without: Sequence[str] = ()) -> None:
        self._paths, self._without = [path.resolve() for path in paths], {*without}
        self._seen: dict[Path, _Seen] = {}
        self._seen = self._look()

    def changed(self) -> list[str]:
        """Names of the files that were made, changed or removed since this was last asked, in order."""
        before, self._seen = self._seen, self._look()
        differ = [
            path
            for path in before.keys() | self._seen.keys()
            if self._digest(before, path) != self._digest(self._seen, path)
        ]
        return [path.name for path in sorted(differ)]

    @staticmethod
    def _digest(seen: dict[Path, _Seen], path: Path) -> str | None:
        return seen[path][1] if path in seen else None

    def _look(self) -> dict[Path, _Seen]:
        found: dict[Path, _Seen] = {}
        for path in self._files():
            with suppress(OSError):
                about = path.lstat()
                told = (about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)
                before = self._seen.get(path)
                if before is not None and before[0] == told and os.name != "nt":
                    found[path] = before
                else:
                    plain = stat.S_ISREG(about.st_mode)
                    found[path] = (told, file_digest(path) if plain else f"{stat.S_IFMT(about.st_mode)}")
        return found

    def _files(self) -> Iterator[Path]:
        for top in self._paths:
            if not top.is_dir():
                yield top
            for base, folders, names in os.walk(top):
                folders[:] = [name for name in folders if name not in self._without]
                yield from (Path(base) / name for name in names if name not in self._without)
