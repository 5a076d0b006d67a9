"""Turn: the usual requests of one turn of the loop, charged together: what a lock costs is shared by all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.dataplane.shared_limits import SharedLimits
from gateway.dataplane.ways import Way
from gateway.decide.limits import NS


class Taken(Protocol):
    """A usual request that is still to be charged.

    Attributes:
        way: of its caller to what it asks.
        is_over: it ended, or goes on as something else.
    """

    way: Way
    is_over: bool

    def send(self, lefts: tuple[int, ...], now_s: float) -> None:
        """It has been charged, and so much is left of each of its limits."""
        ...

    def start_over(self) -> None:
        """Some limit has no room."""
        ...

    def refuse_busy(self) -> None:
        """The limits could not be charged in time."""
        ...

    def cut(self) -> None:
        """Nothing is known of it any more."""
        ...


class Turn:
    """What was taken since the loop last turned.

    Args:
        on_defect: takes an exception that one of them ended with; the others know nothing of it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: SharedLimits,
        on_defect: Callable[[str, Exception], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._on_defect = on_defect
        self.now_s = now_s
        self._taken: list[Taken] = []
        self._after: list[Callable[[], None]] = []

    def after(self, call: Callable[[], None]) -> None:
        """Call that once all that was taken is sent; whoever is sent something asks for it."""
        self._after.append(call)

    def add(self, taken: Taken) -> None:
        """Charge and send it before the loop waits again."""
        if not self._taken:
            self._loop.call_soon(self._end)
        self._taken.append(taken)

    def _end(self) -> None:
        taken, self._taken = [one for one in self._taken if not one.is_over], []
        try:
            if taken:
                self._send(taken)
        finally:  # what was sent goes out, whatever became of the others
            after, self._after = self._after, []
            for call in after:
                call()

    def _send(self, taken: Sequence[Taken]) -> None:
        now_s = self.now_s()
        charged = self._limits.charge([one.way.charged for one in taken], round(now_s * NS))
        for one, left in zip(taken, [()] * len(taken) if charged is None else charged, strict=True):
            try:
                if charged is None:
                    one.refuse_busy()
                elif left is None:
                    one.start_over()
                else:
                    one.send(left, now_s)
            except Exception as error:
                self._on_defect("a usual request", error)
                self._cut(one)

    def _cut(self, one: Taken) -> None:
        try:
            one.cut()
        except Exception as error:  # the others are still to be sent
            self._on_defect("the end of a usual request", error)
