"""The limit table: the state of every limit in one file that the workers and the supervisor map.

A limit has one row, found by its key's digest. What several processes change together - a rate's theoretical arrival
time, what is granted of a quota - is read without a lock and written under one; what a request holds or has used is
counted in its worker's own column, which that worker alone writes. So several workers keep one exact rate, places in
flight and quotas without asking anybody; the kernel frees the lock of a worker that is killed, and its column is
folded into the row. The file outlives every process: a restart, even of all of them at once, forgets no charge.
"""

from __future__ import annotations

import enum
import fcntl
import hashlib
import mmap
import os
import struct
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from zlib import crc32

from msgspec import Struct

MAGIC = b"penstock-limits1"
_HEAD = struct.Struct("<16s16sIIIxxxxd")
_HEAD_BYTES = 4096
_SLOT = struct.Struct("<QI4x")
_SLOTS = 2**18
MAX_ROWS = 2**17
_ROWS_AT = _HEAD_BYTES + _SLOTS * _SLOT.size
# In the head: how many rows are taken, and when the table was made.
_COUNT_AT = 36
_BORN_AT = 48
_MAX_PROBES = 256
# Locks are of bytes behind the table; whoever claims a row holds the last of them.
_DOMAINS = 2048
_LOCKS_AT = 2**40
_CLAIM_LOCK = _LOCKS_AT + _DOMAINS
_COLUMN_LOCKS_AT = _CLAIM_LOCK + 1
# A lock is held for microseconds: its holder may have to wait for the processor, and only then does waiting help.
_YIELDS = 50
_NAPS = 40
_NAP_S = 0.0005
_TRY = fcntl.LOCK_EX | fcntl.LOCK_NB


class Busy(Exception):
    """A lock was not to be had in time: its holder was stopped while it held it."""


class TableFull(Exception):
    """There are more limits than rows."""


class RowKind(enum.IntEnum):
    """What a row counts."""

    RATE = 1
    IN_FLIGHT = 2
    QUOTA = 3


class QuotaRow(Struct, frozen=True, gc=False):
    """A quota's row.

    Attributes:
        granted, used: cumulative since the row was made: what the ledger has let this gateway have, and what its
            workers have spent or reserved of it. In the quota's unit.
        offset: ``used + offset`` is the use in the present window, by every gateway.
        limit: of the window.
        resets_at_s: seconds since the epoch.
        rate_per_s: how fast it is used lately.
    """

    granted: int
    used: int
    offset: int
    limit: int
    resets_at_s: float
    rate_per_s: float


class LimitTable:
    """A mapped limit table.

    Args:
        fd: of a file made by ``gateway.limits.file``; it stays the caller's.
    """

    def __init__(self, fd: int) -> None:
        head = os.pread(fd, _HEAD.size, 0)
        magic, boot_id, columns, _, is_cautious, born_s = _HEAD.unpack(head)
        if magic != MAGIC:
            raise ValueError("not a limit table of this build")
        self.boot_id: bytes = boot_id
        self.columns: int = columns
        self.is_cautious = bool(is_cautious)
        self.born_s: float = born_s
        self._fd = fd
        self._map = mmap.mmap(fd, table_bytes(self.columns))
        self._row = struct.Struct(f"<Qqqqqddq{self.columns}q")
        self._columns = struct.Struct(f"<{self.columns}q")
        self._counted = struct.Struct(f"<q{self.columns}q")
        self._column: int | None = None
        self._offsets: dict[str, int] = {}

    # --- reading, without a lock

    def tat_ns(self, offset: int) -> int:
        """Return a rate's theoretical arrival time; negative while nothing is known before that moment."""
        tat_ns: int = _I64.unpack_from(self._map, offset + 8)[0]
        return tat_ns

    def in_flight(self, offset: int) -> int:
        """Return how many requests hold a place, over all columns."""
        return sum(self._columns.unpack_from(self._map, offset + 64))

    def quota(self, offset: int) -> QuotaRow:
        """Return a quota's row."""
        granted, folded, shift, limit, resets_at_s, rate_per_s = _QUOTA.unpack_from(self._map, offset + 8)
        used = folded + sum(self._columns.unpack_from(self._map, offset + 64))
        return QuotaRow(granted, used, shift, limit, resets_at_s, rate_per_s)

    # --- writing

    def lock(self, domains: Collection[int]) -> None:
        """Take the locks of these domains; ``unlock`` gives them back.

        Raises:
            Busy: one of them was not to be had; then none is held.
        """
        held: list[int] = []
        try:
            # In one order everywhere, so that no two wait for each other.
            for domain in sorted(domains):
                self._lock(_LOCKS_AT + domain)
                held.append(domain)
        except Busy:
            self.unlock(held)
            raise

    def unlock(self, domains: Collection[int]) -> None:
        """Give locks back."""
        for domain in domains:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, _LOCKS_AT + domain)

    @contextmanager
    def locked(self, domains: Iterable[int]) -> Iterator[None]:
        """Hold the locks of these domains.

        Raises:
            Busy: one of them was not to be had.
        """
        distinct = frozenset(domains)
        self.lock(distinct)
        try:
            yield
        finally:
            self.unlock(distinct)

    def put_tat(self, offset: int, tat_ns: int) -> None:
        """Write a rate's theoretical arrival time; its domain is locked."""
        _I64.pack_into(self._map, offset + 8, tat_ns)

    def add(self, offset: int, amount: int) -> None:
        """Add to what this process holds or has used; nobody else writes there."""
        assert self._column is not None, "a process without a column holds nothing"  # noqa: S101
        place = offset + 64 + 8 * self._column
        _I64.pack_into(self._map, place, _I64.unpack_from(self._map, place)[0] + amount)

    def put_quota(
        self, offset: int, *, granted: int, shift: int, limit: int, resets_at_s: float, rate_per_s: float
    ) -> None:
        """Write what the ledger says of a quota; its domain is locked."""
        _I64.pack_into(self._map, offset + 8, granted)
        _AFTER_FOLDED.pack_into(self._map, offset + 24, shift, limit, resets_at_s, rate_per_s)

    # --- rows

    def find(self, key: str, kind: RowKind) -> int:
        """Return the offset of a limit's row, which is made when there is none.

        Raises:
            Busy: somebody else is making one and was stopped.
            TableFull: there are ``MAX_ROWS`` already.
        """
        offset = self._offsets.get(key)
        if offset is None:
            self._lock(_CLAIM_LOCK)
            try:
                offset = self._offsets[key] = self._claim(key, kind)
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, _CLAIM_LOCK)
        return offset

    def _claim(self, key: str, kind: RowKind) -> int:
        digest = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") or 1
        for probe in range(_MAX_PROBES):
            slot_at = _HEAD_BYTES + (digest + probe) % _SLOTS * _SLOT.size
            found, row = _SLOT.unpack_from(self._map, slot_at)
            if found == digest:
                return self._offset_of(row)
            if found == 0:
                return self._take_row(slot_at, digest, kind)
        raise TableFull

    def _take_row(self, slot_at: int, digest: int, kind: RowKind) -> int:
        row = self.row_count
        if row >= MAX_ROWS:
            raise TableFull
        offset = self._offset_of(row)
        self._row.pack_into(self._map, offset, digest, *[0] * 4, 0.0, 0.0, int(kind), *[0] * self.columns)
        if kind is RowKind.RATE and self.is_cautious:
            self.put_tat(offset, -max(1, round(self.born_s * 1e9)))
        # In this order: a row that nobody finds is lost, one that is found twice would be two limits in one.
        _U32.pack_into(self._map, _COUNT_AT, row + 1)
        _SLOT.pack_into(self._map, slot_at, digest, row)
        return offset

    @property
    def row_count(self) -> int:
        """How many rows are taken."""
        return int(_U32.unpack_from(self._map, _COUNT_AT)[0])

    # --- columns

    def take_column(self) -> None:
        """Take a column that no living process has, for as long as this process lives.

        Raises:
            TableFull: every column is taken.
        """
        for column in range(self.columns):
            if self._has_locked_column(column):
                self._fold(column)
                self._column = column
                return
        raise TableFull

    def fold_abandoned(self) -> None:
        """Take over what workers that have ended left in their columns."""
        used: set[int] = set()
        for row in range(self.row_count):
            _, *counted = self._counted.unpack_from(self._map, self._offset_of(row) + 56)
            used.update(column for column, left in enumerate(counted) if left)
        # One at a time, so that a worker that starts meanwhile finds one that is free.
        for column in used:
            if self._has_locked_column(column):
                self._fold(column)
                self._unlock_column(column)

    def is_deserted(self) -> bool:
        """Whether no other process has a column."""
        free = [column for column in range(self.columns) if self._has_locked_column(column)]
        for column in free:
            self._unlock_column(column)
        return len(free) == self.columns

    def _unlock_column(self, column: int) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, _COLUMN_LOCKS_AT + column)

    def copy_to(self, fd: int) -> None:
        """Write every limit into an empty table that has more columns; nobody else writes in either."""
        os.pwrite(fd, self._map[_COUNT_AT : _COUNT_AT + 4], _COUNT_AT)
        os.pwrite(fd, struct.pack("<d", self.born_s), _BORN_AT)
        os.pwrite(fd, self._map[_HEAD_BYTES:_ROWS_AT], _HEAD_BYTES)
        wider = LimitTable(fd)
        for row in range(self.row_count):
            offset = self._offset_of(row)
            os.pwrite(fd, self._map[offset : offset + 64], wider._offset_of(row))

    def _has_locked_column(self, column: int) -> bool:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _COLUMN_LOCKS_AT + column)
        except OSError:
            return False
        return True

    def _fold(self, column: int) -> None:
        """Places that nobody holds any more are free; use of quotas stays used."""
        for row in range(self.row_count):
            offset = self._offset_of(row)
            place = offset + 64 + 8 * column
            left = _I64.unpack_from(self._map, place)[0]
            if not left:
                continue
            if _I64.unpack_from(self._map, offset + 56)[0] == RowKind.QUOTA:
                folded = _I64.unpack_from(self._map, offset + 16)[0]
                _I64.pack_into(self._map, offset + 16, folded + left)
            _I64.pack_into(self._map, place, 0)

    def _offset_of(self, row: int) -> int:
        return _ROWS_AT + row * self._row.size

    def _lock(self, place: int) -> None:
        for attempt in range(_YIELDS + _NAPS):
            try:
                fcntl.lockf(self._fd, _TRY, 1, place)
                return
            except OSError:
                if attempt < _YIELDS:
                    os.sched_yield()
                else:
                    time.sleep(_NAP_S)
        raise Busy


_I64 = struct.Struct("<q")
_U32 = struct.Struct("<I")
_QUOTA = struct.Struct("<qqqqdd")
_AFTER_FOLDED = struct.Struct("<qqdd")


def domain_of(key: str) -> int:
    """Return which lock a limit's row is under: one per tenant, model or shared limit."""
    owner = "/".join(key.split("/", 2)[:2])
    return crc32(owner.encode()) % _DOMAINS


def table_bytes(columns: int) -> int:
    """Return the size of a table; what is not used of it takes no memory."""
    return _ROWS_AT + MAX_ROWS * (64 + 8 * columns)


def head_of(boot_id: bytes, columns: int, *, is_cautious: bool, born_s: float) -> bytes:
    """Return the head of an empty table."""
    return _HEAD.pack(MAGIC, boot_id, columns, 0, int(is_cautious), born_s)
