"""Sessions end, and a link is good once."""

from __future__ import annotations

from telemetry.hub.sessions import LASTS_S, LINK_LASTS_S, MOST, Invitation, Sessions


def test_a_session_goes_on_until_its_end_or_its_time() -> None:
    sessions = Sessions()
    sessions.begin("a", 100.0)
    assert sessions.has("a", 100.0 + LASTS_S - 1)
    assert not sessions.has("a", 100.0 + LASTS_S)
    assert not sessions.has("b", 100.0)
    sessions.end("a")
    sessions.end("a")
    assert not sessions.has("a", 100.0)


def test_for_one_session_too_many_the_oldest_ends() -> None:
    sessions = Sessions()
    for number in range(MOST + 1):
        sessions.begin(f"{number}", 100.0)
    assert [sessions.has(name, 100.0) for name in ("0", "1", f"{MOST}")] == [False, True, True]


def test_sessions_that_are_over_make_room_first() -> None:
    sessions = Sessions()
    sessions.begin("old", 0.0)
    for number in range(MOST):
        sessions.begin(f"{number}", LASTS_S)
    assert sessions.has("0", LASTS_S)


def test_a_link_is_good_once_and_not_for_long() -> None:
    link = Invitation("code", 0.0)
    assert not link.accept("edoc", 1.0)
    assert link.accept("code", 1.0)
    assert not link.accept("code", 1.0)
    assert not Invitation("code", 0.0).accept("code", LINK_LASTS_S)
    assert not Invitation("code", 0.0).accept("", 0.0)
