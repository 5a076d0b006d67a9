"""Every wait of a client connection has an end, and says what follows."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.pace import Late, Pace, Phase, shortest_wait_s
from policies.snapshot.mesh import Bounds

BOUNDS = Bounds(idle_timeout_s=60.0, header_timeout_s=5.0, body_timeout_s=15.0)


def pace(phase: Phase, since_s: float = 100.0) -> Pace:
    made = Pace(0.0)
    made.enter(phase, since_s)
    return made


@pytest.mark.parametrize(
    ("phase", "at_s", "late", "reason"),
    [
        (Phase.FIRST_BYTE, 110.0, Late.CLOSE, ""),
        (Phase.IDLE, 160.0, Late.CLOSE, ""),
        (Phase.HEAD, 105.0, Late.REFUSE, "head_too_slow"),
        (Phase.BODY, 110.0, Late.REFUSE, "body_too_slow"),
        (Phase.LINGERING, 102.0, Late.CLOSE, ""),
        (Phase.CLOSING, 130.0, Late.CUT, ""),
    ],
)
def test_each_phase_has_its_time(phase: Phase, at_s: float, late: Late, reason: str) -> None:
    deadline = pace(phase).next_deadline(BOUNDS)
    assert (deadline.at_s, deadline.late, deadline.reason) == (at_s, late, reason)


def test_an_answer_has_only_the_callers_deadline() -> None:
    waiting = pace(Phase.ANSWER)
    assert waiting.next_deadline(BOUNDS).at_s == math.inf
    waiting.request_deadline_s = 103.0
    assert waiting.next_deadline(BOUNDS).late is Late.DEADLINE


def test_a_body_that_keeps_the_pace_may_take_its_time() -> None:
    body = pace(Phase.BODY)
    body.body_bytes, body.heard_s = 1024 * 60, 150.0
    assert body.next_deadline(BOUNDS).at_s == 160.0  # falls behind one KiB per second then


def test_a_fast_body_that_falls_silent_is_late() -> None:
    body = pace(Phase.BODY)
    body.body_bytes, body.heard_s = 2**30, 101.0
    assert body.next_deadline(BOUNDS).at_s == 116.0


def test_a_body_that_we_do_not_read_is_never_late() -> None:
    body = pace(Phase.BODY)
    body.held = True
    assert body.next_deadline(BOUNDS).at_s == math.inf


def test_a_client_that_takes_nothing_of_its_answer_is_cut_off() -> None:
    stalled = pace(Phase.ANSWER)
    stalled.stalled_since_s = 200.0
    deadline = stalled.next_deadline(BOUNDS)
    assert (deadline.at_s, deadline.late) == (230.0, Late.CUT)


@given(st.sampled_from([phase for phase in Phase if phase is not Phase.ANSWER]), st.floats(0, 1e6))
def test_looking_as_often_as_the_shortest_wait_is_often_enough(phase: Phase, since_s: float) -> None:
    assert pace(phase, since_s).next_deadline(BOUNDS).at_s - since_s >= shortest_wait_s(BOUNDS) - 1e-6
