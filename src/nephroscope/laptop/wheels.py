"""The wheels of a laptop's folder: downloaded by pip with their hashes, and our own, packed from this program."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from nephroscope.base.errors import ConfigError
from nephroscope.base.version import __version__
from nephroscope.laptop.pins import PINNED, Pin, Target, pinned_text

DATE = (2020, 1, 1, 0, 0, 0)  # of every file in our wheel, so that the same program gives the same wheel
METADATA = ("METADATA", "entry_points.txt")
WHEEL_TEXT = "Wheel-Version: 1.0\nGenerator: nephroscope\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
LAST_LINES = 3


def download_wheels(pins: tuple[Pin, ...], target: Target, folder: Path) -> None:
    """Download the wheels of these packages by pip, each compared with its hashes.

    Raises:
        ConfigError: There is no pip, or it could not download all of them.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(f"{pin.line()}\n" for pin in pins), encoding="utf-8")
    platforms = [word for tag in target.system.tags for word in ("--platform", tag)]
    abis = [word for abi in (target.interpreter, "abi3", "none") for word in ("--abi", abi)]
    options = ("--no-deps", "--require-hashes", "--only-binary=:all:", "--disable-pip-version-check")
    python = ("--implementation", "cp", "--python-version", target.python)
    command = (*_pip(), "download", *options, *python, *abis, *platforms)
    done = subprocess.run(  # noqa: S603 - words of ours and pinned names
        [*command, "--dest", str(folder), "-r", str(requirements)],
        check=False,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    requirements.unlink()
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise ConfigError(
            where=f"wheels for {target.system.words}, Python {target.python}",
            expected=f"pip to download {len(pins)} pinned packages",
            found=" ".join(said[-LAST_LINES:]) or f"exit code {done.returncode} of pip",
            remedy="choose another --python (docs/reference/wheels.md), run it where a package index is reached, "
            "or give a folder of wheels with --wheels",
        )


def _pip() -> tuple[str, ...]:
    if find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    uv = shutil.which("uv")
    if uv is not None:
        return (uv, "tool", "run", "--quiet", "pip")
    raise ConfigError(
        where="nephroscope laptop",
        expected="pip or uv, to download wheels",
        found="neither in this environment",
        remedy="install pip there, or give a folder of wheels with --wheels",
    )


def pack_own_wheel(folder: Path) -> Path:
    """Write the running program as a wheel into a folder; the same program gives the same bytes.

    Raises:
        ConfigError: The installed description of the program is missing or of another version.
    """
    package = Path(__file__).resolve().parents[1]
    about = f"{package.name}-{__version__}.dist-info"
    content = {
        f"{package.name}/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    content[f"{package.name}/laptop/{PINNED}"] = pinned_text().encode()
    content |= {f"{about}/{name}": text.encode() for name, text in _description().items()}
    rows = [f"{name},sha256={_record(data)},{len(data)}" for name, data in sorted(content.items())]
    content[f"{about}/RECORD"] = ("\n".join([*rows, f"{about}/RECORD,,"]) + "\n").encode()
    wheel = folder / f"{package.name}-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return wheel


def _description() -> dict[str, str]:
    """The files of our metadata, by name."""
    try:
        installed = distribution("nephroscope")
        version = installed.version
    except PackageNotFoundError:
        version = "no version"
    if version != __version__:
        raise ConfigError(
            where="nephroscope",
            expected=f"an installation of version {__version__}",
            found=version,
            remedy="install nephroscope again, and run this there",
        )
    texts = {name: installed.read_text(name) for name in METADATA}
    return {name: text for name, text in texts.items() if text} | {"WHEEL": WHEEL_TEXT}


def _record(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
