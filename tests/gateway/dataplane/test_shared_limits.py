"""One set of limits for all workers: exact between processes, all charges of a request or none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gateway.dataplane.estimates import Estimates
from gateway.dataplane.shared_limits import Charged, Committed, SharedLimits
from gateway.decide.limits import NS, QuotaCharge, RateCharge, SlotCharge, charge_rate
from gateway.decide.tables import Admission, RateBound, SlotBound
from gateway.limits.table import LimitTable, RowKind
from tests.gateway.policy import limits_memory

# One of several workers: tries 2,000 times at one fixed moment, so that what all of them admit is exactly the burst.
WORKER = """
import sys
from gateway.dataplane.shared_limits import Committed, SharedLimits
from gateway.decide.limits import QuotaCharge, charge_rate
limits = SharedLimits(int(sys.argv[1]))
admitted = 0
for _ in range(2000):
    while True:
        verdict = charge_rate("tenant/a/rate", 100.0, 1500, limits.tat_ns("tenant/a/rate"), 1000.0)
        if verdict.charge is None or limits.standing("tenant/a/quota/q").left < 1:
            break
        if limits.commit((verdict.charge, QuotaCharge("tenant/a/quota/q", "requests", 1))) is Committed.DONE:
            admitted += 1
            break
print(admitted)
"""

# The same with requests that are charged together, of two tenants, whose limits are under two locks.
TOGETHER = """
import sys
from gateway.dataplane.shared_limits import SharedLimits
from gateway.decide.tables import Admission, RateBound, SlotBound
limits = SharedLimits(int(sys.argv[1]))
requests = [
    limits.charged(
        Admission(
            (RateBound(f"tenant/{name}/rate", "r", 100.0, 10_000_000, 1500, False),),
            (SlotBound(f"tenant/{name}/in_flight", "s", most, False),),
            (),
            "",
        )
    )
    for name, most in (("a", 10_000), ("b", 300))
]
admitted = [0, 0]
for _ in range(1000):
    for at, lefts in enumerate(limits.charge(requests, 1_000_000_000_000)):
        admitted[at] += lefts is not None
print(*admitted, flush=True)
sys.stdin.read()  # its places are free once it has ended
"""

LOCKER = """
import sys
from gateway.limits.table import LimitTable, domain_of
with LimitTable(int(sys.argv[1])).locked([domain_of("tenant/x/rate")]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def fd() -> Iterator[int]:
    descriptor = limits_memory()
    yield descriptor
    os.close(descriptor)


def grant(fd: int, account: str, granted: int) -> None:
    table = LimitTable(fd)
    row = table.find(account, RowKind.QUOTA)
    table.put_quota(row, granted=granted, shift=0, limit=10**6, resets_at_s=1e9, rate_per_s=0.0)


@pytest.mark.parametrize(("granted", "admitted"), [(10**6, 1500), (700, 700)])
def test_four_workers_together_admit_what_there_is_and_not_one_more(fd: int, granted: int, admitted: int) -> None:
    grant(fd, "tenant/a/quota/q", granted)
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(fd)], pass_fds=[fd], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert sum(int(worker.communicate(timeout=60)[0]) for worker in workers) == admitted


def test_requests_that_four_workers_charge_together_get_what_there_is_and_not_one_more(fd: int) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(fd)],
            pass_fds=[fd],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    told = [list(map(int, worker.stdout.readline().split())) for worker in workers if worker.stdout]
    for worker in workers:
        worker.communicate(timeout=60)
    # A worker that finds the locks taken for too long charges nothing, and may find them free the next time.
    assert [sum(each) for each in zip(*told, strict=True)] == [1500, 300]


def charged(limits: SharedLimits, tenant: str, burst: int | None, most: int | None) -> Charged:
    """Return the limits of a tenant, of ten requests a second."""
    rates = () if burst is None else (RateBound(f"tenant/{tenant}/rate", "r", 10.0, NS // 10, burst, False),)
    slots = () if most is None else (SlotBound(f"tenant/{tenant}/in_flight", "s", most, False),)
    found = limits.charged(Admission(rates, slots, (), ""))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("burst", "most"), [(5, 9), (9, 5), (5, None), (None, 5), (None, None), (20, 20), (1, 1), (7, 7)]
)
def test_requests_of_one_turn_are_charged_as_those_that_come_one_after_the_other(
    fd: int, burst: int | None, most: int | None
) -> None:
    limits = SharedLimits(fd)
    together, apart = charged(limits, "a", burst, most), charged(limits, "b", burst, most)
    for now_ns in (NS, NS + NS // 4, 3 * NS):
        told = limits.charge([together] * 7, now_ns)
        assert told == [lefts for _ in range(7) for lefts in limits.charge([apart], now_ns) or ()]
        assert limits.tat_ns("tenant/a/rate") == limits.tat_ns("tenant/b/rate")
        assert limits.in_flight("tenant/a/in_flight") == limits.in_flight("tenant/b/in_flight")
        for charge in (together, apart):
            limits.give_back(charge)


def test_a_charge_against_an_old_reading_is_not_written(fd: int) -> None:
    limits = SharedLimits(fd)
    assert limits.commit((RateCharge("tenant/x/rate", 0, 5),)) is Committed.DONE
    assert limits.commit((RateCharge("tenant/x/rate", 0, 7),)) is Committed.CHANGED
    assert limits.tat_ns("tenant/x/rate") == 5


def test_one_charge_that_does_not_hold_keeps_all_from_being_written(fd: int) -> None:
    limits = SharedLimits(fd)
    charges = (
        RateCharge("tenant/x/rate", 0, 5),
        SlotCharge("tenant/x/in_flight", 2),
        QuotaCharge("tenant/x/quota/q", "requests", 1),
    )
    assert limits.commit(charges) is Committed.CHANGED  # nothing is granted yet
    assert (limits.tat_ns("tenant/x/rate"), limits.in_flight("tenant/x/in_flight")) == (0, 0)
    grant(fd, "tenant/x/quota/q", 1)
    assert limits.commit(charges) is Committed.DONE
    assert (limits.tat_ns("tenant/x/rate"), limits.in_flight("tenant/x/in_flight")) == (5, 1)


def test_places_are_bounded_and_given_back(fd: int) -> None:
    limits = SharedLimits(fd)
    place = SlotCharge("tenant/x/in_flight", 2)
    assert [limits.commit((place,)) for _ in range(3)] == [Committed.DONE, Committed.DONE, Committed.CHANGED]
    limits.settle((place,), lambda charge: 0, 1e9)
    assert limits.commit((place,)) is Committed.DONE
    assert limits.commit((SlotCharge("tenant/x/in_flight", 0),)) is Committed.DONE  # counted without a bound


def test_a_quota_is_charged_what_the_request_cost_in_the_end(fd: int) -> None:
    limits = SharedLimits(fd)
    assert limits.standing("tenant/x/quota/q") is None
    grant(fd, "tenant/x/quota/q", 100)
    reserved = QuotaCharge("tenant/x/quota/q", "device_time", 60)
    assert limits.commit((reserved,)) is Committed.DONE
    assert limits.commit((reserved,)) is Committed.CHANGED
    limits.settle((reserved,), lambda charge: 75, 1e9)
    standing = limits.standing("tenant/x/quota/q")
    assert standing is not None
    assert (standing.left, standing.used) == (25, 75)


def test_charges_under_a_held_lock_are_not_written(fd: int) -> None:
    limits = SharedLimits(fd)
    limits.tat_ns("tenant/x/rate")
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(fd)], pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert limits.commit((RateCharge("tenant/x/rate", 0, 5),)) is Committed.BUSY
    holder.communicate()
    assert limits.commit((RateCharge("tenant/x/rate", 0, 5),)) is Committed.DONE


def test_a_rate_of_which_nothing_is_known_begins_with_its_burst_spent() -> None:
    refused = charge_rate("x", 10.0, 5, -100 * 10**9, 100.05)
    assert refused.charge is None
    assert charge_rate("x", 10.0, 5, -100 * 10**9, 100.05 + refused.retry_after_s).charge is not None


def test_an_estimate_settles_where_nine_of_ten_requests_cost_less() -> None:
    estimates = Estimates()
    assert estimates.of("digits", "1", "device_time") == 100_000
    for round_ in range(4000):
        estimates.learn("digits", "1", "device_time", 100 + (round_ * 37) % 100)
    assert 175 <= estimates.of("digits", "1", "device_time") <= 205


def test_what_was_reserved_before_a_calendars_end_does_not_come_back_after_it(fd: int) -> None:
    limits = SharedLimits(fd)
    grant(fd, "tenant/x/quota/q", 100)
    reserved = QuotaCharge("tenant/x/quota/q", "device_time", 60, "calendar-day", resets_at_s=5000.0)
    for settled_s, used in ((4000.0, 20), (5001.0, 80)):
        assert limits.commit((reserved,)) is Committed.DONE
        limits.settle((reserved,), lambda charge: 20, settled_s)
        standing = limits.standing("tenant/x/quota/q")
        assert standing is not None
        assert standing.used == used
