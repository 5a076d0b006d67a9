"""The policy kept for a start with refused files."""

from __future__ import annotations

from pathlib import Path

from gateway.control import last_good
from policies.snapshot import Mesh, Snapshot, Tier

SNAPSHOT = Snapshot(3, "digest", Mesh("m"), tiers={"free": Tier("free", rate_per_s=5.0, burst=5)})


def test_what_is_kept_is_recalled(tmp_path: Path) -> None:
    last_good.keep(tmp_path, SNAPSHOT, 12.5)
    kept = last_good.recall(tmp_path)
    assert kept is not None
    assert (kept.snapshot, kept.loaded_at_s) == (SNAPSHOT, 12.5)


def test_nothing_kept_and_something_unreadable_recall_nothing(tmp_path: Path) -> None:
    assert last_good.recall(tmp_path) is None
    last_good.keep(tmp_path, SNAPSHOT, 12.5)
    path = tmp_path / last_good.FILE_NAME
    path.write_bytes(path.read_bytes()[:-3])
    assert last_good.recall(tmp_path) is None
