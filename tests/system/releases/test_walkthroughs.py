"""The guides for releases, done as they are written: every file is saved, and every command typed."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.system.mesh import ROOT
from tests.walkthrough import walk

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("name", ["shadow-canary-promote.md", "it-went-wrong.md"])
def test_a_guide_holds_what_it_says(tmp_path: Path, model_store: Path, name: str) -> None:
    environ = _checkout(tmp_path, model_store)
    walk((ROOT / "docs" / "how-to" / name).read_text(), tmp_path, environ)


def _checkout(home: Path, store: Path) -> dict[str, str]:
    """Lay out a reader's checkout, with free ports and the archives made; return the environment of its terminals."""
    shutil.copytree(ROOT / "policies" / "demo", home / "policies" / "demo")
    mesh = home / "policies" / "demo" / "mesh.yaml"
    mesh.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", mesh.read_text()))
    models = home / ".penstock" / "models"
    models.mkdir(parents=True)
    for archive in store.glob("*.mar"):
        (models / archive.name).symlink_to(archive)
    (home / "run").mkdir(mode=0o700)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "XDG_RUNTIME_DIR": str(home / "run")}
