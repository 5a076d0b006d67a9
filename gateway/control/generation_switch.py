"""Carries out the switch to a new generation that ``generations`` decides, on the workers that run."""

from __future__ import annotations

import asyncio
import time

from gateway.control import generations
from gateway.control.generations import NOBODY_PREPARED, Action, Kill, Phase, Switch, TellCommit, TellPrepare
from gateway.control.messages import Commit, Committed, FromWorker, Prepare, Prepared
from gateway.control.worker_process import WorkerProcess
from gateway.control.workers import GenerationBlob, WorkerListener, Workers


class Vetoed(Exception):
    """The workers go on with the generation they had; the message says why."""


class NobodyPrepared(Vetoed):
    """No worker lived to say anything of the generation."""


class GenerationSwitch(WorkerListener):
    """One switch at a time; it hears of every worker that starts, speaks or ends meanwhile."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._switch: Switch | None = None
        self._target = workers.in_force
        self._over = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()
        workers.listeners.append(self)

    async def to(self, target: GenerationBlob) -> None:
        """Return when every worker decides by the new generation.

        Raises:
            Vetoed: a worker cannot build it.
            NobodyPrepared: none lived to do so.
        """
        self._target = target
        self._over.clear()
        self._free.clear()
        try:
            switch = await self._carried_out(target)
        finally:
            self._switch = None
            self._free.set()
        if switch.phase is Phase.VETOED:
            raise NobodyPrepared(switch.veto) if switch.veto == NOBODY_PREPARED else Vetoed(switch.veto)

    async def over(self) -> None:
        """Return when no switch is under way."""
        while not self._free.is_set():
            await self._free.wait()

    async def _carried_out(self, target: GenerationBlob) -> Switch:
        accepting = frozenset(worker.serial for worker in self._workers.accepting)
        starting = frozenset(worker.serial for worker in self._workers.running) - accepting
        self._take(generations.begin(target.number, accepting, starting, time.monotonic()))
        while True:
            assert self._switch is not None  # noqa: S101 - set above, cleared after this returns
            if self._switch.is_over:
                return self._switch
            try:
                async with asyncio.timeout_at(self._loop_time(self._switch.answer_by_s)):
                    await self._over.wait()
            except TimeoutError:
                self._take(generations.time_passed(self._switch, time.monotonic()))

    @staticmethod
    def _loop_time(moment_s: float) -> float:
        return asyncio.get_running_loop().time() + max(0.001, moment_s - time.monotonic())

    def _take(self, step: generations.Step) -> None:
        self._switch, actions = step
        if self._switch.phase in (Phase.COMMITTING, Phase.IN_FORCE):
            self._workers.put_in_force(self._target)
        for action in actions:
            self._act(action)
        if self._switch.is_over:
            self._over.set()

    def _act(self, action: Action) -> None:
        worker = self._workers.find(action.worker)
        if worker is None:
            return
        match action:
            case TellPrepare():
                worker.send(Prepare(self._target.number), [self._target.blob])
            case TellCommit():
                worker.send(Commit(self._target.number))
            case Kill():
                worker.kill()

    def started(self, worker: WorkerProcess) -> None:
        """A worker that starts while others prepare gets both steps once they have."""
        if self._switch is not None:
            self._switch = generations.joined(self._switch, worker.serial)

    def said(self, worker: WorkerProcess, message: FromWorker) -> None:
        """Pass answers on to the decision."""
        if self._switch is None:
            return
        now_s = time.monotonic()
        match message:
            case Prepared(generation=generation, error=error):
                self._take(generations.prepared(self._switch, worker.serial, generation, error, now_s))
            case Committed(generation=generation):
                self._take(generations.committed(self._switch, worker.serial, generation, now_s))

    def gone(self, worker: WorkerProcess) -> None:
        """Go on without a worker that ended."""
        if self._switch is not None:
            self._take(generations.gone(self._switch, worker.serial, time.monotonic()))
