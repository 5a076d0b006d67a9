"""The tutorial, done as it is written, from an empty folder: it is installed, and every command typed."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.system.mesh import ROOT
from tests.walkthrough import walk

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(1800)]

_ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")


def test_the_tutorial_holds_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "penstock").symlink_to(ROOT)
    (tmp_path / "run").mkdir(mode=0o700)
    guide = with_free_ports((ROOT / "docs" / "tutorial.md").read_text())
    walk(guide, tmp_path, _terminal_of(tmp_path))


def with_free_ports(guide: str) -> str:
    """Return the guide with other ports in place of its own, each everywhere the same one."""
    named = sorted(set(_ADDRESS.findall(guide)))
    free: dict[str, str] = {}
    while len(set(free.values())) < len(named):
        free = {port: str(free_port()) for port in named}
    return _ADDRESS.sub(lambda address: f"127.0.0.1:{free[address[1]]}", guide)


def _terminal_of(home: Path) -> dict[str, str]:
    """Return the environment of a reader's terminals; what Penstock needs is taken from ours, not from a registry."""
    return {
        **os.environ,
        "PATH": f"{home}/.venv/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "false",  # as pip reads it: not isolated
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
