"""Decides how quantities read: lengths of time, shares, rates and counts, each with its unit."""

from __future__ import annotations

import datetime
import math
from typing import Any
from urllib.parse import quote

_ABSENT = "–"
_SPACE = "\u202f"  # narrow and without a break: between a number and its unit
_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400
_SMALL_EVIDENCE, _LARGE_EVIDENCE = 0.01, 1e5
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def duration(seconds: float | None) -> str:
    """Return a length of time in three digits: 312 µs, 1.24 ms, 2.31 s; longer ones as 4 m 05 s, 3 h 10 m, 2 d 4 h."""
    if seconds is None or not math.isfinite(seconds):
        return _ABSENT
    if seconds >= _MINUTE_S:
        return _long(round(seconds))
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale * 0.9995:
            return f"{_three_digits(seconds / scale)}{_SPACE}{unit}"
    return f"{round(seconds * 1e9)}{_SPACE}ns"


def _long(seconds: int) -> str:
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S}{_SPACE}m {seconds % _MINUTE_S:02}{_SPACE}s"
    if seconds < _DAY_S:
        return f"{seconds // _HOUR_S}{_SPACE}h {seconds % _HOUR_S // _MINUTE_S:02}{_SPACE}m"
    return f"{seconds // _DAY_S}{_SPACE}d {seconds % _DAY_S // _HOUR_S}{_SPACE}h"


def clock(seconds: int) -> str:
    """Return a length of time to the second: 43:20, 1:05:00, 3d 00:10:00."""
    minutes, rest = divmod(seconds, _MINUTE_S)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration_ns(nanoseconds: int) -> str:
    """Return a length of time that was measured in nanoseconds."""
    return duration(nanoseconds / 1e9)


def window(seconds: float) -> str:
    """Return a window's length as people write it: 30s, 5m, 6h, 3d."""
    for unit, length_s in (("d", _DAY_S), ("h", _HOUR_S), ("m", _MINUTE_S)):
        if seconds >= length_s and math.isclose(seconds % length_s, 0.0, abs_tol=1e-9):
            return f"{seconds / length_s:.0f}{unit}"
    return f"{seconds:g}s"


def share(ratio: float | None) -> str:
    """Return a share in percent with as many digits as it needs: 0.02 %, 4.1 %, 62 %, −130 %."""
    if ratio is None or not math.isfinite(ratio):
        return _ABSENT
    percent = ratio * 100
    digits = 0 if percent == 0 or abs(percent) >= 10 else 1 if abs(percent) >= 1 else 2
    return f"{percent:.{digits}f}{_SPACE}%".replace("-", "−")


def success(ratio: float | None) -> str:
    """Return a share that is best whole, never rounded up: 99.987 %; 100 % is all."""
    if ratio is None or not math.isfinite(ratio):
        return _ABSENT
    return f"{math.floor(ratio * 100_000) / 1000:.10g}{_SPACE}%"


def target(ratio: float) -> str:
    """Return an objective's target in percent as it was written: 99.9 %."""
    return f"{round(ratio * 100, 9):.10g}{_SPACE}%"


def good_share(good: int, bad: int) -> str:
    """Return the share of events that were good, rounded down: never 100 % when one was bad. None is no data."""
    total = good + bad
    if not total:
        return "no data"
    thousandths = good * 100_000 // total
    return f"{thousandths / 1000:.3f}".rstrip("0").rstrip(".") + f"{_SPACE}%"


def rate(per_s: float | None) -> str:
    """Return how many a second."""
    return _ABSENT if per_s is None else f"{_three_digits(per_s)}/s"


def times(burn_rate: float) -> str:
    """Return a burn rate: 0.31×."""
    return f"{_three_digits(burn_rate)}×"


def factor(of_alert: float) -> str:
    """Return the burn rate that an alert waits for, as it was written: 14.4×, 6×."""
    return f"{of_alert:.6g}×"


def evidence(e_value: float | None) -> str:
    """Return an e-value: 0.31, 99.5, 3.2 × 10⁶; None is one that no number holds."""
    if e_value is None or not math.isfinite(e_value):
        return "∞"
    if e_value == 0 or _SMALL_EVIDENCE <= e_value < _LARGE_EVIDENCE:
        return _three_digits(e_value)
    digits, power = f"{e_value:.1e}".split("e")
    raised = f"10{str(int(power)).translate(_RAISED)}"
    return raised if digits == "1.0" else f"{digits.removesuffix('.0')}{_SPACE}×{_SPACE}{raised}"


def relative(of: float, to: float) -> str:
    """Return how many times as much one is as the other: 1.8×."""
    return _ABSENT if to <= 0 else times(of / to)


def count(number: int | None) -> str:
    """Return a whole number in groups of three digits."""
    return _ABSENT if number is None else f"{number:,}".replace(",", _SPACE)


def size(size_bytes: float | None) -> str:
    """Return how many bytes, in three digits: 512 B, 24.7 MiB, 1.31 GiB."""
    if size_bytes is None or not math.isfinite(size_bytes):
        return _ABSENT
    for unit, scale in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= scale * 0.9995:
            return f"{_three_digits(size_bytes / scale)}{_SPACE}{unit}"
    return f"{size_bytes:.0f}{_SPACE}B"


def number(measured: float | None) -> str:
    """Return a number of no unit in three or so digits: 0.0123, 4.9, 1 254, 3.1e+07."""
    if measured is None or not math.isfinite(measured):
        return _ABSENT
    if measured == 0 or 1e-3 <= abs(measured) < 1e6:
        digits = 0 if abs(measured) >= 1000 else max(0, 2 - math.floor(math.log10(abs(measured) or 1.0)))
        text = f"{measured:,.{digits}f}".replace(",", _SPACE)
        return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")
    return f"{measured:.3g}".replace("-", "−")


def moment(seconds: float) -> str:
    """Return a moment as its time of day, UTC."""
    return _utc(seconds).strftime("%H:%M:%S")


def date(seconds: float) -> str:
    """Return a moment with its date, UTC."""
    return _utc(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")


def exact_ns(nanoseconds: int) -> str:
    """Return a moment with its microseconds, UTC."""
    return f"{moment(nanoseconds // 10**9)}.{nanoseconds % 10**9 // 1000:06}"


def value(attribute: Any) -> str:
    """Return what an attribute holds, as text; numbers are not rounded."""
    if isinstance(attribute, bool):
        return "true" if attribute else "false"
    if isinstance(attribute, list | tuple):
        return ", ".join(value(item) for item in attribute)
    return str(attribute)


def percent(ratio: float) -> str:
    """Return a place on an axis as SVG takes it."""
    return f"{100 * min(1.0, max(0.0, ratio)):.3f}%"


def sentence(says: str, because: str) -> str:
    """Return why something is said, where the word that says it stands before the sentence already."""
    prefix = f"{says}: "
    if not because.lower().startswith(prefix.lower()):
        return because
    rest = because[len(prefix) :]
    return rest[:1].upper() + rest[1:]


def first_sentence(text: str) -> str:
    """Return the text up to where its second sentence begins."""
    first, end, _ = text.partition(". ")
    return f"{first}." if end else first


def path_segment(text: str) -> str:
    """Return the text as one segment of a path, slashes and all."""
    return quote(text, safe="")


def _utc(seconds: float) -> datetime.datetime:
    """Return the moment; one that no calendar has becomes the first or the last that it has."""
    last_s = 253402300799  # the end of the year 9999
    return datetime.datetime.fromtimestamp(min(max(0.0, seconds), last_s), datetime.UTC)


def _three_digits(number: float) -> str:
    """Return three digits that tell something; all of them where there are more before the point."""
    if number == 0:
        return "0"
    digits = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:,.{digits}f}".replace(",", _SPACE)
