from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from model_pod.server.watch_file import WatchFile
from model_pod.wire.inference import Watch, WatchedPart
from policies.snapshot.watching import Drift, Watched
from tests.fakes.refusing_disk import refuse_next_reading

DRIFT = Drift(0.25, inputs=(Watched("/age", 0.0, 150.0),), outputs=(Watched("/label", classes=("cat",)),))
WATCH = Watch(0.25, (WatchedPart("/age", 0.0, 150.0),), (WatchedPart("/label", classes=("cat",)),))


def test_what_policy_says_of_the_model_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    file = WatchFile(str(path), "ranker", lambda trouble: None)
    assert file.changed() is None
    path.write_bytes(msgspec.json.encode({"ranker": DRIFT}))
    assert file.changed() == WATCH
    assert file.changed() is None
    path.write_bytes(msgspec.json.encode({"ranker": DRIFT, "other": DRIFT}))
    assert file.changed() is None
    path.write_text("{}")
    assert file.changed() == Watch()


def test_a_file_that_cannot_be_read_changes_nothing_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    said: list[str] = []
    file = WatchFile(str(path), "ranker", said.append)
    path.write_text("nonsense")
    assert file.changed() is None
    assert file.changed() is None
    assert len(said) == 1
    path.write_bytes(msgspec.json.encode({"ranker": DRIFT}))
    assert file.changed() == WATCH


def test_what_the_disk_refused_once_is_read_though_nobody_writes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "drift.json"
    said: list[str] = []
    file = WatchFile(str(path), "ranker", said.append)
    path.write_bytes(msgspec.json.encode({"ranker": DRIFT}))
    refuse_next_reading(monkeypatch)
    assert [file.changed(), file.changed(), file.changed()] == [None, WATCH, None]
    assert len(said) == 1
