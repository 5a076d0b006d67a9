"""The keeper with its thread, a true limit table and a true ledger file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import cast

import pytest

from gateway.control.ledger.protocol import Ledger, LedgerUnavailable
from gateway.control.ledger.sqlite_ledger import FILE_NAME, SqliteLedger
from gateway.control.messages import Accepting, QuotaWanted
from gateway.control.quota_keeper import LOOK_EVERY_S, QuotaKeeper
from gateway.control.quota_lessor import AT_ONCE
from gateway.control.worker_process import WorkerProcess
from gateway.decide.quota_windows import SETTLED_BEFORE_END_S
from gateway.limits.table import LimitTable, RowKind, head_of, table_bytes
from policies.budgets import MAX_COUNTERS
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.tenant import LadderStep, Quota, Tenant
from tests.fakes.told import Told

ACCOUNT = "tenant/ads/quota/day/requests"
QUOTA = Quota("day", "requests", 100, "rolling-24h", ladder=(LadderStep(0.5, "warn"), LadderStep(1.0, "refuse")))
SNAPSHOT = Snapshot(1, "", Mesh("m"), tenants={"ads": Tenant("ads", "team", "gold", (), (), quotas=(QUOTA,))})
NOBODY = cast(WorkerProcess, None)


class Bench:
    """A keeper, and a worker's column in the table that it keeps."""

    def __init__(self, state: Path) -> None:
        descriptor = os.open(state / "table", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(descriptor, table_bytes(2))
        os.pwrite(descriptor, head_of(bytes(16), 2, is_cautious=False, born_s=1.0), 0)
        self.table = LimitTable(descriptor)
        self.table.take_column()
        self.state = state
        self.told = Told()
        self.trouble: list[LedgerUnavailable] = []
        self.keeper = QuotaKeeper(state, self.table, self.told, open_ledger=self.open_ledger)

    def open_ledger(self) -> Ledger:
        if self.trouble:
            raise self.trouble.pop()
        return SqliteLedger.open(self.state / FILE_NAME)

    @property
    def unused(self) -> int:
        row = self.table.quota(self.table.find(ACCOUNT, RowKind.QUOTA))
        return row.granted - row.used

    def spend(self, amount: int) -> None:
        self.table.add(self.table.find(ACCOUNT, RowKind.QUOTA), amount)

    def play(self, story: Callable[[], Coroutine[None, None, None]]) -> None:
        """Fill the quotas, and play a story."""

        async def run() -> None:
            await self.keeper.expect(SNAPSHOT)
            try:
                await story()
            finally:
                await self.keeper.stop()

        asyncio.run(run())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_quota_is_filled_before_its_generation_and_again_as_it_is_used(bench: Bench) -> None:
    async def story() -> None:
        assert bench.unused == 1
        bench.spend(1)
        await bench.keeper.look()
        assert bench.unused == 1

    bench.play(story)


def test_a_request_that_waits_for_more_gets_it(bench: Bench) -> None:
    async def story() -> None:
        bench.keeper.said(NOBODY, Accepting())
        bench.keeper.said(NOBODY, QuotaWanted({ACCOUNT: 60, "tenant/nobody/quota/none": 5}))
        await bench.keeper.look()
        assert bench.unused >= 60

    bench.play(story)


def test_steps_that_are_passed_are_told_and_standings_are_kept(bench: Bench) -> None:
    async def story() -> None:
        bench.keeper.said(NOBODY, QuotaWanted({ACCOUNT: 70}))
        await bench.keeper.look()
        bench.spend(70)
        await bench.keeper.look()
        assert bench.told.lines == ["quota day of tenant ads passed 50% (warn)"]
        assert [one.used for one in await bench.keeper.show()] == [70]

    bench.play(story)


def test_a_ledger_that_cannot_be_used_is_told_once_and_that_it_is_well_again(bench: Bench) -> None:
    bench.trouble = [LedgerUnavailable("the disk is full"), LedgerUnavailable("the disk is full")]

    async def story() -> None:
        running = asyncio.create_task(bench.keeper.run())
        await bench.told.line("can be used again")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert bench.unused > 0
        assert bench.keeper.trouble == ""
        assert sum("cannot be used" in line for line in bench.told.lines) == 1
        assert "the disk is full" in bench.told.lines[0]

    bench.play(story)


def test_what_may_still_come_back_is_told_before_its_window_ends() -> None:
    """With as many quotas as there can be, of two generations, of which each has its turn; looks take time too."""
    looks = -(-2 * MAX_COUNTERS // AT_ONCE) + 1  # what fell is believed by the second
    assert looks * 1.5 * LOOK_EVERY_S < SETTLED_BEFORE_END_S


def test_a_restart_on_the_same_table_loses_nothing(bench: Bench) -> None:
    async def spend() -> None:
        bench.spend(1)
        await bench.keeper.look()

    bench.play(spend)
    bench.keeper = QuotaKeeper(bench.state, bench.table, bench.told, open_ledger=bench.open_ledger)

    async def look() -> None:
        assert [one.used for one in await bench.keeper.show()] == [1]

    bench.play(look)
