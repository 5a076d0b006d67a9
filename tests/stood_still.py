"""For tests that measure work per second: how much of the time this machine stood still, and nobody could work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

LOOK_EVERY_S = 0.05
# A loop that is merely busy is late by less.
LEAST_S = 0.3

Times = list[tuple[float, float]]
"""Monotonic moments from which and until which all stood still."""


@asynccontextmanager
async def noting_halts() -> AsyncIterator[Times]:
    """Note meanwhile when this loop stood still."""
    halts: Times = []

    async def look() -> None:
        was_s = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now_s = time.monotonic()
            if now_s - was_s > LEAST_S:
                halts.append((was_s, now_s))
            was_s = now_s

    looking = asyncio.create_task(look())
    try:
        yield halts
        await asyncio.sleep(2 * LOOK_EVERY_S)  # a halt at the very end is noted too
    finally:
        looking.cancel()


def worked_s(since_s: float, until_s: float, halts: Sequence[tuple[float, float]]) -> float:
    """Return how much of a time nobody stood still."""
    return until_s - since_s - sum(max(0.0, min(end, until_s) - max(begin, since_s)) for begin, end in halts)
