"""What a client sends is decided by its seed, and so is what it sends again."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.ledgers import End, Outcome
from tests.faults.requests import Caller, Mix, is_sent_again, pause_s, plan, request_bytes

CALLERS = [Caller("blue", "key-blue"), Caller("red", "key-red")]
EVERYTHING = Mix(keyed=0.5, chunked=0.5, streamed=0.3)


def end(outcome: Outcome = Outcome.WHOLE, reason: str = "", is_retryable: bool | None = None) -> End:
    return End("c", 0, 0, 1.0, outcome, status=503, reason=reason, is_retryable=is_retryable)


@given(st.integers(0, 50), st.integers(0, 500))
def test_the_same_number_is_the_same_request(seed: int, number: int) -> None:
    assert plan(seed, "c", number, CALLERS, EVERYTHING) == plan(seed, "c", number, CALLERS, EVERYTHING)


def test_no_two_requests_have_a_payload_or_a_key_in_common() -> None:
    planned = [
        plan(seed, client, number, CALLERS, EVERYTHING)
        for seed in (1, 2)
        for client in ("a", "b")
        for number in range(200)
    ]
    assert len({one.payload_sha256 for one in planned}) == len(planned)
    keys = [one.idempotency_key for one in planned if one.idempotency_key]
    assert len(set(keys)) == len(keys) > 0


@given(st.integers(0, 2000))
def test_a_request_on_the_wire_carries_its_payload(number: int) -> None:
    planned = plan(3, "c", number, CALLERS, EVERYTHING)
    body: list[bytes] = []
    names: dict[bytes, bytes] = {}

    class Reader:
        def on_header(self, name: bytes, value: bytes) -> None:
            names[name] = value

        def on_body(self, piece: bytes) -> None:
            body.append(piece)

    httptools.HttpRequestParser(Reader()).feed_data(request_bytes(planned, "host:1", "/predictions/x"))
    assert b"".join(body) == planned.payload
    assert names[b"authorization"] == f"Bearer {planned.caller.key}".encode()
    assert names.get(b"idempotency-key", b"").decode() == planned.idempotency_key
    assert (b"transfer-encoding" in names) is planned.is_chunked


@pytest.mark.parametrize(
    ("ended", "with_a_key", "without"),
    [
        (end(Outcome.NOT_CONNECTED), True, True),
        (end(Outcome.LOST), True, False),
        (end(Outcome.TRUNCATED), True, False),
        (end(reason="queue_full", is_retryable=True), True, True),
        (end(reason="pod_lost", is_retryable=False), True, False),
        (end(reason="bad_input", is_retryable=False), False, False),
        (end(), False, False),
    ],
)
def test_only_what_may_be_sent_again_is(ended: End, with_a_key: bool, without: bool) -> None:
    keyed = plan(1, "c", 0, CALLERS, Mix(keyed=1.0))
    unkeyed = plan(1, "c", 0, CALLERS, Mix(keyed=0.0))
    assert is_sent_again(keyed, ended) is with_a_key
    assert is_sent_again(unkeyed, ended) is without


def test_attempts_come_ever_more_seldom() -> None:
    assert [pause_s(attempt) for attempt in (0, 1, 2, 10, 1000)] == [0.05, 0.1, 0.2, 1.0, 1.0]
