"""Sums of what workers count by name: of those that have ended too, and never of more names than may be shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.control.messages import MAX_EJECTIONS, MAX_WAITS, OTHER_MODELS, OTHER_WAITS, Waits


def waits_of_both(some: Iterable[Waits], more: Iterable[Waits]) -> tuple[Waits, ...]:
    """Return the waits of two workers as one's."""
    sums: dict[tuple[str, str], Waits] = {}
    for one in (*some, *more):
        kind = (one.model, one.tier)
        if kind not in sums and len(sums) >= MAX_WAITS:
            kind = (OTHER_WAITS, OTHER_WAITS)
        known = sums.get(kind)
        buckets, sum_s = one.buckets, one.sum_s
        if known is not None:
            buckets = tuple(a + b for a, b in zip(known.buckets, buckets, strict=True))
            sum_s += known.sum_s
        sums[kind] = Waits(*kind, buckets, sum_s)
    return tuple(sums.values())


def ejections_of_both(some: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Return the ejections of two workers as one's, by model."""
    sums = dict(some)
    for model, count in more.items():
        name = model if model in sums or len(sums) < MAX_EJECTIONS else OTHER_MODELS
        sums[name] = sums.get(name, 0) + count
    return sums
