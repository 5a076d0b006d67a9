"""Which rows of the limit table a generation needs, and whether there are as many."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.decide.tables import account_of
from gateway.limits.table import MAX_ROWS, LimitTable, RowKind
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit


def limit_rows(snapshot: Snapshot) -> Iterator[tuple[str, RowKind]]:
    """Return the key of every row that a generation's decisions may look for, with what it counts."""
    for tenant in snapshot.tenants.values():
        yield from _bounds(f"tenant/{tenant.name}/tier", snapshot.tiers[tenant.tier].limit)
        yield from _bounds(f"tenant/{tenant.name}", tenant.limit)
        for quota in tenant.quotas:
            yield account_of(tenant.name, quota), RowKind.QUOTA
    for route in snapshot.routes.values():
        yield from _bounds(f"model/{route.model}", route.limit)
    for shared in snapshot.shared:
        yield from _bounds(shared.limit.name, shared.limit)


def _bounds(key: str, limit: Limit | None) -> Iterator[tuple[str, RowKind]]:
    if limit is not None and limit.rate_per_s is not None:
        yield f"{key}/rate", RowKind.RATE
    if limit is not None and limit.in_flight is not None:
        yield f"{key}/in_flight", RowKind.IN_FLIGHT


def lack_of_rows(snapshot: Snapshot, table: LimitTable) -> str:
    """Return why a generation's limits do not fit into the table; "" when they do."""
    keys = [key for key, _ in limit_rows(snapshot)]
    free = MAX_ROWS - table.row_count
    if len(keys) <= free:
        return ""
    missing = sum(not table.has(key) for key in keys)
    if missing <= free:
        return ""
    return (
        f"its limits and quotas need {missing} more rows of the limit table, and {free} are free; the next start frees "
        "those of limits that are no more"
    )
