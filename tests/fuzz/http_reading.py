"""What both targets of HTTP share: bytes read whole, in slices and by another reader, which must all mean the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import h11

from model_pod.wire.http1 import END, HeadLimits, RequestHead, RequestReader, ResponseHead, ResponseReader
from model_pod.wire.refusals import REASONS, Refused

LIMIT_BYTES = 2**16
LIMITS = HeadLimits()


@dataclass
class Read:
    """What a connection's bytes were taken for.

    Attributes:
        bodies: of the messages that were whole.
        refused: nothing after this is read.
    """

    heads: list[RequestHead | ResponseHead] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    partial: bytes = b""
    refused: bool = False

    def meaning(self) -> tuple[object, ...]:
        """What must not depend on how the bytes were cut."""
        heads = [(head.fields, head.content_length, head.chunked, head.keep_alive) for head in self.heads]
        # A refusal may come before or after the first bytes of a body that it makes worthless.
        return heads, self.bodies, self.refused, b"" if self.refused else self.partial


def slices(data: bytes, size: int) -> Iterator[bytes]:
    """Cut the data into slices of this size."""
    return (data[at : at + size] for at in range(0, len(data), size))


def read_requests(pieces: Iterator[bytes]) -> Read:
    """Read requests as a connection does; anything but events and refusals is a fault."""
    read, reader = Read(), RequestReader(LIMITS)
    for piece in pieces:
        reader.feed(piece)
        try:
            _take_requests(reader, read)
        except Refused as refused:
            read.refused = _is_known(refused)
            return read
    return read


def read_requests_at_once(data: bytes) -> Read:
    """Read requests by the quick way for the first bytes of one."""
    read, reader = Read(), RequestReader(LIMITS)
    try:
        first = reader.first(data)
        if first is not None:
            head, body = first
            read.heads.append(head)
            if body is not None:
                read.bodies.append(body)
                reader.start_next()
        _take_requests(reader, read)
    except Refused as refused:
        read.refused = _is_known(refused)
    return read


def _is_known(refused: Refused) -> bool:
    """Return True; a refusal whose reason is in no registry could not be answered."""
    assert refused.reason in REASONS, refused.reason
    return True


def _take_requests(reader: RequestReader, read: Read) -> None:
    while (event := reader.next_event(LIMIT_BYTES)) is not None:
        if isinstance(event, RequestHead):
            read.heads.append(event)
        elif event is END:
            read.bodies.append(read.partial)
            read.partial = b""
            reader.start_next()
        else:
            assert event
            read.partial += bytes(event)


def read_response(pieces: Iterator[bytes], method: str) -> Read:
    """Read one response as a connection to a pod does; anything but events and ValueError is a fault."""
    read, reader = Read(), ResponseReader(method)
    for piece in pieces:
        reader.feed(piece)
        try:
            while (event := reader.next_event()) is not None:
                if isinstance(event, ResponseHead):
                    read.heads.append(event)
                elif event is END:
                    read.bodies.append(read.partial)
                    read.partial = b""
                else:
                    assert event
                    read.partial += bytes(event)
        except ValueError:
            read.refused = True
            return read
    return read


def witnessed_body(connection: h11.Connection, data: bytes) -> bytes | None:
    """Return the first message's body as the other reader sees it, None if it does not take it or it is not whole."""
    connection.receive_data(data)
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return body
            elif event is h11.NEED_DATA or event is h11.PAUSED:
                return None
    except h11.RemoteProtocolError:
        return None
