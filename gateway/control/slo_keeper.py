"""Runs the engine of objectives: tallies, loads and labels in; event lines, alerts, the kept file and objectives out.

The file is read beside the workers' start, and what it has is added to what was counted meanwhile. Until it has been
read nothing is written to it, for a slot is written whole.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from gateway.control.alerting.outbox import Outboxes
from gateway.control.alerting.receivers import receivers_of
from gateway.control.desired import PodPlace
from gateway.control.events import Say
from gateway.control.messages import SLOT_S, FromWorker, LimitUses, Tally
from gateway.control.slo_engine import Dropped, SloEngine
from gateway.control.slo_kept import Changes, Remembered
from gateway.control.slo_store import FILE_NAME, NewerFormat, SloStore
from gateway.control.state_dir import write_private
from gateway.control.worker_process import WorkerProcess
from gateway.control.workers import WorkerListener
from gateway.copies.messages import LabelEvent
from model_pod.wire.status import PodStatus
from policies.snapshot.generation import Snapshot
from telemetry.logs.line import warning
from telemetry.slo.windows import LEVELS

# Objectives by model, for whoever counts attempts beside a pod.
OBJECTIVES_FILE = "slos.json"
SET_ASIDE = ".broken"
# A worker tells of a slot within a second after its end.
_AFTER_SLOT_S = 1.5
# A write takes a few milliseconds of the thread, and no sync of the disk.
_SAVE_EVERY_S = 3.0
# Whoever wakes later was stopped, and what workers told meanwhile is not read yet: nothing is judged before it is.
_ON_TIME_S = 1.0
_CATCH_UP_S = 2.0
# A clock that is set by more leaves slots that no longer hold what they held; the file still has it.
_READ_AGAIN_S = LEVELS[0].reach_s
_NOT_SAVED: Dropped = ("slo_saves", "failed")
_MALFORMED: Dropped = ("tallies", "malformed")
_FAILURES = (sqlite3.Error, OSError, OverflowError, NewerFormat)
_DAMAGES = (sqlite3.DatabaseError, TypeError, ValueError, OverflowError)

Done = TypeVar("Done")


class SloKeeper(WorkerListener):
    """The engine, and the one thread that uses the kept file.

    Args:
        wall_s: tells seconds since the epoch.
        steady_s: tells seconds by a clock that nobody sets.

    Attributes:
        engine: counts and decides.
        outboxes: what is still to be told of alerts, and to whom.
    """

    def __init__(
        self,
        state: Path,
        say: Say,
        wall_s: Callable[[], float] = time.time,
        steady_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.engine = SloEngine(wall_s())
        self.outboxes = Outboxes()
        self._wall_s = wall_s
        self._steady_s = steady_s
        self._sleep = sleep
        self._path = state / FILE_NAME
        self._objectives_path = state / OBJECTIVES_FILE
        self._say = say
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="slo-store")
        self._store: SloStore | None = None
        self._is_read = False
        self._was_read = False
        self._unwritten: Changes | None = None
        self._offset_s = wall_s() - steady_s()
        self._failures = 0
        self._is_failing = False
        self._malformed = 0

    @property
    def dropped(self) -> dict[Dropped, int]:
        """What was not counted, not told or not kept, since the supervisor's start."""
        return self.engine.dropped | {_NOT_SAVED: self._failures, _MALFORMED: self._malformed}

    def expect(self, snapshot: Snapshot) -> None:
        """Count by a generation that workers are about to go over to, beside the one in force."""
        self.engine.expect(snapshot)

    def follow(self, snapshot: Snapshot) -> None:
        """Follow a generation that is in force, and let pods' sidecars know its objectives."""
        now_s = self._wall_s()
        self.engine.follow(snapshot, now_s)
        names = [receiver.name for receiver in receivers_of(snapshot.mesh.alerts)]
        self.outboxes.follow(names, self.engine.firing_notices(now_s))
        objectives = msgspec.json.encode(self.engine.objectives)
        write_private(self._objectives_path, msgspec.json.format(objectives) + b"\n")

    def said(self, worker: WorkerProcess, message: FromWorker) -> None:
        """Count what a worker tells; what cannot be counted costs that tally, and never the worker."""
        if isinstance(message, LimitUses):
            self.engine.limits.add(message, self._wall_s())
        if not isinstance(message, Tally):
            return
        self._heed_the_clock()
        try:
            self.engine.take(worker.serial, message, self._wall_s())
        except Exception as error:
            # Whatever escapes from here kills who serves: a defect in counting must not.
            if not self._malformed:
                self._say(warning(f"{worker} told what cannot be counted, which is dropped: {error!r}"))
            self._malformed += 1

    def loaded(self, place: PodPlace, status: PodStatus) -> None:
        """Count the loads that a pod tells of; until it is known which were counted, they wait there.

        Of a pod that serves something else than its place says, nobody counts anything.
        """
        if (self._is_read or self._is_failing) and (not status.model or _serves(status, place)):
            now_s, is_all_known = self._wall_s(), self._is_read
            self.engine.take_loads(place.model, place.version, status, now_s, is_all_known=is_all_known)

    def labelled(self, events: Iterable[LabelEvent]) -> None:
        """Count late labels that met their answers."""
        self._heed_the_clock()
        self.engine.take_labels(events, self._wall_s())

    def gone(self, worker: WorkerProcess) -> None:
        """A worker ended; what it told stays."""
        self.engine.worker_gone(worker.serial)

    async def run(self) -> None:
        """Judge after every slot, and keep what changed, for ever."""
        await self.save()
        due_s = next_due_s(self._wall_s())
        while True:
            before_s = self._wall_s()
            wait_s = min(_SAVE_EVERY_S, max(0.0, due_s - before_s))
            await self._sleep(wait_s)
            now_s = self._wall_s()
            self._heed_the_clock()
            # While a save was under way the clock may have been set: back, and the moment that is due is hours away; or
            # either way, and the slots are empty until they are read again.
            if not is_on_time(before_s + wait_s, now_s) or due_s > now_s + SLOT_S:
                due_s = now_s + _CATCH_UP_S
            elif now_s >= due_s and (self._is_read or self._is_failing):
                self._judge(now_s)
                due_s = next_due_s(now_s)
            self.engine.attended.note(now_s)
            await self.save()

    def _heed_the_clock(self) -> None:
        """Go on from the file as a start does once the clock is set so far that slots in memory lose what they hold.

        This comes before anything is counted by the clock as it is now: what is counted then is added to the file's.
        While the file is read, or cannot be used, this waits: whoever reads it heeds the clock, and until it can be
        written nothing is emptied.
        """
        if not self._is_read or self._is_failing:
            return
        is_set, self._offset_s = self._is_set(), self._wall_s() - self._steady_s()
        if is_set:
            self._unwritten = self._take_changes()
            self.engine.counts.empty_slots()
            self._is_read = False

    def _is_set(self) -> bool:
        """Whether the clock was set far since it was last heeded."""
        return abs(self._wall_s() - self._steady_s() - self._offset_s) > _READ_AGAIN_S

    def _judge(self, now_s: float) -> None:
        for line in self.engine.judge_alerts(now_s):
            self._say(line)
        self.outboxes.put(self.engine.take_news())
        self.engine.tidy(now_s)

    async def save(self) -> None:
        """Keep what changed; what cannot be kept is told once, counted, and tried again."""
        if not self._is_read and not await self._read():
            return
        changes = self._take_changes()
        try:
            await self._in_thread(lambda: self._write(changes))
        except asyncio.CancelledError:
            self._not_kept(changes)  # it may be under way; twice is as good as once
            raise
        except _FAILURES as error:
            self._not_kept(changes)
            self._fail(f"budgets cannot be kept in {self._path}, a restart would forget them: {error}")
        else:
            if self._is_failing:
                self._say("budgets are kept again")
            self._is_failing = False

    def _not_kept(self, changes: Changes) -> None:
        """Try these again: from the slots, or as they were taken where the slots were emptied meanwhile."""
        self.engine.not_kept(changes.slots)
        if self._unwritten is not None:
            # What was taken later comes later, for it is whole.
            self._unwritten = replace(self._unwritten, slots=changes.slots + self._unwritten.slots)

    def _take_changes(self) -> Changes:
        return replace(self.engine.take_changes(self._wall_s()), untold=self.outboxes.untold)

    async def stop(self) -> None:
        """Keep what is not kept yet."""
        await self.save()
        await self._in_thread(self._close)
        self._thread.shutdown()

    async def _read(self) -> bool:
        """Add what was kept; whether that is done. A file that cannot be read now is tried again."""
        try:
            remembered = await self._load_by_the_clock()
        except NewerFormat as newer:
            self._fail(f"{self._path} {newer}; it is left alone, and budgets are not kept")
        except (sqlite3.OperationalError, OSError) as error:
            self._fail(f"{self._path} cannot be read: budgets begin anew, and are not kept, until it can: {error}")
        except _DAMAGES as error:
            await self._in_thread(self._set_aside)
            self._unwritten = None
            self._say(
                warning(f"{self._path} is damaged and now lies in {FILE_NAME}{SET_ASIDE}; budgets begin anew: {error}")
            )
            self._is_read = True
        else:
            self._restore(remembered)
        return self._is_read

    async def _load_by_the_clock(self) -> Remembered:
        """Return what was kept until now; once more if the clock was set meanwhile, for "until now" meant another."""
        while True:
            until_s = self._wall_s()
            self._offset_s = until_s - self._steady_s()
            remembered = await self._in_thread(partial(self._load, until_s))
            if not self._is_set():
                return remembered

    def _restore(self, remembered: Remembered) -> None:
        for line in self.engine.still_firing(remembered, self._wall_s()):
            self._say(line)
        lost = self.engine.restore(remembered)
        if not self._was_read:
            self.outboxes.restore(remembered.untold, self.engine.firing_notices(self._wall_s()))
        self._was_read = True
        if lost:
            self._say(f"{lost} series of {self._path} find no room, and are not told apart or not known any more")
        self._is_read = True
        self._unwritten = None

    def _fail(self, what: str) -> None:
        self._failures += 1
        if not self._is_failing:
            self._say(what)
        self._is_failing = True

    async def _in_thread(self, work: Callable[[], Done]) -> Done:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _load(self, until_s: float) -> Remembered:
        if self._unwritten is not None:
            self._write(self._unwritten)
        return self._opened().load(until_s)

    def _write(self, changes: Changes) -> None:
        self._opened().save(changes)

    def _opened(self) -> SloStore:
        if self._store is None:
            self._store = SloStore.open(self._path)
        return self._store

    def _set_aside(self) -> None:
        self._close()
        set_aside(self._path)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def _serves(status: PodStatus, place: PodPlace) -> bool:
    return (status.model, status.version) == (place.model, place.version)


def next_due_s(now_s: float) -> float:
    """Return when workers have told of the slot that ends next."""
    return now_s + SLOT_S - (now_s - _AFTER_SLOT_S) % SLOT_S


def is_on_time(expected_s: float, now_s: float) -> bool:
    """Whether somebody woke about when they wanted: neither they were stopped nor the clock was set."""
    return abs(now_s - expected_s) <= _ON_TIME_S


def set_aside(path: Path) -> None:
    """Rename a file that is no database, in place of the one before it."""
    for suffix in ("", "-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.replace(path.with_name(path.name + SET_ASIDE + suffix))
