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

MAGIC = b"penstock-limits2"
# Magic, boot id, columns, whether it is cautious, how many rows are taken, and when the table was made.
_HEAD = struct.Struct("<16s16sIIqd")
_COUNT = 40 // 8
_BORN_AT = 48
# What follows is counted in words of 8 bytes: a head, slots of (digest, row), and the rows.
_SLOTS_AT = 4096 // 8
_SLOTS = 2**18
MAX_ROWS = 2**17
_ROWS_AT = _SLOTS_AT + 2 * _SLOTS
_MAX_PROBES = 256
# A row: its digest, these words, its kind, and a word for each column.
TAT_WORD = _TAT = _GRANTED = 1
_FOLDED, _SHIFT, _LIMIT, _RESETS_AT_MS, _RATE_MICRO, _KIND = 2, 3, 4, 5, 6, 7
_OWN_WORDS = 8
_MOST = 2**62
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

    Attributes:
        words: the whole table; whoever has to be quick reads a rate's time at ``place + TAT_WORD``.
        own_word: where in a row this process counts, after ``take_column``.
    """

    def __init__(self, fd: int) -> None:
        head = os.pread(fd, _HEAD.size, 0)
        magic, boot_id, columns, is_cautious, _, born_s = _HEAD.unpack(head)
        if magic != MAGIC:
            raise ValueError("not a limit table of this build")
        self.boot_id: bytes = boot_id
        self.columns: int = columns
        self.is_cautious = bool(is_cautious)
        self.born_s: float = born_s
        self._fd = fd
        self._map = mmap.mmap(fd, table_bytes(self.columns))
        # Aligned words, each read and written in one go: a reader sees the old or the new, also of one that is killed.
        self.words = memoryview(self._map).cast("q")
        self.own_word = _OWN_WORDS
        self._row_words: int = _OWN_WORDS + columns
        self._column: int | None = None
        self._places: dict[str, int] = {}

    # --- reading, without a lock

    def tat_ns(self, place: int) -> int:
        """Return a rate's theoretical arrival time; negative while nothing is known before that moment."""
        return self.words[place + _TAT]

    def in_flight(self, place: int) -> int:
        """Return how many requests hold a place, over all columns."""
        return sum(self.words[self.columns_of(place)])

    def columns_of(self, place: int) -> slice:
        """Return where in ``words`` the columns of a row are."""
        return slice(place + _OWN_WORDS, place + self._row_words)

    def quota(self, place: int) -> QuotaRow:
        """Return a quota's row."""
        _, granted, folded, shift, limit, resets_at_ms, rate_micro, _, *used = self.words[
            place : place + self._row_words
        ].tolist()
        return QuotaRow(granted, folded + sum(used), shift, limit, resets_at_ms / 1e3, rate_micro / 1e6)

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

    def lock_one(self, domain: int) -> None:
        """Take the lock of one domain; ``unlock_one`` gives it back.

        Raises:
            Busy: it was not to be had.
        """
        try:
            fcntl.lockf(self._fd, _TRY, 1, _LOCKS_AT + domain)
        except OSError:
            self._lock(_LOCKS_AT + domain)

    def unlock_one(self, domain: int) -> None:
        """Give a lock back."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, _LOCKS_AT + domain)

    def lock_all(self) -> None:
        """Take the locks of all domains in one call; ``unlock_all`` gives them back.

        Raises:
            Busy: they were not to be had together.
        """
        self._lock(_LOCKS_AT, _DOMAINS)

    def unlock_all(self) -> None:
        """Give the locks of all domains back."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN, _DOMAINS, _LOCKS_AT)

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

    def put_tat(self, place: int, tat_ns: int) -> None:
        """Write a rate's theoretical arrival time; its domain is locked."""
        self.words[place + _TAT] = tat_ns

    def add(self, place: int, amount: int) -> None:
        """Add to what this process holds or has used; nobody else writes there."""
        assert self._column is not None, "a process without a column holds nothing"  # noqa: S101
        self.words[place + self.own_word] += amount

    def put_quota(
        self, place: int, *, granted: int, shift: int, limit: int, resets_at_s: float, rate_per_s: float
    ) -> None:
        """Write what the ledger says of a quota; its domain is locked."""
        words = self.words
        words[place + _SHIFT] = shift
        words[place + _LIMIT] = limit
        words[place + _RESETS_AT_MS] = round(min(resets_at_s * 1e3, _MOST))
        words[place + _RATE_MICRO] = round(min(rate_per_s * 1e6, _MOST))
        words[place + _GRANTED] = granted

    # --- rows

    def find(self, key: str, kind: RowKind) -> int:
        """Return the place of a limit's row, which is made when there is none.

        Raises:
            Busy: somebody else is making one and was stopped.
            TableFull: there are ``MAX_ROWS`` already.
        """
        place = self._places.get(key)
        if place is None:
            self._lock(_CLAIM_LOCK)
            try:
                place = self._places[key] = self._claim(key, kind)
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, _CLAIM_LOCK)
        return place

    def has(self, key: str) -> bool:
        """Whether a limit has a row; none is made."""
        digest = _digest(key)
        for probe in range(_MAX_PROBES):
            found = self.words[_SLOTS_AT + (digest + probe) % _SLOTS * 2]
            if found in (digest, 0):
                return found == digest
        return False

    def _claim(self, key: str, kind: RowKind) -> int:
        digest = _digest(key)
        for probe in range(_MAX_PROBES):
            slot = _SLOTS_AT + (digest + probe) % _SLOTS * 2
            found = self.words[slot]
            if found == digest:
                return self._place_of(self.words[slot + 1])
            if found == 0:
                return self._take_row(slot, digest, kind)
        raise TableFull

    def _take_row(self, slot: int, digest: int, kind: RowKind) -> int:
        row = self.row_count
        if row >= MAX_ROWS:
            raise TableFull
        place, words = self._place_of(row), self.words
        words[place] = digest
        words[place + _KIND] = int(kind)
        if kind is RowKind.RATE and self.is_cautious:
            self.put_tat(place, -max(1, round(self.born_s * 1e9)))
        # In this order: a row that nobody finds is lost, one that is found twice would be two limits in one.
        words[_COUNT] = row + 1
        words[slot + 1] = row
        words[slot] = digest
        return place

    @property
    def row_count(self) -> int:
        """How many rows are taken."""
        return self.words[_COUNT]

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
                self.own_word = _OWN_WORDS + column
                return
        raise TableFull

    def fold_abandoned(self) -> None:
        """Take over what workers that have ended left in their columns; never two at once in one process."""
        # One column at a time, so that a worker that starts meanwhile finds one that is free.
        for column in range(self.columns):
            if any(self._column_words(column)) and self._has_locked_column(column):
                self._fold(column)
                self._unlock_column(column)

    def _column_words(self, column: int) -> list[int]:
        """Return what one column counts, row by row."""
        first = _ROWS_AT + _OWN_WORDS + column
        return self.words[first : first + self.row_count * self._row_words : self._row_words].tolist()

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
        os.pwrite(fd, struct.pack("<d", self.born_s), _BORN_AT)
        wider = LimitTable(fd)
        wider.words[_SLOTS_AT:_ROWS_AT] = self.words[_SLOTS_AT:_ROWS_AT]
        for row in range(self.row_count):
            mine, theirs = self._place_of(row), wider._place_of(row)
            wider.words[theirs : theirs + _OWN_WORDS] = self.words[mine : mine + _OWN_WORDS]
        wider.words[_COUNT] = self.row_count

    def copy_rates_to(self, fd: int, keys: Iterable[str]) -> None:
        """Write these rates, as far as there are rows of them, into an empty table; nobody else writes in either."""
        fresh = LimitTable(fd)
        for key in keys:
            if self.has(key):
                fresh.put_tat(fresh.find(key, RowKind.RATE), self.tat_ns(self.find(key, RowKind.RATE)))

    def _has_locked_column(self, column: int) -> bool:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _COLUMN_LOCKS_AT + column)
        except OSError:
            return False
        return True

    def _fold(self, column: int) -> None:
        """Places that nobody holds any more are free; use of quotas stays used."""
        words = self.words
        for row, left in enumerate(self._column_words(column)):
            if left:
                place = self._place_of(row)
                if words[place + _KIND] == RowKind.QUOTA:
                    words[place + _FOLDED] += left
                words[place + _OWN_WORDS + column] = 0

    def _place_of(self, row: int) -> int:
        return _ROWS_AT + row * self._row_words

    def _lock(self, byte: int, count: int = 1) -> None:
        for attempt in range(_YIELDS + _NAPS):
            try:
                fcntl.lockf(self._fd, _TRY, count, byte)
                return
            except OSError:
                if attempt < _YIELDS:
                    os.sched_yield()
                else:
                    time.sleep(_NAP_S)
        raise Busy


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little", signed=True) or 1


def domain_of(key: str) -> int:
    """Return which lock a limit's row is under: one per tenant, model or shared limit."""
    owner = "/".join(key.split("/", 2)[:2])
    return crc32(owner.encode()) % _DOMAINS


def table_bytes(columns: int) -> int:
    """Return the size of a table; what is not used of it takes no memory."""
    return 8 * (_ROWS_AT + MAX_ROWS * (_OWN_WORDS + columns))


def head_of(boot_id: bytes, columns: int, *, is_cautious: bool, born_s: float) -> bytes:
    """Return the head of an empty table."""
    return _HEAD.pack(MAGIC, boot_id, columns, int(is_cautious), 0, born_s)
