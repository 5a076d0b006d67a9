"""A body that is made while it is sent over HTTP/1: in chunks, or until the connection ends where there are none.

What a reader is too slow for is gathered and goes out as one chunk, so that many small pieces hold no more than their
bytes.
"""

from __future__ import annotations

import asyncio

from model_pod.wire.frames import Buffer

_LAST_CHUNK = b"0\r\n\r\n"


class StreamedBody:
    """The body of the answer that a connection is giving; its owner passes the transport's words on.

    Args:
        head: of the answer, which leaves with the first piece.
        is_head: its client asked for the head alone: what is given of the body counts as read and goes nowhere.

    Attributes:
        is_chunked: otherwise the connection's end is the body's.
    """

    __slots__ = ("_given_bytes", "_held", "_is_head", "_is_held", "_transport", "is_chunked")

    def __init__(
        self, transport: asyncio.WriteTransport, head: bytes, first: Buffer, *, is_chunked: bool, is_head: bool = False
    ) -> None:
        self._transport = transport
        self.is_chunked = is_chunked
        self._held = bytearray()
        self._is_held = False
        self._is_head = is_head
        first = b"" if is_head else first
        self._given_bytes = len(first)
        # Told as soon as anything is left in the transport, and again when nothing is.
        transport.set_write_buffer_limits(high=0)
        transport.write(head + self._framed(first))

    @property
    def unread_bytes(self) -> int:
        """Bytes of the body that the system has not taken yet; framing may count among them."""
        return min(self._given_bytes, len(self._held) + self._transport.get_write_buffer_size())

    @property
    def sent_bytes(self) -> int:
        """Bytes of the body that the system has taken."""
        return self._given_bytes - self.unread_bytes

    def add(self, piece: Buffer) -> None:
        """Send a piece, or hold it while the reader is behind."""
        if self._is_head:
            return
        self._given_bytes += len(piece)
        if self._is_held:
            self._held += piece
        else:
            self._transport.write(self._framed(piece))

    def hold(self) -> None:
        """The reader is behind."""
        self._is_held = True

    def go_on(self) -> None:
        """The reader has everything that was sent."""
        self._is_held = False
        self._send_held()

    def end(self) -> None:
        """Send what is held and the mark of a whole body, where there is one."""
        self._send_held()
        if self.is_chunked and not self._is_head:
            self._transport.write(_LAST_CHUNK)
        self._transport.set_write_buffer_limits()

    def cut(self) -> None:
        """Send what is held and no mark."""
        self._send_held()
        self._transport.set_write_buffer_limits()

    def _send_held(self) -> None:
        if self._held:
            held, self._held = self._held, bytearray()
            self._transport.write(self._framed(held))

    def _framed(self, piece: Buffer) -> bytes:
        if not self.is_chunked or not len(piece):
            return bytes(piece)
        return b"".join((b"%x\r\n" % len(piece), piece, b"\r\n"))
