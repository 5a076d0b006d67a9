"""Leases between a real limit table and a ledger: what workers may spend, whoever is killed and whatever fails."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.control.ledger.memory_ledger import MemoryLedger
from gateway.control.ledger.protocol import Claim, Grant, Lease, LedgerUnavailable
from gateway.control.quota_lessor import QuotaLessor
from gateway.limits.table import LimitTable, QuotaRow, RowKind, head_of, table_bytes
from policies.snapshot import LadderStep, Mesh, Quota, Snapshot, Tenant

NOW = 1_782_907_200.0
ACCOUNT = "tenant/ads/quota/day"


class FailingLedger(MemoryLedger):
    """A ledger whose disk is full while the test says so."""

    is_full = False

    def renew(self, holder: str, number: int, claims: Sequence[Claim], now_s: float) -> list[Lease]:
        if self.is_full:
            raise LedgerUnavailable("the disk is full")
        return super().renew(holder, number, claims, now_s)


def new_table(folder: Path, born_s: float = 1.0) -> LimitTable:
    descriptor = os.open(folder / f"table-{born_s}", os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(descriptor, table_bytes(4))
    os.pwrite(descriptor, head_of(bytes(16), 4, is_cautious=False, born_s=born_s), 0)
    return LimitTable(descriptor)


def snapshot(limit: int = 1000, per: str = "calendar-day", ladder: tuple[LadderStep, ...] = ()) -> Snapshot:
    quota = Quota("day", "requests", limit, per, ladder=ladder or (LadderStep(1.0, "refuse"),))
    return Snapshot(1, "", Mesh("m"), tenants={"ads": Tenant("ads", "team", "gold", (), (), quotas=(quota,))})


NOTHING = Snapshot(2, "", Mesh("m"))


class Running:
    """A gateway with one worker, whose requests spend what the table says they may."""

    def __init__(self, folder: Path) -> None:
        self.table = new_table(folder)
        self.table.take_column()
        self.ledger = FailingLedger()
        self.lessor = QuotaLessor(self.table, lambda: self.ledger)
        self.offset = self.table.find(ACCOUNT, RowKind.QUOTA)

    @property
    def row(self) -> QuotaRow:
        return self.table.quota(self.offset)

    def spend(self, most: int) -> int:
        """Admit one request after the other, as far as there is anything unused."""
        spent = max(0, min(most, self.row.granted - self.row.used))
        self.table.add(self.offset, spent)
        return spent


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A gateway that has leased the first of its quota."""
    found = Running(tmp_path)
    found.lessor.expect(snapshot(), NOW)
    yield found
    found.lessor.close()


def test_a_quota_has_something_before_the_first_request(running: Running) -> None:
    assert (running.row.granted, running.row.used, running.row.limit) == (10, 0, 1000)
    assert running.row.resets_at_s == NOW + 43_200.0


def test_exactly_the_quota_is_spent_and_no_request_more(running: Running) -> None:
    spent, now_s = 0, NOW
    for _ in range(200):
        now_s += 0.1
        spent += running.spend(100)
        running.lessor.look({ACCOUNT: 1}, now_s)
    assert spent == 1000
    assert running.row.used + running.row.offset == 1000
    assert sum(running.ledger.use(ACCOUNT).values()) == 1000


def test_use_in_the_table_and_what_the_ledger_knows_make_the_windows_use(running: Running) -> None:
    running.spend(7)
    running.lessor.look({}, NOW + 1.0)
    running.spend(3)
    assert running.row.used + running.row.offset == 10
    running.lessor.look({}, NOW + 43_200.0)
    assert running.row.used + running.row.offset == 3, "told after midnight, so it counts for the new day"


def test_a_supervisor_that_was_killed_goes_on_where_it_was(running: Running) -> None:
    running.spend(10)
    heir = QuotaLessor(running.table, lambda: running.ledger)
    heir.expect(snapshot(), NOW + 1.0)
    assert running.row.used + running.row.offset == 10
    assert sum(running.ledger.use(ACCOUNT).values()) == 10


def test_an_answer_that_never_reached_the_table_is_asked_for_again(running: Running) -> None:
    running.ledger.renew(
        running.ledger.holders()[0], 99, [Claim(ACCOUNT, "calendar-day", "UTC", 1000, 0, 10, 900)], NOW
    )
    heir = QuotaLessor(running.table, lambda: running.ledger)
    heir.expect(snapshot(), NOW + 1.0)
    other = running.ledger.renew("other", 1, [Claim(ACCOUNT, "calendar-day", "UTC", 1000, 0, 0, 1000)], NOW + 1.0)
    assert other[0].granted_total == 1000 - running.row.granted


def test_a_table_that_is_gone_wastes_what_it_held_and_no_more(running: Running, tmp_path: Path) -> None:
    running.spend(4)
    fresh = new_table(tmp_path, born_s=2.0)
    heir = QuotaLessor(fresh, lambda: running.ledger)
    heir.expect(snapshot(), NOW + 1.0)
    row = fresh.quota(fresh.find(ACCOUNT, RowKind.QUOTA))
    assert (row.used + row.offset, row.granted) == (10, 10)
    assert len(running.ledger.holders()) == 1


def test_a_full_disk_lets_nothing_more_and_later_all_goes_on(running: Running) -> None:
    running.ledger.is_full = True
    assert running.spend(100) == 10
    with pytest.raises(LedgerUnavailable):
        running.lessor.look({ACCOUNT: 1}, NOW + 0.1)
    assert running.spend(100) == 0
    running.ledger.is_full = False
    running.lessor.look({ACCOUNT: 1}, NOW + 0.2)
    assert running.spend(100) > 0


def test_a_ledger_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    running = Running(tmp_path)
    failures = iter([LedgerUnavailable("no"), None])

    def open_ledger() -> MemoryLedger:
        failure = next(failures)
        if failure is not None:
            raise failure
        return running.ledger

    lessor = QuotaLessor(running.table, open_ledger)
    with pytest.raises(LedgerUnavailable):
        lessor.expect(snapshot(), NOW)
    assert running.spend(1) == 0
    lessor.look({}, NOW + 1.0)
    assert running.spend(1) == 1


def test_a_lower_limit_takes_back_what_no_request_has(running: Running) -> None:
    running.spend(2)
    running.lessor.expect(snapshot(limit=100), NOW + 1.0)
    assert (running.row.limit, running.row.granted - running.row.used) == (100, 1)
    running.lessor.expect(snapshot(limit=1), NOW + 2.0)
    assert running.row.used == 2


def test_a_quota_that_is_removed_gives_back_what_it_held(running: Running) -> None:
    running.spend(4)
    running.lessor.follow(NOTHING, NOW + 1.0)
    assert running.spend(10) == 0
    other = running.ledger.renew("other", 1, [Claim(ACCOUNT, "calendar-day", "UTC", 1000, 0, 0, 1000)], NOW + 1.0)
    assert (other[0].window_used, other[0].granted_total) == (4, 996)


def test_a_quota_that_comes_back_remembers_what_was_used(running: Running) -> None:
    running.spend(4)
    running.lessor.follow(NOTHING, NOW + 1.0)
    running.lessor.expect(snapshot(), NOW + 2.0)
    assert running.row.used + running.row.offset == 4
    assert running.spend(1) == 1


def test_a_grant_counts_at_once_and_ends_at_its_time(running: Running) -> None:
    grant = Grant("g", ACCOUNT, 500, NOW + 60.0, "local", "launch", NOW)
    running.ledger.add_grant(grant, NOW)
    running.lessor.grants_changed(NOW + 1.0)
    assert running.row.limit == 1500
    running.lessor.look({}, NOW + 59.0)
    running.lessor.look({}, NOW + 61.0)
    assert running.row.limit == 1000


def test_a_grant_that_is_taken_back_counts_no_more(running: Running) -> None:
    running.ledger.add_grant(Grant("g", ACCOUNT, 500, NOW + 60.0, "local", "launch", NOW), NOW)
    running.lessor.grants_changed(NOW + 1.0)
    running.ledger.end_grant("g", "local", NOW + 2.0)
    running.lessor.grants_changed(NOW + 2.0)
    assert running.row.limit == 1000


def test_what_was_reserved_and_not_used_is_not_charged(running: Running) -> None:
    running.spend(10)
    running.lessor.look({ACCOUNT: 1}, NOW + 0.1)
    running.table.add(running.offset, -9)
    running.lessor.look({}, NOW + 0.2)
    assert running.row.used + running.row.offset == 1
    assert sum(running.ledger.use(ACCOUNT).values()) == 1


def test_standings_know_use_that_the_ledger_does_not_know_yet(running: Running) -> None:
    running.spend(3)
    standing = running.lessor.standings()[0]
    assert (standing.tenant, standing.used, standing.limit, standing.held) == ("ads", 3, 1000, 7)


def test_steps_are_told_as_use_passes_them(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.lessor.expect(snapshot(100, ladder=(LadderStep(0.5, "warn"), LadderStep(1.0, "refuse"))), NOW)
    told, now_s = [], NOW
    while running.row.used < 100:
        now_s += 0.1
        running.spend(5)
        told += running.lessor.look({ACCOUNT: 1}, now_s)
    assert told == ["quota day of tenant ads passed 50% (warn)", "quota day of tenant ads passed 100% (refuse)"]


def test_more_quotas_than_one_look_is_for_are_looked_at_in_turn(tmp_path: Path) -> None:
    running = Running(tmp_path)
    quotas = tuple(Quota(f"q{n}", "requests", 1000, "calendar-day") for n in range(2500))
    tenant = Tenant("ads", "team", "gold", (), (), quotas=quotas)
    running.lessor.expect(Snapshot(1, "", Mesh("m"), tenants={"ads": tenant}), NOW)
    offsets = [running.table.find(f"tenant/ads/quota/q{n}", RowKind.QUOTA) for n in range(2500)]
    for offset in offsets:
        running.table.add(offset, 10)
    for look in range(20):
        running.lessor.look({}, NOW + look / 10)
    assert min(running.table.quota(offset).granted for offset in offsets) > 10
