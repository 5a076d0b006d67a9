"""Finds the control groups that a process is in, of cgroup version 1 or 2, as the kernel tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from msgspec import Struct

V1 = 1
V2 = 2

# How mountinfo writes a space, a tab, a line feed and a backslash.
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Group(Struct, frozen=True):
    """One control group.

    Attributes:
        version: of the control groups, 1 or 2; their files have other names.
    """

    path: Path
    version: int


def groups_of(root: Path, controller: str, process: str = "self") -> Iterator[Group]:
    """Yield a process's groups that have this controller, the innermost of a mount first and its top last.

    A system without control groups, or with ones of another form, has none. Those of version 2 are yielded whether
    their files are there or not.

    Args:
        root: where ``/proc`` and ``/sys`` are.
        controller: ``memory``, ``cpu`` or the like.
        process: its number, or ``self``.
    """
    with suppress(OSError, ValueError):
        own = list(_own_paths(_text(root / "proc" / process / "cgroup"), controller))
        for line in _text(root / "proc/self/mountinfo").split("\n"):
            if (mount := _mount(line, controller)) is None:
                continue
            version, inside, mount_point = mount
            for path in (path for of, path in own if of == version):
                below = _relative(path, inside)
                for each in (below, *below.parents):
                    yield Group(root / mount_point.lstrip("/") / each, version)


def _text(path: Path) -> str:
    """Return what the kernel says; names of mounts and groups may be any bytes."""
    return path.read_text(errors="surrogateescape").rstrip("\n")


def _own_paths(text: str, controller: str) -> Iterator[tuple[int, PurePosixPath]]:
    for line in text.split("\n"):
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield V2, PurePosixPath(path)
        elif controller in controllers.split(","):
            yield V1, PurePosixPath(path)


def _mount(line: str, controller: str) -> tuple[int, PurePosixPath, str] | None:
    """Return which version is mounted, what of its tree, and where; None for a mount without the controller."""
    fields, _, kind = line.partition(" - ")
    kind_name, _, rest = kind.partition(" ")
    options = rest.partition(" ")[2]  # behind the source, which may be empty
    if kind_name == "cgroup2":
        version = V2
    elif kind_name == "cgroup" and controller in options.split(","):
        version = V1
    else:
        return None
    inside, mount_point = (_ESCAPE.sub(_unescaped, field) for field in fields.split(" ")[3:5])
    return version, PurePosixPath(inside), mount_point


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 8))


def _relative(path: PurePosixPath, inside: PurePosixPath) -> PurePosixPath:
    """Return our group's place below the mount; the mount itself where a namespace hides more."""
    return path.relative_to(inside) if path.is_relative_to(inside) and ".." not in path.parts else PurePosixPath()
