"""The SQLite ledger when its file is full, damaged or of another version, and how long ten thousand accounts take."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from gateway.control.ledger.protocol import Claim, LedgerUnavailable
from gateway.control.ledger.sqlite_ledger import SqliteLedger

NOON = 1_782_907_200.0


def claims(count: int, used: int = 0, held: int = 0, per: str = "rolling-24h") -> list[Claim]:
    return [Claim(f"tenant/t{n}/quota/q", per, "UTC", 1000, used, held, 10) for n in range(count)]


def test_a_full_disk_lets_nothing_and_changes_nothing(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "ledger", isolation_level=None)
    SqliteLedger.open(tmp_path / "ledger").close()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    ledger = SqliteLedger(connection)
    ledger.renew("a", 1, claims(1), NOON)
    with pytest.raises(LedgerUnavailable, match="full"):
        ledger.renew("a", 2, claims(5000), NOON)
    assert ledger.last_number("a") == 1
    connection.execute("PRAGMA max_page_count = 1000000")
    assert len(ledger.renew("a", 2, claims(5000), NOON)) == 5000
    ledger.close()


def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b"not a database, and long enough to be looked at as one" * 100)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        SqliteLedger.open(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "ledger")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerUnavailable, match="format 99"):
        SqliteLedger.open(tmp_path / "ledger")


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    SqliteLedger.open(tmp_path / "ledger").close()
    assert (tmp_path / "ledger").stat().st_mode & 0o777 == 0o600


def test_slots_of_old_windows_do_not_pile_up(tmp_path: Path) -> None:
    ledger = SqliteLedger.open(tmp_path / "ledger")
    for number in range(1, 2000):
        ledger.renew(
            "a",
            number,
            [Claim("tenant/t/quota/q", "rolling-30d", "UTC", None, number, number, 1)],
            NOON + number * 9000,
        )
    assert len(ledger.use("tenant/t/quota/q")) < 700
    ledger.close()


def test_ten_thousand_accounts_take_a_fraction_of_a_second(tmp_path: Path) -> None:
    """A bound that a slow and busy machine keeps too; the benchmark says how long it takes."""
    ledger = SqliteLedger.open(tmp_path / "ledger")
    ledger.renew("a", 1, claims(10_000), NOON)
    started_s = time.process_time()
    ledger.renew("a", 2, claims(10_000, used=5, held=10), NOON + 1)
    took_s = time.process_time() - started_s
    print(f"10,000 accounts renewed in {took_s:.3f} s of processor time")
    assert took_s < 1.5
    ledger.close()
