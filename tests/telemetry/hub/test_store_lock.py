"""A store has one hub, and is free when that is gone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from telemetry.hub.store_lock import StoreTaken, lock_store


def test_a_directory_is_held_by_one_until_it_lets_go(tmp_path: Path) -> None:
    descriptor = lock_store(tmp_path)
    assert stat.S_IMODE((tmp_path / ".lock").stat().st_mode) == 0o600
    with pytest.raises(StoreTaken, match="another hub uses"):
        lock_store(tmp_path)
    os.close(descriptor)
    os.close(lock_store(tmp_path))
