"""When a changed policy directory is read: the decision as values, the looks at files in a temporary directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.control.policy_watch import (
    STABLE_S,
    Load,
    PolicyWatch,
    Seen,
    Signature,
    Wait,
    decide,
    open_for_writing,
    read_signature,
)

OLD: Signature = (("mesh.yaml", (1, 10, 0, 0)), ("routes/digits.yaml", (2, 20, 0, 0)))
NEW: Signature = (("mesh.yaml", (1, 10, 0, 0)), ("routes/digits.yaml", (2, 25, 7, 7)))


def test_an_unchanged_set_is_not_read_again() -> None:
    seen = Seen(loaded=OLD, candidate=OLD, since_s=0.0)
    assert decide(seen, OLD, now_s=100.0) == Wait(seen)


def test_a_change_waits_until_it_has_been_stable() -> None:
    answer = decide(Seen(OLD, OLD, 0.0), NEW, now_s=10.0)
    assert answer == Wait(Seen(OLD, NEW, since_s=10.0))
    assert isinstance(decide(answer.seen, NEW, now_s=10.0 + STABLE_S - 0.01), Wait)
    assert decide(answer.seen, NEW, now_s=10.0 + STABLE_S) == Load(answer.seen, ("routes/digits.yaml",))


def test_a_further_change_starts_the_wait_anew() -> None:
    newer = (*NEW, ("tenants/ads.yaml", (3, 1, 1, 1)))
    assert decide(Seen(OLD, NEW, 10.0), newer, now_s=10.4) == Wait(Seen(OLD, newer, 10.4))


def test_a_change_that_is_undone_is_not_read() -> None:
    back = decide(Seen(OLD, NEW, 10.0), OLD, now_s=10.1)
    assert isinstance(decide(back.seen, OLD, now_s=20.0), Wait)


def test_a_removed_file_is_a_change_with_nobody_to_wait_for() -> None:
    assert decide(Seen(OLD, OLD[:1], 0.0), OLD[:1], now_s=1.0) == Load(Seen(OLD, OLD[:1], 0.0), ())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "routes").mkdir()
    (tmp_path / "mesh.yaml").write_text("kind: mesh/v1\n")
    (tmp_path / "routes" / "digits.yaml").write_text("kind: route/v1\n")
    (tmp_path / ".mesh.yaml.swp").write_text("an editor's")
    return tmp_path


def test_the_signature_names_every_file_but_hidden_ones(directory: Path) -> None:
    assert [path for path, _ in read_signature(directory)] == ["mesh.yaml", "routes/digits.yaml"]


def test_a_file_that_is_replaced_by_one_of_equal_size_and_time_has_another_signature(directory: Path) -> None:
    before, path = read_signature(directory), directory / "mesh.yaml"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    (directory / ".new").write_text("kind: mesh/v2\n")
    os.utime(directory / ".new", ns=times)
    (directory / ".new").rename(path)
    assert read_signature(directory) != before


def test_a_missing_directory_looks_empty(tmp_path: Path) -> None:
    assert read_signature(tmp_path / "gone") == ()


def test_a_file_open_for_writing_is_found_and_one_that_is_closed_is_not(directory: Path) -> None:
    files = ["mesh.yaml", "routes/digits.yaml"]
    assert open_for_writing(directory, files) == ()
    with (directory / "mesh.yaml").open("a"):
        assert open_for_writing(directory, files) == ("mesh.yaml",)
    assert open_for_writing(directory, files) == ()


def test_asking_leaves_no_lease_behind_that_would_hold_up_a_writer(directory: Path) -> None:
    open_for_writing(directory, ["mesh.yaml"])
    os.close(os.open(directory / "mesh.yaml", os.O_WRONLY | os.O_NONBLOCK))


def test_a_pipe_with_a_policy_name_does_not_block_the_look(directory: Path) -> None:
    os.mkfifo(directory / "limits.yaml")
    assert open_for_writing(directory, ["limits.yaml"]) == ()


def test_a_half_written_file_is_not_offered_until_its_writer_closes_it(directory: Path) -> None:
    watch = PolicyWatch(directory)
    watch.remember(watch.look_at_start())
    with (directory / "mesh.yaml").open("a") as writer:
        writer.write("na")
        writer.flush()
        assert watch.look(now_s=1.0) is None
        assert watch.look(now_s=9.0) is None
        assert watch.busy == ("mesh.yaml",)
    signature = watch.look(now_s=9.1)
    assert signature is not None
    watch.remember(signature)
    assert watch.look(now_s=20.0) is None


def test_a_write_while_the_set_is_read_is_noticed(directory: Path) -> None:
    watch = PolicyWatch(directory)
    signature = watch.look_at_start()
    assert not watch.has_changed_since(signature)
    (directory / "limits.yaml").write_text("kind: limits/v1\n")
    assert watch.has_changed_since(signature)
