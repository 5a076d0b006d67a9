"""The keeper with a true file: what it keeps, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from gateway.control.desired import PodPlace
from gateway.control.messages import LimitUses, Tally
from gateway.control.slo_engine import alert_key
from gateway.control.slo_keeper import SloKeeper, is_on_time, next_due_s
from gateway.control.worker_process import WorkerProcess
from model_pod.wire.status import LoadEnded
from policies.snapshot.mesh import Alerting, Mesh, Webhook
from policies.snapshot.slos import BurnAlert
from telemetry.slo.alerts import Firing
from telemetry.slo.events import EventCount
from tests.fakes.told import Told
from tests.gateway.control.objectives import (
    AVAILABILITY,
    PAGE,
    SNAPSHOT,
    START_S,
    events,
    label,
    loads,
    tally,
    with_others,
)

NOW_S = START_S + 5.0
DAY_S = 86_400.0
PLACE = PodPlace("digits/1/0", "digits", "1", "unix:/pod.sock", None)
TOLD_LOAD = loads(LoadEnded(1, NOW_S - 1.0, 60.0, True))


class Clock:
    """Two clocks that go on by sleeping, and one of which can be set.

    Attributes:
        stops_s: for how long a sleep that ends after these moments is drawn out, as by a stop of the process.
    """

    def __init__(self, wall_s: float = NOW_S) -> None:
        self.wall_s = wall_s
        self.steady_s = 0.0
        self.stops_s: dict[float, float] = {}
        self._slept = asyncio.Event()

    def wall(self) -> float:
        return self.wall_s

    def steady(self) -> float:
        return self.steady_s

    async def sleep(self, wait_s: float) -> None:
        """Go on at once: who slept has the first word after it, as timers have in a loop that was stopped."""
        self.pass_by(wait_s)
        for moment_s in [at_s for at_s in self.stops_s if self.wall_s >= at_s]:
            self.pass_by(self.stops_s.pop(moment_s))
        self._slept.set()

    async def until(self, wall_s: float) -> None:
        """Wait until somebody slept to this moment."""
        while self.wall_s < wall_s:
            self._slept.clear()
            await self._slept.wait()

    def pass_by(self, length_s: float) -> None:
        self.wall_s += length_s
        self.steady_s += length_s


def counted(keeper: SloKeeper, window_s: float = 600.0) -> EventCount:
    return keeper.engine.counts.of("digits-availability", "digits").count(window_s, NOW_S + 10)


def made(state: Path, told: Told, clock: Clock | None = None) -> SloKeeper:
    clock = clock or Clock()
    keeper = SloKeeper(state, told, clock.wall, clock.steady, clock.sleep)
    keeper.follow(SNAPSHOT)
    return keeper


async def opened(state: Path, told: Told) -> SloKeeper:
    keeper = made(state, told)
    await keeper.save()
    return keeper


@asynccontextmanager
async def running(keeper: SloKeeper) -> AsyncIterator[None]:
    """Let it run meanwhile."""
    task = asyncio.create_task(keeper.run())
    yield
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError), ended


class Worker:
    """One that tells, as far as a keeper knows it."""

    serial = 1

    def __str__(self) -> str:
        return "worker 0"


WORKER = cast(WorkerProcess, Worker())


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


def test_a_load_that_its_pod_tells_before_and_after_a_restart_counts_once(tmp_path: Path) -> None:
    async def story() -> None:
        for _ in range(2):
            keeper = made(tmp_path, Told())
            keeper.follow(with_others())
            keeper.loaded(PLACE, TOLD_LOAD)  # before the file is read it is not known whether it was counted
            await keeper.save()
            for _ in range(2):
                keeper.loaded(PLACE, TOLD_LOAD)
            assert keeper.engine.counts.of("digits-loads", "digits").count(600.0, NOW_S + 10) == EventCount(0, 1)
            await keeper.stop()

    asyncio.run(story())


def test_where_the_file_cannot_be_read_loads_count_from_the_start_on(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "slo.db").mkdir()
        keeper = made(tmp_path, Told())
        keeper.follow(with_others())
        await keeper.save()
        before, since = LoadEnded(1, NOW_S - 1.0, 60.0, True), LoadEnded(2, NOW_S, 60.0, True)
        keeper.loaded(PLACE, loads(before, since))
        assert keeper.engine.counts.of("digits-loads", "digits").count(600.0, NOW_S + 10) == EventCount(0, 1)

    asyncio.run(story())


def test_a_pod_that_serves_something_else_than_its_place_says_counts_for_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        keeper = made(tmp_path, Told())
        keeper.follow(with_others())
        await keeper.save()
        keeper.loaded(PLACE, replace(TOLD_LOAD, version="2"))
        assert keeper.engine.counts.of("digits-loads", "digits").count(600.0, NOW_S + 10) == EventCount()
        await keeper.stop()

    asyncio.run(story())


def test_labels_are_kept_in_the_slots_of_their_requests(tmp_path: Path) -> None:
    async def story() -> None:
        first = made(tmp_path, Told())
        first.follow(with_others())
        await first.save()
        first.labelled([label(NOW_S - 3 * 3600.0, is_right=False), label(NOW_S, is_right=True)])
        await first.stop()
        second = made(tmp_path, Told())
        second.follow(with_others())
        await second.save()
        counted = second.engine.counts.of("digits-right", "digits")
        assert counted.count(60.0, START_S - 3 * 3600.0 + 60.0) == EventCount(0, 1)
        assert counted.count(600.0, NOW_S + 10) == EventCount(1)
        await second.stop()

    asyncio.run(story())


def test_what_limits_did_is_counted(tmp_path: Path) -> None:
    keeper = made(tmp_path, Told())
    for _ in range(2):
        keeper.said(WORKER, LimitUses({"gold": 2}, {"trial": 1}))
    assert (keeper.engine.limits.refused, keeper.engine.limits.observed) == ({"gold": 4}, {"trial": 2})


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
        assert "cannot be read: budgets begin anew, and are not kept, until it can" in told.lines[0]
        keeper.engine.take(1, tally(NOW_S, events(4)), NOW_S)
        (tmp_path / "slo.db").rmdir()
        await keeper.stop()
        again = await opened(tmp_path, told)
        assert counted(again) == EventCount(4)
        await again.stop()

    asyncio.run(story())


def test_a_file_that_is_locked_at_the_start_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.control.slo_store._BUSY_WITHIN_S", 0.0)

    async def story() -> None:
        told = Told()
        first = await opened(tmp_path, told)
        first.engine.take(1, tally(NOW_S, events(90, 10)), NOW_S)
        await first.stop()
        with closing(sqlite3.connect(tmp_path / "slo.db", isolation_level=None)) as other:
            other.execute("PRAGMA journal_mode = DELETE")
            other.execute("BEGIN EXCLUSIVE")
            second = made(tmp_path, told)
            second.engine.take(1, tally(NOW_S, events(1)), NOW_S)
            await second.save()
            assert counted(second) == EventCount(1)
            assert second.dropped["slo_saves", "failed"] == 1
        await second.save()
        assert counted(second) == EventCount(91, 10)
        await second.stop()
        third = await opened(tmp_path, told)
        assert counted(third) == EventCount(91, 10)
        await third.stop()
        assert len(told.lines) == 2
        assert "is locked" in told.lines[0]
        assert told.lines[1] == "budgets are kept again"

    asyncio.run(story())


def test_a_file_of_a_newer_penstock_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "slo.db"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 2")
    before = path.read_bytes()

    async def story() -> None:
        told = Told()
        keeper = await opened(tmp_path, told)
        keeper.engine.take(1, tally(NOW_S, events(4)), NOW_S)
        await keeper.stop()
        assert len(told.lines) == 1
        assert "has format 2, which a newer Penstock wrote; this one knows format 1; it is left alone" in told.lines[0]

    asyncio.run(story())
    assert path.read_bytes() == before
    assert {one.name for one in tmp_path.iterdir()} == {"slo.db", "slos.json"}


def test_a_file_whose_slots_are_no_numbers_is_set_aside(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told()
        first = await opened(tmp_path, told)
        first.engine.take(1, tally(NOW_S, events(4)), NOW_S)
        await first.stop()
        with closing(sqlite3.connect(tmp_path / "slo.db")) as other:
            other.execute("UPDATE slot SET good = 'many'")
            other.commit()
        second = await opened(tmp_path, told)
        await second.stop()
        assert "is damaged and now lies in slo.db.broken" in told.lines[0]
        assert (tmp_path / "slo.db.broken").exists()

    asyncio.run(story())


@pytest.mark.parametrize(("now_s", "wait_s"), [(100.0, 1.5), (101.0, 0.5), (101.5, 10.0), (109.0, 2.5)])
def test_alerts_are_judged_once_workers_have_told_of_a_slot(now_s: float, wait_s: float) -> None:
    assert next_due_s(now_s) == pytest.approx(now_s + wait_s)


@pytest.mark.parametrize(("now_s", "on_time"), [(100.0, True), (100.9, True), (101.1, False), (98.9, False)])
def test_who_wakes_much_later_or_earlier_was_stopped_or_has_another_clock(now_s: float, on_time: bool) -> None:
    assert is_on_time(100.0, now_s) is on_time


def test_each_slot_is_judged_told_and_kept(tmp_path: Path) -> None:
    async def story() -> None:
        told, clock = Told(), Clock(START_S)
        keeper = made(tmp_path, told, clock)
        keeper.engine.take(1, tally(START_S, events(900, 100)), START_S)
        async with running(keeper):
            await clock.until(START_S + 12)
        assert "page 1h fires (1h burns 100x, 5m burns 100x, limit 14.4x" in told.lines[0]
        await keeper.stop()
        again = await opened(tmp_path, told)
        assert [key.name for key in again.engine.alerts.firing()] == ["page 1h", "ticket 1d"]
        assert told.lines[2:] == [
            f"slo digits-availability of digits: {name} still fires, since 08:00:10 UTC"
            for name in ("page 1h", "ticket 1d")
        ]
        await again.stop()

    asyncio.run(story())


def test_what_was_counted_is_in_the_file_within_seconds(tmp_path: Path) -> None:
    async def story() -> None:
        told, clock = Told(), Clock(START_S + 2)
        keeper = made(tmp_path, told, clock)
        keeper.engine.take(1, tally(START_S, events(7)), START_S + 2)
        async with running(keeper):
            await clock.until(START_S + 2 + 6)  # it sleeps again, so what was to be kept after 3 s is
        with closing(sqlite3.connect(tmp_path / "slo.db")) as other:
            assert other.execute("SELECT max(good) FROM slot").fetchone() == (7,)
        await keeper.stop()

    asyncio.run(story())


def test_after_a_stop_of_the_supervisor_nothing_is_judged_before_what_workers_told_is_read(tmp_path: Path) -> None:
    async def story() -> None:
        told, clock = Told(), Clock(START_S)
        keeper = made(tmp_path, told, clock)
        keeper.engine.take(1, tally(START_S, events(900, 100)), START_S)
        async with running(keeper):
            await clock.until(START_S + 12)
        fired = len(told.lines)
        clock.stops_s[clock.wall_s] = 600.0
        async with running(keeper):
            await clock.until(START_S + 610)
            # What was told during the stop is read once the loop goes on, after the first timers have run.
            for slot in range(60):
                at_s = START_S + 20 + 10 * slot
                keeper.engine.take(1, tally(at_s, events(900, 100)), clock.wall_s)
            await clock.until(START_S + 640)
        assert told.lines[fired:] == []
        await keeper.stop()

    asyncio.run(story())


@pytest.mark.parametrize("ahead_s", [4 * 3600.0, 5 * DAY_S, 1000 * DAY_S])
def test_a_clock_that_is_set_ahead_and_back_costs_no_budget(tmp_path: Path, ahead_s: float) -> None:
    async def story() -> None:
        told, clock = Told(), Clock(NOW_S)
        keeper = made(tmp_path, told, clock)
        async with running(keeper):
            keeper.said(WORKER, tally(NOW_S, events(90, 10)))
            for offset_s in (ahead_s, -ahead_s):
                await clock.until(clock.wall_s + 7)
                keeper.said(WORKER, tally(clock.wall_s, events(1)))
                clock.wall_s += offset_s
                keeper.said(WORKER, tally(clock.wall_s, events(1)))
            await clock.until(clock.wall_s + 14)
        counts = keeper.engine.counts.of("digits-availability", "digits")
        # One was told before each step and one after each, and one of them at the wrong time, which is to come.
        assert [counts.count(window_s, clock.wall_s) for window_s in (3600.0, 30 * DAY_S)] == [EventCount(92, 10)] * 2
        await keeper.stop()

    asyncio.run(story())


# It looks back so far that a clock which is set by some hours changes nothing.
LONG = BurnAlert("ticket", "ticket 3d", 1.0, 3 * DAY_S, 6 * 3600.0)
LOOKS_BACK = replace(
    SNAPSHOT, objectives=SNAPSHOT.objectives | {AVAILABILITY.name: replace(AVAILABILITY, alerts=(LONG,))}
)


def test_a_clock_that_is_set_ahead_during_a_save_resolves_no_alert(tmp_path: Path) -> None:
    async def story() -> None:
        told, clock = Told(), Clock(START_S)
        keeper = made(tmp_path, told, clock)
        keeper.follow(LOOKS_BACK)
        keeper.engine.take(1, tally(START_S, events(900, 100)), START_S)
        async with running(keeper):
            await clock.until(START_S + 12)  # it has judged, and saves
            clock.wall_s += 3 * 3600.0
            keeper.said(WORKER, tally(clock.wall_s, events(1)))
            await clock.until(clock.wall_s + 30)
        assert [" fires " in line for line in told.lines] == [True]
        await keeper.stop()

    asyncio.run(story())


def test_after_a_clock_is_set_back_during_a_save_alerts_are_judged_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        told, clock = Told(), Clock(START_S + 4 * 3600.0)
        keeper = made(tmp_path, told, clock)
        async with running(keeper):
            await clock.until(clock.wall_s + 12)
            clock.wall_s -= 4 * 3600.0
            keeper.said(WORKER, tally(clock.wall_s, events(900, 100)))
            await clock.until(clock.wall_s + 30)
        assert "page 1h fires" in told.lines[0]
        await keeper.stop()

    asyncio.run(story())


def test_a_clock_that_is_set_during_a_save_that_fails_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.control.slo_store._BUSY_WITHIN_S", 0.0)

    async def story() -> None:
        told, clock = Told(), Clock()
        keeper = made(tmp_path, told, clock)
        await keeper.save()
        keeper.said(WORKER, tally(NOW_S, events(90, 10)))
        with closing(sqlite3.connect(tmp_path / "slo.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            saving = asyncio.create_task(keeper.save())
            await asyncio.sleep(0)  # it has taken what changed, and has not heard what became of it
            clock.wall_s += 3 * 3600.0
            keeper.said(WORKER, tally(clock.wall_s, events(1)))
            await saving
            assert keeper.dropped["slo_saves", "failed"] == 1
        await keeper.save()
        counts = keeper.engine.counts.of("digits-availability", "digits")
        assert counts.count(DAY_S, clock.wall_s + 10) == EventCount(91, 10)
        await keeper.stop()

    asyncio.run(story())


@pytest.mark.parametrize("behind_s", [3 * 3600.0, 1000 * DAY_S])
def test_a_clock_that_is_set_right_while_the_file_is_read_costs_no_budget(tmp_path: Path, behind_s: float) -> None:
    async def story() -> None:
        first = await opened(tmp_path, Told())
        first.engine.take(1, tally(NOW_S, events(90, 10)), NOW_S)
        await first.stop()
        clock = Clock(NOW_S + 10 - behind_s)
        second = made(tmp_path, Told(), clock)
        reading = asyncio.create_task(second.save())
        await asyncio.sleep(0)  # it has asked for what was kept until now, and has not heard
        clock.wall_s += behind_s
        second.said(WORKER, tally(clock.wall_s, events(1)))
        await reading
        await second.save()
        counts = second.engine.counts.of("digits-availability", "digits")
        assert counts.count(DAY_S, clock.wall_s + 10) == EventCount(91, 10)
        await second.stop()

    asyncio.run(story())


def test_a_tally_that_cannot_be_counted_is_dropped_and_said_once(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told()
        keeper = await opened(tmp_path, told)
        for good in (2**63, 2**63, 5):
            message: Tally = tally(NOW_S, events(good))
            keeper.said(WORKER, message)
        assert keeper.dropped["tallies", "malformed"] == 2
        assert counted(keeper) == EventCount(5)
        assert len(told.lines) == 1
        assert "worker 0 told what cannot be counted" in told.lines[0]
        await keeper.stop()

    asyncio.run(story())


HOOKED = replace(SNAPSHOT, mesh=Mesh("demo", alerts=Alerting((Webhook("https://h.example/a"),))))
HOOK = "webhook/h.example"


def told_of(keeper: SloKeeper) -> list[tuple[str, bool]]:
    """Which alerts the webhook is still to be told of, and whether each is over."""
    return [(notice.alert.name, notice.ended_s is not None) for notice in keeper.outboxes.by_name[HOOK].waiting]


def test_over_restarts_nobody_is_told_twice_and_everybody_of_the_end(tmp_path: Path) -> None:
    async def story() -> None:
        told, clock = Told(), Clock(START_S)
        keeper = made(tmp_path, told, clock)
        keeper.follow(HOOKED)
        keeper.engine.take(1, tally(START_S, events(900, 100)), START_S)
        async with running(keeper):
            await clock.until(START_S + 12)
        assert told_of(keeper) == [("page 1h", False), ("ticket 1d", False)]
        box = keeper.outboxes.by_name[HOOK]
        box.told(box.waiting[:1], 0.0)  # and then it stops, before the second is told
        await keeper.stop()

        clock.pass_by(20 * DAY_S)
        again = made(tmp_path, told, clock)
        again.follow(HOOKED)
        await again.save()
        assert told_of(again) == [("ticket 1d", False)]
        async with running(again):
            await clock.until(clock.wall_s + 15)
        assert told_of(again) == [("page 1h", True), ("ticket 1d", True)]
        ended = again.outboxes.by_name[HOOK].waiting[0]
        assert (ended.began_s, ended.labels["owner"], ended.labels["tier"]) == (START_S + 10, "vision", "fast")
        await again.stop()

    asyncio.run(story())


def test_a_webhook_that_came_with_a_restart_is_told_what_fires(tmp_path: Path) -> None:
    async def story() -> None:
        told, clock = Told(), Clock(START_S)
        keeper = made(tmp_path, told, clock)
        keeper.engine.take(1, tally(START_S, events(900, 100)), START_S)
        async with running(keeper):
            await clock.until(START_S + 12)
        await keeper.stop()
        again = made(tmp_path, told, clock)
        again.follow(HOOKED)
        await again.save()
        assert told_of(again) == [("page 1h", False), ("ticket 1d", False)]
        await again.stop()

    asyncio.run(story())


def test_when_the_supervisor_ran_is_kept_and_the_time_between_is_a_gap(tmp_path: Path) -> None:
    async def story() -> None:
        told, clock = Told(), Clock(START_S)
        for _ in range(2):
            keeper = made(tmp_path, told, clock)
            async with running(keeper):
                await clock.until(clock.wall_s + 90)
            await keeper.stop()
            clock.pass_by(3600.0)
        third = made(tmp_path, told, clock)
        await third.save()
        attended = third.engine.attended
        assert [round(time.to_s - time.from_s, -2) for time in attended.times] == [100.0, 100.0]
        assert attended.has(START_S, START_S + 10)
        assert not attended.has(START_S + 200, START_S + 3000)
        await third.stop()

    asyncio.run(story())


def test_an_alert_that_is_over_stays_resolved_over_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        told, clock = Told(), Clock(START_S)
        keeper = made(tmp_path, told, clock)
        keeper.engine.take(1, tally(START_S, events(900, 100)), START_S)
        async with running(keeper):
            await clock.until(START_S + 12)
            clock.pass_by(3600.0)
            await clock.until(clock.wall_s + 30)
        await keeper.stop()
        again = await opened(tmp_path, told)
        page = alert_key(AVAILABILITY, "digits", PAGE)
        state = again.engine.alerts.of(page)
        assert (state.state, state.since_s) == (Firing.RESOLVED, keeper.engine.alerts.of(page).since_s)
        assert again.engine.alerts.transitions == keeper.engine.alerts.transitions
        await again.stop()

    asyncio.run(story())
