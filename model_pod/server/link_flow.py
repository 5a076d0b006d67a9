"""Decides about one stream's bodies: what may come, what may be sent before its reader has taken the rest."""

from __future__ import annotations

import hashlib
from collections import deque

from model_pod.wire.link import CREDIT_BYTES, NOT_TOLD, WINDOW_BYTES, BadLink
from model_pod.wire.refusals import Refused

# Of a stream in one frame, before the others have their turn.
SLICE_BYTES = 16 * 1024

Buffer = bytes | bytearray | memoryview


class ArrivingBody:
    """A request's body that comes in more than one frame.

    Args:
        content_length: ``NOT_TOLD`` when the caller sends it in chunks.
        limit_bytes: most bytes that it may have.
        payload: where its bytes are added; None where nobody asks for its digest.

    Attributes:
        heard_s: moment of its last bytes.
        held_bytes: what it holds of the queue's bytes; whoever reserves them counts them here.
    """

    __slots__ = (
        "_content_length",
        "_limit_bytes",
        "_pieces",
        "_uncredited_bytes",
        "began_s",
        "heard_s",
        "held_bytes",
        "payload",
    )

    def __init__(
        self, content_length: int, limit_bytes: int, now_s: float, payload: hashlib._Hash | None = None
    ) -> None:
        self._content_length = content_length
        self._limit_bytes = limit_bytes
        self._pieces: list[bytes] = []
        self._uncredited_bytes = 0
        self.payload = payload
        self.began_s = self.heard_s = now_s
        self.held_bytes = 0

    def take(self, piece: bytes, now_s: float) -> int:
        """Keep a piece that ``held_bytes`` counts already; return how much to credit now.

        Raises:
            BadLink: the worker sends more than it was let.
            Refused: the body is larger than it may be, or than it was said to be.
        """
        self.heard_s = now_s
        self._uncredited_bytes += len(piece)
        if self._uncredited_bytes > WINDOW_BYTES:
            raise BadLink("the worker sends more of a body than it was let")
        check_size(self.held_bytes, self._limit_bytes)
        if self._content_length != NOT_TOLD and self.held_bytes > self._content_length:
            check_length(self._content_length, self.held_bytes)
        self._pieces.append(piece)
        if self.payload is not None:
            self.payload.update(piece)
        if self._uncredited_bytes < CREDIT_BYTES:
            return 0
        credit_bytes, self._uncredited_bytes = self._uncredited_bytes, 0
        return credit_bytes

    def whole(self) -> bytes:
        """Return the body, which has ended.

        Raises:
            Refused: it is shorter than it was said to be.
        """
        check_length(self._content_length, self.held_bytes)
        return b"".join(self._pieces)

    def is_late(self, idle_s: float, total_s: float, now_s: float) -> bool:
        """Return whether it does not come in time."""
        return now_s - self.heard_s >= idle_s or now_s - self.began_s >= total_s


def check_size(byte_count: int, limit_bytes: int) -> None:
    """Refuse a body over the limit.

    Raises:
        Refused: ``body_too_large``.
    """
    if byte_count > limit_bytes:
        raise Refused("body_too_large", f"the body is larger than {limit_bytes} bytes")


def check_length(content_length: int, byte_count: int) -> None:
    """Refuse a body that is not as long as it was said to be.

    Raises:
        Refused: ``malformed_http``.
    """
    if content_length not in (NOT_TOLD, byte_count):
        raise Refused("malformed_http", "the body is not as long as its content-length says")


class OutgoingBody:
    """An answer's body on its way: at most ``WINDOW_BYTES`` of it are sent and not credited.

    Attributes:
        last_head: of the frame that ends it.
        took_s: moment when its reader last took some, or had taken all.
    """

    __slots__ = ("_is_whole", "_pieces", "_sent_bytes", "_waiting_bytes", "last_head", "took_s")

    def __init__(self, now_s: float) -> None:
        self._pieces: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._sent_bytes = 0
        self._is_whole = False
        self.last_head = b""
        self.took_s = now_s

    @property
    def unread_bytes(self) -> int:
        """Bytes that were added and not credited."""
        return self._waiting_bytes + self._sent_bytes

    @property
    def can_send(self) -> bool:
        """Whether ``next`` has something."""
        if self._pieces:
            return self._sent_bytes < WINDOW_BYTES
        return self._is_whole

    def add(self, piece: Buffer, now_s: float) -> None:
        """Let a piece wait for its turn."""
        if len(piece):
            if not self._pieces:
                self.took_s = now_s
            self._pieces.append(memoryview(piece))
            self._waiting_bytes += len(piece)

    def finish(self, last_head: bytes = b"") -> None:
        """Nothing is added any more."""
        self._is_whole = True
        self.last_head = last_head

    def next(self) -> tuple[memoryview | bytes, bool]:
        """Return what to send now, and whether the body ends with it; only while ``can_send``."""
        if not self._pieces:
            return b"", True
        piece = self._pieces.popleft()
        limit_bytes = min(SLICE_BYTES, WINDOW_BYTES - self._sent_bytes)
        if len(piece) > limit_bytes:
            self._pieces.appendleft(piece[limit_bytes:])
            piece = piece[:limit_bytes]
        self._waiting_bytes -= len(piece)
        self._sent_bytes += len(piece)
        return piece, self._is_whole and not self._pieces

    def credit(self, byte_count: int, now_s: float) -> None:
        """Its reader took so much.

        Raises:
            BadLink: it was not sent so much.
        """
        if byte_count > self._sent_bytes:
            raise BadLink("the worker credits more than it was sent")
        self._sent_bytes -= byte_count
        self.took_s = now_s

    def is_stalled(self, stall_s: float, now_s: float) -> bool:
        """Return whether its reader has taken nothing of what waits for so long."""
        return bool(self._pieces) and not self.can_send and now_s - self.took_s >= stall_s
