"""Cuts off what has a time limit after a number of turns of the event loop, to try every place that it can wait at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

_timeout = asyncio.timeout


def cut_off_next(patch: pytest.MonkeyPatch, limit_s: float, turns: int) -> None:
    """Let the next limit of so many seconds be one of so many turns instead; those after it are as they say."""
    limits = iter([_limit_of(turns)])

    def limit(within_s: float) -> AbstractAsyncContextManager[object]:
        return (next(limits, None) if within_s == limit_s else None) or _timeout(within_s)

    patch.setattr(asyncio, "timeout", limit)


@asynccontextmanager
async def _limit_of(turns: int) -> AsyncIterator[None]:
    async def count(limit: asyncio.Timeout) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        limit.reschedule(0)

    async with asyncio.Timeout(None) as limit:
        counting = asyncio.create_task(count(limit))
        try:
            yield
        finally:
            counting.cancel()
