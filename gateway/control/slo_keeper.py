"""Runs the engine of objectives: workers' tallies in; event lines, alerts, the kept file and pods' objectives out."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from gateway.control.events import Say
from gateway.control.messages import SLOT_S, FromWorker, Tally
from gateway.control.slo_engine import Dropped, SloEngine
from gateway.control.slo_kept import Changes, Kept
from gateway.control.slo_store import FILE_NAME, SloStore
from gateway.control.state_dir import write_private
from gateway.control.worker_process import WorkerProcess
from gateway.control.workers import WorkerListener
from policies.snapshot import Snapshot

# Objectives by model, for whoever counts attempts beside a pod.
OBJECTIVES_FILE = "slos.json"
SET_ASIDE = ".broken"
# A worker tells of a slot within a second after its end.
_AFTER_SLOT_S = 1.5
_NOT_SAVED: Dropped = ("slo_saves", "failed")


class SloKeeper(WorkerListener):
    """The engine, and the one thread that uses the kept file.

    Args:
        wall_s: tells seconds since the epoch.

    Attributes:
        engine: counts and decides.
    """

    def __init__(self, state: Path, say: Say, wall_s: Callable[[], float] = time.time) -> None:
        self.engine = SloEngine(wall_s())
        self._wall_s = wall_s
        self._state = state
        self._say = say
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="slo-store")
        self._store: SloStore | None = None
        self._failures = 0
        self._is_failing = False

    @property
    def dropped(self) -> dict[Dropped, int]:
        """What was not counted, not told or not kept, since the supervisor's start."""
        return self.engine.dropped | {_NOT_SAVED: self._failures}

    async def restore(self) -> None:
        """Go on from what was kept, before anything is counted; a file that cannot be read costs that alone."""
        kept, problem = await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
        if problem:
            self._say(f"{self._state / FILE_NAME} {problem}")
        self.engine.restore(kept, self._wall_s())

    def follow(self, snapshot: Snapshot) -> None:
        """Follow a generation that is in force, and let pods' sidecars know its objectives."""
        self.engine.follow(snapshot)
        objectives = msgspec.json.encode(self.engine.objectives)
        write_private(self._state / OBJECTIVES_FILE, msgspec.json.format(objectives) + b"\n")

    def said(self, worker: WorkerProcess, message: FromWorker) -> None:
        """Count what a worker tells."""
        if isinstance(message, Tally):
            self.engine.take(worker.serial, message, self._wall_s())

    def gone(self, worker: WorkerProcess) -> None:
        """A worker ended; what it told stays."""
        self.engine.worker_gone(worker.serial)

    async def run(self) -> None:
        """Judge and keep after every slot, for ever."""
        while True:
            await asyncio.sleep(until_next_s(self._wall_s()))
            for line in self.engine.judge_alerts(self._wall_s()):
                self._say(line)
            self.engine.tidy(self._wall_s())
            await self.save()

    async def stop(self) -> None:
        """Keep what is not kept yet."""
        await self.save()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _load(self) -> tuple[Kept, str]:
        """Return what was kept, and what is wrong with the file."""
        path = self._state / FILE_NAME
        try:
            self._store = SloStore.open(path)
            return self._store.load(), ""
        except (sqlite3.OperationalError, OSError) as error:
            return Kept(), f"cannot be read, so budgets begin anew: {error}"
        except sqlite3.DatabaseError as error:
            self._close()
            set_aside(path)
            return Kept(), f"is damaged and now lies in {path.name}{SET_ASIDE}; budgets begin anew: {error}"

    async def save(self) -> None:
        """Keep what changed; what cannot be kept is told once, counted, and tried again."""
        changes = self.engine.take_changes(self._wall_s())
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, changes)
        except asyncio.CancelledError:
            self.engine.not_kept(changes.slots)  # it may be under way; twice is as good as once
            raise
        except (sqlite3.Error, OSError) as error:
            self.engine.not_kept(changes.slots)
            self._failures += 1
            if not self._is_failing:
                self._say(f"budgets cannot be kept in {self._state / FILE_NAME}, a restart would forget them: {error}")
            self._is_failing = True
        else:
            if self._is_failing:
                self._say("budgets are kept again")
            self._is_failing = False

    def _write(self, changes: Changes) -> None:
        if self._store is None:
            self._store = SloStore.open(self._state / FILE_NAME)
        self._store.save(changes)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def until_next_s(now_s: float) -> float:
    """Return the time until workers have told of the slot that ends next."""
    return SLOT_S - (now_s - _AFTER_SLOT_S) % SLOT_S


def set_aside(path: Path) -> None:
    """Rename a file that is no database, in place of the one before it."""
    for suffix in ("", "-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.replace(path.with_name(path.name + SET_ASIDE + suffix))
