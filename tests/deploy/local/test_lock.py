"""One mesh per state directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.local.lock import AlreadyRunning, take_lock


def test_a_second_mesh_is_told_which_one_holds_the_directory(tmp_path: Path) -> None:
    first = take_lock(tmp_path)
    with pytest.raises(AlreadyRunning, match=rf"pid {os.getpid()}\).*--state"):
        take_lock(tmp_path)
    os.close(first)


def test_the_lock_goes_with_its_holder(tmp_path: Path) -> None:
    os.close(take_lock(tmp_path))
    os.close(take_lock(tmp_path))
