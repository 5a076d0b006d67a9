"""Bodies: how much the bodies of all requests under way may hold of one worker's memory.

Each connection is bounded by itself: it is read no more when its body has no room at its pod. Many that begin at once
are not: what they hold would be there before memory is looked at again. So each takes room for what it may hold when
its head is read, and gives it back when it has ended.
"""

from __future__ import annotations

from gateway.decide.decision import Refusal
from gateway.decide.pressure import MOST_BODIES_BYTES

_NO_ROOM = Refusal("overload_memory", "the bodies of other requests hold what memory there is for them; try again")


class Bodies:
    """What the bodies of one worker's requests hold at most.

    Attributes:
        room_bytes: for all of them, as memory was when it was last looked at.
        held_bytes: what they have taken.
    """

    def __init__(self) -> None:
        self.room_bytes = MOST_BODIES_BYTES
        self.held_bytes = 0

    def take(self, byte_count: int) -> Refusal | None:
        """Take room, or say why there is none; one body always has it, however little memory is left."""
        if self.held_bytes and self.held_bytes + byte_count > self.room_bytes:
            return _NO_ROOM
        self.held_bytes += byte_count
        return None

    def give(self, byte_count: int) -> None:
        """Give back what was taken."""
        self.held_bytes -= byte_count
