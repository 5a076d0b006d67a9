"""Drift watch: tells workers which versions drift, where samples are kept on that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.control.drift_desk import DriftDesk
from gateway.control.messages import Drifting
from gateway.decide.copying import DRIFT
from policies.snapshot.generation import Snapshot
from telemetry.stats.drift import Says

# A window is five seconds at least, and drift is three of them.
_LOOK_EVERY_S = 15.0
# Where very many models are looked at, looking takes no more than a quarter of the time.
_PAUSES = 3.0


class DriftWatch:
    """Looks at drift now and then, while policy wants samples on it."""

    def __init__(self, desk: DriftDesk, in_force: Callable[[], Snapshot], tell: Callable[[Drifting], None]) -> None:
        self._desk = desk
        self._in_force = in_force
        self._tell = tell
        self._told = Drifting(())

    async def run(self) -> None:
        """Look, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            begun_s = loop.time()
            await self.look()
            await asyncio.sleep(max(_LOOK_EVERY_S, _PAUSES * (loop.time() - begun_s)))

    async def look(self) -> None:
        """Tell what drifts now, if that is not what was told last."""
        wanted = {
            name
            for name, route in self._in_force().routes.items()
            if route.samples is not None and DRIFT in route.samples.triggers
        }
        found: set[tuple[str, str]] = set()
        # Model by model, and no other: to judge a version takes a fifth of a second, and whoever asks waits no longer.
        for name in sorted(wanted):
            report = await self._desk.report(name)
            found |= {(one.model, one.version) for one in report.versions if one.says == Says.DRIFTS}
        now = Drifting(tuple(sorted(found)))
        if now != self._told:
            self._told = now
            self._tell(now)
