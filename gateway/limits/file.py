"""The limit table's file in the state directory: made once, kept over restarts, widened when there are more workers."""

from __future__ import annotations

import os
import time
from pathlib import Path

from gateway.limits.table import MAGIC, LimitTable, head_of, table_bytes

FILE_NAME = "limits.map"
# Workers that leave and those that take their places live side by side for a moment.
_USUAL_COLUMNS = 16
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Workers of a supervisor that was killed leave within five seconds.
_ORPHANS_LEAVE_WITHIN_S = 8.0
_LOOK_EVERY_S = 0.05


def open_table(state: Path, workers: int) -> int:
    """Return a descriptor of the state directory's limit table.

    A table of this boot is used on, so that a restart forgets no charge. One of an earlier boot says nothing that this
    boot's clock could be compared with: rates begin with their burst spent, and use of quotas is the ledger's to tell.
    """
    columns = max(_USUAL_COLUMNS, 2 * workers + 2)
    path = state / FILE_NAME
    boot_id = _this_boot()
    known = _open_existing(path, boot_id)
    if known is None:
        return _make(path, boot_id, columns, is_cautious=path.exists())
    if LimitTable(known).columns >= columns:
        return known
    try:
        return _widened(path, LimitTable(known), boot_id, columns)
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


def _make(path: Path, boot_id: bytes, columns: int, *, is_cautious: bool) -> int:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.ftruncate(descriptor, table_bytes(columns))
    os.pwrite(descriptor, head_of(boot_id, columns, is_cautious=is_cautious, born_s=time.monotonic()), 0)
    fresh.rename(path)
    return descriptor


def _widened(path: Path, narrow: LimitTable, boot_id: bytes, columns: int) -> int:
    """Return a table with more columns and the same limits, once nobody writes in the narrow one any more."""
    give_up_s = time.monotonic() + _ORPHANS_LEAVE_WITHIN_S
    while not narrow.is_deserted() and time.monotonic() < give_up_s:
        time.sleep(_LOOK_EVERY_S)
    narrow.fold_abandoned()
    descriptor = _make(path, boot_id, columns, is_cautious=narrow.is_cautious)
    narrow.copy_to(descriptor)
    return descriptor
