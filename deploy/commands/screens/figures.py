"""Decides how figures are written where there is little room: at most five characters each."""

from __future__ import annotations

NONE = "-"
_THOUSAND = 1000.0
_MOST_OVERSPENT = -9999.0
_LONGEST_S = 999.0


def rate(per_s: float) -> str:
    """Write a rate: 0.25, 41.3, 980, 12.3k."""
    if per_s == 0:
        return "0"
    if per_s < 10:
        return f"{per_s:.2f}"
    return _shortened(per_s)


def share(ratio: float | None) -> str:
    """Write a share: 0%, 0.12%, 12.3%, 100%."""
    if ratio is None:
        return NONE
    percent = ratio * 100
    if percent in (0.0, 100.0):
        return f"{percent:.0f}%"
    return f"{percent:.2f}%" if percent < 9.995 else f"{percent:.1f}%" if percent < 99.95 else "99.9%"


def whole_share(ratio: float | None) -> str:
    """Write a share without decimals: 7%."""
    return NONE if ratio is None else f"{ratio * 100:.0f}%"


def time(seconds: float | None) -> str:
    """Write a length of time: 850us, 12ms, 1.25s, 90s."""
    if seconds is None:
        return NONE
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f}us"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.2g}ms" if seconds < 0.00995 else f"{seconds * 1e3:.0f}ms"
    return f"{seconds:.2f}s" if seconds < 9.995 else f"{min(seconds, _LONGEST_S):.3g}s"


def count(number: float | None) -> str:
    """Write a whole number: 980, 12.3k."""
    if number is None:
        return NONE
    return f"{number:.0f}" if number < _THOUSAND else _shortened(number)


def mean(number: float | None) -> str:
    """Write a mean: 7.5, 128."""
    if number is None:
        return NONE
    return f"{number:.1f}" if number < 99.95 else count(number)


def budget(ratio: float | None, *, is_sure: bool) -> str:
    """Write what is left of a budget: 98%, -33%, -190x; with a question mark where few events say it."""
    if ratio is None:
        return NONE
    left = f"{ratio * 100:.0f}%" if ratio > -1.0 else f"{max(ratio, _MOST_OVERSPENT):.0f}x"
    return left if is_sure else f"{left}?"


def _shortened(number: float) -> str:
    for suffix, over in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= over * 0.9995:
            return f"{number / over:.3g}{suffix}" if number < over * 999.5 else f"{number / over:.0f}{suffix}"
    return f"{number:.3g}" if number < 99.95 else f"{number:.0f}"
