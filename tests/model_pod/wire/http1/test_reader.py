"""The strict gate: what is refused, with which reason, and that no way of cutting the bytes changes the events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pod.wire.http1 import END, HeadLimits, RequestHead, RequestReader, ResponseHead, ResponseReader
from model_pod.wire.refusals import REASONS, Refused

LIMIT = 2**20


def read_all(data: bytes, cuts: tuple[int, ...] = ()) -> tuple[list[RequestHead], list[bytes]]:
    """Feed ``data`` cut at ``cuts``; return the heads and bodies of every whole request."""
    reader = RequestReader(HeadLimits())
    heads: list[RequestHead] = []
    bodies: list[bytes] = []
    body = b""
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for start, end in pairwise(edges):
        reader.feed(data[start:end])
        while (event := reader.next_event(LIMIT)) is not None:
            if isinstance(event, RequestHead):
                heads.append(event)
            elif event is END:
                bodies.append(body)
                body = b""
                reader.start_next()
            else:
                body += bytes(event)
    return heads, bodies


def refusal_of(data: bytes) -> str:
    with pytest.raises(Refused) as caught:
        read_all(data)
    return caught.value.reason


def head(line: bytes = b"POST /predictions/m HTTP/1.1", *fields: bytes) -> bytes:
    return b"\r\n".join([line, b"Host: mesh", *fields, b"", b""])


GET = b"GET / HTTP/1.1"

REFUSED = {
    "bare LF after the request line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", "malformed_http"),
    "bare LF after a field": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "malformed_http"),
    "bare CR in a value": (head(GET, b"X: a\rb"), "malformed_http"),
    "bare LF throughout, never a blank line": (b"GET / HTTP/1.1\nHost: a\n\n", "malformed_http"),
    "folded line": (head(GET, b"X: a\r\n b"), "malformed_http"),
    "NUL in a value": (head(GET, b"X: a\0b"), "malformed_http"),
    "control byte in a value": (head(GET, b"X: a\x01b"), "malformed_http"),
    "space before the colon": (head(GET, b"X : a"), "malformed_http"),
    "empty field name": (head(GET, b": a"), "malformed_http"),
    "two spaces in the request line": (head(b"GET  / HTTP/1.1"), "malformed_http"),
    "tab in the request line": (head(b"GET\t/ HTTP/1.1"), "malformed_http"),
    "control byte in the target": (head(b"GET /a\x01 HTTP/1.1"), "malformed_http"),
    "byte above 127 in the target": (head(b"GET /\xff HTTP/1.1"), "malformed_http"),
    "fragment in the target": (head(b"GET /a#b HTTP/1.1"), "malformed_http"),
    "blank line before the request": (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed_http"),
    "HTTP/1.2": (head(b"GET / HTTP/1.2"), "http_version_not_supported"),
    "HTTP/0.9": (head(b"GET / HTTP/0.9"), "http_version_not_supported"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "malformed_http"),
    "TLS hello": (b"\x16\x03\x01\x02\x00", "malformed_http"),
    "lower-case method": (head(b"get / HTTP/1.1"), "malformed_http"),
    "unknown method": (head(b"FOO / HTTP/1.1"), "malformed_http"),
    "method of another protocol": (head(b"SOURCE / HTTP/1.1"), "method_not_allowed"),
    "TRACE": (head(b"TRACE / HTTP/1.1"), "method_not_allowed"),
    "CONNECT": (head(b"CONNECT a:1 HTTP/1.1"), "method_not_allowed"),
    "asterisk target outside OPTIONS": (head(b"GET * HTTP/1.1"), "malformed_http"),
    "authority target outside CONNECT": (head(b"GET a:80 HTTP/1.1"), "malformed_http"),
    "absolute target for another host": (head(b"GET http://other/ HTTP/1.1"), "malformed_http"),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", "malformed_http"),
    "two Hosts": (head(GET, b"Host: other"), "malformed_http"),
    "Host with a path": (b"GET / HTTP/1.1\r\nHost: a/health?\r\n\r\n", "malformed_http"),
    "Host with user information": (b"GET / HTTP/1.1\r\nHost: x@y\r\n\r\n", "malformed_http"),
    "Host with a port that is none": (b"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", "malformed_http"),
    "empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "malformed_http"),
    "repeated Content-Length": (head(b"POST / HTTP/1.1", b"Content-Length: 3", b"Content-Length: 3"), "malformed_http"),
    "listed Content-Length": (head(b"POST / HTTP/1.1", b"Content-Length: 3, 3"), "malformed_http"),
    "signed Content-Length": (head(b"POST / HTTP/1.1", b"Content-Length: +3"), "malformed_http"),
    "huge Content-Length": (head(b"POST / HTTP/1.1", b"Content-Length: 99999999999999999999"), "malformed_http"),
    "Content-Length and chunked": (
        head(b"POST / HTTP/1.1", b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        "malformed_http",
    ),
    "unknown coding": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: xchunked"), "transfer_coding_not_supported"),
    "gzip, chunked": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: gzip, chunked"), "transfer_coding_not_supported"),
    "chunked twice": (
        head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        "transfer_coding_not_supported",
    ),
    "chunked in HTTP/1.0": (head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"), "malformed_http"),
    "unknown expectation": (head(b"POST / HTTP/1.1", b"Expect: 200-ok"), "expectation_not_supported"),
    "Connection naming Host": (head(GET, b"Connection: close, host"), "malformed_http"),
    "long target": (head(b"GET /" + b"a" * 9000 + b" HTTP/1.1"), "target_too_long"),
    "endless target": (b"GET /" + b"a" * 20_000, "target_too_long"),
    "large head": (head(GET, b"X: " + b"a" * 17_000), "head_too_large"),
    "many fields": (head(GET, *[b"X: a"] * 120), "head_too_large"),
    "body over its limit": (head(b"POST / HTTP/1.1", b"Content-Length: 1048577"), "body_too_large"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_the_gate_refuses(data: bytes, reason: str) -> None:
    assert refusal_of(data) == reason


CHUNKED = head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked")
BAD_CHUNKS = {
    "no digits": b"x\r\n",
    "sign": b"+3\r\nabc\r\n",
    "prefix": b"0x3\r\nabc\r\n",
    "underscore": b"1_0\r\n",
    "seventeen digits": b"00000000000000003\r\nabc\r\n",
    "bare LF after the size": b"3\nabc\r\n",
    "space before the size": b" 3\r\nabc\r\n",
    "data longer than its size": b"3\r\nabcd\r\n",
    "bare LF after the data": b"3\r\nabc\n0\r\n\r\n",
    "control byte in an extension": b"3;a\x01\r\nabc\r\n",
    "long extension": b"3;" + b"a" * 5000 + b"\r\nabc\r\n",
    "trailer that is no field": b"0\r\nno field\r\n\r\n",
}


@pytest.mark.parametrize("chunks", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
def test_a_malformed_chunk_is_refused(chunks: bytes) -> None:
    assert refusal_of(CHUNKED + chunks) == "malformed_http"


def test_chunks_over_the_body_limit_are_refused_before_their_data_comes() -> None:
    assert refusal_of(CHUNKED + b"100001\r\n") == "body_too_large"


def test_more_chunks_than_the_bound_are_refused() -> None:
    assert refusal_of(CHUNKED + b"1\r\na\r\n" * 65_537) == "body_too_large"


def test_large_trailers_are_refused() -> None:
    assert refusal_of(CHUNKED + b"0\r\n" + b"X: aaaaaaaaaa\r\n" * 1000) == "head_too_large"


ACCEPTED = {
    "no body": (head(b"GET /a?b=c HTTP/1.1"), b""),
    "HTTP/1.0 without Host": (b"GET / HTTP/1.0\r\n\r\n", b""),
    "length": (head(b"POST / HTTP/1.1", b"Content-Length: 3") + b"abc", b"abc"),
    "zero length": (head(b"POST / HTTP/1.1", b"Content-Length: 0"), b""),
    "body on GET": (head(b"GET / HTTP/1.1", b"Content-Length: 1") + b"a", b"a"),
    "chunked": (CHUNKED + b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n", b"abcde"),
    "upper-case hex": (CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "absolute form": (b"GET http://mesh:8080/a HTTP/1.1\r\nHost: mesh:8080\r\n\r\n", b""),
    "absolute form with the default port": (b"GET http://mesh:80/a HTTP/1.1\r\nHost: mesh\r\n\r\n", b""),
    "IPv6 host": (b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", b""),
    "offered upgrade, ignored": (head(b"GET / HTTP/1.1", b"Connection: Upgrade", b"Upgrade: h2c"), b""),
    "OPTIONS *": (head(b"OPTIONS * HTTP/1.1"), b""),
}


@pytest.mark.parametrize(("data", "body"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_every_legal_form_is_accepted(data: bytes, body: bytes) -> None:
    heads, bodies = read_all(data)
    assert len(heads) == 1
    assert bodies == [body]


def test_an_absolute_target_becomes_an_origin_target() -> None:
    heads, _ = read_all(b"GET http://mesh?x=1 HTTP/1.1\r\nHost: mesh\r\n\r\n")
    assert (heads[0].target, heads[0].path, heads[0].query) == ("/?x=1", "/", "x=1")


def test_values_lose_their_surrounding_space_and_names_keep_their_spelling() -> None:
    heads, _ = read_all(head(b"GET / HTTP/1.1", b"X-Test:   a \t "))
    assert heads[0].get(b"x-test") == b"a"
    assert heads[0].fields[-1][0] == b"X-Test"


def test_a_pipelined_request_waits_until_the_first_is_done() -> None:
    reader = RequestReader(HeadLimits())
    reader.feed(head(b"GET /1 HTTP/1.1") + head(b"GET /2 HTTP/1.1"))
    assert isinstance(reader.next_event(LIMIT), RequestHead)
    assert reader.next_event(LIMIT) is END
    assert reader.next_event(LIMIT) is None
    reader.start_next()
    second = reader.next_event(LIMIT)
    assert isinstance(second, RequestHead)
    assert second.path == "/2"


@pytest.mark.parametrize(
    ("data", "keep_alive"),
    [
        (head(GET), True),
        (head(GET, b"Connection: close"), False),
        (head(b"POST / HTTP/1.1", b"Connection: close", b"Content-Length: 1") + b"a", False),
        (head(b"GET / HTTP/1.0"), False),
        (head(b"GET / HTTP/1.0", b"Connection: keep-alive"), True),
    ],
)
def test_a_client_says_whether_its_connection_lives_on(data: bytes, keep_alive: bool) -> None:
    heads, _ = read_all(data)
    assert heads[0].keep_alive is keep_alive


STREAM = (
    head(b"POST /1 HTTP/1.1", b"Content-Length: 5")
    + b"hello"
    + CHUNKED
    + b"3\r\nabc\r\n1\r\nd\r\n0\r\nT: x\r\n\r\n"
    + head(b"GET /3 HTTP/1.1")
)


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=12, unique=True))
def test_how_the_bytes_are_cut_changes_nothing(cuts: list[int]) -> None:
    heads, bodies = read_all(STREAM, tuple(cuts))
    assert [request.path for request in heads] == ["/1", "/", "/3"]
    assert bodies == [b"hello", b"abcd", b""]


def assert_events_or_refusal(data: bytes) -> None:
    try:
        read_all(data)
    except Refused as refused:
        reason = refused.reason
    else:
        return
    assert reason in REASONS


@given(st.binary(max_size=300))
def test_garbage_gives_events_or_a_refusal_and_nothing_else(data: bytes) -> None:
    assert_events_or_refusal(data)


@given(st.binary(max_size=60), st.integers(0, 400))
def test_a_damaged_stream_gives_events_or_a_refusal(damage: bytes, at: int) -> None:
    assert_events_or_refusal(STREAM[:at] + damage + STREAM[at + len(damage) :])


def read_response(data: bytes, method: str = "GET") -> tuple[ResponseHead, bytes, bool, ResponseReader]:
    reader = ResponseReader(method)
    reader.feed(data)
    response = reader.next_event()
    assert isinstance(response, ResponseHead)
    body, ended = b"", False
    while (event := reader.next_event()) is not None:
        if event is END:
            ended = True
        else:
            assert isinstance(event, memoryview)
            body += bytes(event)
    return response, body, ended, reader


def test_a_response_with_a_length_ends_there() -> None:
    response, body, ended, reader = read_response(b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi")
    assert (response.status, body, ended, reader.unread_bytes) == (200, b"hi", True, 0)


@pytest.mark.parametrize(
    ("data", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
    ],
)
def test_a_pod_says_whether_its_connection_lives_on(data: bytes, keep_alive: bool) -> None:
    assert read_response(data)[0].keep_alive is keep_alive


def test_a_response_without_framing_ends_with_its_connection() -> None:
    _, body, ended, reader = read_response(b"HTTP/1.1 200 OK\r\n\r\nhi")
    assert (body, ended) == (b"hi", False)
    assert reader.at_eof()


def test_a_cut_response_is_not_whole_at_eof() -> None:
    _, _, ended, reader = read_response(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi")
    assert not ended
    assert not reader.at_eof()


def test_interim_responses_are_skipped_and_head_has_no_body() -> None:
    response, body, ended, _ = read_response(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD"
    )
    assert (response.status, body, ended) == (200, b"", True)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
        b"SMTP ready\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 999 OK\r\n\r\n",
        b"HTTP/1.1 000 OK\r\n\r\n",
        b"HTTP/1.1 200 O\x01K\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_pod_that_does_not_speak_http_is_found_out(data: bytes) -> None:
    reader = ResponseReader("GET")
    reader.feed(data)
    with pytest.raises(ValueError):
        reader.next_event()
