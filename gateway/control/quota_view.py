"""Puts quotas and grants together as reports, with a forecast of when a quota is exhausted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import Struct

from gateway.control.ledger.protocol import Grant
from gateway.control.quota_reports import GrantReport, GrantsReport, QuotaReport, QuotasReport, StepReport
from gateway.decide.quota_windows import forecast_s
from policies import units
from policies.snapshot.tenant import Quota

_MICROSECONDS = 1_000_000
_BEYOND_CALENDARS_S = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_LENGTHS = (("h", 3600), ("m", 60), ("s", 1), ("ms", 0.001))
_SIZES = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


class Standing(Struct, frozen=True):
    """How a quota stands.

    Attributes:
        limit: with grants on top.
        used: None while the ledger has not been asked.
        held: let to this gateway and not used.
    """

    tenant: str
    quota: Quota
    limit: int
    used: int | None
    held: int
    rate_per_s: float
    resets_at_s: float


def quotas_report(standings: Iterable[Standing], now_s: float, trouble: str = "") -> QuotasReport:
    """Return the report, by tenant and quota."""
    ordered = sorted(standings, key=lambda one: (one.tenant, one.quota.name))
    return QuotasReport([_quota_report(one, now_s) for one in ordered], trouble or None)


def _quota_report(standing: Standing, now_s: float) -> QuotaReport:
    quota, used = standing.quota, standing.used
    ratio = None if used is None else used / max(1, standing.limit)
    exhausted_s = exhausted_at_s(standing, now_s)
    return QuotaReport(
        tenant=standing.tenant,
        name=quota.name,
        meter=quota.meter,
        per=quota.per,
        zone=quota.zone,
        limit=standing.limit,
        granted_on_top=standing.limit - quota.limit,
        used=used,
        ratio=None if ratio is None else round(ratio, 6),
        held=standing.held,
        rate_per_s=round(standing.rate_per_s, 6),
        resets_at=None if used is None else _utc(standing.resets_at_s),
        exhausted_at=None if exhausted_s is None else _utc(exhausted_s),
        ladder=[
            StepReport(step.share, step.action, ratio is not None and ratio >= step.share) for step in quota.ladder
        ],
    )


def exhausted_at_s(standing: Standing, now_s: float) -> float | None:
    """Return when the limit is reached if use goes on at its rate; None if it lasts, or nothing says so."""
    if standing.used is None:
        return None
    quota = standing.quota
    return forecast_s(quota.per, quota.zone, standing.limit - standing.used, standing.used, standing.rate_per_s, now_s)


def grants_report(grants: Iterable[Grant], now_s: float) -> GrantsReport:
    """Return the report."""
    return GrantsReport([grant_report(grant, now_s) for grant in grants])


def grant_report(grant: Grant, now_s: float) -> GrantReport:
    """Return one grant's report; its quota may be no more."""
    _, tenant, _, name, meter = grant.account.split("/")
    return GrantReport(
        id=grant.id,
        tenant=tenant,
        quota=name,
        amount=grant.amount,
        amount_text=amount_text(grant.amount, meter),
        at=_utc(grant.at_s) or "",
        until=_utc(grant.until_s) or "",
        owner=grant.owner,
        reason=grant.reason,
        is_live=grant.until_s > now_s,
        ended_by=grant.ended_by or None,
    )


def amount_of(text: str, meter: str) -> int:
    """Return an amount as people write it, in the meter's unit: "20h" of device time, "2GiB", a count of the others.

    Raises:
        UnitError: it is no such amount.
    """
    if meter == "device_time":
        return round(units.duration_s(text) * _MICROSECONDS)
    if meter == "bytes" and not text.isdecimal():
        return units.size_bytes(text)
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise units.UnitError(f'expected a whole number of {meter}, found "{text[:60]}"', "Write one such as 1000000.")
    return int(text)


def amount_text(amount: float, meter: str) -> str:
    """Write an amount for people, short rather than exact."""
    if meter == "device_time":
        return _in_largest(amount / _MICROSECONDS, _LENGTHS, "s")
    if meter == "bytes":
        return _in_largest(amount, _SIZES, "B")
    return f"{amount:,.0f}" if float(amount).is_integer() else f"{amount:,.2f}"


def _in_largest(amount: float, steps: Iterable[tuple[str, float]], smallest: str) -> str:
    for unit, size in steps:
        if abs(amount) >= size:
            return f"{_short(amount / size)}{unit}"
    return f"{_short(amount)}{smallest}"


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _utc(moment_s: float) -> str | None:
    """RFC 3339, or None for a moment that no calendar has."""
    if not math.isfinite(moment_s) or not 0 <= moment_s < _BEYOND_CALENDARS_S:
        return None
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
