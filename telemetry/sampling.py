"""Decides which traces are kept, alike in every process: a consistent share of all, and the slow ones besides."""

from __future__ import annotations

_RANDOM_DIGITS = 14
_RANDOM_END = 2**56


def share(kept_per_s: float, rate_per_s: float) -> float:
    """Return the share of traces to keep, 0 to 1: all up to ``kept_per_s``, then as many as make ``kept_per_s``.

    Args:
        kept_per_s: 0 keeps none.
        rate_per_s: traces per second that there are to keep.
    """
    if kept_per_s <= 0.0:
        return 0.0
    return 1.0 if rate_per_s <= kept_per_s else kept_per_s / rate_per_s


def in_share(trace_id: str, share: float) -> bool:
    """Whether a trace is in the share; what is in a smaller share is in every larger one.

    Args:
        trace_id: 32 hex digits.
        share: 0 to 1.

    Source: OpenTelemetry, "TraceState: probability sampling": the trace id's last 56 bits are random (W3C Trace Context
    level 2), and a trace is kept when they reach the rejection threshold. So other samplers there keep the same traces.
    """
    return random_part(trace_id) >= threshold(share)


def random_part(trace_id: str) -> int:
    """Return what of a trace's id decides whether it is kept: the last 56 bits."""
    return int(trace_id[-_RANDOM_DIGITS:], 16)


def threshold(share: float) -> float:
    """Return which random part is the least that is kept."""
    return (1.0 - share) * _RANDOM_END


def is_slow(duration_s: float, p99_s: float | None, within_s: float | None) -> bool:
    """Whether a request took longer than 99 of 100 lately, or than an objective allows.

    Args:
        p99_s: of the last minutes; None where too few requests tell.
        within_s: of the strictest objective; None where none speaks of time.
    """
    return (p99_s is not None and duration_s > p99_s) or (within_s is not None and duration_s > within_s)
