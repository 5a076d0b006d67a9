"""The wheel looks at everything in time and at nothing before its time."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.timers import TICK_S, TimerWheel


class Probe:
    """Asks to be looked at again at each of the moments given, in order."""

    def __init__(self, then: list[float]) -> None:
        self.look_at_s = math.inf
        self.bucket = -1
        self.looks: list[float] = []
        self._then = then

    def look(self, now_s: float) -> float:
        self.looks.append(now_s)
        return self._then.pop(0) if self._then else math.inf


@given(st.lists(st.floats(0.0, 20.0), min_size=1, max_size=20))
def test_each_watch_is_looked_at_within_two_ticks_of_its_moment(moments: list[float]) -> None:
    wheel = TimerWheel(0.0)
    probes = [Probe([]) for _ in moments]
    for probe, moment in zip(probes, moments, strict=True):
        wheel.watch(probe, moment)
    for tick in range(1, 430):
        wheel.turn(tick * TICK_S)
    for probe, moment in zip(probes, moments, strict=True):
        assert len(probe.looks) == 1
        assert moment <= probe.looks[0] <= moment + 2 * TICK_S + 1e-9


def test_an_earlier_watch_overtakes_a_later_one() -> None:
    wheel, probe = TimerWheel(0.0), Probe([])
    wheel.watch(probe, 10.0)
    wheel.watch(probe, 1.0)
    wheel.turn(20.0)
    assert len(probe.looks) == 1


def test_a_look_may_ask_for_another() -> None:
    wheel, probe = TimerWheel(0.0), Probe([5.0])
    wheel.watch(probe, 1.0)
    wheel.turn(2.0)
    wheel.turn(4.0)
    assert probe.looks == [2.0]
    wheel.turn(6.0)
    assert probe.looks == [2.0, 6.0]


def test_what_is_forgotten_is_not_looked_at() -> None:
    wheel, probe = TimerWheel(0.0), Probe([])
    wheel.watch(probe, 1.0)
    wheel.forget(probe)
    wheel.turn(5.0)
    assert probe.looks == []


def test_a_long_sleep_of_the_process_loses_nothing() -> None:
    wheel, probe = TimerWheel(0.0), Probe([])
    wheel.watch(probe, 1.0)
    wheel.turn(100_000.0)
    assert probe.looks == [100_000.0]


def test_one_look_that_fails_leaves_the_others_their_deadlines() -> None:
    noted: list[str] = []
    wheel = TimerWheel(0.0, lambda where, error: noted.append(str(error)))

    class Broken(Probe):
        def look(self, now_s: float) -> float:
            raise RuntimeError("a defect")

    probes = [Broken([]) if number == 3 else Probe([1.0, 2.0]) for number in range(10)]
    for probe in probes:
        wheel.watch(probe, 0.1)
    for now_s in (0.2, 0.3, 1.2, 1.5, 2.5, 3.5):
        wheel.turn(now_s)
    assert [len(probe.looks) for probe in probes] == [0 if number == 3 else 3 for number in range(10)]
    assert noted == ["a defect"]
