"""Who runs where: what is measured has a core to itself."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """A core for the proxy, one for the load, one for what stands behind the proxy."""

    proxy: int
    load: int
    stub: int

    @classmethod
    def choose(cls, allowed: set[int]) -> Cores:
        """Spread over three cores where there are three; with one, everything shares it and figures mean little."""
        first, *others = sorted(allowed)
        load = others[0] if others else first
        return cls(first, load, others[1] if len(others) > 1 else load)

    def of_two_workers(self) -> set[int]:
        """Return two cores for two workers where load and back end leave one free, else the proxy's alone."""
        spare = os.sched_getaffinity(0) - {self.proxy, self.load, self.stub}
        return {self.proxy, min(spare)} if spare else {self.proxy}

    def __str__(self) -> str:
        return f"proxy on core {self.proxy}, load on core {self.load}, back end on core {self.stub}"
