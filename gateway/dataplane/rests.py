"""Rests: which workers leave new connections to their siblings because they are late; never all of them at once.

A rest is a lock on one byte behind the limit table, of which there is one fewer than there are workers. The kernel
gives it back when its worker dies.
"""

from __future__ import annotations

import fcntl
from contextlib import suppress

from gateway.decide.pressure import most_resting

# Far behind the table and its own locks.
_LOCKS_AT = 2**48
_TRY = fcntl.LOCK_EX | fcntl.LOCK_NB


class Rests:
    """The rests of one worker.

    Args:
        fd: of the limit table's file, inherited by all workers.
    """

    def __init__(self, fd: int, worker_count: int) -> None:
        self._fd = fd
        self._most = most_resting(worker_count)
        self._taken: int | None = None

    def rest(self, wanted: bool) -> bool:
        """Take a rest if one is wanted, or end it; return whether this worker rests."""
        if wanted and self._taken is None:
            self._take()
        elif not wanted and self._taken is not None:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, self._taken)
            self._taken = None
        return self._taken is not None

    def _take(self) -> None:
        for place in range(_LOCKS_AT, _LOCKS_AT + self._most):
            with suppress(OSError):  # a sibling has it, or the kernel has no lock left: then we work on
                fcntl.lockf(self._fd, _TRY, 1, place)
                self._taken = place
                return
