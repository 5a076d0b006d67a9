"""Time that nobody had is no time that somebody worked."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.stood_still import LEAST_S, noting_halts, worked_s


@pytest.mark.parametrize(
    ("halts", "worked"),
    [([], 10.0), ([(12.0, 13.5)], 8.5), ([(5.0, 11.0), (19.0, 30.0)], 8.0), ([(5.0, 30.0)], 0.0), ([(1.0, 2.0)], 10.0)],
)
def test_halts_count_as_far_as_they_are_in_the_time(halts: list[tuple[float, float]], worked: float) -> None:
    assert worked_s(10.0, 20.0, halts) == worked


def test_a_loop_that_stands_still_is_noted_at_the_end_too() -> None:
    async def story() -> list[tuple[float, float]]:
        async with noting_halts() as halts:
            await asyncio.sleep(0)
            time.sleep(1.2 * LEAST_S)  # noqa: ASYNC251
        return halts

    (begin_s, end_s), *_ = asyncio.run(story())
    assert end_s - begin_s > LEAST_S
