"""Asks the system's resolver in threads of its own, so that a name server that is slow or gone holds up nobody."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

ANSWER_WITHIN_S = 5.0
AT_ONCE = 8

Resolve = Callable[[str], Awaitable[tuple[str, ...]]]
"""Returns the addresses of a name, or raises ``NotResolved``."""


class NotResolved(Exception):
    """The name has no address that can be had now; the message says why."""


class ThreadedResolver:
    """At most ``AT_ONCE`` names are looked up at a time, and each by one thread.

    A look that takes too long is over for whoever asked. Its thread stays in the C library, which nobody can stop, and
    the name is not looked up anew before that thread has come back. The threads die with the process.

    Args:
        look_up: blocks until it has the addresses; raises ``OSError``.
    """

    def __init__(self, look_up: Callable[[str], tuple[str, ...]] | None = None) -> None:
        self._look_up = look_up or system_addresses
        self._free = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[str, asyncio.Future[tuple[str, ...] | str]] = {}

    async def __call__(self, name: str) -> tuple[str, ...]:
        """Return the addresses of a name.

        Raises:
            NotResolved: there are none, or not in time.
        """
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if name not in self._under_way:
                    await self._free.acquire()
                    self._begin(name)
                outcome = await asyncio.shield(self._under_way[name])
        except TimeoutError:
            raise NotResolved(f"no answer within {ANSWER_WITHIN_S:g} s") from None
        if isinstance(outcome, str):
            raise NotResolved(outcome)
        return outcome

    def _begin(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[str, ...] | str] = loop.create_future()

        def end(outcome: tuple[str, ...] | str) -> None:
            del self._under_way[name]
            self._free.release()
            answer.set_result(outcome)

        def ask() -> None:
            outcome = self._outcome(name)
            with suppress(RuntimeError):  # the loop is closed: the process is leaving
                loop.call_soon_threadsafe(end, outcome)

        try:
            threading.Thread(target=ask, name=f"resolve {name}", daemon=True).start()
        except RuntimeError as error:  # there is no room for another thread
            self._free.release()
            raise NotResolved(str(error)) from None
        self._under_way[name] = answer

    def _outcome(self, name: str) -> tuple[str, ...] | str:
        try:
            return self._look_up(name)
        except OSError as error:
            return error.strerror or str(error)
        except UnicodeError:
            return "it is no name that can be looked up"
        except Exception as error:  # or whoever asked would wait for ever, and so would the next
            return f"{type(error).__name__}: {error}"


def system_addresses(name: str) -> tuple[str, ...]:
    """Return what the hosts file and the name servers of this machine say; blocks."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(str(where[0]) for _, _, _, _, where in found)
