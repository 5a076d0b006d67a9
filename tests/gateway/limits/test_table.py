"""One table for all processes: each limit has one row, whoever looks for it, and what the dead held is free again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gateway.limits.table import Busy, LimitTable, RowKind, TableFull, domain_of, head_of, table_bytes
from tests.gateway.policy import COLUMNS, limits_memory

# A process that takes a column, counts 3 in each of two rows, says so, and stays until it is killed.
HOLDER = """
import sys, time
from gateway.limits.table import LimitTable, RowKind
table = LimitTable(int(sys.argv[1]))
table.take_column()
table.add(table.find("places", RowKind.IN_FLIGHT), 3)
table.add(table.find("quota", RowKind.QUOTA), 3)
print("held", flush=True)
time.sleep(60)
"""
LOCKER = """
import sys, time
from gateway.limits.table import LimitTable, domain_of
with LimitTable(int(sys.argv[1])).locked([domain_of("x")]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def fd() -> Iterator[int]:
    descriptor = limits_memory()
    yield descriptor
    os.close(descriptor)


def another(program: str, fd: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", program, str(fd)], pass_fds=[fd], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def test_a_limit_has_one_row_whoever_looks_for_it(fd: int) -> None:
    one, other = LimitTable(fd), LimitTable(fd)
    keys = [f"tenant/{index}/rate" for index in range(500)]
    assert [one.find(key, RowKind.RATE) for key in keys] == [other.find(key, RowKind.RATE) for key in keys]
    assert one.row_count == 500
    one.put_tat(one.find(keys[7], RowKind.RATE), 55)
    assert other.tat_ns(other.find(keys[7], RowKind.RATE)) == 55


def test_whether_a_limit_has_a_row_is_known_without_making_one(fd: int) -> None:
    table = LimitTable(fd)
    table.find("x", RowKind.RATE)
    assert [LimitTable(fd).has(key) for key in ("x", "y")] == [True, False]
    assert table.row_count == 1


def test_a_row_keeps_what_the_ledger_says_apart_from_what_was_used(fd: int) -> None:
    table = LimitTable(fd)
    table.take_column()
    row = table.find("quota", RowKind.QUOTA)
    table.put_quota(row, granted=100, shift=7, limit=1000, resets_at_s=2e9, rate_per_s=0.5)
    table.add(row, 40)
    quota = table.quota(row)
    assert (quota.granted, quota.used, quota.offset, quota.limit) == (100, 40, 7, 1000)
    assert (quota.resets_at_s, quota.rate_per_s) == (2e9, 0.5)


def test_what_a_killed_process_held_is_free_and_what_it_used_stays_used(fd: int) -> None:
    table = LimitTable(fd)
    holder = another(HOLDER, fd)
    places, quota = table.find("places", RowKind.IN_FLIGHT), table.find("quota", RowKind.QUOTA)
    table.fold_abandoned()
    assert (table.in_flight(places), table.quota(quota).used) == (3, 3)
    end(holder)
    table.fold_abandoned()
    assert (table.in_flight(places), table.quota(quota).used) == (0, 3)


def test_a_process_that_takes_a_dead_ones_column_folds_it_first(fd: int) -> None:
    end(another(HOLDER, fd))
    table = LimitTable(fd)
    table.take_column()
    assert table.in_flight(table.find("places", RowKind.IN_FLIGHT)) == 0
    assert table.quota(table.find("quota", RowKind.QUOTA)).used == 3


def test_a_lock_that_is_not_given_back_is_waited_for_no_longer_than_a_moment(fd: int) -> None:
    table = LimitTable(fd)
    locker = another(LOCKER, fd)
    with pytest.raises(Busy), table.locked([domain_of("x")]):
        pass
    end(locker)
    with table.locked([domain_of("x"), domain_of("x")]):
        pass


def test_the_limits_of_one_tenant_are_under_one_lock() -> None:
    assert domain_of("tenant/ads/tier/rate") == domain_of("tenant/ads/quota/day") != domain_of("tenant/search/rate")


def test_a_table_made_after_a_restart_of_the_machine_says_that_it_knows_nothing_of_the_past() -> None:
    descriptor = os.memfd_create("limits")
    os.ftruncate(descriptor, table_bytes(COLUMNS))
    os.pwrite(descriptor, head_of(bytes(16), COLUMNS, is_cautious=True, born_s=70.0), 0)
    table = LimitTable(descriptor)
    assert table.tat_ns(table.find("tenant/ads/rate", RowKind.RATE)) == -70 * 10**9
    assert table.in_flight(table.find("tenant/ads/in_flight", RowKind.IN_FLIGHT)) == 0
    os.close(descriptor)


def test_a_file_that_is_no_table_is_not_taken_for_one() -> None:
    descriptor = os.memfd_create("limits")
    os.ftruncate(descriptor, 4096)
    with pytest.raises(ValueError, match="not a limit table"):
        LimitTable(descriptor)
    os.close(descriptor)


def test_a_table_says_whether_somebody_uses_it(fd: int) -> None:
    table = LimitTable(fd)
    assert table.is_deserted()
    holder = another(HOLDER, fd)
    assert not table.is_deserted()
    end(holder)
    assert table.is_deserted()


def test_a_table_without_a_free_column_takes_no_more_workers() -> None:
    narrow = os.memfd_create("limits")
    os.ftruncate(narrow, table_bytes(1))
    os.pwrite(narrow, head_of(bytes(16), 1, is_cautious=False, born_s=0.0), 0)
    holder = another(HOLDER, narrow)
    with pytest.raises(TableFull):
        LimitTable(narrow).take_column()
    end(holder)
    os.close(narrow)


WRITER = """
import sys
from gateway.limits.table import LimitTable, RowKind
table = LimitTable(int(sys.argv[1]))
table.take_column()
place, places = table.find("x", RowKind.RATE), table.find("places", RowKind.IN_FLIGHT)
table.put_tat(place, 0x1111111111111111)
table.add(places, 0x0101010101)
print("held", flush=True)
while True:
    table.put_tat(place, 0x2222222222222222)
    table.put_tat(place, 0x1111111111111111)
    table.add(places, 0x0101010101)
    table.add(places, -0x0101010101)
"""


def test_no_reader_ever_sees_half_of_a_number(fd: int) -> None:
    table = LimitTable(fd)
    writer = another(WRITER, fd)
    tat, places = table.find("x", RowKind.RATE), table.find("places", RowKind.IN_FLIGHT)
    seen = {(table.tat_ns(tat), table.in_flight(places)) for _ in range(100_000)}
    end(writer)
    assert {tat_ns for tat_ns, _ in seen} <= {0x1111111111111111, 0x2222222222222222}
    assert {held for _, held in seen} <= {0x0101010101, 0x0202020202}
