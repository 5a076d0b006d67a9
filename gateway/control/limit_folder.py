"""Takes over what workers that have ended left in the limit table: their places in flight are free again."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from gateway.control.worker_process import WorkerProcess
from gateway.control.workers import WorkerListener
from gateway.limits.table import LimitTable

# Workers of an earlier supervisor, which end unseen, are found by looking.
_LOOK_EVERY_S = 30.0
_FIRST_LOOK_S = 6.0


class LimitFolder(WorkerListener):
    """Folds the columns of workers that are gone, in one thread: there may be tens of thousands of limits."""

    def __init__(self, table: LimitTable) -> None:
        self._table = table
        self._somebody_left = asyncio.Event()

    def gone(self, worker: WorkerProcess) -> None:
        """A worker ended."""
        self._somebody_left.set()

    async def run(self) -> None:
        """Fold when a worker has ended, and now and then, for ever."""
        wait_s = _FIRST_LOOK_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._somebody_left.wait()
            wait_s = _LOOK_EVERY_S
            self._somebody_left.clear()
            await asyncio.to_thread(self._table.fold_abandoned)
