"""Leases between a real limit table and a ledger: what workers may spend, whoever is killed and whatever fails."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.control.ledger.memory_ledger import MemoryLedger
from gateway.control.ledger.protocol import Claim, Grant, Lease, LedgerUnavailable
from gateway.control.quota_lessor import AT_ONCE, QuotaLessor
from gateway.decide.tables import account_of
from gateway.limits import table as limit_table
from gateway.limits.table import LimitTable, QuotaRow, RowKind, head_of, table_bytes
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.tenant import LadderStep, Quota, Tenant

NOW = 1_782_907_200.0
ACCOUNT = "tenant/ads/quota/day/requests"


class FailingLedger(MemoryLedger):
    """A ledger whose disk is full while the test says so, or after so many calls."""

    is_full = False
    is_full_after: int | None = None

    def renew(self, holder: str, number: int, claims: Sequence[Claim], now_s: float) -> list[Lease]:
        if self.is_full or self.is_full_after == 0:
            raise LedgerUnavailable("the disk is full")
        if self.is_full_after is not None:
            self.is_full_after -= 1
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
        self.now_s = NOW
        self.lessor = QuotaLessor(self.table, lambda: self.ledger, self.wall_s)
        self.offset = self.table.find(ACCOUNT, RowKind.QUOTA)

    def wall_s(self) -> float:
        """What the clock shows."""
        return self.now_s

    def at(self, now_s: float) -> QuotaLessor:
        """Set the clock, and return who leases."""
        self.now_s = now_s
        return self.lessor

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
    found.at(NOW).expect(snapshot())
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
        running.at(now_s).look({ACCOUNT: 1})
    assert spent == 1000
    assert running.row.used + running.row.offset == 1000
    assert sum(running.ledger.use(ACCOUNT).values()) == 1000


def test_use_in_the_table_and_what_the_ledger_knows_make_the_windows_use(running: Running) -> None:
    running.spend(7)
    running.at(NOW + 1.0).look({})
    running.spend(3)
    assert running.row.used + running.row.offset == 10
    running.at(NOW + 43_200.0).look({})
    assert running.row.used + running.row.offset == 3, "told after midnight, so it counts for the new day"


@pytest.mark.parametrize("readings_before", range(1, 8))
def test_use_made_after_midnight_is_never_told_of_the_day_before(running: Running, readings_before: int) -> None:
    """Midnight passes between any two readings of the clock, and a request spends at once."""
    midnight = NOW + 43_200.0
    readings = count(1)

    def wall_s() -> float:
        reading = next(readings)
        if reading == readings_before:
            running.spend(5)
        return midnight + 0.01 if reading > readings_before else midnight - 0.001

    lessor = QuotaLessor(running.table, lambda: running.ledger, wall_s)
    lessor.expect(snapshot())
    lessor.look({})
    assert running.row.used + running.row.offset == 5
    assert running.row.resets_at_s == midnight + 86_400.0


def test_one_reading_that_is_too_low_gives_nothing_back(running: Running) -> None:
    running.spend(10)
    running.at(NOW + 0.1).look({ACCOUNT: 1})
    running.table.add(running.offset, -10)
    running.at(NOW + 0.2).look({ACCOUNT: 1})
    assert sum(running.ledger.use(ACCOUNT).values()) == 10
    running.table.add(running.offset, 10)
    running.at(NOW + 0.3).look({ACCOUNT: 1})
    assert running.row.used + running.row.offset == 10
    assert sum(running.ledger.use(ACCOUNT).values()) == 10


def test_at_the_end_the_ledger_is_told_all_use_of_workers_that_are_gone(running: Running) -> None:
    running.at(NOW + 0.1).look({})
    running.table.add(running.offset, 25)
    running.at(NOW + 60.0).finish()
    assert sum(running.ledger.use(ACCOUNT).values()) == 25
    running.table.add(running.offset, -5)
    running.at(NOW + 61.0).finish()
    assert sum(running.ledger.use(ACCOUNT).values()) == 20


def test_a_supervisor_that_was_killed_goes_on_where_it_was(running: Running) -> None:
    running.spend(10)
    running.now_s = NOW + 1.0
    QuotaLessor(running.table, lambda: running.ledger, running.wall_s).expect(snapshot())
    assert running.row.used + running.row.offset == 10
    assert sum(running.ledger.use(ACCOUNT).values()) == 10


def test_an_answer_that_never_reached_the_table_is_asked_for_again(running: Running) -> None:
    running.ledger.renew(
        running.ledger.holders()[0], 99, [Claim(ACCOUNT, "calendar-day", "UTC", 1000, 0, 10, 900)], NOW
    )
    running.now_s = NOW + 1.0
    QuotaLessor(running.table, lambda: running.ledger, running.wall_s).expect(snapshot())
    other = running.ledger.renew("other", 1, [Claim(ACCOUNT, "calendar-day", "UTC", 1000, 0, 0, 1000)], NOW + 1.0)
    assert other[0].granted_total == 1000 - running.row.granted


def test_a_table_that_is_gone_wastes_what_it_held_and_no_more(running: Running, tmp_path: Path) -> None:
    running.spend(4)
    fresh = new_table(tmp_path, born_s=2.0)
    running.now_s = NOW + 1.0
    QuotaLessor(fresh, lambda: running.ledger, running.wall_s).expect(snapshot())
    row = fresh.quota(fresh.find(ACCOUNT, RowKind.QUOTA))
    assert (row.used + row.offset, row.granted) == (10, 10)
    assert len(running.ledger.holders()) == 1


def test_a_full_disk_lets_nothing_more_and_later_all_goes_on(running: Running) -> None:
    running.ledger.is_full = True
    assert running.spend(100) == 10
    with pytest.raises(LedgerUnavailable):
        running.at(NOW + 0.1).look({ACCOUNT: 1})
    assert running.spend(100) == 0
    running.ledger.is_full = False
    running.at(NOW + 0.2).look({ACCOUNT: 1})
    assert running.spend(100) > 0


def test_a_ledger_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    running = Running(tmp_path)
    failures = iter([LedgerUnavailable("no"), None])

    def open_ledger() -> MemoryLedger:
        failure = next(failures)
        if failure is not None:
            raise failure
        return running.ledger

    lessor = QuotaLessor(running.table, open_ledger, running.wall_s)
    with pytest.raises(LedgerUnavailable):
        lessor.expect(snapshot())
    assert running.spend(1) == 0
    lessor.look({})
    assert running.spend(1) == 1


def test_a_lower_limit_takes_back_what_no_request_has(running: Running) -> None:
    running.spend(2)
    running.at(NOW + 1.0).expect(snapshot(limit=100))
    assert (running.row.limit, running.row.granted - running.row.used) == (100, 1)
    running.at(NOW + 2.0).expect(snapshot(limit=1))
    assert running.row.used == 2


def test_a_quota_that_is_removed_gives_back_what_it_held(running: Running) -> None:
    running.spend(4)
    running.at(NOW + 1.0).follow(NOTHING)
    assert running.spend(10) == 0
    other = running.ledger.renew("other", 1, [Claim(ACCOUNT, "calendar-day", "UTC", 1000, 0, 0, 1000)], NOW + 1.0)
    assert (other[0].window_used, other[0].granted_total) == (4, 996)


def test_a_quota_that_comes_back_remembers_what_was_used(running: Running) -> None:
    running.spend(4)
    running.at(NOW + 1.0).follow(NOTHING)
    running.at(NOW + 2.0).expect(snapshot())
    assert running.row.used + running.row.offset == 4
    assert running.spend(1) == 1


def test_a_quota_that_counts_something_else_than_before_begins_unused(running: Running) -> None:
    running.spend(10)
    tokens = replace(snapshot().tenants["ads"].quotas[0], meter="tokens")
    of_tokens = replace(snapshot(), tenants={"ads": replace(snapshot().tenants["ads"], quotas=(tokens,))})
    running.at(NOW + 1.0).expect(of_tokens)
    running.at(NOW + 1.1).follow(of_tokens)
    assert [(one.quota.meter, one.used) for one in running.lessor.standings()] == [("tokens", 0)]
    assert running.spend(1) == 0, "what was held of the old one is given back"


def test_quotas_that_find_no_row_are_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path)
    monkeypatch.setattr(limit_table, "MAX_ROWS", 2)
    quotas = tuple(Quota(f"q{n}", "requests", 1000, "calendar-day") for n in range(3))
    tenant = Tenant("ads", "team", "gold", (), (), quotas=quotas)
    running.at(NOW).expect(Snapshot(1, "", Mesh("m"), tenants={"ads": tenant}))
    told = [line for look in range(30) for line in running.at(NOW + look / 10).look({})]
    assert told == ["2 quotas have no row in the limit table, so their requests are refused"]


def test_a_grant_counts_at_once_and_ends_at_its_time(running: Running) -> None:
    grant = Grant("g", ACCOUNT, 500, NOW + 60.0, "local", "launch", NOW)
    running.ledger.add_grant(grant, NOW)
    running.at(NOW + 1.0).grants_changed()
    assert running.row.limit == 1500
    running.at(NOW + 59.0).look({})
    running.at(NOW + 61.0).look({})
    assert running.row.limit == 1000


def test_a_grant_that_is_taken_back_counts_no_more(running: Running) -> None:
    running.ledger.add_grant(Grant("g", ACCOUNT, 500, NOW + 60.0, "local", "launch", NOW), NOW)
    running.at(NOW + 1.0).grants_changed()
    running.ledger.end_grant("g", "local", NOW + 2.0)
    running.at(NOW + 2.0).grants_changed()
    assert running.row.limit == 1000


def test_what_was_reserved_and_not_used_is_not_charged(running: Running) -> None:
    running.spend(10)
    running.at(NOW + 0.1).look({ACCOUNT: 1})
    running.table.add(running.offset, -9)
    running.at(NOW + 0.2).look({})
    running.at(NOW + 0.3).look({})
    assert running.row.used + running.row.offset == 1
    assert sum(running.ledger.use(ACCOUNT).values()) == 1


def test_standings_know_use_that_the_ledger_does_not_know_yet(running: Running) -> None:
    running.spend(3)
    standing = running.lessor.standings()[0]
    assert (standing.tenant, standing.used, standing.limit, standing.held) == ("ads", 3, 1000, 7)


def test_steps_are_told_as_use_passes_them(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.at(NOW).expect(snapshot(100, ladder=(LadderStep(0.5, "warn"), LadderStep(1.0, "refuse"))))
    told, now_s = [], NOW
    while running.row.used < 100:
        now_s += 0.1
        running.spend(5)
        told += running.at(now_s).look({ACCOUNT: 1})
    assert told == ["quota day of tenant ads passed 50% (warn)", "quota day of tenant ads passed 100% (refuse)"]


def test_a_step_that_use_passes_while_a_generation_is_expected_is_told(tmp_path: Path) -> None:
    running = Running(tmp_path)
    while running.row.used < 60:
        running.at(running.now_s + 1.0).expect(snapshot(100, ladder=(LadderStep(0.5, "warn"),)))
        assert running.spend(5)
    assert running.at(running.now_s + 1.0).look({}) == ["quota day of tenant ads passed 50% (warn)"]
    assert running.at(running.now_s + 1.0).look({}) == []


def test_a_step_that_was_passed_is_told_though_the_ledger_fails_in_the_same_look(tmp_path: Path) -> None:
    running = Running(tmp_path)
    ladder = (LadderStep(0.5, "warn"),)
    quotas = tuple(Quota(name, "requests", 100, "calendar-day", ladder=ladder) for name in ("day", "other"))
    tenant = Tenant("ads", "team", "gold", (), (), quotas=quotas)
    running.at(NOW).expect(Snapshot(1, "", Mesh("m"), tenants={"ads": tenant}))
    other = running.table.find("tenant/ads/quota/other/requests", RowKind.QUOTA)
    failures = 0
    while running.row.used < 60:
        running.spend(5)
        running.table.add(other, 1)
        running.ledger.is_full_after = 1  # what is waited for is asked first
        try:
            assert running.at(running.now_s + 1.0).look({ACCOUNT: 10}) == []
        except LedgerUnavailable:
            failures += 1
    running.ledger.is_full_after = None
    assert failures
    assert running.at(running.now_s + 1.0).look({}) == ["quota day of tenant ads passed 50% (warn)"]


def test_a_table_that_is_gone_with_its_leases_is_told_though_a_generation_opens_the_ledger(
    running: Running, tmp_path: Path
) -> None:
    successor = QuotaLessor(new_table(tmp_path, born_s=2.0), lambda: running.ledger, running.wall_s)
    successor.expect(snapshot())
    assert successor.look({}) == ["1 quotas count as used what an earlier limit table still held of them"]


def test_more_quotas_than_one_look_is_for_are_looked_at_in_turn(tmp_path: Path) -> None:
    running = Running(tmp_path)
    quotas = tuple(Quota(f"q{n}", "requests", 1000, "calendar-day") for n in range(2500))
    tenant = Tenant("ads", "team", "gold", (), (), quotas=quotas)
    running.at(NOW).expect(Snapshot(1, "", Mesh("m"), tenants={"ads": tenant}))
    offsets = [running.table.find(f"tenant/ads/quota/q{n}/requests", RowKind.QUOTA) for n in range(2500)]
    for offset in offsets:
        running.table.add(offset, 10)
    for look in range(20):
        running.at(NOW + look / 10).look({})
    assert min(running.table.quota(offset).granted for offset in offsets) > 10


def test_what_comes_back_to_a_quota_that_rests_is_told_when_its_turn_has_come(tmp_path: Path) -> None:
    running = Running(tmp_path)
    quotas = tuple(Quota(f"q{n}", "requests", 1000, "calendar-day") for n in range(12 * AT_ONCE))
    tenant = Tenant("ads", "team", "gold", (), (), quotas=quotas)
    running.at(NOW).expect(Snapshot(1, "", Mesh("m"), tenants={"ads": tenant}))
    accounts = [account_of("ads", quota) for quota in quotas[::997]]
    for account in accounts:
        running.table.add(running.table.find(account, RowKind.QUOTA), 10)
    for look in range(13):
        running.at(NOW + look / 10).look({})
    for account in accounts:
        running.table.add(running.table.find(account, RowKind.QUOTA), -9)
    for look in range(13):
        running.at(NOW + 60.0 + look / 10).look({})
    assert {sum(running.ledger.use(account).values()) for account in accounts} == {1}
