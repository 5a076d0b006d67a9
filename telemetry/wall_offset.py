"""How far the wall clock is ahead of the monotonic one, read so that a process which is held up does not shift spans.

Between two looks at two clocks a busy machine may stop the process for milliseconds. So the wall clock is read between
two looks at the monotonic one, and what was read within the shortest time counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

NEAR_NS = 20_000
TRIES = 8


def wall_offset_ns(
    wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
) -> int:
    """Return nanoseconds since the epoch minus nanoseconds of the monotonic clock.

    It is wrong by half the time at most that its shortest look took: ``NEAR_NS / 2`` unless every one of ``TRIES``
    looks was interrupted.
    """
    shortest_ns, offset_ns = None, 0
    for _ in range(TRIES):
        before_ns, now_ns, after_ns = monotonic_ns(), wall_ns(), monotonic_ns()
        took_ns = after_ns - before_ns
        if shortest_ns is None or took_ns < shortest_ns:
            shortest_ns, offset_ns = took_ns, now_ns - (before_ns + after_ns) // 2
        if took_ns <= NEAR_NS:
            break
    return offset_ns
