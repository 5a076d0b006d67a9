"""Pressure: how short memory is and how late the loop, and what a worker takes on meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from gateway.dataplane.accepting import Acceptor
from gateway.dataplane.bodies import Bodies
from gateway.dataplane.loop_watch import LoopWatch
from gateway.dataplane.memory import MemoryGauge
from gateway.dataplane.rests import Rests
from gateway.decide.decision import Refusal
from gateway.decide.pressure import Pressure, accepts, bodies_room_bytes, pressure, wants_rest

# As often as Envoy's overload manager looks.
LOOK_EVERY_S = 0.25
_SHORT_OF_MEMORY = Refusal("overload_memory", "the gateway is short of memory; try again shortly")


class PressureWatch:
    """Looks again and again, and holds the acceptors that it is given.

    Attributes:
        refusal: what new requests are refused with; None while they are welcome.
        bodies: what the bodies of all requests may hold, as memory stands.

    Args:
        worker_count: of the gateway; they share the memory.
        rests: who of the workers may leave connections to the others.
        say: takes a line for people.
        on_refusal: called when ``refusal`` changes.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        memory: MemoryGauge,
        worker_count: int,
        rests: Rests,
        say: Callable[[str], None],
        on_refusal: Callable[[Refusal | None], None],
    ) -> None:
        self.refusal: Refusal | None = None
        self.bodies = Bodies()
        self._loop = loop
        self._memory = memory
        self._worker_count = worker_count
        self._rests = rests
        self._say = say
        self._on_refusal = on_refusal
        self._pressure = Pressure.NONE
        self._acceptors: list[Acceptor] = []
        self._loop_watch = LoopWatch(LOOK_EVERY_S, self._tell)

    def start(self) -> None:
        """Begin to look."""
        self._loop_watch.start()
        self._loop.call_later(LOOK_EVERY_S, self._look_on)

    def guard(self, acceptor: Acceptor) -> None:
        """Hold this one, too, when connections are not wanted."""
        self._acceptors.append(acceptor)

    def take_worst_lag_s(self) -> float:
        """Return the latest that the loop was since the last time."""
        return self._loop_watch.take_worst_lag_s()

    def look(self, now_s: float) -> None:
        """Look once."""
        lag_s = self._loop_watch.beat(now_s)
        memory = self._memory.read()
        self.bodies.room_bytes = bodies_room_bytes(memory.left_bytes, self._worker_count)
        before, self._pressure = self._pressure, pressure(self._pressure, memory.used_ratio)
        takes = accepts(self._pressure, rests=self._rests.rest(bool(self._acceptors) and wants_rest(lag_s)))
        for acceptor in self._acceptors:
            acceptor.hold(not takes)
        if self._pressure is not before:
            self.refusal = None if self._pressure is Pressure.NONE else _SHORT_OF_MEMORY
            self._on_refusal(self.refusal)
            self._tell(f"{memory.used_ratio:.0%} of the memory is used: {_DOES[self._pressure]}")

    def _look_on(self) -> None:
        self._loop.call_later(LOOK_EVERY_S, self._look_on)  # first: what is shut now, only the next look opens
        self.look(time.monotonic())

    def _tell(self, line: str) -> None:
        with suppress(OSError):  # nobody reads it
            self._say(line)


_DOES = {
    Pressure.NONE: "all requests are taken again",
    Pressure.REFUSES: "new requests are refused",
    Pressure.SHUT: "new requests are refused, and no connection is accepted",
}
