"""The table's file: used on by the next start, made anew after the machine's, widened for more workers."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.limits.file import FILE_NAME, open_table
from gateway.limits.table import LimitTable, RowKind


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
