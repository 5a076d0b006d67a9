"""The configuration for Alertmanager, as Debian's amtool reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[3] / "deploy" / "prometheus" / "alertmanager.yaml"
pytestmark = pytest.mark.needs_program("prometheus-alertmanager")


def amtool(*arguments: str) -> str:
    told = subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def test_it_is_one() -> None:
    assert "4 inhibit rules" in amtool("check-config", str(CONFIG))


@pytest.mark.parametrize(("severity", "receiver"), [("page", "pages"), ("ticket", "tickets")])
def test_pages_and_tickets_go_to_whom_they_should(severity: str, receiver: str) -> None:
    labels = [f"severity={severity}", "slo=digits-availability", "model=digits", "alertname=PenstockBudgetBurns"]
    told = amtool("config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={receiver}", *labels)
    assert receiver in told
