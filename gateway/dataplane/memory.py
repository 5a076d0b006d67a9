"""Memory: how much of what its control groups allow this process and its siblings use, by cgroup version 1 or 2."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from gateway.decide.pressure import REFUSE_FROM
from telemetry.control_groups import V1, V2, Group, groups_of

# Below it, pages that could be given back at once do not matter, and are not counted.
_CLOSE_RATIO = 0.5


class Names(Struct, frozen=True):
    """What a version of the control groups calls its files, and the line of pages of files that nobody used lately."""

    usage: str
    limit: str
    reclaimable: bytes


_NAMES = {
    V1: Names("memory.usage_in_bytes", "memory.limit_in_bytes", b"total_inactive_file"),
    V2: Names("memory.current", "memory.max", b"inactive_file"),
}
_STATISTICS = "memory.stat"


class Memory(Struct, frozen=True):
    """How memory stands, without what the kernel would give back at once.

    Attributes:
        used_ratio: used over allowed.
        left_bytes: until requests are refused; negative beyond that, inf where nothing is bounded.
    """

    used_ratio: float
    left_bytes: float


PLENTY = Memory(0.0, math.inf)


class MemoryGauge:
    """Reads the fullest of the control groups that this process is in.

    Args:
        root: where ``/proc`` and ``/sys`` are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._groups = tuple(_groups(root))

    def read(self) -> Memory:
        """Return how it stands; ``PLENTY`` where nothing is bounded."""
        return max(map(_memory_of, self._groups), default=PLENTY, key=lambda memory: memory.used_ratio)


def _memory_of(group: Group) -> Memory:
    names = _NAMES[group.version]
    try:
        limit_bytes = int((group.path / names.limit).read_bytes())
        used_bytes = int((group.path / names.usage).read_bytes())
    except (OSError, ValueError):  # "max" is no number, and bounds nothing
        return PLENTY
    if limit_bytes <= 0:
        return PLENTY
    if used_bytes >= limit_bytes * _CLOSE_RATIO:
        used_bytes = max(0, used_bytes - _reclaimable_bytes(group))
    return Memory(used_bytes / limit_bytes, limit_bytes * REFUSE_FROM - used_bytes)


def _reclaimable_bytes(group: Group) -> int:
    with suppress(OSError, ValueError):  # what cannot be read is taken for nothing, and the group for full
        for line in (group.path / _STATISTICS).read_bytes().splitlines():
            name, _, value = line.partition(b" ")
            if name == _NAMES[group.version].reclaimable:
                return int(value)
    return 0


def _groups(root: Path) -> Iterator[Group]:
    """Yield our groups that bound memory: every one up to the top has a say, but some have no such files."""
    for group in groups_of(root, "memory"):
        with suppress(OSError):  # one that we may not look into
            if (group.path / _NAMES[group.version].limit).exists():
                yield group
