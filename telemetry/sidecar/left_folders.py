"""Folders of spans whose sidecars do not come back: another sidecar sends what is in them, or it is given up by age.

Pods come and go, and each has a folder by its name. One that nobody has used for a minute is emptied into the folder of
the sidecar that looks, as far as that has room; nothing of its own gives way to what others left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from telemetry.logs.line import warning
from telemetry.sidecar.events import say
from telemetry.sidecar.spool import SUFFIX, Spool
from telemetry.sidecar.stored_queue import StoredQueue

LOOK_EVERY_S = 5.0
FREE_FOR_S = 60.0
"""So long nobody must have used a folder: a sidecar that is started again takes its own."""
KEPT_FOR_S = 24 * 3600.0
"""Since something was written there."""
MOST_BYTES = 256 * 2**20
"""Of all folders that were left, beside what each sidecar has itself; beyond, the oldest is given up."""
MOST_FOLDERS = 1024
PARCELS = 16
"""That are taken over in one look."""


class LeftFolder(Struct, frozen=True):
    """One folder that no sidecar uses.

    Attributes:
        changed_s: when spans were written there last, by the wall's time; 0 where none are.
    """

    path: Path
    size_bytes: int
    changed_s: float


def given_up(folders: Sequence[LeftFolder], wall_s: float) -> list[LeftFolder]:
    """Return the folders that are too old, or too much together, the oldest first."""
    gone, kept_bytes = [], sum(folder.size_bytes for folder in folders)
    for folder in sorted(folders, key=lambda one: one.changed_s):
        if wall_s - folder.changed_s > KEPT_FOR_S or kept_bytes > MOST_BYTES:
            gone.append(folder)
            kept_bytes -= folder.size_bytes
    return gone


class LeftFolders:
    """What is below one directory.

    Args:
        queue: takes what is found, while less than half of its room is taken.
        room_bytes: that it has.
    """

    def __init__(self, root: Path, queue: StoredQueue, room_bytes: int) -> None:
        self._root = root
        self._queue = queue
        self._room_bytes = room_bytes
        self._free_since_s: dict[Path, float] = {}

    async def tend_for_ever(self) -> None:
        """Look after them."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.tend(asyncio.get_running_loop().time(), time.time())

    async def tend(self, now_s: float, wall_s: float) -> None:
        """Take over some of the oldest folder, and give up those that are too many or too old."""
        found = await asyncio.to_thread(lambda: list(_free_folders(self._root)))
        self._free_since_s = {one.path: self._free_since_s.get(one.path, now_s) for one in found}
        ripe = [one for one in found if now_s - self._free_since_s[one.path] >= FREE_FOR_S]
        gone = given_up(ripe, wall_s)
        for folder in gone:
            count = await self._queue.abandon(folder.path)
            if count:
                say("", warning(f"{count} spans that the sidecar of {folder.path.name} left are given up"))
        for folder in sorted(ripe, key=lambda one: one.changed_s):
            has_room = self._queue.waiting_bytes < self._room_bytes / 2
            if folder not in gone and (not has_room or not await self._queue.take_over(folder.path, PARCELS)):
                return


def _free_folders(root: Path) -> Iterator[LeftFolder]:
    try:
        paths = sorted(root.iterdir())[:MOST_FOLDERS]
    except OSError:
        return
    for path in paths:
        try:
            if Spool.is_free(path):
                sizes = [file.stat().st_size for file in path.iterdir()]
                written_s = [file.stat().st_mtime for file in path.glob(f"*{SUFFIX}")]
                yield LeftFolder(path, sum(sizes), max(written_s, default=0.0))
        except OSError:
            continue  # it was removed meanwhile
