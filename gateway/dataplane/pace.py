"""Pace: how long a client connection may take for each thing it does; decides, and knows no socket.

Defaults and their reasons are in ``docs/explanation/time-outs.md``; none of these is left to a server library.
"""

from __future__ import annotations

import math
from enum import Enum, auto

from msgspec import Struct

from policies.snapshot.mesh import Bounds

FIRST_BYTE_S = 10.0
BODY_TOTAL_S = 300.0
# A body may pause, but on the whole it has to come at a pace that is no attack.
SLOW_BODY_AFTER_S = 10.0
MIN_BODY_BYTES_PER_S = 1024
STALLED_READER_S = 30.0
# After a refusal we read on for a while, so that a client that is still sending gets to see the refusal: closing with
# unread bytes would reset the connection under it (RFC 9112 9.6).
LINGER_S = 2.0
LINGER_BYTES = 16 * 2**20


def shortest_wait_s(bounds: Bounds) -> float:
    """Return the shortest time that any phase may take; to look that often is to miss no deadline but a request's."""
    return min(FIRST_BYTE_S, bounds.idle_timeout_s, bounds.header_timeout_s, bounds.body_timeout_s, LINGER_S)


class Phase(Enum):
    """What a connection is waiting for."""

    FIRST_BYTE = auto()  # connected, nothing said yet
    IDLE = auto()  # between requests
    HEAD = auto()  # a head has begun
    BODY = auto()  # the request's body is coming
    ANSWER = auto()  # the request is whole
    LINGERING = auto()  # answered and ended from our side; what still comes is thrown away
    CLOSING = auto()  # the last bytes are on their way out


class Late(Enum):
    """What to do about a deadline that has passed."""

    CLOSE = auto()
    CUT = auto()
    REFUSE = auto()
    DEADLINE = auto()


class Deadline(Struct, frozen=True):
    """A moment, and what follows from it; ``reason`` and ``message`` are for refusals."""

    at_s: float
    late: Late
    reason: str = ""
    message: str = ""


class Pace:
    """What a connection is doing, and since when.

    Attributes:
        since_s: when the phase began.
        heard_s: when the last byte came.
        body_bytes: bytes of the body so far.
        held: we do not read, because the pod is slow; that is not the client's fault.
        stalled_since_s: since when the client takes nothing of its answer; inf while it does.
        request_deadline_s: when the caller's time is over; inf without a request.
    """

    __slots__ = ("body_bytes", "heard_s", "held", "phase", "request_deadline_s", "since_s", "stalled_since_s")

    def __init__(self, now_s: float) -> None:
        self.phase = Phase.FIRST_BYTE
        self.since_s = self.heard_s = now_s
        self.body_bytes = 0
        self.held = False
        self.stalled_since_s = math.inf
        self.request_deadline_s = math.inf

    def enter(self, phase: Phase, now_s: float) -> None:
        """Begin a phase."""
        self.phase = phase
        self.since_s = self.heard_s = now_s
        self.body_bytes = 0

    def next_deadline(self, bounds: Bounds) -> Deadline:
        """Return the deadline that comes first; dear, so it is asked when the wheel looks and not for each request."""
        return min(self._deadlines(bounds), key=lambda deadline: deadline.at_s)

    def _deadlines(self, bounds: Bounds) -> list[Deadline]:
        deadlines = [
            Deadline(self.stalled_since_s + STALLED_READER_S, Late.CUT),
            Deadline(self.request_deadline_s, Late.DEADLINE),
        ]
        match self.phase:
            case Phase.FIRST_BYTE:
                deadlines.append(Deadline(self.since_s + FIRST_BYTE_S, Late.CLOSE))
            case Phase.IDLE:
                deadlines.append(Deadline(self.since_s + bounds.idle_timeout_s, Late.CLOSE))
            case Phase.HEAD:
                message = f"the request's head was not whole within {bounds.header_timeout_s:g} s"
                deadlines.append(
                    Deadline(self.since_s + bounds.header_timeout_s, Late.REFUSE, "head_too_slow", message)
                )
            case Phase.BODY if not self.held:
                deadlines += self._body_deadlines(bounds)
            case Phase.LINGERING:
                deadlines.append(Deadline(self.since_s + LINGER_S, Late.CLOSE))
            case Phase.CLOSING:
                deadlines.append(Deadline(self.since_s + STALLED_READER_S, Late.CUT))
        return deadlines

    def _body_deadlines(self, bounds: Bounds) -> list[Deadline]:
        late, reason = Late.REFUSE, "body_too_slow"
        falls_behind_s = max(SLOW_BODY_AFTER_S, self.body_bytes / MIN_BODY_BYTES_PER_S)
        silence = f"nothing of the body came for {bounds.body_timeout_s:g} s"
        return [
            Deadline(self.heard_s + bounds.body_timeout_s, late, reason, silence),
            Deadline(
                self.since_s + falls_behind_s,
                late,
                reason,
                f"the body came slower than {MIN_BODY_BYTES_PER_S} bytes per second",
            ),
            Deadline(self.since_s + BODY_TOTAL_S, late, reason, f"the body was not whole within {BODY_TOTAL_S:g} s"),
        ]
