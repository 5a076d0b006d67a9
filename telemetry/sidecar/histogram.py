"""Counts values by size, and remembers for each size a trace that shows it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from msgspec import Struct

# Seconds; the usual edges of latencies here.
LATENCY_EDGES_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5),
    *(1.0, 2.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
ROW_EDGES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Exemplar(Struct, frozen=True):
    """One value and where to see how it came about.

    Attributes:
        at_s: seconds since the epoch.
    """

    trace_id: str
    value: float
    at_s: float


class Histogram:
    """Values up to each edge.

    Args:
        edges: ascending; a value that equals an edge is within it.
    """

    def __init__(self, edges: Sequence[float]) -> None:
        self._edges = tuple(edges)
        self._counts = [0] * (len(edges) + 1)
        self._exemplars: list[Exemplar | None] = [None] * (len(edges) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._edges, value)] += 1
        self.sum += value

    def show(self, exemplar: Exemplar) -> None:
        """Remember a trace for the size of its value; the value itself was counted before."""
        self._exemplars[bisect_left(self._edges, exemplar.value)] = exemplar

    def cumulative(self) -> Iterator[tuple[str, int, Exemplar | None]]:
        """Yield each edge as Prometheus writes it, how many values are up to there, and one of its own size."""
        count = 0
        edges = (*map(str, self._edges), "+Inf")
        for edge, own, exemplar in zip(edges, self._counts, self._exemplars, strict=True):
            count += own
            yield edge, count, exemplar
