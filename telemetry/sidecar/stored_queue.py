"""What waits to be exported: a moment in memory, then on disk until a receiver took it; in memory where no disk is.

A disk that is full or broken holds up nobody: what it does not take waits in memory, within that queue's bound, and is
sent from there. While a disk does not answer at all, nothing is sent, and what comes waits in memory likewise.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from telemetry.sidecar.drops import Drops
from telemetry.sidecar.events import say
from telemetry.sidecar.export_queue import ExportQueue, Parcel
from telemetry.sidecar.spool import LEAST_BYTES, Books, Spool

SAVE_EVERY_S = 0.1
SYNC_EVERY_S = 1.0
_SPANS = "spans"
ABANDONED = "abandoned"
NOT_QUEUED = frozenset({"no_room", "undecided"})
"""Why spans of handlers are lost before it is known whether they are to be exported."""

Result = TypeVar("Result")


class StoredQueue:
    """A queue in memory, and the folder behind it.

    Args:
        memory: where the pipeline puts spans.
        drops: where spans that are lost are counted.
        spool: the folder; None where spans wait in memory alone.

    Attributes:
        exported_spans: that a receiver took; with a folder, since that is there.
        failures: how often the disk did not do what it was asked.
        carried_spans: that did not come in this life, or not here: what was sent or lost before it, what waited at its
            start, and what other sidecars left.
    """

    def __init__(self, memory: ExportQueue, drops: Drops, spool: Spool | None = None) -> None:
        self.exported_spans = self.failures = self.carried_spans = 0
        self._memory = memory
        self._drops = drops
        self._spool = spool
        self._is_open = self._is_refusing = False
        self._stored_spans = self._stored_bytes = 0
        self._parts: deque[Parcel] = deque()  # of what is being sent
        self._is_stored = False
        self._taken = 0  # of parts that are over
        self._lost: Counter[str] = Counter()
        # While a thread is at it: on their way to disk, and settled while they are still there.
        self._moving_spans = self._settled_spans = 0
        self._synced_s = 0.0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._turn = asyncio.Lock()
        self._trouble = ""

    @property
    def waiting_spans(self) -> tuple[int, int]:
        """How many spans wait, or are being sent: in memory and on disk."""
        return self._memory.waiting_spans + self._moving_spans, self._stored_spans - self._settled_spans

    @property
    def came_spans(self) -> int:
        """How many spans there ever were: all that were sent, that were lost and that wait."""
        return self.carried_spans + self._memory.came_spans

    @property
    def lost_spans(self) -> dict[str, int]:
        """How many spans that waited were lost, by why, ever."""
        return _of_queue(self._drops.of(_SPANS))

    @property
    def waiting_bytes(self) -> int:
        """What waits takes, in memory and on disk."""
        return self._memory.queued_bytes + self._stored_bytes

    @property
    def most_bytes(self) -> int:
        """What may wait on disk; 0 where spans wait in memory alone."""
        return self._spool.most_bytes if self._spool else 0

    @property
    def trouble(self) -> str:
        """Why the disk keeps nothing now; "" when it does, or there is none."""
        return self._trouble

    async def keep_saving(self) -> None:
        """Bring to disk what comes, for ever, whatever the receiver does meanwhile."""
        loop = asyncio.get_running_loop()
        while True:
            await self.save(loop.time())
            await asyncio.sleep(SAVE_EVERY_S)

    async def save(self, now_s: float, is_ending: bool = False) -> None:
        """Bring to disk what is whole; once a second, and at the end, see that it stays there."""
        if self._spool is None:
            return
        async with self._turn:
            if not await self._opened(self._spool, now_s):
                return
            is_due = is_ending or now_s >= self._synced_s + SYNC_EVERY_S
            if self._is_refusing and not is_due:
                return
            parcels = self._memory.take(now_s, is_ending)
            if not parcels and not is_due:
                return
            self._synced_s = now_s if is_due else self._synced_s
            self._moving_spans = sum(parcel.span_count for parcel in parcels)
            left = await self._in_thread(self._spool, lambda spool: _write(spool, parcels, is_due))
            self._moving_spans = 0
            self._memory.give_back(left.parcels)
            self._is_refusing = bool(left.parcels)
            self._tell(left.trouble)

    async def next(self, now_s: float, is_ending: bool = False) -> Parcel | None:
        """Return what is to be sent now, the same until it is settled."""
        if not self._parts:
            await self.save(now_s, is_ending)
            async with self._turn:
                parcel = await self._oldest(now_s, is_ending)
            if parcel is None:
                return None
            self._parts.append(parcel)
        return self._parts[0]

    async def taken(self, rejected: int = 0) -> None:
        """Be done with what was sent: the receiver has it, but for so many spans that it did not want."""
        self._taken += self._parts[0].span_count - rejected
        if rejected:
            self._lost["refused"] += rejected
        await self._settle()

    async def lose(self, why: str) -> None:
        """Be done with what was sent: nobody takes it."""
        self._lost[why] += self._parts[0].span_count
        await self._settle()

    def halve(self, first: Parcel, second: Parcel) -> None:
        """Send what is to be sent in two parcels; both may be halved again."""
        self._parts.popleft()
        self._parts.extendleft((second, first))

    async def take_over(self, left: Path, parcels: int) -> bool:
        """Take some of what waits in the folder of a sidecar that is gone, as the newest; whether that is all.

        A folder of which nothing waits any more is removed.
        """
        if self._spool is None or not self._is_open or self._is_refusing:
            return False
        async with self._turn:
            taken = await self._in_thread(self._spool, lambda spool: _take_over(spool, left, parcels))
        self.carried_spans += taken.spans + sum(taken.losses.values())
        self._count(taken.losses)
        if taken.trouble:
            self._tell(taken.trouble)
        return taken.is_all

    async def abandon(self, left: Path) -> int:
        """Give up what waits in the folder of a sidecar that is gone, and remove it; return how many spans it had."""
        count = await asyncio.get_running_loop().run_in_executor(self._thread, _abandon, left)
        self.carried_spans += count
        self._count({ABANDONED: count})
        return count

    async def close(self) -> None:
        """Make what is on disk last."""
        if self._is_open and self._spool is not None:
            async with self._turn:
                await self._in_thread(self._spool, Spool.close)
                self._is_open = False

    async def _opened(self, spool: Spool, now_s: float) -> bool:
        """Whether the folder is in use; one that cannot be used is tried again."""
        if self._is_open:
            return True
        if self._trouble and now_s < self._synced_s + SYNC_EVERY_S:
            return False
        self._synced_s = now_s
        try:
            before = await asyncio.get_running_loop().run_in_executor(self._thread, spool.open)
        except OSError as error:
            self._tell(str(error))
            return False
        self.exported_spans += before.exported
        self._count(before.dropped)
        # Nothing is done in the thread now: what was found there can be read here.
        found = spool.take_losses()
        self._count(found)
        self._stored_spans, self._stored_bytes = spool.waiting_spans, spool.size_bytes
        gone = before.exported + sum(_of_queue(before.dropped).values()) + sum(found.values())
        self.carried_spans += gone + self._stored_spans
        self._is_open = True
        return True

    async def _oldest(self, now_s: float, is_ending: bool) -> Parcel | None:
        """Return what has waited for longest: on disk, and in memory only while the disk takes nothing."""
        self._is_stored = False
        if self._is_open and self._spool is not None and self._stored_spans:
            parcel = await self._in_thread(self._spool, Spool.next)
            if parcel is not None:
                self._is_stored = True
                return parcel
        is_in_memory = self._is_refusing or not self._is_open
        return self._memory.next(now_s, is_ending) if is_in_memory else None

    async def _settle(self) -> None:
        """Count what was sent once all parts of it are over: a death before that has all of them sent anew."""
        self._parts.popleft()
        if self._parts:
            return
        async with self._turn:
            self.exported_spans += self._taken
            self._count(self._lost)
            over = self._taken + sum(self._lost.values())
            self._taken, self._lost = 0, Counter()
            if self._is_stored and self._spool is not None:
                self._settled_spans = over
                await self._in_thread(self._spool, Spool.settle)
                self._settled_spans = 0
            else:
                self._memory.done()

    async def _in_thread(self, spool: Spool, act: Callable[[Spool], Result]) -> Result:
        """Do one thing with the folder, which keeps what is counted by now, and count what it lost."""
        books = Books(self.exported_spans, self._drops.of(_SPANS))

        def acted() -> tuple[Result, Counter[str], int, int]:
            spool.heed(books)
            result = act(spool)
            return result, spool.take_losses(), spool.waiting_spans, spool.size_bytes

        result, losses, self._stored_spans, self._stored_bytes = await asyncio.get_running_loop().run_in_executor(
            self._thread, acted
        )
        self._count(losses)
        return result

    def _count(self, lost: Mapping[str, int]) -> None:
        for why, count in lost.items():
            if count:
                self._drops.add(_SPANS, why, count)

    def _tell(self, trouble: str) -> None:
        """Tell of a trouble when it begins, and when it is over."""
        if trouble:
            self.failures += 1
        if trouble and not self._trouble:
            say("", f"spans cannot be kept on disk ({trouble}); they wait in memory")
        elif self._trouble and not trouble:
            say("", "spans are kept on disk again")
        self._trouble = trouble


class _Taken(Struct, frozen=True):
    """What was taken out of a folder.

    Attributes:
        is_all: nothing is left there.
        spans: that were taken.
        losses: what was damaged there, by why.
    """

    is_all: bool
    spans: int
    losses: Mapping[str, int]
    trouble: str = ""


class _Left:
    """What the disk did not take, and why; nothing and "" when it took all."""

    def __init__(self, parcels: list[Parcel], trouble: str) -> None:
        self.parcels = parcels
        self.trouble = trouble


def _of_queue(dropped: Mapping[str, int]) -> dict[str, int]:
    """Return the losses of what waited to be exported, without those of spans that never came so far."""
    return {why: count for why, count in dropped.items() if why not in NOT_QUEUED}


def _write(spool: Spool, parcels: list[Parcel], is_synced: bool) -> _Left:
    for number, parcel in enumerate(parcels):
        try:
            spool.append(parcel)
        except OSError as error:
            return _Left(parcels[number:], str(error))
    try:
        if is_synced:
            spool.sync()
    except OSError as error:
        return _Left([], str(error))
    return _Left([], "")


def _take_over(own: Spool, folder: Path, parcels: int) -> _Taken:
    """Move parcels; a death in between has one of them in both places, and it is sent twice, with the same ids."""
    left, trouble, parcel, spans = Spool(folder, LEAST_BYTES), "", None, 0
    try:
        left.heed(left.open())  # what it counted is its own
    except OSError:
        return _Taken(False, 0, {})  # somebody uses it again
    try:
        for _ in range(parcels):
            parcel = left.next()
            if parcel is None:
                break
            own.append(parcel)
            spans += parcel.span_count
            left.settle()
    except OSError as error:
        trouble = str(error)
    losses = left.take_losses()
    is_all = parcel is None and not left.waiting_spans
    if is_all:
        left.remove()
    else:
        left.close()
    return _Taken(is_all, spans, losses, trouble)


def _abandon(folder: Path) -> int:
    left = Spool(folder, LEAST_BYTES)
    count = 0
    with suppress(OSError):
        left.open()
        count = left.waiting_spans + sum(left.take_losses().values())
        left.remove()
    return count
