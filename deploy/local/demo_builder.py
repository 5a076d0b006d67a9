"""Makes demo archives that a pod waits for, in a process of its own: this one never imports torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from deploy.demo.catalogue import DEMO_ARCHIVES
from deploy.local.child import Child


class DemoBuilder:
    """At most one builder at a time; when one demo archive is wanted, those missing beside it are made too."""

    def __init__(self, model_store: Path, say: Callable[[str], None]) -> None:
        self._store = model_store
        self._say = say
        self._child: Child | None = None
        self._failed: set[str] = set()

    @property
    def pid(self) -> int:
        """The builder's process id; 0 while there is none."""
        return 0 if self._child is None else self._child.pid

    def makes(self, archive: str) -> bool:
        """Return whether the archive is one of the demo's and will be made now, or is being made."""
        if archive not in DEMO_ARCHIVES or archive in self._failed:
            return False
        if self._child is None:
            self._start(archive)
        return self._child is not None

    def kill(self) -> None:
        """End the builder; half an archive is never left in the store."""
        if self._child is not None:
            self._child.kill()

    def _start(self, wanted: str) -> None:
        names = [name for name in DEMO_ARCHIVES if name == wanted or not (self._store / name).exists()]
        self._say(f"demo: making {', '.join(names)} (a few seconds, once)")
        try:
            self._child = Child(
                [sys.executable, "-m", "deploy.demo", "build", str(self._store), *names],
                on_line=lambda line: self._say(f"demo: {line}"),
                on_exit=lambda status: self._ended(status, names),
                takes_group=True,
            )
        except OSError as error:
            self._say(f"demo: they cannot be made: {error}")

    def _ended(self, status: int, names: list[str]) -> None:
        self._child = None
        if status != 0:
            self._failed |= {name for name in names if not (self._store / name).exists()}
            self._say(
                f"demo: {', '.join(sorted(self._failed))} could not be made; the lines above say why. When that is "
                f"mended, run: python -m deploy.demo build {self._store}"
            )
