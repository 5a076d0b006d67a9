"""A control group of its own for a gateway, in which its memory is bounded: cgroup version 1, where we may make one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup/memory")
_OWN = re.compile(r"^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """One control group."""

    path: Path

    @property
    def command(self) -> tuple[str, ...]:
        """What starts a program in it, before the program's own command: what it has from its start on counts."""
        return ("/bin/sh", "-c", f'echo $$ > "{self.path}/cgroup.procs" && exec "$@"', "in-group")

    @property
    def used_bytes(self) -> int:
        """What its processes have, without what the kernel would give back at once."""
        return self._number("memory.usage_in_bytes") - self._of("memory.stat", "total_inactive_file")

    @property
    def oom_kills(self) -> int:
        """Processes that the kernel has killed for want of memory."""
        return self._of("memory.oom_control", "oom_kill")

    def bound(self, byte_count: int) -> None:
        """Let its processes have so much; -1 is as much as there is."""
        (self.path / "memory.limit_in_bytes").write_text(str(byte_count))

    def _number(self, name: str) -> int:
        return int((self.path / name).read_text())

    def _of(self, name: str, line_name: str) -> int:
        lines = (line.split() for line in (self.path / name).read_text().splitlines())
        return next(int(value) for key, value in lines if key == line_name)


def may_make_one() -> bool:
    """Whether this process may bound the memory of others."""
    return os.geteuid() == 0 and (_own_place() / "memory.limit_in_bytes").exists()


@contextmanager
def memory_group(name: str) -> Iterator[MemoryGroup]:
    """Make a group below our own, and take it away when its processes have ended."""
    path = _own_place() / f"{name}-{os.getpid()}"
    path.mkdir()
    try:
        yield MemoryGroup(path)
    finally:
        path.rmdir()


def _own_place() -> Path:
    found = _OWN.search(Path("/proc/self/cgroup").read_text())
    return _ROOT / found[1].lstrip("/") if found else _ROOT / "none"
