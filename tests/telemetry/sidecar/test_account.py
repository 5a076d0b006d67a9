"""The pod's answer is an account or a reason why not, and the pod's own type says the same fields."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pod.wire.status import PodState, PodStatus
from telemetry.sidecar.account import PodAccount, PodSilent, State, is_whole, read_answer

NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=256)
COUNTS = st.integers(0, 2**53)
STATUSES = st.builds(
    PodStatus,
    model=NAMES,
    version=NAMES,
    state=st.sampled_from(PodState),
    queued_rows=COUNTS,
    running_rows=COUNTS,
    restarts=COUNTS,
    load_s=st.floats(0, 1e6),
    pid=COUNTS,
    inference_pid=COUNTS,
    device=st.sampled_from(["", "cpu", "cuda:0", "cuda:15"]),
    device_s=st.floats(0, 1e9),
    running_s=st.floats(0, 1e6),
    loop_lag_s=st.floats(0, 1e3),
)
READY = PodStatus("digits", "1", PodState.READY, queued_rows=3, running_rows=2, restarts=1, load_s=0.5)


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def changed(**fields: object) -> bytes:
    """A ready pod's status with some fields of another value."""
    return msgspec.json.encode(msgspec.to_builtins(READY) | fields)


@given(STATUSES)
def test_the_account_says_what_the_pod_s_status_says(status: PodStatus) -> None:
    account = read_answer(answer(msgspec.json.encode(status)))
    assert msgspec.to_builtins(status).items() >= msgspec.to_builtins(account).items()


def test_every_state_of_a_pod_is_known_and_no_other() -> None:
    assert {state.value for state in State} == {state.value for state in PodState}


def test_an_answer_in_chunks_is_read() -> None:
    body = msgspec.json.encode(READY)
    chunked = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    account = read_answer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked)
    assert account == PodAccount("digits", "1", State.READY, 3, 2, 1, 0.5)


@given(st.binary())
def test_an_answer_is_whole_when_it_has_the_length_that_it_names_and_not_before(body: bytes) -> None:
    whole = answer(body)
    assert is_whole(whole)
    assert not any(is_whole(whole[:end]) for end in range(len(whole)))


@pytest.mark.parametrize("head", ["", "content-length: x\r\n", "x-content-length: 0\r\n", "Content-Length: 5\r\n"])
def test_an_answer_that_names_no_length_or_a_longer_one_is_not_whole(head: str) -> None:
    assert not is_whole(f"HTTP/1.1 200 OK\r\n{head}\r\nbody".encode())


@pytest.mark.parametrize(
    ("received", "why"),
    [
        (b"", "not HTTP"),
        (b"WAT 200 OK\n\n", "not HTTP"),
        (answer(changed())[:-1], "not HTTP"),
        (answer(b"{}", "404 Not Found"), "answered 404"),
        (answer(b"{}"), "missing required field"),
        (answer(b"\xff"), "no account"),
        (answer(changed(model="x").replace(b"x", b"\xff", 1)), "no account"),
        (answer(changed(state="bored")), "bored"),
        (answer(changed(queued_rows=-1)), "queued_rows"),
        (answer(changed(restarts=2**53 + 1)), "restarts"),
        (answer(changed(load_s=-1.0)), "load_s"),
        (answer(changed(model="a\nb")), "model"),
        (answer(changed(model="m" * 257)), "model"),
        (answer(changed(version="")), "version"),
    ],
)
def test_anything_else_is_silence_with_its_reason(received: bytes, why: str) -> None:
    with pytest.raises(PodSilent, match=why):
        read_answer(received)


@given(st.binary() | st.binary().map(answer) | st.binary().map(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail))
def test_no_bytes_do_more_than_be_silence(received: bytes) -> None:
    with pytest.raises(PodSilent):
        read_answer(received)
