"""The busiest tenants have series of their own."""

from __future__ import annotations

from gateway.control.busy_tenants import OTHER, BusyTenants
from gateway.dataplane.tally import OTHER_TENANTS


def test_tenants_are_shown_until_there_is_no_place_and_nobody_stays_nobody() -> None:
    tenants = BusyTenants(most=2)
    assert [tenants.label(name, 1) for name in ("a", "b", "c", "", "a")] == ["a", "b", OTHER, "", "a"]


def test_one_that_is_clearly_busier_takes_the_place_of_the_least_busy() -> None:
    tenants = BusyTenants(most=2)
    for name, requests in (("a", 10), ("b", 100), ("c", 19)):
        tenants.label(name, requests)
    assert tenants.rank() == frozenset()  # not twice as busy as a
    tenants.label("c", 2)
    assert tenants.rank() == {"a"}
    assert [tenants.label(name, 1) for name in ("a", "b", "c")] == [OTHER, "b", "c"]


def test_activity_fades_so_that_a_silent_tenant_makes_room() -> None:
    tenants = BusyTenants(most=1)
    tenants.label("old", 100)
    for _ in range(60):  # ten minutes of ranks: a quarter is left
        assert tenants.rank() == frozenset()
    tenants.label("new", 51)
    assert tenants.rank() == {"old"}


def test_those_that_a_worker_could_not_tell_apart_take_nobody_s_place() -> None:
    tenants = BusyTenants(most=1)
    assert tenants.label(OTHER_TENANTS, 1000) == OTHER
    assert tenants.label("a", 1) == "a"
    assert tenants.rank() == frozenset()
    assert tenants.label("a", 1) == "a"
