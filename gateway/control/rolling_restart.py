"""Rolling restart: every worker gives way to a successor, one after the other, once that accepts."""

from __future__ import annotations

import asyncio

from gateway.control.events import Say
from gateway.control.generation_switch import GenerationSwitch
from gateway.control.messages import FromWorker
from gateway.control.worker_process import WorkerProcess
from gateway.control.workers import WorkerListener, Workers

# For a worker that gives way to finish what it has; nobody waits for it, since its successor accepts.
FINISH_WITHIN_S = 30.0
# For a successor, which has started already, to accept: as long as one may take to start on a machine that is swamped.
ACCEPT_WITHIN_S = 20.0


class RollingRestart(WorkerListener):
    """Whoever was started before it was last asked for gives way."""

    def __init__(self, workers: Workers, switch: GenerationSwitch, say: Say) -> None:
        self._workers = workers
        self._switch = switch
        self._say = say
        self._oldest_serial = 0
        self._asked = asyncio.Event()
        self._news = asyncio.Event()
        workers.listeners.append(self)

    @property
    def left(self) -> int:
        """How many workers have yet to give way."""
        return len(self._old)

    @property
    def _old(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers.running if worker.serial < self._oldest_serial]

    def ask(self) -> int:
        """Let every worker that runs now be replaced; return how many are."""
        self._oldest_serial = self._workers.next_serial
        self._asked.set()
        return self.left

    async def run(self) -> None:
        """Restart whenever it is asked for, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._say(f"every worker is replaced, one after the other: {self.left} of them")
            while old := self._old:
                if await self._is_succeeded(old[0]):
                    await self._give_way(old[0])
            self._say("every worker was replaced")

    async def _is_succeeded(self, old: WorkerProcess) -> bool:
        """Put a worker that is young enough on duty beside the others; return whether it accepts and the old may go."""
        while (successor := self._workers.relief(self._oldest_serial)) is None:
            await self._something_new()
            if old.is_gone:  # and its place was taken
                return False
        try:
            async with asyncio.timeout(ACCEPT_WITHIN_S):
                while not successor.is_accepting and not successor.is_gone:
                    await self._something_new()
        except TimeoutError:
            self._say(f"{successor} does not accept within {ACCEPT_WITHIN_S:g} s and is killed; {self.left} are left")
            successor.kill()
            await self._ended(successor)
        # A worker that leaves in the middle of a switch would be waited for there in vain.
        await self._switch.over()
        # One that died meanwhile left its place to the successor; the old one keeps its own until there is another.
        return not successor.is_gone and self._workers.has_one_more

    async def _give_way(self, old: WorkerProcess) -> None:
        self._workers.retire(old, FINISH_WITHIN_S)
        await self._ended(old)

    async def _ended(self, worker: WorkerProcess) -> None:
        while not worker.is_gone:
            await self._something_new()

    async def _something_new(self) -> None:
        self._news.clear()
        await self._news.wait()

    def started(self, worker: WorkerProcess) -> None:
        """A successor may be what is waited for."""
        self._news.set()

    def said(self, worker: WorkerProcess, message: FromWorker) -> None:
        """So may be what a worker says."""
        self._news.set()

    def gone(self, worker: WorkerProcess) -> None:
        """And so may be its end."""
        self._news.set()
