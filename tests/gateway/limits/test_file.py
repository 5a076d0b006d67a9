"""The table's file: used on by the next start, made anew after the machine's, widened for more workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.limits import file
from gateway.limits.file import FILE_NAME, open_table
from gateway.limits.table import LimitTable, RowKind
from tests.gateway.limits.test_table import HOLDER, another, end


def test_the_next_start_finds_every_charge(tmp_path: Path) -> None:
    first = LimitTable(open_table(tmp_path, workers=2))
    first.put_tat(first.find("x", RowKind.RATE), 125)
    again = LimitTable(open_table(tmp_path, workers=2))
    assert again.tat_ns(again.find("x", RowKind.RATE)) == 125
    assert not again.is_cautious
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_more_workers_get_a_wider_table_with_the_same_limits(tmp_path: Path) -> None:
    narrow = LimitTable(open_table(tmp_path, workers=2))
    narrow.put_tat(narrow.find("x", RowKind.RATE), 125)
    narrow.put_quota(narrow.find("q", RowKind.QUOTA), granted=9, shift=1, limit=50, resets_at_s=3.0, rate_per_s=0.0)
    wide = LimitTable(open_table(tmp_path, workers=40))
    assert wide.columns == 82
    assert wide.tat_ns(wide.find("x", RowKind.RATE)) == 125
    assert (wide.quota(wide.find("q", RowKind.QUOTA)).granted, wide.row_count) == (9, 2)
    assert wide.born_s == narrow.born_s


def test_a_table_half_full_of_limits_that_went_is_made_anew_with_the_rates_of_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "MOST_ROWS_KEPT", 3)
    old = LimitTable(open_table(tmp_path, workers=2))
    for number, key in enumerate(("gone", "kept", "also gone")):
        old.put_tat(old.find(key, RowKind.RATE), 100 + number)
    assert LimitTable(open_table(tmp_path, 2, ["kept"])).row_count == 3
    old.find("quota", RowKind.QUOTA)
    fresh = LimitTable(open_table(tmp_path, 2, ["kept", "new"]))
    assert (fresh.row_count, fresh.tat_ns(fresh.find("kept", RowKind.RATE))) == (1, 101)
    assert fresh.born_s > old.born_s, "to the ledger it is another holder, and what the old one held counts as used"
    assert LimitTable(open_table(tmp_path, 2)).born_s == fresh.born_s


def test_a_crowded_table_that_somebody_uses_is_used_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "MOST_ROWS_KEPT", 0)
    descriptor = open_table(tmp_path, workers=2)
    LimitTable(descriptor).find("gone", RowKind.RATE)
    holder = another(HOLDER, descriptor)
    assert LimitTable(open_table(tmp_path, 2)).row_count > 0
    end(holder)
    assert LimitTable(open_table(tmp_path, 2)).row_count == 0


def test_a_table_of_an_earlier_boot_is_replaced_by_one_that_trusts_nobody(tmp_path: Path) -> None:
    descriptor = open_table(tmp_path, workers=2)
    os.pwrite(descriptor, b"another boot id!", 16)
    table = LimitTable(open_table(tmp_path, workers=2))
    assert table.is_cautious
    assert table.tat_ns(table.find("x", RowKind.RATE)) < 0


def test_a_file_cut_short_is_not_used(tmp_path: Path) -> None:
    descriptor = open_table(tmp_path, workers=2)
    os.ftruncate(descriptor, 8192)
    assert LimitTable(open_table(tmp_path, workers=2)).is_cautious


def test_a_start_that_dies_while_it_widens_has_changed_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = LimitTable(open_table(tmp_path, workers=2))
    narrow.put_tat(narrow.find("x", RowKind.RATE), 125)
    with monkeypatch.context() as dying:
        dying.setattr(os, "pwrite", Dying(os.pwrite, after=1).pwrite)
        with pytest.raises(OSError, match="died"):
            open_table(tmp_path, workers=40)
    again = LimitTable(open_table(tmp_path, workers=2))
    assert again.tat_ns(again.find("x", RowKind.RATE)) == 125
    assert not again.is_cautious


class Dying:
    """Writes so many times, and then no more."""

    def __init__(self, pwrite: Callable[[int, bytes, int], int], after: int) -> None:
        self._pwrite = pwrite
        self._left = after

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        self._left -= 1
        if self._left < 0:
            raise OSError("died")
        return self._pwrite(fd, data, offset)
