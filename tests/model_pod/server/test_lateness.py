"""The worst that a loop was late, lately."""

from __future__ import annotations

from model_pod.server.lateness import OVER_S, Lateness


def test_the_worst_is_remembered_for_a_while_and_then_forgotten() -> None:
    lateness = Lateness()
    assert lateness.worst_s(100.0) == 0.0
    lateness.note(0.2, 101.0)
    lateness.note(0.1, 102.0)
    assert lateness.worst_s(103.0) == 0.2
    assert lateness.worst_s(101.0 + OVER_S) == 0.2
    assert lateness.worst_s(101.0 + 2 * OVER_S + 1.0) == 0.0


def test_after_a_long_silence_nothing_old_is_told() -> None:
    lateness = Lateness()
    lateness.note(3.0, 100.0)
    assert lateness.worst_s(1000.0) == 0.0


def test_a_newer_one_is_told_beside_the_time_before() -> None:
    lateness = Lateness()
    lateness.note(0.1, 100.0)
    lateness.note(0.5, 100.0 + OVER_S)
    assert lateness.worst_s(101.0 + OVER_S) == 0.5
    assert lateness.worst_s(100.0 + 2 * OVER_S) == 0.5
