"""Waits for a descriptor, whatever its number: ``select`` takes none above 1,023, and a test run may have more."""

from __future__ import annotations

import select
from typing import Protocol


class HasDescriptor(Protocol):
    """A socket, say."""

    def fileno(self) -> int: ...


def readable_within(descriptor: int | HasDescriptor, within_s: float) -> bool:
    """Whether there is something to read, or its process has ended, within so many seconds."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(within_s * 1000))
