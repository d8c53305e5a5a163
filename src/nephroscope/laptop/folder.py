"""A bundle and a kind of computer -> a folder that starts there, written whole or not at all."""

import shutil
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.errors import BundleError, ConfigError
from nephroscope.base.files import file_digest, save_json
from nephroscope.base.lock import new_folder
from nephroscope.base.version import __version__
from nephroscope.laptop.pins import Pin, Target, find_wheels, pinned_text, pins_for
from nephroscope.laptop.texts import readme, start_files
from nephroscope.laptop.wheels import download_wheels, pack_own_wheel

FORMAT = 1
MOST_MB = 250
COMPILED = 25  # letters by which the path of a compiled module is longer than that of its source
INSTALLED = r"\program.123456.part\Lib\site-packages" + "\\"


@dataclass(frozen=True, kw_only=True)
class LaptopFolder:
    """What was written.

    Attributes:
        folder: The folder.
        system: The computer for which it is, in words; ``python``: its version of Python.
        wheels: File names of the packages.
        size_mb: Size of the folder in MB (10^6 bytes); ``installed_mb``: what its first start adds.
    """

    folder: Path
    system: str
    python: str
    wheels: tuple[str, ...]
    size_mb: float
    installed_mb: float


def make_laptop_folder(
    bundle: Path, out: Path, target: Target, wheels: Path | None = None, pinned: str | None = None
) -> LaptopFolder:
    """Make the folder.

    Args:
        bundle: Checked as `predict` checks it.
        out: New folder.
        target: The computer.
        wheels: Folder with the pinned packages; None downloads them.
        pinned: Packages as a requirements file with hashes; None takes those of this program.

    Raises:
        BundleError: The bundle is damaged.
        ConfigError: The name is taken, a package is missing or has another hash, or the folder is too large.
        StudyError: Another process is making ``out``.
    """
    from nephroscope.clinic.bundle import open_bundle

    _check_place(bundle, out)
    about = open_bundle(bundle).about
    pins = pins_for(target, pinned_text() if pinned is None else pinned)
    with new_folder(out, "laptop") as draft:
        (draft / "wheels").mkdir()
        (draft / "bundle").mkdir()
        for name in ("bundle.json", *about.sha256):
            shutil.copyfile(bundle / name, draft / "bundle" / name)
        _same_bundle(draft / "bundle", about.sha256)
        _fill_wheels(draft / "wheels", pins, target, wheels)
        made = _write_start(draft, target, about.digest[:16])
        _check_size(made.size_mb)
    return LaptopFolder(
        folder=out,
        system=target.system.words,
        python=target.python,
        wheels=made.wheels,
        size_mb=made.size_mb,
        installed_mb=made.installed_mb,
    )


def this_computer() -> str:
    """Name of the kind of computer on which this runs; linux where it is none of those known."""
    import platform

    from nephroscope.laptop.pins import systems

    here = (sys.platform, platform.machine())
    return next((name for name, system in systems().items() if system.markers == here), "linux")


def _check_place(bundle: Path, out: Path) -> None:
    if out.exists():
        raise ConfigError(
            where="--out",
            expected="a new folder",
            found=f"{out}, which is there",
            remedy="choose another name",
        )
    if out.resolve().is_relative_to(bundle.resolve()):
        raise ConfigError(
            where="--out",
            expected="a folder outside the bundle",
            found="one inside it",
            remedy="choose another place",
        )


def _same_bundle(folder: Path, sha256: dict[str, str]) -> None:
    for name, digest in sha256.items():
        if file_digest(folder / name) != digest:
            raise BundleError(
                where=name,
                expected="the file as it was checked",
                found="that it changed while it was copied",
                remedy="run the command again",
            )


def _fill_wheels(folder: Path, pins: tuple[Pin, ...], target: Target, given: Path | None) -> None:
    """Copy or download the wheel of each package, and pack our own."""
    if given is None:
        download_wheels(pins, target, folder)
        find_wheels(folder, pins, target)
    elif not given.is_dir():
        raise ConfigError(
            where="--wheels",
            expected="a folder of wheels",
            found=f"none at {given}",
            remedy="correct the path",
        )
    else:
        for path in find_wheels(given, pins, target).values():
            shutil.copyfile(path, folder / path.name)
        find_wheels(folder, pins, target)  # as they were copied
    pack_own_wheel(folder)


@dataclass(frozen=True, kw_only=True)
class _Made:
    wheels: tuple[str, ...]
    size_mb: float
    installed_mb: float


def _write_start(draft: Path, target: Target, digest: str) -> _Made:
    """Write the list of packages with their hashes, the start scripts and README.txt."""
    wheels = sorted((draft / "wheels").glob("*.whl"))
    lines = [f"{named} --hash=sha256:{file_digest(path)}" for path in wheels for named in [_named(path)]]
    (draft / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    shutil.copyfile(Path(__file__).with_name("start.py"), draft / "start.py")
    for name, content in start_files(target).items():
        (draft / name).write_bytes(content)
        (draft / name).chmod(0o755)
    installed_mb, longest = _unpacked(wheels)
    about = {
        "format": FORMAT,
        "nephroscope": __version__,
        "python": target.python,
        "sys_platform": target.system.markers[0],
        "system": target.system.words,
        "longest_path": longest,
        "bundle_digest": digest,
    }
    save_json(draft / "laptop.json", about)
    space_mb = round(installed_mb * 1.3)  # with compiled modules
    words = readme(target, digest=digest, n_wheels=len(wheels), space_mb=space_mb, longest_path=longest)
    (draft / "README.txt").write_bytes(words)
    return _Made(
        wheels=tuple(path.name for path in wheels),
        size_mb=sum(path.stat().st_size for path in draft.rglob("*") if path.is_file()) / 1e6,
        installed_mb=installed_mb,
    )


def _named(wheel: Path) -> str:
    from packaging.utils import parse_wheel_filename

    name, version, _, _ = parse_wheel_filename(wheel.name)
    return f"{name}=={version}"


def _unpacked(wheels: Iterable[Path]) -> tuple[float, int]:
    """Size in MB of the installed packages, and letters of the longest path below the folder on Windows."""
    size, longest = 0, 0
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                size += entry.file_size
                letters = len(entry.filename) + (COMPILED if entry.filename.endswith(".py") else 0)
                longest = max(longest, letters)
    return size / 1e6, len(INSTALLED) + longest


def _check_size(size_mb: float) -> None:
    if size_mb > MOST_MB:
        raise ConfigError(
            where="the folder",
            expected=f"at most {MOST_MB} MB",
            found=f"{size_mb:.0f} MB",
            remedy="export a smaller network, or one of fewer folds",
        )
