"""A listener for event lines that a test can wait on."""

from __future__ import annotations

import asyncio

# A bound for a test that would hang; nothing waits so long.
_SOON_S = 20.0


class Told:
    """Collects what is said.

    Attributes:
        lines: every event so far.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = asyncio.Event()

    def __call__(self, event: str) -> None:
        """Take one event."""
        self.lines.append(event)
        self._more.set()

    async def line(self, *fragments: str) -> str:
        """Return the first line with all these fragments, waiting for it."""
        async with asyncio.timeout(_SOON_S):
            while True:
                for line in self.lines:
                    if all(fragment in line for fragment in fragments):
                        return line
                self._more.clear()
                await self._more.wait()

    async def lines_with(self, fragment: str, count: int) -> None:
        """Wait until so many lines have this fragment."""
        async with asyncio.timeout(_SOON_S):
            while sum(fragment in line for line in self.lines) < count:
                self._more.clear()
                await self._more.wait()
