"""Quota windows: which stretch of time a quota counts at a moment, and what of the use so far lies in it.

Use is kept in slots by the moment at which they end. A calendar window's slots begin with the window; a rolling one's
are 1/288 of its length, and the oldest, which it covers in part, counts wholly: so no interval of that length ever
sees more than the limit, and at most one slot's use is counted too long.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from msgspec import Struct

SLOTS_PER_ROLLING_WINDOW = 288
_HOUR_S = 3600.0
# What comes back before the end must be known to the ledger by the end, which hears of a quota that rests only when
# its turn comes: that takes so long while there are as many quotas as there can be.
SETTLED_BEFORE_END_S = 20.0
_ROLLING_S = {"rolling-1h": 3600.0, "rolling-24h": 86_400.0, "rolling-7d": 604_800.0, "rolling-30d": 2_592_000.0}
# Fine enough to show when a calendar window's use came about; decisions need only the window's sum.
_CALENDAR_SLOT_S = {
    "calendar-hour": 300.0,
    "calendar-day": _HOUR_S,
    "calendar-week": 6 * _HOUR_S,
    "calendar-month": 24 * _HOUR_S,
}
PERIODS = (*_CALENDAR_SLOT_S, *_ROLLING_S)
# A month has at most 31 days and an hour of daylight saving; nothing older is in any window.
LONGEST_WINDOW_S = 32 * 86_400.0
LONGEST_SLOT_S = 86_400.0


class Window(Struct, frozen=True, gc=False):
    """What a quota counts at a moment: slots that begin at ``start_s`` or later, which are those that end after it.

    Attributes:
        start_s, end_s: seconds since the epoch. From ``end_s`` on it is another window: the calendar's next, or a
            rolling one without its oldest slot.
        slot_s: length of a slot.
        rolling_s: length of a rolling window, 0.0 for the calendar's.
    """

    start_s: float
    end_s: float
    slot_s: float
    rolling_s: float = 0.0


def window_at(per: str, zone: str, now_s: float) -> Window:
    """Return the window of a period, as policy files name it, at a moment; ``zone`` matters to the calendar alone."""
    length_s = _ROLLING_S.get(per)
    if length_s is not None:
        slot_s = length_s / SLOTS_PER_ROLLING_WINDOW
        present_s = now_s // slot_s * slot_s
        return Window(present_s - length_s, present_s + slot_s, slot_s, length_s)
    start_s, end_s = _hour(zone, now_s) if per == "calendar-hour" else _days(per, zone, now_s)
    return Window(start_s, end_s, _CALENDAR_SLOT_S[per])


def slot_end_s(window: Window, now_s: float) -> float:
    """Return the end of the slot in which what is used now is kept: within the window, so that the next counts none.

    Where clocks change, the last slot of a calendar window is cut short.
    """
    if window.rolling_s:
        return window.end_s
    slots_before = (now_s - window.start_s) // window.slot_s
    return min(window.end_s, window.start_s + (slots_before + 1) * window.slot_s)


def use_in_window(used_by_slot_end: Mapping[float, int], window: Window) -> int:
    """Return what counts; slots of a clock that ran ahead count too."""
    return sum(used for end_s, used in used_by_slot_end.items() if end_s > window.start_s)


def resets_at_s(window: Window, oldest_slot_end_s: float | None) -> float:
    """Return when use falls next: with the calendar window's end, or when the oldest used slot leaves a rolling one.

    Args:
        oldest_slot_end_s: of the slots in the window that hold any use; None when nothing is used, which tells when
            what is used now leaves.
    """
    if not window.rolling_s:
        return window.end_s
    return (window.end_s if oldest_slot_end_s is None else oldest_slot_end_s) + window.rolling_s


def forecast_s(per: str, zone: str, left: int, used: int, rate_per_s: float, now_s: float) -> float | None:
    """Return when nothing is left if use goes on at its rate; None if it lasts.

    A calendar's quota lasts if its window ends before. Of a rolling one, what was used before leaves meanwhile; as if
    it had been used evenly, which nothing tells otherwise.
    """
    if left <= 0:
        return now_s
    window = window_at(per, zone, now_s)
    leaving_per_s = used / window.rolling_s if window.rolling_s else 0.0
    growing_per_s = rate_per_s - leaving_per_s
    if growing_per_s <= 0.0:
        return None
    at_s = now_s + left / growing_per_s
    lasts_until_s = now_s + window.rolling_s if window.rolling_s else window.end_s
    return at_s if at_s < lasts_until_s else None


def may_come_back(per: str, resets_at_s: float, now_s: float) -> bool:
    """Whether what a request reserved and did not need may come back, seconds before ``resets_at_s`` as it was then.

    Not once the calendar's window has ended, nor in its last seconds: what comes back would be let again in the next
    window, which it was never taken from. A rolling window has no such end.
    """
    return per in _ROLLING_S or now_s < resets_at_s - SETTLED_BEFORE_END_S


def _hour(zone: str, now_s: float) -> tuple[float, float]:
    """Hours begin where the zone's standard time has whole hours; summer time of half an hour does not move them."""
    local = datetime.fromtimestamp(now_s, _zone(zone))
    ahead = (local.utcoffset() or timedelta()) - (local.dst() or timedelta())
    ahead_s = ahead.total_seconds() % _HOUR_S
    start_s = (now_s + ahead_s) // _HOUR_S * _HOUR_S - ahead_s
    return start_s, start_s + _HOUR_S


def _days(per: str, zone: str, now_s: float) -> tuple[float, float]:
    """Windows of whole days go from midnight to midnight, which is 23 or 25 hours when clocks change."""
    day = datetime.fromtimestamp(now_s, _zone(zone)).date()
    # Where clocks go back over midnight, an hour of the old day comes again; it belongs to the new one.
    if _midnight_s(zone, day + timedelta(1)) <= now_s:
        day += timedelta(1)
    first, following = _days_of(per, day)
    return _midnight_s(zone, first), _midnight_s(zone, following)


def _days_of(per: str, day: date) -> tuple[date, date]:
    if per == "calendar-week":
        monday = day - timedelta(day.weekday())
        return monday, monday + timedelta(7)
    if per == "calendar-month":
        first = day.replace(day=1)
        return first, (first + timedelta(31)).replace(day=1)
    return day, day + timedelta(1)


def _midnight_s(zone: str, day: date) -> float:
    return datetime.combine(day, time(), _zone(zone)).timestamp()


@lru_cache(maxsize=600)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
