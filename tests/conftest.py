"""Fixtures of all tests: seeds that never move, and the real data where it is."""

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _fixed_seed():
    """The global generator starts every test in the same state."""
    np.random.seed(0)  # noqa: NPY002


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real public data, or a skip that says what is missing."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("NEPHROSCOPE_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real test data at {folder}; set NEPHROSCOPE_TEST_DATA")
    return folder
