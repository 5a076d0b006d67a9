"""The key book: what it tells workers, and what it keeps."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path
from typing import cast

import msgspec
import pytest

from gateway.control import key_book
from gateway.control.key_book import REVOKED_FILE, USES_FILE, KeyBook
from gateway.control.messages import Counts, KeyUses, Revoked
from gateway.control.state_dir import StateRefused, write_private
from gateway.control.worker_process import WorkerProcess
from model_pod.wire.refusals import Refused
from tests.gateway.policy import KEY, policy

NO_WORKER = cast(WorkerProcess, None)  # whoever said it is not looked at
ID = f"id-{KEY}"


class Book:
    """A key book, where it keeps its state, and what it told."""

    def __init__(self, state_dir: Path) -> None:
        self.state = state_dir
        self.published: list[Revoked] = []
        self.said: list[str] = []
        self.book = KeyBook(state_dir, self.published.append, self.said.append)

    def used(self, **last_used_s: float) -> None:
        self.book.said(NO_WORKER, KeyUses(last_used_s))

    def last_used_at(self) -> str | None:
        (key,) = [key for key in self.book.report(policy()).keys if key.id == ID]
        return key.last_used_at


def test_a_revocation_is_told_at_once_whole_and_survives_a_restart(tmp_path: Path) -> None:
    first = Book(tmp_path)
    assert first.book.revoke("k1", "local", "leaked")
    assert first.book.revoke("k2", "key:ops-1", "leaked")
    assert first.published == [Revoked(()), Revoked(("k1",)), Revoked(("k1", "k2"))]
    again = Book(tmp_path)
    assert again.published == [Revoked(("k1", "k2"))]
    assert again.book.revoked == {"k1", "k2"}
    assert (tmp_path / REVOKED_FILE).stat().st_mode & 0o777 == 0o600


def test_a_restored_key_is_no_longer_told(tmp_path: Path) -> None:
    here = Book(tmp_path)
    here.book.revoke("k1", "local", "by mistake")
    assert here.book.restore("k1")
    assert here.published[-1] == Revoked(())
    assert Book(tmp_path).book.revoked == frozenset()


def test_what_is_so_already_changes_nothing(tmp_path: Path) -> None:
    here = Book(tmp_path)
    here.book.revoke("k1", "local", "leaked")
    assert not here.book.revoke("k1", "other", "again")
    assert not here.book.restore("k2")
    assert len(here.published) == 2


def test_what_cannot_be_kept_is_not_done(tmp_path: Path) -> None:
    here = Book(tmp_path)
    os.rmdir(tmp_path)
    with pytest.raises(Refused, match="Nothing was changed"):
        here.book.revoke("k1", "local", "leaked")
    assert (here.book.revoked, here.published) == (frozenset(), [Revoked(())])


def test_no_more_are_revoked_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_book, "MAX_REVOKED", 1)
    here = Book(tmp_path)
    here.book.revoke("k1", "local", "leaked")
    with pytest.raises(Refused, match="remove some from policy") as refused:
        here.book.revoke("k2", "local", "leaked")
    assert refused.value.reason == "keys_not_kept"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"k1":{}}', b"\xff"])
def test_a_damaged_file_of_revocations_stops_the_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / REVOKED_FILE).write_bytes(content)
    with pytest.raises(StateRefused, match="mend it, or remove it"):
        Book(tmp_path)


def test_the_last_use_of_a_key_is_the_latest_of_all_workers_and_is_kept(tmp_path: Path) -> None:
    here = Book(tmp_path)
    assert here.last_used_at() is None
    here.used(**{ID: 1_800_000_000.0})
    here.used(**{ID: 1_799_999_000.0})
    here.used()
    assert here.last_used_at() == "2027-01-15T08:00:00Z"
    here.book.stop()
    assert Book(tmp_path).last_used_at() == "2027-01-15T08:00:00Z"


def test_other_messages_say_nothing_of_keys(tmp_path: Path) -> None:
    here = Book(tmp_path)
    here.book.said(NO_WORKER, Counts(1, {}, 0, 0))
    here.book.stop()
    assert not (tmp_path / USES_FILE).exists()


def test_when_too_many_ids_were_used_the_oldest_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_book, "MAX_USES", 10)
    here = Book(tmp_path)
    here.used(**{f"jwt:corp:{number}": float(number) for number in range(11)})
    here.book.stop()
    kept = msgspec.json.decode((tmp_path / USES_FILE).read_bytes())["last_used_s"]
    assert sorted(kept.values()) == [float(number) for number in range(2, 11)]


async def until_kept(here: Book) -> None:
    """Let the book keep its uses by itself, once."""
    running = asyncio.create_task(here.book.run())
    async with asyncio.timeout(20.0):
        while not (here.state / USES_FILE).exists():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_uses_are_kept_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_book, "_SAVE_EVERY_S", 0.0)
    here = Book(tmp_path)
    here.used(k=1.0)

    asyncio.run(until_kept(here))


class Disk:
    """The disk below the key book: it does nothing before ``goes_on``, and at first it may be full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, is_full: bool) -> None:
        self.is_asked, self.goes_on = threading.Event(), threading.Event()
        self._is_full = is_full
        monkeypatch.setattr(key_book, "write_private", self._write)

    def _write(self, path: Path, content: bytes) -> None:
        self.is_asked.set()
        assert self.goes_on.wait(20.0)
        is_full, self._is_full = self._is_full, False
        if is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_private(path, content)


def test_uses_that_could_not_be_kept_are_kept_though_no_key_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_book, "_SAVE_EVERY_S", 0.0)
    Disk(monkeypatch, is_full=True).goes_on.set()
    here = Book(tmp_path)
    here.used(k=1.0)

    asyncio.run(until_kept(here))
    assert here.said == ["when keys were last used cannot be kept for the next start: No space left on device"]


@pytest.mark.parametrize("is_full", [False, True])
def test_what_is_kept_at_the_end_is_the_newest_though_an_earlier_write_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    monkeypatch.setattr(key_book, "_SAVE_EVERY_S", 0.0)
    disk = Disk(monkeypatch, is_full)
    here = Book(tmp_path)
    here.used(k=1.0)

    async def play() -> None:
        running = asyncio.create_task(here.book.run())
        await asyncio.to_thread(disk.is_asked.wait)
        here.used(k=2.0)
        running.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not running.done(), "a write is under way"
        disk.goes_on.set()
        await asyncio.gather(running, return_exceptions=True)
        here.book.stop()

    asyncio.run(play())
    assert msgspec.json.decode((tmp_path / USES_FILE).read_bytes())["last_used_s"] == {"k": 2.0}


def test_uses_that_cannot_be_kept_are_told_and_cost_nothing_else(tmp_path: Path) -> None:
    here = Book(tmp_path)
    here.used(k=1.0)
    os.rmdir(tmp_path)
    here.book.stop()
    assert here.said == ["when keys were last used cannot be kept for the next start: No such file or directory"]


def test_a_damaged_file_of_uses_begins_anew(tmp_path: Path) -> None:
    (tmp_path / USES_FILE).write_bytes(b"{")
    assert Book(tmp_path).last_used_at() is None
