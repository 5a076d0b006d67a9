"""Rows that a generation needs are those that decisions look for, and a generation without room for them is told."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from gateway.control import limit_rows as module
from gateway.control.limit_rows import lack_of_rows, limit_rows
from gateway.decide.tables import Tables
from gateway.limits.table import LimitTable, RowKind
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, SharedLimit
from policies.snapshot.tenant import Quota
from tests.gateway.policy import limits_memory, policy


def everything() -> Snapshot:
    whole = policy(limit=Limit("tier/gold", 10.0, 20, 5), quotas=(Quota("day", "bytes", 9, "calendar-day"),))
    tenants = {name: replace(one, limit=Limit(f"tenant/{name}", 5.0, 5)) for name, one in whole.tenants.items()}
    routes = {name: replace(one, limit=Limit(f"model/{name}", None, 1, 7)) for name, one in whole.routes.items()}
    return replace(whole, tenants=tenants, routes=routes, shared=(SharedLimit(Limit("shared/all", 9.0, 9)),))


@pytest.fixture
def table() -> Iterator[LimitTable]:
    descriptor = limits_memory()
    yield LimitTable(descriptor)
    os.close(descriptor)


def test_rows_are_those_that_decisions_look_for() -> None:
    snapshot = everything()
    tables = Tables(snapshot)
    wanted = set()
    for caller in tables.callers.values():
        for route in snapshot.routes.values():
            found = tables.admission(caller, route)
            wanted |= {(rate.key, RowKind.RATE) for rate in found.rates}
            wanted |= {(slot.key, RowKind.IN_FLIGHT) for slot in found.slots}
            wanted |= {(quota.account, RowKind.QUOTA) for quota in found.quotas}
    assert {kind for _, kind in wanted} == set(RowKind)
    assert set(limit_rows(snapshot)) == wanted


def test_a_generation_fits_while_there_are_rows_for_what_it_adds(
    table: LimitTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(limit_rows(everything()))
    monkeypatch.setattr(module, "MAX_ROWS", len(rows))
    assert lack_of_rows(everything(), table) == ""
    for key, kind in rows[1:]:
        table.find(key, kind)
    assert lack_of_rows(everything(), table) == ""
    monkeypatch.setattr(module, "MAX_ROWS", len(rows) - 1)
    assert "need 1 more rows of the limit table, and 0 are free" in lack_of_rows(everything(), table)
