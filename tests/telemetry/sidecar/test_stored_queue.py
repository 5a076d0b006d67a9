"""Spans wait on disk while there is one, in memory while there is none; what is told of them adds up."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.otlp.decode import decode_protobuf
from telemetry.otlp.encode import encode_spans
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.export_queue import PARCEL_AFTER_S, PARCEL_SPANS, ExportQueue, Parcel, halves
from telemetry.sidecar.spool import LEAST_BYTES, Spool
from telemetry.sidecar.stored_queue import SYNC_EVERY_S, StoredQueue
from telemetry.span import Kind, Span

LATER_S = 2 * PARCEL_AFTER_S


def spans(first: int, count: int) -> list[Span]:
    return [Span("a" * 32, f"{first + n + 1:016x}", "", "x", Kind.INTERNAL, 1, 2) for n in range(count)]


class FullDisk(Spool):
    """A folder on a disk that is full for as long as a test wants."""

    is_full = True

    def append(self, parcel: Parcel) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "no space is left")
        super().append(parcel)


class Life:
    """One process' queue."""

    def __init__(self, spool: Spool | None) -> None:
        self.drops = Drops()
        self.spool = spool
        self.memory = ExportQueue(encode_spans, self.drops)
        self.queue = StoredQueue(self.memory, self.drops, spool)
        self.now_s = 0.0

    def put(self, first: int, count: int) -> None:
        self.memory.put(spans(first, count), self.now_s)

    async def save(self) -> None:
        self.now_s += LATER_S
        await self.queue.save(self.now_s)

    async def next(self) -> list[Span]:
        """Return the spans that are sent now; none when nothing waits."""
        self.now_s += LATER_S
        parcel = await self.queue.next(self.now_s)
        return decode_protobuf(parcel.body).spans if parcel else []

    async def sent(self) -> list[Span]:
        """Send all that waits."""
        found: list[Span] = []
        while some := await self.next():
            found += some
            await self.queue.taken()
        return found

    def lost(self) -> dict[str, int]:
        return self.drops.of("spans")

    def die(self) -> None:
        """Let go of the folder as a process does that is killed."""
        assert self.spool is not None
        self.spool._let_go()
        self.spool._leave_segment()


def told(story: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20.0):
            await story()

    asyncio.run(run())


def test_what_is_on_disk_is_sent_by_the_next_process_and_told_as_if_nothing_had_happened(tmp_path: Path) -> None:
    async def story() -> None:
        first = Life(Spool(tmp_path, LEAST_BYTES))
        first.put(0, 3 * PARCEL_SPANS)
        assert await first.next() == spans(0, PARCEL_SPANS)
        await first.queue.taken(rejected=2)
        assert await first.next() == spans(PARCEL_SPANS, PARCEL_SPANS)
        assert first.queue.waiting_spans == (0, 2 * PARCEL_SPANS)
        first.die()
        second = Life(Spool(tmp_path, LEAST_BYTES))
        await second.save()
        assert (second.queue.exported_spans, second.lost()) == (PARCEL_SPANS - 2, {"refused": 2})
        assert second.queue.waiting_spans == (0, 2 * PARCEL_SPANS)
        assert await second.sent() == spans(PARCEL_SPANS, 2 * PARCEL_SPANS)
        assert second.queue.exported_spans + sum(second.lost().values()) == 3 * PARCEL_SPANS

    told(story)


def test_spans_do_not_wait_for_the_receiver_to_come_to_disk(tmp_path: Path) -> None:
    async def story() -> None:
        life = Life(Spool(tmp_path, LEAST_BYTES))
        life.put(0, 1)
        assert await life.next() == spans(0, 1)
        life.put(1, 1)
        await life.save()
        assert life.queue.waiting_spans == (0, 2)
        life.die()
        assert await Life(Spool(tmp_path, LEAST_BYTES)).sent() == spans(0, 2)

    told(story)


def test_half_a_parcel_that_was_taken_before_a_death_is_sent_again_and_counted_once(tmp_path: Path) -> None:
    async def story() -> None:
        first = Life(Spool(tmp_path, LEAST_BYTES))
        first.put(0, 4)
        whole = await first.next()
        first.queue.halve(*halves(whole, encode_spans))
        await first.queue.taken()
        first.put(4, 1)
        await first.save()
        first.die()
        second = Life(Spool(tmp_path, LEAST_BYTES))
        assert await second.sent() == spans(0, 5)
        assert (second.queue.exported_spans, second.lost()) == (5, {})

    told(story)


def test_halves_are_sent_in_their_order_and_lost_apart(tmp_path: Path) -> None:
    async def story() -> None:
        life = Life(Spool(tmp_path, LEAST_BYTES))
        life.put(0, 4)
        life.queue.halve(*halves(await life.next(), encode_spans))
        assert await life.next() == spans(0, 2)
        await life.queue.lose("refused")
        assert await life.next() == spans(2, 2)
        await life.queue.taken()
        assert (life.queue.exported_spans, life.lost(), await life.next()) == (2, {"refused": 2}, [])
        assert life.queue.waiting_spans == (0, 0)

    told(story)


def test_while_the_disk_is_full_spans_are_sent_from_memory_behind_those_on_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        disk = FullDisk(tmp_path, LEAST_BYTES)
        disk.is_full = False
        life = Life(disk)
        life.put(0, 1)
        await life.save()
        disk.is_full = True
        life.put(1, 1)
        await life.save()
        life.put(2, 1)
        await life.save()
        assert life.queue.waiting_spans == (2, 1)
        assert life.queue.failures == 2
        assert await life.next() == spans(0, 1)
        await life.queue.taken()
        assert await life.next() == spans(1, 1)
        await life.queue.taken()
        disk.is_full = False
        life.now_s += SYNC_EVERY_S
        await life.save()
        assert life.queue.waiting_spans == (0, 1)
        assert await life.sent() == spans(2, 1)
        assert (life.queue.exported_spans, life.lost()) == (3, {})

    told(story)
    assert [line.partition(" (")[0] for line in capsys.readouterr().err.splitlines()] == [
        "sidecar: spans cannot be kept on disk",
        "sidecar: spans are kept on disk again",
    ]


def test_while_the_disk_is_full_memory_is_bounded_and_what_goes_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetry.sidecar.export_queue.QUEUE_BYTES", 60_000)

    async def story() -> None:
        life = Life(FullDisk(tmp_path, LEAST_BYTES))
        for number in range(20):
            life.put(number * PARCEL_SPANS, PARCEL_SPANS)
            await life.save()
        assert life.memory.queued_bytes <= 60_000
        lost = life.lost()["queue_full"]
        assert lost > 10 * PARCEL_SPANS
        found = await life.sent()
        assert found == spans(lost, 20 * PARCEL_SPANS - lost)

    told(story)


def test_a_folder_that_another_process_still_has_is_used_once_that_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetry.sidecar.stored_queue.SYNC_EVERY_S", 0.0)

    async def story() -> None:
        old = Life(Spool(tmp_path, LEAST_BYTES))
        old.put(0, 1)
        await old.save()
        new = Life(Spool(tmp_path, LEAST_BYTES))
        new.put(1, 1)
        await new.save()
        assert new.queue.waiting_spans == (1, 0)
        await old.queue.close()
        await new.save()
        assert new.queue.waiting_spans == (0, 2)
        assert await new.sent() == spans(0, 2)

    told(story)
    assert "they wait in memory" in capsys.readouterr().err


def test_without_a_folder_spans_wait_in_memory() -> None:
    async def story() -> None:
        life = Life(None)
        life.put(0, 2)
        assert life.queue.waiting_spans == (2, 0)
        assert await life.sent() == spans(0, 2)
        assert (life.queue.exported_spans, life.queue.waiting_spans, life.queue.waiting_bytes) == (2, (0, 0), 0)

    told(story)


@given(st.lists(st.sampled_from(["put", "save", "take", "refuse", "lose", "halve", "full", "die"]), max_size=40))
def test_what_came_is_sent_lost_or_waits_at_any_moment(doings: list[str]) -> None:
    """A reader that looks between any two steps of the loop sees books that balance, over deaths too."""

    async def story(folder: Path) -> None:
        life = Life(spool := FullDisk(folder, LEAST_BYTES))
        spool.is_full = False
        put = before = 0

        def is_balanced() -> bool:
            queue = life.queue
            waiting = sum(queue.waiting_spans)
            return queue.came_spans == queue.exported_spans + sum(queue.lost_spans.values()) + waiting

        async def look() -> None:
            while True:
                assert is_balanced()
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        for doing in doings:
            match doing:
                case "put":
                    life.put(put, PARCEL_SPANS + 3)
                    put += PARCEL_SPANS + 3
                    life.drops.add("spans", "undecided")  # of a handler's span that never came to the queue
                case "save":
                    await life.save()
                case "full":
                    spool.is_full = not spool.is_full
                case "die":
                    await life.save()
                    if spool.is_full or not life.queue.most_bytes:
                        continue
                    looking.cancel()
                    before = life.queue.came_spans - life.queue.waiting_spans[0]  # what no disk has goes untold
                    life.die()
                    life = Life(spool := FullDisk(folder, LEAST_BYTES))
                    spool.is_full = False
                    await life.save()
                    assert life.queue.came_spans == before
                    looking = asyncio.create_task(look())
                case _ if parcel := await life.queue.next(life.now_s):
                    if doing == "halve" and parcel.span_count > 1:
                        life.queue.halve(*halves(decode_protobuf(parcel.body).spans, encode_spans))
                    elif doing == "lose":
                        await life.queue.lose("given_up")
                    else:
                        await life.queue.taken(rejected=int(doing == "refuse"))
            assert is_balanced()
            assert not looking.done() or looking.cancelled()
        looking.cancel()

    with TemporaryDirectory() as folder:
        told(lambda: story(Path(folder)))
