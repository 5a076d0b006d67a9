"""Memory: how much of what its control groups allow this process and its siblings use, by cgroup version 1 or 2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from msgspec import Struct

from gateway.decide.pressure import REFUSE_FROM, RELIEF

# Below it, pages that could be given back at once do not matter, and are not counted.
_CLOSE_RATIO = REFUSE_FROM - RELIEF


class Names(Struct, frozen=True):
    """What a version of the control groups calls its files, and the line of pages of files that nobody used lately."""

    usage: str
    limit: str
    reclaimable: bytes


V1 = Names("memory.usage_in_bytes", "memory.limit_in_bytes", b"total_inactive_file")
V2 = Names("memory.current", "memory.max", b"inactive_file")
_STATISTICS = "memory.stat"


class Group(Struct, frozen=True):
    """One control group, ours or one above."""

    path: Path
    names: Names


class MemoryGauge:
    """Reads the fullest of the control groups that this process is in.

    Args:
        root: where ``/proc`` and ``/sys`` are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._groups = tuple(_groups(root))

    def used_ratio(self) -> float:
        """Return used over allowed, without what the kernel would give back at once; 0.0 where nothing is bounded."""
        return max(map(_used_ratio, self._groups), default=0.0)


def _used_ratio(group: Group) -> float:
    names = group.names
    try:
        limit_bytes = int((group.path / names.limit).read_bytes())
        used_bytes = int((group.path / names.usage).read_bytes())
        if limit_bytes <= 0 or used_bytes < limit_bytes * _CLOSE_RATIO:
            return used_bytes / limit_bytes if limit_bytes > 0 else 0.0
        return max(0, used_bytes - _reclaimable_bytes(group)) / limit_bytes
    except (OSError, ValueError):  # "max" is no number, and bounds nothing
        return 0.0


def _reclaimable_bytes(group: Group) -> int:
    for line in (group.path / _STATISTICS).read_bytes().splitlines():
        name, _, value = line.partition(b" ")
        if name == group.names.reclaimable:
            return int(value)
    return 0


def _groups(root: Path) -> Iterator[Group]:
    with suppress(OSError):  # a system without control groups bounds nothing
        own = list(_own_paths((root / "proc/self/cgroup").read_text()))
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
        for line in mounts:
            if (mount := _memory_mount(line)) is None:
                continue
            names, inside, mount_point = mount
            for path in (path for version, path in own if version is names):
                yield from _upwards(root / mount_point.lstrip("/"), _relative(path, inside), names)


def _own_paths(text: str) -> Iterator[tuple[Names, PurePosixPath]]:
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield V2, PurePosixPath(path)
        elif "memory" in controllers.split(","):
            yield V1, PurePosixPath(path)


def _memory_mount(line: str) -> tuple[Names, PurePosixPath, str] | None:
    """Return which version is mounted, what of its tree, and where; None for a mount without memory control."""
    fields, _, kind = line.partition(" - ")
    inside, mount_point = fields.split()[3:5]
    kind_name, _, options = kind.split()[:3]
    if kind_name == "cgroup2":
        return V2, PurePosixPath(inside), mount_point
    if kind_name == "cgroup" and "memory" in options.split(","):
        return V1, PurePosixPath(inside), mount_point
    return None


def _relative(path: PurePosixPath, inside: PurePosixPath) -> PurePosixPath:
    """Return our group's place below the mount; the mount itself where a namespace hides more."""
    return path.relative_to(inside) if path.is_relative_to(inside) and ".." not in path.parts else PurePosixPath()


def _upwards(mount: Path, below: PurePosixPath, names: Names) -> Iterable[Group]:
    """Every group from ours to the top has a say; those without the files, such as the very root, have none."""
    for path in (below, *below.parents):
        if (mount / path / names.limit).exists():
            yield Group(mount / path, names)
