"""Settings for every test: hypothesis without a clock of its own, programs that may be absent, figures at the end."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import settings

from telemetry.logs.log import LOG, Log

# A deadline per example would make a slow machine look like a bug; each test has its time-out. The examples are the
# same each time, so that a test that fails fails because of what was changed; `make soak` looks for new ones.
settings.register_profile("penstock", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("penstock")

# Programs that tests start tell what happens as they tell people.
os.environ.setdefault("PENSTOCK_LOG_FORMAT", "text")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give the test a log that nothing was said of yet; skip, with the reason printed, what needs an absent program."""
    Log.__init__(LOG)
    for marker in item.iter_markers("needs_program"):
        program = marker.args[0]
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt-get install {program})")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes ``-n auto`` is: a test waits as long as it computes, so two cores can run four."""
    return max(4, len(os.sched_getaffinity(0)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of tests, whichever process ran them; what they mean is in docs/explanation/faults.md."""
    reports = [report for some in terminalreporter.stats.values() for report in some]
    figures = [
        figure
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for figure in report.user_properties
    ]
    if not figures:
        return
    terminalreporter.section("figures of the running mesh")
    width = max(len(what) for what, _ in figures)
    for what, value in figures:
        terminalreporter.write_line(f"{what:<{width}}  {value}")
