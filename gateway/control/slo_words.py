"""Event lines of objectives: what people read when an alert fires or is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from policies.units import duration_text
from telemetry.slo.alerts import Alert, Tier, Verdict

_UNITS_S = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))
# Below two of a unit the next smaller one says more: "90 min" rather than "2 h".
_ENOUGH = 2.0


def fires(
    subject: str,
    alert: Alert,
    verdict: Verdict,
    remaining_ratio: float | None,
    exhaustion_s: float | None,
) -> str:
    """Say that an alert fires, how fast the budget burns, and when it ends."""
    told = "; ".join(measured(alert, verdict, remaining_ratio, exhaustion_s))
    return f"{subject}: {alert.name} fires ({told})"


def measured(
    alert: Alert, verdict: Verdict, remaining_ratio: float | None, exhaustion_s: float | None
) -> Iterator[str]:
    """Say how fast the budget burns, what is left of it, and when it ends."""
    yield burn_text(alert, verdict)
    if remaining_ratio is not None:
        yield budget_text(remaining_ratio)
    if exhaustion_s:
        yield f"at this rate it ends in {length(exhaustion_s)}"


def burn_text(alert: Alert, verdict: Verdict) -> str:
    """Say how fast the budget burns in both windows, and from where on that is too fast."""
    long, short = duration_text(alert.long_s), duration_text(alert.short_s)
    burns = f"{long} burns {verdict.long_burn:.3g}x"
    match alert.tier:
        case Tier.EXHAUSTED:
            return burns
        case Tier.LIKELY:
            return f"{burns}, {short} burns {verdict.short_burn:.3g}x, limit the end within {length(alert.within_s)}"
    return f"{burns}, {short} burns {verdict.short_burn:.3g}x, limit {alert.factor:g}x"


def still_fires(subject: str, alert_name: str, since_s: float, now_s: float) -> str:
    """Say that an alert that fired before a restart does so after it; with the day where that is not today."""
    since, now = (datetime.fromtimestamp(at_s, UTC) for at_s in (since_s, now_s))
    moment = since.strftime("%H:%M:%S" if since.date() == now.date() else "%Y-%m-%d %H:%M:%S")
    return f"{subject}: {alert_name} still fires, since {moment} UTC"


def is_over(subject: str, alert_name: str, lasted_s: float) -> str:
    """Say that an alert no longer fires."""
    return f"{subject}: {alert_name} is over after {length(lasted_s)}"


def is_gone(subject: str, alert_name: str, lasted_s: float) -> str:
    """Say that an alert that fired is no longer in the policy."""
    return f"{subject}: {alert_name} is no longer in the policy; it fired for {length(lasted_s)}"


def length(length_s: float) -> str:
    """Write a length of time roughly, as people say it."""
    for unit, unit_s in _UNITS_S:
        if length_s >= _ENOUGH * unit_s:
            return f"{length_s / unit_s:.0f} {unit}"
    return f"{length_s:.1f} s"


def budget_text(remaining_ratio: float) -> str:
    """Write what is left of a budget."""
    if remaining_ratio < 0.0:
        return f"the budget is spent {1.0 - remaining_ratio:.3g} times over"
    return f"{remaining_ratio:.1%} of the budget left".replace("%", " %")
