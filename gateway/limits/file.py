"""The limit table's file in the state directory: made once, kept over restarts, widened when there are more workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from gateway.limits.table import MAGIC, MAX_ROWS, LimitTable, head_of, table_bytes

FILE_NAME = "limits.map"
# Workers that leave and those that take their places live side by side for a moment.
_USUAL_COLUMNS = 16
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Workers of a supervisor that was killed leave within five seconds.
_ORPHANS_LEAVE_WITHIN_S = 8.0
_LOOK_EVERY_S = 0.05
# One generation's limits fit into the other half.
MOST_ROWS_KEPT = MAX_ROWS // 2


def open_table(state: Path, workers: int, rates: Iterable[str] = ()) -> int:
    """Return a descriptor of the state directory's limit table.

    A table of this boot is used on, so that a restart forgets no charge. One of an earlier boot says nothing that this
    boot's clock could be compared with: rates begin with their burst spent, and use of quotas is the ledger's to tell.
    Rows are never given back while anybody may use them. So one that is half full and that nobody uses is made anew,
    with the rates that policy has; use of quotas is the ledger's to tell then too.

    Args:
        rates: keys of the rates that policy has.
    """
    columns = max(_USUAL_COLUMNS, 2 * workers + 2)
    path = state / FILE_NAME
    boot_id = _this_boot()
    known = _open_existing(path, boot_id)
    if known is None:
        return _make(path, boot_id, columns, is_cautious=path.exists())
    table = LimitTable(known)
    is_crowded = table.row_count > MOST_ROWS_KEPT and table.is_deserted()
    if table.columns >= columns and not is_crowded:
        return known
    try:
        if is_crowded:
            columns = max(columns, table.columns)
            fill = partial(table.copy_rates_to, keys=rates)
            return _make(path, boot_id, columns, is_cautious=table.is_cautious, fill=fill)
        return _widened(path, table, boot_id, columns)
    finally:
        os.close(known)


def _this_boot() -> bytes:
    return bytes.fromhex(_BOOT_ID.read_text().strip().replace("-", ""))


def _open_existing(path: Path, boot_id: bytes) -> int | None:
    """Return the file if it is a table of this boot and build."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    head = os.pread(descriptor, 64, 0)
    columns = int.from_bytes(head[32:36], "little")
    if head[:32] == MAGIC + boot_id and os.fstat(descriptor).st_size == table_bytes(columns):
        return descriptor
    os.close(descriptor)
    return None


def _make(
    path: Path, boot_id: bytes, columns: int, *, is_cautious: bool, fill: Callable[[int], None] | None = None
) -> int:
    """Return a new table in the path's place, which comes there whole: filled with what is kept of the old one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.ftruncate(descriptor, table_bytes(columns))
    os.pwrite(descriptor, head_of(boot_id, columns, is_cautious=is_cautious, born_s=time.monotonic()), 0)
    if fill is not None:
        fill(descriptor)
    fresh.rename(path)
    return descriptor


def _widened(path: Path, narrow: LimitTable, boot_id: bytes, columns: int) -> int:
    """Return a table with more columns and the same limits, once nobody writes in the narrow one any more."""
    give_up_s = time.monotonic() + _ORPHANS_LEAVE_WITHIN_S
    while not narrow.is_deserted() and time.monotonic() < give_up_s:
        time.sleep(_LOOK_EVERY_S)
    narrow.fold_abandoned()
    return _make(path, boot_id, columns, is_cautious=narrow.is_cautious, fill=narrow.copy_to)
