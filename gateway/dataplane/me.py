"""Me: what ``GET /me`` tells a caller: who it is here, its limits, what is left of them, and when there is more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TypeVar

from msgspec import Struct

from gateway.decide.decision import Decision
from gateway.decide.limits import Counters, Standing, known_tat_ns, nanoseconds, room
from gateway.decide.quota_windows import forecast_s
from gateway.decide.tables import Admission, Caller, QuotaBound, RateBound, SlotBound, Tables
from policies.snapshot.limits import Tier
from policies.snapshot.tenant import EVERY_MODEL, Key, Quota

# What is told stays readable, and cheap to tell: of thousands of models, the limits of these many.
_MAX_MODELS = 100
_MAX_LIMITS = 200
Bound = TypeVar("Bound", RateBound, SlotBound)
_UNITS = {"requests": "requests", "bytes": "bytes", "device_time": "microseconds of devices", "tokens": "tokens"}


class MyCredential(Struct, frozen=True):
    """What the caller showed: its id, what it may do and until when."""

    id: str
    scopes: tuple[str, ...]
    not_after: str | None = None


class MyRate(Struct, frozen=True):
    """A rate: ``left`` requests fit now, and all of ``burst`` again in ``full_in_s`` without any."""

    name: str
    rate_per_s: float
    burst: int
    left: int
    full_in_s: float
    is_enforced: bool
    models: tuple[str, ...]


class MyPlaces(Struct, frozen=True):
    """A bound on requests in flight."""

    name: str
    most: int
    in_flight: int
    is_enforced: bool
    models: tuple[str, ...]


class MyQueue(Struct, frozen=True):
    """How requests wait while pods are busy: who goes first, and how many for how long."""

    priority: int
    weight: int
    most_waiting: int
    longest_wait_s: float


class MyStep(Struct, frozen=True):
    """What happens from a share of a quota on."""

    share: float
    action: str
    is_reached: bool


class MyQuota(Struct, frozen=True):
    """A quota.

    Attributes:
        used, limit, left: in ``unit``; null while the ledger has not been read.
        resets_at: when there is more: a calendar period's end, or when a rolling one lets go of its oldest part.
        rate_per_s: how fast it is used lately.
        exhausted_at: when it is used up if use goes on at that rate; null when it lasts.
    """

    name: str
    meter: str
    unit: str
    per: str
    zone: str
    limit: int
    used: int | None
    left: int | None
    resets_at: str | None
    rate_per_s: float | None
    exhausted_at: str | None
    ladder: tuple[MyStep, ...]


class Me(Struct, frozen=True):
    """A caller, as the mesh sees it."""

    tenant: str
    tier: str
    credential: MyCredential
    may_call: tuple[str, ...]
    rates: tuple[MyRate, ...]
    in_flight: tuple[MyPlaces, ...]
    quotas: tuple[MyQuota, ...]
    queue: MyQueue
    generation: int


def me(tables: Tables, decision: Decision, counters: Counters, wall_s: float, now_s: float) -> Me:
    """Return what a caller is told; ``decision`` says who it is."""
    tenant = tables.tenants[decision.tenant]
    key = next((key for key in tenant.keys if key.id == decision.key_id), Key(decision.key_id, "", decision.scopes))
    caller = tables.caller(tenant, key)
    models = [model for model in tables.routes if caller.may_call(model)]
    looked_at = models[:_MAX_MODELS]
    rates: dict[str, tuple[RateBound, list[str]]] = {}
    slots: dict[str, tuple[SlotBound, list[str]]] = {}
    quotas: tuple[QuotaBound, ...] = ()
    for model, admission in _admissions(tables, caller, looked_at):
        quotas = admission.quotas
        for rate in admission.rates:
            rates.setdefault(rate.key, (rate, []))[1].append(model)
        for slot in admission.slots:
            slots.setdefault(slot.key, (slot, []))[1].append(model)
    return Me(
        tenant=tenant.name,
        tier=tenant.tier,
        credential=MyCredential(key.id, key.scopes, _utc(key.not_after_s or math.inf)),
        may_call=(EVERY_MODEL,) if EVERY_MODEL in tenant.may_call else tuple(models),
        rates=tuple(_rate(bound, tuple(of), counters, now_s) for bound, of in _first(rates)),
        in_flight=tuple(_places(bound, tuple(of), counters) for bound, of in _first(slots)),
        quotas=tuple(quota_told(bound, counters.standing(bound.account), wall_s) for bound in quotas),
        queue=_queue(caller.tier),
        generation=tables.generation,
    )


def _queue(tier: Tier) -> MyQueue:
    return MyQueue(tier.priority, tier.weight, tier.queue_length, tier.queue_wait_s)


def _admissions(tables: Tables, caller: Caller, models: list[str]) -> Iterator[tuple[str, Admission]]:
    for model in models:
        yield model, tables.admission(caller, tables.routes[model])


def _first(found: dict[str, tuple[Bound, list[str]]]) -> list[tuple[Bound, list[str]]]:
    return list(found.values())[:_MAX_LIMITS]


def _rate(bound: RateBound, models: tuple[str, ...], counters: Counters, now_s: float) -> MyRate:
    now_ns = nanoseconds(now_s)
    tat_ns = known_tat_ns(bound.interval_ns, bound.interval_ns * bound.burst, counters.tat_ns(bound.key), now_ns)
    left = room(bound.interval_ns, bound.burst, tat_ns, now_ns)
    full_in_s = round(max(0.0, tat_ns / 1e9 - now_s), 3)
    return MyRate(bound.name, bound.rate_per_s, bound.burst, left, full_in_s, not bound.observe, models)


def _places(bound: SlotBound, models: tuple[str, ...], counters: Counters) -> MyPlaces:
    return MyPlaces(bound.name, bound.most, counters.in_flight(bound.key), not bound.observe, models)


def quota_told(bound: QuotaBound, standing: Standing | None, wall_s: float) -> MyQuota:
    """Return what is told of a quota."""
    quota = bound.quota
    limit = standing.limit if standing is not None else quota.limit
    share = standing.used / max(1, limit) if standing is not None else 0.0
    return MyQuota(
        name=quota.name,
        meter=quota.meter,
        unit=_UNITS[quota.meter],
        per=quota.per,
        zone=quota.zone,
        limit=limit,
        used=standing.used if standing is not None else None,
        left=max(0, limit - standing.used) if standing is not None else None,
        resets_at=_utc(standing.resets_at_s) if standing is not None else None,
        rate_per_s=round(standing.rate_per_s, 6) if standing is not None else None,
        exhausted_at=_exhausted_at(quota, standing, wall_s) if standing is not None else None,
        ladder=tuple(MyStep(step.share, step.action, share >= step.share) for step in quota.ladder),
    )


def _exhausted_at(quota: Quota, standing: Standing, wall_s: float) -> str | None:
    left = standing.limit - standing.used
    at_s = forecast_s(quota.per, quota.zone, left, standing.used, standing.rate_per_s, wall_s)
    return None if at_s is None else _utc(at_s)


def _utc(moment_s: float) -> str | None:
    """RFC 3339, or None for a moment that no calendar has."""
    if not math.isfinite(moment_s) or not 0 <= moment_s < 253402300800:
        return None
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
