"""Fuzz target: the gate that reads a pod's answers. The first byte says how the rest is cut, and if HEAD was asked."""

from __future__ import annotations

from collections.abc import Iterator

import h11

from model_pod.wire.http1 import ResponseHead
from tests.fuzz.http_reading import read_response, slices, witnessed_body
from tests.http_corpus.cases import hostile_answers, legal_answers

MAX_BYTES = 8 * 1024


def seeds() -> Iterator[bytes]:
    """Return inputs to begin with: the corpus, each case cut in its own way."""
    cases = [*(case.data for case in hostile_answers()), *(case.data for case in legal_answers())]
    for number, data in enumerate(data for data in cases if len(data) < MAX_BYTES):
        yield bytes([2 * number % 256]) + data
        yield bytes([(2 * number + 1) % 256]) + data


def fuzz(data: bytes) -> None:
    """Read one input; an exception is a finding."""
    cut, stream = data[:1], data[1:]
    if not stream:
        return
    method, size = ("HEAD" if cut[0] % 2 else "POST"), cut[0] // 2 + 1
    whole = read_response(iter((stream,)), method)
    assert read_response(slices(stream, size), method).meaning() == whole.meaning(), f"slices of {size} bytes differ"
    assert len(whole.heads) <= 1
    assert len(whole.bodies) <= len(whole.heads)
    for head in whole.heads:
        assert isinstance(head, ResponseHead)
        assert 200 <= head.status <= 599
        assert not (head.chunked and head.content_length is not None)
        _assert_no_line_hides_in_a_line(head)
    if whole.bodies:
        _assert_the_witness_agrees(stream, method, whole.bodies[0])


def _assert_no_line_hides_in_a_line(head: ResponseHead) -> None:
    """Names and values go on to a client as they are, so none may hold what ends a line."""
    for text in (head.phrase, *(part for field in head.fields for part in field)):
        assert not {0x00, 0x0A, 0x0D} & set(text)


def _assert_the_witness_agrees(stream: bytes, method: str, body: bytes) -> None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * MAX_BYTES)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "mesh")]))
    connection.send(h11.EndOfMessage())
    witnessed = witnessed_body(connection, stream)
    assert witnessed is None or witnessed == body, "another reader sees another body"
