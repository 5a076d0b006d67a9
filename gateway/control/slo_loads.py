"""Loads of pods: which of those that pods tell of are still to be counted, over restarts of the supervisor too.

A pod tells its last loads again and again, each with its number. What is remembered is the last number that was counted
of each start of a pod's server, and it is kept with the counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from model_pod.wire.status import LoadEnded, PodStatus

# Starts of pods' servers that are remembered; beyond it those go that were seen longest ago.
MAX_INSTANCES: Final = 16_384


class NewLoads(Struct, frozen=True):
    """Loads that were not counted yet.

    Attributes:
        untold: loads before them that the pod does not tell of any more.
    """

    loads: tuple[LoadEnded, ...] = ()
    untold: int = 0


class LoadBook:
    """What was counted of each start of a pod's server, in the order in which they were seen."""

    def __init__(self) -> None:
        self._counted: dict[str, int] = {}

    @property
    def counted(self) -> Mapping[str, int]:
        """The last number that was counted, by instance."""
        return dict(self._counted)

    def take(self, status: PodStatus, since_s: float = 0.0) -> NewLoads:
        """Return what a pod tells that was not counted, and take it as counted.

        Args:
            since_s: seconds since the epoch; what ended before may have been counted by somebody whose count is not
                known, and is passed over.
        """
        if not status.instance or not status.loads:
            return NewLoads()
        counted = self._counted.pop(status.instance, 0)
        last = status.loads[-1].number
        self._counted[status.instance] = max(counted, last)
        self._forget()
        news = tuple(load for load in status.loads if load.number > counted and load.ended_s >= since_s)
        first_told = status.loads[0].number
        return NewLoads(news, 0 if since_s else max(0, first_told - 1 - counted))

    def restore(self, counted: Mapping[str, int]) -> None:
        """Add what was kept; what is known already is newer."""
        self._counted = {**counted, **self._counted}
        self._forget()

    def _forget(self) -> None:
        while len(self._counted) > MAX_INSTANCES:
            del self._counted[next(iter(self._counted))]
