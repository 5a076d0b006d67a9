"""Takes over what a worker that has ended left in the limit table: its places in flight are free again."""

from __future__ import annotations

import asyncio

from gateway.control.worker_process import WorkerProcess
from gateway.control.workers import WorkerListener
from gateway.limits.table import LimitTable


class LimitFolder(WorkerListener):
    """Folds the columns of workers that are gone, in a thread: there may be tens of thousands of limits."""

    def __init__(self, table: LimitTable) -> None:
        self._table = table
        self._folding: set[asyncio.Future[None]] = set()

    def gone(self, worker: WorkerProcess) -> None:
        """A worker ended."""
        folding = asyncio.ensure_future(asyncio.to_thread(self._table.fold_abandoned))
        self._folding.add(folding)
        folding.add_done_callback(self._folding.discard)
