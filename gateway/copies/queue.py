"""Queue: copies that wait for their turn, in bounded number and memory; where there is no room the newest goes."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

MOST_WAITING = 100
MOST_HELD_BYTES = 64 * 2**20


class Memory:
    """What all copies of this process hold, from their coming until they are compared.

    Attributes:
        held_bytes: of bodies and of what comes with them.
    """

    def __init__(self, most_bytes: int = MOST_HELD_BYTES) -> None:
        self._most_bytes = most_bytes
        self.held_bytes = 0

    def take(self, byte_count: int) -> bool:
        """Take room; False when there is not so much."""
        if self.held_bytes + byte_count > self._most_bytes:
            return False
        self.held_bytes += byte_count
        return True

    def give(self, byte_count: int) -> None:
        """Give back what was taken."""
        self.held_bytes -= byte_count


class Queue(Generic[Item]):
    """What waits for one shadow, the oldest first."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._items: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> bool:
        """Add one; False when too many wait."""
        if len(self._items) >= self._most:
            return False
        self._items.append(item)
        return True

    def take(self) -> Item:
        """Return the oldest and remove it; there must be one."""
        return self._items.popleft()
