"""Leases quotas from the ledger to this gateway's limit table; blocking, used by one thread at a time.

What is let is first recorded by the ledger, then written into the table. What the table gives back is first taken out
of it, then told to the ledger. So whoever is killed in between, the ledger never believes less is out than is.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice

from gateway.control.ledger.protocol import Grant, Lease, Ledger, LedgerUnavailable
from gateway.control.quota_book import OfTenant, QuotaBook, Reading, quotas_of
from gateway.control.quota_view import Standing
from gateway.limits.table import Busy, LimitTable, RowKind, TableFull, domain_of
from policies.snapshot.generation import Snapshot

# An account that rests is looked at less often; what it holds unused is enough meanwhile.
_RESTS_AFTER_S = 5.0
_LOOKS_AT_ALL = 10
# More at once would keep requests waiting that wait for the next look.
AT_ONCE = 1000
# Lines that a ledger which fails for hours can keep waiting; beyond it the oldest are not told.
_MAX_UNTOLD = 10_000


class QuotaLessor:
    """Every quota of the generations that matter.

    Args:
        open_ledger: may fail, and is tried again.
        wall_s: the time, in seconds since the epoch.

    Attributes:
        books: by account.
        rowless: accounts that found no row in the table since the start, so that their requests are refused.
    """

    def __init__(self, table: LimitTable, open_ledger: Callable[[], Ledger], wall_s: Callable[[], float]) -> None:
        self.books: dict[str, QuotaBook] = {}
        self.rowless: set[str] = set()
        self._rowless_told = 0
        self._table = table
        self._holder = holder_of(table)
        self._open_ledger = open_ledger
        self._wall_s = wall_s
        self._ledger: Ledger | None = None
        self._number = 0
        self._grants: dict[str, list[Grant]] = {}
        self._used_s: dict[str, float] = {}  # by account, those that were looked at first come first
        self._resting: deque[str] = deque()
        # What happened while nobody could be told, or before something failed: the next look tells it.
        self._untold: deque[str] = deque(maxlen=_MAX_UNTOLD)

    # --- the ledger

    @property
    def ledger(self) -> Ledger:
        """The open ledger.

        Raises:
            LedgerUnavailable: it is not open.
        """
        if self._ledger is None:
            raise LedgerUnavailable("the ledger has not been opened yet")
        return self._ledger

    def open(self) -> list[str]:
        """Open the ledger and go on where this table's last supervisor ended; return what is to be told.

        A table that is gone with its leases has perhaps spent them: they count as used.

        Raises:
            LedgerUnavailable: it cannot be opened now.
        """
        if self._ledger is not None:
            return []
        ledger = self._open_ledger()
        now_s = self._wall_s()
        told = []
        for other in ledger.holders():
            if other != self._holder:
                lost = ledger.abandon(other, now_s)
                if lost:
                    told.append(f"{len(lost)} quotas count as used what an earlier limit table still held of them")
        ledger.tidy(now_s)
        self._number = ledger.last_number(self._holder)
        self._ledger = ledger
        self._read_grants()
        return told

    def finish(self) -> list[str]:
        """Tell the ledger all that it does not know yet, once no worker uses the table any more; else as ``look``.

        Raises:
            LedgerUnavailable: the next supervisor of this table tells it.
        """
        for _ in range(2):  # the second time believes what fell
            self._untold += self._renew(list(self.books))
        return self._take_untold()

    def close(self) -> None:
        """Close the ledger; what is held stays held for the next supervisor of this table."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    # --- what there is

    def expect(self, snapshot: Snapshot) -> None:
        """Have something of every quota of a generation that is about to come, beside those there are.

        Raises:
            LedgerUnavailable: it comes without; the next look tries again.
        """
        for account, of in quotas_of(snapshot).items():
            self._set_terms(account, of)
        self._untold += self.open()
        self._untold += self._renew(list(self.books))

    def follow(self, snapshot: Snapshot) -> None:
        """Go by the generation that is in force; give back what is held of quotas that it has no more.

        Raises:
            LedgerUnavailable: what is given back is still believed to be out.
        """
        wanted = quotas_of(snapshot)
        gone = {account: book for account, book in self.books.items() if account not in wanted}
        self.books = {account: book for account, book in self.books.items() if account in wanted}
        for account, of in wanted.items():
            self._set_terms(account, of)
        claims = [book.returning(row) for book in gone.values() if (row := self._all_given_back(book)) is not None]
        if claims:
            self._number += 1
            self.ledger.renew(self._holder, self._number, claims, self._wall_s())

    def _set_terms(self, account: str, of: OfTenant) -> None:
        book, now_s = self.books.get(account), self._wall_s()
        if book is None:
            self.books[account] = QuotaBook(of, self._grants.get(account, ()), now_s)
        else:
            book.set_terms(of, self._grants.get(account, ()), now_s)

    def grants_changed(self) -> None:
        """Let what was granted or taken back count at once.

        Raises:
            LedgerUnavailable: it counts later.
        """
        before = self._grants.keys()
        self._read_grants()
        self._untold += self._renew([account for account in before | self._grants.keys() if account in self.books])

    def _read_grants(self) -> None:
        now_s = self._wall_s()
        self._grants = {}
        for grant in self.ledger.grants():
            if grant.until_s > now_s:
                self._grants.setdefault(grant.account, []).append(grant)
        for account, book in self.books.items():
            book.set_terms(book.of, self._grants.get(account, ()), now_s)

    # --- leasing

    def look(self, waited: Mapping[str, int]) -> list[str]:
        """Look at the quotas that are waited for, then at those in use, and now and then at all; ask for what is due.

        Args:
            waited: what requests wait for, by account.

        Returns:
            Lines that tell of steps of ladders that were passed, and of quotas that found no row.

        Raises:
            LedgerUnavailable: what was leased before goes on.
        """
        self._untold += self.open()
        urgent = [account for account in waited if account in self.books]
        for account in urgent:
            self.books[account].waited = max(self.books[account].waited, waited[account])
        self._untold += self._renew(urgent)
        others = [*self._used_lately(), *self._a_part_of_all()]
        self._untold += self._renew([account for account in others if account not in waited])
        if len(self.rowless) > self._rowless_told:
            self._rowless_told = len(self.rowless)
            rowless = f"{len(self.rowless)} quotas have no row in the limit table, so their requests are refused"
            self._untold.append(rowless)
        return self._take_untold()

    def _take_untold(self) -> list[str]:
        told = list(self._untold)
        self._untold.clear()
        return told

    def _used_lately(self) -> list[str]:
        """Return accounts in use, in turn when there are too many for one look."""
        now_s = self._wall_s()
        accounts = list(islice(self._used_s, AT_ONCE))
        for account in accounts:
            used_s = self._used_s.pop(account)
            if 0.0 <= now_s - used_s < _RESTS_AFTER_S:
                self._used_s[account] = used_s
        return [account for account in accounts if account in self.books]

    def _a_part_of_all(self) -> list[str]:
        """Return the next of all accounts, in turn, that no look at those in use is for."""
        if not self._resting:
            self._resting.extend(self.books)
        count = min(len(self._resting), AT_ONCE, -(-len(self.books) // _LOOKS_AT_ALL))
        accounts = [self._resting.popleft() for _ in range(count)]
        return [account for account in accounts if account in self.books and account not in self._used_s]

    def _renew(self, accounts: Iterable[str]) -> list[str]:
        now_s = self._wall_s()
        due: list[tuple[QuotaBook, Reading]] = []
        for account in accounts:
            book = self.books[account]
            row = self._row(book)
            if book.are_terms_old(now_s):
                book.set_terms(book.of, self._grants.get(account, ()), now_s)
            if row is None:
                continue
            if book.used_total not in (None, row.used):
                self._used_s[account] = now_s
            row = book.believed(row)
            if not book.is_due(row, now_s):
                continue
            keep = book.to_keep(row)
            kept = row if row.granted - row.used <= keep else self._given_back(book, row, keep)
            if kept is not None:
                due.append((book, kept))
        return self._ask(due) if due else []

    def _ask(self, due: Collection[tuple[QuotaBook, Reading]]) -> list[str]:
        claims = [book.claim(row) for book, row in due]
        self._number += 1
        # Only now: use that is told late counts in a window too many, what is told early in none.
        now_s = self._wall_s()
        leases = self.ledger.renew(self._holder, self._number, claims, now_s)
        told: list[str] = []
        for (book, row), lease in zip(due, leases, strict=True):
            book.measure(row, now_s)
            if self._put(book, row, lease):
                book.take(lease, now_s)
                told += book.steps_passed()
        return told

    def known(self) -> tuple[Standing, ...]:
        """Return how every quota stood when the ledger was last asked, quickly and without what is held."""
        return tuple(
            Standing(book.of.tenant, book.of.quota, book.limit, book.used, 0, book.rate_per_s, 0.0)
            for book in self.books.values()
            if book.lease is not None
        )

    def standings(self) -> tuple[Standing, ...]:
        """Return how every quota stands, use that the ledger does not know yet included."""
        return tuple(self._standing(book) for book in self.books.values())

    def _standing(self, book: QuotaBook) -> Standing:
        row = self._row(book) or Reading(0, 0)
        lease = book.lease
        untold = max(0, row.used - (book.used_total or 0))
        return Standing(
            tenant=book.of.tenant,
            quota=book.of.quota,
            limit=book.limit,
            used=None if lease is None else lease.window_used + untold,
            held=max(0, row.granted - row.used),
            rate_per_s=book.rate_per_s,
            resets_at_s=math.inf if lease is None else lease.resets_at_s,
        )

    # --- the table

    def _row(self, book: QuotaBook) -> Reading | None:
        """Return the quota's row; None when it has none or cannot be read now."""
        try:
            place = self._table.find(book.account, RowKind.QUOTA)
        except Busy:
            return None
        except TableFull:
            self.rowless.add(book.account)
            return None
        row = self._table.quota(place)
        # Nothing is known to compare the first reading with, and one that meets a fold may miss what is folded.
        used = row.used if book.used_total is not None else max(row.used, self._table.quota(place).used)
        return Reading(row.granted, used)

    def _all_given_back(self, book: QuotaBook) -> Reading | None:
        row = self._row(book)
        return None if row is None else self._given_back(book, book.believed(row), keep=0)

    def _given_back(self, book: QuotaBook, said: Reading, keep: int) -> Reading | None:
        """Take what is more than ``keep`` out of the table, and return what is left; None if that cannot be now."""
        try:
            place = self._table.find(book.account, RowKind.QUOTA)
            with self._table.locked({domain_of(book.account)}):
                row = self._table.quota(place)
                used = max(row.used, said.used)
                granted = min(row.granted, used + keep)
                if granted != row.granted:
                    self._table.put_quota(
                        place,
                        granted=granted,
                        shift=row.offset,
                        limit=row.limit,
                        resets_at_s=row.resets_at_s,
                        rate_per_s=row.rate_per_s,
                    )
        except (Busy, TableFull):
            return None
        return Reading(granted, used)

    def _put(self, book: QuotaBook, said: Reading, lease: Lease) -> bool:
        """Write what the ledger let into the table; False leaves it for the next time."""
        try:
            with self._table.locked({domain_of(book.account)}):
                self._table.put_quota(
                    self._table.find(book.account, RowKind.QUOTA),
                    granted=lease.granted_total,
                    shift=lease.window_used - said.used,
                    limit=book.limit,
                    resets_at_s=lease.resets_at_s,
                    rate_per_s=book.rate_per_s,
                )
        except Busy:
            return False
        return True


def holder_of(table: LimitTable) -> str:
    """Return what the ledger calls a limit table: one that goes on being used keeps its name."""
    return f"{table.boot_id.hex()}/{table.born_s!r}"
