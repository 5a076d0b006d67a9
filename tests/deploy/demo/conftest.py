"""The demo's archives, made once per test run, and the shim that their handler imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.demo.build import build
from deploy.demo.catalogue import DEMO_ARCHIVES
from deploy.demo.data import load_split
from model_pod.engine.shim import install_shim

install_shim()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with every demo archive."""
    directory = tmp_path_factory.mktemp("models")
    training, held_out = load_split()
    for archive in DEMO_ARCHIVES.values():
        build(archive, directory, training, held_out)
    return directory
