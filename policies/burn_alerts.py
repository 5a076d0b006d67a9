"""Decides which burn-rate alerts an objective has when none are written, and which alerts could never fire."""

from fractions import Fraction
from importlib.resources import files
from math import ceil
from tomllib import loads
from typing import Final

from msgspec import Struct, convert

from policies.snapshot.slos import BurnAlert
from policies.units import duration_s

# Windows are whole slots of this length, the finest that events are counted in.
FINEST_SLOT_S: Final = 10.0
# In a shorter window, one slot more or less decides.
SHORTEST_WINDOW_SLOTS: Final = 4
# The end of a budget is foretold by the pace of a quarter of the time that it is foretold for, if that still holds in a
# twelfth of the quarter.
LIKELY_LONG: Final = 4
LIKELY_SHORT: Final = 12
SHORTEST_LIKELY_S: Final = LIKELY_LONG * LIKELY_SHORT * SHORTEST_WINDOW_SLOTS * FINEST_SLOT_S
# A day of the usual 30.
LIKELY_SHARE_OF_PERIOD: Final = 30


class _Row(Struct, frozen=True, forbid_unknown_fields=True):
    severity: str
    name: str
    factor: float
    long: str
    short: str


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    period: str
    alert: tuple[_Row, ...]


WORKBOOK: Final = convert(loads(files("policies").joinpath("workbook.toml").read_text("utf-8")), _Table)


def usual_alerts(period_s: float, target: float) -> tuple[BurnAlert, ...]:
    """Return the workbook's alerts for an objective of this period, the windows scaled to it and the factors kept.

    A short window is never under four slots, and its long window is raised with it. Left out is what could never fire,
    and what, in windows so raised, would fire only once the whole budget is spent.
    """
    alerts = (_scaled(row, Fraction(repr(period_s))) for row in WORKBOOK.alert)
    return tuple(alert for alert in alerts if not unreachable(alert, target) and alert.factor * alert.long_s < period_s)


def usual_likely_within_s(period_s: float) -> float:
    """Return how far ahead the end of a budget is told if nothing is written: a day of 30, or 0 for too short."""
    within_s = period_s / LIKELY_SHARE_OF_PERIOD
    return within_s if within_s >= SHORTEST_LIKELY_S else 0.0


def likely_windows(within_s: float) -> tuple[float, float]:
    """Return the long and the short window whose pace tells whether a budget ends within this time, in whole slots."""
    long_s, short_s = (
        ceil(Fraction(repr(within_s)) / share / Fraction(FINEST_SLOT_S)) * FINEST_SLOT_S
        for share in (LIKELY_LONG, LIKELY_LONG * LIKELY_SHORT)
    )
    return long_s, short_s


def unreachable(alert: BurnAlert, target: float) -> str:
    """Return why this alert can never fire, with the mend; "" when it can.

    Nothing burns faster than all events bad, ``1 / (1 - target)``, and an alert waits for more than its factor.
    """
    fastest = 1 / (1 - Fraction(repr(target)))
    if Fraction(repr(alert.factor)) < fastest:
        return ""
    all_bad = f"{float(fastest):g}x when every event is bad"
    return f"{alert.name} waits for more than {alert.factor:g}x, and the budget burns at most {all_bad}: write less."


def _scaled(row: _Row, period_s: Fraction) -> BurnAlert:
    scale = period_s / Fraction(duration_s(WORKBOOK.period))
    short_slots = ceil(Fraction(duration_s(row.short)) * scale / Fraction(FINEST_SLOT_S))
    short_s = max(short_slots, SHORTEST_WINDOW_SLOTS) * FINEST_SLOT_S
    return BurnAlert(
        row.severity, row.name, row.factor, short_s * duration_s(row.long) / duration_s(row.short), short_s
    )
