"""Alerts: whether a burn-rate alert fires, what holds it back, and since when."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from policies.snapshot import BurnAlert, Guards
from telemetry.slo.budget import is_enough, is_exhausted
from telemetry.slo.burn_rate import bad_share, burn_rate, burns_faster
from telemetry.slo.chance import is_beyond_chance
from telemetry.slo.events import EventCount


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


class AlertState(Struct, frozen=True):
    """Where an alert is, and since when; None when it never fired."""

    state: Firing = Firing.INACTIVE
    since_s: float | None = None


class Status(StrEnum):
    """An objective in one word."""

    PAGE = "page"
    EXHAUSTED = "exhausted"
    TICKET = "ticket"
    OK = "ok"
    NO_DATA = "no_data"


def judge(alert: BurnAlert, target: float, guards: Guards, long: EventCount, short: EventCount) -> Verdict:
    """Decide whether an alert fires: both windows burn faster than its factor, and no guard holds it back.

    The long window says that it matters, the short one that it still goes on; no other delay is needed to begin or end.
    Guards look at the long window.
    """
    long_burn, short_burn = burn_rate(long, target), burn_rate(short, target)
    if not (burns_faster(long, target, alert.factor) and burns_faster(short, target, alert.factor)):
        return Verdict(False, long_burn, short_burn)
    too_little = _too_little(alert, target, guards, long)
    held_back = f"not enough data: {too_little}" if too_little else ""
    return Verdict(not too_little, long_burn, short_burn, held_back)


def after(state: AlertState, verdict: Verdict, now_s: float) -> AlertState:
    """Return where an alert is after a verdict; the moment changes only when it begins or ends to fire."""
    if verdict.fires == (state.state is Firing.FIRING):
        return state
    return AlertState(Firing.FIRING if verdict.fires else Firing.INACTIVE, now_s)


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


def _too_little(alert: BurnAlert, target: float, guards: Guards, long: EventCount) -> str:
    if long.total < guards.min_events:
        return f"{long.total} events in the long window, and {guards.min_events} are asked for"
    if long.bad < guards.min_bad_events:
        return f"{long.bad} bad events in the long window, and {guards.min_bad_events} are asked for"
    allowed = float(bad_share(target, alert.factor))
    if guards.chance_below > 0 and not is_beyond_chance(long.bad, long.total, allowed, guards.chance_below):
        return f"{long.bad} bad of {long.total} events in the long window may be chance"
    return ""
