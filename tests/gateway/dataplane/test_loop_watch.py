"""How late a loop is, and where it stood; the clock is the test's."""

from __future__ import annotations

import threading
import time

import pytest

from gateway.dataplane.loop_watch import LoopWatch

EVERY_S = 0.25


class Watched:
    """A watch on this thread, and what it said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.watch = LoopWatch(EVERY_S, self.said.append)
        self.watch.start()
        self.start_s = time.monotonic()
        self.watch.stop()  # the test looks in the thread's place
        self.watch.beat(self.start_s)

    def look_from_another_thread(self, now_s: float) -> None:
        looking = threading.Thread(target=self.watch.look, args=(now_s,))
        looking.start()
        looking.join()


def test_a_loop_that_beats_in_time_is_not_late() -> None:
    watched = Watched()
    watched.watch.take_worst_lag_s()
    assert watched.watch.beat(watched.start_s + EVERY_S) == pytest.approx(0.0)
    watched.look_from_another_thread(watched.start_s + 2 * EVERY_S)
    assert watched.said == []


def test_the_worst_lag_is_told_once() -> None:
    watched = Watched()
    watched.watch.take_worst_lag_s()
    watched.watch.beat(watched.start_s + EVERY_S + 0.6)
    watched.watch.beat(watched.start_s + 2 * EVERY_S + 0.7)
    assert watched.watch.take_worst_lag_s() == pytest.approx(0.6)
    assert watched.watch.take_worst_lag_s() == 0.0


def test_a_loop_that_stands_still_is_told_once_with_the_place_where_it_stands() -> None:
    watched = Watched()
    for later_s in (1.5, 2.0, 2.5):
        watched.look_from_another_thread(watched.start_s + later_s)
    (line,) = watched.said
    assert "stands still for more than 1 s" in line
    assert "look_from_another_thread" in line
    watched.watch.beat(watched.start_s + 3.25)
    assert watched.said[1:] == ["the loop stood still for 3.0 s"]
    watched.look_from_another_thread(watched.start_s + 5.0)
    assert len(watched.said) == 3


def test_a_standstill_that_nobody_saw_is_told_when_it_is_over() -> None:
    watched = Watched()
    watched.watch.beat(watched.start_s + EVERY_S + 1.1)
    assert watched.said == ["the loop stood still for 1.1 s"]
