"""Budgets: what a peer may make us do for nothing; decides, and knows no socket.

Each is the bound of an attack that has a name. Resets: rapid reset (CVE-2023-44487) and MadeYouReset (CVE-2025-8671).
Control frames: floods of PING, SETTINGS and empty frames (CVE-2019-9512, 9515, 9518). Ratios: of PRIORITY and
WINDOW_UPDATE.
"""

from __future__ import annotations

RESETS = 100
CONTROL_FRAMES = 500
PERIOD_S = 10.0
# Envoy's bounds: of PRIORITY frames for each stream, of WINDOW_UPDATE for each DATA frame that we sent.
PRIORITIES_PER_STREAM = 100
UPDATES_PER_DATA = 10
SPARE_UPDATES = 100


class Budget:
    """So many within a period, refilled evenly (a bucket that holds ``most``)."""

    __slots__ = ("_at_s", "_left", "_most", "_per_s")

    def __init__(self, most: int, now_s: float, period_s: float = PERIOD_S) -> None:
        self._most = float(most)
        self._per_s = most / period_s
        self._left = float(most)
        self._at_s = now_s

    def spend(self, now_s: float) -> bool:
        """Take one; False when none is left."""
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Ratios:
    """Frames that a peer may send in proportion to what was really done on the connection."""

    __slots__ = ("_priorities", "_updates", "data_sent", "streams")

    def __init__(self) -> None:
        self.streams = 0
        self.data_sent = 0
        self._priorities = 0
        self._updates = 0

    def priority(self) -> bool:
        """Count a PRIORITY frame; False when there were too many."""
        self._priorities += 1
        return self._priorities <= PRIORITIES_PER_STREAM * (1 + self.streams)

    def update(self) -> bool:
        """Count a WINDOW_UPDATE frame; False when there were too many."""
        self._updates += 1
        return self._updates <= SPARE_UPDATES + 2 * self.streams + UPDATES_PER_DATA * self.data_sent
