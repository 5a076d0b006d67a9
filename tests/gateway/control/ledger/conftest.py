"""Every kind of ledger, as its suite opens, crashes and reopens it; another store is one more entry of ``KINDS``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gateway.control.ledger.memory_ledger import MemoryLedger
from gateway.control.ledger.protocol import Ledger
from gateway.control.ledger.sqlite_ledger import SqliteLedger


class Bench:
    """One place where a ledger is kept.

    Attributes:
        keeps: what is recorded outlives the process.
    """

    keeps = True

    def open(self) -> Ledger:
        raise NotImplementedError

    def crash(self, ledger: Ledger) -> None:
        """Let it go without a word."""
        raise NotImplementedError

    def destroy(self) -> None:
        raise NotImplementedError


class MemoryBench(Bench):
    keeps = False

    def open(self) -> Ledger:
        return MemoryLedger()

    def crash(self, ledger: Ledger) -> None:
        del ledger

    def destroy(self) -> None:
        pass


class SqliteBench(Bench):
    def __init__(self) -> None:
        self._folder = TemporaryDirectory()
        self.path = Path(self._folder.name) / "ledger.sqlite3"
        self._open: list[SqliteLedger] = []

    def open(self) -> SqliteLedger:
        ledger = SqliteLedger.open(self.path)
        self._open.append(ledger)
        return ledger

    def crash(self, ledger: Ledger) -> None:
        """The file is copied as a killed process leaves it, with its log, and the copy is what is opened next."""
        crashed = self.path.with_name(f"crashed-{len(self._open)}.sqlite3")
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                content = self.path.with_name(self.path.name + suffix).read_bytes()
                crashed.with_name(crashed.name + suffix).write_bytes(content)
        self.path = crashed

    def destroy(self) -> None:
        for ledger in self._open:
            with suppress(sqlite3.Error):
                ledger.close()
        self._folder.cleanup()


KINDS: dict[str, type[Bench]] = {"memory": MemoryBench, "sqlite": SqliteBench}


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A place for each kind of ledger."""
    found = KINDS[request.param]()
    yield found
    found.destroy()


@pytest.fixture(params=[name for name, kind in KINDS.items() if kind.keeps])
def kept_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A place for each kind of ledger that outlives its process."""
    found = KINDS[request.param]()
    yield found
    found.destroy()


@pytest.fixture
def ledger(bench: Bench) -> Ledger:
    """A new ledger of each kind."""
    return bench.open()
