"""Fixtures of all tests: seeds that never move, and the real data where it is."""

import gc
import os
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom.uid
import pytest
from hypothesis import settings

from workstation_browser import chromium, page, workstation  # noqa: F401

# The same examples in every run, however busy the machine: a red run is a fault, not bad luck.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")

UIDS = random.Random("session")  # noqa: S311
pydicom.uid.secrets = SimpleNamespace(randbelow=UIDS.randrange)  # type: ignore[attr-defined]


# The files that take longest, longest first. On several cores they begin first: one that began last would leave the
# other cores without work.
LONGEST = (
    *("walk", "offline", "training", "reading_browser", "ray", "web", "exchange_listen", "exchange_pacs"),
    *(
        "whole_or_not",
        "compare",
        "replicate",
        "cli",
        "damaged",
        "workstation_whole",
        "drawing_browser",
        "agreement",
    ),
    *("federated_training", "damaged_state", "notebook", "bundle", "deidentify", "laptop"),
)


def pytest_collection_modifyitems(items):
    """Whole files change places, never the tests of one."""
    place = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_collection_finish():
    """What the imports and 6,000 tests made stays to the end: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _fixed_seed(request):
    """The global generator starts every test in the same state; new UIDs depend on the test alone."""
    np.random.seed(0)  # noqa: NPY002
    UIDS.seed(request.node.nodeid)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real public data, or a skip that says what is missing."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("NEPHROSCOPE_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real test data at {folder}; set NEPHROSCOPE_TEST_DATA")
    return folder
