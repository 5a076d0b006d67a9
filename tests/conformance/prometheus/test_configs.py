"""Debian's promtool takes the configurations that are shipped, and finds their rules."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs_program("prometheus")

CONFIGS = Path(__file__).parents[3] / "deploy"


@pytest.mark.parametrize("folder", ["prometheus", "docker/prometheus"])
def test_promtool_takes_the_shipped_configuration_and_its_rules(folder: str) -> None:
    command = ["promtool", "check", "config", str(CONFIGS / folder / "prometheus.yml")]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "1 rule files found" in told.stdout
