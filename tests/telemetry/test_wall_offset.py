"""The two clocks are read together, also where the process is stopped in the middle of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.wall_offset import NEAR_NS, TRIES, wall_offset_ns

OFFSET_NS = 1_700_000_000_000_000_000
LOOK_NS = 50


class Held:
    """Both clocks of a process that is held up for so long before each look, in turn."""

    def __init__(self, *before_looks_ns: int) -> None:
        self.now_ns = 10**12
        self._held_ns = list(before_looks_ns)

    def monotonic_ns(self) -> int:
        self.now_ns += self._held_ns.pop(0) if self._held_ns else LOOK_NS
        return self.now_ns

    def wall_ns(self) -> int:
        return OFFSET_NS + self.monotonic_ns()


def offset_of(held: Held) -> int:
    return wall_offset_ns(held.wall_ns, held.monotonic_ns)


def test_a_process_that_is_not_held_up_looks_once() -> None:
    held = Held()
    assert offset_of(held) == OFFSET_NS
    assert held.now_ns == 10**12 + 3 * LOOK_NS


def test_a_look_in_which_it_was_held_up_does_not_count() -> None:
    assert offset_of(Held(LOOK_NS, 5_000_000, LOOK_NS, LOOK_NS, LOOK_NS, 9_000_000)) == OFFSET_NS


def test_where_it_is_always_held_up_the_shortest_look_counts() -> None:
    looks_ns = [9_000_000, 4_000_000, LOOK_NS] * TRIES
    looks_ns[7] = 100_000
    assert offset_of(Held(*looks_ns)) == OFFSET_NS + (100_000 - LOOK_NS) // 2


@given(st.lists(st.integers(1, 10**8), max_size=3 * TRIES))
def test_it_is_never_wrong_by_more_than_half_of_a_look_says(looks_ns: list[int]) -> None:
    in_full = looks_ns + [LOOK_NS] * (3 * TRIES - len(looks_ns))
    shortest_ns = min(in_full[at + 1] + in_full[at + 2] for at in range(0, 3 * TRIES, 3))
    assert abs(offset_of(Held(*looks_ns)) - OFFSET_NS) <= max(shortest_ns, NEAR_NS) / 2 + 1
