"""Alerts: which an objective has, whether each fires, what holds it back, and since when."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final

from msgspec import Struct

from policies.burn_alerts import likely_windows
from policies.snapshot.slos import BurnAlert, Guards, Objective
from telemetry.slo.budget import ends_within, is_enough, is_exhausted, remaining_ratio
from telemetry.slo.burn_rate import bad_share, budget_share, burn_rate, burns_faster
from telemetry.slo.chance import is_beyond_chance
from telemetry.slo.events import EventCount

LIKELY_NAME: Final = "breach likely"
EXHAUSTED_NAME: Final = "budget exhausted"
# The pace at which a budget lasts exactly its period: whoever foretells its end asks for more.
_AS_ALLOWED: Final = 1.0


class Tier(StrEnum):
    """How an alert looks at the budget: whoever routes or silences alerts goes by it."""

    FAST = "fast"
    SLOW = "slow"
    LIKELY = "likely"
    EXHAUSTED = "exhausted"


class Alert(Struct, frozen=True):
    """One alert of an objective.

    Attributes:
        severity: "page" or "ticket".
        name: what tells it from the objective's others.
        factor: it waits for a faster burn in both windows. Of the end of a budget this is the least: see
            ``likely_factor``.
        within_s: the end of the budget is foretold for this time; 0 of other alerts.
    """

    severity: str
    name: str
    tier: Tier
    factor: float
    long_s: float
    short_s: float
    within_s: float = 0.0


class Verdict(Struct, frozen=True):
    """What one alert says now.

    Attributes:
        held_back: why it does not fire although both windows burn fast enough; "" when nothing holds it back.
    """

    fires: bool
    long_burn: float
    short_burn: float
    held_back: str = ""


class Firing(StrEnum):
    """Where an alert is."""

    INACTIVE = "inactive"
    FIRING = "firing"
    RESOLVED = "resolved"


class AlertState(Struct, frozen=True):
    """Where an alert is, and since when; inactive, and None, while it never fired."""

    state: Firing = Firing.INACTIVE
    since_s: float | None = None


class Status(StrEnum):
    """An objective in one word."""

    PAGE = "page"
    EXHAUSTED = "exhausted"
    TICKET = "ticket"
    OK = "ok"
    NO_DATA = "no_data"


@lru_cache(maxsize=1024)
def alerts_of(objective: Objective) -> tuple[Alert, ...]:
    """Return every alert of an objective: of burn rates, of the budget's likely end, and of its end."""
    alerts = [
        Alert(one.severity, one.name, _tier(one, objective.alerts), one.factor, one.long_s, one.short_s)
        for one in objective.alerts
    ]
    if within_s := objective.likely_within_s:
        windows_s = likely_windows(within_s)
        alerts.append(Alert("ticket", LIKELY_NAME, Tier.LIKELY, _AS_ALLOWED, *windows_s, within_s))
    if objective.tells_exhausted:
        period_s = objective.period_s
        alerts.append(Alert("ticket", EXHAUSTED_NAME, Tier.EXHAUSTED, _AS_ALLOWED, period_s, period_s))
    return tuple(alerts)


def _tier(alert: BurnAlert, alerts: Iterable[BurnAlert]) -> Tier:
    """Return that the one of its severity with the shortest long window is the fast one."""
    shortest_s = min(one.long_s for one in alerts if one.severity == alert.severity)
    return Tier.FAST if alert.long_s == shortest_s else Tier.SLOW


def windows(objective: Objective) -> list[float]:
    """Return the windows whose burn rates an objective's alerts look at, the shortest first."""
    looking = [alert for alert in alerts_of(objective) if alert.tier is not Tier.EXHAUSTED]
    return sorted({length_s for alert in looking for length_s in (alert.long_s, alert.short_s)})


def likely_factor(objective: Objective, period: EventCount) -> float:
    """Return the burn rate above which the budget now ends within the time that it is foretold for, 1 at least."""
    left = remaining_ratio(period, objective.target)
    if left is None or not objective.likely_within_s:
        return _AS_ALLOWED
    return max(_AS_ALLOWED, left * objective.period_s / objective.likely_within_s)


def judge_any(alert: Alert, objective: Objective, period: EventCount, long: EventCount, short: EventCount) -> Verdict:
    """Decide whether an alert of an objective fires, by the events of its period and of the alert's windows."""
    match alert.tier:
        case Tier.LIKELY:
            return _judge_likely(alert, objective, period, long, short)
        case Tier.EXHAUSTED:
            return _judge_exhausted(objective, period)
    return judge(alert, objective.target, objective.guards, long, short)


def _judge_likely(
    alert: Alert, objective: Objective, period: EventCount, long: EventCount, short: EventCount
) -> Verdict:
    """Decide by the pace of both windows when the budget ends, and whether it is spent faster than allowed at all.

    A budget that is spent is told by another alert.
    """
    target = objective.target
    burns = burn_rate(long, target), burn_rate(short, target)
    ends = all(
        ends_within(period, window, window_s, target, alert.within_s)
        for window, window_s in ((long, alert.long_s), (short, alert.short_s))
    )
    if is_exhausted(period, target) or not (ends and burns_faster(short, target, _AS_ALLOWED)):
        return Verdict(False, *burns)
    too_little = _too_little_in(period, target) or _too_little(_AS_ALLOWED, target, objective.guards, long)
    return Verdict(not too_little, *burns, f"not enough data: {too_little}" if too_little else "")


def _judge_exhausted(objective: Objective, period: EventCount) -> Verdict:
    target = objective.target
    burn = burn_rate(period, target)
    if not is_exhausted(period, target):
        return Verdict(False, burn, burn)
    too_little = _too_little_in(period, target)
    return Verdict(not too_little, burn, burn, f"not enough data: {too_little}" if too_little else "")


def _too_little_in(period: EventCount, target: float) -> str:
    if is_enough(period, target):
        return ""
    allowed = float(budget_share(target) * period.total)
    return f"{period.total} events in the period allow {allowed:.3g} bad ones"


def judge(alert: BurnAlert | Alert, target: float, guards: Guards, long: EventCount, short: EventCount) -> Verdict:
    """Decide whether an alert fires: both windows burn faster than its factor, and no guard holds it back.

    The long window says that it matters, the short one that it still goes on; no other delay is needed to begin or end.
    Guards look at the long window.
    """
    long_burn, short_burn = burn_rate(long, target), burn_rate(short, target)
    if not (burns_faster(long, target, alert.factor) and burns_faster(short, target, alert.factor)):
        return Verdict(False, long_burn, short_burn)
    too_little = _too_little(alert.factor, target, guards, long)
    held_back = f"not enough data: {too_little}" if too_little else ""
    return Verdict(not too_little, long_burn, short_burn, held_back)


def after(state: AlertState, verdict: Verdict, now_s: float) -> AlertState:
    """Return where an alert is after a verdict; the moment changes only when it begins or ends to fire."""
    if verdict.fires == (state.state is Firing.FIRING):
        return state
    return AlertState(Firing.FIRING if verdict.fires else Firing.RESOLVED, now_s)


def status(firing: Iterable[str], period: EventCount, target: float) -> Status:
    """Return an objective's most urgent word.

    A budget counts as exhausted only where there was enough traffic to tell.

    Args:
        firing: severities of its alerts that fire.
    """
    severities = set(firing)
    if "page" in severities:
        return Status.PAGE
    if is_exhausted(period, target) and is_enough(period, target):
        return Status.EXHAUSTED
    if severities:
        return Status.TICKET
    return Status.OK if period.total else Status.NO_DATA


def _too_little(factor: float, target: float, guards: Guards, long: EventCount) -> str:
    if long.total < guards.min_events:
        return f"{long.total} events in the long window, and {guards.min_events} are asked for"
    if long.bad < guards.min_bad_events:
        return f"{long.bad} bad events in the long window, and {guards.min_bad_events} are asked for"
    allowed = float(bad_share(target, factor))
    if guards.chance_below > 0 and not is_beyond_chance(long.bad, long.total, allowed, guards.chance_below):
        return f"{long.bad} bad of {long.total} events in the long window, and above {factor:.3g}x may be chance"
    return ""
