"""What requests cost, as the management API tells it: the dearest first, and the rest in one sum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.control.cost_totals import Cost, CostKind
from gateway.control.view import utc


@dataclass(frozen=True)
class CostRow:
    """What one tenant's requests for one model cost.

    Both are empty as far as they were not known when a request was refused; the tenant `other` stands for those that
    came when there was no place to tell one more apart. `device_s` is in seconds of devices.
    """

    tenant: str
    model: str
    requests: int
    device_s: float
    body_bytes: int
    tokens: int


@dataclass(frozen=True)
class VersionCostRow:
    """What requests for one version cost, whoever sent them; an empty version is that of requests that reached none."""

    model: str
    version: str
    requests: int
    device_s: float
    body_bytes: int
    tokens: int


@dataclass(frozen=True)
class CostsReport:
    """What requests cost since `since`, the gateway's start, in UTC and ISO 8601.

    `rows` are the dearest by device time, then by bytes. `left_out` counts the others, and `total` has all of them.
    `versions` has the same by version, as many at most and the dearest first; of one tenant alone it is empty.
    """

    since: str
    rows: list[CostRow]
    left_out: int
    total: CostRow
    versions: list[VersionCostRow] = field(default_factory=list)


def costs_report(
    since_s: float,
    costs: Iterable[tuple[CostKind, Cost]],
    most: int,
    versions: Iterable[tuple[tuple[str, str], Cost]] = (),
) -> CostsReport:
    """Return the report, with so many rows at most."""
    dearest = sorted(costs, key=lambda one: (-one[1].device_us, -one[1].body_bytes, one[0].tenant, one[0].model))
    total = Cost()
    for _, cost in dearest:
        total.requests += cost.requests
        total.device_us += cost.device_us
        total.body_bytes += cost.body_bytes
        total.tokens += cost.tokens
    rows = [_row(kind, cost) for kind, cost in dearest[:most]]
    by_version = sorted(versions, key=lambda one: (-one[1].device_us, -one[1].body_bytes, one[0]))
    return CostsReport(
        utc(since_s),
        rows,
        len(dearest) - len(rows),
        _row(CostKind("", ""), total),
        [_version_row(*version, cost) for version, cost in by_version[:most]],
    )


def _version_row(model: str, version: str, cost: Cost) -> VersionCostRow:
    return VersionCostRow(model, version, cost.requests, cost.device_us / 1e6, cost.body_bytes, cost.tokens)


def _row(kind: CostKind, cost: Cost) -> CostRow:
    return CostRow(kind.tenant, kind.model, cost.requests, cost.device_us / 1e6, cost.body_bytes, cost.tokens)
