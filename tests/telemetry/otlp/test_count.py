"""Bodies are counted before they are read: what is too much is never built, and nothing else is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from telemetry.otlp import count
from telemetry.otlp.count import BadWire, TooMany, check_json, check_protobuf
from telemetry.otlp.encode import encode_spans
from telemetry.span import Kind, Span
from tests.telemetry.otlp.spans import spans

ONE = Span("1" * 32, "2" * 16, "", "n", Kind.INTERNAL, 1, 2)


@pytest.fixture
def _long_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count, "_LEAST_BYTES", 0)  # so that short ones are counted too


def _messages_in(message: Message) -> int:
    """Return how many messages there are below one."""
    total = 0
    for field, value in message.ListFields():
        if field.message_type is not None:
            inner = value if field.is_repeated else [value]
            total += sum(1 + _messages_in(one) for one in inner)
    return total


@pytest.mark.usefixtures("_long_bodies")
@given(recorded=st.lists(spans(), max_size=3))
def test_exactly_the_messages_are_counted(recorded: list[Span]) -> None:
    body = encode_spans(recorded)
    found = _messages_in(ExportTraceServiceRequest.FromString(body))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(count, "MAX_MESSAGES", found)
        check_protobuf(body)
        if found:
            patched.setattr(count, "MAX_MESSAGES", found - 1)
            with pytest.raises(TooMany, match="messages"):
                check_protobuf(body)


@pytest.mark.usefixtures("_long_bodies")
def test_spans_and_fields_have_bounds_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    body = encode_spans([ONE, ONE])
    monkeypatch.setattr(count, "MAX_SPANS", 2)
    check_protobuf(body)
    monkeypatch.setattr(count, "MAX_SPANS", 1)
    with pytest.raises(TooMany, match="spans"):
        check_protobuf(body)
    monkeypatch.setattr(count, "MAX_FIELDS", 100)
    with pytest.raises(TooMany, match="fields"):
        check_protobuf(b"\x08\x00" * 101)


@pytest.mark.usefixtures("_long_bodies")
@pytest.mark.parametrize(
    "body",
    [
        b"\x0a",
        b"\x0a\x05",
        b"\x0a\x02\x0a\x05\x00\x00\x00",
        b"\x0b\x0c",
        b"\x0d\x00",
        b"\x08" + b"\xff" * 11,
        b"\xff" * 11,
        b"\x0a\x02\x08\x80\x00",
    ],
    ids=repr,
)
def test_what_is_no_message_is_told(body: bytes) -> None:
    with pytest.raises(BadWire):
        check_protobuf(body)


@pytest.mark.usefixtures("_long_bodies")
@given(st.one_of(st.binary(max_size=60), st.lists(spans(), max_size=2).map(encode_spans)), st.binary(max_size=3))
def test_whatever_the_official_parser_reads_is_counted_or_a_group(body: bytes, end: bytes) -> None:
    with suppress(BadWire):
        check_protobuf(body + end)
        return
    with suppress(DecodeError):
        ExportTraceServiceRequest.FromString(body + end)
        assert any(byte & 7 in (3, 4) for byte in body + end)


def test_a_short_body_is_not_looked_at_and_json_is_counted_as_bytes() -> None:
    check_protobuf(b"\xff" * 100)
    check_json(b"{" * count.MAX_OBJECTS)
    for long in (b"{" * (count.MAX_OBJECTS + 1), b":" * (count.MAX_MEMBERS + 1)):
        with pytest.raises(TooMany, match="JSON"):
            check_json(long)
