"""A ledger in one SQLite file of the state directory, used by one supervisor and one of its threads at a time.

Every step is one transaction in the write-ahead log, without waiting for the disk: whatever is killed, the system goes
on and has all of it. When the power fails the last moments may be missing, and so is the limit table, whose lost
leases then count as used; what was spent in those moments is forgotten. ``is_safe_from_power_loss`` waits for the disk
at each step instead, which takes milliseconds.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, structs

from gateway.control.ledger.leasing import (
    KEPT_S,
    KEPT_SLOTS,
    granted_total,
    movement,
    refunded,
    steady_now_s,
)
from gateway.control.ledger.protocol import (
    CLOCK_SET_BACK_S,
    GRANTS_KEPT_S,
    MAX_GRANTS,
    REFUND_WITHIN_S,
    TIDY_ON_TIME_S,
    Claim,
    Grant,
    Lease,
    LedgerUnavailable,
    TooManyGrants,
)
from gateway.decide.quota_windows import LONGEST_SLOT_S, Window, resets_at_s, slot_end_s, window_at

FILE_NAME = "ledger.sqlite3"
_BUSY_WITHIN_S = 2.0
_FORMAT = 1

# `used` and `oldest_s` are of the window that begins at `start_s`: the sum and the first of its slots.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS clock (one INTEGER PRIMARY KEY CHECK (one = 1), now_s REAL NOT NULL);
INSERT OR IGNORE INTO clock VALUES (1, 0.0);
CREATE TABLE IF NOT EXISTS holder (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS account (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, per TEXT NOT NULL, zone TEXT NOT NULL,
    start_s REAL, used INTEGER NOT NULL, oldest_s REAL, outstanding INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS slot (
    account INTEGER NOT NULL, end_s REAL NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (account, end_s)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease (
    holder INTEGER NOT NULL, account INTEGER NOT NULL, used_total INTEGER NOT NULL, granted_total INTEGER NOT NULL,
    PRIMARY KEY (holder, account)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS grants (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, amount INTEGER NOT NULL, until_s REAL NOT NULL, owner TEXT NOT NULL,
    reason TEXT NOT NULL, at_s REAL NOT NULL, ended_by TEXT NOT NULL
) WITHOUT ROWID;
"""
_ACCOUNTS = """
SELECT account.name, account.id, account.start_s, account.used, account.oldest_s, account.outstanding,
    coalesce(lease.used_total, 0), coalesce(lease.granted_total, 0)
FROM json_each(?) AS wanted JOIN account ON account.name = wanted.value
LEFT JOIN lease ON lease.account = account.id AND lease.holder = ?
"""
_ADD_ACCOUNT = "INSERT OR IGNORE INTO account VALUES (NULL, ?, ?, ?, NULL, 0, NULL, 0)"
_PUT_ACCOUNT = """
UPDATE account SET per = ?, zone = ?, start_s = ?, used = ?, oldest_s = ?, outstanding = ? WHERE id = ?
"""
_PUT_LEASE = """
INSERT INTO lease VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET used_total = excluded.used_total, granted_total = excluded.granted_total
"""
_ADD_USE = "INSERT INTO slot VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET used = used + excluded.used"
_TAKE_USE = "UPDATE slot SET used = used - ? WHERE account = ? AND end_s = ?"
_WINDOW = "SELECT coalesce(sum(used), 0), min(end_s) FROM slot WHERE account = ? AND end_s > ? AND used > 0"
_RECENT = "SELECT end_s, used FROM slot WHERE account = ? AND end_s > ?"
_PRUNE = """
DELETE FROM slot WHERE account = :account AND end_s < :before_s AND end_s < (
    SELECT end_s FROM slot WHERE account = :account ORDER BY end_s DESC LIMIT 1 OFFSET :kept
)
"""
_OF_A_WRONG_CLOCK = """
INSERT INTO slot SELECT account, :latest_s, sum(used) FROM slot WHERE end_s > :wrong_s GROUP BY account
ON CONFLICT DO UPDATE SET used = used + excluded.used
"""
_FORGET = """
DELETE FROM account WHERE NOT EXISTS (SELECT 1 FROM lease WHERE lease.account = account.id)
    AND NOT EXISTS (SELECT 1 FROM slot WHERE slot.account = account.id AND end_s > ?)
"""
# Those that count end last.
_MAKE_ROOM_FOR_GRANT = """
DELETE FROM grants WHERE id IN (SELECT id FROM grants ORDER BY until_s DESC LIMIT -1 OFFSET ?)
"""
_ABANDONED = """
SELECT account.id, name, per, zone, granted_total - used_total FROM lease JOIN account ON account.id = lease.account
WHERE holder = ?
"""


class _Account(Struct, gc=False):
    """An account while a claim is taken; ``outstanding`` is of all holders."""

    id: int
    start_s: float | None
    used: int
    oldest_s: float | None
    outstanding: int
    used_total: int
    granted_total: int

    @property
    def outstanding_others(self) -> int:
        return self.outstanding - (self.granted_total - self.used_total)


class SqliteLedger:
    """See ``gateway.control.ledger.protocol.Ledger``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, is_safe_from_power_loss: bool = False) -> SqliteLedger:
        """Open the file, making it where it is missing.

        Raises:
            LedgerUnavailable: it cannot be used, or a newer Penstock wrote it.
        """
        try:
            path.touch(mode=0o600, exist_ok=True)
            connection = sqlite3.connect(path, timeout=_BUSY_WITHIN_S, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise LedgerUnavailable(f"{path} cannot be opened: {error}") from error
        try:
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found > _FORMAT:
                raise LedgerUnavailable(f"{path} has format {found}, which a newer Penstock wrote")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if is_safe_from_power_loss else 'NORMAL'}")
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
        except (sqlite3.Error, LedgerUnavailable) as error:
            connection.close()
            raise LedgerUnavailable(f"{error} ({path})") from error
        return cls(connection)

    def renew(self, holder: str, number: int, claims: Sequence[Claim], now_s: float) -> list[Lease]:
        """Record and let, in one transaction."""
        with self._step(now_s) as at_s:
            holder_id = self._number(holder, number)
            accounts = self._accounts(holder, claims)
            windows = {(claim.per, claim.zone): window_at(claim.per, claim.zone, at_s) for claim in claims}
            for claim in claims:
                self._roll(accounts[claim.account], windows[claim.per, claim.zone], at_s)
            if holder_id is not None:
                for claim in claims:
                    self._take(claim, accounts[claim.account], windows[claim.per, claim.zone], at_s)
                self._put(holder_id, claims, accounts)
            return [_lease(claim, accounts[claim.account], windows[claim.per, claim.zone]) for claim in claims]

    def _number(self, holder: str, number: int) -> int | None:
        """Return the holder if this call is its latest."""
        put = """
            INSERT INTO holder VALUES (NULL, ?, ?)
            ON CONFLICT (name) DO UPDATE SET number = excluded.number WHERE excluded.number > number RETURNING id
        """
        found = self._connection.execute(put, (holder, number)).fetchone()
        return None if found is None else int(found[0])

    def _accounts(self, holder: str, claims: Sequence[Claim]) -> dict[str, _Account]:
        run = self._connection.execute
        names = json.dumps([claim.account for claim in claims])
        holder_id = run("SELECT id FROM holder WHERE name = ?", (holder,)).fetchone()[0]
        found = {name: _Account(*rest) for name, *rest in run(_ACCOUNTS, (names, holder_id))}
        missing = [claim for claim in claims if claim.account not in found]
        if missing:
            added = [(claim.account, claim.per, claim.zone) for claim in missing]
            self._connection.executemany(_ADD_ACCOUNT, added)
            found |= {name: _Account(*rest) for name, *rest in run(_ACCOUNTS, (names, holder_id))}
        return found

    def _roll(self, account: _Account, window: Window, now_s: float) -> None:
        """Look again what lies in the window once it is another than that of the last claim."""
        if account.start_s == window.start_s:
            return
        old = {"account": account.id, "before_s": now_s - KEPT_S, "kept": KEPT_SLOTS}
        self._connection.execute(_PRUNE, old)
        self._look(account, window)

    def _look(self, account: _Account, window: Window) -> None:
        account.used, account.oldest_s = self._connection.execute(_WINDOW, (account.id, window.start_s)).fetchone()
        account.start_s = window.start_s

    def _take(self, claim: Claim, account: _Account, window: Window, now_s: float) -> None:
        moved = movement(account.used_total, claim.used_total)
        others = account.outstanding_others
        if moved.spent:
            end_s = slot_end_s(window, now_s)
            self._connection.execute(_ADD_USE, (account.id, end_s, moved.spent))
            account.used += moved.spent
            account.oldest_s = end_s if account.oldest_s is None else min(account.oldest_s, end_s)
        if moved.refund:
            recent = dict(self._connection.execute(_RECENT, (account.id, now_s - REFUND_WITHIN_S)))
            given = refunded(recent, moved.refund, window, now_s)
            self._connection.executemany(_TAKE_USE, [(used, account.id, end_s) for end_s, used in given.items()])
            self._look(account, window)
        account.used_total = claim.used_total
        account.granted_total = granted_total(claim, account.used, others)
        account.outstanding = others + account.granted_total - account.used_total

    def _put(self, holder_id: int, claims: Sequence[Claim], accounts: dict[str, _Account]) -> None:
        run_each = self._connection.executemany
        held = [(holder_id, one.id, one.used_total, one.granted_total) for one in accounts.values()]
        run_each(_PUT_LEASE, held)
        of = [(claim, accounts[claim.account]) for claim in claims]
        run_each(
            _PUT_ACCOUNT,
            [(said.per, said.zone, its.start_s, its.used, its.oldest_s, its.outstanding, its.id) for said, its in of],
        )

    def last_number(self, holder: str) -> int:
        """Return the holder's latest number."""
        with _unavailable():
            found = self._connection.execute("SELECT number FROM holder WHERE name = ?", (holder,)).fetchone()
            return 0 if found is None else int(found[0])

    def holders(self) -> list[str]:
        """Return who has called."""
        with _unavailable():
            return [name for (name,) in self._connection.execute("SELECT name FROM holder ORDER BY name")]

    def abandon(self, holder: str, now_s: float) -> dict[str, int]:
        """Count what the holder has unused as used."""
        run = self._connection.execute
        with self._step(now_s) as at_s:
            found = run("SELECT id FROM holder WHERE name = ?", (holder,)).fetchone()
            if found is None:
                return {}
            lost: dict[str, int] = {}
            for account, name, per, zone, unused in run(_ABANDONED, found).fetchall():
                if unused > 0:
                    lost[name] = unused
                    run(_ADD_USE, (account, slot_end_s(window_at(per, zone, at_s), at_s), unused))
                    run(
                        "UPDATE account SET start_s = NULL, outstanding = outstanding - ? WHERE id = ?",
                        (unused, account),
                    )
            run("DELETE FROM lease WHERE holder = ?", found)
            run("DELETE FROM holder WHERE id = ?", found)
            return lost

    def use(self, account: str) -> dict[float, int]:
        """Return what was used."""
        of = "SELECT end_s, slot.used FROM slot JOIN account ON account.id = slot.account WHERE name = ? AND slot.used"
        with _unavailable():
            return dict(self._connection.execute(of, (account,)))

    def add_grant(self, grant: Grant, now_s: float) -> None:
        """Keep a grant."""
        run = self._connection.execute
        with self._step(now_s) as at_s:
            run("DELETE FROM grants WHERE until_s <= ?", (at_s - GRANTS_KEPT_S,))
            if run("SELECT count(*) FROM grants WHERE until_s > ?", (at_s,)).fetchone()[0] >= MAX_GRANTS:
                raise TooManyGrants
            run(_MAKE_ROOM_FOR_GRANT, (MAX_GRANTS - 1,))
            run("INSERT OR REPLACE INTO grants VALUES (?, ?, ?, ?, ?, ?, ?, ?)", structs.astuple(grant))

    def end_grant(self, grant_id: str, by: str, now_s: float) -> Grant | None:
        """Let a grant end."""
        run = self._connection.execute
        with self._step(now_s) as at_s:
            found = run("SELECT * FROM grants WHERE id = ? AND until_s > ?", (grant_id, at_s)).fetchone()
            run("UPDATE grants SET until_s = ?, ended_by = ? WHERE id = ? AND until_s > ?", (at_s, by, grant_id, at_s))
            return None if found is None else Grant(*found)

    def grants(self) -> list[Grant]:
        """Return all grants."""
        with _unavailable():
            return [Grant(*row) for row in self._connection.execute("SELECT * FROM grants ORDER BY at_s, id")]

    def tidy(self, now_s: float) -> None:
        """Forget idle accounts."""
        with _unavailable():
            (last_s,) = self._connection.execute("SELECT now_s FROM clock").fetchone()
        with self._step(now_s) as at_s:
            if at_s - last_s <= TIDY_ON_TIME_S:
                self._connection.execute(_FORGET, (at_s - KEPT_S,))
                self._connection.execute("DELETE FROM slot WHERE account NOT IN (SELECT id FROM account)")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _step(self, now_s: float) -> Iterator[float]:
        """One transaction; gives the time that it goes by."""
        run = self._connection.execute
        with _unavailable():
            run("BEGIN IMMEDIATE")
            try:
                yield self._heed(now_s)
                run("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    run("ROLLBACK")
                raise

    def _heed(self, now_s: float) -> float:
        """Go by a clock that does not go back."""
        run = self._connection.execute
        (last_s,) = run("SELECT now_s FROM clock").fetchone()
        at_s = steady_now_s(last_s, now_s)
        if at_s < last_s:
            latest_s = at_s + LONGEST_SLOT_S
            wrong = {"latest_s": latest_s, "wrong_s": latest_s + CLOCK_SET_BACK_S}
            run(_OF_A_WRONG_CLOCK, wrong)
            run("DELETE FROM slot WHERE end_s > ?", (wrong["wrong_s"],))
            run("UPDATE account SET start_s = NULL")
        if at_s != last_s:
            run("UPDATE clock SET now_s = ?", (at_s,))
        return at_s


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerUnavailable(str(error)) from error


def _lease(claim: Claim, account: _Account, window: Window) -> Lease:
    return Lease(
        claim.account,
        account.granted_total,
        account.used,
        account.outstanding_others,
        resets_at_s(window, account.oldest_s),
        window.end_s,
    )
