"""What system tests share: the demo's archives, made once, and the figures that are printed at the end of the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.mesh import demo_store

Figure = Callable[[str, str], None]


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's archives; not to be written to."""
    return demo_store(tmp_path_factory)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Keep a figure by what it measures: it travels with the test's report, and is printed when all tests have run."""

    def keep(what: str, value: str) -> None:
        request.node.user_properties.append((what, value))

    return keep
