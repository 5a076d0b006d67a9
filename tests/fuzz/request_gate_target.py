"""Fuzz target: the gate that reads requests. The first byte says how the rest is cut."""

from __future__ import annotations

from collections.abc import Iterator

import h11

from model_pod.wire.http1 import END, RequestHead, RequestReader
from tests.fuzz.http_reading import (
    LIMIT_BYTES,
    LIMITS,
    Read,
    read_requests,
    read_requests_at_once,
    slices,
    witnessed_body,
)
from tests.http_corpus.cases import hostile, legal

MAX_BYTES = 8 * 1024


def seeds() -> Iterator[bytes]:
    """Return inputs to begin with: the corpus, each case cut in its own way."""
    cases = [*(case.data for case in hostile()), *(case.data for case in legal())]
    for number, data in enumerate(data for data in cases if len(data) < MAX_BYTES):
        yield bytes([number % 256]) + data


def fuzz(data: bytes) -> None:
    """Read one input; an exception is a finding."""
    cut, stream = data[:1], data[1:]
    if not stream:
        return
    whole = read_requests(iter((stream,)))
    size = cut[0] + 1
    assert read_requests(slices(stream, size)).meaning() == whole.meaning(), f"slices of {size} bytes differ"
    assert read_requests_at_once(stream).meaning() == whole.meaning(), "the quick way means another thing"
    for head in whole.heads:
        assert isinstance(head, RequestHead)
        _assert_reads_the_same_when_written_again(head)
    _assert_the_witness_agrees(stream, whole)


def _assert_reads_the_same_when_written_again(head: RequestHead) -> None:
    assert head.target == "*" or head.target.startswith("/")
    assert head.minor_version == 0 or len([name for name, _ in head.fields if name.lower() == b"host"]) == 1
    assert not (head.chunked and head.content_length is not None)
    lines = [f"{head.method} {head.target} HTTP/1.{head.minor_version}\r\n".encode("latin-1")]
    lines += [b"%b: %b\r\n" % field for field in head.fields]
    reader = RequestReader(LIMITS)
    written = b"".join([*lines, b"\r\n"])
    if len(written) > LIMITS.head_bytes:
        return  # a space after each colon that was not there
    reader.feed(written)
    again = reader.next_event(LIMIT_BYTES)
    assert isinstance(again, RequestHead), again
    assert (again.method, again.target, again.content_length, again.chunked, again.keep_alive) == (
        head.method,
        head.target,
        head.content_length,
        head.chunked,
        head.keep_alive,
    )
    assert [(name, value.strip(b" \t")) for name, value in again.fields] == [
        (name, value.strip(b" \t")) for name, value in head.fields
    ]
    if not again.body_expected:
        assert reader.next_event(LIMIT_BYTES) is END


def _assert_the_witness_agrees(stream: bytes, whole: Read) -> None:
    """Another reader may refuse what we take; if both take it, it has the same body."""
    if whole.bodies:
        body = witnessed_body(h11.Connection(h11.SERVER, max_incomplete_event_size=2 * MAX_BYTES), stream)
        assert body is None or body == whole.bodies[0], "another reader sees another body"
