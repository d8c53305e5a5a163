"""Everything that is required, for the clinic and for each extra, is free of GPL and AGPL.

Other licenses are not judged here: LGPL and MPL are fine for what is only imported; mirp (an extra) is under EUPL.
"""

import re
from importlib.metadata import PackageNotFoundError

import pytest

from licenses_of import ROOT, WANTED, check, forbidden, stated_license

# What `flower` requires is checked by tests/flower_check.py, in an environment of its own.
HERE = [extra for extra in WANTED if extra != "flower"]


@pytest.mark.parametrize("extra", HERE)
def test_what_is_required_holds_no_gpl(extra):
    check(extra)


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
