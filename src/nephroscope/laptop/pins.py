"""The pinned packages with their hashes, and which of their wheels fit a computer and a version of Python."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.errors import ConfigError
from nephroscope.base.files import file_digest

PINNED = "workstation.txt"  # next to this file in a wheel; in a checkout in requirements/
OLDEST_GLIBC = 28  # of 2.28: Debian 10, Ubuntu 20.04, RHEL 8 and later
OLDEST_MACOS = (14, 0)


@dataclass(frozen=True, kw_only=True)
class System:
    """A kind of computer.

    Attributes:
        words: As it is called in a sentence.
        markers: What Python says of it: sys_platform, platform_machine.
        tags: Names of it in file names of wheels, best first.
    """

    words: str
    markers: tuple[str, str]
    tags: tuple[str, ...]

    @property
    def is_windows(self) -> bool:
        """Whether it starts programs as Windows does."""
        return self.markers[0] == "win32"


def _linux(machine: str) -> tuple[str, ...]:
    newer = [f"manylinux_2_{minor}_{machine}" for minor in range(OLDEST_GLIBC, 16, -1)]
    old = (f"manylinux2010_{machine}", f"manylinux_2_12_{machine}", f"manylinux1_{machine}")
    return (*newer, f"manylinux2014_{machine}", *(old if machine == "x86_64" else ()), f"linux_{machine}")


def _macos(machine: str) -> tuple[str, ...]:
    from packaging.tags import mac_platforms

    return tuple(mac_platforms(OLDEST_MACOS, machine))


def systems() -> dict[str, System]:
    """Every kind of computer for which a folder can be made, by the name that the command takes."""
    return {
        "windows": System(
            words="Windows, 64 bit (Intel or AMD)", markers=("win32", "AMD64"), tags=("win_amd64",)
        ),
        "linux": System(words="Linux (Intel or AMD)", markers=("linux", "x86_64"), tags=_linux("x86_64")),
        "macos-arm": System(
            words="macOS 14 or later on Apple silicon", markers=("darwin", "arm64"), tags=_macos("arm64")
        ),
        "windows-arm": System(words="Windows on ARM", markers=("win32", "ARM64"), tags=("win_arm64",)),
        "linux-arm": System(
            words="Linux on ARM (64 bit)", markers=("linux", "aarch64"), tags=_linux("aarch64")
        ),
        "macos-intel": System(
            words="macOS 14 or later on Intel", markers=("darwin", "x86_64"), tags=_macos("x86_64")
        ),
    }


@dataclass(frozen=True, kw_only=True)
class Target:
    """A kind of computer with a version of Python.

    Attributes:
        system: The computer.
        python: Version with one dot, such as 3.12.
    """

    system: System
    python: str

    def __post_init__(self) -> None:
        """Refuse a version that this program does not run on, and one in another form."""
        if re.fullmatch(r"3\.1[1-9]", self.python) is None:
            raise ConfigError(
                where="--python",
                expected="a version of Python from 3.11 on, with one dot",
                found=repr(self.python),
                remedy="give the version that the laptop has, for example --python 3.12",
            )

    @property
    def interpreter(self) -> str:
        """The version as file names of wheels say it, such as cp312."""
        return f"cp{self.python.replace('.', '')}"

    def fits(self, name: str) -> bool:
        """Whether a wheel of this file name can be installed there."""
        from packaging.tags import compatible_tags, cpython_tags
        from packaging.utils import InvalidWheelFilename, parse_wheel_filename

        major, minor = (int(part) for part in self.python.split("."))
        tags = self.system.tags
        taken = set(cpython_tags((major, minor), [self.interpreter], tags))
        taken |= set(compatible_tags((major, minor), self.interpreter, tags))
        try:
            return not taken.isdisjoint(parse_wheel_filename(name)[3])
        except InvalidWheelFilename:
            return False

    def environment(self) -> dict[str, str]:
        """What markers of requirements are compared with."""
        platform, machine = self.system.markers
        return {
            "sys_platform": platform,
            "platform_machine": machine,
            "os_name": "nt" if platform == "win32" else "posix",
            "platform_system": {"win32": "Windows", "linux": "Linux", "darwin": "Darwin"}[platform],
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One package: its name, its version and the SHA-256 of each of its files, any of which may be taken."""

    name: str
    version: str
    sha256: frozenset[str]

    def line(self, digests: frozenset[str] | None = None) -> str:
        """The package in a requirements file, with all of its digests or with those given."""
        hashes = "".join(f" --hash=sha256:{digest}" for digest in sorted(digests or self.sha256))
        return f"{self.name}=={self.version}{hashes}"


def pinned_text() -> str:
    """The pinned packages of the clinic with its workstation, as a requirements file with hashes.

    Raises:
        ConfigError: The file is missing.
    """
    here = Path(__file__).resolve().parent
    for path in (here / PINNED, here.parents[2] / "requirements" / PINNED):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise ConfigError(
        where="nephroscope",
        expected=f"its list of pinned packages ({PINNED})",
        found="none in this installation",
        remedy="install nephroscope again from its wheel",
    )


def pins_for(target: Target, text: str) -> tuple[Pin, ...]:
    """The packages of a requirements file with hashes that a computer needs."""
    return tuple(pin for marker, pin in _read_pins(text) if marker is None or marker(target.environment()))


def _read_pins(text: str) -> Iterator[tuple["_Marker | None", Pin]]:
    from packaging.requirements import Requirement

    for line in text.replace("\\\n", " ").splitlines():
        named, *hashes = re.split(r"\s--hash=sha256:", line.split(" #")[0].strip())
        if not named or named.startswith("#"):
            continue
        asked = Requirement(named)
        digests = frozenset(digest.strip() for digest in hashes)
        pin = Pin(name=asked.name, version=str(asked.specifier).removeprefix("=="), sha256=digests)
        yield (None if asked.marker is None else _Marker(str(asked.marker))), pin


@dataclass(frozen=True)
class _Marker:
    """On which computers a package is needed."""

    text: str

    def __call__(self, environment: Mapping[str, str]) -> bool:
        from packaging.markers import Marker

        return Marker(self.text).evaluate(dict(environment))


def find_wheels(folder: Path, pins: tuple[Pin, ...], target: Target) -> dict[Pin, Path]:
    """The wheel of each package in a folder: by name, by what the computer takes and by its hash.

    Raises:
        ConfigError: A package has no such wheel there; all of them are named.
    """
    from packaging.utils import canonicalize_name

    found: dict[Pin, Path] = {}
    why: list[str] = []
    wheels = sorted(folder.glob("*.whl"))
    for pin in pins:
        mine = [path for path in wheels if canonicalize_name(path.name.split("-")[0]) == pin.name]
        fitting = [path for path in mine if target.fits(path.name)]
        good = [path for path in fitting if file_digest(path) in pin.sha256]
        if good:
            found[pin] = good[0]
        elif fitting:
            why.append(f"{fitting[0].name} with a hash that is not one of {pin.name} {pin.version}")
        else:
            why.append(f"no wheel of {pin.name} {pin.version}" + (" for this computer" if mine else ""))
    if why:
        raise ConfigError(
            where=f"wheels for {target.system.words}, Python {target.python}",
            expected=f"a wheel of each of the {len(pins)} pinned packages",
            found="; ".join(why),
            remedy="download them again, or choose a version of Python and a computer for which there are wheels",
        )
    return found
