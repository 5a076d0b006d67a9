"""What one stream has yet to send and to receive, and whose turn it is when the connection has room."""

from __future__ import annotations

from collections import deque

from telemetry.http2.frames import MAX_WINDOW_BYTES, Code, ConnectionBroken, StreamBroken

# Of a request's body that we have not taken yet; so 100 streams hold 6.25 MiB of a connection at most.
STREAM_WINDOW_BYTES = 64 * 1024
# Credited as it comes, so that one stream whose pod is slow does not stop the others of its connection.
CONNECTION_WINDOW_BYTES = 2**20
_CREDIT_STREAM_BYTES = STREAM_WINDOW_BYTES // 2
_CREDIT_CONNECTION_BYTES = CONNECTION_WINDOW_BYTES // 2


class Stream:
    """One request and its answer.

    Attributes:
        announced: its ``content-length``, -1 without one.
        received: bytes of its body so far.
        room: that we may send; below zero after the peer made its window smaller.
        unsent: of the answer's body, in order.
        trailers: the block that ends the answer, once it is known.
        ends_plainly: the answer's last DATA ends it, without trailers.
        peer_ended, we_ended: nothing more comes, nothing more goes.
    """

    __slots__ = (
        "announced",
        "ends_plainly",
        "number",
        "peer_ended",
        "received",
        "room",
        "trailers",
        "unread_room",
        "unsent",
        "unsent_bytes",
        "untold_bytes",
        "we_ended",
    )

    def __init__(self, number: int, announced: int, room: int) -> None:
        self.number = number
        self.announced = announced
        self.received = 0
        self.room = room
        self.unread_room = STREAM_WINDOW_BYTES
        self.untold_bytes = 0
        self.unsent: deque[memoryview] = deque()
        self.unsent_bytes = 0
        self.trailers = b""
        self.ends_plainly = False
        self.peer_ended = False
        self.we_ended = False

    def receive(self, frame_bytes: int, body_bytes: int) -> None:
        """Count a DATA frame.

        Raises:
            StreamBroken: it is more than the window, or than what the request announced.
        """
        self.unread_room -= frame_bytes
        self.received += body_bytes
        if self.unread_room < 0:
            raise StreamBroken(Code.FLOW_CONTROL_ERROR, "a stream's window was overrun")
        if 0 <= self.announced < self.received:
            raise StreamBroken(Code.PROTOCOL_ERROR, "the body is longer than content-length says")

    def end_of_request(self) -> None:
        """Note that the request is whole.

        Raises:
            StreamBroken: it is shorter than it announced.
        """
        self.peer_ended = True
        if self.announced >= 0 and self.received != self.announced:
            raise StreamBroken(Code.PROTOCOL_ERROR, "the body is shorter than content-length says")

    def credit(self, taken_bytes: int) -> int:
        """Count what was taken of the body; return what to tell the peer now, 0 for nothing yet."""
        self.untold_bytes += taken_bytes
        if self.untold_bytes < _CREDIT_STREAM_BYTES or self.peer_ended:
            return 0
        told, self.untold_bytes = self.untold_bytes, 0
        self.unread_room += told
        return told

    def grow(self, more: int) -> None:
        """Have more room to send.

        Raises:
            StreamBroken: the peer gives nothing, or more than a window may be.
        """
        if more == 0:
            raise StreamBroken(Code.PROTOCOL_ERROR, "a WINDOW_UPDATE of nothing")
        self.room += more
        if self.room > MAX_WINDOW_BYTES:
            raise StreamBroken(Code.FLOW_CONTROL_ERROR, "a stream's window is over 2^31 - 1")

    @property
    def has_unsent(self) -> bool:
        """Whether something of the answer waits, trailers included."""
        return bool(self.unsent_bytes or self.trailers or self.ends_plainly) and not self.we_ended


class ConnectionWindow:
    """What all streams together may send and receive."""

    __slots__ = ("_unread_room", "_untold_bytes", "room")

    def __init__(self, room: int) -> None:
        self.room = room
        self._unread_room = CONNECTION_WINDOW_BYTES
        self._untold_bytes = 0

    def receive(self, frame_bytes: int) -> int:
        """Count a DATA frame; return what to credit the peer with now, 0 for nothing yet.

        Raises:
            ConnectionBroken: it is more than the window.
        """
        self._unread_room -= frame_bytes
        if self._unread_room < 0:
            raise ConnectionBroken(Code.FLOW_CONTROL_ERROR, "the connection's window was overrun")
        self._untold_bytes += frame_bytes
        if self._untold_bytes < _CREDIT_CONNECTION_BYTES:
            return 0
        told, self._untold_bytes = self._untold_bytes, 0
        self._unread_room += told
        return told

    def grow(self, more: int) -> None:
        """Have more room to send.

        Raises:
            ConnectionBroken: the peer gives nothing, or more than a window may be.
        """
        if more == 0:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "a WINDOW_UPDATE of nothing")
        self.room += more
        if self.room > MAX_WINDOW_BYTES:
            raise ConnectionBroken(Code.FLOW_CONTROL_ERROR, "the connection's window is over 2^31 - 1")
