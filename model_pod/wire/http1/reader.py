"""Readers: a connection's bytes as events. Head, pieces of the body, END; then nothing until the next message is due.

Bytes of a pipelined request stay unread until ``start_next``, so requests are handled one at a time and in order.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from model_pod.wire.http1.body import NO_BOUND, Body, ChunkedBody, FixedBody, UntilCloseBody
from model_pod.wire.http1.head import (
    BODYLESS,
    HeadLimits,
    RequestHead,
    ResponseHead,
    parse_request_head,
    parse_response_head,
)
from model_pod.wire.refusals import Refused

_HEAD_END = b"\r\n\r\n"
_HTTP = b"HTTP/1."
_MAX_RESPONSE_HEAD_BYTES = 64 * 1024
# A pod may say 100 and 103 before it answers; more is a pod that never will.
_MAX_INTERIM = 8


class End(Enum):
    """The message is whole."""

    MESSAGE = "end"


END: Final = End.MESSAGE


class _Reader:
    """The part of reading that requests and responses share: unread bytes, and the body.

    Attributes:
        has_ended: the message is whole, and the next one is not to be read yet; also set by one who has read a whole
            message past the reader.
    """

    def __init__(self) -> None:
        self._unread = memoryview(b"")
        self._scanned = 0  # bytes of _unread known to hold no end of a head
        self._body: Body | None = None
        self.has_ended = False

    def feed(self, data: bytes) -> None:
        """Add what the socket gave."""
        self._unread = memoryview(bytes(self._unread) + data if self._unread else data)

    @property
    def unread_bytes(self) -> int:
        """Bytes that were fed and are not yet part of an event."""
        return len(self._unread)

    @property
    def between_messages(self) -> bool:
        """Nothing of a message has come yet."""
        return self._body is None and not self.has_ended and not self._unread

    def start_next(self) -> None:
        """Forget the finished message; the next one may be read."""
        self.has_ended = False

    def _take_head(self, limit_bytes: int) -> bytes | None:
        """Return the head that is now whole, or None; raises ValueError when it is over its limit."""
        window = bytes(self._unread[: limit_bytes + len(_HEAD_END)])
        end = window.find(_HEAD_END, max(0, self._scanned - len(_HEAD_END)))
        if end < 0:
            self._scanned = len(window)
            if len(window) > limit_bytes:
                raise ValueError("the head is over its limit")
            return None
        self._scanned = 0
        end += len(_HEAD_END)
        self._unread = self._unread[end:]
        return window[:end]

    def _next_of_body(self, limit_bytes: int) -> memoryview | End | None:
        body = self._body
        if body is None:  # the message has ended
            return None
        piece, used = body.take(self._unread, limit_bytes)
        self._unread = self._unread[used:]
        if piece:
            return piece
        return self._end() if body.done else None

    def _end(self) -> End:
        self._body = None
        self.has_ended = True
        return END


class RequestReader(_Reader):
    """Reads the requests of one client connection."""

    def __init__(self, limits: HeadLimits) -> None:
        super().__init__()
        self._limits = limits

    def first(self, data: bytes) -> tuple[RequestHead, bytes | None] | None:
        """Take the first bytes of a request, when nothing is unread; it is the same as ``feed``, and quicker.

        Returns:
            The head and the whole body, when the bytes are one request and nothing more; the head and None, when the
            rest of the body or another request is left to ``next_event``; None, when the head is not whole.

        Raises:
            Refused: as ``next_event`` does.
        """
        end = data.find(_HEAD_END, 0, self._limits.head_bytes + len(_HEAD_END)) + len(_HEAD_END)
        if end < len(_HEAD_END) or self._unread or self.has_ended or self._body is not None:
            self.feed(data)
            return None
        request = parse_request_head(data[:end], self._limits)
        if not request.chunked and len(data) - end == (request.content_length or 0):
            self.has_ended = True
            return request, data[end:]
        self._unread = memoryview(data)[end:]
        self._body = ChunkedBody() if request.chunked else FixedBody(request.content_length or 0)
        return request, None

    def next_event(self, body_limit_bytes: int) -> RequestHead | memoryview | End | None:
        """Return the next event, or None when more bytes are needed or the message has ended.

        Args:
            body_limit_bytes: largest body of the request being read; judged when the first piece is asked for.

        Raises:
            Refused: the client's bytes break a rule; answer it and close, for nothing after it can be trusted.
        """
        if self.has_ended or self._body is not None:
            return self._next_of_body(body_limit_bytes)
        if not self._unread:
            return None
        try:
            head = self._take_head(self._limits.head_bytes)
        except ValueError:
            raise self._oversized_head() from None
        if head is None:
            self._check_first_bytes()
            return None
        request = parse_request_head(head, self._limits)
        self._body = ChunkedBody() if request.chunked else FixedBody(request.content_length or 0)
        return request

    def _oversized_head(self) -> Refused:
        if b"\r\n" not in bytes(self._unread[: self._limits.target_bytes + 16]):
            return Refused("target_too_long", f"the request target is longer than {self._limits.target_bytes} bytes")
        return Refused("head_too_large", f"the request's head is larger than {self._limits.head_bytes} bytes")

    def _check_first_bytes(self) -> None:
        """Refuse at once what cannot become a request (TLS, HTTP/2, bare LF), instead of waiting for a blank line."""
        begun = bytes(self._unread)
        if not begun[:1].isalpha() or not begun[:1].isupper():
            raise Refused("malformed_http", "the request does not begin with an HTTP method; this port speaks HTTP/1.1")
        line_ends = begun.count(b"\r\n")
        if begun.count(b"\n") != line_ends or begun.count(b"\r") - begun.endswith(b"\r") != line_ends:
            raise Refused("malformed_http", "a line of the request's head does not end in CRLF")


class ResponseReader(_Reader):
    """Reads one response; a new one is made for each exchange."""

    def __init__(self, request_method: str) -> None:
        super().__init__()
        self._request_method = request_method
        self._interim = 0

    def next_event(self) -> ResponseHead | memoryview | End | None:
        """Return the next event, or None when more bytes are needed or the response has ended.

        Raises:
            ValueError: the pod's bytes are not a response.
        """
        if self.has_ended or self._body is not None:
            try:
                return self._next_of_body(NO_BOUND)
            except Refused as refused:
                raise ValueError(refused.message) from refused
        while (head := self._take_head(_MAX_RESPONSE_HEAD_BYTES)) is not None:
            response = parse_response_head(head)
            if response.status >= 200:
                self._body = self._body_of(response)
                return response
            self._interim += 1
            if response.status == 101 or self._interim > _MAX_INTERIM:
                raise ValueError("the pod switched protocols or never comes to its answer")
        if not _HTTP.startswith(bytes(self._unread[: len(_HTTP)])):
            raise ValueError("the pod's answer does not begin with HTTP/1.")
        return None

    def at_eof(self) -> bool:
        """The connection ended: return whether that ends the response as it should."""
        if isinstance(self._body, UntilCloseBody):
            self._body = None
            self.has_ended = True
        return self.has_ended

    def _body_of(self, response: ResponseHead) -> Body:
        if self._request_method == "HEAD" or response.status in BODYLESS:
            return FixedBody(0)
        if response.chunked:
            return ChunkedBody(NO_BOUND)
        if response.content_length is not None:
            return FixedBody(response.content_length)
        return UntilCloseBody()
