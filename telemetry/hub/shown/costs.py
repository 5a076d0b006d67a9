"""Decides how costs are shown: what requests took of devices, what devices did in vain, and what that is in money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from telemetry.hub.query import BadQuery
from telemetry.hub.shown.axis import Bar, bar
from telemetry.hub.shown.fleet_answers import Costs
from telemetry.hub.shown.formats import count, duration, share, size
from telemetry.hub.shown.series import Series, grown
from telemetry.machine_conventions import DEVICE_BUSY_SECONDS

MOST_PRICE = 1e6
TENANT_ROWS = 50
_HOUR_S = 3600.0


class CostRow(Struct, frozen=True):
    """What some requests cost; ``price`` is "" where nobody said what a device costs."""

    names: tuple[str, ...]
    requests: str
    device: str
    part: str
    bar: Bar
    body: str
    tokens: str
    price: str


class CostView(Struct, frozen=True):
    """What requests cost, by version and by tenant."""

    since: str
    versions: tuple[CostRow, ...]
    tenants: tuple[CostRow, ...]
    left_out: str
    total: CostRow


class IdleRow(Struct, frozen=True):
    """What devices that wait for one version's requests cost, over the shown time."""

    model: str
    version: str
    devices: str
    busy: str
    idle: str
    part: str
    bar: Bar
    price: str


def price_of(query: Mapping[str, str]) -> float | None:
    """Return what an hour of a device costs, as the URL says; None where it does not.

    Raises:
        BadQuery: it is no amount.
    """
    text = query.get("price", "").strip()
    if not text:
        return None
    try:
        price = float(text)
    except ValueError:
        price = -1.0
    if not 0.0 <= price <= MOST_PRICE:
        raise BadQuery(f"price={text:.32} is no price: write what an hour of a device costs, such as price=2.50.")
    return price


def cost_view(costs: Costs, model: str, price: float | None) -> CostView:
    whole = costs.total.device_s
    meant = [one for one in costs.versions if model.lower() in one.model.lower()]
    tenants = [one for one in costs.rows if model.lower() in one.model.lower()]
    return CostView(
        costs.since[:19].replace("T", " ") + " UTC",
        tuple(_cost((one.model or "–", one.version or "–"), one, whole, price) for one in meant),
        tuple(_cost((one.tenant or "–", one.model or "–"), one, whole, price) for one in tenants[:TENANT_ROWS]),
        count(costs.left_out + max(0, len(tenants) - TENANT_ROWS)),
        _cost(("all", ""), costs.total, whole, price),
    )


class _Cost(Struct, frozen=True):
    requests: int
    device_s: float
    body_bytes: int
    tokens: int


def _cost(names: tuple[str, ...], cost: object, whole_s: float, price: float | None) -> CostRow:
    held = _Cost(*(getattr(cost, name) for name in _Cost.__struct_fields__))
    ratio = held.device_s / whole_s if whole_s else 0.0
    return CostRow(
        names,
        count(held.requests),
        duration(held.device_s),
        share(ratio) if whole_s else "–",
        bar(0.0, ratio, 1.0),
        size(held.body_bytes),
        count(held.tokens) if held.tokens else "–",
        price_text(held.device_s, price),
    )


def price_text(device_s: float, price: float | None) -> str:
    """Return what so much of a device costs; "" where nobody said."""
    return "" if price is None else f"{device_s / _HOUR_S * price:,.4f}"


def idle_rows(pasts: Sequence[Series], model: str, price: float | None) -> tuple[IdleRow, ...]:
    """Return busy and idle time of all devices by version, the idlest first."""
    sums: dict[tuple[str, str], _Idle] = {}
    for past in pasts:
        for line in past.lines(DEVICE_BUSY_SECONDS.name):
            amount_s, steps = grown(line.values)
            name = (line.labels.get("model", ""), line.labels.get("version", ""))
            sums.setdefault(name, _Idle()).add(amount_s, steps * past.step_s)
    meant = [(name, idle) for name, idle in sums.items() if model.lower() in name[0].lower() and idle.wall_s]
    ordered = sorted(meant, key=lambda one: (-one[1].idle_s, one[0]))
    return tuple(_idle_row(*name, idle, price) for name, idle in ordered)


class _Idle:
    """Busy and all time of the devices of one version."""

    def __init__(self) -> None:
        self.busy_s = self.wall_s = 0.0
        self.devices = 0

    def add(self, busy_s: float, wall_s: float) -> None:
        self.busy_s += busy_s
        self.wall_s += wall_s
        self.devices += 1

    @property
    def idle_s(self) -> float:
        return max(0.0, self.wall_s - self.busy_s)


def _idle_row(model: str, version: str, idle: _Idle, price: float | None) -> IdleRow:
    return IdleRow(
        model,
        version,
        count(idle.devices),
        duration(idle.busy_s),
        duration(idle.idle_s),
        share(idle.idle_s / idle.wall_s),
        bar(0.0, idle.busy_s, idle.wall_s),
        price_text(idle.idle_s, price),
    )
