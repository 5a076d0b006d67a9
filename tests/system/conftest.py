"""What system tests share: the demo's archives, made once, and the figures that are printed at the end of the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.mesh import build_store

Figure = Callable[[str, str], None]
_FIGURES: pytest.StashKey[list[tuple[str, str]]] = pytest.StashKey()


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's archives; not to be written to."""
    store = tmp_path_factory.getbasetemp() / "demo-models"
    build_store(store)
    return store


@pytest.fixture(scope="session")
def figure(pytestconfig: pytest.Config) -> Figure:
    """Keep a figure by what it measures; printed when all tests have run."""
    figures = pytestconfig.stash.setdefault(_FIGURES, [])

    def keep(what: str, value: str) -> None:
        figures.append((what, value))

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the figures; what they mean is in docs/explanation/faults.md."""
    figures = config.stash.get(_FIGURES, [])
    if not figures:
        return
    terminalreporter.section("figures of the running mesh")
    width = max(len(what) for what, _ in figures)
    for what, value in figures:
        terminalreporter.write_line(f"{what:<{width}}  {value}")
