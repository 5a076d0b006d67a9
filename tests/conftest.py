"""Settings for every test: hypothesis without a clock of its own, and programs that may be absent."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import settings

# A deadline per example would make a slow machine look like a bug; each test has its time-out.
settings.register_profile("penstock", deadline=None)
settings.load_profile("penstock")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with the reason printed, what needs a program that this machine does not have."""
    for marker in item.iter_markers("needs_program"):
        program = marker.args[0]
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt-get install {program})")
