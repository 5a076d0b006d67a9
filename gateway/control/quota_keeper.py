"""Keeps quotas leased: a thread asks the ledger ten times a second, and at once when a request waits for more.

The supervisor's loop only hands over what workers and people want, and tells what came of it. A ledger that cannot be
used costs no request that what was leased before has room for; the rest is refused as pending, never let for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from gateway.control.events import Say
from gateway.control.ledger.protocol import Grant, Ledger, LedgerUnavailable
from gateway.control.ledger.sqlite_ledger import FILE_NAME, SqliteLedger
from gateway.control.messages import FromWorker, QuotaWanted
from gateway.control.quota_lessor import QuotaLessor
from gateway.control.quota_view import Standing
from gateway.control.worker_process import WorkerProcess
from gateway.control.workers import WorkerListener
from gateway.limits.table import LimitTable
from policies.snapshot.generation import Snapshot
from telemetry.logs.line import warning

LOOK_EVERY_S = 0.1
# A ledger that failed is left alone for a moment, lest a full disk is written to ten times a second.
_AFTER_FAILURE_S = 1.0
# Prometheus reads every 15 s or so.
_SHOWN_EVERY_S = 5.0
# Accounts that workers may wait for between two looks; one that is not noted is wanted again by the next request.
_MAX_WAITED = 10_000

Done = TypeVar("Done")


class QuotaKeeper(WorkerListener):
    """Every quota of the generation in force, and grants on top of them.

    Args:
        table: only this keeper's thread locks rows of it in this process.

    Attributes:
        standings: how every quota stands for metrics, five seconds old at most.
        trouble: why the ledger cannot be used, "" when it can.
    """

    def __init__(
        self,
        state: Path,
        table: LimitTable,
        say: Say,
        *,
        wall_s: Callable[[], float] = time.time,
        open_ledger: Callable[[], Ledger] | None = None,
    ) -> None:
        self.standings: tuple[Standing, ...] = ()
        self._say = say
        self._wall_s = wall_s
        self._lessor = QuotaLessor(table, open_ledger or (lambda: SqliteLedger.open(state / FILE_NAME)), wall_s)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="quotas")
        self._waited: dict[str, int] = {}
        self._is_wanted = asyncio.Event()
        self._shown_s = 0.0
        self.trouble = ""

    # --- WorkerListener

    def said(self, worker: WorkerProcess, message: FromWorker) -> None:
        """Note what a request waits for."""
        if not isinstance(message, QuotaWanted):
            return
        for account, amount in message.amounts.items():
            if account in self._waited or len(self._waited) < _MAX_WAITED:
                self._waited[account] = max(amount, self._waited.get(account, 0))
        self._is_wanted.set()

    # --- generations

    async def expect(self, snapshot: Snapshot) -> None:
        """Have something of every quota of a generation before a worker decides by it."""
        await self._try(lambda: self._lessor.expect(snapshot))

    async def follow(self, snapshot: Snapshot) -> None:
        """Go by the generation that is in force."""
        await self._try(lambda: self._lessor.follow(snapshot))

    # --- the watch

    async def run(self) -> None:
        """Look at quotas, for ever."""
        while True:
            await self.look()
            await self._wanted_within(_AFTER_FAILURE_S if self.trouble else LOOK_EVERY_S)

    async def look(self) -> None:
        """Lease what is due, and tell what was passed."""
        waited, self._waited = self._waited, {}
        self._is_wanted.clear()
        for line in await self._try(lambda: self._lessor.look(waited)) or ():
            self._say(line)
        now_s = self._wall_s()
        if not 0.0 <= now_s - self._shown_s < _SHOWN_EVERY_S:
            self._shown_s = now_s
            self.standings = await self._in_thread(self._lessor.known)

    async def _wanted_within(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._is_wanted.wait()
        except TimeoutError:
            return

    # --- for people

    async def show(self) -> tuple[Standing, ...]:
        """Return how every quota stands now."""
        return await self._in_thread(self._lessor.standings)

    async def grants(self) -> list[Grant]:
        """Return all grants.

        Raises:
            LedgerUnavailable: they cannot be read.
        """
        return await self._in_thread(lambda: self._lessor.ledger.grants())

    async def add_grant(self, grant: Grant) -> None:
        """Keep a grant, and let it count at once.

        Raises:
            LedgerUnavailable, TooManyGrants: it is not kept.
        """

        def add() -> None:
            self._lessor.ledger.add_grant(grant, self._wall_s())
            self._lessor.grants_changed()

        await self._in_thread(add)

    async def end_grant(self, grant_id: str, by: str) -> Grant | None:
        """Let a grant end now, and return it; None when none of this id counts.

        Raises:
            LedgerUnavailable: it goes on.
        """

        def end() -> Grant | None:
            ended = self._lessor.ledger.end_grant(grant_id, by, self._wall_s())
            self._lessor.grants_changed()
            return ended

        return await self._in_thread(end)

    async def stop(self) -> None:
        """Tell the ledger what workers used to their end, and close it."""
        for line in await self._try(self._lessor.finish) or ():
            self._say(line)
        await self._in_thread(self._lessor.close)
        self._thread.shutdown()

    async def _try(self, work: Callable[[], Done]) -> Done | None:
        """Do what needs the ledger; that it fails is told once, and that it is well again."""
        try:
            done = await self._in_thread(work)
        except LedgerUnavailable as error:
            if not self.trouble:
                self._say(warning(f"the ledger of quotas cannot be used, so no more of any quota is let: {error}"))
            self.trouble = str(error) or "it does not say why"
            return None
        if self.trouble:
            self._say("the ledger of quotas can be used again")
        self.trouble = ""
        return done

    async def _in_thread(self, work: Callable[[], Done]) -> Done:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
