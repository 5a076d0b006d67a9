"""Writes an alert's guards as Prometheus reads them, the one against chance as a bound that is seldom an event late.

Prometheus cannot sum a binomial tail. Its first and largest term, by Stirling's formula, times the geometric series
that its further terms stay below (as in `telemetry.slo.chance`), is an upper bound of it and has a closed form. Where
the bound is below what policy asks for, the tail is too: rules fire with the embedded engine or a little after it.
"""

from __future__ import annotations

from math import log, pi
from typing import Final

# Of n events all bad, Stirling's formula has no factorial of what is left; at this number it gives the true one, 1.
_NONE_LEFT: Final = f"{1 / (2 * pi):.6g}"


def ln_chance(bad: str, events: str, share: float) -> str:
    """Return the logarithm of how likely so many bad events are at most, as an expression.

    Args:
        bad, events: expressions of the counts, with the same labels.
        share: of events that are bad if the budget burns just at the alert's factor.
    """
    odds = share / (1.0 - share)
    good = f"clamp_min({events} - {bad}, {_NONE_LEFT})"
    return (
        f"- {bad} * ln({bad} / ({events} * {share!r}))\n"
        f"- {good} * ln({good} / ({events} * {1.0 - share!r}))\n"
        f"+ ln({events} / ({2 * pi:.6f} * {bad} * {good})) / 2\n"
        f"+ 1 / (12 * {events}) - 1 / (12 * {bad} + 1)\n"
        f"- ln(1 - ({events} - {bad}) / ({bad} + 1) * {odds!r})"
    )


def ln_limit(chance_below: float) -> str:
    """Return what that logarithm must be below."""
    return f"{log(chance_below):.6g}"
