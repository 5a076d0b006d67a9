"""Asking again: which copies that differ are worth a second answer of the version that answered, within its share."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import NamedTuple

from gateway.copies.compare.answer import Answer
from gateway.decide.release import is_in, subject_of

# Each of the first that differ is asked about; a dozen are proof already where the version that answered is never odd.
_ALL_ASKED = 50
# Up to one of 1,024, for a share of 0.1 % where everything differs.
LEVELS = 11
# Shadows' answers that wait for a second one of the other version; the oldest go, and stay unknown.
_MOST_AWAITED = 1024
_MOST_AWAITED_BYTES = 16 * 2**20


def level_for(differ: int, compared: int, asked: int, share: float) -> int:
    """Return which part of the copies that differ is asked about, one of ``2**level``.

    About ``share`` of all copies are then asked about at most, besides the first few. What the next copy says has no
    part in it, which the test of ``telemetry.stats.sequential`` needs. A share of 0.0 asks about none.
    """
    expected = (differ + 1) / (compared + 1)
    if share <= 0.0 or asked < _ALL_ASKED or expected <= share:
        return 0
    return min(LEVELS - 1, math.ceil(math.log2(expected / share)))


def is_asked(shadow: str, request_id: str, level: int) -> bool:
    """Whether a copy that differs is among one of ``2**level``, by its id."""
    return is_in(subject_of(f"{shadow} again", request_id), 0.5**level)


class _Asked(NamedTuple):
    shadow: Answer
    level: int


class Awaited:
    """Shadows' answers that are to be compared with a second answer once it comes."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, _Asked] = OrderedDict()
        self._held_bytes = 0

    def put(self, request_id: str, shadow: Answer, level: int) -> bool:
        """Keep one for a while; False for one that is asked about already."""
        if request_id in self._asked:
            return False
        self._asked[request_id] = _Asked(shadow, level)
        self._held_bytes += len(shadow.body)
        while len(self._asked) > _MOST_AWAITED or self._held_bytes > _MOST_AWAITED_BYTES:
            _, oldest = self._asked.popitem(last=False)
            self._held_bytes -= len(oldest.shadow.body)
        return True

    def pop(self, request_id: str) -> _Asked | None:
        """Return one, and the level at which it was asked about; None when nobody has, or too long ago."""
        asked = self._asked.pop(request_id, None)
        if asked is not None:
            self._held_bytes -= len(asked.shadow.body)
        return asked
