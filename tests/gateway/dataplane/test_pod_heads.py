"""Names of header fields are remembered within bounds: whoever makes them up fills no memory, and costs nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.dataplane import pod_heads
from gateway.dataplane.pod_heads import pod_request
from gateway.dataplane.tracing import NO_TRACE
from gateway.decide.decision import Decision
from model_pod.wire.http1 import head
from model_pod.wire.http1.head import HeadLimits, RequestHead, parse_request_head


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    for remembered in (pod_heads._passed, pod_heads._passing, head._lower):
        remembered.clear()
    yield
    for remembered in (pod_heads._passed, pod_heads._passing, head._lower):
        remembered.clear()


def request(*fields: bytes) -> RequestHead:
    lines = [b"POST /predictions/digits HTTP/1.1", b"host: a", b"accept: b", *fields, b"", b""]
    return parse_request_head(b"\r\n".join(lines), HeadLimits())


def to_a_pod(asked: RequestHead) -> list[tuple[bytes, bytes]]:
    return pod_request(asked, "id", NO_TRACE, "x", Decision(1, None, "ads"), 1.0).fields


def test_long_names_are_passed_on_and_not_remembered() -> None:
    name = b"x-" + b"a" * 15_000
    assert to_a_pod(request(name + b": 1")) == [(b"accept", b"b"), (name, b"1")]
    assert name not in pod_heads._passed
    assert not pod_heads._passing
    assert not head._lower


def test_made_up_names_do_not_keep_others_from_being_remembered() -> None:
    for number in range(pod_heads._MAX_NAMES + 10):
        to_a_pod(request(b"x-%d: 1" % number))
    assert len(pod_heads._passed) <= pod_heads._MAX_NAMES
    assert len(pod_heads._passing) <= pod_heads._MAX_REMEMBERED
    assert len(head._lower) <= head._MAX_REMEMBERED
    usual = request(b"x-usual: 1")
    assert to_a_pod(usual) == [(b"accept", b"b"), (b"x-usual", b"1")]
    assert b"x-usual" in pod_heads._passed
    assert usual.names in pod_heads._passing
    assert usual.names in head._lower
