"""Moments: of the keys that go bad at the same time, one is evidence.

A pod that stalls makes every key bad that it has just then, which is one event and not a hundred. So time is cut into
moments. A key that is the only bad one of its moment counts by itself. Of several one counts, drawn without regard to
its version, as one of many; the others count later, should they be bad again.
"""

from __future__ import annotations

from hashlib import blake2b

from msgspec import Struct

LOOKS_IN_A_MOMENT = 2
"""Looks, of which there is one in a second. A version that fails every request is called harmful after ten moments or
so, whatever their rate; one that stalls for some seconds, now and then, is not."""

MAX_KEYS = 65_536
"""Keys of one moment; further ones are not among those that are drawn from."""


class Bad(Struct, frozen=True):
    """A sticky key with a bad request.

    Attributes:
        subject: the key.
        share: of the keys that were in the canary then.
    """

    subject: int
    in_canary: bool
    share: float
    trace_id: str


class Present:
    """The present moment."""

    def __init__(self) -> None:
        self._looks = 0
        self._number = 0
        self._bad: dict[int, Bad] = {}

    def add(self, bad: Bad) -> None:
        """Take a key in."""
        if len(self._bad) < MAX_KEYS:
            self._bad.setdefault(bad.subject, bad)

    def looked(self) -> tuple[Bad, bool] | None:
        """End a look; return the key that counts and whether it is one of many, if a moment with one has ended."""
        self._looks += 1
        if self._looks < LOOKS_IN_A_MOMENT:
            return None
        self._looks = 0
        self._number += 1
        bad, self._bad = self._bad, {}
        if not bad:
            return None
        return min(bad.values(), key=self._place), len(bad) > 1

    def _place(self, bad: Bad) -> bytes:
        """Where a key stands in this moment's order, which knows nothing of versions."""
        return blake2b(b"%d/%d" % (self._number, bad.subject), digest_size=8).digest()
