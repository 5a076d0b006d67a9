from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ts.utils.util import PredictionException

from model_pod.engine.failure_log import FAILURES, MAX_KINDS, SAY_EVERY_S, FailureLog, Throttle, place_of


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 2)), max_size=40))
def test_every_event_is_said_or_counted_and_a_kind_is_said_once_a_second(events: list[tuple[str, float]]) -> None:
    throttle, now_s = Throttle(), 0.0
    said_at_s: dict[str, float] = {}
    unsaid = dict.fromkeys("ab", 0)
    for kind, pause_s in events:
        now_s += pause_s
        counted = throttle.admit(kind, now_s)
        is_due = kind not in said_at_s or now_s - said_at_s[kind] >= SAY_EVERY_S
        assert counted == (unsaid[kind] if is_due else None)
        unsaid[kind] = 0 if is_due else unsaid[kind] + 1
        if is_due:
            said_at_s[kind] = now_s


def test_kinds_are_bounded_and_the_one_said_longest_ago_is_forgotten() -> None:
    throttle = Throttle()
    for kind in range(MAX_KINDS + 1):
        assert throttle.admit(str(kind), 0.0) == 0
    assert throttle.admit("1", 0.0) is None
    assert throttle.admit("0", 0.0) == 0


def _raise(error: Exception) -> Exception:
    try:
        raise error
    except Exception as raised:
        return raised


def test_a_handlers_own_refusals_are_one_line_without_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    log = FailureLog()
    log.note(_raise(PredictionException("not a digit", 422)), 8)
    for _ in range(8):
        log.note(_raise(PredictionException("not a digit", 422)), 1)
    (line,) = capfd.readouterr().err.splitlines()
    assert line == "the handler refused 1 row: PredictionException"


def test_an_error_is_told_once_for_each_type_and_place(capfd: pytest.CaptureFixture[str]) -> None:
    log = FailureLog()
    for _ in range(8):
        log.note(_raise(ValueError("bad")), 1)
        log.note(_raise(KeyError("bad")), 1)
    elsewhere = ValueError("not raised")
    log.note(elsewhere, 1)
    text = capfd.readouterr().err
    assert text.count("Traceback (most recent call last)") == 2
    assert text.count("\nValueError\n") == 1
    assert text.count("the handler failed on 1 row: ValueError\n") == 1
    assert "bad" not in text.replace('("bad")', "")  # but for the line of code


def test_the_place_of_an_error_is_where_it_was_raised() -> None:
    file, _, line = place_of(_raise(ValueError())).rpartition(":")
    assert file == __file__
    assert int(line) == _raise.__code__.co_firstlineno + 2
    assert place_of(ValueError()) == ""


SECRET = "planted-" + "canary"


def test_nothing_of_an_exceptions_text_is_told_unless_policy_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    noted = ValueError(SECRET)
    noted.add_note(SECRET)
    noted.__cause__ = _raise(KeyError(SECRET))
    errors: list[Exception] = [_raise(noted)]
    errors.append(_raise(PredictionException(SECRET, 422)))
    errors.append(_raise(ExceptionGroup(SECRET, [ValueError(SECRET)])))
    for error in errors:
        FailureLog().note(error, 1)
    FailureLog().note(errors[0], 2)
    text = capfd.readouterr().err
    assert SECRET not in text
    assert text.index("KeyError") < text.index("ValueError")
    assert "ExceptionGroup of 1: ValueError" in text


def test_with_messages_they_are_told(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FAILURES, "has_messages", True)
    FailureLog().note(_raise(ValueError(SECRET)), 1)
    FailureLog().note(_raise(ValueError(SECRET)), 2)
    assert capfd.readouterr().err.count(f"ValueError: {SECRET}") == 2
