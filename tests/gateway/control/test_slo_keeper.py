"""The keeper with a true file: what it keeps, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from gateway.control.slo_keeper import SloKeeper, until_next_s
from telemetry.slo.events import EventCount
from tests.fakes.told import Told
from tests.gateway.control.objectives import SNAPSHOT, START_S, events, tally

NOW_S = START_S + 5.0


def counted(keeper: SloKeeper) -> EventCount:
    return keeper.engine.counts.of("digits-availability", "digits").count(600.0, NOW_S + 10)


async def opened(state: Path, told: Told) -> SloKeeper:
    keeper = SloKeeper(state, told, lambda: NOW_S)
    await keeper.restore()
    keeper.follow(SNAPSHOT)
    return keeper


def test_a_restart_goes_on_with_the_same_counts(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told()
        first = await opened(tmp_path, told)
        first.engine.take(1, tally(NOW_S, events(90, 10)), NOW_S)
        await first.stop()
        second = await opened(tmp_path, told)
        second.engine.take(1, tally(NOW_S, events(1)), NOW_S)
        assert counted(second) == EventCount(91, 10)
        await second.stop()
        third = await opened(tmp_path, told)
        assert counted(third) == EventCount(91, 10)
        await third.stop()
        assert told.lines == []

    asyncio.run(story())


def test_what_cannot_be_kept_is_told_once_counted_and_kept_later(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told()
        keeper = await opened(tmp_path, told)
        with sqlite3.connect(tmp_path / "slo.db") as other:
            other.execute("ALTER TABLE slot RENAME TO away")
        for good in (1, 2):
            keeper.engine.take(1, tally(NOW_S, events(good)), NOW_S)
            await keeper.save()
        assert keeper.dropped["slo_saves", "failed"] == 2
        with other:
            other.execute("ALTER TABLE away RENAME TO slot")
        other.close()
        await keeper.stop()
        assert ["cannot be kept" in line for line in told.lines] == [True, False]
        assert told.lines[1] == "budgets are kept again"
        again = await opened(tmp_path, told)
        assert counted(again) == EventCount(3)
        await again.stop()

    asyncio.run(story())


def test_a_file_that_cannot_be_opened_costs_the_budgets_and_is_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told()
        (tmp_path / "slo.db").mkdir()
        keeper = await opened(tmp_path, told)
        assert "cannot be read, so budgets begin anew" in told.lines[0]
        keeper.engine.take(1, tally(NOW_S, events(4)), NOW_S)
        (tmp_path / "slo.db").rmdir()
        await keeper.stop()
        again = await opened(tmp_path, told)
        assert counted(again) == EventCount(4)
        await again.stop()

    asyncio.run(story())


@pytest.mark.parametrize(("now_s", "wait_s"), [(100.0, 1.5), (101.0, 0.5), (101.5, 10.0), (109.0, 2.5)])
def test_alerts_are_judged_once_workers_have_told_of_a_slot(now_s: float, wait_s: float) -> None:
    assert until_next_s(now_s) == pytest.approx(wait_s)


def test_each_slot_is_judged_told_and_kept(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told()
        # The slot ends 1.5 s before the moment at which all have told of it.
        moments_s = iter([START_S, START_S, START_S + 11.499])
        keeper = SloKeeper(tmp_path, told, lambda: next(moments_s, START_S + 11.5))
        await keeper.restore()
        keeper.follow(SNAPSHOT)
        keeper.engine.take(1, tally(START_S, events(900, 100)), START_S)
        running = asyncio.create_task(keeper.run())
        await told.line("page 1h fires (1h burns 100x, 5m burns 100x, limit 14.4x")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await keeper.stop()
        again = await opened(tmp_path, told)
        assert [key.name for key in again.engine.alerts.firing()] == ["page 1h", "ticket 1d"]
        await again.stop()

    asyncio.run(story())
