"""The policy kept for a start with refused files."""

from __future__ import annotations

from pathlib import Path

from gateway.control import last_good
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, Tier
from policies.snapshot.mesh import Mesh

SNAPSHOT = Snapshot(3, "digest", Mesh("m"), tiers={"free": Tier("free", Limit("tier/free", rate_per_s=5.0, burst=5))})


def test_what_is_kept_is_recalled(tmp_path: Path) -> None:
    last_good.keep(tmp_path, SNAPSHOT, 12.5)
    kept = last_good.recall(tmp_path)
    assert kept is not None
    assert (kept.snapshot, kept.loaded_at_s) == (SNAPSHOT, 12.5)


def test_nothing_kept_recalls_nothing(tmp_path: Path) -> None:
    assert last_good.recall(tmp_path) is None


def test_a_file_cut_anywhere_or_changed_in_any_byte_recalls_nothing(tmp_path: Path) -> None:
    last_good.keep(tmp_path, SNAPSHOT, 12.5)
    path = tmp_path / last_good.FILE_NAME
    whole = path.read_bytes()
    for place in range(0, len(whole), 8):
        path.write_bytes(whole[:place])
        assert last_good.recall(tmp_path) is None
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert last_good.recall(tmp_path) is None
