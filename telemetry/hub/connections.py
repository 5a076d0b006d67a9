"""Decides which connection makes room for a new one, and is the protocol that closes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 128
BUSY_S = 30.0
"""A request is given so long before its connection may be closed for another's; none of ours takes half of it."""


class Connection(H11Protocol):
    """One connection; where there are too many, the one that has done nothing for longest is closed for it.

    So whoever connects and says nothing, or never reads the answer, shuts nobody out.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take the connection, and close another or this one where there are too many."""
        self._since_s = self.loop.time()
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            others = [one for one in self.connections if isinstance(one, Connection) and one is not self]
            victim = victim_of(others, self._since_s) or self
            self.connections.discard(victim)  # now: another may come before this one is told of its end
            victim.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what came; a request begins with its head whole, and not before."""
        was_busy = self.is_busy
        super().data_received(data)
        if self.is_busy and not was_busy:
            self._since_s = self.loop.time()

    def on_response_complete(self) -> None:
        """Be idle from now on."""
        self._since_s = self.loop.time()
        super().on_response_complete()

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return not getattr(self.cycle, "response_complete", True)  # there is none before the first request

    @property
    def since_s(self) -> float:
        """When it became busy or idle."""
        return self._since_s


def victim_of(connections: Iterable[Connection], now_s: float) -> Connection | None:
    """Return the connection to close: the one that is idle for longest, or busy for too long; None for none."""
    first = min(connections, key=lambda one: (one.is_busy, one.since_s), default=None)
    if first is None or (first.is_busy and now_s - first.since_s < BUSY_S):
        return None
    return first
