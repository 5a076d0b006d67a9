"""One line: bounded, without credentials, the same for programs as for people."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.logs.line import (
    HIDDEN,
    MAX_LINE_BYTES,
    MAX_STACK_CHARACTERS,
    Facts,
    Level,
    Line,
    as_json,
    as_line,
    as_text,
    bounded_stack,
    line_of,
    read_record,
    record_of,
    warning,
    without_secrets,
)

NOW_S = 1_790_000_000.123
ORIGIN = Facts(process="gateway", role="worker 0", pid=12)


def told(line: Line) -> dict[str, object]:
    whole: dict[str, object] = json.loads(as_json(record_of(line, ORIGIN, "somewhere", NOW_S)))
    return whole


def test_a_line_is_one_flat_object_of_known_fields() -> None:
    facts = Facts(model="digits", trace_id="ab", status=503, error_type="no_pod_ready")
    assert told(warning("no pod", "request.settled", facts)) == {
        "ts": "2026-09-21T14:13:20.123Z",
        "level": "warning",
        "event": "request.settled",
        "msg": "no pod",
        "process": "gateway",
        "role": "worker 0",
        "pid": 12,
        "model": "digits",
        "trace_id": "ab",
        "status": 503,
        "error.type": "no_pod_ready",
    }


def test_a_plain_text_is_of_level_info_and_of_the_event_of_whoever_tells_it() -> None:
    whole = told(as_line("something happened"))
    assert (whole["level"], whole["event"], whole["msg"]) == ("info", "somewhere", "something happened")


def test_half_a_surrogate_pair_costs_its_character_and_not_the_line() -> None:
    whole = told(warning("half: \ud800.", "event", Facts(stack="in \udfff:\n  x", model="digits")))
    assert (whole["msg"], whole["stack"], whole["model"]) == ("half: ?.", "in ?:\n  x", "digits")


def test_a_fact_that_is_none_of_ours_has_no_place() -> None:
    with pytest.raises(TypeError):
        Facts(body="the secret")  # type: ignore[call-arg]  # that is the point


@given(st.text(max_size=6000), st.text(max_size=6000), st.text(max_size=2000))
def test_no_line_is_longer_than_a_pipe_takes_at_once(msg: str, stack: str, name: str) -> None:
    line = Line(msg, Level.ERROR, name, Facts(stack=stack, model=name, request_id=name, trace_id=name))
    data = as_json(record_of(line, ORIGIN, "somewhere", NOW_S))
    assert len(data) <= MAX_LINE_BYTES
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    json.loads(data)


@pytest.mark.parametrize(
    "secret",
    [
        "msk_abcdefghijkl_" + "A" * 43 + "_123456",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl",
        "Bearer planted-credential-0123456789",
        "authorization: Basic cGxhbnRlZDpzZWNyZXQ=",
        "password=planted-secret",
        "-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_credential_is_hidden_wherever_it_stands(secret: str) -> None:
    line = Line(f"it said {secret} and", facts=Facts(stack=f"one\n{secret}\ntwo", reason=secret))
    for text in (json.dumps(told(line)), as_text("gateway", line), without_secrets(secret)):
        assert HIDDEN in text
        for part in ("planted", "A" * 20, "c2lnbmF0dXJl", "cGxhbnRlZ"):
            assert part not in text


def test_usual_words_are_left_alone() -> None:
    for text in (
        "pod digits/1: ready on cpu in 2.1 s",
        "the token file /run/token cannot be read: [Errno 2]",
        "keys of the issuer corp are not used",
        "key msk_abcdefghijkl is revoked",
    ):
        assert without_secrets(text) == text


def test_people_read_one_line_or_each_line_of_a_stack_with_who_speaks_before() -> None:
    assert as_text("gateway", as_line("one\ntwo")) == "gateway: one two\n"
    assert as_text("pod m/1", Line("last", facts=Facts(stack="first\nlast"))) == "pod m/1: first\npod m/1: last\n"
    assert as_text("", as_line("it says who it is")) == "it says who it is\n"
    assert as_text("hub", as_line("full"), suppressed=3) == "hub: full (3 more like it before)\n"


def test_a_terminal_is_never_told_what_to_do() -> None:
    assert as_text("gateway", as_line("\x1b[2Jgone")) == "gateway: \\x1b[2Jgone\n"


def test_a_stack_that_is_too_long_keeps_its_end() -> None:
    stack = bounded_stack("begin " + "x" * 9000 + " ValueError: the end")
    assert len(stack) <= MAX_STACK_CHARACTERS
    assert stack.startswith("begin ")
    assert stack.endswith("ValueError: the end")


def test_a_childs_line_comes_back_as_it_was_and_cannot_say_that_it_is_another() -> None:
    data = as_json(record_of(warning("slow", "loop.slow", Facts(model="other", status=1)), ORIGIN, "x", NOW_S))
    record = read_record(data.decode())
    assert record is not None
    line = line_of(record, "gateway: worker 0 (pid 12)", Facts(process="pod", model="mine"))
    assert str(line) == "gateway: worker 0 (pid 12): slow"
    assert (line.level, line.event, line.facts.model, line.facts.status) == (Level.WARNING, "loop.slow", "mine", 1)
    assert line.facts.process == "pod"
    again = told(line)
    assert (again["msg"], again["pid"]) == ("slow", 12)


@pytest.mark.parametrize(
    "text", ["", "plain", "{", '{"ts":1}', '{"ts":"a"}', '{"ts":"a","level":"b","event":"c","msg":4}']
)
def test_what_is_no_record_is_none(text: str) -> None:
    assert read_record(text) is None


def test_a_record_with_fields_of_a_stranger_loses_them() -> None:
    record = read_record('{"ts":"a","level":"info","event":"c","msg":"d","body":"planted"}')
    assert record is not None
    assert "planted" not in repr(record)
