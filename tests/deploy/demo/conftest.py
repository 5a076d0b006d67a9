"""The demo's archives, made once per test run, and the shim that their handlers import."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.demo.build import build
from deploy.demo.catalogue import DEMO_ARCHIVES
from model_pod.engine.shim import install_shim

install_shim()

Extract = Callable[[str], Path]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with every demo archive."""
    directory = tmp_path_factory.mktemp("models")
    for archive in DEMO_ARCHIVES.values():
        build(archive, directory)
    return directory


@pytest.fixture(scope="session")
def extract(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Extract:
    """Extract an archive, as a pod does before it loads the model."""

    def extracted(name: str) -> Path:
        directory = tmp_path_factory.mktemp("extracted")
        with zipfile.ZipFile(store / name) as files:
            files.extractall(directory)
        return directory

    return extracted
