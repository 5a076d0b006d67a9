"""How many series Prometheus may read, whatever names requests carry; counting for objectives knows no such bound."""

from __future__ import annotations

# Of requests, and of objectives as many again; a few hundred is usual.
MAX_SERIES = 10_000


class SeriesRoom:
    """What is left of the bound.

    Attributes:
        left: series that may still be opened.
        refused: how often a count found no room, and was not kept.
    """

    def __init__(self, most: int = MAX_SERIES) -> None:
        self.left = most
        self.refused = 0

    def take(self, series: int) -> bool:
        """Take room for so many series; False, and counted, when there is not enough."""
        if series > self.left:
            self.refused += 1
            return False
        self.left -= series
        return True

    def give(self, series: int) -> None:
        """Return the room of series that have ended."""
        self.left += series
