"""Settings for every test: hypothesis without a clock of its own, programs that may be absent, figures at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator

import pytest
from hypothesis import settings

from telemetry.logs.log import LOG, Log
from tests.halts import RUNS_AGAIN, HaltWatch

# A deadline per example would make a slow machine look like a bug; each test has its time-out.
settings.register_profile("penstock", deadline=None)
settings.load_profile("penstock")

# Programs that tests start tell what happens as they tell people.
os.environ.setdefault("PENSTOCK_LOG_FORMAT", "text")


HALT = "a halt"
_WATCH = pytest.StashKey[HaltWatch]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let a test with running processes run again if the machine stood still while it failed; see ``tests.halts``."""
    on_real_time = [item for item in items if item.get_closest_marker("system")]
    if on_real_time and _WATCH not in config.stash:
        watch = config.stash[_WATCH] = HaltWatch()
        config.add_cleanup(watch.end)
    for item in on_real_time:
        item.add_marker(pytest.mark.flaky(reruns=RUNS_AGAIN, condition=lambda: config.stash[_WATCH].longest_s() > 0.0))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give the test a log that nothing was said of yet; skip, with the reason printed, what needs an absent program."""
    Log.__init__(LOG)
    if (watch := item.config.stash.get(_WATCH, None)) is not None:
        watch.begin()
    for marker in item.iter_markers("needs_program"):
        program = marker.args[0]
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt-get install {program})")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a failure how long the machine stood still."""
    report = yield
    watch = item.config.stash.get(_WATCH, None)
    if report.failed and watch is not None and (halt_s := watch.longest_s()):
        report.sections.append((HALT, f"this machine stood still for {halt_s:.1f} s while the test ran"))
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes ``-n auto`` is: a test waits as long as it computes, so two cores can run four."""
    return max(4, len(os.sched_getaffinity(0)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that were run again, and print the figures of tests; docs/explanation/faults.md explains those."""
    again = [report for report in terminalreporter.getreports("rerun") if isinstance(report, pytest.TestReport)]
    if again:
        terminalreporter.section("run again")
        for report in again:
            told = next((text for title, text in report.sections if title == HALT), "")
            terminalreporter.write_line(f"{report.nodeid}: {told}")
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
