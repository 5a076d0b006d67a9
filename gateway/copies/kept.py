"""Kept: what shadows have come to, in one file of the state directory, so that a restart does not begin anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.control.state_dir import write_private

FILE_NAME = "shadows.kept"
_FORMAT = 1


class KeptShadow(Struct, frozen=True, array_like=True):
    """One shadow.

    Attributes:
        period, used_us: of its budget.
        comparison: as it encodes itself.
    """

    model: str
    name: str
    period: int
    used_us: int
    comparison: bytes


class _File(Struct, frozen=True, array_like=True):
    file_format: int
    shadows: tuple[KeptShadow, ...]


def read_kept(state: Path) -> dict[tuple[str, str], KeptShadow]:
    """Return what was kept, by model and name; nothing of a file that is not there or not ours to read."""
    try:
        file = msgspec.msgpack.decode((state / FILE_NAME).read_bytes(), type=_File)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    if file.file_format != _FORMAT:
        return {}
    return {(one.model, one.name): one for one in file.shadows}


def write_kept(state: Path, shadows: Sequence[KeptShadow]) -> None:
    """Replace what was kept; of no shadow there is no file.

    Raises:
        OSError: it stays.
    """
    if not shadows:
        (state / FILE_NAME).unlink(missing_ok=True)
        return
    write_private(state / FILE_NAME, msgspec.msgpack.encode(_File(_FORMAT, tuple(shadows))))
