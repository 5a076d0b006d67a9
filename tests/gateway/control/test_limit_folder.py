"""What a worker that was killed held is free again without anybody asking."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from gateway.control.limit_folder import LimitFolder
from gateway.control.worker_process import WorkerProcess
from gateway.limits.table import LimitTable, RowKind
from tests.gateway.policy import limits_memory

HOLDER = """
import sys, os, signal
from gateway.limits.table import LimitTable, RowKind
table = LimitTable(int(sys.argv[1]))
table.take_column()
table.add(table.find("places", RowKind.IN_FLIGHT), 3)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_that_is_gone_leaves_no_place_taken() -> None:
    fd = limits_memory()
    table = LimitTable(fd)
    places = table.find("places", RowKind.IN_FLIGHT)
    worker = subprocess.Popen([sys.executable, "-c", HOLDER, str(fd)], pass_fds=[fd])
    worker.wait()
    assert table.in_flight(places) == 3

    async def story() -> None:
        folder = LimitFolder(table)
        running = asyncio.create_task(folder.run())
        folder.gone(WorkerProcess(0, 1, worker))
        async with asyncio.timeout(60):
            while table.in_flight(places):  # noqa: ASYNC110  the table has no events
                await asyncio.sleep(0.001)
        running.cancel()

    asyncio.run(story())
    os.close(fd)
