"""Write docs/reference/wheels.md: for which computers and versions of Python each pinned package has a wheel.

python docs/make_wheels_table.py    asks the package index that uv is set up with; downloads metadata only
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from nephroscope.laptop.pins import Pin, Target, pinned_text, pins_for, systems

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "wheels.md"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
HEADS = {
    "windows": "Windows",
    "windows-arm": "Windows ARM64",
    "linux": "Linux",
    "linux-arm": "Linux ARM64",
    "macos-arm": "macOS ARM64",
    "macos-intel": "macOS Intel",
}
INTRO = """# Wheels

For which computers and versions of Python each pinned package of the clinic with its workstation has a wheel, so that
nothing must be compiled. Written by `python docs/make_wheels_table.py` from what the index of packages lists for the
versions in `requirements/workstation.txt`: the names of the files say what they fit; nothing was installed for this
table. Linux is glibc 2.28 or later (Debian 10, Ubuntu 20.04, RHEL 8), macOS 14 or later. `all` is every version from
3.11 to 3.14; `not needed` is a package that is left out there; `none` has no wheel.

Packages of Python alone, with a wheel for every computer: {plain}.

"""
BLOCKED = """
A [folder for a laptop](../how-to/laptop.md) can be made where every row has a wheel: {whole}. {missing}
pyjpegls is needed by highdicom, which writes DICOM SEG and reports; reading needs neither.
"""


def files_by_version() -> dict[tuple[str, str], list[str]]:
    """File names of the wheels of each package and version, from the index."""
    uv = shutil.which("uv") or str(ROOT / ".venv-uv" / "bin" / "uv")
    with tempfile.TemporaryDirectory() as name:
        lock = Path(name) / "pylock.toml"
        asked = (
            "--universal",
            "--python-version",
            "3.11",
            "--quiet",
            "--no-header",
            "--format",
            "pylock.toml",
        )
        extra = ("--extra", "workstation", "--group", f"{ROOT / 'pyproject.toml'}:laptop")
        pinned = ROOT / "requirements" / "workstation.txt"
        command = (uv, "pip", "compile", *asked, *extra, "-c", pinned, "-o", lock, ROOT / "pyproject.toml")
        subprocess.run([str(word) for word in command], check=True)  # noqa: S603 - words of ours
        packages = tomllib.loads(lock.read_text(encoding="utf-8"))["packages"]
    return {
        (one["name"], one["version"]): [
            re.split(r"[/#?]", wheel["url"])[-1] for wheel in one.get("wheels", [])
        ]
        for one in packages
    }


def has_wheel(files: dict[tuple[str, str], list[str]], pin: Pin, target: Target) -> bool:
    """Whether a package has a wheel for a computer."""
    return any(target.fits(file) for file in files[pin.name, pin.version])


def cell(there: dict[str, bool]) -> str:
    """One cell: the versions of Python with a wheel, of those that need the package."""
    good = [python for python in PYTHONS if there.get(python)]
    if not there:
        return "not needed"
    return ("all" if len(good) == len(PYTHONS) else ", ".join(good)) or "none"


def main() -> None:
    """Write the page."""
    files, text = files_by_version(), pinned_text()
    found: dict[str, dict[str, dict[str, bool]]] = {}  # package, computer, Python
    versions: dict[str, set[str]] = {}
    for name, system in systems().items():
        for python in PYTHONS:
            target = Target(system=system, python=python)
            for pin in pins_for(target, text):
                there = found.setdefault(pin.name, {}).setdefault(name, {})
                there[python] = has_wheel(files, pin, target)
                versions.setdefault(pin.name, set()).add(pin.version)
    is_plain = {
        package: all(
            file.endswith("-none-any.whl") for one in versions[package] for file in files[package, one]
        )
        for package in sorted(found)
    }
    rows = [["package", *HEADS.values()], ["---"] * (len(HEADS) + 1)]
    for package in (package for package, plain in is_plain.items() if not plain):
        cells = [cell(found[package].get(name, {})) for name in HEADS]
        rows.append([f"{package} {' and '.join(sorted(versions[package]))}", *cells])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    plain = ", ".join(package for package, plain in is_plain.items() if plain)
    PAGE.write_text(INTRO.format(plain=plain) + table + "\n" + summary(found), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")


def summary(found: dict[str, dict[str, dict[str, bool]]]) -> str:
    """On which computers every package has a wheel, and what is missing on the others."""
    whole, missing = [], []
    for name, head in HEADS.items():
        lacking = {
            python: [one for one, there in found.items() if not there.get(name, {}).get(python, True)]
            for python in PYTHONS
        }
        good = [python for python in PYTHONS if not lacking[python]]
        if good:
            which = "every version" if len(good) == len(PYTHONS) else f"Python {', '.join(good)}"
            whole.append(f"{head} with {which}")
        packages = sorted({one for python in PYTHONS for one in lacking[python]})
        if packages:
            missing.append(f"Missing on {head}: {', '.join(packages)}.")
    return BLOCKED.format(whole="; ".join(whole), missing=" ".join(missing))


if __name__ == "__main__":
    main()
