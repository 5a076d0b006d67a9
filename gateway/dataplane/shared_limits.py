"""Shared limits: the theoretical arrival times of all rate limits, in memory that every worker maps.

A table of (name's digest, TAT) entries, open addressed. A worker reads a TAT without a lock, decides, and writes with
a compare-and-set under a lock on that entry alone; the kernel frees the lock of a worker that dies. So several workers
hold one exact rate between them, and a killed one cannot stop the rest.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import struct
from collections.abc import Sequence

from gateway.control.messages import LIMITS_TABLE_BYTES
from gateway.decide.limits import Charge

_ENTRY = struct.Struct("<Qd")
_ENTRIES = LIMITS_TABLE_BYTES // _ENTRY.size
_MAX_PROBES = 64  # beyond so many taken neighbours the table counts as full


class SharedLimits:
    """The limits of one worker's decisions, shared with its siblings.

    Args:
        fd: a memory file of ``LIMITS_TABLE_BYTES`` zero bytes, inherited by all workers.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._table = mmap.mmap(fd, LIMITS_TABLE_BYTES)
        self._offsets: dict[str, int] = {}
        # When the table is full, a limit is kept by this worker alone: each worker then grants the whole rate.
        self._local: dict[str, float] = {}

    def tat_s(self, limit: str) -> float:
        """Return the limit's theoretical arrival time; see ``gateway.decide.limits.Counters``."""
        offset = self._offset(limit)
        if offset < 0:
            return self._local.get(limit, 0.0)
        return float(_ENTRY.unpack_from(self._table, offset)[1])

    def commit(self, charges: Sequence[Charge]) -> bool:
        """Write the charges, unless a sibling charged one of the limits meanwhile: then decide again."""
        return all(self._compare_and_set(charge) for charge in charges)

    def _compare_and_set(self, charge: Charge) -> bool:
        offset = self._offset(charge.limit)
        if offset < 0:
            self._local[charge.limit] = charge.new_tat_s
            return True
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, _ENTRY.size, offset)
        except OSError:
            return False
        try:
            digest, tat_s = _ENTRY.unpack_from(self._table, offset)
            if tat_s != charge.seen_tat_s:
                return False
            _ENTRY.pack_into(self._table, offset, digest, charge.new_tat_s)
            return True
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, _ENTRY.size, offset)

    def _offset(self, limit: str) -> int:
        """Return where the limit's entry is, -1 when the table has no room for it."""
        offset = self._offsets.get(limit)
        if offset is None:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, LIMITS_TABLE_BYTES)
            except OSError:
                return -1  # a sibling is claiming; this request is charged here, the next one looks again
            offset = self._offsets[limit] = self._claim(limit)
        return offset

    def _claim(self, limit: str) -> int:
        """Find or take the limit's entry; the lock behind the table is held, and let go here."""
        digest = int.from_bytes(hashlib.blake2b(limit.encode(), digest_size=8).digest(), "little") or 1
        try:
            for probe in range(_MAX_PROBES):
                offset = (digest + probe) % _ENTRIES * _ENTRY.size
                found = _ENTRY.unpack_from(self._table, offset)[0]
                if found == 0:
                    _ENTRY.pack_into(self._table, offset, digest, 0.0)
                if found in (0, digest):
                    return offset
            return -1
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, LIMITS_TABLE_BYTES)
