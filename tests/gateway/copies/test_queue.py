"""What waits for a shadow is bounded, and where there is no room the newest goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.copies.queue import Memory, Queue


def test_the_oldest_is_taken_first_and_the_newest_finds_no_room() -> None:
    queue: Queue[int] = Queue(most=2)
    assert [queue.put(number) for number in range(3)] == [True, True, False]
    assert [queue.take(), queue.take()] == [0, 1]
    assert not queue


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), max_size=60))
def test_no_more_is_held_than_there_is_room_for(steps: list[tuple[int, bool]]) -> None:
    memory = Memory(100)
    held: list[int] = []
    for size, is_given_back in steps:
        had_room = sum(held) + size <= 100
        assert memory.take(size) == had_room
        if had_room:
            held.append(size)
        if held and is_given_back:
            memory.give(held.pop())
        assert memory.held_bytes == sum(held) <= 100
