"""Memory: how much of what its control groups allow this process and its siblings use, by cgroup version 1 or 2."""

from __future__ import annotations

import re
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
# How mountinfo writes a space, a tab, a line feed and a backslash.
_ESCAPE = re.compile(r"\\([0-7]{3})")


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
    with suppress(OSError, ValueError):  # what cannot be read is taken for nothing, and the group for full
        for line in (group.path / _STATISTICS).read_bytes().splitlines():
            name, _, value = line.partition(b" ")
            if name == group.names.reclaimable:
                return int(value)
    return 0


def _groups(root: Path) -> Iterator[Group]:
    with suppress(OSError, ValueError):  # a system without control groups, or with ones of another form, bounds nothing
        own = list(_own_paths(_text(root / "proc/self/cgroup")))
        for line in _text(root / "proc/self/mountinfo").split("\n"):
            if (mount := _memory_mount(line)) is None:
                continue
            names, inside, mount_point = mount
            for path in (path for version, path in own if version is names):
                yield from _upwards(root / mount_point.lstrip("/"), _relative(path, inside), names)


def _text(path: Path) -> str:
    """Return what the kernel says; names of mounts and groups may be any bytes."""
    return path.read_text(errors="surrogateescape").rstrip("\n")


def _own_paths(text: str) -> Iterator[tuple[Names, PurePosixPath]]:
    for line in text.split("\n"):
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield V2, PurePosixPath(path)
        elif "memory" in controllers.split(","):
            yield V1, PurePosixPath(path)


def _memory_mount(line: str) -> tuple[Names, PurePosixPath, str] | None:
    """Return which version is mounted, what of its tree, and where; None for a mount without memory control."""
    fields, _, kind = line.partition(" - ")
    kind_name, _, rest = kind.partition(" ")
    options = rest.partition(" ")[2]  # behind the source, which may be empty
    if kind_name == "cgroup2":
        names = V2
    elif kind_name == "cgroup" and "memory" in options.split(","):
        names = V1
    else:
        return None
    inside, mount_point = (_ESCAPE.sub(_unescaped, field) for field in fields.split(" ")[3:5])
    return names, PurePosixPath(inside), mount_point


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 8))


def _relative(path: PurePosixPath, inside: PurePosixPath) -> PurePosixPath:
    """Return our group's place below the mount; the mount itself where a namespace hides more."""
    return path.relative_to(inside) if path.is_relative_to(inside) and ".." not in path.parts else PurePosixPath()


def _upwards(mount: Path, below: PurePosixPath, names: Names) -> Iterable[Group]:
    """Every group from ours to the top has a say; those without the files, such as the very root, have none."""
    for path in (below, *below.parents):
        if (mount / path / names.limit).exists():
            yield Group(mount / path, names)
